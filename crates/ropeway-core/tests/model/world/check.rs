//! What must hold: of what a program reads, of every step, and where nothing can happen any more.

use ropeway_core::congestion::Phase;
use ropeway_core::{EcnFeedback, RecvError, State, TcpInfo};

use super::{NAMES, World};
use crate::common::pair::reachable;
use crate::common::pattern;

impl World {
    pub(super) fn read(&mut self, side: usize) -> Result<(), String> {
        let (now, program) = (self.now, &mut self.programs[side]);
        let Some(id) = program.id.filter(|_| !program.left && program.error.is_none()) else { return Ok(()) };
        loop {
            match self.stacks[side].recv(now, id, 100) {
                Ok(payload) if payload.is_empty() => {
                    program.saw_end = true;
                    break;
                }
                Ok(payload) => {
                    let expected = pattern(program.read + (1 - side) * 1000, payload.len());
                    if payload.to_vec() != expected || program.saw_end {
                        return Err(format!("{} reads wrong bytes from {} on", NAMES[side], program.read));
                    }
                    program.read += payload.len();
                }
                Err(RecvError::Failed(error)) => {
                    program.error = Some(error);
                    break;
                }
                Err(_) => break,
            }
        }
        let (own, other) = (&self.programs[side], &self.programs[1 - side]);
        if own.read > other.written {
            return Err(format!("{} has read what was not written", NAMES[side]));
        }
        if !self.scenario.abortive {
            if let Some(error) = own.error {
                return Err(format!("{} is told {error:?}, and nobody broke off", NAMES[side]));
            }
            if own.saw_end && !(other.finished && own.read == other.written) {
                return Err(format!("{}'s stream ends after {} of {}", NAMES[side], own.read, other.written));
            }
        }
        Ok(())
    }

    /// Every state follows from the one before by edges of the diagram.
    pub(super) fn check_edge(&mut self, side: usize) -> Result<(), String> {
        if !self.stacks[side].is_consistent() {
            return Err(format!("{}'s record of what it has sent does not add up", NAMES[side]));
        }
        let Some(id) = self.programs[side].id else { return Ok(()) };
        let info = self.stacks[side].info(self.now, id);
        // SND.NXT - ISS - 1, once there is one.
        let sent = info.as_ref().map_or(0, |info| info.bytes_acked + u64::from(info.unacked));
        if let Ok(info) = &info {
            self.check_feedback(side, info)?;
        }
        let synchronized = info.as_ref().is_ok_and(|info| info.state.is_synchronized());
        if synchronized && sent < std::mem::replace(&mut self.sent_up_to[side], sent) {
            return Err(format!("{}'s SND.NXT goes back to {sent}", NAMES[side]));
        }
        let state = info.map_or(State::Closed, |info| info.state);
        let before = std::mem::replace(&mut self.states[side], state);
        // Whom nobody holds any more cannot be looked at.
        let unseen = self.programs[side].left;
        if before != state && !unseen && !reachable(before, state) {
            return Err(format!(
                "{} goes from {before} to {state}: the diagram has no such way",
                NAMES[side]
            ));
        }
        Ok(())
    }

    /// What is counted of marks does not go back, and is not more than there were; and who was told of none has not slowed
    /// down for one.
    fn check_feedback(&mut self, side: usize, info: &TcpInfo) -> Result<(), String> {
        let name = NAMES[side];
        let counters = [
            info.received_ce,
            info.received_ce_bytes,
            info.received_e0_bytes,
            info.received_e1_bytes,
            info.delivered_ce,
            info.delivered_ce_bytes,
            info.delivered_e0_bytes,
            info.delivered_e1_bytes,
        ];
        let before = std::mem::replace(&mut self.feedback[side].counters, counters);
        if info.state.is_synchronized() && counters.iter().zip(before).any(|(now, before)| *now < before) {
            return Err(format!("{name}'s counters go back from {before:?} to {counters:?}"));
        }
        let [here, there] = [side, 1 - side].map(|side| self.feedback[side].marked);
        if info.received_ce > here {
            return Err(format!("{name} has counted {} marks of {here}", info.received_ce));
        }
        if self.meddled {
            return Ok(());
        }
        if info.delivered_ce > there {
            return Err(format!("{name} believes that {} were marked, of {there}", info.delivered_ce));
        }
        if info.ca_state == Phase::Cwr && there == 0 {
            return Err(format!("{name} slows down for a mark that nobody has made"));
        }
        Ok(())
    }

    /// Two ends of one connection tell each other of marks in one way, or one of them not at all.
    fn check_agreement(&self) -> Result<(), String> {
        let [a, b] = [0, 1].map(|side: usize| {
            let info = self.programs[side].id.and_then(|id| self.stacks[side].info(self.now, id).ok());
            info.filter(|info| info.state.is_synchronized()).map_or(EcnFeedback::None, |info| info.ecn)
        });
        let one_is_off = a == EcnFeedback::None || b == EcnFeedback::None;
        if self.meddled || one_is_off || a == b {
            return Ok(());
        }
        Err(format!("A tells of marks by {a:?}, B by {b:?}"))
    }

    /// When nothing can happen any more, all must be over.
    pub(super) fn check_rest(&self) -> Result<(), String> {
        self.check_agreement()?;
        let waits = (0..2).any(|side| self.scenario.abortive && self.waits_in_vain(side));
        if self.is_busy() || self.deadline().is_some() || waits {
            return Ok(());
        }
        for (side, name) in NAMES.into_iter().enumerate() {
            let sizes = self.stacks[side].sizes();
            if (sizes.connections, sizes.half_open, sizes.time_wait) != (0, 0, 0) {
                let held = self.programs[side].id.is_some() && !self.programs[side].left;
                let why =
                    if held { "deadlock: no packet, no timer, and it waits" } else { "something is left" };
                return Err(format!("{name}: {why}: {sizes:?}, {}", self.states[side]));
            }
            let (own, other) = (&self.programs[side], &self.programs[1 - side]);
            if !self.scenario.abortive && (own.read != other.written || !own.saw_end) {
                return Err(format!("{name} has read {} of {} bytes", own.read, other.written));
            }
            if self.next_call(side).is_some() && own.id.is_some() {
                return Err(format!("{name} is not done: {:?} is left", self.next_call(side)));
            }
        }
        Ok(())
    }
}
