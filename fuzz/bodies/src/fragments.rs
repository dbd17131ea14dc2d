//! Fragments of a few datagrams, in any order, repeated, overlapping, late, and any bytes among them, against a reassembly that is
//! slow and simple.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Unstructured;
use ropeway_core::{Received, Stack, StackConfig, Timestamp};
use ropeway_packet::icmp::emit_echo_request;
use ropeway_packet::{IcmpMessage, IpParams, Protocol, fragment, icmp, ip};

use crate::exercise::repair;
use crate::story::{describe, tell};

/// How long fragments wait.
const TIMEOUT: Duration = Duration::from_secs(60);
/// What they may take where nothing is given up for want of room, and where it is.
const PLENTY: usize = 16 << 20;
const LITTLE: usize = 12_000;

/// The stack and the reference, as the input asks for.
///
/// # Panics
///
/// If the stack answers what the reference has not, or does not answer what it has, gives other bytes, holds more than it may, or
/// keeps anything after all time is over.
pub fn fragments(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let scarce = input.arbitrary().unwrap_or(false);
    let mut world = World::new(if scarce { LITTLE } else { PLENTY });
    while !input.is_empty() && world.step(&mut input, scarce).is_ok() {}
    world.ends();
}

struct World {
    stack: Stack,
    now: Timestamp,
    limit: usize,
    datagrams: Vec<Datagram>,
    /// There were packets of which the reference knows nothing.
    garbage: bool,
    received: usize,
}

/// An echo request, and what the reference has of it.
struct Datagram {
    is_v6: bool,
    ident: u16,
    upper: Vec<u8>,
    /// Where the pieces begin, what they carry, and whether more follow.
    pieces: Vec<(usize, Vec<u8>, bool)>,
    began: Option<Timestamp>,
    refused: bool,
}

impl Datagram {
    fn new(number: u16) -> Self {
        let (is_v6, len) = (number.is_multiple_of(2), [100, 700, 3000, 9][usize::from(number) % 4]);
        let (src, dst) = ends(is_v6);
        let data: Vec<u8> =
            (0..len).map(|at: usize| (at * 7 + usize::from(number)).to_le_bytes()[0]).collect();
        let packet = emit_echo_request(src, dst, number, 1, &data, 64);
        let upper = packet[if is_v6 { 40 } else { 20 }..].to_vec();
        Self { is_v6, ident: number, upper, pieces: Vec::new(), began: None, refused: false }
    }

    /// A fragment comes. Says whether it makes the datagram whole.
    fn take(&mut self, now: Timestamp, offset: usize, data: &[u8], more: bool) -> bool {
        if self.began.is_some_and(|began| began + TIMEOUT <= now) {
            self.forget();
        }
        self.began.get_or_insert(now);
        let piece = (offset, data.to_vec(), more);
        if self.refused || self.pieces.contains(&piece) {
            return false;
        }
        let end = offset + data.len();
        self.refused = self.pieces.iter().any(|(at, held, held_more)| {
            let held_end = at + held.len();
            offset < held_end && *at < end || !held_more && end > held_end || !more && held_end > end
        });
        self.pieces.push(piece);
        self.pieces.sort();
        let mut next = 0;
        for (at, held, held_more) in &self.pieces {
            if self.refused || *at != next {
                return false;
            }
            next += held.len();
            if !held_more {
                return true;
            }
        }
        false
    }

    fn forget(&mut self) {
        self.pieces.clear();
        (self.began, self.refused) = (None, false);
    }

    fn fragment(&self, offset: usize, data: &[u8], more: bool) -> Vec<u8> {
        let (src, dst) = ends(self.is_v6);
        let protocol = if self.is_v6 { Protocol::IPV6_FRAGMENT } else { Protocol::ICMP };
        let params = IpParams {
            src,
            dst,
            protocol,
            hop_limit: 64,
            traffic_class: 0,
            dont_fragment: false,
            ident: self.ident,
            flow_label: 0,
        };
        let place = u16::try_from(offset).expect("it is small");
        let mut packet = vec![0; params.header_len()];
        if self.is_v6 {
            params.emit(8 + data.len(), &mut packet);
            packet.extend_from_slice(&[Protocol::ICMPV6.0, 0]);
            packet.extend_from_slice(&(place | u16::from(more)).to_be_bytes());
            packet.extend_from_slice(&u32::from(self.ident).to_be_bytes());
        } else {
            params.emit(data.len(), &mut packet);
            packet[6..8].copy_from_slice(&((place / 8) | (u16::from(more) << 13)).to_be_bytes());
        }
        packet.extend_from_slice(data);
        // Checksums stand in whole datagrams, but for that of an IPv4 header.
        if !self.is_v6 {
            packet[10..12].fill(0);
            let mut sum = ropeway_packet::Checksum::new();
            sum.add_bytes(&packet[..20]);
            packet[10..12].copy_from_slice(&sum.finish().to_be_bytes());
        }
        packet
    }
}

fn ends(is_v6: bool) -> (IpAddr, IpAddr) {
    let (src, dst) = if is_v6 { ("fd00::1", "fd00::2") } else { ("10.0.0.1", "10.0.0.2") };
    (src.parse().expect("an address"), dst.parse().expect("an address"))
}

