//! What is told of data that has come before: D-SACK (RFC 2883).

use ropeway_core::State;

use crate::common::*;
use crate::{SACK, STAMPED, accepted, accepted_with};

/// The bytes of the RFC's examples begin here; what comes before has arrived.
fn up_to(first: u32) -> (Lab, ropeway_core::ConnectionId) {
    let mut lab = Lab::new();
    lab.flow.isn = 0u32.wrapping_sub(1);
    let id = lab.accepted(SACK);
    // Relative to the initial sequence number, all is one more than in the RFC.
    lab.flow.isn = 0;
    lab.flow.nxt = 0;
    if first > 0 {
        lab.send(some(first as usize).seq(0));
        lab.run_to(ms(40));
        lab.drain();
        lab.read(id, 100_000);
        lab.drain();
    }
    (lab, id)
}

/// The bytes from `first` to `last`, both of them, as the RFC writes a segment.
fn segment(first: u32, last: u32) -> Seg {
    some((last + 1 - first) as usize).seq(first)
}

// RFC 2883 4-1, RFC 2883 4-2; 4.1.1
#[test]
fn a_duplicate_segment() {
    for v6 in [false, true] {
        let mut lab = Lab::new().v6_if(v6);
        lab.accepted(SACK);
        lab.send(segment(1, 500));
        lab.send_all([segment(501, 1000)]);
        lab.drain();
        lab.at(40);
        lab.drain();
        lab.send(segment(1, 500));
        lab.expect(ack().ack(1001).sack(&[(1, 501)]));
    }
}

// RFC 2883 4-1, RFC 2883 4-2; 4.1.2
#[test]
fn a_segment_out_of_order_and_a_duplicate() {
    let (mut lab, _) = up_to(4000);
    lab.send(segment(4500, 4999));
    lab.expect(ack().ack(4000).sack(&[(4500, 5000)]));
    lab.send(segment(3000, 3499));
    lab.expect(ack().ack(4000).sack(&[(3000, 3500), (4500, 5000)]));
    // RFC 2883 4-2: in one acknowledgement.
    lab.send(segment(5500, 5999));
    lab.expect(ack().ack(4000).sack(&[(5500, 6000), (4500, 5000)]));
}

// RFC 2883 4-3; 4.1.3
#[test]
fn a_duplicate_of_a_segment_out_of_order() {
    let (mut lab, _) = up_to(4000);
    lab.send(segment(4500, 4999));
    lab.expect(ack().ack(4000).sack(&[(4500, 5000)]));
    lab.send(segment(5000, 5499));
    lab.expect(ack().ack(4000).sack(&[(4500, 5500)]));
    lab.send(segment(5000, 5499));
    lab.expect(ack().ack(4000).sack(&[(5000, 5500), (4500, 5500)]));
}

// RFC 2883 4-1; 4.2.1
#[test]
fn a_segment_that_is_partly_a_duplicate() {
    let (mut lab, id) = up_to(1000);
    lab.send(segment(2000, 2499));
    lab.expect(ack().ack(1000).sack(&[(2000, 2500)]));
    lab.send(segment(1000, 1499));
    lab.expect(ack().ack(1500).sack(&[(2000, 2500)]));
    lab.send(segment(1000, 1999));
    lab.expect(ack().ack(2500).sack(&[(1000, 1500)]));
    assert_eq!(lab.read(id, 10_000).len(), 1500);
}

// RFC 2883 4.2-1; 4.2.2: the first of two parts.
#[test]
fn two_duplicate_parts_that_are_acknowledged() {
    let (mut lab, _) = up_to(1000);
    lab.send(segment(3000, 3499));
    lab.expect(ack().ack(1000).sack(&[(3000, 3500)]));
    lab.send(segment(1000, 1499));
    lab.expect(ack().ack(1500).sack(&[(3000, 3500)]));
    lab.send(segment(2000, 2499));
    lab.expect(ack().ack(1500).sack(&[(2000, 2500), (3000, 3500)]));
    lab.send(segment(1000, 2499));
    lab.expect(ack().ack(2500).sack(&[(1000, 1500), (3000, 3500)]));
}

// RFC 2883 4-3, RFC 2883 4.2-1; 4.2.3
#[test]
fn two_duplicate_parts_that_are_not_acknowledged() {
    let (mut lab, _) = up_to(1000);
    lab.send(segment(3500, 3999));
    lab.expect(ack().ack(1000).sack(&[(3500, 4000)]));
    lab.send(segment(1500, 1999));
    lab.expect(ack().ack(1000).sack(&[(1500, 2000), (3500, 4000)]));
    lab.send(segment(2500, 2999));
    lab.expect(ack().ack(1000).sack(&[(2500, 3000), (1500, 2000), (3500, 4000)]));
    lab.send(segment(1500, 2999));
    lab.expect(ack().ack(1000).sack(&[(1500, 2000), (1500, 3000), (3500, 4000)]));
}

