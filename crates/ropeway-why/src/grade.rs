//! How sure a verdict is, and what it rests on.

use std::fmt;

use serde::Serialize;

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// The capture does not say.
    Unknown,
    /// The capture fits it better than anything else.
    Likely,
    /// The frames that are named show it.
    Shown,
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Likely => "likely",
            Self::Shown => "shown",
        })
    }
}

/// Something that is said of a connection, with its grade and its evidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// One or two sentences.
    pub text: String,
    /// How sure it is.
    pub grade: Grade,
    /// The numbers of the frames that it rests on, a few of them.
    pub frames: Vec<u64>,
}

impl Verdict {
    pub(crate) fn new(grade: Grade, text: impl Into<String>, frames: impl IntoIterator<Item = u64>) -> Self {
        Self { text: text.into(), grade, frames: frames.into_iter().take(MOST_FRAMES).collect() }
    }
}

/// The frames that a verdict names at most.
const MOST_FRAMES: usize = 6;
