//! TIME-WAIT: how long it lasts, what restarts it, and which SYN may end it (RFC 9293 3.6.1, RFC 1337, RFC 6191).

use ropeway_core::State;
use ropeway_core::packet::SeqNum;

use crate::common::*;

/// A connection in TIME-WAIT that its application has let go. Both ends are at 2.
fn orphan() -> Lab {
    let (mut lab, id) = in_state(State::TimeWait);
    lab.close(id);
    lab
}

// RFC 9293 3.10.8 R-12
// MUST-13: exactly, and for all three lengths
#[test]
fn time_wait_lasts_exactly_two_msl() {
    for seconds in [30, 60, 120] {
        let mut lab = Lab::with(|config| config.time_wait = std::time::Duration::from_secs(seconds));
        let id = lab.accepted(Peer::default());
        lab.at(777);
        lab.close(id);
        lab.expect(fin().seq(1));
        lab.send(ack().ack(2));
        lab.at(1234);
        lab.send(fin());
        lab.expect(ack().ack(2));
        assert_eq!(lab.stack.sizes().time_wait, 1);
        assert_eq!(lab.next_deadline(), Some(ms(1234) + secs(seconds)));
        lab.at_us(ms(1234) + secs(seconds) - 1);
        assert_eq!(lab.stack.sizes().time_wait, 1, "2 MSL - 1 us");
        lab.at_us(ms(1234) + secs(seconds));
        assert_eq!(lab.stack.sizes().time_wait, 0, "2 MSL");
        assert_eq!(lab.next_deadline(), None);
        lab.assert_empty();
    }
}

// RFC 9293 3.10.7.4 R-10
#[test]
fn the_peers_fin_again_restarts_time_wait() {
    let mut lab = orphan();
    for round in 1..=3 {
        lab.at(round * 50_000);
        lab.send(fin().seq(1));
        lab.expect(ack().seq(2).ack(2));
    }
    lab.at_us(ms(210_000) - 1);
    assert_eq!(lab.stack.sizes().time_wait, 1);
    lab.at(210_000);
    lab.assert_empty();
}

// RFC 9293 3.10.7.4 eighth: "restart the 2 MSL time-wait timeout", however often it was before.
#[test]
fn a_fin_that_comes_very_often_restarts_time_wait_each_time() {
    let mut lab = orphan();
    for n in 1..=20 {
        lab.at(n * 100);
        lab.send(fin().seq(1));
        lab.expect(ack().seq(2).ack(2));
    }
    lab.at(30_000);
    lab.send(fin().seq(1));
    lab.expect(ack().seq(2).ack(2));
    lab.at_us(ms(90_000) - 1);
    assert_eq!(lab.stack.sizes().time_wait, 1);
    lab.at(90_000);
    lab.assert_empty();
}

/// Only a bare acknowledgement in order says nothing that calls for an answer.
#[test]
fn time_wait_acknowledges_whatever_is_out_of_order_or_brings_data() {
    let answered =
        [ack().seq(1), ack().seq(3), data(b"x").seq(2), data(b"x").seq(1), fin().seq(7), data(b"old").seq(0)];
    for seg in answered {
        let (mut lab, _) = in_state(State::TimeWait);
        lab.send(seg.ack(2));
        lab.expect(ack().seq(2).ack(2));
    }
    let (mut lab, _) = in_state(State::TimeWait);
    lab.send(ack().seq(2).ack(2));
    lab.quiet();
}

#[test]
fn other_segments_do_not_restart_time_wait() {
    let mut lab = orphan();
    lab.at(30_000);
    for seg in
        [some(10).seq(1), some(10).seq(2), ack().seq(1), syn().seq(0), fin().seq(5), some(10).seq(1_000_000)]
    {
        lab.input(seg);
        for sent in lab.drain() {
            let tcp = sent.tcp.unwrap().tcp;
            assert_eq!(tcp.flags, ropeway_core::packet::TcpFlags::ACK);
            assert_eq!(tcp.ack.get(), 2);
        }
    }
    lab.at(60_000);
    lab.assert_empty();
}

// RFC 1337
#[test]
fn a_reset_does_not_cut_time_wait_short() {
    let mut lab = orphan();
    lab.send(rst().seq(2));
    lab.send(rst_ack().seq(2).ack(2));
    lab.send(rst().seq(3));
    lab.quiet();
    lab.at_us(ms(60_000) - 1);
    assert_eq!(lab.stack.sizes().time_wait, 1);
}

