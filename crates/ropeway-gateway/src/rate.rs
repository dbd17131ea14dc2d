//! How often something may be done.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// So many a second, and as many at once.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: u32,
    state: Mutex<(Instant, u32)>,
}

impl Rate {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second, state: Mutex::new((Instant::now(), per_second)) }
    }

    pub(crate) fn allows(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (since, left) = &mut *state;
        if since.elapsed() >= Duration::from_secs(1) {
            (*since, *left) = (Instant::now(), self.per_second);
        }
        let allows = *left > 0;
        *left = left.saturating_sub(1);
        allows
    }
}
