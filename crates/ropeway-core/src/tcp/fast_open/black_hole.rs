//! Paths that swallow what Fast Open sends (RFC 7413 7.1): some time without it, for all destinations. As in Linux.

use std::time::Duration;

use crate::time::Timestamp;

/// The pause doubles so often at most.
const MOST_DOUBLINGS: u32 = 6;

#[derive(Clone, Debug, Default)]
pub(crate) struct BlackHole {
    /// How often in a row one was found, and when the last time.
    found: Option<(u32, Timestamp)>,
}

impl BlackHole {
    /// One was found.
    pub(crate) fn found(&mut self, now: Timestamp) {
        let times = self.found.map_or(0, |(times, _)| times);
        self.found = Some((times.saturating_add(1), now));
    }

    /// Fast Open has worked after all.
    pub(crate) fn is_past(&mut self) {
        self.found = None;
    }

    /// Whether Fast Open pauses. `first`: how long, the first time; zero is never.
    pub(crate) fn pauses(&self, first: Duration, now: Timestamp) -> bool {
        let Some((times, at)) = self.found.filter(|_| !first.is_zero()) else { return false };
        let pause = first.saturating_mul(1 << times.saturating_sub(1).min(MOST_DOUBLINGS));
        now.since(at) < pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_six_times_and_ends_with_a_success() {
        let (hour, mut now) = (Duration::from_secs(3600), Timestamp::START);
        let mut hole = BlackHole::default();
        assert!(!hole.pauses(hour, now));
        for doublings in [0, 1, 2, 3, 4, 5, 6, 6, 6] {
            hole.found(now);
            let pause = hour * (1 << doublings);
            assert!(hole.pauses(hour, now + (pause - Duration::from_micros(1))));
            now += pause;
            assert!(!hole.pauses(hour, now));
        }
        assert!(!hole.pauses(Duration::ZERO, now), "switched off");
        hole.is_past();
        hole.found(now);
        assert!(!hole.pauses(hour, now + hour));
    }
}
