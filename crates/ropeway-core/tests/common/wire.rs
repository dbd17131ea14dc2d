//! Segments as tests write them and see them.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use ropeway_core::packet::fragment::{self, Marks};
use ropeway_core::packet::{
    AccurateEcn, Checksum, ChecksumMode, EcnCodepoint, EcnOrder, FastOpen, IpParams, Payload, Protocol,
    SeqNum, TcpFlags, TcpHeader, TcpOptions, Timestamps, checksum, emit_tcp, ip,
};
#[allow(unused_imports, reason = "not every test file describes packets")]
pub use ropeway_sim::pair::{describe, describe_tcp, flag_letters, parse};

/// A segment to send, or what is expected of one. What is `None` is filled in when sending, and not looked
/// at when expecting.
#[derive(Clone, Debug, Default)]
pub struct Seg {
    pub flags: TcpFlags,
    pub seq: Option<u32>,
    pub ack: Option<u32>,
    pub win: Option<u16>,
    pub mss: Option<u16>,
    pub ws: Option<u8>,
    pub ts: Option<(u32, u32)>,
    /// Expected: the timestamp that is echoed, whatever the stack's own clock says.
    pub ecr: Option<u32>,
    pub no_ts: bool,
    pub sack_ok: Option<bool>,
    /// The blocks of the SACK option, relative to the initial sequence number of the end that sent what they report.
    pub sack: Option<Vec<(u32, u32)>>,
    pub urg: Option<u16>,
    pub push: Option<bool>,
    pub data: Option<Vec<u8>>,
    pub len: Option<usize>,
    pub raw_options: Option<Vec<u8>>,
    pub bad_checksum: bool,
    /// The device has merged it out of segments of so many bytes.
    pub merged: Option<u16>,
    /// The ECN field of its packet.
    pub ecn: Option<EcnCodepoint>,
    /// The counters of Accurate ECN, ECT(1) first; none is no option.
    pub counters: Option<Vec<u32>>,
    /// The option of Fast Open; `Some(None)` expects that there is none.
    pub fast_open: Option<Option<FastOpen>>,
}

fn seg(flags: TcpFlags) -> Seg {
    Seg { flags, ..Seg::default() }
}

pub fn syn() -> Seg {
    seg(TcpFlags::SYN)
}
pub fn syn_ack() -> Seg {
    seg(TcpFlags::SYN | TcpFlags::ACK)
}
pub fn ack() -> Seg {
    seg(TcpFlags::ACK).len(0)
}
pub fn data(bytes: impl AsRef<[u8]>) -> Seg {
    seg(TcpFlags::ACK).bytes(bytes)
}
/// Data whose bytes do not matter.
pub fn some(len: usize) -> Seg {
    seg(TcpFlags::ACK).len(len)
}
pub fn fin() -> Seg {
    seg(TcpFlags::FIN | TcpFlags::ACK).len(0)
}
pub fn rst() -> Seg {
    seg(TcpFlags::RST).len(0)
}
pub fn rst_ack() -> Seg {
    seg(TcpFlags::RST | TcpFlags::ACK).len(0)
}
/// No flag at all.
pub fn bare() -> Seg {
    seg(TcpFlags::EMPTY)
}

