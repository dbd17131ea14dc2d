//! What a server gives to those who have not shown yet where they are.

use ropeway_core::packet::FastOpen;
use ropeway_core::{State, SynCookieMode};

use crate::common::*;

// RFC 7413 4.2-1
#[test]
fn so_many_may_wait_for_their_third_segment_and_no_more() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(2);
    let first = lab.open_fast(4000, listener, cookie, b"request");
    lab.open_fast(4001, listener, cookie, b"request");
    lab.switch(4002);
    lab.send(syn().mss(1460).fast_open(cookie).bytes(b"request"));
    lab.expect(syn_ack().seq(0).ack(1).no_fast_open());
    assert_eq!(lab.accept(listener), None);
    assert_eq!(lab.stack.counters().fast_open_overflows, 1);
    // One has shown itself: there is room for another.
    lab.switch(4000);
    lab.send(ack().seq(8).ack(1));
    lab.assert_state(first, State::Established);
    lab.open_fast(4003, listener, cookie, b"request");
}

// RFC 7413 5.1-2: whoever sends SYNs in the name of others has the others reset them.
#[test]
fn what_the_peer_resets_keeps_its_place_for_a_minute() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(1);
    let id = lab.open_fast(4000, listener, cookie, b"request");
    lab.send(rst().seq(8));
    lab.close(id);
    lab.after(59_999);
    lab.switch(4001);
    lab.send(syn().mss(1460).fast_open(cookie).bytes(b"request"));
    lab.expect(syn_ack().seq(0).ack(1));
    lab.after(1);
    lab.open_fast(4002, listener, cookie, b"request");
}

#[test]
fn what_the_application_resets_or_a_timeout_ends_frees_its_place_at_once() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast(1);
    let id = lab.open_fast(4000, listener, cookie, b"request");
    lab.abort(id);
    lab.close(id);
    lab.drain();
    let id = lab.open_fast(4001, listener, cookie, b"request");
    lab.run_to(63_000_000);
    lab.assert_state(id, State::Closed);
    lab.drain();
    lab.open_fast(4002, listener, cookie, b"request");
}

#[test]
fn under_a_flood_no_data_is_taken_from_syns() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(1, |options| options.fast_open = 8);
    let cookie = lab.ask_for_cookie(3999);
    for port in [4000, 4001] {
        lab.switch(port);
        lab.send(syn().mss(1460));
        lab.expect(syn_ack().seq(0).ack(1));
    }
    lab.switch(4002);
    lab.send(syn().mss(1460).fast_open(cookie).bytes(b"request"));
    lab.expect(syn_ack().seq(0).ack(1).no_fast_open());
    assert_eq!(lab.stack.counters().cookies_sent, 1, "a SYN cookie");
    assert_eq!(lab.accept(listener), None);
    lab.send(data(b"request").seq(1).ack(1));
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.read(id, 100), b"request");
}

#[test]
fn where_every_handshake_goes_by_syn_cookie_there_is_no_fast_open() {
    let mut lab = Lab::with(|config| config.syn_cookies = SynCookieMode::Always);
    lab.listen_with(16, |options| options.fast_open = 8);
    lab.send(syn().mss(1460).fast_open(FastOpen::REQUEST));
    lab.expect(syn_ack().seq(0).ack(1).no_fast_open());
}

#[test]
fn a_full_accept_queue_takes_none() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(0, |options| options.fast_open = 8);
    let cookie = lab.ask_for_cookie(3999);
    lab.switch(4000);
    lab.send(syn().mss(1460).fast_open(cookie).bytes(b"request"));
    lab.expect(syn_ack().seq(0).ack(8));
    lab.switch(4001);
    lab.send(syn().mss(1460).fast_open(cookie).bytes(b"request"));
    lab.quiet();
    assert!(lab.accept(listener).is_some());
}

// RFC 7413 4.2.2-9
/// A cookie shows that its owner has been there once. Whoever has one of somebody else's has us send so much there and no more:
/// the initial window once, and SYN-ACKs.
#[test]
fn before_the_third_segment_an_answer_is_bounded() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast_with(8, |options| options.send_buffer = 1 << 20);
    let id = lab.open_fast(4000, listener, cookie, b"request");
    lab.write(id, &[7; 100_000]);
    let sent = |lab: &mut Lab| -> usize { lab.drain().iter().map(|sent| sent.packet.len() - 40).sum() };
    assert_eq!(sent(&mut lab), 10 * 1460);
    lab.run_to(62_000_000);
    let again: Vec<_> = lab.drain();
    assert_eq!(again.len(), 5, "SYN-ACKs");
    assert!(again.iter().all(|sent| sent.packet.len() <= 44));
}

#[test]
fn the_mss_and_the_window_of_the_syn_are_kept_to() {
    let mut lab = Lab::new();
    let (listener, cookie) = lab.listen_fast_with(8, |options| options.send_buffer = 1 << 20);
    lab.switch(4000);
    lab.send(syn().mss(500).win(1000).fast_open(cookie).bytes(b"request"));
    lab.expect(syn_ack().seq(0).ack(8));
    let id = lab.accept(listener).unwrap();
    lab.write(id, &[7; 10_000]);
    lab.expect(some(500).seq(1));
    lab.expect(some(500).seq(501));
    lab.quiet();
}
