//! When the option of Accurate ECN is sent, with what, and whether it comes through (RFC 9768 3.2.3).

use std::time::Duration;

use ropeway_packet::{AccurateEcn, EcnCodepoint};

use crate::ecn::EcnOption;
use crate::time::Timestamp;

/// What is known of the option on the way here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    No,
    Yes,
    /// A counter that cannot be zero came so: what arrives is not to be believed (RFC 9768 3.2.3.2.4-1).
    Zeroed,
}

#[derive(Clone, Debug)]
pub(crate) struct OptionUse {
    wanted: EcnOption,
    /// Three times in a round trip, for example, it is sent although nothing has changed.
    beacon: u8,
    seen: Seen,
    /// How many counters are needed to tell of all that have changed since the last one that was sent.
    needed: u8,
    /// The place of the counter that changed last.
    last: u8,
    /// So many more are to be sent although nothing changes.
    demanded: u8,
    /// Our last segment had one.
    carried: bool,
    /// Data came again behind one that we had sent.
    lost: u8,
    sent: Option<Timestamp>,
}

/// A counter is told of at least once in so many bytes (RFC 9768 3.2.3.3).
const AT_LEAST_ONCE_IN: u32 = 1 << 22;

/// Data that comes again so often, each time behind an option of ours, shows that they do not come through.
const LOST: u8 = 2;

impl OptionUse {
    pub(crate) fn new(wanted: EcnOption, beacon: u8) -> Self {
        let (seen, needed, last, demanded, carried, lost) = (Seen::No, 0, 0, 2, false, 0);
        Self { wanted, beacon, seen, needed, last, demanded, carried, lost, sent: None }
    }

    /// Whether what the peer's say is believed.
    pub(super) fn is_believed(&self) -> bool {
        self.seen != Seen::Zeroed
    }

    /// Whether ours are sent: not before the peer's was seen, as in Linux, and not if they do not come through.
    pub(crate) fn is_in_use(&self) -> bool {
        self.wanted != EcnOption::Off && self.seen == Seen::Yes && self.lost < LOST
    }

    /// Whether segments of data have it, too.
    pub(crate) fn goes_with_data(&self) -> bool {
        self.wanted == EcnOption::Full && self.is_in_use()
    }

    /// A segment has arrived, with it or without. Says whether that decides whether ours are sent.
    pub(crate) fn see(&mut self, option: Option<AccurateEcn>) -> bool {
        let Some(option) = option.filter(|_| self.seen == Seen::No) else { return false };
        let zeroed = option.e0b() == Some(0) || option.e1b() == Some(0);
        self.seen = if zeroed { Seen::Zeroed } else { Seen::Yes };
        true
    }

    /// A counter of bytes has changed.
    pub(super) fn changed(&mut self, field: EcnCodepoint, before: u32, now: u32) {
        let place = match field {
            EcnCodepoint::NotEct => 0,
            EcnCodepoint::Ect1 => 1,
            EcnCodepoint::Ce => 2,
            EcnCodepoint::Ect0 => 3,
        };
        let news = self.last != place || field == EcnCodepoint::Ce;
        self.last = place;
        self.needed = self.needed.max(place);
        if news || before / AT_LEAST_ONCE_IN != now / AT_LEAST_ONCE_IN {
            self.demanded = self.demanded.max(2);
        }
    }

    /// Data has come again. Says whether that decides that ours are not sent any more.
    pub(crate) fn came_again(&mut self) -> bool {
        let counts = self.carried && self.is_in_use();
        self.lost = self.lost.saturating_add(u8::from(counts));
        counts && self.lost == LOST
    }

    /// New data has come.
    pub(crate) fn came_on(&mut self) {
        if self.lost < LOST {
            self.lost = 0;
        }
    }

    /// How many counters go with a segment with so much room for options, beside so many SACK blocks; and how many of these are left. Two
    /// blocks are never given up (RFC 9768 3.2.3.3-1).
    pub(crate) fn fit(&self, room: usize, blocks: usize) -> Option<(usize, usize)> {
        let sack = |blocks: usize| if blocks > 0 { 4 + 8 * blocks } else { 0 };
        let needed = usize::from(self.needed);
        let fits = |blocks: usize| {
            let left = room.checked_sub(sack(blocks))?;
            (needed..=AccurateEcn::MAX).rev().find(|counters| AccurateEcn::padded_len_of(*counters) <= left)
        };
        let all = fits(blocks).map(|counters| (counters, blocks));
        let fewer = || fits(blocks - 1).map(|counters| (counters, blocks - 1));
        all.or_else(|| (blocks > 2 && needed > 0).then(fewer).flatten())
    }

    /// Whether a segment is to have it. `data`: it has data.
    pub(crate) fn is_due(&self, data: bool, now: Timestamp, srtt: Option<Duration>) -> bool {
        if !self.is_in_use() {
            return false;
        }
        match self.wanted {
            EcnOption::Off => false,
            EcnOption::Full => true,
            EcnOption::Least => !data && (self.demanded > 0 || self.beacon_is_due(now, srtt)),
        }
    }

    fn beacon_is_due(&self, now: Timestamp, srtt: Option<Duration>) -> bool {
        let since = self.sent.map(|at| now.since(at));
        self.beacon > 0
            && since.zip(srtt).is_none_or(|(since, srtt)| since.saturating_mul(self.beacon.into()) >= srtt)
    }

    /// A segment is sent, with it or without.
    pub(crate) fn sent(&mut self, with: bool, now: Timestamp) {
        self.carried = with;
        if with {
            self.needed = 0;
            self.demanded = self.demanded.saturating_sub(1);
            self.sent = Some(now);
        }
    }
}
