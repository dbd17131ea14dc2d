//! How many instructions the paths take that every packet goes, counted by callgrind and held to a table.
//!
//! Time changes with the machine and the minute, instructions hardly: so a table of them can be checked in, and whatever
//! makes a packet dearer is found when it is written. The command runs itself under valgrind, once for each path. No payload
//! is summed, so that it does not matter which vector instructions a processor has.

mod paths;
mod steps;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use clap::ValueEnum;

use self::paths::{CONNECTIONS, HotPath};
use self::steps::Step;

/// What `instructions` takes.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Fails if a path takes more instructions than this table says, by more than the tolerance.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Writes the table.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// In percent: other compilers and C libraries make other instructions.
    #[arg(long, default_value_t = 5)]
    tolerance: u64,
    /// Goes one path without counting: what runs under valgrind.
    #[arg(long, hide = true)]
    path: Option<HotPath>,
    /// Likewise, a step of connections.
    #[arg(long, hide = true)]
    step: Option<Step>,
}

/// Counts, prints, and checks or writes what it is told to.
pub(crate) fn run(settings: &Settings) -> io::Result<()> {
    if let Some(path) = settings.path {
        return path.run();
    }
    if let Some(step) = settings.step {
        return step.run();
    }
    if !has_valgrind() {
        eprintln!("skipped: there is no valgrind here (Debian has a package of that name)");
        return Ok(());
    }
    let known = settings.check.as_deref().map(Table::read).transpose()?;
    let mut table = Table::default();
    let mut faults = String::new();
    for (name, count) in counted() {
        let count = count()?;
        table.0.push((name.to_owned(), count));
        println!("{name}: {count}");
        let Some(expected) = known.as_ref().and_then(|known| known.of(name)) else { continue };
        let (low, high) = (expected * (100 - settings.tolerance), expected * (100 + settings.tolerance));
        if count * 100 > high {
            let _infallible = writeln!(faults, "{name}: {count} instructions instead of {expected}");
        } else if count * 100 < low {
            println!("    that is less than {expected}: write the table anew");
        }
    }
    if let Some(file) = &settings.write {
        fs::write(file, table.text())?;
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(io::Error::other(format!("a path has become dearer\n{faults}")))
    }
}

fn has_valgrind() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// The names of all that is counted, and how.
fn counted() -> impl Iterator<Item = (&'static str, Box<dyn Fn() -> io::Result<u64>>)> {
    let path =
        |path: HotPath| -> Box<dyn Fn() -> _> { Box::new(move || count("--path", path, path.times())) };
    let step = |step: Step| -> Box<dyn Fn() -> _> { Box::new(move || count("--step", step, CONNECTIONS)) };
    let paths = HotPath::value_variants().iter().map(move |of| (of.name(), path(*of)));
    paths.chain(Step::value_variants().iter().map(move |of| (of.name(), step(*of))))
}

/// How many instructions a path takes each time, on average, that is gone so often.
fn count(kind: &str, path: impl ValueEnum, times: u64) -> io::Result<u64> {
    let name = path.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*instructions::paths::counted*")
        .arg(env::current_exe()?)
        .args(["instructions", kind, &name])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :"));
    match collected.and_then(|(_, count)| count.trim().parse::<u64>().ok()).filter(|count| *count > 0) {
        Some(count) if output.status.success() => Ok(count / times),
        _ => Err(io::Error::other(format!("nothing was counted of {name}: {said}"))),
    }
}

/// Paths, and the instructions that each takes.
#[derive(Default)]
struct Table(Vec<(String, u64)>);

impl Table {
    fn read(file: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(file)?;
        let row = |line: &str| {
            let (name, count) = line.split_once('\t')?;
            Some((name.to_owned(), count.trim().parse().ok()?))
        };
        let rows: Option<Vec<_>> = text.lines().map(row).collect();
        rows.map(Self)
            .ok_or_else(|| io::Error::other(format!("{} is no table of instructions", file.display())))
    }

    fn of(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, count)| *count)
    }

    fn text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (name, count)| {
            let _infallible = writeln!(text, "{name}\t{count}");
            text
        })
    }
}
