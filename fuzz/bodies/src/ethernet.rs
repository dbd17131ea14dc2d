//! An Ethernet layer, and stations that send it whatever they like, against what must always be so.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use arbitrary::Unstructured;
use bytes::Bytes;
use ropeway::device::{Received, Transmit};
use ropeway_core::Timestamp;
use ropeway_ethernet::{DhcpConfig, EthernetConfig, EthernetLayer, MacAddr, RouterConfig};
use ropeway_packet::checksum::pseudo_header;
use ropeway_packet::{IpParams, Protocol, icmp, ip, udp};

use crate::story::tell;

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const BROADCAST: [u8; 6] = [0xff; 6];
const MTU: u16 = 1400;
/// What may wait for the link, and a packet more.
const MOST_WAITING: usize = 256 * 1024 + 64 * 1024;

/// The layer, with whatever the input has happen to it.
///
/// # Panics
///
/// If the layer sends a frame that is wrong, gives the stack a packet that it must not get, sends what is for the holder of a lease to
/// another station, keeps too much, or has something to do at once for ever.
pub fn ethernet(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let mut world = World::new(input.arbitrary().unwrap_or(true));
    while !input.is_empty() && world.step(&mut input).is_ok() {}
    world.ends();
}

struct World {
    layer: EthernetLayer,
    now: Timestamp,
    is_router: bool,
    /// Who has been given which address, and until when.
    leases: BTreeMap<Ipv4Addr, ([u8; 6], Timestamp)>,
    /// The link takes frames.
    takes: bool,
    /// Frames wait that were made before.
    is_behind: bool,
}

fn mac(number: u8) -> [u8; 6] {
    match number % 6 {
        0 => OURS,
        1 => BROADCAST,
        2 => [0x33, 0x33, 0, 0, 0, 1],
        number => [2, 0, 0, 0, 9, number],
    }
}

fn v4(number: u8) -> Ipv4Addr {
    match number % 12 {
        0 => Ipv4Addr::new(10, 0, 0, 1),
        1 => Ipv4Addr::UNSPECIFIED,
        2 => Ipv4Addr::BROADCAST,
        3 => Ipv4Addr::new(10, 0, 0, 255),
        4 => Ipv4Addr::new(192, 0, 2, 7),
        5 => Ipv4Addr::new(224, 0, 0, 5),
        6 => Ipv4Addr::new(10, 0, 0, 254),
        number => Ipv4Addr::new(10, 0, 0, 3 + number),
    }
}

fn v6(number: u8) -> Ipv6Addr {
    match number % 10 {
        0 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
        1 => Ipv6Addr::UNSPECIFIED,
        2 => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
        3 => solicited(v6(0)),
        4 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7),
        5 => MacAddr::new(OURS).link_local(),
        6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9),
        number => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()),
    }
}

fn solicited(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

fn frame(dst: [u8; 6], src: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&dst[..], &src, &ethertype.to_be_bytes(), payload].concat()
}

fn params(src: IpAddr, dst: IpAddr, protocol: Protocol, hop_limit: u8) -> IpParams {
    IpParams { src, dst, protocol, hop_limit, traffic_class: 0, dont_fragment: true, ident: 0, flow_label: 0 }
}

fn ethertype_of(packet: &[u8]) -> u16 {
    if packet.first().is_some_and(|first| first >> 4 == 6) { 0x86dd } else { 0x0800 }
}

