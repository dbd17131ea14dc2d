//! Paths that reorder, delay and duplicate.

use ropeway_sim::{Pipe, Rate};

use super::MS;
use crate::grid::cell::{Cell, Limit};

const PLAIN: &str = "20 MB: 20 Mbit/s, 40 ms, 2 BDP";

/// Twenty megabytes, so that the beginning counts for little.
fn usual(name: &str, change: impl FnOnce(Pipe) -> Pipe) -> Cell {
    let name = format!("{PLAIN}{name}");
    Cell::path(name, Rate::mbit(20), MS(40), 20).forth(change).bulk(20_000_000).seeds(7, 10)
}

fn fast(name: &str, change: impl FnOnce(Pipe) -> Pipe) -> Cell {
    let name = format!("100 MB: 200 Mbit/s, 20 ms, 2 BDP{name}");
    Cell::path(name, Rate::mbit(200), MS(20), 20).forth(change).bulk(100_000_000).seeds(7, 10)
}

pub(super) fn cells() -> Vec<Cell> {
    // Jitter alone is to cost next to nothing.
    let as_plain = Limit::GoodputOf { cell: PLAIN.to_owned(), percent: 95 };
    vec![
        usual("", |pipe| pipe).seeds(1, 3).ci(),
        usual(", 10 ms jitter in order", |pipe| pipe.jitter(MS(10))).limit(as_plain.clone()).ci(),
        usual(", 10 ms jitter that reorders", |pipe| pipe.jitter(MS(10)).overtaking(true))
            .limit(as_plain.clone())
            .ci(),
        usual(", 40 ms jitter that reorders", |pipe| pipe.jitter(MS(40)).overtaking(true)).limit(as_plain),
        usual(", 1 % 5 ms late", |pipe| pipe.reorder(0.01).reorder_by(MS(5))).ci(),
        usual(", 1 % 30 ms late", |pipe| pipe.reorder(0.01).reorder_by(MS(30))),
        usual(", 5 % 10 ms late", |pipe| pipe.reorder(0.05).reorder_by(MS(10))),
        usual(", 20 % 10 ms late", |pipe| pipe.reorder(0.2).reorder_by(MS(10))).ci(),
        usual(", 1 % 10 ms late, 0.1 % lost", |pipe| pipe.reorder(0.01).reorder_by(MS(10)).loss(0.001))
            .seeds(11, 10)
            .ci(),
        usual(", 1 % twice", |pipe| pipe.duplicate(0.01)).ci(),
        usual(", 20 % twice", |pipe| pipe.duplicate(0.2)),
        fast("", |pipe| pipe).seeds(1, 3).ci(),
        fast(", 5 ms jitter that reorders", |pipe| pipe.jitter(MS(5)).overtaking(true))
            .limit(Limit::GoodputOf { cell: "100 MB: 200 Mbit/s, 20 ms, 2 BDP".to_owned(), percent: 95 })
            .ci(),
        fast(", 1 % 1 ms late", |pipe| pipe.reorder(0.01).reorder_by(MS(1))),
    ]
}
