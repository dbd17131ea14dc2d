//! Both ends open at the same moment (RFC 9293 3.5, figure 7).

use std::net::SocketAddr;
use std::time::Duration;

use ropeway_core::{Readiness, SocketOptions, State};

use crate::common::*;

/// Both ends call connect at the same moment, each for the other's port; then each sends so many bytes, reads as many,
/// and closes.
fn both_open(pair: &mut Pair, bytes: usize) {
    let ends: [SocketAddr; 2] = ["10.0.0.1:5000".parse().unwrap(), "10.0.0.2:6000".parse().unwrap()];
    let ts = pair.ts();
    for side in 0..2 {
        let options = SocketOptions::default();
        let id = pair.stacks[side].connect(ts, Some(ends[side]), ends[1 - side], options).unwrap();
        let script = [Op::Send(bytes), Op::Recv(bytes), Op::ShutdownWrite, Op::RecvEof, Op::Close];
        pair.add(side, Some(id), None, &script);
    }
}

// RFC 9293 3.5 figure 7, MUST-10
#[test]
fn simultaneous_open_as_the_figure_draws_it() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn().seq(0));
    lab.send(syn().mss(1460));
    lab.expect(syn_ack().seq(0).ack(1));
    lab.assert_state(id, State::SynReceived);
    lab.send(syn_ack().seq(0).ack(1).mss(1460));
    lab.assert_state(id, State::Established);
    assert!(lab.told(id, Readiness::WRITABLE));
    lab.drain();
    lab.write(id, b"hello");
    lab.expect(data(b"hello").seq(1).ack(1));
    lab.send(data(b"you").ack(6));
    assert_eq!(lab.read(id, 10), b"you");
}

// RFC 9293 3.10.7.4: in SYN-RECEIVED any acceptable ACK opens the connection.
#[test]
fn simultaneous_open_ends_with_a_bare_ack_too() {
    let (mut lab, id) = in_state(State::SynReceived);
    lab.send(ack());
    lab.assert_state(id, State::Established);
    lab.quiet();
}

// RFC 7323 2.2-3
// RFC 7323 2.2: the window of a segment with SYN is never scaled, not even in a simultaneous open.
#[test]
fn the_window_of_a_simultaneous_syn_ack_is_not_scaled() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn().seq(0));
    lab.send(syn().mss(1460).ws(7).win(1000));
    lab.expect(syn_ack().seq(0).ack(1));
    lab.send(syn_ack().seq(0).ack(1).mss(1460).ws(7).win(1000));
    lab.assert_state(id, State::Established);
    assert_eq!(lab.info(id).snd_wnd, 1000);
}

// RFC 9293 3.10.7.4, RFC 6298 5.1: SYN-RECEIVED retransmits its SYN-ACK.
#[test]
fn simultaneous_open_survives_a_lost_syn_ack() {
    let (mut lab, id) = in_state(State::SynReceived);
    lab.at(1000);
    lab.expect(syn_ack().seq(0).ack(1));
    // The peer's SYN once more: it did not get ours.
    lab.send(syn().mss(1460));
    lab.expect(ack().seq(1).ack(1));
    lab.send(syn_ack().seq(0).ack(1).mss(1460));
    lab.assert_state(id, State::Established);
}

#[test]
fn two_stacks_open_at_the_same_moment() {
    for delays in [(500, 500), (500, 900), (1, 100_000)] {
        let mut pair = Pair::new();
        pair.delay = [Duration::from_micros(delays.0), Duration::from_micros(delays.1)];
        both_open(&mut pair, 3000);
        pair.live(secs(10));
    }
}

/// Ways to lose or to delay any packet of a simultaneous open end well too.
#[test]
fn two_stacks_open_at_the_same_moment_and_any_packet_is_lost() {
    for lost in 0..14 {
        let mut pair = Pair::new()
            .fate(move |crossing| if crossing.number == lost { Fate::Drop } else { Fate::Deliver });
        both_open(&mut pair, 1000);
        pair.live(secs(60));
    }
}

