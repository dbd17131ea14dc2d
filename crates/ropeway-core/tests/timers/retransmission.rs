//! The retransmission timer: backoff, R1 and R2, Karn's algorithm, the bounds of the RTO (RFC 6298, RFC 9293 3.8.1,
//! 3.8.3).

use std::time::Duration;

use ropeway_core::{ConnectionError, State};

use crate::common::*;

// RFC 9293 3.8.2 MUST-19, RFC 6298 5-1, RFC 6298 5-5, RFC 6298 5-6
// RFC 6298 5; MUST-18: 200 ms, doubling
#[test]
fn data_is_sent_again_at_its_backoff() {
    let (mut lab, id) = established();
    lab.write(id, b"hello");
    lab.expect(data(b"hello").seq(1).push());
    for at in [200, 600, 1400, 3000, 6200] {
        lab.at(at);
        lab.expect(data(b"hello").seq(1));
    }
    let info = lab.info(id);
    assert_eq!((info.backoff, info.retransmits, info.retransmitted), (5, 5, 5));
    lab.send(ack());
    assert_eq!(lab.info(id).retransmits, 0);
    lab.at(20_000);
    assert_eq!(lab.next_deadline(), None);
}

// RFC 9293 3.8.3 MUST-20, SHLD-9, SHLD-10, SHLD-11; RFC 9293 3.9.1.8 MUST-47
#[test]
fn r1_is_told_and_r2_ends_the_connection() {
    let (mut lab, id) = established();
    lab.write(id, b"hello");
    lab.expect(data(b"hello"));
    let mut at = 0u64;
    let mut timeout = 200u64;
    for n in 1..=15 {
        at += timeout;
        timeout = (timeout * 2).min(120_000);
        lab.at(at);
        lab.expect(data(b"hello").seq(1));
        // Linux's tcp_retries1 and the RFC's R1: three.
        assert_eq!(lab.stack.take_error(id).is_some(), n == 3, "after {n} retransmissions");
    }
    at += timeout;
    lab.at_us(ms(at) - 1);
    lab.assert_state(id, State::Established);
    lab.at(at);
    lab.quiet();
    lab.assert_state(id, State::Closed);
    assert!(at >= 100_000, "R2 is at least 100 s");
    // Linux calls it 924.6 s.
    assert_eq!(at, 924_600);
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut));
    assert_eq!(lab.stack.counters().timed_out, 1);
    lab.close(id);
    lab.assert_empty();
}

// Linux clears sk_err_soft when an ACK arrives (tcp_ack); trouble that is over is no error any more.
#[test]
fn trouble_that_is_over_is_forgotten() {
    let (mut lab, id) = established();
    lab.write(id, b"hello");
    lab.expect(data(b"hello"));
    for at in [200, 600, 1400] {
        lab.at(at);
        lab.expect(data(b"hello"));
    }
    lab.send(ack());
    assert_eq!(lab.stack.take_error(id), None);
}

#[test]
fn a_handshake_that_took_long_leaves_no_error() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    for at in [1000, 3000, 7000, 15_000] {
        lab.at(at);
        lab.expect(syn());
    }
    lab.send(syn_ack().mss(1460));
    lab.expect(ack());
    assert_eq!(lab.stack.take_error(id), None);
}

// RFC 9293 3.8.1 MUST-18, RFC 6298 2-3, RFC 6298 3-1
// RFC 6298 3 (Karn): no sample from what was sent twice, and the backoff stays until there is one.
#[test]
fn karn_takes_no_sample_from_a_retransmission() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    lab.at(50);
    lab.send(syn_ack().mss(1460));
    lab.expect(ack());
    let before = lab.info(id).srtt;
    assert_eq!(before, Duration::from_millis(50));
    lab.write(id, b"one");
    lab.expect(data(b"one"));
    lab.at(300);
    lab.expect(data(b"one"));
    lab.at(305);
    lab.send(ack());
    assert_eq!(lab.info(id).srtt, before);
    // The next segment is sent once: it counts, and ends the backoff.
    lab.write(id, b"two");
    lab.expect(data(b"two"));
    lab.at(315);
    lab.send(ack());
    assert_eq!(lab.info(id).srtt, (before * 7 + Duration::from_millis(10)) / 8);
    assert_eq!(lab.info(id).backoff, 0);
}

// RFC 6298 4: what is measured is a segment; an acknowledgement of its half does not end that.
#[test]
fn half_a_segment_is_no_sample() {
    let (mut lab, id) = established();
    assert_eq!(lab.info(id).srtt, Duration::ZERO);
    lab.write(id, &pattern(0, 1000));
    lab.expect(some(1000));
    lab.at(50);
    lab.send(ack().ack(501));
    lab.at(100);
    lab.send(ack().ack(1001));
    assert_eq!(lab.info(id).srtt, Duration::from_micros(100_000 / 8));
}

