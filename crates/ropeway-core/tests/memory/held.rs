//! What connections hold of their packets, counted by the allocator, beside what they say and what they may.

use bytes::BytesMut;
use ropeway_core::{ConnectionId, PacketPool, Received};

use super::common::*;
use super::{live, silent};

/// A device, by the memory that it gives to packets.
enum Device {
    /// Packets lie one after the other in slabs of 64 KiB, and each of them keeps the whole slab. The device may tell so.
    Shared { slab: BytesMut, size: usize, tells: bool },
    /// Each packet has a slab of its own.
    Pool(PacketPool),
}

type MakeDevice = fn() -> Device;

const DEVICES: [(&str, MakeDevice); 4] = [
    ("shared slabs, untold", || Device::shared(false)),
    ("shared slabs, told", || Device::shared(true)),
    ("slabs for an MTU of 1500", || Device::Pool(PacketPool::new(1500))),
    ("slabs for an MTU of 65535", || Device::Pool(PacketPool::new(u16::MAX))),
];

impl Device {
    fn shared(tells: bool) -> Self {
        Self::Shared { slab: BytesMut::new(), size: 0, tells }
    }

    fn receive(&mut self, packet: &[u8]) -> Received {
        match self {
            Self::Shared { slab, size, tells } => {
                // Nine of ten bytes of a slab are in packets of others.
                let room = 10 * packet.len();
                if slab.capacity() < room {
                    *size = room.max(64 * 1024);
                    *slab = BytesMut::with_capacity(*size);
                }
                slab.extend_from_slice(packet);
                let packet = slab.split().freeze();
                slab.resize(room - packet.len(), 0);
                drop(slab.split());
                let true_size = tells.then_some(u32::try_from(*size).unwrap());
                Received::new(packet).with_true_size(true_size)
            }
            Self::Pool(pool) => {
                if pool.window().len() <= packet.len() {
                    *pool = PacketPool::new(u16::MAX);
                }
                pool.window()[..packet.len()].copy_from_slice(packet);
                pool.take(packet.len())
            }
        }
    }
}

/// Connections whose application has a receive buffer of `buffer` bytes, and the device that they are behind.
struct Held {
    lab: Lab,
    device: Device,
    buffer: usize,
    ids: Vec<ConnectionId>,
    before: isize,
}

impl Held {
    fn new(device: MakeDevice, buffer: usize, connections: u16) -> Self {
        let mut lab = silent();
        let listener = lab.listen_with(200, |options| options.recv_buffer = buffer);
        let ids = (0..connections).map(|n| {
            lab.switch(4000 + n);
            lab.send(syn().mss(65_000).ws(0));
            lab.out.clear();
            lab.send(ack());
            lab.accept(listener).unwrap()
        });
        let ids = ids.collect();
        lab.events = Vec::new();
        let before = live();
        Self { lab, device: device(), buffer, ids, before }
    }

    /// The segment `seq`, `len` reaches every connection.
    fn segment(&mut self, seq: usize, len: usize) {
        for n in 0..self.ids.len() {
            self.lab.switch(4000 + u16::try_from(n).unwrap());
            let packet = self.lab.packet(&some(len).seq(u32::try_from(seq).unwrap()));
            let received = self.device.receive(&packet);
            self.lab.stack.handle_packet(self.lab.ts(), received);
        }
        self.collect();
    }

    fn collect(&mut self) {
        let now = self.lab.ts();
        while self.lab.stack.poll_transmit(now).is_some() {}
        while self.lab.stack.poll_event().is_some() {}
    }

    fn read(&mut self, len: usize) {
        for id in &self.ids {
            drop(self.lab.stack.recv(self.lab.ts(), *id, len));
        }
        self.collect();
    }

    /// Each connection holds what it says, and no more than it may. Says how many bytes of the stream all of them have unread.
    fn check(mut self, what: &str) -> usize {
        self.device = Device::shared(false);
        let held = usize::try_from(live() - self.before).unwrap_or(0);
        let infos: Vec<_> = self.ids.iter().map(|id| self.lab.info(*id)).collect();
        let most = 2 * self.buffer + 16 * 1024;
        let said: usize = infos.iter().map(|info| info.receive_memory + info.reassembly_memory).sum();
        for info in &infos {
            let said = info.receive_memory + info.reassembly_memory;
            assert!(said <= most, "{what}: {said} bytes of at most {most} are held");
        }
        // A kilobyte is what else a connection remembers of a gap.
        assert!(held <= said + 1024 * infos.len(), "{what}: {held} bytes are held, and {said} counted");
        assert!(said <= 2 * held + 4096, "{what}: {said} bytes are counted, and only {held} held");
        infos.iter().map(|info| info.unread).sum()
    }
}

