//! Packets to bytes and back, byte by byte: nothing here trusts what is under test, but for its checksums.

use std::net::IpAddr;

use ropeway_core::packet::{Checksum, IpParams, Protocol, checksum, ip};

use super::ast::{PacketExtras, TcpOption};

/// The control bits.
pub mod flag {
    /// FIN
    pub const FIN: u16 = 1;
    /// SYN
    pub const SYN: u16 = 2;
    /// RST
    pub const RST: u16 = 4;
    /// PSH
    pub const PSH: u16 = 8;
    /// ACK
    pub const ACK: u16 = 16;
    /// URG
    pub const URG: u16 = 32;
    /// ECE
    pub const ECE: u16 = 64;
    /// CWR
    pub const CWR: u16 = 128;
    /// AE
    pub const AE: u16 = 256;

    const LETTERS: [(u16, char); 8] =
        [(SYN, 'S'), (FIN, 'F'), (RST, 'R'), (PSH, 'P'), (URG, 'U'), (ECE, 'E'), (CWR, 'W'), (AE, 'A')];

    /// The flag that a script writes as this letter.
    #[must_use]
    pub fn of_letter(letter: char) -> Option<u16> {
        // `C` is what some collections write for CWR.
        let letter = if letter == 'C' { 'W' } else { letter };
        LETTERS.iter().find(|(_, known)| *known == letter).map(|(flag, _)| *flag)
    }

    /// The ACE counter of AccECN: AE, CWR, ECE.
    #[must_use]
    pub fn of_ace(count: u16) -> u16 {
        (if count & 4 != 0 { AE } else { 0 })
            | (if count & 2 != 0 { CWR } else { 0 })
            | (if count & 1 != 0 { ECE } else { 0 })
    }

    /// As a script writes them.
    #[must_use]
    pub fn letters(flags: u16) -> String {
        let mut text: String =
            LETTERS.iter().filter(|(flag, _)| flags & flag != 0).map(|(_, letter)| *letter).collect();
        if flags & ACK != 0 {
            text.push('.');
        }
        if text.is_empty() { "-".into() } else { text }
    }
}

/// A packet as it crossed.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Its sender.
    pub src: IpAddr,
    /// Its receiver.
    pub dst: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// IPv6; zero for IPv4.
    pub flow_label: u32,
    /// Behind the IP header.
    pub body: PacketBody,
}

/// Behind the IP header.
#[derive(Clone, Debug)]
pub enum PacketBody {
    /// A segment.
    Tcp(Tcp),
    /// An ICMP message: type, code, and the rest.
    Icmp(u8, u8, Vec<u8>),
    /// A datagram: ports and payload.
    Udp(u16, u16, Vec<u8>),
    /// Neither, or broken: why.
    Other(String),
}

/// A segment with absolute numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// SEG.SEQ
    pub seq: u32,
    /// SEG.ACK, whatever the flag says.
    pub ack: u32,
    /// See [`flag`].
    pub flags: u16,
    /// The field.
    pub win: u16,
    /// The urgent pointer.
    pub urg: u16,
    /// In the order they stand.
    pub options: Vec<TcpOption>,
    /// Data.
    pub payload: Vec<u8>,
}

