//! Every state and every way between two of them (RFC 9293 3.3.2, 3.5, 3.6, 3.10).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod common;

use std::net::Shutdown;

use common::*;
use ropeway_core::packet::SeqNum;
use ropeway_core::{
    ConnectionError, ConnectionId, Readiness, RecvError, SendError, ShutdownError, SocketOptions, State,
};

/// A connection in a state, reached by the shortest way. The application still holds it.
fn in_state(state: State) -> (Lab, ConnectionId) {
    let mut lab = Lab::new();
    let id = match state {
        State::SynSent => {
            let id = lab.connect();
            lab.expect(syn().seq(0));
            id
        }
        State::SynReceived => {
            let id = lab.connect();
            lab.expect(syn().seq(0));
            lab.send(syn().mss(1460));
            lab.expect(syn_ack().seq(0).ack(1));
            id
        }
        _ => lab.accepted(Peer::default()),
    };
    match state {
        State::SynSent | State::SynReceived | State::Established => {}
        State::FinWait1 | State::FinWait2 | State::Closing | State::TimeWait => {
            lab.shutdown_write(id);
            lab.expect(fin().seq(1).ack(1));
            match state {
                State::FinWait1 => {}
                State::Closing => {
                    lab.send(fin().ack(1));
                    lab.expect(ack().seq(2).ack(2));
                }
                _ => lab.send(ack().ack(2)),
            }
            if state == State::TimeWait {
                lab.send(fin().ack(2));
                lab.expect(ack().seq(2).ack(2));
            }
        }
        State::CloseWait | State::LastAck => {
            lab.send(fin());
            lab.expect(ack().seq(1).ack(2));
            if state == State::LastAck {
                lab.shutdown_write(id);
                lab.expect(fin().seq(1).ack(2));
            }
        }
        State::Closed | State::Listen => panic!("no connection is in {state}"),
    }
    lab.assert_state(id, state);
    lab.events.clear();
    (lab, id)
}

/// The states of a connection in which both ends agree on sequence numbers, TIME-WAIT excepted.
const SYNCHRONIZED: [State; 6] =
    [State::Established, State::FinWait1, State::FinWait2, State::CloseWait, State::Closing, State::LastAck];

// ---- opening

// RFC 9293 3.10.7.4 R-10
#[test]
fn passive_open_then_the_peer_closes_first() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer::default());
    lab.assert_state(id, State::Established);
    lab.send(fin());
    lab.expect(ack().seq(1).ack(2));
    lab.assert_state(id, State::CloseWait);
    assert!(lab.told(id, Readiness::READABLE | Readiness::READ_CLOSED));
    assert!(lab.read(id, 10).is_empty());
    lab.close(id);
    lab.expect(fin().seq(1).ack(2));
    lab.send(ack().ack(2));
    lab.quiet();
    lab.assert_empty();
}

// RFC 9293 3.10.7.3 R-03
#[test]
fn active_open_tells_of_its_success() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn().seq(0).mss(1460));
    assert!(!lab.stack.readiness(id).contains(Readiness::WRITABLE));
    lab.send(syn_ack().mss(1460));
    lab.expect(ack().seq(1).ack(1));
    assert!(lab.told(id, Readiness::WRITABLE));
    assert!(lab.stack.is_connected(id));
    assert_eq!(lab.stack.take_error(id), None);
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
        pair.delay = [std::time::Duration::from_micros(delays.0), std::time::Duration::from_micros(delays.1)];
        let ends: [std::net::SocketAddr; 2] =
            ["10.0.0.1:5000".parse().unwrap(), "10.0.0.2:6000".parse().unwrap()];
        let ts = pair.ts();
        for side in 0..2 {
            let options = SocketOptions::default();
            let id = pair.stacks[side].connect(ts, Some(ends[side]), ends[1 - side], options).unwrap();
            let script = [Op::Send(3000), Op::Recv(3000), Op::ShutdownWrite, Op::RecvEof, Op::Close];
            pair.add(side, Some(id), None, &script);
        }
        pair.live(secs(10));
    }
}

/// Ways to lose or to delay any packet of a simultaneous open end well too.
#[test]
fn two_stacks_open_at_the_same_moment_and_any_packet_is_lost() {
    for lost in 0..14 {
        let mut pair = Pair::new()
            .fate(move |crossing| if crossing.number == lost { Fate::Drop } else { Fate::Deliver });
        let ends: [std::net::SocketAddr; 2] =
            ["10.0.0.1:5000".parse().unwrap(), "10.0.0.2:6000".parse().unwrap()];
        let ts = pair.ts();
        for side in 0..2 {
            let options = SocketOptions::default();
            let id = pair.stacks[side].connect(ts, Some(ends[side]), ends[1 - side], options).unwrap();
            let script = [Op::Send(1000), Op::Recv(1000), Op::ShutdownWrite, Op::RecvEof, Op::Close];
            pair.add(side, Some(id), None, &script);
        }
        pair.live(secs(60));
    }
}

/// Both open, both send, both close, and two packets are lost, or one comes late.
#[test]
fn two_stacks_open_and_close_at_the_same_moment_over_a_bad_network() {
    let ends: [std::net::SocketAddr; 2] =
        ["10.0.0.1:5000".parse().unwrap(), "10.0.0.2:6000".parse().unwrap()];
    let run = |fate: Box<dyn FnMut(&pair::Crossing<'_>) -> Fate>| {
        let mut pair = Pair::new();
        pair.set_fate(fate);
        pair.delay = [std::time::Duration::from_millis(10); 2];
        let ts = pair.ts();
        for side in 0..2 {
            let options = SocketOptions::default();
            let id = pair.stacks[side].connect(ts, Some(ends[side]), ends[1 - side], options).unwrap();
            let script = [Op::Send(2000), Op::Recv(2000), Op::ShutdownWrite, Op::RecvEof, Op::Close];
            pair.add(side, Some(id), None, &script);
        }
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
                if crossing.number == first {
                    Fate::Late(std::time::Duration::from_millis(late))
                } else {
                    Fate::Deliver
                }
            }));
        }
    }
}

