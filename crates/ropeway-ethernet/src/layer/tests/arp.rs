//! ARP.

use super::*;

// RFC 826 3-1, RFC 826 3-2
#[test]
fn a_question_for_us_is_answered_and_the_asker_is_remembered() {
    let mut world = World::new(router());
    assert_eq!(world.give(arp_request(GUEST, v4("10.0.2.15"), v4(US))), None);
    let sent = world.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(header(&sent[0]), Header { dst: GUEST, src: OURS, ethertype: ARP });
    let expected = Arp {
        operation: Operation::Reply,
        sender_mac: OURS,
        sender: v4(US),
        target_mac: GUEST,
        target: v4("10.0.2.15"),
    };
    assert_eq!(read_arp(&sent[0]), expected);
    assert_eq!(world.station("10.0.2.15"), Some(GUEST));
}

#[test]
fn a_question_for_another_is_not_answered_and_its_asker_not_remembered() {
    let mut world = World::new(router());
    world.give(arp_request(GUEST, v4("10.0.2.15"), v4("10.0.2.77")));
    assert!(world.sent().is_empty());
    assert_eq!(world.station("10.0.2.15"), None);
    assert_eq!(world.counters().unsolicited_answers, 0);
}

#[test]
fn a_proxied_address_is_answered_for() {
    let mut world = World::new(router().proxy("10.0.2.64/26".parse().unwrap()));
    world.give(arp_request(GUEST, v4("10.0.2.15"), v4("10.0.2.100")));
    assert_eq!(read_arp(&world.sent()[0]).sender, v4("10.0.2.100"));
    world.give(arp_request(GUEST, v4("10.0.2.15"), v4("10.0.2.63")));
    assert!(world.sent().is_empty());
}

#[test]
fn a_packet_waits_until_its_next_hop_answers() {
    let mut world = World::new(router());
    world.send(datagram(US, "10.0.2.15", b"first"));
    world.send(datagram(US, "10.0.2.15", b"second"));
    let sent = world.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(header(&sent[0]).dst, MacAddr::BROADCAST);
    let question = read_arp(&sent[0]);
    assert_eq!(
        (question.operation, question.sender, question.target),
        (Operation::Request, v4(US), v4("10.0.2.15"))
    );
    world.give(arp_reply(GUEST, v4("10.0.2.15")));
    let sent = world.sent();
    assert_eq!(sent.len(), 2);
    assert!(sent[0].ends_with(b"first") && sent[1].ends_with(b"second"));
    assert!(sent.iter().all(|frame| header(frame).dst == GUEST));
}

