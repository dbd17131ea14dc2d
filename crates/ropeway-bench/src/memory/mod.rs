//! Two ends of one stack, joined by queues on one thread: what a packet costs both ends together, without
//! a device and without a kernel.
//!
//! The clock is a counter and the work is fixed, so a run under `valgrind --tool=callgrind` executes the
//! same instructions every time. One end sends, the other receives; the application copies on both sides,
//! as it does over a socket.

mod ropeway;
mod smoltcp;

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crate::report::{Figure, Report, Sample, figure};
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

/// How to measure in memory.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    #[command(flatten)]
    common: Common,
    /// Data packets to carry in each run: the work is fixed, not the time.
    #[arg(long, default_value_t = 3_000_000)]
    packets: u64,
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

/// Measures what `settings` ask for.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    // One CPU, the last: the first is where others' interrupts go. Without the right, no harm is done.
    let _ = sys::pin_to(std::thread::available_parallelism().map_or(0, |cpus| cpus.get() - 1));
    let mut report = Report::default();
    report.setting("MTU", MTU);
    report.setting("buffer KiB", settings.common.buffer);
    report.setting("timestamps", !settings.common.no_timestamps);
    report.setting("packets", settings.packets);
    report.setting("rounds", settings.common.rounds);
    for round in 0..settings.common.rounds {
        for stack in &settings.common.stacks {
            let begin = Instant::now();
            let (packets, buffer) = (settings.packets, settings.common.buffer_bytes());
            let timestamps = !settings.common.no_timestamps;
            let carried = match stack {
                StackKind::Ropeway => ropeway::run(packets, buffer, timestamps),
                StackKind::Smoltcp => smoltcp::run(packets, buffer),
                StackKind::Kernel => Err(io::Error::other("the kernel's TCP is not in memory: use `tun`")),
            }?;
            let figures = figures(carried, begin.elapsed());
            report.add(Sample { scenario: "memory", stack: stack.name(), round, figures });
        }
    }
    report.finish(settings.common.json.as_deref())
}

fn figures(carried: Carried, wall: Duration) -> Vec<Figure> {
    let data_packets = carried.data_packets as f64;
    vec![
        figure("ns/data packet", wall.as_secs_f64() * 1e9 / data_packets),
        figure("Gbit/s", carried.bytes as f64 * 8.0 / 1e9 / wall.as_secs_f64()),
        figure("payload/data packet", carried.bytes as f64 / data_packets),
        figure("acks/data packet", carried.ack_packets as f64 / data_packets),
    ]
}

/// Notices a run that is stuck.
#[derive(Default)]
struct Progress {
    bytes: u64,
    idle_turns: u32,
}

impl Progress {
    /// Ends the run with an error if `bytes` has not grown for too long.
    fn check(&mut self, bytes: u64) -> io::Result<()> {
        if bytes != self.bytes {
            *self = Self { bytes, idle_turns: 0 };
            return Ok(());
        }
        self.idle_turns += 1;
        if self.idle_turns < MOST_IDLE_TURNS {
            return Ok(());
        }
        Err(io::Error::other(format!("the transfer is stuck after {bytes} bytes")))
    }
}

/// One direction of the link.
struct Wire<P> {
    packets: VecDeque<P>,
    data_packets: u64,
    ack_packets: u64,
}

impl<P> Wire<P> {
    fn new() -> Self {
        Self { packets: VecDeque::new(), data_packets: 0, ack_packets: 0 }
    }

    /// Takes a packet of `length` bytes.
    fn push(&mut self, packet: P, length: usize) {
        if length > LONGEST_ACK {
            self.data_packets += 1;
        } else {
            self.ack_packets += 1;
        }
        self.packets.push_back(packet);
    }
}
