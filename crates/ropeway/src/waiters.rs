//! Who waits for one connection or listener, and what wakes them.

pub(crate) mod table;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;
use std::thread::Thread;

use ropeway_core::Readiness;
use tokio::runtime;

use crate::shard::Source;

/// What `poll_read` and its kin wait for.
pub(crate) fn read_interest() -> Readiness {
    Readiness::READABLE | Readiness::READ_CLOSED
}

/// What `poll_write` and its kin wait for.
pub(crate) fn write_interest() -> Readiness {
    Readiness::WRITABLE | Readiness::WRITE_CLOSED
}

/// What has to be done with wakers once the lock is released.
///
/// Waking and dropping a waker run foreign code, which may come back and take the same lock: a task that ends
/// drops its sockets.
#[derive(Debug, Default)]
pub(crate) struct Afterwards {
    driver: Option<Waker>,
    keeper: Option<Thread>,
    woken: Vec<Waker>,
    discarded: Vec<Waker>,
    left: Left,
}

/// What a call leaves to be done in steps, with a lock of their own each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Left {
    /// Everyone who waits is to be woken: the stack has ended.
    pub(crate) everyone: bool,
    /// There is more to do, once others have had the lock.
    pub(crate) more: bool,
}

impl Afterwards {
    /// Wakes and drops what was collected. The lock must not be held.
    pub(crate) fn run(&mut self) {
        // Most calls have collected nothing, and this is run for each.
        if !self.discarded.is_empty() {
            self.discarded.drain(..).for_each(discard);
        }
        if !self.woken.is_empty() {
            self.woken.drain(..).for_each(wake);
        }
        if let Some(driver) = self.driver.take() {
            wake(driver);
        }
        if let Some(keeper) = self.keeper.take() {
            keeper.unpark();
        }
    }

    /// Everyone who waits is to be woken.
    pub(crate) fn concern_all(&mut self) {
        self.left.everyone = true;
    }

    /// There is more to do, once others have had the lock.
    pub(crate) fn go_on(&mut self) {
        self.left.more = true;
    }

    pub(crate) fn left(&self) -> Left {
        self.left
    }

    /// Whether a task will be woken that waits for a socket.
    pub(crate) fn will_wake(&self) -> bool {
        !self.woken.is_empty()
    }

    /// Wakes the driver, if it is asleep.
    pub(crate) fn wake_driver(&mut self, asleep: &mut Option<Waker>) {
        if let Some(driver) = asleep.take() {
            self.driver = Some(driver);
        }
    }

    /// Wakes the keeper of the process's loopback.
    pub(crate) fn unpark(&mut self, keeper: &Thread) {
        self.keeper = Some(keeper.clone());
    }

    /// Puts `waker` where `slot` is, unless one that wakes the same task is there.
    pub(crate) fn replace(&mut self, slot: &mut Option<Waker>, waker: &Waker) {
        if !slot.as_ref().is_some_and(|old| old.will_wake(waker)) {
            self.discarded.extend(slot.replace(waker.clone()));
        }
    }
}

/// Whatever becomes of the call that collected them: who is to be woken is woken.
impl Drop for Afterwards {
    fn drop(&mut self) {
        self.run();
    }
}

/// Wakes a task. If that panics, it is told in the log, and stays there: the next in line has a right to be woken, and
/// the driver to go on.
pub(crate) fn wake(waker: Waker) {
    guard(|| waker.wake());
}

/// Drops a waker, likewise.
fn discard(waker: Waker) {
    guard(|| drop(waker));
}

/// Runs foreign code that may panic.
pub(crate) fn guard<R>(foreign: impl FnOnce() -> R) -> Option<R> {
    let outcome = catch_unwind(AssertUnwindSafe(foreign));
    outcome.inspect_err(|panic| tracing::error!(panic = message_of(&**panic), "a task's waker panicked")).ok()
}

/// What a panic says.
fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without words")
}

/// Names a future in a queue of waiters, from its first wait until it is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl Ticket {
    /// A ticket that differs from all that `issued` has counted.
    pub(crate) fn issue(issued: &mut u64) -> Self {
        *issued += 1;
        Self(*issued)
    }
}

/// A future in the queue.
#[derive(Debug)]
struct Queued {
    ticket: Ticket,
    interest: Readiness,
    waker: Waker,
}

/// The tasks that wait for one connection or listener.
///
/// Tokio's contract knows two kinds: each poll function keeps the waker of its last caller, one for each
/// direction; the `async` methods may be waited for by any number of tasks at a time.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// Of the last caller of a poll function for reading, or for accepting.
    pub(crate) reader: Option<Waker>,
    /// Of the last caller of a poll function for writing.
    pub(crate) writer: Option<Waker>,
    queue: Vec<Queued>,
    /// What they wait for: an index is used again, so the last one to wait says.
    pub(crate) source: Option<Source>,
    /// Which runtime's the socket is that is waited for, on the process's loopback.
    pub(crate) home: Option<runtime::Id>,
}

impl Waiters {
    /// Everyone who waits, with what for.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Readiness, &Waker)> {
        let reader = self.reader.iter().map(|waker| (read_interest(), waker));
        let writer = self.writer.iter().map(|waker| (write_interest(), waker));
        reader.chain(writer).chain(self.queue.iter().map(|queued| (queued.interest, &queued.waker)))
    }

    /// Puts a future into the queue, or renews its waker there.
    pub(crate) fn enqueue(
        &mut self,
        ticket: Ticket,
        interest: Readiness,
        waker: &Waker,
        after: &mut Afterwards,
    ) {
        match self.queue.iter_mut().find(|queued| queued.ticket == ticket) {
            Some(queued) if queued.waker.will_wake(waker) => {}
            Some(queued) => {
                after.discarded.push(std::mem::replace(&mut queued.waker, waker.clone()));
            }
            None => self.queue.push(Queued { ticket, interest, waker: waker.clone() }),
        }
    }

    /// The memory that the queue takes, in bytes. It is given back with the place.
    pub(crate) fn queue_memory(&self) -> usize {
        self.queue.capacity() * size_of::<Queued>()
    }

    /// Takes a future that has been answered, or dropped, out of the queue.
    pub(crate) fn dequeue(&mut self, ticket: Ticket, after: &mut Afterwards) {
        if let Some(at) = self.queue.iter().position(|queued| queued.ticket == ticket) {
            after.discarded.push(self.queue.swap_remove(at).waker);
        }
    }

    /// Wakes everyone whom `readiness` concerns.
    pub(crate) fn wake(&mut self, readiness: Readiness, after: &mut Afterwards) {
        let concerns = |interest| readiness.intersects(interest | Readiness::ERROR);
        if concerns(read_interest()) {
            after.woken.extend(self.reader.take());
        }
        if concerns(write_interest()) {
            after.woken.extend(self.writer.take());
        }
        let woken = self.queue.extract_if(.., |queued| concerns(queued.interest));
        after.woken.extend(woken.map(|queued| queued.waker));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.reader.is_none() && self.writer.is_none() && self.queue.is_empty()
    }

    /// Wakes everyone: the stack has ended.
    pub(crate) fn wake_all(&mut self, after: &mut Afterwards) {
        after.woken.extend(self.reader.take());
        after.woken.extend(self.writer.take());
        after.woken.extend(self.queue.drain(..).map(|queued| queued.waker));
    }

    /// Forgets everyone: what they wait for has been dropped.
    pub(crate) fn clear(&mut self, after: &mut Afterwards) {
        after.discarded.extend(self.reader.take());
        after.discarded.extend(self.writer.take());
        after.discarded.extend(self.queue.drain(..).map(|queued| queued.waker));
    }
}
