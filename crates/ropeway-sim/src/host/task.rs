//! Tasks on hosts.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::task::{AbortHandle, JoinError, JoinHandle};

use crate::tasks::Ended;

/// A task on a host. Like a [`JoinHandle`], but the host may crash.
///
/// When it is dropped, the task goes on.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use ropeway_sim::{Net, TaskError};
///
/// let host = Net::new().host("a");
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
}

impl<T> HostTask<T> {
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
        let task = Pin::new(&mut self.get_mut().task);
        Poll::Ready(match ready!(task.poll(cx)) {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(Ended)) => Err(TaskError::Crashed),
            Err(error) => Err(TaskError::Failed(error)),
        })
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
