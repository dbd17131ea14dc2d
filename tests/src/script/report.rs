//! What comes out of a run, for a reader.

use std::fmt;

use super::compare::Difference;

/// How a run ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Every line was as expected.
    Pass,
    /// A line was not.
    Fail(Box<Failure>),
    /// The script asks for what the stack does not have.
    Unsupported {
        /// What, without repetition.
        what: Vec<String>,
        /// The first line that was not as expected, when the rest was run all the same. `None`: the rest was as
        /// expected, or could not be run.
        rest: Option<Box<Failure>>,
        /// The run went on to the script's end.
        complete: bool,
    },
}

/// The first line that was not as expected.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Where in the script.
    pub line: usize,
    /// In one sentence.
    pub what: String,
    /// What the script expects, in its own language.
    pub expected: Option<String>,
    /// What happened, in the same language.
    pub actual: Option<String>,
    /// Field by field.
    pub differences: Vec<Difference>,
}

impl Failure {
    pub(super) fn new(line: usize, what: impl Into<String>) -> Self {
        Self { line, what: what.into(), expected: None, actual: None, differences: Vec::new() }
    }
}

/// A run.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Packets, calls and code up to the end, in the script's language.
    pub exchange: Vec<String>,
    /// What was in the script and changed nothing.
    pub notes: Vec<String>,
}

impl Report {
    /// The failure, also one behind something unsupported.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match &self.outcome {
            Outcome::Fail(failure) => Some(failure),
            Outcome::Unsupported { rest, .. } => rest.as_deref(),
            Outcome::Pass => None,
        }
    }

    /// The message of a failure: `path:line: what`, expected and actual, every field that differs, and the
    /// exchange so far.
    #[must_use]
    pub fn message(&self, path: &str) -> String {
        let Some(failure) = self.failure() else { return String::new() };
        let mut text = format!("{path}:{}: {}\n", failure.line, failure.what);
        for (name, line) in [("expected", &failure.expected), ("actual", &failure.actual)] {
            if let Some(line) = line {
                text += &format!("  {name:<9} {line}\n");
            }
        }
        for Difference { field, expected, actual } in &failure.differences {
            text += &format!("    {field}: expected {expected}, actual {actual}\n");
        }
        text += "  the exchange so far:\n";
        for line in &self.exchange {
            text += &format!("    {line}\n");
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Pass => f.write_str("pass"),
            Outcome::Fail(failure) => write!(f, "FAIL line {}: {}", failure.line, failure.what),
            Outcome::Unsupported { what, rest, complete } => {
                write!(f, "unsupported: {}", what.join(", "))?;
                match rest {
                    Some(failure) => write!(f, "; line {}: {}", failure.line, failure.what),
                    None if *complete => f.write_str("; all else as expected"),
                    None => Ok(()),
                }
            }
        }
    }
}
