//! ropeway's TCP, smoltcp's and the kernel's over emulated paths in real time, each against the kernel's.
//!
//! The path is the simulated link between two TUN devices, with a clock that spins on a CPU of its own. The kernel on both
//! ends is what the others are compared with: another stack takes one end's place. Runs of one number have the same seed.
//! As many runs as together fill 300 Mbit/s go on at the same time, each over a path of its own.

mod busy;
mod capture;
mod cells;
mod emulator;
mod ends;
mod lateness;
mod net;
mod report;
mod results;
mod run;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};

use self::net::Net;
use self::results::{Results, Sample};
use self::run::{Outcome, Task};
use crate::grid::cell::Cell;
use crate::link;

/// What the paths of the runs that go on at the same time may carry together, in bits a second.
const TOGETHER: u64 = 300_000_000;
/// The most of them, however slow they are.
const MOST_TOGETHER: u64 = 15;

/// What `paths` takes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Only cells whose name, or the heading they stand under, has one of these in it.
    #[arg(long, value_name = "TEXT", value_delimiter = ';')]
    cell: Vec<String>,
    /// The stacks; without Linux there is nothing to compare with.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "linux,ropeway-sends,ropeway-receives,smoltcp-sends"
    )]
    stacks: Vec<Contender>,
    /// The congestion controls, the same on both ends.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "reno,cubic")]
    congestion: Vec<Congestion>,
    /// How often each stack gets its turn in each cell.
    #[arg(long, default_value_t = 9)]
    runs: usize,
    /// The seed of the first run; the next one has the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keeps the runs in this file, and makes only those that it does not have yet.
    #[arg(long, value_name = "FILE.tsv")]
    results: Option<PathBuf>,
    /// Writes what the results say to paths.md and paths.svg in this directory.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Begins no run after so many minutes.
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,
    /// When a run is given up, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    give_up: u64,
    /// Writes a capture of each run, as the sender's end sees it, to this directory.
    #[arg(long, value_name = "DIR")]
    pcap: Option<PathBuf>,
    /// One run after the other, whatever they fill.
    #[arg(long)]
    in_turns: bool,
    /// Lists the cells, and runs none.
    #[arg(long)]
    list: bool,
}

/// Which stack has which end. The other one is the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// The kernel has both ends.
    Linux,
    /// ropeway sends.
    RopewaySends,
    /// ropeway receives.
    RopewayReceives,
    /// smoltcp sends.
    SmoltcpSends,
}

impl Contender {
    /// The stack in user space is in the near namespace, with the kernel's near end.
    pub(crate) fn sends_from_near(self) -> bool {
        self != Self::RopewayReceives
    }

    /// For readers.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Linux => "Linux",
            Self::RopewaySends => "ropeway sends",
            Self::RopewayReceives => "ropeway receives",
            Self::SmoltcpSends => "smoltcp sends",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::RopewaySends => "ropeway-sends",
            Self::RopewayReceives => "ropeway-receives",
            Self::SmoltcpSends => "smoltcp-sends",
        }
    }
}

/// A congestion control that ropeway and Linux have. Linux's BBR is version 1, and ropeway's version 3: to be compared, and not
/// equal; smoltcp has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Congestion {
    Reno,
    Cubic,
    Bbr,
}

impl Congestion {
    /// By Linux's names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reno => "reno",
            Self::Cubic => "cubic",
            Self::Bbr => "bbr",
        }
    }
}

/// Measures what `settings` ask for.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    let cells: Vec<Cell> = cells::all().into_iter().filter(|cell| settings.wants(cell)).collect();
    if cells.is_empty() {
        return Err(io::Error::other("there is no such cell; --list shows them"));
    }
    if settings.list {
        cells.iter().for_each(|cell| println!("{} | {}", cell.group, cell.name));
        return Ok(());
    }
    let mut results = match &settings.results {
        Some(path) => Results::read(path)?,
        None => Results::default(),
    };
    if cells.iter().any(|cell| !settings.missing(cell, &results).is_empty()) {
        if thread::available_parallelism()?.get() < 2 {
            return Err(io::Error::other("two CPUs are needed: the path's clock spins on one of them"));
        }
        // Before this thread may run on one CPU only.
        results.machine = machine()?;
        link::prepare()?;
        let net = Net::new()?;
        measure(settings, &net, &cells, &mut results)?;
    }
    print!("{}", report::summary(&cells, &results));
    match &settings.report {
        Some(directory) => report::write(directory, &cells::all(), &results, settings.seed),
        None => Ok(()),
    }
}

impl Settings {
    fn wants(&self, cell: &Cell) -> bool {
        let has = |text: &String| cell.name.contains(text) || cell.group.contains(text);
        self.cell.is_empty() || self.cell.iter().any(has)
    }

