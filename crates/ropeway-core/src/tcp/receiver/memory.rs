//! Memory: what unread and out-of-order data take (RFC 9293 3.8.6 leaves that to us), and what they may.
//!
//! All of it takes at most twice the receive buffer and 16 KiB. The bytes themselves fit into the buffer once, since they lie
//! in the window. So as much again, and 16 KiB, is left for everything else: what packets have besides the payload, what
//! lies in their memory that is not held any more, and bookkeeping. Half of that is given to whoever asks for it. The
//! other half is for what cannot be refused: data that is next in order is taken however little is left, as a copy, which costs
//! bookkeeping too.

use super::Receiver;
use crate::buffer::reassembly::Reassembly;

/// What may be spent besides the bytes themselves and half of the buffer.
const SLACK: usize = 8 * 1024;

impl Receiver {
    /// The memory that unread data takes, in bytes.
    pub(crate) fn unread_memory(&self) -> usize {
        self.buffer.memory()
    }

    /// The memory that data beyond a gap takes, in bytes.
    pub(crate) fn reassembly_memory(&self) -> usize {
        self.beyond.as_ref().map_or(0, |beyond| beyond.reassembly.memory())
    }

    /// The memory that all takes.
    pub(crate) fn held_memory(&self) -> usize {
        self.unread_memory() + self.reassembly_memory()
    }

    /// How many bytes, next in order, can be taken as copies, so that all takes no more than `limit` bytes of memory.
    pub(crate) fn room_in_order(&mut self, wanted: usize, limit: usize) -> usize {
        let limit = limit.saturating_sub(self.reassembly_memory());
        let room = self.buffer.tight_room(limit);
        if room < wanted && self.buffer.compact() { self.buffer.tight_room(limit) } else { room }
    }

    /// Drops what is held beyond gaps, although the peer was told that it had arrived (RFC 2018 8-3). No block tells of it any
    /// more; what is told next is what arrives next. Says how many bytes that were.
    pub(crate) fn renege(&mut self) -> usize {
        let Some(beyond) = &mut self.beyond else { return 0 };
        let Some(end) = beyond.reassembly.end() else { return 0 };
        let dropped = beyond.reassembly.buffered();
        beyond.dropped_to = Some(beyond.dropped_to.map_or(end, |to| to.max(end)));
        beyond.reassembly = Reassembly::default();
        beyond.told.forget_held();
        self.tidy();
        dropped
    }

    /// How many bytes of memory may be spent, besides those of the data itself. `buffer`: how many bytes may be held unread.
    #[inline]
    pub(super) fn spare(&mut self, buffer: usize) -> usize {
        let spare = self.spare_now(buffer);
        if spare == 0 && self.buffer.compact_first() { self.spare_now(buffer) } else { spare }
    }

    #[inline]
    fn spare_now(&self, buffer: usize) -> usize {
        let unread = self.buffer.len();
        // What was announced is taken, although the buffer has become smaller since.
        let buffer = buffer.max(unread + self.rcv.wnd() as usize);
        let beyond = self.beyond.as_ref().map_or(0, |beyond| beyond.reassembly.waste());
        (buffer / 2 + SLACK + unread).saturating_sub(self.buffer.memory() + beyond)
    }
}
