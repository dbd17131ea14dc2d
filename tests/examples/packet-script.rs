//! Runs packet scripts in packetdrill's language against ropeway-core, on a virtual clock:
//!
//! ```sh
//! cargo run -p ropeway-tests --example packet-script -- [--verbose] [--strict] PATH...
//! ```
//!
//! A path is a script or a directory of them. Each script runs over IPv4 and IPv6, unless it names one. The exit
//! code is 1 if a script failed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ropeway_tests::script::{Ip, Mode, Outcome, Report, Settings, parse, run, versions};

#[derive(Default)]
struct Counts {
    pass: usize,
    fail: usize,
    unsupported: usize,
    /// Of the unsupported ones: run to their end, with all else as expected.
    else_as_expected: usize,
    broken: usize,
}

fn main() -> ExitCode {
    let mut paths = Vec::new();
    let (mut verbose, mut mode) = (false, Mode::Packetdrill);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--verbose" | "-v" => verbose = true,
            "--strict" => mode = Mode::Strict,
            path if !path.starts_with('-') => paths.push(PathBuf::from(path)),
            _ => {
                eprintln!("usage: packet-script [--verbose] [--strict] PATH...");
                return ExitCode::from(2);
            }
        }
    }
    let mut scripts = Vec::new();
    for path in &paths {
        find(path, &mut scripts);
    }
    scripts.sort();
    let mut table: BTreeMap<String, Counts> = BTreeMap::new();
    for path in &scripts {
        let topic = path.parent().unwrap_or(path).display().to_string();
        one(path, mode, verbose, table.entry(topic).or_default());
    }
    println!("\nOf the unsupported ones, the number behind the slash was as expected in all else.");
    println!("{:>6} {:>6} {:>12} {:>8}  topic", "pass", "fail", "unsupported", "broken");
    let mut failed = false;
    for (topic, Counts { pass, fail, unsupported, else_as_expected, broken }) in &table {
        let unsupported = format!("{unsupported}/{else_as_expected}");
        println!("{pass:>6} {fail:>6} {unsupported:>12} {broken:>8}  {topic}");
        failed |= fail + broken > 0;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn find(path: &Path, scripts: &mut Vec<PathBuf>) {
    if let Ok(entries) = std::fs::read_dir(path) {
        entries.flatten().for_each(|entry| find(&entry.path(), scripts));
    } else if path.extension().is_some_and(|extension| extension == "pkt") {
        scripts.push(path.to_owned());
    }
}

/// Runs one script over each version of IP.
fn one(path: &Path, mode: Mode, verbose: bool, counts: &mut Counts) {
    let shown = path.display();
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            println!("{shown}: {error}");
            counts.broken += 1;
            return;
        }
    };
    let script = match parse(&text) {
        Ok(script) => script,
        Err(error) => {
            println!("{shown}: not understood: {error}");
            counts.broken += 1;
            return;
        }
    };
    for ip in versions(&script) {
        let version = if ip == Ip::V4 { "ipv4" } else { "ipv6" };
        match Settings::new(&script, path, mode, ip) {
            Ok(settings) => {
                let report = run(&script, &settings);
                println!("{shown} {version}: {report}");
                show(&report, &shown.to_string(), verbose);
                match report.outcome {
                    Outcome::Pass => counts.pass += 1,
                    Outcome::Fail(_) => counts.fail += 1,
                    Outcome::Unsupported { rest, complete, .. } => {
                        counts.unsupported += 1;
                        counts.else_as_expected += usize::from(complete && rest.is_none());
                    }
                }
            }
            Err(error) => {
                println!("{shown} {version}: {error}");
                counts.broken += 1;
            }
        }
    }
}

fn show(report: &Report, path: &str, verbose: bool) {
    if report.failure().is_some() && (verbose || matches!(report.outcome, Outcome::Fail(_))) {
        print!("{}", report.message(path));
    } else if verbose {
        report.exchange.iter().for_each(|line| println!("    {line}"));
    }
    if verbose && !report.notes.is_empty() {
        println!("    no effect: {}", report.notes.join(", "));
    }
}
