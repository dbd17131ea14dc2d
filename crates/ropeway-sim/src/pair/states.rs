//! What must always hold of the states.

use ropeway_core::{Cause, State, next};

use super::Pair;

impl Pair {
    /// Every state is one that the table leads to from the one before; a few edges may lie in one step.
    #[track_caller]
    pub(super) fn check_states(&mut self) {
        let ts = self.ts();
        for index in 0..self.programs.len() {
            let program = &self.programs[index];
            let Some(id) = program.id else { continue };
            let state = self.stacks[program.side].info(ts, id).map_or(State::Closed, |info| info.state);
            let before = program.state;
            if state == before {
                continue;
            }
            if !reachable(before, state) {
                self.fail(&format!("from {before} to {state}: the table has no such way"));
            }
            self.programs[index].state = state;
        }
    }

    /// The state of a program's connection.
    #[must_use]
    pub fn state(&self, program: usize) -> State {
        let program = &self.programs[program];
        program.id.map_or(State::Listen, |id| {
            self.stacks[program.side].info(self.ts(), id).map_or(State::Closed, |info| info.state)
        })
    }
}

/// Whether up to three edges of the table of states lead from one to another.
#[must_use]
pub fn reachable(from: State, to: State) -> bool {
    let mut states = vec![from];
    for _ in 0..3 {
        let further: Vec<State> = states
            .iter()
            .flat_map(|state| Cause::ALL.into_iter().filter_map(|cause| next(*state, cause).ok()))
            .collect();
        if further.contains(&to) {
            return true;
        }
        states = further;
        states.dedup();
    }
    false
}
