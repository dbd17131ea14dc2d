//! The SYN queue: SYN-RECEIVED of passive opens. An entry holds no buffers: 40 bytes for IPv4, 64 for IPv6.
//!
//! SYN-ACKs are retransmitted with backoff, and the entry is reaped when they run out. The delay before the
//! n-th retransmission is the same for all, so there is one queue for each n, in the order of arrival. An
//! entry has one place in one queue; when it ends, its slot is free as soon as that place comes up, or when
//! there are more dead entries than live ones.

mod entry;

use std::collections::VecDeque;
use std::time::Duration;

use ropeway_packet::{FourTuple, SeqNum, TcpHeader, WindowScale};

use self::entry::{HalfOpen, Phase};
use super::incoming::SynOptions;
use super::prefix::PrefixCounts;
use crate::recovery::rto::backed_off;
use crate::tcp::connection::Handshake;
use crate::time::{ShortTimestamp, Timestamp};
use crate::tuple_slab::{TupleKey, TupleSlab};

/// What a SYN and the stack's settings make of a half-open connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) iss: SeqNum,
    /// The scale that we announce if the peer does.
    pub(crate) wscale: Option<WindowScale>,
    pub(crate) timestamps: bool,
    /// The user decides whether it is answered.
    pub(crate) undecided: bool,
}

/// What the stack knows and an entry needs not store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announced {
    pub(crate) timestamp_offset: u32,
    pub(crate) advmss: u16,
    /// The window of our SYN-ACK.
    pub(crate) window: u16,
    /// What lacks the timestamps that were agreed on is dropped.
    pub(crate) strict_timestamps: bool,
}

/// What a segment for a half-open tuple calls for (RFC 9293 3.10.7.4, for SYN-RECEIVED).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Drop,
    /// It is answered with this segment, and the entry stays.
    Reply(TcpHeader),
    /// Back to LISTEN, silently: the peer has reset, or has begun anew.
    BackToListen,
    /// The handshake is complete.
    Complete,
}

/// What became of an entry whose timer went off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// The SYN-ACK is to be sent again.
    Retransmit(TupleKey),
    /// It is over; the entry is to be removed.
    Reap(TupleKey),
}

#[derive(Clone, Debug)]
pub(crate) struct HalfOpenTable {
    entries: TupleSlab<HalfOpen>,
    /// One queue for each number of retransmissions, and last one for what is undecided or refused.
    queues: Vec<VecDeque<TupleKey>>,
    first_timeout: Duration,
    longest_timeout: Duration,
    decision_timeout: Duration,
    prefixes: PrefixCounts,
    live: usize,
    dead: usize,
}

/// So many entries may always be dead before they are looked for.
const MANY_DEAD: usize = 256;

