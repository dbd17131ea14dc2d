//! The sending half of a connection: the send sequence space, what was written, what is out, how it is repaired, and how
//! much may go.
//!
//! It needs no `Stack`: what happens is told to it with the time, and it answers with what is to be sent.

mod ack;
pub(crate) mod flight;
pub(crate) mod next;
mod order;
mod pacer;
pub(crate) mod rate;
mod room;
mod sent;
mod snd;
pub(crate) mod spares;
mod sums;
#[cfg(test)]
mod tests;
mod why;

use std::num::NonZeroU32;
use std::time::Duration;

use ropeway_packet::{SeqNum, WindowScale};

pub(crate) use self::ack::{AckNews, Acked, Signal};
use self::flight::{Aloft, Flight, ProbeFate};
pub(crate) use self::next::{Limits, Next, Plan};
use self::pacer::Pacer;
use self::rate::DeliveryRate;
use self::snd::Snd;
use self::spares::Spares;
pub(crate) use self::why::Why;
use crate::buffer::send::{SendBuffer, length_u32};
use crate::config::StackConfig;
use crate::congestion::{Congestion, CongestionEvent, Controller};
use crate::options::SocketOptions;
use crate::recovery::rto::Rto;
use crate::recovery::{News, Recovery, Reorder};
use crate::time::Timestamp;

/// Fewer segments in flight than this are few (`tcp_stream_is_thin` of Linux), and so many timeouts in a row are not doubled then.
const THIN: u32 = 4;
const THIN_RETRIES: u32 = 6;

/// The sending half of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    snd: Snd,
    buffer: SendBuffer,
    flight: Aloft,
    rto: Rto,
    recovery: Recovery,
    congestion: Box<dyn Controller>,
    rate: DeliveryRate,
    pacer: Pacer,
    /// The application has shut down its writing side: a FIN follows the last byte.
    fin_queued: bool,
    /// More data is about to be written (`MSG_MORE`): a small segment may wait for it.
    more_to_come: bool,
    /// The last byte written is to be pushed (PSH).
    pushes: bool,
    /// A held-back small segment has waited long enough.
    release_small: bool,
    /// Timeouts in a row without an acknowledgement of anything new.
    retransmits: u32,
    /// What our timestamp said when our SYN was sent again, or a moment before that (`RetransmitTS` of RFC 3522).
    syn_again: Option<NonZeroU32>,
    /// Until this is acknowledged, the congestion window has held the sender back lately.
    window_limited: SeqNum,
    /// Where the round trip ends in which the variation of round trips is looked at.
    round_end: SeqNum,
    /// When data was last sent; before there was any, when our SYN was, if it was sent once (RFC 6298 3).
    last_sent: Option<Timestamp>,
    /// How coarse the clock is, in microseconds.
    granularity: u32,
    /// So many bytes may wait to be acknowledged, if the buffer tunes itself.
    room: u32,
}

impl Sender {
    pub(crate) fn new(
        iss: SeqNum,
        default_mss: u16,
        (options, config): (&SocketOptions, &StackConfig),
        congestion: Box<dyn Controller>,
    ) -> Self {
        Self {
            snd: Snd::new(iss, default_mss),
            buffer: SendBuffer::new(iss + 1),
            flight: Aloft::default(),
            rto: Rto::new(options, config),
            recovery: Recovery::new(iss, options, config),
            congestion,
            rate: DeliveryRate::default(),
            pacer: Pacer::default(),
            fin_queued: false,
            more_to_come: false,
            pushes: true,
            release_small: false,
            retransmits: 0,
            syn_again: None,
            window_limited: iss,
            round_end: iss,
            last_sent: None,
            granularity: u32::try_from(config.clock_granularity.as_micros()).unwrap_or(u32::MAX),
            room: length_u32(config.auto_send_buffer.initial),
        }
    }

    pub(crate) fn snd(&self) -> &Snd {
        &self.snd
    }

    pub(crate) fn buffer(&self) -> &SendBuffer {
        &self.buffer
    }

    pub(crate) fn buffer_mut(&mut self) -> &mut SendBuffer {
        &mut self.buffer
    }

    /// The memory that the records of what is out, and of how fast it goes, take.
    pub(crate) fn records(&self) -> usize {
        let flight = if self.flight.is_empty() { 0 } else { self.flight.memory() };
        flight + size_of_val(&*self.congestion)
    }

