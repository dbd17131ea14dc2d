//! Packets of IPv4 and TCP by a fixed template, to and from the device.

use std::io;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use crate::link::{KERNEL_ADDRESS, MTU, STACK_ADDRESS};
use crate::sys::Tun;

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;

/// Payload of a full segment: there are no options after the SYN.
pub(super) const MSS: usize = MTU as usize - IP_HEADER - TCP_HEADER;
/// By how much windows are shifted (RFC 7323, 2).
pub(super) const SHIFT: u8 = 7;
pub(super) const IP_HEADER: usize = 20;
const TCP_HEADER: usize = 20;
/// `struct virtio_net_hdr` (virtio 1.2, 5.1.6).
pub(super) const VNET_HEADER: usize = 10;
const HEADERS: usize = VNET_HEADER + IP_HEADER + TCP_HEADER;
/// Full segments in the longest packet.
const LONGEST_TRAIN: usize = (65_535 - IP_HEADER - TCP_HEADER) / MSS;
/// Either of these says that nobody has to look at the checksum: it is to be filled in, or was right.
pub(super) const CHECKSUM_KNOWN: RangeInclusive<u8> = 1..=2;
pub(super) const NEEDS_CHECKSUM: u8 = 1;
const GSO_TCPV4: u8 = 1;
const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;

/// What there is to know of a segment that came in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Segment<'a> {
    pub(super) port: u16,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
    /// Of a SYN: by how much its sender shifts windows.
    pub(super) shift: u8,
    pub(super) payload: &'a [u8],
}

impl Segment<'_> {
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Takes packets from the device.
pub(super) struct Source<'a> {
    tun: &'a Tun,
    offload: bool,
    packet: Vec<u8>,
}

impl<'a> Source<'a> {
    pub(super) fn new(tun: &'a Tun, offload: bool) -> Self {
        Self { tun, offload, packet: vec![0; VNET_HEADER + usize::from(u16::MAX)] }
    }

    /// The next packet; `None` if none is there. What is not a sound segment is an empty one of port 0.
    pub(super) fn next(&mut self) -> io::Result<Option<Segment<'_>>> {
        let Some(length) = self.tun.recv(&mut self.packet)? else { return Ok(None) };
        let mut packet = self.packet.get(..length).unwrap_or_default();
        let mut verified = false;
        if self.offload {
            verified = packet.first().is_some_and(|flags| CHECKSUM_KNOWN.contains(flags));
            packet = packet.get(VNET_HEADER..).unwrap_or_default();
        }
        Ok(Some(parse(packet, verified).unwrap_or_default()))
    }
}

fn parse(packet: &[u8], verified: bool) -> Option<Segment<'_>> {
    let (ip, _) = packet.split_first_chunk::<IP_HEADER>()?;
    let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let segment = packet.get(IP_HEADER..total)?;
    if ip[0] != 0x45
        || ip[9] != TCP
        || !verified && fold(pseudo_header(TCP, segment.len()) + sum(segment)) != 0xffff
    {
        return None;
    }
    let (tcp, rest) = segment.split_first_chunk::<TCP_HEADER>()?;
    let options = (usize::from(tcp[12] >> 4) * 4).checked_sub(TCP_HEADER)?;
    let (options, payload) = rest.split_at_checked(options)?;
    Some(Segment {
        port: u16::from_be_bytes([tcp[0], tcp[1]]),
        seq: u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]),
        ack: u32::from_be_bytes([tcp[8], tcp[9], tcp[10], tcp[11]]),
        flags: tcp[13],
        window: u16::from_be_bytes([tcp[14], tcp[15]]),
        shift: if tcp[13] & SYN == 0 { 0 } else { shift(options) },
        payload,
    })
}

/// The window scale among the options of a SYN.
fn shift(mut options: &[u8]) -> u8 {
    loop {
        options = match options {
            [1, rest @ ..] => rest,
            [3, 3, shift, ..] => return *shift,
            [kind, length, ..] if *kind > 1 => options.get(usize::from(*length).max(2)..).unwrap_or_default(),
            _ => return 0,
        }
    }
}

/// What follows the headers.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    /// Payload whose content says nothing: what lies in the buffer.
    Filler(usize),
    /// This payload.
    Echo(&'a [u8]),
    /// No payload, but the options of a SYN.
    Options,
}

/// Gives packets to the device, all from one buffer, of which only the headers change.
pub(super) struct Sink<'a> {
    tun: &'a Tun,
    offload: bool,
    port: u16,
    packet: Vec<u8>,
}

/// The header of a segment to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// The peer's port.
    pub(super) to: u16,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
}

impl<'a> Sink<'a> {
    pub(super) fn new(tun: &'a Tun, port: u16, offload: bool) -> Self {
        Self { tun, offload, port, packet: vec![0x5a; HEADERS + LONGEST_TRAIN * MSS] }
    }

    /// How much payload a packet may have.
    pub(super) fn longest(&self) -> usize {
        if self.offload { LONGEST_TRAIN * MSS } else { MSS }
    }