impl Seg {
    pub fn seq(mut self, seq: u32) -> Self {
        self.seq = Some(seq);
        self
    }
    pub fn ack(mut self, ack: u32) -> Self {
        self.ack = Some(ack);
        self.flags |= TcpFlags::ACK;
        self
    }
    /// The acknowledgement field without the flag that makes it valid.
    pub fn without_ack(mut self) -> Self {
        self.flags = self.flags & !TcpFlags::ACK;
        self
    }
    pub fn win(mut self, win: u16) -> Self {
        self.win = Some(win);
        self
    }
    pub fn mss(mut self, mss: u16) -> Self {
        self.mss = Some(mss);
        self
    }
    pub fn ws(mut self, shift: u8) -> Self {
        self.ws = Some(shift);
        self
    }
    pub fn ts(mut self, val: u32, ecr: u32) -> Self {
        self.ts = Some((val, ecr));
        self
    }
    pub fn ecr(mut self, ecr: u32) -> Self {
        self.ecr = Some(ecr);
        self
    }
    pub fn no_ts(mut self) -> Self {
        self.no_ts = true;
        self
    }
    pub fn sack_ok(mut self, permitted: bool) -> Self {
        self.sack_ok = Some(permitted);
        self
    }
    /// All the blocks, in their order; none is no option.
    pub fn sack(mut self, blocks: &[(u32, u32)]) -> Self {
        self.sack = Some(blocks.to_vec());
        self
    }
    pub fn urg(mut self, pointer: u16) -> Self {
        self.urg = Some(pointer);
        self.flags |= TcpFlags::URG;
        self
    }
    pub fn push(mut self) -> Self {
        self.push = Some(true);
        self
    }
    pub fn no_push(mut self) -> Self {
        self.push = Some(false);
        self
    }
    pub fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.len = Some(bytes.as_ref().len());
        self.data = Some(bytes.as_ref().to_vec());
        self
    }
    pub fn len(mut self, len: usize) -> Self {
        self.len = Some(len);
        self
    }
    pub fn fin(mut self) -> Self {
        self.flags |= TcpFlags::FIN;
        self
    }
    pub fn syn(mut self) -> Self {
        self.flags |= TcpFlags::SYN;
        self
    }
    /// One more flag.
    pub fn flag(mut self, flag: TcpFlags) -> Self {
        self.flags |= flag;
        self
    }
    pub fn ece(self) -> Self {
        self.flag(TcpFlags::ECE)
    }
    pub fn cwr(self) -> Self {
        self.flag(TcpFlags::CWR)
    }
    /// What its packet says of congestion.
    pub fn ecn(mut self, field: EcnCodepoint) -> Self {
        self.ecn = Some(field);
        self
    }
    /// The counter in the header that Accurate ECN has, 0 to 7.
    pub fn ace(self, count: u8) -> Self {
        self.flag(TcpFlags::from_ace(count))
    }
    /// The option of Accurate ECN with these counters: of ECT(1), CE and ECT(0).
    pub fn counters(mut self, counters: &[u32]) -> Self {
        self.counters = Some(counters.to_vec());
        self
    }
    /// Fast Open: a cookie, or the request for one.
    pub fn fast_open(mut self, option: FastOpen) -> Self {
        self.fast_open = Some(Some(option));
        self
    }
    pub fn no_fast_open(mut self) -> Self {
        self.fast_open = Some(None);
        self
    }
    pub fn ce(self) -> Self {
        self.ecn(EcnCodepoint::Ce)
    }
    pub fn ect0(self) -> Self {
        self.ecn(EcnCodepoint::Ect0)
    }
    pub fn not_ect(self) -> Self {
        self.ecn(EcnCodepoint::NotEct)
    }
    pub fn rst(mut self) -> Self {
        self.flags |= TcpFlags::RST;
        self
    }
    pub fn options(mut self, raw: &[u8]) -> Self {
        self.raw_options = Some(raw.to_vec());
        self
    }
    pub fn bad_checksum(mut self) -> Self {
        self.bad_checksum = true;
        self
    }
    pub fn merged(mut self, segment_size: u16) -> Self {
        self.merged = Some(segment_size);
        self
    }
    pub fn payload(&self) -> Vec<u8> {
        self.data.clone().unwrap_or_else(|| vec![b'x'; self.len.unwrap_or(0)])
    }
}

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A whole IP packet with a TCP segment in it.
pub fn tcp_packet(
    src: IpAddr,
    dst: IpAddr,
    header: &TcpHeader,
    raw_options: Option<&[u8]>,
    data: &[u8],
) -> Vec<u8> {
    let ip = ip_params(src, dst, Protocol::TCP);
    let Some(options) = raw_options else {
        let payload = Payload::from(Bytes::copy_from_slice(data));
        let mut packet = emit_tcp(&ip, header, &payload, ChecksumMode::Full).to_vec();
        packet.extend_from_slice(data);
        return packet;
    };
    let mut tcp = vec![0; 20];
    TcpHeader { options: TcpOptions::default(), ..*header }.emit(&mut tcp);
    tcp.extend_from_slice(options);
    tcp.resize(tcp.len().next_multiple_of(4), 0);
    tcp[12] = ((tcp.len() / 4) as u8) << 4;
    tcp.extend_from_slice(data);
    let mut sum = checksum::pseudo_header(src, dst, Protocol::TCP, tcp.len() as u32);
    sum.add_bytes(&tcp);
    let sum = sum.finish().to_be_bytes();
    tcp[16..18].copy_from_slice(&sum);
    ip_packet(src, dst, Protocol::TCP, &tcp)
}

pub fn ip_params(src: IpAddr, dst: IpAddr, protocol: Protocol) -> IpParams {
    IpParams {
        src,
        dst,
        protocol,
        hop_limit: 64,
        traffic_class: 0,
        dont_fragment: true,
        ident: 0,
        flow_label: 0,
    }
}

