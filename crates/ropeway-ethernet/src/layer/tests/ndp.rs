//! Neighbor discovery and router advertisements.

use super::*;

const GUEST_LOCAL: &str = "fe80::5054:ff:fe12:3456";

fn router_solicitation(src: &str, mac: Option<MacAddr>) -> Vec<u8> {
    // The message of another kind, made into this one.
    let (src, dst) = (v6(src), v6("ff02::2"));
    let mut packet = wire::neighbor_solicitation(src, dst, v6("fd00::15"), GUEST).to_vec();
    packet[40] = 133;
    packet.drain(48..64);
    match mac {
        Some(mac) => packet[50..56].copy_from_slice(&mac.octets()),
        None => packet.truncate(48),
    }
    packet[5] = u8::try_from(packet.len() - 40).unwrap();
    carry(GUEST, MacAddr::of_group(dst.into()), &with_checksum(packet))
}

fn with_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    packet[42..44].fill(0);
    let parsed = ip::parse(&packet).unwrap();
    let len = u32::try_from(packet.len() - 40).unwrap();
    let mut sum = ropeway::packet::checksum::pseudo_header(parsed.src, parsed.dst, Protocol::ICMPV6, len);
    sum.add_bytes(&packet[40..]);
    packet[42..44].copy_from_slice(&sum.finish().to_be_bytes());
    packet
}

// RFC 4861 7.2.3-1, RFC 4861 7.2.4-1
#[test]
fn a_solicitation_for_us_is_answered_and_the_asker_is_remembered() {
    let mut world = World::new(router());
    for (asker, target) in [("fd00::15", US_V6.to_owned()), (GUEST_LOCAL, OURS.link_local().to_string())] {
        let target = v6(&target);
        assert_eq!(world.give(solicitation(GUEST, v6(asker), target)), None);
        let sent = world.sent();
        assert_eq!(sent.len(), 1);
        assert_eq!(header(&sent[0]), Header { dst: GUEST, src: OURS, ethertype: IPV6 });
        let flags = wire::AdvertisementFlags { router: true, solicited: true, overrides: true };
        let expected = Message::NeighborAdvertisement { target, flags, target_mac: Some(OURS) };
        assert_eq!(read_ndp(&sent[0]), expected);
        assert_eq!(world.station(asker), Some(GUEST));
    }
}

// RFC 4861 7.2.3-2
#[test]
fn a_solicitation_for_another_is_not_answered() {
    let mut world = World::new(router());
    world.give(solicitation(GUEST, v6("fd00::15"), v6("fd00::77")));
    assert!(world.sent().is_empty());
    assert_eq!(world.layer.neighbors.len(), 0);
}

// RFC 4861 7.2.2-1
#[test]
fn a_packet_waits_until_its_next_hop_answers() {
    let mut world = World::new(router());
    world.send(datagram(US_V6, "fd00::15", b"hello"));
    let sent = world.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(header(&sent[0]).dst.to_string(), "33:33:ff:00:00:15");
    let expected = Message::NeighborSolicitation { target: v6("fd00::15"), source_mac: Some(OURS) };
    assert_eq!(read_ndp(&sent[0]), expected);
    world.give(advertisement(GUEST, v6("fd00::15"), true));
    let sent = world.sent();
    assert_eq!((sent.len(), header(&sent[0]).dst), (1, GUEST));
}

// RFC 4861 7.2.2-2, RFC 4861 7.2.2-3
#[test]
fn nobody_answers_and_the_stack_is_told() {
    let mut world = World::new(router());
    world.send(datagram(US_V6, "fd00::15", b"hello"));
    world.pass_secs(4);
    assert_eq!(world.sent().len(), 3);
    let error = world.layer.poll_packet().unwrap().packet;
    assert_eq!(error[40..42], [1, 3], "address unreachable");
    assert_eq!(ip::parse(&error).unwrap().dst, ip_addr(US_V6));
}

// RFC 4861 7.3.3-1, RFC 4861 7.3.3-2
#[test]
fn a_neighbor_that_is_used_is_asked_after_five_seconds() {
    let mut world = World::new(host());
    world.introduce("fd00::15", GUEST);
    assert_eq!(world.station("fd00::15"), Some(GUEST));
    world.pass(Duration::from_millis(4990));
    assert!(world.sent().is_empty());
    world.pass(Duration::from_millis(20));
    let sent = world.sent();
    assert_eq!((sent.len(), header(&sent[0]).dst), (1, GUEST));
    world.give(advertisement(GUEST, v6("fd00::15"), true));
    world.pass_secs(14);
    assert!(world.sent().is_empty(), "it is reachable");
}

