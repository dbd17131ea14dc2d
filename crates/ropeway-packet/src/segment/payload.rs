//! The data of a segment to send.

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
