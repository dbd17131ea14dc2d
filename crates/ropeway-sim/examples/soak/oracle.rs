//! What is known of each connection, and what must have become of it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::pattern::Trouble;
use super::scenario::{App, Scenario};

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Client,
    Server,
}

/// Which end of which connection.
type Key = (u32, u32, Side);

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Oracle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What ended, and how. `None`: it was dropped, because its host crashed.
    ended: BTreeMap<Key, Vec<Option<Result<(), Trouble>>>>,
    open: BTreeMap<Key, u32>,
    /// Connections that were accepted and have not said yet which they are.
    unnamed: u32,
    /// Connections that broke before they said it.
    nameless: Vec<ErrorKind>,
    wrong: Vec<String>,
}

impl Oracle {
    /// An end of a connection begins.
    pub fn begin(self: &Arc<Self>, connection: u32, part: u32, side: Side) -> Open {
        let key = (connection, part, side);
        *self.state().open.entry(key).or_default() += 1;
        Open { oracle: Arc::clone(self), key, result: None }
    }

    /// A server has accepted a connection, and reads which one it is until this is dropped.
    pub fn accepted(self: &Arc<Self>) -> Unnamed {
        self.state().unnamed += 1;
        Unnamed(Arc::clone(self))
    }

    pub fn nameless(&self, kind: ErrorKind) {
        self.state().nameless.push(kind);
    }

    pub fn wrong(&self, what: String) {
        self.state().wrong.push(what);
    }

    /// Whether no end of any connection is open.
    pub fn is_quiet(&self) -> bool {
        let state = self.state();
        state.open.is_empty() && state.unnamed == 0
    }

    /// What is still open.
    pub fn open(&self) -> String {
        let state = self.state();
        format!("{:?}, and {} that have not been read from", state.open.keys(), state.unnamed)
    }

    /// Says what must not have happened.
    pub fn judge(&self, scenario: &Scenario) -> Result<(), String> {
        let state = self.state();
        if let Some(wrong) = state.wrong.first() {
            return Err(format!("bytes: {wrong}"));
        }
        for (key, results) in &state.ended {
            for result in results {
                if let Some(Err(Trouble::Wrong(what))) = result {
                    return Err(format!("bytes: connection {key:?}: {what}"));
                }
            }
        }
        let is_calm = scenario.connections.iter().all(|connection| {
            let may_break = scenario.may_die(connection) || scenario.may_come_again(connection);
            !may_break && !matches!(connection.app, App::Abort { .. })
        });
        if is_calm && let Some(kind) = state.nameless.first() {
            return Err(format!("error: a connection that was accepted said {kind:?} at once"));
        }
        for connection in &scenario.connections {
            let parts = if let App::Short { count, .. } = connection.app { count } else { 1 };
            for part in (0..parts).filter(|_| !scenario.may_die(connection)) {
                for side in [Side::Client, Side::Server] {
                    let key = (connection.number, part, side);
                    let results = state.ended.get(&key).map(Vec::as_slice).unwrap_or_default();
                    let is_server = side == Side::Server;
                    if is_server && matches!(connection.app, App::Datagrams { .. }) {
                        continue;
                    }
                    // One that came again has nobody at its other end, and its end may not be the last.
                    let again = is_server && scenario.may_come_again(connection) && results.len() > 1;
                    if again && results.iter().any(|result| matches!(result, Some(Ok(())))) {
                        continue;
                    }
                    state.judge_end(&connection.app, key, results)?;
                }
            }
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// An end of a connection between hosts that did not crash.
    fn judge_end(&self, app: &App, key: Key, results: &[Option<Result<(), Trouble>>]) -> Result<(), String> {
        let is_victim = match app {
            App::Abort { by_client, .. } => *by_client == (key.2 == Side::Server),
            _ => false,
        };
        match results {
            [Some(Ok(()))] if !is_victim => Ok(()),
            [Some(Err(Trouble::Io(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)))] if is_victim => {
                Ok(())
            }
            // Reset before it was accepted, or before it had said which it was.
            [] if is_victim && key.2 == Side::Server => Ok(()),
            [] => Err(format!("error: connection {key:?} never began")),
            [one] => Err(format!("error: connection {key:?} ended with {one:?}")),
            several => Err(format!("error: connection {key:?} was there {} times", several.len())),
        }
    }
}

/// An end of a connection that is open until this is dropped.
pub struct Open {
    oracle: Arc<Oracle>,
    key: Key,
    result: Option<Result<(), Trouble>>,
}

impl Open {
    pub fn end(mut self, result: Result<(), Trouble>) {
        self.result = Some(result);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.oracle.state();
        if let Some(count) = state.open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                state.open.remove(&self.key);
            }
        }
        let result = self.result.take();
        state.ended.entry(self.key).or_default().push(result);
    }
}

/// See [`Oracle::accepted`].
pub struct Unnamed(Arc<Oracle>);

impl Drop for Unnamed {
    fn drop(&mut self) {
        self.0.state().unnamed -= 1;
    }
}
