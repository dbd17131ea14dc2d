//! A box between ropeway and its device, which sees each packet and may change it.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use ropeway::device::{Capabilities, Device, Received, Transmit};
use ropeway::packet::{Checksum, EcnCodepoint, Protocol, checksum, ip};

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the other end to ropeway.
    In,
    /// From ropeway to the other end.
    Out,
}

/// A TCP segment in its packet, without IP options or extension headers.
#[derive(Debug)]
pub struct Segment<'a> {
    packet: &'a mut BytesMut,
    tcp: usize,
}

impl Segment<'_> {
    /// CWR, ECE and AE, as in [`Segment::flags`].
    pub const ACE: u16 = 0x1c0;
    /// The SYN flag.
    pub const SYN: u16 = 0x002;
    /// The ACK flag.
    pub const ACK: u16 = 0x010;
    /// The ECE flag.
    pub const ECE: u16 = 0x040;
    /// The CWR flag.
    pub const CWR: u16 = 0x080;

    /// The ECN field of the IP header.
    #[must_use]
    pub fn ecn(&self) -> EcnCodepoint {
        let class = if self.is_v6() { self.packet[1] >> 4 } else { self.packet[1] };
        EcnCodepoint::of(class)
    }

    /// Writes the ECN field: its two bits.
    pub fn set_ecn(&mut self, bits: u8) {
        let shift = if self.is_v6() { 4 } else { 0 };
        self.packet[1] = self.packet[1] & !(3 << shift) | (bits & 3) << shift;
    }

    /// The flags, nine bits with AE as the highest.
    #[must_use]
    pub fn flags(&self) -> u16 {
        u16::from_be_bytes([self.packet[self.tcp + 12] & 1, self.packet[self.tcp + 13]])
    }

    /// Writes them.
    pub fn set_flags(&mut self, flags: u16) {
        let [high, low] = flags.to_be_bytes();
        self.packet[self.tcp + 12] = self.packet[self.tcp + 12] & !1 | high & 1;
        self.packet[self.tcp + 13] = low;
    }

    /// How long the packet is, with its IP header.
    #[must_use]
    pub fn packet_len(&self) -> usize {
        self.packet.len()
    }

    /// Whether there are bytes of the stream in it.
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.packet.len() > self.tcp + 4 * usize::from(self.packet[self.tcp + 12] >> 4)
    }

    /// Calls `visit` with the bytes of each option but padding: it may change them.
    pub fn for_each_option(&mut self, mut visit: impl FnMut(&mut [u8])) {
        let start = self.tcp + 20;
        let end = (self.tcp + 4 * usize::from(self.packet[self.tcp + 12] >> 4)).min(self.packet.len());
        let mut rest = self.packet.get_mut(start..end).unwrap_or_default();
        while let Some(&kind) = rest.first() {
            let len = match kind {
                0 => return,
                1 => 1,
                _ => usize::from(rest.get(1).copied().unwrap_or_default()),
            };
            if len == 0 || len > rest.len() {
                return;
            }
            let (option, later) = rest.split_at_mut(len);
            if len > 1 {
                visit(option);
            }
            rest = later;
        }
    }

    fn is_v6(&self) -> bool {
        self.packet[0] >> 4 == 6
    }

    fn make_sums_right(&mut self) {
        if !self.is_v6() {
            let mut sum = Checksum::new();
            self.packet[10..12].fill(0);
            sum.add_bytes(&self.packet[..20]);
            self.packet[10..12].copy_from_slice(&sum.finish().to_be_bytes());
        }
        let Ok(parsed) = ip::parse(self.packet) else { return };
        let (src, dst) = (parsed.src, parsed.dst);
        let len = u32::try_from(self.packet.len() - self.tcp).unwrap_or_default();
        let mut sum = checksum::pseudo_header(src, dst, Protocol::TCP, len);
        let field = self.tcp + 16..self.tcp + 18;
        self.packet[field.clone()].fill(0);
        sum.add_bytes(&self.packet[self.tcp..]);
        self.packet[field].copy_from_slice(&sum.finish().to_be_bytes());
    }
}

/// What it does with a segment: `false` loses it.
type Rule = Box<dyn FnMut(Way, &mut Segment<'_>) -> bool + Send>;

/// The device with the box before it.
pub struct Middlebox<D> {
    device: D,
    rule: Rule,
    /// Packets that wait for the device and have been through.
    passed: usize,
}

impl<D> fmt::Debug for Middlebox<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Middlebox")
    }
}

impl<D> Middlebox<D> {
    /// A box that gives each TCP segment to `rule`, which may change it, and loses it when that says `false`. Checksums are made
    /// right afterwards.
    pub fn new(device: D, rule: impl FnMut(Way, &mut Segment<'_>) -> bool + Send + 'static) -> Self {
        Self { device, rule: Box::new(rule), passed: 0 }
    }

    fn pass(&mut self, way: Way, packet: &[u8]) -> Option<Bytes> {
        let mut bytes = BytesMut::from(packet);
        let tcp = match packet.first().map(|byte| byte >> 4) {
            Some(4) if packet.len() >= 40 && packet[0] & 15 == 5 && packet[9] == 6 => 20,
            Some(6) if packet.len() >= 60 && packet[6] == 6 => 40,
            _ => return Some(bytes.freeze()),
        };
        let mut segment = Segment { packet: &mut bytes, tcp };
        if !(self.rule)(way, &mut segment) {
            return None;
        }
        segment.make_sums_right();
        Some(bytes.freeze())
    }
}

impl<D: Device> Device for Middlebox<D> {
    /// No offload, so packets come and go one by one.
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(self.device.capabilities().mtu)
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        let (before, mut scratch) = (batch.len(), BytesMut::new());
        loop {
            let mut came = Vec::new();
            let result = self.device.poll_recv(cx, &mut came, max);
            for received in &came {
                received.for_each_on_wire(&mut scratch, |packet| {
                    batch.extend(self.pass(Way::In, packet).map(Received::new));
                });
            }
            if came.is_empty() || batch.len() > before {
                return result;
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        let fresh = queue.split_off(self.passed.min(queue.len()));
        for packet in fresh {
            queue.extend(self.pass(Way::Out, &packet.to_bytes()).map(Transmit::whole));
        }
        let result = self.device.poll_send(cx, queue);
        self.passed = queue.len();
        result
    }
}