impl World {
    fn new(limit: usize) -> Self {
        let mut config = StackConfig::default();
        config.addresses = vec!["10.0.0.2/24".parse().expect("good"), "fd00::2/64".parse().expect("good")];
        config.reassembly_memory = limit;
        let now = Timestamp::from_micros(1_000_000);
        let stack = Stack::new(Arc::new(config), [3; 32], now);
        let datagrams = (0..8).map(Datagram::new).collect();
        Self { stack, now, limit, datagrams, garbage: false, received: 0 }
    }

    fn step(&mut self, input: &mut Unstructured<'_>, scarce: bool) -> arbitrary::Result<()> {
        match input.int_in_range(0..=15_u8)? {
            0 => {
                let by = Duration::from_millis(u64::from(input.arbitrary::<u16>()?));
                self.now += by;
                self.expire();
            }
            1 => {
                let len = input.int_in_range(0..=120)?;
                let mut packet = input.bytes(len)?.to_vec();
                if input.arbitrary()? {
                    repair(&mut packet);
                }
                self.garbage = true;
                self.give(packet);
                self.drain();
            }
            kind => {
                let index = usize::from(input.int_in_range(0..=7_u8)?);
                let datagram = &mut self.datagrams[index];
                let len = datagram.upper.len();
                // Honest places are multiples of a third of it.
                let third = (len / 3).next_multiple_of(8);
                let (offset, end) = match kind {
                    2..12 => {
                        let part = usize::from(input.int_in_range(0..=2_u8)?);
                        (part * third, if part == 2 { len } else { (part + 1) * third })
                    }
                    _ => {
                        let offset = 8 * usize::from(input.int_in_range(0..=127_u8)?);
                        (offset, offset + 8 * usize::from(input.int_in_range(1..=64_u8)?))
                    }
                };
                let more = if kind < 12 { end < len } else { input.arbitrary()? };
                let (offset, end) = (offset.min(end), if more { end.next_multiple_of(8) } else { end });
                let mut bytes = datagram.upper.clone();
                bytes.resize(end.max(len), 0xee);
                let mut data = bytes[offset..end].to_vec();
                if kind == 15 {
                    data.iter_mut().take(1).for_each(|byte| *byte ^= 0x10);
                }
                // What is empty, or a whole datagram, is no fragment; a first one of IPv6 has its headers.
                if data.is_empty() || offset == 0 && !more {
                    return Ok(());
                }
                let packet = datagram.fragment(offset, &data, more);
                let whole = datagram.take(self.now, offset, &data, more);
                let honest: Vec<u8> = datagram.pieces.iter().flat_map(|(_, data, _)| data.clone()).collect();
                let expected = (whole && honest == datagram.upper).then(|| datagram.upper[8..].to_vec());
                if whole {
                    datagram.forget();
                }
                self.give(packet);
                let answers = self.drain();
                if !scarce && !self.garbage {
                    assert_eq!(answers, Vec::from_iter(expected), "datagram {index}");
                }
                for answer in answers {
                    assert!(
                        self.datagrams.iter().any(|datagram| datagram.upper[8..] == answer) || self.garbage
                    );
                }
            }
        }
        Ok(())
    }

    fn give(&mut self, packet: Vec<u8>) {
        tell(self.now, || format!("> {}", describe(&packet)));
        self.received += packet.len();
        self.stack.handle_packet(self.now, Received::alone(packet.into()));
        assert!(self.stack.memory().fragments <= self.limit);
    }

    fn expire(&mut self) {
        while self.stack.poll_timeout().is_some_and(|due| due <= self.now) {
            self.stack.handle_timeout(self.now);
            self.drain();
        }
    }

    /// The data of the echo replies that the stack sends.
    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        while let Some(transmit) = self.stack.poll_transmit(self.now) {
            let packet = transmit.to_bytes().to_vec();
            tell(self.now, || format!("< {}", describe(&packet)));
            assert!(packet.len() <= 1500);
            packets.push(packet);
        }
        let mut replies = Vec::new();
        let mut pieces: Vec<Vec<u8>> = Vec::new();
        for packet in packets {
            let parsed = ip::parse(&packet).expect("what we send is right");
            if parsed.fragment.is_some() {
                let last = parsed.fragment.is_some_and(|place| !place.more);
                pieces.push(packet);
                if last {
                    replies.extend(reply_of(&join(&std::mem::take(&mut pieces))));
                }
            } else {
                replies.extend(reply_of(&packet));
            }
        }
        assert!(pieces.is_empty(), "half of a datagram was sent");
        replies
    }

    fn ends(mut self) {
        self.now += TIMEOUT;
        self.expire();
        assert_eq!(self.stack.memory().fragments, 0);
        assert!(self.garbage || self.stack.poll_timeout().is_none());
    }
}

fn reply_of(packet: &[u8]) -> Option<Vec<u8>> {
    match icmp::parse(packet, &ip::parse(packet).expect("it is right")).ok()? {
        IcmpMessage::EchoReply { data, .. } => Some(packet[data].to_vec()),
        _ => None,
    }
}

/// The fragments of one datagram, in their order.
fn join(pieces: &[Vec<u8>]) -> Vec<u8> {
    let parsed: Vec<_> = pieces.iter().map(|piece| ip::parse(piece).expect("it is right")).collect();
    let len = parsed.iter().map(|ip| ip.payload.len()).sum();
    let marks = fragment::Marks::default();
    let mut whole = fragment::whole_headers(&pieces[0], len, marks).expect("a first fragment");
    for (piece, ip) in pieces.iter().zip(parsed) {
        whole.extend_from_slice(&piece[ip.payload]);
    }
    whole
}
