//! Accurate ECN (RFC 9768): what is counted, what is told of it, and what is made of it.

use ropeway_core::congestion::Phase;
use ropeway_core::packet::{EcnCodepoint, TcpFlags};
use ropeway_core::{ConnectionId, EcnFeedback, EcnMode, EcnOption, SocketOptions, SynCookieMode};

use crate::common::*;

/// The option before anything has arrived.
const NONE: [u32; 3] = [1, 0, 1];

fn wanted(options: &mut SocketOptions) {
    roomy(options);
    options.ecn = EcnMode::Accurate;
}

/// The lab asks with this SYN, and has its answer.
fn half_open(change: impl FnOnce(&mut SocketOptions)) -> (Lab, ropeway_core::ListenerId) {
    let mut lab = Lab::new();
    let listener = lab.listen_with(16, |options| {
        wanted(options);
        change(options);
    });
    lab.send(syn().mss(1472).sack_ok(true).ace(7));
    (lab, listener)
}

/// A connection that the lab has opened, with these options of ours.
fn accepted_with(change: impl FnOnce(&mut SocketOptions)) -> (Lab, ConnectionId) {
    let (mut lab, listener) = half_open(change);
    lab.drain();
    lab.send(ack().ace(2).counters(&NONE));
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.info(id).ecn, EcnFeedback::Accurate);
    (lab, id)
}

/// Without options, all is told by three bits.
fn bare() -> (Lab, ConnectionId) {
    accepted_with(|options| options.ecn_option = EcnOption::Off)
}

/// One that we have opened, and that was answered by this.
fn connected(answer: Seg) -> (Lab, ConnectionId) {
    let mut lab = Lab::new();
    let id = lab.connect_with(wanted).unwrap();
    lab.expect(syn().ace(7).seq(0).not_ect().counters(&[]));
    lab.send(answer.mss(1472).sack_ok(true));
    (lab, id)
}

// RFC 9768 3.1.1-1, RFC 9768 3.1.2-1, RFC 9768 3.1.2-2, RFC 9768 3.1.3-2
#[test]
fn what_a_syn_ack_says_decides() {
    for (answer, agreed) in [
        (0b000, EcnFeedback::None),
        (0b001, EcnFeedback::Classic),
        (0b010, EcnFeedback::Accurate),
        (0b011, EcnFeedback::Accurate),
        (0b100, EcnFeedback::Accurate),
        (0b101, EcnFeedback::Accurate),
        (0b110, EcnFeedback::Accurate),
        (0b111, EcnFeedback::None),
    ] {
        let (mut lab, id) = connected(syn_ack().ace(answer));
        lab.drain();
        assert_eq!(lab.info(id).ecn, agreed, "{answer:03b}");
        // A SYN-ACK that tells of our SYN as if it could have been marked: something changes such packets.
        let capable = match answer {
            0b001 | 0b010 | 0b101 => 2,
            _ => 0,
        };
        lab.write(id, b"x");
        assert_eq!(lab.next_tcp().ip.traffic_class, capable, "{answer:03b}");
    }
}

// RFC 9768 3.1.2-1, RFC 9768 3.1.3-1
#[test]
fn a_syn_is_answered_with_what_its_packet_said() {
    let fields = [
        (EcnCodepoint::NotEct, 0b010),
        (EcnCodepoint::Ect1, 0b011),
        (EcnCodepoint::Ect0, 0b100),
        (EcnCodepoint::Ce, 0b110),
    ];
    for mode in [EcnMode::Accurate, EcnMode::OnOrAccurateWhenAsked, EcnMode::AccurateWhenAsked] {
        for asked in [0b111, 0b001, 0b010, 0b100, 0b101, 0b110] {
            for (field, answer) in fields {
                let mut lab = Lab::new();
                lab.listen_with(16, |options| options.ecn = mode);
                lab.send(syn().ace(asked).mss(1460).ecn(field));
                lab.expect(syn_ack().ace(answer).not_ect().counters(&NONE));
            }
        }
        let mut lab = Lab::new();
        lab.listen_with(16, |options| options.ecn = mode);
        lab.send(syn().ace(0b011).mss(1460));
        lab.expect(syn_ack().ace(0b001).counters(&[]));
    }
}

#[test]
fn modes_4_and_5_do_not_ask_for_it() {
    for (mode, asks) in [(EcnMode::OnOrAccurateWhenAsked, 0b011), (EcnMode::AccurateWhenAsked, 0)] {
        let mut lab = Lab::new();
        lab.connect_with(|options| options.ecn = mode).unwrap();
        lab.expect(syn().ace(asks));
    }
    assert_eq!(EcnMode::from_number(4), Some(EcnMode::OnOrAccurateWhenAsked));
}

