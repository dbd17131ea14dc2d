//! Every timer at its exact moment (RFC 9293 3.8, RFC 6298).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod common;

use std::time::Duration;

use common::*;
use ropeway_core::{ConnectionError, ConnectionId, KeepAlive, Readiness, State};

/// A connection on which nothing was measured but a handshake in no time: the RTO is the minimum, 200 ms.
fn established() -> (Lab, ConnectionId) {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer::default());
    (lab, id)
}

// ---- SYN

// RFC 6298 2-1
// RFC 6298 2.1, 5.5; RFC 9293 3.8.3 MUST-22, MUST-23: 1, 3, 7, 15, 31, 63, 127 s, and not given up within 3 min
#[test]
fn syn_is_sent_again_at_its_backoff_and_given_up_after_its_retries() {
    let mut lab = Lab::new();
    let id = lab.connect();
    let first = lab.expect(syn().seq(0));
    for seconds in [1, 3, 7, 15, 31, 63, 127] {
        lab.at(seconds * 1000);
        let again = lab.expect(syn().seq(0).mss(1460));
        assert_eq!(again.tcp.seq, first.tcp.seq);
    }
    // The next wait would be 128 s; the maximum is 120 s.
    lab.at_us(secs(247) - 1);
    lab.assert_state(id, State::SynSent);
    assert!(lab.now >= secs(180));
    lab.at_us(secs(247));
    lab.quiet();
    lab.assert_state(id, State::Closed);
    assert!(lab.told(id, Readiness::WRITABLE));
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut));
    lab.close(id);
    lab.assert_empty();
    assert_eq!(lab.stack.counters().failed_opens, 1);
}

#[test]
fn syn_retries_can_be_set() {
    let mut lab = Lab::new();
    let id = lab.connect_with(|options| options.syn_retries = 2).unwrap();
    lab.expect(syn());
    lab.at(1000);
    lab.expect(syn());
    lab.at(3000);
    lab.expect(syn());
    lab.at_us(secs(7) - 1);
    lab.assert_state(id, State::SynSent);
    lab.at(7000);
    lab.assert_state(id, State::Closed);
}

#[test]
fn syn_is_not_sent_again_once_answered() {
    let mut lab = Lab::new();
    let id = lab.connected(Peer::default());
    lab.at(1_000_000);
    lab.assert_state(id, State::Established);
    assert_eq!(lab.next_deadline(), None);
}

// RFC 6298 5-7
// RFC 6298 5.7: after a lost SYN, data starts with an RTO of 3 s.
#[test]
fn a_lost_syn_makes_the_first_rto_three_seconds() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    lab.at(1000);
    lab.expect(syn());
    lab.send(syn_ack().mss(1460));
    lab.expect(ack());
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    // Karn: no sample from a SYN that was sent twice.
    assert_eq!(lab.info(id).srtt, Duration::ZERO);
    lab.at(4000);
    lab.expect(data(b"x"));
    // RFC 5681 3.1: the initial window after a lost SYN is one segment.
    assert_eq!(lab.info(id).cwnd, 1460);
}

// RFC 6298 2-2
#[test]
fn the_handshake_is_the_first_sample() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    lab.at(100);
    lab.send(syn_ack().mss(1460));
    lab.expect(ack());
    let info = lab.info(id);
    assert_eq!((info.srtt, info.rttvar), (Duration::from_millis(100), Duration::from_millis(50)));
    assert_eq!(info.rto, Duration::from_millis(300));
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.at(400);
    lab.expect(data(b"x"));
}

// ---- SYN-ACK

