//! The command line, and what the commands share.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::{flood, grid, memory, tun};

/// Measures ropeway side by side with smoltcp and the kernel's TCP.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Against the kernel's TCP, over a TUN device in a network namespace of its own.
    Tun(tun::Settings),
    /// A SYN flood by hping3 over TUN, with honest clients in it.
    Flood(flood::Settings),
    /// Two ends of one stack, joined by queues on one thread: no device, no kernel.
    Memory(memory::Settings),
    /// Whole transfers over simulated paths in virtual time, each beside its floor.
    Grid(grid::Settings),
}

/// What the commands that compare stacks take.
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

impl Common {
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer * 1024
    }
}

/// A stack that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StackKind {
    /// ropeway: its sockets on a current-thread runtime over TUN, its core in memory.
    Ropeway,
    /// smoltcp 0.14 in a polling loop of its own, as in its benchmark example.
    Smoltcp,
    /// Linux's own TCP behind a second TUN device, served with Tokio's sockets; over TUN only.
    Kernel,
}

impl StackKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ropeway => "ropeway",
            Self::Smoltcp => "smoltcp",
            Self::Kernel => "kernel",
        }
    }
}

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let result: io::Result<()> = match Cli::parse().command {
        Command::Tun(settings) => tun::run(&settings),
        Command::Flood(settings) => flood::run(&settings),
        Command::Memory(settings) => memory::run(&settings),
        Command::Grid(settings) => grid::run(&settings),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ropeway-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