/// Both open, both send, both close, and two packets are lost, or one comes late.
#[test]
fn two_stacks_open_and_close_at_the_same_moment_over_a_bad_network() {
    let run = |fate: Box<dyn FnMut(&pair::Crossing<'_>) -> Fate>| {
        let mut pair = Pair::new();
        pair.set_fate(fate);
        pair.delay = [Duration::from_millis(10); 2];
        both_open(&mut pair, 2000);
        pair.live(secs(60));
    };
    for first in 0..16 {
        for second in first + 1..18 {
            run(Box::new(move |crossing| {
                if [first, second].contains(&crossing.number) { Fate::Drop } else { Fate::Deliver }
            }));
        }
        for late in [15, 300, 3000] {
            run(Box::new(move |crossing| {
                if crossing.number == first { Fate::Late(Duration::from_millis(late)) } else { Fate::Deliver }
            }));
        }
    }
}

/// Both SYNs have crossed: SYN-RECEIVED of an active open, with window scaling.
fn crossed() -> (Lab, ropeway_core::ConnectionId) {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn().seq(0));
    lab.send(syn().mss(1460).ws(7).win(2000));
    lab.expect(syn_ack().seq(0).ack(1));
    lab.assert_state(id, State::SynReceived);
    (lab, id)
}

// RFC 7323 2.2-3
#[test]
fn the_window_of_the_peers_syn_ack_is_not_scaled() {
    let (mut lab, id) = crossed();
    lab.send(syn_ack().mss(1460).ws(7).win(1000).ack(1));
    lab.assert_state(id, State::Established);
    assert_eq!(lab.info(id).snd_wnd, 1000);
    // Nor is it in SYN-RECEIVED, but in what comes after it.
    let (mut lab, id) = crossed();
    lab.send(ack().win(1000).ack(1));
    assert_eq!(lab.info(id).snd_wnd, 128_000);
}

// RFC 9293 3.5, figure 8: what stands in for the peer's SYN-ACK repeats its SYN exactly.
#[test]
fn only_the_peers_own_syn_ack_ends_a_simultaneous_open() {
    for stray in [syn_ack().seq(100).ack(1), ack().seq(0).ack(1), syn_ack().seq(0).ack(100)] {
        let (mut lab, id) = crossed();
        lab.send(stray);
        lab.drain();
        lab.assert_state(id, State::SynReceived);
    }
}

/// An active open that was crossed by this SYN; the SYN-ACK acknowledges nothing but the SYN.
fn crossed_by(syn: Seg, change: impl FnOnce(&mut SocketOptions)) -> (Lab, ropeway_core::ConnectionId) {
    let mut lab = Lab::new();
    let id = lab.connect_with(change).unwrap();
    lab.drain();
    lab.send(syn.mss(1460));
    lab.expect(syn_ack().seq(0).ack(1));
    lab.assert_state(id, State::SynReceived);
    (lab, id)
}

// RFC 9293 3.10.7.3 R-03: "queue them for processing after the ESTABLISHED state has been reached". Nobody reads them
// before: the SYN may be an old duplicate.
#[test]
fn text_in_the_syn_is_read_once_the_connection_is_open() {
    let ends: [fn() -> Seg; 4] = [
        || ack().seq(6),
        || syn_ack().seq(0).mss(1460),
        // With the text once more, and with more of it.
        || syn_ack().seq(0).mss(1460).bytes(b"early"),
        || data(b"early").seq(1),
    ];
    for end in ends {
        let (mut lab, id) = crossed_by(syn().bytes(b"early"), |_| {});
        assert!(lab.stack.recv(lab.ts(), id, 10).is_err() && !lab.told(id, Readiness::READABLE));
        assert_eq!(lab.info(id).unread, 0);
        lab.send(end().ack(1));
        lab.assert_state(id, State::Established);
        lab.expect(ack().seq(1).ack(6));
        assert!(lab.told(id, Readiness::READABLE | Readiness::WRITABLE));
        assert_eq!(lab.read(id, 100), b"early");
        lab.send(data(b" and late").seq(6));
        assert_eq!(lab.read(id, 100), b" and late");
    }
    // More than there was in the SYN, and what lies beyond it.
    for more in [data(b"early bird").seq(1), data(b" bird").seq(6)] {
        let (mut lab, id) = crossed_by(syn().bytes(b"early"), |_| {});
        lab.send(more.ack(1));
        lab.drain();
        assert_eq!(lab.read(id, 100), b"early bird");
    }
}

