//! The receive buffer: bytes in order that the application has not read yet.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use ropeway_packet::Payload;

use super::chunk::{Chunk, SHARE_FROM};
use super::send::length_u32;

/// What counts the parts of a chunk's memory, and the allocator's share.
const OWNER: usize = 64;

/// What a chunk costs besides the memory that its bytes lie in: an owner of that, and two places in the queue, which
/// doubles when it is full.
const CHUNK_OVERHEAD: usize = OWNER + 2 * size_of::<Chunk>();

/// Copies are put together in pieces of this size.
const SMALL_CHUNK: usize = 2048;

/// Likewise, when memory is scarce.
const TIGHT_CHUNK: usize = 512;

/// A queue of chunks begins with so many places.
const FIRST_PLACES: usize = 4;

/// A tail with no more room than this is as good as full.
const NEARLY_FULL: usize = 128;

/// From so many bytes on that the first chunk keeps alive for nothing, it may be copied.
const COMPACT_FROM: usize = 4096;

/// When memory is scarce, all is copied from so many bytes of memory on that are not bytes of the stream, if it is no more than
/// this.
const COMPACT_ALL_FROM: usize = 1024;
const COMPACT_MOST: usize = 16 * 1024;

/// Bytes in order, unread, and how much memory they take. Large payloads are slices of the packets they came in, as long
/// as these are not much larger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceiveBuffer {
    len: usize,
    /// An empty buffer costs nothing.
    held: Option<Box<Held>>,
}

/// What is there, piece by piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    chunks: VecDeque<Chunk>,
    /// The true sizes of the chunks.
    true_size: usize,
    /// What was copied, put together; it follows the chunks, and shares its memory with none of them.
    tail: BytesMut,
}

impl Held {
    fn memory(&self) -> usize {
        let queue = self.chunks.len() * OWNER + self.chunks.capacity() * size_of::<Chunk>();
        size_of::<Self>() + self.true_size + queue + self.tail.capacity()
    }

    /// What one more chunk costs besides its bytes.
    fn next_place(&self) -> usize {
        let doubles = self.chunks.len() == self.chunks.capacity();
        let places = if doubles { self.chunks.capacity().max(FIRST_PLACES) } else { 0 };
        OWNER + places * size_of::<Chunk>()
    }

    #[inline]
    fn append(&mut self, chunk: Chunk) {
        if !self.tail.is_empty() {
            self.seal_tail();
        }
        self.true_size += chunk.true_size();
        self.chunks.push_back(chunk);
    }

    /// Ends the tail, so that something can follow. What is not full is copied once more, and its memory used again.
    fn seal_tail(&mut self) {
        if self.tail.capacity() - self.tail.len() <= NEARLY_FULL {
            self.freeze_tail();
            return;
        }
        let chunk = Chunk::copy_of(&self.tail);
        self.tail.clear();
        self.true_size += chunk.true_size();
        self.chunks.push_back(chunk);
    }

    /// The tail becomes a chunk as it is.
    fn freeze_tail(&mut self) {
        let tail = std::mem::take(&mut self.tail);
        let true_size = length_u32(tail.capacity());
        let chunk = Chunk::new(tail.freeze(), Some(true_size));
        if !chunk.is_empty() {
            self.true_size += chunk.true_size();
            self.chunks.push_back(chunk);
        }
    }

    /// Copies `data` to the tail. A new tail has room for `room` bytes, or for what is left of `data`.
    fn copy(&mut self, data: &[u8], room: usize) {
        let fits = data.len().min(self.tail.capacity() - self.tail.len());
        let (now, rest) = data.split_at(fits);
        self.tail.extend_from_slice(now);
        if !rest.is_empty() {
            self.freeze_tail();
            self.tail = BytesMut::with_capacity(room.max(rest.len()));
            self.tail.extend_from_slice(rest);
        }
    }

    /// Nothing is held any more. Only a few places are left.
    fn clear(&mut self) {
        if self.chunks.capacity() > FIRST_PLACES || self.tail.capacity() > 0 {
            *self = Self::default();
        } else {
            self.chunks.clear();
            self.true_size = 0;
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        let first = self.chunks.pop_front()?;
        self.true_size -= first.true_size();
        Some(first.into_bytes())
    }
}

impl ReceiveBuffer {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory that is held: bytes, what they keep alive besides, and bookkeeping.
    #[inline]
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

    /// Appends `data`. It is held as it is if that is worth it, and costs at most `spare` bytes besides its own; otherwise it
    /// is copied.
    pub(crate) fn push(&mut self, data: Chunk, spare: usize) {
        self.len += data.len();
        let held = self.held.get_or_insert_default();
        if data.is_worth_sharing(CHUNK_OVERHEAD, spare) {
            held.append(data);
        } else if self.len == data.len() {
            // A lone payload gets a buffer of its size, a stream of small ones a roomy one.
            held.append(Chunk::copy_of(data.bytes()));
        } else {
            let room = if self.len < SHARE_FROM { data.len().max(64) } else { SMALL_CHUNK };
            held.copy(data.bytes(), room);
        }
    }

