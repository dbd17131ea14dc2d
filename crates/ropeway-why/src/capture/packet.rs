//! TCP segments out of frames. Frames may be cut anywhere: lengths come from the headers.

use std::net::{IpAddr, SocketAddr};

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, ether_type};
use pcap_parser::Linktype;
use ropeway_packet::icmp::parse_quote;
use ropeway_packet::{ParsedTcp, TcpFlags, TcpHeader, TcpOptions};

use super::Frame;

/// What a frame carries, as far as TCP is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    /// Its source; the port is that of TCP.
    pub(crate) src: SocketAddr,
    /// Its destination.
    pub(crate) dst: SocketAddr,
    /// The segment, or what an ICMP error says of one.
    pub(crate) transport: Transport,
}

/// See [`Packet::transport`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Transport {
    /// A TCP segment.
    Segment(Segment),
    /// An ICMP error about a segment that [`Packet::src`] had sent to [`Packet::dst`].
    Icmp(Icmp),
}

/// An ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Icmp {
    /// The packet was larger than the link's MTU, in bytes; 0 if the router did not say.
    TooBig(u32),
    /// The destination cannot be reached.
    Unreachable,
    /// Its hop limit ran out.
    TimeExceeded,
}

/// A TCP segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    /// SEG.SEQ.
    pub(crate) seq: u32,
    /// SEG.ACK, if the ACK bit is set.
    pub(crate) ack: Option<u32>,
    /// The control bits.
    pub(crate) flags: TcpFlags,
    /// The window field, not scaled.
    pub(crate) window: u16,
    /// Bytes of data, as the IP header says.
    pub(crate) len: u32,
    /// The options that were captured.
    pub(crate) options: TcpOptions,
    /// IPv4's identification, if the packet may be fragmented or the field is not zero.
    pub(crate) id: Option<u16>,
    /// Time to live, or hop limit.
    pub(crate) ttl: u8,
    /// Congestion was experienced (RFC 3168).
    pub(crate) ce: bool,
}

impl Packet {
    /// Reads a frame. `None` if it carries neither TCP nor an error about it.
    pub(crate) fn parse(frame: &Frame<'_>) -> Option<Self> {
        let sliced = slice(frame.link, frame.data)?;
        let (src, dst, payload, rest) = match sliced.net? {
            LaxNetSlice::Ipv4(slice) => {
                let header = slice.header();
                // The length field is zero where the sender's device cuts (TSO); etherparse takes the captured length then.
                let whole = usize::from(header.total_len());
                let id = header.identification();
                let id = (id != 0 || !header.dont_fragment()).then_some(id);
                let headers = usize::from(header.ihl()) * 4;
                let len = if whole == 0 { link_payload(frame)? } else { whole }.checked_sub(headers)?;
                let src = IpAddr::from(header.source_addr());
                let dst = IpAddr::from(header.destination_addr());
                (
                    src,
                    dst,
                    slice.payload().clone(),
                    Ip { len, id, ttl: header.ttl(), ce: header.ecn().value() == 3 },
                )
            }
            LaxNetSlice::Ipv6(slice) => {
                let header = slice.header();
                let extensions = slice.extensions().slice().len();
                let whole = usize::from(header.payload_length());
                let whole = if whole == 0 { link_payload(frame)?.checked_sub(40)? } else { whole };
                let src = IpAddr::from(header.source_addr());
                let dst = IpAddr::from(header.destination_addr());
                let ce = header.traffic_class() & 3 == 3;
                let ip = Ip { len: whole.checked_sub(extensions)?, id: None, ttl: header.hop_limit(), ce };
                (src, dst, slice.payload().clone(), ip)
            }
            LaxNetSlice::Arp(_) => return None,
        };
        if payload.fragmented {
            return None; // the datagram is not whole
        }
        match payload.ip_number {
            etherparse::IpNumber::TCP => segment(src, dst, payload.payload, rest),
            etherparse::IpNumber::ICMP => icmp_v4(payload.payload),
            etherparse::IpNumber::IPV6_ICMP => icmp_v6(payload.payload),
            _ => None,
        }
    }
}

/// What an IP header says.
struct Ip {
    /// Bytes behind the headers, on the wire.
    len: usize,
    id: Option<u16>,
    ttl: u8,
    ce: bool,
}

