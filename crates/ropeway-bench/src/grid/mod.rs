//! The grid: whole transfers over simulated paths, each beside its floor.
//!
//! cells/introduction.md, which becomes the head of docs/grid/grid.md, says how to read it.

pub(crate) mod cell;
mod cells;
pub(crate) mod engine;
pub(crate) mod floor;
mod plots;
pub(crate) mod results;
mod series;
mod table;

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use ropeway_sim::pipe::Micros;

use self::cell::Cell;
use self::engine::Outcome;
use self::results::{Summary, Verdict};

/// How the hosts' timers tick, in microseconds: exactly, and as Tokio's do.
const TICKS: [Micros; 2] = [0, 1000];

/// What `grid` takes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Only cells whose name, or the heading they stand under, has this in it.
    #[arg(long, visible_alias = "cells", value_name = "TEXT")]
    filter: Option<String>,
    /// All cells, and not only those that every change has to pass.
    #[arg(long)]
    all: bool,
    /// The cells that every change has to pass: the default, without a filter.
    #[arg(long, conflicts_with = "all")]
    ci: bool,
    /// How many seeds each cell runs with, instead of its own number.
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Writes everything that was measured, run by run, to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fails if a cell is worse than this table of figures by more than its tolerance.
    #[arg(long, value_name = "FILE.tsv")]
    check: Option<PathBuf>,
    /// Writes the table of figures, and beside it the one to read (.md).
    #[arg(long, value_name = "FILE.tsv")]
    write: Option<PathBuf>,
    /// Writes windows and rates over time, of the first cell that is found, to this file.
    #[arg(long, value_name = "FILE.tsv")]
    series: Option<PathBuf>,
    /// Draws the connections of each cell, with the first seed, into this directory, and measures nothing.
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["series", "json", "check", "write"])]
    plot: Option<PathBuf>,
    /// Draws only what happens in such a span of seconds since a connection's first segment, such as 2..2.5.
    #[arg(long, value_name = "FROM..UNTIL", value_parser = ropeway_plot::parse_span, requires = "plot")]
    plot_span: Option<Range<Duration>>,
    /// The ticks of timers for series and plots, in microseconds.
    #[arg(long, value_name = "MICROS", default_value_t = 1000)]
    tick: Micros,
    /// How often, for series, in milliseconds.
    #[arg(long, value_name = "MILLIS", default_value_t = 10)]
    every: u64,
    /// Lists the cells, and runs none.
    #[arg(long)]
    list: bool,
}

/// A cell with all that was measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    cell: Cell,
    /// With each of the ticks.
    sides: [(Summary, Vec<Verdict>); 2],
}

impl Measured {
    fn sides(&self) -> [(Micros, &Summary, &[Verdict]); 2] {
        let [(exact, exact_verdicts), (coarse, coarse_verdicts)] = &self.sides;
        let [zero, milli] = TICKS;
        [(zero, exact, exact_verdicts), (milli, coarse, coarse_verdicts)]
    }
}

/// Runs the grid.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    let all = cells::all();
    let cells: Vec<Cell> = all.iter().filter(|cell| settings.wants(cell)).cloned().collect();
    if cells.is_empty() {
        return Err(io::Error::other("there is no such cell; --list shows them"));
    }
    if settings.list {
        cells.iter().for_each(|cell| {
            println!("{} | {}{}", cell.group, cell.name, if cell.in_ci { " | ci" } else { "" })
        });
        return Ok(());
    }
    if let (Some(path), Some(cell)) = (&settings.series, cells.first()) {
        let cell = cell.clone().look_every(Duration::from_millis(settings.every));
        return write(path, &series::series(&cell.run(settings.seed, settings.tick).run()));
    }
    if let Some(directory) = &settings.plot {
        return plots::draw(&cells, settings.seed, settings.tick, settings.plot_span.as_ref(), directory);
    }
    let start = Instant::now();
    let measured = measure(&cells, settings.seeds, settings.seed);
    println!("{}", table::markdown(&measured));
    let packets: u64 = measured.iter().flat_map(Measured::sides).map(|(_, summary, _)| summary.packets).sum();
    eprintln!("{} cells, {packets} packets in {:.1} s", cells.len(), start.elapsed().as_secs_f64());
    if let Some(path) = &settings.json {
        write(path, &format!("{:#}\n", json(&measured)))?;
    }
    if let Some(path) = &settings.write {
        write(path, &table::figures(&measured))?;
        write(&path.with_extension("md"), &format!("{}{}", cells::INTRODUCTION, table::markdown(&measured)))?;
    }
    let Some(path) = &settings.check else { return Ok(()) };
    let is_cell = |name: &str| all.iter().any(|cell| cell.name == name);
    let faults = table::check(&read(path)?, &measured, is_cell)?;
    faults.iter().for_each(|fault| eprintln!("{fault}"));
    if faults.is_empty() { Ok(()) } else { Err(io::Error::other("the grid is worse than its table")) }
}

