//! What is to be sent next, and how it is booked when it is.

use ropeway_packet::SeqNum;

use super::Sender;
use super::flight::{Marks, Piece, Sent};
use super::why::Why;
use crate::congestion::Phase;
use crate::info::SenderLimit;
use crate::time::Timestamp;

/// A segment of data that is to be sent, or a train of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seq: SeqNum,
    /// Bytes of data.
    pub(crate) len: u32,
    /// If it is a train: how long each of its segments is.
    pub(crate) segment_size: Option<u16>,
    pub(crate) fin: bool,
    /// It was sent before.
    pub(crate) again: bool,
    /// What asked for it, if it is a retransmission or a probe.
    pub(crate) why: Option<Why>,
}

impl Plan {
    fn of(piece: Piece) -> Self {
        let len = piece.end.since(piece.start) - u32::from(piece.fin);
        Self { seq: piece.start, len, segment_size: None, fin: piece.fin, again: true, why: piece.why }
    }

    /// How many segments it is.
    pub(crate) fn segments(&self) -> u32 {
        self.segment_size.map_or(1, |size| self.len.div_ceil(u32::from(size.max(1))))
    }

    pub(crate) fn end(&self) -> SeqNum {
        self.seq + self.len + u32::from(self.fin)
    }

    /// The part of it that was sent before.
    fn piece(&self, nxt: SeqNum) -> Piece {
        let all = self.end().at_or_before(nxt);
        Piece { start: self.seq, end: self.end().min(nxt), fin: self.fin && all, probe: false, why: self.why }
    }
}

/// What the user and the state of the connection allow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) nodelay: bool,
    pub(crate) cork: bool,
    /// The size of the send buffer.
    pub(crate) buffer: usize,
    /// Bytes of options besides the usual ones: SACK blocks.
    pub(crate) options: u32,
    /// The most bytes of data that may go as one train.
    pub(crate) train: u32,
}

/// What may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Segment(Plan),
    /// There is something, but it may not go, for this reason.
    Wait(SenderLimit),
    /// It may go then: segments follow each other at a rate.
    Paced(Timestamp),
    /// A small segment waits for more data; not for ever, if it was corked.
    Small {
        corked: bool,
    },
    /// There is nothing to send.
    Nothing,
}

impl Sender {
    // RFC 6675 4-4, RFC 6675 5-2, RFC 6675 5-5, RFC 8985 9.3-1
    /// The next segment, as far as the windows allow: first what was lost.
    pub(crate) fn next(&mut self, now: Timestamp, limits: &Limits) -> Next {
        self.restart_after_idle(now);
        let new_first = self.new_data_first(limits);
        let at_once = Limits { nodelay: limits.nodelay || new_first, ..*limits };
        let most = self.mss().saturating_sub(limits.options).max(1);
        let due = if self.flight.lost() > 0 && !new_first { self.flight.next_due(most) } else { None };
        let next = match due {
            // What has probed a closed window goes out anew, with what follows.
            Some(piece) if piece.probe && piece.end == self.snd.nxt => self.next_new(piece.start, limits),
            Some(piece) => self.next_again(piece),
            None => self.next_new(self.snd.nxt, &at_once),
        };
        match next {
            Next::Segment(plan) => {
                let paced = self.pacer.waits_until(now, self.mss(), self.congestion.as_ref());
                match paced.filter(|_| plan.len > 0) {
                    Some(at) => Next::Paced(at),
                    None if new_first => next,
                    None => Next::Segment(self.train_from(plan, limits)),
                }
            }
            Next::Wait(SenderLimit::CongestionWindow) => {
                self.window_limited = self.snd.nxt;
                next
            }
            Next::Nothing => {
                self.nothing_left();
                next
            }
            _ => next,
        }
    }

    /// There is nothing to send, and nobody has to ask for it.
    pub(crate) fn rest(&mut self, now: Timestamp) {
        self.restart_after_idle(now);
        self.nothing_left();
    }

    fn nothing_left(&mut self) {
        let pipe = self.flight.pipe();
        if pipe == 0 {
            return;
        }
        if pipe < self.cwnd() {
            self.rate.note_app_limited(&mut self.flight.course, pipe);
        } else {
            // As in Linux, a flight that fills the window uses it, although nothing is left to send.
            self.window_limited = self.snd.nxt;
        }
    }

