//! Frames with packets: which the stack gets, and where those go that it sends.

use super::*;

#[test]
fn a_packet_reaches_the_stack_without_header_and_padding() {
    let mut world = World::new(router());
    for (src, dst) in [("10.0.2.15", "192.0.2.1"), ("fd00::15", "2001:db8::1")] {
        let packet = datagram(src, dst, b"x");
        let mut padded = carry(GUEST, OURS, &packet);
        padded.resize(60.max(padded.len() + 3), 0);
        assert_eq!(world.give(padded).unwrap(), packet);
    }
}

#[test]
fn garbage_is_dropped_by_its_kind() {
    let mut world = World::new(router());
    let good = datagram("10.0.2.15", US, b"x");
    let none = |world: &mut World, frame: Vec<u8>| assert_eq!(world.give(frame), None);
    for len in 0..HEADER_LEN + 20 {
        none(&mut world, carry(GUEST, OURS, &good)[..len].to_vec());
    }
    assert_eq!(world.counters().runt_frames, 34);
    let with_type = |ethertype, packet: &[u8]| frame(Header { dst: OURS, src: GUEST, ethertype }, packet);
    for vlan in [0x8100, 0x88a8, 0x9100] {
        none(&mut world, with_type(vlan, &good));
    }
    assert_eq!(world.counters().vlan_frames, 3);
    // IPX, a length of IEEE 802.3, IPv6 that says it is IPv4, and the other way round.
    let v6_packet = datagram("fd00::15", US_V6, b"x");
    for (ethertype, packet) in
        [(0x8137, &good), (46, &good), (IPV4, &v6_packet), (IPV6, &datagram("10.0.2.15", US, &[0; 60]))]
    {
        none(&mut world, with_type(ethertype, packet));
    }
    assert_eq!(world.counters().unknown_frames, 4);
    none(&mut world, carry(GUEST, OTHER, &good));
    assert_eq!(world.counters().frames_to_others, 1);
    for src in [OURS, MacAddr::BROADCAST, MacAddr::new([0; 6]), MacAddr::new([1, 0, 0x5e, 0, 0, 1])] {
        none(&mut world, carry(src, OURS, &good));
    }
    assert_eq!(world.counters().bad_source_macs, 4);
    none(&mut world, carry(GUEST, OURS, &datagram("10.0.2.15", US, &[0; 1500])));
    assert_eq!(world.counters().oversized_frames, 1);
    assert!(world.sent().is_empty());
}

#[test]
fn a_packet_for_one_in_a_frame_for_all_is_dropped() {
    let mut world = World::new(router());
    for packet in [datagram("10.0.2.15", US, b"x"), datagram("fd00::15", US_V6, b"x")] {
        assert_eq!(world.give(carry(GUEST, MacAddr::BROADCAST, &packet)), None);
        assert_eq!(world.give(carry(GUEST, MacAddr::new([1, 0, 0x5e, 0, 0, 1]), &packet)), None);
    }
    assert_eq!(world.counters().unicast_in_broadcast_frames, 4);
    for dst in ["255.255.255.255", "10.0.2.255", "224.0.0.251"] {
        assert!(world.give(carry(GUEST, MacAddr::BROADCAST, &datagram("10.0.2.15", dst, b"x"))).is_some());
    }
    assert!(
        world
            .give(carry(
                GUEST,
                MacAddr::of_group(ip_addr("ff02::fb")),
                &datagram("fd00::15", "ff02::fb", b"x")
            ))
            .is_some()
    );
}

#[test]
fn a_guest_sends_from_addresses_of_its_link_only() {
    let mut world = World::new(router());
    let bad = [
        US,
        "192.0.2.1",
        "224.0.0.1",
        "10.0.2.255",
        "0.0.0.0",
        "127.0.0.1",
        US_V6,
        "2001:db8::1",
        "ff02::1",
        "::1",
        "::",
    ];
    for src in bad {
        let dst = if ip_addr(src).is_ipv4() { "192.0.2.9" } else { "2001:db8::9" };
        assert_eq!(world.give(carry(GUEST, OURS, &datagram(src, dst, b"x"))), None, "{src}");
    }
    assert_eq!(world.counters().bad_sources, u64::try_from(bad.len()).unwrap());
}

#[test]
fn a_host_takes_packets_from_anywhere_but_from_itself() {
    let mut world = World::new(host());
    assert!(world.give(carry(OTHER, OURS, &datagram("192.0.2.1", US, b"x"))).is_some());
    assert!(world.give(carry(OTHER, OURS, &datagram("2001:db8::1", US_V6, b"x"))).is_some());
    assert_eq!(world.give(carry(OTHER, OURS, &datagram(US, US, b"x"))), None);
    assert_eq!(world.give(carry(OTHER, OURS, &datagram("224.0.0.1", US, b"x"))), None);
    assert_eq!(world.counters().bad_sources, 2);
}

#[test]
fn a_guest_does_not_send_from_the_address_of_another() {
    let mut world = World::new(router());
    world.introduce("10.0.2.15", GUEST);
    world.introduce("fd00::15", GUEST);
    for src in ["10.0.2.15", "fd00::15"] {
        let dst = if ip_addr(src).is_ipv4() { US } else { US_V6 };
        assert!(world.give(carry(GUEST, OURS, &datagram(src, dst, b"x"))).is_some());
        assert_eq!(world.give(carry(OTHER, OURS, &datagram(src, dst, b"x"))), None);
    }
    assert_eq!(world.counters().stolen_sources, 2);
    // Nor one that it had before the other came.
    assert!(world.give(carry(OTHER, OURS, &datagram("10.0.2.16", US, b"x"))).is_some());
    world.introduce("10.0.2.16", GUEST);
    assert_eq!(world.give(carry(OTHER, OURS, &datagram("10.0.2.16", US, b"x"))), None);
}

