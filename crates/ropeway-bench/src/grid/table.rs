//! The table: as figures, which are checked in and held to, and as Markdown to read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use super::Measured;
use super::results::{Verdict, hundredths, seconds, text};

/// The names of the columns of figures.
const COLUMNS: &str = "cell\ttick_us\ttime_us\tfloor_us\tretransmitted\ttimeouts\tspurious\tburst\tdropped\t\
                       mean_wait_us\tlongest_wait_us\tjain\tlimits";

/// The figures as tab-separated values: a line for each cell and each tick of timers.
pub(crate) fn figures(measured: &[Measured]) -> String {
    let mut table = format!("{COLUMNS}\n");
    for one in measured {
        for (tick, summary, verdicts) in one.sides() {
            let limits: Vec<&str> =
                verdicts.iter().map(|verdict| if verdict.is_met { "met" } else { "missed" }).collect();
            let jain = summary.jain.map_or_else(|| "-".to_owned(), |jain| jain.to_string());
            let time = if summary.unfinished > 0 { "-".to_owned() } else { summary.time.to_string() };
            let _ = writeln!(
                table,
                "{}\t{tick}\t{time}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{jain}\t{}",
                one.cell.name,
                summary.floor.map_or_else(|| "-".to_owned(), |floor| floor.to_string()),
                summary.retransmitted,
                summary.timeouts,
                summary.spurious,
                summary.burst,
                summary.dropped,
                summary.mean_wait,
                summary.longest_wait,
                if limits.is_empty() { "-".to_owned() } else { limits.join(",") },
            );
        }
    }
    table
}

/// A line of a table of figures, as far as it is held to.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    /// `None`: it was not done in time.
    time: Option<u64>,
    limits: Vec<bool>,
}

fn parse(table: &str) -> io::Result<BTreeMap<(&str, u64), Line>> {
    let mut lines = table.lines();
    if lines.next() != Some(COLUMNS) {
        return Err(io::Error::other("the table has other columns than these"));
    }
    let mut parsed = BTreeMap::new();
    for line in lines {
        let columns: Vec<&str> = line.split('\t').collect();
        let [cell, tick, time, .., limits] = columns.as_slice() else {
            return Err(io::Error::other(format!("not a line of the table: {line}")));
        };
        let limits = limits.split(',').filter(|limit| *limit != "-").map(|limit| limit == "met").collect();
        let tick = tick.parse().map_err(|_| io::Error::other(format!("not a tick: {tick}")))?;
        parsed.insert((*cell, tick), Line { time: time.parse().ok(), limits });
    }
    Ok(parsed)
}

/// What is worse than the table by more than it may be, and what the table has that is no cell any more.
pub(crate) fn check(
    table: &str,
    measured: &[Measured],
    is_cell: impl Fn(&str) -> bool,
) -> io::Result<Vec<String>> {
    let mut lines = parse(table)?;
    let mut faults = Vec::new();
    for one in measured {
        for (tick, summary, verdicts) in one.sides() {
            let name = format!("{} (timers of {tick} us)", one.cell.name);
            let Some(line) = lines.remove(&(one.cell.name.as_str(), tick)) else {
                faults.push(format!("{name} is not in the table"));
                continue;
            };
            let time = Some(summary.time).filter(|_| summary.unfinished == 0);
            match (line.time, time) {
                (Some(before), None) => {
                    faults.push(format!("{name} is not done in time; it took {}", seconds(before)));
                }
                (Some(before), Some(now)) if now * 100 > before * (100 + one.cell.tolerance) => {
                    faults.push(format!(
                        "{name} takes {}, which is more than {} and {} %",
                        seconds(now),
                        seconds(before),
                        one.cell.tolerance
                    ));
                }
                _ => {}
            }
            let limits = line.limits.iter().zip(verdicts).zip(&one.cell.limits);
            for ((_, verdict), limit) in limits.filter(|((was_met, verdict), _)| **was_met && !verdict.is_met)
            {
                faults.push(format!("{name} has {} and is to have {}", verdict.measured, text(limit)));
            }
        }
    }
    let gone = lines.keys().filter(|(cell, _)| !is_cell(cell));
    faults.extend(gone.map(|(cell, tick)| format!("{cell} (timers of {tick} us) is gone")));
    Ok(faults)
}

/// The table to read.
pub(crate) fn markdown(measured: &[Measured]) -> String {
    let mut text = String::new();
    let mut group = None;
    for one in measured {
        if group != Some(one.cell.group) {
            group = Some(one.cell.group);
            let _ = write!(text, "\n## {}\n\n{HEADING}", one.cell.group);
        }
        let _ = writeln!(text, "{}", row(one));
    }
    text
}

const HEADING: &str = "\
| cell | floor | time | x floor | sent again | timeouts (spurious) | burst | queue: drops | mean, longest wait | Jain | asked | got |
|---|---|---|---|---|---|---|---|---|---|---|---|
";