// MAY-2
#[test]
fn a_newer_syn_takes_a_time_wait_tuple_over() {
    let mut lab = orphan();
    let old_end = lab.flow.iss.wrapping_add(lab.flow.seen);
    lab.after(1);
    lab.send(syn().seq(3));
    let answer = lab.expect(syn_ack().ack(4));
    assert!(answer.tcp.seq.after(SeqNum::new(old_end)), "the new ISN is above all that was sent");
    assert_eq!(lab.stack.sizes().time_wait, 0);
    lab.send(ack().seq(4));
    assert_eq!(lab.stack.sizes().connections, 1);
    assert_eq!(lab.stack.counters().time_wait_reused, 1);
}

// MAY-2: "an old duplicate SYN leads back to TIME-WAIT"
#[test]
fn an_older_syn_leaves_time_wait_alone() {
    for seq in [0, 1, 2, 0x8000_0010] {
        let mut lab = orphan();
        lab.send(syn().seq(seq));
        lab.expect(ack().seq(2).ack(2));
        assert_eq!(lab.stack.sizes().time_wait, 1);
    }
}

// RFC 6191 2; RFC 9293 3.6.1 SHLD-4
#[test]
fn in_time_wait_timestamps_decide_which_syn_is_newer() {
    let time_wait = || {
        let mut lab = Lab::new();
        let id = lab.accepted(Peer { ts: true, ..Peer::default() });
        lab.close(id);
        lab.expect(fin());
        lab.send(fin().ack(2));
        lab.expect(ack().ack(2));
        lab.flow.ts = None;
        lab
    };
    // A newer timestamp with an older sequence number.
    let mut lab = time_wait();
    lab.send(syn().seq(u32::MAX - 1000).ts(1001, 0).mss(1460));
    lab.expect(syn_ack().ack(u32::MAX - 999));
    // An older timestamp with a newer sequence number.
    let mut lab = time_wait();
    lab.send(syn().seq(5000).ts(999, 0).mss(1460));
    lab.expect(ack().ack(2));
    // The same timestamp: the sequence number decides.
    let mut lab = time_wait();
    lab.send(syn().seq(5000).ts(1000, 0).mss(1460));
    lab.expect(syn_ack().ack(5001));
    let mut lab = time_wait();
    lab.send(syn().seq(1).ts(1000, 0).mss(1460));
    lab.expect(ack().ack(2));
}

#[test]
fn an_id_in_time_wait_is_closed_once_its_tuple_is_taken_over() {
    let (mut lab, id) = in_state(State::TimeWait);
    lab.send(syn().seq(100_000));
    lab.expect(syn_ack().ack(100_001));
    lab.assert_state(id, State::Closed);
    lab.send(ack().seq(100_001));
    lab.assert_state(id, State::Closed);
    assert_eq!(lab.stack.sizes().connections, 2);
    lab.close(id);
    assert_eq!(lab.stack.sizes().connections, 1);
    // The new connection lives.
    lab.send(data(b"hi").seq(100_001));
    lab.after(40);
    lab.expect(ack().ack(100_003));
}

#[test]
fn what_is_unread_can_be_read_in_time_wait_and_after() {
    let (mut lab, id) = in_state(State::FinWait2);
    lab.send(data(b"last").fin().ack(2));
    lab.expect(ack().ack(6));
    lab.assert_state(id, State::TimeWait);
    lab.at(60_000);
    assert_eq!(lab.read(id, 100), b"last");
    assert!(lab.read(id, 100).is_empty());
    lab.close(id);
    lab.assert_empty();
}

#[test]
fn time_wait_makes_room_when_it_is_full() {
    let mut lab = Lab::with(|config| config.max_time_wait = 3);
    let listener = lab.listen();
    for port in 0..10 {
        lab.switch(5000 + port);
        lab.handshake(Peer::default());
        let id = lab.accept(listener).unwrap();
        lab.close(id);
        lab.expect(fin());
        lab.send(fin().ack(2));
        lab.expect(ack().ack(2));
        assert!(lab.stack.sizes().time_wait <= 3);
        lab.after(1);
    }
    assert_eq!(lab.stack.counters().time_wait_overflows, 7);
    lab.at(60_010);
    lab.assert_empty();
}
