//! What crosses the door as packets: in with [`Received`], out with [`Transmit`].

use bytes::{Bytes, BytesMut};
use ropeway_packet::{ChecksumMode, HeaderBuf, Payload};

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
#[derive(Clone, Debug)]
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
}

impl Received {
    /// A packet that comes with no offload metadata, and whose memory others may share.
    #[must_use]
    pub fn new(packet: Bytes) -> Self {
        Self { packet, checksum: RxChecksum::Unverified, segment_size: None, true_size: None }
    }

    /// Likewise, a packet that has its memory to itself: an allocation of its length.
    #[must_use]
    pub fn alone(packet: Bytes) -> Self {
        let true_size = Some(length_u32(packet.len()));
        Self { true_size, ..Self::new(packet) }
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
pub struct Transmit {
    /// IP and transport headers. For a packet that is not TCP, the whole packet may be in `payload`.
    pub header: HeaderBuf,
    /// What follows the headers.
    pub payload: Payload,
    /// Whether the transport checksum in `header` is whole or has to be finished by the device.
    pub checksum: ChecksumMode,
    /// Set when the device is to cut this into segments of that many payload bytes (GSO). Otherwise `None`.
    pub segment_size: Option<u16>,
}

impl Transmit {
    /// A packet that is complete as it stands.
    pub fn whole(packet: Bytes) -> Self {
        Self {
            header: HeaderBuf::default(),
            payload: Payload::from(packet),
            checksum: ChecksumMode::Full,
            segment_size: None,
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

    /// Appends the packet's bytes to `buf`.
    pub fn write_to(&self, buf: &mut BytesMut) {
        buf.reserve(self.len());
        buf.extend_from_slice(&self.header);
        for part in self.payload.parts() {
            buf.extend_from_slice(part);
        }
    }

    /// The packet as one piece.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut buf = BytesMut::with_capacity(self.len());
        self.write_to(&mut buf);
        buf.freeze()
    }
}