    /// Whether F-RTO wants new data to go before what is due (RFC 5682 3.1, step 2.b), and there is some, or was.
    fn new_data_first(&mut self, limits: &Limits) -> bool {
        if !self.recovery.wants_new_data() {
            return false;
        }
        let at_once = Limits { nodelay: true, ..*limits };
        let goes = matches!(self.next_new(self.snd.nxt, &at_once), Next::Segment(_));
        if !goes && self.snd.nxt.at_or_before(self.recovery.high()) {
            self.recovery.give_up_frto();
            return false;
        }
        true
    }

    /// What is taken for lost goes out again, within the windows (RFC 9293 3.8.6 SHLD-16).
    fn next_again(&self, piece: Piece) -> Next {
        let mut plan = Plan::of(piece);
        let window = self.snd.window_from(plan.seq);
        if window == 0 {
            return Next::Wait(SenderLimit::ReceiveWindow);
        }
        if plan.len + u32::from(plan.fin) > window {
            plan.fin &= plan.len < window;
            plan.len = plan.len.min(window);
        }
        let pipe = self.flight.pipe();
        // A FIN alone counts, too.
        if pipe > 0 && pipe.saturating_add(plan.len.max(1)) > self.cwnd() {
            return Next::Wait(SenderLimit::CongestionWindow);
        }
        Next::Segment(plan)
    }

    /// What follows from `seq` on, SND.NXT as a rule.
    fn next_new(&self, seq: SeqNum, limits: &Limits) -> Next {
        let again = seq.before(self.snd.nxt);
        let end = self.buffer.end();
        let unsent = if end.after(seq) { end.since(seq) } else { 0 };
        let fin = self.fin_queued && seq.at_or_before(end);
        if unsent == 0 && !fin {
            return Next::Nothing;
        }
        let mss = self.mss().saturating_sub(limits.options).max(1);
        // The peer may have shrunk its window under what is in flight (RFC 9293 3.8.6 MUST-34, SHLD-15).
        let window = self.snd.window_from(seq);
        // As much as may be (RFC 9293 3.9.1.2 SHLD-28), and nothing beyond the window (RFC 7323 2.4-3).
        let len = unsent.min(mss).min(window);
        // MUST-38: a piece of the window only if it is at least half of the largest one ever seen.
        if window == 0 || (len < unsent.min(mss) && len < (self.snd.max_wnd / 2).max(1)) {
            return Next::Wait(SenderLimit::ReceiveWindow);
        }
        let pipe = self.flight.pipe();
        if len > 0 && pipe > 0 && pipe.saturating_add(len) > self.cwnd() {
            return Next::Wait(SenderLimit::CongestionWindow);
        }
        if len == mss || len < unsent || fin || again || self.may_send_small(limits) {
            let fin = fin && len == unsent && window > len;
            return match len > 0 || fin {
                true => {
                    let why = again.then_some(Why::WindowProbe);
                    Next::Segment(Plan { seq, len, segment_size: None, fin, again, why })
                }
                false => Next::Wait(SenderLimit::ReceiveWindow),
            };
        }
        Next::Small { corked: limits.cork || self.more_to_come }
    }

    /// A full segment of new data, with all full segments that would follow it at once: what the windows and the pacer would
    /// let go one by one goes as one train.
    fn train_from(&self, first: Plan, limits: &Limits) -> Plan {
        let mss = self.mss();
        if limits.train < 2 * mss || first.len != mss || first.again || first.fin || limits.options > 0 {
            return first;
        }
        let unsent = self.buffer.end().since(first.seq);
        let window = self.snd.window_from(first.seq);
        let cwnd = self.cwnd().saturating_sub(self.flight.pipe()).max(mss);
        let paced = self.pacer.room(mss, self.congestion.as_ref());
        let len = unsent.min(window).min(cwnd).min(paced).min(limits.train) / mss * mss;
        if len < 2 * mss {
            return first;
        }
        let fin = self.fin_queued && len == unsent && window > len;
        Plan { len, segment_size: Some(self.snd.mss), fin, ..first }
    }