// RFC 7323 4.3 (2): the echo is of the latest SYN, or the peer measures a round trip of seconds.
#[test]
fn the_syn_ack_echoes_the_timestamp_of_the_latest_syn() {
    let mut lab = Lab::new();
    lab.listen();
    lab.send(syn().mss(1460).ts(1000, 0));
    assert_eq!(lab.expect(syn_ack()).tcp.options.timestamps.unwrap().tsecr, 1000);
    lab.at(900);
    lab.send(syn().mss(1460).ts(1900, 0));
    assert_eq!(lab.expect(syn_ack()).tcp.options.timestamps.unwrap().tsecr, 1900);
    // An old duplicate does not put it back.
    lab.send(syn().mss(1460).ts(1000, 0));
    assert_eq!(lab.expect(syn_ack()).tcp.options.timestamps.unwrap().tsecr, 1900);
}

// RFC 9293 3.10.7.3: an acceptable SYN-ACK may bring data and even a FIN.
#[test]
fn data_and_fin_with_the_syn_ack() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn().seq(0));
    lab.send(syn_ack().mss(1460).bytes(b"early").fin());
    lab.expect(ack().seq(1).ack(7));
    lab.assert_state(id, State::CloseWait);
    assert_eq!(lab.read(id, 100), b"early");
    assert!(lab.read(id, 100).is_empty());
}

// RFC 9293 3.4: what lies beyond the window is not taken, not even with the SYN-ACK.
#[test]
fn data_with_the_syn_ack_beyond_the_window_is_cut_off() {
    let mut lab = Lab::new();
    let id = lab.connect_with(|options| options.recv_buffer = 10).unwrap();
    lab.expect(syn().seq(0).win(10));
    lab.send(syn_ack().mss(1460).bytes(pattern(0, 100)));
    lab.expect(ack().seq(1).ack(11).win(0));
    assert_eq!(lab.info(id).unread, 10);
    assert_eq!(lab.read(id, 1000), pattern(0, 10));
}

#[test]
fn data_on_the_handshakes_third_segment() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460));
    lab.expect(syn_ack().ack(1));
    lab.send(data(b"GET /"));
    let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    assert_eq!(lab.read(id, 100), b"GET /");
    lab.after(40);
    lab.expect(ack().seq(1).ack(6));
}

#[test]
fn the_third_segment_is_lost_and_data_completes_the_handshake() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460));
    lab.expect(syn_ack().ack(1));
    // The bare ACK is lost, and so is the first of two segments.
    lab.send(data(b"world").seq(6));
    lab.expect(ack().ack(1));
    let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    assert_eq!(lab.stack.recv(lab.ts(), id, 10).unwrap_err(), RecvError::WouldBlock);
    lab.send(data(b"hello").seq(1));
    lab.expect(ack().ack(11));
    assert_eq!(lab.read(id, 100), b"helloworld");
}

#[test]
fn a_fin_completes_the_handshake() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460));
    lab.expect(syn_ack().ack(1));
    lab.send(data(b"bye").fin());
    lab.expect(ack().ack(5));
    let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    lab.assert_state(id, State::CloseWait);
    assert_eq!(lab.read(id, 100), b"bye");
    assert!(lab.read(id, 100).is_empty());
}

#[test]
fn data_written_before_the_connection_is_open_goes_with_the_third_segment() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn().seq(0).len(0));
    lab.write(id, b"GET /");
    lab.quiet();
    lab.send(syn_ack().mss(1460));
    lab.expect(data(b"GET /").seq(1).ack(1));
    lab.quiet();
}

// RFC 9293 3.10.7.2: data in a SYN is either kept or sent again; never half of both.
#[test]
fn data_in_the_syn_reaches_the_application_once() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460).bytes(b"first"));
    let answer = lab.next_tcp();
    let acked = answer.tcp.ack.get();
    assert!(acked == 1 || acked == 6, "half of the data is acknowledged");
    lab.flow.nxt = 1;
    lab.send(data(b"first").seq(1).ack(1));
    let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    assert_eq!(lab.read(id, 100), b"first");
}

// RFC 9293 3.10.7.3 R-03
// RFC 9293 3.10.7.3 first: an ACK outside (ISS, SND.NXT] gets a RST, unless it is one.
#[test]
fn syn_sent_resets_an_ack_of_what_was_never_sent() {
    for bad in [0, 2, 1_000_000] {
        let (mut lab, id) = in_state(State::SynSent);
        lab.send(syn_ack().ack(bad));
        lab.expect(rst().seq(bad));
        lab.send(ack().seq(7).ack(bad));
        lab.expect(rst().seq(bad));
        lab.send(rst_ack().ack(bad));
        lab.quiet();
        lab.assert_state(id, State::SynSent);
    }
}

// RFC 9293 3.10.7.3 R-03
// RFC 9293 3.10.7.3 second
#[test]
fn syn_sent_is_refused_only_by_a_reset_that_acknowledges_its_syn() {
    let (mut lab, id) = in_state(State::SynSent);
    lab.send(rst());
    lab.send(rst().seq(1000));
    lab.quiet();
    lab.assert_state(id, State::SynSent);
    lab.send(rst_ack().ack(1));
    lab.quiet();
    lab.assert_state(id, State::Closed);
    assert!(lab.told(id, Readiness::ERROR) || lab.told(id, Readiness::WRITABLE));
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::Refused));
    lab.close(id);
    lab.assert_empty();
}

// RFC 9293 3.10.7.3 R-03, 3.10.7.4 R-10
// RFC 9293 3.10.7.3 fifth
#[test]
fn syn_sent_ignores_what_has_neither_syn_nor_reset() {
    let (mut lab, id) = in_state(State::SynSent);
    lab.send(bare().seq(1).len(10));
    lab.send(data(b"x").ack(1));
    lab.send(fin().ack(1));
    lab.quiet();
    lab.assert_state(id, State::SynSent);
}

// ---- closing

// RFC 9293 3.10.7.4 R-10
#[test]
fn active_close_through_all_its_states() {
    let (mut lab, id) = in_state(State::Established);
    lab.shutdown_write(id);
    lab.expect(fin().seq(1).ack(1));
    lab.assert_state(id, State::FinWait1);
    lab.send(ack().ack(2));
    lab.assert_state(id, State::FinWait2);
    lab.send(fin().ack(2));
    lab.expect(ack().seq(2).ack(2));
    lab.assert_state(id, State::TimeWait);
    assert!(lab.read(id, 1).is_empty());
    lab.at(59_999);
    lab.assert_state(id, State::TimeWait);
    lab.at(60_000);
    lab.assert_state(id, State::Closed);
    lab.close(id);
    lab.assert_empty();
}