// RFC 4861 7.2.5-1
#[test]
fn an_advertisement_that_nobody_asked_for_makes_no_entry() {
    let mut world = World::new(router());
    world.give(advertisement(GUEST, v6("fd00::15"), false));
    world.give(advertisement(GUEST, v6("fd00::15"), true));
    assert_eq!((world.counters().unsolicited_answers, world.layer.neighbors.len()), (2, 0));
}

#[test]
fn a_spoofed_address_stays_with_its_owner_while_that_answers() {
    let mut world = World::new(router());
    world.introduce("fd00::15", GUEST);
    for solicited in [false, true] {
        world.give(advertisement(OTHER, v6("fd00::15"), solicited));
        let sent = world.sent();
        assert_eq!((sent.len(), header(&sent[0]).dst), (1, GUEST));
        world.give(advertisement(GUEST, v6("fd00::15"), true));
        assert_eq!(world.station("fd00::15"), Some(GUEST));
        world.pass_secs(10);
        world.sent();
    }
    world.give(advertisement(OTHER, v6("fd00::15"), false));
    world.pass_secs(4);
    assert_eq!(world.station("fd00::15"), Some(OTHER));
}

// RFC 4861 7.2.6-1
/// Whoever asks from nobody has no address yet (RFC 4862 5.4.3).
#[test]
fn who_looks_for_a_duplicate_of_our_address_is_told() {
    let mut world = World::new(router());
    let target = v6(US_V6);
    let mut packet =
        wire::neighbor_solicitation(v6("fd00::1"), wire::solicited_node(target), target, GUEST).to_vec();
    packet.truncate(64);
    packet[5] = 24;
    packet[8..24].fill(0);
    let packet = with_checksum(packet);
    world.give(carry(GUEST, MacAddr::of_group(wire::solicited_node(target).into()), &packet));
    let sent = world.sent();
    assert_eq!(header(&sent[0]).dst, MacAddr::of_group(wire::ALL_NODES.into()));
    let flags = wire::AdvertisementFlags { router: true, solicited: false, overrides: true };
    assert_eq!(read_ndp(&sent[0]), Message::NeighborAdvertisement { target, flags, target_mac: Some(OURS) });
    assert_eq!(world.layer.neighbors.len(), 0);
}

#[test]
fn our_address_is_defended_but_not_in_a_fight() {
    let mut world = World::new(router());
    for _ in 0..50 {
        world.give(advertisement(GUEST, v6(US_V6), false));
    }
    assert_eq!(world.sent().len(), 1);
    assert_eq!(world.counters().address_conflicts, 50);
}

#[test]
fn a_message_that_speaks_for_another_station_or_came_from_far_is_dropped() {
    let mut world = World::new(router());
    let target = v6(US_V6);
    let packet = wire::neighbor_solicitation(v6("fd00::15"), wire::solicited_node(target), target, OTHER);
    world.give(carry(GUEST, OURS, &packet));
    let mut far = wire::neighbor_solicitation(v6("fd00::15"), wire::solicited_node(target), target, GUEST);
    far[7] = 64;
    world.give(carry(GUEST, OURS, &far));
    assert_eq!(world.counters().bad_ndp, 2);
    assert!(world.sent().is_empty());
    assert_eq!(world.layer.neighbors.len(), 0);
}

// RFC 4861 6.2.6-1
#[test]
fn a_router_solicitation_is_answered_to_the_asker() {
    let mut world = World::new(router());
    world.give(router_solicitation(GUEST_LOCAL, Some(GUEST)));
    let sent = world.sent();
    assert_eq!((sent.len(), header(&sent[0]).dst), (1, GUEST));
    assert_eq!(read_ndp(&sent[0]), Message::OtherRouter);
    let packet = ip::parse(&sent[0][HEADER_LEN..]).unwrap();
    assert_eq!(world.station(GUEST_LOCAL), Some(GUEST), "it has said where it is");
    // RFC 4861 6.1.2: hosts take it from a link-local address only.
    assert_eq!((packet.src, packet.dst), (OURS.link_local().into(), ip_addr(GUEST_LOCAL)));
}