// RFC 9768 3.2.2.1-1, RFC 9768 3.2.2.2-2
#[test]
fn the_ack_of_a_syn_ack_tells_of_its_packet_and_goes_before_data() {
    for (field, reflection, count) in [
        (EcnCodepoint::NotEct, 0b010, 5),
        (EcnCodepoint::Ect1, 0b011, 5),
        (EcnCodepoint::Ect0, 0b100, 5),
        (EcnCodepoint::Ce, 0b110, 6),
    ] {
        let mut lab = Lab::new();
        let id = lab.connect_with(wanted).unwrap();
        lab.expect(syn().ace(7));
        lab.input(syn_ack().ace(2).mss(1472).ecn(field).counters(&NONE));
        lab.write(id, b"x");
        lab.expect(ack().ace(reflection).seq(1).counters(&NONE));
        lab.expect(data("x").ace(count).seq(1).counters(&NONE));
    }
}

// RFC 9768 3.2.2.1-2
#[test]
fn a_syn_ack_that_comes_again_is_told_of_anew() {
    let (mut lab, _) = connected(syn_ack().ace(2));
    lab.expect(ack().ace(2).seq(1));
    lab.send(syn_ack().ace(2).seq(0).ack(1).ect0());
    lab.expect(ack().ace(4).seq(1));
    lab.send(some(10).ect0());
    lab.expect(ack().ace(5).ack(11));
}

// The model check has found it: what a SYN-ACK that came again was answered with was taken for five marks.
#[test]
fn an_ack_of_a_syn_ack_that_came_again_is_not_read_as_a_counter() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(16, wanted);
    lab.flow.ts = Some(1000);
    lab.send(syn().mss(1472).ace(7));
    let tsval = lab.next_tcp().tcp.options.timestamps.unwrap().tsval;
    lab.send(ack().ace(2).ts(1000, tsval));
    let id = lab.accept(listener).unwrap();
    // Behind data of the peer's, too.
    lab.send(some(10).seq(1).ack(1).ace(5).ts(1001, tsval));
    for field in [2, 3, 4, 6] {
        lab.send(ack().seq(11).ack(1).ace(field).ts(1001 + u32::from(field), tsval));
        let info = lab.info(id);
        assert_eq!((info.delivered_ce, info.ca_state), (0, Phase::Open), "{field}");
    }
    // What comes behind it counts.
    lab.write(id, b"x");
    lab.drain();
    lab.send(ack().seq(11).ack(2).ace(6).ts(1010, tsval));
    assert_eq!(lab.info(id).delivered_ce, 1);
}

// RFC 9768 3.1.4.1-1, RFC 9768 3.1.5-1
#[test]
fn two_syns_ask_for_it_and_then_none() {
    let mut lab = Lab::new();
    let id = lab.connect_with(wanted).unwrap();
    lab.expect(syn().ace(7));
    lab.at(1000);
    lab.expect(syn().ace(7));
    lab.at(3000);
    lab.expect(syn());
    // The answer is to the first one after all. The peer counts, so that what is sent may be marked.
    lab.send(syn_ack().ace(2).mss(1472));
    lab.expect(ack().ace(2).ect0());
    assert_eq!(lab.info(id).ecn, EcnFeedback::Accurate);
}

// RFC 9768 3.2.3.2.2-1
#[test]
fn a_syn_ack_in_vain_gives_up_the_option_and_then_all() {
    let (mut lab, listener) = half_open(|_| {});
    lab.expect(syn_ack().ace(2).counters(&NONE));
    lab.at(1000);
    lab.expect(syn_ack().ace(2).counters(&[]));
    lab.at(3000);
    lab.expect(syn_ack().counters(&[]));
    // Nobody knows which one has come: nothing may be marked, but marks are told of.
    lab.send(ack().ace(2).counters(&NONE));
    let id = lab.accept(listener).unwrap();
    lab.write(id, b"x");
    lab.expect(data("x").ace(5).not_ect());
    lab.send(some(10).ce());
    lab.expect(ack().ace(6));
    // Without the fallback, all are as the first one.
    let (mut lab, _) = half_open(|options| options.ecn_fallback = false);
    lab.expect(syn_ack().ace(2));
    lab.at(1000);
    lab.expect(syn_ack().ace(2));
    lab.at(3000);
    lab.expect(syn_ack().ace(2));
}

