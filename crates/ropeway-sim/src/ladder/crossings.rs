//! What crossed the wire, as far as a drawing needs it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::SystemTime;

use bytes::Bytes;
use ropeway::State;
use ropeway_packet::{TcpFlags, TcpHeader};

/// Segments that are kept from the start, and as many from the end.
const KEPT: usize = 1000;

/// Bytes of a payload that are shown, at most.
pub(super) const SHOWN_BYTES: usize = 16;

/// A TCP segment that crossed.
#[derive(Clone, Debug)]
pub struct Crossing {
    /// When.
    pub at: SystemTime,
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// Its header.
    pub header: TcpHeader,
    /// Bytes of payload.
    pub len: usize,
    /// The first of them: see [`start`](Self::start).
    pub start: Bytes,
}

impl Crossing {
    /// The first bytes of a payload, as many as a drawing shows.
    #[must_use]
    pub fn start(payload: &[u8]) -> Bytes {
        Bytes::copy_from_slice(payload.get(..SHOWN_BYTES).unwrap_or(payload))
    }
}

/// A change of state that an end reported.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The end that changed.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// What it changed to.
    pub to: State,
    /// How many segments had crossed by then.
    pub after: usize,
}

/// The segments of one connection, the first that was opened; without the middle if there are very many.
#[derive(Debug, Default)]
pub struct Crossings {
    first: Vec<Crossing>,
    last: VecDeque<Crossing>,
    left_out: LeftOut,
}

impl Crossings {
    /// Adds a segment, if it belongs to the connection.
    pub fn push(&mut self, crossing: Crossing) {
        let belongs = match self.ends() {
            Some((opener, other)) => {
                [(opener, other), (other, opener)].contains(&(crossing.from, crossing.to))
            }
            None => crossing.header.flags.contains(TcpFlags::SYN),
        };
        if !belongs {
            return;
        }
        if self.first.len() < KEPT {
            return self.first.push(crossing);
        }
        self.last.push_back(crossing);
        if self.last.len() > KEPT
            && let (Some(oldest), Some((opener, _))) = (self.last.pop_front(), self.ends())
        {
            self.left_out.add(&oldest, opener);
        }
    }

    /// How many segments have crossed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len() + self.left_out.len() + self.last.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Who opened the connection, and to whom.
    #[must_use]
    pub fn ends(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.first.first().map(|crossing| (crossing.from, crossing.to))
    }

    /// The segments that were kept, each with its number, and what was left out in their middle.
    pub(crate) fn kept(&self) -> (impl Iterator<Item = (usize, &Crossing)>, &LeftOut) {
        let last_start = self.first.len() + self.left_out.len();
        let kept = self.first.iter().enumerate().chain((last_start..).zip(&self.last));
        (kept, &self.left_out)
    }
}

/// Segments that are not shown, in the direction of who opened the connection and in the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeftOut {
    pub(crate) segments: [usize; 2],
    pub(crate) bytes: [usize; 2],
}

impl LeftOut {
    pub(crate) fn add(&mut self, crossing: &Crossing, opener: SocketAddr) {
        let direction = usize::from(crossing.from != opener);
        for (index, (segments, bytes)) in self.segments.iter_mut().zip(&mut self.bytes).enumerate() {
            if index == direction {
                *segments += 1;
                *bytes += crossing.len;
            }
        }
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        for (own, other) in self.segments.iter_mut().zip(other.segments) {
            *own += other;
        }
        for (own, other) in self.bytes.iter_mut().zip(other.bytes) {
            *own += other;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.iter().sum()
    }
}
