//! The send buffer: the bytes from SND.UNA on, in the chunks in which they were written.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use ropeway_packet::{Payload, SeqNum};

use super::chunk::SHARE_FROM;
use super::slabs::{SLAB, Slabs};

/// Small writes share a chunk of this size, so that a byte-wise writer costs no allocation per byte.
const SMALL_CHUNK: usize = 2048;

/// Likewise, when memory is scarce.
const TIGHT_CHUNK: usize = 512;

/// A queue of chunks begins with so many places.
const FIRST_PLACES: usize = 4;

/// A request or an answer, as a rule, is written at once, and acknowledged before the next.
const LONE_CHUNK: usize = 64;

/// Such a message: its bytes and what counts its users are one allocation.
struct Lone {
    bytes: [u8; LONE_CHUNK],
    len: usize,
}

impl Lone {
    fn copy_of(data: &[u8]) -> Option<Bytes> {
        let mut lone = Self { bytes: [0; LONE_CHUNK], len: data.len() };
        lone.bytes.get_mut(..data.len())?.copy_from_slice(data);
        Some(Bytes::from_owner(lone))
    }
}

impl AsRef<[u8]> for Lone {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// What counts the parts of a chunk's memory.
const OWNER: usize = 64;

/// Bytes written and not acknowledged yet. A retransmission shares the very bytes of the first transmission.
#[derive(Clone, Debug)]
pub(crate) struct SendBuffer {
    /// Sequence number of the first byte held.
    base: SeqNum,
    len: usize,
    /// An empty buffer costs nothing.
    held: Option<Box<Held>>,
}

/// The chunks, found by where they stand in the stream.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    chunks: VecDeque<Chunk>,
    /// The true sizes of the chunks, as far as known.
    true_size: usize,
    /// The newest bytes, still growing.
    tail: BytesMut,
    /// They lie in a slab.
    tail_in_slab: bool,
    /// Where the first byte that is not acknowledged stands in the stream, and where the tail begins.
    first: u64,
    tail_start: u64,
}

#[derive(Clone, Debug)]
struct Chunk {
    start: u64,
    bytes: Bytes,
    /// What it keeps alive, as far as known.
    true_size: u32,
    /// It lies in a slab.
    in_slab: bool,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl Held {
    fn push(&mut self, bytes: Bytes, true_size: u32, in_slab: bool) {
        let start = self.tail_start;
        self.tail_start += bytes.len() as u64;
        self.true_size += true_size as usize;
        self.chunks.push_back(Chunk { start, bytes, true_size, in_slab });
    }

    fn pop(&mut self, slabs: &mut Slabs) {
        if let Some(gone) = self.chunks.pop_front() {
            self.true_size -= gone.true_size as usize;
            if gone.in_slab {
                slabs.take_back(gone.bytes);
            }
        }
    }

    /// What the tail has becomes a chunk, and the tail goes on behind it.
    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            let sealed = self.tail.split().freeze();
            let len = length_u32(sealed.len());
            self.push(sealed, len, self.tail_in_slab);
        }
    }

    /// The tail ends. What is left of its memory stays with its last chunk.
    fn end_tail(&mut self) {
        let rest = self.tail.capacity() - self.tail.len();
        self.seal_tail();
        self.tail = BytesMut::new();
        if let Some(last) = self.chunks.back_mut() {
            last.true_size += length_u32(rest);
            self.true_size += rest;
        }
    }

    /// Nothing is held any more. Only a few places are left.
    fn clear(&mut self, slabs: &mut Slabs) {
        if self.tail_in_slab {
            self.seal_tail();
            (self.tail, self.tail_in_slab) = (BytesMut::new(), false);
        }
        while !self.chunks.is_empty() {
            self.pop(slabs);
        }
        if self.chunks.capacity() > FIRST_PLACES || self.tail.capacity() > 0 {
            *self = Self::default();
        } else {
            (self.first, self.tail_start) = (0, 0);
        }
    }

    fn memory(&self) -> usize {
        let queue = self.chunks.len() * OWNER + self.chunks.capacity() * size_of::<Chunk>();
        size_of::<Self>() + self.true_size + queue + self.tail.capacity()
    }

    /// What so many more chunks cost besides their bytes.
    fn next_places(&self, more: usize) -> usize {
        let doubles = self.chunks.len() + more > self.chunks.capacity();
        let places = if doubles { self.chunks.capacity().max(FIRST_PLACES) } else { 0 };
        more * OWNER + places * size_of::<Chunk>()
    }
}

