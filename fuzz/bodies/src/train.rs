//! Batches of packets through the merger, against a definition of a train that is slow and simple; then what was
//! merged is cut again.

use arbitrary::Unstructured;
use bytes::Bytes;
use ropeway_core::Timestamp;
use ropeway_packet::train::{Merger, Place, split};
use ropeway_packet::{
    ChecksumMode, FourTuple, IpParams, Payload, Protocol, SeqNum, TcpFlags, TcpHeader, TcpOptions,
    Timestamps, emit_tcp, ip, parse_tcp,
};

use crate::exercise::repair;
use crate::story::{describe, tell};

/// Packets of one batch, as the input asks for them: of four connections, honest, changed, or any bytes.
///
/// # Panics
///
/// If packets are merged that make no train, if such that do are not, if any is lost or overtaken, or if cutting gives
/// other packets.
pub fn train(bytes: &[u8]) {
    let packets = batch(&mut Unstructured::new(bytes));
    let known: Vec<Option<Plain>> = packets.iter().map(|packet| Plain::read(packet)).collect();
    let trains = merge(&packets, &known);
    for train in &trains {
        check(train, &packets, &known);
    }
    check_order(&trains, &known);
    check_none_is_missed(&trains, &packets, &known);
}

/// Which packets stand together, the first packet's index first.
struct Train {
    packets: Vec<usize>,
    data: Payload,
    segment_size: u16,
    push: bool,
}

fn merge(packets: &[Vec<u8>], known: &[Option<Plain>]) -> Vec<Train> {
    let mut merger = Merger::new();
    let mut trains: Vec<Train> = Vec::new();
    for (index, packet) in packets.iter().enumerate() {
        match merger.place(index, packet, false) {
            Place::Alone { verified } => {
                tell(Timestamp::START, || format!("{index}: alone, {verified}: {}", describe(packet)));
                let plain = known[index].as_ref().filter(|_| verified);
                assert_eq!(plain.is_some(), verified, "the checksum of packet {index}");
                let data = plain.map_or(Payload::new(), |plain| plain.data(packet).into());
                trains.push(Train { packets: vec![index], data, segment_size: 0, push: false });
            }
            Place::Behind(segment) => {
                tell(Timestamp::START, || format!("{index}: behind {}: {}", segment.train, describe(packet)));
                let train = trains.iter_mut().find(|train| train.packets[0] == segment.train);
                let train = train.expect("a packet that stood alone");
                train.packets.push(index);
                train.data.push(Bytes::copy_from_slice(&packet[segment.payload]));
                train.segment_size = segment.segment_size;
                assert!(!train.push, "something behind PSH");
                train.push = segment.push;
            }
        }
    }
    trains
}

/// A train is what the definition says, and cutting it gives its packets.
fn check(train: &Train, packets: &[Vec<u8>], known: &[Option<Plain>]) {
    let [first, .., _] = train.packets[..] else { return };
    for pair in train.packets.windows(2) {
        let (one, next) = (known[pair[0]].as_ref(), known[pair[1]].as_ref());
        let (Some(one), Some(next)) = (one, next) else { panic!("not plain packets: {pair:?}") };
        assert!(one.goes_on_with(next), "{pair:?} make no train");
        assert!(
            one.len == usize::from(train.segment_size) && next.len <= one.len,
            "{pair:?} by their lengths"
        );
    }
    let plain = known[first].as_ref().expect("a plain packet");
    assert!(plain.headers.len() + train.data.len() <= 65_535, "longer than a packet");

    let headers = &packets[first][..plain.headers.len()];
    let cut = split(headers, &train.data, train.segment_size).expect("a train").accurate_ecn();
    let cut = if train.push { cut.push() } else { cut };
    assert_eq!(cut.len(), train.packets.len());
    let (mut filled, mut out) = (cut.clone(), vec![0; headers.len() + usize::from(train.segment_size)]);
    for (segment, index) in cut.zip(&train.packets) {
        let mut again = segment.headers.to_vec();
        segment.payload.for_each(|slice| again.extend_from_slice(slice));
        assert_eq!(filled.fill(&mut out), Some(again.len()));
        assert_eq!(out[..again.len()], again, "packet {index} in one piece");
        // Identifications that nobody may look at, the IPv4 checksum over them, and the link's padding are not kept.
        let plain = known[*index].as_ref().expect("a plain packet");
        let mut original = packets[*index][..plain.headers.len() + plain.len].to_vec();
        if plain.ident.is_none() && again[0] >> 4 == 4 {
            for packet in [&mut original, &mut again] {
                packet[4..6].fill(0);
                packet[10..12].fill(0);
            }
        }
        let at = plain.ip_len + 16;
        if original[at..at + 2] == [0xff; 2] {
            // The other zero.
            original[at..at + 2].fill(0);
        }
        assert_eq!(again, original, "packet {index} was cut differently");
    }
}

