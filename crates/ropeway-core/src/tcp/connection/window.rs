//! Windows: what we announce, and when a small segment may be sent (RFC 9293 3.8.6, 3.7.4).

use ropeway_packet::{SeqNum, WindowScale};

use super::Connection;
use super::state::State;
use super::timers::Timer;
use super::{CORK_LIMIT, Env};
use crate::buffer::send::length_u32;
use crate::info::SenderLimit;

/// What may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// So many bytes, which may be none if only a FIN is left.
    Send(u32),
    /// Nothing, for this reason.
    Wait(SenderLimit),
}

impl Connection {
    /// The right edge that the buffer allows: what is unread closes the window, for as long as it takes
    /// (RFC 9293 3.8.6.1 MAY-8).
    fn affordable_edge(&self) -> SeqNum {
        let room = self.options.recv_buffer.saturating_sub(self.receive_buffer.len());
        self.rcv.nxt + length_u32(room).min(self.rcv.widest())
    }

    /// How far the right edge may move now: not at all rather than by little (RFC 9293 3.8.6.2.2 MUST-39),
    /// and never to the left (SHLD-14).
    pub(super) fn edge_advance(&self) -> u32 {
        let edge = self.affordable_edge();
        if !edge.after(self.rcv.edge) || self.state() == State::TimeWait {
            return 0;
        }
        let advance = edge.since(self.rcv.edge);
        let worthwhile = length_u32(self.options.recv_buffer / 2).min(u32::from(self.rcv.advmss)).max(1);
        if advance >= worthwhile { advance } else { 0 }
    }

    /// The window field of the segment that is being sent (RFC 7323 2.3-1).
    pub(super) fn announce_window(&mut self) -> u16 {
        self.rcv.edge += self.edge_advance();
        self.rcv.wscale.unwrap_or(WindowScale::ZERO).scale(self.rcv.wnd())
    }

    /// The window field of a SYN, which is never scaled (RFC 7323 2.2-3).
    pub(super) fn initial_window(&self) -> u16 {
        u16::try_from(self.options.recv_buffer).unwrap_or(u16::MAX)
    }

    /// The application has read: is it time to tell the peer? When the window has at least doubled, as in
    /// Linux, so that a reader of small pieces does not cause a segment each.
    pub(super) fn maybe_update_window(&mut self) {
        let advance = self.edge_advance();
        if advance > 0 && advance >= self.rcv.wnd() && !self.state().peer_has_closed() {
            self.ack_now();
        }
    }

    /// How much of `unsent` bytes may go out in the next segment.
    pub(super) fn allowed(&mut self, unsent: u32, fin: bool, env: &Env<'_>) -> Allowed {
        let mss = u32::from(self.snd.mss);
        let in_flight = self.snd.in_flight();
        // The peer may have shrunk its window under what is in flight (RFC 9293 3.8.6 MUST-34, SHLD-15).
        let window = self.snd.wnd.saturating_sub(in_flight);
        // As much as may be (RFC 9293 3.9.1.2 SHLD-28), and nothing beyond the window (RFC 7323 2.4-3).
        let len = unsent.min(mss).min(window);
        if len < unsent.min(mss) || window == 0 {
            // MUST-38: a piece of the window only if it is at least half of the largest one ever seen.
            // What has timed out goes out again as far as it fits (SHLD-16).
            let again = self.retransmits > 0 && self.snd.nxt.before(self.snd.max);
            if window == 0 || (!again && len < (self.snd.max_wnd / 2).max(1)) {
                return Allowed::Wait(SenderLimit::ReceiveWindow);
            }
        }
        let cwnd = self.congestion.cwnd().saturating_add(self.recovery.allowance(mss));
        if len > 0 && in_flight > 0 && cwnd.saturating_sub(in_flight) < len {
            return Allowed::Wait(SenderLimit::CongestionWindow);
        }
        if len == mss || len < unsent || fin || self.may_send_small() {
            return Allowed::Send(len);
        }
        // MUST-60: nothing is held back for ever.
        if (self.options.cork || self.more_to_come) && !self.timers.is_set(Timer::Cork) {
            self.timers.set(Timer::Cork, env.now + CORK_LIMIT);
        }
        Allowed::Wait(SenderLimit::SmallSegment)
    }

    /// Nagle's algorithm as Minshall amended it (RFC 9293 3.7.4 SHLD-7, appendix A.3): the last small segment
    /// may go out unless another small one is unacknowledged.
    fn may_send_small(&self) -> bool {
        let again = self.snd.nxt.before(self.snd.max);
        let urgent = self.snd.up.is_some();
        if again || urgent || self.release_small || self.is_full_up() {
            return true;
        }
        // RFC 9293 3.9.1.2 MAY-16
        if self.options.cork || self.more_to_come {
            return false;
        }
        // RFC 9293 3.7.4 MUST-17
        self.options.nodelay || self.snd.small.at_or_before(self.snd.una)
    }

    /// A full send buffer counts as a full segment, as in Linux, cork or not: nothing can join what is left of it before
    /// something is acknowledged, and with less than two full segments in flight that waits for the peer's delay.
    fn is_full_up(&self) -> bool {
        self.send_buffer.len() >= self.options.send_buffer
            && self.snd.in_flight() < 2 * u32::from(self.snd.mss)
    }
}
