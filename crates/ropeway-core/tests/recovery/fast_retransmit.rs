//! Fast retransmit and fast recovery (RFC 5681 3.2, RFC 6582, RFC 3042).

use crate::common::*;
use crate::{MSS, flight, reno, seg};

// RFC 5681 3.2, RFC 3042
#[test]
fn the_third_duplicate_retransmits_and_the_first_two_let_new_segments_go() {
    let (mut lab, id) = reno();
    lab.write(id, &pattern(0, 40 * MSS));
    assert_eq!(lab.drain().len(), 10);
    // The first segment is lost.
    lab.send(ack().ack(1));
    lab.expect(some(MSS).seq(seg(10)));
    lab.quiet();
    lab.send(ack().ack(1));
    lab.expect(some(MSS).seq(seg(11)));
    lab.quiet();
    lab.send(ack().ack(1));
    lab.expect(data(pattern(0, MSS)).seq(1));
    lab.quiet();
    assert_eq!(lab.stack.counters().fast_retransmits, 1);
    // RFC 5681 3.2 (2): half of what was in flight, limited transmit not counted.
    let ssthresh = lab.info(id).ssthresh as usize;
    assert!((5 * MSS..=6 * MSS).contains(&ssthresh), "{ssthresh}");
    // Further duplicates inflate the window; new data goes out once it exceeds what is in flight.
    let mut new = 0;
    for _ in 0..9 {
        lab.send(ack().ack(1));
        for sent in lab.drain() {
            let tcp = sent.tcp.unwrap().tcp;
            assert!(lab.relative(tcp.seq) >= seg(12), "the lost segment is sent once");
            new += 1;
        }
    }
    assert!((1..=6).contains(&new), "{new}");
    // All is there: recovery is over, the window deflated.
    lab.send(ack());
    lab.drain();
    assert!(lab.info(id).cwnd as usize <= 7 * MSS);
    assert_eq!(lab.info(id).retransmitted, 1);
}

// RFC 5681 2: an ACK with data, with a FIN, with another window, or of something new is no duplicate.
#[test]
fn what_is_no_duplicate_acknowledgement() {
    let (mut lab, id) = established();
    flight(&mut lab, id, 5);
    for n in 0..6u16 {
        lab.send(ack().ack(1).win(60_000 + n));
        lab.send(some(10).ack(1).win(60_005));
        lab.drain();
    }
    for _ in 0..4 {
        lab.send(fin().ack(1).win(60_005).seq(lab.flow.nxt + 1000));
        lab.drain();
    }
    assert_eq!(lab.stack.counters().fast_retransmits, 0);
    assert_eq!(lab.info(id).retransmitted, 0);
}

#[test]
fn no_fast_retransmit_without_data_outstanding() {
    let (mut lab, id) = established();
    for _ in 0..10 {
        lab.send(ack());
    }
    lab.write(id, b"x");
    lab.expect(data(b"x").seq(1));
    lab.send(ack());
    for _ in 0..10 {
        lab.send(ack());
    }
    lab.quiet();
    // And what follows starts to count at none.
    lab.write(id, b"yy");
    lab.expect(data(b"yy").seq(2));
    lab.send(ack().ack(2));
    lab.send(ack().ack(2));
    lab.quiet();
    assert_eq!(lab.stack.counters().fast_retransmits, 0);
}

// RFC 6582 3.2 (3)
#[test]
fn each_partial_ack_retransmits_the_next_hole() {
    let (mut lab, id) = established();
    flight(&mut lab, id, 10);
    // 0, 3 and 7 are lost.
    for _ in 0..3 {
        lab.send(ack().ack(1));
    }
    lab.expect(data(pattern(0, MSS)).seq(1));
    for _ in 0..4 {
        lab.send(ack().ack(1));
        lab.drain();
    }
    lab.after(5);
    lab.send(ack().ack(seg(3)));
    lab.expect(data(pattern(3 * MSS, MSS)).seq(seg(3)));
    lab.after(5);
    lab.send(ack().ack(seg(7)));
    lab.expect(data(pattern(7 * MSS, MSS)).seq(seg(7)));
    lab.after(5);
    lab.send(ack().ack(seg(10)));
    lab.quiet();
    assert_eq!(lab.stack.counters().fast_retransmits, 1);
    assert_eq!(lab.stack.counters().retransmission_timeouts, 0);
    assert_eq!(lab.info(id).unacked, 0);
}

// RFC 6582 4: only the first partial ACK restarts the timer.
#[test]
fn many_holes_end_in_a_timeout_not_in_a_crawl() {
    let (mut lab, id) = established();
    flight(&mut lab, id, 10);
    for _ in 0..3 {
        lab.send(ack().ack(1));
    }
    lab.expect(some(MSS).seq(1));
    for n in 1..4u32 {
        lab.after(50);
        lab.send(ack().ack(seg(n)));
        lab.expect(some(MSS).seq(seg(n)));
    }
    // 200 ms after the first partial ACK, which came at 50 ms.
    lab.at_us(ms(250) - 1);
    lab.at(250);
    lab.expect(some(MSS).seq(seg(3)));
    assert_eq!(lab.stack.counters().retransmission_timeouts, 1);
}

/// The bytes of data that the stack sends in answer to what `act` does.
fn answered(lab: &mut Lab, act: impl FnOnce(&mut Lab)) -> usize {
    lab.drain();
    act(lab);
    lab.drain().into_iter().filter_map(|sent| sent.tcp).map(|segment| segment.payload.len()).sum()
}

// RFC 5681 5
#[test]
fn ten_thousand_forged_duplicates_bring_no_more_than_two_flights() {
    let mut lab = Lab::new();
    let peer = Peer { win: 65535, ws: Some(7), ..Peer::default() };
    let id = lab.accepted_with(peer, |options| options.send_buffer = 8 << 20);
    lab.write(id, &pattern(0, 8 << 20));
    let flight = lab.info(id).unacked as usize;
    let answered = answered(&mut lab, |lab| {
        for _ in 0..10_000 {
            lab.input(ack().ack(1));
            lab.collect();
        }
    });
    assert!(answered <= 2 * flight, "{answered} bytes, where {flight} were in flight");
}

/// In fast recovery every acknowledgement of a part asks for the next hole; byte by byte, there is none.
#[test]
fn acknowledging_byte_by_byte_does_not_bring_a_segment_for_each_byte() {
    let (mut lab, id) = established();
    lab.write(id, &pattern(0, 40 * MSS));
    lab.drain();
    for _ in 0..3 {
        lab.input(ack().ack(1));
    }
    lab.collect();
    let answered = answered(&mut lab, |lab| {
        for byte in 1..1000 {
            lab.input(ack().ack(1 + byte));
            lab.collect();
        }
    });
    assert!(answered <= 3 * MSS, "{answered}");
    // The retransmission itself was lost, and part of it comes again at its time.
    lab.run_to_deadline();
    assert!(lab.drain().iter().any(|sent| sent.tcp.is_some()));
    assert_eq!(lab.info(id).unacked as usize, lab.flow.seen as usize - 1000);
}
