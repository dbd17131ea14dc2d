//! Delayed acknowledgements (RFC 9293 3.8.6.3).

use std::time::Duration;

use ropeway_core::{Event, Readiness, StackConfig};

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

// As Linux: who asks in the moment in which it is connected may have more to say to the answer.
#[test]
fn the_answer_to_what_went_with_the_acknowledgement_of_a_syn_ack_waits_for_company() {
    let answered = |pause: u64| {
        let mut lab = Lab::with(|config| (config.quick_acks, config.events_first) = (16, true));
        let id = lab.connect();
        lab.expect(syn().seq(0));
        lab.send(syn_ack());
        if pause > 0 {
            lab.after(0);
            lab.expect(ack());
            lab.at(pause);
        }
        lab.write(id, b"question");
        lab.expect(data(b"question"));
        lab.after(10);
        lab.send(some(100).ack(9));
        lab.after(0);
        (lab, id)
    };
    let (mut lab, id) = answered(0);
    lab.quiet();
    lab.read(id, 1000);
    lab.close(id);
    lab.expect(fin().seq(9).ack(101));
    // One that has nothing to say to it is found out.
    let (mut lab, _) = answered(0);
    lab.after(39);
    lab.quiet();
    lab.after(1);
    lab.expect(ack().seq(9).ack(101));
    lab.send(some(100).seq(101).ack(9));
    lab.after(0);
    lab.expect(ack().seq(9).ack(201));
    // What is sent later is no answer to a SYN-ACK.
    let (mut lab, _) = answered(1);
    lab.expect(ack().seq(9).ack(101));
}

/// A lab whose owner lets applications act on events first, as drivers do.
fn events_first() -> Lab {
    Lab::with(|config| config.events_first = true)
}

#[test]
fn the_acknowledgement_of_a_fin_goes_with_the_fin_of_whoever_closes_at_once() {
    let mut lab = events_first();
    let id = lab.accepted(Peer::default());
    lab.send(fin());
    lab.quiet();
    assert!(lab.told(id, Readiness::READ_CLOSED));
    lab.close(id);
    lab.expect(fin().ack(2));
    lab.after(0);
    lab.quiet();
    lab.send(ack().seq(2).ack(2));
    lab.assert_empty();
}

#[test]
fn a_fin_is_acknowledged_in_the_same_moment_though_nobody_closes() {
    let mut lab = events_first();
    let id = lab.accepted(Peer::default());
    lab.send(fin());
    lab.after(0);
    lab.expect(ack().ack(2));
    lab.after(1000);
    lab.quiet();
    lab.close(id);
    lab.expect(fin().ack(2));
}

// In the order in which an owner calls: packets, what is due, output, events, and again.
#[test]
fn an_acknowledgement_that_an_answer_may_take_along_is_not_due_before_events_were_taken() {
    let mut config = StackConfig::default();
    config.addresses = vec!["10.0.0.2/24".parse().unwrap()];
    config.events_first = true;
    let mut lab = Lab::with(|of_lab| *of_lab = config);
    let id = lab.accepted(Peer::default());
    for (segment, readiness, acknowledged) in
        [(some(100), Readiness::READABLE, 101), (fin().seq(101), Readiness::READ_CLOSED, 102)]
    {
        lab.input(segment);
        let now = lab.ts();
        assert!(!lab.stack.is_due(now), "nobody has been told yet");
        lab.stack.handle_timeout(now);
        assert!(lab.stack.poll_transmit(now).is_none());
        // A call may have left it, and the event: whoever sleeps until the deadline has to look after both.
        assert!(lab.stack.poll_timeout().is_some_and(|due| due <= now));
        let told = std::iter::from_fn(|| lab.stack.poll_event())
            .any(|event| matches!(event, Event::Ready(of, ready) if of == id && ready.contains(readiness)));
        assert!(told);
        assert!(lab.stack.is_due(now));
        lab.stack.handle_timeout(now);
        lab.collect();
        lab.expect(ack().ack(acknowledged));
        assert!(lab.stack.poll_timeout().is_none_or(|due| due > now));
    }
}