// At 1, 3, 7, 15, 31 s; reaped at 63 s.
#[test]
fn the_nth_syn_ack_at_its_backoff_and_the_reaper_after_63_s() {
    let mut lab = Lab::new();
    lab.listen();
    lab.at(17);
    lab.send(syn().mss(1460).ws(3));
    let first = lab.expect(syn_ack().seq(0).ack(1).mss(1460).ws(7));
    for seconds in [1, 3, 7, 15, 31] {
        lab.at(17 + seconds * 1000);
        let again = lab.expect(syn_ack().seq(0).ack(1).mss(1460).ws(7));
        assert_eq!(again.tcp.seq, first.tcp.seq);
    }
    lab.at_us(ms(17) + secs(63) - 1);
    assert_eq!(lab.stack.sizes().half_open, 1);
    lab.at_us(ms(17) + secs(63));
    lab.quiet();
    assert_eq!(lab.stack.sizes().half_open, 0);
    assert_eq!(lab.stack.counters().half_open_reaped, 1);
    assert_eq!(lab.next_deadline(), None);
    // Too late.
    lab.send(ack());
    lab.expect(rst().seq(1));
}

// RFC 4987 3.3-1
#[test]
fn half_open_reaping_can_be_set() {
    for (retries, reaped_at) in [(0, 1), (1, 3), (2, 7), (7, 247)] {
        let mut lab = Lab::with(|config| config.synack_retries = retries);
        lab.listen();
        lab.send(syn());
        lab.expect(syn_ack());
        lab.run_to(secs(reaped_at) - 1);
        assert_eq!(lab.stack.sizes().half_open, 1);
        assert_eq!(lab.drain().len(), retries as usize);
        lab.at_us(secs(reaped_at));
        lab.assert_empty();
    }
}

#[test]
fn many_half_open_connections_keep_their_own_time() {
    let mut lab = Lab::new();
    lab.listen_with(100, |_| {});
    for n in 0..50 {
        lab.at(n * 13);
        lab.switch(5000 + n as u16);
        lab.send(syn());
        lab.expect(syn_ack());
    }
    // 50 SYN-ACKs at 1 s, 50 at 3 s, ..., each after its own SYN.
    for seconds in [1, 3, 7, 15, 31] {
        for n in 0..50 {
            lab.at(n * 13 + seconds * 1000);
            lab.switch(5000 + n as u16);
            lab.expect(syn_ack().seq(0).ack(1));
        }
    }
    for n in 0..50 {
        lab.at_us(ms(n * 13 + 63_000) - 1);
        assert_eq!(lab.stack.sizes().half_open as u64, 50 - n);
        lab.at(n * 13 + 63_000);
        assert_eq!(lab.stack.sizes().half_open as u64, 49 - n);
    }
    lab.assert_empty();
}

// RFC 6298 5-7
#[test]
fn a_lost_syn_ack_makes_the_first_rto_three_seconds() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.at(1000);
    lab.expect(syn_ack());
    lab.send(ack());
    let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.at(4000);
    lab.expect(data(b"x"));
}

#[test]
fn the_peers_second_syn_makes_the_sample_ambiguous() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.at(900);
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.send(ack());
    let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    assert_eq!(lab.info(id).srtt, Duration::ZERO);
}

#[test]
fn a_simultaneous_open_that_is_not_answered_is_given_up() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    for _ in 0..20 {
        let Some(at) = lab.next_deadline() else { break };
        lab.at_us(at);
        if !lab.out.is_empty() {
            lab.expect(syn_ack().seq(0).ack(1));
        }
    }
    lab.assert_state(id, State::Closed);
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut));
    assert!(lab.now >= secs(60), "given up after {} us", lab.now);
}

// ---- data

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
        let at = lab.next_deadline().unwrap();
        lab.run_to(at);
        sent += lab.drain().len();
        assert!(lab.now < secs(300));
    }
    assert!(sent >= 8, "eight retransmissions at least: {sent}");
    // 0.2 + 0.4 + ... + 0.2 * 2^8
    assert_eq!(lab.now, ms(200 * 511));
}

// ---- user timeout

// RFC 9293 3.8.3 MUST-21
#[test]
fn user_timeout_ends_the_connection_at_its_exact_moment() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.user_timeout = Some(Duration::from_millis(1234)));
    lab.at(100_000);
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    for at in [200, 600] {
        lab.at(100_000 + at);
        lab.expect(data(b"x"));
    }
    lab.at_us(ms(101_234) - 1);
    lab.assert_state(id, State::Established);
    lab.at(101_234);
    lab.assert_state(id, State::Closed);
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut));
}

