//! Every stack beside every other one, in one run, in turns.
//!
//! Each stack is a process of its own in a network namespace that is made for the run and ends with it; the other end is the
//! kernel's TCP, whatever the stack. All is measured from there, in the same way for each.

mod clients;
mod load;
mod pictures;
mod run;
mod stacks;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use self::load::{Load, Workload, loads};
use self::stacks::Stack;
use crate::meter::Window;
use crate::report::{Report, Sample};
use crate::{link, sys};

/// Of a run with connections: there are so many ports.
const LONGEST_CONNECT: Duration = Duration::from_millis(1000);
/// For 100,000 connections, of both ends.
const DESCRIPTORS: u64 = 250_000;

/// What `all` takes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// The stacks, in the order of their turns; ratios are the first one's over each other one's.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "ropeway,null,smoltcp,tokio-smoltcp,netstack-smoltcp,ipstack,veth,loopback"
    )]
    stacks: Vec<Stack>,
    /// What to do.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "down,up,both,connect,ping,http,idle")]
    workloads: Vec<Workload>,
    /// How many connections a bulk transfer has.
    #[arg(long, value_delimiter = ',', default_value = "1,4,8,16,64")]
    flows: Vec<usize>,
    /// How many connections are idle beside a ping.
    #[arg(long, value_delimiter = ',', default_value = "10000,100000")]
    idle: Vec<usize>,
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
    /// What the files are called.
    #[arg(long, default_value = "all")]
    name: String,
}

/// Measures what `settings` ask for.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    let stacks = built(&settings.stacks);
    let cpus = link::prepare()?;
    sys::raise_descriptors(DESCRIPTORS)?;
    let offload: &[bool] = match (settings.plain, settings.offloaded) {
        (true, _) => &[false],
        (_, true) => &[true],
        _ => &[false, true],
    };
    let loads = loads(&settings.workloads, &settings.flows, &settings.idle, offload);
    let turns: Vec<(Load, Stack)> = loads
        .iter()
        .flat_map(|load| stacks.iter().filter(|stack| load.suits(**stack)).map(|stack| (*load, *stack)))
        .collect();

    let mut report = Report::default();
    report.setting("rounds", settings.rounds);
    report.setting("seconds", settings.seconds);
    report.setting("warm-up", settings.warm_up);
    report.setting("kernel", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim());
    let style = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} {msg} (ETA {eta})");
    let bar = ProgressBar::new((settings.rounds * turns.len()) as u64)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    for round in 0..settings.rounds {
        for (load, stack) in &turns {
            let scenario = load.name();
            bar.set_message(format!("{scenario}: {}", stack.name()));
            match run::run(*stack, *load, window(settings, *load), cpus) {
                Ok(figures) => report.push(Sample { scenario, stack: stack.name(), round, figures }),
                // One stack's failure is no reason to know nothing of the others: it shows as a gap.
                Err(error) => {
                    bar.suspend(|| eprintln!("{scenario}, {}, round {round}: {error}", stack.name()))
                }
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    fs::create_dir_all(&settings.out)?;
    let lines = report.lines();
    let table = report.markdown(&lines);
    println!("{table}");
    fs::write(settings.out.join(format!("{}.md", settings.name)), table)?;
    report.write(&lines, &settings.out.join(format!("{}.json", settings.name)))?;
    pictures::write(&report, &loads, &settings.out, &settings.name)
}

/// Those of the stacks that can be run. What cannot be built is told, and left out.
fn built(stacks: &[Stack]) -> Vec<Stack> {
    let can_run = |stack: &Stack| {
        if !stack.is_peer() {
            return true;
        }
        eprintln!("building {}", stack.name());
        let built = stacks::build(*stack);
        if let Err(error) = &built {
            eprintln!("{} is left out: it cannot be built: {error}", stack.name());
        }
        built.is_ok()
    };
    stacks.iter().copied().filter(can_run).collect()
}

fn window(settings: &Settings, load: Load) -> Window {
    let mut window = Window {
        warm_up: Duration::from_secs_f64(settings.warm_up),
        measure: Duration::from_secs_f64(settings.seconds),
    };
    if load.workload == Workload::Connect {
        window.measure = window.measure.min(LONGEST_CONNECT);
    }
    window
}
