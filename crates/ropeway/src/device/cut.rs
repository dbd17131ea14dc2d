//! Trains for devices that carry none: they are cut before they get there.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, ready};

use ropeway_core::packet::ChecksumMode;

use super::{Capabilities, Device, Received, Transmit};

/// Segments that are cut ahead of what the device has taken.
const AHEAD: usize = 64;

/// A device that takes trains, and gives another one their segments.
pub(crate) struct Cutting {
    device: Box<dyn Device>,
    /// Who completes the checksums.
    checksum: ChecksumMode,
    /// Packets for the device.
    cut: VecDeque<Transmit>,
    /// How many of those each packet has become, from the front of the driver's queue on. A packet leaves that queue when
    /// the device has taken all of it.
    counts: VecDeque<usize>,
}

impl Cutting {
    pub(crate) fn new(device: Box<dyn Device>) -> Self {
        let completes = device.capabilities().tx_checksum_offload;
        let checksum = if completes { ChecksumMode::Partial } else { ChecksumMode::Full };
        Self { device, checksum, cut: VecDeque::with_capacity(AHEAD), counts: VecDeque::new() }
    }

    fn cut_more(&mut self, queue: &VecDeque<Transmit>) {
        for packet in queue.iter().skip(self.counts.len()) {
            if self.cut.len() >= AHEAD {
                break;
            }
            let before = self.cut.len();
            self.cut_one(packet);
            self.counts.push_back(self.cut.len() - before);
        }
    }

    fn cut_one(&mut self, packet: &Transmit) {
        let Some(split) = packet.split() else {
            self.cut.push_back(packet.clone());
            return;
        };
        let checksum = self.checksum;
        let segments = split.checksum(checksum);
        self.cut.extend(segments.map(|cut| Transmit::new(cut.headers, cut.payload.to_payload(), checksum)));
    }

    /// The device has taken so many packets.
    fn taken(&mut self, mut packets: usize, queue: &mut VecDeque<Transmit>) {
        while let Some(count) = self.counts.front_mut() {
            if *count > packets {
                *count -= packets;
                return;
            }
            packets -= *count;
            self.counts.pop_front();
            queue.pop_front();
        }
    }
}

impl Device for Cutting {
    fn capabilities(&self) -> Capabilities {
        self.device.capabilities().with_longest_train(u16::MAX)
    }

    fn set_offload(&mut self, on: bool) -> io::Result<()> {
        self.device.set_offload(on)
    }

    fn another_queue(&mut self) -> io::Result<Option<Box<dyn Device>>> {
        let queue = self.device.another_queue()?;
        Ok(queue.map(|queue| Box::new(Self::new(queue)) as Box<dyn Device>))
    }

    fn slabs(&self) -> usize {
        self.device.slabs()
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        self.device.poll_recv(cx, batch, max)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        while !queue.is_empty() {
            self.cut_more(queue);
            let before = self.cut.len();
            let result = self.device.poll_send(cx, &mut self.cut);
            self.taken(before - self.cut.len(), queue);
            ready!(result)?;
        }
        Poll::Ready(Ok(()))
    }

    fn flush(&mut self, queue: &mut VecDeque<Transmit>) {
        while !queue.is_empty() {
            self.cut_more(queue);
            let before = self.cut.len();
            self.device.flush(&mut self.cut);
            self.taken(before - self.cut.len(), queue);
            if !self.cut.is_empty() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::task::Waker;

    use bytes::Bytes;
    use ropeway_core::packet::{IpParams, Payload, Protocol, SeqNum, TcpHeader, emit_tcp};

    use super::*;

    /// Takes so many packets at a time.
    struct Slow {
        at_once: usize,
        room: usize,
        taken: Arc<Mutex<Vec<Bytes>>>,
    }

    impl Device for Slow {
        fn capabilities(&self) -> Capabilities {
            Capabilities::new(1500)
        }

        fn poll_recv(
            &mut self,
            _: &mut Context<'_>,
            _: &mut Vec<Received>,
            _: usize,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_send(&mut self, _: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
            while self.room > 0 {
                let Some(packet) = queue.pop_front() else { return Poll::Ready(Ok(())) };
                self.room -= 1;
                self.taken.lock().unwrap().push(packet.to_bytes());
            }
            self.room = self.at_once;
            if queue.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
        }
    }

    fn packet(seq: u32, len: usize, segment_size: Option<u16>) -> Transmit {
        let ip = IpParams {
            src: "192.0.2.1".parse().unwrap(),
            dst: "192.0.2.2".parse().unwrap(),
            protocol: Protocol::TCP,
            hop_limit: 64,
            traffic_class: 0,
            dont_fragment: true,
            ident: 0,
            flow_label: 0,
        };
        let tcp = TcpHeader { seq: SeqNum::new(seq), ..TcpHeader::default() };
        let payload = Payload::from(Bytes::from(vec![7; len]));
        let checksum = if segment_size.is_some() { ChecksumMode::Partial } else { ChecksumMode::Full };
        let header = emit_tcp(&ip, &tcp, &payload, checksum);
        Transmit::new(header, payload, checksum).with_segment_size(segment_size)
    }

    /// How many packets the last `n` of all become.
    fn last_of(all: &[(u32, usize, Option<u16>)], n: usize) -> usize {
        let last = all.iter().rev().take(n);
        last.map(|(_, len, size)| size.map_or(1, |size| len.div_ceil(usize::from(size)))).sum()
    }

    #[test]
    fn a_train_leaves_the_queue_with_its_last_segment() {
        for at_once in 1..20 {
            let all =
                [(0, 5000, Some(1000)), (5000, 900, None), (5900, 100_000, Some(1000)), (105_900, 0, None)];
            let mut queue: VecDeque<_> =
                all.iter().map(|(seq, len, size)| packet(*seq, *len, *size)).collect();
            let mut expected = Vec::new();
            for (seq, len, size) in all {
                let size = size.map_or(len.max(1), usize::from);
                for at in (0..len.max(1)).step_by(size) {
                    expected
                        .push(packet(seq + u32::try_from(at).unwrap(), size.min(len - at), None).to_bytes());
                }
            }
            let taken = Arc::new(Mutex::new(Vec::new()));
            let slow = Slow { at_once, room: at_once, taken: Arc::clone(&taken) };
            let mut device = Cutting::new(Box::new(slow));
            let mut cx = Context::from_waker(Waker::noop());
            while device.poll_send(&mut cx, &mut queue).is_pending() {
                let left = [4, 3, 2, 1, 0].map(|left| expected.len() - last_of(&all, left));
                let gone = taken.lock().unwrap().len();
                let whole = left.iter().filter(|begins| **begins <= gone).count();
                assert_eq!(queue.len(), 5 - whole, "{gone} packets are gone");
            }
            assert!(queue.is_empty() && device.counts.is_empty());
            assert!(*taken.lock().unwrap() == expected);
        }
    }
}
