//! DHCP, with the messages of another implementation.

use dhcproto::v4::{self as dhcp, DhcpOption, Flags, MessageType, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};

use super::*;

/// A client's message, to be changed.
fn message(mac: MacAddr, kind: MessageType) -> dhcp::Message {
    let mut message = dhcp::Message::default();
    message.set_xid(77).set_chaddr(&mac.octets());
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    message
}

fn in_frame(mac: MacAddr, src: &str, dst: &str, message: &dhcp::Message) -> Vec<u8> {
    let packet = datagram_of([(src, 68), (dst, 67)], &message.to_vec().unwrap());
    carry(mac, if dst == US { OURS } else { MacAddr::BROADCAST }, &packet)
}

/// What the server says to a message that goes to all, and the frame that says it.
fn ask(world: &mut World, mac: MacAddr, message: &dhcp::Message) -> Option<(dhcp::Message, Vec<u8>)> {
    assert_eq!(world.give(in_frame(mac, "0.0.0.0", "255.255.255.255", message)), None);
    answer(world)
}

fn answer(world: &mut World) -> Option<(dhcp::Message, Vec<u8>)> {
    let mut sent = world.sent();
    assert!(sent.len() <= 1);
    let frame = sent.pop()?;
    let packet = &frame[HEADER_LEN..];
    let parsed = ip::parse(packet).unwrap();
    let datagram = udp::parse(packet, &parsed, true).unwrap();
    assert_eq!((parsed.src, datagram.header.src_port, datagram.header.dst_port), (ip_addr(US), 67, 68));
    let message = dhcp::Message::decode(&mut Decoder::new(&packet[datagram.payload])).unwrap();
    Some((message, frame))
}

fn kind(message: &dhcp::Message) -> MessageType {
    message.opts().msg_type().unwrap()
}

fn request(mac: MacAddr, address: Ipv4Addr, server: Option<&str>) -> dhcp::Message {
    let mut message = message(mac, MessageType::Request);
    message.opts_mut().insert(DhcpOption::RequestedIpAddress(address));
    if let Some(server) = server {
        message.opts_mut().insert(DhcpOption::ServerIdentifier(v4(server)));
    }
    message
}

/// A client goes through all of it. Its address.
fn lease(world: &mut World, mac: MacAddr) -> Option<Ipv4Addr> {
    let (offer, _) = ask(world, mac, &message(mac, MessageType::Discover))?;
    assert_eq!(kind(&offer), MessageType::Offer);
    let (ack, _) = ask(world, mac, &request(mac, offer.yiaddr(), Some(US)))?;
    assert_eq!((kind(&ack), ack.yiaddr()), (MessageType::Ack, offer.yiaddr()));
    Some(ack.yiaddr())
}

fn station(number: u8) -> MacAddr {
    MacAddr::new([2, 0, 0, 0, 1, number])
}

#[test]
fn a_client_gets_an_address_and_what_it_needs_to_know() {
    let mut world = World::new(router());
    let (offer, frame) = ask(&mut world, GUEST, &message(GUEST, MessageType::Discover)).unwrap();
    assert_eq!((kind(&offer), offer.yiaddr(), offer.xid()), (MessageType::Offer, v4("10.0.2.15"), 77));
    assert_eq!(header(&frame).dst, GUEST);
    let (ack, _) = ask(&mut world, GUEST, &request(GUEST, offer.yiaddr(), Some(US))).unwrap();
    assert_eq!(kind(&ack), MessageType::Ack);
    let is = |code, expected| assert_eq!(ack.opts().get(code), Some(&expected));
    is(OptionCode::SubnetMask, DhcpOption::SubnetMask(v4("255.255.255.0")));
    is(OptionCode::BroadcastAddr, DhcpOption::BroadcastAddr(v4("10.0.2.255")));
    is(OptionCode::Router, DhcpOption::Router(vec![v4(US)]));
    is(OptionCode::DomainNameServer, DhcpOption::DomainNameServer(vec![v4("10.0.2.3")]));
    is(OptionCode::InterfaceMtu, DhcpOption::InterfaceMtu(1500));
    is(OptionCode::AddressLeaseTime, DhcpOption::AddressLeaseTime(3600));
    assert_eq!(world.counters().dhcp_leases, 1);
    // Nobody has to be asked where it is.
    assert_eq!(world.station("10.0.2.15"), Some(GUEST));
}