    /// Nagle's algorithm as Minshall amended it (RFC 9293 3.7.4 SHLD-7, appendix A.3): the last small segment
    /// may go out unless another small one is unacknowledged.
    fn may_send_small(&self, limits: &Limits) -> bool {
        let urgent = self.snd.up.is_some();
        if urgent || self.release_small || self.is_full_up(limits) {
            return true;
        }
        // RFC 9293 3.9.1.2 MAY-16
        if limits.cork || self.more_to_come {
            return false;
        }
        // RFC 9293 3.7.4 MUST-17
        limits.nodelay || self.snd.small.at_or_before(self.snd.una)
    }

    /// A full send buffer counts as a full segment, as in Linux, cork or not: nothing can join what is left of it before
    /// something is acknowledged, and with less than two full segments in flight that waits for the peer's delay.
    fn is_full_up(&self, limits: &Limits) -> bool {
        self.buffer.len() >= limits.buffer && self.flight.pipe() < 2 * self.mss()
    }

    /// Whether the last byte of a plan is to be pushed: the last byte there is, unless its write said that more follows
    /// (RFC 9293 3.9.1.2 MUST-61, SHLD-27).
    pub(crate) fn pushes(&self, plan: &Plan) -> bool {
        plan.len > 0 && plan.seq + plan.len == self.buffer.end() && self.pushes
    }

    /// A segment is sent. Says whether it was the last byte there is. `tsval`: what its timestamp says; `ordered`.
    pub(crate) fn on_sent(&mut self, plan: &Plan, now: Timestamp, tsval: Option<u32>) -> bool {
        let marks = if plan.why == Some(Why::MtuProbe) { Marks::MTU_PROBE } else { Marks::NONE };
        self.send(plan, now, tsval, marks);
        let last = self.buffer.end() == plan.seq + plan.len;
        if last {
            self.release_small = false;
        }
        last
    }

    // RFC 4821 7.4-3, RFC 4821 10.1-1
    /// As [`next`](Self::next). But a probe of the path's MTU with `len` bytes of data takes the place of new data, if it may.
    pub(crate) fn next_or_mtu_probe(&mut self, now: Timestamp, limits: &Limits, len: u32) -> Next {
        let next = self.next(now, limits);
        let Next::Segment(plan) = next else { return next };
        let Some(needed) =
            self.needed_to_probe(len).filter(|_| !plan.again && plan.len > 0 && limits.options == 0)
        else {
            return next;
        };
        // What is on its way will make room.
        let pipe = self.flight.pipe();
        if pipe > 0 && pipe.saturating_add(len) > self.cwnd() {
            return Next::Wait(SenderLimit::CongestionWindow);
        }
        if self.snd.window_from(self.snd.nxt) < needed {
            return if pipe > 0 { Next::Wait(SenderLimit::ReceiveWindow) } else { next };
        }
        Next::Segment(Plan { len, segment_size: None, fin: false, why: Some(Why::MtuProbe), ..plan })
    }

    // RFC 4821 7.4-1, RFC 4821 7.4-2
    /// How much must go, a probe of the path's MTU and what follows it, so that its loss will be noticed without a timeout
    /// (RFC 4821 7.4). Nothing if it cannot, or something is missing already.
    fn needed_to_probe(&self, len: u32) -> Option<u32> {
        let behind = (self.recovery.dup_thresh() + 1).saturating_mul(self.mss());
        let needed = len.saturating_add(behind);
        let fits = self.not_sent() >= needed as usize && self.snd.wnd >= needed && self.cwnd() >= needed;
        let calm = self.recovery.phase() == Phase::Open
            && self.flight.is_untroubled()
            // Duplicates up to there say nothing.
            && self.snd.nxt.after(self.recovery.high());
        (fits && calm && self.snd.up.is_none()).then_some(needed)
    }

