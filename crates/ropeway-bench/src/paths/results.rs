//! What was measured, kept as a table of tab-separated values: a long series is made in pieces, and a report is drawn
//! whenever one is wanted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use clap::ValueEnum as _;
use ropeway_plot::Spread;

use super::{Congestion, Contender};

/// The names of the columns: those of [`Sample`].
const COLUMNS: &str = "cell\tcongestion\tstack\trun\tseconds\tagain\tdropped\tlost\tlate50_us\tlate99_us\tlatest_us\t\
                       unseen50_us\tunseen99_us\tunseen_us\ttogether\tbusy_percent";
/// What stands before the line about the machine.
const MACHINE: &str = "# ";

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) cell: String,
    pub(crate) congestion: Congestion,
    pub(crate) stack: Contender,
    /// Those of one number have the same seed, and only they are compared.
    pub(crate) run: usize,
    /// From `connect` to the last byte; `None`: it was given up.
    pub(crate) seconds: Option<f64>,
    /// Segments that were sent again, if the stack tells.
    pub(crate) again: Option<u64>,
    /// What the queue of the path dropped, and what was lost besides.
    pub(crate) dropped: u64,
    pub(crate) lost: u64,
    /// How late the path delivered, in microseconds: in half of all cases, in 99 of 100, and at most.
    pub(crate) late: [f64; 3],
    /// For how long nothing was taken in, likewise.
    pub(crate) unseen: [f64; 3],
    /// How many runs went on at the same time, and how busy they kept the CPU of the ends, in percent.
    pub(crate) together: usize,
    pub(crate) busy: u64,
}

/// All runs so far, and where they were made.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Results {
    pub(crate) machine: String,
    pub(crate) samples: Vec<Sample>,
}

impl Results {
    /// What the file holds; nothing, if there is none.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        match fs::read_to_string(path) {
            Ok(table) => Self::parse(&table).map_err(told),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(told(error)),
        }
    }

    /// Replaces the file, at once and whole.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let new = path.with_extension("new");
        fs::write(&new, self.table()).map_err(told)?;
        fs::rename(&new, path).map_err(told)
    }

    fn table(&self) -> String {
        let mut table = format!("{MACHINE}{}\n{COLUMNS}\n", self.machine);
        for sample in &self.samples {
            let _ = writeln!(table, "{}", sample.line());
        }
        table
    }

    fn parse(table: &str) -> io::Result<Self> {
        let mut lines = table.lines();
        let machine = lines.next().and_then(|line| line.strip_prefix(MACHINE));
        let (Some(machine), Some(COLUMNS)) = (machine, lines.next()) else {
            return Err(io::Error::other("the table has other columns than these"));
        };
        let sample = |line| Sample::parse(line).ok_or_else(|| io::Error::other(format!("not a run: {line}")));
        Ok(Self { machine: machine.to_owned(), samples: lines.map(sample).collect::<io::Result<_>>()? })
    }

    /// Whether this run has been made.
    pub(crate) fn has(&self, cell: &str, congestion: Congestion, stack: Contender, run: usize) -> bool {
        self.of(cell, congestion, stack).any(|sample| sample.run == run)
    }

    /// The runs of a stack in a cell.
    pub(crate) fn of(
        &self,
        cell: &str,
        congestion: Congestion,
        stack: Contender,
    ) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| {
            sample.cell == cell && sample.congestion == congestion && sample.stack == stack
        })
    }

    /// How long a stack took. A run that was given up counts as endless.
    pub(crate) fn seconds(&self, cell: &str, congestion: Congestion, stack: Contender) -> Option<Spread> {
        let seconds = self.of(cell, congestion, stack).map(|sample| sample.seconds.unwrap_or(f64::INFINITY));
        Spread::of(seconds.collect())
    }

    /// Linux's time over this stack's, which is this stack's goodput over Linux's, run by run.
    pub(crate) fn ratio(&self, cell: &str, congestion: Congestion, stack: Contender) -> Option<Spread> {
        let linux: BTreeMap<usize, f64> = self
            .of(cell, congestion, Contender::Linux)
            .filter_map(|sample| Some((sample.run, sample.seconds?)))
            .collect();
        let ratios = self.of(cell, congestion, stack).filter_map(|sample| {
            let linux = linux.get(&sample.run)?;
            Some(sample.seconds.map_or(0.0, |seconds| linux / seconds))
        });
        Spread::of(ratios.collect())
    }
}