    /// Something may be sent: the record of it need not be made.
    #[inline]
    pub(crate) fn borrow_flight(&mut self, spares: &mut Spares) {
        spares.lend_flight(&mut self.flight);
    }

    /// Likewise, something is about to be written.
    #[inline]
    pub(crate) fn borrow_queue(&mut self, spares: &mut Spares) {
        spares.lend_queue(&mut self.buffer);
    }

    /// Nothing idle keeps memory.
    #[inline]
    pub(crate) fn return_spares(&mut self, spares: &mut Spares) {
        spares.take_back(&mut self.flight, &mut self.buffer);
    }

    pub(crate) fn flight(&self) -> &Flight {
        &self.flight
    }

    pub(crate) fn rto(&self) -> &Rto {
        &self.rto
    }

    pub(crate) fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    pub(crate) fn ssthresh(&self) -> u32 {
        self.congestion.ssthresh()
    }

    /// The congestion window, as PRR leaves it.
    pub(crate) fn cwnd(&self) -> u32 {
        self.recovery.window(self.congestion.as_ref())
    }

    pub(crate) fn retransmits(&self) -> u32 {
        self.retransmits
    }

    pub(crate) fn fin_queued(&self) -> bool {
        self.fin_queued
    }

    pub(crate) fn pacing_rate(&self) -> Option<u64> {
        self.pacer.rate()
    }

    /// Bytes a second, and whether the application limited it.
    pub(crate) fn delivery_rate(&self) -> Option<(u64, bool)> {
        self.rate.last()
    }

    fn granularity(&self) -> Duration {
        Duration::from_micros(u64::from(self.granularity))
    }

    fn mss(&self) -> u32 {
        u32::from(self.snd.mss)
    }

    /// Both ends use SACK.
    pub(crate) fn use_sack(&mut self) {
        self.recovery.use_sack();
    }

    // ---- the handshake

    /// Our SYN, or SYN-ACK, is sent. Says whether it is for the first time. `tsval`: what its timestamp says.
    pub(crate) fn on_syn_sent(&mut self, now: Timestamp, tsval: Option<u32>) -> bool {
        let first = self.snd.nxt == self.snd.iss;
        if first {
            self.snd.nxt = self.snd.iss + 1;
            self.last_sent = Some(now);
        } else {
            self.last_sent = None;
            self.syn_again = self.syn_again.or(tsval.and_then(NonZeroU32::new));
        }
        first
    }

    /// Our SYN-ACK was sent by a half-open entry: at that time, if it was sent once. `between`: what our timestamp said
    /// between the first and the second one.
    pub(crate) fn syn_was_sent(&mut self, at: Option<Timestamp>, retransmits: u32, between: Option<u32>) {
        self.snd.nxt = self.snd.iss + 1;
        self.last_sent = at;
        self.syn_again = between.and_then(NonZeroU32::new);
        self.retransmits = retransmits;
    }

    /// The third segment of a handshake in which data was sent before it has come: our SYN-ACK was sent at that time, if it was
    /// sent once.
    pub(crate) fn syn_was_sent_at(&mut self, at: Option<Timestamp>) {
        self.last_sent = at;
    }

    /// Data may be sent before our SYN-ACK is acknowledged, with the window of the peer's SYN (RFC 7413).
    pub(crate) fn open_early(&mut self, wnd: u32) {
        // It begins behind our SYN, which is SND.UNA until then.
        self.snd.wnd = wnd.saturating_add(1);
        self.snd.max_wnd = wnd;
    }

    /// The peer has taken our SYN, and not all of the data that came with it (RFC 7413 4.2.2).
    pub(crate) fn on_syn_data_refused(&mut self) {
        self.recovery.on_not_taken(&mut self.flight, self.snd.nxt, Why::FastOpen);
    }

    /// What the peer's SYN says.
    pub(crate) fn peer_syn(&mut self, peer_mss: u16, wscale: Option<WindowScale>) {
        self.snd.peer_mss = peer_mss;
        self.snd.wscale = wscale;
    }

