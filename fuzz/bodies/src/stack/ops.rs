//! What an input can ask for.

use std::net::Shutdown;

use arbitrary::Unstructured;
use ropeway_core::{RecvError, SendError, State};
use ropeway_packet::icmp::emit_error;
use ropeway_packet::{FastOpen, IcmpErrorKind, SeqNum, TcpFlags, UnreachableKind};

use super::peer::{own_byte, peer_byte};
use super::{World, byte};
use crate::exercise::repair;
use crate::story::tell;

impl World {
    pub(super) fn step(&mut self, input: &mut Unstructured<'_>) {
        let op = byte(input);
        let which = op >> 4;
        // Initial sequence numbers run ahead: that keeps incarnations apart (RFC 9293 3.4.1).
        self.pass(1100);
        match op & 15 {
            0..4 => self.near_segment(which, input),
            4 | 5 => self.honest_segment(byte(input)),
            6 => self.raw_packet(which, input),
            7 => self.reflection(which, input),
            8 => self.icmp(which),
            9 | 10 if self.datagrams.is_some() => self.send(u32::from(byte(input)) * 8),
            9 | 10 => self.send(byte(input).into()),
            14 if self.datagrams.is_some() && which & 1 != 0 => self.early_segment(byte(input)),
            11 => self.recv(usize::from(which) * 20 + 1),
            12 if which < 2 => self.leave(which == 0),
            12 if which < 4 => self.shutdown(),
            12 => self.set(which),
            13 => self.pass(
                [100, 1000, 40_000, 300_000, 1_000_000, 10_000_000, 60_000_000, 1][usize::from(which & 7)],
            ),
            15 if self.datagrams.is_some() => self.odd(which, byte(input)),
            _ => {
                self.next_deadline();
            }
        }
    }

    // ---- the network

    /// A SYN with data, with a cookie that is good, bad or none, or a request for one.
    fn early_segment(&mut self, with: u8) {
        let tuple = self.peer.tuple;
        let cookie = match with & 3 {
            0 | 1 => FastOpen::new(&self.stack.fast_open_keys().cookie(tuple.remote_addr, tuple.local_addr)),
            2 => Some(if with & 4 == 0 { FastOpen::REQUEST } else { FastOpen::REQUEST.as_experiment(true) }),
            _ => FastOpen::new(&[with; 8]).filter(|_| with & 4 == 0),
        };
        let mut header = self.peer.header(self.peer.start - 1, SeqNum::new(0), TcpFlags::SYN, 60_000);
        header.options.mss = Some(1460);
        header.options.fast_open = cookie;
        self.inject(self.peer.packet(&header, usize::from(with >> 3) * 5));
    }