#[test]
fn a_fin_in_the_syn_ends_the_stream_once_the_connection_is_open() {
    for (text, end) in [(&b""[..], 2), (b"early", 7)] {
        for third in [ack().seq(end), syn_ack().seq(0).mss(1460), syn_ack().fin().seq(0).bytes(text)] {
            let (mut lab, id) = crossed_by(syn().fin().bytes(text), |_| {});
            lab.send(third.ack(1));
            lab.expect(ack().seq(1).ack(end));
            lab.assert_state(id, State::CloseWait);
            assert_eq!(lab.read(id, 100), text);
            assert!(lab.read(id, 100).is_empty(), "the end");
            lab.close(id);
            lab.expect(fin().seq(1).ack(end));
            lab.send(ack().seq(end).ack(2));
            lab.assert_empty();
        }
        // The program had closed before: both FINs have crossed.
        let (mut lab, id) = crossed_by(syn().fin(), |_| {});
        lab.shutdown_write(id);
        lab.send(ack().seq(2).ack(1));
        lab.assert_state(id, State::Closing);
        lab.expect(fin().seq(1).ack(2));
        lab.send(ack().seq(2).ack(2));
        lab.assert_state(id, State::TimeWait);
    }
}

#[test]
fn urgent_text_in_the_syn_is_urgent() {
    let (mut lab, id) = crossed_by(syn().bytes(b"early").urg(6), |_| {});
    assert_eq!(lab.stack.urgent_remaining(id), None);
    lab.send(ack().seq(6).ack(1));
    assert_eq!(lab.stack.urgent_remaining(id), Some(5));
}

// RFC 9293 3.4: what our SYN had no room for is not taken.
#[test]
fn text_in_the_syn_beyond_the_window_is_cut_off() {
    let (mut lab, id) = crossed_by(syn().fin().bytes(pattern(0, 1400)), |options| options.recv_buffer = 1000);
    lab.send(ack().seq(1).ack(1));
    lab.expect(ack().seq(1).ack(1001).win(0));
    assert_eq!(lab.read(id, 2000), pattern(0, 1000));
    lab.assert_state(id, State::Established);
}

#[test]
fn text_in_the_syn_that_nobody_will_read_is_reset() {
    let (mut lab, id) = crossed_by(syn().bytes(b"early"), |_| {});
    lab.close(id);
    lab.send(ack().seq(6).ack(1));
    assert_eq!(lab.next_tcp().tcp.flags, rst().flags);
    lab.assert_empty();
    // Who has shut down reading only gets it acknowledged.
    let (mut lab, id) = crossed_by(syn().bytes(b"early"), |_| {});
    lab.stack.shutdown(lab.ts(), id, std::net::Shutdown::Read).unwrap();
    lab.send(ack().seq(6).ack(1));
    lab.expect(ack().seq(1).ack(6));
    assert_eq!(lab.info(id).unread, 0);
    // A reset ends it as if there had been none.
    let (mut lab, id) = crossed_by(syn().bytes(b"early"), |_| {});
    lab.send(rst().seq(1));
    lab.assert_state(id, State::Closed);
    assert_eq!(lab.stack.take_error(id), Some(ropeway_core::ConnectionError::Refused));
    assert!(lab.stack.recv(lab.ts(), id, 10).unwrap().is_empty());
}

/// The peer's SYN once more, with its text: the first one's is kept, and the answer still acknowledges only the SYN.
#[test]
fn a_repeated_syn_with_text_changes_nothing() {
    let (mut lab, id) = crossed_by(syn().bytes(b"early"), |_| {});
    lab.send(syn().bytes(b"EARLY"));
    lab.expect(ack().seq(1).ack(1));
    lab.at(1000);
    lab.expect(syn_ack().seq(0).ack(1));
    lab.send(ack().seq(6).ack(1));
    lab.expect(ack().seq(1).ack(6));
    assert_eq!(lab.read(id, 100), b"early");
}