#[test]
fn nobody_answers_and_the_stack_is_told() {
    let mut world = World::new(router());
    world.send(datagram(US, "10.0.2.15", b"hello"));
    world.pass(Duration::from_millis(2900));
    assert_eq!(world.sent().len(), 3, "three questions");
    assert!(world.layer.poll_packet().is_none());
    world.pass_secs(1);
    let error = world.layer.poll_packet().unwrap().packet;
    let ip = ip::parse(&error).unwrap();
    assert_eq!((ip.src, ip.dst), (ip_addr("10.0.2.15"), ip_addr(US)));
    assert_eq!(error[20..22], [3, 1], "host unreachable");
    assert!(world.layer.poll_packet().is_none());
    assert_eq!((world.counters().unresolved, world.counters().unresolved_packets), (1, 1));
    // It is looked for anew.
    world.send(datagram(US, "10.0.2.15", b"hello"));
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn no_error_is_made_of_an_error() {
    let mut world = World::new(router());
    let kind = ropeway::packet::IcmpErrorKind::TimeExceeded { code: 0 };
    let offending = datagram("10.0.2.15", US, b"x");
    world.send(ropeway::packet::icmp::emit_error(ip_addr(US), ip_addr("10.0.2.15"), kind, &offending, 64));
    world.pass_secs(10);
    assert_eq!(world.counters().unresolved_packets, 1);
    assert!(world.layer.poll_packet().is_none());
}

#[test]
fn what_waits_is_bounded_for_each_and_for_all() {
    let mut world = World::new(router());
    for _ in 0..100 {
        world.send(datagram(US, "10.0.2.15", &[0; 100]));
    }
    assert_eq!(world.counters().unresolved_packets, 68);
    for host in 100..200 {
        for _ in 0..32 {
            world.send(datagram(US, &format!("10.0.2.{host}"), &[0; 1400]));
        }
    }
    world.sent();
    for host in [15].into_iter().chain(100..200) {
        let address = Ipv4Addr::new(10, 0, 2, host);
        world.give(arp_reply(MacAddr::new([2, 0, 0, 0, 0, host]), address));
    }
    let bytes: usize = world.sent().iter().map(|frame| frame.len() - HEADER_LEN).sum();
    assert!((128 * 1024..=256 * 1024).contains(&bytes), "{bytes} bytes have waited");
}

#[test]
fn a_scan_of_the_link_asks_sixty_four_times_a_second_at_most() {
    let mut world = World::new(EthernetConfig::new(OURS).address("10.0.0.1/16".parse().unwrap()));
    for host in 0..5000_u32 {
        let target = Ipv4Addr::from_bits(v4("10.0.1.0").to_bits() + host);
        world.send(datagram("10.0.0.1", &target.to_string(), b"hello"));
    }
    assert_eq!(world.sent().len(), 64);
    assert!(world.layer.neighbors.len() <= 64);
    assert!(world.counters().evicted_neighbors > 4900);
    world.pass(Duration::from_millis(999));
    assert!(world.sent().len() <= 64);
}

#[test]
fn a_flood_of_addresses_fills_no_more_than_the_table_and_displaces_nobody_in_use() {
    let mut world = World::new(EthernetConfig::new(OURS).address("10.0.0.1/8".parse().unwrap()));
    world.give(arp_request(GUEST, v4("10.0.0.9"), v4("10.0.0.1")));
    world.sent();
    let send = |world: &mut World| world.send(datagram("10.0.0.1", "10.0.0.9", b"hello"));
    send(&mut world);
    assert_eq!(header(&world.sent()[0]).dst, GUEST);
    for number in 0..20_000_u32 {
        let [_, a, b, c] = number.to_be_bytes();
        let sender = Ipv4Addr::new(10, 1 + a, b, c);
        world.give(arp_request(MacAddr::new([2, 0, 0, a, b, c]), sender, v4("10.0.0.1")));
        world.sent();
    }
    assert_eq!(world.layer.neighbors.len(), crate::neighbors::MOST);
    send(&mut world);
    assert_eq!(header(&world.sent()[0]).dst, GUEST);
}

#[test]
fn what_a_station_says_of_another_is_not_believed() {
    let mut world = World::new(router());
    world.introduce("10.0.2.15", GUEST);
    // The frame is not from who it says it is.
    let arp = Arp {
        operation: Operation::Reply,
        sender_mac: OTHER,
        sender: v4("10.0.2.15"),
        target_mac: OURS,
        target: v4(US),
    };
    let mut bytes = BytesMut::new();
    arp.emit(&mut bytes);
    world.give(frame(Header { dst: OURS, src: GUEST, ethertype: ARP }, &bytes));
    assert_eq!(world.counters().bad_arp, 1);
    assert_eq!(world.station("10.0.2.15"), Some(GUEST));
}

#[test]
fn an_answer_that_nobody_asked_for_makes_no_entry() {
    let mut world = World::new(router());
    world.give(arp_reply(GUEST, v4("10.0.2.15")));
    assert_eq!(world.counters().unsolicited_answers, 1);
    assert_eq!(world.layer.neighbors.len(), 0);
}

// RFC 826 3-3
#[test]
fn a_spoofed_address_stays_with_its_owner_while_that_answers() {
    let mut world = World::new(router());
    world.introduce("10.0.2.15", GUEST);
    for forged in [arp_reply(OTHER, v4("10.0.2.15")), arp_request(OTHER, v4("10.0.2.15"), v4(US))] {
        world.give(forged);
        let sent = world.sent();
        let question = sent.iter().find(|frame| read_arp(frame).operation == Operation::Request).unwrap();
        assert_eq!((header(question).dst, read_arp(question).target), (GUEST, v4("10.0.2.15")));
        assert_eq!(world.station("10.0.2.15"), Some(GUEST));
        world.give(arp_reply(GUEST, v4("10.0.2.15")));
        world.pass_secs(20);
        assert_eq!(world.station("10.0.2.15"), Some(GUEST));
    }
    assert_eq!(world.counters().neighbor_conflicts, 2);
}

#[test]
fn an_address_goes_to_another_station_when_its_owner_is_silent() {
    let mut world = World::new(router());
    world.introduce("10.0.2.15", GUEST);
    world.give(arp_request(OTHER, v4("10.0.2.15"), v4(US)));
    world.pass_secs(2);
    assert_eq!(world.station("10.0.2.15"), Some(GUEST));
    world.pass_secs(2);
    assert_eq!(world.station("10.0.2.15"), Some(OTHER));
}

// RFC 4861 7.3.3-2
#[test]
fn a_neighbor_that_is_gone_is_looked_for_again() {
    let mut world = World::new(router());
    world.introduce("10.0.2.15", GUEST);
    assert_eq!(world.station("10.0.2.15"), Some(GUEST));
    world.pass_secs(4);
    assert!(world.sent().is_empty());
    world.pass_secs(5);
    // Asked by itself, three times, and then forgotten.
    assert!(world.sent().iter().all(|frame| header(frame).dst == GUEST));
    assert_eq!(world.station("10.0.2.15"), None);
}

#[test]
fn a_neighbor_that_answers_is_left_alone_for_a_while() {
    let mut world = World::new(router());
    world.introduce("10.0.2.15", GUEST);
    let mut questions = 0;
    for _ in 0..600 {
        assert_eq!(world.station("10.0.2.15"), Some(GUEST));
        world.pass_secs(1);
        for frame in world.sent().iter().filter(|frame| header(frame).ethertype == ARP) {
            assert_eq!(header(frame).dst, GUEST);
            questions += 1;
            world.give(arp_reply(GUEST, v4("10.0.2.15")));
        }
    }
    assert!((10..=30).contains(&questions), "{questions} questions in ten minutes");
}

// RFC 5227 2.4-1
#[test]
fn our_address_is_defended_but_not_in_a_fight() {
    let mut world = World::new(router());
    for _ in 0..100 {
        world.give(arp_request(GUEST, v4(US), v4(US)));
    }
    let sent = world.sent();
    assert_eq!(sent.len(), 1);
    let announcement = read_arp(&sent[0]);
    assert_eq!((announcement.sender, announcement.target), (v4(US), v4(US)));
    assert_eq!(world.counters().address_conflicts, 100);
    assert_eq!(world.layer.neighbors.len(), 0);
    world.pass_secs(11);
    world.sent();
    world.give(arp_request(GUEST, v4(US), v4(US)));
    assert_eq!(world.sent().len(), 1);
}

#[test]
fn a_probe_for_our_address_is_answered_and_its_sender_not_remembered() {
    let mut world = World::new(router());
    world.give(arp_request(GUEST, Ipv4Addr::UNSPECIFIED, v4(US)));
    assert_eq!(read_arp(&world.sent()[0]).operation, Operation::Reply);
    assert_eq!(world.layer.neighbors.len(), 0);
    world.give(arp_request(GUEST, Ipv4Addr::UNSPECIFIED, v4("10.0.2.15")));
    assert!(world.sent().is_empty());
}

#[test]
fn nobody_off_the_link_is_a_neighbor() {
    let mut world = World::new(router());
    for sender in ["192.0.2.1", "224.0.0.1", "10.0.2.255", "127.0.0.1", "255.255.255.255"] {
        world.give(arp_request(GUEST, v4(sender), v4(US)));
    }
    assert!(world.sent().is_empty());
    assert_eq!((world.counters().bad_sources, world.layer.neighbors.len()), (5, 0));
}

// RFC 5227 2.3-1
#[test]
fn our_addresses_are_announced_twice() {
    let mut layer = EthernetLayer::new(host());
    let start = Timestamp::from_micros(5);
    layer.handle_timeout(start);
    let mut world = World { layer, now: start };
    let is_announcement = |frame: &Vec<u8>| {
        header(frame).ethertype == ARP && read_arp(frame).sender == v4(US) && read_arp(frame).target == v4(US)
    };
    assert_eq!(world.sent().iter().filter(|frame| is_announcement(frame)).count(), 1);
    world.pass_secs(60);
    assert_eq!(world.sent().iter().filter(|frame| is_announcement(frame)).count(), 1);
}