#[test]
fn packets_make_no_neighbors() {
    let mut world = World::new(router());
    assert!(world.give(carry(GUEST, OURS, &datagram("10.0.2.15", US, b"x"))).is_some());
    assert_eq!(world.layer.neighbors.len(), 0);
    assert_eq!(world.station("10.0.2.15"), None);
}

#[test]
fn a_packet_off_the_link_goes_to_the_router_or_nowhere() {
    let mut world = World::new(host());
    for (dst, hop, src) in [("192.0.2.1", "10.0.2.1", US), ("2001:db8::1", "fd00::1", US_V6)] {
        world.introduce(hop, OTHER);
        world.send(datagram(src, dst, b"x"));
        assert_eq!(header(&world.sent()[0]).dst, OTHER);
    }
    let mut world = World::new(router());
    world.send(datagram(US, "192.0.2.1", b"x"));
    assert!(world.sent().is_empty());
    assert_eq!(world.counters().unroutable_packets, 1);
}

#[test]
fn groups_and_broadcasts_need_no_neighbor() {
    let mut world = World::new(router());
    let addresses = [
        (US, "255.255.255.255", "ff:ff:ff:ff:ff:ff"),
        (US, "10.0.2.255", "ff:ff:ff:ff:ff:ff"),
        (US, "224.0.0.251", "01:00:5e:00:00:fb"),
        (US_V6, "ff02::fb", "33:33:00:00:00:fb"),
    ];
    for (src, dst, mac) in addresses {
        world.send(datagram(src, dst, b"x"));
        assert_eq!(header(&world.sent()[0]).dst, mac.parse().unwrap());
    }
}

#[test]
fn a_train_becomes_a_frame_for_each_segment() {
    let mut world = World::new(router());
    world.introduce("10.0.2.15", GUEST);
    let ip = IpParams {
        src: ip_addr(US),
        dst: ip_addr("10.0.2.15"),
        protocol: Protocol::UDP,
        hop_limit: 64,
        traffic_class: 0,
        dont_fragment: true,
        ident: 0,
        flow_label: 0,
    };
    let data: Vec<u8> = (0..5000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let mode = ropeway::packet::ChecksumMode::Partial;
    let sum = ropeway::packet::Checksum::new();
    let headers = udp::emit_headers(&ip, 4000, 5000, data.len(), sum, mode).unwrap();
    let train = Transmit::new(headers, Bytes::from(data.clone()).into(), mode).with_segment_size(Some(1400));
    world.layer.handle_packet(world.now, &train);
    let sent = world.sent();
    assert_eq!(sent.len(), 4);
    let mut joined = Vec::new();
    for frame in &sent {
        let packet = &frame[HEADER_LEN..];
        let datagram = udp::parse(packet, &ip::parse(packet).unwrap(), true).unwrap();
        joined.extend_from_slice(&packet[datagram.payload]);
    }
    assert_eq!(joined, data);
}

#[test]
fn what_is_too_long_to_be_sent_is_dropped() {
    let mut world = World::new(router());
    world.introduce("10.0.2.15", GUEST);
    world.send(datagram(US, "10.0.2.15", &[0; 1473]));
    assert_eq!(world.counters().oversized_packets, 1);
    world.send(datagram(US, "10.0.2.15", &[0; 1472]));
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn a_link_that_takes_nothing_costs_no_more_than_its_queue() {
    let mut world = World::new(router());
    for number in 0..100_000_u32 {
        let [_, a, b, c] = number.to_be_bytes();
        world.give(arp_request(MacAddr::new([2, 0, 0, a, b, c]), v4("10.0.2.15"), v4(US)));
    }
    assert!(!world.layer.has_room());
    assert!(world.layer.frames().len() < 260 * 1024);
    assert!(world.counters().control_frames_dropped > 90_000);
}

#[test]
fn another_peer_begins_anew() {
    let mut world = World::new(router());
    world.introduce("10.0.2.15", GUEST);
    world.layer.link_changed(world.now);
    assert_eq!(world.layer.neighbors.len(), 0);
    world.pass(Duration::ZERO);
    let sent = world.sent();
    assert!(sent.iter().any(|frame| header(frame).ethertype == ARP), "our address is announced");
    assert!(
        sent.iter().any(|frame| header(frame).ethertype == IPV6 && read_ndp(frame) == Message::OtherRouter)
    );
}

/// Whatever comes, no more bytes go out than came in, but for the answers of DHCP and to router solicitations, which are limited in rate.
#[test]
fn nothing_is_amplified() {
    let mut world = World::new(router());
    let cases = [
        arp_request(GUEST, v4("10.0.2.15"), v4(US)),
        arp_request(GUEST, Ipv4Addr::UNSPECIFIED, v4(US)),
        arp_reply(OTHER, v4("10.0.2.15")),
        solicitation(GUEST, v6("fd00::15"), v6(US_V6)),
        advertisement(OTHER, v6("fd00::15"), false),
        advertisement(OTHER, v6(US_V6), false),
        arp_request(OTHER, v4(US), v4(US)),
        carry(GUEST, MacAddr::BROADCAST, &datagram("10.0.2.15", US, b"x")),
    ];
    for (number, case) in cases.iter().enumerate() {
        let (mut came, mut went) = (0, 0);
        for _ in 0..200 {
            came += case.len();
            world.give(case.clone());
            went += world.sent().iter().map(Vec::len).sum::<usize>();
        }
        assert!(went <= came, "case {number}: {went} for {came}");
    }
}
