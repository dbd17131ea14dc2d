//! Tasks on hosts.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::task::{AbortHandle, JoinError, JoinHandle};

use crate::tasks::{Ended, Job};

/// A task on a host. Like a [`JoinHandle`], but the host may crash.
///
/// When it is dropped, the task goes on. Should the task fail then, by an `Err` or a panic, the test fails, too, unless
/// it [tolerates](Self::tolerate) that.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use ropeway_sim::{Net, TaskError};
///
/// let host = Net::new().add_host("a").build();
/// assert_eq!(host.spawn(async { 6 * 7 }).await.unwrap(), 42);
///
/// let waiting = host.spawn(std::future::pending::<()>());
/// host.crash();
/// assert!(matches!(waiting.await, Err(TaskError::Crashed)));
/// # }
/// ```
#[derive(Debug)]
pub struct HostTask<T> {
    pub(super) task: JoinHandle<Result<T, Ended>>,
    pub(super) job: Arc<Job>,
}

impl<T> HostTask<T> {
    /// Says that the test does not care whether the task fails, by an `Err` or a panic. The [log](crate::Net::log) tells.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let net = ropeway_sim::Net::new();
    /// net.add_host("a").build().spawn(async { Err::<(), _>("no config") }).tolerate();
    /// tokio::task::yield_now().await;
    /// assert!(net.log().contains("no config"));
    /// # }
    /// ```
    pub fn tolerate(self) -> Self {
        self.job.tolerate();
        self
    }

    /// Ends the task at its next `.await`.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// A handle that can only end the task.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        self.task.abort_handle()
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl<T> Future for HostTask<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.task).poll(cx);
        this.job.set_joiner(polled.is_pending().then(|| cx.waker()));
        let output = ready!(polled);
        this.job.claim();
        Poll::Ready(match output {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(Ended)) => Err(TaskError::Crashed),
            Err(error) => Err(TaskError::Failed(error)),
        })
    }
}

impl<T> Drop for HostTask<T> {
    fn drop(&mut self) {
        self.job.set_joiner(None);
    }
}

/// What [`Host::on_boot`](crate::Host::on_boot) runs whenever the host starts.
#[derive(Debug)]
pub struct BootTask {
    pub(super) is_tolerated: Arc<AtomicBool>,
}

impl BootTask {
    /// Says that the test does not care whether the service fails, by an `Err` or a panic. The [log](crate::Net::log)
    /// tells.
    pub fn tolerate(&self) {
        self.is_tolerated.store(true, Ordering::Relaxed);
    }
}

/// Why a [`HostTask`] gave no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum TaskError {
    /// The host crashed.
    Crashed,
    /// The task panicked or was aborted.
    Failed(JoinError),
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crashed => f.write_str("the host crashed"),
            Self::Failed(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for TaskError {}
