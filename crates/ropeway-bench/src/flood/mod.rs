//! A SYN flood by hping3 over TUN, with honest clients of the kernel's TCP in it.
//!
//! The flood shares the device's queue with the honest clients, and the generator shares its CPU with them: what the
//! kernel drops at the queue is lost whatever the stack does, so it is counted apart. The stack answers to addresses
//! that are nobody's. In the namespace no route leads to them and nothing is forwarded, so its kernel drops the
//! answers, which is counted too.

mod clients;
mod generator;
mod server;

use std::fs;
use std::io;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use ropeway::Counters;

use self::clients::Clients;
use self::generator::Generator;
use self::server::{Served, Server};
use crate::link::{self, Cpus, DeviceCounts, DeviceTable, MTU, STACK_ADDRESS};
use crate::report::{Figure, Report, Sample, figure, percentile};
use crate::sys;

/// The flood has filled the SYN queue by then.
const RAMP: Duration = Duration::from_millis(500);
/// How long an honest client tries: the kernel sends its SYN again after 1, 3 and 7 seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How to flood.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// What the generator does, in turns.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "quiet,limited,flood")]
    loads: Vec<Load>,
    /// How often each load gets its turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many honest clients.
    #[arg(long, default_value_t = 1000)]
    clients: u32,
    /// Over how many seconds they come, evenly.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// How many packets wait in the device for the stack; the default is that of ropeway's devices.
    #[arg(long, value_name = "PACKETS", default_value_t = 5000)]
    queue: u32,
    /// What a limited generator waits between two SYNs, in microseconds.
    #[arg(long, default_value_t = 10)]
    interval: u32,
    /// The generator is stopped after so many SYNs in a run.
    #[arg(long, default_value_t = 20_000_000)]
    most_syns: u64,
    /// Writes settings, medians and every sample to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What the generator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Load {
    /// Nothing: what honest clients get then.
    Quiet,
    /// A SYN now and then, less than the device's queue takes.
    Limited,
    /// As many SYNs as one CPU makes.
    Flood,
}

impl Load {
    fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Limited => "limited",
            Self::Flood => "flood",
        }
    }
}

/// Measures what `settings` ask for.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    let cpus = link::prepare()?;
    let mut report = Report::default();
    report.setting("MTU", MTU);
    report.setting("device queue", settings.queue);
    report.setting("clients", settings.clients);
    report.setting("seconds", settings.seconds);
    report.setting("interval us", settings.interval);
    report.setting("rounds", settings.rounds);
    report.setting("kernel", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim());
    let mut port = 2000;
    for round in 0..settings.rounds {
        for load in &settings.loads {
            port += 1;
            let figures = run_once(settings, *load, port, cpus)?;
            report.add(Sample { scenario: load.name().to_owned(), stack: "ropeway", round, figures });
        }
    }
    report.finish(settings.json.as_deref())
}

fn run_once(settings: &Settings, load: Load, port: u16, cpus: Cpus) -> io::Result<Vec<Figure>> {
    let target = SocketAddrV4::new(STACK_ADDRESS, port);
    let server = Server::start(target, settings.queue, cpus)?;
    let before = Moment::now(&server)?;
    let mut generator = match load {
        Load::Quiet => None,
        Load::Limited => Some(Generator::limited(target, settings.interval, settings.most_syns)?),
        Load::Flood => Some(Generator::flood(target)?),
    };
    let spread = Duration::from_secs_f64(settings.seconds);
    let mut full = None;
    let clients = clients::run(target, settings.clients, RAMP, spread, || {
        let now = Moment::now(&server)?;
        if let Some(generator) = &mut generator {
            generator.check(now.device.offered() - before.device.offered() <= settings.most_syns)?;
        }
        if now.at - before.at >= RAMP {
            full.get_or_insert(now);
        }
        Ok(())
    })?;
    let after = Moment::now(&server)?;
    drop(generator);
    let served = server.stop()?;
    Ok(figures(&before, &full.unwrap_or_else(|| after.clone()), &after, &clients, &served))
}

/// What was counted at one moment.
#[derive(Clone)]
struct Moment {
    at: Instant,
    stack: Counters,
    half_open: usize,
    connections: usize,
    device: DeviceCounts,
    resident: u64,
    syns_sent_again: u64,
    answers_dropped: u64,
}

impl Moment {
    fn now(server: &Server) -> io::Result<Self> {
        let sizes = server.stack().sizes();
        Ok(Self {
            at: Instant::now(),
            stack: server.stack().counters(),
            half_open: sizes.half_open,
            connections: sizes.connections,
            device: DeviceTable::open()?.read()?,
            resident: sys::resident(std::process::id())?,
            syns_sent_again: link::counter("netstat", "TcpExt: ", "TCPSynRetrans")?,
            answers_dropped: link::counter("snmp", "Ip: ", "InAddrErrors")?,
        })
    }
}

fn figures(
    before: &Moment,
    full: &Moment,
    after: &Moment,
    clients: &Clients,
    served: &Served,
) -> Vec<Figure> {
    let seconds = (after.at - before.at).as_secs_f64();
    let stack = |count: fn(&Counters) -> u64| (count(&after.stack) - count(&before.stack)) as f64;
    let syns = stack(|counters| counters.syns_received);
    let offered = (after.device.offered() - before.device.offered()) as f64;
    let dropped = (after.device.dropped - before.device.dropped) as f64;
    let lost = |counters: &Counters| {
        counters.syns_dropped + counters.cookies_failed + counters.accept_queue_overflows
    };
    let micros = |percent| percentile(&clients.times, percent).unwrap_or_default().as_secs_f64() * 1e6;
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    vec![
        figure("k SYNs/s at the stack", syns / seconds / 1e3),
        figure("lost at the queue %", 100.0 * dropped / offered),
        figure("lost by the stack", stack(lost)),
        figure("answered by cookie %", 100.0 * stack(|counters| counters.cookies_sent) / syns),
        figure("stack's CPU busy %", 100.0 * served.cpu.total.as_secs_f64() / seconds),
        figure("CPU us/SYN", served.cpu.total.as_secs_f64() * 1e6 / syns),
        figure("answers dropped/SYN", (after.answers_dropped - before.answers_dropped) as f64 / syns),
        figure("MiB resident, before", mebibytes(before.resident)),
        figure("MiB, SYN queue full", mebibytes(full.resident)),
        figure("MiB, at the end", mebibytes(after.resident)),
        figure("half-open, at the end", after.half_open as f64),
        figure("connections, at end", after.connections as f64),
        figure("clients served %", 100.0 * clients.times.len() as f64 / f64::from(clients.all)),
        figure("SYNs sent again", (after.syns_sent_again - before.syns_sent_again) as f64),
        figure("clients, one again", f64::from(clients.once)),
        figure("clients, more again", f64::from(clients.more)),
        figure("connect p50 us", micros(50)),
        figure("connect p99 us", micros(99)),
    ]
}
