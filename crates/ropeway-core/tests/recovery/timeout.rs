//! After a retransmission timeout: the window, and duplicate acknowledgements that mean nothing (RFC 5681 3.1, RFC
//! 6582 4).

use crate::common::*;
use crate::{MSS, flight, reno, seg};

// RFC 5681 3.1 (4), 3.2; RFC 9293 3.10.8 R-12, RFC 6298 5-4
#[test]
fn a_timeout_shrinks_the_window_to_one_segment() {
    let (mut lab, id) = reno();
    flight(&mut lab, id, 10);
    lab.at(200);
    lab.expect(data(pattern(0, MSS)).seq(1));
    lab.quiet();
    let info = lab.info(id);
    assert_eq!((info.cwnd as usize, info.ssthresh as usize), (MSS, 5 * MSS));
    // Slow start: one acknowledged, two sent.
    lab.send(ack().ack(seg(1)));
    lab.expect(data(pattern(MSS, MSS)).seq(seg(1)));
    lab.expect(data(pattern(2 * MSS, MSS)).seq(seg(2)));
    lab.quiet();
    // The receiver had the rest: nothing more is sent again.
    lab.send(ack().ack(seg(10)));
    lab.quiet();
    assert_eq!(lab.info(id).retransmitted, 3);
}

#[test]
fn a_second_timeout_of_the_same_segment_does_not_halve_again() {
    let (mut lab, id) = reno();
    flight(&mut lab, id, 10);
    // From the second on, it may be too large for the path.
    for (at, len) in [(200, MSS), (600, 1024), (1400, 1024)] {
        lab.at(at);
        lab.expect(some(len).seq(1));
        assert_eq!(lab.info(id).ssthresh as usize, 5 * MSS);
    }
}

// RFC 6675 5.1-1
// RFC 6582 3.2 (2), 4.1: duplicates of what a timeout made us send again mean nothing.
#[test]
fn no_fast_retransmit_of_what_a_timeout_sent_again() {
    let (mut lab, id) = established();
    flight(&mut lab, id, 10);
    lab.at(200);
    lab.expect(some(MSS).seq(1));
    // Spurious: all ten were there. The acknowledgements come, and then the duplicates of what is sent again.
    lab.send(ack().ack(seg(4)));
    lab.drain();
    for _ in 0..5 {
        lab.send(ack().ack(seg(4)));
        lab.drain();
    }
    assert_eq!(lab.stack.counters().fast_retransmits, 0);
}

// RFC 6675 5.1-1
// RFC 6582 3.2 (2): "covers more than recover". The last retransmissions of a spurious timeout make three
// duplicates of the very last acknowledgement.
#[test]
fn duplicates_right_after_a_timeouts_recovery_mean_nothing() {
    let (mut lab, id) = established();
    lab.write(id, &pattern(0, 20 * MSS));
    assert_eq!(lab.drain().len(), 10);
    lab.at(200);
    lab.expect(some(MSS).seq(1));
    // All ten are acknowledged at once; new segments go out.
    lab.send(ack().ack(seg(10)));
    assert!(!lab.drain().is_empty());
    for _ in 0..3 {
        lab.send(ack().ack(seg(10)));
        lab.drain();
    }
    assert_eq!(lab.stack.counters().fast_retransmits, 0);
}
