//! Peers, and boxes on the way, that have timestamps in their SYN and not in every segment after it. RFC 7323 3.2 would
//! have such segments dropped; Linux takes them, and so does a stack that is not told to be strict.

use std::time::Duration;

use ropeway_core::{ConnectionId, KeepAlive, ListenerId, StackConfig, State, SynCookieMode};

use crate::common::*;

/// The third segment of a handshake whose SYN had timestamps.
const THIRD: [fn() -> Seg; 3] = [ack, || data(b"early"), || data(b"early").fin()];

/// How a SYN may come to be a connection.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    Queue,
    Cookie,
    Decision,
}

const WAYS: [Way; 3] = [Way::Queue, Way::Cookie, Way::Decision];

/// The peer has its SYN-ACK, and has timestamps in its SYN only.
fn answered(way: Way, change: impl FnOnce(&mut StackConfig)) -> (Lab, ListenerId) {
    let mut lab = Lab::with(|config| {
        config.syn_cookies = if way == Way::Cookie { SynCookieMode::Always } else { SynCookieMode::Never };
        change(config);
    });
    let options = lab.stack.config().socket.clone();
    let listener = match way {
        Way::Decision => lab.stack.listen_any(4, options).unwrap(),
        _ => lab.listen(),
    };
    lab.send(syn().mss(1460).ws(7).ts(5000, 0));
    if way == Way::Decision {
        let incoming = lab.stack.poll_incoming(listener).unwrap();
        assert!(lab.stack.accept_incoming(lab.ts(), &incoming));
        lab.collect();
    }
    assert!(lab.expect(syn_ack().ack(1)).tcp.options.window_scale.is_some());
    (lab, listener)
}

/// A connection whose peer has had timestamps in its SYN, and not since.
fn established_by(way: Way) -> (Lab, ConnectionId) {
    let (mut lab, listener) = answered(way, |_| {});
    lab.send(ack().win(100));
    lab.quiet();
    let id = lab.accept(listener).unwrap();
    (lab, id)
}

/// Both have had timestamps in their SYN; the peer has none from here on unless a test says so.
fn established() -> (Lab, ConnectionId) {
    let (mut lab, id) = established_by(Way::Queue);
    lab.flow.win = 1000;
    (lab, id)
}

#[test]
fn the_third_segment_may_lack_them() {
    for way in WAYS {
        for third in THIRD {
            let (mut lab, listener) = answered(way, |_| {});
            lab.send(third());
            assert_eq!((lab.stack.sizes().connections, lab.stack.sizes().half_open), (1, 0), "{way:?}");
            lab.run_to(ms(40));
            let nxt = lab.flow.nxt;
            if nxt > 1 {
                lab.expect(ack().ack(nxt));
            }
            let id = lab.accept(listener).unwrap();
            assert_eq!(lab.info(id).unread, if nxt > 1 { 5 } else { 0 }, "{way:?}");
            assert_eq!(lab.info(id).state, if nxt > 6 { State::CloseWait } else { State::Established });
        }
    }
}

#[test]
fn the_answer_to_our_syn_may_have_been_the_last() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    lab.send(syn_ack().ack(1).mss(1460).ts(5000, lab.flow.tsval));
    lab.expect(ack().ecr(5000));
    lab.send(data(b"hello"));
    lab.after(40);
    lab.expect(ack().ack(6).ecr(5000));
    assert_eq!(lab.read(id, 10), b"hello");
    // A simultaneous open, which ends with a bare acknowledgement.
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    lab.send(syn().mss(1460).ts(5000, 0));
    lab.expect(syn_ack().ecr(5000));
    lab.send(ack().seq(1));
    lab.assert_state(id, State::Established);
}

/// `tcp_parse_options` of Linux: ours have them all the same, since the peer has agreed to take them, and each echoes the
/// last that there was.
#[test]
fn ours_keep_them() {
    for way in [Way::Queue, Way::Decision] {
        let (mut lab, id) = established_by(way);
        assert!(lab.info(id).timestamps);
        assert_eq!(lab.info(id).snd_mss, 1448, "and leave room for them");
        lab.at(100);
        lab.write(id, b"data");
        let first = lab.expect(data(b"data").ecr(5000)).tcp.options.timestamps.unwrap();
        lab.after(200);
        let again = lab.expect(data(b"data").ecr(5000)).tcp.options.timestamps.unwrap();
        assert_eq!(again.tsval.wrapping_sub(first.tsval), 200);
        lab.send(ack().ts(5400, again.tsval));
        lab.shutdown_write(id);
        lab.expect(fin().ecr(5400));
    }
}

