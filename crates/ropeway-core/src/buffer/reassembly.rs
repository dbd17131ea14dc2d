//! Segments that arrived beyond a gap, kept until it closes (RFC 9293 3.10.7.4 SHLD-31).

use std::cmp::Ordering;
use std::collections::BTreeMap;

use ropeway_packet::SeqNum;

use super::chunk::Chunk;
use super::send::length_u32;

/// What one piece costs besides its bytes, in two trees whose nodes may be half full and an allocation of its own. A sender of
/// single bytes with gaps between them makes us spend that for each.
pub(crate) const PIECE_OVERHEAD: usize = 160;

/// Copies grow to this length: then the next one begins.
const GROW_TO: usize = 2048;

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
    pieces: BTreeMap<Place, Chunk>,
    /// The blocks that they make, with a gap before each: where it begins, and where it ends.
    blocks: BTreeMap<Place, SeqNum>,
    buffered: usize,
    /// The true sizes of the pieces.
    true_size: usize,
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
    pub(crate) fn buffered(&self) -> usize {
        self.buffered
    }

    /// Where the last of them ends.
    pub(crate) fn end(&self) -> Option<SeqNum> {
        self.blocks.last_key_value().map(|(_, end)| *end)
    }

    /// The memory that is held: bytes, what they keep alive besides, and bookkeeping.
    pub(crate) fn memory(&self) -> usize {
        self.true_size + self.pieces.len() * PIECE_OVERHEAD
    }

    /// What of it is not bytes of the stream.
    pub(crate) fn waste(&self) -> usize {
        self.memory() - self.buffered
    }

    /// Keeps those bytes of `data` that are not held yet, as long as that costs at most `spare` bytes besides their own.
    pub(crate) fn insert(&mut self, start: SeqNum, mut data: Chunk, mut spare: usize) -> Insertion {
        let end = start + length_u32(data.len());
        let (mut at, mut repeated) = (start, None);
        while at.before(end) {
            if let Some(held_to) = self.held_from(at) {
                // The first copy stays.
                let to = held_to.min(end);
                repeated.get_or_insert((at, to));
                data = data.skip(to.since(at) as usize);
                at = to;
                continue;
            }
            let to = self.blocks.range(Place(at)..).next().map_or(end, |(next, _)| next.0.min(end));
            let rest = data.split_off(to.since(at) as usize);
            match self.store(at, data, spare) {
                Some(waste) => spare -= waste,
                None => break,
            }
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

    /// Stores a piece that overlaps nothing: as it is, if that is worth it; or put together with a small one that it follows;
    /// or as a copy. Says what that costs besides the bytes; nothing, if there is no room.
    fn store(&mut self, start: SeqNum, data: Chunk, spare: usize) -> Option<usize> {
        let (len, waste) = (data.len(), data.waste(PIECE_OVERHEAD));
        let (start, piece, waste) = if data.is_worth_sharing(PIECE_OVERHEAD, spare) {
            (start, data, waste)
        } else if let Some((before, both)) = self.grow(start, &data) {
            (before, both, 0)
        } else if PIECE_OVERHEAD <= spare {
            (start, Chunk::copy_of(data.bytes()), PIECE_OVERHEAD)
        } else {
            return None;
        };
        self.buffered += len;
        self.true_size += piece.true_size();
        self.pieces.insert(Place(start), piece);
        Some(waste)
    }

    /// Takes the piece that ends at `start`, if it is small, to put it together with `data`.
    fn grow(&mut self, start: SeqNum, data: &Chunk) -> Option<(SeqNum, Chunk)> {
        let (&before, piece) = self.pieces.range(..Place(start)).next_back()?;
        if before.0 + length_u32(piece.len()) != start || piece.len() + data.len() > GROW_TO {
            return None;
        }
        let piece = self.pieces.remove(&before)?;
        self.true_size -= piece.true_size();
        Some((before.0, Chunk::from_vec([&piece.bytes()[..], &data.bytes()[..]].concat())))
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
    pub(crate) fn take_from(&mut self, next: SeqNum) -> Option<Chunk> {
        while let Some(first) = self.pieces.first_entry() {
            let start = first.key().0;
            if start.after(next) {
                return None;
            }
            let data = first.remove();
            self.buffered -= data.len();
            self.true_size -= data.true_size();
            self.shorten(start + length_u32(data.len()));
            // Room was found for the whole of it, so a rest keeps nothing else alive.
            let data = match next.since(start) as usize {
                0 => data,
                old => Chunk::copy_of(data.bytes().get(old..).unwrap_or_default()),
            };
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
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const BASE: u32 = u32::MAX - 500;

    fn drain(reassembly: &mut Reassembly, next: &mut SeqNum) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(data) = reassembly.take_from(*next) {
            *next += length_u32(data.len());
            out.extend_from_slice(data.bytes());
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
        assert_eq!(reassembly.buffered, reassembly.pieces.values().map(Chunk::len).sum());
        assert_eq!(reassembly.true_size, reassembly.pieces.values().map(Chunk::true_size).sum());
    }

    fn filled(len: usize) -> Chunk {
        Chunk::from_vec(vec![b'x'; len])
    }

    fn held(blocks: &[(u32, u32)]) -> Reassembly {
        let mut reassembly = Reassembly::default();
        for &(start, end) in blocks {
            let data = filled((end - start) as usize);
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
            let data = filled((segment.1 - segment.0) as usize);
            let insertion = reassembly.insert(SeqNum::new(segment.0), data, usize::MAX);
            let want = Insertion { kept: true, block: Some(seq(block)), repeated: repeated.map(seq) };
            assert_eq!(insertion, want, "for {segment:?}");
            assert_consistent(&reassembly);
        }
    }

    #[test]
    fn of_what_there_is_no_room_for_the_first_part_may_be_held() {
        let mut reassembly = held(&[(2000, 4000)]);
        let insertion = reassembly.insert(SeqNum::new(1000), filled(4000), PIECE_OVERHEAD);
        let (start, end) = (SeqNum::new(1000), SeqNum::new(4000));
        let repeated = Some((SeqNum::new(2000), end));
        assert_eq!(insertion, Insertion { kept: false, block: Some((start, end)), repeated });
        let insertion = reassembly.insert(SeqNum::new(6000), filled(3000), PIECE_OVERHEAD - 1);
        assert_eq!(insertion, Insertion { kept: false, block: None, repeated: None });
        assert_consistent(&reassembly);
    }

    #[test]
    fn a_piece_that_keeps_more_than_itself_alive_is_copied() {
        for (len, true_size, shared) in
            [(1460, 1536, true), (900, 1536, true), (700, 1536, false), (511, 511, false)]
        {
            let slab = Bytes::from(vec![b'x'; true_size]);
            let mut reassembly = Reassembly::default();
            let data = Chunk::new(slab.slice(..len), Some(length_u32(true_size)));
            reassembly.insert(SeqNum::new(1), data, usize::MAX);
            assert_eq!(!slab.is_unique(), shared, "{len} bytes of {true_size}");
            assert_eq!(reassembly.memory(), if shared { true_size } else { len } + PIECE_OVERHEAD);
        }
    }

    #[test]
    fn single_bytes_with_gaps_stay_within_the_limit() {
        let mut reassembly = Reassembly::default();
        for i in 0..10_000u32 {
            let spare = 20_000 - (reassembly.memory() - reassembly.buffered());
            reassembly.insert(SeqNum::new(2 * i + 1), filled(1), spare);
        }
        assert_eq!(reassembly.buffered(), 20_000 / PIECE_OVERHEAD);
        assert!(reassembly.memory() - reassembly.buffered() <= 20_000);
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
                prop_assert!(reassembly.insert(at(start), Chunk::copy_of(&stream[start..start + len]), usize::MAX).kept);
                held[start..start + len].fill(true);
                prop_assert_eq!(reassembly.buffered(), held.iter().filter(|held| **held).count());
                assert_consistent(&reassembly);
            }
            let first_hole = held.iter().position(|held| !held).unwrap_or(stream.len());
            let mut next = SeqNum::new(BASE);
            prop_assert_eq!(drain(&mut reassembly, &mut next), &stream[..first_hole]);
            // The rest comes in order at last.
            prop_assert!(reassembly.insert(next, Chunk::copy_of(&stream[first_hole..]), usize::MAX).kept);
            prop_assert_eq!(drain(&mut reassembly, &mut next), &stream[first_hole..]);
            prop_assert!(reassembly.is_empty());
            prop_assert_eq!(reassembly.buffered(), 0);
        }
    }
}
