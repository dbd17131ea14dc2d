//! A little of the soak, and its parts: `cargo run --release -p ropeway-sim --example soak` does much more.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    dead_code
)]

#[path = "../examples/soak/apps.rs"]
mod apps;
#[path = "../examples/soak/generate.rs"]
mod generate;
#[path = "../examples/soak/listing.rs"]
mod listing;
#[path = "../examples/soak/oracle.rs"]
mod oracle;
#[path = "../examples/soak/pattern.rs"]
mod pattern;
#[path = "../examples/soak/run.rs"]
mod run;
#[path = "../examples/soak/scenario.rs"]
mod scenario;
#[path = "../examples/soak/shrink.rs"]
mod shrink;

use scenario::{App, FaultKind, Scenario};

#[test]
fn thirty_seeds() {
    let mut sum = run::Totals::default();
    for seed in 0..30 {
        let scenario = Scenario::random(seed);
        match run::run(&scenario, None, 0) {
            Ok(totals) => sum.add(totals),
            Err(error) => {
                panic!("seed {seed}: {error}\n{scenario}\n`--example soak -- --seed {seed}` shrinks it");
            }
        }
    }
    // What they are there for.
    let met = [sum.mtu_probes, sum.black_holes, sum.fast_opens, sum.datagrams, sum.reassembled];
    assert!(met.iter().all(|count| *count > 0), "{sum:?}");
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 30..35 {
        let scenario = Scenario::random(seed);
        let first = run::run(&scenario, None, 16 << 20).unwrap();
        assert!(first.packets > 0);
        assert_eq!(run::run(&scenario, None, 16 << 20).unwrap(), first, "seed {seed}");
    }
}

/// What is shrunk keeps what makes it fail, and nothing else.
#[test]
fn shrinking_leaves_only_what_is_needed() {
    let fails = |scenario: &Scenario| {
        let crashed = scenario.faults.iter().filter_map(|fault| match fault.kind {
            FaultKind::Crash { host } => Some(host),
            _ => None,
        });
        let crashed: Vec<u32> = crashed.collect();
        scenario.connections.iter().any(|connection| {
            let is_long = matches!(connection.app, App::Bulk { up, .. } if up >= 700);
            is_long && crashed.contains(&connection.to)
        })
    };
    let seeds = (0..).map(Scenario::random).filter(|scenario| fails(scenario) && scenario.hosts.len() > 3);
    for scenario in seeds.take(5) {
        let seed = scenario.seed;
        let smallest = shrink::shrink(scenario, fails);
        assert_eq!(smallest.connections.len(), 1, "seed {seed}:\n{smallest}");
        assert_eq!(smallest.faults.len(), 1, "seed {seed}:\n{smallest}");
        assert_eq!(smallest.hosts.len(), 2, "seed {seed}:\n{smallest}");
        assert!(smallest.trunks.is_empty(), "seed {seed}:\n{smallest}");
        let App::Bulk { up, down } = smallest.connections[0].app else { panic!("{smallest}") };
        assert!((700..900).contains(&up) && down == 1, "seed {seed}:\n{smallest}");
    }
}

/// What the ends of a connection report decides, and nothing else.
#[test]
fn the_oracle_sees_wrong_bytes() {
    let mut scenario = Scenario::random(3);
    scenario.faults.clear();
    scenario.connections.truncate(1);
    scenario.connections[0].app = App::Bulk { up: 1000, down: 1000 };
    run::run(&scenario, None, 0).unwrap();
    let oracle = std::sync::Arc::new(oracle::Oracle::default());
    let number = scenario.connections[0].number;
    for side in [oracle::Side::Client, oracle::Side::Server] {
        oracle.begin(number, 0, side).end(Ok(()));
    }
    assert_eq!(oracle.judge(&scenario), Ok(()));
    oracle.begin(number, 0, oracle::Side::Server).end(Err(pattern::Trouble::Wrong("byte 7".into())));
    assert!(oracle.judge(&scenario).unwrap_err().contains("byte 7"));
}