/// A keep-alive probe that gets no answer ends a connection that is well. So does a window probe in the end.
#[test]
fn probes_are_answered() {
    let (mut lab, id) = established();
    for _ in 0..3 {
        lab.after(10_000);
        lab.send(ack().seq(0));
        lab.expect(ack().seq(1).ack(1).ecr(5000));
    }
    // With a byte of garbage, as older stacks do.
    lab.send(some(1).seq(0));
    lab.expect(ack().seq(1).ack(1));
    // The window is closed, and the peer probes it.
    lab.set(id, |options| options.recv_buffer = 4096);
    while lab.info(id).rcv_wnd > 0 {
        let len = lab.info(id).rcv_wnd.min(1460) as usize;
        lab.send(some(len));
        lab.run_to(lab.now + ms(40));
        lab.drain();
    }
    let nxt = lab.flow.nxt;
    lab.send(some(1));
    lab.expect(ack().ack(nxt).win(0));
}

/// Ours are answered by such a peer, and that counts: neither probe ends the connection.
#[test]
fn answers_to_probes_count() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.keep_alive = Some(KeepAlive { count: 2, ..KeepAlive::default() }));
    for _ in 0..5 {
        lab.after(7_200_000);
        lab.expect(ack().seq(0));
        lab.send(ack());
    }
    lab.set(id, |options| options.keep_alive = None);
    lab.send(ack().win(0));
    lab.write(id, b"more");
    for _ in 0..40 {
        lab.run_to_deadline();
        lab.expect(data(b"m"));
        lab.send(ack().ack(1).win(0));
    }
    lab.send(ack().ack(1).win(10));
    lab.expect(data(b"more"));
    lab.send(ack());
    lab.assert_state(id, State::Established);
    assert_eq!(lab.info(id).unacked, 0);
}

#[test]
fn data_acknowledgements_and_the_end_may_lack_them() {
    let (mut lab, id) = established();
    // In order, beyond a gap, and what fills it.
    lab.send(data(b"world").seq(6));
    lab.expect(ack().ack(1));
    lab.send(data(b"hello").seq(1));
    lab.expect(ack().ack(11));
    assert_eq!(lab.read(id, 20), b"helloworld");
    // Duplicate acknowledgements.
    lab.flow.nxt = 11;
    lab.write(id, &pattern(0, 5 * 1448));
    lab.drain();
    for _ in 0..3 {
        lab.send_all([ack().ack(1)]);
        lab.run_to(lab.now);
    }
    assert_eq!(lab.stack.counters().fast_retransmits, 1);
    lab.drain();
    lab.send(ack().ack(1 + 5 * 1448));
    lab.drain();
    // Both FINs, and what TIME-WAIT answers.
    lab.shutdown_write(id);
    lab.expect(fin());
    lab.send(fin());
    let last = lab.expect(ack().ack(12)).tcp;
    lab.at(10_000);
    lab.send(fin().seq(11));
    assert_eq!(lab.expect(ack().ack(12)).tcp.seq, last.seq);
    assert_eq!(lab.stack.sizes().time_wait, 1);
}

/// In LAST-ACK, CLOSING and FIN-WAIT-1 too.
#[test]
fn a_connection_can_be_closed_by_either_end() {
    let (mut lab, id) = established();
    lab.send(fin());
    lab.expect(ack().ack(2));
    lab.close(id);
    lab.expect(fin());
    lab.send(ack());
    lab.assert_empty();
    let (mut lab, id) = established();
    lab.close(id);
    lab.expect(fin());
    lab.send(fin().ack(1));
    lab.expect(ack().ack(2));
    lab.send(ack());
    assert_eq!((lab.stack.sizes().connections, lab.stack.sizes().time_wait), (0, 1));
}

/// RFC 6191 2: a SYN without them is judged by its sequence number.
#[test]
fn a_syn_that_lacks_them_may_take_time_wait_over() {
    let (mut lab, id) = established();
    lab.close(id);
    lab.expect(fin());
    lab.send(fin());
    lab.expect(ack());
    lab.input(syn().seq(1).mss(1460));
    assert_eq!(lab.next_tcp().tcp.flags, ack().flags, "an old duplicate");
    lab.input(syn().seq(50_000).mss(1460));
    assert_eq!(lab.next_tcp().tcp.flags, syn_ack().flags);
}

