//! SYN cookies from end to end (RFC 4987 3.6).

use std::time::Duration;

use ropeway_core::packet::TcpFlags;
use ropeway_core::{EcnFeedback, ListenerId, StackConfig, State, SynCookieMode};

use crate::common::*;
use crate::host;

fn always(config: &mut StackConfig) {
    config.syn_cookies = SynCookieMode::Always;
}

/// A listener that answers with cookies only.
fn lab() -> (Lab, ListenerId) {
    let mut lab = Lab::with(always);
    let listener = lab.listen();
    (lab, listener)
}

/// The lab has a SYN-ACK with a cookie.
fn challenged() -> (Lab, ListenerId) {
    let (mut lab, listener) = lab();
    lab.send(syn().mss(1460));
    lab.expect(syn_ack().seq(0).ack(1));
    (lab, listener)
}

/// What the lab has sent last is refused, and counted.
#[track_caller]
fn assert_refused(lab: &mut Lab) {
    let reset = lab.next_tcp();
    assert_eq!(reset.tcp.flags, TcpFlags::RST);
    assert_eq!((lab.counters().cookies_failed, lab.counters().cookies_accepted), (1, 0));
    lab.assert_empty();
}

#[test]
fn without_timestamps_there_is_no_window_scale() {
    let (mut lab, listener) = lab();
    lab.send(syn().mss(1460).ws(7));
    let answer = lab.expect(syn_ack().seq(0).ack(1).mss(1460).no_ts());
    assert_eq!(answer.tcp.options.window_scale, None, "there is no place to remember it");
    lab.send(ack().win(1000));
    let id = lab.accept(listener).unwrap();
    let info = lab.info(id);
    assert_eq!((info.state, info.timestamps), (State::Established, false));
    assert_eq!((info.snd_wscale, info.rcv_wscale, info.snd_wnd), (None, None, 1000));
    assert_eq!((lab.counters().cookies_accepted, lab.counters().passive_opens), (1, 1));
}

#[test]
fn with_timestamps_the_window_scale_survives() {
    let (mut lab, listener) = lab();
    lab.flow.ts = Some(1000);
    lab.send(syn().mss(1460).ws(5));
    let answer = lab.expect(syn_ack().seq(0).ack(1));
    assert!(answer.tcp.options.window_scale.is_some());
    lab.after(30);
    lab.send(ack().win(1000));
    let id = lab.accept(listener).unwrap();
    let info = lab.info(id);
    assert!(info.timestamps);
    assert_eq!((info.snd_wscale, info.snd_wnd), (Some(5), 1000 << 5));
    assert_eq!(info.rcv_wscale, answer.tcp.options.window_scale);
    lab.write(id, b"hello");
    lab.expect(data("hello").seq(1).ack(1));
}

#[test]
fn the_mss_is_rounded_down() {
    for (offered, kept) in [(1460, 1460), (1459, 1440), (1300, 1220), (536, 536)] {
        let (mut lab, listener) = lab();
        lab.send(syn().mss(offered));
        lab.expect(syn_ack());
        lab.send(ack());
        let id = lab.accept(listener).unwrap();
        assert_eq!(lab.info(id).snd_mss, kept, "for {offered}");
    }
}

// RFC 4987 3.6-1
#[test]
fn data_on_the_completing_ack_is_delivered() {
    let (mut lab, listener) = challenged();
    lab.send(data("hello"));
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.read_all(id), b"hello");
    lab.after(40);
    lab.expect(ack().seq(1).ack(6));
}

/// The bare ACK was lost, or overtaken: the data that follows it has the same numbers.
#[test]
fn the_first_ack_may_be_lost() {
    let (mut lab, listener) = challenged();
    lab.after(5000);
    lab.send(data("late").push());
    lab.send(ack().seq(1));
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.read_all(id), b"late");
    assert_eq!(lab.counters().passive_opens, 1);
}

