//! Futures that run on a host.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::{Job, Kind, LifeToken};
use crate::shared::Shared;
use crate::stamp;

/// Says whether an output is a failure, and of what kind.
pub(crate) type Judge<T> = fn(&T) -> Option<String>;

/// A future that runs on a host, until the host crashes. While the host is frozen, it is not polled.
pub(crate) struct Scoped<F: Future> {
    shared: Arc<Shared>,
    life: Arc<LifeToken>,
    job: Arc<Job>,
    judge: Judge<F::Output>,
    subscriber: u64,
    /// What the life wakes.
    waker: Option<Waker>,
    /// Dropped when the host crashes.
    future: Option<Pin<Box<F>>>,
}

/// The host crashed.
#[derive(Debug)]
pub(crate) struct Ended;

impl<F: Future> Scoped<F> {
    pub(crate) fn new(
        shared: Arc<Shared>,
        life: Arc<LifeToken>,
        job: Arc<Job>,
        judge: Judge<F::Output>,
        future: F,
    ) -> Self {
        let subscriber = life.subscribe(&job);
        Self { shared, life, job, judge, subscriber, waker: None, future: Some(Box::pin(future)) }
    }

    /// Runs `work` on the host; the tasks that it spawns belong to it.
    fn inside<R>(&mut self, work: impl FnOnce(&mut Option<Pin<Box<F>>>) -> R) -> R {
        let _entered = self.life.stack.enter();
        let _place = stamp::enter(&self.shared.time, &self.life);
        let span = self.life.span.clone();
        let _span = span.enter();
        let _poll = self.shared.tasks.open(&self.life);
        work(&mut self.future)
    }

    /// Polls the future on its host. A task that fails is noted.
    fn run(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            self.inside(|future| future.as_mut().map_or(Poll::Pending, |running| running.as_mut().poll(cx)))
        }));
        let polled = polled.unwrap_or_else(|payload| {
            if self.job.kind != Kind::Run {
                self.shared.task_failed(&self.life, &self.job, &panic_text(payload.as_ref()));
            }
            resume_unwind(payload)
        });
        if let Poll::Ready(output) = &polled {
            self.inside(|future| *future = None);
            match (self.judge)(output) {
                Some(error) => self.shared.task_failed(&self.life, &self.job, &format!("an error: {error}")),
                None if self.job.kind == Kind::Boot => self.shared.service_ended(&self.life, &self.job),
                None => {}
            }
        }
        polled
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&'static str>().copied());
    text.map_or_else(|| "a panic".to_owned(), |text| format!("a panic: {text}"))
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
            this.job.set_waker(cx.waker());
            this.waker = Some(cx.waker().clone());
        }
        if this.life.is_frozen() {
            return Poll::Pending;
        }
        this.run(cx).map(Ok)
    }
}

impl<F: Future> Drop for Scoped<F> {
    fn drop(&mut self) {
        self.life.unsubscribe(self.subscriber);
        if self.future.is_some() {
            self.inside(|future| *future = None);
        }
    }
}
