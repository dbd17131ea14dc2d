//! SEGMENT ARRIVES (RFC 9293 3.10.7), one file for each of its numbered steps.

mod ack;
mod fin;
mod rst;
mod sequence;
mod syn;
mod syn_sent;
mod text;
mod urg;

use std::ops::ControlFlow;

use bytes::Buf;
use ropeway_packet::{EcnCodepoint, IpPacket, ParsedTcp, SeqNum, TcpFlags, TcpHeader};

use super::state::State;
use super::{Connection, Env};
use crate::buffer::chunk::Chunk;
use crate::buffer::pieces::Pieces;
use crate::buffer::send::length_u32;
use crate::event::Readiness;
use crate::tcp::fast_open::News;
use crate::transmit::Received;

/// A segment on its way through the steps. Trimming takes away what is not in the window.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) header: TcpHeader,
    pub(crate) payload: Pieces,
    pub(crate) malformed_options: bool,
    /// The window is that of a SYN, which is never scaled.
    pub(crate) unscaled: bool,
    /// Something of it has come before, and was told of (RFC 2883).
    pub(crate) repeats: bool,
    /// If several segments were merged into this one: how long each was.
    pub(crate) segment_size: Option<u16>,
    /// What its packet says of congestion.
    pub(crate) ecn: EcnCodepoint,
}

impl Arrival {
    #[inline]
    pub(crate) fn new(ip: &IpPacket, segment: &ParsedTcp, received: Received) -> Self {
        let mut payload = received.packet;
        payload.truncate(ip.payload.end);
        payload.advance((ip.payload.start + segment.header_len).min(payload.len()));
        let mut header = segment.header;
        if received.rest.pushed {
            header.flags |= TcpFlags::PSH;
        }
        Self {
            header,
            payload: Pieces::new(Chunk::new(payload, received.true_size), received.rest.pieces),
            malformed_options: segment.malformed_options,
            unscaled: false,
            repeats: false,
            segment_size: received.segment_size,
            ecn: EcnCodepoint::of(ip.traffic_class),
        }
    }

    pub(super) fn has(&self, flags: TcpFlags) -> bool {
        self.header.flags.contains(flags)
    }

    fn clear(&mut self, flags: TcpFlags) {
        self.header.flags = self.header.flags & !flags;
    }

    /// SEG.LEN, which counts SYN and FIN.
    pub(super) fn len(&self) -> u32 {
        self.header.segment_len(self.payload.len())
    }

    /// How many segments its data came in, and how long the longest was.
    pub(crate) fn cut(&self) -> (u32, u32) {
        let len = length_u32(self.payload.len());
        match self.segment_size.map(u32::from) {
            Some(size) if size > 0 && size < len => (len.div_ceil(size), size),
            _ => (1, len),
        }
    }

    /// SEG.SEQ
    fn seq(&self) -> SeqNum {
        self.header.seq
    }

    /// SEG.ACK
    fn ack(&self) -> SeqNum {
        self.header.ack
    }
}

/// How a segment's way through the steps ends early.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing more is to be done.
    Drop,
    /// It is acknowledged and dropped.
    Ack,
    /// It may be forged: the peer is asked (RFC 5961), and it is dropped.
    Challenge,
    /// It is answered with this RST and dropped.
    Reset(TcpHeader),
    /// It was taken, and the stack learns something of Fast Open.
    Learned(News),
}

/// What a segment leaves for the stack to do.
#[derive(Debug)]
pub(crate) enum Reply {
    /// It is answered with this RST.
    Reset(TcpHeader),
    Learned(News),
}

pub(super) type Step = ControlFlow<Verdict>;

impl Connection {
    /// Takes a segment. What is answered at once is a RST; everything else waits for `poll_transmit`.
    pub(crate) fn segment_arrives(&mut self, segment: &mut Arrival, env: &mut Env<'_>) -> Option<Reply> {
        let (segments, longest) = segment.cut();
        self.statistics.segments_in += u64::from(segments);
        if longest > 0 {
            self.statistics.data_segments_in = self.statistics.data_segments_in.wrapping_add(segments);
        }
        let was_writable = self.is_writable();
        let step = match self.state() {
            State::Closed | State::Listen | State::TimeWait => ControlFlow::Break(Verdict::Drop),
            State::SynSent | State::SynReceived => self.arrives_in_handshake(segment, env),
            _ => self.arrives_in_other_states(segment, env),
        };
        let reply = match step {
            ControlFlow::Continue(()) | ControlFlow::Break(Verdict::Drop) => None,
            ControlFlow::Break(Verdict::Ack) => {
                if segment.payload.is_empty() && !self.challenge.allows(env) {
                    return None;
                }
                self.ack_now();
                None
            }
            ControlFlow::Break(Verdict::Challenge) => {
                if self.challenge.allows(env) {
                    env.counters.challenge_acks += 1;
                    self.ack_now();
                }
                None
            }
            ControlFlow::Break(Verdict::Reset(header)) => Some(Reply::Reset(header)),
            ControlFlow::Break(Verdict::Learned(news)) => Some(Reply::Learned(news)),
        };
        self.reconsider_writer(env);
        if !was_writable && self.is_writable() {
            self.gain(Readiness::WRITABLE);
        }
        self.note_busy(env.now);
        self.output_due |= self.receiver.is_ack_due();
        reply
    }

    /// RFC 9293 3.10.7.4
    pub(super) fn arrives_in_other_states(&mut self, segment: &mut Arrival, env: &mut Env<'_>) -> Step {
        // Trimming moves it.
        let (seq, len) = (segment.seq(), segment.payload.len());
        if segment.has(TcpFlags::SYN) {
            self.take_syn_ack_again(segment);
        }
        let step = self.check_sequence(segment, env); // first
        if step.is_break() && segment.repeats {
            self.note_marks_of_old(segment, env.now);
        }
        step?;
        self.check_rst(segment, env)?; // second; third, security, is not for us
        self.check_syn(segment)?; // fourth
        self.check_ack(segment, env)?; // fifth
        self.check_options(segment)?;
        self.note_marks(segment, len, env.now);
        // Only now: what is challenged may be forged, and would make the peer's own timestamps look old
        // (RFC 7323 5.2-2).
        self.update_ts_recent(seq, &segment.header, env.now);
        if self.rare.rest_of_syn.is_some()
            && let Some(mut rest) = self.rare.rest_of_syn.take()
        {
            // As if it came with this one.
            rest.header.flags |= TcpFlags::ACK;
            rest.header.ack = segment.ack();
            self.take_rest_of_syn(&mut rest, env)?;
            self.trim(segment);
        }
        self.check_urg(segment, seq); // sixth
        let has_text = !segment.payload.is_empty();
        self.take_text(segment, env)?; // seventh
        self.check_fin(segment, has_text, env); // eighth
        ControlFlow::Continue(())
    }

    /// RFC 9293 3.1 MUST-7: an option whose length is a lie ends the connection, and the log says why. Only
    /// a segment that has passed the checks of sequence and acknowledgement may do that.
    fn check_options(&mut self, segment: &Arrival) -> Step {
        if !segment.malformed_options {
            return ControlFlow::Continue(());
        }
        tracing::debug!(connection = %self.tuple, "malformed TCP options: resetting the connection");
        self.abort();
        ControlFlow::Break(Verdict::Drop)
    }
}
