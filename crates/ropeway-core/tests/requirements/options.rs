//! TCP options (RFC 9293 3.1, 3.2).

use ropeway_core::{ConnectionError, State};

use crate::common::*;

/// An experimental option, which nobody understands, and a NOP on each side of it.
const UNKNOWN: [u8; 8] = [1, 253, 5, 1, 2, 3, 1, 0];

// RFC 9293 3.1 MUST-5
#[test]
fn options_are_taken_on_every_kind_of_segment() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().options(&UNKNOWN));
    lab.expect(syn_ack());
    lab.send(ack().options(&UNKNOWN));
    let id = lab.accept(listener).unwrap();
    lab.send(data(b"hello").options(&UNKNOWN));
    assert_eq!(lab.read(id, 10), b"hello");
    lab.after(40);
    lab.expect(ack().ack(6));
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.send(ack().options(&UNKNOWN));
    assert_eq!(lab.info(id).unacked, 0);
    lab.send(fin().options(&UNKNOWN));
    lab.expect(ack().ack(7));
    lab.assert_state(id, State::CloseWait);
    lab.send(rst().options(&UNKNOWN));
    lab.assert_state(id, State::Closed);
    // Likewise on what answers an active open.
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    lab.send(syn_ack().options(&UNKNOWN));
    lab.expect(ack());
    lab.assert_state(id, State::Established);
}

// RFC 9293 3.1 MUST-7
#[test]
fn an_illegal_option_length_resets_the_connection() {
    for lie in [&[253, 0, 1, 1][..], &[2, 1, 1, 1], &[8, 40, 1, 1], &[1, 1, 1, 253]] {
        let (mut lab, id) = established();
        lab.send(data(b"evil").options(lie));
        lab.expect(rst_ack().seq(1).ack(1));
        lab.assert_state(id, State::Closed);
        assert_eq!(lab.stack.take_error(id), Some(ConnectionError::Aborted));
        lab.close(id);
        lab.assert_empty();
        // A blind attacker gains nothing by it: neither outside of the window nor with a guessed ACK.
        let (mut lab, id) = established();
        lab.send(data(b"evil").seq(1_000_000).options(lie));
        lab.expect(ack().seq(1).ack(1));
        lab.send(data(b"evil").seq(1).ack(2).options(lie));
        lab.expect(ack().seq(1).ack(1));
        lab.assert_state(id, State::Established);
        // In a SYN there is nothing to reset yet.
        let mut lab = Lab::new();
        lab.listen();
        lab.send(syn().options(lie));
        lab.quiet();
        lab.assert_empty();
    }
}
