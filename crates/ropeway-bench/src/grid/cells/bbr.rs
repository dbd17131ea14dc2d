//! BBR: what was published for it, what it is beside the others, and what it is where they fail.

use std::time::Duration;

use ropeway_core::Algorithm;
use ropeway_sim::{Queue, Rate};

use super::published::quic;
use super::{MS, SECS};
use crate::grid::cell::{Cell, Limit, product};
use crate::grid::engine::{Change, Work};

const MB: u64 = 1_000_000;

pub(super) fn cells() -> Vec<Cell> {
    let alone = [published(), satellites(), thin()].concat();
    let alone = alone.into_iter().map(|cell| cell.congestion(Algorithm::Bbr));
    alone.chain(beside()).collect()
}

/// A path of picoquic's simulations.
fn path(name: &str, rate: Rate, delay: Duration, queue: Duration) -> Cell {
    quic(&format!("BBR: {name}"), rate, delay, queue)
}

/// On both ways.
fn shaken(cell: Cell, jitter: Duration) -> Cell {
    cell.forth(|pipe| pipe.jitter(jitter)).back(|pipe| pipe.jitter(jitter)).seeds(3, 5)
}

/// picoquic, its simulations with BBR: rate, time one way, queue.
fn published() -> Vec<Cell> {
    let (ten, hundred, gigabit) = (Rate::mbit(10), Rate::mbit(100), Rate::gbit(1));
    let four = Work::Turns { times: 4, bytes: MB };
    vec![
        path("4 times 1 MB, 10 Mbit/s, 20 ms", ten, MS(10), MS(20))
            .flow(four)
            .limit(Limit::Within(MS(3500)))
            .ci(),
        shaken(path("4 times 1 MB, 10 Mbit/s, 20 ms, 5 ms jitter", ten, MS(10), MS(20)), MS(5))
            .flow(four)
            .limit(Limit::Within(MS(3600)))
            .ci(),
        shaken(path("10 MB, 100 Mbit/s, 20 ms, 3 ms jitter", hundred, MS(10), MS(26)), MS(3))
            .bulk(10 * MB)
            .limit(Limit::Within(MS(1050)))
            .ci(),
        shaken(path("10 MB, 1 Gbit/s, 8 ms, 2 ms jitter", gigabit, MS(4), MS(12)), MS(2))
            .bulk(10 * MB)
            .limit(Limit::Within(MS(250)))
            .ci(),
        // 86 s were published, which is within 2 % of the floor.
        path("10 MB, 1 Mbit/s, 600 ms", Rate::mbit(1), MS(300), MS(600)).bulk(10 * MB).ci(),
        path("10 MB, 1 Mbit/s, 2 s", Rate::mbit(1), SECS(1), SECS(2))
            .bulk(10 * MB)
            .limit(Limit::Within(SECS(96)))
            .ci(),
        path("10 MB, 10 Mbit/s, 30 ms, dark from 5 to 7 s", ten, MS(15), MS(30))
            .bulk(10 * MB)
            .at(SECS(5), Change::Up(false))
            .at(SECS(7), Change::Up(true))
            .limit(Limit::Within(SECS(15)))
            .ci(),
    ]
}

/// 250 Mbit/s forth and 3 Mbit/s back, 300 ms one way.
fn satellites() -> Vec<Cell> {
    let satellite = |what: &str| {
        let name = format!("100 MB, 250 Mbit/s, back 3 Mbit/s, 600 ms{what}");
        path(&name, Rate::mbit(250), MS(300), MS(600))
            .back(|pipe| pipe.rate(Rate::mbit(3)).queue(Queue::bytes(225_000)))
            .bulk(100 * MB)
    };
    let lossy = satellite(", 1 % lost").forth(|pipe| pipe.loss(0.01)).seeds(3, 10);
    vec![
        satellite("").limit(Limit::Within(MS(10_800))).ci(),
        shaken(satellite(", 3 ms jitter"), MS(3)).limit(Limit::Within(MS(11_500))),
        lossy.thinned(),
        lossy,
    ]
}

/// Paths whose way back is a hundredth of the way forth (RFC 3449): 1 ms one way, and queues of 50 ms each. At one
/// acknowledgement for two segments they do not pass, and the oldest wait until the queue drops the newest; thinned, they pass.
fn thin() -> Vec<Cell> {
    let thin = |forth: u64, back: u64, limit: u64| {
        let name = format!("10 MB, {forth} Mbit/s, back {back} kbit/s, 2 ms, queues of 50 ms");
        let back = Rate::kbit(back);
        let queue = usize::try_from(product(back, MS(50))).unwrap_or(usize::MAX);
        let plain = path(&name, Rate::mbit(forth), MS(1), MS(50))
            .back(|pipe| pipe.rate(back).queue(Queue::bytes(queue)))
            .bulk(10 * MB)
            .ci();
        let thinned = plain.thinned().limit(Limit::Within(MS(limit)));
        vec![plain, thinned]
    };
    [thin(10, 100, 9000), thin(40, 400, 2600)].concat()
}

/// Two flows, with queues of half a product, one and four: who gets how much, and nobody nothing (RFC 9743 5.1, 5.2).
fn beside() -> Vec<Cell> {
    let path = |name: &str, tenths: u64| Cell::path(name, Rate::mbit(50), MS(40), tenths);
    let bulk = Work::Bulk(50 * MB);
    let mut cells = Vec::new();
    for (queue, tenths) in [("0.5", 5), ("1", 10), ("4", 40)] {
        for other in [Algorithm::Bbr, Algorithm::Cubic, Algorithm::NewReno] {
            let name = format!("50 MB bbr and 50 MB {other}: 50 Mbit/s, 40 ms, {queue} BDP");
            let cell = path(&name, tenths)
                .congestion(Algorithm::Bbr)
                .flow(bulk)
                .flow_with(bulk, MS(0), Some(other))
                .limit(Limit::Share(10..=90));
            cells.push(cell.ci());
        }
    }
    cells
}
