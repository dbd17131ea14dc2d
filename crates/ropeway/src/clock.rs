//! The core's time, told by Tokio's clock, by the machine's, or by the stack's owner.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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
/// the runtime that its driver runs on, whoever asks for it. The loopback of the process has that of the machine.
#[derive(Clone)]
pub(crate) struct Clock {
    epoch: Instant,
    source: Source,
}

enum Source {
    Runtime(Handle),
    /// The machine's monotonic clock.
    Machine,
    /// A source that panics tells the time again when it is asked again.
    Owner(AssertUnwindSafe<Arc<dyn TimeSource>>),
}

impl Clone for Source {
    fn clone(&self) -> Self {
        match self {
            Self::Runtime(runtime) => Self::Runtime(runtime.clone()),
            Self::Machine => Self::Machine,
            Self::Owner(AssertUnwindSafe(time)) => Self::Owner(AssertUnwindSafe(Arc::clone(time))),
        }
    }
}

impl Clock {
    /// A clock that starts now, on the clock of `runtime`, which must be the current one.
    pub(crate) fn of_runtime(runtime: Handle) -> Self {
        Self { epoch: Instant::now(), source: Source::Runtime(runtime) }
    }

    /// A clock that starts now, and that no runtime can pause.
    pub(crate) fn of_machine() -> Self {
        Self { epoch: Instant::from_std(std::time::Instant::now()), source: Source::Machine }
    }

    /// The clock of the stack's owner.
    pub(crate) fn of_owner(time: Arc<dyn TimeSource>) -> Self {
        Self { epoch: Instant::now(), source: Source::Owner(AssertUnwindSafe(time)) }
    }

    /// Whether it is the machine's.
    pub(crate) fn is_machines(&self) -> bool {
        matches!(self.source, Source::Machine)
    }

    /// This moment, rounded down to the microsecond.
    pub(crate) fn now(&self) -> Timestamp {
        let runtime = match &self.source {
            Source::Runtime(runtime) => runtime,
            Source::Owner(time) => return time.now(),
            Source::Machine => return Timestamp::START + self.epoch.into_std().elapsed(),
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
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// Whether Tokio's clock is paused in this runtime. It does not tell when it is asked, but it shows: a clock that is
/// not paused goes on while the machine's does, and no faster.
pub(crate) fn is_paused() -> bool {
    let start = std::time::Instant::now();
    let earlier = Instant::now();
    let between = std::time::Instant::now();
    while std::time::Instant::now() <= between {
        std::hint::spin_loop();
    }
    let later = Instant::now();
    let passed = later.saturating_duration_since(earlier);
    passed.is_zero() || passed > start.elapsed()
}

/// A task is about to wait for the loopback of the process. If the clock of its runtime has been paused since the
/// socket was made, that clock jumps over what it waits for: that is said, once.
pub(crate) fn warn_if_paused() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if WARNED.load(Ordering::Relaxed) || Handle::try_current().is_err() {
        return;
    }
    // A clock that tells the machine's time is not paused. One that does not may have been, before.
    let machine = std::time::Instant::now();
    let differs = Instant::now().into_std().saturating_duration_since(machine) > Duration::from_secs(1)
        || Instant::now().into_std() < machine;
    if differs && is_paused() && !WARNED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            "tokio's clock was paused after the runtime had made a socket on the loopback of the process, which goes by \
             the machine's clock: pause it before (start_paused), or use a Stack::loopback() of your own"
        );
    }
}
