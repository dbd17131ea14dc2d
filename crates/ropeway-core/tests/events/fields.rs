//! What is told is what is documented, and the other way round.

use std::collections::{BTreeMap, BTreeSet};

use ropeway_core::events::{SEGMENT, SENDER, STATE};

use crate::common::*;
use crate::{SACK, lab, told_at};

/// The fields that the documentation lists under each target, and the causes.
fn documented() -> (BTreeMap<String, BTreeSet<String>>, BTreeSet<String>) {
    let mut of_target: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut target, mut table) = (String::new(), "");
    let mut causes = BTreeSet::new();
    for line in include_str!("../../src/events.rs").lines().filter_map(|line| line.strip_prefix("//! ")) {
        if let Some(heading) = line.strip_prefix("# ") {
            target = heading.trim_matches('`').to_owned();
        } else if line.starts_with("| field") || line.starts_with("| cause |") {
            table = if line.starts_with("| field") { "field" } else { "cause" };
        } else if line.starts_with("| `") {
            let cell = line.trim_start_matches("| ").split(" |").next().unwrap();
            let names = cell.split(", ").map(|name| name.trim_matches('`').to_owned());
            match table {
                "field" => of_target.entry(target.clone()).or_default().extend(names),
                _ => causes.extend(names),
            }
        }
    }
    (of_target, causes)
}

/// Everything that has a field of its own.
fn everything() -> Vec<crate::Told> {
    told_at(tracing::Level::TRACE, || {
        let mut lab = lab();
        let id = lab.accepted(Peer { ws: Some(3), ts: true, ..SACK });
        lab.write(id, &pattern(0, 40 * 1448));
        lab.drain();
        lab.run_to(ms(10));
        lab.send(ack().ack(1).sack(&[(1449, 5793)]));
        lab.drain();
        lab.send(some(2000).merged(1000).ect0());
        lab.run_to(ms(2000));
    })
}

#[test]
fn each_field_is_documented_and_each_documented_field_is_told() {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for told in everything().into_iter().filter(|told| !told.target.starts_with("ropeway_core")) {
        let fields = told.fields.keys().map(|name| (*name).to_owned());
        found.entry(told.target.to_owned()).or_default().extend(fields);
    }
    let (documented, _) = documented();
    assert_eq!(found, documented);
    assert_eq!(documented.keys().map(String::as_str).collect::<Vec<_>>(), [STATE, SEGMENT, SENDER]);
}

// The peer's window closes with an acknowledgement, and opens when nothing is out.
#[test]
fn a_window_is_told_as_it_is_after_the_segment_that_brings_it() {
    let mut windows = Vec::new();
    for told in told_at(tracing::Level::TRACE, || {
        let mut lab = lab();
        let id = lab.accepted(SACK);
        lab.write(id, &pattern(0, 1000));
        lab.drain();
        lab.send(ack().ack(1001).win(0));
        lab.send(ack().ack(1001).win(3000));
        lab.send(ack().ack(1001).win(3000));
    }) {
        if told.target == SENDER && told.get("cause") == "ack" {
            windows.push(told.number("snd_wnd"));
        }
    }
    assert_eq!(windows, [0, 3000]);
}

#[test]
fn each_cause_is_documented() {
    let (_, documented) = documented();
    let code = include_str!("../../src/tcp/sender/why.rs");
    let named = code.lines().filter_map(|line| line.split_once("=> \"")?.1.split('"').next());
    assert_eq!(named.map(str::to_owned).collect::<BTreeSet<_>>(), documented);
}
