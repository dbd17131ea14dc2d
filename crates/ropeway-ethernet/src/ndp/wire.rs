//! Messages of neighbor discovery (RFC 4861), and their options (RFC 4861 4.6, RFC 8106).

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use ropeway::packet::checksum::{pseudo_header, verify};
use ropeway::packet::{IpPacket, IpParams, Protocol};

use crate::MacAddr;

/// What every message has: nothing that crossed a router has it.
pub(crate) const HOP_LIMIT: u8 = 255;
/// Bytes of an IPv6 header.
const IP_LEN: usize = 40;

const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const REDIRECT: u8 = 137;

const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
const PREFIX: u8 = 3;
const MTU: u8 = 5;
const RDNSS: u8 = 25;

const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

/// A message that is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    RouterSolicitation {
        source_mac: Option<MacAddr>,
    },
    NeighborSolicitation {
        target: Ipv6Addr,
        source_mac: Option<MacAddr>,
    },
    NeighborAdvertisement {
        target: Ipv6Addr,
        flags: AdvertisementFlags,
        target_mac: Option<MacAddr>,
    },
    /// An advertisement or a redirect of another router.
    OtherRouter,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AdvertisementFlags {
    pub(crate) router: bool,
    pub(crate) solicited: bool,
    pub(crate) overrides: bool,
}

/// A message of neighbor discovery that must be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// Reads a message; `None` if the packet carries none.
pub(crate) fn parse(packet: &[u8], ip: &IpPacket) -> Option<Result<Message, Invalid>> {
    // What is in fragments is the stack's to put together; it knows nothing of these messages.
    if ip.protocol != Protocol::ICMPV6 || ip.fragment.is_some() {
        return None;
    }
    let bytes = packet.get(ip.payload.clone()).unwrap_or_default();
    let kind = *bytes.first()?;
    if !(ROUTER_SOLICITATION..=REDIRECT).contains(&kind) {
        return None;
    }
    Some(parse_valid(kind, bytes, ip).ok_or(Invalid))
}

// RFC 4861 6.1.1-1, RFC 4861 7.1.1-1, RFC 4861 7.1.2-1
fn parse_valid(kind: u8, bytes: &[u8], ip: &IpPacket) -> Option<Message> {
    let (&[_, code, _, _, b4, _, _, _], body) = bytes.split_first_chunk::<8>()?;
    // RFC 6980 5: no message has a fragment header. Nobody sends other extension headers either, and they hide messages from
    // filters (RFC 7113).
    let is_bare = ip.payload.start == IP_LEN;
    if ip.hop_limit != HOP_LIMIT || code != 0 || !is_bare || !verify(ip.src, ip.dst, ip.protocol, bytes) {
        return None;
    }
    let from_nobody = ip.src.is_unspecified();
    match kind {
        ROUTER_SOLICITATION => {
            let source_mac = option(body, SOURCE_LINK_LAYER)?;
            (!from_nobody || source_mac.is_none()).then_some(Message::RouterSolicitation { source_mac })
        }
        NEIGHBOR_SOLICITATION => {
            let (target, options) = target(body)?;
            let source_mac = option(options, SOURCE_LINK_LAYER)?;
            let detects_duplicates = source_mac.is_none() && ip.dst == IpAddr::V6(solicited_node(target));
            (!from_nobody || detects_duplicates)
                .then_some(Message::NeighborSolicitation { target, source_mac })
        }
        NEIGHBOR_ADVERTISEMENT => {
            let (target, options) = target(body)?;
            let target_mac = option(options, TARGET_LINK_LAYER)?;
            let has = |flag| b4 & flag != 0;
            let flags = AdvertisementFlags {
                router: has(ROUTER),
                solicited: has(SOLICITED),
                overrides: has(OVERRIDE),
            };
            let is_asked_by_all = flags.solicited && ip.dst.is_multicast();
            (!from_nobody && !is_asked_by_all).then_some(Message::NeighborAdvertisement {
                target,
                flags,
                target_mac,
            })
        }
        _ => Some(Message::OtherRouter),
    }
}

