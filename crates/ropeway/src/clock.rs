//! The core's time, told by Tokio's clock or by the stack's owner.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::time::Instant;

use ropeway_core::Timestamp;

/// Tells the time of a stack whose owner runs it by hand: see [`manual`](crate::manual).
pub trait TimeSource: Send + Sync + 'static {
    /// This moment. It is asked for with every call of a socket, and never goes back.
    fn now(&self) -> Timestamp;
}

/// Turns Tokio's moments into the core's and back.
///
/// Tokio's clock belongs to a runtime: under `tokio::time::pause` each has its own. A stack's time is that of
/// the runtime that its driver runs on, whoever asks for it.
pub(crate) struct Clock {
    epoch: Instant,
    source: Source,
}

enum Source {
    Runtime(Handle),
    /// A source that panics tells the time again when it is asked again.
    Owner(AssertUnwindSafe<Arc<dyn TimeSource>>),
}

impl Clock {
    /// A clock that starts now, on the clock of `runtime`, which must be the current one.
    pub(crate) fn of_runtime(runtime: Handle) -> Self {
        Self { epoch: Instant::now(), source: Source::Runtime(runtime) }
    }

    /// The clock of the stack's owner.
    pub(crate) fn of_owner(time: Arc<dyn TimeSource>) -> Self {
        Self { epoch: Instant::now(), source: Source::Owner(AssertUnwindSafe(time)) }
    }

    /// This moment, rounded down to the microsecond.
    pub(crate) fn now(&self) -> Timestamp {
        let runtime = match &self.source {
            Source::Runtime(runtime) => runtime,
            Source::Owner(time) => return time.now(),
        };
        let now = match Handle::try_current() {
            Ok(current) if current.id() == runtime.id() => Instant::now(),
            Err(error) if error.is_thread_local_destroyed() => {
                // The thread is ending, and Tokio's clock would panic.
                Instant::from_std(std::time::Instant::now())
            }
            Ok(_) | Err(_) => {
                let _runtime = runtime.enter();
                Instant::now()
            }
        };
        Timestamp::START + now.saturating_duration_since(self.epoch)
    }

    /// When `moment` is, on Tokio's clock.
    pub(crate) fn instant(&self, moment: Timestamp) -> Instant {
        // A deadline beyond what `Instant` can hold is as good as an hour: it is looked at again then.
        self.epoch
            .checked_add(moment.since(Timestamp::START))
            .unwrap_or_else(|| Instant::now() + std::time::Duration::from_secs(3600))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}