// RFC 7323 4.1-2, RFC 7323 4.2-1, RFC 6298 3-1
// RFC 9293 3.8.1 MUST-18, RFC 6298 3-1: nor from a fast retransmit, before which no timer went off.
#[test]
fn karn_takes_no_sample_from_a_fast_retransmit() {
    let (mut lab, id) = established();
    lab.write(id, &pattern(0, 5 * 1460));
    lab.drain();
    lab.at(50);
    for _ in 0..3 {
        lab.send(ack().ack(1));
    }
    lab.expect(data(pattern(0, 1460)).seq(1));
    lab.at(120);
    lab.send(ack());
    assert_eq!(lab.info(id).srtt, Duration::ZERO, "the handshake took no time, and is all that was measured");
}

// RFC 7323 4.1-2, RFC 7323 4.2-1, RFC 6298 3-1
// RFC 7323 4: with timestamps the echo tells which transmission was acknowledged.
#[test]
fn timestamps_sample_what_was_sent_twice() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { ts: true, ..Peer::default() });
    lab.write(id, b"one");
    let first = lab.expect(data(b"one")).tcp.options.timestamps.unwrap().tsval;
    lab.at(200);
    let second = lab.expect(data(b"one")).tcp.options.timestamps.unwrap().tsval;
    assert_eq!(second.wrapping_sub(first), 200);
    lab.at(230);
    lab.send(ack().ts(1230, second));
    // 30 ms after a first sample of nothing: 7/8 * 0 + 1/8 * 30
    assert_eq!(lab.info(id).srtt, Duration::from_micros(3750));
}

// RFC 6298 2.4, our configurable minimum and maximum
#[test]
fn rto_has_a_floor_and_a_ceiling() {
    let mut lab = Lab::with(|config| {
        config.min_rto = Duration::from_millis(300);
        config.max_rto = Duration::from_secs(2);
    });
    let id = lab.accepted(Peer::default());
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    for at in [300, 900, 2100, 4100, 6100, 8100] {
        lab.at(at);
        lab.expect(data(b"x"));
    }
}

// RFC 6298 5-3
// RFC 6298 5.3: an ACK of new data restarts the timer.
#[test]
fn each_ack_of_new_data_restarts_the_timer() {
    let (mut lab, id) = established();
    lab.write(id, &pattern(0, 2920));
    lab.drain();
    lab.at(150);
    lab.send(ack().ack(1461));
    // SRTT = 150/8 ms after a handshake in no time, and 200 ms for its variation.
    lab.at_us(368_750 - 1);
    lab.at_us(368_750);
    lab.expect(data(pattern(1460, 1460)).seq(1461));
}

// RFC 6298 5-2
#[test]
fn an_ack_of_all_stops_the_timer() {
    let (mut lab, id) = established();
    lab.write(id, &pattern(0, 2920));
    lab.drain();
    lab.at(150);
    lab.send(ack());
    assert_eq!(lab.info(id).unacked, 0);
    lab.at(100_000);
    assert_eq!((lab.next_deadline(), lab.stack.counters().retransmission_timeouts), (None, 0));
}

#[test]
fn an_orphans_retransmissions_end_sooner() {
    let (mut lab, id) = established();
    lab.write(id, b"bye");
    lab.expect(data(b"bye"));
    lab.close(id);
    lab.expect(fin().seq(4));
    let mut sent = 0;
    while lab.stack.sizes().connections > 0 {
        lab.run_to_deadline();
        sent += lab.drain().len();
        assert!(lab.now < secs(300));
    }
    assert!(sent >= 8, "eight retransmissions at least: {sent}");
    // 0.2 + 0.4 + ... + 0.2 * 2^8
    assert_eq!(lab.now, ms(200 * 511));
}

#[test]
fn an_idle_stack_has_no_deadline() {
    let (mut lab, id) = established();
    assert_eq!(lab.next_deadline(), None);
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    assert_eq!(lab.next_deadline(), Some(200_000));
    lab.send(ack());
    lab.run_to(secs(10));
    assert_eq!(lab.next_deadline(), None);
}

#[test]
fn late_timers_do_all_that_was_due() {
    let (mut lab, id) = established();
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.send(some(10).ack(1));
    // The owner was away for ten seconds.
    lab.now = secs(10);
    lab.stack.handle_timeout(lab.ts());
    lab.collect();
    let sent = lab.drain();
    assert_eq!(sent.len(), 1, "one retransmission, with the acknowledgement on it");
    assert_eq!(sent[0].tcp.as_ref().unwrap().tcp.ack.get(), 11);
    lab.at_us(secs(10) + ms(400) - 1);
    lab.at_us(secs(10) + ms(400));
    lab.expect(data(b"x"));
}
