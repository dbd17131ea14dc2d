//! Marks of congestion (RFC 3168 6.1.2): one reduction for a window, paced by PRR, with or without a loss beside it.

use super::{Bench, MSS, numbers, twenty};
use crate::congestion::Phase;

impl Bench {
    /// An acknowledgement that echoes a mark, and what goes out then.
    fn ack_marked(&mut self, ack: u32, blocks: &[(u32, u32)]) -> String {
        self.echoes_mark = true;
        let sent = self.ack(ack, blocks);
        self.echoes_mark = false;
        sent
    }

    fn threshold(&self) -> u32 {
        self.sender.ssthresh() / MSS
    }
}

// RFC 3168 6.1.2-1, RFC 3168 6.1.2-6
#[test]
fn a_window_of_echoes_reduces_the_window_once() {
    let mut bench = twenty(Bench::new());
    let sent: Vec<_> = (11..=30).map(|ack| bench.ack_marked(ack, &[])).collect();
    assert_eq!(bench.phase(), Phase::Cwr, "until something beyond it is acknowledged");
    assert_eq!(bench.threshold(), 10, "half, in slow start");
    let segments: usize = sent.iter().map(|sent| sent.split_whitespace().count()).sum();
    assert_eq!((segments, bench.pipe()), (10, 10), "one for two: {sent:?}");
    // What was sent since is beyond it: the peer has seen our CWR.
    bench.ack(31, &[]);
    assert_eq!((bench.phase(), bench.cwnd()), (Phase::Open, 10));
}

#[test]
fn marks_of_the_next_round_trip_reduce_it_again() {
    let mut bench = twenty(Bench::new());
    for ack in 11..=30 {
        bench.ack_marked(ack, &[]);
    }
    bench.ack_marked(31, &[]);
    assert_eq!((bench.phase(), bench.threshold()), (Phase::Cwr, 8), "four fifths of ten");
}

#[test]
fn a_loss_and_a_mark_in_one_round_trip_reduce_it_once() {
    // The mark comes first.
    let mut bench = twenty(Bench::new());
    bench.ack_marked(11, &[]);
    assert_eq!(bench.threshold(), 10);
    for last in 13..=16 {
        bench.ack_marked(11, &[(12, last)]);
    }
    assert_eq!((bench.phase(), bench.threshold()), (Phase::Recovery, 10));
    // The loss comes first.
    let mut bench = twenty(Bench::new());
    for last in 12..=14 {
        bench.ack(10, &[(11, last)]);
    }
    assert_eq!((bench.phase(), bench.threshold()), (Phase::Recovery, 10));
    for last in 15..=30 {
        bench.ack_marked(10, &[(11, last)]);
    }
    assert_eq!((bench.phase(), bench.threshold()), (Phase::Recovery, 10));
    // Both at once.
    let mut bench = twenty(Bench::new());
    bench.ack_marked(10, &[(11, 14)]);
    assert_eq!((bench.phase(), bench.threshold()), (Phase::Recovery, 10));
}

#[test]
fn a_timeout_in_the_round_trip_of_a_mark_leaves_the_threshold() {
    let mut bench = twenty(Bench::new());
    bench.ack_marked(11, &[]);
    bench.at(2000);
    bench.timeout();
    assert_eq!((bench.phase(), bench.threshold(), bench.cwnd()), (Phase::Loss, 10, 1));
}

#[test]
fn a_mark_in_a_recovery_forbids_to_undo_it() {
    let undone = |marked: bool| {
        let mut bench = twenty(Bench::new());
        bench.timestamps = true;
        for last in 12..=14 {
            bench.ack(10, &[(11, last)]);
        }
        bench.echoes_mark = marked;
        bench.ack(10, &[(11, 15)]);
        bench.echoes_mark = false;
        bench.at(400);
        // The original was only late: the echo is of what was sent before the retransmission.
        bench.take(30, &[], Some(200)).outcome.undone
    };
    assert!(undone(false));
    assert!(!undone(true));
}

#[test]
fn duplicates_show_a_loss_in_the_round_trip_of_a_mark() {
    let mut bench = twenty(Bench::reno());
    bench.ack_marked(11, &[]);
    assert_eq!(bench.phase(), Phase::Cwr);
    for _ in 0..2 {
        bench.ack_marked(11, &[]);
    }
    assert!(bench.ack_marked(11, &[]).starts_with("r11"), "without SACK");
    assert_eq!(bench.threshold(), 10);
}

#[test]
fn an_echo_without_progress_says_nothing_new() {
    let mut bench = twenty(Bench::new());
    bench.ack_marked(10, &[]);
    assert_eq!((bench.phase(), bench.threshold()), (Phase::Open, u32::MAX / MSS));
}

#[test]
fn a_new_flight_finds_the_reduced_window_when_all_was_acknowledged() {
    let mut bench = Bench::new();
    assert_eq!(bench.write(10), numbers(0..10));
    bench.at(200);
    bench.ack_marked(1, &[]);
    bench.write(2);
    assert_eq!((bench.phase(), bench.threshold()), (Phase::Cwr, 5));
    for ack in 2..=10 {
        bench.ack_marked(ack, &[]);
    }
    bench.ack(12, &[]);
    assert_eq!((bench.phase(), bench.threshold(), bench.cwnd()), (Phase::Open, 5, 5));
    // The same when nothing more was written.
    let mut bench = Bench::new();
    bench.write(10);
    bench.at(200);
    for ack in 1..=10 {
        bench.ack_marked(ack, &[]);
    }
    assert_eq!((bench.phase(), bench.threshold(), bench.cwnd()), (Phase::Open, 5, 5));
}

// A box that loses and marks has found it: the tail went out again though the peer had it, and the record did not add up.
#[test]
fn what_was_reported_is_no_probe_in_the_round_trip_of_a_mark() {
    let mut bench = twenty(Bench::new());
    bench.ack_marked(11, &[]);
    assert_eq!(bench.phase(), Phase::Cwr);
    assert!(bench.sender.probe_timeout().is_some());
    bench.ack(11, &[(29, 30)]);
    assert_eq!((bench.phase(), bench.sender.probe_timeout()), (Phase::Cwr, None));
}
