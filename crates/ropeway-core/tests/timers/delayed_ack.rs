//! Delayed acknowledgements (RFC 9293 3.8.6.3).

use std::time::Duration;

use crate::common::*;

// SHLD-18, MUST-40
#[test]
fn a_lone_segment_is_acknowledged_after_40_ms() {
    let (mut lab, _) = established();
    lab.at(5);
    lab.send(some(100));
    lab.at_us(ms(45) - 1);
    lab.at(45);
    lab.expect(ack().ack(101));
    lab.at(100_000);
}

// As Linux: a sender's slow start is not held up by acknowledgements that wait.
#[test]
fn the_first_segments_are_acknowledged_at_once() {
    let mut lab = Lab::with(|config| config.quick_acks = 16);
    let id = lab.accepted(Peer::default());
    for n in 1..=16 {
        lab.send(some(100));
        lab.after(0);
        lab.expect(ack().ack(1 + 100 * n));
    }
    lab.send(some(100));
    lab.after(40);
    lab.expect(ack().ack(1701));
    // A pause begins it anew; not more often than half the window has room for.
    lab.read(id, 100_000);
    lab.drain();
    lab.after(5000);
    lab.send(some(100));
    lab.after(0);
    lab.expect(ack().ack(1801));
}

#[test]
fn the_acknowledgement_of_what_is_answered_goes_with_the_answer() {
    let mut lab = Lab::with(|config| config.quick_acks = 16);
    let id = lab.accepted(Peer::default());
    // One that is there in the same moment takes even the first along.
    lab.send(some(100));
    lab.quiet();
    lab.write(id, b"answer");
    lab.expect(data(b"answer").ack(101));
    lab.after(0);
    lab.quiet();
    lab.after(10);
    lab.send(some(100).ack(7));
    lab.after(10);
    lab.write(id, b"answer");
    lab.expect(data(b"answer").ack(201));
    // An application that answers no more is found out by the delay.
    lab.send(some(100).ack(13));
    lab.after(40);
    lab.expect(ack().ack(301));
    lab.send(some(100));
    lab.after(0);
    lab.expect(ack().ack(401));
}

// SHLD-19
#[test]
fn every_second_full_segment_is_acknowledged_at_once() {
    let (mut lab, id) = established();
    for n in 0..5u32 {
        lab.send(some(1460));
        lab.send(some(1460));
        lab.expect(ack().ack(1 + 2920 * (n + 1)));
        lab.read(id, 100_000);
        lab.quiet();
    }
}

// MUST-58, MUST-59: all that is queued is processed before anything is sent.
#[test]
fn a_batch_of_segments_gets_one_ack() {
    let (mut lab, _) = established();
    lab.send_all((0..10).map(|_| some(1460)));
    lab.expect(ack().ack(14_601));
    lab.quiet();
}

#[test]
fn data_carries_the_delayed_ack() {
    let (mut lab, id) = established();
    lab.send(some(100));
    lab.at(20);
    lab.write(id, b"reply");
    lab.expect(data(b"reply").ack(101));
    lab.send(ack());
    lab.at(100_000);
}

#[test]
fn quick_ack_does_not_wait() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.quick_ack = true);
    for n in 0..3 {
        lab.send(some(100));
        lab.expect(ack().ack(101 + 100 * n));
    }
}

#[test]
fn quick_ack_set_while_waiting_acknowledges_at_once() {
    let (mut lab, id) = established();
    lab.send(some(100));
    lab.at(10);
    lab.set(id, |options| options.quick_ack = true);
    lab.expect(ack().ack(101));
}

// MUST-40: never half a second, whatever is asked for
#[test]
fn the_delay_stays_below_half_a_second() {
    let mut lab = Lab::with(|config| config.delayed_ack = Duration::from_secs(10));
    lab.accepted(Peer::default());
    lab.send(some(100));
    let at = lab.next_deadline().unwrap();
    assert!(at < ms(500));
    lab.at_us(at);
    lab.expect(ack().ack(101));
}

// MAY-13, RFC 5681 4.2; RFC 9293 3.10.7.4 SHLD-31
#[test]
fn out_of_order_segments_are_acknowledged_at_once_each() {
    let (mut lab, _) = established();
    for n in 1..6 {
        lab.send(some(100).seq(1 + 100 * n));
        lab.expect(ack().ack(1));
    }
    lab.send(some(100).seq(1));
    lab.expect(ack().ack(601));
}

#[test]
fn a_duplicate_segment_is_acknowledged_at_once() {
    let (mut lab, _) = established();
    lab.send(some(100));
    lab.at(40);
    lab.expect(ack().ack(101));
    lab.send(some(100).seq(1));
    lab.expect(ack().ack(101));
}

/// What the peer has pushed may be all that its send buffer holds. Once the application has read it, it is acknowledged,
/// as by Linux's `tcp_cleanup_rbuf`; but not what a program that talks has sent, nor what is answered.
#[test]
fn what_was_pushed_is_acknowledged_when_it_has_been_read() {
    let (mut lab, id) = established();
    lab.send(some(700).push());
    lab.after(10);
    lab.read(id, 699);
    lab.quiet();
    lab.read(id, 10);
    lab.expect(ack().ack(701));
    // Several writes, of which the last counts.
    lab.send(some(300).push());
    lab.read(id, 1000);
    lab.quiet();
    lab.send(some(236).push());
    lab.read(id, 1000);
    lab.expect(ack().ack(1237));
    // Not pushed: more is to come.
    lab.send(some(700));
    lab.read(id, 1000);
    lab.after(40);
    lab.expect(ack().ack(1937));
    // Answers take it along.
    lab.send(some(700).push());
    lab.write(id, b"answer");
    lab.expect(data(b"answer").ack(2637));
    lab.read(id, 1000);
    lab.quiet();
    lab.send(some(700).push());
    lab.read(id, 1000);
    lab.after(10);
    lab.write(id, b"answer");
    lab.expect(data(b"answer").ack(3337));
}

#[test]
fn an_application_that_waits_for_more_need_not_wait_for_the_delay() {
    let (mut lab, id) = established();
    let wait = |lab: &mut Lab| {
        lab.stack.acknowledge(lab.ts(), id);
        lab.collect();
    };
    wait(&mut lab);
    lab.quiet();
    lab.at(5);
    lab.send(some(100));
    lab.quiet();
    wait(&mut lab);
    lab.expect(ack().ack(101));
    // Once, and the delay is over.
    wait(&mut lab);
    lab.at(100_000);
}