// RFC 9293 3.10.7.4 R-10
#[test]
fn fin_that_acknowledges_ours_leads_straight_to_time_wait() {
    let (mut lab, id) = in_state(State::FinWait1);
    lab.send(fin().ack(2));
    lab.expect(ack().seq(2).ack(2));
    lab.assert_state(id, State::TimeWait);
}

// RFC 9293 3.6 case 3, figure 13
#[test]
fn simultaneous_close() {
    let (mut lab, id) = in_state(State::Closing);
    lab.send(ack().ack(2));
    lab.quiet();
    lab.assert_state(id, State::TimeWait);
    lab.at(60_000);
    lab.assert_state(id, State::Closed);
}

fn closes_after(millis: u64) -> [Op; 6] {
    [Op::Send(10), Op::Recv(10), Op::Pause(millis), Op::ShutdownWrite, Op::RecvEof, Op::Close]
}

#[test]
fn two_stacks_close_at_the_same_moment() {
    let mut pair = Pair::new();
    pair.delay = [std::time::Duration::from_millis(50); 2];
    pair.converse(&closes_after(80), &closes_after(100));
    pair.run(secs(10));
    pair.run_to(secs(20));
    // Both were active closers.
    assert_eq!(pair.stacks.each_ref().map(|stack| stack.sizes().time_wait), [1, 1]);
    pair.settle();
    pair.assert_empty();
}

#[test]
fn two_stacks_close_at_the_same_moment_and_any_packet_is_lost() {
    for lost in 0..16 {
        let mut pair = Pair::new()
            .fate(move |crossing| if crossing.number == lost { Fate::Drop } else { Fate::Deliver });
        pair.delay = [std::time::Duration::from_millis(50); 2];
        pair.converse(&closes_after(80), &closes_after(100));
        pair.live(secs(60));
    }
}

// RFC 9293 3.6: "the user who CLOSEs may continue to RECEIVE"
#[test]
fn half_close_leaves_the_other_direction_open() {
    let (mut lab, id) = in_state(State::FinWait2);
    assert_eq!(lab.stack.send(lab.ts(), id, b"x", Default::default()), Err(SendError::BrokenPipe));
    for round in 0..5 {
        lab.send(data(pattern(round * 100, 100)));
        assert_eq!(lab.read(id, 1000), pattern(round * 100, 100));
        lab.after(40);
        lab.expect(ack().ack(101 + 100 * round as u32));
        lab.after(100_000);
    }
    lab.assert_state(id, State::FinWait2);
}

#[test]
fn the_peers_half_close_leaves_our_direction_open() {
    let (mut lab, id) = in_state(State::CloseWait);
    for round in 0..5u32 {
        lab.write(id, &pattern(round as usize * 100, 100));
        lab.expect(data(pattern(round as usize * 100, 100)).seq(1 + 100 * round).ack(2));
        lab.send(ack());
        lab.after(100_000);
    }
    lab.assert_state(id, State::CloseWait);
}

#[test]
fn data_that_was_written_before_close_goes_out_before_the_fin() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 1000, ..Peer::default() });
    lab.write(id, &pattern(0, 2500));
    lab.expect(data(pattern(0, 1000)).seq(1));
    lab.close(id);
    lab.quiet();
    lab.send(ack().ack(1001));
    lab.expect(data(pattern(1000, 1000)).seq(1001));
    lab.send(ack().ack(2001));
    lab.expect(data(pattern(2000, 500)).seq(2001).fin());
    lab.send(ack().ack(2502));
    lab.send(fin());
    lab.expect(ack().seq(2502).ack(2));
}

#[test]
fn fin_with_data_is_acknowledged_with_it_at_once() {
    let (mut lab, id) = in_state(State::Established);
    lab.send(data(b"last words").fin());
    lab.expect(ack().ack(12));
    lab.assert_state(id, State::CloseWait);
    assert_eq!(lab.read(id, 100), b"last words");
    assert!(lab.read(id, 100).is_empty());
    assert!(lab.read(id, 100).is_empty(), "the end of the stream stays");
}

#[test]
fn fin_that_is_lost_is_sent_again() {
    let (mut lab, id) = in_state(State::FinWait1);
    lab.at(200);
    lab.expect(fin().seq(1).ack(1));
    lab.at(600);
    lab.expect(fin().seq(1).ack(1));
    lab.send(ack().ack(2));
    lab.assert_state(id, State::FinWait2);
    lab.at(10_000);
}

// RFC 9293 3.10.7.4 R-10
#[test]
fn the_peers_fin_again_is_acknowledged_again() {
    for state in [State::CloseWait, State::LastAck, State::Closing, State::TimeWait] {
        let (mut lab, id) = in_state(state);
        lab.send(fin().seq(1));
        lab.expect(ack().ack(2));
        lab.assert_state(id, state);
    }
}

#[test]
fn fin_out_of_order_waits_for_the_gap() {
    for with_data in [false, true] {
        let (mut lab, id) = in_state(State::Established);
        let last = if with_data { data(b"56789").seq(6).fin() } else { fin().seq(6) };
        let end = if with_data { 12 } else { 7 };
        lab.send(last);
        lab.expect(ack().ack(1));
        lab.assert_state(id, State::Established);
        lab.send(data(b"01234").seq(1));
        lab.expect(ack().ack(end));
        lab.assert_state(id, State::CloseWait);
        let all = lab.read(id, 100);
        assert_eq!(all, if with_data { &b"0123456789"[..] } else { &b"01234"[..] });
        assert!(lab.read(id, 100).is_empty());
    }
}

// RFC 9293 3.10.7.4: an out-of-order FIN that comes again still wants an answer, as any segment does.
#[test]
fn fin_out_of_order_that_comes_again_is_answered_again() {
    let (mut lab, _) = in_state(State::Established);
    for _ in 0..3 {
        lab.send(fin().seq(6));
        lab.expect(ack().ack(1));
    }
}

