//! The retransmissions of one direction, and what is found out about them later.

use std::time::Duration;

use super::Seen;
use super::retransmission::{Cause, Counts, Finding, Needed, Retransmission};
use super::way::Around;
use crate::grade::Grade;

/// Retransmissions whose need is not known yet. More than these are not found out about.
const MOST_UNDECIDED: usize = 512;
/// Of how many a D-SACK block may speak.
const RECENT: usize = 256;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// The first ones.
    pub(crate) list: Vec<Retransmission>,
    pub(crate) counts: Counts,
    /// How many were not needed.
    pub(crate) unneeded: u64,
    undecided: Vec<Undecided>,
}

/// A range that is sent again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    pub(super) start: u64,
    pub(super) end: u64,
    /// The frame that had it before.
    pub(super) original: Option<u64>,
    /// TSval of that.
    pub(super) original_tsval: Option<u32>,
    /// Nothing before it is missing.
    pub(super) is_first: bool,
}

#[derive(Clone, Copy, Debug)]
struct Undecided {
    /// Its place in the list.
    at: usize,
    again: Again,
    sent: Duration,
    tsval: Option<u32>,
}

impl Records {
    /// Takes a retransmission, with numbers that count from `origin`.
    pub(super) fn add(
        &mut self,
        again: Again,
        cause: Finding<Cause>,
        needed: Finding<Needed>,
        origin: u64,
        seen: &Seen,
        around: &Around,
    ) {
        self.counts.count(cause.what);
        self.unneeded += u64::from(needed.what == Needed::No);
        let at = self.list.len();
        if at >= around.room.retransmissions {
            return;
        }
        if needed.what == Needed::Unknown && self.undecided.len() < MOST_UNDECIDED {
            self.undecided.push(Undecided { at, again, sent: seen.at, tsval: seen.tsval() });
        }
        self.list.push(Retransmission {
            frame: seen.frame,
            at: seen.at,
            seq: again.start.saturating_sub(origin) + 1,
            len: again.end - again.start,
            original: again.original,
            cause: cause.what,
            cause_grade: cause.grade,
            cause_frames: cause.frames,
            needed: needed.what,
            needed_grade: needed.grade,
            needed_frames: needed.frames,
        });
    }

    /// Everything up to `ack` is acknowledged; `una` was before.
    pub(super) fn acknowledged(&mut self, ack: u64, una: u64, seen: &Seen, around: &Around) {
        let tsecr = seen.segment.options.timestamps.map(|timestamps| timestamps.tsecr);
        for one in self.take(|again| again.end <= ack) {
            let echo = tsecr.zip(one.tsval).filter(|_| one.again.is_first && one.again.start <= una);
            let later = echo.map(|(tsecr, tsval)| tsecr.wrapping_sub(tsval).cast_signed());
            let told_apart = one.tsval != one.again.original_tsval;
            let found = match later {
                // RFC 3522: the echo is older than the retransmission, so the original had arrived.
                Some(..=-1) => Finding::new(Needed::No, Grade::Shown, [seen.frame]),
                Some(0..) if told_apart => Finding::new(Needed::Yes, Grade::Shown, [seen.frame]),
                _ => by_time(&one, seen, around),
            };
            self.set(one.at, found);
        }
    }

    /// A SACK block reports `start..end`.
    pub(super) fn reported(&mut self, start: u64, end: u64, seen: &Seen, around: &Around) {
        for one in self.take(|again| start <= again.start && again.end <= end) {
            self.set(one.at, by_time(&one, seen, around));
        }
    }

    /// A range has come twice, the receiver says (RFC 2883). Numbers count from `origin`.
    pub(super) fn came_twice(&mut self, start: u64, end: u64, origin: u64, frame: u64) {
        let at = |record: &Retransmission| (record.seq + origin).saturating_sub(1);
        let found = (self.list.iter().enumerate().rev().take(RECENT))
            .filter(|(_, record)| at(record) < end && start < at(record) + record.len)
            .find(|(_, record)| record.needed != Needed::No || record.needed_grade < Grade::Shown);
        if let Some((at, _)) = found {
            self.set(at, Finding::new(Needed::No, Grade::Shown, [frame]));
        }
    }

    fn take(&mut self, is_told_of: impl Fn(&Again) -> bool) -> Vec<Undecided> {
        self.undecided.extract_if(.., |one| is_told_of(&one.again)).collect()
    }

    fn set(&mut self, at: usize, found: Finding<Needed>) {
        let Some(record) = self.list.get_mut(at) else { return };
        self.unneeded += u64::from(found.what == Needed::No && record.needed != Needed::No);
        (record.needed, record.needed_grade, record.needed_frames) = (found.what, found.grade, found.frames);
    }

    /// Nothing more will be found out.
    pub(super) fn finish(&mut self) {
        self.undecided = Vec::new();
    }
}

/// An acknowledgement that comes sooner than the way there and back takes is not for the retransmission.
fn by_time(one: &Undecided, seen: &Seen, around: &Around) -> Finding<Needed> {
    let since = seen.at.saturating_sub(one.sent);
    let far = around.far.least();
    if far < Duration::from_millis(1) || far * 8 < around.total() {
        return Finding::new(Needed::Unknown, Grade::Unknown, []);
    }
    let needed = if since < far * 9 / 10 { Needed::No } else { Needed::Yes };
    Finding::new(needed, Grade::Likely, [seen.frame])
}
