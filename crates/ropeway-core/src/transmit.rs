//! What crosses the door as packets: in with [`Received`], out with [`Transmit`].

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use ropeway_packet::checksum::Partial;
use ropeway_packet::{ChecksumMode, HeaderBuf, Payload, Protocol, ip, parse_tcp, train, udp};

use crate::buffer::chunk::Chunk;
use crate::buffer::send::length_u32;

/// What the device knows about the checksum of a packet it hands over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RxChecksum {
    /// Nothing: the stack verifies it (RFC 9293 3.1 MUST-3).
    #[default]
    Unverified,
    /// The device, or a kernel on the same machine, vouches for it.
    Verified,
}

/// A whole IP packet that a device received.
///
/// ```
/// use bytes::Bytes;
/// use ropeway_core::{Received, RxChecksum};
///
/// let received = Received::alone(Bytes::from(vec![0x45; 4000])).with_checksum(RxChecksum::Verified).with_segment_size(Some(1448));
/// assert_eq!(received.true_size, Some(4000));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Received {
    /// The packet, from its IP header on. Payloads are kept as slices of it.
    pub packet: Bytes,
    /// Whether the transport checksum still has to be verified.
    pub checksum: RxChecksum,
    /// Set when the device merged several segments into this one: the size of each (GRO). Otherwise `None`.
    pub segment_size: Option<u16>,
    /// How many bytes of memory stay allocated as long as any part of `packet` is held: all that lies in the same
    /// allocation, whoever else has parts of it. `None` if that is not known.
    ///
    /// What a connection holds is counted by this. A payload that keeps no more than twice of itself alive stays where it
    /// lies; any other one is copied before it is held, and so is one of which it is not known.
    pub true_size: Option<u32>,
    /// What follows it, if the stack has merged packets.
    pub(crate) rest: Rest,
}

/// The data of packets that follow another, and are taken with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rest {
    /// None of them is empty.
    pub(crate) pieces: Vec<Chunk>,
    /// The last one has PSH.
    pub(crate) pushed: bool,
}

impl Received {
    /// A packet that comes with no offload metadata, and whose memory others may share.
    #[must_use]
    pub fn new(packet: Bytes) -> Self {
        let rest = Rest::default();
        Self { packet, checksum: RxChecksum::Unverified, segment_size: None, true_size: None, rest }
    }

    /// Likewise, a packet that has its memory to itself: an allocation of its length.
    #[must_use]
    pub fn alone(packet: Bytes) -> Self {
        let true_size = Some(length_u32(packet.len()));
        Self { true_size, ..Self::new(packet) }
    }

    /// Sets what is known of its checksum.
    #[must_use]
    pub fn with_checksum(self, checksum: RxChecksum) -> Self {
        Self { checksum, ..self }
    }

    /// Sets of how many bytes each of the segments was that were merged into it.
    #[must_use]
    pub fn with_segment_size(self, segment_size: Option<u16>) -> Self {
        Self { segment_size, ..self }
    }

    /// Sets how much memory it keeps allocated, in bytes.
    #[must_use]
    pub fn with_true_size(self, true_size: Option<u32>) -> Self {
        Self { true_size, ..self }
    }

    /// The IPv4 type of service or IPv6 traffic class: DSCP and ECN. 0 if this is no IP packet.
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        traffic_class(&self.packet)
    }

    /// Gives the packet to `packet` as it was on the wire, or could have been: if it is a train, its segments one by one;
    /// checksums are complete. `scratch` is where each is put together.
    pub fn for_each_on_wire(&self, scratch: &mut BytesMut, mut packet: impl FnMut(&[u8])) {
        if let Some(size) = self.segment_size
            && let Some((headers, payload)) = self.headers_and_payload()
            // Whatever was merged had the same flags, but for PSH.
            && let Ok(split) = train::split(&headers, &payload, size)
        {
            return fill_each(split.accurate_ecn(), scratch, packet);
        }
        packet(&self.with_its_checksum());
    }

    /// Whether it was one packet on the wire.
    pub(crate) fn is_one_segment(&self) -> bool {
        self.segment_size.is_none() && self.rest.pieces.is_empty()
    }

    /// The packet with its transport checksum, which need not be in it if the device vouches for it.
    pub(crate) fn with_its_checksum(&self) -> Cow<'_, [u8]> {
        if self.checksum == RxChecksum::Unverified {
            return Cow::Borrowed(&self.packet);
        }
        let mut packet = self.packet.to_vec();
        complete(&mut packet);
        Cow::Owned(packet)
    }

    fn headers_and_payload(&self) -> Option<(Bytes, Payload)> {
        let ip = ip::parse(&self.packet).ok()?;
        let payload = match ip.protocol {
            Protocol::UDP => udp::parse(&self.packet, &ip, false).ok()?.payload,
            _ => parse_tcp(&self.packet, ip, false).ok()?.payload,
        };
        let headers = self.packet.get(..payload.start)?;
        let mut whole = Payload::from(self.packet.slice(payload));
        self.rest.pieces.iter().for_each(|piece| whole.push(piece.bytes().clone()));
        Some((self.packet.slice_ref(headers), whole))
    }
}

