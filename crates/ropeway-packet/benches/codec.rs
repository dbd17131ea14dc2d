//! How long the data path's steps take: `cargo bench -p ropeway-packet`.
//!
//! Prints the best of many rounds in nanoseconds, which on a busy machine is the figure that
//! repeats.

#![allow(clippy::expect_used, clippy::indexing_slicing)] // a failure here ends the bench, as it should

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use ropeway_checksum::portable;
use ropeway_packet::train::{Merger, Place, split};
use ropeway_packet::{
    Checksum, ChecksumMode, IpParams, Payload, Protocol, SackBlocks, SeqNum, TcpFlags, TcpHeader, TcpOptions,
    Timestamps, emit_tcp, ip, parse_tcp,
};

const ROUNDS: u32 = 200;
const CALLS: u32 = 5_000;

fn measure<T>(name: &str, mut call: impl FnMut() -> T) {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..CALLS {
            black_box(call());
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS));
    }
    println!("{name:<44}{best:>9.1} ns");
}

fn main() {
    for len in [40, 1460, 65_535] {
        let bytes: Vec<u8> = (0..len).map(|at: usize| at.to_le_bytes()[0]).collect();
        measure(&format!("checksum of {len} B"), || {
            let mut sum = Checksum::new();
            sum.add_bytes(black_box(&bytes));
            sum.finish()
        });
        measure(&format!("checksum of {len} B, portable"), || portable::sum(black_box(&bytes)));
        let mut to = vec![0; bytes.len()];
        measure(&format!("copy and checksum of {len} B"), || {
            let mut sum = Checksum::new();
            sum.add_copy(black_box(&bytes), black_box(&mut to));
            sum.finish()
        });
        measure(&format!("copy and checksum of {len} B, portable"), || {
            portable::copy(black_box(&bytes), black_box(&mut to))
        });
        measure(&format!("copy of {len} B"), || black_box(&mut to).copy_from_slice(black_box(&bytes)));
    }

    let payload = Payload::from(Bytes::from(vec![7; 1448]));
    let mut sack = SackBlocks::EMPTY;
    sack.push((SeqNum::new(1), SeqNum::new(2)));
    let headers = [
        (
            "timestamps",
            TcpOptions { timestamps: Some(Timestamps { tsval: 1, tsecr: 2 }), ..TcpOptions::default() },
        ),
        (
            "timestamps and SACK",
            TcpOptions { timestamps: Some(Timestamps { tsval: 1, tsecr: 2 }), sack, ..TcpOptions::default() },
        ),
    ];
    for (src, dst) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
        let params = params(src, dst);
        let family = if params.dst.is_ipv4() { "v4" } else { "v6" };
        for (what, options) in headers {
            let header = TcpHeader { flags: TcpFlags::ACK, options, ..TcpHeader::default() };
            let mut packet = emit_tcp(&params, &header, &payload, ChecksumMode::Full).to_vec();
            packet.extend_from_slice(&payload.to_vec());
            measure(&format!("parse {family} + TCP, {what}"), || {
                let packet = black_box(&packet[..]);
                let ip = ip::parse(packet).expect("a packet");
                black_box(&parse_tcp(packet, ip, false).expect("a segment"));
            });
            measure(&format!("emit {family} + TCP, {what}, partial"), || {
                emit_tcp(black_box(&params), black_box(&header), black_box(&payload), ChecksumMode::Partial)
            });
            measure(&format!("emit {family} + TCP, {what}, full"), || {
                emit_tcp(black_box(&params), black_box(&header), black_box(&payload), ChecksumMode::Full)
            });
        }
    }

    for (src, dst) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
        trains(&params(src, dst));
    }
}

/// A train of 45 full segments, cut and merged: the figures are for all of it.
fn trains(params: &IpParams) {
    let family = if params.dst.is_ipv4() { "v4" } else { "v6" };
    let timestamps = Some(Timestamps { tsval: 1, tsecr: 2 });
    let options = TcpOptions { timestamps, ..TcpOptions::default() };
    let header = TcpHeader { flags: TcpFlags::ACK, options, ..TcpHeader::default() };
    let payload = Payload::from(Bytes::from(vec![7; 45 * 1428]));
    let headers = emit_tcp(params, &header, &payload, ChecksumMode::Partial);
    let cut = || split(black_box(&headers), black_box(&payload), 1428).expect("a train");
    measure(&format!("cut {family}, partial"), || {
        cut().checksum(ChecksumMode::Partial).map(|cut| cut.len()).sum::<usize>()
    });
    measure(&format!("cut {family}, full"), || cut().map(|cut| cut.len()).sum::<usize>());
    let mut out = vec![0; 1500];
    measure(&format!("cut {family}, to a buffer"), || {
        let mut cut = cut();
        while let Some(len) = cut.fill(&mut out) {
            black_box(&out[..len]);
        }
    });

    let mut cut = cut();
    let packets: Vec<Vec<u8>> =
        std::iter::from_fn(|| cut.fill(&mut out).map(|len| out[..len].to_vec())).collect();
    let mut merger = Merger::new();
    for (verified, name) in [(true, "verified"), (false, "unverified")] {
        measure(&format!("merge {family}, {name}"), || {
            merger.begin();
            let places = packets.iter().enumerate().map(|(at, packet)| merger.place(at, packet, verified));
            places.filter(|place| matches!(place, Place::Behind(_))).count()
        });
    }
}

fn params(src: &str, dst: &str) -> IpParams {
    IpParams {
        src: src.parse().expect("an address"),
        dst: dst.parse().expect("an address"),
        protocol: Protocol::TCP,
        hop_limit: 64,
        traffic_class: 0,
        dont_fragment: true,
        ident: 0,
        flow_label: 0,
    }
}