#[test]
fn user_timeout_counts_from_the_last_progress() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.user_timeout = Some(Duration::from_millis(1000)));
    lab.write(id, &pattern(0, 2920));
    lab.drain();
    lab.at(150);
    lab.send(ack().ack(1461));
    lab.at_us(368_750);
    lab.expect(some(1460).seq(1461));
    lab.at_us(806_250);
    lab.expect(some(1460).seq(1461));
    lab.at_us(ms(1150) - 1);
    lab.assert_state(id, State::Established);
    lab.at(1150);
    lab.assert_state(id, State::Closed);
}

#[test]
fn user_timeout_longer_than_the_retries_keeps_the_connection() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.user_timeout = Some(Duration::from_secs(3000)));
    lab.write(id, b"x");
    lab.drain();
    lab.run_to(secs(3000) - 1);
    lab.assert_state(id, State::Established);
    lab.run_to(secs(3000));
    lab.assert_state(id, State::Closed);
}

// MUST-21: "infinite"
#[test]
fn user_timeout_may_be_for_ever() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.user_timeout = Some(Duration::MAX));
    lab.write(id, b"x");
    lab.drain();
    lab.run_to(secs(100_000));
    lab.assert_state(id, State::Established);
}

#[test]
fn user_timeout_set_while_waiting_counts_from_the_start_of_waiting() {
    let (mut lab, id) = established();
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.at(200);
    lab.expect(data(b"x"));
    lab.at(300);
    lab.set(id, |options| options.user_timeout = Some(Duration::from_millis(450)));
    lab.at_us(ms(450) - 1);
    lab.assert_state(id, State::Established);
    lab.at(450);
    lab.assert_state(id, State::Closed);
}

// tcp(7), TCP_USER_TIMEOUT: "or buffered data may remain untransmitted (due to zero window size)"
#[test]
fn user_timeout_counts_while_the_window_is_closed() {
    let mut deaths = Vec::new();
    for answered in [false, true] {
        let (mut lab, id) = shut_out();
        lab.set(id, |options| options.user_timeout = Some(Duration::from_millis(5000)));
        lab.write(id, &pattern(0, 3000));
        let mut died = None;
        while died.is_none() && lab.now < secs(60) {
            let at = lab.next_deadline().unwrap();
            lab.run_to(at);
            for _ in lab.drain() {
                if answered {
                    lab.input(ack().ack(2));
                    lab.collect();
                }
            }
            died = (lab.state(id) == State::Closed).then_some(lab.now);
        }
        // From the write, or from the first probe.
        deaths.push(died);
    }
    let in_time = |died: &Option<u64>| died.is_some_and(|died| (ms(5000)..=ms(5200)).contains(&died));
    assert!(deaths.iter().all(in_time), "unanswered and answered, it died at {deaths:?} us");
}

// RFC 6429; Linux's tcp_probe_timer gives an orphan up once the interval has reached its maximum.
#[test]
fn an_orphan_does_not_live_for_ever_because_its_peer_keeps_the_window_closed() {
    let (mut lab, id) = shut_out();
    lab.write(id, &pattern(0, 3000));
    lab.close(id);
    while lab.stack.sizes().connections > 0 {
        assert!(lab.now < secs(24 * 3600), "it lives after a day");
        let at = lab.next_deadline().unwrap();
        lab.run_to(at);
        for _ in lab.drain() {
            lab.input(ack().ack(2));
            lab.collect();
        }
    }
    assert!(lab.now > secs(60));
}

// ---- delayed ACK (RFC 9293 3.8.6.3)

// SHLD-18, MUST-40
#[test]
fn a_lone_segment_is_acknowledged_after_40_ms() {
    let (mut lab, _) = established();
    lab.at(5);
    lab.send(some(100));
    lab.at_us(ms(45) - 1);
    lab.at(45);
    lab.expect(ack().ack(101));
    lab.at(100_000);
}

