//! `paths` as a user runs it: over devices and namespaces, on a machine that may be busy.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // what is not there fails the test

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use common::{Scratch, devices, is_possible};

/// A transfer of 10 kB, which takes no tenth of a second.
const SHORT: &str = "10 kB";

fn paths() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropeway-bench"));
    command.arg("paths");
    command
}

#[test]
fn every_stack_crosses_the_path_and_the_report_has_its_runs() {
    if !is_possible() {
        eprintln!("skipped: needs root, /dev/net/tun and two CPUs");
        return;
    }
    let (scratch, before) = (Scratch::new("paths"), devices());
    let table = scratch.file("paths.tsv");
    let run = |runs: &str| {
        let mut command = paths();
        command.args(["--cell", SHORT, "--runs", runs, "--results"]).arg(&table);
        let output = command.arg("--report").arg(&scratch.0).arg("--pcap").arg(&scratch.0).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let text = run("1");
    assert!(
        text.contains("Linux 0.") && text.contains("ropeway-sends") && text.contains("smoltcp-sends"),
        "{text}"
    );
    let runs = fs::read_to_string(&table).unwrap();
    // Four stacks and two congestion controls, below two lines of head; each one arrived.
    assert_eq!(runs.lines().count(), 2 + 8, "{runs}");
    let seconds = runs.lines().skip(2).map(|line| line.split('\t').nth(4).unwrap().parse::<f64>().unwrap());
    // The handshake and the data take a round trip of 40 ms and a half at least.
    assert!(seconds.clone().all(|seconds| seconds > 0.06), "{runs}");
    let report = fs::read_to_string(scratch.file("paths.md")).unwrap();
    assert!(report.contains("| cubic | 0.0"), "{report}");
    assert!(fs::read_to_string(scratch.file("paths.svg")).unwrap().contains("<circle"));
    let captures = fs::read_dir(&scratch.0).unwrap().filter(|file| {
        file.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "pcap")
    });
    assert_eq!(captures.count(), 8);
    // What is there already is not done again.
    run("1");
    assert_eq!(fs::read_to_string(&table).unwrap(), runs);
    assert_eq!(devices(), before, "no device is left, nor was one in this namespace");
}

#[test]
fn a_run_that_is_interrupted_leaves_nothing_behind() {
    if !is_possible() {
        return;
    }
    let before = devices();
    // Whoever runs the tests in the background may ignore interrupts, and what they start with them.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(paths().get_program()).args(paths().get_args());
    command.args(["--cell", SHORT, "--stacks", "linux", "--in-turns", "--runs", "1000000"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).unwrap();
    let theirs = namespace(&child.id().to_string());
    assert_ne!(theirs, namespace("self"), "the program has a namespace of its own");
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    assert!(!child.wait().unwrap().success());
    // Nothing holds the namespace any more, and so nothing that was in it.
    let holders = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path().join("ns/net")).ok());
    assert!(holders.into_iter().all(|namespace| namespace != theirs));
    assert_eq!(devices(), before);
}

#[test]
fn cells_are_listed_and_found_by_name() {
    let output = paths().arg("--list").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().count() >= 16, "{text}");
    assert!(text.contains("Clean paths | ") && text.contains(SHORT), "{text}");
    let output = paths().args(["--cell", "no such cell"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("--list"));
}
