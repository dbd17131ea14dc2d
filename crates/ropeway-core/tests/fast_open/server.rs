//! The server: it gives cookies, takes data with SYNs that have one, and may answer before the third segment.

use ropeway_core::packet::FastOpen;
use ropeway_core::{ConnectionError, FastOpenKeys, Readiness, RecvError, State};

use crate::common::*;

// RFC 7413 2-1
#[test]
fn a_listener_that_was_not_asked_to_says_nothing_of_it() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460).fast_open(FastOpen::REQUEST).bytes(b"request"));
    lab.expect(syn_ack().seq(0).ack(1).no_fast_open());
    assert_eq!(lab.accept(listener), None);
}

// RFC 7413 4.1.2-1, RFC 7413 4.2.1-2
#[test]
fn a_cookie_is_given_to_whoever_asks_and_is_equal_for_all_ports() {
    let mut lab = Lab::new();
    let (_, cookie) = lab.listen_fast(8);
    assert_eq!(cookie.cookie().len(), 8);
    assert!(!cookie.is_experiment());
    assert_eq!(lab.ask_for_cookie(3998), cookie);
    assert_eq!(lab.stack.counters().fast_open_cookies_requested, 2);
    let (local, other) = (lab.local.ip(), "10.0.0.7".parse().unwrap());
    lab.switch_ips(local, other);
    assert_ne!(lab.ask_for_cookie(3999), cookie, "but not for all hosts");
}

// RFC 7413 4.2.2-2
#[test]
fn data_is_there_before_the_third_segment() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(8);
    let id = lab.open_fast(4000, listener, cookie, b"request");
    lab.assert_state(id, State::SynReceived);
    assert!(lab.stack.is_connected(id));
    assert!(lab.stack.readiness(id).contains(Readiness::READABLE | Readiness::WRITABLE));
    assert_eq!(lab.read(id, 100), b"request");
    assert_eq!(lab.stack.recv(lab.ts(), id, 100).unwrap_err(), RecvError::WouldBlock);
    lab.after(30);
    lab.send(ack().seq(8).ack(1));
    lab.quiet();
    let info = lab.info(id);
    assert_eq!((info.state, info.syn_data, info.srtt.as_millis()), (State::Established, true, 30));
    assert!(info.fast_open_child);
    let counters = lab.stack.counters();
    assert_eq!((counters.fast_open_passive, counters.passive_opens), (1, 1));
    lab.after(60_000);
}

// RFC 7413 4.2.2-5
#[test]
fn it_answers_before_the_third_segment() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(8);
    let id = lab.open_fast(4000, listener, cookie, b"request");
    lab.read(id, 100);
    lab.after(10);
    lab.write(id, b"answer");
    lab.expect(data(b"answer").seq(1).ack(8));
    lab.after(20);
    // One acknowledgement for both.
    lab.send(ack().seq(8).ack(7));
    lab.quiet();
    let info = lab.info(id);
    assert_eq!((info.state, info.unacked, info.srtt.as_millis()), (State::Established, 0, 20));
    lab.send(data(b"more").seq(8));
    assert_eq!(lab.read(id, 100), b"more");
}

#[test]
fn what_the_third_segment_does_not_acknowledge_is_timed() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(8);
    let id = lab.open_fast(4000, listener, cookie, b"request");
    lab.read(id, 100);
    lab.after(10);
    lab.write(id, b"answer");
    lab.expect(data(b"answer").seq(1));
    lab.after(20);
    lab.send(ack().seq(8).ack(1));
    assert_eq!(lab.info(id).srtt.as_millis(), 30, "of the SYN-ACK, not of the data");
    lab.run_to_deadline();
    lab.expect(data(b"answer").seq(1));
}

#[test]
fn a_syn_with_a_good_cookie_and_no_data_may_be_answered_early_too() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(8);
    let id = lab.open_fast(4000, listener, cookie, b"");
    assert!(!lab.info(id).syn_data && lab.info(id).fast_open_child);
    lab.write(id, b"welcome");
    lab.expect(data(b"welcome").seq(1).ack(1));
    lab.send(data(b"request").seq(1).ack(8));
    assert_eq!(lab.read(id, 100), b"request");
}

