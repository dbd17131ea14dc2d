//! What remains of a buffer however scarce memory is, and what is set aside for that.

use crate::config::{BufferRange, StackConfig};

/// What may lie in the buffer's memory besides, whatever its size: of the chunk that is filled, and of the one that is read.
const SLACK: usize = 1024;

/// What a buffer may hold when nothing is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floor {
    /// A window of so many bytes always remains, or so many may always be written: with that a connection works, if slowly.
    pub(crate) bytes: usize,
    /// The memory that so many bytes take at the most, in chunks that are made for it.
    pub(crate) memory: usize,
}

impl Floor {
    pub(crate) const fn of(range: &BufferRange) -> Self {
        Self { bytes: range.min, memory: range.min + range.min / 4 + SLACK }
    }
}

/// What is set aside for each connection: so much counts as taken for it at the least, whether it is or not. So what is
/// promised can be kept.
pub(crate) const fn reserve(config: &StackConfig) -> usize {
    let (receive, send) = (Floor::of(&config.auto_recv_buffer), Floor::of(&config.auto_send_buffer));
    // When a gap closes, what was held behind it moves, and a chunk more is begun.
    receive.memory + send.memory + SLACK
}