fn target(body: &[u8]) -> Option<(Ipv6Addr, &[u8])> {
    let (target, options) = body.split_first_chunk::<16>()?;
    let target = Ipv6Addr::from(*target);
    (!target.is_multicast()).then_some((target, options))
}

/// The first hardware address in an option of that kind, if there is one. `None` if an option has no length, or ends behind the
/// message.
fn option(mut options: &[u8], wanted: u8) -> Option<Option<MacAddr>> {
    let mut found = None;
    while let [kind, units, ..] = *options {
        let (option, rest) = options.split_at_checked(usize::from(units) * 8)?;
        if let ([_, _, mac @ ..], true) = (option.first_chunk::<8>()?, kind == wanted) {
            found = found.or(Some(MacAddr::new(*mac)));
        }
        options = rest;
    }
    options.is_empty().then_some(found)
}

/// The group that listens for solicitations of an address (RFC 4291 2.7.1).
pub(crate) fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    Ipv6Addr::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// All nodes of the link.
pub(crate) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Asks for the hardware address of `target`.
pub(crate) fn neighbor_solicitation(
    src: Ipv6Addr,
    dst: Ipv6Addr,
    target: Ipv6Addr,
    mac: MacAddr,
) -> BytesMut {
    message(src, dst, NEIGHBOR_SOLICITATION, 0, |body| {
        body.put_slice(&target.octets());
        link_layer_option(SOURCE_LINK_LAYER, mac, body);
    })
}

/// Tells the hardware address of `src`, which is also who sends it.
pub(crate) fn neighbor_advertisement(
    src: Ipv6Addr,
    dst: Ipv6Addr,
    flags: AdvertisementFlags,
    mac: MacAddr,
) -> BytesMut {
    let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    let flags = bit(flags.router, ROUTER) | bit(flags.solicited, SOLICITED) | bit(flags.overrides, OVERRIDE);
    message(src, dst, NEIGHBOR_ADVERTISEMENT, u32::from(flags) << 24, |body| {
        body.put_slice(&src.octets());
        link_layer_option(TARGET_LINK_LAYER, mac, body);
    })
}

/// What an advertisement of ours says.
pub(crate) struct Advertisement<'a> {
    pub(crate) mac: MacAddr,
    pub(crate) hop_limit: u8,
    pub(crate) router_lifetime: Duration,
    pub(crate) mtu: u16,
    /// Prefixes, their lengths, and how long they are valid and preferred.
    pub(crate) prefixes: &'a [(Ipv6Addr, u8)],
    pub(crate) valid: Duration,
    pub(crate) preferred: Duration,
    pub(crate) dns: &'a [Ipv6Addr],
    pub(crate) dns_lifetime: Duration,
}

// RFC 4861 6.2.3-1, RFC 8106 5.1-1
/// A router advertisement (RFC 4861 4.2).
pub(crate) fn router_advertisement(src: Ipv6Addr, dst: Ipv6Addr, says: &Advertisement<'_>) -> BytesMut {
    let lifetime = u16::try_from(says.router_lifetime.as_secs()).unwrap_or(u16::MAX);
    let word = u32::from(says.hop_limit) << 24 | u32::from(lifetime);
    message(src, dst, ROUTER_ADVERTISEMENT, word, |body| {
        // Neither how long a neighbor is reachable, nor how often it is asked.
        body.put_u64(0);
        link_layer_option(SOURCE_LINK_LAYER, says.mac, body);
        body.put_slice(&[MTU, 1, 0, 0]);
        body.put_u32(u32::from(says.mtu));
        for (prefix, len) in says.prefixes {
            // On the link, and good for addresses: only prefixes of 64 bits are (RFC 2464 4).
            let flags = if *len == 64 { 0xc0 } else { 0x80 };
            body.put_slice(&[PREFIX, 4, *len, flags]);
            body.put_u32(seconds(says.valid));
            body.put_u32(seconds(says.preferred));
            body.put_u32(0);
            body.put_slice(&prefix.octets());
        }
        if let Ok(count) = u8::try_from(says.dns.len())
            && (1..=MOST_DNS_SERVERS).contains(&count)
        {
            // RFC 8106 5.1
            body.put_slice(&[RDNSS, 1 + 2 * count, 0, 0]);
            body.put_u32(seconds(says.dns_lifetime));
            says.dns.iter().for_each(|server| body.put_slice(&server.octets()));
        }
    })
}