// RFC 7413 4.2.2-3
#[test]
fn with_a_wrong_cookie_the_data_is_not_taken_and_a_good_one_is_given() {
    let mut lab = Lab::new();
    let (listener, good) = lab.listen_fast(8);
    let wrong = [&[1; 8][..], &[1; 4], &[1; 16], &good.cookie()[..6]];
    for (port, bytes) in (4000..).zip(wrong) {
        lab.switch(port);
        lab.send(syn().mss(1460).fast_open(FastOpen::new(bytes).unwrap()).bytes(b"request"));
        lab.expect(syn_ack().seq(0).ack(1).fast_open(good));
        assert_eq!(lab.accept(listener), None);
        // The usual handshake goes on.
        lab.send(data(b"request").seq(1).ack(1));
        let id = lab.accept(listener).unwrap();
        assert_eq!(lab.read(id, 100), b"request");
        assert!(!lab.info(id).syn_data && !lab.info(id).fast_open_child);
        lab.drain();
    }
    assert_eq!(lab.stack.counters().fast_open_passive_failed, 4);
}

#[test]
fn data_without_any_option_is_not_taken() {
    let mut lab = Lab::new();
    let (listener, _) = lab.listen_fast(8);
    lab.switch(4000);
    lab.send(syn().mss(1460).bytes(b"request"));
    lab.expect(syn_ack().seq(0).ack(1).no_fast_open());
    assert_eq!(lab.accept(listener), None);
}

#[test]
fn where_no_cookie_is_needed_data_is_taken_without() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(16, |options| {
        options.fast_open = 8;
        options.fast_open_no_cookie = true;
    });
    lab.send(syn().mss(1460).bytes(b"request"));
    lab.expect(syn_ack().seq(0).ack(8).no_fast_open());
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.read(id, 100), b"request");
}

#[test]
fn the_experimental_option_is_answered_in_kind() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(8);
    lab.switch(4000);
    lab.send(syn().mss(1460).fast_open(FastOpen::REQUEST.as_experiment(true)));
    lab.expect(syn_ack().fast_open(cookie.as_experiment(true)));
    lab.open_fast(4001, listener, cookie.as_experiment(true), b"request");
}

// RFC 7413 4.1.2-2
#[test]
fn a_change_of_keys_renews_cookies_on_the_way() {
    let mut lab = Lab::new();
    let (listener, old) = lab.listen_fast(8);
    let keys = lab.stack.fast_open_keys();
    lab.stack.set_fast_open_keys(keys.rotate([9; 16]));
    lab.switch(4000);
    lab.send(syn().mss(1460).fast_open(old).bytes(b"request"));
    let answer = lab.expect(syn_ack().seq(0).ack(8));
    let new = answer.tcp.options.fast_open.expect("a new cookie");
    assert_ne!(new, old);
    assert!(lab.accept(listener).is_some());
    assert_eq!(lab.stack.counters().fast_open_passive_alt_key, 1);
    lab.open_fast(4001, listener, new, b"request");
    lab.stack.set_fast_open_keys(FastOpenKeys::new([9; 16]));
    lab.switch(4002);
    lab.send(syn().mss(1460).fast_open(old).bytes(b"request"));
    lab.expect(syn_ack().seq(0).ack(1).fast_open(new));
}

/// RFC 7413 4.2.2: of one connection, the data is delivered once.
#[test]
fn a_syn_that_is_repeated_is_answered_and_delivers_nothing() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(8);
    let id = lab.open_fast(4000, listener, cookie, b"request");
    for again in [syn().mss(1460).fast_open(cookie).bytes(b"request"), syn().mss(1460)] {
        lab.send(again);
        lab.expect(syn_ack().seq(0).ack(8));
        lab.quiet();
    }
    assert_eq!(lab.read(id, 100), b"request");
    lab.send(ack().seq(8).ack(1));
    lab.send(syn().mss(1460).fast_open(cookie).bytes(b"request"));
    lab.expect(ack().seq(1).ack(8));
    assert_eq!(lab.stack.recv(lab.ts(), id, 100).unwrap_err(), RecvError::WouldBlock);
    assert_eq!(lab.accept(listener), None);
}

