//! The one task that lets simulated time pass.
//!
//! Tokio's paused clock jumps from timer to timer once every task is idle, in whole milliseconds. The network is
//! finer than that. So between two ticks of that clock this task moves it by hand, from one event of the network
//! to the next, each time after making sure that no task has anything left to do at the present moment; and
//! before it goes to sleep it moves the clock on to the next tick, so that Tokio's own timers stay exact.

mod idle;
mod time;

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::time::sleep_until;

pub(crate) use self::time::{Micros, Time};
use crate::shared::Shared;

/// Ends the hosts if the engine panics, so that nobody waits for ever.
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
    }
}

/// Runs the simulation until its last handle is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let time = Arc::clone(&shared.time);
    let _guard = Guard(Arc::clone(&shared));
    time.find_phase().await;
    loop {
        // Calls of sockets have given hosts something to do.
        shared.settle(time.now());
        let now = time.now();
        match shared.next_event() {
            Some(due) if due <= now => shared.advance_to(due),
            Some(due) if time.tick(due) == time.tick(now) => {
                if idle::wait(&shared).await {
                    shared.advance_to(due);
                }
            }
            _ if !time.is_aligned(now) => {
                // Nothing happens before the next tick.
                if idle::wait(&shared).await {
                    time.advance_to(time.next_tick(now));
                    // Tokio's timers of that tick.
                    shared.set_active();
                    tokio::task::yield_now().await;
                }
            }
            Some(due) => wait_until(&shared, sleep_until(time.instant(time.tick_start(due)))).await,
            None => wait_until(&shared, std::future::pending()).await,
        }
    }
}

/// Waits for a tick of Tokio's clock, or until a call of a socket gives a host something to do. Other tasks run.
async fn wait_until(shared: &Shared, tick: impl Future<Output = ()>) {
    shared.set_active();
    let mut tick = pin!(tick);
    poll_fn(|cx| if shared.poll_dirty(cx) { Poll::Ready(()) } else { tick.as_mut().poll(cx) }).await;
}