fn row(one: &Measured) -> String {
    let sides = one.sides();
    // Both values, or one if they are the same.
    let both = |of: &dyn Fn(&super::results::Summary) -> String| {
        let [exact, coarse] = sides.each_ref().map(|(_, summary, _)| of(summary));
        if exact == coarse { exact } else { format!("{exact} / {coarse}") }
    };
    let floor = both(&|summary| summary.floor.map_or_else(String::new, seconds));
    let time = both(&|summary| match summary.unfinished {
        0 => seconds(summary.time),
        _ => format!("> {}", seconds(summary.time)),
    });
    let asked: Vec<String> = one.cell.limits.iter().map(text).collect();
    let got: Vec<String> = one.cell.limits.iter().enumerate().map(|(at, _)| got(one, at)).collect();
    let columns = [
        one.cell.name.clone(),
        floor,
        time,
        both(&|summary| summary.ratio().map_or_else(String::new, hundredths)),
        both(&|summary| summary.retransmitted.to_string()),
        both(&|summary| match summary.spurious {
            0 => summary.timeouts.to_string(),
            spurious => format!("{} ({spurious})", summary.timeouts),
        }),
        both(&|summary| summary.burst.to_string()),
        both(&|summary| summary.dropped.to_string()),
        both(&|summary| format!("{}, {} ms", tenths(summary.mean_wait), tenths(summary.longest_wait))),
        both(&|summary| summary.jain.map_or_else(String::new, |jain| hundredths(jain / 10))),
        asked.join("<br>"),
        got.join("<br>"),
    ];
    format!("| {} |", columns.join(" | "))
}

/// What was measured for one of the limits.
fn got(one: &Measured, at: usize) -> String {
    let show = |verdict: Option<&Verdict>| {
        let Some(verdict) = verdict else { return String::new() };
        if verdict.is_met { verdict.measured.clone() } else { format!("**{}**", verdict.measured) }
    };
    let [exact, coarse] = one.sides().map(|(_, _, verdicts)| show(verdicts.get(at)));
    if exact == coarse { exact } else { format!("{exact} / {coarse}") }
}

/// Microseconds as milliseconds.
fn tenths(micros: u64) -> String {
    format!("{}.{}", micros / 1000, micros / 100 % 10)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ropeway_sim::Rate;

    use super::super::cell::{Cell, Limit};
    use super::super::measure;
    use super::*;

    fn measured() -> Vec<Measured> {
        let cell = Cell::path("a cell", Rate::mbit(10), Duration::from_millis(10), 10).bulk(10_000);
        measure(&[cell.limit(Limit::Within(Duration::from_secs(1)))], None, 1)
    }

    /// The same table with one column of the first line changed.
    fn changed(table: &str, column: usize, to: impl Fn(&str) -> String) -> String {
        let mut lines: Vec<String> = table.lines().map(str::to_owned).collect();
        let mut columns: Vec<String> = lines[1].split('\t').map(str::to_owned).collect();
        columns[column] = to(&columns[column]);
        lines[1] = columns.join("\t");
        lines.join("\n")
    }

    #[test]
    fn what_was_written_is_held_to() {
        let measured = measured();
        let table = figures(&measured);
        assert_eq!(check(&table, &measured, |name| name == "a cell").unwrap(), Vec::<String>::new());
        let slower = |percent: u64| {
            changed(&table, 2, |time| (time.parse::<u64>().unwrap() * 100 / (100 + percent)).to_string())
        };
        assert_eq!(check(&slower(2), &measured, |name| name == "a cell").unwrap(), Vec::<String>::new());
        assert_eq!(check(&slower(4), &measured, |name| name == "a cell").unwrap().len(), 1);
        // One that was not done, or a limit that was missed, is no measure.
        let undone = changed(&table, 2, |_| "-".to_owned());
        assert_eq!(check(&undone, &measured, |name| name == "a cell").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_limit_that_was_met_must_not_be_missed() {
        let mut measured = measured();
        let table = figures(&measured);
        measured[0].sides[1].1[0].is_met = false;
        let faults = check(&table, &measured, |name| name == "a cell").unwrap();
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert_eq!(
            check(&figures(&measured), &measured, |name| name == "a cell").unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn cells_that_the_table_does_not_know_and_those_that_are_gone_are_told() {
        let measured = measured();
        let table = figures(&measured);
        let other = changed(&table, 0, |_| "another cell".to_owned());
        assert_eq!(check(&other, &measured, |name| name == "a cell").unwrap().len(), 2);
        assert_eq!(check(&other, &measured, |_| true).unwrap().len(), 1);
        assert!(check("cell\ttime\n", &measured, |name| name == "a cell").is_err());
        assert!(check(&format!("{COLUMNS}\nnonsense"), &measured, |name| name == "a cell").is_err());
    }

    #[test]
    fn both_timings_share_a_column_where_they_agree() {
        let text = markdown(&measured());
        assert!(text.contains("| a cell | 0.0") && text.contains("≤ 1.000 s"), "{text}");
    }
}
