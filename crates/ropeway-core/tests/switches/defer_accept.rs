//! Connections that are accepted when their data comes (`TCP_DEFER_ACCEPT`).

use std::time::Duration;

use ropeway_core::{ListenerId, SocketOptions, State, SynCookieMode};

use crate::common::*;

fn for_secs(seconds: u64) -> impl FnOnce(&mut SocketOptions) {
    move |options| options.defer_accept = Some(Duration::from_secs(seconds))
}

/// The peer has acknowledged the SYN-ACK, without data.
#[track_caller]
fn deferred(seconds: u64) -> (Lab, ListenerId) {
    let mut lab = Lab::new();
    let listener = lab.listen_with(16, for_secs(seconds));
    lab.handshake(Peer::default());
    assert_eq!(lab.accept(listener), None);
    assert!(lab.events.is_empty());
    (lab, listener)
}

/// A request comes, and is acknowledged.
#[track_caller]
fn get(lab: &mut Lab) {
    lab.send(data(b"GET"));
    lab.after(40);
    lab.expect(ack());
}

#[track_caller]
fn assert_waits(lab: &mut Lab, listener: ListenerId, until: u64) {
    lab.at(until * 1000 - 1);
    lab.quiet();
    assert_eq!(lab.accept(listener), None);
    lab.at(until * 1000);
}

#[test]
fn data_completes_the_handshake_and_can_be_read_at_once() {
    let (mut lab, listener) = deferred(3);
    lab.after(500);
    get(&mut lab);
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.read(id, 10), b"GET");
    let (counters, info) = (lab.stack.counters(), lab.info(id));
    assert_eq!((counters.accepts_deferred, counters.passive_opens), (1, 1));
    // Nothing was lost, and how long the peer thought is no round trip.
    assert_eq!((info.cwnd, info.srtt), (10 * 1460, Duration::ZERO));
}

#[test]
fn data_in_the_third_segment_is_not_waited_for_twice() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(16, for_secs(3));
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.after(100);
    get(&mut lab);
    let id = lab.accept(listener).unwrap();
    assert_eq!((lab.read(id, 10), lab.info(id).srtt), (b"GET".to_vec(), Duration::from_millis(100)));
}

#[test]
fn a_fin_without_data_completes_it_too() {
    let (mut lab, listener) = deferred(3);
    lab.send(fin());
    lab.expect(ack().ack(2));
    let id = lab.accept(listener).unwrap();
    lab.assert_state(id, State::CloseWait);
}

// As in Linux: the time is rounded up to that of a timeout, and then the SYN-ACK asks once more.
#[test]
fn when_the_time_is_over_the_syn_ack_asks_again_and_an_answer_without_data_will_do() {
    for (seconds, over) in [(1, 1), (2, 3), (3, 3), (4, 7), (7, 7), (8, 15), (60, 63), (64, 127), (128, 247)]
    {
        let (mut lab, listener) = deferred(seconds);
        lab.send(ack());
        assert_waits(&mut lab, listener, over);
        lab.expect(syn_ack());
        lab.send(ack());
        let id = lab.accept(listener).unwrap_or_else(|| panic!("not accepted after {seconds} s"));
        let info = lab.info(id);
        assert_eq!((info.cwnd, info.rto), (10 * 1460, Duration::from_secs(1)), "nothing was lost");
    }
}

#[test]
fn one_whose_peer_is_gone_when_the_time_is_over_is_reaped_like_any_other() {
    let (mut lab, listener) = deferred(4);
    for seconds in [7, 15, 31] {
        assert_waits(&mut lab, listener, seconds);
        lab.expect(syn_ack());
    }
    assert_waits(&mut lab, listener, 63);
    lab.quiet();
    assert_eq!((lab.stack.counters().half_open_reaped, lab.stack.sizes().half_open), (1, 0));
}

