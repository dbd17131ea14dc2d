//! Probes: is a port open, closed or filtered? What a port scanner asks, once per port.

use crate::error::ConnectionError;

/// What a probe has found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProbeOutcome {
    /// Somebody answered: a SYN-ACK (which was answered with a RST), or a datagram.
    Open,
    /// A RST; for UDP, ICMP port unreachable.
    Closed,
    /// No answer to the SYN and its retransmissions, or an ICMP error that says why. For UDP only the
    /// latter: silence may mean open as well.
    Filtered(ConnectionError),
}

impl ProbeOutcome {
    /// What an ICMP error says of the UDP port that it is about.
    #[must_use]
    pub fn of_datagram(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Refused => Self::Closed,
            error => Self::Filtered(error),
        }
    }
}
