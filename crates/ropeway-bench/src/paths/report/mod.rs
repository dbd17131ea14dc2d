//! What the runs say: a table to read, and a picture.

mod chart;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use ropeway_core::Algorithm;
use ropeway_plot::Spread;

use super::results::Results;
use super::{Congestion, Contender};
use crate::grid::cell::Cell;
use crate::grid::floor::floor;
use crate::grid::results::Summary;
use crate::report::median;

/// Those that are compared with Linux, in the order of the columns.
const COMPARED: [Contender; 3] =
    [Contender::RopewaySends, Contender::RopewayReceives, Contender::SmoltcpSends];
const CONGESTION: [Congestion; 3] = [Congestion::Reno, Congestion::Cubic, Congestion::Bbr];
/// What ropeway must not be below.
const LEAST: f64 = 0.9;
/// Of the timers of hosts in the grid, in microseconds: Tokio's.
const TICK: u64 = 1000;

/// Writes the table and the picture of these cells to paths.md and paths.svg in this directory. `seed`: of the first run.
pub(crate) fn write(directory: &Path, cells: &[Cell], results: &Results, seed: u64) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join("paths.md"), markdown(cells, results, seed))?;
    fs::write(directory.join("paths.svg"), chart::chart(cells, results))
}

/// The table of these cells for a terminal.
pub(crate) fn summary(cells: &[Cell], results: &Results) -> String {
    let mut text = String::new();
    let width = cells.iter().map(|cell| cell.name.len()).max().unwrap_or_default();
    for cell in cells {
        for congestion in CONGESTION {
            let Some(linux) = results.seconds(&cell.name, congestion, Contender::Linux) else { continue };
            let _ = write!(text, "{:width$}  {:<5}  Linux {}", cell.name, congestion.name(), seconds(linux));
            for stack in COMPARED {
                if let Some(ratio) = results.ratio(&cell.name, congestion, stack) {
                    let _ = write!(text, "  {} {}", stack.name(), spread(ratio));
                }
            }
            text.push('\n');
        }
    }
    text
}

fn markdown(cells: &[Cell], results: &Results, seed: u64) -> String {
    let mut text = include_str!("introduction.md").to_owned();
    let _ = write!(text, "\n{}.\n\n![Goodput beside Linux's](paths.svg)\n\n## In short\n\n", results.machine);
    for stack in COMPARED {
        text.push_str(&in_short(stack, cells, results));
    }
    text.push_str(&lateness(results));
    let mut group = "";
    for cell in cells {
        if cell.group != group {
            group = cell.group;
            let _ = write!(text, "\n## {group}\n\n{HEADING}");
        }
        for congestion in CONGESTION {
            text.push_str(&row(cell, congestion, results, seed).unwrap_or_default());
        }
    }
    let _ = write!(text, "\n## The path's own error\n\n{ERRORS}");
    for cell in cells {
        text.push_str(&error_row(cell, results).unwrap_or_default());
    }
    text
}

/// How a stack did over all.
fn in_short(stack: Contender, cells: &[Cell], results: &Results) -> String {
    let places = cells.iter().flat_map(|cell| CONGESTION.map(|congestion| (cell, congestion)));
    let medians: Vec<f64> = places
        .filter_map(|(cell, congestion)| Some(results.ratio(&cell.name, congestion, stack)?.median))
        .collect();
    let below = |limit: f64| medians.iter().filter(|ratio| **ratio < limit).count();
    let (least, greatest) =
        (medians.iter().copied().fold(f64::INFINITY, f64::min), medians.iter().copied().fold(0.0, f64::max));
    let Some(middle) = median(medians.clone()) else { return String::new() };
    format!(
        "- **{}**: {middle:.3} of Linux's goodput in the median of {} cells, from {least:.2} to {greatest:.2}; {} below 0.99, \
         {} below 0.9.\n",
        stack.title(),
        medians.len(),
        below(0.99),
        below(LEAST),
    )
}

