//! ICMP: which errors we send, and what those that arrive mean to TCP.

use ropeway_packet::{IcmpMessage, UnreachableKind};

use crate::error::ConnectionError;
use crate::time::Timestamp;

/// How many errors may be sent: a bucket that refills (RFC 1812 4.3.2.8, RFC 4443 2.4 f).
#[derive(Clone, Debug)]
pub(crate) struct RateLimit {
    per_second: u32,
    tokens: u32,
    second: u64,
}

impl RateLimit {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second, tokens: per_second, second: 0 }
    }

    pub(crate) fn allows(&mut self, now: Timestamp) -> bool {
        let second = now.as_micros() / 1_000_000;
        if self.second != second {
            self.second = second;
            self.tokens = self.per_second;
        }
        let allowed = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }
}

/// What an ICMP error says to a connection: the error, and whether it is a hard one (RFC 9293 3.9.2.2,
/// MUST-56, SHLD-26).
pub(crate) fn error_of(message: &IcmpMessage) -> Option<(ConnectionError, bool)> {
    match message {
        IcmpMessage::Unreachable { code, .. } => Some(match code.kind {
            UnreachableKind::Port => (ConnectionError::Refused, true),
            UnreachableKind::Protocol => (ConnectionError::ProtocolUnreachable, true),
            UnreachableKind::Network => (ConnectionError::NetworkUnreachable, false),
            UnreachableKind::AdminProhibited => (ConnectionError::Prohibited, false),
            _ => (ConnectionError::HostUnreachable, false),
        }),
        IcmpMessage::TimeExceeded { .. } => Some((ConnectionError::HostUnreachable, false)),
        IcmpMessage::ParameterProblem { .. } => Some((ConnectionError::ProtocolUnreachable, false)),
        _ => None,
    }
}