// As Linux: a sender's slow start is not held up by acknowledgements that wait.
#[test]
fn the_first_segments_are_acknowledged_at_once() {
    let mut lab = Lab::with(|config| config.quick_acks = 16);
    let id = lab.accepted(Peer::default());
    for n in 1..=16 {
        lab.send(some(100));
        lab.after(0);
        lab.expect(ack().ack(1 + 100 * n));
    }
    lab.send(some(100));
    lab.after(40);
    lab.expect(ack().ack(1701));
    // A pause begins it anew; not more often than half the window has room for.
    lab.read(id, 100_000);
    lab.drain();
    lab.after(5000);
    lab.send(some(100));
    lab.after(0);
    lab.expect(ack().ack(1801));
}

#[test]
fn the_acknowledgement_of_what_is_answered_goes_with_the_answer() {
    let mut lab = Lab::with(|config| config.quick_acks = 16);
    let id = lab.accepted(Peer::default());
    // One that is there in the same moment takes even the first along.
    lab.send(some(100));
    lab.quiet();
    lab.write(id, b"answer");
    lab.expect(data(b"answer").ack(101));
    lab.after(0);
    lab.quiet();
    lab.after(10);
    lab.send(some(100).ack(7));
    lab.after(10);
    lab.write(id, b"answer");
    lab.expect(data(b"answer").ack(201));
    // An application that answers no more is found out by the delay.
    lab.send(some(100).ack(13));
    lab.after(40);
    lab.expect(ack().ack(301));
    lab.send(some(100));
    lab.after(0);
    lab.expect(ack().ack(401));
}

// SHLD-19
#[test]
fn every_second_full_segment_is_acknowledged_at_once() {
    let (mut lab, id) = established();
    for n in 0..5u32 {
        lab.send(some(1460));
        lab.send(some(1460));
        lab.expect(ack().ack(1 + 2920 * (n + 1)));
        lab.read(id, 100_000);
        lab.quiet();
    }
}

// MUST-58, MUST-59: all that is queued is processed before anything is sent.
#[test]
fn a_batch_of_segments_gets_one_ack() {
    let (mut lab, _) = established();
    lab.send_all((0..10).map(|_| some(1460)));
    lab.expect(ack().ack(14_601));
    lab.quiet();
}

#[test]
fn data_carries_the_delayed_ack() {
    let (mut lab, id) = established();
    lab.send(some(100));
    lab.at(20);
    lab.write(id, b"reply");
    lab.expect(data(b"reply").ack(101));
    lab.send(ack());
    lab.at(100_000);
}

#[test]
fn quick_ack_does_not_wait() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.quick_ack = true);
    for n in 0..3 {
        lab.send(some(100));
        lab.expect(ack().ack(101 + 100 * n));
    }
}

#[test]
fn quick_ack_set_while_waiting_acknowledges_at_once() {
    let (mut lab, id) = established();
    lab.send(some(100));
    lab.at(10);
    lab.set(id, |options| options.quick_ack = true);
    lab.expect(ack().ack(101));
}

// MUST-40: never half a second, whatever is asked for
#[test]
fn the_delay_stays_below_half_a_second() {
    let mut lab = Lab::with(|config| config.delayed_ack = Duration::from_secs(10));
    lab.accepted(Peer::default());
    lab.send(some(100));
    let at = lab.next_deadline().unwrap();
    assert!(at < ms(500));
    lab.at_us(at);
    lab.expect(ack().ack(101));
}

// MAY-13, RFC 5681 4.2; RFC 9293 3.10.7.4 SHLD-31
#[test]
fn out_of_order_segments_are_acknowledged_at_once_each() {
    let (mut lab, _) = established();
    for n in 1..6 {
        lab.send(some(100).seq(1 + 100 * n));
        lab.expect(ack().ack(1));
    }
    lab.send(some(100).seq(1));
    lab.expect(ack().ack(601));
}

#[test]
fn a_duplicate_segment_is_acknowledged_at_once() {
    let (mut lab, _) = established();
    lab.send(some(100));
    lab.at(40);
    lab.expect(ack().ack(101));
    lab.send(some(100).seq(1));
    lab.expect(ack().ack(101));
}

