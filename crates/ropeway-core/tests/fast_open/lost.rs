//! The client, on paths that lose SYNs with data, or what follows them (RFC 7413 4.2.2, 7.1).

use std::time::Duration;

use ropeway_core::packet::{FastOpen, IcmpErrorKind, TcpFlags, icmp};
use ropeway_core::{FastOpenFailure, State};

use crate::common::*;
use crate::cookie;

// RFC 7413 4.2.2-6
#[test]
fn a_syn_that_is_sent_again_has_neither_data_nor_option() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    let (id, _) = lab.connect_fast(5000, b"request");
    lab.expect(syn().fast_open(cookie()).bytes(b"request"));
    lab.after(1000);
    lab.expect(syn().seq(0).no_fast_open().len(0));
    lab.send(syn_ack().mss(1460).ack(1));
    lab.expect(data(b"request").seq(1).ack(1));
    let info = lab.info(id);
    assert_eq!((info.syn_data, info.fast_open_failure), (false, FastOpenFailure::SynRetransmitted));
}

#[test]
fn the_first_syn_may_be_answered_after_all() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    let (id, _) = lab.connect_fast(5000, b"request");
    lab.drain();
    lab.after(1000);
    lab.expect(syn().len(0));
    lab.send(syn_ack().mss(1460).ack(8));
    lab.expect(ack().seq(8).ack(1));
    assert!(lab.info(id).syn_data);
}

// RFC 7413 4.2.1-3
#[test]
fn a_request_for_a_cookie_is_not_repeated_but_a_late_cookie_counts() {
    let mut lab = Lab::new();
    lab.connect_fast(5000, b"");
    lab.expect(syn().fast_open(FastOpen::REQUEST));
    lab.after(1000);
    lab.expect(syn().no_fast_open());
    lab.send(syn_ack().mss(1460).fast_open(cookie()));
    lab.expect(ack().seq(1));
    lab.connect_fast(5001, b"data");
    lab.expect(syn().fast_open(cookie()).bytes(b"data"));
}

#[test]
fn data_too_big_for_the_path_is_left_out_at_once() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    let (id, _) = lab.connect_fast(5000, &[7; 1420]);
    let first = lab.out.pop_front().unwrap().packet;
    let router = "10.0.0.254".parse().unwrap();
    let too_big = icmp::emit_error(router, lab.local.ip(), too_big(800), &first, 64);
    lab.after(10);
    lab.send_packet(too_big);
    lab.expect(syn().seq(0).no_fast_open().len(0));
    lab.after(20);
    lab.send(syn_ack().mss(1460).ack(1));
    lab.expect(some(760).seq(1));
    lab.expect(some(660).seq(761));
    lab.assert_state(id, State::Established);
}

fn too_big(mtu: u32) -> IcmpErrorKind {
    IcmpErrorKind::PacketTooBig { mtu }
}

// RFC 7413 4.1.3.1-1: it may be the fault of this path.
#[test]
fn syns_with_data_that_are_lost_twice_in_a_row_end_it_for_a_while() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    for port in [5000, 5001] {
        let (id, sent) = lab.connect_fast(port, b"request");
        assert_eq!(sent, 7);
        lab.drain();
        lab.after(1000);
        lab.drain();
        lab.send(syn_ack().mss(1460).ack(1));
        lab.drain();
        lab.abort(id);
        lab.close(id);
        lab.drain();
    }
    assert_eq!(lab.connect_fast(5002, b"request").1, 0);
    lab.expect(syn().no_fast_open().len(0));
    lab.run_to(250_000_000);
    lab.drain();
    assert_eq!(lab.connect_fast(5003, b"request").1, 7);
}

