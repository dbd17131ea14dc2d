//! Finds out, in real time, that nothing can happen any more.
//!
//! A paused clock jumps to the next timer as soon as all tasks wait. So when all tasks wait and the clock stands, no
//! timer is armed, or else a thread of `spawn_blocking` runs, for which Tokio holds the clock. What other threads there
//! are that may wake a task cannot be known. So there is patience, by a real clock.

use std::time::Duration;
use std::time::Instant as RealInstant;

use tokio::time::Instant;

use super::idle::{self, Restless};
use super::{Micros, is_clock_held};
use crate::shared::Shared;

/// How much more patience there is with threads of `spawn_blocking`, which are known to run.
pub(super) const BLOCKING: u32 = 6;

/// The most that one look after another counts for: in a longer time the whole process may have stood still.
const MOST: Duration = Duration::from_millis(250);

/// Why it is taken that nothing can happen any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Still {
    /// No task can run, and no timer is armed.
    Deadlock,
    /// Likewise, but a thread of `spawn_blocking` runs.
    Blocked,
}

/// What has been seen so far.
#[derive(Debug, Default)]
pub(super) struct Stillness {
    /// The last look.
    last: Option<RealInstant>,
    /// What has stood still, and for how long: what the clock shows and how often tasks of hosts have run.
    standing: Option<((Instant, u64), Duration)>,
    /// How often the runtime has gone to sleep, and for how long no other task has run.
    asleep: Option<(u64, Duration)>,
}

impl Stillness {
    /// The engine has been roused, because it has slept for a while. Whether nothing can happen any more, and since when.
    pub(super) async fn look(
        &mut self,
        shared: &Shared,
        patience: Duration,
    ) -> Result<Option<(Still, Micros)>, Restless> {
        shared.set_active();
        if !idle::wait(shared).await? {
            *self = Self::default();
            return Ok(None);
        }
        let now = RealInstant::now();
        let passed = self.last.replace(now).map_or(Duration::ZERO, |last| (now - last).min(MOST));
        let (seen, parks) = ((Instant::now(), shared.scoped_polls()), shared.time.parks());
        let standing_for = match self.standing {
            Some((before, so_far)) if before == seen => so_far + passed,
            _ => {
                self.asleep = None;
                Duration::ZERO
            }
        };
        let asleep_for = match self.asleep {
            // It has gone to sleep once after it was roused.
            Some((before, so_far)) if parks <= before + 1 => so_far + passed,
            _ => Duration::ZERO,
        };
        (self.standing, self.asleep) = (Some((seen, standing_for)), Some((parks, asleep_for)));
        let is_blocked = standing_for >= patience.saturating_mul(BLOCKING);
        if asleep_for < patience && !is_blocked {
            return Ok(None);
        }
        let at = shared.time.now();
        let Some(is_held) = is_clock_held(shared).await else {
            *self = Self::default();
            return Ok(None);
        };
        if !is_held && asleep_for < patience {
            // Tasks do something, though nothing that a host would notice, and the clock has moved.
            *self = Self::default();
        }
        Ok(match is_held {
            false if asleep_for >= patience => Some((Still::Deadlock, at)),
            true if is_blocked => Some((Still::Blocked, at)),
            _ => None,
        })
    }
}