/// RFC 7413 2.1: after its connection has ended, nobody knows of it any more. So requests must be idempotent.
#[test]
fn a_syn_that_is_repeated_after_the_end_delivers_its_data_again() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(8);
    for _ in 0..2 {
        lab.flow = Default::default();
        lab.flow.win = 65535;
        let id = lab.open_fast(4000, listener, cookie, b"request");
        assert_eq!(lab.read(id, 100), b"request");
        lab.send(rst().seq(8));
        lab.close(id);
        lab.drain();
    }
}

// RFC 7413 4.2.2-10
#[test]
fn the_syn_ack_is_sent_again_without_the_data_until_it_is_given_up() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(8);
    let begin = lab.now;
    let id = lab.open_fast(4000, listener, cookie, b"request");
    lab.write(id, b"answer");
    lab.expect(data(b"answer").seq(1));
    for at in [1, 3, 7, 15, 31] {
        lab.at_us(begin + secs(at));
        lab.expect(syn_ack().seq(0).ack(8));
        lab.quiet();
    }
    lab.at_us(begin + secs(63));
    lab.quiet();
    lab.assert_state(id, State::Closed);
    assert_eq!(lab.read(id, 100), b"request");
    let error = lab.stack.recv(lab.ts(), id, 100).unwrap_err();
    assert_eq!(error, RecvError::Failed(ConnectionError::TimedOut));
}

#[test]
fn a_reset_before_the_third_segment_ends_it_and_the_data_can_be_read() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(8);
    let id = lab.open_fast(4000, listener, cookie, b"request");
    lab.send(rst().seq(8));
    lab.assert_state(id, State::Closed);
    assert_eq!(lab.read(id, 100), b"request");
    let error = lab.stack.recv(lab.ts(), id, 100).unwrap_err();
    assert_eq!(error, RecvError::Failed(ConnectionError::Reset));
    lab.close(id);
    lab.assert_empty();
}

#[test]
fn a_close_before_the_third_segment_sends_a_fin() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(8);
    let id = lab.open_fast(4000, listener, cookie, b"request");
    lab.read(id, 100);
    lab.write(id, b"answer");
    lab.expect(data(b"answer").seq(1));
    lab.close(id);
    lab.expect(fin().seq(7).ack(8));
    lab.send(fin().seq(8).ack(8));
    lab.expect(ack().seq(8).ack(9));
    lab.after(60_000);
    lab.assert_empty();
}

#[test]
fn a_close_with_data_unread_resets_it() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(8);
    let id = lab.open_fast(4000, listener, cookie, b"request");
    lab.close(id);
    lab.expect(rst_ack().seq(1).ack(8));
    lab.assert_empty();
}

#[test]
fn a_closed_listener_resets_what_nobody_has_accepted() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(8);
    lab.switch(4000);
    lab.send(syn().mss(1460).fast_open(cookie).bytes(b"request"));
    lab.expect(syn_ack().seq(0).ack(8));
    let now = lab.ts();
    lab.stack.close_listener(now, listener);
    lab.collect();
    lab.expect(rst_ack().seq(1).ack(8));
}

#[test]
fn a_small_buffer_announces_what_is_left_beside_the_data() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast_with(8, |options| options.recv_buffer = 1000);
    lab.switch(4000);
    lab.send(syn().mss(1460).fast_open(cookie).bytes([7; 1400]));
    lab.expect(syn_ack().seq(0).ack(1001).win(0));
    let id = lab.accept(listener).unwrap();
    lab.read(id, 5000);
    lab.expect(ack().seq(1).ack(1001).win(1000));
}

#[test]
fn timestamps_and_scales_are_agreed_on_as_ever() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(8);
    lab.switch(4000);
    lab.flow.ts = Some(1000);
    lab.send(syn().mss(1460).ws(7).sack_ok(true).fast_open(cookie).bytes(b"request"));
    lab.expect(syn_ack().seq(0).ack(8).ecr(1000 + (lab.now / 1000) as u32).sack_ok(true));
    let id = lab.accept(listener).unwrap();
    let info = lab.info(id);
    assert!(info.timestamps && info.sack);
    assert_eq!(info.snd_wscale, Some(7));
}
