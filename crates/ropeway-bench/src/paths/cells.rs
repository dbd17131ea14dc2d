//! The paths, and what crosses them: bulk transfers of one to a few seconds, and short ones.

use std::time::Duration;

use ropeway_sim::{Loss, Pipe, Rate};

use crate::grid::cell::{Buffers, Cell};
use crate::grid::engine::Change;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// So many bytes over a path of this many Mbit/s, milliseconds there and back, and tenths of their product as queue.
fn path(what: &str, bytes: u64, mbit: u64, rtt: u64, tenths: u64) -> Cell {
    let queue = tenths as f64 / 10.0;
    let size = match bytes {
        ..1_000_000 => format!("{} kB", bytes / 1000),
        _ => format!("{} MB", bytes / 1_000_000),
    };
    let mut name = format!("{size}: {mbit} Mbit/s, {rtt} ms, {queue} BDP");
    if !what.is_empty() {
        name = format!("{name}, {what}");
    }
    Cell::path(name, Rate::mbit(mbit), MS(rtt), tenths).bulk(bytes)
}

fn lossy(what: &str, bytes: u64, mbit: u64, rtt: u64, loss: impl Into<Loss>) -> Cell {
    path(what, bytes, mbit, rtt, 10).forth(|pipe| pipe.loss(loss))
}

fn shaken(what: &str, bytes: u64, mbit: u64, rtt: u64, change: impl FnOnce(Pipe) -> Pipe) -> Cell {
    path(what, bytes, mbit, rtt, 10).forth(change)
}

/// All of them, in the order of the report.
pub(crate) fn all() -> Vec<Cell> {
    let groups = [
        ("Short transfers", short()),
        ("Clean paths", clean()),
        ("Buffers at their defaults", defaults()),
        ("Losses", losses()),
        ("Order and delay", order()),
        ("Paths that change", changes()),
        ("Four flows", flows()),
    ];
    groups
        .into_iter()
        .flat_map(|(group, cells)| cells.into_iter().map(move |cell| Cell { group, ..cell }))
        .collect()
}

fn short() -> Vec<Cell> {
    vec![
        path("", 10_000, 10, 40, 10),
        path("", 100_000, 20, 80, 10),
        path("", 1_000_000, 50, 20, 10),
        path("", 1_000_000, 300, 50, 10),
    ]
}

fn clean() -> Vec<Cell> {
    vec![
        path("", 2_000_000, 5, 200, 10),
        path("", 3_000_000, 10, 100, 5),
        path("", 6_000_000, 20, 50, 20),
        path("", 10_000_000, 50, 20, 5),
        path("", 20_000_000, 100, 20, 10),
        path("", 60_000_000, 300, 5, 10),
        path("", 60_000_000, 300, 40, 10),
    ]
}

fn defaults() -> Vec<Cell> {
    let cell = |bytes, mbit, rtt| {
        path("buffers at their defaults", bytes, mbit, rtt, 10).buffers(Buffers::Automatic)
    };
    vec![
        cell(1_000_000, 300, 50),
        cell(20_000_000, 100, 20),
        cell(30_000_000, 100, 100),
        cell(60_000_000, 300, 40),
        // What buffers grow to is seen here. Few machines carry the second one with this much of the work on one CPU.
        cell(500_000_000, 1000, 100),
        cell(1_000_000_000, 10_000, 10),
    ]
}

fn losses() -> Vec<Cell> {
    vec![
        lossy("0.1 % lost", 5_000_000, 20, 80, 0.001),
        lossy("1 % lost", 3_000_000, 20, 20, 0.01),
        lossy("2 % lost", 2_000_000, 10, 10, 0.02),
        lossy("1 % lost in bursts of 8", 4_000_000, 20, 40, Loss::burst(0.01, 8.0)),
        lossy("0.01 % lost", 20_000_000, 100, 50, 0.0001),
        path("5 % of the ACKs lost", 5_000_000, 20, 40, 10).back(|pipe| pipe.loss(0.05)),
    ]
}

fn order() -> Vec<Cell> {
    vec![
        shaken("1 % 5 ms late", 8_000_000, 50, 20, |pipe| pipe.reorder(0.01).reorder_by(MS(5))),
        shaken("20 ms jitter that reorders", 5_000_000, 20, 40, |pipe| pipe.jitter(MS(20)).overtaking(true)),
        shaken("10 ms jitter in order", 5_000_000, 20, 40, |pipe| pipe.jitter(MS(10))),
    ]
}

fn changes() -> Vec<Cell> {
    let (up, down) = (Change::Up(true), Change::Up(false));
    let rate = |mbit| Change::Rate(Rate::mbit(mbit));
    vec![
        path("dark from 0.8 to 1.1 s", 4_000_000, 20, 40, 10).at(MS(800), down).at(MS(1100), up),
        path("5 Mbit/s from 0.5 to 1.5 s", 8_000_000, 50, 40, 10).at(MS(500), rate(5)).at(MS(1500), rate(50)),
        path("50 Mbit/s after 1 s", 8_000_000, 10, 40, 10).at(MS(1000), rate(50)),
    ]
}

fn flows() -> Vec<Cell> {
    let four = |cell: Cell, bytes| cell.bulk(bytes).bulk(bytes).bulk(bytes);
    vec![
        four(path("four flows", 5_000_000, 100, 20, 10), 5_000_000),
        four(path("four flows, 0.5 % lost", 1_000_000, 20, 40, 10), 1_000_000).forth(|pipe| pipe.loss(0.005)),
    ]
}
