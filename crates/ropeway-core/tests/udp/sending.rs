//! What goes out.

use ropeway_core::packet::EcnCodepoint;
use ropeway_core::{DatagramError, Outgoing};

use crate::common::*;
use crate::{FAMILIES, read};

// RFC 1122 4.1.3.4-1
#[test]
fn a_datagram_goes_from_the_address_that_the_peer_can_answer() {
    for (own, peer) in FAMILIES {
        let mut lab = Lab::new();
        let anywhere = lab.bind("[::]:53");
        lab.say_to(anywhere, &format!("{peer}:5000"), b"hello").unwrap();
        let (ip, from, to, data) = read(&lab.next_packet());
        assert_eq!((from, to, &data[..]), (format!("{own}:53"), format!("{peer}:5000"), &b"hello"[..]));
        assert!(ip.dont_fragment && ip.hop_limit == 64 && ip.traffic_class == 0);
        let connected = lab.bound_to(&format!("{own}:99"), &format!("{peer}:7"));
        lab.say(connected, b"").unwrap();
        let (_, from, to, data) = read(&lab.next_packet());
        assert_eq!((from, to, data), (format!("{own}:99"), format!("{peer}:7"), Vec::new()));
        // One that is connected may write to others.
        lab.say_to(connected, &format!("{peer}:8"), b"x").unwrap();
        assert_eq!(read(&lab.next_packet()).2, format!("{peer}:8"));
        assert_eq!(lab.stack.counters().udp_sent, 3);
        lab.quiet();
    }
}

// RFC 1122 4.1.4-1
#[test]
fn ttl_and_traffic_class_are_the_sockets_and_ecn_each_datagrams() {
    for (own, peer) in FAMILIES {
        let mut lab = Lab::new();
        let id = lab.bind_with(&format!("{own}:53"), |options| {
            (options.ttl, options.tos, options.tclass) = (7, 0xb8, 0xb8);
        });
        for (ecn, class) in [(None, 0xb8), (Some(EcnCodepoint::Ect0), 0xba), (Some(EcnCodepoint::Ect1), 0xb9)]
        {
            let how = Outgoing { to: Some(addr(&format!("{peer}:1"))), ecn, ..Outgoing::default() };
            lab.stack.udp_send(lab.ts(), id, b"x", &how).unwrap();
            let ip = read(&lab.next_packet()).0;
            assert_eq!((ip.hop_limit, ip.traffic_class), (7, class));
        }
    }
}

// RFC 1122 4.1.3.6-2
#[test]
fn what_cannot_be_sent_says_why() {
    use DatagramError::{
        AddressNotAvailable, BroadcastRefused, FamilyMismatch, InvalidAddress, NetworkUnreachable,
        NoDestination, TooLong,
    };
    let mut lab = Lab::new();
    let (v4, v6, any) = (lab.bind("0.0.0.0:1"), lab.bind("[fd00::2]:1"), lab.bind("[::]:2"));
    let only_v6 = lab.bind_with("[::]:3", |options| options.only_v6 = true);
    let loopback = lab.bind("127.0.0.1:4");
    for (id, to, error) in [
        (v4, "[fd00::1]:5", FamilyMismatch),
        (v6, "10.0.0.1:5", NetworkUnreachable),
        (v6, "[::ffff:10.0.0.1]:5", NetworkUnreachable),
        (only_v6, "[::ffff:10.0.0.1]:5", NetworkUnreachable),
        (v4, "10.0.0.1:0", InvalidAddress),
        (v4, "10.0.0.255:5", BroadcastRefused),
        (v4, "255.255.255.255:5", BroadcastRefused),
        (loopback, "10.0.0.1:5", InvalidAddress),
    ] {
        assert_eq!(lab.say_to(id, to, b"x"), Err(error), "{to}");
    }
    assert_eq!(lab.say(v4, b"x"), Err(NoDestination));
    lab.say_to(any, "[::ffff:10.0.0.1]:5", b"x").unwrap();
    assert_eq!(read(&lab.next_packet()).1, "10.0.0.2:2");
    // 1500 bytes pass, and no more than a packet can have anywhere.
    lab.say_to(v4, "10.0.0.1:5", &[0; 1472]).unwrap();
    assert_eq!(lab.next_packet().len(), 1500);
    lab.stack.udp_update_options(v4, |options| options.dont_fragment = true).unwrap();
    assert_eq!(lab.say_to(v4, "10.0.0.1:5", &[0; 1473]), Err(TooLong));
    assert_eq!(lab.say_to(v4, "127.0.0.1:5", &[0; 65_508]), Err(TooLong));
    let foreign =
        Outgoing { to: Some(addr("10.0.0.1:5")), from: Some(addr("10.0.0.9:1")), ..Outgoing::default() };
    assert_eq!(lab.stack.udp_send(lab.ts(), v4, b"x", &foreign), Err(AddressNotAvailable));
    lab.quiet();
    let mut alone = Lab::with(|config| config.addresses.clear());
    let id = alone.bind("0.0.0.0:1");
    assert_eq!(alone.say_to(id, "10.0.0.1:5", b"x"), Err(NetworkUnreachable));
}

// RFC 1122 4.1.3.5-2
#[test]
fn a_datagram_to_ourselves_has_arrived_when_the_call_returns() {
    let mut lab = Lab::new();
    let (server, client) = (lab.bind("0.0.0.0:53"), lab.bind("0.0.0.0:0"));
    for to in ["127.0.0.1:53", "10.0.0.2:53", "0.0.0.0:53", "127.9.9.9:53"] {
        lab.say_to(client, to, b"ping").unwrap();
        let heard = lab.heard(server);
        let back = heard.remote.to_string();
        let how = Outgoing { to: Some(heard.remote), from: Some(heard.local), ..Outgoing::default() };
        lab.stack.udp_send(lab.ts(), server, b"pong", &how).unwrap();
        let answer = lab.heard(client);
        assert_eq!((answer.remote, answer.payload), (heard.local, b"pong"[..].into()), "{to} from {back}");
    }
    lab.collect();
    lab.quiet();
}

// RFC 6864 4.1-1
#[test]
fn packets_of_a_flow_have_a_label_that_others_cannot_guess() {
    for (own, peer) in FAMILIES {
        let mut lab = Lab::new();
        let id = lab.bind(&format!("{own}:53"));
        let mut labels = Vec::new();
        for port in [1, 1, 2, 3] {
            lab.say_to(id, &format!("{peer}:{port}"), b"x").unwrap();
            let packet = lab.next_packet();
            labels.push(ropeway_core::packet::icmp::parse_quote(&packet).unwrap().label);
        }
        assert_eq!(labels[0], labels[1]);
        labels.dedup();
        assert_eq!(labels.len(), 3);
        assert!(labels.iter().all(|label| *label != 0));
    }
}
