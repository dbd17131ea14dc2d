//! The data of a segment on its way to where it is held.

use std::mem;

use super::chunk::Chunk;

/// The data of a segment in the pieces in which it lies in memory: one, or one for each of those that were merged. A lone
/// piece costs no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pieces {
    /// Empty only if there is no byte.
    first: Chunk,
    /// None of them is empty.
    rest: Vec<Chunk>,
    len: usize,
}

impl Pieces {
    /// `rest` follows `first`, and is empty if that is.
    #[inline]
    pub(crate) fn new(first: Chunk, rest: Vec<Chunk>) -> Self {
        let len = first.len() + rest.iter().map(Chunk::len).sum::<usize>();
        Self { first, rest, len }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lets go of the first `n` bytes.
    pub(crate) fn skip(&mut self, n: usize) {
        let mut left = n.min(self.len);
        self.len -= left;
        if left < self.first.len() || self.rest.is_empty() {
            self.first.advance(left);
            return;
        }
        left -= self.first.len();
        let gone = self.rest.iter().take_while(|piece| passes(&mut left, piece)).count();
        let mut whole = self.rest.drain(..(gone + 1).min(self.rest.len()));
        self.first = whole.nth(gone).unwrap_or_default();
        drop(whole);
        self.first.advance(left);
    }

    /// Keeps the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = len.min(self.len);
        let mut left = self.len;
        self.first.truncate(left);
        left -= self.first.len();
        self.rest.retain_mut(|piece| {
            piece.truncate(left);
            left -= piece.len();
            !piece.is_empty()
        });
    }

    /// A copy in one piece, which keeps nothing else alive.
    pub(crate) fn copy(&self) -> Chunk {
        let mut bytes = Vec::with_capacity(self.len);
        bytes.extend_from_slice(self.first.bytes());
        self.rest.iter().for_each(|piece| bytes.extend_from_slice(piece.bytes()));
        Chunk::from_vec(bytes)
    }

    /// Takes the pieces out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Chunk> {
        self.len = 0;
        Some(mem::take(&mut self.first))
            .filter(|first| !first.is_empty())
            .into_iter()
            .chain(self.rest.drain(..))
    }

    /// The place where pieces were, for others.
    pub(crate) fn into_place(mut self) -> Vec<Chunk> {
        self.rest.clear();
        self.rest
    }
}

/// Whether so much is all of a piece, or more; then what is left when it has passed.
fn passes(left: &mut usize, piece: &Chunk) -> bool {
    match left.checked_sub(piece.len()) {
        Some(rest) => {
            *left = rest;
            true
        }
        None => false,
    }
}

impl From<Chunk> for Pieces {
    fn from(first: Chunk) -> Self {
        Self::new(first, Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(lens: &[usize]) -> (Pieces, Vec<u8>) {
        let mut number = 0_u8;
        let mut chunks = lens.iter().map(|len| {
            let next = std::iter::repeat_with(|| {
                number = number.wrapping_add(1);
                number
            });
            Chunk::from_vec(next.take(*len).collect())
        });
        let first = chunks.next().unwrap_or_default();
        let pieces = Pieces::new(first, chunks.collect());
        let all = pieces.copy().bytes().to_vec();
        (pieces, all)
    }

    proptest! {
        /// What is cut off is what is cut off the bytes in one piece, and nothing is left of a piece that is gone.
        #[test]
        fn cutting_is_the_same_in_one_piece_or_in_several(
            lens in prop::collection::vec(1usize..20, 1..8),
            (skip, keep) in (0usize..100, 0usize..100),
        ) {
            let (mut pieces, all) = pieces(&lens);
            pieces.skip(skip);
            pieces.truncate(keep);
            let expected = &all[skip.min(all.len())..][..keep.min(all.len().saturating_sub(skip))];
            prop_assert_eq!(pieces.len(), expected.len());
            prop_assert_eq!(pieces.is_empty(), expected.is_empty());
            let copied = pieces.copy();
            prop_assert_eq!(&copied.bytes()[..], expected);
            let taken: Vec<Chunk> = pieces.drain().collect();
            prop_assert!(taken.iter().all(|piece| !piece.is_empty()));
            let bytes: Vec<u8> = taken.iter().flat_map(|piece| piece.bytes().to_vec()).collect();
            prop_assert_eq!(&bytes[..], expected);
            prop_assert!(pieces.is_empty());
        }
    }
}
