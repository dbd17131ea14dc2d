//! Against the kernel's TCP, over a TUN device in a network namespace of its own.
//!
//! The stack under test has one thread and one CPU, the kernel's side of the application another. Each run
//! makes its device anew. The kernel's end always connects, the stack accepts.

pub(crate) mod application;
mod kernel;
pub(crate) mod null;
mod peer;
mod ropeway;
pub(crate) mod smoltcp;

use std::fs;
use std::io;
use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::link::{self, Cpus, DeviceCounts, MTU, STACK_ADDRESS};
use crate::meter::{Measured, Window};
use crate::report::{Figure, Report, Sample, figure, percentile};
use crate::sys::CpuTime;
use crate::{Common, StackKind};

/// How much an application reads or writes at a time.
const APPLICATION_BUFFER: usize = 128 * 1024;
/// Beyond the run's own time, how long anything may take before the run has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How to measure over TUN.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    common: Common,
    /// What to do.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "download,upload,connect,connect16,ping")]
    scenarios: Vec<Scenario>,
    /// How long to measure in each run.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How long a transfer runs before it is measured, in seconds.
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// Without offload: packets cross the device one by one, of at most its MTU, for the stacks that know better as well.
    #[arg(long)]
    plain: bool,
    /// How long ropeway looks for more packets before its thread sleeps, in microseconds.
    #[arg(long, value_name = "MICROS", default_value_t = 0)]
    busy_poll: u64,
}

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// One connection, the kernel sends and the stack receives.
    Download,
    /// One connection, the stack sends and the kernel receives.
    Upload,
    /// Connections one after the other: connect, a byte there and back, close.
    Connect,
    /// The same from sixteen threads at once.
    Connect16,
    /// One byte there and back on one connection.
    Ping,
}

impl Scenario {
    fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
            Self::Connect => "connect",
            Self::Connect16 => "connect16",
            Self::Ping => "ping",
        }
    }
}

/// One run, as both ends see it.
pub(crate) struct Job {
    scenario: Scenario,
    /// Another one in each run, so that no run meets the TIME-WAIT of an earlier one.
    port: u16,
    window: Window,
    /// Bytes in each socket buffer of the stack.
    buffer: usize,
    /// Whether a stack that knows TCP timestamps uses them.
    timestamps: bool,
    /// Whether a stack that knows offload uses it.
    offload: bool,
    /// How long ropeway's device is looked at before the thread sleeps.
    busy_poll: Duration,
    /// Set by whoever ends the transfer: the stack in a download, otherwise the kernel's side.
    stop: AtomicBool,
    /// When to give up.
    deadline: Instant,
}