#[test]
fn who_cannot_take_a_packet_yet_gets_it_as_all_do() {
    let mut world = World::new(router());
    let mut discover = message(GUEST, MessageType::Discover);
    discover.set_flags(Flags::default().set_broadcast());
    let (_, frame) = ask(&mut world, GUEST, &discover).unwrap();
    assert_eq!(header(&frame).dst, MacAddr::BROADCAST);
    assert_eq!(ip::parse(&frame[HEADER_LEN..]).unwrap().dst, ip_addr("255.255.255.255"));
}

#[test]
fn a_client_keeps_its_address() {
    let mut world = World::new(router());
    let address = lease(&mut world, GUEST).unwrap();
    for number in 0..3 {
        assert_ne!(lease(&mut world, station(number)), Some(address));
    }
    assert_eq!(lease(&mut world, GUEST), Some(address));
    // After its time is over it gets it again if nobody else did.
    world.pass_secs(4000);
    world.sent();
    assert_eq!(lease(&mut world, GUEST), Some(address));
}

#[test]
fn a_client_renews_its_lease_by_itself() {
    let mut world = World::new(router());
    let address = lease(&mut world, GUEST).unwrap();
    world.pass_secs(1800);
    world.sent();
    let mut renewal = message(GUEST, MessageType::Request);
    renewal.set_ciaddr(address);
    assert_eq!(world.give(in_frame(GUEST, "10.0.2.15", US, &renewal)), None);
    let (ack, frame) = answer(&mut world).unwrap();
    assert_eq!((kind(&ack), ack.yiaddr(), ack.ciaddr()), (MessageType::Ack, address, address));
    assert_eq!((header(&frame).dst, ip::parse(&frame[HEADER_LEN..]).unwrap().dst), (GUEST, address.into()));
    world.pass_secs(3500);
    world.sent();
    assert_eq!(
        ask(&mut world, OTHER, &request(OTHER, address, None)).map(|(nak, _)| kind(&nak)),
        Some(MessageType::Nak)
    );
}

#[test]
fn an_address_that_is_not_to_be_had_is_refused() {
    let mut world = World::new(router());
    let address = lease(&mut world, GUEST).unwrap();
    for wanted in ["10.0.2.2", "10.0.2.99", "192.168.1.5", "10.0.2.15"] {
        let (nak, frame) = ask(&mut world, OTHER, &request(OTHER, v4(wanted), None)).unwrap();
        assert_eq!((kind(&nak), header(&frame).dst), (MessageType::Nak, MacAddr::BROADCAST), "{wanted}");
    }
    assert_eq!(address, v4("10.0.2.15"));
    assert_eq!(world.counters().dhcp_refused, 4);
    // One that the server has forgotten is not.
    let (ack, _) = ask(&mut world, OTHER, &request(OTHER, v4("10.0.2.18"), None)).unwrap();
    assert_eq!((kind(&ack), ack.yiaddr()), (MessageType::Ack, v4("10.0.2.18")));
}

#[test]
fn a_client_that_takes_another_server_gets_nothing_here() {
    let mut world = World::new(router());
    let (offer, _) = ask(&mut world, GUEST, &message(GUEST, MessageType::Discover)).unwrap();
    assert!(ask(&mut world, GUEST, &request(GUEST, offer.yiaddr(), Some("10.0.2.9"))).is_none());
    let (other, _) = ask(&mut world, OTHER, &request(OTHER, offer.yiaddr(), None)).unwrap();
    assert_eq!(kind(&other), MessageType::Ack);
}

