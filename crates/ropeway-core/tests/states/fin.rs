//! The FIN as a segment (RFC 9293 3.10.7.4 eighth): with data, lost, repeated, out of order, forged.

use ropeway_core::State;

use crate::common::*;

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

/// What has arrived from behind a FIN says that the stream does not end there: a forged FIN, with nothing but a number
/// in the window right, must not keep the true one from being taken (found by the fuzz target `stack`).
#[test]
fn a_fin_that_the_stream_has_passed_does_not_hide_the_true_one() {
    let (mut lab, id) = established();
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
