//! Segments into the stack and out of it, and the numbers that follow from them.

use std::net::SocketAddr;

use bytes::Bytes;
use ropeway_core::packet::{Checksum, ChecksumMode, SeqNum, TcpFlags, TcpSegment};
use ropeway_core::{Received, Transmit};

use super::super::wire::{self, Seg};
use super::{Flow, Lab, Sent};

impl Lab {
    /// A segment arrives, and the stack says all it has to say.
    #[track_caller]
    pub fn send(&mut self, seg: Seg) {
        self.quiet();
        self.input(seg);
        self.collect();
    }

    /// Several segments arrive before the stack gets to say anything.
    #[track_caller]
    pub fn send_all(&mut self, segs: impl IntoIterator<Item = Seg>) {
        self.quiet();
        for seg in segs {
            self.input(seg);
        }
        self.collect();
    }

    pub fn input(&mut self, seg: Seg) {
        let packet = self.packet(&seg);
        self.inject_merged(packet, seg.merged);
    }

    /// The packet that a segment stands for; the lab's own numbers move on.
    pub fn packet(&mut self, seg: &Seg) -> Vec<u8> {
        let is_syn = seg.flags.contains(TcpFlags::SYN);
        let flow = &mut self.flow;
        let seq = seg.seq.unwrap_or(if is_syn { 0 } else { flow.nxt });
        let payload = seg.payload();
        let len = payload.len() as u32 + u32::from(is_syn) + u32::from(seg.flags.contains(TcpFlags::FIN));
        if seq <= flow.nxt || is_syn {
            flow.nxt = flow.nxt.max(seq.wrapping_add(len));
        }
        let ack = if seg.flags.contains(TcpFlags::ACK) {
            flow.iss.wrapping_add(seg.ack.unwrap_or(flow.seen))
        } else {
            0
        };
        let own_ts = flow.ts.filter(|_| !seg.no_ts).map(|base| {
            let tsval = base.wrapping_add((self.now / 1000) as u32);
            (tsval, if seg.flags.contains(TcpFlags::ACK) { flow.tsval } else { 0 })
        });
        let ts = seg.ts.or(own_ts);
        let mut header = wire::header(
            (self.remote.port(), self.local.port()),
            seg,
            flow.isn.wrapping_add(seq),
            ack,
            seg.win.unwrap_or(flow.win),
            ts,
        );
        for (start, end) in seg.sack.iter().flatten() {
            let at = |seq: &u32| SeqNum::new(self.flow.iss.wrapping_add(*seq));
            assert!(header.options.sack.push((at(start), at(end))), "four blocks at most");
        }
        let (src, dst) = (self.remote.ip(), self.local.ip());
        let mut packet = wire::tcp_packet(src, dst, &header, seg.raw_options.as_deref(), &payload);
        if let Some(field) = seg.ecn {
            wire::set_ecn(&mut packet, field);
        }
        if seg.bad_checksum {
            let at = packet.len() - payload.len() - 4;
            packet[at] ^= 0x55;
        }
        packet
    }

    /// Any packet arrives; the stack does not get to answer yet.
    pub fn inject(&mut self, packet: impl Into<Bytes>) {
        self.inject_merged(packet, None);
    }

    fn inject_merged(&mut self, packet: impl Into<Bytes>, segment_size: Option<u16>) {
        let packet = packet.into();
        self.note("lab >  ", &packet, false);
        self.stack.handle_packet(self.ts(), Received::new(packet).with_segment_size(segment_size));
    }

    /// Any packet arrives, and the stack says all it has to say.
    #[track_caller]
    pub fn send_packet(&mut self, packet: impl Into<Bytes>) {
        self.quiet();
        self.inject(packet);
        self.collect();
    }

    /// Takes everything the stack wants to send and to tell.
    #[track_caller]
    pub fn collect(&mut self) {
        let now = self.ts();
        loop {
            self.count_call();
            let announced = self.stack.has_output();
            let Some(transmit) = self.stack.poll_transmit(now) else {
                // It may pause.
                if self.stack.has_output() { continue } else { break }
            };
            if !announced {
                self.fail("has_output did not tell of a packet");
            }
            let packet = complete(&transmit);
            assert!(!packet.is_empty(), "an empty packet");
            let tcp = wire::parse(&packet);
            if let Some(segment) = &tcp {
                self.follow(segment);
            }
            self.note("core > ", &packet, true);
            self.out.push_back(Sent { at: self.now, packet, tcp });
        }
        while let Some(event) = self.stack.poll_event() {
            self.events.push(event);
        }
    }

    /// The numbers of the connection that a segment of the stack belongs to move on.
    fn follow(&mut self, segment: &TcpSegment) {
        let (local, remote) = (self.local, self.remote);
        let of = (
            SocketAddr::new(segment.ip.src, segment.tcp.src_port),
            SocketAddr::new(segment.ip.dst, segment.tcp.dst_port),
        );
        let flow = if of == (local, remote) {
            &mut self.flow
        } else {
            self.others.entry(of).or_insert_with(|| Flow { win: 65535, ..Flow::default() })
        };
        if segment.tcp.flags.contains(TcpFlags::SYN) {
            flow.iss = segment.tcp.seq.get();
            flow.seen = 0;
        }
        let end = segment
            .tcp
            .seq
            .get()
            .wrapping_sub(flow.iss)
            .wrapping_add(segment.tcp.segment_len(segment.payload.len()));
        if !segment.tcp.flags.contains(TcpFlags::RST) && (end.wrapping_sub(flow.seen)).cast_signed() > 0 {
            flow.seen = end;
        }
        if let Some(ts) = segment.tcp.options.timestamps {
            flow.tsval = ts.tsval;
        }
    }
}

/// A packet with its checksum, which may have been left to the device.
fn complete(transmit: &Transmit) -> Bytes {
    let mut packet = transmit.to_bytes().to_vec();
    if transmit.checksum == ChecksumMode::Partial {
        let at = if packet[0] >> 4 == 4 { 20 } else { 40 };
        let mut sum = Checksum::new();
        sum.add_bytes(&packet[at..]);
        packet[at + 16..at + 18].copy_from_slice(&sum.finish().to_be_bytes());
    }
    packet.into()
}