    /// Appends a copy of `data` that takes little more memory than the bytes.
    pub(crate) fn push_tight(&mut self, data: &Chunk) {
        self.len += data.len();
        self.held.get_or_insert_default().copy(data.bytes(), TIGHT_CHUNK);
    }

    /// How many bytes `push_tight` can take, so that all takes no more than `limit` bytes of memory.
    pub(crate) fn tight_room(&self, limit: usize) -> usize {
        let none = Held::default();
        let held = self.held.as_deref().unwrap_or(&none);
        let Some(left) = limit.checked_sub(held.memory()) else { return 0 };
        let more = left.saturating_sub(held.next_place());
        held.tail.capacity() - held.tail.len() + if more < TIGHT_CHUNK { 0 } else { more }
    }

    /// Appends what was held beyond a gap. Room for it was found then.
    pub(crate) fn append(&mut self, data: Chunk, tight: bool) {
        if data.len() >= SHARE_FROM {
            self.len += data.len();
            self.held.get_or_insert_default().append(data);
        } else if tight {
            self.push_tight(&data);
        } else {
            self.push(data, 0);
        }
    }

    /// Copies all of it to one chunk of its own, if that lets go of much. Says whether it did.
    pub(crate) fn compact(&mut self) -> bool {
        if self.memory().saturating_sub(self.len) < COMPACT_ALL_FROM || self.len > COMPACT_MOST {
            return false;
        }
        let all = Chunk::from_vec(self.take(usize::MAX).to_vec());
        self.len = all.len();
        self.held.get_or_insert_default().append(all);
        true
    }

    /// Copies what is left of the first chunk, at most a packet, if that lets go of much. Says whether it did.
    pub(crate) fn compact_first(&mut self) -> bool {
        let Some(held) = &mut self.held else { return false };
        let Some(first) = held.chunks.front_mut() else { return false };
        if first.true_size().saturating_sub(first.len()) < COMPACT_FROM {
            return false;
        }
        held.true_size -= first.true_size();
        *first = Chunk::copy_of(first.bytes());
        held.true_size += first.true_size();
        true
    }

    /// Moves up to `max` bytes out.
    pub(crate) fn take(&mut self, max: usize) -> Payload {
        let mut wanted = max.min(self.len);
        self.len -= wanted;
        let mut payload = Payload::new();
        let Some(held) = self.held.as_mut().filter(|_| wanted > 0) else { return payload };
        while wanted > 0 {
            if held.chunks.is_empty() {
                if held.tail.len() <= wanted {
                    // A lone message needs no place in the queue.
                    payload.push(std::mem::take(&mut held.tail).freeze());
                    break;
                }
                held.freeze_tail();
            }
            let Some(first) = held.chunks.front_mut() else { break };
            if first.len() > wanted {
                payload.push(first.split_to(wanted));
                break;
            }
            wanted -= first.len();
            payload.extend(held.pop());
        }
        if self.len == 0 {
            held.clear();
        }
        payload
    }

    /// Copies what is there, as much as fits, without taking it.
    pub(crate) fn peek(&self, mut out: &mut [u8]) -> usize {
        let mut copied = 0;
        let Some(held) = &self.held else { return 0 };
        for chunk in held.chunks.iter().map(|chunk| &chunk.bytes()[..]).chain([&held.tail[..]]) {
            let n = chunk.len().min(out.len());
            let (head, rest) = out.split_at_mut(n);
            head.copy_from_slice(chunk.get(..n).unwrap_or_default());
            out = rest;
            copied += n;
        }
        copied
    }

