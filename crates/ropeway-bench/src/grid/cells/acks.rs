//! What befalls the acknowledgements.

use ropeway_sim::{Pipe, Queue, Rate};

use super::MS;
use crate::grid::cell::Cell;

fn usual(name: &str, change: impl FnOnce(Pipe) -> Pipe) -> Cell {
    let name = format!("10 MB: 50 Mbit/s, 40 ms, 1 BDP, acknowledgements {name}");
    Cell::path(name, Rate::mbit(50), MS(40), 10).back(change).bulk(10_000_000)
}

pub(super) fn cells() -> Vec<Cell> {
    let narrow = usual("over 200 kbit/s", |pipe| pipe.rate(Rate::kbit(200)).queue(Queue::packets(50))).ci();
    let half = usual("lost by 50 %", |pipe| pipe.loss(0.5)).seeds(3, 10).ci();
    // Where nothing is wrong with the way back, and what is asked of slow start and of small queues.
    let clean =
        Cell::path("10 MB: 50 Mbit/s, 40 ms, 1 BDP", Rate::mbit(50), MS(40), 10).bulk(10_000_000).ci();
    let shallow =
        Cell::path("20 MB: 100 Mbit/s, 20 ms, 0.1 BDP", Rate::mbit(100), MS(20), 1).bulk(20_000_000);
    vec![
        clean.thinned(),
        shallow.thinned(),
        narrow.thinned(),
        narrow,
        half.thinned(),
        half,
        usual("lost by 10 %", |pipe| pipe.loss(0.1)).seeds(3, 10).ci(),
        usual("each 5 ms", |pipe| pipe.bunch(MS(5))).ci(),
        usual("each 20 ms", |pipe| pipe.bunch(MS(20))).ci(),
        usual("each 20 ms, queue of 0.1 BDP", |pipe| pipe.bunch(MS(20)))
            .forth(|pipe| pipe.queue(Queue::bytes(25_000))),
        usual("with 10 ms jitter", |pipe| pipe.jitter(MS(10))).seeds(3, 10),
        usual("reordered by 20 %", |pipe| pipe.reorder(0.2).reorder_by(MS(10))).seeds(3, 10),
    ]
}
