//! Paths that drop what is too large without a word, and what looking for their MTU costs where there is none (RFC 4821).

use ropeway_core::{Algorithm, MtuProbing, StackConfig};
use ropeway_sim::Rate;

use super::MS;
use crate::grid::cell::{Cell, Limit};
use crate::grid::engine::{Change, Work};

/// When a stack probes.
struct Mode {
    name: &'static str,
    of: fn(&mut StackConfig),
}

const OFF: Mode = Mode { name: "no probing", of: |config| config.mtu_probing = MtuProbing::Off };
const BLACK_HOLE: Mode =
    Mode { name: "probing after a black hole", of: |config| config.mtu_probing = MtuProbing::BlackHole };
const ALWAYS: Mode = Mode { name: "probing always", of: |config| config.mtu_probing = MtuProbing::Always };

fn with(path: &Cell, mode: &Mode) -> Cell {
    Cell { name: format!("{}, {}", path.name, mode.name), ..path.clone() }.config(mode.of).ci()
}

/// A path without a black hole, in each mode: it is as fast as without probing, but for so many percent.
fn harmless(path: &Cell, percent: [u64; 2]) -> Vec<Cell> {
    let without = with(path, &OFF);
    let limit = |cell: Cell, percent| cell.limit(Limit::GoodputOf { cell: without.name.clone(), percent });
    let [suspects, looks] = percent;
    vec![without.clone(), limit(with(path, &BLACK_HOLE), suspects), limit(with(path, &ALWAYS), looks)]
}

/// A path with a black hole in each mode: without probing it is the end.
fn lethal(path: &Cell, of_floor: [u64; 2]) -> Vec<Cell> {
    let mut off = with(path, &OFF).limit(Limit::Failures(1..=1));
    off.config.retries2 = 4;
    let [suspects, looks] = of_floor.map(Limit::OfFloor);
    vec![off, with(path, &BLACK_HOLE).limit(suspects), with(path, &ALWAYS).limit(looks)]
}

pub(super) fn cells() -> Vec<Cell> {
    let usual = |name: &str| {
        let name = format!("10 MB: 50 Mbit/s, 40 ms, 1 BDP, {name}");
        Cell::path(name, Rate::mbit(50), MS(40), 10).bulk(10_000_000)
    };
    let hole = |takes| Change::BlackHole(Some(takes));
    let narrow = usual("no packet above 1300").forth(|pipe| pipe.black_hole(1300));
    let shrinks = usual("none above 1300 from 1 s on").at(MS(1000), hole(1300));
    let shrinks_by_bbr =
        Cell { name: format!("{}, bbr", shrinks.name), ..shrinks.clone() }.congestion(Algorithm::Bbr);
    let opens_and_closes = usual("none above 1300 from 1 to 1.6 s")
        .at(MS(1000), hole(1300))
        .at(MS(1600), Change::BlackHole(None));
    let short = Cell::path("100 times 5 kB: 10 Mbit/s, 40 ms, none above 1300", Rate::mbit(10), MS(40), 10)
        .forth(|pipe| pipe.black_hole(1300))
        .flow(Work::Connections { times: 100, bytes: 5_000 });
    let lossy = Cell::path("5 MB: 20 Mbit/s, 80 ms, 1 % lost, all sizes pass", Rate::mbit(20), MS(80), 10)
        .forth(|pipe| pipe.loss(0.01))
        .bulk(5_000_000)
        .seeds(11, 10);
    let dark = Cell::path(
        "4 MB: 10 Mbit/s, 80 ms, 1 BDP, dark from 2 to 4 s, all sizes pass",
        Rate::mbit(10),
        MS(80),
        10,
    )
    .at(MS(2000), Change::Up(false))
    .at(MS(4000), Change::Up(true))
    .bulk(4_000_000);
    let answers =
        Cell::path("100 answers of 5 kB: 10 Mbit/s, 40 ms, all sizes pass", Rate::mbit(10), MS(40), 10)
            .flow(Work::Turns { times: 100, bytes: 5_000 });
    [
        harmless(&usual("all sizes pass"), [100, 98]),
        harmless(&answers, [100, 99]),
        harmless(&lossy, [100, 97]),
        harmless(&dark, [99, 95]),
        lethal(&narrow, [150, 110]),
        lethal(&shrinks, [160, 170]),
        lethal(&shrinks_by_bbr, [165, 165]),
        vec![with(&opens_and_closes, &OFF), with(&opens_and_closes, &BLACK_HOLE)],
        vec![with(&short, &BLACK_HOLE), with(&short, &ALWAYS)],
    ]
    .concat()
}
