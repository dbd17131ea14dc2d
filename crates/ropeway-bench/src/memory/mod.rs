//! Two ends of one stack, joined by queues on one thread: what a packet costs both ends together, without
//! a device and without a kernel.
//!
//! The clock is a counter and the work is fixed, so a run under `valgrind --tool=callgrind` executes the
//! same instructions every time. In bulk, one end sends and the other receives; the application copies on both
//! sides, as it does over a socket. The other scenarios open and close connections: connect, a byte there and back,
//! close, the client first.

mod ropeway;
mod smoltcp;

use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::report::{Figure, Report, Sample, figure, percentile};
use crate::sys;
use crate::{Common, StackKind};

const MTU: u16 = 1500;
/// How much an application writes or reads at a time.
const APPLICATION_BUFFER: usize = 128 * 1024;
/// A packet longer than this carries data: headers with all their options are shorter.
const LONGEST_ACK: usize = 120;
/// What the clock gains in each turn of both ends.
const TICK: Duration = Duration::from_micros(10);
/// A run that makes no progress for this many turns has failed.
const MOST_IDLE_TURNS: u32 = 1_000_000;

/// Where both stacks' ends are.
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const PORT: u16 = 80;

/// How to measure in memory.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    common: Common,
    /// What to do.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "bulk,connect,connect16")]
    scenarios: Vec<Scenario>,
    /// Data packets to carry in each run in bulk: the work is fixed, not the time.
    #[arg(long, default_value_t = 3_000_000)]
    packets: u64,
    /// The MTU in bulk; connections have 1500 bytes.
    #[arg(long, default_value_t = MTU)]
    mtu: u16,
    /// Connections to open and close in each run of the other scenarios.
    #[arg(long, default_value_t = 200_000)]
    connections: u64,
    /// Round trips to make in each run of `ping`.
    #[arg(long, default_value_t = 200_000)]
    exchanges: u64,
    /// Idle connections that are open beside these: a run for each number.
    #[arg(long, value_delimiter = ',', default_value = "0")]
    idle: Vec<usize>,
}

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// One connection, one end sends and the other receives.
    Bulk,
    /// Connections one after the other: connect, a byte there and back, close.
    Connect,
    /// The same, sixteen at a time.
    Connect16,
    /// A byte there and back on one connection; ropeway alone.
    Ping,
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Connect => "connect",
            Self::Connect16 => "connect16",
            Self::Ping => "ping",
        }
    }
}

/// What a run found.
#[derive(Clone, Copy, Debug, Default)]
struct Carried {
    /// Packets with data.
    data_packets: u64,
    /// Packets that only acknowledge.
    ack_packets: u64,
    /// Payload bytes that the receiving application read.
    bytes: u64,
}

/// Connections to open and close.
#[derive(Clone, Copy, Debug)]
struct Churn {
    /// How many.
    connections: u64,
    /// How many at a time.
    at_once: usize,
    /// How many others are open all the time, idle.
    idle: usize,
    /// Whether a stack that knows TCP timestamps uses them.
    timestamps: bool,
}

/// What opening and closing them took, without what came before.
struct Churned {
    packets: u64,
    wall: Duration,
}

/// Measures what `settings` ask for.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    let common = &settings.common;
    let is_here = |stack: &StackKind| matches!(stack, StackKind::Ropeway | StackKind::Smoltcp);
    if let Some(stack) = common.stacks.iter().find(|stack| !is_here(stack)) {
        return Err(io::Error::other(format!("{} is not in memory: measure it with `tun`", stack.name())));
    }
    // One CPU, the last: the first is where others' interrupts go. Without the right, no harm is done.
    let _ = sys::pin_to(std::thread::available_parallelism().ok().map(|cpus| cpus.get() - 1));
    let mut report = Report::default();
    report.setting("MTU", settings.mtu);
    report.setting("buffer KiB", common.buffer);
    report.setting("timestamps", !common.no_timestamps);
    report.setting("packets", settings.packets);
    report.setting("connections", settings.connections);
    report.setting("exchanges", settings.exchanges);
    report.setting("rounds", common.rounds);
    let rows: Vec<(Scenario, usize)> =
        settings.scenarios.iter().flat_map(|scenario| settings.rows(*scenario)).collect();
    for round in 0..common.rounds {
        for (scenario, idle) in &rows {
            for stack in &common.stacks {
                let name = scenario.name();
                let figures = match scenario {
                    Scenario::Bulk => bulk(*stack, Bulk::of(settings)),
                    Scenario::Connect => churn(*stack, settings, 1, *idle),
                    Scenario::Connect16 => churn(*stack, settings, 16, *idle),
                    Scenario::Ping => ping(*stack, settings, *idle),
                }?;
                let scenario = if *idle > 0 { format!("{name}, {idle} idle") } else { name.to_owned() };
                report.add(Sample { scenario, stack: stack.name(), round, figures });
            }
        }
    }
    report.finish(common.json.as_deref())
}

