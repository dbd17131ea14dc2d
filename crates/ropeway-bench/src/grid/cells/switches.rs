//! What each feature is worth, and what it costs: a path on which it matters, with it and without it.

use ropeway_core::congestion::Cubic;
use ropeway_core::{Algorithm, StackConfig};
use ropeway_sim::{Loss, Rate};

use super::MS;
use crate::grid::cell::Cell;
use crate::grid::engine::{Change, Work};

/// A feature that can be switched off.
struct Switch {
    name: &'static str,
    off: fn(&mut StackConfig),
}

const SACK: Switch = Switch { name: "SACK", off: |config| config.sack = false };
const DSACK: Switch = Switch { name: "D-SACK", off: |config| config.dsack = false };
const RACK: Switch = Switch { name: "RACK", off: |config| config.rack = false };
const TLP: Switch = Switch { name: "TLP", off: |config| config.tlp = false };
const FRTO: Switch = Switch { name: "F-RTO", off: |config| config.frto = false };
const UNDO: Switch = Switch { name: "undo", off: |config| config.undo = false };
const PRR: Switch = Switch { name: "PRR", off: |config| config.prr = false };
const PACING: Switch = Switch { name: "pacing", off: |config| config.pacing = false };
const TIMESTAMPS: Switch = Switch { name: "timestamps", off: |config| config.timestamps = false };
const HYSTART: Switch = Switch {
    name: "HyStart++",
    off: |config| config.socket.congestion = Algorithm::custom(Cubic::without_hystart()),
};
const CUBIC: Switch = Switch { name: "CUBIC", off: |config| config.socket.congestion = Algorithm::NewReno };

/// The path, and the path without each of the features.
fn with_and_without(path: &Cell, switches: &[Switch]) -> Vec<Cell> {
    let without = switches.iter().map(|switch| {
        let name = format!("{}: {} off", path.name, switch.name);
        Cell { name, ..path.clone() }.config(switch.off)
    });
    [path.clone()].into_iter().chain(without).collect()
}

pub(super) fn cells() -> Vec<Cell> {
    let lossy = Cell::path("5 MB: 20 Mbit/s, 80 ms, 1 % lost", Rate::mbit(20), MS(80), 10)
        .forth(|pipe| pipe.loss(0.01))
        .bulk(5_000_000)
        .seeds(11, 10)
        .ci();
    let bursts = Cell::path("5 MB: 20 Mbit/s, 80 ms, bursts of 8", Rate::mbit(20), MS(80), 10)
        .forth(|pipe| pipe.loss(Loss::burst(0.005, 8.0)))
        .bulk(5_000_000)
        .seeds(11, 10)
        .ci();
    let jitter =
        Cell::path("10 MB: 20 Mbit/s, 40 ms, 15 ms jitter that reorders", Rate::mbit(20), MS(40), 20)
            .forth(|pipe| pipe.jitter(MS(15)).overtaking(true))
            .bulk(10_000_000)
            .seeds(7, 10)
            .ci();
    let tails = Cell::path("100 answers of 5 kB: 10 Mbit/s, 40 ms, 3 % lost", Rate::mbit(10), MS(40), 10)
        .forth(|pipe| pipe.loss(0.03))
        .flow(Work::Turns { times: 100, bytes: 5_000 })
        .seeds(11, 10)
        .ci();
    let spike =
        Cell::path("10 MB: 20 Mbit/s, 40 ms, delay 1 s longer for a while", Rate::mbit(20), MS(40), 20)
            .at(MS(1500), Change::Delay(MS(1020)))
            .at(MS(1800), Change::Delay(MS(20)))
            .bulk(10_000_000)
            .ci();
    let mut plain_spike = spike.clone().config(TIMESTAMPS.off);
    plain_spike.name.push_str(", no timestamps");
    let deep =
        Cell::path("20 MB: 100 Mbit/s, 40 ms, 1 BDP", Rate::mbit(100), MS(40), 10).bulk(20_000_000).ci();
    let shallow =
        Cell::path("50 MB: 1 Gbit/s, 10 ms, 0.1 BDP", Rate::gbit(1), MS(10), 1).bulk(50_000_000).ci();
    let long =
        Cell::path("1 GB: 500 Mbit/s, 100 ms, 0.2 BDP", Rate::mbit(500), MS(100), 2).bulk(1_000_000_000).ci();
    [
        with_and_without(&lossy, &[SACK, RACK, PRR, TLP, TIMESTAMPS]),
        with_and_without(&bursts, &[SACK, RACK, PRR]),
        with_and_without(&jitter, &[SACK, DSACK, RACK, UNDO, TIMESTAMPS]),
        with_and_without(&tails, &[TLP]),
        with_and_without(&spike, &[UNDO]),
        with_and_without(&plain_spike, &[FRTO, DSACK, UNDO]),
        with_and_without(&shallow, &[PACING]),
        with_and_without(&deep, &[HYSTART]),
        with_and_without(&long, &[CUBIC, HYSTART]),
    ]
    .concat()
}
