//! Every stack beside every other one, in one run, in turns.
//!
//! Each stack is a process of its own in a network namespace that is made for the run and ends with it; the other end is the
//! kernel's TCP, whatever the stack. All is measured from there, in the same way for each.

mod cable;
mod clients;
mod datagrams;
mod gateway;
pub(crate) mod idle;
mod load;
mod pictures;
mod run;
mod stacks;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use self::load::{Kind, Load, Wanted, Way, Workload};
use self::stacks::Stack;
use crate::link::Cpus;
use crate::meter::Window;
use crate::report::{Failure, Report, Sample};
use crate::{link, sys};

/// Of a run with connections: there are so many ports.
const LONGEST_CONNECT: Duration = Duration::from_millis(1000);
/// For 100,000 connections, of both ends.
const DESCRIPTORS: u64 = 250_000;

/// What `all` takes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// The stacks, in the order of their turns; ratios are the first one's over each other one's. Beside those that are the
    /// default there is `ropeway-SxW`: S shards on W workers, which run on every CPU, and not on one as all others.
    #[arg(
        long,
        value_parser = Stack::parse,
        value_delimiter = ',',
        default_value = "ropeway,null,smoltcp,tokio-smoltcp,netstack-smoltcp,ipstack,veth,loopback,pasta,slirp4netns"
    )]
    stacks: Vec<Stack>,
    /// What to do.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "down,up,both,connect,ping,http,idle,relay,memory,udp"
    )]
    workloads: Vec<Workload>,
    /// How many connections a bulk transfer has.
    #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
    flows: Vec<usize>,
    /// How many connections are idle beside a ping.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000")]
    idle: Vec<usize>,
    /// The MTU of a relay's guest.
    #[arg(long, value_delimiter = ',', default_value = "1500,65520")]
    relay_mtu: Vec<u16>,
    /// The MTU between two ends in memory.
    #[arg(long, value_delimiter = ',', default_value = "1500,65535")]
    memory_mtu: Vec<u16>,
    /// How many bytes of data a datagram has.
    #[arg(long, value_delimiter = ',', default_value = "64,1200")]
    datagram: Vec<u16>,
    /// Only without offload.
    #[arg(long, conflicts_with = "offloaded")]
    plain: bool,
    /// Only with offload, for the stacks that know it.
    #[arg(long)]
    offloaded: bool,
    /// How often each stack gets its turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long to measure in each run.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How long a load runs before it is measured, in seconds.
    #[arg(long, default_value_t = 0.3)]
    warm_up: f64,
    /// Where to write tables, pictures and every sample.
    #[arg(long, value_name = "FOLDER", default_value = "bench-results")]
    out: PathBuf,
    /// Goes on from what is there already, and makes only the runs that are missing.
    #[arg(long)]
    resume: bool,
    /// Begins no run after so many minutes; with `--resume`, the next call goes on from there.
    #[arg(long, value_name = "MINUTES")]
    minutes: Option<f64>,
    /// Fails if any run has failed.
    #[arg(long)]
    strict: bool,
    /// What the files are called.
    #[arg(long, default_value = "all")]
    name: String,
}

/// Measures what `settings` ask for.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    let stacks = built(&settings.stacks);
    let cpus = link::prepare()?;
    sys::raise_descriptors(DESCRIPTORS)?;
    let loads = settings.loads();
    let mut report = Report::default();
    report.setting("seconds", settings.seconds);
    report.setting("warm-up", settings.warm_up);
    report.setting("kernel", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim());
    fs::create_dir_all(&settings.out)?;
    if settings.resume {
        report.resume(&settings.file("json"))?;
    }
    measure(settings, &stacks, &loads, cpus, &mut report)?;
    println!("{}", report.markdown(&report.lines()));
    match report.failures().len() {
        failed if settings.strict && failed > 0 => {
            Err(io::Error::other(format!("{failed} runs have failed")))
        }
        _ => Ok(()),
    }
}