/// RFC 6298 3: where there is no echo, a segment that was sent once is timed; one that was sent twice is no sample.
#[test]
fn round_trips_are_measured_without_an_echo() {
    let (mut lab, id) = established();
    assert_eq!(lab.info(id).srtt, Duration::ZERO, "the handshake took no time");
    lab.write(id, b"once");
    lab.expect(data(b"once"));
    lab.after(80);
    lab.send(ack());
    assert_eq!(lab.info(id).srtt, Duration::from_millis(10));
    lab.write(id, b"twice");
    lab.expect(data(b"twice"));
    lab.run_to(lab.now + ms(400));
    lab.drain();
    lab.send(ack());
    assert_eq!(lab.info(id).srtt, Duration::from_millis(10), "which of them was it?");
    // With an echo it is clear.
    lab.write(id, b"twice");
    lab.expect(data(b"twice"));
    let first = lab.flow.tsval;
    lab.run_to(lab.now + ms(800));
    lab.drain();
    lab.send(ack().ts(6000, first));
    assert_eq!(lab.info(id).srtt, Duration::from_micros((7 * 10_000 + 800_000) / 8));
    // An echo of nothing is none.
    lab.write(id, b"twice");
    lab.run_to(lab.now + ms(3000));
    lab.drain();
    let before = lab.info(id).srtt;
    lab.send(ack().ts(7000, 0));
    assert_eq!(lab.info(id).srtt, before);
}

/// Peers that have them now and then: what has one is judged by it, what has none is not, and changes nothing.
#[test]
fn paws_judges_what_has_them() {
    let (mut lab, id) = established();
    lab.send(data(b"one").ts(9000, 0));
    lab.send(data(b"two"));
    lab.expect(ack().ack(7).ecr(9000));
    lab.send(data(b"old").ts(8999, 0));
    lab.expect(ack().ack(7).ecr(9000));
    assert_eq!(lab.stack.counters().paws_dropped, 1);
    lab.send(data(b"six").seq(7).ts(9000, 0));
    lab.after(40);
    lab.expect(ack().ack(10));
    assert_eq!(lab.read(id, 20), b"onetwosix");
}

/// What a cookie brings back is the timestamp's to say. Without one, the peer's scale is not known, and its windows are
/// taken for the least that they may be; but that our SYN-ACK announced a scale is, and the peer goes by it.
#[test]
fn a_cookie_knows_that_our_windows_are_scaled() {
    let (mut lab, id) = established_by(Way::Cookie);
    let info = lab.info(id);
    assert_eq!((info.timestamps, info.snd_wnd, info.snd_wscale), (false, 100, Some(0)));
    let scale = info.rcv_wscale.expect("announced is announced");
    lab.send(data(b"hello"));
    lab.after(40);
    let window = lab.expect(ack().ack(6).no_ts()).tcp.window;
    let promised = u32::from(window) << scale;
    let buffer = lab.info(id).recv_buffer as u32;
    assert!((buffer / 2..=buffer).contains(&promised), "{promised} bytes");
    // Nothing was announced where the SYN had no timestamps, or no scale.
    for offer in [syn().ws(7), syn().ts(5000, 0)] {
        let mut lab = Lab::with(|config| config.syn_cookies = SynCookieMode::Always);
        let listener = lab.listen();
        lab.send(offer);
        assert_eq!(lab.expect(syn_ack()).tcp.options.window_scale, None);
        lab.send(ack());
        let id = lab.accept(listener).unwrap();
        assert_eq!((lab.info(id).snd_wscale, lab.info(id).rcv_wscale), (None, None));
    }
}

// RFC 7323 3.2-3
#[test]
fn a_strict_stack_drops_what_lacks_them_and_ends_nothing() {
    let strict = |config: &mut StackConfig| config.strict_timestamps = true;
    for way in WAYS {
        for third in THIRD {
            let (mut lab, listener) = answered(way, strict);
            lab.send(third());
            lab.quiet();
            assert!(!lab.stack.is_acceptable(listener), "{way:?}");
            lab.flow.nxt = 1;
            lab.send(ack().ts(5001, lab.flow.tsval));
            assert!(lab.stack.is_acceptable(listener), "{way:?}");
        }
    }
    let mut lab = Lab::with(strict);
    let id = lab.accepted(Peer { ts: true, ..Peer::default() });
    for seg in [data(b"data"), ack().seq(0), fin(), ack().win(1)] {
        lab.send(seg.seq(1).no_ts());
        lab.flow.nxt = 1;
    }
    lab.run_to(secs(1));
    lab.quiet();
    lab.assert_state(id, State::Established);
    assert_eq!((lab.info(id).unread, lab.info(id).snd_wnd), (0, 65535));
    lab.send(data(b"data"));
    assert_eq!(lab.read(id, 10), b"data");
    // A RST needs none (RFC 7323 5.2), and a SYN is challenged as ever.
    lab.run_to(secs(2));
    lab.drain();
    lab.send(rst().no_ts());
    lab.assert_state(id, State::Closed);
    // Nothing was agreed on: nothing lacks.
    let mut lab = Lab::with(strict);
    let id = lab.accepted(Peer::default());
    lab.send(data(b"data"));
    assert_eq!(lab.read(id, 10), b"data");
}
