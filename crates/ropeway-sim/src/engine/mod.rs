//! The one task that lets simulated time pass.
//!
//! Tokio's paused clock jumps from timer to timer once every task is idle, in whole milliseconds. The network is
//! finer than that. So between two ticks of that clock this task moves it by hand, from one event of the network
//! to the next, each time after making sure that no task has anything left to do at the present moment; and
//! before it goes to sleep it moves the clock on to the next tick, so that Tokio's own timers stay exact.

mod failure;
mod idle;
mod report;
mod stillness;
mod time;
mod watchdog;

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep_until;

pub(crate) use self::failure::fail;
use self::idle::Restless;
pub(crate) use self::report::over;
use self::stillness::{Still, Stillness};
pub(crate) use self::time::{Micros, Time, millis};
pub(crate) use self::watchdog::Sleeper;
use crate::shared::Shared;

/// Ends the hosts if the engine panics, so that nobody waits for ever, and the test with them.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let lives = self.0.world().end();
        for life in lives {
            life.manual.fail(io::Error::other("the simulated network has panicked"));
            life.token.end();
        }
        fail(self.0.time.runtime(), "the simulated network has panicked: see above".to_owned());
    }
}

/// What has ended a sleep of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    /// There is something to do.
    Work,
    /// It has slept for a while of real time.
    Roused,
}

/// Runs the simulation until its last handle is dropped, or it fails.
pub(crate) async fn run(shared: Arc<Shared>, patience: Duration) {
    let guard = Guard(Arc::clone(&shared));
    let why = simulate(&shared, patience).await;
    let text = report::failure(&shared, &why, patience);
    if let Why::Still(Still::Blocked, _) = why {
        // The runtime waits for the thread before it ends, and the test's output may never be shown.
        let _told = io::stderr().write_all(format!("ropeway-sim: {text}\n").as_bytes());
    }
    fail(shared.time.runtime(), text);
    // The test ends, and this task with it.
    std::future::pending::<()>().await;
    drop(guard);
}

/// Why a simulation cannot go on.
#[derive(Clone, Copy, Debug)]
enum Why {
    /// Nothing can happen any more, since this moment.
    Still(Still, Micros),
    /// It has gone on for too long.
    Over,
    /// Some task never waits.
    Restless(Restless),
}

/// Runs the simulation until it cannot go on.
async fn simulate(shared: &Shared, patience: Duration) -> Why {
    let time = Arc::clone(&shared.time);
    let mut stillness = Stillness::default();
    time.find_phase().await;
    loop {
        // Calls of sockets have given hosts something to do.
        shared.settle(time.now());
        let now = time.now();
        if time.is_over(now) {
            return Why::Over;
        }
        let woken = match shared.next_event() {
            Some(due) if due <= now => {
                shared.advance_to(due);
                Ok(Woken::Work)
            }
            Some(due) if time.tick(due) == time.tick(now) => idle::wait(shared).await.map(|is_idle| {
                if is_idle {
                    shared.advance_to(due);
                }
                Woken::Work
            }),
            _ if !time.is_aligned(now) => {
                // Nothing happens before the next tick.
                let waited = idle::wait(shared).await;
                if waited == Ok(true) {
                    time.advance_to(time.next_tick(now));
                    // Tokio's timers of that tick.
                    shared.set_active();
                    tokio::task::yield_now().await;
                }
                waited.map(|_| Woken::Work)
            }
            Some(due) => Ok(wait_until(shared, sleep_until(time.instant(time.tick_start(due)))).await),
            None => Ok(wait_until(shared, std::future::pending()).await),
        };
        let still = match woken {
            Ok(Woken::Work) => continue,
            Ok(Woken::Roused) => stillness.look(shared, patience).await,
            Err(restless) => Err(restless),
        };
        match still {
            Ok(None) => {}
            Ok(Some((still, at))) => return Why::Still(still, at),
            Err(restless) => return Why::Restless(restless),
        }
    }
}

/// Waits for a tick of Tokio's clock, until a call of a socket gives a host something to do, or until it is roused.
/// Other tasks run.
async fn wait_until(shared: &Shared, tick: impl Future<Output = ()>) -> Woken {
    shared.set_active();
    let mut tick = pin!(tick);
    shared.sleeper.sleep();
    let woken = poll_fn(|cx| {
        if shared.poll_dirty(cx) {
            return Poll::Ready(Woken::Work);
        }
        match tick.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Woken::Work),
            Poll::Pending if shared.sleeper.is_roused(cx.waker()) => Poll::Ready(Woken::Roused),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    shared.sleeper.wake();
    woken
}

/// Whether Tokio holds its clock although a timer is armed, as it does while a thread of `spawn_blocking` runs. If not,
/// the clock has jumped by a tick. `None` if a host got something to do meanwhile.
async fn is_clock_held(shared: &Shared) -> Option<bool> {
    let time = &shared.time;
    let tick = time.instant(time.next_tick(time.now()));
    let woken = wait_until(shared, sleep_until(tick)).await;
    (!shared.is_dirty()).then_some(woken == Woken::Roused)
}
