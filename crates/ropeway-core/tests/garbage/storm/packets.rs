//! The packets of a storm.

use bytes::Bytes;
use ropeway_core::packet::icmp::{emit_echo_request, emit_error};
use ropeway_core::packet::{IcmpErrorKind, Protocol, TcpFlags, UnreachableKind, udp};

use ropeway_sim::changed;

use super::Storm;
use crate::bytes;
use crate::common::*;
use crate::mangle::mutate;

impl Storm {
    /// A segment for a connection that exists, its numbers near what that expects.
    pub(super) fn near_segment(&mut self) {
        let Some(id) = self.pick() else { return };
        let Ok(tuple) = self.lab.stack.tuple(id) else { return };
        // What the connection last said tells the numbers.
        let last = self.seen.iter().rev().filter_map(|packet| parse(packet)).find(|segment| {
            segment.tcp.src_port == tuple.local_port && segment.tcp.dst_port == tuple.remote_port
        });
        let opens = last.as_ref().is_some_and(|last| {
            last.tcp.flags.contains(TcpFlags::SYN) && !last.tcp.flags.contains(TcpFlags::ACK)
        });
        let (seq, ack, tsval) = last.map_or((0, 0, 0), |segment| {
            let end = segment.tcp.seq + segment.tcp.segment_len(segment.payload.len());
            (segment.tcp.ack.get(), end.get(), segment.tcp.options.timestamps.map_or(0, |ts| ts.tsval))
        });
        let random = &mut self.random;
        if random.chance(40) {
            // What an honest peer would say, so that connections get further.
            let seg = if opens { syn_ack().mss(1460) } else { Seg::default() };
            let seg = Seg { flags: if opens { seg.flags } else { TcpFlags::ACK }, ..seg };
            let seq = if opens { random.next() as u32 } else { seq };
            let ts = (tsval > 0).then_some((tsval, tsval));
            let head = header((tuple.remote_port, tuple.local_port), &seg, seq, ack, 65_535, ts);
            let packet = tcp_packet(tuple.remote_addr, tuple.local_addr, &head, None, &[]);
            return self.lab.inject(packet);
        }
        let mut near = |value: u32| match random.below(8) {
            0 => value.wrapping_add(random.below(100) as u32),
            1 => value.wrapping_sub(random.below(100) as u32),
            2 => value.wrapping_add(random.below(100_000) as u32),
            3 => value.wrapping_sub(random.below(100_000) as u32),
            _ => value,
        };
        let (seq, ack) = (near(seq), near(ack));
        let flags = match random.below(20) {
            0 => TcpFlags::SYN,
            1 => TcpFlags::SYN | TcpFlags::ACK,
            2 => TcpFlags::RST,
            3 => TcpFlags::RST | TcpFlags::ACK,
            4 | 5 => TcpFlags::FIN | TcpFlags::ACK,
            6 => TcpFlags::ACK | TcpFlags::URG,
            7 => TcpFlags::from_bits_truncate(random.next() as u16),
            _ => TcpFlags::ACK,
        };
        let window = [0, 1, 100, 1000, 65_535][random.below(5) as usize];
        let mut seg = Seg { flags, ..Seg::default() };
        seg.urg = Some(random.next() as u16);
        if random.chance(30) {
            seg.mss = Some(random.next() as u16);
            seg.ws = Some(random.next() as u8);
        }
        // Of ECN and SACK anything, and mostly what makes sense.
        if random.chance(50) {
            seg.flags |= TcpFlags::from_ace(random.below(8) as u8);
        }
        if random.chance(30) {
            seg.sack_ok = Some(true);
            seg.counters = Some((0..random.below(4)).map(|_| random.below(1 << 24) as u32).collect());
        }
        if random.chance(30) {
            let from = ack.wrapping_add(random.below(5000) as u32);
            let blocks = (0..1 + random.below(3) as u32)
                .map(|n| (from.wrapping_add(3000 * n), from.wrapping_add(3000 * n + 1460)));
            seg.sack = Some(blocks.collect());
        }
        let field = [0, 0, 1, 2, 3][random.below(5) as usize];
        let ts = random.chance(60).then(|| (tsval.wrapping_add(random.below(1000) as u32), tsval));
        let raw = random.chance(5).then(|| bytes(random, 16));
        let len = [0, 0, 1, 10, 536, 1460, 3000][random.below(7) as usize];
        let head = header((tuple.remote_port, tuple.local_port), &seg, seq, ack, window, ts);
        let packet = tcp_packet(tuple.remote_addr, tuple.local_addr, &head, raw.as_deref(), &vec![b'g'; len]);
        self.lab.inject(changed(&packet, |ip, _| ip.traffic_class = field));
    }