/// Each packet is in one place, and none of a connection has overtaken another.
fn check_order(trains: &[Train], known: &[Option<Plain>]) {
    let order: Vec<usize> = trains.iter().flat_map(|train| train.packets.iter().copied()).collect();
    let mut all = order.clone();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..known.len()), "a packet was lost, or came twice");
    let mut last: Vec<(FourTuple, usize)> = Vec::new();
    for (index, plain) in order.iter().filter_map(|index| Some((*index, known[*index].as_ref()?))) {
        match last.iter_mut().find(|(tuple, _)| *tuple == plain.tuple) {
            Some((_, before)) => {
                assert!(*before < index, "{index} was overtaken by {before}");
                *before = index;
            }
            None => last.push((plain.tuple, index)),
        }
    }
}

/// Two packets in sequence that make a train stand in one, if nothing strange came between them.
fn check_none_is_missed(trains: &[Train], packets: &[Vec<u8>], known: &[Option<Plain>]) {
    for (index, next) in known.iter().enumerate() {
        let Some(next) = next else { continue };
        let before = known[..index].iter().enumerate().rev();
        let mut before = before.take_while(|(at, plain)| plain.is_some() || packets[*at].is_empty());
        let Some((at, one)) =
            before.find(|(_, plain)| plain.as_ref().is_some_and(|one| one.tuple == next.tuple))
        else {
            continue;
        };
        let one = one.as_ref().expect("it has just been found");
        if !one.goes_on_with(next) {
            continue;
        }
        let train = trains.iter().find(|train| train.packets.contains(&at)).expect("each is in one");
        let size = known[train.packets[0]].as_ref().map_or(0, |first| first.len);
        // A train that it is not in ends before it.
        let full = next.headers.len() + train.data.len() + next.len > 65_535;
        let fits = one.len == size && next.len <= size;
        let merged = train.packets.contains(&index);
        assert!(if merged { fits } else { !fits || full }, "{at} and {index}: merged is {merged}");
    }
}

/// A TCP packet with right checksums, without IP options, extension headers or fragmentation.
struct Plain {
    tuple: FourTuple,
    ip_len: usize,
    /// What is equal in a train: the headers, with zeros for what may differ.
    headers: Vec<u8>,
    /// The identification, where it has a meaning.
    ident: Option<u16>,
    seq: SeqNum,
    flags: TcpFlags,
    /// Bytes of data.
    len: usize,
}

impl Plain {
    fn read(packet: &[u8]) -> Option<Self> {
        let ip = ip::parse(packet).ok().filter(|ip| !ip.has_options && ip.fragment.is_none())?;
        let ident = (!ip.dont_fragment).then(|| u16::try_from(ip.ident).expect("16 bits of IPv4"));
        let segment = parse_tcp(packet, ip, true).ok()?;
        let (ip_len, tcp) = (segment.ip.payload.start, segment.tcp);
        let mut headers = packet[..segment.payload.start].to_vec();
        if segment.ip.src.is_ipv4() {
            headers[2..6].fill(0);
            headers[10..12].fill(0);
        } else {
            headers[4..6].fill(0);
        }
        headers[ip_len + 4..ip_len + 8].fill(0);
        headers[ip_len + 13] &= !8;
        headers[ip_len + 16..ip_len + 18].fill(0);
        Some(Self {
            tuple: FourTuple {
                local_addr: segment.ip.dst,
                remote_addr: segment.ip.src,
                local_port: tcp.dst_port,
                remote_port: tcp.src_port,
            },
            ip_len,
            headers,
            ident,
            seq: tcp.seq,
            flags: tcp.flags,
            len: segment.payload.len(),
        })
    }

    fn data(&self, packet: &[u8]) -> Bytes {
        Bytes::copy_from_slice(&packet[self.headers.len()..self.headers.len() + self.len])
    }

    /// Whether `next` can stand behind this one in a train, but for how long they are.
    fn goes_on_with(&self, next: &Self) -> bool {
        let never = TcpFlags::SYN | TcpFlags::FIN | TcpFlags::RST | TcpFlags::URG;
        self.headers == next.headers
            && self.ident.map(|ident| ident.wrapping_add(1)) == next.ident
            && self.flags.contains(TcpFlags::ACK)
            && !self.flags.intersects(never | TcpFlags::PSH)
            && self.seq + u32::try_from(self.len).expect("a packet's length") == next.seq
            && self.len > 0
            && next.len > 0
    }
}

// ---- what the input asks for

const PORTS: [u16; 4] = [1000, 1001, 1002, 1003];

struct Flow {
    params: IpParams,
    header: TcpHeader,
}

