//! What was sent again: why, and whether that was needed.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::grade::Grade;

/// What made an end send something again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// SACK blocks or duplicate acknowledgements told of what came after it (RFC 5681, RFC 6675, RFC 8985).
    Fast,
    /// The retransmission timer went off (RFC 6298).
    Timeout,
    /// It follows from a timeout before: the rest of what was out then.
    AfterTimeout,
    /// A probe of the tail (RFC 8985 7).
    TailLossProbe,
    /// A timer: that of the tail loss probe, or that of retransmission. Where one segment is out, they look alike.
    Timer,
    /// A router said that the packet was too large (RFC 1191, RFC 8201).
    PathMtu,
    /// The same packet twice: the network or the capture has doubled it.
    Doubled,
    /// The capture does not say.
    Unknown,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fast => "fast retransmission",
            Self::Timeout => "retransmission timeout",
            Self::AfterTimeout => "after a timeout",
            Self::TailLossProbe => "tail loss probe",
            Self::Timer => "timeout or tail loss probe",
            Self::PathMtu => "packet too big",
            Self::Doubled => "doubled on the way",
            Self::Unknown => "unknown cause",
        })
    }
}

/// Whether the other end had it already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Needed {
    /// It had not arrived.
    Yes,
    /// It had.
    No,
    /// The capture does not say.
    Unknown,
}

/// Something that was found out, how sure it is, and the frames that it rests on.
#[derive(Clone, Debug)]
pub(super) struct Finding<T> {
    pub(super) what: T,
    pub(super) grade: Grade,
    pub(super) frames: Vec<u64>,
}

impl<T> Finding<T> {
    pub(super) fn new(what: T, grade: Grade, frames: impl IntoIterator<Item = u64>) -> Self {
        Self { what, grade, frames: frames.into_iter().collect() }
    }
}

/// Something that was sent again.
#[derive(Clone, Debug, Serialize)]
pub struct Retransmission {
    /// The frame that has it.
    pub frame: u64,
    /// When, from the first frame of the capture on.
    #[serde(serialize_with = "crate::report::seconds")]
    pub at: Duration,
    /// Its first byte, relative to the first sequence number, and how many.
    pub seq: u64,
    /// See there.
    pub len: u64,
    /// The frame that had it before; none if that is not in the capture.
    pub original: Option<u64>,
    /// Why it was sent again.
    pub cause: Cause,
    /// How sure that is.
    pub cause_grade: Grade,
    /// The frames that this rests on.
    pub cause_frames: Vec<u64>,
    /// Whether it was needed.
    pub needed: Needed,
    /// How sure that is.
    pub needed_grade: Grade,
    /// The frames that this rests on.
    pub needed_frames: Vec<u64>,
}

/// How many of each kind there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of them.
    pub all: u64,
    /// By [`Cause::Fast`].
    pub fast: u64,
    /// By [`Cause::Timeout`].
    pub timeout: u64,
    /// By [`Cause::AfterTimeout`].
    pub after_timeout: u64,
    /// By [`Cause::TailLossProbe`].
    pub tail_loss_probe: u64,
    /// By [`Cause::Timer`].
    pub timer: u64,
    /// By [`Cause::PathMtu`].
    pub path_mtu: u64,
    /// By [`Cause::Doubled`].
    pub doubled: u64,
    /// By [`Cause::Unknown`].
    pub unknown: u64,
}

impl Counts {
    pub(super) fn count(&mut self, cause: Cause) {
        self.all += 1;
        *match cause {
            Cause::Fast => &mut self.fast,
            Cause::Timeout => &mut self.timeout,
            Cause::AfterTimeout => &mut self.after_timeout,
            Cause::TailLossProbe => &mut self.tail_loss_probe,
            Cause::Timer => &mut self.timer,
            Cause::PathMtu => &mut self.path_mtu,
            Cause::Doubled => &mut self.doubled,
            Cause::Unknown => &mut self.unknown,
        } += 1;
    }
}
