//! Datagrams in fragments, out and in (RFC 1122 3.3.3, RFC 8200 4.5, RFC 8900).

use ropeway_core::packet::EcnCodepoint;

use super::*;

fn sent(lab: &mut Lab) -> Vec<Vec<u8>> {
    lab.drain().into_iter().map(|sent| sent.packet.to_vec()).collect()
}

// RFC 1122 3.3.3-1, RFC 791 3.2-5
#[test]
fn what_is_longer_than_the_path_takes_leaves_in_fragments() {
    for (own, peer) in FAMILIES {
        let mut lab = Lab::new();
        let id = lab.bind(&format!("{own}:99"));
        let to = format!("{peer}:53");
        for len in [1473, 5000, 65_507] {
            let data = pattern(0, len);
            lab.say_to(id, &to, &data).unwrap();
            lab.collect();
            let fragments = sent(&mut lab);
            assert!(fragments.len() > 1 && fragments.iter().all(|fragment| fragment.len() <= 1500));
            let (ip, from, dst, heard) = read(&join(&fragments));
            assert_eq!((from, dst, heard == data), (format!("{own}:99"), to.clone(), true));
            assert!(!ip.dont_fragment || ip.src.is_ipv6(), "routers may cut it further");
        }
        assert_eq!(lab.stack.counters().udp_sent, 3);
        assert_eq!(lab.stack.counters().datagrams_fragmented, 3);
        // What fits has the DF bit, so that routers tell what passes.
        lab.say_to(id, &to, &pattern(0, 1400)).unwrap();
        let (ip, ..) = read(&lab.next_packet());
        assert!(ip.dont_fragment && ip.fragment.is_none());
    }
}

// RFC 1122 3.3.3-2, RFC 6864 4.3-2
#[test]
fn a_socket_may_refuse_that() {
    for (own, peer) in FAMILIES {
        let mut lab = Lab::new();
        let id = lab.bind_with(&format!("{own}:99"), |options| options.dont_fragment = true);
        let to = format!("{peer}:53");
        assert_eq!(lab.say_to(id, &to, &[7; 1473]), Err(DatagramError::TooLong));
        // To ourselves nothing is too long.
        lab.say_to(id, &format!("{own}:99"), &pattern(0, 65_507)).unwrap();
        assert_eq!(lab.heard(id).payload, pattern(0, 65_507));
        lab.quiet();
        // And several of one call are never cut.
        lab.stack.udp_update_options(id, |options| options.dont_fragment = false).unwrap();
        let how = Outgoing { to: Some(addr(&to)), segment_size: Some(1473), ..Outgoing::default() };
        assert_eq!(lab.stack.udp_send(lab.ts(), id, &[7; 3000], &how), Err(DatagramError::TooLong));
    }
}

#[test]
fn what_comes_in_fragments_is_read_whole() {
    for (own, peer) in FAMILIES {
        let mut lab = Lab::new();
        let id = lab.bind(&format!("{own}:99"));
        let data = pattern(0, 20_000);
        let packet = datagram(&format!("{peer}:53"), &format!("{own}:99"), &data);
        for piece in cut(&packet, 1500, 7).into_iter().rev() {
            lab.heard_nothing(id);
            lab.send_packet(piece);
        }
        let heard = lab.heard(id);
        assert!(heard.payload == data);
        assert_eq!(heard.remote, addr(&format!("{peer}:53")));
        // One mark counts for all of it (RFC 3168 5.3).
        for (number, mut piece) in cut(&packet, 1500, 8).into_iter().enumerate() {
            set_ecn(&mut piece, if number == 3 { EcnCodepoint::Ce } else { EcnCodepoint::Ect0 });
            lab.send_packet(piece);
        }
        assert_eq!(lab.heard(id).traffic_class & 3, EcnCodepoint::Ce as u8);
        assert_eq!(lab.stack.memory().fragments, 0);
    }
}

/// Without a socket the error is about the whole, and quotes its beginning.
#[test]
fn a_closed_port_is_told_about_the_whole() {
    for (own, peer) in FAMILIES {
        let mut lab = Lab::new();
        let packet = datagram(&format!("{peer}:53"), &format!("{own}:99"), &pattern(0, 5000));
        let pieces = cut(&packet, 1500, 7);
        let (last, first) = pieces.split_last().unwrap();
        for piece in first {
            lab.send_packet(piece.clone());
            lab.quiet();
        }
        lab.send_packet(last.clone());
        let answer = lab.next_packet();
        let parsed = ip::parse(&answer).unwrap();
        let quote = match ropeway_core::packet::icmp::parse(&answer, &parsed).unwrap() {
            ropeway_core::packet::IcmpMessage::Unreachable { quote, .. } => answer[quote].to_vec(),
            other => panic!("{other:?}"),
        };
        let quoted = ropeway_core::packet::icmp::parse_quote(&quote).unwrap();
        assert_eq!((quoted.ports, quoted.ip.total_len as usize), (Some((53, 99)), packet.len()));
    }
}

