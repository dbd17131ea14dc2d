//! An honest connection beside an attacker who sees nothing of it.

use std::net::SocketAddr;
use std::time::Duration;

use ropeway_core::Received;
use ropeway_core::packet::icmp::emit_error;
use ropeway_core::packet::{IcmpErrorKind, TcpFlags};

use crate::common::*;
use crate::mangle::mutate;
use crate::{bytes, seeds};

/// An honest conversation with a storm beside it: a blind attacker who knows the ends but not the numbers, a
/// port scan, noise.
#[test]
fn an_honest_connection_does_not_notice() {
    seeds(20, |seed| {
        let mut random = Random::new(seed);
        let mut pair = Pair::new();
        pair.watch = None;
        pair.delay = [Duration::from_millis(2); 2];
        let rounds = 15;
        let (mut client, mut server) = (Vec::new(), Vec::new());
        for n in 0..rounds {
            let (request, response) = (1 + 977 * n % 5000, 1 + 7919 * n % 30_000);
            client.extend([Op::Send(request), Op::Recv(response), Op::Pause(30)]);
            server.extend([Op::Recv(request), Op::Send(response)]);
        }
        client.push(Op::Close);
        server.extend([Op::RecvEof, Op::Close]);
        pair.converse(&client, &server);
        // Before it is open, anybody who knows both ends can spoil a connection (RFC 9293 3.10.7.3).
        pair.run_to(ms(20));
        while !pair.all_finished() {
            assert!(pair.step(), "deadlock");
            let ts = pair.ts();
            let ends: [SocketAddr; 2] = [
                SocketAddr::new("10.0.0.1".parse().unwrap(), 32_768 + random.below(28_000) as u16),
                "10.0.0.2:80".parse().unwrap(),
            ];
            let tuple = pair.stacks[0].tuple(pair.programs[0].id.unwrap()).ok();
            for side in 0..2 {
                for _ in 0..random.below(20) {
                    let (mut src, dst) = (ends[1 - side], ends[side]);
                    if let Some(tuple) = tuple.filter(|_| random.chance(60)) {
                        // Both ends are known; the numbers are not.
                        src = if side == 1 { tuple.local() } else { tuple.remote() };
                    }
                    let dst = match tuple {
                        Some(tuple) if side == 0 => tuple.local(),
                        _ => dst,
                    };
                    let seg = Seg {
                        flags: TcpFlags::from_bits_truncate(random.next() as u16 & 0x3f),
                        ..Seg::default()
                    };
                    let head = header(
                        (src.port(), dst.port()),
                        &seg,
                        random.next() as u32,
                        random.next() as u32,
                        500,
                        None,
                    );
                    let mut packet = tcp_packet(src.ip(), dst.ip(), &head, None, b"evil");
                    if random.chance(20) {
                        packet = mutate(&mut random, &packet);
                    }
                    pair.stacks[side].handle_packet(ts, Received::new(packet.into()));
                }
                if random.chance(20) {
                    let len = random.below(100) as usize;
                    let noise = bytes(&mut random, len);
                    pair.stacks[side].handle_packet(ts, Received::new(noise.into()));
                }
                if random.chance(10)
                    && let Some(tuple) = tuple
                {
                    let seg = ack();
                    let head =
                        header((tuple.local_port, tuple.remote_port), &seg, random.next() as u32, 0, 5, None);
                    let quote = tcp_packet(tuple.local_addr, tuple.remote_addr, &head, None, &[]);
                    let kind = IcmpErrorKind::PacketTooBig { mtu: 600 };
                    let error = emit_error(tuple.remote_addr, tuple.local_addr, kind, &quote, 64);
                    pair.stacks[0].handle_packet(ts, Received::new(error.into()));
                }
            }
            pair.pump();
            if pair.now > secs(60) {
                pair.fail("it takes too long");
            }
        }
    });
}