#[test]
fn after_the_fin_nothing_is_taken_from_the_peer() {
    for state in [State::CloseWait, State::LastAck, State::Closing] {
        let (mut lab, id) = in_state(state);
        lab.send(data(b"more").seq(2).ack(1));
        assert_eq!(lab.info(id).unread, 0, "{state}");
        lab.drain();
        lab.assert_state(id, state);
    }
}

// RFC 9293 3.6.1 SHLD-3, MAY-1
#[test]
fn data_after_close_is_answered_with_a_reset() {
    for acked in [false, true] {
        let (mut lab, id) = in_state(State::Established);
        lab.close(id);
        lab.expect(fin().seq(1).ack(1));
        if acked {
            lab.send(ack().ack(2));
        }
        // The number is the one that the peer expects next, as it says.
        let expected = if acked { 2 } else { 1 };
        lab.send(data(b"too late").ack(expected));
        let reset = lab.next_tcp();
        assert!(reset.tcp.flags.contains(ropeway_core::packet::TcpFlags::RST));
        assert_eq!(reset.tcp.seq.get().wrapping_sub(lab.flow.iss), expected);
        lab.assert_empty();
    }
}

// RFC 9293 3.6.1 SHLD-3
#[test]
fn close_with_unread_data_resets() {
    let (mut lab, id) = in_state(State::Established);
    lab.send(data(b"unread"));
    lab.close(id);
    lab.expect(rst_ack().seq(1));
    lab.assert_empty();
}

#[test]
fn close_with_linger_zero_resets_and_discards() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 10, ..Peer::default() });
    lab.set(id, |options| options.linger = Some(std::time::Duration::ZERO));
    lab.write(id, &pattern(0, 1000));
    lab.expect(data(pattern(0, 10)));
    lab.close(id);
    lab.expect(rst_ack().seq(11));
    lab.assert_empty();
    lab.at(10_000);
}

/// What a close that lingers waits for: the acknowledgement of the FIN, and of all data before it.
#[test]
fn the_acknowledgement_of_our_fin_is_an_event() {
    let (mut lab, id) = in_state(State::Established);
    lab.write(id, b"last words");
    lab.expect(data(b"last words"));
    lab.shutdown_write(id);
    lab.expect(fin().seq(11));
    lab.send(ack().ack(11));
    assert!(!lab.told(id, Readiness::FIN_ACKED), "the FIN itself is still to be acknowledged");
    assert!(!lab.stack.readiness(id).contains(Readiness::FIN_ACKED));
    lab.send(ack().ack(12));
    lab.assert_state(id, State::FinWait2);
    assert!(lab.told(id, Readiness::FIN_ACKED));
    assert!(lab.stack.readiness(id).contains(Readiness::FIN_ACKED));
    lab.close(id);
    assert!(lab.stack.readiness(id).contains(Readiness::FIN_ACKED), "and so is that of one that is gone");
}

// RFC 9293 3.10.4
#[test]
fn close_in_listen_forgets_handshakes_and_resets_who_waits() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.handshake(Peer::default());
    lab.switch(4001);
    lab.send(syn());
    lab.expect(syn_ack());
    assert_eq!(lab.stack.sizes().half_open, 1);
    lab.stack.close_listener(lab.ts(), listener);
    lab.switch(4000);
    lab.collect();
    lab.expect(rst_ack().seq(1));
    lab.assert_empty();
    lab.switch(4001);
    lab.send(ack());
    lab.expect(rst().seq(1));
    lab.switch(4002);
    lab.send(syn());
    lab.expect(rst_ack().seq(0).ack(1));
    lab.at(100_000);
}

// RFC 9293 3.10.4 R-11
#[test]
fn close_in_syn_sent_forgets_all() {
    let (mut lab, id) = in_state(State::SynSent);
    lab.close(id);
    lab.quiet();
    lab.assert_empty();
    lab.send(syn_ack());
    lab.expect(rst().seq(1));
    lab.at(100_000);
}

// RFC 9293 3.10.4 R-11: "return 'error: closing' responses to any queued SENDs, or RECEIVEs"
#[test]
fn shutdown_in_syn_sent_tells_who_waits() {
    let (mut lab, id) = in_state(State::SynSent);
    lab.write(id, b"never sent");
    assert_eq!(lab.stack.recv(lab.ts(), id, 1).unwrap_err(), RecvError::WouldBlock);
    lab.shutdown_write(id);
    lab.quiet();
    lab.assert_state(id, State::Closed);
    assert!(lab.told(id, Readiness::READ_CLOSED | Readiness::WRITE_CLOSED));
    assert!(lab.read(id, 1).is_empty());
    assert_eq!(lab.stack.send(lab.ts(), id, b"x", Default::default()), Err(SendError::BrokenPipe));
    lab.send(syn_ack());
    lab.expect(rst().seq(1));
    lab.close(id);
    lab.assert_empty();
}

// RFC 9293 3.10.4: queued for processing after entering ESTABLISHED
#[test]
fn close_in_syn_received_sends_its_fin_once_open() {
    let (mut lab, id) = in_state(State::SynReceived);
    lab.shutdown_write(id);
    lab.drain();
    lab.send(ack());
    lab.expect(fin().seq(1).ack(1));
    lab.assert_state(id, State::FinWait1);
}

#[test]
fn close_twice_is_close_once() {
    for state in [State::FinWait1, State::FinWait2, State::Closing, State::LastAck] {
        let (mut lab, id) = in_state(state);
        assert_eq!(lab.stack.shutdown(lab.ts(), id, Shutdown::Write), Ok(()));
        lab.collect();
        lab.quiet();
        lab.assert_state(id, state);
    }
    let (mut lab, id) = in_state(State::TimeWait);
    assert_eq!(lab.stack.shutdown(lab.ts(), id, Shutdown::Write), Err(ShutdownError::NotConnected));
    lab.close(id);
    lab.quiet();
    assert_eq!(lab.stack.sizes().time_wait, 1);
    assert_eq!(lab.stack.sizes().connections, 0);
}

#[test]
fn an_orphan_finishes_by_itself_from_every_state() {
    for state in SYNCHRONIZED {
        let (mut lab, id) = in_state(state);
        lab.close(id);
        lab.drain();
        lab.send(ack());
        lab.drain();
        if !state.peer_has_closed() {
            lab.send(fin());
            lab.expect(ack().ack(2));
        }
        lab.at(61_000);
        lab.assert_empty();
    }
}