impl Flow {
    fn new(which: usize) -> Self {
        let v4 = which.is_multiple_of(2);
        let (src, dst) = if v4 {
            ([192, 0, 2, 1].into(), [192, 0, 2, 2].into())
        } else {
            ([1_u16; 8].into(), [2_u16; 8].into())
        };
        let params = IpParams {
            src,
            dst,
            protocol: Protocol::TCP,
            hop_limit: 64,
            traffic_class: 0,
            dont_fragment: which < 2,
            ident: 65_530,
            flow_label: 0,
        };
        let timestamps = (which != 3).then_some(Timestamps { tsval: 1, tsecr: 2 });
        let header = TcpHeader {
            src_port: PORTS[which],
            dst_port: 80,
            seq: SeqNum::new(u32::MAX - 100),
            flags: TcpFlags::ACK,
            window: 1000,
            options: TcpOptions { timestamps, ..TcpOptions::default() },
            ..TcpHeader::default()
        };
        Self { params, header }
    }

    /// The next segment of so many bytes.
    fn next(&mut self, len: usize, flags: TcpFlags) -> Vec<u8> {
        let data: Vec<u8> = vec![self.header.seq.get().to_le_bytes()[0]; len];
        let header = TcpHeader { flags: self.header.flags | flags, ..self.header };
        let payload = Payload::from(Bytes::from(data.clone()));
        let mut packet = emit_tcp(&self.params, &header, &payload, ChecksumMode::Full).to_vec();
        packet.extend(data);
        self.header.seq += u32::try_from(len).expect("a packet's length");
        if !self.params.dont_fragment {
            self.params.ident = self.params.ident.wrapping_add(1);
        }
        packet
    }
}

fn byte(input: &mut Unstructured<'_>) -> u8 {
    input.arbitrary().unwrap_or_default()
}

fn batch(input: &mut Unstructured<'_>) -> Vec<Vec<u8>> {
    let mut flows: Vec<Flow> = (0..4).map(Flow::new).collect();
    let mut packets = Vec::new();
    while !input.is_empty() && packets.len() < 120 {
        let op = byte(input);
        let flow = &mut flows[usize::from(op & 3)];
        let packet = match op >> 2 & 15 {
            0..5 => flow.next(24, TcpFlags::EMPTY),
            5 => flow.next(if op >> 6 == 3 { 20_000 } else { 200 }, TcpFlags::EMPTY),
            6 => flow.next(usize::from(byte(input)), TcpFlags::EMPTY),
            7 => flow.next(24, TcpFlags::PSH),
            8 => flow.next(24, TcpFlags::from_bits_truncate(u16::from(byte(input)) << 1)),
            9 => flow.next(0, TcpFlags::EMPTY),
            10 => {
                change(flow, byte(input));
                continue;
            }
            11 | 12 => mangled(flow.next(24, TcpFlags::EMPTY), input, true),
            13 => mangled(flow.next(24, TcpFlags::EMPTY), input, false),
            14 => input.bytes(usize::from(op >> 6) * 24 + 20).unwrap_or_default().to_vec(),
            _ => packets.last().cloned().unwrap_or_default(),
        };
        packets.push(packet);
    }
    packets
}

/// From now on something is different.
fn change(flow: &mut Flow, what: u8) {
    let Flow { params, header } = flow;
    match what & 15 {
        0 => params.traffic_class ^= 3,
        1 => params.traffic_class ^= 4,
        2 => params.hop_limit ^= 1,
        3 => params.flow_label ^= 1,
        4 => params.dont_fragment ^= true,
        5 => params.ident = params.ident.wrapping_add(1),
        6 => header.ack += 1,
        7 => header.window ^= 1,
        8 => header.seq += 1,
        9 => header.seq = header.seq - 24,
        10 => header.options.timestamps = Some(Timestamps { tsval: u32::from(what), tsecr: 2 }),
        11 => header.options.timestamps = None,
        12 => drop(header.options.sack.push((SeqNum::new(1), SeqNum::new(2)))),
        13 => header.urgent ^= 1,
        14 => header.flags = TcpFlags::ACK | TcpFlags::CWR,
        _ => header.flags = TcpFlags::ACK,
    }
}

/// A byte or two are different, and perhaps the checksums right again.
fn mangled(mut packet: Vec<u8>, input: &mut Unstructured<'_>, right: bool) -> Vec<u8> {
    let (at, by) = (usize::from(byte(input)), byte(input));
    match at.checked_sub(packet.len()) {
        Some(beyond) if by & 1 == 0 => packet.extend(std::iter::repeat_n(by, beyond & 15)),
        Some(beyond) => packet.truncate(beyond),
        None => packet[at] ^= by,
    }
    if right {
        repair(&mut packet);
    }
    packet
}
