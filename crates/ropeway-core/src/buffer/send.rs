//! The send buffer: the bytes from SND.UNA on, in the chunks in which they were written.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use ropeway_packet::{Payload, SeqNum};

/// Small writes share a chunk of this size, so that a byte-wise writer costs no allocation per byte.
const SMALL_CHUNK: usize = 2048;

/// Bytes written and not acknowledged yet. A retransmission shares the very bytes of the first transmission.
#[derive(Clone, Debug)]
pub(crate) struct SendBuffer {
    /// Sequence number of the first byte held.
    base: SeqNum,
    len: usize,
    /// Bytes of the first chunk that have been acknowledged.
    chunks: VecDeque<Bytes>,
    /// The newest bytes, still growing.
    tail: BytesMut,
    /// Where the last `slice` started, so that sending in order does not search from the front:
    /// index of a chunk and the offset of its first byte from `base`.
    cursor: (usize, usize),
}

impl SendBuffer {
    pub(crate) fn new(base: SeqNum) -> Self {
        Self { base, len: 0, chunks: VecDeque::new(), tail: BytesMut::new(), cursor: (0, 0) }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The sequence number after the last byte: where a FIN goes.
    pub(crate) fn end(&self) -> SeqNum {
        self.base + length_u32(self.len)
    }

    /// Appends a copy of `data`.
    pub(crate) fn push_slice(&mut self, data: &[u8]) {
        if self.tail.capacity() - self.tail.len() < data.len() {
            self.seal_tail();
            self.tail = BytesMut::with_capacity(data.len().max(SMALL_CHUNK));
        }
        self.tail.extend_from_slice(data);
        self.len += data.len();
    }

    /// Appends `data` without copying it.
    pub(crate) fn push_bytes(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        self.seal_tail();
        self.len += data.len();
        self.chunks.push_back(data);
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
    }

    /// Lets go of everything before `una`.
    pub(crate) fn acknowledge(&mut self, una: SeqNum) {
        let mut gone = (una.since(self.base) as usize).min(self.len);
        self.base += length_u32(gone);
        self.len -= gone;
        self.cursor = (0, 0);
        if self.len == 0 {
            self.chunks.clear();
            self.tail = BytesMut::new();
            return;
        }
        self.seal_tail();
        while gone > 0 {
            let Some(first) = self.chunks.front_mut() else { break };
            if first.len() > gone {
                bytes::Buf::advance(first, gone);
                break;
            }
            gone -= first.len();
            self.chunks.pop_front();
        }
    }

    /// Up to `len` bytes from `seq` on, shared with the buffer.
    pub(crate) fn slice(&mut self, seq: SeqNum, len: usize) -> Payload {
        let offset = seq.since(self.base) as usize;
        let mut wanted = len.min(self.len.saturating_sub(offset));
        let mut payload = Payload::new();
        if wanted == 0 {
            return payload;
        }
        self.seal_tail();
        let (mut index, mut start) = if self.cursor.1 <= offset { self.cursor } else { (0, 0) };
        while let Some(chunk) = self.chunks.get(index) {
            let end = start + chunk.len();
            if end > offset {
                self.cursor = (index, start);
                break;
            }
            start = end;
            index += 1;
        }
        let mut skip = offset - start;
        for chunk in self.chunks.range(index.min(self.chunks.len())..) {
            let take = wanted.min(chunk.len() - skip);
            payload.push(chunk.slice(skip..skip + take));
            wanted -= take;
            if wanted == 0 {
                break;
            }
            skip = 0;
        }
        payload
    }
}

/// Buffers never hold more than the sequence space.
pub(crate) fn length_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn slices_cross_chunks_and_survive_acknowledgement() {
        let mut buffer = SendBuffer::new(SeqNum::new(u32::MAX - 3));
        buffer.push_slice(b"abcde");
        buffer.push_bytes(Bytes::from_static(b"fgh"));
        buffer.push_slice(b"ij");
        let base = SeqNum::new(u32::MAX - 3);
        assert_eq!(buffer.slice(base + 3, 6).to_vec(), b"defghi");
        buffer.acknowledge(base + 6);
        assert_eq!(buffer.len(), 4);
        assert_eq!(buffer.slice(base + 6, 100).to_vec(), b"ghij");
        assert_eq!(buffer.end(), base + 10);
        buffer.acknowledge(base + 10);
        assert!(buffer.is_empty());
        assert!(buffer.slice(base + 10, 1).is_empty());
    }

    proptest! {
        /// Against the obvious reference: one flat vector.
        #[test]
        fn behaves_like_a_flat_vector(ops in prop::collection::vec((0u8..4, 0usize..5000), 1..60)) {
            let mut seq = SeqNum::new(u32::MAX - 1000);
            let mut buffer = SendBuffer::new(seq);
            let mut flat: Vec<u8> = Vec::new();
            let mut counter = 0u8;
            for (op, n) in ops {
                let data: Vec<u8> = (0..n).map(|_| { counter = counter.wrapping_add(1); counter }).collect();
                match op {
                    0 => { buffer.push_slice(&data); flat.extend(&data); }
                    1 => { buffer.push_bytes(Bytes::from(data.clone())); flat.extend(&data); }
                    2 => {
                        let gone = n.min(flat.len());
                        seq += u32::try_from(gone).unwrap();
                        buffer.acknowledge(seq);
                        flat.drain(..gone);
                    }
                    _ => {
                        let from = if flat.is_empty() { 0 } else { n % flat.len() };
                        let got = buffer.slice(seq + u32::try_from(from).unwrap(), 1448).to_vec();
                        prop_assert_eq!(&got[..], &flat[from..flat.len().min(from + 1448)]);
                    }
                }
                prop_assert_eq!(buffer.len(), flat.len());
                prop_assert_eq!(buffer.end(), seq + u32::try_from(flat.len()).unwrap());
            }
        }
    }
}