// RFC 9293 3.10.4 R-11
// RFC 9293 3.10.5: <SEQ=SND.NXT><CTL=RST>
#[test]
fn abort_sends_a_reset_while_the_peer_may_still_send() {
    for state in [State::SynReceived, State::Established, State::FinWait1, State::FinWait2, State::CloseWait]
    {
        let (mut lab, id) = in_state(state);
        let nxt = lab.flow.seen;
        lab.abort(id);
        lab.expect(rst_ack().seq(nxt));
        lab.assert_state(id, State::Closed);
        assert_eq!(lab.stack.take_error(id), Some(ConnectionError::Aborted), "{state}");
        lab.close(id);
        lab.assert_empty();
        lab.at(100_000);
    }
}

// RFC 9293 3.10.5: in CLOSING, LAST-ACK and TIME-WAIT: "respond with 'ok' and delete the TCB". Linux sends
// none there either (tcp_need_reset) unless data is unsent.
#[test]
fn abort_sends_nothing_when_both_have_closed() {
    for state in [State::Closing, State::LastAck, State::TimeWait] {
        let (mut lab, id) = in_state(state);
        lab.abort(id);
        lab.quiet();
    }
}

// RFC 9293 3.6.1 SHLD-3, and Linux's tcp_close: unread data resets, whoever closed first.
#[test]
fn close_with_unread_data_resets_although_both_have_closed() {
    for closing in [false, true] {
        let (mut lab, id) = in_state(if closing { State::FinWait1 } else { State::Established });
        lab.send(data(b"unread").ack(1).fin());
        lab.expect(ack().ack(8));
        if !closing {
            lab.shutdown_write(id);
            lab.expect(fin().seq(1));
        }
        lab.assert_state(id, if closing { State::Closing } else { State::LastAck });
        lab.close(id);
        lab.expect(rst_ack().seq(2));
        lab.assert_empty();
    }
}

// RFC 9293 3.10.4, 3.10.5: LAST-ACK begins when the FIN is sent. While data waits in front of it, the peer has
// to be told that it will never come. Linux: tcp_disconnect, "snd_nxt != write_seq".
#[test]
fn abort_with_unsent_data_resets_although_both_have_closed() {
    for closing in [false, true] {
        let mut lab = Lab::new();
        let id = lab.accepted(Peer { win: 10, ..Peer::default() });
        lab.write(id, &pattern(0, 1000));
        lab.expect(data(pattern(0, 10)));
        if closing {
            lab.shutdown_write(id);
            lab.send(fin().ack(11).win(0));
        } else {
            lab.send(fin().ack(11).win(0));
            lab.drain();
            lab.shutdown_write(id);
        }
        lab.drain();
        lab.assert_state(id, if closing { State::Closing } else { State::LastAck });
        lab.abort(id);
        lab.expect(rst_ack().seq(11));
    }
}

#[test]
fn abort_in_syn_sent_sends_nothing() {
    let (mut lab, id) = in_state(State::SynSent);
    lab.abort(id);
    lab.quiet();
    lab.assert_state(id, State::Closed);
    lab.close(id);
    lab.assert_empty();
    lab.at(100_000);
}

// ---- RST (RFC 9293 3.10.7.4 second, RFC 5961 3)

// RFC 9293 3.10.7.4 R-05
#[test]
fn reset_at_the_very_next_number_ends_the_connection() {
    for state in SYNCHRONIZED {
        for with_data in [false, true] {
            let (mut lab, id) = in_state(state);
            // SHLD-2: a RST may carry data.
            lab.send(if with_data { rst().bytes(b"go away") } else { rst() });
            lab.quiet();
            lab.assert_state(id, State::Closed);
            lab.close(id);
            lab.assert_empty();
            lab.at(100_000);
        }
    }
}

// MUST-12
#[test]
fn reset_is_told_apart_from_a_normal_close() {
    let (mut lab, id) = in_state(State::Established);
    lab.send(data(b"half a"));
    lab.send(rst());
    assert_eq!(lab.read(id, 100), b"half a");
    assert_eq!(lab.stack.recv(lab.ts(), id, 10).unwrap_err(), RecvError::Failed(ConnectionError::Reset));
    assert_eq!(lab.stack.recv(lab.ts(), id, 10).unwrap().len(), 0);
    assert_eq!(lab.stack.send(lab.ts(), id, b"x", Default::default()), Err(SendError::BrokenPipe));
}

// RFC 9293 3.10.7.4 R-05
#[test]
fn reset_elsewhere_in_the_window_is_challenged() {
    for state in SYNCHRONIZED {
        for offset in [1, 1000, 65534] {
            let (mut lab, id) = in_state(state);
            let nxt = lab.flow.nxt;
            if nxt == 2 && offset > 60_000 {
                continue;
            }
            lab.send(rst().seq(nxt + offset));
            lab.expect(ack().seq(lab.flow.seen).ack(nxt));
            lab.assert_state(id, state);
        }
    }
}

// RFC 9293 3.10.7.4 R-05, RFC 5961 3.2-1
#[test]
fn reset_outside_the_window_is_dropped_silently() {
    for state in SYNCHRONIZED {
        for offset in [u32::MAX, 0x8000_0000, 600_000] {
            let (mut lab, id) = in_state(state);
            lab.send(rst().seq(lab.flow.nxt.wrapping_add(offset)));
            lab.quiet();
            lab.assert_state(id, state);
        }
    }
}

// RFC 9293 3.5 MUST-11, 3.10.7.4 R-07
// RFC 9293 3.10.7.4: "return to LISTEN ... the user need not be informed"
#[test]
fn reset_in_a_passive_syn_received_leads_back_to_listen() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn());
    lab.expect(syn_ack());
    lab.send(rst().seq(5));
    lab.expect(ack().seq(1).ack(1));
    assert_eq!(lab.stack.sizes().half_open, 1);
    lab.send(rst().seq(700_000));
    lab.quiet();
    assert_eq!(lab.stack.sizes().half_open, 1);
    lab.send(rst().seq(1));
    lab.quiet();
    lab.assert_empty();
    assert!(!lab.stack.is_acceptable(listener));
    lab.at(100_000);
    lab.flow.nxt = 0;
    lab.handshake(Peer::default());
    assert!(lab.stack.is_acceptable(listener));
}

