//! The window that a receiver announces.

use std::time::Duration;

use super::Seen;
use super::way::push_few;

/// The window over time.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The right edge, if the scale is known.
    pub(crate) edge: Option<u64>,
    /// The largest, in bytes.
    pub(crate) peak: u64,
    /// The field of the last segment.
    raw: u16,
    /// Since when it is closed.
    closed: Option<Duration>,
    /// How long it was closed, how often, and the frames that said so.
    pub(crate) closed_for: Duration,
    pub(crate) closed_times: u64,
    pub(crate) closed_frames: Vec<u64>,
}

impl Window {
    /// An acknowledgement of `ack` has come.
    pub(super) fn update(&mut self, ack: u64, scale: Option<u8>, seen: &Seen) {
        let field = seen.segment.window;
        let bytes = match scale {
            Some(_) if seen.segment.flags.contains(ropeway_packet::TcpFlags::SYN) => Some(u64::from(field)),
            Some(scale) => Some(u64::from(field) << scale.min(14)),
            None if field == 0 => Some(0),
            None => None,
        };
        self.raw = field;
        self.edge = bytes.map(|bytes| ack + bytes);
        self.peak = self.peak.max(bytes.unwrap_or_default());
        match (bytes, self.closed) {
            (Some(0), None) => {
                self.closed = Some(seen.at);
                self.closed_times += 1;
                push_few(&mut self.closed_frames, seen.frame);
            }
            (Some(1..), Some(_)) => self.finish(seen.at),
            _ => {}
        }
    }

    /// Whether a segment announces what the last one did.
    pub(super) fn is_same(&self, seen: &Seen) -> bool {
        self.raw == seen.segment.window
    }

    /// Whether there is no room at `offset`.
    pub(super) fn is_full_at(&self, offset: u64) -> bool {
        self.edge.is_some_and(|edge| offset >= edge)
    }

    /// It is open again, or the connection is over.
    pub(super) fn finish(&mut self, now: Duration) {
        if let Some(since) = self.closed.take() {
            self.closed_for += now.saturating_sub(since);
        }
    }
}