impl Settings {
    fn wants(&self, cell: &Cell) -> bool {
        let found = self.filter.as_ref().map(|text| cell.name.contains(text) || cell.group.contains(text));
        match found {
            Some(found) => found && (!self.ci || cell.in_ci),
            None => self.all || cell.in_ci,
        }
    }
}

/// Runs all cells with all their seeds, or so many from the first one on, on as many threads as there are processors.
fn measure(cells: &[Cell], seeds: Option<u64>, first: u64) -> Vec<Measured> {
    let mut jobs: Vec<(usize, usize, u64)> = Vec::new();
    for (number, cell) in cells.iter().enumerate() {
        for side in 0..TICKS.len() {
            let seeds = seeds.unwrap_or(cell.seeds).max(1);
            jobs.extend((0..seeds).map(|seed| (number, side, first.saturating_add(seed))));
        }
    }
    // The longest ones first, so that none is left alone at the end.
    jobs.sort_by_key(|(number, ..)| std::cmp::Reverse(cells.get(*number).map_or(0, Cell::weight)));
    let bar = ProgressBar::new(jobs.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} runs, {elapsed} {msg}") {
        bar.set_style(style);
    }
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<Vec<(usize, usize, u64, Outcome)>> = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some((number, side, seed)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)).copied()
                {
                    let (Some(cell), Some(tick)) = (cells.get(number), TICKS.get(side)) else { continue };
                    bar.set_message(cell.name.clone());
                    let outcome = cell.run(seed, *tick).run();
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.push((number, side, seed, outcome));
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut outcomes = outcomes.into_inner().unwrap_or_default();
    outcomes.sort_by_key(|(number, side, seed, _)| (*number, *side, *seed));
    let of = |wanted: usize, on: usize| {
        let found = outcomes.iter().filter(|(number, side, ..)| (*number, *side) == (wanted, on));
        found.map(|(.., outcome)| outcome.clone()).collect::<Vec<_>>()
    };
    let summaries: Vec<[Summary; 2]> = cells
        .iter()
        .enumerate()
        .map(|(number, cell)| [0, 1].map(|side| Summary::of(cell, of(number, side))))
        .collect();
    let judged = cells.iter().zip(&summaries).map(|(cell, sides)| {
        let mut on = 0;
        let sides = sides.clone().map(|summary| {
            let goodput_of = |name: &str| {
                let other = cells.iter().position(|other| other.name == name)?;
                summaries.get(other)?.get(on).map(|summary| summary.goodput)
            };
            let verdicts =
                cell.limits.iter().map(|limit| results::judge(limit, &summary, goodput_of)).collect();
            on += 1;
            (summary, verdicts)
        });
        Measured { cell: cell.clone(), sides }
    });
    judged.collect()
}

fn json(measured: &[Measured]) -> serde_json::Value {
    let cells = measured.iter().map(|one| {
        let sides = one.sides().map(|(tick, summary, verdicts)| {
            let runs = summary.outcomes.iter().map(|outcome| {
                let flows = outcome.flows.iter().map(|flow| {
                    serde_json::json!({
                        "start_us": flow.start, "done_us": flow.done, "received": flow.received, "failed": flow.failed,
                    })
                });
                serde_json::json!({
                    "flows": flows.collect::<Vec<_>>(),
                    "retransmitted": outcome.counts.retransmitted,
                    "timeouts": outcome.counts.timeouts,
                    "spurious_timeouts": outcome.counts.spurious_timeouts,
                    "undone": outcome.counts.undone,
                    "tail_probes": outcome.counts.probes,
                    "burst": outcome.burst,
                    "dropped": outcome.forth.dropped,
                    "lost": outcome.forth.lost,
                    "hash": format!("{:016x}", outcome.hash),
                })
            });
            let limits = one.cell.limits.iter().zip(verdicts).map(|(limit, verdict)| {
                serde_json::json!({
                    "asked": results::text(limit), "got": verdict.measured, "met": verdict.is_met,
                })
            });
            serde_json::json!({
                "tick_us": tick,
                "time_us": summary.time,
                "floor_us": summary.floor,
                "goodput_bits": summary.goodput,
                "jain_thousandths": summary.jain,
                "limits": limits.collect::<Vec<_>>(),
                "runs": runs.collect::<Vec<_>>(),
            })
        });
        serde_json::json!({ "cell": one.cell.name, "group": one.cell.group, "sides": sides })
    });
    cells.collect()
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let told =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()));
    fs::write(path, text).map_err(told)
}

fn read(path: &Path) -> io::Result<String> {
    let told =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()));
    fs::read_to_string(path).map_err(told)
}