/// How late the paths were in all runs.
fn lateness(results: &Results) -> String {
    let of =
        |take: fn(&super::results::Sample) -> f64| results.samples.iter().map(take).collect::<Vec<f64>>();
    let middle = |values| median(values).unwrap_or_default();
    format!(
        "- The path delivered late by {:.1} us in half of all cases and by {:.0} us in one of 100, in the median of {} runs.\n",
        middle(of(|sample| sample.late[0])),
        middle(of(|sample| sample.late[1])),
        results.samples.len(),
    )
}

const HEADING: &str = "\
| path | | floor | grid | Linux | again | ropeway sends: goodput | time | again | ropeway receives: goodput | time | \
smoltcp sends: goodput |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n";

/// What stands in the table about a cell; nothing, if Linux has no run.
fn row(cell: &Cell, congestion: Congestion, results: &Results, seed: u64) -> Option<String> {
    let linux = results.seconds(&cell.name, congestion, Contender::Linux)?;
    let again = |stack| {
        let again = results.of(&cell.name, congestion, stack).filter_map(|sample| sample.again);
        median(again.map(|again| again as f64).collect())
            .map_or_else(|| "-".to_owned(), |again| format!("{again:.0}"))
    };
    let ratio = |stack| results.ratio(&cell.name, congestion, stack);
    let goodput = |stack| ratio(stack).map_or_else(|| "-".to_owned(), marked);
    let time =
        |stack| ratio(stack).map_or_else(|| "-".to_owned(), |ratio| format!("{:.2}", 1.0 / ratio.median));
    let (sends, receives) = (Contender::RopewaySends, Contender::RopewayReceives);
    Some(format!(
        "| {} | {} | {:.3} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        cell.name,
        congestion.name(),
        floor(cell) as f64 / 1e6,
        simulated(cell, congestion, results, seed),
        seconds(linux),
        again(Contender::Linux),
        goodput(sends),
        time(sends),
        again(sends),
        goodput(receives),
        time(receives),
        goodput(Contender::SmoltcpSends),
    ))
}

/// How long ropeway at both ends takes over this path in the grid, with the same seeds and with timers that tick in
/// milliseconds: in s, the median.
fn simulated(cell: &Cell, congestion: Congestion, results: &Results, seed: u64) -> String {
    let Ok(algorithm) = congestion.name().parse::<Algorithm>() else { return "-".to_owned() };
    let cell = cell.clone().one_host().config(|config| config.socket.congestion = algorithm);
    let runs: BTreeSet<usize> =
        results.of(&cell.name, congestion, Contender::RopewaySends).map(|sample| sample.run).collect();
    if runs.is_empty() {
        return "-".to_owned();
    }
    let outcome = |run: usize| cell.run(seed.wrapping_add(run as u64), TICK).run();
    let outcomes = runs.into_iter().map(outcome).collect();
    format!("{:.3}", Summary::of(&cell, outcomes).time as f64 / 1e6)
}

const ERRORS: &str = "\
How late packets were delivered, and how long none was taken in, in microseconds: in half of all cases and in 99 of 100, both \
in the median of the cell's runs, and at most in any of them. How many runs went on together at most, and how busy the CPU of \
the ends was, with whatever else ran on the machine.\n\n\
| path | late: half | 99 of 100 | most | unseen: half | 99 of 100 | most | runs together | CPU |\n\
|---|---|---|---|---|---|---|---|---|\n";

/// How exact the path of a cell was.
fn error_row(cell: &Cell, results: &Results) -> Option<String> {
    let samples = || results.samples.iter().filter(|sample| sample.cell == cell.name);
    let middle = |values: Vec<f64>| median(values);
    let figures = |times: fn(&super::results::Sample) -> [f64; 3]| {
        let half = middle(samples().map(|sample| times(sample)[0]).collect())?;
        let nearly = middle(samples().map(|sample| times(sample)[1]).collect())?;
        let most = samples().map(|sample| times(sample)[2]).fold(0.0, f64::max);
        Some(format!("{half:.1} | {nearly:.0} | {most:.0}"))
    };
    let together = samples().map(|sample| sample.together).max()?;
    let busy = middle(samples().map(|sample| sample.busy as f64).collect())?;
    Some(format!(
        "| {} | {} | {} | {together} | {busy:.0} % |\n",
        cell.name,
        figures(|sample| sample.late)?,
        figures(|sample| sample.unseen)?,
    ))
}