#[test]
fn a_released_address_is_free() {
    let mut world = World::new(router());
    let address = lease(&mut world, GUEST).unwrap();
    let release = |mac| {
        let mut release = message(mac, MessageType::Release);
        release.set_ciaddr(address);
        release.opts_mut().insert(DhcpOption::ServerIdentifier(v4(US)));
        release
    };
    // Not by anybody else.
    world.give(in_frame(OTHER, "10.0.2.99", US, &release(OTHER)));
    assert_eq!(
        ask(&mut world, OTHER, &request(OTHER, address, None)).map(|(nak, _)| kind(&nak)),
        Some(MessageType::Nak)
    );
    world.give(in_frame(GUEST, "10.0.2.15", US, &release(GUEST)));
    assert!(world.sent().is_empty());
    world.pass_secs(301);
    world.sent();
    assert_eq!(
        ask(&mut world, OTHER, &request(OTHER, address, None)).map(|(ack, _)| kind(&ack)),
        Some(MessageType::Ack)
    );
}

#[test]
fn a_declined_address_is_not_given_for_a_while() {
    let mut world = World::new(router());
    let address = lease(&mut world, GUEST).unwrap();
    let mut decline = request(GUEST, address, Some(US));
    decline.opts_mut().insert(DhcpOption::MessageType(MessageType::Decline));
    assert!(ask(&mut world, GUEST, &decline).is_none());
    assert_eq!(lease(&mut world, GUEST), Some(v4("10.0.2.16")));
}

#[test]
fn an_address_that_a_neighbor_uses_is_not_given() {
    let mut world = World::new(router());
    world.introduce("10.0.2.15", OTHER);
    assert_eq!(lease(&mut world, GUEST), Some(v4("10.0.2.16")));
}

#[test]
fn who_only_wants_to_know_gets_no_address() {
    let mut world = World::new(router());
    let mut inform = message(GUEST, MessageType::Inform);
    inform.set_ciaddr(v4("10.0.2.77"));
    world.give(in_frame(GUEST, "10.0.2.77", "255.255.255.255", &inform));
    let (ack, frame) = answer(&mut world).unwrap();
    assert_eq!((kind(&ack), ack.yiaddr()), (MessageType::Ack, Ipv4Addr::UNSPECIFIED));
    assert!(ack.opts().get(OptionCode::AddressLeaseTime).is_none());
    assert!(ack.opts().get(OptionCode::Router).is_some());
    assert_eq!(header(&frame).dst, GUEST);
}

#[test]
fn a_pool_that_is_empty_gives_nothing() {
    let mut world = World::new(router());
    for number in 0..6 {
        assert!(lease(&mut world, station(number)).is_some());
    }
    assert_eq!(lease(&mut world, station(6)), None);
    assert_eq!(world.counters().dhcp_exhausted, 1);
    // After the link has changed, whoever is there needs it more than whoever may be gone. The youngest lease stays.
    let now = world.now;
    world.layer.link_changed(now);
    world.sent();
    assert_eq!(lease(&mut world, station(5)), Some(v4("10.0.2.20")));
    assert_eq!(lease(&mut world, station(6)), Some(v4("10.0.2.15")));
}

#[test]
fn one_station_gets_eight_addresses_at_most_under_whichever_names() {
    let mut world = World::new(router().dhcp(DhcpConfig::new(v4("10.0.2.15")..=v4("10.0.2.200"))));
    let mut got = 0;
    for name in 0..100 {
        let mut discover = message(GUEST, MessageType::Discover);
        discover.opts_mut().insert(DhcpOption::ClientIdentifier(vec![0, name]));
        got += usize::from(ask(&mut world, GUEST, &discover).is_some());
        world.pass(Duration::from_millis(100));
        world.sent();
    }
    assert_eq!(got, 8);
    assert!(lease(&mut world, OTHER).is_some());
}

