//! Garbage: random and mutated packets, random calls, random steps of time. Nothing panics, nothing grows
//! without bound, and an honest connection beside it all does not notice.
//!
//! A few seconds by default; `ROPEWAY_SOAK=<factor>` runs so many times as long. A failure names its seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use common::*;
use ropeway_core::packet::icmp::{emit_echo_request, emit_error};
use ropeway_core::packet::{Checksum, IcmpErrorKind, Protocol, TcpFlags, UnreachableKind, checksum, ip, udp};
use ropeway_core::{ConnectionId, KeepAlive, ListenerId, Received, SendFlags, SocketOptions, State};

fn soak() -> u64 {
    std::env::var("ROPEWAY_SOAK").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

/// Runs a test with many seeds, and says which one failed.
fn seeds(count: u64, test: impl Fn(u64) + std::panic::RefUnwindSafe) {
    let only = std::env::var("ROPEWAY_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in 0..count * soak() {
        if only.is_some_and(|only: u64| only != seed) {
            continue;
        }
        if let Err(panic) = std::panic::catch_unwind(|| test(seed)) {
            eprintln!("with ROPEWAY_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

fn bytes(random: &mut Random, len: usize) -> Vec<u8> {
    (0..len).map(|_| random.next() as u8).collect()
}

/// Makes the checksums of a mangled packet right, as far as it still has any.
fn fix(packet: &mut [u8]) {
    if packet.first().is_some_and(|byte| byte >> 4 == 4)
        && packet.len() >= usize::from(packet[0] & 15) * 4
        && packet[0] & 15 >= 5
    {
        fix_ip_checksum(packet);
    }
    let Ok(ip) = ip::parse(packet) else { return };
    let at = match ip.protocol {
        Protocol::TCP => 16,
        Protocol::UDP => 6,
        Protocol::ICMP | Protocol::ICMPV6 => 2,
        _ => return,
    };
    let upper = ip.payload.clone();
    if upper.len() < at + 2 {
        return;
    }
    packet[upper.start + at..upper.start + at + 2].fill(0);
    let mut sum = if ip.protocol == Protocol::ICMP {
        Checksum::new()
    } else {
        checksum::pseudo_header(ip.src, ip.dst, ip.protocol, upper.len() as u32)
    };
    sum.add_bytes(&packet[upper.clone()]);
    let sum = sum.finish().to_be_bytes();
    packet[upper.start + at..upper.start + at + 2].copy_from_slice(&sum);
}

/// Changes a packet in a few places, mostly with right checksums.
fn mutate(random: &mut Random, packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    for _ in 0..1 + random.below(4) {
        if packet.is_empty() {
            break;
        }
        let at = random.below(packet.len().min(100) as u64) as usize;
        match random.below(8) {
            0 => packet[at] = random.next() as u8,
            1 => packet[at] ^= 1 << random.below(8),
            2 => packet.truncate(at),
            3 => packet.extend(bytes(random, at)),
            4 => packet[at] = 0,
            5 => packet[at] = 0xff,
            6 => {
                packet.remove(at);
            }
            _ => packet.insert(at, random.next() as u8),
        }
    }
    if random.chance(50) && packet.len() >= 40 {
        // Lengths that are right again, so that what lies deeper is reached.
        let len = packet.len() as u16;
        if packet[0] >> 4 == 4 {
            packet[2..4].copy_from_slice(&len.to_be_bytes());
        } else if packet[0] >> 4 == 6 {
            packet[4..6].copy_from_slice(&(len - 40).to_be_bytes());
        }
    }
    if random.chance(85) {
        fix(&mut packet);
    }
    packet
}

fn random_options(random: &mut Random, options: &mut SocketOptions) {
    let sizes = [0, 1, 2, 100, 1459, 5000, 65_535, 1 << 20];
    match random.below(14) {
        0 => options.recv_buffer = sizes[random.below(8) as usize],
        1 => options.send_buffer = sizes[random.below(8) as usize],
        2 => options.nodelay ^= true,
        3 => options.cork ^= true,
        4 => options.quick_ack ^= true,
        5 => {
            options.keep_alive = random.chance(70).then(|| KeepAlive {
                idle: Duration::from_millis(1 + random.below(100_000)),
                interval: Duration::from_millis(1 + random.below(10_000)),
                count: random.below(4) as u32,
            });
        }
        6 => options.user_timeout = random.chance(50).then(|| Duration::from_millis(random.below(50_000))),
        7 => options.max_segment = random.chance(50).then(|| random.below(2000) as u16),
        8 => options.notsent_lowat = random.chance(50).then(|| random.below(5000) as usize),
        9 => options.tos = random.next() as u8,
        10 => options.ttl = random.next() as u8,
        11 => options.linger = random.chance(30).then(|| Duration::from_secs(random.below(2))),
        12 => options.syn_retries = random.below(4) as u32,
        _ => options.reuse_addr ^= true,
    }
}

/// A stack, and a peer that says anything, but mostly near what makes sense.
struct Storm {
    lab: Lab,
    random: Random,
    ids: Vec<ConnectionId>,
    listeners: Vec<ListenerId>,
    seen: Vec<Bytes>,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut lab = Lab::with(|config| {
            config.timestamps = random.chance(70);
            config.window_scaling = random.chance(70);
            config.mtu = [1500, 576, 1280, 9000, 68, 40][random.below(6) as usize];
            config.max_time_wait = 1 + random.below(20) as usize;
            config.max_connections = 5 + random.below(100) as usize;
            config.ephemeral_ports = 40_000..=40_000 + random.below(50) as u16;
            config.synack_retries = random.below(6) as u32;
            config.retries2 = 3 + random.below(12) as u32;
            config.delayed_ack = Duration::from_millis(random.below(600));
        });
        lab.silent = true;
        Self { lab, random, ids: Vec::new(), listeners: Vec::new(), seen: Vec::new() }
    }

    fn pick(&mut self) -> Option<ConnectionId> {
        let count = self.ids.len() as u64;
        (count > 0).then(|| self.ids[self.random.below(count) as usize])
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..35 => self.near_segment(),
            35..40 => {
                let packet = self.any_packet();
                self.lab.inject(packet);
            }
            40..50 => self.mutated(),
            50..80 => self.call(),
            80..97 => {
                let by = match self.random.below(6) {
                    0 => self.random.below(1000),
                    1 => self.random.below(100_000),
                    2 => self.random.below(2_000_000),
                    3 => self.random.below(100_000_000),
                    _ => 0,
                };
                let target = match self.lab.next_deadline() {
                    Some(at) if self.random.chance(60) => at.max(self.lab.now),
                    _ => self.lab.now + by,
                };
                self.lab.run_to(target);
            }
            _ => {
                // Away for a while, then all at once.
                self.lab.now += self.random.below(1_000_000_000);
                let now = self.lab.ts();
                self.lab.stack.handle_timeout(now);
            }
        }
        if self.random.chance(70) {
            self.take();
        }
    }

    fn take(&mut self) {
        for sent in self.lab.drain() {
            assert!(ip::parse(&sent.packet).is_ok(), "a malformed packet was sent");
            if self.seen.len() < 300 {
                self.seen.push(sent.packet);
            } else {
                let at = self.random.below(300) as usize;
                self.seen[at] = sent.packet;
            }
        }
        self.lab.events.clear();
        self.ids.retain(|id| self.lab.stack.info(self.lab.ts(), *id).is_ok());
    }

    /// A segment for a connection that exists, its numbers near what that expects.
    fn near_segment(&mut self) {
        let Some(id) = self.pick() else { return };
        let Ok(tuple) = self.lab.stack.tuple(id) else { return };
        // What the connection last said tells the numbers.
        let last = self.seen.iter().rev().filter_map(|packet| parse(packet)).find(|segment| {
            segment.tcp.src_port == tuple.local_port && segment.tcp.dst_port == tuple.remote_port
        });
        let (seq, ack, tsval) = last.map_or((0, 0, 0), |segment| {
            let end = segment.tcp.seq + segment.tcp.segment_len(segment.payload.len());
            (segment.tcp.ack.get(), end.get(), segment.tcp.options.timestamps.map_or(0, |ts| ts.tsval))
        });
        let random = &mut self.random;
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
        let ts = random.chance(60).then(|| (tsval.wrapping_add(random.below(1000) as u32), tsval));
        let raw = random.chance(5).then(|| bytes(random, 16));
        let len = [0, 0, 1, 10, 536, 1460, 3000][random.below(7) as usize];
        let head = header((tuple.remote_port, tuple.local_port), &seg, seq, ack, window, ts);
        let packet = tcp_packet(tuple.remote_addr, tuple.local_addr, &head, raw.as_deref(), &vec![b'g'; len]);
        self.lab.inject(packet);
    }

    fn any_packet(&mut self) -> Vec<u8> {
        let random = &mut self.random;
        let v6 = random.chance(30);
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
                    flags: TcpFlags::from_bits_truncate(random.next() as u16 & 0x3f),
                    ..Seg::default()
                };
                let port = if random.chance(70) { 80 + random.below(4) as u16 } else { random.next() as u16 };
                let from = 5000 + random.below(30) as u16;
                let seg = if random.chance(50) { syn().mss(1460) } else { seg };
                let head = header((from, port), &seg, random.next() as u32, random.next() as u32, 1000, None);
                tcp_packet(them, us, &head, None, &[])
            }
        }
    }

    /// Something the stack has sent, with source and destination swapped, and mangled.
    fn mutated(&mut self) {
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

    fn call(&mut self) {
        let ts = self.lab.ts();
        match self.random.below(22) {
            0 => {
                let mut options = SocketOptions::default();
                options.reuse_port = true;
                random_options(&mut self.random, &mut options);
                let text =
                    ["10.0.0.2", "[fd00::2]", "0.0.0.0", "[::]", "127.0.0.1"][self.random.below(5) as usize];
                let local: SocketAddr = format!("{text}:{}", 80 + self.random.below(4)).parse().unwrap();
                let backlog = self.random.below(5) as usize;
                if self.listeners.len() < 20
                    && let Ok(id) = self.lab.stack.listen(local, backlog, options)
                {
                    self.listeners.push(id);
                }
            }
            1 => {
                if !self.listeners.is_empty() && self.random.chance(20) {
                    let at = self.random.below(self.listeners.len() as u64) as usize;
                    self.lab.stack.close_listener(ts, self.listeners.swap_remove(at));
                }
            }
            2..5 => {
                for listener in &self.listeners {
                    if let Ok(Some((id, _))) = self.lab.stack.accept(ts, *listener) {
                        self.ids.push(id);
                    }
                }
            }
            5 | 6 => {
                let mut options = SocketOptions::default();
                random_options(&mut self.random, &mut options);
                let remote = [
                    "10.0.0.1:80",
                    "[fd00::1]:80",
                    "127.0.0.1:80",
                    "10.0.0.2:81",
                    "[::1]:80",
                    "10.0.0.2:5000",
                ];
                let remote = remote[self.random.below(6) as usize].parse().unwrap();
                let local = self.random.chance(10).then(|| "10.0.0.2:5000".parse().unwrap());
                if let Ok(id) = self.lab.stack.connect(ts, local, remote, options) {
                    self.ids.push(id);
                }
            }
            _ => {
                if let Some(id) = self.pick() {
                    self.call_on(id);
                }
            }
        }
    }

    fn call_on(&mut self, id: ConnectionId) {
        let ts = self.lab.ts();
        let stack = &mut self.lab.stack;
        match self.random.below(30) {
            0..10 => {
                let flags = SendFlags { more: self.random.chance(10), urgent: self.random.chance(5) };
                let len = [0, 1, 100, 1460, 20_000][self.random.below(5) as usize];
                let _ = stack.send(ts, id, &vec![b'd'; len], flags);
            }
            10..18 => {
                let _ = stack.recv(ts, id, 1 + self.random.below(5000) as usize);
            }
            18 => {
                let _ = stack.peek(id, &mut [0; 100]);
            }
            19 => {
                use std::net::Shutdown::{Both, Read, Write};
                let how = [Read, Write, Both][self.random.below(3) as usize];
                let _ = stack.shutdown(ts, id, how);
            }
            20 => {
                if self.random.chance(50) {
                    stack.close(ts, id);
                }
            }
            21 => {
                if self.random.chance(30) {
                    stack.abort(ts, id);
                }
            }
            22 => {
                let _ = stack.take_error(id);
            }
            23 => {
                let _ = stack.readiness(id);
                let _ = stack.urgent_remaining(id);
                let _ = stack.info(ts, id).map(|info| format!("{info:?}"));
            }
            24 => {
                let _ = stack.path_mtu("10.0.0.1".parse().unwrap());
                let _ = format!("{:?}", stack.sizes());
            }
            _ => {
                let random = &mut self.random;
                let _ = stack.update_options(ts, id, |options| random_options(random, options));
            }
        }
    }

    /// What must hold whatever happened.
    fn check(&mut self) {
        let ts = self.lab.ts();
        for id in &self.ids {
            if let Ok(info) = self.lab.stack.info(ts, *id) {
                assert!(info.unread <= 1 << 20, "{} bytes unread", info.unread);
                assert!(info.not_sent <= 1 << 20);
                assert!(info.snd_mss > 0);
                assert_ne!(info.state, State::Listen);
            }
        }
        let sizes = self.lab.stack.sizes();
        assert!(sizes.time_wait <= 20 && sizes.connections <= 2 * 105 + 20, "{sizes:?}");
    }

    /// All is let go; a while later nothing is left.
    fn end(mut self) {
        let ts = self.lab.ts();
        for id in std::mem::take(&mut self.ids) {
            self.lab.stack.abort(ts, id);
            self.lab.stack.close(ts, id);
        }
        for listener in std::mem::take(&mut self.listeners) {
            self.lab.stack.close_listener(ts, listener);
        }
        self.lab.drain();
        for _ in 0..200 {
            let Some(at) = self.lab.next_deadline() else { break };
            self.lab.run_to(at.max(self.lab.now));
            self.lab.drain();
        }
        self.lab.run_to(self.lab.now + secs(3000));
        self.lab.drain();
        self.lab.assert_empty();
        assert_eq!(self.lab.stack.sizes().listeners, 0);
    }
}

#[test]
fn a_storm_of_packets_and_calls() {
    seeds(40, |seed| {
        let mut storm = Storm::new(seed);
        for n in 0..1500 {
            storm.step();
            if n % 50 == 0 {
                storm.check();
            }
        }
        storm.take();
        storm.end();
    });
}

#[test]
fn random_bytes_do_nothing() {
    let mut random = Random::new(1);
    let mut lab = Lab::new();
    lab.silent = true;
    lab.listen();
    for _ in 0..50_000 * soak() {
        let len = random.below(120) as usize;
        let mut packet = bytes(&mut random, len);
        if len > 0 && random.chance(80) {
            packet[0] = if random.chance(50) { 0x45 } else { 0x60 };
            fix(&mut packet);
        }
        lab.inject(packet);
        lab.drain();
    }
    lab.assert_empty();
}

/// Every field of every segment of a handshake and a transfer takes every interesting value.
#[test]
fn each_field_takes_each_extreme() {
    for at in 20..40 {
        for value in [0, 1, 0x7f, 0x80, 0xfe, 0xff] {
            for step in 0..4 {
                let mut lab = Lab::new();
                lab.silent = true;
                let listener = lab.listen();
                let segs = [syn().mss(1460), ack(), data(b"hello"), fin()];
                for (n, seg) in segs.into_iter().enumerate() {
                    let mut packet = lab.packet(&seg);
                    if n == step {
                        packet[at] = value;
                        fix(&mut packet);
                    }
                    lab.inject(packet);
                    lab.drain();
                }
                if let Ok(Some((id, _))) = lab.stack.accept(lab.ts(), listener) {
                    let _ = lab.stack.recv(lab.ts(), id, 100);
                    let _ = lab.stack.send(lab.ts(), id, &[0; 3000], SendFlags::default());
                    lab.drain();
                    lab.close(id);
                }
                lab.run_to(secs(300));
                lab.drain();
            }
        }
    }
}

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

/// Answers to a flood of a thousand packets in one go are bounded.
#[test]
fn a_flood_is_not_amplified() {
    let mut lab = Lab::new();
    lab.silent = true;
    lab.listen_with(10, |_| {});
    for n in 0..50_000u32 {
        lab.switch(1000 + (n % 60_000) as u16);
        lab.input(syn().mss(1460));
    }
    assert!(lab.drain().len() <= 1024);
    lab.run_to(secs(200));
    // Reaped, and at most what the backlog holds was sent again.
    assert!(lab.drain().len() <= 60);
    lab.assert_empty();
}