// RFC 9768 3.1.5-2, RFC 9768 3.1.5-3
#[test]
fn a_second_syn_changes_nothing_but_what_it_tells_of() {
    let (mut lab, listener) = half_open(|_| {});
    lab.drain();
    lab.send(syn().mss(1472).ect0());
    lab.expect(syn_ack().ace(4).counters(&[]));
    lab.send(ack().ace(2));
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.info(id).ecn, EcnFeedback::Accurate);
    lab.write(id, b"x");
    lab.expect(data("x").ace(5).not_ect());
    // One that asks for something else leaves both ends in the dark.
    let (mut lab, _) = half_open(|_| {});
    lab.drain();
    lab.send(syn().ace(3).mss(1472));
    lab.expect(rst_ack().ack(1));
    lab.assert_empty();
    // Nothing was agreed on: nothing is.
    let mut lab = Lab::new();
    lab.listen_with(16, wanted);
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.send(syn().ace(7).mss(1460));
    lab.expect(syn_ack());
}

// RFC 9768 5.1-1
#[test]
fn behind_a_cookie_the_third_segment_tells() {
    for (third, agreed) in [
        (0, EcnFeedback::None),
        (1, EcnFeedback::None),
        (2, EcnFeedback::Accurate),
        (4, EcnFeedback::Accurate),
        (6, EcnFeedback::Accurate),
    ] {
        let mut lab = Lab::with(|config| config.syn_cookies = SynCookieMode::Always);
        let listener = lab.listen_with(16, wanted);
        lab.send(syn().ace(7).mss(1460));
        lab.expect(syn_ack().ace(2).counters(&NONE));
        lab.send(ack().ace(third));
        let id = lab.accept(listener).unwrap();
        assert_eq!(lab.info(id).ecn, agreed, "{third}");
    }
    // Data alone may come back, with the counter; and one with ECN of RFC 3168 still needs our timestamp.
    let mut lab = Lab::with(|config| config.syn_cookies = SynCookieMode::Always);
    let listener = lab.listen_with(16, wanted);
    lab.flow.ts = Some(1000);
    lab.send(syn().ace(3).mss(1460));
    lab.expect(syn_ack().ece());
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.info(id).ecn, EcnFeedback::Classic);
    // Who does not want it takes no notice of such bits.
    let mut lab = Lab::with(|config| config.syn_cookies = SynCookieMode::Always);
    let listener = lab.listen();
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.send(ack().ace(2));
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.info(id).ecn, EcnFeedback::None);
}

// RFC 9768 3.2.2.1-3, RFC 9768 3.2.2.3-1
#[test]
fn what_the_third_segment_tells_of_the_syn_ack_decides_what_may_be_marked() {
    for (third, capable) in [(0, 0), (1, 2), (2, 2), (3, 0), (4, 0), (5, 2), (6, 0), (7, 2)] {
        for fallback in [true, false] {
            let (mut lab, listener) = half_open(|options| options.ecn_fallback = fallback);
            lab.drain();
            lab.send(ack().ace(third));
            let id = lab.accept(listener).unwrap();
            lab.write(id, b"x");
            // Nobody else counts at all: that is no matter of taste.
            let capable = if fallback || third == 0 { capable } else { 2 };
            let sent = lab.next_tcp();
            assert_eq!((sent.ip.traffic_class, sent.tcp.flags.ace()), (capable, 5), "{third}, {fallback}");
            assert_eq!(lab.info(id).delivered_ce, u32::from(third == 6));
            // The counters of RFC 9768 are told of whatever happens.
            lab.send(some(10).ce().ace(5));
            assert_eq!(lab.next_tcp().tcp.flags.ace(), 6);
        }
    }
}

// RFC 9768 3.2-1, RFC 9768 3.2.2.2-1
#[test]
fn every_packet_with_a_mark_counts() {
    let (mut lab, id) = bare();
    lab.send(some(100).ce().ace(5));
    lab.expect(ack().ace(6).ack(101).ect0().counters(&[]));
    // Without data, too; the counter comes round.
    for count in [7, 0, 1, 2] {
        lab.send(ack().ce().ace(5));
        lab.drain();
        lab.write(id, b"x");
        lab.expect(data("x").ace(count));
        lab.send(ack().ace(5));
    }
    // A train is as many as it was.
    lab.send(some(3000).merged(1000).ce().ace(5));
    assert_eq!(lab.next_tcp().tcp.flags.ace(), 5);
    assert_eq!((lab.info(id).received_ce, lab.info(id).received_ce_bytes), (8, 3100));
}