impl Settings {
    /// A scenario with each number of idle connections; there are none beside bulk.
    fn rows(&self, scenario: Scenario) -> Vec<(Scenario, usize)> {
        let idle = if scenario == Scenario::Bulk { &[0][..] } else { &*self.idle };
        idle.iter().map(|idle| (scenario, *idle)).collect()
    }

    fn churn(&self, at_once: usize, idle: usize) -> Churn {
        let (connections, timestamps) = (self.connections, !self.common.no_timestamps);
        Churn { connections, at_once, idle, timestamps }
    }
}

/// A transfer from one end to the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bulk {
    /// Data packets to carry.
    pub(crate) packets: u64,
    /// Of each packet, in bytes.
    pub(crate) mtu: u16,
    /// Of each socket buffer, in bytes.
    pub(crate) buffer: usize,
    /// Whether a stack that knows TCP timestamps uses them.
    pub(crate) timestamps: bool,
}

impl Bulk {
    fn of(settings: &Settings) -> Self {
        let (mtu, buffer) = (settings.mtu, settings.common.buffer_bytes());
        Self { packets: settings.packets, mtu, buffer, timestamps: !settings.common.no_timestamps }
    }
}

/// Carries `bulk` between two ends of `stack`.
pub(crate) fn bulk(stack: StackKind, bulk: Bulk) -> io::Result<Vec<Figure>> {
    let begin = Instant::now();
    let carried = match stack {
        StackKind::Ropeway => ropeway::run(bulk),
        _ => smoltcp::run(bulk),
    }?;
    let wall = begin.elapsed();
    let data_packets = carried.data_packets as f64;
    Ok(vec![
        figure("ns/data packet", wall.as_secs_f64() * 1e9 / data_packets),
        figure("Gbit/s", carried.bytes as f64 * 8.0 / 1e9 / wall.as_secs_f64()),
        // One thread does the work of both, and nothing else.
        figure("CPU s/GB of both ends", wall.as_secs_f64() * 1e9 / carried.bytes as f64),
        figure("payload/data packet", carried.bytes as f64 / data_packets),
        figure("acks/data packet", carried.ack_packets as f64 / data_packets),
    ])
}

/// Opens, uses and closes so many connections of ropeway's, sixteen at a time.
pub(crate) fn connections(connections: u64) -> io::Result<()> {
    let churn = Churn { connections, at_once: 16, idle: 0, timestamps: true };
    ropeway::connect::Ends::new(churn)?.run().map(drop)
}

fn churn(stack: StackKind, settings: &Settings, at_once: usize, idle: usize) -> io::Result<Vec<Figure>> {
    let churn = settings.churn(at_once, idle);
    let Churned { packets, wall } = match stack {
        StackKind::Ropeway => ropeway::connect::Ends::new(churn)?.run(),
        _ => smoltcp::connect::Ends::new(churn)?.run(),
    }?;
    let (wall, connections) = (wall.as_secs_f64(), churn.connections as f64);
    Ok(vec![
        figure("us/connection", wall * 1e6 / connections),
        figure("connections/s", connections / wall),
        figure("packets/connection", packets as f64 / connections),
    ])
}

/// Round trips of a byte beside so many idle connections.
fn ping(stack: StackKind, settings: &Settings, idle: usize) -> io::Result<Vec<Figure>> {
    if stack != StackKind::Ropeway {
        return Err(io::Error::other("round trips in memory are ropeway's alone"));
    }
    let times = ropeway::connect::Ends::new(settings.churn(1, idle))?.ping(settings.exchanges)?;
    let all: Duration = times.iter().sum();
    let nanos = |percent| percentile(&times, percent).map_or(f64::NAN, |time| time.as_secs_f64() * 1e9);
    Ok(vec![
        figure("ns/round trip", all.as_secs_f64() * 1e9 / times.len() as f64),
        figure("p50 ns", nanos(50)),
        figure("p99 ns", nanos(99)),
    ])
}

/// Notices a run that is stuck.
#[derive(Default)]
struct Progress {
    done: u64,
    idle_turns: u32,
}

impl Progress {
    /// Ends the run with an error if `done` has not grown for too long.
    fn check(&mut self, done: u64) -> io::Result<()> {
        if done != self.done {
            *self = Self { done, idle_turns: 0 };
            return Ok(());
        }
        self.idle_turns += 1;
        if self.idle_turns < MOST_IDLE_TURNS {
            return Ok(());
        }
        Err(io::Error::other(format!("the run is stuck after {done} bytes or connections")))
    }
}

/// What has gone in one direction of the link.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    data_packets: u64,
    ack_packets: u64,
}

impl Counts {
    /// Counts a packet of `length` bytes.
    fn count(&mut self, length: usize) {
        if length > LONGEST_ACK {
            self.data_packets += 1;
        } else {
            self.ack_packets += 1;
        }
    }

    /// All packets.
    fn total(&self) -> u64 {
        self.data_packets + self.ack_packets
    }
}
