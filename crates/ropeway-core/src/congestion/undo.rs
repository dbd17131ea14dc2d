//! What stood before a congestion event, until it is known whether the event was real (RFC 4015).

use ropeway_packet::SeqNum;

use super::{Congestion, CongestionEvent};

/// An episode begins with a loss, and is over when all is acknowledged that was sent before its last event. A timeout in it
/// does not begin another one. What stood before it can still be given back after its end, until the next one begins.
#[derive(Clone, Debug)]
pub(super) struct Undo<S> {
    before: Option<Box<S>>,
    until: Option<SeqNum>,
}

impl<S> Undo<S> {
    pub(super) const fn new() -> Self {
        Self { before: None, until: None }
    }

    /// An event: `state` is what stands before it. Tells whether it goes on with an episode.
    pub(super) fn begin(&mut self, event: &CongestionEvent, state: impl FnOnce() -> S) -> bool {
        let goes_on = self.until.is_some() && matches!(event.cause, Congestion::Timeout { .. });
        // A lost handshake is an episode of its own, and over.
        self.until = Some(event.nxt).filter(|_| event.cause != Congestion::LostHandshake);
        if event.cause == Congestion::Ecn {
            // A mark is never a mistake.
            self.before = None;
        } else if !goes_on || self.before.is_none() {
            self.before = Some(Box::new(state()));
        }
        goes_on
    }

    pub(super) fn on_ack(&mut self, una: SeqNum) {
        self.until = self.until.filter(|until| una.before(*until));
    }

    /// The episode was none: what stood before it.
    pub(super) fn take(&mut self) -> Option<S> {
        self.until = None;
        self.before.take().map(|before| *before)
    }
}
