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
    /// What has stood still, and since when: what the clock shows and how often tasks of hosts have run.
    standing: Option<((Instant, u64), RealInstant)>,
    /// Since when no task has run at all, and how often the runtime had gone to sleep by then.
    asleep: Option<(u64, RealInstant)>,
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
        let (seen, parks) = ((Instant::now(), shared.scoped_polls()), shared.time.parks());
        let standing_for = match self.standing {
            Some((before, since)) if before == seen => since.elapsed(),
            _ => {
                *self = Self { standing: Some((seen, RealInstant::now())), asleep: None };
                Duration::ZERO
            }
        };
        let asleep_for = match &mut self.asleep {
            // It has gone to sleep once after it was roused.
            Some((before, since)) if parks <= *before + 1 => {
                *before = parks;
                since.elapsed()
            }
            asleep => {
                *asleep = Some((parks, RealInstant::now()));
                Duration::ZERO
            }
        };
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
