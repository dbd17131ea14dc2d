//! Windows: what we announce (RFC 9293 3.8.6). `buffer` is how many bytes may be held unread; 0 if no window is to change
//! any more.

use ropeway_packet::{SeqNum, WindowScale};

use super::Receiver;
use crate::buffer::send::length_u32;

impl Receiver {
    /// The right edge that the buffer allows: what is unread closes the window, for as long as it takes
    /// (RFC 9293 3.8.6.1 MAY-8).
    fn affordable_edge(&self, buffer: usize) -> SeqNum {
        // What is less than a unit of the window field could not be announced: it would be a window that never opens.
        let buffer = if buffer > 0 { buffer.max(self.rcv.unit() as usize) } else { 0 };
        let room = buffer.saturating_sub(self.buffer.len());
        self.rcv.nxt + length_u32(room).min(self.rcv.widest())
    }

    /// How far the right edge may move now: not at all rather than by little (RFC 9293 3.8.6.2.2 MUST-39),
    /// and never to the left (SHLD-14).
    fn edge_advance(&self, buffer: usize) -> u32 {
        let edge = self.affordable_edge(buffer);
        if !edge.after(self.rcv.edge) {
            return 0;
        }
        let gain = self.shown(edge.since(self.rcv.nxt)).saturating_sub(self.shown(self.rcv.wnd()));
        let worthwhile = length_u32(buffer / 2).min(u32::from(self.rcv.advmss)).max(1);
        if gain >= worthwhile { edge.since(self.rcv.edge) } else { 0 }
    }

    /// What the peer sees of a window: whole units of its field (RFC 7323 2.3).
    fn shown(&self, window: u32) -> u32 {
        window - window % self.rcv.unit()
    }

    /// The window is opened as far as it may be.
    pub(crate) fn move_edge(&mut self, buffer: usize) {
        self.rcv.edge += self.edge_advance(buffer);
    }

    /// The window field of the segment that is being sent (RFC 7323 2.3-1).
    pub(crate) fn announce_window(&mut self, buffer: usize) -> u16 {
        self.move_edge(buffer);
        self.window_field()
    }

    /// The window field as it was announced last.
    pub(crate) fn window_field(&self) -> u16 {
        self.rcv.wscale.unwrap_or(WindowScale::ZERO).scale(self.rcv.wnd())
    }

    /// The application has read: is it time to tell the peer? When the window has at least doubled, as in
    /// Linux, so that a reader of small pieces does not cause a segment each.
    pub(crate) fn update_window(&mut self, buffer: usize) {
        let (advance, window) = (self.edge_advance(buffer), self.rcv.wnd());
        if advance > 0 && self.shown(window + advance) >= 2 * self.shown(window) && !self.fin_received {
            self.ack_now();
        }
    }
}
