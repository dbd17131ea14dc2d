//! Depth first through every state that can be reached, each one once.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use ropeway_core::packet::TcpFlags;

use super::scenario::{Class, Scenario};
use super::world::{Action, NAMES, World};
use crate::common::wire::{self, describe};

/// A fingerprint is its own hash.
#[derive(Default)]
pub struct Own(u64);

impl Hasher for Own {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("fingerprints are numbers");
    }
    fn write_u128(&mut self, print: u128) {
        self.0 = print as u64;
    }
}

type Hash = BuildHasherDefault<Own>;

/// No path is longer than this: what goes on that long goes on for ever.
const LONGEST: usize = 400;
/// One state of so many is kept, to be held against another that has the same fingerprint.
const SAMPLE: u128 = 509;

#[derive(Default, Debug)]
pub struct Found {
    pub states: usize,
    pub steps: usize,
    pub ends: usize,
    pub longest: usize,
    /// Pairs of states with one fingerprint whose next steps were held against each other.
    pub compared: usize,
    /// What has happened on the ways to them.
    pub met: Vec<Class>,
}

/// A way to something that must not be.
#[derive(Debug)]
pub struct Violation {
    pub path: Vec<Action>,
    pub why: String,
}

pub fn explore(scenario: &'static Scenario, budget: u32, limit: usize) -> Result<Found, Violation> {
    let mut found = Found::default();
    let mut visited: HashSet<u128, Hash> = HashSet::default();
    let mut kept: HashMap<u128, World, Hash> = HashMap::default();
    let start = World::new(scenario, budget);
    visited.insert(start.print());
    let actions = start.actions();
    let mut stack = vec![(start, actions)];
    let mut path = Vec::new();
    while let Some((world, actions)) = stack.last_mut() {
        let Some(action) = actions.pop() else {
            stack.pop();
            path.pop();
            continue;
        };
        let mut next = world.clone();
        path.push(action);
        found.steps += 1;
        let done = next.act(action);
        if let Err(why) = done {
            return Err(Violation { path, why });
        }
        for (class, _) in scenario.shows {
            if !found.met.contains(class) && class.is_met(&next.stacks) {
                found.met.push(*class);
            }
        }
        let print = next.print();
        if !visited.insert(print) {
            if let Some(other) = kept.get(&print) {
                found.compared += 1;
                same(other, &next).map_err(|why| Violation { path: path.clone(), why })?;
            }
            path.pop();
            continue;
        }
        if print % SAMPLE == 0 && kept.len() < 2000 {
            kept.insert(print, next.clone());
        }
        let actions = next.actions();
        found.ends += usize::from(actions.is_empty());
        found.longest = found.longest.max(path.len());
        if path.len() > LONGEST {
            return Err(Violation { path, why: "it does not come to an end".into() });
        }
        if visited.len() >= limit {
            break;
        }
        stack.push((next, actions));
    }
    found.states = visited.len();
    Ok(found)
}

/// Two states with one fingerprint can do the same, and it leads to the same.
fn same(one: &World, other: &World) -> Result<(), String> {
    let actions = one.actions();
    if actions != other.actions() {
        return Err("two states with one fingerprint differ in what can happen".into());
    }
    for action in actions {
        let (mut one, mut other) = (one.clone(), other.clone());
        if one.act(action).is_ok() != other.act(action).is_ok() || one.print() != other.print() {
            return Err(format!("two states with one fingerprint differ after {action:?}"));
        }
    }
    Ok(())
}

/// Leaves out of a path what is not needed for something to go wrong.
pub fn shorten(scenario: &'static Scenario, budget: u32, violation: Violation) -> Violation {
    let mut best = violation;
    let mut size = best.path.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at + size <= best.path.len() {
            let mut path = best.path.clone();
            path.drain(at..at + size);
            match walk(scenario, budget, &path).filter(|walked| walked.path.len() < best.path.len()) {
                Some(shorter) => best = shorter,
                None => at += 1,
            }
        }
        size /= 2;
    }
    best
}

/// Walks a path, as far as it leads; and on to the end, if nothing was wrong on it.
fn walk(scenario: &'static Scenario, budget: u32, path: &[Action]) -> Option<Violation> {
    let mut world = World::new(scenario, budget);
    let mut walked = Vec::new();
    let mut planned = path.iter().copied();
    loop {
        let actions = world.actions();
        let action = match planned.next() {
            Some(action) if actions.contains(&action) => action,
            Some(_) => return None,
            None => *actions.first()?,
        };
        walked.push(action);
        if let Err(why) = world.act(action) {
            return Some(Violation { path: walked, why });
        }
        if walked.len() > LONGEST {
            return Some(Violation { path: walked, why: "it does not come to an end".into() });
        }
    }
}

/// The path as a ladder: what happened, what was sent, and in which states both ends are.
pub fn ladder(scenario: &'static Scenario, budget: u32, violation: &Violation) -> String {
    let mut world = World::new(scenario, budget);
    let mut text =
        format!("{}\nin \"{}\", with {budget} moves of the adversary:\n", violation.why, scenario.name);
    let mut bases = [0; 2];
    note_bases(&world, &mut bases);
    let mut shown = 0;
    for action in &violation.path {
        let (flight, late) = (world.flight.clone(), world.late.clone());
        let before = world.states;
        let calls = [0, 1].map(|side: usize| world.programs[side].next);
        let done = world.act(*action);
        note_bases(&world, &mut bases);
        let line = |from: usize, packet: &[u8]| {
            let at = world.now.as_micros() - 1_000_000;
            describe(at, ["A > B", "B > A"][from], packet, bases[from], bases[1 - from])
        };
        shown += 1;
        // The end of an endless path is like its middle.
        if shown > 60 {
            text += "      ...\n";
            break;
        }
        let what = match *action {
            Action::Deliver(to) => format!("arrives    {}", line(1 - to, &flight[to][0])),
            Action::DeliverLate(index) => format!("comes late {}", line(1 - late[index].0, &late[index].1)),
            Action::Drop(to) => format!("LOST       {}", line(1 - to, &flight[to][0])),
            Action::Delay(to) => format!("DELAYED    {}", line(1 - to, &flight[to][0])),
            Action::Duplicate(to) => format!("TWICE      {}", line(1 - to, &flight[to][0])),
            Action::Meddle(to, change) => {
                format!("{:<10} {}", format!("{change:?}"), line(1 - to, &flight[to][0]))
            }
            Action::Narrow if world.narrow => "NARROW     no large packets from now on".into(),
            Action::Narrow => "WIDE       large packets again".into(),
            Action::TooBig(to) => format!("TOO BIG    {}", line(1 - to, &flight[to][0])),
            Action::Timer => format!("timer      at {:?}", world.now),
            Action::Call(side) => {
                format!("call       {}: {:?}", NAMES[side], scenario.scripts[side][calls[side]])
            }
        };
        text += &format!("{what}\n");
        for (from, packet) in world.sent.iter() {
            text += &format!("    sends  {}\n", line(*from, packet));
        }
        if before != world.states {
            text += &format!("           A {}, B {}\n", world.states[0], world.states[1]);
        }
        if done.is_err() {
            break;
        }
    }
    text
}

/// Both initial sequence numbers, from the SYNs on their way.
fn note_bases(world: &World, bases: &mut [u32; 2]) {
    for (to, queue) in world.flight.iter().enumerate() {
        for segment in queue.iter().filter_map(|packet| wire::parse(packet)) {
            if segment.tcp.flags.contains(TcpFlags::SYN) {
                bases[1 - to] = segment.tcp.seq.get();
            }
        }
    }
}
