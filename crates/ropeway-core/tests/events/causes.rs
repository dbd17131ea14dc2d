//! Why something is sent again, or a probe is: the mechanism says so, one after the other.

use ropeway_core::events::{SEGMENT, SENDER};
use ropeway_core::packet::IcmpErrorKind;
use ropeway_core::packet::icmp::emit_error;
use ropeway_core::{ConnectionId, KeepAlive, StackConfig};

use crate::common::*;
use crate::{SACK, Told, told};

const MSS: u32 = 1460;

/// The relative number of the first byte of a full segment.
const fn seg(number: u32) -> u32 {
    1 + number * MSS
}

/// What is sent again and why, or for whatever other cause: first number, length, cause.
fn sendings(lab: &Lab, told: &[Told]) -> Vec<(u32, u64, String)> {
    let caused = told.iter().filter(|told| {
        told.is_sent() && (told.get("retransmission") == "true" || !told.get("cause").is_empty())
    });
    let relative = |told: &Told| (told.number("seq") as u32).wrapping_sub(lab.flow.iss);
    caused.map(|told| (relative(told), told.number("len"), told.get("cause").to_owned())).collect()
}

/// A connection on which so many full segments are out, and what is told from then on.
fn of_flight(
    peer: Peer,
    change: impl FnOnce(&mut StackConfig),
    segments: u32,
    then: impl FnOnce(&mut Lab, ConnectionId),
) -> Vec<(u32, u64, String)> {
    let mut lab = Lab::with(|config| {
        config.tlp = false;
        change(config);
    });
    let id = lab.accepted(peer);
    lab.at(10);
    lab.write(id, &pattern(0, (segments * MSS) as usize));
    lab.drain();
    let told = told(SEGMENT, || then(&mut lab, id));
    sendings(&lab, &told)
}

fn cause(number: u32, segments: u32, cause: &str) -> Vec<(u32, u64, String)> {
    vec![(seg(number), u64::from(segments * MSS), cause.to_owned())]
}

// RFC 8985 6.2
#[test]
fn what_rack_finds_lost() {
    let sent = of_flight(
        SACK,
        |_| {},
        10,
        |lab, _| {
            lab.at(30);
            lab.send(ack().ack(1).sack(&[(seg(1), seg(5))]));
        },
    );
    assert_eq!(sent, cause(0, 1, "rack"));
}

// RFC 6675 4
#[test]
fn what_blocks_say_is_lost_where_rack_is_off() {
    let sent = of_flight(
        SACK,
        |config| config.rack = false,
        10,
        |lab, _| {
            lab.at(30);
            lab.send(ack().ack(1).sack(&[(seg(1), seg(5))]));
        },
    );
    assert_eq!(sent, cause(0, 1, "sack"));
}

// RFC 5681 3.2, RFC 6582 3.2
#[test]
fn what_duplicates_and_partial_acknowledgements_say_without_sack() {
    let sent = of_flight(
        Peer::default(),
        |_| {},
        10,
        |lab, _| {
            lab.at(30);
            for _ in 0..3 {
                lab.send(ack().ack(1));
            }
            lab.drain();
            lab.at(50);
            lab.send(ack().ack(seg(4)));
        },
    );
    assert_eq!(sent, [cause(0, 1, "dupack"), cause(4, 1, "partial_ack")].concat());
}

// RFC 6298 5
#[test]
fn what_the_timer_sends_again() {
    let sent = of_flight(Peer::default(), |_| {}, 2, |lab, _| lab.run_to(ms(400)));
    assert_eq!(sent, cause(0, 1, "rto"));
}

// RFC 8985 7.3
#[test]
fn a_probe_of_the_tail_is_told_with_new_data_and_without() {
    let sent = of_flight(SACK, |config| config.tlp = true, 2, |lab, _| lab.run_to_deadline());
    assert_eq!(sent, cause(1, 1, "tlp"));
    let mut lab = Lab::new();
    let id = lab.accepted(SACK);
    let told = told(SEGMENT, || {
        lab.write(id, &pattern(0, (30 * MSS) as usize));
        lab.drain();
        lab.run_to_deadline();
    });
    assert_eq!(sendings(&lab, &told), cause(10, 1, "tlp"));
    let probe = told.iter().find(|told| told.get("cause") == "tlp").unwrap();
    assert_eq!(probe.get("retransmission"), "false", "it was new data");
}

