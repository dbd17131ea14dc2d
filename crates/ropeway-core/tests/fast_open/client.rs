//! The client: it asks for a cookie, and then sends data with its SYNs.

use ropeway_core::packet::FastOpen;
use ropeway_core::{FastOpenFailure, State};

use crate::common::*;
use crate::cookie;

// RFC 7413 4.2.1-1
#[test]
fn without_a_cookie_the_syn_asks_for_one_and_the_data_waits() {
    let mut lab = Lab::new();
    let (id, sent) = lab.connect_fast(5000, b"request");
    assert_eq!(sent, 0);
    lab.expect(syn().seq(0).fast_open(FastOpen::REQUEST).len(0));
    lab.send(syn_ack().mss(1460).fast_open(cookie()));
    lab.expect(ack().seq(1).ack(1));
    assert_eq!(lab.info(id).fast_open_failure, FastOpenFailure::CookieUnavailable);
    lab.write(id, b"request");
    lab.expect(data(b"request").seq(1));
}

#[test]
fn a_plain_connect_says_nothing_of_it() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    lab.local.set_port(5000);
    lab.switch(80);
    lab.connect();
    lab.expect(syn().no_fast_open().len(0));
}

// RFC 7413 4.2.2-1
#[test]
fn with_a_cookie_the_data_goes_with_the_syn() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    let (id, sent) = lab.connect_fast(5000, b"request");
    assert_eq!(sent, 7);
    lab.expect(syn().seq(0).fast_open(cookie()).bytes(b"request"));
    lab.after(30);
    lab.send(syn_ack().mss(1460).ack(8));
    lab.expect(ack().seq(8).ack(1));
    let info = lab.info(id);
    assert_eq!((info.state, info.syn_data, info.unacked), (State::Established, true, 0));
    assert_eq!((info.fast_open_failure, info.bytes_acked), (FastOpenFailure::None, 7));
    assert_eq!(info.srtt.as_millis(), 30);
    assert_eq!(lab.stack.counters().fast_open_active, 1);
    lab.after(60_000);
}

// RFC 7413 4.2.2-4
#[test]
fn what_the_syn_ack_does_not_acknowledge_goes_out_again_at_once() {
    for acked in [1, 4] {
        let mut lab = Lab::new();
        lab.learn_cookie();
        let (id, _) = lab.connect_fast(5000, b"request");
        lab.expect(syn().bytes(b"request"));
        lab.after(30);
        lab.send(syn_ack().mss(1460).ack(acked));
        lab.expect(data(&b"request"[acked as usize - 1..]).seq(acked).ack(1));
        let info = lab.info(id);
        assert_eq!((info.syn_data, info.fast_open_failure), (false, FastOpenFailure::DataNotAcked));
        assert_eq!((info.cwnd / u32::from(info.snd_mss), info.ssthresh), (10, u32::MAX), "no reduction");
        assert_eq!(info.srtt.as_millis(), 30);
        lab.send(ack().ack(8));
        lab.quiet();
        assert_eq!(lab.info(id).unacked, 0);
        assert_eq!(lab.stack.counters().fast_open_active_failed, 1);
    }
}

#[test]
fn what_goes_out_again_is_timed() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    lab.connect_fast(5000, b"request");
    lab.expect(syn().bytes(b"request"));
    lab.send(syn_ack().mss(1460).ack(1));
    lab.expect(data(b"request").seq(1));
    lab.run_to_deadline();
    lab.expect(data(b"request").seq(1));
}

#[test]
fn a_syn_ack_that_acknowledges_more_than_was_sent_is_reset() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    let (id, _) = lab.connect_fast(5000, b"request");
    lab.expect(syn().bytes(b"request"));
    lab.send(syn_ack().mss(1460).ack(9).fast_open(FastOpen::new(&[9; 4]).unwrap()));
    lab.expect(rst().seq(9));
    lab.assert_state(id, State::SynSent);
    lab.connect_fast(5001, b"next");
    lab.expect(syn().fast_open(cookie()).bytes(b"next"));
}

#[test]
fn an_answer_with_data_and_a_fin_is_taken_at_once() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    let (id, _) = lab.connect_fast(5000, b"request");
    lab.expect(syn().bytes(b"request"));
    lab.send(syn_ack().mss(1460).ack(8).bytes(b"answer").fin());
    lab.expect(ack().seq(8).ack(8));
    lab.assert_state(id, State::CloseWait);
    assert_eq!(lab.read(id, 100), b"answer");
}

