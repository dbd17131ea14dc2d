//! Sixth, check the URG bit (RFC 9293 3.10.7.4, 3.8.5).

use ropeway_packet::{SeqNum, TcpFlags};

use super::Arrival;
use crate::event::Readiness;
use crate::tcp::connection::Connection;
use crate::tcp::connection::state::State;

impl Connection {
    /// RFC 9293 3.8.5 MUST-30, R-14: urgent data stays in the stream; the pointer is told to the user when it
    /// moves forward (MUST-32). `from` is the segment's own sequence number, from which its pointer counts
    /// (MUST-62).
    pub(super) fn check_urg(&mut self, segment: &Arrival, from: SeqNum) {
        let receives = matches!(self.state(), State::Established | State::FinWait1 | State::FinWait2)
            || self.is_open_early();
        if !receives || !segment.has(TcpFlags::URG) {
            return;
        }
        let up = from + u32::from(segment.header.urgent);
        if self.receiver.take_urgent(up) {
            self.gain(Readiness::PRIORITY);
        }
    }
}