    // RFC 8985 7.3-5
    fn send(&mut self, plan: &Plan, now: Timestamp, tsval: Option<u32>, marks: Marks) {
        let (pipe, idle) = (self.flight.pipe(), self.flight.is_empty());
        let len = plan.end().since(plan.seq);
        let (stamp, limited) = self.rate.stamp(&mut self.flight.course, now, (pipe, len), idle);
        let ordered = self.recovery.needs_order();
        let marks = marks.with(limited);
        let size = self.snd.mss;
        if plan.again {
            self.flight.resend(plan.piece(self.snd.nxt), (now, size), (stamp, limited), ordered);
        }
        if plan.end().after(self.snd.nxt) {
            let marks = if plan.fin { marks.with(Marks::FIN) } else { marks };
            let joins = self.snd.small != self.snd.nxt && !marks.has(Marks::PROBE);
            let start = plan.seq.max(self.snd.nxt);
            // A window probe counts as lost at once.
            let why = plan.why.filter(|_| marks.has(Marks::LOST));
            let segments = plan.segments();
            let size =
                if marks.has(Marks::MTU_PROBE) { u16::try_from(plan.len).unwrap_or(u16::MAX) } else { size };
            let sent = Sent { start, end: plan.end(), at: now, marks, why, size, segments, stamp };
            self.flight.push(sent, ordered, joins);
            self.snd.nxt = plan.end();
            self.snd.note_flight();
            if plan.len < u32::from(size) && !marks.has(Marks::PROBE) {
                self.snd.small = self.snd.nxt;
            }
        }
        self.recovery.on_sent(len, plan.again, tsval);
        self.pacer.on_sent(now, plan.len);
        self.congestion.on_sent(now, plan.len, self.flight.pipe());
        self.last_sent = Some(now);
    }

    /// A probe of a closed window: a byte at least, or the FIN, whatever the window says (RFC 9293 3.8.6.1 MUST-36). It was
    /// most likely not taken, so it counts as lost at once.
    pub(crate) fn window_probe(&mut self, now: Timestamp, tsval: Option<u32>) -> Option<Plan> {
        let most = self.snd.wnd.max(1).min(self.mss());
        let due = if self.flight.lost() > 0 { self.flight.next_due(most) } else { None };
        let plan = match due.filter(|piece| !piece.probe || piece.end.before(self.snd.nxt)) {
            Some(piece) => Plan { why: Some(Why::WindowProbe), ..Plan::of(piece) },
            None => self.new_probe(due.map_or(self.snd.nxt, |piece| piece.start), most)?,
        };
        // What was out before stays as it was: due.
        if plan.end().after(self.snd.nxt) {
            let start = plan.seq.max(self.snd.nxt);
            let new = Plan { seq: start, len: plan.len - start.since(plan.seq), ..plan };
            self.send(&Plan { again: false, ..new }, now, tsval, Marks::PROBE.with(Marks::LOST));
        }
        if plan.again {
            self.recovery.on_sent(0, true, tsval);
            self.last_sent = Some(now);
        }
        Some(plan)
    }

    fn new_probe(&self, seq: SeqNum, most: u32) -> Option<Plan> {
        let end = self.buffer.end();
        let waiting = if end.after(seq) { end.since(seq) } else { 0 };
        let len = waiting.min(most);
        let fin = len == 0 && self.fin_queued && seq == end;
        let again = seq.before(self.snd.nxt);
        let why = Some(Why::WindowProbe);
        (len > 0 || fin).then_some(Plan { seq, len, segment_size: None, fin, again, why })
    }

    // RFC 8985 7.3-1
    /// A probe of the tail: new data if there is some, otherwise the last segment again (RFC 8985 7.3).
    pub(crate) fn tail_probe(&mut self, limits: &Limits) -> Option<Plan> {
        let mut plan = match self.next_new(self.snd.nxt, limits) {
            Next::Segment(plan) => Some(plan),
            // One segment beyond the congestion window.
            Next::Wait(SenderLimit::CongestionWindow) | Next::Small { .. } => self.new_segment(),
            _ => None,
        };
        if plan.is_none() {
            let most = self.mss().saturating_sub(limits.options).max(1);
            plan = self.flight.last_segment(most).map(Plan::of);
        }
        plan.map(|plan| Plan { why: Some(Why::TailProbe), ..plan })
    }

    fn new_segment(&self) -> Option<Plan> {
        let (seq, end) = (self.snd.nxt, self.buffer.end());
        let unsent = if end.after(seq) { end.since(seq) } else { 0 };
        let len = unsent.min(self.mss()).min(self.snd.window_from(seq));
        (len > 0).then_some(Plan { seq, len, segment_size: None, fin: false, again: false, why: None })
    }

    pub(crate) fn on_tail_probe_sent(&mut self, plan: &Plan) {
        self.recovery.on_probe_sent(self.snd.nxt, plan.again);
    }
}
