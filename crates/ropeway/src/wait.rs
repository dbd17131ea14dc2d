//! The future behind every `async` method that waits for a socket.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ropeway_core::{Readiness, Stack as Core, Timestamp};
use tokio::task::coop;

use crate::shard::{Effect, Shard, Slot, Source};
use crate::waiters::{Ticket, read_interest};

/// Attempts something under the shard's lock until there is an answer.
///
/// Any number of them may wait for one socket. What an attempt takes, it takes in the poll that answers, so
/// a `Wait` that is dropped has taken nothing.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub(crate) struct Wait<'a, F> {
    shard: &'a Shard,
    source: Source,
    interest: Readiness,
    effect: Effect,
    ticket: Option<Ticket>,
    attempt: F,
}

impl<'a, F> Wait<'a, F> {
    /// Waits for `source` to become readable, and only looks.
    pub(crate) fn new(shard: &'a Shard, source: Source, attempt: F) -> Self {
        Self {
            shard,
            source,
            interest: read_interest(),
            effect: Effect::None,
            ticket: None,
            attempt,
        }
    }

    /// Waits for `interest` instead.
    pub(crate) fn interest(mut self, interest: Readiness) -> Self {
        self.interest = interest;
        self
    }

    /// Says what an attempt that succeeds has done.
    pub(crate) fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }
}

/// Nothing in it is ever pinned.
impl<F> Unpin for Wait<'_, F> {}

impl<F, R> Future for Wait<'_, F>
where
    F: FnMut(&mut Core, Timestamp) -> Poll<io::Result<R>>,
{
    type Output = io::Result<R>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let wait = self.get_mut();
        let slot = Slot::Queue(wait.interest, &mut wait.ticket);
        poll_once(
            wait.shard,
            wait.source,
            slot,
            wait.effect,
            cx,
            &mut wait.attempt,
        )
    }
}

impl<F> Drop for Wait<'_, F> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shard.forget(self.source, ticket);
        }
    }
}

/// Makes one attempt on behalf of a task, which takes turns with others even when a fast peer always has an
/// answer for it.
pub(crate) fn poll_once<R>(
    shard: &Shard,
    source: Source,
    slot: Slot<'_>,
    effect: Effect,
    cx: &mut Context<'_>,
    attempt: impl FnOnce(&mut Core, Timestamp) -> Poll<io::Result<R>>,
) -> Poll<io::Result<R>> {
    let budget = ready!(coop::poll_proceed(cx));
    let result = shard.poll(source, slot, effect, cx, attempt);
    if result.is_ready() {
        budget.made_progress();
    }
    result
}