    /// Forgets everything; says how much it was.
    pub(crate) fn clear(&mut self) -> usize {
        let len = self.len;
        *self = Self::default();
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keeps_much_more_than_itself_alive_is_copied() {
        let held = |len: usize, true_size: Option<u32>, spare| {
            let packet = Bytes::from(vec![7u8; 64 * 1024]);
            let mut buffer = ReceiveBuffer::default();
            buffer.push(Chunk::new(packet.slice(100..100 + len), true_size), spare);
            assert_eq!(buffer.len(), len);
            assert!(buffer.memory() >= len);
            !packet.is_unique()
        };
        let spare = 10_000;
        assert!(held(1460, Some(1536), spare));
        assert!(held(SHARE_FROM, Some(564), spare));
        assert!(!held(10, Some(64), spare), "ten bytes are better together with others");
        assert!(!held(1460, Some(64 * 1024), spare), "a packet must not pin 64 KiB");
        assert!(!held(1460, None, spare), "nor what nobody knows");
        assert!(!held(1460, Some(1536), 100), "there is no room for what it has besides");
    }

    #[test]
    fn the_rest_of_a_long_packet_is_copied_under_pressure() {
        let packet = Bytes::from(vec![7u8; 64 * 1024]);
        let mut buffer = ReceiveBuffer::default();
        buffer.push(Chunk::new(packet.clone(), Some(64 * 1024)), usize::MAX);
        assert!(!buffer.compact_first(), "all of it is held");
        buffer.take(packet.len() - 100);
        assert!(buffer.memory() > packet.len());
        assert!(buffer.compact_first());
        assert!(packet.is_unique() && buffer.memory() < 1000);
        assert_eq!((buffer.len(), buffer.take(1000).len()), (100, 100));
    }

    /// What is pushed, whether as it is or as a copy, and taken again costs what it says.
    #[test]
    fn memory_is_what_the_chunks_add_up_to() {
        let mut buffer = ReceiveBuffer::default();
        for n in 0..200usize {
            buffer.push(Chunk::copy_of(&vec![7; 1 + n * 13 % 900]), if n % 3 == 0 { 0 } else { usize::MAX });
            buffer.append(Chunk::copy_of(&vec![7; 1 + n * 29 % 700]), n % 2 == 0);
            buffer.take(n * 11 % 1000);
            let held = buffer.held.as_ref().unwrap();
            assert_eq!(held.true_size, held.chunks.iter().map(Chunk::true_size).sum());
            assert_eq!(buffer.len, held.chunks.iter().map(Chunk::len).sum::<usize>() + held.tail.len());
        }
        buffer.take(usize::MAX);
        assert_eq!(buffer.memory(), 0);
    }

    /// The promise of a small window is kept whatever the segments, and whatever is half read: see `Floor`.
    #[test]
    fn what_there_is_room_for_takes_no_more_than_the_limit() {
        let (floor, limit) = (2048, 3584);
        for len in [1, 7, 100, 511, 512, 513, 700, 1400, 2048] {
            for before in [None, Some((1, 64 * 1024)), Some((600, 1200)), Some((1400, 1536))] {
                let mut buffer = ReceiveBuffer::default();
                if let Some((len, true_size)) = before {
                    buffer.push(Chunk::new(Bytes::from(vec![7; len]), Some(true_size)), usize::MAX);
                }
                let (mut taken, mut reads) = (buffer.len(), 0);
                while taken < 20_000 {
                    let wanted = len.min(floor - buffer.len().min(floor));
                    assert!(buffer.tight_room(limit) >= wanted || buffer.compact(), "{} bytes", buffer.len());
                    assert!(buffer.tight_room(limit) >= wanted, "{wanted} beside {} bytes", buffer.len());
                    let fits = len.min(buffer.tight_room(limit));
                    buffer.push_tight(&Chunk::copy_of(&vec![7; fits]));
                    assert!(buffer.memory() <= limit, "{} bytes with {}", buffer.memory(), buffer.len());
                    taken += fits;
                    reads += usize::from(fits < len);
                    if fits < len {
                        buffer.take(reads * 101 % 1000);
                    }
                }
            }
        }
    }

    #[test]
    fn all_is_copied_when_that_lets_go_of_much() {
        let packet = Bytes::from(vec![7u8; 3000]);
        let mut buffer = ReceiveBuffer::default();
        buffer.push(Chunk::new(packet.clone(), Some(3000)), usize::MAX);
        buffer.push(Chunk::copy_of(&[8; 10]), usize::MAX);
        buffer.take(2000);
        assert!(buffer.compact() && packet.is_unique() && !buffer.compact());
        assert_eq!(buffer.take(usize::MAX).to_vec(), [vec![7; 1000], vec![8; 10]].concat());
    }

    #[test]
    fn peek_sees_what_take_gives() {
        let mut buffer = ReceiveBuffer::default();
        let mut all = Vec::new();
        for n in [1usize, 600, 3, 700, 2] {
            let piece: Vec<u8> = (0..n).map(|i| u8::try_from((i + n) % 251).unwrap()).collect();
            all.extend(&piece);
            buffer.push(Chunk::from_vec(piece), usize::MAX);
        }
        let mut seen = vec![0; 2000];
        assert_eq!(buffer.peek(&mut seen), all.len());
        assert_eq!(&seen[..all.len()], &all[..]);
        let mut taken = Vec::new();
        while !buffer.is_empty() {
            let part = buffer.take(577);
            assert!(part.len() <= 577);
            taken.extend(part.to_vec());
        }
        assert_eq!(taken, all);
    }
}
