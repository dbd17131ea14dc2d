//! One flow over a path that loses nothing but what its queue has no room for.

use ropeway_sim::{CoDel, Rate};

use super::MS;
use crate::grid::cell::Cell;

pub(super) fn cells() -> Vec<Cell> {
    let path = Cell::path;
    let codel = CoDel::default().ecn(false);
    vec![
        path("10 kB: 10 Mbit/s, 40 ms, 1 BDP", Rate::mbit(10), MS(40), 10).bulk(10_000).ci(),
        path("100 kB: 100 Mbit/s, 100 ms, 1 BDP", Rate::mbit(100), MS(100), 10).bulk(100_000).ci(),
        path("1 MB: 1 Mbit/s, 20 ms, 4 BDP", Rate::mbit(1), MS(20), 40).bulk(1_000_000).ci(),
        path("1 MB: 10 Mbit/s, 40 ms, 1 BDP", Rate::mbit(10), MS(40), 10).bulk(1_000_000).ci(),
        path("10 MB: 20 Mbit/s, 80 ms, 1 BDP", Rate::mbit(20), MS(80), 10).bulk(10_000_000).ci(),
        path("10 MB: 10 Mbit/s, 600 ms, 1 BDP", Rate::mbit(10), MS(600), 10).bulk(10_000_000).ci(),
        path("20 MB: 100 Mbit/s, 20 ms, 0.1 BDP", Rate::mbit(100), MS(20), 1).bulk(20_000_000).ci(),
        path("20 MB: 100 Mbit/s, 20 ms, 0.5 BDP", Rate::mbit(100), MS(20), 5).bulk(20_000_000),
        path("20 MB: 100 Mbit/s, 20 ms, 4 BDP", Rate::mbit(100), MS(20), 40).bulk(20_000_000).ci(),
        path("20 MB: 100 Mbit/s, 20 ms, CoDel", Rate::mbit(100), MS(20), 40)
            .forth(|pipe| {
                let queue = pipe.queue.codel(codel);
                pipe.queue(queue)
            })
            .bulk(20_000_000)
            .ci(),
        path("100 MB: 100 Mbit/s, 200 ms, 1 BDP", Rate::mbit(100), MS(200), 10).bulk(100_000_000),
        path("100 MB: 1 Gbit/s, 1 ms, 1 BDP", Rate::gbit(1), MS(1), 10).bulk(100_000_000).ci(),
        path("100 MB: 1 Gbit/s, 10 ms, 0.1 BDP", Rate::gbit(1), MS(10), 1).bulk(100_000_000).ci(),
        path("100 MB: 1 Gbit/s, 10 ms, 1 BDP", Rate::gbit(1), MS(10), 10).bulk(100_000_000).ci(),
        path("100 MB: 1 Gbit/s, 10 ms, 1 BDP, turns of 100 µs", Rate::gbit(1), MS(10), 10)
            .turn_delay(std::time::Duration::from_micros(100))
            .bulk(100_000_000)
            .ci(),
        path("100 MB: 1 Gbit/s, 10 ms, 1 BDP, turns of 2 ms", Rate::gbit(1), MS(10), 10)
            .turn_delay(MS(2))
            .bulk(100_000_000),
        path("100 MB: 1 Gbit/s, 100 ms, 1 BDP", Rate::gbit(1), MS(100), 10).bulk(100_000_000).ci(),
        path("1 GB: 1 Gbit/s, 300 ms, 1 BDP", Rate::gbit(1), MS(300), 10).bulk(1_000_000_000),
        path("1 GB: 10 Gbit/s, 1 ms, 1 BDP", Rate::gbit(10), MS(1), 10).bulk(1_000_000_000).ci(),
        path("1 GB: 10 Gbit/s, 1 ms, 0.1 BDP", Rate::gbit(10), MS(1), 1).bulk(1_000_000_000),
        path("1 GB: 10 Gbit/s, 1 ms, 4 BDP", Rate::gbit(10), MS(1), 40).bulk(1_000_000_000),
        path("1 GB: 10 Gbit/s, 20 ms, 1 BDP", Rate::gbit(10), MS(20), 10).bulk(1_000_000_000),
        path("1 GB: 10 Gbit/s, 100 ms, 0.5 BDP", Rate::gbit(10), MS(100), 5).bulk(1_000_000_000),
        path("1 GB: 10 Gbit/s, 600 ms, 0.4 BDP", Rate::gbit(10), MS(600), 4).bulk(1_000_000_000),
        path("100 kB: 10 Gbit/s, 600 ms, 0.1 BDP", Rate::gbit(10), MS(600), 1).bulk(100_000),
        path("1 MB: 1 Mbit/s, 600 ms, 1 BDP", Rate::mbit(1), MS(600), 10).bulk(1_000_000),
        path("1 MB: 1 Mbit/s, 1 ms, 0.1 BDP", Rate::mbit(1), MS(1), 1).bulk(1_000_000),
    ]
}
