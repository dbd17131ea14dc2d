//! The core's time, told by Tokio's clock.

use tokio::runtime::Handle;
use tokio::time::Instant;

use ropeway_core::Timestamp;

/// Turns Tokio's moments into the core's and back.
///
/// Tokio's clock belongs to a runtime: under `tokio::time::pause` each has its own. A stack's time is that of
/// the runtime that its driver runs on, whoever asks for it.
#[derive(Debug)]
pub(crate) struct Clock {
    epoch: Instant,
    runtime: Handle,
}

impl Clock {
    /// A clock that starts now, on the clock of `runtime`, which must be the current one.
    pub(crate) fn new(runtime: Handle) -> Self {
        Self {
            epoch: Instant::now(),
            runtime,
        }
    }

    /// This moment, rounded down to the microsecond.
    pub(crate) fn now(&self) -> Timestamp {
        let now = match Handle::try_current() {
            Ok(current) if current.id() == self.runtime.id() => Instant::now(),
            Err(error) if error.is_thread_local_destroyed() => {
                // The thread is ending, and Tokio's clock would panic.
                Instant::from_std(std::time::Instant::now())
            }
            Ok(_) | Err(_) => {
                let _runtime = self.runtime.enter();
                Instant::now()
            }
        };
        Timestamp::START + now.saturating_duration_since(self.epoch)
    }

    /// When `moment` is.
    pub(crate) fn instant(&self, moment: Timestamp) -> Instant {
        // A deadline beyond what `Instant` can hold is as good as an hour: it is looked at again then.
        self.epoch
            .checked_add(moment.since(Timestamp::START))
            .unwrap_or_else(|| Instant::now() + std::time::Duration::from_secs(3600))
    }
}
