//! Who takes a datagram.

use ropeway_core::{Event, ListenError, Readiness, UdpOptions};

use crate::common::*;
use crate::{FAMILIES, datagram};

// RFC 768, RFC 1122 4.1.3.5-1
#[test]
fn a_datagram_comes_with_both_its_ends() {
    for (own, peer) in FAMILIES {
        let mut lab = Lab::new();
        let unspecified = if own.contains(':') { "[::]:53" } else { "0.0.0.0:53" };
        for local in [unspecified, &format!("{own}:53")] {
            let id = lab.bind(local);
            lab.heard_nothing(id);
            lab.send_packet(datagram(&format!("{peer}:5000"), &format!("{own}:53"), b"hello"));
            assert_eq!(lab.events, [Event::Udp(id, Readiness::READABLE)]);
            assert_eq!(lab.stack.udp_readiness(id), Readiness::READABLE | Readiness::WRITABLE);
            let heard = lab.heard(id);
            assert_eq!(
                (&heard.payload[..], heard.remote, heard.local),
                (&b"hello"[..], addr(&format!("{peer}:5000")), addr(&format!("{own}:53")),)
            );
            lab.heard_nothing(id);
            lab.quiet();
            lab.stack.udp_close(lab.ts(), id);
            lab.events.clear();
        }
        assert_eq!(lab.stack.sizes().udp_sockets, 0);
        assert_eq!(lab.stack.memory().datagrams, 0);
    }
}

// RFC 6864 4.1-2
#[test]
fn datagrams_keep_their_bounds_and_their_order_and_may_be_empty() {
    let mut lab = Lab::new();
    let id = lab.bind("10.0.0.2:53");
    for data in [&b"one"[..], b"", b"three"] {
        lab.send_packet(datagram("10.0.0.1:5000", "10.0.0.2:53", data));
    }
    assert_eq!(lab.stack.udp_peek(id).unwrap().payload, b"one"[..]);
    for data in [&b"one"[..], b"", b"three"] {
        assert_eq!(lab.heard(id).payload, data);
    }
}

/// A socket that is connected to the sender, one for just the address, one for any.
#[test]
fn the_closest_socket_takes_it() {
    let mut lab = Lab::new();
    let share = |options: &mut UdpOptions| options.reuse_addr = true;
    let everywhere = lab.bind_with("[::]:53", share);
    let v4 = lab.bind_with("0.0.0.0:53", share);
    let one = lab.bind_with("10.0.0.2:53", share);
    let connected = lab.bind_with("10.0.0.2:53", share);
    lab.stack.udp_connect(lab.ts(), connected, addr("10.0.0.1:5000")).unwrap();
    assert_eq!(lab.stack.udp_peer_addr(connected), Ok(Some(addr("10.0.0.1:5000"))));
    for (id, from) in [(connected, 5000), (one, 5001)] {
        lab.send_packet(datagram(&format!("10.0.0.1:{from}"), "10.0.0.2:53", b"x"));
        assert_eq!(lab.heard(id).remote.port(), from);
    }
    for (next, gone) in [(v4, one), (everywhere, v4)] {
        lab.stack.udp_close(lab.ts(), gone);
        lab.send_packet(datagram("10.0.0.1:5001", "10.0.0.2:53", b"x"));
        lab.heard(next);
    }
    lab.send_packet(datagram("[fd00::1]:5001", "[fd00::2]:53", b"x"));
    lab.heard(everywhere);
    lab.heard_nothing(connected);
}

// RFC 8085 5.1-2
#[test]
fn a_connected_socket_hears_nobody_else() {
    let mut lab = Lab::new();
    let id = lab.bound_to("0.0.0.0:53", "10.0.0.1:5000");
    assert_eq!(
        lab.stack.udp_local_addr(id),
        Ok(addr("10.0.0.2:53")),
        "which address it is depends on the peer"
    );
    for other in ["10.0.0.1:5001", "10.0.0.9:5000"] {
        lab.send_packet(datagram(other, "10.0.0.2:53", b"x"));
        lab.next_packet();
    }
    lab.heard_nothing(id);
    assert_eq!(lab.stack.counters().udp_no_port, 2);
    // It may be connected anew; what has come before stays.
    lab.send_packet(datagram("10.0.0.1:5000", "10.0.0.2:53", b"old"));
    lab.stack.udp_connect(lab.ts(), id, addr("10.0.0.9:5000")).unwrap();
    lab.send_packet(datagram("10.0.0.9:5000", "10.0.0.2:53", b"new"));
    assert_eq!([lab.heard(id).payload, lab.heard(id).payload], [&b"old"[..], b"new"]);
}