impl World {
    fn new(is_router: bool) -> Self {
        let config = EthernetConfig::new(MacAddr::new(OURS))
            .address("10.0.0.1/24".parse().expect("good"))
            .address("fd00::1/64".parse().expect("good"))
            .proxy("10.0.0.254/32".parse().expect("good"))
            .mtu(MTU)
            .seed(5);
        let config = if is_router {
            config
                .dhcp(DhcpConfig::new(Ipv4Addr::new(10, 0, 0, 10)..=Ipv4Addr::new(10, 0, 0, 12)))
                .advertise(RouterConfig::new().dns(v6(0)))
        } else {
            config.router(v4(7).into()).router(v6(7).into())
        };
        let layer = EthernetLayer::new(config);
        let now = Timestamp::from_micros(1_000_000);
        Self { layer, now, is_router, leases: BTreeMap::new(), takes: true, is_behind: false }
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
        match input.int_in_range(0..=15_u8)? {
            0 => {
                let by = Duration::from_millis(u64::from(input.arbitrary::<u16>()?) * 4);
                self.now += by;
                self.expire();
            }
            1 => {
                let len = input.int_in_range(0..=120)?;
                let bytes = input.bytes(len)?.to_vec();
                self.give(bytes);
            }
            2 => {
                self.layer.link_changed(self.now);
                // Whoever does not renew a lease may lose it.
                self.leases.clear();
                tell(self.now, || "the link has changed".to_owned());
            }
            3 => self.takes = input.arbitrary()?,
            4..=6 => {
                let packet = self.arp(input)?;
                self.give(packet);
            }
            7..=9 => {
                let packet = self.ndp(input)?;
                self.give(packet);
            }
            10..=11 => {
                let packet = dhcp(input)?;
                self.hears_of_leases(&packet);
                self.give(packet);
            }
            12..=13 => {
                let packet = datagram(input)?;
                let [src, dst] = [mac(input.arbitrary()?), mac(input.arbitrary()?)];
                let mut frame = frame(dst, src, ethertype_of(&packet), &packet);
                frame.resize(frame.len() + usize::from(input.arbitrary::<u8>()? % 8), 0);
                self.give(frame);
            }
            _ => {
                let packet = datagram(input)?;
                if self.layer.has_room() {
                    self.layer.handle_packet(self.now, &Transmit::whole(packet.into()));
                }
            }
        }
        self.drain();
        Ok(())
    }

    fn arp(&self, input: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
        let sender_mac = mac(input.arbitrary()?);
        let operation = input.int_in_range(0..=3_u8)?;
        let [sender, target] = [v4(input.arbitrary()?), v4(input.arbitrary()?)];
        let mut arp = vec![0, 1, 8, 0, 6, 4, 0, operation];
        arp.extend_from_slice(&sender_mac);
        arp.extend_from_slice(&sender.octets());
        arp.extend_from_slice(&[0; 6]);
        arp.extend_from_slice(&target.octets());
        // Mostly it tells the truth about who sends it.
        let src = if input.ratio(7, 8)? { sender_mac } else { mac(input.arbitrary()?) };
        Ok(frame(mac(input.arbitrary()?), src, 0x0806, &arp))
    }

    fn ndp(&self, input: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
        let kind = input.int_in_range(132..=138_u8)?;
        let src_mac = mac(input.arbitrary()?);
        let [src, target] = [v6(input.arbitrary()?), v6(input.arbitrary()?)];
        let dst = if input.arbitrary()? { solicited(target) } else { v6(input.arbitrary()?) };
        let mut message = vec![kind, 0, 0, 0, input.arbitrary()?, 0, 0, 0];
        if kind >= 135 {
            message.extend_from_slice(&target.octets());
        }
        if input.arbitrary()? {
            message.extend_from_slice(&[input.int_in_range(0..=3)?, input.int_in_range(0..=2)?]);
            message.extend_from_slice(&if input.ratio(7, 8)? { src_mac } else { mac(input.arbitrary()?) });
        }
        let hop_limit = if input.ratio(15, 16)? { 255 } else { 64 };
        let params = params(src.into(), dst.into(), Protocol::ICMPV6, hop_limit);
        let len = message.len();
        let mut sum =
            pseudo_header(src.into(), dst.into(), Protocol::ICMPV6, u32::try_from(len).expect("small"));
        sum.add_bytes(&message);
        message[2..4].copy_from_slice(&sum.finish().to_be_bytes());
        let mut packet = vec![0; params.header_len()];
        params.emit(len, &mut packet);
        packet.extend_from_slice(&message);
        let dst_mac = if input.arbitrary()? { OURS } else { mac(input.arbitrary()?) };
        Ok(frame(dst_mac, src_mac, 0x86dd, &packet))
    }