/// The bytes of a frame behind its link-layer header, on the wire.
fn link_payload(frame: &Frame<'_>) -> Option<usize> {
    let header = match frame.link {
        Linktype::ETHERNET => 14,
        Linktype::LINUX_SLL => 16,
        LINUX_SLL2 => 20,
        Linktype::NULL | Linktype::LOOP => 4,
        _ => 0,
    };
    frame.len.checked_sub(header)
}

const LINUX_SLL2: Linktype = Linktype(276);

fn slice(link: Linktype, data: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    let of_type = |at: usize, behind: usize| {
        let kind = u16::from_be_bytes(*data.get(at..)?.first_chunk()?);
        Some(LaxSlicedPacket::from_ether_type(EtherType(kind), data.get(behind..)?))
    };
    match link {
        Linktype::ETHERNET => LaxSlicedPacket::from_ethernet(data).ok(),
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 | Linktype(12 | 14) => {
            LaxSlicedPacket::from_ip(data).ok()
        }
        Linktype::LINUX_SLL => of_type(14, 16),
        LINUX_SLL2 => of_type(0, 20),
        // The address family differs between systems; the version of IP does not.
        Linktype::NULL | Linktype::LOOP => {
            let kind = match data.get(4)? >> 4 {
                4 => ether_type::IPV4,
                6 => ether_type::IPV6,
                _ => return None,
            };
            Some(LaxSlicedPacket::from_ether_type(kind, data.get(4..)?))
        }
        _ => None,
    }
}

fn segment(src: IpAddr, dst: IpAddr, bytes: &[u8], ip: Ip) -> Option<Packet> {
    let ParsedTcp { header, header_len, .. } = match TcpHeader::parse(bytes) {
        Ok(parsed) => parsed,
        // Cut within the options: what stands before them is of use.
        Err(_) => {
            let mut first = *bytes.first_chunk::<20>()?;
            let header_len = usize::from(first[12] >> 4) * 4;
            first[12] = first[12] & 0x0f | 0x50;
            let parsed = TcpHeader::parse(&first).ok()?;
            ParsedTcp { header_len: header_len.max(20), ..parsed }
        }
    };
    let len = u32::try_from(ip.len.checked_sub(header_len)?).ok()?;
    let segment = Segment {
        seq: header.seq.get(),
        ack: header.flags.contains(TcpFlags::ACK).then(|| header.ack.get()),
        flags: header.flags,
        window: header.window,
        len,
        options: header.options,
        id: ip.id,
        ttl: ip.ttl,
        ce: ip.ce,
    };
    let (src, dst) = (SocketAddr::new(src, header.src_port), SocketAddr::new(dst, header.dst_port));
    Some(Packet { src, dst, transport: Transport::Segment(segment) })
}

fn icmp_v4(bytes: &[u8]) -> Option<Packet> {
    let (&[kind, code, _, _, _, _, mtu_high, mtu_low], quote) = bytes.split_first_chunk::<8>()?;
    let error = match (kind, code) {
        (3, 4) => Icmp::TooBig(u16::from_be_bytes([mtu_high, mtu_low]).into()),
        (3, _) => Icmp::Unreachable,
        (11, _) => Icmp::TimeExceeded,
        _ => return None,
    };
    about(error, quote)
}

fn icmp_v6(bytes: &[u8]) -> Option<Packet> {
    let (&[kind, _, _, _, mtu @ ..], quote) = bytes.split_first_chunk::<8>()?;
    let error = match kind {
        1 => Icmp::Unreachable,
        2 => Icmp::TooBig(u32::from_be_bytes(mtu)),
        3 => Icmp::TimeExceeded,
        _ => return None,
    };
    about(error, quote)
}

fn about(error: Icmp, quote: &[u8]) -> Option<Packet> {
    let quoted = parse_quote(quote).filter(|quoted| quoted.ip.protocol == ropeway_packet::Protocol::TCP)?;
    let (src, dst) = quoted.ports?;
    Some(Packet {
        src: SocketAddr::new(quoted.ip.src, src),
        dst: SocketAddr::new(quoted.ip.dst, dst),
        transport: Transport::Icmp(error),
    })
}
