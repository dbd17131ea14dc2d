//! What kept an end from sending more, over time.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// What an end waited for before it sent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Its application: there was room, and nothing to send.
    Application,
    /// The peer's answer, which its application waited for.
    Answer,
    /// The peer's window was full.
    ReceiveWindow,
    /// The peer's window was closed, or nearly: its application did not read.
    SlowReader,
    /// Its congestion window: it sent when acknowledgements came, and the path's queues were short.
    CongestionWindow,
    /// The path: it sent when acknowledgements came, and these came later the more it sent.
    Path,
    /// It sent at intervals, neither for acknowledgements nor for its application.
    Pacing,
    /// It repaired losses.
    Recovery,
    /// It waited for its retransmission timer.
    Timeout,
    /// A small segment waited for the acknowledgement of another, which the peer delayed (Nagle's algorithm, RFC 896).
    Nagle,
    /// The capture does not say.
    Unknown,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Application,
        Self::Answer,
        Self::ReceiveWindow,
        Self::SlowReader,
        Self::CongestionWindow,
        Self::Path,
        Self::Pacing,
        Self::Recovery,
        Self::Timeout,
        Self::Nagle,
        Self::Unknown,
    ];
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Application => "the sending application",
            Self::Answer => "the peer's answer",
            Self::ReceiveWindow => "the receive window",
            Self::SlowReader => "the receiving application",
            Self::CongestionWindow => "the congestion window",
            Self::Path => "the path's rate",
            Self::Pacing => "pacing",
            Self::Recovery => "repairing losses",
            Self::Timeout => "retransmission timeouts",
            Self::Nagle => "Nagle and delayed ACKs",
            Self::Unknown => "unknown",
        })
    }
}

/// A stretch of time with one limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Span {
    /// The limit.
    pub limit: Limit,
    /// Its begin, from the first frame of the capture on.
    #[serde(serialize_with = "crate::report::seconds")]
    pub from: Duration,
    /// Its end.
    #[serde(serialize_with = "crate::report::seconds")]
    pub to: Duration,
    /// The frame that was sent before it, and the one that ended it.
    pub frames: (u64, u64),
}

/// The limits of one direction: their sums, and stretches that are joined where there are too many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) spans: Vec<Span>,
    pub(crate) sums: [Duration; Limit::ALL.len()],
    /// Stretches shorter than this are joined with their neighbours in the picture; sums are exact.
    resolution: Duration,
}

impl Limits {
    pub(crate) fn add(&mut self, span: Span, room: usize) {
        if span.from >= span.to {
            return;
        }
        if let Some(sum) = self.sums.get_mut(span.limit as usize) {
            *sum += span.to - span.from;
        }
        match self.spans.last_mut() {
            Some(last) if last.limit == span.limit || span.to - span.from < self.resolution => {
                last.to = span.to;
                last.frames.1 = span.frames.1;
            }
            _ => self.spans.push(span),
        }
        if self.spans.len() > room.max(2) {
            self.thin();
        }
    }

    pub(crate) fn sum(&self, limit: Limit) -> Duration {
        self.sums.get(limit as usize).copied().unwrap_or_default()
    }

    /// Joins the shortest half with what comes before.
    fn thin(&mut self) {
        let mut lengths: Vec<_> = self.spans.iter().map(|span| span.to - span.from).collect();
        let middle = lengths.len() / 2;
        let (_, median, _) = lengths.select_nth_unstable(middle);
        self.resolution = self.resolution.max(*median) + Duration::from_nanos(1);
        let mut joined: Vec<Span> = Vec::with_capacity(middle + 1);
        for span in self.spans.drain(..) {
            match joined.last_mut() {
                Some(last) if last.limit == span.limit || span.to - span.from < self.resolution => {
                    last.to = span.to;
                    last.frames.1 = span.frames.1;
                }
                _ => joined.push(span),
            }
        }
        self.spans = joined;
    }
}
