//! The receive buffer: bytes in order that the application has not read yet.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use ropeway_packet::Payload;

/// Payloads shorter than this are copied out of their packet: a few bytes must not pin a whole slab.
pub(crate) const SHARE_FROM: usize = 512;
const SMALL_CHUNK: usize = 2048;

/// Bytes in order, unread. Large payloads are slices of the packets they came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ReceiveBuffer {
    len: usize,
    /// An empty buffer costs nothing.
    held: Option<Box<Held>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Held {
    chunks: VecDeque<Bytes>,
    /// Small payloads, copied together; they follow the chunks.
    tail: BytesMut,
}

impl Held {
    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
    }
}

impl ReceiveBuffer {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn push(&mut self, data: Bytes) {
        self.len += data.len();
        // A lone small payload gets a buffer of its size, a stream of them a roomy one.
        let room = if self.len < SHARE_FROM { data.len().max(64) } else { SMALL_CHUNK };
        let held = self.held.get_or_insert_default();
        if data.len() >= SHARE_FROM {
            held.seal_tail();
            held.chunks.push_back(data);
            return;
        }
        if held.tail.capacity() - held.tail.len() < data.len() {
            held.seal_tail();
            held.tail = BytesMut::with_capacity(room);
        }
        held.tail.extend_from_slice(&data);
    }

    /// Moves up to `max` bytes out.
    pub(crate) fn take(&mut self, max: usize) -> Payload {
        let mut wanted = max.min(self.len);
        self.len -= wanted;
        let mut payload = Payload::new();
        let Some(held) = self.held.as_mut().filter(|_| wanted > 0) else { return payload };
        held.seal_tail();
        while wanted > 0 {
            let Some(first) = held.chunks.front_mut() else { break };
            if first.len() > wanted {
                payload.push(first.split_to(wanted));
                break;
            }
            wanted -= first.len();
            if let Some(first) = held.chunks.pop_front() {
                payload.push(first);
            }
        }
        if self.len == 0 {
            self.held = None;
        }
        payload
    }

    /// Copies what is there, as much as fits, without taking it.
    pub(crate) fn peek(&self, mut out: &mut [u8]) -> usize {
        let mut copied = 0;
        let Some(held) = &self.held else { return 0 };
        for chunk in held.chunks.iter().map(|chunk| &chunk[..]).chain([&held.tail[..]]) {
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

/// The first `n` bytes of `data`, without the rest; and `data` without them.
pub(crate) fn skip(mut data: Bytes, n: usize) -> Bytes {
    data.advance(n.min(data.len()));
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_payloads_are_copied_out_of_their_packet() {
        let packet = Bytes::from(vec![7u8; 64 * 1024]);
        let mut buffer = ReceiveBuffer::default();
        buffer.push(packet.slice(100..110));
        assert!(packet.is_unique(), "ten bytes must not pin 64 KiB");
        buffer.push(packet.slice(..SHARE_FROM));
        assert!(!packet.is_unique());
    }

    #[test]
    fn peek_sees_what_take_gives() {
        let mut buffer = ReceiveBuffer::default();
        let mut all = Vec::new();
        for n in [1usize, 600, 3, 700, 2] {
            let piece: Vec<u8> = (0..n).map(|i| u8::try_from((i + n) % 251).unwrap()).collect();
            all.extend(&piece);
            buffer.push(Bytes::from(piece));
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