#[test]
fn the_last_one_that_shares_an_address_takes_what_is_for_one() {
    let mut lab = Lab::new();
    let share = |options: &mut UdpOptions| options.reuse_addr = true;
    let (first, second) = (lab.bind_with("10.0.0.2:53", share), lab.bind_with("10.0.0.2:53", share));
    lab.send_packet(datagram("10.0.0.1:5000", "10.0.0.2:53", b"x"));
    lab.heard(second);
    lab.stack.udp_close(lab.ts(), second);
    lab.send_packet(datagram("10.0.0.1:5000", "10.0.0.2:53", b"x"));
    lab.heard(first);
}

#[test]
fn flows_are_spread_over_those_that_share_a_port_and_each_stays_where_it_is() {
    let mut lab = Lab::new();
    let share = |options: &mut UdpOptions| options.reuse_port = true;
    let ids: Vec<_> = (0..4).map(|_| lab.bind_with("10.0.0.2:53", share)).collect();
    for port in 1..=400 {
        for _ in 0..2 {
            lab.send_packet(datagram(&format!("10.0.0.1:{port}"), "10.0.0.2:53", b"x"));
        }
    }
    let mut flows = Vec::new();
    for id in ids {
        let mut ports = Vec::new();
        while let Ok(heard) = lab.stack.udp_recv(id) {
            ports.push(heard.remote.port());
        }
        assert!((120..280).contains(&ports.len()), "{}", ports.len());
        let all = ports.len();
        ports.dedup();
        assert_eq!(ports.len() * 2, all, "a flow came to two sockets");
        flows.extend(ports);
    }
    flows.sort_unstable();
    assert!(flows.into_iter().eq(1..=400));
}

#[test]
fn addresses_are_taken_or_shared_as_on_linux() {
    let plain = UdpOptions::default();
    let addr_shared = UdpOptions { reuse_addr: true, ..plain.clone() };
    let port_shared = UdpOptions { reuse_port: true, ..plain.clone() };
    let only_v6 = UdpOptions { only_v6: true, ..plain.clone() };
    for (first, of_first, second, of_second, free) in [
        ("10.0.0.2:53", &plain, "10.0.0.2:53", &plain, false),
        ("10.0.0.2:53", &addr_shared, "10.0.0.2:53", &plain, false),
        ("10.0.0.2:53", &plain, "10.0.0.2:53", &addr_shared, false),
        ("10.0.0.2:53", &addr_shared, "10.0.0.2:53", &addr_shared, true),
        ("10.0.0.2:53", &port_shared, "10.0.0.2:53", &port_shared, true),
        ("10.0.0.2:53", &port_shared, "10.0.0.2:53", &addr_shared, false),
        ("0.0.0.0:53", &plain, "10.0.0.2:53", &plain, false),
        ("[::]:53", &plain, "0.0.0.0:53", &plain, false),
        ("[::]:53", &only_v6, "0.0.0.0:53", &plain, true),
        ("0.0.0.0:53", &plain, "[::]:53", &only_v6, true),
        ("[::]:53", &only_v6, "[fd00::2]:53", &plain, false),
        ("[::ffff:10.0.0.2]:53", &plain, "10.0.0.2:53", &plain, false),
        ("10.0.0.2:53", &plain, "[fd00::2]:53", &plain, true),
    ] {
        let mut lab = Lab::new();
        let id = lab.stack.udp_bind(addr(first), of_first.clone()).unwrap().0;
        let again = lab.stack.udp_bind(addr(second), of_second.clone());
        let expected = if free { Ok(addr(second)) } else { Err(ListenError::AddressInUse) };
        assert_eq!(again.map(|(_, local)| local), expected, "{first} and {second}");
        if !free {
            lab.stack.udp_close(lab.ts(), id);
            lab.stack.udp_bind(addr(second), of_second.clone()).unwrap();
        }
    }
    let mut lab = Lab::new();
    assert_eq!(lab.stack.udp_bind(addr("10.0.0.3:1"), plain.clone()), Err(ListenError::AddressNotAvailable));
    // TCP has ports of its own.
    lab.bind("10.0.0.2:80");
    lab.listen();
    let ports: std::collections::BTreeSet<_> =
        (0..100).map(|_| lab.stack.udp_bind(addr("0.0.0.0:0"), plain.clone()).unwrap().1.port()).collect();
    assert!(ports.len() == 100 && ports.iter().all(|port| (32768..=60999).contains(port)));
}

