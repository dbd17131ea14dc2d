//! Where packets wait for a link, and which of them are dropped.

use std::time::Duration;

/// The queue in front of a [direction](crate::Pipe) of a link that has a rate.
///
/// ```
/// use ropeway_sim::{CoDel, Link, Queue, Rate};
/// let bloated = Link::new().rate(Rate::mbit(1)).queue(Queue::bytes(1_000_000));
/// let managed = Link::new().rate(Rate::mbit(1)).queue(Queue::packets(1000).codel(CoDel::default()));
/// # let _ = (bloated, managed);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Queue {
    /// How much may wait. A packet that finds it full is dropped.
    pub limit: Limit,
    /// Whether packets are dropped, or marked, before the queue is full.
    pub discipline: Discipline,
}

/// How much may wait in a [`Queue`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// So many packets.
    Packets(usize),
    /// So many bytes.
    Bytes(usize),
}

/// What decides over the packets of a [`Queue`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Discipline {
    /// Only the limit.
    #[default]
    TailDrop,
    /// CoDel (RFC 8289).
    CoDel(CoDel),
    /// Packets that find more bytes than this in the queue are marked, if they may be (RFC 3168). None is dropped before the
    /// queue is full: as switches in data centres do (RFC 8257 3.1).
    Step(usize),
}

/// CoDel (RFC 8289): drops packets, or marks them, once all have waited too long for a while. With ECN (RFC 3168),
/// what comes from an ECN-capable transport is marked instead of dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoDel {
    /// TARGET: how long packets may wait for ever. 5 ms by default.
    pub target: Duration,
    /// INTERVAL: how long they may wait longer than that. 100 ms by default.
    pub interval: Duration,
    /// Whether packets are marked rather than dropped if they may be. `true` by default.
    pub ecn: bool,
}

impl Default for CoDel {
    fn default() -> Self {
        Self { target: Duration::from_millis(5), interval: Duration::from_millis(100), ecn: true }
    }
}

impl CoDel {
    /// Sets how long packets may wait for ever.
    #[must_use]
    pub fn target(mut self, target: Duration) -> Self {
        self.target = target;
        self
    }

    /// Sets how long packets may wait longer than the target.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets whether packets are marked rather than dropped if they may be.
    #[must_use]
    pub fn ecn(mut self, ecn: bool) -> Self {
        self.ecn = ecn;
        self
    }
}

impl Default for Queue {
    /// 1000 packets, which is the default of Linux's interfaces.
    fn default() -> Self {
        Self::packets(1000)
    }
}

impl Queue {
    /// A queue of so many packets, with tail drop.
    #[must_use]
    pub fn packets(limit: usize) -> Self {
        Self { limit: Limit::Packets(limit), discipline: Discipline::TailDrop }
    }

    /// A queue of so many bytes, with tail drop.
    #[must_use]
    pub fn bytes(limit: usize) -> Self {
        Self { limit: Limit::Bytes(limit), discipline: Discipline::TailDrop }
    }

    /// Marks what finds more bytes than this in the queue.
    ///
    /// ```
    /// use ropeway_sim::Queue;
    /// let queue = Queue::packets(1000).step(30_000);
    /// # let _ = queue;
    /// ```
    #[must_use]
    pub fn step(mut self, bytes: usize) -> Self {
        self.discipline = Discipline::Step(bytes);
        self
    }

    /// Manages the queue by CoDel.
    #[must_use]
    pub fn codel(mut self, codel: CoDel) -> Self {
        self.discipline = Discipline::CoDel(codel);
        self
    }
}
