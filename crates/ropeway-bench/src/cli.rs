//! The command line, and what the commands share.

use std::io;
#[cfg(target_os = "linux")]
use std::path::PathBuf;
use std::process::ExitCode;

#[cfg(target_os = "linux")]
use clap::ValueEnum;
use clap::{Parser, Subcommand};

#[cfg(target_os = "linux")]
use crate::{all, flood, instructions, memory, paths, serve, tun};
use crate::{grid, steps};

/// Measures ropeway side by side with smoltcp and the kernel's TCP, over Linux's TUN devices, and over simulated paths.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Every stack beside every other one, over TUN, veth and loopback: bulk, connections, round trips, HTTP.
    #[cfg(target_os = "linux")]
    All(all::Settings),
    /// One of the stacks that `all` measures: it runs this for itself.
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    Serve(serve::Settings),
    /// Idle connections: `all` runs this for itself.
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    Hold(all::idle::Settings),
    /// ropeway as the gateway that `all` measures: it runs this for itself.
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    Relay(serve::relay::Settings),
    /// Against the kernel's TCP, over a TUN device in a network namespace of its own.
    #[cfg(target_os = "linux")]
    Tun(tun::Settings),
    /// A SYN flood by hping3 over TUN, with honest clients in it.
    #[cfg(target_os = "linux")]
    Flood(flood::Settings),
    /// Two ends of one stack, joined by queues on one thread: no device, no kernel.
    #[cfg(target_os = "linux")]
    Memory(memory::Settings),
    /// How many instructions the paths take that every packet goes, counted by callgrind.
    #[cfg(target_os = "linux")]
    Instructions(instructions::Settings),
    /// ropeway's TCP, smoltcp's and the kernel's over emulated paths in real time, each against the kernel's.
    #[cfg(target_os = "linux")]
    Paths(paths::Settings),
    /// Whole transfers over simulated paths in virtual time, each beside its floor.
    Grid(grid::Settings),
    /// One stack with a million connections: how long each single call takes.
    Steps(steps::Settings),
}

/// What the commands that compare stacks take.
#[cfg(target_os = "linux")]
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Common {
    /// The stacks, in the order of their turns; ratios are the first one's over each other one's.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "ropeway,smoltcp")]
    pub(crate) stacks: Vec<StackKind>,
    /// How often each stack gets its turn.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// The size of each socket buffer, in KiB.
    #[arg(long, value_name = "KIB", default_value_t = 512)]
    pub(crate) buffer: usize,
    /// Turns TCP timestamps off in ropeway. smoltcp's are off by default: this levels what a packet carries.
    #[arg(long)]
    pub(crate) no_timestamps: bool,
    /// Writes settings, medians, ratios and every sample to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

#[cfg(target_os = "linux")]
impl Common {
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer * 1024
    }
}

/// A stack that can be measured.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StackKind {
    /// ropeway: its sockets on a current-thread runtime over TUN, its core in memory.
    Ropeway,
    /// smoltcp 0.14 in a polling loop of its own, as in its benchmark example.
    Smoltcp,
    /// Linux's own TCP behind a second TUN device, served with Tokio's sockets; over TUN only.
    Kernel,
    /// The least that keeps the kernel's TCP busy: the limit of the device; over TUN only.
    Null,
}

#[cfg(target_os = "linux")]
impl StackKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ropeway => "ropeway",
            Self::Smoltcp => "smoltcp",
            Self::Kernel => "kernel",
            Self::Null => "null",
        }
    }
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let result: io::Result<()> = match Cli::parse().command {
        #[cfg(target_os = "linux")]
        Command::All(settings) => all::run(&settings),
        #[cfg(target_os = "linux")]
        Command::Serve(settings) => serve::run(&settings),
        #[cfg(target_os = "linux")]
        Command::Hold(settings) => all::idle::hold(&settings),
        #[cfg(target_os = "linux")]
        Command::Relay(settings) => serve::relay::run(&settings),
        #[cfg(target_os = "linux")]
        Command::Tun(settings) => tun::run(&settings),
        #[cfg(target_os = "linux")]
        Command::Flood(settings) => flood::run(&settings),
        #[cfg(target_os = "linux")]
        Command::Memory(settings) => memory::run(&settings),
        #[cfg(target_os = "linux")]
        Command::Instructions(settings) => instructions::run(&settings),
        #[cfg(target_os = "linux")]
        Command::Paths(settings) => paths::run(&settings),
        Command::Grid(settings) => grid::run(&settings),
        Command::Steps(settings) => steps::run(&settings),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ropeway-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