#[test]
fn a_socket_for_any_address_gets_whole_datagrams() {
    for (from, to) in [("10.0.0.1:5000", "93.184.216.34:53"), ("[fd00::1]:5000", "[2001:db8::1]:53")] {
        let mut lab = Lab::new();
        let id = lab.stack.udp_listen_any(UdpOptions::default()).unwrap();
        let packet = datagram(from, to, &pattern(0, 3000));
        for piece in cut(&packet, 1280, 7) {
            lab.heard_nothing(id);
            lab.send_packet(piece);
        }
        let heard = lab.heard(id);
        assert_eq!((heard.payload.len(), heard.remote, heard.local), (3000, addr(from), addr(to)));
        let how = Outgoing { to: Some(addr(from)), from: Some(addr(to)), ..Outgoing::default() };
        lab.stack.udp_send(lab.ts(), id, &pattern(0, 3000), &how).unwrap();
        lab.collect();
        let (_, source, _, data) = read(&join(&sent(&mut lab)));
        assert_eq!((source.as_str(), data.len()), (to, 3000));
    }
}

/// Members of a group get it whole; and nobody is told if it never is (RFC 1122 3.2.2).
#[test]
fn fragments_to_a_group_and_to_everybody() {
    for (group, from) in
        [("224.0.0.251", "10.0.0.1:5000"), ("10.0.0.255", "10.0.0.1:5000"), ("ff02::fb", "[fd00::1]:5000")]
    {
        let mut lab = Lab::new();
        let ip: std::net::IpAddr = group.parse().unwrap();
        let id = lab.bind(if ip.is_ipv4() { "0.0.0.0:5353" } else { "[::]:5353" });
        if ip.is_multicast() {
            lab.stack.udp_join(id, ip).unwrap();
        }
        let to = std::net::SocketAddr::new(ip, 5353).to_string();
        let packet = datagram(from, &to, &pattern(0, 3000));
        cut(&packet, 1280, 7).into_iter().for_each(|piece| lab.send_packet(piece));
        assert_eq!(lab.heard(id).payload, pattern(0, 3000));
        lab.send_packet(cut(&packet, 1280, 8).remove(0));
        assert!(lab.stack.memory().fragments > 0);
        lab.at(60_000);
        lab.quiet();
        assert_eq!(lab.stack.memory().fragments, 0);
    }
}

// RFC 1191 6.3, RFC 8201 5.2
#[test]
fn a_router_that_refuses_a_fragment_makes_them_smaller() {
    for (own, peer) in FAMILIES {
        let mut lab = Lab::new();
        let (from, to) = (format!("{own}:99"), format!("{peer}:53"));
        let id = lab.bind(&from);
        lab.say_to(id, &to, &pattern(0, 5000)).unwrap();
        lab.collect();
        let fragments = sent(&mut lab);
        let too_big = IcmpErrorKind::PacketTooBig { mtu: 1300 };
        // A later fragment does not say whose it was.
        lab.icmp_error(too_big, &fragments[1]);
        assert_eq!(lab.stack.path_mtu(addr(&to).ip()), 1500);
        lab.icmp_error(too_big, &fragments[0]);
        assert_eq!(lab.stack.path_mtu(addr(&to).ip()), 1300);
        lab.say_to(id, &to, &pattern(0, 5000)).unwrap();
        lab.collect();
        let smaller = sent(&mut lab);
        assert!(smaller.len() > fragments.len() - 1 && smaller.iter().all(|fragment| fragment.len() <= 1300));
        assert_eq!(read(&join(&smaller)).3, pattern(0, 5000));
    }
}

/// A datagram in fragments waits in the socket's buffer as any other, and leaves whole.
#[test]
fn fragments_count_for_the_send_buffer() {
    let mut lab = Lab::new();
    let id = lab.bind_with("10.0.0.2:99", |options| options.send_buffer = 100_000);
    let mut said = 0;
    while lab.say_to(id, "10.0.0.1:53", &pattern(0, 30_000)).is_ok() {
        said += 1;
    }
    assert!((3..=4).contains(&said), "{said}");
    lab.collect();
    let fragments = sent(&mut lab);
    let whole =
        fragments.chunk_by(|one, other| ip::parse(one).unwrap().ident == ip::parse(other).unwrap().ident);
    let lengths: Vec<usize> = whole.map(|of_one| read(&join(of_one)).3.len()).collect();
    assert_eq!(lengths, vec![30_000; said]);
    assert_eq!(lab.stack.memory().waiting, 0);
    lab.say_to(id, "10.0.0.1:53", b"more").unwrap();
}

/// To our own addresses nothing is cut that one packet can hold, and the rest arrives all the same.
#[test]
fn the_longest_datagrams_to_ourselves_arrive() {
    for (own, longest) in
        [("127.0.0.1", 65_507), ("[::1]", 65_527), ("10.0.0.2", 65_507), ("[fd00::2]", 65_527)]
    {
        let mut lab = Lab::new();
        let (one, other) = (lab.bind(&format!("{own}:1")), lab.bind(&format!("{own}:2")));
        lab.say_to(one, &format!("{own}:2"), &pattern(0, longest)).unwrap();
        lab.collect();
        assert_eq!(lab.heard(other).payload, pattern(0, longest));
        assert_eq!(
            lab.say_to(one, &format!("{own}:2"), &pattern(0, longest + 1)),
            Err(DatagramError::TooLong)
        );
        lab.quiet();
    }
}
