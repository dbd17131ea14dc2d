//! The outcomes as a table, a column for each case.

use super::Outcome;

/// A line: what it tells, and how of an outcome.
type Line = (&'static str, fn(&Outcome) -> String);

const LINES: [Line; 20] = [
    ("connections tried", |outcome| outcome.tried.to_string()),
    ("connections open", |outcome| outcome.opened.to_string()),
    ("budget, MiB", |outcome| mebibytes(outcome.budget)),
    ("counted: send", |outcome| mebibytes(outcome.send)),
    ("counted: receive", |outcome| mebibytes(outcome.receive)),
    ("counted: reassembly", |outcome| mebibytes(outcome.reassembly)),
    ("counted: records", |outcome| mebibytes(outcome.records)),
    ("counted: others", |outcome| mebibytes(outcome.others)),
    ("counted, MiB", |outcome| mebibytes(outcome.counted)),
    ("held: allocated, MiB", |outcome| mebibytes(outcome.allocated)),
    ("held: resident, MiB", |outcome| outcome.resident.map_or_else(|| "-".into(), mebibytes)),
    ("held / counted", |outcome| format!("{:.3}", outcome.ratio())),
    ("most counted, MiB", |outcome| mebibytes(outcome.peak)),
    ("left when they are gone", |outcome| mebibytes(outcome.left)),
    ("us for a packet of theirs", |outcome| format!("{:.2}", outcome.cost)),
    ("honest: connect, ms", |outcome| beside(outcome.service.connect, outcome.alone.connect)),
    ("honest: slowest of 20 messages, ms", |outcome| beside(outcome.service.slowest, outcome.alone.slowest)),
    ("honest: upload, Mbit/s", |outcome| beside(outcome.service.upload, outcome.alone.upload)),
    ("honest: download, Mbit/s", |outcome| beside(outcome.service.download, outcome.alone.download)),
    ("held per connection, bytes", |outcome| (outcome.allocated / outcome.opened.max(1)).to_string()),
];

pub(super) fn print(outcomes: &[Outcome]) {
    print!("{:<36}", "");
    outcomes.iter().for_each(|outcome| print!(" {:>17}", outcome.case.name()));
    println!();
    for (what, show) in LINES {
        print!("{what:<36}");
        outcomes.iter().for_each(|outcome| print!(" {:>17}", show(outcome)));
        println!();
    }
}

fn mebibytes(bytes: usize) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// A figure, and what it is alone.
fn beside(with: Option<f64>, alone: Option<f64>) -> String {
    let show = |figure: Option<f64>| figure.map_or_else(|| "never".into(), |figure| format!("{figure:.1}"));
    format!("{} ({})", show(with), show(alone))
}
