//! What the runs of a cell come to, and how that stands to what is asked of it.

use std::time::Duration;

use ropeway_sim::pipe::Micros;

use super::cell::{Cell, Limit};
use super::engine::{Look, Outcome};
use super::floor::{floor, floor_of};

/// All runs of a cell on hosts of one timing.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    /// The median run's: until the last byte was read, or what the cell gave it.
    pub(crate) time: Micros,
    /// `None`: nothing says how fast it could be.
    pub(crate) floor: Option<Micros>,
    /// Runs that were not done in time.
    pub(crate) unfinished: u64,
    /// Bits a second that the receivers got, in the median.
    pub(crate) goodput: u64,
    /// Means of the runs.
    pub(crate) retransmitted: u64,
    pub(crate) timeouts: u64,
    pub(crate) spurious: u64,
    pub(crate) dropped: u64,
    /// Of any run.
    pub(crate) burst: u64,
    /// In the queue, in microseconds: the mean, and the longest of any run.
    pub(crate) mean_wait: u64,
    pub(crate) longest_wait: u64,
    /// Jain's index in thousandths, if there are several flows.
    pub(crate) jain: Option<u64>,
    pub(crate) packets: u64,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Summary {
    pub(crate) fn of(cell: &Cell, outcomes: Vec<Outcome>) -> Self {
        let runs = (outcomes.len() as u64).max(1);
        let mean = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>().div_ceil(runs);
        let most = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).max().unwrap_or_default();
        let received = |outcome: &Outcome| outcome.flows.iter().map(|flow| flow.received).sum::<u64>();
        let passed: u64 = outcomes.iter().map(|outcome| outcome.forth.passed).sum();
        let waited: u64 = outcomes.iter().map(|outcome| outcome.forth.waited).sum();
        let goodput = |outcome: &Outcome| received(outcome) * 8_000_000 / time(outcome).max(1);
        let is_endless = cell.flows.iter().all(|flow| flow.work.total().is_none());
        let floor = match outcomes.first() {
            _ if is_endless && cell.forth.rate.is_none() => None,
            Some(outcome) if is_endless => Some(floor_of(cell, received(outcome))),
            _ => Some(floor(cell)),
        };
        Self {
            time: median(outcomes.iter().map(time)),
            floor,
            unfinished: outcomes.iter().filter(|outcome| !is_done(cell, outcome)).count() as u64,
            goodput: median(outcomes.iter().map(goodput)),
            retransmitted: mean(|outcome| outcome.counts.retransmitted),
            timeouts: mean(|outcome| outcome.counts.timeouts),
            spurious: mean(|outcome| outcome.counts.spurious_timeouts + outcome.counts.undone),
            dropped: mean(|outcome| outcome.forth.dropped),
            burst: most(|outcome| outcome.burst),
            mean_wait: waited / passed.max(1),
            longest_wait: most(|outcome| outcome.forth.longest),
            jain: (cell.flows.len() > 1)
                .then(|| median(outcomes.iter().map(|outcome| jain(&outcome.shares)))),
            packets: outcomes.iter().map(|outcome| outcome.counts.packets).sum(),
            outcomes,
        }
    }

    /// The time over the floor, in hundredths.
    pub(crate) fn ratio(&self) -> Option<u64> {
        self.floor.map(|floor| self.time * 100 / floor.max(1))
    }
}

fn is_done(cell: &Cell, outcome: &Outcome) -> bool {
    let ends = cell.flows.iter().zip(&outcome.flows).filter(|(flow, _)| flow.work.total().is_some());
    ends.clone().all(|(_, flow)| flow.done.is_some())
}

/// From the first flow's start to the last one's end.
fn time(outcome: &Outcome) -> Micros {
    let first = outcome.flows.iter().map(|flow| flow.start).min().unwrap_or_default();
    outcome.end.saturating_sub(first)
}

/// The middle one, or the lower one of two.
fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// Jain's index in thousandths: 1000 if all have the same share.
fn jain(shares: &[u64]) -> u64 {
    let sum: u128 = shares.iter().map(|share| u128::from(*share)).sum();
    let squares: u128 = shares.iter().map(|share| u128::from(*share).pow(2)).sum();
    let index = (sum * sum * 1000).checked_div(squares * shares.len() as u128);
    index.and_then(|index| u64::try_from(index).ok()).unwrap_or_default()
}

/// How a cell stands to one of its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// What was measured.
    pub(crate) measured: String,
    pub(crate) is_met: bool,
}

