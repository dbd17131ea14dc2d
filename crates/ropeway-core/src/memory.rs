//! How much memory buffers that tune themselves may take.

use crate::buffer::send::length_u32;
use crate::config::BufferRange;

/// How scarce memory is, as the stack's owner sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum MemoryPressure {
    /// Buffers grow as they like, within their range.
    #[default]
    None,
    /// No buffer grows. Those that are large stay so.
    Moderate,
    /// Each buffer goes back to its least size when something is sent, received, read or written. What a window has
    /// promised is taken all the same (RFC 9293 3.8.6): it closes as data arrives.
    Severe,
}

/// What pressure leaves of a buffer's range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// It does not grow beyond this.
    pub(crate) to_grow: u32,
    /// It may not be larger than this.
    pub(crate) largest: u32,
}

impl MemoryPressure {
    pub(crate) fn leaves(self, range: &BufferRange) -> Allowed {
        let (to_grow, largest) = match self {
            Self::None => (range.max, range.max),
            Self::Moderate => (0, range.max),
            Self::Severe => (0, range.min),
        };
        Allowed { to_grow: length_u32(to_grow), largest: length_u32(largest) }
    }
}
