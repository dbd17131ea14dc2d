//! Cells that others have published, with their limits: checks from outside. One that fails is news, and the cell is not
//! changed until it passes.

use std::time::Duration;

use ropeway_core::Algorithm;
use ropeway_core::congestion::Cubic;
use ropeway_sim::{CoDel, Loss, Pipe, Queue, Rate};

use super::{MS, SECS};
use crate::grid::cell::{Buffers, Cell, Limit, product};
use crate::grid::engine::{Change, Work};

pub(super) fn cells() -> Vec<Cell> {
    [ns3(), picoquic(), interop(), response_function()].concat()
}

/// ns-3, `examples/tcp/tcp-validation.cc`, case `cubic-50ms-no-ecn`.
fn ns3() -> Vec<Cell> {
    let codel = CoDel::default().ecn(false);
    let forth = Pipe::new().rate(Rate::mbit(50)).delay(MS(25)).queue(Queue::bytes(1_500_000).codel(codel));
    let path = |name: &str| {
        Cell::link(name, forth.clone())
            .flow(Work::Endless)
            .until(SECS(14))
            .buffers(Buffers::Fixed(32_768_000))
            .look_every(MS(1))
            .ci()
    };
    let window = |from, to, segments| Limit::Window { from: MS(from), to: MS(to), segments };
    vec![
        path("ns-3: 50 Mbit/s, 50 ms, CoDel, CUBIC without HyStart++ and pacing")
            .congestion(Algorithm::custom(Cubic::without_hystart()))
            .config(|config| config.pacing = false)
            .limit(window(430, 465, 500..=u64::MAX))
            .limit(window(800, 1000, 0..=190))
            .limit(window(9000, 9330, 225..=u64::MAX))
            .limit(window(12_000, 13_200, 225..=u64::MAX)),
        path("ns-3: 50 Mbit/s, 50 ms, CoDel, as we are"),
    ]
}

/// A link of picoquic's simulations: one way takes so long, and its queue holds what passes in that time.
pub(super) fn quic(name: &str, rate: Rate, delay: Duration, queue: Duration) -> Cell {
    let bytes = usize::try_from(product(rate, queue)).unwrap_or(usize::MAX);
    Cell::link(name, Pipe::new().rate(rate).delay(delay).queue(Queue::bytes(bytes)))
}

/// picoquic, its congestion and simulation tests.
fn picoquic() -> Vec<Cell> {
    let ten = Rate::mbit(10);
    let four = Work::Turns { times: 4, bytes: 1_000_000 };
    let satellite =
        quic("QUIC: 100 MB, 250 Mbit/s, back 3 Mbit/s, 600 ms", Rate::mbit(250), MS(300), MS(600))
            .back(|pipe| pipe.rate(Rate::mbit(3)).queue(Queue::bytes(225_000)))
            .bulk(100_000_000);
    let changing = |name: &str| quic(name, ten, MS(40), MS(80)).bulk(4_000_000);
    vec![
        quic("QUIC: 4 times 1 MB, 10 Mbit/s, 20 ms", ten, MS(10), MS(20))
            .flow(four)
            .limit(Limit::Within(MS(3500)))
            .ci(),
        quic("QUIC: 4 times 1 MB, 10 Mbit/s, 20 ms, 5 ms jitter", ten, MS(10), MS(20))
            .forth(|pipe| pipe.jitter(MS(5)))
            .back(|pipe| pipe.jitter(MS(5)))
            .flow(four)
            .seeds(3, 5)
            .limit(Limit::Within(MS(3550)))
            .ci(),
        satellite.limit(Limit::Within(MS(11_000))).ci(),
        quic("QUIC: 4 MB, 10 Mbit/s, 2 ms, 12.5 ms jitter", ten, MS(1), MS(80))
            .forth(|pipe| pipe.jitter(Duration::from_micros(12_500)))
            .back(|pipe| pipe.jitter(Duration::from_micros(12_500)))
            .bulk(4_000_000)
            .seeds(3, 5)
            .limit(Limit::Within(MS(4500)))
            .ci(),
        quic("QUIC: 4 MB beside 10 MB, CUBIC, 10 Mbit/s, 20 ms", ten, MS(10), MS(40))
            .bulk(4_000_000)
            .bulk(10_000_000)
            .limit(Limit::Share(25..=80))
            .ci(),
        changing("QUIC: 4 MB, 10 Mbit/s, 80 ms, dark from 2 to 4 s")
            .at(SECS(2), Change::Up(false))
            .at(SECS(4), Change::Up(true))
            .limit(Limit::Within(MS(6000)))
            .limit(Limit::OfFloor(115))
            .ci(),
        changing("QUIC: 4 MB, 10 Mbit/s, 80 ms, half from 1.5 to 3.5 s")
            .at(MS(1500), Change::Rate(Rate::mbit(5)))
            .at(MS(3500), Change::Rate(ten))
            .limit(Limit::Within(MS(5000)))
            .ci(),
        changing("QUIC: 4 MB, 10 Mbit/s, 80 ms, half until 2.5 s")
            .at(MS(0), Change::Rate(Rate::mbit(5)))
            .at(MS(2500), Change::Rate(ten))
            .limit(Limit::Within(MS(5500)))
            .ci(),
    ]
}

