//! The data of a segment to send.

use std::ops::Range;

use bytes::Bytes;

/// The data of one segment: a few [`Bytes`], one after the other. A single part costs no
/// allocation.
///
/// Two payloads are equal if their bytes are, however they are cut.
///
/// ```
/// use bytes::Bytes;
/// use ropeway_packet::Payload;
/// let mut payload = Payload::from(Bytes::from_static(b"one "));
/// payload.push(Bytes::from_static(b"two"));
/// assert_eq!(payload.len(), 7);
/// assert_eq!(payload.to_vec(), b"one two");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Payload {
    /// Empty only if all of the payload is.
    first: Bytes,
    /// None of them is empty.
    rest: Vec<Bytes>,
    len: usize,
}

impl Payload {
    /// No data.
    #[inline]
    pub const fn new() -> Self {
        Self { first: Bytes::new(), rest: Vec::new(), len: 0 }
    }

    /// Appends a part.
    #[inline]
    pub fn push(&mut self, part: Bytes) {
        self.len += part.len();
        if self.first.is_empty() {
            self.first = part;
        } else if !part.is_empty() {
            self.rest.push(part);
        }
    }

    /// How many bytes there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no byte.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The parts in order; none of them is empty.
    #[inline]
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &Bytes> + Clone {
        Some(&self.first).filter(|first| !first.is_empty()).into_iter().chain(&self.rest)
    }

    /// The bytes in `range`, part by part, as far as there are any.
    ///
    /// ```
    /// # use bytes::Bytes;
    /// # use ropeway_packet::Payload;
    /// let payload: Payload = [&b"one "[..], b"two"].into_iter().map(Bytes::from_static).collect();
    /// assert!(payload.slices(2..6).eq([&b"e "[..], b"tw"]));
    /// assert_eq!(payload.slices(2..6).to_payload().to_vec(), b"e tw");
    /// ```
    #[inline]
    pub fn slices(&self, range: Range<usize>) -> Slices<'_> {
        let mut slices = Slices { part: &self.first, offset: 0, rest: &self.rest, left: self.len };
        slices.take_front(range.start);
        slices.left = slices.left.min(range.len());
        slices
    }

    /// A copy of the bytes in one piece.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        self.parts().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }

    /// The bytes in one piece; copied only if there are several parts.
    pub fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.to_vec().into() }
    }
}

/// Some of the bytes of a [`Payload`], part by part: none of the slices is empty.
#[derive(Clone, Debug)]
pub struct Slices<'a> {
    /// The part that the next byte stands in, unless `offset` is its end.
    part: &'a Bytes,
    offset: usize,
    /// None of them is empty.
    rest: &'a [Bytes],
    /// How many bytes there are.
    left: usize,
}

impl Slices<'_> {
    /// How many bytes there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether there is no byte.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Takes away the first `len` bytes, or all there are.
    #[inline]
    pub(crate) fn take_front(&mut self, len: usize) -> Self {
        let len = len.min(self.left);
        let front = Self { left: len, ..*self };
        let mut passed = front.clone();
        passed.by_ref().for_each(drop);
        *self = Self { left: self.left - len, ..passed };
        front
    }

    /// The same bytes, shared. Several parts cost an allocation.
    pub fn to_payload(&self) -> Payload {
        let mut slices = self.clone();
        let mut payload = Payload::new();
        while let Some(slice) = slices.next() {
            // The slice ends at `offset` in the part.
            payload.push(slices.part.slice(slices.offset - slice.len()..slices.offset));
        }
        payload
    }
}

impl<'a> Iterator for Slices<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        if self.offset == self.part.len() {
            (self.part, self.rest) = self.rest.split_first()?;
            self.offset = 0;
        }
        let slice = self.part.get(self.offset..)?;
        let slice = slice.get(..self.left).unwrap_or(slice);
        self.offset += slice.len();
        self.left -= slice.len();
        Some(slice)
    }
}

impl From<Bytes> for Payload {
    #[inline]
    fn from(part: Bytes) -> Self {
        Self { len: part.len(), first: part, rest: Vec::new() }
    }
}

impl Extend<Bytes> for Payload {
    fn extend<I: IntoIterator<Item = Bytes>>(&mut self, parts: I) {
        parts.into_iter().for_each(|part| self.push(part));
    }
}

impl FromIterator<Bytes> for Payload {
    fn from_iter<I: IntoIterator<Item = Bytes>>(parts: I) -> Self {
        let mut payload = Self::new();
        payload.extend(parts);
        payload
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len
            && self.parts().flat_map(|part| part.iter()).eq(other.parts().flat_map(|part| part.iter()))
    }
}

impl Eq for Payload {}