/// Where the `n`th segment of `len` bytes begins, in a window of so many bytes; nothing, if it is the last.
type Shape = (&'static str, fn(n: usize, len: usize, window: usize) -> Option<usize>);

const SHAPES: [Shape; 5] = [
    ("in order", |n, len, window| Some(1 + n * len).filter(|seq| seq + len <= window)),
    ("every second one is lost", |n, len, window| {
        Some(1 + (2 * n + 1) * len).filter(|seq| seq + len <= window)
    }),
    ("a byte is lost before each", |n, len, window| {
        Some(2 + n * (len + 1)).filter(|seq| seq + len <= window)
    }),
    ("the last ones come first", |n, len, window| {
        (window + 1).checked_sub((n + 1) * (len + 7)).filter(|seq| *seq > 1)
    }),
    ("each repeats half of the one before", |n, len, window| {
        Some(2 + n * len.div_ceil(2)).filter(|seq| seq + len <= window)
    }),
];

pub(crate) fn no_connection_holds_more_than_twice_its_buffer_and_16_kib() {
    for (len, buffer) in [
        (1, 4096),
        (1, 65_536),
        (100, 65_536),
        (600, 8192),
        (512, 524_288),
        (600, 524_288),
        (1400, 524_288),
        (1460, 65_536),
        (9000, 65_536),
        (40_000, 524_288),
    ] {
        for (shape, at) in SHAPES {
            for (device, make) in DEVICES {
                let mut held = Held::new(make, buffer, if buffer == 65_536 { 2 } else { 1 });
                for seq in (0..1200).map_while(|n| at(n, len, buffer)) {
                    held.segment(seq, len);
                }
                held.check(&format!("{len} bytes, {shape}, {device}"));
            }
        }
    }
}

pub(crate) fn gaps_that_close_byte_by_byte_cost_no_more() {
    let buffer = 524_288;
    for len in [511, 512, 600, 1460] {
        for (device, make) in DEVICES {
            let mut held = Held::new(make, buffer, 1);
            let seqs = || (0..).map(|n| 1 + n * (len + 1)).take_while(|seq| seq + len <= buffer);
            seqs().for_each(|seq| held.segment(seq + 1, len));
            seqs().for_each(|seq| held.segment(seq, 1));
            let unread = held.check(&format!("{len} bytes, {device}"));
            assert!(unread > buffer / 4, "{unread} bytes of {buffer} were kept, {device}");
        }
    }
}

pub(crate) fn a_reader_that_leaves_a_byte_of_a_long_packet() {
    for buffer in [8192, 49_152, 65_536, 524_288] {
        for long in [1460, buffer.min(64_000) / 2 + 100, buffer.min(64_000)] {
            for (device, make) in DEVICES {
                let mut held = Held::new(make, buffer, 1);
                held.segment(1, long);
                held.read(long - 1);
                let mut seq = 1 + long;
                while seq < buffer + long - 700 {
                    held.segment(seq, 700);
                    seq += 700;
                }
                let unread = held.check(&format!("{long} bytes, {device}"));
                assert!(unread > buffer / 3, "{unread} bytes of {buffer} are unread, {device}");
            }
        }
    }
}

pub(crate) fn full_segments_stay_where_they_lie() {
    let (len, buffer) = (1460, 524_288);
    for lost in [false, true] {
        let mut held = Held::new(|| Device::Pool(PacketPool::new(1500)), buffer, 1);
        let seqs = (1..).step_by(len).take_while(|seq| seq + len < buffer);
        // Every second one may be lost, and come again.
        let (late, early): (Vec<_>, Vec<_>) = seqs.partition(|seq| lost && seq / len % 2 == 0);
        early.iter().chain(&late).for_each(|seq| held.segment(*seq, len));
        let mut read = 0;
        while let Ok(payload) = held.lab.stack.recv(held.lab.ts(), held.ids[0], 10 * len) {
            // Copies would be put together in pieces of another length.
            assert!(payload.parts().all(|part| part.len() == len), "a segment was copied");
            read += payload.parts().count();
        }
        assert_eq!(read, early.len() + late.len());
    }
}
