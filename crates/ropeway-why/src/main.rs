//! The program `ropeway`: see `ropeway why --help`.

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use ropeway_why::Options;

/// Tools for TCP connections.
#[derive(Parser)]
#[command(name = "ropeway", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Says why the connections of a capture were slow, what was sent again and why, and how they ended.
    Why(Why),
}

/// The capture may be of anybody's TCP, made at either end or between them, with all of each packet or its headers only.
#[derive(clap::Args)]
struct Why {
    /// A pcap or pcapng file; - reads standard input.
    file: PathBuf,
    /// One JSON document instead of text.
    #[arg(long)]
    json: bool,
    /// Write a page with graphs there: one file, which needs no network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// A line for each retransmission.
    #[arg(long)]
    all: bool,
    /// Only the connections of this end.
    #[arg(long, value_name = "ADDRESS:PORT")]
    filter: Option<SocketAddr>,
    /// Connections that are told of at most.
    #[arg(long, default_value_t = 1000)]
    connections: usize,
}

fn main() -> ExitCode {
    let Command::Why(why) = Arguments::parse().command;
    match run(&why) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ropeway: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(why: &Why) -> Result<(), String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", why.file.display());
    let mut options = Options::default();
    (options.connections, options.filter) = (why.connections, why.filter);
    let report = if why.file.as_os_str() == "-" {
        ropeway_why::why(io::stdin(), &options)
    } else {
        let file = File::open(&why.file).map_err(|error| told(&error))?;
        let len = file.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        let bar = progress(len);
        let report = ropeway_why::why(bar.wrap_read(file), &options);
        bar.finish_and_clear();
        report
    };
    let report = report.map_err(|error| told(&error))?;
    if let Some(page) = &why.html {
        std::fs::write(page, report.html()).map_err(|error| format!("{}: {error}", page.display()))?;
    }
    let text =
        if why.json { report.json().map_err(|error| error.to_string())? } else { report.text(why.all) };
    // A pager that is closed is no failure.
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(()),
    }
}

/// A bar on stderr, for files that take a while.
fn progress(len: u64) -> ProgressBar {
    const WORTH_A_BAR: u64 = 50_000_000;
    if len < WORTH_A_BAR {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(len);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left") {
        bar.set_style(style);
    }
    bar
}