#[test]
fn a_fin_on_the_completing_ack_counts() {
    let (mut lab, listener) = challenged();
    lab.send(data("bye").fin());
    lab.expect(ack().ack(5));
    let id = lab.accept(listener).unwrap();
    lab.assert_state(id, State::CloseWait);
    assert_eq!(lab.read_all(id), b"bye");
    assert!(lab.read_all(id).is_empty(), "the end of the stream");
}

#[test]
fn ecn_and_sack_do_not_confuse() {
    let (mut lab, listener) = lab();
    let mut request = syn().options(&[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 6]);
    request.flags |= TcpFlags::ECE | TcpFlags::CWR;
    lab.send(request);
    let answer = lab.expect(syn_ack().flag(TcpFlags::ECE).seq(0).ack(1).mss(1460));
    assert!(answer.tcp.options.sack_permitted);
    lab.flow.ts = Some(10);
    lab.send(ack().win(100));
    let id = lab.accept(listener).unwrap();
    assert_eq!((lab.info(id).snd_wscale, lab.info(id).snd_wnd), (Some(6), 6400));
    assert!(lab.info(id).sack, "the cookie remembers it in our timestamp");
    assert_eq!(lab.info(id).ecn, EcnFeedback::Classic, "and that");
}

// Without timestamps there is no place to remember it.
#[test]
fn a_cookie_without_timestamps_does_not_promise_sack() {
    let (mut lab, listener) = lab();
    lab.send(syn().options(&[2, 4, 5, 180, 1, 1, 4, 2]));
    let answer = lab.expect(syn_ack().seq(0).ack(1).mss(1460));
    assert!(!answer.tcp.options.sack_permitted);
    lab.send(ack().win(100));
    let id = lab.accept(listener).unwrap();
    assert!(!lab.info(id).sack);
}

/// The coarse clock ticks every 64 s; a cookie is good in its tick and the next. The lab starts at 1 s.
#[test]
fn a_cookie_is_good_until_its_lifetime_is_over() {
    let (mut lab, listener) = challenged();
    lab.at_us(secs(127) - 1);
    lab.send(ack());
    assert!(lab.accept(listener).is_some());
    let (mut lab, _) = challenged();
    lab.at_us(secs(127));
    lab.send(ack());
    assert_refused(&mut lab);
}

/// The secret changes every 512 s; a cookie outlives that only within its own lifetime.
#[test]
fn a_cookie_survives_one_change_of_the_secret_and_no_more() {
    for (start, asked_at, good) in [(511, 64, true), (447, 64, true), (447, 65, false), (447, 127, false)] {
        let mut lab = Lab::starting_at(secs(start), always);
        let listener = lab.listen();
        lab.send(syn().mss(1460));
        lab.expect(syn_ack());
        lab.at_us(secs(asked_at));
        lab.send(ack());
        if good {
            assert!(lab.accept(listener).is_some(), "{start} {asked_at}");
        } else {
            assert_refused(&mut lab);
        }
    }
}

/// Four bits of the clock come round after 16 ticks; the hash knows better.
#[test]
fn a_replay_after_the_clock_came_round_is_refused() {
    let (mut lab, _) = challenged();
    lab.at_us(secs(16 * 64));
    assert_eq!(lab.syns_from([host(1)]), 1, "so that cookies are looked for");
    lab.send(ack());
    assert_refused(&mut lab);
}

#[test]
fn a_guessed_cookie_is_refused() {
    let (mut lab, _) = challenged();
    lab.send(ack().ack(2));
    assert_refused(&mut lab);
}

#[test]
fn a_cookie_for_another_tuple_is_refused() {
    let (mut lab, _) = challenged();
    let iss = lab.flow.iss;
    lab.switch(4001);
    lab.flow.iss = iss;
    lab.send(ack().seq(1).ack(1));
    assert_refused(&mut lab);
}

#[test]
fn a_cookie_for_another_isn_is_refused() {
    let (mut lab, _) = challenged();
    lab.send(ack().seq(2));
    assert_refused(&mut lab);
}

#[test]
fn a_reset_that_brings_a_cookie_opens_nothing() {
    let (mut lab, _) = challenged();
    lab.send(rst_ack());
    lab.send(rst());
    lab.quiet();
    lab.assert_empty();
    assert_eq!((lab.counters().cookies_failed, lab.counters().cookies_accepted), (0, 0));
}