/// More than a host would use.
pub(crate) const MOST_DNS_SERVERS: u8 = 8;

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

fn link_layer_option(kind: u8, mac: MacAddr, body: &mut BytesMut) {
    body.put_slice(&[kind, 1]);
    body.put_slice(&mac.octets());
}

/// An IPv6 packet with a message of ICMPv6.
fn message(src: Ipv6Addr, dst: Ipv6Addr, kind: u8, word: u32, body: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut packet = BytesMut::zeroed(IP_LEN);
    packet.put_slice(&[kind, 0, 0, 0]);
    packet.put_u32(word);
    body(&mut packet);
    let len = packet.len() - IP_LEN;
    let params = IpParams {
        src: src.into(),
        dst: dst.into(),
        protocol: Protocol::ICMPV6,
        hop_limit: HOP_LIMIT,
        traffic_class: 0,
        dont_fragment: true,
        ident: 0,
        flow_label: 0,
    };
    params.emit(len, &mut packet);
    let upper = u32::try_from(len).unwrap_or(u32::MAX);
    let mut sum = pseudo_header(params.src, params.dst, Protocol::ICMPV6, upper);
    sum.add_bytes(packet.get(IP_LEN..).unwrap_or_default());
    if let Some(field) = packet.get_mut(IP_LEN + 2..IP_LEN + 4) {
        field.copy_from_slice(&sum.finish().to_be_bytes());
    }
    packet
}

#[cfg(test)]
mod tests {
    use ropeway::packet::ip;

    use super::*;

    const MAC: MacAddr = MacAddr::new([2, 0, 0, 0, 0, 1]);

    fn read(packet: &[u8]) -> Option<Result<Message, Invalid>> {
        parse(packet, &ip::parse(packet).unwrap())
    }

