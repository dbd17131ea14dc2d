//! How long one call takes, whatever is open: each call of a stack's core with a million connections, timed by itself.
//!
//! One lock protects a stack, so the longest call is what everybody else may have to wait for. The peers are packets made
//! by hand, so that the memory is the stack's. Under callgrind the calls' instructions are counted as well.

mod gauge;
pub(crate) mod peers;
mod phases;

use std::io;
use std::path::PathBuf;

use self::gauge::Gauge;
use self::phases::World;

/// What `steps` takes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// How many connections are open when the calls are timed: a table for each of these numbers.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "10000,1050000")]
    connections: Vec<u32>,
    /// Under callgrind: counts the instructions of so many calls of each kind, those around the largest number of
    /// connections.
    #[arg(long, value_name = "N", default_value_t = 4000)]
    sample: usize,
    /// Under callgrind: what it was told with --callgrind-out-file.
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
}

/// Times the calls, and prints them.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    for count in &settings.connections {
        let mut gauge = Gauge::new(settings.sample, settings.profile.clone());
        World::new(*count)?.run(&mut gauge)?;
        println!("{count} connections");
        gauge.print();
    }
    Ok(())
}