// MUST-11; RFC 9293 3.10.7.4 R-07
#[test]
fn reset_in_an_active_syn_received_refuses() {
    let (mut lab, id) = in_state(State::SynReceived);
    lab.send(rst().seq(1));
    lab.quiet();
    lab.assert_state(id, State::Closed);
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::Refused));
}

#[test]
fn reset_of_a_connection_that_waits_in_the_accept_queue() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.handshake(Peer::default());
    lab.send(data(b"hi"));
    lab.send(rst());
    // As Linux does: it is accepted all the same, and reading tells.
    let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    assert_eq!(lab.read(id, 10), b"hi");
    assert_eq!(lab.stack.recv(lab.ts(), id, 10).unwrap_err(), RecvError::Failed(ConnectionError::Reset));
    lab.close(id);
    lab.assert_empty();
}

// ---- SYN in synchronized states (RFC 9293 3.10.7.4 fourth, RFC 5961 4)

// RFC 9293 3.10.7.4 R-06
#[test]
fn syn_in_a_synchronized_state_is_challenged_wherever_it_lies() {
    for state in SYNCHRONIZED {
        for seq in [0, 1, 5, 1_000_000, u32::MAX] {
            for with_ack in [false, true] {
                let (mut lab, id) = in_state(state);
                let (nxt, seen) = (lab.flow.nxt, lab.flow.seen);
                lab.send(if with_ack { syn_ack().seq(seq) } else { syn().seq(seq) });
                lab.expect(ack().seq(seen).ack(nxt));
                lab.assert_state(id, state);
            }
        }
    }
}

// RFC 9293 3.10.7.4 fourth: a passive SYN-RECEIVED goes back to LISTEN, or the SYN is answered again.
#[test]
fn the_syn_again_is_answered_with_the_same_syn_ack() {
    let mut lab = Lab::new();
    lab.listen();
    lab.send(syn());
    let first = lab.expect(syn_ack());
    lab.at(500);
    lab.send(syn());
    let second = lab.expect(syn_ack());
    assert_eq!(first.tcp.seq, second.tcp.seq);
    assert_eq!(lab.stack.sizes().half_open, 1);
    lab.send(ack());
    assert_eq!(lab.stack.sizes().half_open, 0);
    assert_eq!(lab.stack.sizes().connections, 1);
}

// RFC 9293 3.10.7.4 R-07
#[test]
fn a_peer_that_begins_anew_gets_through() {
    for seq in [1000, 500_000_000] {
        let mut lab = Lab::new();
        let listener = lab.listen();
        lab.send(syn());
        lab.expect(syn_ack());
        // The peer has restarted: a new SYN from the same port.
        let mut answered = false;
        for _ in 0..3 {
            lab.flow.isn = seq;
            lab.flow.nxt = 0;
            lab.input(syn());
            lab.collect();
            if let Some(sent) = lab.out.pop_front() {
                let tcp = sent.tcp.unwrap().tcp;
                answered = tcp.flags.contains(ropeway_core::packet::TcpFlags::SYN)
                    && tcp.ack == SeqNum::new(seq + 1);
                if answered {
                    break;
                }
                // What a peer in SYN-SENT answers to an ACK that it does not understand.
                lab.flow.isn = 0;
                lab.input(rst().seq(tcp.ack.get()));
                lab.collect();
            }
        }
        assert!(answered, "isn {seq}: its SYN gets no SYN-ACK");
        lab.flow.isn = seq;
        lab.flow.nxt = 1;
        lab.flow.seen = 1;
        lab.send(ack());
        assert!(lab.stack.is_acceptable(listener), "isn {seq}");
    }
}

// ---- ACK (RFC 9293 3.10.7.4 fifth, RFC 5961 5)

// RFC 9293 3.10.7.4 R-08
#[test]
fn ack_of_what_was_never_sent_is_answered_and_dropped() {
    for state in SYNCHRONIZED {
        let (mut lab, id) = in_state(state);
        let (seen, nxt) = (lab.flow.seen, lab.flow.nxt);
        lab.send(data(b"evil").ack(seen + 1).seq(nxt));
        lab.expect(ack().seq(seen).ack(nxt));
        lab.assert_state(id, state);
        assert_eq!(lab.info(id).unread, 0, "{state}");
    }
}

// RFC 9293 3.10.7.4 R-08
#[test]
fn old_acks_change_nothing() {
    let (mut lab, id) = in_state(State::Established);
    lab.write(id, &pattern(0, 3000));
    lab.drain();
    lab.send(ack().ack(3001));
    let before = lab.info(id);
    for old in [1, 1461, 3000] {
        lab.send(ack().ack(old).win(1));
    }
    // Not even one that comes with something new.
    lab.send(some(100));
    lab.send(some(10).ack(1).win(1));
    lab.quiet();
    let after = lab.info(id);
    assert_eq!((after.unacked, after.snd_wnd, after.cwnd), (before.unacked, before.snd_wnd, before.cwnd));
}

// RFC 5961 5.2, MAY-12
#[test]
fn ack_older_than_the_largest_window_is_challenged_and_its_data_dropped() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 1000, ..Peer::default() });
    for round in 0..3u32 {
        lab.write(id, &pattern(0, 1000));
        lab.drain();
        lab.send(ack().ack(1 + 1000 * (round + 1)));
    }
    lab.send(data(b"evil").seq(1).ack(2000));
    lab.expect(ack().ack(1));
    assert_eq!(lab.info(id).unread, 0);
    lab.send(data(b"good").seq(1).ack(2001));
    assert_eq!(lab.info(id).unread, 4);
}

// RFC 9293 3.10.7.4 R-08
// RFC 9293 3.10.7.4: "if the ACK bit is off, drop the segment and return"
#[test]
fn segments_without_ack_are_dropped() {
    for state in SYNCHRONIZED {
        let (mut lab, id) = in_state(state);
        lab.send(bare().len(5));
        lab.send(fin().without_ack().seq(lab.flow.nxt - 5));
        lab.quiet();
        lab.assert_state(id, state);
        assert_eq!(lab.info(id).unread, 0);
    }
}