#[test]
fn nobody_takes_the_lease_of_another_by_its_name() {
    let mut world = World::new(router());
    let named = |mac, kind| {
        let mut message = message(mac, kind);
        message.opts_mut().insert(DhcpOption::ClientIdentifier(vec![0, 1, 2, 3]));
        message
    };
    let (offer, _) = ask(&mut world, GUEST, &named(GUEST, MessageType::Discover)).unwrap();
    let mut take = named(GUEST, MessageType::Request);
    take.opts_mut().insert(DhcpOption::RequestedIpAddress(offer.yiaddr()));
    assert_eq!(ask(&mut world, GUEST, &take).map(|(ack, _)| kind(&ack)), Some(MessageType::Ack));
    let mut steal = named(OTHER, MessageType::Request);
    steal.opts_mut().insert(DhcpOption::RequestedIpAddress(offer.yiaddr()));
    assert_eq!(ask(&mut world, OTHER, &steal).map(|(nak, _)| kind(&nak)), Some(MessageType::Nak));
}

#[test]
fn a_leased_address_belongs_to_its_station() {
    let mut world = World::new(router());
    let address = lease(&mut world, GUEST).unwrap();
    world.give(arp_request(OTHER, address, v4(US)));
    world.give(arp_reply(OTHER, address));
    assert_eq!(world.counters().neighbor_conflicts, 2);
    assert!(world.sent().is_empty());
    world.pass_secs(30);
    world.sent();
    // The owner does not answer, and still nobody else gets it.
    assert_ne!(world.station("10.0.2.15"), Some(OTHER));
    assert_eq!(world.give(carry(OTHER, OURS, &datagram("10.0.2.15", US, b"x"))), None);
    assert!(world.give(carry(GUEST, OURS, &datagram("10.0.2.15", US, b"x"))).is_some());
}

#[test]
fn nonsense_is_counted_and_answered_by_nobody() {
    let mut world = World::new(router());
    let discover = message(GUEST, MessageType::Discover);
    // From another station than it says, through a relay, a server's message, of another port, with a wrong checksum, cut short.
    world.give(in_frame(OTHER, "0.0.0.0", "255.255.255.255", &discover));
    let mut relayed = discover.clone();
    relayed.set_giaddr(v4("10.0.2.77"));
    world.give(in_frame(GUEST, "0.0.0.0", "255.255.255.255", &relayed));
    world.give(in_frame(GUEST, "0.0.0.0", "255.255.255.255", &message(GUEST, MessageType::Offer)));
    let bytes = discover.to_vec().unwrap();
    let broadcast = |packet: &[u8]| carry(GUEST, MacAddr::BROADCAST, packet);
    world.give(broadcast(&datagram_of([("0.0.0.0", 4000), ("255.255.255.255", 67)], &bytes)));
    let mut wrong = datagram_of([("0.0.0.0", 68), ("255.255.255.255", 67)], &bytes);
    wrong[26] ^= 1;
    world.give(broadcast(&wrong));
    world.give(broadcast(&datagram_of([("0.0.0.0", 68), ("255.255.255.255", 67)], &bytes[..200])));
    assert_eq!(world.counters().bad_dhcp, 6);
    assert!(world.sent().is_empty());
}

#[test]
fn a_flood_of_clients_gets_thirty_two_answers_a_second() {
    let mut world = World::new(router());
    for number in 0..1000_u32 {
        let [_, _, a, b] = number.to_be_bytes();
        let mac = MacAddr::new([2, 0, 0, 1, a, b]);
        world.give(in_frame(mac, "0.0.0.0", "255.255.255.255", &message(mac, MessageType::Discover)));
    }
    assert!(world.sent().len() <= 32);
    assert!(world.counters().answers_limited >= 968);
}

#[test]
fn without_a_server_dhcp_is_the_stacks() {
    let mut world = World::new(host());
    let frame = in_frame(GUEST, "10.0.2.99", "255.255.255.255", &message(GUEST, MessageType::Discover));
    assert!(world.give(frame).is_some());
}