// ---- persist (RFC 9293 3.8.6.1)

/// A connection whose peer has closed the window with nothing outstanding.
fn shut_out() -> (Lab, ConnectionId) {
    let (mut lab, id) = established();
    lab.write(id, b"a");
    lab.expect(data(b"a"));
    lab.send(ack().win(0));
    lab.flow.win = 0;
    (lab, id)
}

// SHLD-29, SHLD-30, MUST-36, MUST-37
#[test]
fn zero_window_probes_after_one_rto_then_doubling_and_for_ever() {
    let (mut lab, id) = shut_out();
    lab.write(id, &pattern(0, 3000));
    lab.quiet();
    let mut at = 0;
    let mut interval = 200;
    for _ in 0..60 {
        at += interval;
        interval = (interval * 2).min(120_000);
        lab.at_us(ms(at) - 1);
        lab.at(at);
        lab.expect(data(pattern(0, 1)).seq(2));
        lab.send(ack().ack(2));
        lab.quiet();
    }
    lab.assert_state(id, State::Established);
    assert_eq!(lab.stack.take_error(id), None);
    // The window opens: at once all goes on.
    lab.flow.win = 65535;
    lab.send(ack().ack(2));
    lab.expect(data(pattern(0, 1460)).seq(2));
    lab.expect(data(pattern(1460, 1460)).seq(1462));
    lab.expect(data(pattern(2920, 80)).seq(2922));
}

#[test]
fn a_probe_that_is_accepted_moves_on() {
    let (mut lab, id) = shut_out();
    lab.write(id, &pattern(0, 3000));
    lab.at(200);
    lab.expect(data(pattern(0, 1)).seq(2));
    lab.send(ack().ack(3));
    lab.quiet();
    // That was progress: the next wait is one RTO again.
    lab.at(400);
    lab.expect(data(pattern(1, 1)).seq(3));
    lab.flow.win = 2000;
    lab.send(ack().ack(4));
    lab.expect(data(pattern(2, 1460)).seq(4));
}

#[test]
fn a_window_update_that_is_lost_is_found_by_the_probe() {
    let (mut lab, id) = shut_out();
    lab.write(id, b"bcd");
    lab.at(200);
    lab.expect(data(b"b").seq(2));
    lab.flow.win = 5000;
    lab.send(ack().ack(3));
    lab.expect(data(b"cd").seq(3));
}

// R2 while the peer says nothing at all
#[test]
fn probes_without_an_answer_end_the_connection() {
    let (mut lab, id) = shut_out();
    lab.write(id, &pattern(0, 3000));
    let mut probes = 0;
    while lab.state(id) == State::Established {
        let at = lab.next_deadline().unwrap();
        lab.run_to(at);
        probes += lab.drain().len();
        assert!(lab.now < secs(3600));
    }
    assert_eq!(probes, 15);
    assert!(lab.now > secs(100));
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut));
}

#[test]
fn a_fin_waits_for_the_window_and_probes_for_it() {
    let (mut lab, id) = shut_out();
    lab.shutdown_write(id);
    lab.quiet();
    lab.at(200);
    lab.expect(fin().seq(2));
    lab.send(ack().ack(2));
    lab.at(600);
    lab.expect(fin().seq(2));
    lab.send(ack().ack(3));
    lab.assert_state(id, State::FinWait2);
}

#[test]
fn data_that_is_already_probed_for_does_not_restart_the_clock() {
    let (mut lab, id) = shut_out();
    lab.write(id, b"x");
    lab.at(150);
    lab.write(id, b"y");
    lab.at(200);
    lab.expect(data(b"x"));
}

// ---- keep-alive (RFC 9293 3.8.4)

// MUST-25
#[test]
fn keepalive_is_off_by_default() {
    let (lab, _) = established();
    assert_eq!(lab.next_deadline(), None);
    // MUST-28
    assert!(KeepAlive::default().idle >= Duration::from_secs(7200));
}

