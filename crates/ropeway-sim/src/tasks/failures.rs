//! Tasks of hosts that failed: by an `Err` or a panic.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Job;
use crate::engine::{Micros, millis};

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Failures {
    told: Mutex<Vec<(Arc<Job>, String)>>,
}

impl Failures {
    /// Notes that a task has failed, and says so, unless it is tolerated or somebody waits for its result.
    pub(crate) fn add(&self, job: &Arc<Job>, at: Micros, text: &str) {
        let text = format!("at {} ms, {text}", millis(at));
        if !job.is_tolerated() && job.joiner().is_none() {
            eprintln!("ropeway-sim: {text}");
        }
        self.told().push((Arc::clone(job), text));
    }

    /// Those that nobody knows of, and that are not tolerated.
    pub(crate) fn unclaimed(&self) -> Vec<String> {
        let told = self.told();
        let unclaimed = told.iter().filter(|(job, _)| !job.is_claimed() && !job.is_tolerated());
        unclaimed.map(|(_, text)| text.clone()).collect()
    }

    fn told(&self) -> MutexGuard<'_, Vec<(Arc<Job>, String)>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
