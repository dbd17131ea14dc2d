//! Fourth, check the SYN bit (RFC 9293 3.10.7.4, RFC 5961 4).

use std::ops::ControlFlow;

use ropeway_packet::TcpFlags;

use super::{Arrival, Step, Verdict};
use crate::tcp::connection::Connection;

impl Connection {
    /// An old duplicate, a forgery, or a peer that has restarted: the challenge ACK finds out which. It
    /// costs the connection nothing (RFC 9293 3.10.7.4 R-06, RFC 5961 4.2-1).
    pub(super) fn check_syn(&mut self, segment: &Arrival) -> Step {
        if segment.has(TcpFlags::SYN) {
            return ControlFlow::Break(Verdict::Challenge);
        }
        ControlFlow::Continue(())
    }
}
