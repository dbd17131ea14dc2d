//! Paths that lose packets, whatever the queue has room for.

use ropeway_sim::{Loss, Rate};

use super::MS;
use crate::grid::cell::Cell;
use crate::grid::engine::Work;

/// 20 Mbit/s, 80 ms, one BDP of queue: 10 MB.
fn usual(name: &str, loss: impl Into<Loss>) -> Cell {
    let name = format!("10 MB: 20 Mbit/s, 80 ms, {name}");
    Cell::path(name, Rate::mbit(20), MS(80), 10).forth(|pipe| pipe.loss(loss)).bulk(10_000_000).seeds(11, 10)
}

pub(super) fn cells() -> Vec<Cell> {
    let path = Cell::path;
    vec![
        usual("0.01 % lost", 0.0001),
        usual("0.1 % lost", 0.001).ci(),
        usual("1 % lost", 0.01).ci(),
        usual("2 % lost", 0.02),
        usual("5 % lost", 0.05).ci(),
        usual("1 % lost in bursts of 4", Loss::burst(0.01, 4.0)).ci(),
        usual("1 % lost in bursts of 16", Loss::burst(0.01, 16.0)),
        usual("a burst of 30", Loss::Packets((500..530).collect())).seeds(1, 3).ci(),
        usual("1 % corrupted", Loss::None).forth(|pipe| pipe.corrupt(0.01)).ci(),
        path("20 MB: 100 Mbit/s, 20 ms, 0.1 % lost", Rate::mbit(100), MS(20), 10)
            .forth(|pipe| pipe.loss(0.001))
            .bulk(20_000_000)
            .seeds(11, 10)
            .ci(),
        path("20 MB: 100 Mbit/s, 20 ms, 1 % lost", Rate::mbit(100), MS(20), 10)
            .forth(|pipe| pipe.loss(0.01))
            .bulk(20_000_000)
            .seeds(11, 10),
        path("100 MB: 1 Gbit/s, 10 ms, 0.01 % lost", Rate::gbit(1), MS(10), 10)
            .forth(|pipe| pipe.loss(0.0001))
            .bulk(100_000_000)
            .seeds(5, 10),
        path("1 MB: 1 Gbit/s, 1 ms, 1 % lost", Rate::gbit(1), MS(1), 10)
            .forth(|pipe| pipe.loss(0.01))
            .bulk(1_000_000)
            .seeds(21, 10)
            .ci(),
        path("1 MB: 10 Mbit/s, 600 ms, 1 % lost", Rate::mbit(10), MS(600), 10)
            .forth(|pipe| pipe.loss(0.01))
            .bulk(1_000_000)
            .seeds(21, 10),
        // Tails and handshakes: half of these lose nothing.
        path("100 answers of 10 kB: 10 Mbit/s, 40 ms, 2 % lost both ways", Rate::mbit(10), MS(40), 10)
            .forth(|pipe| pipe.loss(0.02))
            .back(|pipe| pipe.loss(0.02))
            .flow(Work::Turns { times: 100, bytes: 10_000 })
            .seeds(11, 10)
            .ci(),
        path("100 connections of 10 kB: 10 Mbit/s, 40 ms, 2 % lost both ways", Rate::mbit(10), MS(40), 10)
            .forth(|pipe| pipe.loss(0.02))
            .back(|pipe| pipe.loss(0.02))
            .flow(Work::Connections { times: 100, bytes: 10_000 })
            .seeds(11, 10)
            .ci(),
    ]
}
