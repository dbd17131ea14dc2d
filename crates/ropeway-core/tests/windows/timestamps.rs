//! Timestamps and PAWS (RFC 7323 3 to 5).

use ropeway_core::{ConnectionId, State};

use crate::common::*;

/// A connection whose ends have agreed on timestamps; the lab's clock began at 1000.
fn with_timestamps() -> (Lab, ConnectionId) {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { ts: true, ..Peer::default() });
    (lab, id)
}

// RFC 7323 3.2-1, RFC 7323 3.2-4, RFC 7323 3.2-5
#[test]
fn timestamps_are_used_only_if_both_say_so() {
    // Both.
    let (mut lab, id) = with_timestamps();
    lab.write(id, b"x");
    lab.expect(data(b"x").ts(lab.flow.tsval, 1000));
    lab.shutdown_write(id);
    assert!(lab.expect(fin()).tcp.options.timestamps.is_some());
    // Not the peer: not even if it sends some later.
    let mut lab = Lab::new();
    lab.listen();
    lab.send(syn().mss(1460));
    lab.expect(syn_ack().no_ts());
    let (mut lab, id) = established();
    lab.send(some(10).ts(5, 5));
    lab.write(id, b"x");
    lab.expect(data(b"x").no_ts());
    // Not we.
    let mut lab = Lab::with(|config| config.timestamps = false);
    lab.listen();
    lab.send(syn().mss(1460).ts(7, 0));
    lab.expect(syn_ack().no_ts());
    let mut lab = Lab::with(|config| config.timestamps = false);
    lab.connect();
    lab.expect(syn().no_ts());
    // We offer, the peer declines.
    let mut lab = Lab::new();
    lab.connect();
    assert!(lab.expect(syn()).tcp.options.timestamps.is_some());
    lab.send(syn_ack().mss(1460));
    lab.expect(ack().no_ts());
}

// RFC 7323 4.1-1, RFC 7323 5.4-1
#[test]
fn the_timestamp_clock_ticks_in_milliseconds() {
    let (mut lab, id) = with_timestamps();
    lab.write(id, b"x");
    let first = lab.expect(data(b"x")).tcp.options.timestamps.unwrap().tsval;
    lab.send(ack());
    lab.at(12_345);
    lab.write(id, b"x");
    let later = lab.expect(data(b"x")).tcp.options.timestamps.unwrap().tsval;
    assert_eq!(later.wrapping_sub(first), 12_345);
}

// RFC 7323 4.3-1, RFC 7323 4.3-2
// RFC 7323 4.3: the timestamp of the segment that the acknowledgement began to wait for
#[test]
fn the_echo_is_of_the_oldest_unacknowledged_segment() {
    let (mut lab, _) = with_timestamps();
    lab.send(some(1460).ts(2000, 0));
    lab.send(some(1460).ts(2010, 0));
    lab.expect(ack().ack(2921).ecr(2000));
    // (B) of 4.3: a segment beyond a gap is not echoed; the one that fills it is.
    lab.send(some(1460).seq(2921 + 1460).ts(2020, 0));
    lab.expect(ack().ack(2921).ecr(2000));
    lab.send(some(1460).seq(2921).ts(2030, 0));
    lab.expect(ack().ack(5841).ecr(2030));
}

// RFC 7323 4.3 (2) with Linux's tcp_sequence, to which a repeat of the last segment is not outside of the
// window: the peer's retransmission is answered with its own timestamp. With the first one's, the peer would
// take the whole time that it waited for a round trip.
#[test]
fn the_echo_of_a_retransmission_is_its_own() {
    let (mut lab, _) = with_timestamps();
    lab.send(some(100).ts(2000, 0));
    lab.after(40);
    lab.expect(ack().ack(101).ecr(2000));
    // That was lost.
    lab.send(some(100).seq(1).ts(2240, 0));
    lab.expect(ack().ack(101).ecr(2240));
    lab.send(fin().ts(2300, 0));
    lab.expect(ack().ack(102).ecr(2300));
    lab.send(fin().seq(101).ts(2500, 0));
    lab.expect(ack().ack(102).ecr(2500));
}

// RFC 7323 5.3-1
#[test]
fn paws_drops_an_old_segment_and_acknowledges_it() {
    let (mut lab, id) = with_timestamps();
    lab.send(some(10).ts(5000, 0));
    lab.after(40);
    lab.expect(ack().ack(11));
    lab.send(some(10).seq(11).ts(4999, 0));
    lab.expect(ack().ack(11));
    assert_eq!(lab.info(id).unread, 10);
    assert_eq!(lab.stack.counters().paws_dropped, 1);
    // Across the wrap of the timestamp clock it is still old or new.
    lab.send(some(10).seq(11).ts(5000u32.wrapping_sub(0x7fff_ffff), 0));
    lab.expect(ack().ack(11));
    lab.send(some(10).seq(11).ts(5000 + 0x7fff_fff0, 0));
    lab.after(40);
    lab.expect(ack().ack(21));
}