    /// Our SYN has been acknowledged by a segment with this number, acknowledgement and window. `echo`: the timestamp that
    /// it echoes, and how long ago that was.
    pub(crate) fn on_established(
        &mut self,
        now: Timestamp,
        (seq, ack, wnd): (SeqNum, SeqNum, u32),
        echo: Option<(u32, Duration)>,
    ) {
        self.snd.wl1 = seq;
        self.snd.wl2 = ack;
        self.snd.wnd = wnd;
        self.snd.max_wnd = wnd;
        // RFC 7323 4: an echo tells which of several transmissions is acknowledged.
        let rtt = self.last_sent.take().map(|at| now.since(at)).or(echo.map(|(_, rtt)| rtt));
        // If all data that is out is acknowledged with it, that is the sample.
        let with_data = self.snd.nxt.after(self.snd.iss + 1) && ack == self.snd.nxt;
        if let Some(rtt) = rtt.filter(|_| !with_data) {
            self.rto.sample(rtt, now, true);
        }
        let echoed = echo.map(|(tsecr, _)| SeqNum::new(tsecr));
        let spurious =
            echoed.zip(self.syn_again).is_some_and(|(tsecr, again)| tsecr.before(SeqNum::new(again.get())));
        if self.retransmits > 0 {
            self.rto.after_lost_handshake();
            // RFC 5681 3.1; RFC 4015: unless it was only late.
            if !spurious {
                let event = CongestionEvent::new(now, Congestion::LostHandshake, 0, self.snd.nxt);
                self.congestion.on_congestion(&event);
            }
        }
        self.syn_again = None;
        self.retransmits = 0;
        self.snd.una = self.snd.iss + 1;
        self.snd.small = self.snd.small.max(self.snd.una);
        self.window_limited = self.window_limited.max(self.snd.una);
        self.round_end = self.snd.una;
    }

    /// The packet of our SYN, or SYN-ACK, has come with a mark (RFC 9768 3.2.2.2).
    pub(crate) fn on_handshake_marked(&mut self, now: Timestamp) {
        let flight_size = self.congestion.window();
        let event = CongestionEvent::new(now, Congestion::Ecn, flight_size, self.snd.nxt);
        self.congestion.on_congestion(&event);
    }

    pub(crate) fn set_wnd(&mut self, wnd: u32) {
        self.snd.wnd = wnd;
    }

    /// Takes the window of a segment; says whether it has changed.
    pub(crate) fn update_window(&mut self, seq: SeqNum, ack: SeqNum, wnd: u32) -> bool {
        self.snd.update_window(seq, ack, wnd)
    }

    // RFC 4821 4-4
    /// Eff.snd.MSS has changed.
    pub(crate) fn set_mss(&mut self, mss: u16) {
        if mss != self.snd.mss {
            self.snd.mss = mss;
            self.congestion.on_mss_change(u32::from(mss));
        }
    }

    /// Before anything was sent: the MSS, and a controller that knows it.
    pub(crate) fn begin_with(&mut self, mss: u16, congestion: Box<dyn Controller>) {
        self.snd.mss = mss;
        self.congestion = congestion;
    }

    /// Another controller takes over.
    pub(crate) fn set_congestion(&mut self, congestion: Box<dyn Controller>) {
        self.congestion = congestion;
    }

    /// What is left to chance in its controller: it comes from the stack's seed with the initial sequence number.
    pub(crate) fn seed(&self) -> u64 {
        u64::from(self.snd.iss.get())
    }

    /// What another controller is to know.
    pub(crate) fn window_and_threshold(&self) -> (u32, u32) {
        (self.congestion.window(), self.congestion.ssthresh())
    }

    // ---- what the application says

    /// Data has been written to the buffer.
    pub(crate) fn on_written(&mut self, more: bool, urgent: bool) {
        self.more_to_come = more;
        self.pushes = !more;
        if urgent {
            self.snd.up = Some(self.buffer.end());
        }
    }

    pub(crate) fn queue_fin(&mut self) {
        self.fin_queued = true;
        self.more_to_come = false;
        self.release_small = true;
    }

    /// A small segment has waited long enough.
    pub(crate) fn release(&mut self, push: bool) {
        self.release_small = true;
        self.pushes |= push;
    }

    /// Nothing will be sent any more. Says how much of what was written was not acknowledged.
    pub(crate) fn end(&mut self) -> usize {
        let lost = self.buffer.len();
        self.buffer = SendBuffer::new(self.snd.nxt);
        if !self.flight.is_away() {
            self.flight.clear();
        }
        lost
    }

