//! The time of a simulation, and how it goes with Tokio's.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

/// Microseconds since the simulation began.
pub(crate) type Micros = u64;

/// A moment as it is shown: in milliseconds.
pub(crate) fn millis(at: Micros) -> String {
    format!("{}.{:03}", at / 1000, at % 1000)
}

const TICK: Duration = Duration::from_millis(1);

/// The clock of a simulation.
#[derive(Debug)]
pub(crate) struct Time {
    runtime: Handle,
    /// The beginning.
    epoch: Instant,
    /// Nanoseconds from the last tick of Tokio's timers to the beginning: none, unless somebody has moved the
    /// clock by parts of milliseconds before.
    phase: AtomicU64,
    /// The moment of the event that is being processed.
    now: AtomicU64,
    /// When the simulation has gone on for too long.
    limit: Micros,
    /// An event is being processed, so `now` is the time, whatever Tokio's clock says.
    processing: AtomicBool,
}

impl Time {
    /// A clock that starts now.
    ///
    /// # Panics
    ///
    /// If the runtime's clock is not paused.
    pub(crate) fn start(runtime: Handle, limit: Duration) -> Self {
        let (epoch, wall) = (Instant::now(), std::time::Instant::now());
        // A clock that runs shows it within the microsecond.
        while wall.elapsed() < Duration::from_micros(2) {}
        assert!(
            Instant::now() == epoch,
            "a simulation needs Tokio's clock paused: #[tokio::test(start_paused = true)]"
        );
        let phase = AtomicU64::new(0);
        let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        Self { runtime, epoch, phase, limit, now: AtomicU64::new(0), processing: AtomicBool::new(false) }
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// How long a simulation may take, of its own time.
    pub(super) fn limit(&self) -> Duration {
        Duration::from_micros(self.limit)
    }

    /// Whether the simulation has gone on for too long.
    pub(crate) fn is_over(&self, now: Micros) -> bool {
        now > self.limit
    }

    /// How often the runtime has gone to sleep.
    pub(super) fn parks(&self) -> u64 {
        #[cfg(target_has_atomic = "64")]
        return self.runtime.metrics().worker_park_count(0);
        #[cfg(not(target_has_atomic = "64"))]
        return 0;
    }

    /// Finds out how the beginning lies between the ticks of Tokio's timers, which begin with the runtime: a timer
    /// that is registered for a moment before the last tick has fired at once.
    pub(crate) async fn find_phase(&self) {
        // Let the timers know what time it is.
        tokio::task::yield_now().await;
        let now = Instant::now();
        let has_fired = |since: Duration| {
            let Some(moment) = now.checked_sub(since) else { return false };
            let sleep = pin!(sleep_until(moment));
            sleep.poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        let (mut low, mut high) = (0, as_nanos(TICK));
        while low < high {
            let middle = u64::midpoint(low, high);
            if has_fired(Duration::from_nanos(middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let since_epoch = as_nanos(now.saturating_duration_since(self.epoch));
        let tick = as_nanos(TICK);
        self.phase.store((low + tick - since_epoch % tick) % tick, Ordering::Relaxed);
    }

    /// This moment.
    pub(crate) fn now(&self) -> Micros {
        let now = self.now.load(Ordering::Relaxed);
        if self.processing.load(Ordering::Relaxed) {
            return now;
        }
        let here = Handle::try_current().is_ok_and(|current| current.id() == self.runtime.id());
        let _entered = (!here).then(|| self.runtime.enter());
        let elapsed = Instant::now().saturating_duration_since(self.epoch);
        now.max(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
    }

    /// Does `work` at `moment`, or now if that is later, whatever Tokio's clock says.
    pub(crate) fn at<R>(&self, moment: Micros, work: impl FnOnce(Micros) -> R) -> R {
        let moment = moment.max(self.now.load(Ordering::Relaxed));
        self.now.store(moment, Ordering::Relaxed);
        self.processing.store(true, Ordering::Relaxed);
        let result = work(moment);
        self.processing.store(false, Ordering::Relaxed);
        result
    }

    /// Moves Tokio's clock.
    pub(crate) fn advance_to(&self, moment: Micros) {
        let by = self.instant(moment).saturating_duration_since(Instant::now());
        // The clock moves when the future is polled first; then it would yield.
        let _pending = pin!(tokio::time::advance(by)).poll(&mut Context::from_waker(Waker::noop()));
    }

    /// Moves Tokio's clock to the event that was processed last.
    pub(crate) fn catch_up(&self) {
        let now = self.now.load(Ordering::Relaxed);
        if self.instant(now) > Instant::now() {
            self.advance_to(now);
        }
    }

    /// When `moment` is on Tokio's clock.
    pub(crate) fn instant(&self, moment: Micros) -> Instant {
        let since = Duration::from_micros(moment);
        self.epoch.checked_add(since).unwrap_or_else(|| self.epoch + Duration::from_secs(1 << 33))
    }

    /// The number of the tick that `moment` follows.
    pub(crate) fn tick(&self, moment: Micros) -> u64 {
        (moment.saturating_mul(1000).saturating_add(self.phase())) / as_nanos(TICK)
    }

    /// The moment of the tick that `moment` follows, rounded up to a microsecond.
    pub(crate) fn tick_start(&self, moment: Micros) -> Micros {
        self.start_of(self.tick(moment))
    }

    pub(crate) fn next_tick(&self, moment: Micros) -> Micros {
        self.start_of(self.tick(moment) + 1)
    }

    /// Whether Tokio's clock stands on a tick at `moment`.
    pub(crate) fn is_aligned(&self, moment: Micros) -> bool {
        self.tick_start(moment) == moment
    }

    fn start_of(&self, tick: u64) -> Micros {
        tick.saturating_mul(as_nanos(TICK)).saturating_sub(self.phase()).div_ceil(1000)
    }

    fn phase(&self) -> u64 {
        self.phase.load(Ordering::Relaxed)
    }
}

fn as_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