fn keepalive(idle: u64, interval: u64, count: u32) -> Option<KeepAlive> {
    Some(KeepAlive { idle: Duration::from_secs(idle), interval: Duration::from_secs(interval), count })
}

// MUST-24, MUST-27, MUST-29, SHLD-12; RFC 9293 3.8.4 MAY-5
#[test]
fn keepalive_probes_at_idle_then_at_its_interval_and_gives_up_after_its_count() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.keep_alive = keepalive(100, 7, 3));
    for at in [100, 107, 114] {
        lab.at_us(secs(at) - 1);
        lab.at_us(secs(at));
        lab.expect(ack().seq(0).ack(1));
    }
    lab.at_us(secs(121) - 1);
    lab.assert_state(id, State::Established);
    lab.at_us(secs(121));
    lab.drain();
    lab.assert_state(id, State::Closed);
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut));
}

#[test]
fn an_answered_keepalive_starts_over() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.keep_alive = keepalive(100, 7, 3));
    let mut at = 0;
    for _ in 0..10 {
        at += 100;
        lab.at_us(secs(at));
        lab.expect(ack().seq(0));
        at += 7;
        lab.at_us(secs(at));
        lab.expect(ack().seq(0));
        at += 1;
        lab.at_us(secs(at));
        lab.send(ack());
    }
    lab.assert_state(id, State::Established);
}

// RFC 9293 3.8.4 MUST-26
#[test]
fn keepalive_counts_from_the_last_arrival() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.keep_alive = keepalive(100, 7, 3));
    lab.at(60_000);
    lab.send(some(10));
    lab.at(60_040);
    lab.expect(ack().ack(11));
    lab.at_us(secs(160) - 1);
    lab.at_us(secs(160));
    lab.expect(ack().seq(0).ack(11));
}

// RFC 9293 3.8.4 MUST-24
#[test]
fn keepalive_switched_on_late_counts_from_the_last_arrival() {
    let (mut lab, id) = established();
    lab.at(60_000);
    lab.set(id, |options| options.keep_alive = keepalive(100, 7, 3));
    lab.at_us(secs(100));
    lab.expect(ack().seq(0));
    lab.at_us(secs(103));
    lab.set(id, |options| options.keep_alive = None);
    lab.at_us(secs(10_000));
    lab.assert_state(id, State::Established);
}

// MUST-26: not while data is outstanding
#[test]
fn keepalive_is_silent_while_data_is_outstanding() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.keep_alive = keepalive(10, 7, 3));
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.run_to(secs(120));
    for sent in lab.drain() {
        assert_eq!(sent.tcp.unwrap().payload.len(), 1, "only retransmissions");
    }
    lab.assert_state(id, State::Established);
}

// MUST-29: one probe proves nothing, even if the user says 0 or 1
#[test]
fn one_unanswered_keepalive_never_ends_a_connection() {
    for count in [0, 1] {
        let (mut lab, id) = established();
        lab.set(id, |options| options.keep_alive = keepalive(100, 7, count));
        lab.at_us(secs(100));
        lab.expect(ack().seq(0));
        lab.at_us(secs(107));
        lab.assert_state(id, State::Established);
    }
}

// As tcp(7) says of TCP_USER_TIMEOUT
#[test]
fn user_timeout_overrides_the_keepalives_count() {
    let (mut lab, id) = established();
    lab.set(id, |options| {
        options.keep_alive = keepalive(10, 5, 3);
        options.user_timeout = Some(Duration::from_secs(32));
    });
    lab.run_to(secs(32) - 1);
    lab.assert_state(id, State::Established);
    lab.run_to(secs(35));
    lab.assert_state(id, State::Closed);
}

#[test]
fn keepalive_set_before_connect_starts_with_the_connection() {
    let mut lab = Lab::new();
    let id = lab.connected_with(Peer::default(), |options| options.keep_alive = keepalive(100, 7, 3));
    lab.at_us(secs(100));
    lab.expect(ack().seq(0));
    lab.send(ack());
    lab.assert_state(id, State::Established);
}

