//! Second, check the RST bit (RFC 9293 3.10.7.4, RFC 5961 3).

use std::ops::ControlFlow;

use ropeway_packet::TcpFlags;

use super::{Arrival, Step, Verdict};
use crate::error::ConnectionError;
use crate::tcp::connection::state::{Cause, State};
use crate::tcp::connection::{Connection, Env};

impl Connection {
    pub(super) fn check_rst(&mut self, segment: &Arrival, env: &mut Env<'_>) -> Step {
        if !segment.has(TcpFlags::RST) {
            return ControlFlow::Continue(());
        }
        // RFC 9293 3.10.7.4 R-05, RFC 5961 3.2-2, RFC 5961 3.2-3: only the very next sequence number proves
        // that the peer sent it.
        if segment.seq() != self.receiver.rcv().nxt {
            self.suspect_reset();
            return ControlFlow::Break(Verdict::Challenge);
        }
        env.counters.resets_received += 1;
        match self.state() {
            State::SynReceived if self.is_open_early() => self.fail_early(env),
            // MUST-11, R-07: only an active open is in SYN-RECEIVED here; the listener's live in the SYN
            // queue.
            State::SynReceived => self.fail(ConnectionError::Refused, Cause::Reset, env),
            State::CloseWait => self.fail(ConnectionError::BrokenPipe, Cause::Reset, env),
            // Both have closed: if nothing but our FIN is unacknowledged, nothing was lost.
            State::Closing | State::LastAck if self.sender.buffer().is_empty() => self.finish(Cause::Reset),
            // RFC 9293 3.6 MUST-12
            _ => self.fail(ConnectionError::Reset, Cause::Reset, env),
        }
        ControlFlow::Break(Verdict::Drop)
    }
}