impl HalfOpenTable {
    pub(crate) fn new(
        retries: u32,
        first_timeout: Duration,
        longest_timeout: Duration,
        decision_timeout: Duration,
        prefix_key: [u8; 16],
    ) -> Self {
        let levels = retries.min(u32::from(u8::MAX - 2)) + 2;
        Self {
            entries: TupleSlab::new(),
            queues: (0..levels).map(|_| VecDeque::new()).collect(),
            first_timeout,
            longest_timeout,
            decision_timeout,
            prefixes: PrefixCounts::new(prefix_key),
            live: 0,
            dead: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    pub(crate) fn tuple(&self, key: TupleKey) -> Option<FourTuple> {
        self.entries.tuple(key)
    }

    /// The slot of the listener that an entry belongs to.
    pub(crate) fn listener(&self, key: TupleKey) -> Option<u32> {
        self.live_entry(key).map(|entry| entry.listener)
    }

    pub(crate) fn iss(&self, key: TupleKey) -> Option<SeqNum> {
        self.live_entry(key).map(|entry| entry.iss)
    }

    fn live_entry(&self, key: TupleKey) -> Option<&HalfOpen> {
        self.entries.get(key).filter(|entry| entry.is_live())
    }

    fn live_entry_mut(&mut self, key: TupleKey) -> Option<&mut HalfOpen> {
        self.entries.get_mut(key).filter(|entry| entry.is_live())
    }

    /// How many entries the source prefix of this tuple has.
    pub(crate) fn of_prefix(&self, tuple: &FourTuple) -> u32 {
        self.prefixes.get(tuple.remote_addr)
    }

    /// The entries of one listener.
    pub(crate) fn of_listener(&self, listener: u32) -> Vec<TupleKey> {
        let own = |entry: &HalfOpen| entry.listener == listener && entry.is_live();
        self.entries.iter().filter(|(_, _, entry)| own(entry)).map(|(key, ..)| key).collect()
    }

    /// A SYN for a listener: LISTEN becomes SYN-RECEIVED.
    pub(crate) fn insert(
        &mut self,
        tuple: &FourTuple,
        listener: u32,
        syn: &TcpHeader,
        opening: &Opening,
        now: Timestamp,
    ) -> Option<TupleKey> {
        let delay = if opening.undecided { self.decision_timeout } else { self.first_timeout };
        let entry = HalfOpen::new(listener, syn, opening, ShortTimestamp::after(now, delay));
        let key = self.entries.insert(tuple, entry)?;
        let queue = if opening.undecided { self.queues.last_mut() } else { self.queues.first_mut() };
        queue?.push_back(key);
        self.prefixes.add(tuple.remote_addr);
        self.live += 1;
        Some(key)
    }

    /// Ends an entry.
    pub(crate) fn remove(&mut self, key: TupleKey) {
        let Some(entry) = self.live_entry_mut(key) else { return };
        entry.phase = Phase::Dead;
        self.live -= 1;
        self.dead += 1;
        if let Some(tuple) = self.entries.tuple(key) {
            self.prefixes.sub(tuple.remote_addr);
        }
        self.prune();
    }

    /// Frees what is dead at the front of a queue, so that a front always tells a true deadline; and all that
    /// is dead, if it is the greater part: an entry that waits long must not keep those behind it.
    fn prune(&mut self) {
        let everywhere = self.dead > self.live + MANY_DEAD;
        let Self { entries, queues, dead, .. } = self;
        let mut lives = |key: TupleKey| {
            let lives = entries.get(key).is_some_and(HalfOpen::is_live);
            if !lives {
                entries.remove(key);
                *dead -= 1;
            }
            lives
        };
        for queue in queues {
            if everywhere {
                queue.retain(|key| lives(*key));
                continue;
            }
            while queue.front().is_some_and(|key| !lives(*key)) {
                queue.pop_front();
            }
        }
    }

    /// When the next entry needs its SYN-ACK sent again, or is to be reaped.
    pub(crate) fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let fronts = self.queues.iter().filter_map(|queue| self.entries.get(*queue.front()?));
        fronts.map(|entry| entry.deadline.near(now)).min()
    }

    /// What is to be done with the next entry whose timer has gone off.
    pub(crate) fn pop_overdue(&mut self, now: Timestamp) -> Option<Overdue> {
        for level in 0..self.queues.len() {
            let Some(key) = self.queues.get(level).and_then(|queue| queue.front().copied()) else { continue };
            if self.entries.get(key).is_some_and(|entry| entry.deadline.near(now) <= now) {
                return Some(self.overdue(level, key, now));
            }
        }
        None
    }

    fn overdue(&mut self, level: usize, key: TupleKey, now: Timestamp) -> Overdue {
        if level + 2 >= self.queues.len() {
            // The last retransmission was in vain, or nobody decided. The owner of the table removes it.
            return Overdue::Reap(key);
        }
        if let Some(queue) = self.queues.get_mut(level) {
            queue.pop_front();
        }
        if let Some(entry) = self.entries.get_mut(key) {
            let retransmits = u32::from(entry.retransmits).saturating_add(1);
            let delay = backed_off(self.first_timeout, retransmits, self.longest_timeout);
            entry.retransmit(ShortTimestamp::after(now, delay));
        }
        if let Some(queue) = self.queues.get_mut(level + 1) {
            queue.push_back(key);
        }
        self.prune();
        Overdue::Retransmit(key)
    }

    /// A segment arrives for the entry.
    pub(crate) fn segment_arrives(
        &mut self,
        key: TupleKey,
        segment: &TcpHeader,
        payload_len: usize,
        announced: &Announced,
        now: Timestamp,
    ) -> Answer {
        let Some(tuple) = self.entries.tuple(key) else { return Answer::Drop };
        let Some(entry) = self.live_entry_mut(key) else { return Answer::Drop };
        entry.segment_arrives(&tuple, segment, payload_len, announced, now)
    }

    pub(crate) fn syn_ack(&self, key: TupleKey, announced: &Announced, now: Timestamp) -> Option<TcpHeader> {
        let tuple = self.entries.tuple(key)?;
        self.live_entry(key).map(|entry| entry.syn_ack(&tuple, announced, now))
    }

    /// What the connection needs to know that this becomes.
    pub(crate) fn handshake(
        &self,
        key: TupleKey,
        announced: &Announced,
        now: Timestamp,
    ) -> Option<Handshake> {
        self.live_entry(key).map(|entry| entry.handshake(announced, self.first_timeout, now))
    }

    /// What the peer's SYN said, for the user to decide by.
    pub(crate) fn syn_options(&self, key: TupleKey) -> Option<SynOptions> {
        self.live_entry(key).map(HalfOpen::syn_options)
    }

    /// Whether the user has not decided yet.
    pub(crate) fn is_undecided(&self, key: TupleKey) -> bool {
        self.entries.get(key).is_some_and(|entry| matches!(entry.phase, Phase::Undecided { .. }))
    }

    /// Whether the user wants silence.
    pub(crate) fn is_refused(&self, key: TupleKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.phase == Phase::Refused)
    }

