//! Samples, their medians and their ratios: as a table to read and as JSON to keep.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::iter;
use std::path::Path;

use ropeway_plot::Spread;
use serde::{Deserialize, Serialize};

/// One figure of one run.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Figure {
    /// What it is, with its unit.
    pub(crate) name: &'static str,
    /// How much.
    pub(crate) value: f64,
}

/// A figure called `name`.
pub(crate) fn figure(name: &'static str, value: f64) -> Figure {
    Figure { name, value }
}

/// What one run of one stack gave.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Sample {
    /// What was done.
    pub(crate) scenario: String,
    /// By which stack.
    pub(crate) stack: &'static str,
    /// In which round; the runs of a round follow each other at once, and only they are compared.
    pub(crate) round: usize,
    /// The figures, in the order to show them.
    pub(crate) figures: Vec<Figure>,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) scenario: String,
    pub(crate) figure: &'static str,
    /// The median of each stack's runs, in the order of the stacks.
    pub(crate) medians: Vec<(&'static str, f64)>,
    /// The first stack's figure over each other one's, round by round: median, least, greatest.
    pub(crate) ratios: Vec<(&'static str, [f64; 3])>,
}

impl Line {
    /// A stack's median, and the first one's ratio to it.
    fn cell(&self, stack: &str) -> String {
        let Some((_, median)) = self.medians.iter().find(|(name, _)| *name == stack) else {
            return String::new();
        };
        let ratio = self.ratios.iter().find(|(name, _)| *name == stack);
        let ratio =
            ratio.map(|(_, [median, least, greatest])| format!(" ({median:.2}: {least:.2}..{greatest:.2})"));
        number(*median) + &ratio.unwrap_or_default()
    }
}

/// A run that gave nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) scenario: String,
    pub(crate) stack: String,
    pub(crate) round: usize,
    /// Why.
    pub(crate) error: String,
}

/// Samples of one call of the program, or of several that go on from each other.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// How the figures came about.
    settings: BTreeMap<&'static str, String>,
    samples: Vec<Sample>,
    failures: Vec<Failure>,
}

/// What [`Report::write`] has written, as far as it is read again.
#[derive(Deserialize)]
struct Kept {
    settings: BTreeMap<String, String>,
    samples: Vec<KeptSample>,
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
struct KeptSample {
    scenario: String,
    stack: String,
    round: usize,
    figures: Vec<KeptFigure>,
}

#[derive(Deserialize)]
struct KeptFigure {
    name: String,
    value: f64,
}

impl Report {
    /// Notes a setting that the figures depend on.
    pub(crate) fn setting(&mut self, name: &'static str, value: impl ToString) {
        self.settings.insert(name, value.to_string());
    }

    /// Adds a run and shows it at once on the error stream.
    pub(crate) fn add(&mut self, sample: Sample) {
        let figures: Vec<String> =
            sample.figures.iter().map(|f| format!("{} {}", number(f.value), f.name)).collect();
        eprintln!("round {} {:<9} {:<9} {}", sample.round, sample.scenario, sample.stack, figures.join(", "));
        self.push(sample);
    }

