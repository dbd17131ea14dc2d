//! Waiting until every other task of the runtime is idle, without letting its clock jump.
//!
//! Tokio's current-thread scheduler runs ready tasks in the order in which they became ready, and looks at its
//! timers each time it has run [`EVENT_INTERVAL`] of them, or has run out of them. A task that makes itself ready
//! again in each turn therefore gets *all* turns between two such looks exactly if there is no other one. Those
//! looks can be seen: wakers that `yield_now` leaves are woken by them.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::shared::Shared;

/// Tokio's default for the current-thread scheduler, which `#[tokio::test]` does not change.
const EVENT_INTERVAL: u32 = 61;

/// After so many tries, somebody is told that this takes no end.
const MOST_TRIES: u32 = 100_000;

/// Seen when the scheduler looks at its timers.
#[derive(Default)]
struct Look(AtomicBool);

impl Wake for Look {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Some task never waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Restless;

impl fmt::Display for Restless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "time cannot pass: a task never waits, such as one that calls yield_now in a loop; or the runtime was built \
             with an event_interval other than Tokio's default, {EVENT_INTERVAL}"
        )
    }
}

/// Waits until no other task has anything to do at this moment. `false` if a host got something to do meanwhile.
pub(super) async fn wait(shared: &Shared) -> Result<bool, Restless> {
    let mut tries = 0;
    // Since we looked last, nothing has happened that could have woken one.
    while shared.is_active() {
        tries += 1;
        if tries > MOST_TRIES {
            return Err(Restless);
        }
        shared.time.catch_up();
        if shared.is_dirty() {
            return Ok(false);
        }
        let polls = shared.scoped_polls();
        let turns = turns_until_next_look(shared).await;
        if turns == Some(EVENT_INTERVAL) && polls == shared.scoped_polls() {
            shared.set_idle();
        }
    }
    Ok(true)
}

/// How many turns this task gets from now until the scheduler has looked at its timers. `None` if a host got
/// something to do meanwhile.
async fn turns_until_next_look(shared: &Shared) -> Option<u32> {
    let look = Arc::new(Look::default());
    let waker = Waker::from(Arc::clone(&look));
    // Leaves the waker with the scheduler.
    let _pending = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&waker));
    let mut turns = 0;
    poll_fn(|cx| {
        if look.0.load(Ordering::Relaxed) {
            return Poll::Ready(Some(turns));
        }
        if shared.is_dirty() {
            return Poll::Ready(None);
        }
        turns += 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}
