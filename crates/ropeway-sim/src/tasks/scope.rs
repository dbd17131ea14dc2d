//! Futures that run on a host.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::LifeToken;
use crate::shared::Shared;

/// A future that runs on a host, until the host crashes. While the host is frozen, it is not polled.
pub(crate) struct Scoped<F> {
    shared: Arc<Shared>,
    life: Arc<LifeToken>,
    subscriber: u64,
    /// What the life wakes.
    waker: Option<Waker>,
    /// Dropped when the host crashes.
    future: Option<Pin<Box<F>>>,
}

/// The host crashed.
#[derive(Debug)]
pub(crate) struct Ended;

impl<F> Scoped<F> {
    pub(crate) fn new(shared: Arc<Shared>, life: Arc<LifeToken>, future: F) -> Self {
        let subscriber = life.subscribe();
        Self { shared, life, subscriber, waker: None, future: Some(Box::pin(future)) }
    }

    /// Runs `work` on the host; the tasks that it spawns belong to it.
    fn inside<R>(&mut self, work: impl FnOnce(&mut Option<Pin<Box<F>>>) -> R) -> R {
        let _entered = self.life.stack.enter();
        let _poll = self.shared.tasks.open(&self.life);
        work(&mut self.future)
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = Result<F::Output, Ended>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        this.shared.note_scoped_poll();
        if this.life.has_ended() {
            this.inside(|future| *future = None);
            return Poll::Ready(Err(Ended));
        }
        if !this.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            this.life.renew(this.subscriber, cx.waker());
            this.waker = Some(cx.waker().clone());
        }
        if this.life.is_frozen() {
            return Poll::Pending;
        }
        this.inside(|future| match future {
            Some(running) => {
                let polled = running.as_mut().poll(cx);
                if polled.is_ready() {
                    *future = None;
                }
                polled.map(Ok)
            }
            None => Poll::Pending,
        })
    }
}

impl<F> Drop for Scoped<F> {
    fn drop(&mut self) {
        self.life.unsubscribe(self.subscriber);
        if self.future.is_some() {
            self.inside(|future| *future = None);
        }
    }
}
