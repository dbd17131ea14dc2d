//! Which host a task belongs to.
//!
//! A future that runs on a host enters the host's stack at each of its polls. Tasks that it spawns by plain
//! `tokio::spawn` are found by their ids: Tokio hands them out in increasing order, so a task belongs to the host
//! during one of whose polls its id was handed out.

mod failures;
mod job;
mod life;
mod marks;
mod scope;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use self::failures::Failures;
pub(crate) use self::job::{Job, Kind, error_of};
pub(crate) use self::life::LifeToken;
use self::marks::{mark, number};
pub(crate) use self::scope::{Ended, Judge, Scoped};

/// The tasks that were spawned by futures that run on hosts.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The ids that were handed out during polls, in increasing order, without overlap.
    ranges: Vec<Range>,
    /// The polls that are going on, the innermost last, each with the mark since which it is the innermost.
    open: Vec<(u64, Arc<LifeToken>)>,
}

/// The ids between two marks.
#[derive(Debug)]
struct Range {
    after: u64,
    before: u64,
    life: Arc<LifeToken>,
}

impl Tasks {
    /// The life that the running task belongs to.
    pub(crate) fn current(&self) -> io::Result<Arc<LifeToken>> {
        let life = self.state().current().ok_or_else(nobody)?;
        if life.has_ended() {
            let text = format!("this task was spawned on the host {:?}, which has crashed since", life.host);
            return Err(io::Error::new(io::ErrorKind::NetworkDown, text));
        }
        Ok(life)
    }

    /// Likewise, for a log: without an error, and without waiting for anything.
    pub(crate) fn glance(&self) -> Option<Arc<LifeToken>> {
        self.state.try_lock().ok()?.current()
    }

    /// Until the guard is dropped, tasks that are spawned belong to `life`.
    fn open(&self, life: &Arc<LifeToken>) -> Poll<'_> {
        let mut state = self.state();
        let now = mark();
        state.close_innermost(now);
        state.open.push((now, Arc::clone(life)));
        Poll { tasks: self }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A poll that goes on.
struct Poll<'a> {
    tasks: &'a Tasks,
}

impl Drop for Poll<'_> {
    fn drop(&mut self) {
        let mut state = self.tasks.state();
        let now = mark();
        state.close_innermost(now);
        state.open.pop();
        if let Some((since, _)) = state.open.last_mut() {
            *since = now;
        }
    }
}

impl State {
    fn current(&self) -> Option<Arc<LifeToken>> {
        match self.open.last() {
            Some((_, life)) => Some(Arc::clone(life)),
            None => self.find(number(tokio::task::try_id()?)),
        }
    }

    fn find(&self, id: u64) -> Option<Arc<LifeToken>> {
        let at = self.ranges.partition_point(|range| range.before <= id);
        self.ranges.get(at).filter(|range| range.after < id).map(|range| Arc::clone(&range.life))
    }

    /// Notes which ids the innermost poll has handed out since it became so.
    fn close_innermost(&mut self, now: u64) {
        let Some((since, life)) = self.open.last() else { return };
        // The next mark: no id in between.
        if now - since <= 1 {
            return;
        }
        match self.ranges.last_mut() {
            Some(last) if last.before + 1 == *since && Arc::ptr_eq(&last.life, life) => last.before = now,
            _ => self.ranges.push(Range { after: *since, before: now, life: Arc::clone(life) }),
        }
    }
}

fn nobody() -> io::Error {
    io::Error::new(
        io::ErrorKind::NotConnected,
        "this task belongs to no host of the simulated network: run it by Host::run, or spawn it by Host::spawn or \
         ropeway_sim::spawn",
    )
}