#[test]
fn one_that_waits_longer_than_any_handshake_is_reaped_in_the_end() {
    let (mut lab, listener) = deferred(100);
    assert_waits(&mut lab, listener, 127);
    lab.expect(syn_ack());
    assert_waits(&mut lab, listener, 247);
    lab.quiet();
    assert_eq!(lab.stack.counters().half_open_reaped, 1);
    // A jump of the clock ends it as well.
    let (mut lab, _) = deferred(100);
    lab.now += secs(30 * 86_400);
    lab.after(0);
    lab.quiet();
    assert_eq!(lab.stack.counters().half_open_reaped, 1);
}

// RFC 9293 3.8.3
#[test]
fn a_syn_ack_that_is_not_answered_is_sent_again_as_ever() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(16, for_secs(100));
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    for seconds in [1, 3, 7, 15, 31] {
        assert_waits(&mut lab, listener, seconds);
        lab.expect(syn_ack());
    }
    assert_waits(&mut lab, listener, 63);
    assert_eq!(lab.stack.counters().half_open_reaped, 1);
}

// RFC 5681 3.1, RFC 6298 5.7
#[test]
fn what_was_lost_before_the_answer_came_still_counts() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(16, for_secs(30));
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.at(1000);
    lab.expect(syn_ack());
    lab.send(ack());
    lab.at(10_000);
    get(&mut lab);
    let id = lab.accept(listener).unwrap();
    assert_eq!((lab.info(id).cwnd, lab.info(id).rto), (1460, Duration::from_secs(3)));
}

#[test]
fn the_peers_reset_and_its_syn_are_heard_meanwhile() {
    let (mut lab, _) = deferred(30);
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.send(rst().seq(1));
    lab.quiet();
    assert_eq!((lab.stack.counters().half_open_reset, lab.stack.sizes().half_open), (1, 0));
    lab.assert_empty();
}

#[test]
fn a_listener_that_does_not_wait_any_more_takes_the_next_acknowledgement() {
    let (mut lab, listener) = deferred(30);
    lab.stack.update_listener_options(listener, |options| options.defer_accept = None).unwrap();
    lab.send(ack());
    assert!(lab.accept(listener).is_some());
    // And the other way round.
    lab.stack.update_listener_options(listener, for_secs(30)).unwrap();
    lab.switch(5001);
    lab.handshake(Peer::default());
    assert_eq!(lab.accept(listener), None);
}

// RFC 4987 3.6: there is no entry that could wait.
#[test]
fn a_handshake_with_a_cookie_is_complete_without_data() {
    let mut lab = Lab::with(|config| config.syn_cookies = SynCookieMode::Always);
    let listener = lab.listen_with(16, for_secs(30));
    lab.handshake(Peer::default());
    assert!(lab.accept(listener).is_some());
}

#[test]
fn those_that_wait_have_their_share_of_the_syn_queue_and_no_more() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(3, for_secs(30));
    for port in 5000..5004 {
        lab.switch(port);
        lab.handshake(Peer::default());
    }
    assert_eq!((lab.stack.sizes().half_open, lab.stack.sizes().connections), (4, 0));
    // The queue is full: who comes now gets a cookie, and is served.
    lab.switch(5004);
    lab.handshake(Peer::default());
    assert_eq!((lab.stack.counters().cookies_accepted, lab.accept(listener).is_some()), (1, true));
    // Those that wait are none the worse for it.
    lab.switch(5000);
    get(&mut lab);
    assert!(lab.accept(listener).is_some());
}

#[test]
fn a_listener_that_closes_forgets_those_that_wait() {
    let (mut lab, listener) = deferred(30);
    lab.stack.close_listener(lab.ts(), listener);
    lab.after(0);
    lab.assert_empty();
    lab.send(data(b"GET"));
    lab.expect(rst().seq(1));
}

#[test]
fn whoever_connects_with_it_lets_its_data_answer_the_syn_ack() {
    for waits in [true, false] {
        let mut lab = Lab::new();
        let id = lab.connect_with(for_secs(1)).unwrap();
        lab.expect(syn());
        lab.send(syn_ack().mss(1460));
        lab.quiet();
        if waits {
            lab.at(40);
            lab.expect(ack());
        } else {
            lab.write(id, b"GET");
            lab.expect(data(b"GET"));
            lab.at(100);
            lab.quiet();
        }
    }
}
