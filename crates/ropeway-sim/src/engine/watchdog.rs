//! Rouses engines that have slept for a while of real time: a runtime in which no timer is armed wakes by itself never.
//!
//! One thread does so for all networks of the process, while there are any. It decides nothing: who is roused looks for
//! himself. Who cannot be roused is told of.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

/// An engine that is roused has slept for as long at least.
const PERIOD: Duration = Duration::from_millis(50);

/// So many periods are half a minute.
const HALF_A_MINUTE: u32 = 600;

/// The engines that are watched; `None` if there is no thread.
static WATCHED: Mutex<Option<Vec<Watched>>> = Mutex::new(None);

struct Watched {
    sleeper: Weak<Sleeper>,
    /// Its turns when it was looked at last.
    turns: u64,
    /// For how many periods it has had that many.
    periods: u32,
}

/// What an engine shows the thread.
#[derive(Debug, Default)]
pub(crate) struct Sleeper {
    /// How often it has gone to sleep and woken, together: it sleeps if that is odd.
    turns: AtomicU64,
    is_roused: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Sleeper {
    /// A sleeper that is watched until it is dropped.
    pub(crate) fn new() -> Arc<Self> {
        let sleeper = Arc::new(Self::default());
        watch(Arc::downgrade(&sleeper));
        sleeper
    }

    /// Goes to sleep.
    pub(super) fn sleep(&self) {
        self.is_roused.store(false, Ordering::Relaxed);
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Has woken.
    pub(super) fn wake(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it was roused since it went to sleep. `waker` is woken when it is.
    pub(super) fn is_roused(&self, waker: &Waker) -> bool {
        let mut slot = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !slot.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
        self.is_roused.load(Ordering::Relaxed)
    }

    fn rouse(&self) {
        self.is_roused.store(true, Ordering::Relaxed);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        waker.into_iter().for_each(Waker::wake);
    }
}

fn watch(sleeper: Weak<Sleeper>) {
    let entry = Watched { sleeper, turns: 0, periods: 0 };
    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *watched {
        Some(watched) => watched.push(entry),
        // Without the thread, a simulation that is stuck hangs; all else works.
        None => {
            let thread = std::thread::Builder::new().name("ropeway-sim watchdog".to_owned()).spawn(run);
            *watched = thread.is_ok().then(|| vec![entry]);
        }
    }
}

fn run() {
    loop {
        std::thread::sleep(PERIOD);
        let mut slept = Vec::new();
        {
            let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(entries) = &mut *watched else { return };
            entries.retain_mut(|entry| {
                let Some(sleeper) = entry.sleeper.upgrade() else { return false };
                let turns = sleeper.turns.load(Ordering::Relaxed);
                entry.periods = if turns == entry.turns { entry.periods.saturating_add(1) } else { 0 };
                entry.turns = turns;
                if entry.periods > 0 && turns % 2 == 1 {
                    slept.push(sleeper);
                }
                if entry.periods == HALF_A_MINUTE {
                    tell_busy();
                }
                true
            });
            if entries.is_empty() {
                *watched = None;
                return;
            }
        }
        slept.iter().for_each(|sleeper| sleeper.rouse());
    }
}

/// Somebody has the thread of a runtime, and nothing can be done about it. The test's own output may never be shown.
fn tell_busy() {
    let text = "ropeway-sim: the runtime of a simulated network has done nothing for half a minute: a task blocks its \
                thread, such as by a lock of std or by reading from a pipe, or computes for a long time\n";
    let _told = std::io::stderr().write_all(text.as_bytes());
}
