//! Closes that reset: ABORT (RFC 9293 3.10.5), data that nobody will read, linger zero.

use ropeway_core::{ConnectionError, State};

use crate::common::*;

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
        assert_eq!(lab.relative(reset.tcp.seq), expected);
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
