//! The model check: the code that ships, two stacks of it, and an adversary that loses, repeats, reorders and delays.
//! Every state that can be reached is looked at: docs/TESTING.md, "Model check", tells how it is bounded and what was
//! visited.
//!
//! `ROPEWAY_MODEL_DEPTH=3` gives the adversary three moves in every scenario: a packet that is lost, that comes twice,
//! that comes late, that a box on the way has changed; a timer that goes off while packets are on their way or a program could make its next call. Without
//! it, every scenario is explored without an adversary, and those that are small enough with one or two moves.
//! `ROPEWAY_MODEL_SCENARIO=text` picks the scenarios whose names have the text in them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a test says what is wrong by failing"
)]

#[path = "../common/mod.rs"]
mod common;
mod meddle;
mod print;
mod scenario;
mod search;
mod world;

use std::env;

use scenario::SCENARIOS;
use search::{explore, ladder, shorten};

fn number(variable: &str) -> Option<u32> {
    env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is not a number")))
}

/// A scenario that has no more states than these is explored with one move more, if nobody says how many.
const SMALL: usize = if cfg!(debug_assertions) { 120 } else { 1000 };

/// The same where a box on the way has moves, too: there are three times as many.
const SMALL_MEDDLED: usize = if cfg!(debug_assertions) { 60 } else { 1000 };

/// Bytes exactly once and in order; always a packet, a timer or a call to come while anything is outstanding; no edge
/// that the diagram does not have; and every path ends with both CLOSED and all tables empty.
#[test]
fn every_path_keeps_the_promises_of_tcp() {
    let asked = number("ROPEWAY_MODEL_DEPTH");
    let only = env::var("ROPEWAY_MODEL_SCENARIO").unwrap_or_default();
    let limit = number("ROPEWAY_MODEL_STATES").map_or(usize::MAX, |limit| limit as usize);
    let mut total = 0;
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.name.contains(&only)) {
        let small = if scenario.meddler { SMALL_MEDDLED } else { SMALL };
        // With few moves first: what goes wrong without an adversary is easier to understand.
        for budget in 0..=asked.unwrap_or(2) {
            let found = explore(scenario, budget, limit).unwrap_or_else(|violation| {
                let violation = shorten(scenario, budget, violation);
                panic!("{}", ladder(scenario, budget, &violation));
            });
            let needed = scenario.shows.iter().map(|(_, moves)| *moves).max().unwrap_or(0);
            let enough = budget == 2 || (found.states > small && budget >= needed);
            let last = asked.map_or(enough, |depth| budget == depth);
            let missed = |(class, moves): &&(_, u32)| *moves <= budget && !found.met.contains(class);
            if let Some((class, _)) = scenario.shows.iter().find(missed).filter(|_| limit == usize::MAX) {
                panic!("{}: no path has come upon {class:?}: {found:?}", scenario.name);
            }
            if last {
                total += found.states;
                println!("{:>10} states with {budget} moves, {}: {found:?}", found.states, scenario.name);
                break;
            }
        }
    }
    println!("{total:>10} states in all");
    assert!(total > 0, "no scenario has {only:?} in its name");
}