impl Job {
    fn target(&self) -> SocketAddrV4 {
        SocketAddrV4::new(STACK_ADDRESS, self.port)
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What the stack's side of a run found.
#[derive(Debug, Default)]
pub(crate) struct StackReport {
    /// The measured part of a bulk transfer.
    measured: Option<Measured>,
    /// Payload bytes of a bulk transfer, from the first to the last.
    bytes: u64,
    /// CPU time from the moment the stack was ready to its end.
    cpu: CpuTime,
    /// Packets that crossed the device.
    device: DeviceCounts,
}

/// Measures what `settings` ask for.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    let cpus = link::prepare()?;

    let mut report = Report::default();
    report.setting("MTU", MTU);
    report.setting("buffer KiB", settings.common.buffer);
    report.setting("timestamps", !settings.common.no_timestamps);
    report.setting("offload", !settings.plain);
    report.setting("busy poll us", settings.busy_poll);
    report.setting("seconds", settings.seconds);
    report.setting("rounds", settings.common.rounds);
    report.setting("kernel", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim());
    let mut port = 2000;
    for scenario in &settings.scenarios {
        for round in 0..settings.common.rounds {
            for stack in &settings.common.stacks {
                port += 1;
                let figures = run_once(settings, *scenario, *stack, port, cpus).map_err(|error| {
                    let run = format!("{} of {}, round {round}", scenario.name(), stack.name());
                    io::Error::new(error.kind(), format!("{run}: {error}"))
                })?;
                report.add(Sample {
                    scenario: scenario.name().to_owned(),
                    stack: stack.name(),
                    round,
                    figures,
                });
            }
        }
    }
    report.finish(settings.common.json.as_deref())
}

fn run_once(
    settings: &Settings,
    scenario: Scenario,
    stack: StackKind,
    port: u16,
    cpus: Cpus,
) -> io::Result<Vec<Figure>> {
    let window = Window {
        warm_up: Duration::from_secs_f64(settings.warm_up),
        measure: Duration::from_secs_f64(settings.seconds),
    };
    let job = Arc::new(Job {
        scenario,
        port,
        window,
        buffer: settings.common.buffer_bytes(),
        timestamps: !settings.common.no_timestamps,
        offload: !settings.plain,
        busy_poll: Duration::from_micros(settings.busy_poll),
        stop: AtomicBool::new(false),
        deadline: Instant::now() + window.warm_up + window.measure + PATIENCE,
    });
    let retransmitted_before = link::tcp_counter("RetransSegs")?;
    let (ready, is_ready) = mpsc::channel();
    let (stack, peer) = thread::scope(|scope| {
        let run = || {
            cpus.pin_stack()?;
            match stack {
                StackKind::Ropeway => on_tokio(&job, ropeway::run(Arc::clone(&job), ready)),
                StackKind::Smoltcp => smoltcp::run(&job, ready),
                StackKind::Null => null::run(&job, ready),
                StackKind::Kernel => on_tokio(&job, kernel::run(Arc::clone(&job), ready)),
            }
        };
        // The name tells the two ends apart in a profile (`perf report --comm stack`).
        let stack = thread::Builder::new().name("stack".to_owned()).spawn_scoped(scope, run)?;
        // An error here means that the stack has failed, and its own error says why.
        let peer = is_ready.recv_timeout(PATIENCE).map_err(io::Error::other).and_then(|()| peer::run(&job));
        job.stop();
        io::Result::Ok((stack.join(), peer))
    })?;
    let stack = stack.map_err(|_| io::Error::other("the stack's thread panicked"))??;
    let peer = peer?;
    let retransmitted = link::tcp_counter("RetransSegs")?.saturating_sub(retransmitted_before);
    match scenario {
        Scenario::Download | Scenario::Upload => bulk_figures(&stack, &peer, retransmitted),
        Scenario::Connect | Scenario::Connect16 => Ok(connect_figures(&stack, &peer)),
        Scenario::Ping => ping_figures(&stack, &peer),
    }
}

/// Runs a stack's side on a current-thread runtime, as a spawned task, like a server's: what `block_on` itself
/// runs is polled after all tasks.
fn on_tokio(
    job: &Job,
    run: impl Future<Output = io::Result<StackReport>> + Send + 'static,
) -> io::Result<StackReport> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let left = job.deadline.saturating_duration_since(Instant::now());
    runtime
        .block_on(async { tokio::time::timeout(left, tokio::spawn(run)).await?.map_err(io::Error::other)? })
}

fn bulk_figures(stack: &StackReport, peer: &peer::PeerReport, retransmitted: u64) -> io::Result<Vec<Figure>> {
    if stack.bytes != peer.bytes {
        let (ours, theirs) = (stack.bytes, peer.bytes);
        return Err(io::Error::other(format!("the stack counted {ours} bytes, the kernel {theirs}")));
    }
    let measured = stack.measured.ok_or_else(|| io::Error::other("the transfer ended too early"))?;
    let gigabytes = measured.bytes as f64 / 1e9;
    let all_gigabytes = stack.bytes as f64 / 1e9;
    Ok(vec![
        figure("Gbit/s", gigabytes * 8.0 / measured.wall.as_secs_f64()),
        figure("CPU s/GB", measured.cpu.total.as_secs_f64() / gigabytes),
        figure("user CPU s/GB", measured.cpu.user.as_secs_f64() / gigabytes),
        figure("CPU busy %", 100.0 * measured.cpu.total.as_secs_f64() / measured.wall.as_secs_f64()),
        figure("k packets in/GB", stack.device.to_stack as f64 / 1e3 / all_gigabytes),
        figure("k packets out/GB", stack.device.from_stack as f64 / 1e3 / all_gigabytes),
        figure("drops", stack.device.dropped as f64),
        figure("kernel retransmits", retransmitted as f64),
    ])
}

fn connect_figures(stack: &StackReport, peer: &peer::PeerReport) -> Vec<Figure> {
    let connections = peer.exchanges as f64;
    vec![
        figure("connections/s", connections / peer.wall.as_secs_f64()),
        figure("CPU us/connection", stack.cpu.total.as_secs_f64() * 1e6 / connections),
        figure("packets out/conn.", stack.device.from_stack as f64 / connections),
    ]
}

fn ping_figures(stack: &StackReport, peer: &peer::PeerReport) -> io::Result<Vec<Figure>> {
    let mut times = peer.times.clone();
    times.sort_unstable();
    let (Some(p50), Some(p99)) = (percentile(&times, 50), percentile(&times, 99)) else {
        return Err(io::Error::other("no round trip was completed"));
    };
    Ok(vec![
        figure("p50 us", p50.as_secs_f64() * 1e6),
        figure("p99 us", p99.as_secs_f64() * 1e6),
        figure("CPU us/round trip", stack.cpu.total.as_secs_f64() * 1e6 / peer.exchanges as f64),
    ])
}