impl Sample {
    fn line(&self) -> String {
        let seconds = self.seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.6}"));
        let again = self.again.map_or_else(|| "-".to_owned(), |again| again.to_string());
        let micros = |values: [f64; 3]| values.map(|value| format!("{value:.1}")).join("\t");
        format!(
            "{}\t{}\t{}\t{}\t{seconds}\t{again}\t{}\t{}\t{}\t{}\t{}\t{}",
            self.cell,
            self.congestion.name(),
            self.stack.name(),
            self.run,
            self.dropped,
            self.lost,
            micros(self.late),
            micros(self.unseen),
            self.together,
            self.busy,
        )
    }

    fn parse(line: &str) -> Option<Self> {
        let columns: Vec<&str> = line.split('\t').collect();
        let [
            cell,
            congestion,
            stack,
            run,
            seconds,
            again,
            dropped,
            lost,
            late50,
            late99,
            latest,
            unseen50,
            unseen99,
            unseen,
            together,
            busy,
        ] = columns.as_slice()
        else {
            return None;
        };
        let micros =
            |[half, most, all]: [&str; 3]| Some([half.parse().ok()?, most.parse().ok()?, all.parse().ok()?]);
        Some(Self {
            cell: (*cell).to_owned(),
            congestion: Congestion::from_str(congestion, false).ok()?,
            stack: Contender::from_str(stack, false).ok()?,
            run: run.parse().ok()?,
            seconds: optional(seconds)?,
            again: optional(again)?,
            dropped: dropped.parse().ok()?,
            lost: lost.parse().ok()?,
            late: micros([late50, late99, latest])?,
            unseen: micros([unseen50, unseen99, unseen])?,
            together: together.parse().ok()?,
            busy: busy.parse().ok()?,
        })
    }
}

/// A value that may be missing; `None`: it is not a value at all.
fn optional<T: std::str::FromStr>(text: &str) -> Option<Option<T>> {
    if text == "-" { Some(None) } else { text.parse().ok().map(Some) }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn sample(stack: Contender, run: usize, seconds: Option<f64>) -> Sample {
        Sample {
            cell: "a".to_owned(),
            congestion: Congestion::Reno,
            stack,
            run,
            seconds,
            again: None,
            dropped: 3,
            lost: 0,
            late: [0.5, 1.0, 20.0],
            unseen: [0.4, 2.0, 30.5],
            together: 6,
            busy: 12,
        }
    }

    #[test]
    fn ratios_are_taken_within_a_run_and_what_was_given_up_counts_as_nothing() {
        let mut results = Results::default();
        for (run, linux, ours) in [(0, 2.0, Some(1.0)), (1, 4.0, Some(4.0)), (2, 6.0, None)] {
            results.samples.push(sample(Contender::Linux, run, Some(linux)));
            results.samples.push(sample(Contender::RopewaySends, run, ours));
        }
        let ratio = results.ratio("a", Congestion::Reno, Contender::RopewaySends);
        assert_eq!(ratio, Some(Spread { median: 1.0, least: 0.0, greatest: 2.0 }));
        let seconds = results.seconds("a", Congestion::Reno, Contender::RopewaySends);
        assert_eq!(seconds, Some(Spread { median: 4.0, least: 1.0, greatest: f64::INFINITY }));
        assert_eq!(results.ratio("a", Congestion::Cubic, Contender::RopewaySends), None);
    }

    #[test]
    fn what_was_written_is_read_again() {
        let mut results = Results { machine: "a kernel, two CPUs".to_owned(), samples: Vec::new() };
        results.samples.push(sample(Contender::SmoltcpSends, 3, None));
        results.samples.push(Sample { again: Some(7), ..sample(Contender::Linux, 3, Some(0.5)) });
        let path = std::env::temp_dir().join(format!("ropeway-paths-{}.tsv", std::process::id()));
        results.write(&path).unwrap();
        let read = Results::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(read, results);
        assert!(read.has("a", Congestion::Reno, Contender::SmoltcpSends, 3));
        assert!(!read.has("a", Congestion::Reno, Contender::SmoltcpSends, 4));
        assert_eq!(Results::read(&path).unwrap(), Results::default());
    }

    #[test]
    fn what_is_no_table_of_runs_is_refused() {
        assert!(Results::parse("cell\tstack\n").is_err());
        let table = Results::default().table();
        assert!(Results::parse(&table).is_ok());
        for line in ["a\treno\tlinux", "a\treno\tbsd\t0\t1\t-\t0\t0\t0\t0\t0\t0\t0\t0\t1\t0"] {
            assert!(Results::parse(&format!("{table}{line}\n")).is_err(), "{line}");
        }
    }
}
