//! How a stack of ropeway's is spread over CPUs.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::str::FromStr;

use tokio::runtime::Builder;

/// So many shards on a runtime with so many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) shards: NonZeroUsize,
    pub(crate) workers: NonZeroUsize,
    /// What a stack that has it is called.
    stack: &'static str,
}

impl Layout {
    pub(crate) fn stack_name(self) -> &'static str {
        self.stack
    }

    /// Runs a task on so many workers.
    pub(crate) fn run<T: Send + 'static>(
        self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<T> {
        let runtime = Builder::new_multi_thread().worker_threads(self.workers.get()).enable_all().build()?;
        runtime.block_on(async { tokio::spawn(task).await.map_err(io::Error::other) })
    }
}

impl FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text
            .split_once('x')
            .and_then(|(shards, workers)| Some((shards.parse().ok()?, workers.parse().ok()?)));
        let (shards, workers) = numbers.ok_or("a layout is SHARDSxWORKERS, as 2x2")?;
        // Names are few, and live as long as the program.
        Ok(Self { shards, workers, stack: format!("ropeway-{shards}x{workers}").leak() })
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.shards, self.workers)
    }
}