/// Puts each segment of a train together.
fn fill_each(mut split: train::Split<'_>, scratch: &mut BytesMut, mut packet: impl FnMut(&[u8])) {
    scratch.resize(usize::from(u16::MAX), 0);
    while let Some(len) = split.fill(scratch) {
        packet(scratch.get(..len).unwrap_or_default());
    }
}

/// Computes a transport checksum anew.
fn complete(packet: &mut [u8]) {
    if let Some(partial) = Partial::prepare(packet) {
        partial.complete(packet);
    }
}

/// The second byte of an IPv4 header, or what follows the version in an IPv6 header.
fn traffic_class(packet: &[u8]) -> u8 {
    match *packet {
        [first, second, ..] if first >> 4 == 4 => second,
        [first, second, ..] if first >> 4 == 6 => first << 4 | second >> 4,
        _ => 0,
    }
}

impl From<Bytes> for Received {
    fn from(packet: Bytes) -> Self {
        Self::new(packet)
    }
}

/// A whole IP packet to send: headers of its own, and a payload that is shared with the send buffer.
#[derive(Clone, Debug)]
#[must_use = "a packet that is not handed to a device is lost"]
#[non_exhaustive]
pub struct Transmit {
    /// IP and transport headers. For a packet that is not TCP, the whole packet may be in `payload`.
    pub header: HeaderBuf,
    /// What follows the headers.
    pub payload: Payload,
    /// Whether the transport checksum in `header` is whole or has to be finished by the device.
    pub checksum: ChecksumMode,
    /// Set when the device is to cut this into segments of that many payload bytes (GSO). Otherwise `None`.
    pub segment_size: Option<u16>,
    /// The connection uses Accurate ECN (RFC 9768): all segments of a train have the flags AE, CWR and ECE of the first one. Devices that
    /// take CWR off the others, as RFC 3168 has it, must not be given one with CWR.
    pub accurate_ecn: bool,
}

impl Transmit {
    /// A packet of these headers and this payload.
    pub fn new(header: HeaderBuf, payload: Payload, checksum: ChecksumMode) -> Self {
        Self { header, payload, checksum, segment_size: None, accurate_ecn: false }
    }

    /// A packet that is complete as it stands.
    pub fn whole(packet: Bytes) -> Self {
        Self::new(HeaderBuf::default(), Payload::from(packet), ChecksumMode::Full)
    }

    /// Sets of how many bytes each of the segments is that the device is to cut.
    pub fn with_segment_size(self, segment_size: Option<u16>) -> Self {
        Self { segment_size, ..self }
    }

    /// The IPv4 type of service or IPv6 traffic class: DSCP and ECN. 0 if this is no IP packet.
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        match self.header.is_empty() {
            true => self.payload.parts().next().map_or(0, |packet| traffic_class(packet)),
            false => traffic_class(&self.header),
        }
    }

    /// The packet's length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.header.len() + self.payload.len()
    }

    /// Whether the packet has no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The packet as a payload, complete and not copied but for its headers.
    pub(crate) fn into_payload(self) -> Payload {
        if self.checksum == ChecksumMode::Partial {
            let mut packet = self.to_bytes().to_vec();
            complete(&mut packet);
            return Payload::from(Bytes::from(packet));
        }
        let mut whole = Payload::from(Bytes::copy_from_slice(&self.header));
        self.payload.parts().for_each(|part| whole.push(part.clone()));
        whole
    }

    /// Appends the packet's bytes to `buf`.
    pub fn write_to(&self, buf: &mut BytesMut) {
        buf.reserve(self.len());
        buf.extend_from_slice(&self.header);
        for part in self.payload.parts() {
            buf.extend_from_slice(part);
        }
    }

    /// Gives the packet to `packet` as it is on the wire: if it is a train, its segments one by one; checksums are complete.
    /// `scratch` is where each is put together.
    pub fn for_each_on_wire(&self, scratch: &mut BytesMut, mut packet: impl FnMut(&[u8])) {
        match self.split() {
            Some(split) => fill_each(split, scratch, packet),
            None => {
                scratch.clear();
                self.write_to(scratch);
                if self.checksum == ChecksumMode::Partial {
                    complete(scratch);
                }
                packet(scratch);
            }
        }
    }

    /// The segments of a train, if it is one.
    #[must_use]
    pub fn split(&self) -> Option<train::Split<'_>> {
        let split = train::split(&self.header, &self.payload, self.segment_size?).ok()?;
        Some(if self.accurate_ecn { split.accurate_ecn() } else { split })
    }

    /// The packet as one piece.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut buf = BytesMut::with_capacity(self.len());
        self.write_to(&mut buf);
        buf.freeze()
    }
}