    /// A client may give its address back: nothing is held against the layer for that address any more.
    fn hears_of_leases(&mut self, frame: &[u8]) {
        let kind = frame.get(14 + 28 + 240 + 2).copied();
        if matches!(kind, Some(4 | 7)) {
            let src = frame[6..12].to_vec();
            self.leases.retain(|_, (holder, _)| holder[..] != src[..]);
        }
    }

    fn give(&mut self, frame: Vec<u8>) {
        tell(self.now, || format!("> {frame:02x?}"));
        let src: Option<[u8; 6]> = frame.get(6..12).and_then(|src| src.try_into().ok());
        let Some(received) = self.layer.handle_frame(self.now, Received::alone(Bytes::from(frame))) else {
            return;
        };
        let packet = &received.packet[..];
        assert!(packet.len() <= MTU.into());
        let Ok(ip) = ip::parse(packet) else { return };
        assert!(!ip.src.is_unspecified() && !ip.src.is_multicast(), "from nobody or a group: {ip:?}");
        if self.is_router {
            let is_on_link = match ip.src {
                IpAddr::V4(src) => src.octets()[..3] == [10, 0, 0] && src.octets()[3] != 255,
                IpAddr::V6(src) => src.segments()[..4] == [0xfd00, 0, 0, 0] || src.is_unicast_link_local(),
            };
            assert!(is_on_link && ip.src != IpAddr::V4(v4(0)) && ip.src != IpAddr::V6(v6(0)), "{ip:?}");
            if let IpAddr::V4(address) = ip.src
                && let Some((holder, until)) = self.leases.get(&address)
                && *until > self.now
            {
                assert_eq!(Some(*holder), src, "{address} is another's");
            }
        }
        if ip.protocol == Protocol::ICMPV6 && ip.fragment.is_none() {
            let kind = packet.get(ip.payload.start).copied();
            assert!(
                !kind.is_some_and(|kind| (133..=137).contains(&kind)),
                "neighbor discovery is the layer's"
            );
        }
    }

    fn expire(&mut self) {
        self.layer.handle_timeout(self.now);
        assert!(self.layer.poll_timeout().is_none_or(|due| due > self.now), "it is never done");
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(error) = self.layer.poll_packet() {
            let parsed = ip::parse(&error.packet).expect("what the layer makes is right");
            icmp::parse(&error.packet, &parsed).expect("and so is its message");
        }
        assert!(self.layer.frames().len() <= MOST_WAITING);
        if !self.takes {
            self.is_behind = true;
            return;
        }
        while let Some(frame) = self.layer.frames().front().map(<[u8]>::to_vec) {
            self.layer.frames().pop_front();
            tell(self.now, || format!("< {frame:02x?}"));
            self.check_sent(&frame);
        }
        self.is_behind = false;
    }

    fn check_sent(&mut self, frame: &[u8]) {
        assert!(frame.len() >= 14 + 20 && frame.len() <= 14 + usize::from(MTU));
        let (dst, src): ([u8; 6], [u8; 6]) =
            (frame[..6].try_into().expect("six"), frame[6..12].try_into().expect("six"));
        assert!(src == OURS && dst != OURS && dst != [0; 6], "from us, to another");
        let payload = &frame[14..];
        match [frame[12], frame[13]] {
            [8, 6] => {
                assert_eq!(
                    (payload.len(), &payload[..6], &payload[8..14]),
                    (28, &[0, 1, 8, 0, 6, 4][..], &OURS[..])
                );
                assert!(
                    [v4(0), v4(6)]
                        .map(|own| own.octets())
                        .contains(&payload[14..18].try_into().expect("four"))
                );
            }
            _ => {
                let ip = ip::parse(payload).expect("what leaves is right");
                assert_eq!(ip.payload.end, payload.len());
                self.check_packet(dst, payload, &ip);
            }
        }
    }