// What is next in order brings what has come before along: the first part that has is named.
#[test]
fn a_segment_in_order_that_repeats_what_was_held() {
    let (mut lab, id) = accepted();
    for first in [1001, 2001, 4001, 7001] {
        lab.send(some(1000).seq(first));
        lab.drain();
    }
    lab.send(segment(1, 6000));
    lab.expect(ack().ack(6001).sack(&[(1001, 3001), (7001, 8001)]));
    lab.send(segment(6001, 8000));
    lab.expect(ack().ack(8001).sack(&[(7001, 8001)]));
    // Only a part of what was held.
    lab.send(some(1000).seq(9001));
    lab.drain();
    lab.send(segment(8001, 9500));
    lab.expect(ack().ack(10_001).sack(&[(9001, 9501)]));
    assert_eq!(lab.read(id, 20_000).len(), 10_000);
}

// Pieces of one block that came one by one are one part.
#[test]
fn a_duplicate_of_several_pieces_is_told_of_as_one() {
    let (mut lab, _) = accepted();
    for n in 1..4 {
        lab.send(some(600).seq(1 + 600 * n));
        lab.drain();
    }
    lab.send(some(1500).seq(701));
    lab.expect(ack().ack(1).sack(&[(701, 2201), (601, 2401)]));
}

// RFC 2883 4-1: each has its acknowledgement, though they came together.
#[test]
fn duplicates_that_come_together_are_all_told_of() {
    let (mut lab, _) = accepted();
    for _ in 0..2 {
        lab.send(some(2000));
        lab.drain();
    }
    lab.send_all([segment(1, 500), segment(1001, 1500), segment(2001, 2500)]);
    lab.expect(ack().ack(4001).sack(&[(1, 501)]));
    lab.expect(ack().ack(4001).sack(&[(1001, 1501)]));
    lab.expect(ack().ack(4001).sack(&[(2001, 2501)]));
    lab.quiet();
    // What touches is one.
    lab.send_all([segment(1, 500), segment(501, 1500)]);
    lab.expect(ack().ack(4001).sack(&[(1, 1501)]));
    lab.quiet();
}

#[test]
fn ten_thousand_duplicates_at_once_are_answered_by_a_few() {
    let (mut lab, _) = accepted();
    lab.send(some(40_000));
    lab.drain();
    for n in 0..10_000 {
        lab.input(some(1).seq(1 + 4 * n));
    }
    assert!(lab.drain().len() <= 4);
}

// With data, too, and never in two segments.
#[test]
fn a_duplicate_is_told_of_with_data() {
    let (mut lab, id) = accepted();
    lab.set(id, |options| options.nodelay = true);
    lab.send(some(1000));
    lab.at(40);
    lab.drain();
    lab.input(segment(1, 1000));
    lab.write(id, &pattern(0, 3000));
    lab.expect(data(pattern(0, 1448)).sack(&[(1, 1001)]));
    lab.expect(data(pattern(1448, 1460)).sack(&[]));
    lab.expect(some(92).sack(&[]));
    lab.quiet();
}

// A report of what came twice is not lost for want of room: an acknowledgement without data takes it.
#[test]
fn a_duplicate_is_told_of_though_segments_are_tiny() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer { mss: Some(48), ..SACK }, |options| options.nodelay = true);
    lab.send(some(1000));
    lab.at(40);
    lab.drain();
    lab.input(segment(1, 1000));
    lab.write(id, &pattern(0, 100));
    for part in pattern(0, 96).chunks(48) {
        lab.expect(data(part).ack(1001).sack(&[]));
    }
    lab.expect(data(&pattern(0, 100)[96..]).ack(1001).sack(&[(1, 1001)]));
    lab.quiet();
    lab.send_all([segment(1, 10).ack(101), segment(21, 30).ack(101)]);
    lab.expect(ack().ack(1001).sack(&[(1, 11)]));
    lab.expect(ack().ack(1001).sack(&[(21, 31)]));
    lab.quiet();
}

// RFC 5961 7: what has no data is answered no more often than a challenge.
#[test]
fn a_flood_of_fins_brings_no_flood_of_reports() {
    let (mut lab, id) = accepted_with(|config| config.challenge_acks_per_second = 5);
    lab.send(fin());
    lab.expect(ack().ack(2).sack(&[]));
    for _ in 0..100 {
        lab.input(fin().seq(1));
        lab.collect();
    }
    let told = lab.drain();
    assert_eq!(told.len(), 5);
    // It was told of since.
    lab.write(id, b"data");
    lab.expect(data(b"data").ack(2));
    lab.quiet();
}

