//! The loopback of the process: the stack of whoever has made none, in every runtime and outside of all.
//!
//! It has no driver. Whoever gives it something to do does it, in the same call: a write puts its segments into the
//! receiver's buffer, and wakes the receiver, as the kernel's loopback does; if it is much, it does that in steps, and others get
//! the lock between. So a packet between two tasks needs no
//! third one, and nothing depends on the life of a runtime. What is due later (a retransmission, the end of TIME-WAIT)
//! and what is too much for one call is left to the [`Keeper`]'s thread, which sleeps otherwise.
//!
//! Its time is the machine's monotonic clock. A runtime whose clock is paused therefore gets a loopback of its own:
//! see [`current`](crate::stack::current).

use std::future::pending;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};

use ropeway_core::Timestamp;
use tokio::runtime::{self, Handle};

use crate::error::Ended;
use crate::shard::{Shard, State};
use crate::stack::Builder;
use crate::waiters::Afterwards;

/// Rounds of moving packets and of timers in one call: an acknowledgement that is due at once takes a second.
const ROUNDS: usize = 4;

/// Packets that have nowhere to go, which one round throws away.
const STRAYS: usize = 64;

/// There is one at a time, and a new one only if the core has panicked.
static LOOPBACK: Mutex<Option<Arc<Shard>>> = Mutex::new(None);

/// The loopback of the process, made when it is first needed. It belongs to no runtime.
pub(crate) fn shared() -> io::Result<Arc<Shard>> {
    let mut loopback = LOOPBACK.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(shard) = loopback.as_ref().filter(|shard| !shard.has_ended()) {
        return Ok(Arc::clone(shard));
    }
    let shard = Builder::new().build_undriven()?;
    let kept = Arc::clone(&shard);
    let thread = thread::Builder::new().name("ropeway-loopback".into()).spawn(move || keep(&kept))?;
    shard.locked(|state, _, _| state.keeper = Some(Keeper { thread: thread.thread().clone(), armed: None }));
    Ok(Arc::clone(loopback.insert(shard)))
}

/// Who does what nobody calls for.
#[derive(Debug)]
pub(crate) struct Keeper {
    thread: Thread,
    /// When it wakes by itself, or has been told to.
    armed: Option<Timestamp>,
}

/// The keeper's thread. It ends with the process, or when the core has panicked.
fn keep(shard: &Shard) {
    loop {
        // A task's waker may panic: that is the task's trouble.
        let turn = catch_unwind(AssertUnwindSafe(|| {
            shard.locked(|state, now, after| {
                let next = state.pump(now, after);
                if let Some(keeper) = &mut state.keeper {
                    keeper.armed = next;
                }
                (state.ended.is_some(), next)
            })
        }));
        match turn {
            Ok((true, _)) => return,
            Ok((false, Some(next))) => thread::park_timeout(next.since(shard.clock().now())),
            Ok((false, None)) => thread::park(),
            Err(_) => {}
        }
    }
}

impl State {
    /// Does some of what a call has left to do, in its thread. What is due at once after that waits for another step, what is
    /// due later wakes the keeper.
    pub(crate) fn serve_caller(&mut self, now: Timestamp, after: &mut Afterwards) {
        match self.pump(now, after) {
            Some(next) if next <= now => after.go_on(),
            Some(next) => self.arm(next, after),
            None => {}
        }
    }

    /// The keeper does what is left.
    pub(crate) fn leave_to_keeper(&mut self, now: Timestamp, after: &mut Afterwards) {
        self.arm(now, after);
    }

    fn arm(&mut self, next: Timestamp, after: &mut Afterwards) {
        if let Some(keeper) = &mut self.keeper
            && keeper.armed.is_none_or(|armed| next < armed)
        {
            keeper.armed = Some(next);
            after.unpark(&keeper.thread);
        }
    }

    /// Moves packets, does what is due, and delivers the news. Gives the next deadline. A panic of the core must not
    /// become the caller's, who may have nothing to do with it: it is the end of the stack.
    fn pump(&mut self, now: Timestamp, after: &mut Afterwards) -> Option<Timestamp> {
        if self.ended.is_some() {
            return None;
        }
        if catch_unwind(AssertUnwindSafe(|| self.move_packets(now))).is_err() {
            tracing::error!("the loopback of the process has panicked, and ends");
            self.end(Ended::Panicked, after);
            return None;
        }
        self.deliver_events(after);
        self.deliver_quiescence(after);
        self.core.poll_timeout()
    }

    fn move_packets(&mut self, now: Timestamp) {
        for _ in 0..ROUNDS {
            let mut strays = 0;
            while strays < STRAYS && self.core.poll_transmit(now).is_some() {
                strays += 1;
            }
            // The core pauses, so that others get the lock, though it has more to do.
            if !self.core.is_due(now) || self.core.has_output() {
                break;
            }
            self.core.handle_timeout(now);
        }
    }
}

/// The runtime in which sockets of the process's loopback were made. As with tokio's, whoever waits for one of them
/// learns when that runtime is gone, although the loopback is not.
#[derive(Debug)]
pub(crate) struct Home {
    runtime: runtime::Id,
    gone: AtomicBool,
}

impl Home {
    pub(crate) fn runtime(&self) -> runtime::Id {
        self.runtime
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

/// The loopback of the process, for sockets that are made in `runtime`. What `until` holds is dropped with that.
pub(crate) fn settle(runtime: &Handle, until: impl Send + 'static) -> io::Result<Arc<Shard>> {
    let home = Arc::new(Home { runtime: runtime.id(), gone: AtomicBool::new(false) });
    let shard = Arc::new(shared()?.with_home(Some(Arc::clone(&home))));
    let resident = Resident { shard: Arc::clone(&shard), home };
    // The one way to learn that a runtime ends.
    runtime.spawn(async move {
        let _held = (resident, until);
        pending::<()>().await;
    });
    Ok(shard)
}

/// Lives in a task of a runtime, and is dropped with it.
struct Resident {
    shard: Arc<Shard>,
    home: Arc<Home>,
}

impl Drop for Resident {
    fn drop(&mut self) {
        // Before the lock is taken: whoever looks after us sees it, and whoever looked before us is woken.
        self.home.gone.store(true, Ordering::Release);
        self.shard.leave(&self.home);
    }
}
