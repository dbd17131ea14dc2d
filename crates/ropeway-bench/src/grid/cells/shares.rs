//! Flows that share a path.

use ropeway_core::Algorithm;
use ropeway_sim::Rate;

use super::{MS, SECS};
use crate::grid::cell::Cell;
use crate::grid::engine::Work;

fn path(name: &str, tenths: u64) -> Cell {
    Cell::path(name, Rate::mbit(50), MS(40), tenths)
}

pub(super) fn cells() -> Vec<Cell> {
    let bulk = |mb: u64| Work::Bulk(mb * 1_000_000);
    let mut ten = path("10 x 10 MB: 50 Mbit/s, 40 ms, 1 BDP, one host", 10);
    for _ in 0..10 {
        ten = ten.flow(bulk(10));
    }
    vec![
        path("2 x 50 MB: 50 Mbit/s, 40 ms, 1 BDP", 10).flow(bulk(50)).flow(bulk(50)).ci(),
        path("2 x 50 MB: 50 Mbit/s, 40 ms, 0.2 BDP", 2).flow(bulk(50)).flow(bulk(50)),
        path("2 x 50 MB: 50 Mbit/s, 40 ms, 4 BDP", 40).flow(bulk(50)).flow(bulk(50)),
        path("50 MB and 50 MB 5 s later: 50 Mbit/s, 40 ms, 1 BDP", 10)
            .flow(bulk(50))
            .flow_with(bulk(50), SECS(5), None)
            .ci(),
        path("50 MB cubic and 50 MB reno: 50 Mbit/s, 40 ms, 1 BDP", 10)
            .flow(bulk(50))
            .flow_with(bulk(50), MS(0), Some(Algorithm::NewReno))
            .ci(),
        path("2 x 50 MB reno: 50 Mbit/s, 40 ms, 1 BDP", 10)
            .congestion(Algorithm::NewReno)
            .flow(bulk(50))
            .flow(bulk(50)),
        path("1 MB beside 100 MB that began 5 s before: 50 Mbit/s, 40 ms, 1 BDP", 10)
            .flow(bulk(100))
            .flow_with(bulk(1), SECS(5), None),
        ten.clone().one_host().ci(),
        Cell { name: "10 x 10 MB: 50 Mbit/s, 40 ms, 1 BDP, ten hosts".to_owned(), ..ten },
    ]
}