    fn address(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    /// The message with a change in it, and the right checksum.
    fn changed(packet: &BytesMut, change: impl FnOnce(&mut BytesMut)) -> BytesMut {
        let mut packet = packet.clone();
        change(&mut packet);
        packet[IP_LEN + 2..IP_LEN + 4].fill(0);
        let ip = ip::parse(&packet).unwrap();
        let mut sum =
            pseudo_header(ip.src, ip.dst, Protocol::ICMPV6, u32::try_from(packet.len() - IP_LEN).unwrap());
        sum.add_bytes(&packet[IP_LEN..]);
        let sum = sum.finish().to_be_bytes();
        packet[IP_LEN + 2..IP_LEN + 4].copy_from_slice(&sum);
        packet
    }

    #[test]
    fn what_is_written_is_read() {
        let (us, target) = (address("fe80::1"), address("fd00::15"));
        let packet = neighbor_solicitation(us, solicited_node(target), target, MAC);
        assert_eq!(read(&packet), Some(Ok(Message::NeighborSolicitation { target, source_mac: Some(MAC) })));
        let flags = AdvertisementFlags { router: true, solicited: true, overrides: false };
        let packet = neighbor_advertisement(us, target, flags, MAC);
        let expected = Message::NeighborAdvertisement { target: us, flags, target_mac: Some(MAC) };
        assert_eq!(read(&packet), Some(Ok(expected)));
    }

    // RFC 4861 6.1.1-1, RFC 4861 7.1.1-1
    #[test]
    fn a_message_that_crossed_a_router_or_has_a_wrong_field_is_invalid() {
        let (us, target) = (address("fe80::1"), address("fd00::15"));
        let good = neighbor_solicitation(us, solicited_node(target), target, MAC);
        let invalid = |change: fn(&mut BytesMut)| {
            assert_eq!(read(&changed(&good, change)), Some(Err(Invalid)));
        };
        invalid(|packet| packet[7] = 254);
        invalid(|packet| packet[IP_LEN + 1] = 1);
        // The target is a group.
        invalid(|packet| packet[IP_LEN + 8] = 0xff);
        // An option without a length, and one that ends behind the message.
        invalid(|packet| packet[IP_LEN + 25] = 0);
        invalid(|packet| packet[IP_LEN + 25] = 2);
        // From nobody, but with an address.
        invalid(|packet| packet[8..24].fill(0));
        let mut wrong_sum = good.clone();
        wrong_sum[IP_LEN + 2] ^= 1;
        assert_eq!(read(&wrong_sum), Some(Err(Invalid)));
        for len in IP_LEN + 1..good.len() {
            let mut short = BytesMut::from(&good[..len]);
            let payload = u16::try_from(len - IP_LEN).unwrap();
            short[4..6].copy_from_slice(&payload.to_be_bytes());
            let short = if len >= IP_LEN + 4 { changed(&short, |_| {}) } else { short };
            let without_option = len == IP_LEN + 24;
            assert_eq!(read(&short).unwrap().is_ok(), without_option, "{len} bytes");
        }
    }

    // RFC 4861 7.1.2-1
    #[test]
    fn an_advertisement_to_all_that_says_it_was_asked_for_is_invalid() {
        let flags = AdvertisementFlags { solicited: true, ..AdvertisementFlags::default() };
        let us = address("fe80::1");
        assert_eq!(read(&neighbor_advertisement(us, ALL_NODES, flags, MAC)), Some(Err(Invalid)));
    }

    #[test]
    fn duplicates_are_looked_for_from_nobody_and_in_the_right_group_only() {
        let target = address("fd00::15");
        let good = neighbor_solicitation(address("fe80::1"), solicited_node(target), target, MAC);
        let from_nobody = |packet: &mut BytesMut| {
            packet.truncate(IP_LEN + 24);
            packet[5] = 24;
            packet[8..24].fill(0);
        };
        let expected = Message::NeighborSolicitation { target, source_mac: None };
        assert_eq!(read(&changed(&good, from_nobody)), Some(Ok(expected)));
        let elsewhere = changed(&good, |packet| {
            from_nobody(packet);
            packet[39] ^= 1;
        });
        assert_eq!(read(&elsewhere), Some(Err(Invalid)));
    }

    // RFC 4861 6.2.3-1, RFC 8106 5.1-1
    #[test]
    fn an_advertisement_has_the_prefix_the_mtu_and_the_servers() {
        let says = Advertisement {
            mac: MAC,
            hop_limit: 64,
            router_lifetime: Duration::from_secs(1800),
            mtu: 1400,
            prefixes: &[(address("fd00::"), 64)],
            valid: Duration::from_secs(86_400),
            preferred: Duration::from_secs(14_400),
            dns: &[address("fd00::3")],
            dns_lifetime: Duration::from_secs(1200),
        };
        let packet = router_advertisement(address("fe80::1"), ALL_NODES, &says);
        assert_eq!(read(&packet), Some(Ok(Message::OtherRouter)));
        let body = &packet[IP_LEN + 4..];
        assert_eq!(body[..4], [64, 0, 0x07, 0x08]);
        assert_eq!(body[12..20], [1, 1, 2, 0, 0, 0, 0, 1]);
        assert_eq!(body[20..28], [5, 1, 0, 0, 0, 0, 0x05, 0x78]);
        assert_eq!(body[28..44], [3, 4, 64, 0xc0, 0, 1, 0x51, 0x80, 0, 0, 0x38, 0x40, 0, 0, 0, 0]);
        assert_eq!(body[44..60], address("fd00::").octets());
        assert_eq!(body[60..68], [25, 3, 0, 0, 0, 0, 0x04, 0xb0]);
        assert_eq!(body[68..], address("fd00::3").octets());
    }
}