    /// Adds a run.
    pub(crate) fn push(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Notes a run that gave nothing.
    pub(crate) fn fail(&mut self, failure: Failure) {
        self.failures.push(failure);
    }

    pub(crate) fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// Whether a run has been made, with or without success.
    pub(crate) fn has(&self, scenario: &str, stack: &str, round: usize) -> bool {
        let is_it = |(a, b, c): (&str, &str, usize)| (a, b, c) == (scenario, stack, round);
        self.samples.iter().any(|of| is_it((&of.scenario, of.stack, of.round)))
            || self.failures.iter().any(|of| is_it((&of.scenario, &of.stack, of.round)))
    }

    /// Takes up what [`write`](Self::write) has written to `path`, so that a long series can be made in pieces. Without the
    /// file there is nothing to take up.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or its runs were made with other settings than these.
    pub(crate) fn resume(&mut self, path: &Path) -> io::Result<()> {
        let told = |error: String| io::Error::other(format!("{}: {error}", path.display()));
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            result => result.map_err(|error| told(error.to_string()))?,
        };
        let kept: Kept = serde_json::from_str(&text).map_err(|error| told(error.to_string()))?;
        let other = self.settings.iter().find(|(name, value)| kept.settings.get(**name) != Some(value));
        if let Some((name, _)) = other {
            return Err(told(format!("its runs were made with another setting of {name}")));
        }
        // Names are few, and live as long as the program.
        let mut names: BTreeMap<String, &'static str> = BTreeMap::new();
        let mut keep = |name: String| *names.entry(name).or_insert_with_key(|name| name.clone().leak());
        for KeptSample { scenario, stack, round, figures } in kept.samples {
            let figures = figures.into_iter().map(|of| figure(keep(of.name), of.value)).collect();
            self.samples.push(Sample { scenario, stack: keep(stack), round, figures });
        }
        self.failures.extend(kept.failures);
        Ok(())
    }

    /// Prints medians and ratios, and writes everything to `json` if that is wanted.
    pub(crate) fn finish(&self, json: Option<&Path>) -> io::Result<()> {
        let lines = self.lines();
        self.print(&lines);
        json.map_or(Ok(()), |path| self.write(&lines, path))
    }