/// The cells of the QUIC interoperability runner, on its path: 10 Mbit/s, 30 ms, 25 packets.
fn interop() -> Vec<Cell> {
    let path = |name: &str| {
        Cell::link(name, Pipe::new().rate(Rate::mbit(10)).delay(MS(15)).queue(Queue::packets(25)))
            .back(|pipe| pipe.queue(Queue::packets(25)))
    };
    let both_ways = |cell: Cell, loss: Loss| {
        let back = loss.clone();
        cell.forth(|pipe| pipe.loss(loss)).back(|pipe| pipe.loss(back))
    };
    let runs = Loss::Runs { loss: 0.3, most: 3 };
    let mut dark = path("interop: 10 MB, dark for 2 s after each 5 s").bulk(10_000_000);
    for round in 0..10 {
        dark = dark.at(SECS(7 * round + 5), Change::Up(false)).at(SECS(7 * round + 7), Change::Up(true));
    }
    vec![
        both_ways(path("interop: 50 connections of 1 kB, 30 % lost both ways, 3 in a row"), runs)
            .flow(Work::Connections { times: 50, bytes: 1_000 })
            .config(|config| config.socket.syn_retries = 10)
            .seeds(20, 20)
            .limit(Limit::EachWithin(SECS(300)))
            .limit(Limit::Failures(0..=0))
            .ci(),
        // Eight SYNs of which 0.51 get no answer: 0.51^8 of 4000 are 18.3 +- 4.3, were each SYN answered once.
        both_ways(path("1000 connections of 1 kB, 30 % lost both ways"), Loss::Random(0.3))
            .flow(Work::Connections { times: 1000, bytes: 1_000 })
            .until(SECS(100_000))
            .seeds(4, 20)
            .limit(Limit::Failures(0..=31))
            .ci(),
        // The same when no answer is lost: 0.51^8 of 4000 again, and now exactly.
        path("1000 connections of 1 kB, 51 % lost from who opens them")
            .back(|pipe| pipe.loss(0.51))
            .flow(Work::Connections { times: 1000, bytes: 1_000 })
            .until(SECS(100_000))
            .seeds(4, 20)
            .limit(Limit::Failures(5..=31))
            .ci(),
        path("interop: 10 MB").bulk(10_000_000).ci(),
        both_ways(path("interop: 10 MB, 2 % lost both ways"), Loss::Random(0.02))
            .bulk(10_000_000)
            .seeds(5, 15),
        path("interop: 10 MB, 2 % corrupted both ways")
            .forth(|pipe| pipe.corrupt(0.02))
            .back(|pipe| pipe.corrupt(0.02))
            .bulk(10_000_000)
            .seeds(5, 15),
        path("interop: 25 MB beside an endless one")
            .bulk(25_000_000)
            .flow(Work::Endless)
            .limit(Limit::Within(SECS(180))),
        path("interop: 10 MB, 1.5 s")
            .forth(|pipe| pipe.delay(MS(750)))
            .back(|pipe| pipe.delay(MS(750)))
            .bulk(10_000_000),
        dark,
    ]
}

/// CUBIC's mean window at a loss of one packet in so many: RFC 8312, tables 1 and 2, C = 0.4.
fn response_function() -> Vec<Cell> {
    // One in so many, the window, how long it runs: after slow start, W_max nears its steady state by less with each loss.
    let slow = [
        (100, 12, 60),
        (1_000, 38, 120),
        (10_000, 187, 2_000),
        (100_000, 1_054, 2_000),
        (1_000_000, 5_926, 400),
    ];
    let fast =
        [(100, 12, 10), (1_000, 38, 20), (10_000, 120, 60), (100_000, 379, 100), (1_000_000, 1_200, 300)];
    let rows =
        [(MS(100), slow), (MS(10), fast)].into_iter().flat_map(|(rtt, rows)| rows.map(|row| (rtt, row)));
    let cells = rows.map(|(rtt, (every, segments, until))| {
        let name = format!("RFC 8312: {} ms, 1 in {every} lost", rtt.as_millis());
        let cell = Cell::link(name, Pipe::new().delay(rtt / 2).loss(Loss::Every(every)))
            .flow(Work::Endless)
            .until(SECS(until))
            // So far slow start goes before the first loss.
            .buffers(Buffers::Fixed(usize::try_from(segments * 4 * 1448).unwrap_or(usize::MAX)))
            .look_every(rtt)
            .limit(Limit::MeanWindow { from: SECS(until / 2), segments, percent: 10 });
        if every < 1_000_000 { cell.ci() } else { cell }
    });
    cells.collect()
}
