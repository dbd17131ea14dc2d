//! Windows: what we announce (RFC 9293 3.8.6).

use ropeway_packet::{SeqNum, WindowScale};

use super::Connection;
use super::state::State;
use crate::buffer::send::length_u32;

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
}
