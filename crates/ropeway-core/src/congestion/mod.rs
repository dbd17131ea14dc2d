//! Congestion control decides how much may be in flight; what is lost, [`recovery`](crate::recovery) says.

mod controller;
mod reno;
mod undo;
mod window;

use std::fmt;
use std::str::FromStr;

pub use self::controller::{
    Congestion, CongestionEvent, Controller, ControllerFactory, Delivery, Phase, RateSample, Start,
};

/// Which congestion control a socket uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// RFC 5681 with RFC 6582, and the initial window of RFC 6928.
    #[default]
    NewReno,
}

impl Algorithm {
    /// The name that Linux has for it: `reno`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewReno => "reno",
        }
    }

    pub(crate) fn build(self, start: &Start) -> Box<dyn Controller> {
        match self {
            Self::NewReno => reno::NewReno.build(start),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no congestion control of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm;

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown congestion control; there is: reno")
    }
}

impl std::error::Error for UnknownAlgorithm {}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "reno" | "newreno" => Ok(Self::NewReno),
            _ => Err(UnknownAlgorithm),
        }
    }
}