// RFC 9293 3.10.7.4 R-04
#[test]
fn segments_outside_the_window_are_answered_and_dropped() {
    for (seq, len) in [(600_000, 10), (0x8000_0000, 10), (u32::MAX - 20, 10), (600_000, 0)] {
        let (mut lab, id) = in_state(State::Established);
        lab.send(some(len).seq(seq));
        lab.expect(ack().seq(1).ack(1));
        assert_eq!(lab.info(id).unread, 0);
    }
}

#[test]
fn segments_that_reach_into_the_window_are_trimmed() {
    let (mut lab, id) = in_state(State::Established);
    lab.send(data(pattern(0, 100)));
    lab.after(40);
    lab.expect(ack().ack(101));
    // The second half is new.
    lab.send(data(pattern(50, 100)).seq(51));
    lab.after(40);
    lab.expect(ack().ack(151));
    assert_eq!(lab.read(id, 1000), pattern(0, 150));
}

// ---- CLOSED (RFC 9293 3.10.7.1) and LISTEN (3.10.7.2)

// RFC 9293 3.10.7.1 R-01
#[test]
fn closed_resets_everything_but_resets() {
    let mut lab = Lab::new();
    lab.send(syn().seq(100));
    lab.expect(rst_ack().seq(0).ack(101));
    lab.send(bare().seq(100).len(5));
    lab.expect(rst_ack().seq(0).ack(105));
    lab.send(fin().without_ack().seq(100));
    lab.expect(rst_ack().seq(0).ack(101));
    lab.send(some(7).seq(100).ack(500));
    lab.expect(rst().seq(500));
    lab.send(syn_ack().seq(100).ack(500));
    lab.expect(rst().seq(500));
    lab.send(rst().seq(100));
    lab.send(rst_ack().seq(100).ack(500));
    lab.quiet();
}

// RFC 9293 3.10.7.2 R-02, 3.10.7.4 R-10
#[test]
fn listen_answers_only_syns() {
    let mut lab = Lab::new();
    lab.listen();
    lab.send(rst().seq(1));
    lab.send(syn().rst());
    lab.quiet();
    lab.send(ack().seq(100).ack(500));
    lab.expect(rst().seq(500));
    lab.send(syn_ack().seq(100).ack(500));
    lab.expect(rst().seq(500));
    lab.send(bare().seq(100).len(10));
    lab.send(fin().without_ack().seq(100));
    lab.quiet();
    lab.assert_empty();
}

// RFC 9293 3.10.7.4 fifth, for SYN-RECEIVED
#[test]
fn half_open_resets_a_wrong_ack_and_stays() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn());
    lab.expect(syn_ack());
    for wrong in [0, 2, 1_000_000] {
        lab.send(ack().ack(wrong));
        lab.expect(rst().seq(wrong));
        assert_eq!(lab.stack.sizes().half_open, 1);
    }
    // Old or out of window: an ACK.
    lab.send(ack().seq(700_000).ack(1));
    lab.expect(ack().seq(1).ack(1));
    lab.send(ack().seq(1).ack(1));
    assert!(lab.stack.is_acceptable(listener));
}

// RFC 7323 3.2-3
// RFC 7323 3.2: a segment that lacks the agreed timestamps is dropped. It alone: not what it is for.
#[test]
fn a_third_segment_without_timestamps_does_not_end_the_handshake() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.flow.ts = Some(1000);
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.send(ack().no_ts());
    lab.drain();
    lab.send(ack());
    lab.quiet();
    assert!(lab.stack.is_acceptable(listener));
}

// ---- TIME-WAIT

// RFC 9293 3.10.8 R-12
// MUST-13: exactly, and for all three lengths
#[test]
fn time_wait_lasts_exactly_two_msl() {
    for seconds in [30, 60, 120] {
        let mut lab = Lab::with(|config| config.time_wait = std::time::Duration::from_secs(seconds));
        let id = lab.accepted(Peer::default());
        lab.at(777);
        lab.close(id);
        lab.expect(fin().seq(1));
        lab.send(ack().ack(2));
        lab.at(1234);
        lab.send(fin());
        lab.expect(ack().ack(2));
        assert_eq!(lab.stack.sizes().time_wait, 1);
        assert_eq!(lab.next_deadline(), Some(ms(1234) + secs(seconds)));
        lab.at_us(ms(1234) + secs(seconds) - 1);
        assert_eq!(lab.stack.sizes().time_wait, 1, "2 MSL - 1 us");
        lab.at_us(ms(1234) + secs(seconds));
        assert_eq!(lab.stack.sizes().time_wait, 0, "2 MSL");
        assert_eq!(lab.next_deadline(), None);
        lab.assert_empty();
    }
}

// RFC 9293 3.10.7.4 R-10
#[test]
fn the_peers_fin_again_restarts_time_wait() {
    let (mut lab, id) = in_state(State::TimeWait);
    lab.close(id);
    for round in 1..=3 {
        lab.at(round * 50_000);
        lab.send(fin().seq(1));
        lab.expect(ack().seq(2).ack(2));
    }
    lab.at_us(ms(210_000) - 1);
    assert_eq!(lab.stack.sizes().time_wait, 1);
    lab.at(210_000);
    lab.assert_empty();
}

// RFC 9293 3.10.7.4 eighth: "restart the 2 MSL time-wait timeout", however often it was before.
#[test]
fn a_fin_that_comes_very_often_restarts_time_wait_each_time() {
    let (mut lab, id) = in_state(State::TimeWait);
    lab.close(id);
    for n in 1..=20 {
        lab.at(n * 100);
        lab.send(fin().seq(1));
        lab.expect(ack().seq(2).ack(2));
    }
    lab.at(30_000);
    lab.send(fin().seq(1));
    lab.expect(ack().seq(2).ack(2));
    lab.at_us(ms(90_000) - 1);
    assert_eq!(lab.stack.sizes().time_wait, 1);
    lab.at(90_000);
    lab.assert_empty();
}

/// Only a bare acknowledgement in order says nothing that calls for an answer.
#[test]
fn time_wait_acknowledges_whatever_is_out_of_order_or_brings_data() {
    let answered =
        [ack().seq(1), ack().seq(3), data(b"x").seq(2), data(b"x").seq(1), fin().seq(7), data(b"old").seq(0)];
    for seg in answered {
        let (mut lab, _) = in_state(State::TimeWait);
        lab.send(seg.ack(2));
        lab.expect(ack().seq(2).ack(2));
    }
    let (mut lab, _) = in_state(State::TimeWait);
    lab.send(ack().seq(2).ack(2));
    lab.quiet();
}