    /// A segment with right checksums, its numbers near what the connection expects.
    fn near_segment(&mut self, which: u8, input: &mut Unstructured<'_>) {
        const FLAGS: [TcpFlags; 8] = [
            TcpFlags::SYN,
            TcpFlags::RST,
            TcpFlags::FIN,
            TcpFlags::PSH,
            TcpFlags::URG,
            TcpFlags::EMPTY,
            TcpFlags::EMPTY,
            TcpFlags::EMPTY,
        ];
        let (numbers, sizes, by) = (byte(input), byte(input), u32::from(byte(input)));
        let peer = &self.peer;
        let flags =
            FLAGS[usize::from(which & 7)] | if which & 8 == 0 { TcpFlags::ACK } else { TcpFlags::EMPTY };
        let seq = match numbers & 7 {
            0 | 1 => peer.nxt,
            2 => peer.nxt - 1,
            3 => peer.nxt + 1,
            4 => peer.nxt + by,
            5 => peer.edge,
            6 => peer.nxt - by,
            _ => peer.nxt + (by << 8),
        };
        let ack = match numbers >> 3 & 7 {
            0 | 1 => peer.end,
            2 => peer.end - 1,
            3 => peer.end + 1,
            4 => peer.end - by,
            5 => peer.iss + 1,
            6 => peer.end + (by << 8),
            _ => SeqNum::new(0),
        };
        let len = match sizes & 7 {
            0..3 => 0,
            3 => 1,
            4 => 2,
            5 => by as usize,
            6 => 100,
            _ => (peer.room().min(600)) as usize,
        };
        let window = [65_535, 65_535, 0, 1, 100, 1000, 20_000, by as u16][usize::from(sizes >> 3 & 7)];
        let mut header = peer.header(seq, ack, flags, window);
        header.urgent = by as u16;
        match numbers >> 6 {
            0 | 1 => {}
            2 => header.options.timestamps = None,
            _ => {
                if let Some(timestamps) = &mut header.options.timestamps {
                    timestamps.tsval = timestamps.tsval.wrapping_add(by).wrapping_sub(100);
                }
            }
        }
        if sizes & 64 != 0 {
            header.options.mss = Some(by as u16 * 6);
            header.options.window_scale = Some(0);
        }
        let mut packet = peer.packet(&header, len);
        if sizes & 128 != 0 && header.options.timestamps.is_some() {
            // The timestamps option's length becomes a lie.
            let at = if packet[0] >> 4 == 4 { 43 } else { 63 };
            packet[at] = by as u8 & 31;
            repair(&mut packet);
        }
        if self.modern {
            let (how, with) = (byte(input), byte(input));
            packet = crate::modern::meddled(&packet, how, with).map_or(packet, Vec::from);
        }
        self.inject(packet);
    }

    /// What an honest peer sends next must be taken.
    fn honest_segment(&mut self, len: u8) {
        let len = u32::from(len).min(self.peer.room());
        let state = self.state();
        let receives = matches!(state, State::Established | State::FinWait1 | State::FinWait2);
        let header = self.peer.honest(len as usize);
        let strange = self.peer.has_finished || self.peer.is_out_of_time || self.app.left || !receives;
        let end = header.seq + len;
        self.inject(self.peer.packet(&header, len as usize));
        let Some(info) = self.app.id.and_then(|id| self.stack.info(self.now, id).ok()).filter(|_| !strange)
        else {
            return;
        };
        let taken = self.peer.start + info.bytes_received as u32;
        assert!(
            taken.at_or_after(end),
            "{} in order bytes are not taken: {state} {header:?}",
            end.since(taken)
        );
    }

    fn raw_packet(&mut self, which: u8, input: &mut Unstructured<'_>) {
        let len = input.len().min(usize::from(which) * 8);
        let mut packet = input.bytes(len).unwrap_or_default().to_vec();
        if which & 1 != 0 {
            repair(&mut packet);
        }
        self.is_reflected = true;
        self.inject(packet);
        self.is_reflected = false;
    }

    /// The stack's last packet, from whom it was for, with a few bytes changed.
    fn reflection(&mut self, which: u8, input: &mut Unstructured<'_>) {
        let mut packet = self.last.to_vec();
        let Some(first) = packet.first() else { return };
        let (at, len, ports) = if first >> 4 == 4 { (12, 4, 20) } else { (8, 16, 40) };
        let (one, other) = packet[at..].split_at_mut(len);
        one.swap_with_slice(&mut other[..len]);
        if packet.len() >= ports + 4 {
            packet.swap(ports, ports + 2);
            packet.swap(ports + 1, ports + 3);
        }
        for _ in 0..which & 3 {
            let at = usize::from(byte(input)) % packet.len();
            packet[at] ^= byte(input);
        }
        if which & 4 == 0 {
            repair(&mut packet);
        }
        self.is_reflected = true;
        self.inject(packet);
        self.is_reflected = false;
    }

