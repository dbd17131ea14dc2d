//! Data that the capture has not shown, though it has shown what lies behind it.

use std::time::Duration;

use super::Seen;
use crate::grade::Grade;

/// Gaps that are remembered.
const MOST: usize = 1024;
/// What comes this soon was overtaken, if nothing says otherwise: Wireshark takes the same.
const SOON: Duration = Duration::from_millis(3);

/// A gap, and who told of it: the first segment behind it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    start: u64,
    end: u64,
    pub(super) frame: u64,
    pub(super) at: Duration,
    tsval: Option<u32>,
    id: Option<u16>,
}

/// The gaps of one direction.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    list: Vec<Gap>,
    /// The first timestamp, and when: from there, the clock is measured.
    first: Option<(u32, Duration)>,
}

/// Whether what fills a gap was sent before the segment behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// It was overtaken on the way.
    Overtaken,
    /// It was sent again.
    Again(Grade),
}

impl Gaps {
    /// A segment with a timestamp.
    pub(super) fn stamp(&mut self, seen: &Seen) {
        self.first = self.first.or_else(|| Some((seen.tsval()?, seen.at)));
    }

    /// `seen` lies behind a gap.
    pub(super) fn open(&mut self, start: u64, end: u64, seen: &Seen) {
        if self.list.len() < MOST {
            let (frame, at, tsval, id) = (seen.frame, seen.at, seen.tsval(), seen.segment.id);
            self.list.push(Gap { start, end, frame, at, tsval, id });
        }
    }

    /// The gap that `start..end` fills, or a part of it.
    pub(super) fn fill(&mut self, start: u64, end: u64) -> Option<Gap> {
        let at = self.list.iter().position(|gap| gap.start < end && start < gap.end)?;
        let gap = self.list.swap_remove(at);
        for (from, to) in [(gap.start, start), (end, gap.end)] {
            if from < to {
                self.list.push(Gap { start: from, end: to, ..gap });
            }
        }
        Some(gap)
    }

    /// All up to `ack` is acknowledged. Returns the bytes of it that were never shown.
    pub(super) fn acknowledge(&mut self, ack: u64) -> u64 {
        let mut unseen = 0;
        self.list.retain_mut(|gap| {
            unseen += gap.end.min(ack).saturating_sub(gap.start);
            gap.start = gap.start.max(ack);
            gap.start < gap.end
        });
        unseen
    }

    /// Whether what fills a gap was overtaken, or sent again; `total` is the least round-trip time.
    pub(super) fn order(&self, gap: &Gap, seen: &Seen, total: Duration) -> Order {
        let later = seen.tsval().zip(gap.tsval).map(|(here, there)| here.wrapping_sub(there).cast_signed());
        let behind = seen.segment.id.zip(gap.id).map(|(here, there)| here.wrapping_sub(there).cast_signed());
        match (later, behind) {
            (Some(1..), _) => Order::Again(Grade::Shown),
            (Some(..=-1), _) => Order::Overtaken,
            // Sent within a tick of what overtook it: nobody hears of a loss that soon.
            (Some(0), _) if self.ticks_in(total, seen) >= 2 => Order::Overtaken,
            (_, Some(..=-1)) => Order::Overtaken,
            (_, Some(1..)) => Order::Again(Grade::Likely),
            _ if seen.at.saturating_sub(gap.at) < SOON.min(total / 4) => Order::Overtaken,
            _ => Order::Again(Grade::Likely),
        }
    }

    /// How often the clock of the timestamps ticks in a time; once a millisecond, as long as that is not known.
    fn ticks_in(&self, time: Duration, seen: &Seen) -> u128 {
        const ENOUGH: Duration = Duration::from_millis(300);
        let now = self.first.zip(seen.tsval());
        let since = now.map(|((tsval, at), now)| (now.wrapping_sub(tsval), seen.at.saturating_sub(at)));
        match since {
            Some((ticks, elapsed)) if elapsed >= ENOUGH => {
                time.as_nanos() * u128::from(ticks) / elapsed.as_nanos()
            }
            _ => time.as_millis(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.list = Vec::new();
    }
}
