//! The engine itself: what it measures is what the link does.

use std::time::Duration;

use ropeway_sim::{Pipe, Queue, Rate};

use super::super::cell::Cell;
use super::super::floor::floor;
use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// 10 Mbit/s and 40 ms, with room for everything.
fn roomy() -> Cell {
    Cell::path("", Rate::mbit(10), MS(40), 40)
}

/// How long the first flow took, in microseconds.
fn took(outcome: &Outcome) -> Micros {
    let flow = outcome.flows[0];
    flow.done.expect("it is done") - flow.start
}

#[test]
fn a_clean_path_is_used_to_within_two_percent_of_its_floor() {
    for bytes in [10_000, 100_000, 1_000_000] {
        let cell = roomy().bulk(bytes);
        let outcome = cell.run(1, 0).run();
        let (took, floor) = (took(&outcome), floor(&cell));
        // The handshake's packets have their wire time, too.
        assert!(took >= floor && took <= floor + floor / 50, "{bytes} bytes: {took} and {floor}");
    }
}

#[test]
fn the_same_seed_gives_the_same_packets_and_another_one_others() {
    let cell = roomy().forth(|pipe| pipe.loss(0.02).jitter(MS(3)).duplicate(0.01)).bulk(300_000);
    for tick in [0, 1000] {
        let [one, again, other] = [7, 7, 8].map(|seed| cell.run(seed, tick).run());
        assert_eq!(one, again);
        assert_ne!(one.hash, other.hash);
        assert!(one.forth.lost > 0);
    }
}

// With ticks of 50 ms, the delayed acknowledgement of 40 ms comes after 50.
#[test]
fn timers_go_off_at_the_ticks_of_their_host() {
    let odd = |tick| {
        // After a round trip the segment arrives, and its acknowledgement is delayed.
        let cell =
            Cell::link("", Pipe::new().delay(MS(10))).bulk(5_000).config(|config| config.quick_acks = 0);
        let outcome = cell.until(MS(500)).run(1, tick).run();
        took(&outcome)
    };
    assert_eq!(odd(0), 30_000);
    assert_eq!(odd(1000), 30_000);
    // A SYN that is lost is sent again when its timer goes off.
    let late = |tick| {
        let lost = ropeway_sim::Loss::Packets(vec![1]);
        let cell = Cell::link("", Pipe::new().delay(MS(10)).loss(lost)).bulk(1_000);
        took(&cell.run(1, tick).run())
    };
    assert_eq!(late(0), 1_030_000);
    // The simulation begins at a second.
    assert_eq!(late(1000), 1_030_000);
    assert_eq!(late(300_000), 1_100_000 + 30_000);
}

#[test]
fn what_arrives_while_a_host_is_busy_is_taken_together() {
    let acks = |delay| {
        let cell = roomy().bulk(200_000).turn_delay(delay);
        let outcome = cell.run(1, 0).run();
        assert_eq!((outcome.flows[0].received, outcome.forth.dropped), (200_000, 0));
        outcome.back.passed
    };
    let (at_once, in_turns) = (acks(Duration::ZERO), acks(MS(12)));
    // A packet each 1.2 ms: ten are answered by one.
    assert!(in_turns * 2 < at_once, "{in_turns} and {at_once}");
}

#[test]
fn what_has_no_room_in_the_queue_is_counted() {
    let outcome = Cell::path("", Rate::mbit(10), MS(40), 1).bulk(500_000).run(1, 0).run();
    assert!(outcome.forth.dropped > 0 && outcome.forth.lost == 0);
    assert_eq!(outcome.counts.retransmitted, outcome.forth.dropped, "each is sent again, and nothing else");
    // A queue of 5000 bytes has room for three packets, the one that is being sent included, and for a small one.
    assert!((2 * 1_200..=3 * 1_200).contains(&outcome.forth.longest), "{}", outcome.forth.longest);
}

#[test]
fn nothing_gets_through_while_the_link_is_down() {
    let dark = |until| {
        let cell = roomy().bulk(1_000_000).at(MS(300), Change::Up(false)).at(until, Change::Up(true));
        let outcome = cell.look_every(MS(10)).run(1, 0).run();
        let after = outcome.looks.iter().filter(|look| look.at > 360_000 && look.at < micros_of(until));
        let received: Vec<u64> = after.map(|look| look.received).collect();
        assert!(received.windows(2).all(|two| two[0] == two[1]));
        took(&outcome)
    };
    assert!(dark(MS(1300)) > dark(MS(400)) + 500_000);
}

fn micros_of(duration: Duration) -> Micros {
    super::super::cell::micros(duration)
}

#[test]
fn a_rate_that_changes_counts_from_then_on() {
    let cell = roomy().bulk(1_000_000).at(MS(0), Change::Rate(Rate::mbit(5)));
    let (slow, fast) = (took(&cell.run(1, 0).run()), took(&roomy().bulk(1_000_000).run(1, 0).run()));
    assert!(slow > fast * 3 / 2, "{slow} and {fast}");
}

#[test]
fn answers_come_one_after_the_other_over_one_connection_or_many() {
    for (work, handshakes) in
        [(Work::Turns { times: 3, bytes: 1_000 }, 1), (Work::Connections { times: 3, bytes: 1_000 }, 3)]
    {
        let cell = Cell::link("", Pipe::new().delay(MS(10))).flow(work);
        let outcome = cell.run(1, 0).run();
        assert_eq!(outcome.flows[0].received, 3_000);
        assert_eq!(took(&outcome), 20_000 * (3 + handshakes));
        assert_eq!(floor(&cell), took(&outcome));
    }
}

#[test]
fn a_connection_that_fails_is_counted_and_the_next_one_begins() {
    let cell = Cell::link("", Pipe::new().delay(MS(10)).loss(ropeway_sim::Loss::Random(1.0)))
        .back(|pipe| pipe.loss(1.0))
        .flow(Work::Connections { times: 3, bytes: 1_000 })
        .config(|config| config.socket.syn_retries = 1);
    let outcome = cell.run(1, 0).run();
    assert_eq!((outcome.flows[0].failed, outcome.flows[0].received), (3, 0));
}

#[test]
fn flows_share_a_bottleneck_and_end_with_all_they_had() {
    for one_host in [false, true] {
        let mut cell = Cell::path("", Rate::mbit(10), MS(40), 10).bulk(400_000).bulk(400_000);
        if one_host {
            cell = cell.one_host();
        }
        let outcome = cell.run(1, 1000).run();
        assert!(outcome.flows.iter().all(|flow| flow.done.is_some() && flow.received == 400_000));
        assert!(outcome.shares.iter().all(|share| *share > 200_000), "{:?}", outcome.shares);
    }
}

#[test]
fn a_corrupted_packet_is_a_lost_one() {
    let cell = roomy().forth(|pipe| pipe.corrupt(0.05).queue(Queue::packets(1000))).bulk(300_000);
    let outcome = cell.run(3, 0).run();
    assert_eq!(outcome.flows[0].received, 300_000);
    assert!(outcome.counts.retransmitted > 0);
}
