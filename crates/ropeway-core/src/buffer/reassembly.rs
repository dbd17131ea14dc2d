//! Segments that arrived beyond a gap, kept until it closes (RFC 9293 3.10.7.4 SHLD-31).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use ropeway_packet::SeqNum;

use super::receive::{SHARE_FROM, skip};
use super::send::length_u32;

/// What one piece costs besides its bytes, in two trees and an allocation of its own. It counts against the memory limit, so
/// that a sender of single bytes with gaps between them cannot make us spend more than twice its window.
const PIECE_OVERHEAD: usize = 96;

/// What became of bytes that were to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Insertion {
    /// All of them are held now.
    pub(crate) kept: bool,
    /// The whole block in which the first of them are, if they are held.
    pub(crate) block: Option<(SeqNum, SeqNum)>,
    /// The first of them that were held before.
    pub(crate) repeated: Option<(SeqNum, SeqNum)>,
}

/// What is held of the stream: every step costs O(log n).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reassembly {
    /// The bytes, by where they begin. None overlap.
    pieces: BTreeMap<Place, Bytes>,
    /// The blocks that they make, with a gap before each: where it begins, and where it ends.
    blocks: BTreeMap<Place, SeqNum>,
    buffered: usize,
}

/// A place in the stream. All that are compared lie in one window, so in half of the sequence space, and are in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(SeqNum);

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        match self.0 {
            seq if seq == other.0 => Ordering::Equal,
            seq if seq.before(other.0) => Ordering::Less,
            _ => Ordering::Greater,
        }
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Reassembly {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes of the stream that are held.
    #[cfg(test)]
    pub(crate) fn buffered(&self) -> usize {
        self.buffered
    }

    /// Memory that is held: bytes and bookkeeping.
    pub(crate) fn allocated(&self) -> usize {
        self.buffered + self.pieces.len() * PIECE_OVERHEAD
    }

    /// Keeps those bytes of `data` that are not held yet, as far as `limit` allows, which bounds the memory allocated.
    pub(crate) fn insert(&mut self, start: SeqNum, mut data: Bytes, limit: usize) -> Insertion {
        let end = start + length_u32(data.len());
        let (mut at, mut repeated) = (start, None);
        while at.before(end) {
            if let Some(held_to) = self.held_from(at) {
                // The first copy stays.
                let to = held_to.min(end);
                repeated.get_or_insert((at, to));
                data = skip(data, to.since(at) as usize);
                at = to;
                continue;
            }
            let to = self.blocks.range(Place(at)..).next().map_or(end, |(next, _)| next.0.min(end));
            let len = to.since(at) as usize;
            if self.allocated() + len + PIECE_OVERHEAD > limit {
                break;
            }
            let rest = data.split_off(len);
            self.store(at, data);
            (at, data) = (to, rest);
        }
        let block = at.after(start).then(|| self.join(start, at));
        Insertion { kept: at == end, block, repeated }
    }

    /// Up to where the stream is held from `at` on, if that byte is.
    fn held_from(&self, at: SeqNum) -> Option<SeqNum> {
        let (_, end) = self.blocks.range(..=Place(at)).next_back()?;
        end.after(at).then_some(*end)
    }

    /// Where the block begins that ends at `end`, if there is one.
    pub(crate) fn start_of(&self, end: SeqNum) -> Option<SeqNum> {
        let (start, last) = self.blocks.range(..Place(end)).next_back()?;
        (*last == end).then_some(start.0)
    }

    /// Stores a piece that overlaps nothing; a small one grows the one that it follows.
    fn store(&mut self, start: SeqNum, data: Bytes) {
        self.buffered += data.len();
        if data.len() >= SHARE_FROM {
            self.pieces.insert(Place(start), data);
            return;
        }
        if let Some((before, grown)) = self.pieces.range_mut(..Place(start)).next_back()
            && before.0 + length_u32(grown.len()) == start
            && grown.len() < 4 * SHARE_FROM
        {
            let mut bytes = BytesMut::from(std::mem::take(grown));
            bytes.extend_from_slice(&data);
            *grown = bytes.freeze();
        } else {
            self.pieces.insert(Place(start), Bytes::copy_from_slice(&data));
        }
    }

    /// From `start` to `end` all is held now: it makes one block with all that it touches.
    fn join(&mut self, mut start: SeqNum, mut end: SeqNum) -> (SeqNum, SeqNum) {
        while let Some((&first, &last)) = self.blocks.range(..=Place(end)).next_back() {
            if last.before(start) {
                break;
            }
            self.blocks.remove(&first);
            (start, end) = (start.min(first.0), end.max(last));
        }
        self.blocks.insert(Place(start), end);
        (start, end)
    }

    /// What is held of the stream before `end`, the first of it: the part that bytes repeat which are next in order.
    pub(crate) fn first_before(&self, end: SeqNum) -> Option<(SeqNum, SeqNum)> {
        let (first, last) = self.blocks.first_key_value()?;
        first.0.before(end).then(|| (first.0, last.min(end)))
    }

    /// Takes what follows `next` without a gap, in order; bytes before `next` are dropped.
    pub(crate) fn take_from(&mut self, next: SeqNum) -> Option<Bytes> {
        while let Some(first) = self.pieces.first_entry() {
            let start = first.key().0;
            if start.after(next) {
                return None;
            }
            let data = first.remove();
            self.buffered -= data.len();
            self.shorten(start + length_u32(data.len()));
            let data = skip(data, next.since(start) as usize);
            if !data.is_empty() {
                return Some(data);
            }
        }
        None
    }

    /// The first block begins at `start` from now on.
    fn shorten(&mut self, start: SeqNum) {
        if let Some((_, end)) = self.blocks.pop_first()
            && end.after(start)
        {
            self.blocks.insert(Place(start), end);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: u32 = u32::MAX - 500;

    fn drain(reassembly: &mut Reassembly, next: &mut SeqNum) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(data) = reassembly.take_from(*next) {
            *next += length_u32(data.len());
            out.extend_from_slice(&data);
        }
        out
    }

    /// The blocks are what the pieces make.
    fn assert_consistent(reassembly: &Reassembly) {
        let mut blocks: Vec<(SeqNum, SeqNum)> = Vec::new();
        for (start, data) in &reassembly.pieces {
            let end = start.0 + length_u32(data.len());
            match blocks.last_mut() {
                Some(last) if last.1 == start.0 => last.1 = end,
                _ => blocks.push((start.0, end)),
            }
        }
        assert!(reassembly.blocks.iter().map(|(start, end)| (start.0, *end)).eq(blocks));
        assert_eq!(reassembly.buffered, reassembly.pieces.values().map(Bytes::len).sum());
    }

    fn held(blocks: &[(u32, u32)]) -> Reassembly {
        let mut reassembly = Reassembly::default();
        for &(start, end) in blocks {
            let data = Bytes::from(vec![b'x'; (end - start) as usize]);
            assert!(reassembly.insert(SeqNum::new(start), data, usize::MAX).kept);
        }
        reassembly
    }

    #[test]
    fn an_insertion_tells_the_block_it_is_in_and_what_it_repeats() {
        let seq = |range: (u32, u32)| (SeqNum::new(range.0), SeqNum::new(range.1));
        let blocks = [(1000, 2000), (2000, 3000), (5000, 6000)];
        for (segment, block, repeated) in [
            ((3500, 4000), (3500, 4000), None),
            ((3000, 3500), (1000, 3500), None),
            ((500, 1000), (500, 3000), None),
            ((1500, 2500), (1000, 3000), Some((1500, 2500))),
            ((1500, 3500), (1000, 3500), Some((1500, 3000))),
            ((500, 7000), (500, 7000), Some((1000, 3000))),
            ((3000, 5000), (1000, 6000), None),
        ] {
            let mut reassembly = held(&blocks);
            let data = Bytes::from(vec![b'x'; (segment.1 - segment.0) as usize]);
            let insertion = reassembly.insert(SeqNum::new(segment.0), data, usize::MAX);
            let want = Insertion { kept: true, block: Some(seq(block)), repeated: repeated.map(seq) };
            assert_eq!(insertion, want, "for {segment:?}");
            assert_consistent(&reassembly);
        }
    }

    #[test]
    fn of_what_there_is_no_room_for_the_first_part_may_be_held() {
        let mut reassembly = held(&[(2000, 3000)]);
        let limit = reassembly.allocated() + 1000 + PIECE_OVERHEAD;
        let data = Bytes::from(vec![b'x'; 3000]);
        let insertion = reassembly.insert(SeqNum::new(1000), data.clone(), limit);
        let (start, end) = (SeqNum::new(1000), SeqNum::new(3000));
        let repeated = Some((SeqNum::new(2000), end));
        assert_eq!(insertion, Insertion { kept: false, block: Some((start, end)), repeated });
        let insertion = reassembly.insert(SeqNum::new(5000), data, limit);
        assert_eq!(insertion, Insertion { kept: false, block: None, repeated: None });
        assert_consistent(&reassembly);
    }

    #[test]
    fn single_bytes_with_gaps_stay_within_the_limit() {
        let mut reassembly = Reassembly::default();
        for i in 0..10_000u32 {
            reassembly.insert(SeqNum::new(2 * i + 1), Bytes::from_static(b"x"), 20_000);
        }
        assert!(reassembly.allocated() <= 20_000);
    }

    proptest! {
        /// Segments in any order, overlapping at will, give the stream back.
        /// RFC 9293 3.10.7.4 SHLD-31
        #[test]
        fn gives_the_stream_back(cuts in prop::collection::vec((0usize..3000, 1usize..1500), 1..60)) {
            let stream: Vec<u8> = (0..4500usize).map(|i| u8::try_from(i * 7 % 251).unwrap()).collect();
            let at = |offset: usize| SeqNum::new(BASE) + u32::try_from(offset).unwrap();
            let mut reassembly = Reassembly::default();
            let mut held = vec![false; stream.len()];
            for &(start, len) in &cuts {
                prop_assert!(reassembly.insert(at(start), Bytes::copy_from_slice(&stream[start..start + len]), usize::MAX).kept);
                held[start..start + len].fill(true);
                prop_assert_eq!(reassembly.buffered(), held.iter().filter(|held| **held).count());
                assert_consistent(&reassembly);
            }
            let first_hole = held.iter().position(|held| !held).unwrap_or(stream.len());
            let mut next = SeqNum::new(BASE);
            prop_assert_eq!(drain(&mut reassembly, &mut next), &stream[..first_hole]);
            // The rest comes in order at last.
            prop_assert!(reassembly.insert(next, Bytes::copy_from_slice(&stream[first_hole..]), usize::MAX).kept);
            prop_assert_eq!(drain(&mut reassembly, &mut next), &stream[first_hole..]);
            prop_assert!(reassembly.is_empty());
            prop_assert_eq!(reassembly.buffered(), 0);
        }
    }
}
