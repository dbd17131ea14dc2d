//! Paths that change while a flow is on them.

use ropeway_sim::Rate;

use super::MS;
use crate::grid::cell::{Cell, Limit};
use crate::grid::engine::Change;

/// 10 Mbit/s, 80 ms, 80 ms of queue, 4 MB, as in the QUIC simulations whose paths change.
fn usual(name: &str) -> Cell {
    Cell::path(format!("4 MB: 10 Mbit/s, 80 ms, 1 BDP, {name}"), Rate::mbit(10), MS(80), 10).bulk(4_000_000)
}

pub(super) fn cells() -> Vec<Cell> {
    let (up, down) = (Change::Up(true), Change::Up(false));
    let rate = |mbit| Change::Rate(Rate::mbit(mbit));
    vec![
        usual("dark from 2 to 2.3 s").at(MS(2000), down).at(MS(2300), up).ci(),
        usual("1 Mbit/s from 1.5 to 3.5 s")
            .at(MS(1500), rate(1))
            .at(MS(3500), rate(10))
            .limit(Limit::OfFloor(115))
            .ci(),
        usual("1 Mbit/s until 2.5 s")
            .at(MS(0), rate(1))
            .at(MS(2500), rate(10))
            .limit(Limit::OfFloor(115))
            .ci(),
        usual("delay 1 s longer from 1.5 to 1.7 s")
            .at(MS(1500), Change::Delay(MS(1040)))
            .at(MS(1700), Change::Delay(MS(40)))
            .ci(),
        Cell::path("40 MB: 10 to 100 Mbit/s after 3 s, 40 ms, 1 BDP", Rate::mbit(10), MS(40), 10)
            .at(MS(3000), rate(100))
            .bulk(40_000_000)
            .ci(),
        Cell::path(
            "100 MB: 100 to 1000 Mbit/s and back each second, 10 ms, 1 BDP",
            Rate::mbit(100),
            MS(10),
            10,
        )
        .at(MS(1000), rate(1000))
        .at(MS(2000), rate(100))
        .at(MS(3000), rate(1000))
        .at(MS(4000), rate(100))
        .bulk(100_000_000),
    ]
}
