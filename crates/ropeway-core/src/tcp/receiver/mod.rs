//! The receiving half of a connection: the receive sequence space, what was received and not read, what is held beyond a
//! gap, what the peer is told of it, and when.
//!
//! It needs no `Stack`: segments that have passed the checks are told to it with the time, and it says what follows.

mod acks;
mod memory;
mod rcv;
mod sack;
#[cfg(test)]
mod tests;
mod text;
mod thinning;
mod tuning;
mod window;

use ropeway_packet::{Payload, SeqNum, WindowScale};

use self::acks::AckPolicy;
pub(crate) use self::acks::AckTiming;
use self::rcv::Rcv;
use self::sack::SackList;
pub(crate) use self::text::{Text, Took};
pub(crate) use self::tuning::Tick;
use self::tuning::Tuning;
use crate::buffer::reassembly::Reassembly;
use crate::buffer::receive::ReceiveBuffer;
use crate::buffer::send::length_u32;
use crate::tcp::sender::spares::Spares;

/// The receiving half of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Receiver {
    rcv: Rcv,
    buffer: ReceiveBuffer,
    /// Nothing, as a rule.
    beyond: Option<Box<Beyond>>,
    acks: AckPolicy,
    tuning: Tuning,
    /// Both ends use SACK.
    sack: bool,
    /// What has come twice is told of (D-SACK).
    dsack: bool,
    /// The application has shut down its reading side: what arrives is discarded.
    read_shut: bool,
    /// The peer's FIN has arrived in order: the stream has an end.
    fin_received: bool,
}

/// What is held beyond a gap, and what the peer is told of that and of what came twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Beyond {
    reassembly: Reassembly,
    told: SackList,
    /// What lay before this had come, and was dropped: it comes again.
    dropped_to: Option<SeqNum>,
    /// RCV.NXT when duplicate acknowledgements were last counted, and how many there have been for it.
    told_at: Option<SeqNum>,
    duplicates: u8,
}

impl Beyond {
    fn is_nothing(&self) -> bool {
        self.reassembly.is_empty() && self.told.is_empty() && self.dropped_to.is_none()
    }
}

impl Receiver {
    /// `advmss`: the MSS that we announce. `dsack`: duplicates are to be told of, if both ends use SACK. `buffer`: how many
    /// bytes may be held unread at first, if the buffer tunes itself.
    pub(crate) fn new(advmss: u16, dsack: bool, buffer: usize) -> Self {
        Self {
            rcv: Rcv::new(advmss),
            buffer: ReceiveBuffer::default(),
            beyond: None,
            acks: AckPolicy::default(),
            tuning: Tuning::new(buffer, advmss),
            sack: false,
            dsack,
            read_shut: false,
            fin_received: false,
        }
    }

    pub(crate) fn rcv(&self) -> &Rcv {
        &self.rcv
    }

    pub(crate) fn uses_sack(&self) -> bool {
        self.sack
    }

    /// Data is held beyond a gap.
    pub(crate) fn has_gap(&self) -> bool {
        self.beyond.as_ref().is_some_and(|beyond| !beyond.reassembly.is_empty())
    }

    /// What has come and was dropped for memory's sake begins at RCV.NXT, or behind it.
    pub(super) fn awaits_dropped(&self) -> bool {
        self.beyond.as_ref().is_some_and(|beyond| beyond.dropped_to.is_some())
    }

    pub(crate) fn fin_received(&self) -> bool {
        self.fin_received
    }

    // ---- the handshake

    /// Our SYN announces this scale.
    pub(crate) fn announce_scale(&mut self, scale: WindowScale) {
        self.rcv.wscale = Some(scale);
    }

    /// The peer's SYN has this number. `wscale`: the scale of our windows, and `sack`: whether SACK is used, now that the
    /// peer's options are known.
    pub(crate) fn peer_syn(&mut self, irs: SeqNum, wscale: Option<WindowScale>, sack: bool) {
        self.rcv.irs = irs;
        self.rcv.nxt = irs + 1;
        self.rcv.edge = self.rcv.nxt;
        self.rcv.wscale = wscale;
        self.sack = sack;
    }

    /// The window of our SYN or SYN-ACK.
    pub(crate) fn open_window(&mut self, window: u32) {
        self.rcv.edge = self.rcv.edge.max(self.rcv.nxt + window);
    }

    // ---- memory that is lent

    /// Something has arrived: the queue for it need not be made.
    #[inline]
    pub(crate) fn borrow_queue(&mut self, spares: &mut Spares) {
        spares.lend_unread(&mut self.buffer);
    }

    /// Nothing idle keeps memory.
    #[inline]
    pub(crate) fn return_spares(&mut self, spares: &mut Spares) {
        spares.take_back_unread(&mut self.buffer);
    }

    // ---- the application

    /// Bytes in order that were not read.
    pub(crate) fn unread(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn is_read_shut(&self) -> bool {
        self.read_shut
    }

    /// Up to `max` bytes are read. `buffer`: how many may be held unread.
    pub(crate) fn read(&mut self, max: usize, buffer: usize) -> Payload {
        let payload = self.buffer.take(max);
        if !payload.is_empty() {
            self.forget_read_urgent();
            self.update_window(buffer);
            self.ack_what_was_read();
        }
        payload
    }

    pub(crate) fn peek(&self, out: &mut [u8]) -> usize {
        self.buffer.peek(out)
    }

    /// Nobody reads any more: what was not read is forgotten, and what arrives from now on is discarded.
    pub(crate) fn shut_read(&mut self, buffer: usize) {
        self.read_shut = true;
        if self.buffer.clear() > 0 {
            self.update_window(buffer);
        }
    }

    /// Forgets what was not read; says how much that was.
    pub(crate) fn discard_unread(&mut self) -> usize {
        self.buffer.clear()
    }

    /// The connection is over. What was not read still can be.
    pub(crate) fn end(&mut self) {
        self.beyond = None;
        self.acks = AckPolicy::default();
    }

    // ---- urgent data

    /// Urgent data ends before `up` (RFC 9293 3.8.5). Says whether the pointer has moved forward.
    pub(crate) fn take_urgent(&mut self, up: SeqNum) -> bool {
        let news = up.after(self.rcv.nxt) && self.rcv.up.is_none_or(|known| up.after(known));
        if news {
            self.rcv.up = Some(up);
        }
        news
    }

    /// Bytes to read before the urgent mark (RFC 9293 3.8.5 MUST-33).
    pub(crate) fn urgent_remaining(&self) -> Option<usize> {
        let up = self.rcv.up?;
        let read = self.rcv.nxt - length_u32(self.buffer.len());
        up.after(read).then(|| up.since(read) as usize)
    }

    /// Urgent data that has been read is not urgent any more, and must not be again when sequence numbers wrap.
    fn forget_read_urgent(&mut self) {
        if self.urgent_remaining().is_none() {
            self.rcv.up = None;
        }
    }
}
