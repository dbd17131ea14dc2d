//! Keep-alive (RFC 9293 3.8.4).

use std::time::Duration;

use ropeway_core::{ConnectionError, KeepAlive, State};

use crate::common::*;

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

// MUST-26: what the peer's own probe acknowledges is old, and a sign of life all the same
#[test]
fn keepalive_counts_from_the_peers_own_probe() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.keep_alive = keepalive(100, 7, 3));
    lab.at(60_000);
    lab.send(ack().seq(0));
    lab.expect(ack().seq(1).ack(1));
    lab.at_us(secs(160) - 1);
    lab.at_us(secs(160));
    lab.expect(ack().seq(0));
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

// MUST-26: nor while a FIN is, or what the window does not let out
#[test]
fn keepalive_is_silent_while_a_fin_is_outstanding_or_data_waits() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.keep_alive = keepalive(1, 1, 3));
    lab.shutdown_write(id);
    lab.expect(fin().seq(1));
    for at in [200, 600, 1400, 3000, 6200] {
        lab.at(at);
        lab.expect(fin().seq(1));
    }
    let (mut lab, id) = shut_out();
    lab.set(id, |options| options.keep_alive = keepalive(1, 1, 3));
    lab.write(id, b"x");
    for at in [200, 600, 1400, 3000, 6200] {
        lab.at(at);
        lab.expect(data(b"x").seq(2));
    }
}

#[test]
fn keepalive_does_not_probe_a_connection_that_is_not_open() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    lab.set(id, |options| {
        options.keep_alive = Some(KeepAlive { idle: Duration::from_millis(300), ..KeepAlive::default() });
    });
    for at in [1000, 3000, 7000] {
        lab.at(at);
        lab.expect(syn());
    }
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

// MUST-29: also when it is the user timeout that decides
#[test]
fn a_user_timeout_shorter_than_the_idle_time_does_not_spare_the_probe() {
    let (mut lab, id) = established();
    lab.set(id, |options| {
        options.keep_alive = keepalive(10, 5, 3);
        options.user_timeout = Some(Duration::from_secs(2));
    });
    lab.at_us(secs(10));
    lab.expect(ack().seq(0));
    lab.assert_state(id, State::Established);
    lab.at_us(secs(15));
    lab.expect(rst_ack());
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut));
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
