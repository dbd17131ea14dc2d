mod merge;
mod split;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::headers::Headers;
use super::*;
use crate::{
    ChecksumMode, HeaderBuf, IpParams, Payload, Protocol, SeqNum, TcpFlags, TcpHeader, TcpOptions,
    Timestamps, emit_tcp,
};

fn params(is_v4: bool) -> IpParams {
    let (src, dst) = if is_v4 { ("192.0.2.1", "192.0.2.2") } else { ("2001:db8::1", "2001:db8::2") };
    IpParams {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        protocol: Protocol::TCP,
        hop_limit: 64,
        traffic_class: 2,
        dont_fragment: true,
        ident: 0,
        flow_label: if is_v4 { 0 } else { 9 },
    }
}

fn header() -> TcpHeader {
    TcpHeader {
        src_port: 1000,
        dst_port: 2000,
        seq: SeqNum::new(u32::MAX - 2000),
        ack: SeqNum::new(2),
        flags: TcpFlags::ACK,
        window: 3,
        urgent: 0,
        options: TcpOptions { timestamps: Some(Timestamps { tsval: 4, tsecr: 5 }), ..TcpOptions::default() },
    }
}

/// One packet, made by the serialiser.
fn packet(params: &IpParams, header: &TcpHeader, data: &[u8]) -> Vec<u8> {
    let payload = Payload::from(Bytes::copy_from_slice(data));
    let mut packet = emit_tcp(params, header, &payload, ChecksumMode::Full).to_vec();
    packet.extend_from_slice(data);
    packet
}

/// Bytes that tell where they stand.
fn data(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ at >> 8).to_le_bytes()[0]).collect()
}

/// The packets of a stream, made one by one: what cutting a train must give.
fn one_by_one(params: &IpParams, header: &TcpHeader, data: &[u8], segment_size: usize) -> Vec<Vec<u8>> {
    let chunks: Vec<&[u8]> = if data.is_empty() { vec![data] } else { data.chunks(segment_size).collect() };
    let last = chunks.len() - 1;
    let mut seq = header.seq;
    let packets = chunks.into_iter().enumerate().map(|(index, chunk)| {
        let mut header = TcpHeader { seq, ..*header };
        if index < last {
            header.flags = header.flags & !(TcpFlags::PSH | TcpFlags::FIN);
        }
        if index > 0 {
            header.flags = header.flags & !TcpFlags::CWR;
        }
        let step = if params.dont_fragment { 0 } else { u16::try_from(index).unwrap() };
        let params = IpParams { ident: params.ident.wrapping_add(step), ..*params };
        seq += u32::try_from(chunk.len()).unwrap();
        packet(&params, &header, chunk)
    });
    packets.collect()
}

/// What a train of our own can look like.
fn any_train() -> impl Strategy<Value = (IpParams, TcpHeader)> {
    let ip = (any::<bool>(), any::<u8>(), 1_u8.., any::<bool>(), any::<u16>(), 0_u32..1 << 20);
    let tcp = (any::<u32>(), any::<u32>(), any::<u16>(), any::<u16>(), any::<Option<(u32, u32)>>());
    let sack = vec(any::<(u32, u32)>(), 0..3);
    (ip, tcp, sack).prop_map(|(ip, tcp, sack)| {
        let (is_v4, traffic_class, hop_limit, dont_fragment, ident, flow_label) = ip;
        let params = IpParams { traffic_class, hop_limit, dont_fragment, ident, flow_label, ..params(is_v4) };
        let (seq, ack, window, flags, timestamps) = tcp;
        let timestamps = timestamps.map(|(tsval, tsecr)| Timestamps { tsval, tsecr });
        let mut options = TcpOptions { timestamps, ..TcpOptions::default() };
        for (start, end) in sack {
            options.sack.push((SeqNum::new(start), SeqNum::new(end)));
        }
        let stop = TcpFlags::SYN | TcpFlags::RST | TcpFlags::URG;
        let flags = TcpFlags::from_bits_truncate(flags) & !stop | TcpFlags::ACK;
        let (seq, ack) = (SeqNum::new(seq), SeqNum::new(ack));
        (params, TcpHeader { seq, ack, window, flags, options, ..header() })
    })
}

/// The same bytes in parts of any length.
fn parts(data: &[u8], cuts: &[prop::sample::Index]) -> Payload {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(data.len() + 1)).collect();
    cuts.extend([0, data.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| Bytes::copy_from_slice(&data[pair[0]..pair[1]])).collect()
}

fn any_cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    vec(any::<prop::sample::Index>(), 0..6)
}

fn whole(cut: &Cut<'_>) -> Vec<u8> {
    let mut packet = cut.headers.to_vec();
    cut.payload.clone().for_each(|slice| packet.extend_from_slice(slice));
    assert_eq!(packet.len(), cut.len());
    packet
}

/// The headers of the whole, with checksums that do not count.
fn headers_of(params: &IpParams, header: &TcpHeader, payload: &Payload) -> HeaderBuf {
    emit_tcp(params, header, payload, ChecksumMode::Partial)
}