#[test]
fn an_advertisement_without_a_hardware_address_tells_nothing_of_a_stranger() {
    let mut world = World::new(host());
    let mut packet = advertisement(GUEST, v6("fd00::15"), true).split_off(HEADER_LEN);
    packet.truncate(64);
    packet[5] = 24;
    let bare = carry(GUEST, OURS, &with_checksum(packet));
    world.send(datagram(US_V6, "fd00::15", b"hello"));
    world.give(bare.clone());
    assert!(world.sent().iter().all(|frame| !frame.ends_with(b"hello")));
    world.give(solicitation(GUEST, v6("fd00::15"), v6(US_V6)));
    world.sent();
    world.pass(Duration::from_millis(5500));
    assert_eq!(world.sent().len(), 1);
    world.give(bare);
    world.pass_secs(10);
    assert!(world.sent().is_empty(), "it has answered");
}

// RFC 4861 6.2.6-2
#[test]
fn a_host_without_an_address_is_answered_to_all_and_not_more_often_than_each_three_seconds() {
    let mut world = World::new(router());
    world.pass_secs(40);
    world.sent();
    for _ in 0..20 {
        world.give(router_solicitation("::", None));
    }
    assert!(world.sent().is_empty());
    world.pass(Duration::from_millis(500));
    let sent = world.sent();
    assert_eq!((sent.len(), header(&sent[0]).dst), (1, MacAddr::of_group(wire::ALL_NODES.into())));
    for _ in 0..20 {
        world.give(router_solicitation("::", None));
    }
    world.pass(Duration::from_millis(2400));
    assert!(world.sent().is_empty());
    world.pass(Duration::from_millis(700));
    assert_eq!(world.sent().len(), 1);
}

// RFC 4861 6.2.4-1
#[test]
fn advertisements_go_out_three_times_soon_and_then_each_few_minutes() {
    let mut layer = EthernetLayer::new(router());
    let start = Timestamp::from_micros(5);
    layer.handle_timeout(start);
    let mut world = World { layer, now: start };
    world.pass_secs(33);
    assert_eq!(world.counters().router_advertisements, 3);
    world.pass_secs(6000);
    let later = world.counters().router_advertisements - 3;
    assert!((10..=30).contains(&later), "{later} in 6000 seconds");
}

#[test]
fn a_flood_of_router_solicitations_gets_thirty_two_answers_a_second() {
    let mut world = World::new(router());
    for _ in 0..1000 {
        world.give(router_solicitation(GUEST_LOCAL, Some(GUEST)));
    }
    let answers = world.sent().len();
    assert!(answers <= 32, "{answers}");
    assert!(world.counters().answers_limited >= 968);
}

// RFC 4861 8.3-1
#[test]
fn routers_among_the_guests_and_redirects_are_ignored() {
    let mut world = World::new(router());
    let says = wire::Advertisement {
        mac: GUEST,
        hop_limit: 1,
        router_lifetime: Duration::from_secs(9000),
        mtu: 1280,
        prefixes: &[(v6("2001:db8::"), 64)],
        valid: Duration::MAX,
        preferred: Duration::MAX,
        dns: &[],
        dns_lifetime: Duration::ZERO,
    };
    let packet = wire::router_advertisement(v6(GUEST_LOCAL), wire::ALL_NODES, &says);
    assert_eq!(world.give(carry(GUEST, MacAddr::of_group(wire::ALL_NODES.into()), &packet)), None);
    let mut redirect = packet.to_vec();
    redirect[40] = 137;
    assert_eq!(world.give(carry(GUEST, OURS, &with_checksum(redirect))), None);
    assert_eq!(world.counters().foreign_routers, 2);
    world.send(datagram(US_V6, "2001:db8::5", b"hello"));
    assert_eq!(world.counters().unroutable_packets, 1);
}

#[test]
fn who_does_not_advertise_answers_no_router_solicitation() {
    let mut world = World::new(host());
    world.give(router_solicitation(GUEST_LOCAL, Some(GUEST)));
    world.pass_secs(10);
    assert!(world.sent().is_empty());
}