impl Settings {
    fn loads(&self) -> Vec<Load> {
        let ways: &[Way] = match (self.plain, self.offloaded) {
            (true, _) => &[Way::Plain],
            (_, true) => &[Way::Offloaded],
            _ => &[Way::Plain, Way::Offloaded],
        };
        let (flows, idle) = (&*self.flows, &*self.idle);
        let (relay_mtus, memory_mtus) = (&*self.relay_mtu, &*self.memory_mtu);
        Wanted { flows, idle, ways, relay_mtus, memory_mtus, datagrams: &self.datagram }
            .loads(&self.workloads)
    }

    fn file(&self, extension: &str) -> PathBuf {
        self.out.join(format!("{}.{extension}", self.name))
    }

    /// Writes what there is, each time as a whole.
    fn write(&self, report: &Report, loads: &[Load]) -> io::Result<()> {
        let lines = report.lines();
        fs::write(self.file("md"), report.markdown(&lines))?;
        report.write(&lines, &self.file("json"))?;
        pictures::write(report, loads, &self.out, &self.name)
    }
}

/// Makes the runs that `report` does not have. Each stack has its turn at a load before the next load begins, and all loads are
/// done once before one is done again.
fn measure(
    settings: &Settings,
    stacks: &[Stack],
    loads: &[Load],
    cpus: Cpus,
    report: &mut Report,
) -> io::Result<()> {
    let begin = Instant::now();
    let is_late = || settings.minutes.is_some_and(|minutes| begin.elapsed().as_secs_f64() > 60.0 * minutes);
    let turns: Vec<(usize, Load, Stack)> = (0..settings.rounds)
        .flat_map(|round| loads.iter().map(move |load| (round, *load)))
        .flat_map(|(round, load)| stacks.iter().map(move |stack| (round, load, *stack)))
        .filter(|(round, load, stack)| load.suits(*stack) && !report.has(&load.name(), stack.name(), *round))
        .collect();
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} {msg} (ETA {eta})");
    let bar = ProgressBar::new(turns.len() as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut before = None;
    for (round, load, stack) in turns {
        // Between two loads: the runs of a round are compared with each other, and must not be torn apart.
        if before.replace((round, load)) != Some((round, load)) && is_late() {
            bar.suspend(|| eprintln!("time is up; with --resume the next call goes on from here"));
            break;
        }
        let scenario = load.name();
        bar.set_message(format!("{scenario}: {}", stack.name()));
        match run::run(stack, load, window(settings, load), cpus) {
            Ok(figures) => report.push(Sample { scenario, stack: stack.name(), round, figures }),
            // One stack's failure is no reason to know nothing of the others: it shows as a gap.
            Err(error) => {
                bar.suspend(|| eprintln!("{scenario}, {}, round {round}: {error}", stack.name()));
                let (stack, error) = (stack.name().to_owned(), error.to_string());
                report.fail(Failure { scenario, stack, round, error });
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    settings.write(report, loads)
}

/// Those of the stacks that can be run. What cannot be built, or is not installed, is told, and left out.
fn built(stacks: &[Stack]) -> Vec<Stack> {
    let can_run = |stack: &Stack| {
        if stack.is_peer() {
            eprintln!("building {}", stack.name());
        }
        let provided = stacks::provide(*stack);
        if let Err(error) = &provided {
            eprintln!("{} is left out: {error}", stack.name());
        }
        provided.is_ok()
    };
    stacks.iter().copied().filter(can_run).collect()
}

fn window(settings: &Settings, load: Load) -> Window {
    let mut window = Window {
        warm_up: Duration::from_secs_f64(settings.warm_up),
        measure: Duration::from_secs_f64(settings.seconds),
    };
    if load.kind == Kind::Connect {
        window.measure = window.measure.min(LONGEST_CONNECT);
    }
    window
}
