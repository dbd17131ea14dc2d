//! ICMP: which errors we send, and what those that arrive mean to TCP.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use ropeway_packet::{IcmpMessage, Quoted, UnreachableKind};

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

/// Limits on the errors that are sent, in all and to each address: whoever forges the source of packets neither makes us flood it
/// nor takes away what others would be told.
#[derive(Clone, Debug)]
pub(crate) struct ErrorLimits {
    all: RateLimit,
    each: u32,
    /// By a hash of the address that nobody else knows: those with the same share one limit, so there are never more.
    places: BTreeMap<u8, RateLimit>,
}

impl ErrorLimits {
    pub(crate) fn new(all: u32, each: u32) -> Self {
        Self { all: RateLimit::new(all), each, places: BTreeMap::new() }
    }

    pub(crate) fn allows(&mut self, now: Timestamp, hash: u64) -> bool {
        let each = self.each;
        let place = hash.to_be_bytes()[0];
        self.places.entry(place).or_insert_with(|| RateLimit::new(each)).allows(now) && self.all.allows(now)
    }
}

/// So many replies to echo requests are remembered.
const REMEMBERED: usize = 16;

/// The last replies to echo requests that were too long for some path: what a packet-too-big may be about.
#[derive(Clone, Debug, Default)]
pub(crate) struct EchoReplies(VecDeque<EchoReply>);

#[derive(Clone, Copy, Debug)]
struct EchoReply {
    to: IpAddr,
    ident: u16,
    seq: u16,
    /// Of the packet, before it was cut.
    len: usize,
}

impl EchoReplies {
    pub(crate) fn note(&mut self, to: IpAddr, ident: u16, seq: u16, len: usize) {
        self.0.truncate(REMEMBERED - 1);
        self.0.push_front(EchoReply { to, ident, seq, len });
    }

    /// Whether what is quoted is one of them, or a part of it.
    pub(crate) fn may_have_sent(&self, quoted: &Quoted) -> bool {
        let Some((ident, seq)) = quoted.echo_reply else { return false };
        let len = usize::try_from(quoted.ip.total_len).unwrap_or(usize::MAX);
        self.0.iter().any(|reply| {
            (reply.to, reply.ident, reply.seq) == (quoted.ip.dst, ident, seq) && len <= reply.len
        })
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
