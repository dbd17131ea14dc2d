//! Reports to the application (RFC 9293 3.9.1.8).

use ropeway_core::packet::{IcmpErrorKind, UnreachableKind, icmp};
use ropeway_core::{Readiness, RecvError, State};

use crate::common::*;

// RFC 9293 3.9.1.8 SHLD-20: reports are there to be asked for, and disturb nobody.
#[test]
fn a_soft_error_disturbs_nobody_who_does_not_ask() {
    let (mut lab, id) = established();
    lab.write(id, b"hello");
    let packet = lab.next_packet();
    let kind = IcmpErrorKind::Unreachable(UnreachableKind::Host);
    lab.send_packet(icmp::emit_error(lab.remote.ip(), lab.local.ip(), kind, &packet, 64));
    for at in [200, 600, 1400, 3000] {
        lab.at(at);
        lab.expect(data(b"hello"));
    }
    assert!(lab.events.is_empty(), "{:?}", lab.events);
    assert!(!lab.stack.readiness(id).intersects(Readiness::ERROR | Readiness::READABLE));
    assert_eq!(lab.stack.recv(lab.ts(), id, 10).unwrap_err(), RecvError::WouldBlock);
    assert_eq!(lab.stack.send(lab.ts(), id, b"!", Default::default()), Ok(1));
    lab.assert_state(id, State::Established);
    assert!(lab.stack.take_error(id).is_some(), "who asks is told");
}