// RFC 2018 5
#[test]
fn what_a_peer_has_dropped_again() {
    let sent = of_flight(
        SACK,
        |_| {},
        2,
        |lab, _| {
            lab.send(ack().ack(1).sack(&[(seg(1), seg(2))]));
            lab.send(ack().ack(seg(1)));
            lab.run_to(ms(400));
        },
    );
    assert_eq!(sent, cause(1, 1, "reneging"));
}

// RFC 1191 6.5
#[test]
fn what_was_too_big() {
    let mut lab = Lab::new();
    let id = lab.accepted(SACK);
    lab.write(id, &pattern(0, MSS as usize));
    let packet = lab.drain().remove(0).packet;
    let told = told(SEGMENT, || {
        let big = IcmpErrorKind::PacketTooBig { mtu: 1000 };
        lab.send_packet(emit_error(
            "10.9.9.9".parse().unwrap(),
            "10.0.0.2".parse().unwrap(),
            big,
            &packet,
            64,
        ));
        lab.drain();
    });
    let pmtu = |seq, len| (seq, len, "pmtu".to_owned());
    assert_eq!(sendings(&lab, &told), [pmtu(1, 960), pmtu(961, 500)]);
}

// RFC 9293 3.8.6.1
#[test]
fn a_probe_of_a_window_and_what_follows_when_it_opens() {
    let (mut lab, id) = shut_out();
    let told = told(SEGMENT, || {
        lab.write(id, &pattern(1, 10));
        lab.run_to(ms(300));
        lab.drain();
        lab.flow.win = 1000;
        lab.send(ack().ack(2));
        lab.drain();
    });
    let probe = |len| (2, len, "window_probe".to_owned());
    assert_eq!(sendings(&lab, &told), [probe(1), probe(10)]);
    let again: Vec<&str> = told
        .iter()
        .filter(|told| !told.get("cause").is_empty())
        .map(|told| told.get("retransmission"))
        .collect();
    assert_eq!(again, ["false", "true"]);
}

// RFC 9293 3.8.4
#[test]
fn a_keep_alive_probe() {
    let mut lab = Lab::new();
    let keep_alive = KeepAlive { idle: std::time::Duration::from_secs(1), ..KeepAlive::default() };
    lab.accepted_with(SACK, |options| options.keep_alive = Some(keep_alive));
    let told = told(SEGMENT, || lab.run_to(ms(1000)));
    assert_eq!(sendings(&lab, &told), [(0, 0, "keep_alive".to_owned())]);
}

// RFC 9293 3.8.3
#[test]
fn syns_that_are_sent_again_from_either_end() {
    let mut lab = Lab::new();
    lab.connect();
    let flow = lab.drain().remove(0).tcp.unwrap().tcp.seq;
    lab.flow.iss = flow.get();
    let active = told(SEGMENT, || lab.run_to(ms(1000)));
    assert_eq!(sendings(&lab, &active), [(0, 0, "rto".to_owned())]);

    let mut lab = Lab::new();
    lab.listen();
    lab.send(syn().mss(1460));
    lab.flow.iss = lab.drain().remove(0).tcp.unwrap().tcp.seq.get();
    let passive = told(SEGMENT, || {
        lab.run_to(ms(1000));
        lab.drain();
        lab.send(syn().mss(1460).seq(0));
    });
    let none = String::new();
    assert_eq!(
        sendings(&lab, &passive),
        [(0, 0, "rto".to_owned()), (0, 0, none)],
        "the second was asked for"
    );
}

// RFC 4015: what was a mistake is told, too.
#[test]
fn a_timeout_that_was_spurious_is_undone() {
    let peer = Peer { ts: true, ..SACK };
    let mut lab = Lab::new();
    let told = told(SENDER, || {
        let id = lab.accepted(peer);
        lab.at(10);
        lab.write(id, &pattern(0, 10 * 1448));
        lab.drain();
        let echoed = lab.flow.tsval;
        lab.run_to(ms(400));
        lab.drain();
        lab.send(ack().ack(1 + 10 * 1448).ecr(echoed));
    });
    let causes: Vec<&str> = told.iter().map(|told| told.get("cause")).collect();
    let timeout = causes.iter().position(|cause| *cause == "rto").unwrap();
    assert_eq!(told[timeout].get("ca_state"), "Loss");
    let last = told.last().unwrap();
    assert_eq!((last.get("undone"), last.get("spurious_timeout")), ("true", "true"), "{last:?}");
    assert!(last.number("cwnd") >= told[0].number("cwnd"));
}
