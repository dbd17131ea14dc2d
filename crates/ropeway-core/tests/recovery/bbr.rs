//! BBR through whole stacks: what its window, its rate and its queue are on a path of 10 Mbit/s and 40 ms.

use std::time::Duration;

use ropeway_core::{Algorithm, TcpInfo};

use crate::common::*;

/// Bytes a second, and bytes in flight that fill the path.
const RATE: u64 = 1_250_000;
const BDP: u64 = 50_000;

fn path(queue: u64) -> Pair {
    let mut pair = Pair::with(|_, config| config.socket.congestion = Algorithm::Bbr);
    pair.watch = None;
    pair.delay = [Duration::from_millis(20); 2];
    (pair.rate, pair.queue) = (Some(RATE), queue as usize);
    pair
}

fn send(pair: &mut Pair, total: usize) {
    let roomy = |options: &mut ropeway_core::SocketOptions| {
        (options.send_buffer, options.recv_buffer) = (1 << 20, 1 << 20);
    };
    pair.converse_with(&[Op::Send(total), Op::ShutdownWrite], &[Op::Recv(total)], roomy, roomy);
}

/// What the sender says of itself each millisecond, until a moment in milliseconds.
fn looks(pair: &mut Pair, until: u64) -> Vec<TcpInfo> {
    let from = pair.now / 1000;
    let mut looks = Vec::new();
    for milli in from..until {
        pair.run_to(milli * 1000);
        let Some(id) = pair.programs[0].id else { continue };
        looks.extend(pair.stacks[0].info(pair.ts(), id).ok());
    }
    looks
}

fn near(value: u64, wanted: u64, percent: u64) -> bool {
    value.abs_diff(wanted) * 100 <= wanted * percent
}

#[test]
fn it_fills_the_path_drains_the_queue_and_measures_the_round_trip_each_five_seconds() {
    let mut pair = path(4 * BDP);
    send(&mut pair, 30_000_000);
    let start = looks(&mut pair, 1500);
    assert!(start.iter().any(|look| u64::from(look.cwnd) > 2 * BDP), "Startup");
    // In Drain it sends at half of the rate, and cruises at 0.99 of it.
    let rates: Vec<u64> = start.iter().filter_map(|look| look.pacing_rate).collect();
    assert!(rates.iter().any(|rate| near(*rate, RATE / 2, 6)), "Drain");
    assert!(rates.iter().any(|rate| near(*rate, RATE * 95 / 100, 4)), "ProbeBW");
    let later = looks(&mut pair, 12_000);
    let least: Vec<usize> = (0..later.len()).filter(|at| u64::from(later[*at].cwnd) < BDP * 6 / 10).collect();
    let begun = least.iter().filter(|at| !least.contains(&(**at - 1))).count();
    assert!((1..=3).contains(&begun), "{begun} times ProbeRTT");
    assert!(least.len() >= 200 * begun && least.len() < 330 * begun, "{} ms", least.len());
    let last = later.last().unwrap();
    assert!(near(last.min_rtt.unwrap().as_millis() as u64, 41, 6), "{:?}", last.min_rtt);
    assert_eq!(pair.stacks[0].counters().tcp_retransmitted, 0);
}

#[test]
fn the_queue_stays_short_where_it_could_be_long() {
    let mut pair = path(20 * BDP);
    send(&mut pair, 30_000_000);
    looks(&mut pair, 2000);
    let later = looks(&mut pair, 10_000);
    let mean = later.iter().map(|look| u64::from(look.in_flight)).sum::<u64>() / later.len() as u64;
    assert!(mean < BDP * 14 / 10, "{mean} bytes in flight, of which {BDP} fill the path");
}

#[test]
fn one_in_a_hundred_lost_leaves_most_of_the_path_full() {
    for (algorithm, least, most) in [(Algorithm::Bbr, 60, 100), (Algorithm::Cubic, 0, 40)] {
        let mut random = Random::new(5);
        let mut pair = path(4 * BDP).fate(move |crossing| {
            if crossing.from == 0 && random.below(100) < 1 { Fate::Drop } else { Fate::Deliver }
        });
        let roomy = |options: &mut ropeway_core::SocketOptions| {
            (options.send_buffer, options.recv_buffer) = (1 << 20, 1 << 20);
            options.congestion = algorithm.clone();
        };
        let total = 10_000_000;
        pair.converse_with(&[Op::Send(total), Op::ShutdownWrite], &[Op::Recv(total)], roomy, roomy);
        pair.run(secs(100));
        let busy = total as u64 * 100_000_000 / RATE / pair.now;
        assert!((least..=most).contains(&busy), "{algorithm}: {busy} %");
    }
}

#[test]
fn after_a_pause_it_goes_on_at_the_rate_it_knows() {
    let mut pair = path(4 * BDP);
    let roomy = |options: &mut ropeway_core::SocketOptions| {
        (options.send_buffer, options.recv_buffer) = (1 << 20, 1 << 20);
    };
    let script = [Op::Send(4_000_000), Op::Pause(8_000), Op::Send(4_000_000)];
    pair.converse_with(&script, &[Op::Recv(8_000_000)], roomy, roomy);
    let before = looks(&mut pair, 3400);
    let known = before.iter().filter_map(|look| look.delivery_rate).max().unwrap();
    assert!(near(known, RATE, 6), "{known}");
    pair.run(secs(100));
    // The second half takes no Startup of its own: 3.2 s on the wire.
    let took = pair.now as f64 / 1e6;
    assert!(took < 3.5 + 8.0 + 3.5, "{took} s");
}

#[test]
fn equal_seeds_probe_at_the_same_moments() {
    let run = || {
        let mut pair = path(2 * BDP);
        send(&mut pair, 10_000_000);
        looks(&mut pair, 8000).iter().map(|look| (look.cwnd, look.pacing_rate)).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
