//! A piece of the stream, and the memory that it keeps alive.

use bytes::{Buf, Bytes};

use super::send::length_u32;

/// Pieces shorter than this are copied together: what each costs besides is not worth it.
pub(crate) const SHARE_FROM: usize = 512;

/// Bytes that arrived, and their true size: all the memory that stays allocated as long as any of them is held.
///
/// What they share with others is counted here as a whole, and there again. So whoever lets go of his part leaves nothing
/// behind that somebody else would have to be charged with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chunk {
    bytes: Bytes,
    true_size: u32,
}

impl Chunk {
    /// Without a true size nothing is known of it, and it counts as more than anybody can hold.
    pub(crate) fn new(bytes: Bytes, true_size: Option<u32>) -> Self {
        let true_size = true_size.unwrap_or(u32::MAX).max(length_u32(bytes.len()));
        Self { bytes, true_size }
    }

    /// A copy that keeps nothing else alive.
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        Self::from_vec(bytes.to_vec())
    }

    pub(crate) fn from_vec(bytes: Vec<u8>) -> Self {
        let true_size = length_u32(bytes.capacity());
        Self::new(Bytes::from(bytes), Some(true_size))
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn true_size(&self) -> usize {
        self.true_size as usize
    }

    /// Whether it may be held as it is, if that may cost `spare` bytes besides its own, `overhead` of them for bookkeeping:
    /// it takes no more than twice its length.
    pub(crate) fn is_worth_sharing(&self, overhead: usize, spare: usize) -> bool {
        self.len() >= SHARE_FROM && self.waste(overhead) <= spare.min(self.len())
    }

    /// What holding it as it is costs besides its bytes.
    pub(crate) fn waste(&self, overhead: usize) -> usize {
        (self.true_size() - self.len()).saturating_add(overhead)
    }

    /// Cuts off what begins at `at`, and gives it.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        Self { bytes: self.bytes.split_off(at.min(self.bytes.len())), true_size: self.true_size }
    }

    /// Cuts off the first `n` bytes, and gives them.
    pub(crate) fn split_to(&mut self, n: usize) -> Bytes {
        self.bytes.split_to(n.min(self.bytes.len()))
    }

    /// Lets go of the first `n` bytes.
    pub(crate) fn advance(&mut self, n: usize) {
        self.bytes.advance(n.min(self.bytes.len()));
    }

    /// Keeps the first `len` bytes.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.bytes.truncate(len);
    }

    /// The rest of it, without the first `n` bytes.
    pub(crate) fn skip(mut self, n: usize) -> Self {
        self.advance(n);
        self
    }
}
