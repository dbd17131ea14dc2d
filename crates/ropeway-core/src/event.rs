//! Ids that the door hands out, and the events that tell when to look at them again.

use std::ops::{BitOr, BitOrAssign};

use ropeway_packet::FourTuple;

use crate::udp::datagram::UdpId;

/// A connection. Ids are never reused while one who holds them could mistake another for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ConnectionId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl ConnectionId {
    /// A small number, unique among the connections alive: an index for a caller's own table.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A listener.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ListenerId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl ListenerId {
    /// A small number, unique among the listeners alive: an index for a caller's own table.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// What a connection can do now; level-triggered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Readiness(u8);

impl Readiness {
    /// Nothing.
    pub const EMPTY: Self = Self(0);
    /// `recv` would not say `WouldBlock`: bytes, the end of the stream, or an error are there.
    pub const READABLE: Self = Self(1);
    /// `send` would not say `WouldBlock`: there is room, or an error.
    pub const WRITABLE: Self = Self(2);
    /// The peer will send no more: its FIN has arrived, or the connection is gone, or reading was shut down.
    pub const READ_CLOSED: Self = Self(4);
    /// Nothing more can be written.
    pub const WRITE_CLOSED: Self = Self(8);
    /// A pending error waits for `take_error`.
    pub const ERROR: Self = Self(16);
    /// Urgent data has been announced and not been read yet (RFC 9293 3.8.5 MUST-32).
    pub const PRIORITY: Self = Self(32);
    /// Our FIN has been acknowledged, and with it everything that was written; or the connection is over.
    pub const FIN_ACKED: Self = Self(64);

    /// What a connection that is over can do.
    pub(crate) const OVER: Self = Self(
        Self::READABLE.0 | Self::WRITABLE.0 | Self::READ_CLOSED.0 | Self::WRITE_CLOSED.0 | Self::FIN_ACKED.0,
    );

    /// Whether all of `other` is in this.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in this.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is nothing at all.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Readiness {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Readiness {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMES: [&str; 7] =
            ["READABLE", "WRITABLE", "READ_CLOSED", "WRITE_CLOSED", "ERROR", "PRIORITY", "FIN_ACKED"];
        let mut names =
            NAMES.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| *name);
        f.write_str(names.next().unwrap_or("EMPTY"))?;
        names.try_for_each(|name| write!(f, "|{name}"))
    }
}

/// Something to look at. Events are hints: what a call answers is decided by the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// `accept` on this listener has a connection to give.
    Acceptable(ListenerId),
    /// `poll_incoming` on this listener has a SYN to decide on.
    Incoming(ListenerId),
    /// A SYN of this listener has come to its end: it was accepted and the handshake is complete, or it came to
    /// nothing, before the decision or after it. `poll_accepted` tells which.
    IncomingSettled(ListenerId, FourTuple),
    /// This UDP socket's readiness has gained at least what is named.
    Udp(UdpId, Readiness),
    /// `poll_diverted` has a packet to give.
    Diverted,
    /// This connection's readiness has gained at least what is named (an active open that succeeded gains
    /// `WRITABLE`; one that failed, `ERROR` with the rest).
    Ready(ConnectionId, Readiness),
}