// RFC 7323 5.3-1: the network reorders, and what was sent before a retransmission comes after it.
#[test]
fn what_a_retransmission_overtook_is_not_lost() {
    let (mut lab, _) = with_timestamps();
    lab.send(some(10).ts(5000, 0));
    lab.send(some(10).seq(21).ts(5002, 0));
    lab.expect(ack().ack(11));
    lab.send(some(10).seq(11).ts(5050, 0));
    lab.expect(ack().ack(31));
    // The next ones in order, and one behind a gap.
    lab.send(some(10).seq(31).ts(5003, 0));
    lab.send(some(10).seq(51).ts(5005, 0));
    lab.expect(ack().ack(41));
    lab.after(99);
    lab.send(some(10).seq(41).ts(5004, 0));
    lab.expect(ack().ack(61));
    assert_eq!(lab.stack.counters().paws_dropped, 0);
    // What is older than all that came before the retransmission is old.
    lab.send(some(10).seq(61).ts(4999, 0));
    lab.expect(ack().ack(61));
    assert_eq!(lab.stack.counters().paws_dropped, 1);
    // Nothing is under way for that long.
    lab.after(200);
    lab.send(some(10).seq(61).ts(5049, 0));
    lab.expect(ack().ack(61));
    assert_eq!(lab.stack.counters().paws_dropped, 2);
}

// RFC 7323 5.3-1: retransmission upon retransmission. PAWS is not off for long, and nothing falls through on its way.
#[test]
fn paws_stays_half_a_second_behind_at_most() {
    let (mut lab, _) = with_timestamps();
    lab.send(some(10).ts(5000, 0));
    let mut seq = 11;
    for round in 1..=40u32 {
        // Every 30 ms a gap is filled; what was sent before that comes 90 ms late.
        let now = 5000 + 30 * round;
        lab.at(u64::from(30 * round));
        lab.send(some(10).seq(seq + 10).ts(now - 1, 0));
        lab.expect(ack().ack(seq));
        lab.send(some(10).seq(seq).ts(now, 0));
        lab.expect(ack().ack(seq + 20));
        lab.send(some(10).seq(seq + 20).ts((now - 90).max(5000), 0));
        seq += 30;
        assert_eq!(lab.stack.counters().paws_dropped, 0, "round {round}");
    }
    lab.send(some(10).seq(seq).ts(5000 + 30 * 40 - 450, 0));
    lab.expect(ack().ack(seq));
    assert_eq!(lab.stack.counters().paws_dropped, 1);
}

// RFC 7323 5.3-1: milliseconds in 32 bits come round after 50 days; a peer's clock may tick ten times as slowly.
#[test]
fn what_was_overtaken_fifty_days_ago_is_forgotten() {
    let (mut lab, _) = with_timestamps();
    lab.send(some(10).ts(5000, 0));
    lab.send(some(10).seq(21).ts(5002, 0));
    lab.expect(ack().ack(11));
    lab.send(some(10).seq(11).ts(5050, 0));
    lab.expect(ack().ack(31));
    lab.after(10_000);
    lab.send(some(10).seq(31).ts(6000, 0));
    lab.after(40);
    lab.expect(ack().ack(41));
    lab.after((1 << 32) - 10_040 + 50);
    lab.send(some(10).seq(41).ts(429_500_000, 0));
    lab.after(40);
    lab.expect(ack().ack(51));
    lab.send(some(10).seq(51).ts(429_499_000, 0));
    lab.expect(ack().ack(51));
    assert_eq!(lab.stack.counters().paws_dropped, 1);
}

// RFC 7323 5.2-1
#[test]
fn paws_does_not_stop_a_reset() {
    let (mut lab, id) = with_timestamps();
    lab.send(some(10).ts(5000, 0));
    lab.send(rst().ts(1, 0));
    lab.assert_state(id, State::Closed);
    let (mut lab, id) = with_timestamps();
    lab.send(rst().no_ts());
    lab.assert_state(id, State::Closed);
}

// RFC 7323 5.5-1
// RFC 7323 5.5: after 24 days a timestamp proves nothing.
#[test]
fn paws_forgets_after_24_days_of_silence() {
    let (mut lab, id) = with_timestamps();
    lab.send(some(10).ts(5000, 0));
    lab.after(40);
    lab.expect(ack());
    let day = secs(24 * 3600);
    lab.at_us(23 * day);
    lab.send(some(10).ts(4000, 0).seq(11));
    lab.expect(ack().ack(11));
    lab.at_us(25 * day);
    lab.send(some(10).ts(4000, 0).seq(11));
    lab.after(40);
    lab.expect(ack().ack(21));
    assert_eq!(lab.info(id).unread, 20);
}
