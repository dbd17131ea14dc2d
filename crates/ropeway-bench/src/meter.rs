//! Measures a stretch of a transfer on the thread that runs the stack.

use std::time::{Duration, Instant};

use crate::sys::CpuTime;

/// Bytes after which the clock is read again, so that reading it costs nothing that shows.
const CLOCK_EVERY: u64 = 256 * 1024;

/// Which stretch of a transfer counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// What happens first does not count: slow start, buffers that grow, cold caches.
    pub(crate) warm_up: Duration,
    /// How long to measure then.
    pub(crate) measure: Duration,
}

/// What a window held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Payload bytes that the application moved.
    pub(crate) bytes: u64,
    /// How long that took.
    pub(crate) wall: Duration,
    /// CPU time of the stack's thread, the kernel's work on its behalf included.
    pub(crate) cpu: CpuTime,
}

#[derive(Clone, Copy)]
struct Mark {
    bytes: u64,
    at: Instant,
    cpu: CpuTime,
}

/// Counts an application's bytes and notes when the window begins and ends.
pub(crate) struct Meter {
    window: Window,
    created: Instant,
    total: u64,
    next_look: u64,
    begin: Option<Mark>,
    end: Option<Mark>,
}

impl Meter {
    /// The warm-up begins now.
    pub(crate) fn new(window: Window) -> Self {
        Self { window, created: Instant::now(), total: 0, next_look: 0, begin: None, end: None }
    }

    /// Counts `bytes` more. Answers whether the window has ended.
    pub(crate) fn add(&mut self, bytes: usize) -> bool {
        self.total += bytes as u64;
        if self.total >= self.next_look {
            self.next_look = self.total + CLOCK_EVERY;
            self.look();
        }
        self.end.is_some()
    }

    /// All bytes counted, those outside the window too.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// What the window held; `None` if the transfer ended before it did.
    pub(crate) fn measured(&self) -> Option<Measured> {
        let (begin, end) = (self.begin?, self.end?);
        Some(Measured {
            bytes: end.bytes - begin.bytes,
            wall: end.at - begin.at,
            cpu: end.cpu.since(begin.cpu),
        })
    }

    fn look(&mut self) {
        let now = Instant::now();
        let mark = || Mark { bytes: self.total, at: now, cpu: CpuTime::of_this_thread() };
        match self.begin {
            None if now - self.created >= self.window.warm_up => self.begin = Some(mark()),
            Some(begin) if self.end.is_none() && now - begin.at >= self.window.measure => {
                self.end = Some(mark())
            }
            _ => {}
        }
    }
}
