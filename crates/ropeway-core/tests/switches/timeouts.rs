//! Timeouts of one socket: their bounds (`TCP_RTO_MIN_US`, `TCP_RTO_MAX_MS`), those that are not doubled
//! (`tcp_syn_linear_timeouts`, `TCP_THIN_LINEAR_TIMEOUTS`), and how long an acknowledgement waits (`TCP_DELACK_MAX_US`).

use std::time::Duration;

use ropeway_core::{ConnectionError, SocketOptions, State};

use crate::common::*;

/// When the SYN is sent again, and when it is given up, in seconds.
#[track_caller]
fn assert_syns(change: impl FnOnce(&mut SocketOptions), again: &[u64], over: u64) {
    let mut lab = Lab::new();
    let id = lab.connect_with(change).unwrap();
    lab.expect(syn());
    for seconds in again {
        lab.at(seconds * 1000 - 1);
        lab.quiet();
        lab.at(seconds * 1000);
        lab.expect(syn().seq(0));
    }
    lab.at(over * 1000 - 1);
    lab.assert_state(id, State::SynSent);
    lab.at(over * 1000);
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut));
}

#[test]
fn linear_syn_timeouts_come_before_the_doubled_ones_and_on_top_of_the_retries() {
    // As in Linux: net.ipv4.tcp_syn_linear_timeouts = 4, tcp_syn_retries = 6.
    let linear = |options: &mut SocketOptions| (options.syn_linear_timeouts, options.syn_retries) = (4, 6);
    assert_syns(linear, &[1, 2, 3, 4, 5, 7, 11, 19, 35, 67], 131);
}

// RFC 6298 5.5
#[test]
fn every_syn_timeout_is_doubled_unless_asked_otherwise() {
    assert_syns(|options| options.syn_retries = 4, &[1, 3, 7, 15], 31);
}

#[test]
fn a_sockets_largest_timeout_holds_for_its_syn_and_its_data() {
    let five = |options: &mut SocketOptions| options.max_rto = Some(Duration::from_secs(5));
    assert_syns(five, &[1, 3, 7, 12, 17, 22, 27], 32);
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.max_rto = Some(Duration::from_secs(1)));
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    for millis in [200, 600, 1400, 2400, 3400, 4400] {
        lab.at(millis);
        lab.expect(data(b"x").seq(1));
    }
}

#[test]
fn the_largest_timeout_can_change_while_the_timer_runs() {
    let (mut lab, id) = established();
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    for millis in [200, 600, 1400, 3000] {
        lab.at(millis);
        lab.expect(data(b"x").seq(1));
    }
    // The next would come after 3.2 s.
    lab.set(id, |options| options.max_rto = Some(Duration::from_secs(1)));
    lab.at(4000);
    lab.expect(data(b"x").seq(1));
    lab.set(id, |options| options.max_rto = None);
    lab.at(10_400);
    lab.expect(data(b"x").seq(1));
}

// RFC 9293 3.8.6.1: window probes back off likewise.
#[test]
fn probes_of_a_closed_window_keep_to_the_largest_timeout() {
    let (mut lab, id) = shut_out();
    lab.set(id, |options| options.max_rto = Some(Duration::from_secs(1)));
    lab.write(id, b"bc");
    for millis in [200, 600, 1400, 2400, 3400, 4400] {
        lab.at(millis);
        lab.expect(data(b"b").seq(2));
        lab.send(ack().ack(2));
    }
}

#[test]
fn the_least_timeout_is_that_of_the_socket_or_of_the_stack() {
    for (own, millis) in [(None, 200), (Some(Duration::from_millis(10)), 10), (Some(Duration::ZERO), 1)] {
        let mut lab = Lab::new();
        let id = lab.accepted_with(Peer::default(), |options| options.min_rto = own);
        lab.write(id, b"x");
        lab.expect(data(b"x"));
        lab.at_us(ms(millis) - 1);
        lab.quiet();
        lab.at(millis);
        lab.expect(data(b"x"));
    }
}

#[test]
fn a_thin_stream_is_sent_again_at_the_same_pace_six_times() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.thin_linear_timeouts = true);
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    for millis in [200, 400, 600, 800, 1000, 1200, 1400, 1800, 2600] {
        lab.at(millis);
        lab.expect(data(b"x").seq(1));
    }
}

#[test]
fn what_is_not_thin_backs_off_whatever_the_switch_says() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.thin_linear_timeouts = true);
    lab.write(id, &pattern(0, 4 * 1460));
    lab.drain();
    for millis in [200, 600, 1400] {
        lab.at(millis - 1);
        lab.quiet();
        lab.at(millis);
        assert!(!lab.drain().is_empty());
    }
}

// RFC 9293 3.8.6.3
#[test]
fn an_acknowledgement_waits_as_long_as_its_socket_says() {
    for (own, millis) in [(None, 40), (Some(5), 5), (Some(200), 200), (Some(10_000), 499)] {
        let mut lab = Lab::with(|config| config.quick_acks = 0);
        lab.accepted_with(Peer::default(), |options| options.delayed_ack = own.map(Duration::from_millis));
        lab.send(some(10));
        lab.at_us(ms(millis) - 1);
        lab.quiet();
        lab.at(millis);
        lab.expect(ack());
    }
}