    pub(super) fn any_packet(&mut self) -> Vec<u8> {
        let v6 = self.random.chance(30);
        match self.random.below(8) {
            0 => return self.early_syn(),
            1 => {
                let len = self.random.below(3000) as usize;
                return self.datagram(v6, len);
            }
            _ => {}
        }
        let random = &mut self.random;
        let (us, them) = if v6 { ("fd00::2", "fd00::1") } else { ("10.0.0.2", "10.0.0.1") };
        let (us, them) = (us.parse().unwrap(), them.parse().unwrap());
        match random.below(7) {
            0 => {
                let len = random.below(200) as usize;
                bytes(random, len)
            }
            1 => {
                let len = random.below(100) as usize;
                let upper = bytes(random, len);
                ip_packet(them, us, Protocol(random.next() as u8), &upper)
            }
            2 => udp::emit(
                &ip_params(them, us, Protocol::UDP),
                random.next() as u16,
                random.next() as u16,
                b"x",
            )
            .unwrap(),
            3 => emit_echo_request(them, us, 1, 1, b"echo", 64),
            4 => {
                let kinds = [
                    IcmpErrorKind::Unreachable(UnreachableKind::Port),
                    IcmpErrorKind::Unreachable(UnreachableKind::Host),
                    IcmpErrorKind::PacketTooBig { mtu: random.below(2000) as u32 },
                    IcmpErrorKind::TimeExceeded { code: 0 },
                ];
                let kind = kinds[random.below(4) as usize];
                let about = match self.seen.len() {
                    0 => Bytes::new(),
                    count => self.seen[self.random.below(count as u64) as usize].clone(),
                };
                let same = about.first().is_some_and(|byte| (byte >> 4 == 6) == v6);
                emit_error(them, us, kind, if same { &about } else { &[] }, 64)
            }
            _ => {
                let seg = Seg {
                    flags: TcpFlags::from_bits_truncate(random.next() as u16 & 0x1ff),
                    ..Seg::default()
                };
                let port = if random.chance(70) { 80 + random.below(4) as u16 } else { random.next() as u16 };
                let from = 5000 + random.below(30) as u16;
                let asks = random.below(8) as u8;
                let seg = if random.chance(50) { syn().mss(1460).ace(asks) } else { seg };
                let head = header((from, port), &seg, random.next() as u32, random.next() as u32, 1000, None);
                tcp_packet(them, us, &head, None, &[])
            }
        }
    }

    /// Something the stack has sent, with source and destination swapped, and mangled.
    pub(super) fn mutated(&mut self) {
        if self.seen.is_empty() {
            return;
        }
        let at = self.random.below(self.seen.len() as u64) as usize;
        let mut packet = self.seen[at].to_vec();
        let (a, len, ports) = if packet[0] >> 4 == 4 { (12, 4, 20) } else { (8, 16, 40) };
        for i in 0..len {
            packet.swap(a + i, a + len + i);
        }
        if packet.len() >= ports + 4 {
            packet.swap(ports, ports + 2);
            packet.swap(ports + 1, ports + 3);
        }
        let packet = mutate(&mut self.random, &packet);
        self.lab.inject(packet);
    }
}
