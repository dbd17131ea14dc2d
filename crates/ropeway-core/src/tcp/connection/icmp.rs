//! ICMP errors that quote a segment of ours (RFC 9293 3.9.2.2, RFC 5927).

use ropeway_packet::SeqNum;

use super::probe::Probe;
use super::state::{Cause, State};
use super::{Connection, Env};
use crate::error::ConnectionError;
use crate::probe::ProbeOutcome;

impl Connection {
    /// RFC 9293 3.4, Table 6 and RFC 5927 4: an ICMP error that quotes a sequence number which is not in
    /// flight was not caused by us.
    pub(crate) fn quotes_outstanding(&self, seq: SeqNum) -> bool {
        seq.at_or_after(self.sender.snd().una) && seq.before(self.sender.snd().nxt)
    }

    /// An ICMP error (RFC 9293 3.9.2.2). A hard one ends a connection only before it is synchronized
    /// (SHLD-26): later the sequence number in the quote is all an attacker had to guess (RFC 5927 5.2).
    pub(crate) fn icmp_error(&mut self, error: ConnectionError, hard: bool, env: &mut Env<'_>) {
        if self.probe.is_some() && self.state() == State::SynSent {
            self.probe = Some(Probe::Failed(ProbeOutcome::Filtered(error)));
            self.fail(error, Cause::Timeout, env);
        } else if hard && matches!(self.state(), State::SynSent | State::SynReceived) {
            self.fail(error, Cause::Timeout, env);
        } else {
            // MUST-56; it is there to be asked for (SHLD-25), and nobody is woken by it (SHLD-20).
            self.soft_error = Some(error);
        }
    }
}