#[test]
fn what_leaves_ipv4_to_others_hears_none_of_it() {
    let mut lab = Lab::new();
    let id = lab.bind_with("[::]:53", |options| options.only_v6 = true);
    lab.send_packet(datagram("10.0.0.1:5000", "10.0.0.2:53", b"x"));
    lab.next_packet();
    lab.heard_nothing(id);
    lab.send_packet(datagram("[fd00::1]:5000", "[fd00::2]:53", b"x"));
    lab.heard(id);
}

// RFC 1122 4.1.3.4-2, RFC 8085 3.4-1, RFC 8085 3.4.1-1, RFC 8200 8.1-2
#[test]
fn a_wrong_checksum_is_dropped_without_a_word_and_none_at_all_is_right_for_ipv4_only() {
    for (own, peer) in FAMILIES {
        let mut lab = Lab::new();
        let id = lab.bind(&format!("{own}:53"));
        let good = datagram(&format!("{peer}:5000"), &format!("{own}:53"), b"hello");
        let at = good.len() - 5 - 2;
        for byte in at..good.len() {
            let mut spoilt = good.clone();
            spoilt[byte] ^= 0x40;
            lab.send_packet(spoilt);
        }
        lab.heard_nothing(id);
        assert_eq!(lab.stack.counters().udp_bad_checksums, 7);
        let mut none = good.clone();
        none[at..at + 2].fill(0);
        lab.send_packet(none);
        if own.contains(':') {
            lab.heard_nothing(id);
            assert_eq!(lab.stack.counters().udp_bad_checksums, 8);
        } else {
            lab.heard(id);
        }
        lab.quiet();
    }
}

#[test]
fn a_length_that_lies_is_not_believed() {
    let mut lab = Lab::new();
    let id = lab.bind("10.0.0.2:53");
    let good = datagram("10.0.0.1:5000", "10.0.0.2:53", b"hello");
    for len in [0u16, 7, 14, 100, u16::MAX] {
        let mut lies = good.clone();
        lies[24..26].copy_from_slice(&len.to_be_bytes());
        lies[26..28].fill(0);
        lab.send_packet(lies);
    }
    lab.heard_nothing(id);
    assert_eq!(lab.stack.counters().malformed_transport, 5);
    let mut short = good;
    short[24..26].copy_from_slice(&10u16.to_be_bytes());
    short[26..28].fill(0);
    lab.send_packet(short);
    assert_eq!(lab.heard(id).payload, b"he"[..]);
}

#[test]
fn the_longest_datagrams_come_through_between_own_addresses() {
    for (own, longest) in
        [("127.0.0.1", 65_507), ("[::1]", 65_527), ("10.0.0.2", 65_507), ("[fd00::2]", 65_527)]
    {
        let mut lab = Lab::new();
        let (to, from) = (lab.bind(&format!("{own}:53")), lab.bind(&format!("{own}:0")));
        let data = pattern(0, longest);
        lab.say_to(from, &format!("{own}:53"), &data).unwrap();
        assert_eq!(lab.heard(to).payload, data);
        lab.quiet();
    }
}

/// A flow of its own has a port only towards its peer: what else comes there is somebody else's.
#[test]
fn a_socket_that_was_opened_hears_its_peer_and_leaves_its_port_to_others() {
    let mut lab = Lab::new();
    let id = lab.stack.udp_open(lab.ts(), addr("10.0.0.1:53"), UdpOptions::default()).unwrap();
    let local = lab.stack.udp_local_addr(id).unwrap();
    assert_eq!(local.ip().to_string(), "10.0.0.2");
    assert!((32768..=60999).contains(&local.port()));
    lab.send_packet(datagram("10.0.0.1:54", &local.to_string(), b"x"));
    lab.next_packet();
    lab.send_packet(datagram("10.0.0.1:53", &local.to_string(), b"x"));
    lab.heard(id);
    let other = UdpOptions { reuse_addr: true, ..UdpOptions::default() };
    lab.stack.udp_bind(local, other).unwrap();
    lab.stack.udp_close(lab.ts(), id);
    assert_eq!(lab.stack.sizes().udp_sockets, 1);
}