// What a listener whose queue is full has forgotten, the data behind it brings back, unless that has come too soon.
#[test]
fn the_acknowledgement_of_a_syn_ack_does_not_wait_until_events_were_taken() {
    let mut lab = events_first();
    lab.connect();
    lab.expect(syn().seq(0));
    lab.input(syn_ack());
    let now = lab.ts();
    assert!(lab.stack.is_due(now));
    lab.stack.handle_timeout(now);
    lab.collect();
    lab.expect(ack().seq(1).ack(1));
}

// A server's task is made when a connection is accepted, and reads then.
#[test]
fn the_answer_of_whoever_has_just_accepted_takes_the_first_acknowledgement_along() {
    let mut lab = Lab::with(|config| {
        config.events_first = true;
        config.quick_acks = 16;
    });
    let listener = lab.listen();
    lab.handshake(Peer::default());
    lab.send(some(100));
    lab.after(5);
    lab.quiet();
    let now = lab.ts();
    let (id, _) = lab.stack.accept(now, listener).unwrap().unwrap();
    lab.stack.handle_timeout(now);
    lab.collect();
    lab.quiet();
    assert!(lab.told(id, Readiness::READABLE));
    assert_eq!(lab.read(id, 1000).len(), 100);
    lab.write(id, b"answer");
    lab.expect(data(b"answer").ack(101));
    lab.after(0);
    lab.quiet();
}

#[test]
fn what_has_come_before_the_accept_is_acknowledged_after_it_though_nobody_answers() {
    let mut lab = Lab::with(|config| {
        config.events_first = true;
        config.quick_acks = 16;
    });
    let listener = lab.listen();
    lab.handshake(Peer::default());
    lab.send(some(100));
    lab.after(5);
    lab.quiet();
    lab.accept(listener).unwrap();
    lab.after(0);
    lab.expect(ack().ack(101));
    // Nor does it wait for ever for somebody to accept.
    let mut lab = Lab::with(|config| config.events_first = true);
    lab.listen();
    lab.handshake(Peer::default());
    lab.send(some(100));
    lab.after(40);
    lab.expect(ack().ack(101));
}

// Those that the peer waits for before it is in TIME-WAIT, or that are the last word.
#[test]
fn the_last_acknowledgement_waits_for_nothing() {
    let mut lab = events_first();
    let id = lab.accepted(Peer::default());
    lab.close(id);
    lab.expect(fin());
    lab.send(fin().ack(2));
    lab.expect(ack().seq(2).ack(2));
    let mut lab = events_first();
    let id = lab.accepted(Peer::default());
    lab.close(id);
    lab.expect(fin());
    lab.send(fin());
    lab.expect(ack().seq(2).ack(2));
}

#[test]
fn the_acknowledgement_of_a_syn_ack_goes_with_what_is_written_at_once() {
    let mut lab = events_first();
    let id = lab.connect();
    lab.expect(syn().seq(0));
    lab.send(syn_ack());
    lab.quiet();
    lab.write(id, b"request");
    lab.expect(data(b"request").seq(1).ack(1));
    lab.after(0);
    lab.quiet();
}

#[test]
fn a_syn_ack_is_acknowledged_in_the_same_moment_though_nothing_is_written() {
    let mut lab = events_first();
    lab.connect();
    lab.expect(syn().seq(0));
    lab.send(syn_ack());
    lab.after(0);
    lab.expect(ack().seq(1).ack(1));
    lab.after(1000);
    lab.quiet();
}

#[test]
fn a_syn_ack_with_data_is_acknowledged_as_ever() {
    let mut lab = events_first();
    let id = lab.connect();
    lab.expect(syn().seq(0));
    lab.send(syn_ack().bytes(b"welcome"));
    lab.expect(ack().seq(1).ack(8));
    assert_eq!(lab.read(id, 100), b"welcome");
}

// Whoever moves packets and asks for events later gets them acknowledged as they come.
#[test]
fn unless_events_come_first_neither_waits_for_them() {
    let mut lab = Lab::with(|config| config.quick_acks = 16);
    lab.connect();
    lab.expect(syn().seq(0));
    lab.send(syn_ack());
    lab.expect(ack().seq(1).ack(1));
    lab.send(fin());
    lab.expect(ack().seq(1).ack(2));
}