// RFC 9768 3.2-2
#[test]
fn bytes_are_counted_by_what_their_packets_said() {
    let (mut lab, id) = accepted_with(|_| {});
    lab.send(some(100).ce().ace(5));
    lab.expect(ack().ace(6).counters(&[1, 100, 1]));
    lab.send(some(200).ect0().ace(5));
    lab.expect(ack().ace(6).counters(&[1, 100, 201]));
    lab.send(some(300).ecn(EcnCodepoint::Ect1).ace(5));
    lab.expect(ack().ace(6).counters(&[301, 100, 201]));
    lab.send(some(400).not_ect().ace(5));
    lab.expect(ack().ace(6).counters(&[301, 100, 201]));
    let info = lab.info(id);
    assert_eq!((info.received_e1_bytes, info.received_ce_bytes, info.received_e0_bytes), (300, 100, 200));
}

// RFC 9768 3.2.2.5.1-1, RFC 9768 3.2.2.5.1-2
#[test]
fn changes_and_every_second_mark_are_told_of_at_once() {
    let (mut lab, _) = bare();
    lab.send(some(10).ect0().ace(5));
    lab.expect(ack().ack(11).ace(5));
    lab.send(some(10).ect0().ace(5));
    lab.after(40);
    lab.expect(ack().ack(21).ace(5));
    lab.send(some(10).ce().ace(5));
    lab.expect(ack().ack(31).ace(6));
    lab.send(some(10).ce().ace(5));
    lab.quiet();
    lab.send(some(10).ce().ace(5));
    lab.expect(ack().ack(51).ace(0));
    // Of acknowledgements with marks, every third.
    for _ in 0..2 {
        lab.send(ack().ce().ace(5));
        lab.quiet();
    }
    lab.send(ack().ce().ace(5));
    lab.expect(ack().ack(51).ace(3).sack(&[]));
}

/// `segments` of data are out.
fn flight(lab: &mut Lab, id: ConnectionId, segments: usize) {
    lab.write(id, &vec![b'x'; 1460 * segments]);
    lab.drain();
}

#[test]
fn marks_that_are_told_of_reduce_the_window_once_a_round_trip() {
    let (mut lab, id) = bare();
    flight(&mut lab, id, 10);
    lab.send(ack().ack(1461).ace(6));
    let info = lab.info(id);
    assert_eq!((info.ca_state, info.delivered_ce), (Phase::Cwr, 1));
    lab.send(ack().ack(2921).ace(7));
    assert_eq!((lab.info(id).ssthresh, lab.info(id).delivered_ce), (info.ssthresh, 2));
    // There is no CWR to be told of (RFC 9768 3.1.5).
    lab.write(id, b"y");
    assert!(lab.drain().iter().all(|sent| sent.tcp.as_ref().unwrap().tcp.flags.ace() == 5));
}

// RFC 9768 3.2.2.5.2-1
#[test]
fn the_bits_may_have_come_round_when_many_segments_are_acknowledged() {
    let (mut lab, id) = bare();
    flight(&mut lab, id, 10);
    lab.send(ack().ack(1461).ace(5));
    lab.send(ack().ack(14_601).ace(5));
    assert_eq!(lab.info(id).delivered_ce, 8);
    // The option knows better.
    let (mut lab, id) = accepted_with(|_| {});
    flight(&mut lab, id, 10);
    lab.send(ack().ack(1461).ace(5).counters(&[1, 0, 1461]));
    lab.send(ack().ack(14_601).ace(5).counters(&[1, 0, 14_601]));
    let info = lab.info(id);
    assert_eq!((info.delivered_ce, info.delivered_e0_bytes, info.delivered_ce_bytes), (0, 14_600, 0));
}

// RFC 9768 3.2.2.5.2-1
#[test]
fn acknowledgements_that_are_few_anyway_are_not_taken_for_marks() {
    let (mut lab, id) = bare();
    let mut una = 1;
    let mut acknowledge = |lab: &mut Lab, segments: u32| {
        flight(lab, id, segments as usize);
        una += 1460 * segments;
        lab.send(ack().ack(una).ace(5));
        lab.info(id).delivered_ce
    };
    for _ in 0..20 {
        assert_eq!(acknowledge(&mut lab, 10), 0, "offload at the peer's end: one for ten");
    }
    for _ in 0..40 {
        assert_eq!(acknowledge(&mut lab, 2), 0);
    }
    assert_eq!(acknowledge(&mut lab, 9), 8, "some were lost, and marks with them");
}

