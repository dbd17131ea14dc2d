//! SYN-SENT (RFC 9293 3.10.7.3), and the SYN-RECEIVED that follows it: what ends an attempt to connect, and what
//! does not.

use ropeway_core::{ConnectionError, Readiness, RecvError, SendError, State};

use crate::common::*;

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
    let lost = RecvError::Failed(ConnectionError::Aborted);
    assert_eq!(lab.stack.recv(lab.ts(), id, 1).unwrap_err(), lost, "what was written is lost");
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
fn abort_in_syn_sent_sends_nothing() {
    let (mut lab, id) = in_state(State::SynSent);
    lab.abort(id);
    lab.quiet();
    lab.assert_state(id, State::Closed);
    lab.close(id);
    lab.assert_empty();
    lab.at(100_000);
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