/// It must not spin, whatever the user says.
#[test]
fn keepalive_of_no_time_at_all_does_not_hang() {
    for (idle, interval) in [(0, 0), (0, 75), (10, 0)] {
        within(Duration::from_secs(5), move || {
            let (mut lab, id) = established();
            lab.write(id, b"x");
            lab.drain();
            lab.set(id, |options| options.keep_alive = keepalive(idle, interval, 5));
            for _ in 0..100 {
                let Some(at) = lab.next_deadline() else { break };
                lab.run_to(at.max(lab.now));
                lab.drain();
            }
        });
    }
}

// ---- FIN-WAIT-2

#[test]
fn an_orphan_leaves_fin_wait_2_after_its_timeout() {
    let (mut lab, id) = established();
    lab.close(id);
    lab.expect(fin());
    lab.at(100);
    lab.send(ack());
    lab.at_us(ms(60_100) - 1);
    assert_eq!(lab.stack.sizes().connections, 1);
    lab.at(60_100);
    lab.assert_empty();
    lab.send(fin());
    lab.expect(rst().seq(2));
}

#[test]
fn fin_wait_2_that_someone_holds_lasts() {
    let (mut lab, id) = established();
    lab.shutdown_write(id);
    lab.expect(fin());
    lab.send(ack());
    lab.at(1_000_000);
    lab.assert_state(id, State::FinWait2);
    lab.close(id);
    lab.at(1_060_000);
    lab.assert_empty();
}

// ---- cork and more-to-come

#[test]
fn cork_holds_a_small_segment_for_200_ms() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.cork = true);
    lab.at(7);
    lab.write(id, b"small");
    lab.quiet();
    lab.at_us(ms(207) - 1);
    lab.at(207);
    lab.expect(data(b"small"));
}

#[test]
fn cork_taken_off_lets_it_go() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.cork = true);
    lab.write(id, &pattern(0, 2000));
    lab.expect(data(pattern(0, 1460)));
    lab.at(10);
    lab.set(id, |options| options.cork = false);
    lab.expect(data(pattern(1460, 540)));
    lab.send(ack());
    lab.at(10_000);
}

#[test]
fn cork_does_not_hold_a_full_segment_nor_the_fin() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.cork = true);
    lab.write(id, &pattern(0, 1000));
    lab.quiet();
    lab.write(id, &pattern(1000, 460));
    lab.expect(data(pattern(0, 1460)));
    lab.write(id, b"tail");
    lab.quiet();
    lab.shutdown_write(id);
    lab.expect(data(b"tail").fin());
}

#[test]
fn the_200_ms_of_cork_begin_anew_with_each_held_piece() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.cork = true);
    lab.write(id, b"one");
    lab.at(200);
    lab.expect(data(b"one"));
    lab.send(ack());
    lab.at(500);
    lab.write(id, b"two");
    lab.at_us(ms(700) - 1);
    lab.at(700);
    lab.expect(data(b"two"));
}

// RFC 9293 3.9.1.2 MUST-60, MAY-16
#[test]
fn more_to_come_holds_a_small_segment_until_more_comes() {
    let (mut lab, id) = established();
    let more = ropeway_core::SendFlags { more: true, ..Default::default() };
    assert_eq!(lab.stack.send(lab.ts(), id, b"head ", more), Ok(5));
    lab.collect();
    lab.quiet();
    lab.at(50);
    lab.write(id, b"body");
    lab.expect(data(b"head body").push());
    lab.send(ack());
    assert_eq!(lab.stack.send(lab.ts(), id, b"alone", more), Ok(5));
    lab.collect();
    lab.at_us(ms(250) - 1);
    lab.at(250);
    lab.expect(data(b"alone"));
}

// ---- the deadline itself

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

#[test]
fn busy_time_is_the_time_with_data_outstanding() {
    let (mut lab, id) = established();
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.at(150);
    assert_eq!(lab.info(id).busy_time, Duration::from_millis(150));
    lab.send(ack());
    lab.at(1000);
    assert_eq!(lab.info(id).busy_time, Duration::from_millis(150));
}
