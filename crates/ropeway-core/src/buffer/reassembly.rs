//! Segments that arrived beyond a gap, kept until it closes (RFC 9293 3.10.7.4 SHLD-31).

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use ropeway_packet::SeqNum;

use super::receive::{SHARE_FROM, skip};
use super::send::length_u32;

/// What one stored range costs besides its bytes; it counts against the memory limit, so that a sender of
/// single bytes with gaps between them cannot make us spend more than twice its window.
const RANGE_OVERHEAD: usize = 64;

#[derive(Clone, Debug)]
struct Range {
    start: SeqNum,
    data: Bytes,
}

impl Range {
    fn end(&self) -> SeqNum {
        self.start + length_u32(self.data.len())
    }
}

/// What became of bytes that were to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Insertion {
    /// All of them are held now.
    pub(crate) kept: bool,
    /// The first of them that were held before.
    pub(crate) repeated: Option<(SeqNum, SeqNum)>,
}

/// Sorted ranges of the stream, none touching what is in order, none overlapping.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reassembly {
    ranges: VecDeque<Range>,
    buffered: usize,
}

impl Reassembly {
    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Bytes of the stream that are held.
    #[cfg(test)]
    pub(crate) fn buffered(&self) -> usize {
        self.buffered
    }

    /// Memory that is held: bytes and bookkeeping.
    pub(crate) fn allocated(&self) -> usize {
        self.buffered + self.ranges.len() * RANGE_OVERHEAD
    }

    /// Keeps those bytes of `data` that are not held yet, as far as `limit` allows, which bounds the memory allocated.
    pub(crate) fn insert(&mut self, mut start: SeqNum, mut data: Bytes, limit: usize) -> Insertion {
        let mut repeated = None;
        let mut index = self.ranges.partition_point(|range| range.end().at_or_before(start));
        while !data.is_empty() {
            if self.allocated() + data.len() + RANGE_OVERHEAD > limit {
                return Insertion { kept: false, repeated };
            }
            let piece_len = match self.ranges.get(index) {
                Some(next) if next.start.at_or_before(start) => {
                    // Held already up to the end of that range: the first copy stays.
                    let held = next.end().since(start) as usize;
                    let end = start + length_u32(held.min(data.len()));
                    repeated.get_or_insert((start, end));
                    start += length_u32(held.min(data.len()));
                    data = skip(data, held);
                    index += 1;
                    continue;
                }
                Some(next) => data.len().min(next.start.since(start) as usize),
                None => data.len(),
            };
            let rest = data.split_off(piece_len);
            self.store(index, start, data);
            start += length_u32(piece_len);
            data = rest;
            index = self.ranges.partition_point(|range| range.end().at_or_before(start));
        }
        Insertion { kept: true, repeated }
    }

    /// Stores a range that overlaps nothing; a small one grows the neighbour it follows.
    fn store(&mut self, index: usize, start: SeqNum, data: Bytes) {
        self.buffered += data.len();
        if data.len() < SHARE_FROM {
            let before = index.checked_sub(1).and_then(|before| self.ranges.get_mut(before));
            if let Some(before) =
                before.filter(|range| range.end() == start && range.data.len() < 4 * SHARE_FROM)
            {
                let mut grown = BytesMut::from(std::mem::take(&mut before.data));
                grown.extend_from_slice(&data);
                before.data = grown.freeze();
                return;
            }
            self.ranges.insert(index, Range { start, data: Bytes::copy_from_slice(&data) });
        } else {
            self.ranges.insert(index, Range { start, data });
        }
    }

    /// Takes what follows `next` without a gap, in order; bytes before `next` are dropped.
    pub(crate) fn take_from(&mut self, next: SeqNum) -> Option<Bytes> {
        while let Some(first) = self.ranges.front() {
            if first.start.after(next) {
                return None;
            }
            let first = self.ranges.pop_front()?;
            self.buffered -= first.data.len();
            let data = skip(first.data, next.since(first.start) as usize);
            if !data.is_empty() {
                return Some(data);
            }
        }
        None
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
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