#[test]
fn other_segments_do_not_restart_time_wait() {
    let (mut lab, id) = in_state(State::TimeWait);
    lab.close(id);
    lab.at(30_000);
    for seg in
        [some(10).seq(1), some(10).seq(2), ack().seq(1), syn().seq(0), fin().seq(5), some(10).seq(1_000_000)]
    {
        lab.input(seg);
        for sent in lab.drain() {
            let tcp = sent.tcp.unwrap().tcp;
            assert_eq!(tcp.flags, ropeway_core::packet::TcpFlags::ACK);
            assert_eq!(tcp.ack.get(), 2);
        }
    }
    lab.at(60_000);
    lab.assert_empty();
}

// RFC 1337
#[test]
fn a_reset_does_not_cut_time_wait_short() {
    let (mut lab, id) = in_state(State::TimeWait);
    lab.close(id);
    lab.send(rst().seq(2));
    lab.send(rst_ack().seq(2).ack(2));
    lab.send(rst().seq(3));
    lab.quiet();
    lab.at_us(ms(60_000) - 1);
    assert_eq!(lab.stack.sizes().time_wait, 1);
}

// MAY-2
#[test]
fn a_newer_syn_takes_a_time_wait_tuple_over() {
    let (mut lab, id) = in_state(State::TimeWait);
    lab.close(id);
    let old_end = lab.flow.iss.wrapping_add(lab.flow.seen);
    lab.after(1);
    lab.send(syn().seq(3));
    let answer = lab.expect(syn_ack().ack(4));
    assert!(answer.tcp.seq.after(SeqNum::new(old_end)), "the new ISN is above all that was sent");
    assert_eq!(lab.stack.sizes().time_wait, 0);
    lab.send(ack().seq(4));
    assert_eq!(lab.stack.sizes().connections, 1);
    assert_eq!(lab.stack.counters().time_wait_reused, 1);
}

// MAY-2: "an old duplicate SYN leads back to TIME-WAIT"
#[test]
fn an_older_syn_leaves_time_wait_alone() {
    for seq in [0, 1, 2, 0x8000_0010] {
        let (mut lab, id) = in_state(State::TimeWait);
        lab.close(id);
        lab.send(syn().seq(seq));
        lab.expect(ack().seq(2).ack(2));
        assert_eq!(lab.stack.sizes().time_wait, 1);
    }
}

// RFC 6191 2; RFC 9293 3.6.1 SHLD-4
#[test]
fn in_time_wait_timestamps_decide_which_syn_is_newer() {
    let time_wait = || {
        let mut lab = Lab::new();
        let id = lab.accepted(Peer { ts: true, ..Peer::default() });
        lab.close(id);
        lab.expect(fin());
        lab.send(fin().ack(2));
        lab.expect(ack().ack(2));
        lab.flow.ts = None;
        lab
    };
    // A newer timestamp with an older sequence number.
    let mut lab = time_wait();
    lab.send(syn().seq(u32::MAX - 1000).ts(1001, 0).mss(1460));
    lab.expect(syn_ack().ack(u32::MAX - 999));
    // An older timestamp with a newer sequence number.
    let mut lab = time_wait();
    lab.send(syn().seq(5000).ts(999, 0).mss(1460));
    lab.expect(ack().ack(2));
    // The same timestamp: the sequence number decides.
    let mut lab = time_wait();
    lab.send(syn().seq(5000).ts(1000, 0).mss(1460));
    lab.expect(syn_ack().ack(5001));
    let mut lab = time_wait();
    lab.send(syn().seq(1).ts(1000, 0).mss(1460));
    lab.expect(ack().ack(2));
}

#[test]
fn an_id_in_time_wait_is_closed_once_its_tuple_is_taken_over() {
    let (mut lab, id) = in_state(State::TimeWait);
    lab.send(syn().seq(100_000));
    lab.expect(syn_ack().ack(100_001));
    lab.assert_state(id, State::Closed);
    lab.send(ack().seq(100_001));
    lab.assert_state(id, State::Closed);
    assert_eq!(lab.stack.sizes().connections, 2);
    lab.close(id);
    assert_eq!(lab.stack.sizes().connections, 1);
    // The new connection lives.
    lab.send(data(b"hi").seq(100_001));
    lab.after(40);
    lab.expect(ack().ack(100_003));
}

#[test]
fn what_is_unread_can_be_read_in_time_wait_and_after() {
    let (mut lab, id) = in_state(State::FinWait2);
    lab.send(data(b"last").fin().ack(2));
    lab.expect(ack().ack(6));
    lab.assert_state(id, State::TimeWait);
    lab.at(60_000);
    assert_eq!(lab.read(id, 100), b"last");
    assert!(lab.read(id, 100).is_empty());
    lab.close(id);
    lab.assert_empty();
}

#[test]
fn time_wait_makes_room_when_it_is_full() {
    let mut lab = Lab::with(|config| config.max_time_wait = 3);
    let listener = lab.listen();
    for port in 0..10 {
        lab.switch(5000 + port);
        lab.handshake(Peer::default());
        let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
        lab.close(id);
        lab.expect(fin());
        lab.send(fin().ack(2));
        lab.expect(ack().ack(2));
        assert!(lab.stack.sizes().time_wait <= 3);
        lab.after(1);
    }
    assert_eq!(lab.stack.counters().time_wait_overflows, 7);
    lab.at(60_010);
    lab.assert_empty();
}

/// What has arrived from behind a FIN says that the stream does not end there: a forged FIN, with nothing but a number
/// in the window right, must not keep the true one from being taken (found by the fuzz target `stack`).
#[test]
fn a_fin_that_the_stream_has_passed_does_not_hide_the_true_one() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer::default());
    lab.send(data(pattern(10, 10)).seq(11));
    lab.expect(ack().ack(1));
    lab.send(fin().seq(5));
    lab.drain();
    lab.send(data(pattern(0, 10)).seq(1));
    lab.expect(ack().ack(21));
    lab.assert_state(id, State::Established);
    assert_eq!(lab.read(id, 100), pattern(0, 20));
    lab.send(fin().seq(21));
    lab.expect(ack().ack(22));
    lab.assert_state(id, State::CloseWait);
}
