//! The urgent pointer (RFC 9293 3.8.5).

use crate::common::*;

// RFC 9293 3.8.5 MUST-62: it counts from SEG.SEQ, and a SYN has a sequence number of its own.
#[test]
fn the_pointer_of_a_syn_ack_counts_from_its_syn() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    // The SYN is 0, "stop" 1 to 4, and what follows 5.
    lab.send(syn_ack().mss(1460).bytes(b"stop!").urg(5));
    lab.expect(ack().ack(6));
    assert_eq!(lab.stack.urgent_remaining(id), Some(4));
    assert_eq!(lab.read(id, 4), b"stop");
    assert_eq!(lab.stack.urgent_remaining(id), None);
}
