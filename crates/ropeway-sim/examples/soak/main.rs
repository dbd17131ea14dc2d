//! Random networks, faults and applications, whose every byte is known: which seed makes ropeway fail, and what is
//! the smallest part of that scenario which still does?
//!
//! ```sh
//! cargo run --release -p ropeway-sim --example soak -- --seeds 10000
//! cargo run --release -p ropeway-sim --example soak -- --seed 17       # one seed, whose scenario is shown
//! ```
//!
//! A failing seed is shrunk and shown, and its packets, ladders and events are written.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub
)]

mod apps;
mod generate;
mod listing;
mod oracle;
mod pattern;
mod run;
mod scenario;
mod shrink;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use self::run::{Totals, run};
use self::scenario::Scenario;

/// No run takes longer, unless time stands still.
const STUCK: Duration = Duration::from_secs(300);

/// Random networks, faults and applications, whose every byte is known.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// How many seeds to try.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Try this seed only, and show its scenario.
    #[arg(long)]
    seed: Option<u64>,
    /// How many runs go on at the same time, each on a thread of its own.
    #[arg(long, default_value_t = 1)]
    jobs: u64,
    /// Show failing scenarios as they are.
    #[arg(long)]
    no_shrink: bool,
    /// Go on after so many failures.
    #[arg(long, default_value_t = 0)]
    go_on: u64,
    /// Where the records of failures are written.
    #[arg(long, default_value = "target/ropeway-sim")]
    records: PathBuf,
}

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(run::note_panic));
    let cli = Cli::parse();
    let failures = match cli.seed {
        Some(seed) => {
            let scenario = Scenario::random(seed);
            print!("{scenario}");
            let result = run(&scenario, None, 0);
            if let Ok(totals) = &result {
                println!("all went well: {totals:?}");
            }
            result.err().map(|error| tell(&cli, seed, &error)).into_iter().count() as u64
        }
        None => try_all(&cli),
    };
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What a worker says: that it begins with a seed, or what came of it.
type Message = (u64, Option<Result<Totals, String>>);

fn try_all(cli: &Cli) -> u64 {
    let next = AtomicU64::new(cli.start);
    let end = cli.start + cli.seeds;
    let bar = ProgressBar::new(cli.seeds).with_style(
        ProgressStyle::with_template("{wide_bar} {pos}/{len} seeds, {per_sec}, {eta} left  {msg}").unwrap(),
    );
    let (mut failures, mut sum) = (0, Totals::default());
    let begin = Instant::now();
    thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..cli.jobs.max(1) {
            let sender = sender.clone();
            scope.spawn(|| work(&next, end, sender));
        }
        drop(sender);
        let mut running = Vec::new();
        loop {
            match receiver.recv_timeout(Duration::from_secs(1)) {
                Ok((seed, None)) => running.push((seed, Instant::now())),
                Ok((seed, Some(result))) => {
                    running.retain(|(other, _)| *other != seed);
                    bar.inc(1);
                    match result {
                        Ok(totals) => sum.add(totals),
                        Err(_) if failures > cli.go_on => {}
                        Err(error) => {
                            failures += 1;
                            if failures > cli.go_on {
                                next.store(end, Ordering::Relaxed);
                            }
                            bar.suspend(|| tell(cli, seed, &error));
                        }
                    }
                    bar.set_message(format!("{failures} failed"));
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Some((seed, _)) = running.iter().find(|(_, since)| since.elapsed() > STUCK) {
                        println!("seed {seed} does not come to an end: time stands still");
                        std::process::exit(1);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    bar.finish_and_clear();
    println!(
        "{} seeds in {}: {failures} failed; {} connections, {} packets, {} segments retransmitted, {} hours of \
         simulated time",
        HumanCount(bar.position()),
        HumanDuration(begin.elapsed()),
        HumanCount(sum.connections),
        HumanCount(sum.packets),
        HumanCount(sum.retransmitted),
        HumanCount(sum.virtual_millis / 3_600_000),
    );
    println!(
        "{} probes of path MTUs, {} black holes, {} connections by Fast Open, {} datagrams, {} of them in fragments",
        HumanCount(sum.mtu_probes),
        HumanCount(sum.black_holes),
        HumanCount(sum.fast_opens),
        HumanCount(sum.datagrams),
        HumanCount(sum.reassembled),
    );
    failures
}

fn work(next: &AtomicU64, end: u64, sender: Sender<Message>) {
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end || sender.send((seed, None)).is_err() {
            return;
        }
        let result = run(&Scenario::random(seed), None, 0);
        let _ = sender.send((seed, Some(result)));
    }
}

/// Shrinks what failed, and shows it.
fn tell(cli: &Cli, seed: u64, error: &str) {
    println!("seed {seed} fails: {error}");
    let mut scenario = Scenario::random(seed);
    if !cli.no_shrink {
        let bar = ProgressBar::new_spinner();
        scenario = shrink::shrink(scenario, |smaller| {
            bar.inc(1);
            bar.set_message(format!("{} runs to shrink it", bar.position()));
            bar.tick();
            run(smaller, None, 0).is_err_and(|other| kind(&other) == kind(error))
        });
        bar.finish_and_clear();
    }
    let directory: &Path = &cli.records.join(format!("soak-{seed}"));
    let error = run(&scenario, Some(directory), 0).err().unwrap_or_default();
    println!("\n{scenario}\n{error}\n");
    println!("packets.pcapng, connections.txt and events.txt are in {}", directory.display());
    println!("to replay it: cargo run --release -p ropeway-sim --example soak -- --seed {seed}");
}

/// What sort of failure it is: shrinking must not find another one.
fn kind(error: &str) -> &str {
    error.split(':').next().unwrap_or_default()
}