// RFC 2883 4.3-1
// RFC 7323 5.3-1: an original that its retransmission has overtaken looks old, and is the best proof that nothing was lost.
#[test]
fn what_paws_drops_is_told_of() {
    let mut lab = Lab::new();
    lab.accepted(STAMPED);
    lab.send(some(500));
    lab.at(40);
    lab.drain();
    lab.send(segment(1, 500).ts(900, 0));
    lab.expect(ack().ack(501).sack(&[(1, 501)]));
    assert_eq!(lab.stack.counters().paws_dropped, 1);
    // What looks old and was never seen is not.
    lab.send(segment(501, 1000).ts(900, 0));
    lab.expect(ack().ack(501).sack(&[]));
}

// A FIN has a number, so its duplicate is told of like any other. RFC 8985 7.4.2 needs that of a probe that is a FIN.
#[test]
fn a_fin_that_comes_twice_is_told_of() {
    for state in [State::CloseWait, State::LastAck, State::Closing] {
        let (mut lab, id) = accepted();
        if state == State::Closing {
            lab.shutdown_write(id);
            lab.expect(fin());
        }
        lab.send(some(10).fin().ack(1));
        lab.expect(ack().ack(12).sack(&[]));
        if state == State::LastAck {
            lab.shutdown_write(id);
            lab.expect(fin());
        }
        lab.assert_state(id, state);
        lab.send(fin().seq(11).ack(1));
        lab.expect(ack().ack(12).sack(&[(11, 12)]));
        lab.send(some(10).seq(1).fin().ack(1));
        lab.expect(ack().ack(12).sack(&[(1, 12)]));
    }
}

// What says nothing of data is no duplicate: an acknowledgement, a probe without data, a SYN, a RST.
#[test]
fn only_data_and_fin_are_duplicates() {
    let (mut lab, _) = accepted();
    lab.send(some(1000));
    lab.at(40);
    lab.drain();
    lab.send(ack().seq(1000));
    lab.expect(ack().ack(1001).sack(&[]));
    lab.send(ack().seq(500));
    lab.expect(ack().ack(1001).sack(&[]));
    lab.send(syn().seq(500).bytes(b"x"));
    lab.expect(ack().ack(1001).sack(&[]));
    lab.send(rst().seq(500));
    lab.quiet();
    // A keep-alive probe with a byte has one.
    lab.send(some(1).seq(1000));
    lab.expect(ack().ack(1001).sack(&[(1000, 1001)]));
}

// The peer's window probe repeats its byte: that is not taken, and not a duplicate, until it was taken.
#[test]
fn a_probe_of_a_closed_window_is_no_duplicate() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(SACK, |options| options.recv_buffer = 2304);
    lab.send_all([some(1152), some(1152)]);
    lab.expect(ack().ack(2305).win(0).sack(&[]));
    lab.send(some(1).seq(2305));
    lab.expect(ack().ack(2305).win(0).sack(&[]));
    lab.send(some(1).seq(2304));
    lab.expect(ack().ack(2305).win(0).sack(&[(2304, 2305)]));
    lab.read(id, 10_000);
    lab.drain();
    lab.flow.nxt = 2305;
    lab.send(some(1));
    lab.at(40);
    lab.expect(ack().ack(2306).sack(&[]));
}

// From farther back than a window it is not of this connection: RFC 2883 5 asks a sender not to believe it either.
#[test]
fn what_is_older_than_a_window_is_not_told_of() {
    let (mut lab, _) = accepted();
    lab.flow.nxt = 0;
    let far = 0u32.wrapping_sub(70_000);
    let flow = lab.flow.clone();
    lab.send(Seg { seq: Some(far), ..some(100) });
    lab.flow.nxt = flow.nxt;
    lab.expect(ack().ack(1).sack(&[]));
}

#[test]
fn switched_off_nothing_is_told_of_duplicates() {
    for (dsack, sack) in [(false, true), (true, false)] {
        let (mut lab, _) = accepted_with(|config| (config.dsack, config.sack) = (dsack, sack));
        lab.send(some(500));
        lab.at(40);
        lab.drain();
        lab.send(segment(1, 500));
        lab.expect(ack().ack(501).sack(&[]));
        lab.send(segment(1001, 1500));
        lab.drain();
        lab.send(segment(1001, 1500));
        lab.expect(ack().ack(501).sack(if sack { &[(1001, 1501)] } else { &[] }));
    }
}
