//! Buffers at their defaults: they tune themselves, and are in nobody's way. Each path is also there with ample ones.

use std::time::Duration;

use ropeway_sim::Rate;

use super::MS;
use crate::grid::cell::{Buffers, Cell, Limit};
use crate::grid::engine::Work;

/// A path, a transfer over it, and whether every change has to pass it.
type Path = (&'static str, Rate, Duration, u64, bool);

/// What is added to a path, and how.
type Kind = (&'static str, fn(Cell) -> Cell);

pub(super) fn cells() -> Vec<Cell> {
    let paths: [Path; 8] = [
        ("1 MB: 100 Mbit/s, 100 ms", Rate::mbit(100), MS(100), 1_000_000, true),
        ("10 MB: 1 Gbit/s, 100 ms", Rate::gbit(1), MS(100), 10_000_000, true),
        ("100 MB: 1 Gbit/s, 1 ms", Rate::gbit(1), MS(1), 100_000_000, true),
        ("500 MB: 1 Gbit/s, 100 ms", Rate::gbit(1), MS(100), 500_000_000, false),
        ("20 MB: 50 Mbit/s, 20 ms", Rate::mbit(50), MS(20), 20_000_000, true),
        ("100 MB: 10 Gbit/s, 10 ms", Rate::gbit(10), MS(10), 100_000_000, true),
        ("1 GB: 10 Gbit/s, 10 ms", Rate::gbit(10), MS(10), 1_000_000_000, false),
        ("1 GB: 10 Gbit/s, 1 ms", Rate::gbit(10), MS(1), 1_000_000_000, false),
    ];
    paths.into_iter().flat_map(both_ways).chain(hard()).collect()
}

/// The transfer from the opener and to it, at defaults and with ample buffers.
fn both_ways((name, rate, rtt, bytes, in_ci): Path) -> Vec<Cell> {
    let ways = [("sent", Work::Bulk(bytes)), ("asked for", Work::Turns { times: 1, bytes })];
    let pair = |(way, work)| {
        let cell = |buffers, kind| {
            let cell =
                Cell::path(format!("{name}, {way}, {kind}"), rate, rtt, 10).flow(work).buffers(buffers);
            if in_ci { cell.ci() } else { cell }
        };
        let ample = cell(Buffers::Ample, "ample buffers");
        let limit = Limit::GoodputOf { cell: ample.name.clone(), percent: 97 };
        [cell(Buffers::Automatic, "at defaults").limit(limit), ample]
    };
    ways.into_iter().flat_map(pair).collect()
}

/// What makes it hard to tell how much is read in a round trip.
fn hard() -> Vec<Cell> {
    let path = || (Rate::gbit(1), MS(100));
    let kinds: [Kind; 5] = [
        ("1 of 10,000 lost", |cell| cell.forth(|pipe| pipe.loss(0.0001))),
        ("no timestamps", |cell| cell.config(|config| config.timestamps = false)),
        ("turns of 2 ms", |cell| cell.turn_delay(MS(2))),
        ("queue of 0.1 BDP", |cell| cell),
        ("jitter of 10 ms", |cell| cell.forth(|pipe| pipe.jitter(MS(10)))),
    ];
    let pair = |(kind, change): Kind| {
        let (rate, rtt) = path();
        let tenths = if kind.starts_with("queue") { 1 } else { 10 };
        let cell = |buffers, at| {
            let name = format!("200 MB: 1 Gbit/s, 100 ms, {kind}, {at}");
            change(Cell::path(name, rate, rtt, tenths).bulk(200_000_000)).buffers(buffers)
        };
        let ample = cell(Buffers::Ample, "ample buffers");
        let limit = Limit::GoodputOf { cell: ample.name.clone(), percent: 97 };
        [cell(Buffers::Automatic, "at defaults").limit(limit), ample]
    };
    kinds.into_iter().flat_map(pair).collect()
}
