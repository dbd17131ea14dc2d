//! Points for graphs, thinned out where there are too many.

use std::time::Duration;

/// A series of points over time. Where there are too many, every other one goes.
#[derive(Clone, Debug)]
pub(crate) struct Points<T> {
    pub(crate) points: Vec<(Duration, T)>,
    /// One in so many is kept.
    stride: usize,
    skipped: usize,
}

impl<T> Default for Points<T> {
    fn default() -> Self {
        Self { points: Vec::new(), stride: 1, skipped: 0 }
    }
}

impl<T> Points<T> {
    pub(crate) fn add(&mut self, at: Duration, point: T, room: usize) {
        self.skipped += 1;
        if self.skipped < self.stride {
            return;
        }
        self.skipped = 0;
        self.points.push((at, point));
        if self.points.len() > room.max(2) {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride *= 2;
        }
    }

    /// Whether points are missing.
    pub(crate) fn is_thinned(&self) -> bool {
        self.stride > 1
    }
}
