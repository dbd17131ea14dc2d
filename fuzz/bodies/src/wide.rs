//! What an input can ask for besides: Fast Open, probes of the path's MTU, UDP; packets in fragments, SYNs without what made them
//! fast.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use ropeway_core::{MtuProbing, SocketOptions, StackConfig};
use ropeway_packet::{
    IcmpErrorKind, IpParams, Payload, Protocol, TcpFlags, UnreachableKind, fragment, icmp, ip, parse_tcp, udp,
};

/// The settings of a stack: MTUs, probes, Fast Open.
pub(crate) fn choose(config: &mut StackConfig, how: u8) {
    config.mtu_probing = MtuProbing::from_number(how & 3).unwrap_or(MtuProbing::Always);
    (config.base_mss, config.mtu) =
        [(48, 120), (100, 700), (536, 1000), (1024, 1500)][usize::from(how >> 2 & 3)];
    // A search that is over begins again within a story, and what Fast Open was found to suffer from is forgiven.
    config.probe_interval = Duration::from_secs(5);
    config.fast_open_blackhole_timeout = Duration::from_secs(10);
}

/// Fast Open for a socket: for whom has a cookie, or for all.
pub(crate) fn choose_socket(socket: &mut SocketOptions, how: u8) {
    socket.fast_open = if how & 16 != 0 { 4 } else { 0 };
    socket.fast_open_no_cookie = how & 32 != 0;
}

/// How much goes with a SYN, if it may.
pub(crate) fn len_with_syn(how: u8) -> usize {
    [0, 5, 70, 255][usize::from(how >> 6)]
}

pub(crate) fn flags_of(packet: &[u8]) -> Option<TcpFlags> {
    Some(parse_tcp(packet, ip::parse(packet).ok()?, true).ok()?.tcp.flags)
}

pub(crate) fn is_fragment(packet: &[u8]) -> bool {
    ip::parse(packet).is_ok_and(|ip| ip.fragment.is_some())
}

/// The packet in fragments of up to `mtu` bytes; nothing if it is one already, or cannot be cut.
pub(crate) fn cut(packet: &Bytes, mtu: u16, ident: u32) -> Vec<Bytes> {
    if is_fragment(packet) {
        return Vec::new();
    }
    let whole = Payload::from(packet.clone());
    let pieces = fragment::split(&whole, mtu, ident).into_iter().flatten();
    pieces.map(|(header, data)| [&header[..], &data.to_vec()].concat().into()).collect()
}

/// A SYN without its data, or without its option of Fast Open; `None` if it is none.
pub(crate) fn slowed(packet: &[u8], data_too: bool) -> Option<Bytes> {
    let segment = parse_tcp(packet, ip::parse(packet).ok()?, true).ok()?;
    if !segment.tcp.flags.contains(TcpFlags::SYN) {
        return None;
    }
    let params = IpParams {
        src: segment.ip.src,
        dst: segment.ip.dst,
        protocol: segment.ip.protocol,
        hop_limit: segment.ip.hop_limit,
        traffic_class: segment.ip.traffic_class,
        dont_fragment: true,
        ident: 0,
        flow_label: 0,
    };
    let mut tcp = segment.tcp;
    let data = if data_too { &[][..] } else { packet.get(segment.payload)? };
    if !data_too {
        tcp.options.fast_open = None;
    }
    let payload = Payload::from(Bytes::copy_from_slice(data));
    let header = ropeway_packet::emit_tcp(&params, &tcp, &payload, ropeway_packet::ChecksumMode::Full);
    Some([&header[..], data].concat().into())
}

/// What a router or the receiver says of a packet, to whom sent it; `None` if it is no packet.
pub(crate) fn error_about(packet: &[u8], mtu: Option<u32>) -> Option<Bytes> {
    let ip = ip::parse(packet).ok()?;
    let kind = mtu
        .map_or(IcmpErrorKind::Unreachable(UnreachableKind::Port), |mtu| IcmpErrorKind::PacketTooBig { mtu });
    Some(icmp::emit_error(ip.dst, ip.src, kind, packet, 64).into())
}

pub(crate) fn is_udp(packet: &[u8]) -> bool {
    ip::parse(packet).is_ok_and(|ip| ip.protocol == Protocol::UDP)
}

/// The data of datagram `number` of whoever is `side`.
pub(crate) fn datagram(side: usize, number: usize, len: usize) -> Vec<u8> {
    let mut state = (side as u32 + 1).wrapping_mul(0x9e37_79b9) ^ (number as u32).wrapping_mul(0x85eb_ca6b);
    let byte = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(byte).collect()
}

/// A datagram from `src` to `dst`; `None` if the two are of different families.
pub(crate) fn udp_packet(src: SocketAddr, dst: SocketAddr, data: &[u8]) -> Option<Vec<u8>> {
    let params = IpParams {
        src: src.ip(),
        dst: dst.ip(),
        protocol: Protocol::UDP,
        hop_limit: 64,
        traffic_class: 0,
        dont_fragment: false,
        ident: 0,
        flow_label: 0,
    };
    udp::emit(&params, src.port(), dst.port(), data).ok()
}

/// From where to where a whole datagram goes, and its data.
pub(crate) fn udp_of(packet: &[u8]) -> Option<(SocketAddr, SocketAddr, &[u8])> {
    let ip = ip::parse(packet).ok().filter(|ip| ip.fragment.is_none())?;
    let datagram = udp::parse(packet, &ip, true).ok()?;
    let end = |ip: IpAddr, port| SocketAddr::new(ip, port);
    let (src, dst) = (datagram.header.src_port, datagram.header.dst_port);
    Some((end(ip.src, src), end(ip.dst, dst), packet.get(datagram.payload)?))
}
