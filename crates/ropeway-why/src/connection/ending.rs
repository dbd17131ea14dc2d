//! How a connection ends.

use std::time::Duration;

use ropeway_packet::TcpFlags;
use serde::Serialize;

use super::{Ends, Seen};

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// It opened the connection, or was seen first.
    Client,
    /// The other.
    Server,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Client, Self::Server];

    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// How it is called in texts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// What is known of the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    /// The first FIN of each end.
    pub(crate) fins: Ends<Option<(u64, Duration)>>,
    /// The acknowledgement of each.
    pub(crate) acknowledged: Ends<Option<u64>>,
    /// The first RST.
    pub(crate) reset: Option<Reset>,
    pub(crate) resets: u64,
}

/// A RST.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reset {
    pub(crate) from: Side,
    pub(crate) frame: u64,
    /// Its time to live, and that of other segments of the same end.
    pub(crate) ttl: (u8, Option<u8>),
    /// Both FINs had been sent.
    pub(crate) after_close: bool,
    /// Its sender had sent a FIN, and data came.
    pub(crate) after_own_fin: bool,
    /// Data of the other end was not acknowledged.
    pub(crate) unacknowledged: bool,
}

impl Ending {
    pub(crate) fn on_fin(&mut self, from: Side, seen: &Seen) {
        self.fins[from].get_or_insert((seen.frame, seen.at));
    }

    pub(crate) fn on_progress(
        &mut self,
        from: Side,
        seen: &Seen,
        una: u64,
        fin: Option<(u64, u64, Duration)>,
    ) {
        let to = from.other();
        if seen.segment.flags.contains(TcpFlags::ACK) && fin.is_some_and(|(end, ..)| una >= end) {
            self.acknowledged[to].get_or_insert(seen.frame);
        }
    }

    pub(crate) fn on_reset(&mut self, from: Side, seen: &Seen, usual: Option<u8>, waiting: Ends<bool>) {
        self.resets += 1;
        if self.reset.is_some() {
            return;
        }
        self.reset = Some(Reset {
            from,
            frame: seen.frame,
            ttl: (seen.segment.ttl, usual),
            after_close: self.acknowledged.iter().all(Option::is_some),
            after_own_fin: self.fins[from].is_some(),
            unacknowledged: waiting[from.other()],
        });
    }

    /// Whether nothing more can come.
    pub(crate) fn is_over(&self) -> bool {
        self.reset.is_some() || self.fins.iter().all(Option::is_some)
    }
}