impl SendBuffer {
    pub(crate) fn new(base: SeqNum) -> Self {
        Self { base, len: 0, held: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory that is held: bytes, what is known that they keep alive besides, and bookkeeping.
    pub(crate) fn memory(&self) -> usize {
        self.held.as_ref().filter(|_| self.len > 0).map_or(0, |held| held.memory())
    }

    /// Whether it has no queue for chunks.
    pub(crate) fn is_bare(&self) -> bool {
        self.held.is_none()
    }

    /// It gets an empty queue.
    pub(crate) fn give(&mut self, empty: Box<Held>) {
        self.held = Some(empty);
    }

    /// Gives the queue of an empty buffer back.
    #[inline]
    pub(crate) fn take_empty(&mut self) -> Option<Box<Held>> {
        if self.len == 0 { self.held.take() } else { None }
    }

    /// The sequence number after the last byte: where a FIN goes.
    pub(crate) fn end(&self) -> SeqNum {
        self.base + length_u32(self.len)
    }

    /// How many bytes a tight push can take, so that all takes no more than `limit` bytes of memory.
    pub(crate) fn tight_room(&self, limit: usize) -> usize {
        let none = Held::default();
        let held = self.held.as_deref().unwrap_or(&none);
        let Some(left) = limit.checked_sub(held.memory()) else { return 0 };
        // The tail ends, and what follows it will.
        let more = left.saturating_sub(held.next_places(2));
        held.tail.capacity() - held.tail.len() + if more < TIGHT_CHUNK { 0 } else { more }
    }

    /// Appends a copy of `data`. `tight`: it takes as little memory as it can, if in more pieces. Bulk goes to slabs, if there is
    /// enough memory for what they may leave empty.
    pub(crate) fn push_slice(&mut self, data: &[u8], tight: bool, slabs: Option<&mut Slabs>) {
        if data.is_empty() {
            return;
        }
        let held = self.held.get_or_insert_default();
        if self.len == 0
            && !tight
            && let Some(lone) = Lone::copy_of(data)
        {
            held.push(lone, length_u32(size_of::<Lone>()), false);
            self.len = data.len();
            return;
        }
        let mut slabs = slabs.filter(|_| !tight && self.len + data.len() >= SLAB);
        let room = held.tail.capacity() - held.tail.len();
        let fits = if tight || slabs.is_some() || room >= data.len() { room.min(data.len()) } else { 0 };
        let (now, mut rest) = data.split_at(fits);
        held.tail.extend_from_slice(now);
        while !rest.is_empty() {
            held.end_tail();
            // A lone write gets a chunk of its size, a stream of small ones a roomy one.
            let least = match (tight, self.len) {
                (true, _) => TIGHT_CHUNK,
                (false, 0..=LONE_CHUNK) => LONE_CHUNK,
                (false, _) => SMALL_CHUNK,
            };
            held.tail_in_slab = slabs.is_some();
            held.tail = match &mut slabs {
                Some(slabs) => slabs.lend(),
                None => BytesMut::with_capacity(rest.len().max(least)),
            };
            let (next, later) = rest.split_at(rest.len().min(held.tail.capacity()));
            held.tail.extend_from_slice(next);
            rest = later;
        }
        self.len += data.len();
    }

    /// Appends `data` without copying it, unless it is short: nobody knows how much it would keep alive.
    pub(crate) fn push_bytes(&mut self, data: Bytes, tight: bool, slabs: Option<&mut Slabs>) {
        if data.len() < SHARE_FROM {
            self.push_slice(&data, tight, slabs);
            return;
        }
        self.len += data.len();
        let held = self.held.get_or_insert_default();
        held.seal_tail();
        let len = length_u32(data.len());
        held.push(data, len, false);
    }

    // RFC 6675 4-7
    /// Lets go of everything before `una`, and of nothing that was only reported by SACK (RFC 2018 8-2), at a step for each chunk that goes.
    pub(crate) fn acknowledge(&mut self, una: SeqNum, slabs: &mut Slabs) {
        let gone = (una.since(self.base) as usize).min(self.len);
        self.base += length_u32(gone);
        self.len -= gone;
        if self.len == 0 {
            if let Some(held) = &mut self.held {
                held.clear(slabs);
            }
            return;
        }
        let Some(held) = &mut self.held else { return };
        held.first += gone as u64;
        if held.first > held.tail_start {
            held.seal_tail();
        }
        while held.chunks.front().is_some_and(|chunk| chunk.end() <= held.first) {
            held.pop(slabs);
        }
    }

    /// Up to `len` bytes from `seq` on, shared with the buffer: one search, and a step for each chunk in it.
    pub(crate) fn slice(&mut self, seq: SeqNum, len: usize) -> Payload {
        let offset = seq.since(self.base) as usize;
        let mut wanted = len.min(self.len.saturating_sub(offset));
        let mut payload = Payload::new();
        let Some(held) = self.held.as_mut().filter(|_| wanted > 0) else { return payload };
        let mut at = held.first + offset as u64;
        if at + wanted as u64 > held.tail_start {
            held.seal_tail();
        }
        let index = held.chunks.partition_point(|chunk| chunk.end() <= at);
        for chunk in held.chunks.range(index..) {
            let skip = usize::try_from(at - chunk.start).unwrap_or(usize::MAX).min(chunk.bytes.len());
            let take = wanted.min(chunk.bytes.len() - skip);
            payload.push(chunk.bytes.slice(skip..skip + take));
            wanted -= take;
            at += take as u64;
            if wanted == 0 {
                break;
            }
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
        let slabs = &mut Slabs::new(usize::MAX);
        let mut buffer = SendBuffer::new(SeqNum::new(u32::MAX - 3));
        buffer.push_slice(b"abcde", false, Some(slabs));
        buffer.push_bytes(Bytes::from_static(b"fgh"), false, Some(slabs));
        buffer.push_slice(b"ij", true, Some(slabs));
        let base = SeqNum::new(u32::MAX - 3);
        assert_eq!(buffer.slice(base + 3, 6).to_vec(), b"defghi");
        buffer.acknowledge(base + 6, slabs);
        assert_eq!(buffer.len(), 4);
        assert_eq!(buffer.slice(base + 6, 100).to_vec(), b"ghij");
        assert_eq!(buffer.end(), base + 10);
        buffer.acknowledge(base + 10, slabs);
        assert!(buffer.is_empty());
        assert!(buffer.slice(base + 10, 1).is_empty());
    }

    #[test]
    fn a_short_slice_of_much_keeps_none_of_it_alive() {
        for (len, shares) in [(1, false), (SHARE_FROM - 1, false), (SHARE_FROM, true)] {
            let much = Bytes::from(vec![7; 64 * 1024]);
            let slabs = &mut Slabs::new(usize::MAX);
            let mut buffer = SendBuffer::new(SeqNum::new(1));
            buffer.push_bytes(much.slice(10..10 + len), false, Some(slabs));
            assert_eq!(!much.is_unique(), shares, "{len} bytes");
            assert_eq!(buffer.slice(SeqNum::new(1), len).to_vec(), vec![7; len]);
        }
    }

    proptest! {
        /// Against the obvious reference: one flat vector.
        #[test]
        fn behaves_like_a_flat_vector(ops in prop::collection::vec((0u8..5, 0usize..5000), 1..60)) {
            let mut seq = SeqNum::new(u32::MAX - 1000);
            let slabs = &mut Slabs::new(usize::MAX);
            let mut buffer = SendBuffer::new(seq);
            let mut flat: Vec<u8> = Vec::new();
            let mut counter = 0u8;
            for (op, n) in ops {
                let data: Vec<u8> = (0..n).map(|_| { counter = counter.wrapping_add(1); counter }).collect();
                match op {
                    0 => { buffer.push_slice(&data, n % 2 == 0, Some(slabs)); flat.extend(&data); }
                    1 => { buffer.push_bytes(Bytes::from(data.clone()), n % 2 == 0, Some(slabs)); flat.extend(&data); }
                    // Within what it may take at the least.
                    4 => {
                        let limit = 3584.max(buffer.memory());
                        let fits = n.min(buffer.tight_room(limit));
                        prop_assert!(!flat.is_empty() || fits >= n.min(2048));
                        buffer.push_slice(&data[..fits], true, Some(slabs));
                        flat.extend(&data[..fits]);
                        prop_assert!(buffer.memory() <= limit);
                    }
                    2 => {
                        let gone = n.min(flat.len());
                        seq += u32::try_from(gone).unwrap();
                        buffer.acknowledge(seq, slabs);
                        flat.drain(..gone);
                    }
                    _ => {
                        let from = if flat.is_empty() { 0 } else { n % flat.len() };
                        let got = buffer.slice(seq + u32::try_from(from).unwrap(), 1448).to_vec();
                        prop_assert_eq!(&got[..], &flat[from..flat.len().min(from + 1448)]);
                    }
                }
                let known = buffer.held.as_ref().map_or(0, |held| held.chunks.iter().map(|chunk| chunk.true_size as usize).sum());
                prop_assert_eq!(buffer.held.as_ref().map_or(0, |held| held.true_size), known);
                prop_assert!(buffer.memory() >= buffer.len() && (buffer.memory() == 0) == flat.is_empty());
                prop_assert_eq!(buffer.len(), flat.len());
                prop_assert_eq!(buffer.end(), seq + u32::try_from(flat.len()).unwrap());
            }
        }
    }
}
