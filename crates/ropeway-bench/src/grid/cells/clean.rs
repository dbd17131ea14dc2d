//! One flow over a path that loses nothing but what its queue has no room for.

use std::time::Duration;

use ropeway_sim::Rate;

use crate::grid::cell::Cell;

const MS: fn(u64) -> Duration = Duration::from_millis;

pub(super) fn cells() -> Vec<Cell> {
    let path = Cell::path;
    vec![
        path("10 kB: 10 Mbit/s, 40 ms", Rate::mbit(10), MS(40), 10).bulk(10_000).ci(),
        path("1 MB: 10 Mbit/s, 40 ms", Rate::mbit(10), MS(40), 10).bulk(1_000_000).ci(),
        path("10 MB: 20 Mbit/s, 80 ms", Rate::mbit(20), MS(80), 10).bulk(10_000_000).ci(),
        path("10 MB: 20 Mbit/s, 80 ms, 1 % lost", Rate::mbit(20), MS(80), 10)
            .forth(|pipe| pipe.loss(0.01))
            .bulk(10_000_000)
            .seeds(3, 15)
            .ci(),
        path("100 MB: 1 Gbit/s, 10 ms", Rate::gbit(1), MS(10), 10).bulk(100_000_000).ci(),
        path("1 GB: 10 Gbit/s, 1 ms", Rate::gbit(10), MS(1), 10).bulk(1_000_000_000).ci(),
    ]
}