#[test]
fn with_quick_ack_neither_waits_for_events() {
    let mut lab = events_first();
    lab.connect_with(|options| options.quick_ack = true).unwrap();
    lab.expect(syn().seq(0));
    lab.send(syn_ack());
    lab.expect(ack().seq(1).ack(1));
    lab.send(fin());
    lab.expect(ack().seq(1).ack(2));
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

/// Two full segments one after the other need not wait.
#[track_caller]
fn assert_every_second(lab: &mut Lab, len: usize) {
    let nxt = lab.flow.nxt;
    lab.send(some(len));
    lab.quiet();
    lab.send(some(len));
    lab.expect(ack().ack(nxt + 2 * len as u32));
}

// SHLD-19, RFC 5681 4.2
#[test]
fn segments_that_the_device_has_merged_count_each() {
    for v6 in [false, true] {
        let mut lab = Lab::new().v6_if(v6);
        let id = lab.accepted(Peer::default());
        lab.send(some(14_400).merged(1440));
        lab.expect(ack().ack(14_401));
        assert_every_second(&mut lab, 1440);
        // Short ones wait as if they had come alone, until as much has come as two full ones have.
        lab.send(some(20).merged(10));
        lab.quiet();
        lab.send(some(2870).merged(1440));
        lab.expect(ack().ack(lab.flow.nxt));
        assert_every_second(&mut lab, 1440);
        let info = lab.info(id);
        assert_eq!((info.rcv_mss, info.data_segments_in, info.segments_in), (1440, 18, 19));
    }
}

#[test]
fn one_that_was_merged_out_of_one_is_one() {
    for size in [0, 100, 1000, u16::MAX] {
        let (mut lab, id) = established();
        lab.send(some(100).merged(size));
        lab.at(40);
        lab.expect(ack().ack(101));
        assert_eq!((lab.info(id).rcv_mss, lab.info(id).data_segments_in), (100, 1));
    }
}

// The device does not always say so.
#[test]
fn what_is_longer_than_a_segment_can_be_is_several() {
    for ts in [false, true] {
        let mut lab = Lab::new();
        let id = lab.accepted(Peer { ts, ..Peer::default() });
        lab.send(some(14_480));
        lab.expect(ack().ack(14_481));
        assert_eq!(lab.info(id).rcv_mss, 1460);
        assert_every_second(&mut lab, 1460);
    }
}

#[test]
fn a_long_segment_of_a_wide_network_is_one() {
    let mut lab = Lab::with(|config| config.mtu = 65_535);
    let id = lab.accepted(Peer::default());
    lab.send(some(14_480));
    lab.at(40);
    lab.expect(ack().ack(14_481));
    assert_eq!(lab.info(id).rcv_mss, 14_480);
}

// RFC 5681 4.2: a sender without SACK counts them.
#[test]
fn merged_segments_beyond_a_gap_are_acknowledged_each() {
    for (sack, duplicates) in [(false, 3), (true, 1)] {
        let mut lab = Lab::new();
        let id = lab.accepted(Peer { sack, ..Peer::default() });
        lab.send(some(3000).seq(1001).merged(1000));
        for _ in 0..duplicates {
            lab.expect(ack().ack(1));
        }
        lab.quiet();
        assert_eq!((lab.info(id).out_of_order, lab.stack.counters().out_of_order), (3, 3));
    }
}

// RFC 5681 3.2, 4.2: a hundred that say the same would cost the sender a segment each, and tell it nothing.
#[test]
fn a_burst_beyond_a_gap_is_told_of_by_blocks_and_not_by_a_hundred_duplicates() {
    for (sack, acks) in [(false, 64), (true, 3)] {
        let mut lab = Lab::new();
        lab.accepted(Peer { sack, ..Peer::default() });
        lab.send_all((1..=100).map(|n| some(100).seq(1 + 100 * n)));
        let blocks: &[_] = if sack { &[(101, 10_101)] } else { &[] };
        for _ in 0..acks {
            lab.expect(ack().ack(1).sack(blocks));
        }
        lab.quiet();
    }
}

// All that arrives counts, also what has come before.
#[test]
fn segments_with_data_are_counted() {
    let (mut lab, id) = established();
    lab.send(some(100));
    lab.input(some(100).seq(1));
    lab.input(some(100).seq(201));
    lab.input(ack());
    lab.collect();
    let info = lab.info(id);
    assert_eq!((info.data_segments_in, info.segments_in, info.out_of_order), (3, 5, 1));
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