// RFC 7413 4.1.3.1-1: boxes drop options that they do not know.
#[test]
fn requests_for_a_cookie_that_are_lost_twice_in_a_row_are_not_made_for_a_while() {
    let mut lab = Lab::new();
    for port in [5000, 5001] {
        let (id, sent) = lab.connect_fast(port, b"request");
        assert_eq!(sent, 0);
        lab.expect(syn().fast_open(FastOpen::REQUEST));
        lab.after(1000);
        lab.expect(syn().no_fast_open());
        lab.send(syn_ack().mss(1460).ack(1));
        lab.drain();
        lab.abort(id);
        lab.close(id);
        lab.drain();
    }
    lab.connect_fast(5002, b"request");
    lab.expect(syn().no_fast_open());
    lab.run_to(250_000_000);
    lab.drain();
    lab.connect_fast(5003, b"request");
    lab.expect(syn().fast_open(FastOpen::REQUEST));
}

// RFC 7413 4.1.3.1-1
// RFC 7413 7.1
#[test]
fn the_third_timeout_in_a_row_ends_it_for_all_for_an_hour() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    let begin = lab.now;
    lab.connect_fast(5000, b"request");
    lab.drain();
    for seconds in [1, 3] {
        lab.at_us(begin + secs(seconds));
        lab.expect(syn().len(0));
        assert_eq!(lab.stack.counters().fast_open_black_holes, 0, "{seconds} s");
    }
    lab.at_us(begin + secs(7));
    assert_eq!(lab.stack.counters().fast_open_black_holes, 1);
    lab.drain();
    assert_eq!(lab.connect_fast(5001, b"request").1, 0);
    lab.expect(syn().no_fast_open().len(0));
    let hour = secs(7) + secs(3600);
    lab.run_to(begin + hour - 1);
    lab.drain();
    assert_eq!(lab.connect_fast(5002, b"request").1, 0);
    lab.run_to(begin + hour);
    lab.drain();
    assert_eq!(lab.connect_fast(5003, b"request").1, 7, "then it is tried again");
}

#[test]
fn the_pause_can_be_switched_off() {
    let mut lab = Lab::with(|config| config.fast_open_blackhole_timeout = Duration::ZERO);
    lab.learn_cookie();
    lab.connect_fast(5000, b"request");
    lab.run_to(8_000_000);
    lab.drain();
    assert_eq!(lab.connect_fast(5001, b"request").1, 7);
}

/// The data that came before was swallowed.
#[test]
fn a_fin_or_a_reset_that_comes_alone_ends_it_too() {
    for flag in [TcpFlags::FIN, TcpFlags::RST] {
        let mut lab = Lab::new();
        lab.learn_cookie();
        let (id, _) = lab.connect_fast(5000, b"request");
        lab.drain();
        lab.send(syn_ack().mss(1460).ack(8));
        lab.drain();
        lab.send(ack().seq(1001).flag(flag));
        lab.drain();
        lab.abort(id);
        lab.close(id);
        lab.drain();
        assert_eq!(lab.stack.counters().fast_open_black_holes, 1, "{flag:?}");
        assert_eq!(lab.connect_fast(5001, b"request").1, 0);
    }
}

// RFC 7413 4.1.3.1-1, RFC 7413 4.1.3.1-2
#[test]
fn a_service_that_does_not_take_the_data_gets_none_for_a_while_and_others_do() {
    let mut lab = Lab::new();
    lab.learn_cookie();
    for port in [5000, 5001] {
        let (id, sent) = lab.connect_fast(port, b"request");
        assert_eq!(sent, 7);
        lab.drain();
        lab.send(syn_ack().mss(1460).ack(1));
        lab.expect(data(b"request").seq(1));
        lab.abort(id);
        lab.close(id);
        lab.drain();
    }
    assert_eq!(lab.connect_fast(5002, b"request").1, 0);
    lab.drain();
    let other = std::net::SocketAddr::new(lab.remote.ip(), 443);
    let options = lab.stack.config().socket.clone();
    let (_, sent) = lab.stack.connect_with(lab.ts(), None, other, options, b"request").unwrap();
    assert_eq!(sent, 7);
}