/// Sets the ECN field of an IP packet.
pub fn set_ecn(packet: &mut [u8], field: EcnCodepoint) {
    if packet[0] >> 4 == 4 {
        packet[1] = field.within(packet[1]);
        fix_ip_checksum(packet);
    } else {
        packet[1] = packet[1] & !0x30 | (field as u8) << 4;
    }
}

/// An IP packet around anything.
pub fn ip_packet(src: IpAddr, dst: IpAddr, protocol: Protocol, upper: &[u8]) -> Vec<u8> {
    let ip = ip_params(src, dst, protocol);
    let mut packet = vec![0; ip.header_len()];
    ip.emit(upper.len(), &mut packet);
    packet.extend_from_slice(upper);
    packet
}

/// The fragments of a packet.
pub fn cut(packet: &[u8], mtu: u16, ident: u32) -> Vec<Vec<u8>> {
    let payload = Payload::from(Bytes::copy_from_slice(packet));
    let pieces = fragment::split(&payload, mtu, ident).unwrap();
    pieces.map(|(header, data)| [&header[..], &data.to_vec()].concat()).collect()
}

/// What was sent, which must be fragments of one datagram in their order, put together.
pub fn join(packets: &[Vec<u8>]) -> Vec<u8> {
    let len = packets.iter().map(|packet| ip::parse(packet).unwrap().payload.len()).sum();
    let marks = Marks::default().with(EcnCodepoint::NotEct);
    let mut whole = fragment::whole_headers(&packets[0], len, marks).unwrap();
    let mut next = 0;
    for (number, packet) in packets.iter().enumerate() {
        let ip = ip::parse(packet).unwrap();
        let place = ip.fragment.unwrap();
        assert_eq!((usize::from(place.offset), place.more), (next, number + 1 < packets.len()));
        next += ip.payload.len();
        whole.extend_from_slice(&packet[ip.payload]);
    }
    whole
}

/// Makes the checksum of an IPv4 header right again.
pub fn fix_ip_checksum(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let mut sum = Checksum::new();
    sum.add_bytes(&packet[..len]);
    let sum = sum.finish().to_be_bytes();
    packet[10..12].copy_from_slice(&sum);
}

/// The header that a [`Seg`] stands for; `seq` and `ack` are on the wire's scale.
pub fn header(
    ports: (u16, u16),
    seg: &Seg,
    seq: u32,
    ack: u32,
    win: u16,
    ts: Option<(u32, u32)>,
) -> TcpHeader {
    let mut flags = seg.flags;
    if seg.push == Some(true) {
        flags |= TcpFlags::PSH;
    }
    TcpHeader {
        src_port: ports.0,
        dst_port: ports.1,
        seq: SeqNum::new(seq),
        ack: SeqNum::new(ack),
        flags,
        window: win,
        urgent: seg.urg.unwrap_or(0),
        options: TcpOptions {
            mss: seg.mss,
            window_scale: seg.ws,
            sack_permitted: seg.sack_ok == Some(true),
            timestamps: ts.map(|(tsval, tsecr)| Timestamps { tsval, tsecr }),
            accurate_ecn: seg
                .counters
                .as_ref()
                .map(|counters| AccurateEcn::new(EcnOrder::Ect1First, counters)),
            fast_open: seg.fast_open.flatten(),
            ..TcpOptions::default()
        },
    }
}

/// An expected segment as a line, with what does not matter left out.
pub fn show(seg: &Seg) -> String {
    let mut line = flag_letters(seg.flags);
    let fields = [
        ("seq", seg.seq),
        ("ack", seg.ack),
        ("win", seg.win.map(u32::from)),
        ("mss", seg.mss.map(u32::from)),
        ("wscale", seg.ws.map(u32::from)),
        ("TS val", seg.ts.map(|ts| ts.0)),
        ("TS ecr", seg.ts.map(|ts| ts.1).or(seg.ecr)),
        ("urg", seg.urg.map(u32::from)),
        ("len", seg.len.map(|len| len as u32)),
        ("ecn", seg.ecn.map(|field| field as u32)),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            let _ = write!(line, " {name} {value}");
        }
    }
    if let Some(permitted) = seg.sack_ok {
        line += if permitted { " sackOK" } else { " no sackOK" };
    }
    if let Some(blocks) = &seg.sack {
        let _ = write!(line, " sack {}", show_blocks(blocks));
    }
    line
}

/// SACK blocks as a trace shows them.
pub fn show_blocks(blocks: &[(u32, u32)]) -> String {
    let shown: Vec<_> = blocks.iter().map(|(start, end)| format!("{start}:{end}")).collect();
    if shown.is_empty() { "none".into() } else { shown.join(" ") }
}
