//! `all` as a user runs it: over devices and namespaces, on a machine that may be busy.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what is not there fails the test")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use common::{Scratch, devices, is_possible};
use serde_json::Value;

fn all(scratch: &Scratch, arguments: &[&str]) -> Command {
    // Whoever runs the tests in the background may ignore interrupts, and what they start with them.
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(env!("CARGO_BIN_EXE_ropeway-bench")).arg("all");
    command.args(arguments);
    for (option, value) in [("--rounds", "1"), ("--seconds", "0.02"), ("--warm-up", "0.02")] {
        if !arguments.contains(&option) {
            command.args([option, value]);
        }
    }
    command.arg("--out").arg(&scratch.0);
    command
}

fn success(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn document(scratch: &Scratch) -> Value {
    serde_json::from_slice(&fs::read(scratch.file("all.json")).unwrap()).unwrap()
}

/// Scenario and stack of each run.
fn runs(document: &Value) -> BTreeSet<(String, String)> {
    let text = |sample: &Value, key: &str| sample[key].as_str().unwrap().to_owned();
    let samples = document["samples"].as_array().unwrap();
    samples.iter().map(|sample| (text(sample, "scenario"), text(sample, "stack"))).collect()
}

#[test]
fn every_row_has_every_stack_that_can_do_it() {
    if !is_possible() {
        eprintln!("skipped: needs root, /dev/net/tun and two CPUs");
        return;
    }
    let (scratch, before) = (Scratch::new("all"), devices());
    let stacks = "ropeway,null,smoltcp,veth,loopback,pasta,slirp4netns";
    success(&mut all(&scratch, &["--stacks", stacks, "--flows", "1,4", "--idle", "50", "--strict"]));
    let document = document(&scratch);
    assert_eq!(document["failures"], Value::Array(Vec::new()));
    let mut expected = BTreeSet::new();
    let mut row = |scenario: String, stacks: &[&str]| {
        expected.extend(stacks.iter().map(|stack| (scenario.clone(), (*stack).to_owned())));
    };
    for (way, all, with_streams) in [
        ("plain", &["ropeway", "null", "smoltcp", "veth"][..], &["ropeway", "veth"][..]),
        ("offloaded", &["ropeway", "null", "veth", "loopback"], &["ropeway", "veth", "loopback"]),
    ] {
        for bulk in ["down", "up", "both ways"] {
            row(format!("{bulk}, 1 flow, {way}"), all);
            row(format!("{bulk}, 4 flows, {way}"), all);
        }
        for what in ["connections, 1", "connections, 16", "64 B there and back, 1", "64 B there and back, 32"]
        {
            row(format!("{what} at once, {way}"), all);
        }
        for datagrams in ["UDP down, 64 B", "UDP up, 64 B", "UDP down, 1200 B", "UDP up, 1200 B"] {
            row(format!("{datagrams}, {way}"), all);
        }
        row(format!("HTTP, 32 at once, {way}"), with_streams);
        row(format!("64 B there and back, 50 idle beside, {way}"), all);
    }
    for mtu in ["1500", "65520"] {
        for what in ["down, 1 flow", "down, 32 flows", "up, 1 flow", "up, 32 flows"] {
            row(format!("{what}, relayed, MTU {mtu}"), &["ropeway", "pasta", "slirp4netns"]);
        }
        for what in ["connections, 1 at once", "connections, 16 at once"] {
            row(format!("{what}, relayed, MTU {mtu}"), &["ropeway", "pasta", "slirp4netns"]);
        }
    }
    for mtu in ["1500", "65535"] {
        row(format!("bulk, in memory, MTU {mtu}"), &["ropeway", "smoltcp"]);
    }
    assert_eq!(runs(&document), expected);
    let samples = document["samples"].as_array().unwrap();
    for sample in samples {
        // Each row is headed by how much was done.
        assert!(sample["figures"][0]["value"].as_f64().unwrap() > 0.0, "{sample}");
        let names = sample["figures"].as_array().unwrap().iter().map(|figure| &figure["name"]);
        let tells_memory = names.clone().any(|name| name == "KiB per idle connection");
        assert_eq!(tells_memory, sample["scenario"].as_str().unwrap().contains("idle"), "{sample}");
    }
    for picture in
        ["bulk-plain", "bulk-offloaded", "connections", "exchanges", "relay", "relay-connections", "memory"]
    {
        let svg = fs::read_to_string(scratch.file(&format!("all-{picture}.svg"))).unwrap();
        assert!(svg.contains("class=\"bar contender-0\""), "{picture}");
    }
    assert!(fs::read_to_string(scratch.file("all.md")).unwrap().contains("| Gbit/s | ropeway |"));
    assert_eq!(devices(), before, "a device is left");
}

#[test]
fn shards_and_workers_are_measured_over_devices_and_over_a_cable() {
    if !is_possible() {
        return;
    }
    let (scratch, before) = (Scratch::new("all-spread"), devices());
    let stacks =
        ["--stacks", "ropeway,ropeway-1x2,ropeway-2x2", "--workloads", "down,up,cable", "--flows", "3"];
    success(&mut all(&scratch, &[&stacks[..], &["--memory-mtu", "1500", "--strict"]].concat()));
    let mut expected = BTreeSet::new();
    for stack in ["ropeway", "ropeway-1x2", "ropeway-2x2"] {
        for way in [
            "down, 3 flows, plain",
            "up, 3 flows, plain",
            "down, 3 flows, offloaded",
            "up, 3 flows, offloaded",
        ] {
            expected.insert((way.to_owned(), stack.to_owned()));
        }
        if stack != "ropeway" {
            expected.insert(("down, 3 flows, over a cable, MTU 1500".to_owned(), stack.to_owned()));
        }
    }
    let document = document(&scratch);
    assert_eq!(runs(&document), expected);
    for sample in document["samples"].as_array().unwrap() {
        assert!(sample["figures"][0]["value"].as_f64().unwrap() > 0.0, "{sample}");
    }
    assert_eq!(devices(), before, "a device is left");
    for nonsense in ["ropeway-", "ropeway-2", "ropeway-0x1", "ropeway-1x0", "ropeway-axb"] {
        assert!(!all(&scratch, &["--stacks", nonsense]).output().unwrap().status.success(), "{nonsense}");
    }
}

#[test]
fn a_series_in_pieces_has_each_run_once_and_refuses_other_settings() {
    if !is_possible() {
        return;
    }
    let scratch = Scratch::new("all-pieces");
    let memory = |more: &[&str]| {
        all(
            &scratch,
            &[&["--workloads", "memory", "--memory-mtu", "1500,9000", "--seconds", "0.001"], more].concat(),
        )
    };
    let pieces = |stacks| ["--stacks", stacks, "--resume"];
    success(&mut memory(&[&pieces("ropeway")[..], &["--minutes", "0"]].concat()));
    assert_eq!(runs(&document(&scratch)).len(), 0, "no time is no run");
    success(&mut memory(&pieces("ropeway")));
    let first = document(&scratch)["samples"].clone();
    success(&mut memory(&pieces("ropeway,smoltcp")));
    let second = document(&scratch);
    assert_eq!(runs(&second).len(), 4);
    assert_eq!(second["samples"].as_array().unwrap()[..2], first.as_array().unwrap()[..], "made again");
    // The last one counts, so this asks for another measurement.
    let output = memory(&[&pieces("ropeway")[..], &["--warm-up", "0.1"]].concat()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("warm-up"), "{output:?}");
}

/// Processes that `ancestor` has started, by themselves or by others.
fn descendants(ancestor: u32) -> Vec<u32> {
    let path = format!("/proc/{ancestor}/task");
    let tasks = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<u32> = children
        .flat_map(|list| list.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<_>>())
        .collect();
    children.iter().flat_map(|child| [vec![*child], descendants(*child)].concat()).collect()
}

/// The network namespace of a process; `None` if it has ended.
fn namespace(process: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/net")).ok()
}

/// Waits until the run has started `program` in a namespace that is not ours, and answers all of its processes.
fn processes_with(run: &mut Child, program: &str) -> Vec<u32> {
    let ours = namespace("self");
    loop {
        let all = descendants(run.id());
        let is_it = |id: &u32| {
            let name = fs::read_to_string(format!("/proc/{id}/comm"));
            // What only says whether it is installed is in ours.
            name.is_ok_and(|name| name.trim().starts_with(program)) && namespace(&id.to_string()) != ours
        };
        if all.iter().any(is_it) {
            return all;
        }
        assert!(run.try_wait().unwrap().is_none(), "the run has ended");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn an_interrupt_leaves_no_process_and_no_namespace() {
    if !is_possible() {
        return;
    }
    for (workload, stack, program) in [
        ("down", "ropeway", "ropeway-bench"),
        ("relay", "pasta", "pasta"),
        ("relay", "slirp4netns", "slirp4netns"),
    ] {
        let (scratch, before) = (Scratch::new(&format!("all-{stack}")), devices());
        let mut command = all(&scratch, &["--workloads", workload, "--stacks", stack, "--rounds", "100000"]);
        let mut run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let processes = processes_with(&mut run, program);
        let theirs: BTreeSet<_> = processes.iter().filter_map(|id| namespace(&id.to_string())).collect();
        assert!(Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
        assert!(!run.wait().unwrap().success());
        // They are killed with it, which takes the kernel a moment.
        let is_left = |id: &u32| namespace(&id.to_string()).is_some();
        while processes.iter().any(is_left) {
            std::thread::yield_now();
        }
        let holders = || {
            let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
            processes.filter_map(|entry| namespace(entry.file_name().to_str()?))
        };
        while holders().any(|namespace| theirs.contains(&namespace)) {
            std::thread::yield_now();
        }
        assert_eq!(devices(), before, "{stack}");
    }
}

#[test]
fn a_run_that_fails_is_told_and_leaves_nothing() {
    if !is_possible() {
        return;
    }
    let (scratch, before) = (Scratch::new("all-failure"), devices());
    // No device has such an MTU.
    let mut command =
        all(&scratch, &["--workloads", "relay", "--stacks", "ropeway", "--relay-mtu", "60", "--strict"]);
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let document = document(&scratch);
    assert_eq!(runs(&document).len(), 0);
    let failures = document["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 6);
    assert!(
        failures.iter().all(|failure| failure["error"].as_str().unwrap().contains("MTU")),
        "{failures:?}"
    );
    assert_eq!(devices(), before);
}

#[test]
fn a_program_that_is_not_installed_is_left_out_and_told() {
    if !is_possible() {
        return;
    }
    let scratch = Scratch::new("all-missing");
    let stacks =
        ["--stacks", "ropeway,pasta", "--workloads", "memory", "--memory-mtu", "1500", "--seconds", "0.001"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropeway-bench"));
    command.args(all(&scratch, &stacks).get_args().skip_while(|argument| *argument != "all"));
    let output = success(command.env("PATH", "/nowhere"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("pasta is left out: not installed"), "{said}");
    assert_eq!(runs(&document(&scratch)).len(), 1);
}