    /// The user wants the connection: it is half-open from now on, in a new place. Gives its new key.
    pub(crate) fn decide(&mut self, key: TupleKey, now: Timestamp) -> Option<TupleKey> {
        let deadline = ShortTimestamp::after(now, self.first_timeout);
        let decided = self.live_entry(key)?.decided(deadline)?;
        let tuple = self.entries.tuple(key)?;
        let new = self.entries.insert(&tuple, decided)?;
        self.queues.first_mut()?.push_back(new);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.phase = Phase::Dead;
            self.dead += 1;
        }
        self.prune();
        Some(new)
    }

    /// The user wants nothing to be answered: further SYNs of the peer find the entry, and vanish.
    pub(crate) fn refuse(&mut self, key: TupleKey) {
        if let Some(entry) = self.live_entry_mut(key) {
            entry.phase = Phase::Refused;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);

    fn table() -> HalfOpenTable {
        HalfOpenTable::new(5, TIMEOUT, TIMEOUT * 120, TIMEOUT * 120, [0; 16])
    }

    /// A SYN from this port, which the user has to decide about.
    fn insert(table: &mut HalfOpenTable, port: u16) -> TupleKey {
        let remote = ("10.0.0.2".parse::<std::net::IpAddr>().unwrap(), port).into();
        let tuple = FourTuple::new("10.0.0.1:80".parse().unwrap(), remote);
        let (iss, wscale) = (SeqNum::new(1), None);
        let opening = Opening { iss, wscale, timestamps: true, undecided: true };
        table.insert(&tuple, 0, &TcpHeader::default(), &opening, Timestamp::START).unwrap()
    }

    #[test]
    fn one_that_waits_does_not_keep_those_behind_it() {
        let mut table = table();
        insert(&mut table, 0);
        for port in 1..=50_000 {
            let key = insert(&mut table, port);
            let key = if port % 2 == 0 { table.decide(key, Timestamp::START).unwrap() } else { key };
            table.remove(key);
        }
        assert_eq!(table.len(), 1);
        assert!(table.entries.len() <= MANY_DEAD + 3, "{}", table.entries.len());
        assert!(table.queues.iter().all(|queue| queue.len() <= MANY_DEAD + 3));
    }

    #[test]
    fn the_dead_are_looked_for_when_they_outnumber_the_live_by_many() {
        let mut table = table();
        insert(&mut table, 0);
        let mut dead = 0;
        for count in [300, 301, 1, 1000] {
            let keys: Vec<_> = (1..=count).map(|port| insert(&mut table, port)).collect();
            for key in keys {
                table.remove(key);
                dead += 1;
                if dead > table.len() + MANY_DEAD {
                    dead = 0;
                }
                assert_eq!(table.entries.len() - table.len(), dead);
                assert_eq!(table.dead, dead);
            }
        }
    }
}
