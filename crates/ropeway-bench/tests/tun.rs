//! `tun` as a user runs it: over a device in a namespace, on a machine that may be busy.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // what is not there fails the test

mod common;

use std::fs;
use std::process::{Command, Stdio};

use common::is_possible;

/// The median of a figure of the null stack, after a short run of every scenario.
fn null_stack(name: &str, more: &[&str]) -> serde_json::Value {
    let json = std::env::temp_dir().join(format!("ropeway-tun-{name}-{}.json", std::process::id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_ropeway-bench"));
    command.args(["tun", "--stacks", "null", "--rounds", "1", "--seconds", "0.1", "--warm-up", "0.05"]);
    let output = command.args(more).arg("--json").arg(&json).stdout(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    fs::remove_file(json).unwrap();
    document
}

fn figure(document: &serde_json::Value, scenario: &str, figure: &str) -> f64 {
    let lines = document["summary"].as_array().unwrap();
    let line = lines.iter().find(|line| line["scenario"] == scenario && line["figure"] == figure).unwrap();
    line.pointer("/medians/0/1").unwrap().as_f64().unwrap()
}

#[test]
fn the_null_stack_serves_every_scenario_with_and_without_offload() {
    if !is_possible() {
        return;
    }
    for more in [&[][..], &["--plain"][..]] {
        let document = null_stack(if more.is_empty() { "offload" } else { "plain" }, more);
        for (scenario, name) in [
            ("download", "Gbit/s"),
            ("upload", "Gbit/s"),
            ("connect", "connections/s"),
            ("connect16", "connections/s"),
            ("ping", "p50 us"),
        ] {
            assert!(figure(&document, scenario, name) > 0.0, "{scenario}, {more:?}");
        }
        // A connection takes the least: the SYN's answer, the byte's, and the FIN's.
        assert!((figure(&document, "connect", "packets out/conn.") - 3.0).abs() < 0.01, "{more:?}");
        // Full segments of 1460 bytes, or trains of 44 of them.
        let packets = figure(&document, "upload", "k packets out/GB");
        let range = if more.is_empty() { 15.0..120.0 } else { 684.0..760.0 };
        assert!(range.contains(&packets), "{packets}, {more:?}");
    }
}