impl Tcp {
    /// Whether all of these flags are set.
    #[must_use]
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Reads a packet that left the stack. Whatever is wrong with it ends up in [`PacketBody::Other`].
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Packet> {
    let ip = ip::parse(bytes).ok()?;
    let upper = bytes.get(ip.payload.clone())?;
    let flow_label = if ip.src.is_ipv6() { be32(bytes, 0)? & 0xf_ffff } else { 0 };
    let broken = |why: &str| PacketBody::Other(why.to_owned());
    let body = match ip.protocol {
        Protocol::TCP => {
            let len = u32::try_from(upper.len()).ok()?;
            let mut sum = checksum::pseudo_header(ip.src, ip.dst, Protocol::TCP, len);
            sum.add_bytes(upper);
            if sum.finish() == 0 {
                tcp(upper).map_or_else(|| broken("TCP, cut"), PacketBody::Tcp)
            } else {
                broken("TCP with a wrong checksum")
            }
        }
        Protocol::ICMP | Protocol::ICMPV6 => match upper {
            [kind, code, _, _, rest @ ..] => PacketBody::Icmp(*kind, *code, rest.to_vec()),
            _ => broken("ICMP, cut"),
        },
        Protocol::UDP => match (be16(upper, 0), be16(upper, 2), upper.get(8..)) {
            (Some(src), Some(dst), Some(payload)) => PacketBody::Udp(src, dst, payload.to_vec()),
            _ => broken("UDP, cut"),
        },
        other => PacketBody::Other(format!("protocol {}", other.0)),
    };
    Some(Packet { src: ip.src, dst: ip.dst, ttl: ip.hop_limit, tos: ip.traffic_class, flow_label, body })
}

fn tcp(bytes: &[u8]) -> Option<Tcp> {
    let header = usize::from(bytes.get(12)? >> 4) * 4;
    Some(Tcp {
        src_port: be16(bytes, 0)?,
        dst_port: be16(bytes, 2)?,
        seq: be32(bytes, 4)?,
        ack: be32(bytes, 8)?,
        flags: be16(bytes, 12)? & 0xfff,
        win: be16(bytes, 14)?,
        urg: be16(bytes, 18)?,
        options: decode_options(bytes.get(20..header)?)?,
        payload: bytes.get(header..)?.to_vec(),
    })
}

fn decode_options(mut bytes: &[u8]) -> Option<Vec<TcpOption>> {
    let mut options = Vec::new();
    while let Some(kind) = bytes.first() {
        let len = if *kind < 2 { 1 } else { usize::from(*bytes.get(1)?) };
        let value = if *kind < 2 { &[] } else { bytes.get(2..len)? };
        options.push(match (kind, value) {
            (0, _) => TcpOption::Eol,
            (1, _) => TcpOption::Nop,
            (2, [_, _]) => TcpOption::Mss(be16(value, 0)?),
            (3, [shift]) => TcpOption::WindowScale(*shift),
            (4, []) => TcpOption::SackPermitted,
            (5, blocks) if blocks.len().is_multiple_of(8) => TcpOption::Sack(
                blocks
                    .chunks(8)
                    .map(|block| Some((be32(block, 0)?, be32(block, 4)?)))
                    .collect::<Option<_>>()?,
            ),
            (8, value) if value.len() == 8 => {
                TcpOption::Timestamps { val: be32(value, 0)?, ecr: be32(value, 4)? }
            }
            (34, cookie) => TcpOption::FastOpen { cookie: cookie.to_vec(), experimental: false },
            (254, [0xf9, 0x89, cookie @ ..]) => {
                TcpOption::FastOpen { cookie: cookie.to_vec(), experimental: true }
            }
            (kind, value) => TcpOption::Other(*kind, value.to_vec()),
        });
        bytes = bytes.get(len.max(1)..)?;
    }
    Some(options)
}

/// The bytes of the options, padded to words as packetdrill does: with zeros.
#[must_use]
pub fn encode_options(options: &[TcpOption]) -> Vec<u8> {
    let mut out = Vec::new();
    for option in options {
        let (kind, value) = match option {
            TcpOption::Eol | TcpOption::Nop => {
                out.push(u8::from(*option == TcpOption::Nop));
                continue;
            }
            TcpOption::Mss(mss) => (2, mss.to_be_bytes().to_vec()),
            TcpOption::WindowScale(shift) => (3, vec![*shift]),
            TcpOption::SackPermitted => (4, Vec::new()),
            TcpOption::Sack(blocks) => {
                let edges = blocks.iter().flat_map(|(left, right)| [*left, *right]);
                (5, edges.flat_map(u32::to_be_bytes).collect())
            }
            TcpOption::Timestamps { val, ecr } => (8, [val.to_be_bytes(), ecr.to_be_bytes()].concat()),
            TcpOption::OwnCookie { experimental: false } => (34, vec![0; 8]),
            TcpOption::OwnCookie { experimental: true } => (254, [&[0xf9, 0x89][..], &[0; 8]].concat()),
            TcpOption::FastOpen { cookie, experimental: false } => (34, cookie.clone()),
            TcpOption::FastOpen { cookie, experimental: true } => {
                (254, [&[0xf9, 0x89], &cookie[..]].concat())
            }
            TcpOption::Other(kind, value) => (*kind, value.clone()),
        };
        out.push(kind);
        out.push(u8::try_from(value.len() + 2).unwrap_or(u8::MAX));
        out.extend_from_slice(&value);
    }
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// The bytes of a segment's packet.
#[must_use]
pub fn encode(packet: &Packet, tcp: &Tcp, extras: &PacketExtras) -> Vec<u8> {
    let options = extras.options.clone().map_or_else(
        || encode_options(&tcp.options),
        |mut raw| {
            raw.resize(raw.len().next_multiple_of(4), 0);
            raw
        },
    );
    let words = extras.data_offset.unwrap_or_else(|| u8::try_from(5 + options.len() / 4).unwrap_or(15));
    let offset_and_flags = u16::from(words) << 12 | u16::from(extras.reserved & 7) << 9 | tcp.flags;
    let mut upper = Vec::new();
    upper.extend_from_slice(&tcp.src_port.to_be_bytes());
    upper.extend_from_slice(&tcp.dst_port.to_be_bytes());
    upper.extend_from_slice(&tcp.seq.to_be_bytes());
    upper.extend_from_slice(&tcp.ack.to_be_bytes());
    upper.extend_from_slice(&offset_and_flags.to_be_bytes());
    upper.extend_from_slice(&tcp.win.to_be_bytes());
    upper.extend_from_slice(&[0, 0]);
    upper.extend_from_slice(&tcp.urg.to_be_bytes());
    upper.extend_from_slice(&options);
    upper.extend_from_slice(&tcp.payload);
    let len = u32::try_from(upper.len()).unwrap_or(u32::MAX);
    let mut sum = checksum::pseudo_header(packet.src, packet.dst, Protocol::TCP, len);
    sum.add_bytes(&upper);
    let sum = sum.finish() ^ if extras.bad_checksum { 0x5555 } else { 0 };
    upper[16..18].copy_from_slice(&sum.to_be_bytes());
    wrap(packet, Protocol::TCP, &upper, extras)
}

/// An IP packet around anything.
#[must_use]
pub fn wrap(packet: &Packet, protocol: Protocol, upper: &[u8], extras: &PacketExtras) -> Vec<u8> {
    let params = IpParams {
        src: packet.src,
        dst: packet.dst,
        protocol,
        hop_limit: packet.ttl,
        traffic_class: packet.tos,
        dont_fragment: true,
        ident: 0,
        flow_label: packet.flow_label,
    };
    let ip_options = extras.ip_options.clone().filter(|_| packet.dst.is_ipv4()).unwrap_or_default();
    let mut bytes = vec![0; params.header_len()];
    params.emit(ip_options.len() + upper.len(), &mut bytes);
    if !ip_options.is_empty() {
        bytes[0] += u8::try_from(ip_options.len() / 4).unwrap_or(0);
        bytes.extend_from_slice(&ip_options);
        bytes[10..12].fill(0);
        let mut sum = Checksum::new();
        sum.add_bytes(&bytes);
        let sum = sum.finish().to_be_bytes();
        bytes[10..12].copy_from_slice(&sum);
    }
    bytes.extend_from_slice(upper);
    bytes
}
