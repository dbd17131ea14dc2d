//! How many connections of a listener may have been opened by a SYN with data, and wait for their third segment
//! (RFC 7413 5.1).

use std::time::Duration;

use crate::queue::PagedQueue;
use crate::time::Timestamp;

/// A connection that was reset before its handshake was complete keeps its place for so long. Whoever sends SYNs with
/// cookies of others has the others reset what he opens: without this, the limit would limit nothing. As in Linux.
const RESETS_LINGER: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    waiting: usize,
    /// When the places of those become free that were reset.
    resets: PagedQueue<Timestamp>,
}

impl Pending {
    /// Whether one more may wait, of `most` (RFC 7413 4.2-1).
    pub(crate) fn has_room(&mut self, most: u32, now: Timestamp) -> bool {
        let most = most as usize;
        if self.waiting + self.resets.len() >= most
            && self.resets.front_mut().is_some_and(|until| *until <= now)
        {
            self.resets.pop_front();
        }
        self.waiting + self.resets.len() < most
    }

    pub(crate) fn begin(&mut self) {
        self.waiting += 1;
    }

    /// One waits no more: its handshake is complete, or it is over (RFC 7413 5.1-2).
    pub(crate) fn end(&mut self, reset: bool, now: Timestamp) {
        self.waiting = self.waiting.saturating_sub(1);
        if reset {
            self.resets.push_back(now + RESETS_LINGER);
        }
    }
}
