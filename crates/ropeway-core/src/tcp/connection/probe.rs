//! An active open that only asks whether a port is open.

use super::Connection;
use crate::error::ConnectionError;
use crate::probe::ProbeOutcome;

/// How far a probe has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Asking,
    /// It was answered with a SYN-ACK.
    Open,
    /// It was not answered, or by ICMP; or with a RST.
    Failed(ProbeOutcome),
}

impl Connection {
    /// From now on this only asks whether the port is open.
    pub(crate) fn only_probe(&mut self) {
        self.probe = Some(Probe::Asking);
    }

    /// What a probe has found out.
    pub(crate) fn probe_outcome(&self) -> Option<ProbeOutcome> {
        match self.probe? {
            Probe::Asking => None,
            Probe::Open => Some(ProbeOutcome::Open),
            Probe::Failed(outcome) => Some(outcome),
        }
    }

    /// The open has failed; a probe makes its outcome of that.
    pub(super) fn probe_failed(&mut self, error: ConnectionError) {
        if self.probe == Some(Probe::Asking) {
            self.probe = Some(Probe::Failed(match error {
                ConnectionError::Refused => ProbeOutcome::Closed,
                error => ProbeOutcome::Filtered(error),
            }));
        }
    }
}