// RFC 9768 3.2.2.2-3
#[test]
fn what_acknowledges_nothing_new_is_old_unless_its_timestamp_is_newer() {
    for fresh in [false, true] {
        let (mut lab, listener) = half_open(|_| {});
        lab.drain();
        lab.send(ack().ace(2));
        lab.accept(listener).unwrap();
        let mut lab = Lab::new();
        let listener = lab.listen_with(16, wanted);
        lab.flow.ts = Some(1000);
        lab.send(syn().mss(1472).ace(7));
        lab.drain();
        lab.send(ack().ace(2));
        let id = lab.accept(listener).unwrap();
        lab.write(id, b"x");
        let tsval = lab.next_tcp().tcp.options.timestamps.unwrap().tsval;
        lab.send(ack().ack(2).ace(5).ts(1000, tsval));
        lab.write(id, b"y");
        lab.drain();
        lab.send(ack().ack(2).ace(6).ts(if fresh { 1001 } else { 1000 }, tsval));
        assert_eq!(lab.info(id).delivered_ce, u32::from(fresh));
    }
}

// RFC 9768 3.2.2.4-1
#[test]
fn a_counter_that_is_zeroed_is_not_believed() {
    let (mut lab, id) = bare();
    lab.write(id, b"x");
    lab.expect(data("x").ace(5).ect0());
    lab.send(ack().ace(0));
    lab.write(id, b"y");
    lab.expect(data("y").ace(5).not_ect());
    lab.send(ack().ace(3));
    let info = lab.info(id);
    assert_eq!((info.ca_state, info.ssthresh), (Phase::Open, info.ssthresh));
}

// RFC 9768 3.2.2.3-2
#[test]
fn marks_on_everything_are_no_congestion() {
    let (mut lab, id) = bare();
    let (mut ace, mut capable) = (5, Vec::new());
    for _ in 0..8 {
        lab.write(id, b"x");
        capable.push(lab.next_tcp().ip.traffic_class);
        ace = (ace + 1) % 8;
        lab.send(ack().ace(ace));
        lab.after(10);
    }
    assert_eq!((capable[0], capable[7]), (2, 0), "{capable:?}");
    // One segment without a mark, and it is a matter of congestion.
    let (mut lab, id) = bare();
    let mut ace = 5;
    for round in 0..8 {
        lab.write(id, b"x");
        assert_eq!(lab.next_tcp().ip.traffic_class, 2, "{round}");
        ace = if round == 1 { ace } else { (ace + 1) % 8 };
        lab.send(ack().ace(ace));
        lab.after(10);
    }
}

// RFC 9768 3.2.3.2.5-1
#[test]
fn counters_that_contradict_each_other_are_a_sign_of_mangling() {
    let (mut lab, id) = accepted_with(|_| {});
    lab.write(id, b"x");
    lab.expect(data("x").ace(5).ect0());
    lab.send(ack().ace(5).counters(&[1, 1, 1]));
    lab.write(id, b"y");
    lab.expect(data("y").ace(5).not_ect());
}

// RFC 9768 3.2.3.2.4-1
#[test]
fn an_option_that_is_zeroed_is_not_believed() {
    let (mut lab, listener) = half_open(|_| {});
    lab.drain();
    lab.send(ack().ace(2).counters(&[0, 0, 0]));
    let id = lab.accept(listener).unwrap();
    lab.write(id, b"x");
    lab.expect(data("x").ace(5).ect0().counters(&[]));
    lab.send(ack().ace(5).counters(&[1, 9, 1]));
    assert_eq!((lab.info(id).delivered_ce_bytes, lab.info(id).delivered_ce), (0, 0));
}

#[test]
fn an_option_that_does_not_come_through_is_given_up() {
    let (mut lab, id) = accepted_with(|_| {});
    let mss = lab.info(id).snd_mss;
    lab.send(some(100).ect0().ace(5));
    lab.expect(ack().ace(5).counters(&[1, 0, 101]));
    lab.send(some(100).seq(1).ect0().ace(5));
    lab.expect(ack().ace(5).counters(&[1, 0, 201]));
    lab.send(some(100).seq(1).ect0().ace(5));
    lab.expect(ack().ace(5).counters(&[]));
    lab.send(some(100).seq(101).ect0().ace(5));
    lab.after(40);
    lab.expect(ack().ace(5).counters(&[]));
    assert_eq!(lab.info(id).snd_mss, mss + 12, "data has room again");
}