    fn check_packet(&mut self, station: [u8; 6], packet: &[u8], ip: &ropeway_packet::IpPacket) {
        let datagram = udp::parse(packet, ip, true).ok();
        if ip.src == IpAddr::V4(v4(0))
            && let Some(datagram) = &datagram
            && (datagram.header.src_port, datagram.header.dst_port) == (67, 68)
        {
            let message = &packet[datagram.payload.clone()];
            let holder: [u8; 6] = message[28..34].try_into().expect("six");
            assert!(station == holder || station == BROADCAST, "nobody else's business");
            let yiaddr = Ipv4Addr::from(<[u8; 4]>::try_from(&message[16..20]).expect("four"));
            // DHCPACK, with an address.
            if message[242] == 5 && !yiaddr.is_unspecified() {
                let until = self.now + Duration::from_secs(3600);
                self.leases.retain(|_, (of, _)| *of != holder);
                self.leases.insert(yiaddr, (holder, until));
            }
            return;
        }
        if let IpAddr::V4(dst) = ip.dst
            && let Some((holder, until)) = self.leases.get(&dst)
            && *until > self.now
            && !self.is_behind
        {
            assert_eq!(*holder, station, "{dst} is another's");
        }
        if ip.protocol == Protocol::ICMPV6
            && packet[ip.payload.start] >= 133
            && packet[ip.payload.start] <= 137
        {
            assert_eq!(ip.hop_limit, 255);
            icmp::parse(packet, ip).expect("the checksum is right");
        }
    }

    fn ends(mut self) {
        self.takes = true;
        self.drain();
        for _ in 0..10 {
            self.now += Duration::from_secs(60);
            self.expire();
        }
    }
}

fn dhcp(input: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let station = mac(input.int_in_range(3..=5)?);
    let kind = input.int_in_range(0..=9_u8)?;
    let mut message = vec![1, 1, 6, 0, 0, 0, 0, 7, 0, 0, if input.arbitrary()? { 0x80 } else { 0 }, 0];
    let ciaddr = if input.arbitrary()? { v4(input.arbitrary()?) } else { Ipv4Addr::UNSPECIFIED };
    message.extend_from_slice(&ciaddr.octets());
    message.resize(28, 0);
    message.extend_from_slice(&station);
    message.resize(236, 0);
    message.extend_from_slice(&[99, 130, 83, 99, 53, 1, kind]);
    if input.arbitrary()? {
        message.extend_from_slice(&[50, 4]);
        message.extend_from_slice(&v4(input.arbitrary()?).octets());
    }
    if input.arbitrary()? {
        message.extend_from_slice(&[54, 4]);
        message.extend_from_slice(&v4(if input.ratio(7, 8)? { 0 } else { input.arbitrary()? }).octets());
    }
    if input.ratio(1, 4)? {
        message.extend_from_slice(&[61, 2, 0, input.arbitrary()?]);
    }
    let rest = input.int_in_range(0..=6)?;
    message.extend_from_slice(input.bytes(rest)?);
    let (src, dst) = if input.arbitrary()? {
        (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST)
    } else {
        (ciaddr, v4(input.arbitrary()?))
    };
    let params = params(src.into(), dst.into(), Protocol::UDP, 64);
    let packet = udp::emit(&params, 68, 67, &message).expect("it is short");
    let to = if input.arbitrary()? { OURS } else { BROADCAST };
    Ok(frame(to, station, 0x0800, &packet))
}

fn datagram(input: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let (src, dst) = if input.arbitrary()? {
        (IpAddr::V4(v4(input.arbitrary()?)), IpAddr::V4(v4(input.arbitrary()?)))
    } else {
        (IpAddr::V6(v6(input.arbitrary()?)), IpAddr::V6(v6(input.arbitrary()?)))
    };
    let len = if input.ratio(1, 8)? { input.int_in_range(1300..=1500)? } else { 20 };
    let port = if input.ratio(7, 8)? { 7 } else { 67 };
    Ok(udp::emit(&params(src, dst, Protocol::UDP, 64), 9, port, &vec![7; len]).expect("it is short"))
}