#[test]
fn cookies_are_looked_for_only_while_they_were_sent_lately() {
    let mut lab = Lab::new();
    lab.listen_with(0, |_| {});
    lab.send(ack().seq(1).ack(1));
    lab.expect(rst().seq(1));
    assert_eq!(lab.counters().cookies_failed, 0, "none has been sent");
    assert_eq!(lab.syns_from([host(1), host(2)]), 2);
    lab.send(ack().seq(1).ack(1));
    lab.expect(rst().seq(1));
    assert_eq!(lab.counters().cookies_failed, 1, "one has");
    lab.run_to(secs(128));
    lab.drain();
    lab.send(ack().seq(1).ack(1));
    lab.expect(rst().seq(1));
    assert_eq!(lab.counters().cookies_failed, 1, "that was long ago");
}

#[test]
fn a_cookie_waits_for_room_in_the_accept_queue() {
    let mut lab = Lab::with(always);
    let listener = lab.listen_with(0, |_| {});
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.switch(4001);
    lab.handshake(Peer::default());
    lab.switch(4000);
    lab.send(ack().seq(1));
    lab.quiet();
    assert_eq!((lab.counters().accept_queue_overflows, lab.counters().cookies_accepted), (1, 1));
    assert!(lab.accept(listener).is_some());
    lab.send(data("now").seq(1));
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.read_all(id), b"now");
}

/// MUST-7 of RFC 9293 3.1: a lie in the options of the completing segment.
#[test]
fn a_cookie_with_malformed_options_opens_nothing() {
    let (mut lab, listener) = challenged();
    lab.send(ack().options(&[8, 99, 0, 0]));
    lab.drain();
    assert_eq!(lab.accept(listener), None);
    assert_eq!(lab.counters().cookies_accepted, 0);
    lab.assert_empty();
}

/// The options travel in six bits of our timestamp; that is not to be seen in the round-trip time.
#[test]
fn a_cookie_does_not_spoil_the_round_trip_time() {
    let (mut lab, listener) = lab();
    lab.flow.ts = Some(1000);
    lab.at(50);
    lab.send(syn().mss(1460).ws(5));
    lab.expect(syn_ack());
    lab.after(3);
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    assert!(lab.info(id).srtt <= Duration::from_millis(4), "{:?}", lab.info(id).srtt);
}

#[test]
fn cookies_over_ipv6() {
    let mut lab = Lab::with(always).v6();
    let listener = lab.listen();
    lab.flow.ts = Some(7);
    lab.send(syn().ws(9));
    lab.expect(syn_ack().seq(0).ack(1));
    lab.send(data("six"));
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.read_all(id), b"six");
    // RFC 9293 3.7.1 MUST-15: 1220 without the option, less the timestamps.
    assert_eq!((lab.info(id).snd_wscale, lab.info(id).snd_mss), (Some(9), 1208));
}

/// A cookie belongs to the listener that its SYN went to, of those that share the address.
#[test]
fn listeners_that_share_an_address_know_their_cookies() {
    let mut lab = Lab::with(always);
    let listeners = [(); 4].map(|()| lab.listen_with(256, |options| options.reuse_port = true));
    for port in 1000..1200 {
        lab.switch(port);
        lab.handshake(Peer::default());
    }
    let accepted = listeners.iter().filter(|listener| lab.accept(**listener).is_some()).count();
    assert_eq!((accepted, lab.counters().cookies_accepted), (4, 200));
}

/// The connection that a cookie opened is over; its ACK comes again, within the cookie's lifetime or after.
#[test]
fn a_cookie_that_is_replayed_later_opens_nothing() {
    let (mut lab, listener) = challenged();
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    lab.send(rst());
    lab.close(id);
    lab.assert_empty();
    lab.at_us(secs(127));
    lab.send(ack().seq(1).ack(1));
    lab.expect(rst().seq(1));
    lab.assert_empty();
}
