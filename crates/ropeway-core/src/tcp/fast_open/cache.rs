//! The cookies that servers gave us, and what else is known of them (RFC 7413 4.1.3).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ropeway_packet::{FastOpen as Cookie, FourTuple};

use super::{Answered, Attempt, FastOpenFailure};
use crate::time::Timestamp;

/// A server changes its key now and then, so what it gave long ago is good for nothing but a failure.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// After the second time in a row that a service did not take the data of a SYN, it gets none for twice this, then four times,
/// and so on.
const PAUSE: Duration = Duration::from_secs(60);
const MOST_DOUBLINGS: u8 = 6;

/// Our address and the server's: the cookie depends on both.
type Addresses = (IpAddr, IpAddr);

#[derive(Clone, Debug)]
struct Entry {
    /// What the next SYN says.
    option: Cookie,
    mss: Option<u16>,
    /// The port that has not taken the data of a SYN, and how often in a row: a cookie is good for all ports, but not all
    /// need to know Fast Open.
    refusals: (u16, u8),
    learned: Timestamp,
    /// Its place in the order in which entries were learned.
    number: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct CookieCache {
    entries: BTreeMap<Addresses, Entry>,
    /// The oldest first.
    order: BTreeMap<u64, Addresses>,
    next: u64,
    most: usize,
}

impl CookieCache {
    pub(crate) fn new(most: usize) -> Self {
        Self { entries: BTreeMap::new(), order: BTreeMap::new(), next: 0, most }
    }

    /// The memory that it takes, about.
    pub(crate) fn memory(&self) -> usize {
        const EACH: usize = size_of::<(Addresses, Entry)>() + size_of::<(u64, Addresses)>();
        // The nodes of a tree are half full at the least.
        2 * EACH * self.entries.len()
    }

    /// What a SYN may do (RFC 7413 4.2.1-1). `cookieless`: data goes without a cookie.
    pub(crate) fn attempt(&self, tuple: &FourTuple, cookieless: bool, now: Timestamp) -> Attempt {
        let entry = self.entries.get(&addresses(tuple)).filter(|entry| now.since(entry.learned) < LIFETIME);
        let (option, mss) = match entry {
            Some(entry) if entry.pauses(tuple.remote_port, now) => {
                return Attempt { mss: entry.mss, ..Attempt::default() };
            }
            Some(entry) => (entry.option, entry.mss),
            None => (Cookie::REQUEST, None),
        };
        match option.is_request() {
            _ if cookieless => Attempt { mss, data: true, ..Attempt::default() },
            true => Attempt {
                option: Some(option),
                mss,
                data: false,
                failure: FastOpenFailure::CookieUnavailable,
            },
            false => Attempt { option: Some(option), mss, data: true, failure: FastOpenFailure::None },
        }
    }

    // RFC 7413 4.1.3.1-1, RFC 7413 4.2.2-11, RFC 7413 9-1
    /// A server has answered (RFC 7413 4.1.3-1).
    pub(crate) fn learn(&mut self, tuple: &FourTuple, answered: &Answered, now: Timestamp) {
        let key = addresses(tuple);
        let old = self.entries.get(&key);
        let (known, before) = old.map_or((None, (0, 0)), |old| (Some(old.option), old.refusals));
        let option = match (answered.cookie, answered.ignored) {
            (Some(cookie), _) => cookie,
            // Perhaps it knows the experimental option; if not, that was that.
            (None, Some(experimental)) => Cookie::REQUEST.as_experiment(!experimental && known.is_none()),
            (None, None) => known.unwrap_or(Cookie::REQUEST),
        };
        let here = if before.0 == tuple.remote_port { before.1 } else { 0 };
        let refusals = match answered.refused {
            true => (tuple.remote_port, here.saturating_add(1)),
            false if here > 0 => (0, 0),
            false => before,
        };
        if let Some(old) = self.entries.remove(&key) {
            self.order.remove(&old.number);
        }
        if self.entries.len() >= self.most
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        if self.most == 0 {
            return;
        }
        let number = self.next;
        self.next += 1;
        self.entries.insert(key, Entry { option, mss: answered.mss, refusals, learned: now, number });
        self.order.insert(number, key);
    }

    /// Forgets all.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }
}

impl Entry {
    // RFC 7413 4.1.3.1-2
    /// The data of SYNs is not taken again and again: there is none for some time (RFC 7413 4.1.3.1-1).
    fn pauses(&self, port: u16, now: Timestamp) -> bool {
        let (refused, times) = self.refusals;
        let pause = PAUSE * (1 << times.min(MOST_DOUBLINGS));
        refused == port && times > 1 && now.since(self.learned) < pause
    }
}

fn addresses(tuple: &FourTuple) -> Addresses {
    (tuple.local_addr, tuple.remote_addr)
}