fn seconds(spread: Spread) -> String {
    format!("{:.3} ({:.3}..{:.3})", spread.median, spread.least, spread.greatest)
}

fn spread(ratio: Spread) -> String {
    format!("{:.3} ({:.3}..{:.3})", ratio.median, ratio.least, ratio.greatest)
}

/// A ratio with its spread, in bold where it is too low.
fn marked(ratio: Spread) -> String {
    let median = format!("{:.2}", ratio.median);
    let median = if ratio.median < LEAST { format!("**{median}**") } else { median };
    format!("{median} ({:.2}..{:.2})", ratio.least, ratio.greatest)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ropeway_sim::Rate;

    use super::super::results::Sample;
    use super::super::results::tests::sample;
    use super::*;

    fn measured() -> (Vec<Cell>, Results) {
        let cell = Cell::path("a", Rate::mbit(10), Duration::from_millis(40), 10).bulk(1_000_000);
        let mut results = Results { machine: "Linux 6, 2 of a kind".to_owned(), samples: Vec::new() };
        for (run, linux, sends, receives) in [(0, 1.0, 2.0, 1.0), (1, 1.2, 1.6, 1.2), (2, 1.1, 1.5, 1.0)] {
            for (stack, seconds) in [
                (Contender::Linux, linux),
                (Contender::RopewaySends, sends),
                (Contender::RopewayReceives, receives),
            ] {
                results.samples.push(Sample { again: Some(5), ..sample(stack, run, Some(seconds)) });
            }
        }
        results.samples.push(sample(Contender::SmoltcpSends, 0, None));
        (vec![Cell { group: "Clean paths", ..cell }], results)
    }

    #[test]
    fn a_cell_below_the_limit_stands_out_in_the_table() {
        let (cells, results) = measured();
        let text = markdown(&cells, &results, 1);
        let row = text.lines().find(|line| line.starts_with("| a | reno |")).unwrap_or_default();
        let cells: Vec<&str> = row.split(" | ").collect();
        // What the same path takes in the grid is measured.
        assert!(cells[3].starts_with("0."), "{row}");
        assert_eq!(
            [&cells[..3], &cells[4..]].concat().join(" | "),
            "| a | reno | 0.933 | 1.100 (1.000..1.200) | 5 | **0.73** (0.50..0.75) | 1.36 | 5 | 1.00 (1.00..1.10) | 1.00 | \
             **0.00** (0.00..0.00) |"
        );
        assert!(!text.contains("| a | cubic |"), "there is no run of it");
        assert!(
            text.contains("- **ropeway sends**: 0.733 of Linux's goodput in the median of 1 cells"),
            "{text}"
        );
        assert!(text.contains("| a | 0.5 | 1 | 20 | 0.4 | 2 | 30 | 6 | 12 % |\n"), "{text}");
        assert!(text.contains("Linux 6, 2 of a kind."));
    }

    #[test]
    fn the_summary_has_each_cell_that_was_measured() {
        let (cells, results) = measured();
        let line = "a  reno   Linux 1.100 (1.000..1.200)  ropeway-sends 0.733 (0.500..0.750)  ropeway-receives 1.000 \
                    (1.000..1.100)  smoltcp-sends 0.000 (0.000..0.000)\n";
        assert_eq!(summary(&cells, &results), line);
    }

    #[test]
    fn the_picture_has_a_mark_for_each_median() {
        let (cells, results) = measured();
        let picture = chart::chart(&cells, &results);
        assert_eq!(picture.matches("<circle").count(), 3 + 3, "those of the cell, and of the legend");
        assert!(picture.starts_with("<svg") && picture.contains("\na\n"), "{picture}");
    }
}
