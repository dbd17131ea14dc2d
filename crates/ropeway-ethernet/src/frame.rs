//! Ethernet II headers, and the queue of frames that wait for the link.

use bytes::{Buf, BufMut, BytesMut};

use crate::MacAddr;

/// Bytes of an Ethernet header.
pub(crate) const HEADER_LEN: usize = 14;
/// Bytes of the length that stands before each frame in a [`FrameQueue`].
const LENGTH: usize = 4;

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const IPV6: u16 = 0x86dd;
/// IEEE 802.1Q, 802.1ad, and what came before the latter.
pub(crate) const VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];
/// Below it the field is the length of an IEEE 802.3 frame.
pub(crate) const FIRST_TYPE: u16 = 0x0600;

/// An Ethernet II header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) dst: MacAddr,
    pub(crate) src: MacAddr,
    pub(crate) ethertype: u16,
}

impl Header {
    pub(crate) fn parse(frame: &[u8]) -> Option<Self> {
        let (&[a, b, c, d, e, f, g, h, i, j, k, l, hi, lo], _) = frame.split_first_chunk::<HEADER_LEN>()?;
        Some(Self {
            dst: MacAddr::new([a, b, c, d, e, f]),
            src: MacAddr::new([g, h, i, j, k, l]),
            ethertype: u16::from_be_bytes([hi, lo]),
        })
    }

    fn emit(self, to: &mut BytesMut) {
        to.put_slice(&self.dst.octets());
        to.put_slice(&self.src.octets());
        to.put_u16(self.ethertype);
    }
}

/// Frames in the order in which they leave, in one piece of memory.
///
/// Each has its length before it, as a big-endian number of four bytes: that is what QEMU's stream sockets carry, so such a link
/// writes [`as_stream`](Self::as_stream) as it is. Other links take the frames one by one.
#[derive(Debug, Default)]
pub struct FrameQueue {
    bytes: BytesMut,
}

impl FrameQueue {
    /// A queue without frames.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no frame waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes of all frames, with their lengths.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// All frames, each after its length.
    #[must_use]
    pub fn as_stream(&self) -> &[u8] {
        &self.bytes
    }

    /// A stream has taken so many bytes from the front, which may be a part of a frame. A queue that has been used so is always used so.
    pub fn advance(&mut self, bytes: usize) {
        self.bytes.advance(bytes.min(self.bytes.len()));
    }

    /// The first frame.
    #[must_use]
    pub fn front(&self) -> Option<&[u8]> {
        let (length, rest) = self.bytes.split_first_chunk::<LENGTH>()?;
        rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
    }

    /// Takes the first frame off.
    pub fn pop_front(&mut self) {
        let frame = self.front().map_or(self.bytes.len(), |frame| LENGTH + frame.len());
        self.bytes.advance(frame);
    }

    /// Drops all frames.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Appends a frame, whose payload `fill` appends.
    pub(crate) fn push(&mut self, header: Header, len: usize, fill: impl FnOnce(&mut BytesMut)) {
        self.bytes.reserve(LENGTH + HEADER_LEN + len);
        let start = self.bytes.len();
        self.bytes.put_u32(0);
        header.emit(&mut self.bytes);
        fill(&mut self.bytes);
        let frame = self.bytes.len() - start - LENGTH;
        let length = u32::try_from(frame).unwrap_or(u32::MAX).to_be_bytes();
        if let Some(field) = self.bytes.get_mut(start..start + LENGTH) {
            field.copy_from_slice(&length);
        }
    }
}

impl FrameQueue {
    /// Appends a frame whose payload `fill` writes to memory of `most` bytes, and says how long it is. Without one, nothing is appended;
    /// says whether there was one.
    pub(crate) fn push_if(
        &mut self,
        header: Header,
        most: usize,
        fill: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let start = self.bytes.len();
        let mut filled = None;
        self.push(header, most, |to| {
            let at = to.len();
            to.resize(at + most, 0);
            filled = fill(to.get_mut(at..).unwrap_or_default());
            to.truncate(at + filled.unwrap_or(0));
        });
        if filled.is_none() {
            self.bytes.truncate(start);
        }
        filled.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header =
        Header { dst: MacAddr::BROADCAST, src: MacAddr::new([2, 0, 0, 0, 0, 1]), ethertype: ARP };

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut queue = FrameQueue::new();
        for len in 0..100 {
            queue.push(HEADER, len, |to| to.put_bytes(7, len));
        }
        for len in 0..100 {
            let frame = queue.front().unwrap();
            assert_eq!(Header::parse(frame), Some(HEADER));
            assert_eq!(frame[HEADER_LEN..], vec![7; len]);
            queue.pop_front();
        }
        assert!(queue.is_empty() && queue.front().is_none());
        queue.pop_front();
    }

    #[test]
    fn a_stream_has_the_length_before_each_frame() {
        let mut queue = FrameQueue::new();
        queue.push(HEADER, 1, |to| to.put_u8(9));
        assert_eq!(queue.as_stream()[..4], [0, 0, 0, 15]);
        queue.advance(4);
        assert_eq!(queue.len(), 15);
        queue.advance(100);
        assert!(queue.is_empty());
    }

    #[test]
    fn half_a_header_is_none() {
        assert_eq!(Header::parse(&[0; 13]), None);
        assert!(Header::parse(&[0; 14]).is_some());
    }
}
