//! What an acknowledgement tells recovery, and what follows from it.

use std::time::Duration;

use ropeway_packet::SeqNum;

use super::rack::Found;
use crate::config::StackConfig;
use crate::options::SocketOptions;
use crate::time::Timestamp;

/// Which of the mechanisms are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Switches {
    /// Both ends use SACK.
    pub(crate) sack: bool,
    pub(crate) rack: bool,
    pub(crate) tlp: bool,
    pub(crate) frto: bool,
    pub(crate) undo: bool,
    pub(crate) prr: bool,
    /// A pause makes the window begin anew.
    pub(crate) restarts: bool,
}

impl Switches {
    /// Those of a socket; without SACK, on which the peer has yet to agree.
    pub(crate) fn of(options: &SocketOptions, config: &StackConfig) -> Self {
        Self {
            sack: false,
            rack: options.rack && config.rack,
            tlp: options.tlp && config.tlp,
            frto: config.frto,
            undo: config.undo,
            prr: config.prr,
            restarts: options.slow_start_after_idle,
        }
    }

    /// Whether RACK asks for what was sent in the order of time.
    pub(crate) fn needs_order(self) -> bool {
        self.sack && self.rack
    }
}

/// What an acknowledgement has told, beside what it has marked in the flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct News {
    pub(crate) now: Timestamp,
    pub(crate) una: SeqNum,
    pub(crate) nxt: SeqNum,
    pub(crate) mss: u32,
    /// Bytes by which SND.UNA has moved.
    pub(crate) acked: u32,
    /// Bytes newly reported by SACK.
    pub(crate) sacked: u32,
    /// It is a duplicate (RFC 5681 2).
    pub(crate) duplicate: bool,
    /// It has neither data nor a window update, and brings no news: only a duplicate, or nothing.
    pub(crate) bare: bool,
    /// Something has arrived that was sent once, before this recovery began (RFC 5682 3.1).
    pub(crate) original: bool,
    /// Where the lowest range begins that was sent once, and arrived after something that was sent later.
    pub(crate) overtaken: Option<SeqNum>,
    /// It reports something to have arrived twice: how many segments, and up to where.
    pub(crate) dsack: Option<Dsack>,
    /// The timestamp that it echoes.
    pub(crate) tsecr: Option<u32>,
    /// `P.delivered` of the newest that has arrived.
    pub(crate) prior_delivered: Option<u64>,
    pub(crate) delivered_in_all: u64,
    /// There is new data, and a window for it.
    pub(crate) can_send_new: bool,
    /// It tells of a mark of congestion (RFC 3168).
    pub(crate) marked: bool,
    pub(crate) min_rtt: Option<Duration>,
    pub(crate) srtt: Option<Duration>,
    pub(crate) granularity: Duration,
}

/// A D-SACK (RFC 2883).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dsack {
    pub(crate) start: SeqNum,
    pub(crate) end: SeqNum,
    pub(crate) segments: u32,
}

/// What follows from an acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Bytes newly taken for lost.
    pub(crate) lost: u32,
    /// Bytes newly inferred to have arrived.
    pub(crate) inferred: u32,
    /// When to look for losses again.
    pub(crate) reorder: Reorder,
    /// Fast recovery has begun.
    pub(crate) began: bool,
    /// The window was reduced.
    pub(crate) reduced: bool,
    /// A reduction was proved wrong.
    pub(crate) undone: bool,
    /// A partial acknowledgement of a peer without SACK, and not the first: the timer runs on (RFC 6582 4).
    pub(crate) keeps_timer: bool,
    /// The next hole goes out at once, whatever PRR says (RFC 6582 3.2 (3)).
    pub(crate) resends: bool,
    /// The retransmission timeout was spurious.
    pub(crate) spurious_timeout: bool,
}

/// What becomes of RACK's timer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Reorder {
    /// Nothing is known that was not known before.
    #[default]
    Keep,
    /// It goes off then.
    At(Timestamp),
    Stop,
}

impl From<Found> for Reorder {
    fn from(found: Found) -> Self {
        match (found.looked, found.again) {
            (false, _) => Self::Keep,
            (true, Some(at)) => Self::At(at),
            (true, None) => Self::Stop,
        }
    }
}