    // ---- questions

    /// FlightSize, a SYN included.
    pub(crate) fn outstanding(&self) -> u32 {
        self.snd.outstanding()
    }

    /// Whether anything is on its way, as far as known.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.flight.pipe() > 0 || (self.snd.outstanding() > 0 && !self.has_due())
    }

    /// Whether data, or the FIN, has not been sent yet or is to be sent again.
    pub(crate) fn has_unsent(&self) -> bool {
        let end = self.buffer.end();
        self.has_due() || end.after(self.snd.nxt) || (self.fin_queued && self.snd.nxt == end)
    }

    /// Whether there is nothing that could be sent, whatever the windows say.
    #[inline]
    pub(crate) fn has_all_sent(&self) -> bool {
        // In bulk, the first says no.
        !self.buffer.end().after(self.snd.nxt)
            && self.flight.lost() == 0
            && !self.has_unsent()
            && !self.recovery.wants_new_data()
    }

    /// Whether something is to be sent again.
    pub(crate) fn has_due(&self) -> bool {
        self.flight.lost() > self.flight.retransmitted()
            || self.flight.first().is_some_and(|first| first.marks.is_due())
    }

    /// The urgent pointer, while there is one to tell of.
    pub(crate) fn urgent(&mut self) -> Option<SeqNum> {
        self.snd.up = self.snd.up.filter(|up| up.after(self.snd.una));
        self.snd.up
    }

    /// Bytes written and never sent.
    pub(crate) fn not_sent(&self) -> usize {
        let end = self.buffer.end();
        if end.after(self.snd.nxt) { end.since(self.snd.nxt) as usize } else { 0 }
    }

    /// Whether our FIN has been acknowledged.
    pub(crate) fn fin_is_acknowledged(&self) -> bool {
        self.fin_queued && self.snd.una.after(self.buffer.end())
    }

    /// Whether our FIN has been sent.
    pub(crate) fn fin_is_sent(&self) -> bool {
        self.snd.nxt.after(self.buffer.end())
    }

    /// The sequence number of a segment without data: one that a peer takes which has closed or shrunk its
    /// window under what is in flight. That scaling rounds a window down does not count as shrinking it; but what
    /// a probe has sent into a closed window was most likely not taken.
    pub(crate) fn acceptable_seq(&self, synchronized: bool) -> SeqNum {
        let edge = self.snd.una + self.snd.wnd;
        let scale = self.snd.wscale.filter(|_| !self.has_due()).unwrap_or(WindowScale::ZERO);
        let rounding = scale.unscale(1) - 1;
        if synchronized && (edge + rounding).before(self.snd.nxt) { edge } else { self.snd.nxt }
    }

    // ---- timers

    fn news(&self, now: Timestamp) -> News {
        News {
            now,
            una: self.snd.una,
            nxt: self.snd.nxt,
            mss: self.mss(),
            acked: 0,
            sacked: 0,
            duplicate: false,
            bare: false,
            original: false,
            overtaken: None,
            dsack: None,
            tsecr: None,
            prior_delivered: None,
            delivered_in_all: self.rate.delivered(),
            can_send_new: false,
            marked: false,
            min_rtt: self.rto.min_rtt(),
            srtt: self.rto.srtt(),
            granularity: self.granularity(),
        }
    }

    /// The bounds of the retransmission timeout have changed.
    pub(crate) fn set_rto_bounds(&mut self, options: &SocketOptions, config: &StackConfig) {
        self.rto.set_bounds(options, config);
    }

    /// What the user says of loss recovery may have changed.
    pub(crate) fn configure_recovery(&mut self, options: &SocketOptions, config: &StackConfig) {
        self.recovery.configure(options, config);
    }

    /// The retransmission timer went off for a SYN, of which so many timeouts are not doubled.
    pub(crate) fn on_syn_timeout(&mut self, linear: u8) {
        self.retransmits += 1;
        if self.retransmits > u32::from(linear) {
            self.rto.back_off();
        }
        self.last_sent = None;
    }

    /// Little is in flight, and it has not timed out often: too little for duplicate acknowledgements to tell of a loss.
    fn is_thin(&self) -> bool {
        self.flight.outstanding() < THIN * self.mss() && self.retransmits <= THIN_RETRIES
    }

    /// The retransmission timer went off (RFC 6298 5). `thin_linear`: the timeouts of a thin stream are not doubled.
    pub(crate) fn on_timeout(&mut self, now: Timestamp, thin_linear: bool) {
        let again = self.retransmits > 0;
        self.retransmits += 1;
        if thin_linear && self.is_thin() {
            self.rto.forget_backoff();
        } else {
            self.rto.back_off();
        }
        let news = self.news(now);
        self.recovery.on_timeout(&mut self.flight, self.congestion.as_mut(), &news, again);
    }

    /// RACK's timer went off, which was set for `as_of`. Says what becomes of it, and whether fast recovery has begun.
    pub(crate) fn on_reorder_timeout(&mut self, now: Timestamp, as_of: Timestamp) -> (Reorder, bool) {
        let news = self.news(now);
        let outcome =
            self.recovery.on_reorder_timeout(&mut self.flight, self.congestion.as_mut(), &news, as_of);
        if outcome.began {
            let (pipe, ssthresh) = (self.flight.pipe(), self.congestion.ssthresh());
            self.recovery.pace_reduction((0, 0), &outcome, (pipe, ssthresh), self.mss());
        }
        (outcome.reorder, outcome.began)
    }

    /// What is in flight is too big for the path, and goes out again in smaller pieces.
    pub(crate) fn on_too_big(&mut self) {
        self.recovery.on_not_taken(&mut self.flight, self.snd.nxt, Why::PathMtu);
    }

    /// Likewise, as far as timeouts tell.
    pub(crate) fn on_black_hole(&mut self) {
        self.recovery.on_black_hole(&mut self.flight, self.snd.nxt, Why::PathMtu);
    }

    /// Smaller segments get through: what the timeouts have done is undone.
    pub(crate) fn on_black_hole_proved(&mut self, now: Timestamp) {
        self.rto.forget_backoff();
        self.recovery.on_black_hole_proved(self.congestion.as_mut(), now);
    }

    /// What has become of a probe of the path's MTU with these numbers.
    pub(crate) fn fate_of_probe(&self, numbers: (SeqNum, SeqNum)) -> ProbeFate {
        self.flight.fate_of_probe(numbers, self.snd.una)
    }

    /// A router has refused one that begins there.
    pub(crate) fn on_mtu_probe_refused(&mut self, start: SeqNum) {
        self.flight.lose_probe(start);
        self.recovery.on_mtu_probe_refused(self.snd.nxt);
    }

    /// How many bytes of data the next segment has that goes out again. It may be made of several that went out before.
    pub(crate) fn due_len(&mut self) -> u32 {
        let mss = self.mss();
        self.flight.next_due(mss).map_or(0, |piece| piece.end.since(piece.start) - u32::from(piece.fin))
    }

    // RFC 8985 7.2-3
    /// When a probe of the tail is due, if one may be sent (RFC 8985 7.2).
    pub(crate) fn probe_timeout(&self) -> Option<Duration> {
        // Beyond a gap RACK's timer looks after what is missing (RFC 8985 7.2), also in the round trip of a mark.
        let gap = self.flight.sacked() > 0;
        if gap || self.flight.pipe() == 0 || !self.recovery.may_probe() {
            return None;
        }
        let lone = self.flight.outstanding() <= self.mss();
        Some(crate::recovery::tlp::Tlp::timeout(self.rto.srtt(), lone, self.granularity()))
    }

    /// RFC 5681 4.1: a window that was not used for a retransmission timeout proves nothing any more. Says whether it was so.
    fn restart_after_idle(&mut self, now: Timestamp) -> bool {
        let idle = self.last_sent.map(|at| now.since(at));
        let Some(idle) = idle.filter(|idle| self.flight.is_empty() && *idle > self.rto.base()) else {
            return false;
        };
        if !self.recovery.switches().restarts {
            return false;
        }
        self.last_sent = None;
        self.congestion.on_idle(now, idle);
        true
    }

    /// Whether all invariants hold.
    #[cfg(any(test, feature = "model"))]
    pub(crate) fn is_consistent(&self) -> bool {
        self.snd.una == self.snd.iss || self.flight.is_consistent(self.snd.una, self.snd.nxt)
    }
}
