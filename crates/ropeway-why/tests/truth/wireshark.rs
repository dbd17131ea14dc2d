//! The same captures, read by tshark.

use std::collections::BTreeSet;
use std::process::Command;

use ropeway_sim::{Link, Net};

use crate::score::both_ways;
use crate::world::{PLACES, ms, run};

/// The frames that a filter of tshark's finds.
fn frames(capture: &std::path::Path, filter: &str) -> Option<BTreeSet<u64>> {
    let output = Command::new("tshark")
        .arg("-r")
        .arg(capture)
        .args(["-Y", filter, "-T", "fields", "-e", "frame.number"])
        .output();
    let output = match output {
        Ok(output) if output.status.success() => output.stdout,
        _ if std::env::var_os("ROPEWAY_REQUIRE_TUN").is_some() => panic!("tshark does not run"),
        _ => return None,
    };
    let text = String::from_utf8(output).expect("numbers");
    Some(text.lines().map(|line| line.trim().parse().expect("a number")).collect())
}

#[test]
fn what_tshark_calls_a_retransmission_is_one_here_too() {
    let lossy = || Link::new().delay(ms(12)).loss(0.02);
    let world = run(9, lossy(), lossy(), |_: Net, client, server| both_ways(client, server, 400_000, 0));
    let directory = std::env::temp_dir().join(format!("ropeway-why-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    for place in PLACES {
        let path = directory.join(format!("{place:?}.pcap"));
        std::fs::write(&path, world.capture(place).0).expect("a file");
        let filter = "tcp.len > 0 && (tcp.analysis.retransmission || tcp.analysis.fast_retransmission || \
                      tcp.analysis.spurious_retransmission || tcp.analysis.out_of_order)";
        let Some(theirs) = frames(&path, filter) else {
            eprintln!("skipped: tshark is not installed");
            break;
        };
        let report = world.why(place);
        let records =
            report.connections.iter().flat_map(|one| &one.directions).flat_map(|one| &one.retransmissions);
        let ours: BTreeSet<u64> = records.map(|record| record.frame).collect();
        assert!(theirs.len() > 10, "{place:?}: {theirs:?}");
        let differ: Vec<u64> = ours.symmetric_difference(&theirs).copied().collect();
        assert!(differ.is_empty(), "{place:?}: {differ:?} of ours {ours:?}, theirs {theirs:?}");
    }
    std::fs::remove_dir_all(&directory).expect("it is ours");
}
