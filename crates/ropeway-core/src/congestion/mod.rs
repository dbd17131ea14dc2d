//! Congestion control decides how much may be in flight; what is lost, [`recovery`](crate::recovery) says.

pub mod controller;
mod new_reno;

use std::fmt;
use std::str::FromStr;

use crate::time::Timestamp;

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

    pub(crate) fn controller(self, mss: u32) -> Box<dyn Controller> {
        match self {
            Self::NewReno => Box::new(new_reno::NewReno::new(mss)),
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

/// An acknowledgement of new data, outside loss recovery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AckSample {
    /// Bytes newly acknowledged.
    pub(crate) acked: u32,
    /// Whether the congestion window was what held the sender back.
    pub(crate) cwnd_limited: bool,
}

/// A congestion event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LossSample {
    /// Bytes in flight when the loss was noticed.
    pub(crate) in_flight: u32,
    /// False when the same segment timed out again: the threshold must not fall twice (RFC 5681 3.1 (4)).
    pub(crate) first: bool,
}

/// A congestion control. All windows are in bytes.
pub(crate) trait Controller: fmt::Debug + Send + Sync {
    fn cwnd(&self) -> u32;
    fn ssthresh(&self) -> u32;
    fn on_ack(&mut self, now: Timestamp, ack: AckSample);
    /// Loss found by duplicate acknowledgements.
    fn on_loss(&mut self, now: Timestamp, loss: LossSample);
    /// Loss recovery is over, with `in_flight` bytes outstanding.
    fn on_recovered(&mut self, now: Timestamp, in_flight: u32);
    /// The retransmission timer went off.
    fn on_timeout(&mut self, now: Timestamp, loss: LossSample);
    /// Our SYN or SYN-ACK was lost: the first window is one segment (RFC 5681 3.1).
    fn on_lost_handshake(&mut self);
    /// Nothing was sent for at least one retransmission timeout.
    fn on_idle(&mut self);
    fn on_mss_change(&mut self, mss: u32);
    /// A copy that goes its own way.
    fn boxed(&self) -> Box<dyn Controller>;
}

impl Clone for Box<dyn Controller> {
    fn clone(&self) -> Self {
        self.as_ref().boxed()
    }
}