    /// The runs of a cell that are not there yet: each stack has its turn before one has another.
    fn missing<'a>(&self, cell: &'a Cell, results: &Results) -> Vec<Task<'a>> {
        let turn = |run: usize| {
            let seed = self.seed.wrapping_add(run as u64);
            let stacks = |congestion| self.stacks.iter().map(move |stack| (congestion, *stack));
            let all = self.congestion.iter().copied().flat_map(stacks);
            let all = all.filter(|of| *of != (Congestion::Bbr, Contender::SmoltcpSends));
            all.map(move |(congestion, contender)| Task { cell, contender, congestion, run, seed })
        };
        let all = (0..self.runs).flat_map(turn);
        all.filter(|task| !results.has(&cell.name, task.congestion, task.contender, task.run)).collect()
    }

    /// How many runs of a cell go on at the same time.
    fn at_once(&self, cell: &Cell) -> usize {
        if self.in_turns {
            return 1;
        }
        let rate = cell.fastest().map_or(TOGETHER, |rate| rate.as_bits());
        usize::try_from((TOGETHER / rate.max(1)).clamp(1, MOST_TOGETHER)).unwrap_or(1)
    }
}

fn measure(settings: &Settings, net: &Net, cells: &[Cell], results: &mut Results) -> io::Result<()> {
    let start = Instant::now();
    let is_late = || settings.minutes.is_some_and(|minutes| start.elapsed().as_secs_f64() > minutes * 60.0);
    let tasks: Vec<Vec<Task<'_>>> = cells.iter().map(|cell| settings.missing(cell, results)).collect();
    let bar = ProgressBar::new(tasks.iter().map(Vec::len).sum::<usize>() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} runs, {elapsed}: {msg}") {
        bar.set_style(style);
    }
    for (cell, tasks) in cells.iter().zip(&tasks) {
        bar.set_message(cell.name.clone());
        for tasks in tasks.chunks(settings.at_once(cell)) {
            if is_late() {
                bar.suspend(|| eprintln!("time is up; the next call goes on from here"));
                return Ok(());
            }
            let outcomes =
                run::together(net, tasks, Duration::from_secs(settings.give_up), settings.pcap.is_some())?;
            for (task, outcome) in tasks.iter().zip(outcomes) {
                let sample = sample(task, tasks.len(), &outcome);
                if let (Some(directory), Some(seen)) = (&settings.pcap, &outcome.seen) {
                    capture::write(&directory.join(capture::name(&sample)), seen)?;
                }
                bar.suspend(|| eprintln!("{}", line(&sample, &outcome)));
                results.samples.push(sample);
            }
            if let Some(path) = &settings.results {
                results.write(path)?;
            }
            bar.inc(tasks.len() as u64);
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn sample(task: &Task<'_>, together: usize, outcome: &Outcome) -> Sample {
    let spread = |late: &lateness::Lateness| [late.permille(500), late.permille(990), late.most()];
    Sample {
        cell: task.cell.name.clone(),
        congestion: task.congestion,
        stack: task.contender,
        run: task.run,
        seconds: outcome.time.as_ref().ok().map(Duration::as_secs_f64),
        again: outcome.again,
        dropped: outcome.path.forth.dropped,
        lost: outcome.path.forth.lost,
        late: spread(&outcome.path.late),
        unseen: spread(&outcome.path.unseen),
        together,
        busy: outcome.busy,
    }
}

/// What is shown of a run as soon as it is done.
fn line(sample: &Sample, outcome: &Outcome) -> String {
    let time = match &outcome.time {
        Ok(time) => format!("{:.3} s", time.as_secs_f64()),
        Err(error) => error.clone(),
    };
    let again = sample.again.map_or_else(|| "-".to_owned(), |count| count.to_string());
    let ([late50, late99, latest], [_, unseen99, unseen]) = (sample.late, sample.unseen);
    format!(
        "{} | {} | {:<16} | {} | {time} | again {again}, dropped {}, lost {}, back {}/{} | late {late50:.1} {late99:.1} \
         {latest:.0} us, unseen {unseen99:.1} {unseen:.0} us | CPU {} %",
        sample.cell,
        sample.congestion.name(),
        sample.stack.name(),
        sample.run,
        sample.dropped,
        sample.lost,
        outcome.path.back.dropped,
        outcome.path.back.lost,
        sample.busy,
    )
}

/// What the figures depend on.
fn machine() -> io::Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("CPUs of an unknown kind", |(_, name)| name.trim());
    Ok(format!("Linux {}, {} of {model}", kernel.trim(), thread::available_parallelism()?))
}