    pub(super) fn send(&mut self, header: Header, body: Body<'_>) -> io::Result<()> {
        // A maximum segment size, and a window scale (RFC 9293, 3.1; RFC 7323, 2.2).
        let [high, low] = u16::try_from(MSS).unwrap_or_default().to_be_bytes();
        let options = [2, 4, high, low, 1, 3, 3, SHIFT];
        let (words, bytes, filler): (u8, &[u8], usize) = match body {
            Body::Filler(length) => (5, &[], length),
            Body::Echo(bytes) => (5, bytes, 0),
            Body::Options => (7, &options, 0),
        };
        for (to, from) in self.packet.iter_mut().skip(HEADERS).zip(bytes) {
            *to = *from;
        }
        let length = bytes.len() + filler;
        self.write_headers(header, words, length);
        let begin = if self.offload { 0 } else { VNET_HEADER };
        self.tun.send(self.packet.get(begin..HEADERS + length).unwrap_or_default())
    }

    fn write_headers(&mut self, header: Header, words: u8, length: usize) {
        let Some((front, body)) = self.packet.split_first_chunk_mut::<HEADERS>() else { return };
        let body = body.get(..length).unwrap_or_default();
        front[..VNET_HEADER].copy_from_slice(&if self.offload { vnet(length) } else { [0; VNET_HEADER] });
        front[VNET_HEADER..VNET_HEADER + IP_HEADER].copy_from_slice(&ip(TCP, TCP_HEADER + length));

        let mut tcp = [0; TCP_HEADER];
        tcp[0..2].copy_from_slice(&self.port.to_be_bytes());
        tcp[2..4].copy_from_slice(&header.to.to_be_bytes());
        tcp[4..8].copy_from_slice(&header.seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&header.ack.to_be_bytes());
        tcp[12] = words << 4;
        tcp[13] = header.flags;
        tcp[14..16].copy_from_slice(&header.window.to_be_bytes());
        let pseudo_header = pseudo_header(TCP, TCP_HEADER + length);
        let checksum =
            if self.offload { fold(pseudo_header) } else { !fold(pseudo_header + sum(&tcp) + sum(body)) };
        tcp[16..18].copy_from_slice(&checksum.to_ne_bytes());
        front[VNET_HEADER + IP_HEADER..].copy_from_slice(&tcp);
    }
}

/// Asks for the checksum, and to cut what is longer than a segment.
fn vnet(payload: usize) -> [u8; VNET_HEADER] {
    let is_train = payload > MSS;
    let words = [
        IP_HEADER + TCP_HEADER,
        if is_train { MSS } else { 0 },
        IP_HEADER,
        16, // of the checksum in a TCP header
    ];
    let mut header = [0; VNET_HEADER];
    header[0] = NEEDS_CHECKSUM;
    header[1] = if is_train { GSO_TCPV4 } else { 0 };
    for (to, word) in header[2..].chunks_exact_mut(2).zip(words) {
        to.copy_from_slice(&u16::try_from(word).unwrap_or_default().to_ne_bytes());
    }
    header
}

pub(super) fn ip(protocol: u8, payload: usize) -> [u8; IP_HEADER] {
    let total = u16::try_from(IP_HEADER + payload).unwrap_or_default().to_be_bytes();
    // Not to be fragmented, so the identification says nothing (RFC 6864, 4.1).
    let (source, destination) = (STACK_ADDRESS.octets(), KERNEL_ADDRESS.octets());
    let mut header = [0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[12..16].copy_from_slice(&source);
    header[16..20].copy_from_slice(&destination);
    let checksum = !fold(sum(&header));
    header[10..12].copy_from_slice(&checksum.to_ne_bytes());
    header
}

pub(super) fn pseudo_header(protocol: u8, length: usize) -> u64 {
    let address = |address: Ipv4Addr| u64::from(u32::from_ne_bytes(address.octets()));
    let length = u16::try_from(length).unwrap_or_default().to_be();
    address(STACK_ADDRESS)
        + address(KERNEL_ADDRESS)
        + u64::from(u16::from(protocol).to_be())
        + u64::from(length)
}

/// The sum of 16-bit words in the machine's byte order, which gives a checksum in that order (RFC 1071, 2).
pub(super) fn sum(bytes: &[u8]) -> u64 {
    const LANES: usize = 8;
    let mut lanes = [0_u64; LANES];
    let mut blocks = bytes.chunks_exact(4 * LANES);
    for block in &mut blocks {
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<4>().0) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    let rest = blocks.remainder().chunks(2).map(|word| match word {
        [one] => u64::from(u16::from_ne_bytes([*one, 0])),
        [one, two, ..] => u64::from(u16::from_ne_bytes([*one, *two])),
        [] => 0,
    });
    lanes.iter().sum::<u64>() + rest.sum::<u64>()
}

pub(super) fn fold(sum: u64) -> u16 {
    let mut sum = sum;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_that_of_rfc_1071() {
        // The example of its section 3.
        assert_eq!(fold(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2_u16.to_be());
        let odd: Vec<u8> = (0..=250).cycle().take(1001).collect();
        let slowly: u64 =
            odd.chunks(2).map(|two| u64::from(u16::from_be_bytes([two[0], *two.get(1).unwrap_or(&0)]))).sum();
        assert_eq!(fold(sum(&odd)), fold(slowly).to_be());
    }

    #[test]
    fn the_window_scale_is_found_among_the_options() {
        assert_eq!(shift(&[2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7]), 7);
        assert_eq!(shift(&[2, 4, 5, 180]), 0);
        assert_eq!(shift(&[5, 0, 5]), 0, "an option without a length ends");
    }
}