#[test]
fn the_option_is_not_sent_before_the_peers_was_seen() {
    let (mut lab, id) = connected(syn_ack().ace(2));
    lab.expect(ack().ace(2).counters(&[]));
    lab.write(id, &[b'x'; 1460]);
    lab.expect(some(1460).ace(5).counters(&[]));
    lab.send(ack().ace(5).counters(&[1, 0, 1461]));
    lab.write(id, &[b'x'; 1448]);
    lab.expect(some(1448).ace(5).counters(&NONE));
}

// RFC 9768 3.2.3.3-1
#[test]
fn two_sack_blocks_go_before_the_option_and_a_third_does_not() {
    let mut lab = Lab::new();
    lab.listen_with(16, wanted);
    lab.flow.ts = Some(1000);
    lab.send(syn().mss(1472).sack_ok(true).ace(7));
    lab.drain();
    lab.send(ack().ace(2).counters(&NONE));
    lab.send(some(100).seq(101).ecn(EcnCodepoint::Ect1).ace(5));
    lab.expect(ack().ace(5).counters(&[101, 0, 1]).sack(&[(101, 201)]));
    lab.send(some(100).seq(301).ecn(EcnCodepoint::Ect1).ace(5));
    lab.expect(ack().ace(5).counters(&[201, 0]).sack(&[(301, 401), (101, 201)]));
    lab.send(some(100).seq(501).ce().ace(5));
    lab.expect(ack().ace(6).counters(&[201, 100]).sack(&[(501, 601), (301, 401)]));
    lab.send(some(100).seq(701).ect0().ace(5));
    lab.expect(ack().ace(6).counters(&[]).sack(&[(701, 801), (501, 601), (301, 401)]));
}

#[test]
fn the_least_of_options_tells_of_changes_and_now_and_then() {
    let (mut lab, id) = accepted_with(|options| {
        options.ecn_option = EcnOption::Least;
        options.ecn_option_beacon = 0;
    });
    assert_eq!(lab.info(id).snd_mss, 1460, "not with data");
    let mut with = Vec::new();
    for field in [EcnCodepoint::Ect0; 8].into_iter().chain([EcnCodepoint::Ce]) {
        lab.send(some(2920).ecn(field).ace(5));
        with.extend(
            lab.drain().iter().map(|sent| sent.tcp.as_ref().unwrap().tcp.options.accurate_ecn.is_some()),
        );
    }
    assert_eq!(with, [true, true, false, false, false, false, false, false, true]);
    lab.write(id, b"x");
    lab.expect(data("x").ace(6).counters(&[]));
}

#[test]
fn a_train_has_the_same_counter_on_each_segment() {
    let mut lab = Lab::with(|config| config.longest_train = 65_535);
    let listener = lab.listen_with(16, wanted);
    lab.send(syn().mss(1472).sack_ok(true).ace(7));
    lab.drain();
    lab.send(ack().ce().ace(2).counters(&NONE));
    let id = lab.accept(listener).unwrap();
    lab.stack.send(lab.ts(), id, &[b'x'; 4 * 1448], Default::default()).unwrap();
    let mut sent = Vec::new();
    let train = lab.stack.poll_transmit(lab.ts()).unwrap();
    assert!(train.accurate_ecn && train.segment_size == Some(1448));
    train.for_each_on_wire(&mut bytes::BytesMut::new(), |packet| {
        let parsed = parse(packet).unwrap();
        sent.push((parsed.tcp.flags & TcpFlags::ACE, parsed.tcp.options.accurate_ecn.is_some()));
    });
    assert_eq!(sent, [(TcpFlags::from_ace(6), true); 4]);
}

/// With what it counts; and nothing that others have.
#[test]
fn both_ends_count_across_a_simultaneous_open() {
    let mut lab = Lab::new();
    let id = lab.connect_with(wanted).unwrap();
    lab.expect(syn().ace(7).seq(0));
    lab.send(syn().ace(7).mss(1472).ect0());
    lab.expect(syn_ack().ace(4).seq(0).ack(1));
    lab.send(syn_ack().ace(2).seq(0).ack(1));
    assert_eq!(lab.info(id).ecn, EcnFeedback::Accurate);
    lab.write(id, b"x");
    lab.expect(data("x").ace(5).ect0());
    lab.send(ack().ace(5));
    assert_eq!(lab.info(id).delivered_ce, 0);
}