    /// Writes everything as JSON.
    pub(crate) fn write(&self, lines: &[Line], path: &Path) -> io::Result<()> {
        let document = serde_json::json!({ "settings": self.settings, "summary": lines, "samples": self.samples, "failures": self.failures });
        fs::write(path, format!("{document:#}\n")).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot write {}: {error}", path.display()))
        })
    }

    /// A table for each figure: scenarios down, stacks across; medians, with the first stack's ratio to each.
    pub(crate) fn markdown(&self, lines: &[Line]) -> String {
        let stacks = self.stacks();
        let mut names: Vec<&str> = Vec::new();
        for line in lines {
            if !names.contains(&line.figure) {
                names.push(line.figure);
            }
        }
        let mut text = String::new();
        for name in names {
            let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
            let heading = iter::once(name).chain(stacks.iter().copied()).map(str::to_owned).collect();
            text += &row(heading);
            text += &row(iter::repeat_n("---".to_owned(), stacks.len() + 1).collect());
            for line in lines.iter().filter(|line| line.figure == name) {
                let cells = stacks.iter().map(|stack| line.cell(stack));
                text += &row(iter::once(line.scenario.clone()).chain(cells).collect());
            }
            text.push('\n');
        }
        text
    }

    fn print(&self, lines: &[Line]) {
        let settings: Vec<String> =
            self.settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
        println!("\n{}\n", settings.join(", "));
        let stacks = self.stacks();
        print!("{:<10} {:<22}", "scenario", "median of");
        stacks.iter().for_each(|stack| print!(" {stack:>10}"));
        if let [first, others @ ..] = &*stacks {
            others.iter().for_each(|other| print!("   {:<22}", format!("{first}/{other}")));
        }
        println!();
        for line in lines {
            print!("{:<10} {:<22}", line.scenario, line.figure);
            for stack in &stacks {
                let median = line.medians.iter().find(|(name, _)| name == stack);
                print!(" {:>10}", median.map_or_else(|| "-".to_owned(), |(_, value)| number(*value)));
            }
            for (_, [median, least, greatest]) in &line.ratios {
                print!("   {:<22}", format!("{median:.3} ({least:.3}..{greatest:.3})"));
            }
            println!();
        }
        if stacks.len() > 1 {
            println!("\nratios are taken within each round: median (least..greatest)");
        }
    }

    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut keys: Vec<(&str, &'static str)> = Vec::new();
        for sample in &self.samples {
            let new = sample.figures.iter().map(|figure| (&*sample.scenario, figure.name));
            let new: Vec<_> = new.filter(|key| !keys.contains(key)).collect();
            keys.extend(new);
        }
        keys.into_iter().map(|(scenario, figure)| self.line(scenario, figure)).collect()
    }

    /// A figure of a stack, for each round.
    fn rounds(&self, scenario: &str, figure: &str, stack: &str) -> BTreeMap<usize, f64> {
        let samples =
            self.samples.iter().filter(|sample| sample.scenario == scenario && sample.stack == stack);
        let value = |sample: &Sample| Some(sample.figures.iter().find(|f| f.name == figure)?.value);
        samples.filter_map(|sample| Some((sample.round, value(sample)?))).collect()
    }

    /// The same without the rounds.
    pub(crate) fn values(&self, scenario: &str, figure: &str, stack: &str) -> Vec<f64> {
        self.rounds(scenario, figure, stack).into_values().collect()
    }

    fn line(&self, scenario: &str, figure: &'static str) -> Line {
        let stacks = self.stacks();
        let of = |stack| self.rounds(scenario, figure, stack);
        let medians = stacks
            .iter()
            .filter_map(|stack| Some((*stack, median(of(stack).into_values().collect())?)))
            .collect();
        let mut ratios = Vec::new();
        if let [first, others @ ..] = &*stacks {
            let first = of(first);
            for other in others {
                let theirs = of(other);
                let of_rounds = first.iter().filter_map(|(round, value)| Some(value / theirs.get(round)?));
                let of_rounds = of_rounds.filter(|ratio| ratio.is_finite()).collect();
                let spread = Spread::of(of_rounds).map(|of| [of.median, of.least, of.greatest]);
                ratios.extend(spread.map(|ratio| (*other, ratio)));
            }
        }
        Line { scenario: scenario.to_owned(), figure, medians, ratios }
    }

    /// In the order in which they ran.
    pub(crate) fn stacks(&self) -> Vec<&'static str> {
        self.stacks_of(|_| true)
    }

    /// Those that have run one of these scenarios, likewise.
    pub(crate) fn stacks_of(&self, wanted: impl Fn(&str) -> bool) -> Vec<&'static str> {
        let mut stacks = Vec::new();
        for sample in self.samples.iter().filter(|sample| wanted(&sample.scenario)) {
            if !stacks.contains(&sample.stack) {
                stacks.push(sample.stack);
            }
        }
        stacks
    }
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: Vec<f64>) -> Option<f64> {
    Spread::of(values).map(|spread| spread.median)
}

/// The value below which `percent` of them lie; they are sorted.
pub(crate) fn percentile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied()
}

/// Three or four digits that count.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 10.0 => format!("{value:.3}"),
        size if size < 1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut report = Report::default();
        // The machine is twice as fast in round 1: the ratio does not change.
        for (round, ours, theirs) in [(0, 3.0, 2.0), (1, 6.0, 4.0)] {
            for (stack, value) in [("ours", ours), ("theirs", theirs)] {
                report.add(Sample {
                    scenario: "bulk".to_owned(),
                    stack,
                    round,
                    figures: vec![figure("Gbit/s", value)],
                });
            }
        }
        let lines = report.lines();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].medians, [("ours", 4.5), ("theirs", 3.0)]);
        assert_eq!(lines[0].ratios, [("theirs", [1.5, 1.5, 1.5])]);
    }

    #[test]
    fn a_round_that_one_stack_missed_has_no_ratio() {
        let mut report = Report::default();
        report.add(Sample {
            scenario: "bulk".to_owned(),
            stack: "ours",
            round: 0,
            figures: vec![figure("x", 1.0)],
        });
        report.add(Sample {
            scenario: "bulk".to_owned(),
            stack: "theirs",
            round: 1,
            figures: vec![figure("x", 1.0)],
        });
        assert_eq!(report.lines()[0].ratios, []);
    }
}
