//! What the fragments of a datagram say of congestion together (RFC 3168 5.3).

use crate::EcnCodepoint;

/// The ECN fields of the fragments seen so far.
///
/// ```
/// use ropeway_packet::EcnCodepoint::{Ce, Ect0, NotEct};
/// use ropeway_packet::fragment::Marks;
///
/// let of = |fields: &[_]| fields.iter().fold(Marks::default(), |marks, field| marks.with(*field)).whole(fields[0]);
/// assert_eq!(of(&[Ect0, Ce]), Some(Ce));
/// assert_eq!(of(&[Ect0, Ect0]), Some(Ect0));
/// assert_eq!(of(&[NotEct, Ce]), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    /// With that of one more fragment.
    #[must_use]
    pub fn with(self, field: EcnCodepoint) -> Self {
        Self(self.0 | 1 << field as u8)
    }

    // RFC 3168 5.3-3
    /// That of the whole datagram (RFC 3168 5.3-1, RFC 3168 5.3-2), whose first fragment has `first`. `None` if it must be dropped: one fragment
    /// was marked, and another one says that it cannot be.
    #[must_use]
    pub fn whole(self, first: EcnCodepoint) -> Option<EcnCodepoint> {
        let has = |field: EcnCodepoint| self.0 & 1 << field as u8 != 0;
        match (has(EcnCodepoint::Ce), has(EcnCodepoint::NotEct)) {
            (true, true) => None,
            (true, false) => Some(EcnCodepoint::Ce),
            _ => Some(first),
        }
    }
}