/// Judges a cell by one of its limits. `goodput_of` knows the other cells on hosts of the same timing.
pub(crate) fn judge(limit: &Limit, summary: &Summary, goodput_of: impl Fn(&str) -> Option<u64>) -> Verdict {
    let verdict = |measured: String, is_met| Verdict { measured, is_met };
    let first = summary.outcomes.first();
    match limit {
        Limit::Within(time) => {
            verdict(seconds(summary.time), summary.unfinished == 0 && summary.time <= micros(*time))
        }
        Limit::EachWithin(limit) => {
            let worst = summary.outcomes.iter().map(time).max().unwrap_or_default();
            verdict(seconds(worst), summary.unfinished == 0 && worst <= micros(*limit))
        }
        Limit::OfFloor(percent) => {
            let ratio = summary.ratio().unwrap_or(u64::MAX);
            verdict(hundredths(ratio), summary.unfinished == 0 && ratio <= *percent)
        }
        Limit::Window { from, to, segments } => {
            let windows: Vec<u64> =
                first.map(|outcome| windows(&outcome.looks, *from, *to).collect()).unwrap_or_default();
            let (least, most) = (windows.iter().min().copied(), windows.iter().max().copied());
            let (Some(least), Some(most)) = (least, most) else {
                return verdict("nothing".to_owned(), false);
            };
            verdict(format!("{least}..{most}"), segments.contains(&least) && segments.contains(&most))
        }
        Limit::MeanWindow { from, segments, percent } => {
            let looks = first.map(|outcome| outcome.looks.as_slice()).unwrap_or_default();
            let looks = looks.iter().filter(|look| look.flow == 0 && look.at >= micros(*from));
            let windows = looks.map(|look| u64::from(look.cwnd) * 100 / u64::from(look.mss.max(1)));
            let (sum, count) = windows.fold((0, 0), |(sum, count), one| (sum + one, count + 1));
            let mean = sum / u64::max(count, 1);
            verdict(hundredths(mean), mean.abs_diff(segments * 100) <= segments * percent)
        }
        Limit::Share(percent) => {
            let shares = first.map(|outcome| outcome.shares.as_slice()).unwrap_or_default();
            let share = shares.first().copied().unwrap_or_default() * 100 / shares.iter().sum::<u64>().max(1);
            verdict(format!("{share} %"), percent.contains(&share))
        }
        Limit::GoodputOf { cell, percent } => match goodput_of(cell) {
            Some(other) => {
                let reached = summary.goodput * 100 / other.max(1);
                verdict(format!("{reached} %"), summary.unfinished == 0 && reached >= *percent)
            }
            None => verdict("not run".to_owned(), true),
        },
        Limit::Failures(range) => {
            let failed =
                summary.outcomes.iter().flat_map(|outcome| &outcome.flows).map(|flow| u64::from(flow.failed));
            let failed = failed.sum();
            verdict(format!("{failed} failed"), range.contains(&failed))
        }
    }
}

/// The first flow's window in segments, while so much time has passed.
fn windows(looks: &[Look], from: Duration, to: Duration) -> impl Iterator<Item = u64> {
    let looks =
        looks.iter().filter(move |look| look.flow == 0 && look.at >= micros(from) && look.at <= micros(to));
    looks.map(|look| u64::from(look.cwnd) / u64::from(look.mss.max(1)))
}

fn micros(duration: Duration) -> Micros {
    super::cell::micros(duration)
}

/// Microseconds as seconds.
pub(crate) fn seconds(micros: Micros) -> String {
    format!("{}.{:03} s", micros / 1_000_000, micros / 1000 % 1000)
}

/// Hundredths as a number.
pub(crate) fn hundredths(value: u64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

/// What a limit asks for.
pub(crate) fn text(limit: &Limit) -> String {
    let time = |duration: Duration| seconds(micros(duration));
    match limit {
        Limit::Within(limit) => format!("≤ {}", time(*limit)),
        Limit::EachWithin(limit) => format!("each ≤ {}", time(*limit)),
        Limit::OfFloor(percent) => format!("≤ {} x floor", hundredths(*percent)),
        Limit::Window { from, to, segments } => {
            let range = match (segments.start(), segments.end()) {
                (least, &u64::MAX) => format!("≥ {least}"),
                (_, most) => format!("≤ {most}"),
            };
            format!("window {range} at {}..{}", time(*from), time(*to))
        }
        Limit::MeanWindow { segments, percent, .. } => format!("mean window {segments} ± {percent} %"),
        Limit::Share(percent) => format!("share {}..{} %", percent.start(), percent.end()),
        Limit::GoodputOf { cell, percent } => format!("≥ {percent} % of \"{cell}\""),
        Limit::Failures(range) => format!("{}..{} failed", range.start(), range.end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jains_index_of_equal_shares_is_one_and_of_one_taker_one_by_their_number() {
        assert_eq!(jain(&[5, 5, 5]), 1000);
        assert_eq!(jain(&[9, 0, 0]), 333);
        assert_eq!(jain(&[]), 0);
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median([3, 1, 2].into_iter()), 2);
        assert_eq!(median([4, 1, 3, 2].into_iter()), 2);
        assert_eq!(median([].into_iter()), 0);
    }
}
