//! Explicit Congestion Notification: queues that mark instead of dropping, and paths that do not.

use ropeway_core::{EcnMode, StackConfig};
use ropeway_sim::{CoDel, Queue, Rate};

use super::MS;
use crate::grid::cell::{Cell, Limit};

/// A way to use it.
struct Mode {
    name: &'static str,
    of: fn(&mut StackConfig),
}

const OFF: Mode = Mode { name: "no ECN", of: |config| config.socket.ecn = EcnMode::Off };
const CLASSIC: Mode = Mode { name: "ECN", of: |config| config.socket.ecn = EcnMode::On };
const ACCURATE: Mode = Mode { name: "AccECN", of: |config| config.socket.ecn = EcnMode::Accurate };

/// The path in each mode. With ECN it is as fast as without, but for so many percent.
fn in_modes(path: &Cell, percent: u64) -> Vec<Cell> {
    let cell = |mode: &Mode| {
        let name = format!("{}: {}", path.name, mode.name);
        Cell { name, ..path.clone() }.config(mode.of).ci()
    };
    let without = cell(&OFF);
    let limit = |cell: Cell| cell.limit(Limit::GoodputOf { cell: without.name.clone(), percent });
    vec![without.clone(), limit(cell(&CLASSIC)), limit(cell(&ACCURATE))]
}

pub(super) fn cells() -> Vec<Cell> {
    let codel = Cell::path("20 MB: 100 Mbit/s, 20 ms, CoDel that marks", Rate::mbit(100), MS(20), 40)
        .forth(|pipe| {
            let queue = pipe.queue.codel(CoDel::default());
            pipe.queue(queue)
        })
        .bulk(20_000_000);
    let slow = Cell::path("10 MB: 10 Mbit/s, 40 ms, CoDel that marks", Rate::mbit(10), MS(40), 40)
        .forth(|pipe| {
            let queue = pipe.queue.codel(CoDel::default());
            pipe.queue(queue)
        })
        .bulk(10_000_000);
    let step = Cell::path("50 MB: 1 Gbit/s, 1 ms, marks from 65 segments on", Rate::gbit(1), MS(1), 20)
        .forth(|pipe| pipe.queue(Queue::bytes(300_000).step(65 * 1500)))
        .bulk(50_000_000);
    let plain =
        Cell::path("20 MB: 100 Mbit/s, 40 ms, 1 BDP, no marks", Rate::mbit(100), MS(40), 10).bulk(20_000_000);
    let lossy = Cell::path("5 MB: 20 Mbit/s, 80 ms, 1 % lost, no marks", Rate::mbit(20), MS(80), 10)
        .forth(|pipe| pipe.loss(0.01))
        .bulk(5_000_000)
        .seeds(11, 10);
    [
        in_modes(&codel, 97),
        in_modes(&slow, 97),
        in_modes(&step, 97),
        in_modes(&plain, 98),
        in_modes(&lossy, 95),
    ]
    .concat()
}