    /// An ICMP error about the stack's last packet.
    fn icmp(&mut self, which: u8) {
        let kinds = [
            IcmpErrorKind::Unreachable(UnreachableKind::Port),
            IcmpErrorKind::Unreachable(UnreachableKind::Host),
            IcmpErrorKind::TimeExceeded { code: 0 },
            IcmpErrorKind::PacketTooBig { mtu: 0 },
            IcmpErrorKind::PacketTooBig { mtu: 600 },
            IcmpErrorKind::PacketTooBig { mtu: 1400 },
            IcmpErrorKind::PacketTooBig { mtu: 1 },
            IcmpErrorKind::ParameterProblem { code: 0, pointer: 9 },
        ];
        let (us, them) = (self.peer.tuple.local_addr, self.peer.tuple.remote_addr);
        if self.last.first().is_some_and(|first| (first >> 4 == 4) == us.is_ipv4()) {
            self.inject(emit_error(them, us, kinds[usize::from(which & 7)], &self.last, 64));
        }
    }

    // ---- the application

    pub(super) fn send(&mut self, len: u32) {
        let Some(id) = self.app.id.filter(|_| !self.app.left && !self.app.finished) else { return };
        let from = self.app.written;
        let data: Vec<u8> = (from..from + len).map(own_byte).collect();
        let answer = self.stack.send(self.now, id, &data, Default::default());
        tell(self.now, || format!("  writes {len} bytes: {answer:?}"));
        match answer {
            Ok(taken) => self.app.written += taken as u32,
            Err(SendError::WouldBlock) => {}
            Err(_) => self.app.failed = true,
        }
        self.settle();
    }

    pub(super) fn recv(&mut self, max: usize) {
        let Some(id) = self.app.id.filter(|_| !self.app.left) else { return };
        let answer = self.stack.recv(self.now, id, max);
        tell(self.now, || format!("  reads: {:?}", answer.as_ref().map(|payload| payload.len())));
        match answer {
            Ok(payload) => {
                assert!(payload.len() <= max);
                assert!(payload.is_empty() || !self.app.saw_end, "bytes behind the end");
                self.app.saw_end |= payload.is_empty();
                for byte in payload.parts().flatten() {
                    let expected = peer_byte(self.peer.start + self.app.read);
                    assert_eq!(*byte, expected, "byte {} of the stream is wrong", self.app.read);
                    self.app.read += 1;
                }
                let ended = self.peer.has_finished || self.app.failed || self.state() == State::Closed;
                assert!(!self.app.saw_end || ended, "the stream ends, and nobody said why");
            }
            Err(RecvError::WouldBlock) => {}
            Err(_) => self.app.failed = true,
        }
        self.settle();
    }

    pub(super) fn shutdown(&mut self) {
        let Some(id) = self.app.id.filter(|_| !self.app.left && !self.app.finished) else { return };
        self.app.finished = true;
        let answer = self.stack.shutdown(self.now, id, Shutdown::Write);
        tell(self.now, || format!("  shuts down: {answer:?}"));
        self.settle();
    }

    pub(super) fn leave(&mut self, abort: bool) {
        let Some(id) = self.app.id.filter(|_| !self.app.left) else { return };
        self.app.left = true;
        self.app.finished = true;
        tell(self.now, || format!("  {}", if abort { "aborts" } else { "closes" }));
        if abort {
            self.stack.abort(self.now, id);
        }
        self.stack.close(self.now, id);
        self.settle();
    }

    fn set(&mut self, which: u8) {
        let Some(id) = self.app.id.filter(|_| !self.app.left) else { return };
        let known = self.stack.update_options(self.now, id, |options| match which & 7 {
            0 => options.cork ^= true,
            1 => options.nodelay ^= true,
            2 => options.quick_ack ^= true,
            3 => options.recv_buffer = 300 + options.recv_buffer % 1000,
            4 => options.send_buffer = 1 + options.send_buffer % 77 * 13,
            5 => options.max_segment = options.max_segment.xor(Some(30)),
            6 => options.notsent_lowat = options.notsent_lowat.xor(Some(10)),
            _ => options.keep_alive = options.keep_alive.xor(Some(Default::default())),
        });
        assert!(known.is_ok(), "an option of a connection that is gone");
        self.settle();
    }
}