#[test]
fn data_that_is_written_meanwhile_follows_the_handshake() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    let (id, _) = lab.connect_fast(5000, b"one");
    lab.expect(syn().bytes(b"one"));
    lab.write(id, b"two");
    lab.quiet();
    lab.send(syn_ack().mss(1460).ack(4));
    lab.expect(data(b"two").seq(4).ack(1));
}

// RFC 7413 4.2.2-7, RFC 7413 4.1.3-1, RFC 7413 4.2.2-11
#[test]
fn the_syn_carries_what_the_server_takes_less_room_for_options() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    let (id, sent) = lab.connect_fast(5000, &[7; 5000]);
    assert_eq!(sent, 1420, "1460 of the cookie's answer, less 40");
    lab.expect(syn().len(1420));
    lab.send(syn_ack().mss(700).ack(1421));
    lab.expect(ack().seq(1421));
    lab.close(id);
    lab.drain();
    assert_eq!(lab.connect_fast(5001, &[7; 5000]).1, 660, "of the last answer");
    lab.drain();
    let sent = lab.connect_fast_with(5002, &[7; 5000], |options| options.max_segment = Some(500)).1;
    assert_eq!(sent, 460, "of the user");
}

#[test]
fn a_large_write_that_was_refused_is_cut_to_the_new_mss() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    lab.connect_fast(5000, &[7; 1420]);
    lab.expect(syn().len(1420));
    lab.send(syn_ack().mss(500).ack(1));
    for seq in [1, 501] {
        lab.expect(some(500).seq(seq));
    }
    lab.expect(some(420).seq(1001));
    lab.quiet();
}

#[test]
fn two_syns_with_data_that_cross_open_a_connection() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    let (id, _) = lab.connect_fast(5000, b"request");
    lab.expect(syn().bytes(b"request"));
    lab.send(syn().mss(1460).fast_open(cookie()).bytes(b"theirs"));
    lab.expect(syn_ack().seq(0).ack(1).no_fast_open().len(0));
    lab.assert_state(id, State::SynReceived);
    // It knows no more than our SYN.
    lab.send(ack().seq(1).ack(1));
    lab.expect(data(b"request").seq(1).ack(7));
    assert_eq!(lab.read(id, 100), b"theirs");
}

#[test]
fn without_cookies_both_ends_may_do_it_too() {
    let mut lab = Lab::new();
    let no_cookie = |options: &mut ropeway_core::SocketOptions| options.fast_open_no_cookie = true;
    assert_eq!(lab.connect_fast_with(5000, b"request", no_cookie).1, 7);
    lab.expect(syn().no_fast_open().bytes(b"request"));
    // A cookie that was not asked for is not kept.
    lab.send(syn_ack().mss(1460).ack(8).fast_open(cookie()));
    lab.expect(ack().seq(8));
    lab.connect_fast(5001, b"request");
    lab.expect(syn().fast_open(FastOpen::REQUEST).len(0));
}

// RFC 7413 9-1
#[test]
fn the_client_knows_the_experimental_option_too() {
    let mut lab = Lab::new();
    let request = FastOpen::REQUEST;
    for (port, asks) in
        [(5000, request), (5001, request.as_experiment(true)), (5002, request), (5003, request)]
    {
        let (id, _) = lab.connect_fast(port, b"");
        lab.expect(syn().fast_open(asks));
        lab.send(syn_ack().mss(1460));
        lab.expect(ack().seq(1));
        lab.abort(id);
        lab.close(id);
        lab.drain();
    }
    lab.stack.forget_fast_open_cookies();
    lab.connect_fast(5004, b"");
    lab.expect(syn().fast_open(request));
    lab.send(syn_ack().mss(1460));
    lab.expect(ack().seq(1));
    lab.connect_fast(5005, b"");
    lab.expect(syn().fast_open(request.as_experiment(true)));
    lab.send(syn_ack().mss(1460).fast_open(cookie().as_experiment(true)));
    lab.expect(ack().seq(1));
    lab.connect_fast(5006, b"data");
    lab.expect(syn().fast_open(cookie().as_experiment(true)).bytes(b"data"));
}

#[test]
fn it_works_over_ipv6() {
    let mut lab = Lab::new().v6();
    lab.learn_cookie();
    assert_eq!(lab.connect_fast(5000, &[1; 3000]).1, 1400);
    lab.expect(syn().fast_open(cookie()).len(1400));
}
