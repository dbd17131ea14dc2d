//! The SYN queue: SYN-RECEIVED of passive opens. An entry holds no buffers: 48 bytes for IPv4, 72 for IPv6.
//!
//! SYN-ACKs are retransmitted with backoff, and the entry is reaped when they run out. The delay before the
//! n-th retransmission is the same for all, so there is one list for each n, in the order of arrival. An
//! entry has its place in one list, and leaves it when it ends: nothing is ever searched.

mod entry;

use std::time::Duration;

use ropeway_packet::{AccurateEcn, EcnCodepoint, FourTuple, SeqNum, TcpHeader, WindowScale};

use self::entry::{HalfOpen, Phase};
use super::Patience;
use super::incoming::SynOptions;
use super::prefix::PrefixCounts;
use crate::ecn::EcnFeedback;
use crate::options::SocketOptions;
use crate::recovery::rto::backed_off;
use crate::tcp::connection::Handshake;
use crate::time::{ShortTimestamp, Timestamp};
use crate::tuple_list::TupleList;
use crate::tuple_slab::{Cursor, TupleKey, TupleSlab};

/// What a SYN and the stack's settings make of a half-open connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) iss: SeqNum,
    /// The scale that we announce if the peer does.
    pub(crate) wscale: Option<WindowScale>,
    pub(crate) timestamps: bool,
    pub(crate) sack: bool,
    /// What of ECN we agree to.
    pub(crate) ecn: EcnFeedback,
    /// What the SYN's packet says of congestion.
    pub(crate) field: EcnCodepoint,
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
    /// The option of Accurate ECN, if it is sent.
    pub(crate) ecn_option: Option<AccurateEcn>,
    /// What does not come through is given up.
    pub(crate) ecn_fallback: bool,
    /// For so many timeouts of the SYN-ACK, the handshake is not complete without data; 0: it is.
    pub(crate) deferral: u8,
}

/// What a segment for a half-open tuple calls for (RFC 9293 3.10.7.4, for SYN-RECEIVED).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Drop,
    /// It is answered with this segment, and the entry stays.
    Reply(TcpHeader),
    /// It is answered with this RST, and that is the end of the entry.
    Refuse(TcpHeader),
    /// Back to LISTEN, silently: the peer has reset, or has begun anew.
    BackToListen,
    /// The handshake is complete but for its data, which is waited for.
    Defer,
    /// The handshake is complete.
    Complete,
}

/// What became of an entry whose timer went off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// The SYN-ACK is to be sent again.
    Retransmit(TupleKey),
    /// It goes on to wait for the peer's data.
    Wait,
    /// It is over; the entry is to be removed.
    Reap(TupleKey),
}

#[derive(Clone, Debug)]
pub(crate) struct HalfOpenTable {
    entries: TupleSlab<HalfOpen>,
    /// One list for each number of retransmissions.
    answered: Vec<TupleList>,
    /// What the user has yet to be told of.
    untold: TupleList,
    /// What the user has been told of: undecided, or refused.
    told: TupleList,
    /// What has had its time.
    overdue: TupleList,
    /// Where the search for the entries of closed listeners has come to, while there is one.
    sweep: Option<Cursor>,
    /// So often a SYN-ACK is sent again, unless the listener says otherwise.
    retries: u8,
    first_timeout: Duration,
    longest_timeout: Duration,
    decision_timeout: Duration,
    /// No entry lives longer.
    lifetime: Duration,
    prefixes: PrefixCounts,
}

/// No entry waits for more timeouts.
const MOST_TIMEOUTS: u8 = u8::MAX - 2;

fn timeouts(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX).min(MOST_TIMEOUTS)
}

/// So many pages of 64 slots are looked at in one step of a search for entries of closed listeners.
const SWEEP: u32 = 1;

impl HalfOpenTable {
    pub(crate) fn new(
        retries: u32,
        first_timeout: Duration,
        longest_timeout: Duration,
        decision_timeout: Duration,
        prefix_key: [u8; 16],
    ) -> Self {
        let retries = timeouts(retries);
        let mut table = Self {
            entries: TupleSlab::new(),
            answered: Vec::new(),
            retries,
            untold: TupleList::default(),
            told: TupleList::default(),
            overdue: TupleList::default(),
            sweep: None,
            first_timeout,
            longest_timeout,
            decision_timeout,
            lifetime: Duration::ZERO,
            prefixes: PrefixCounts::new(prefix_key),
        };
        table.reach(retries);
        table
    }

    /// How long the handshakes of a listener with these options may take; the table reaches so far from now on.
    pub(crate) fn patience(&mut self, options: &SocketOptions) -> Patience {
        let retries = options.synack_retries.map_or(self.retries, timeouts);
        let deferral = self.deferral(options.defer_accept);
        self.reach(retries.max(deferral));
        Patience { retries, deferral }
    }

    /// Entries may wait for so many timeouts after the first.
    fn reach(&mut self, timeouts: u8) {
        let levels = usize::from(timeouts.min(MOST_TIMEOUTS)) + 1;
        if levels > self.answered.len() {
            self.answered.resize_with(levels, TupleList::default);
            let handshake =
                (0..).take(levels).map(|n| self.timeout(n)).fold(Duration::ZERO, Duration::saturating_add);
            self.lifetime = ShortTimestamp::longest(handshake.max(self.decision_timeout));
        }
    }

    /// How long an answer is waited for after so many timeouts.
    fn timeout(&self, timeouts: u32) -> Duration {
        backed_off(self.first_timeout, timeouts, self.longest_timeout)
    }

    /// The least number of timeouts that take so long together: how long Linux defers (`secs_to_retrans`).
    fn deferral(&self, time: Option<Duration>) -> u8 {
        let Some(time) = time else { return 0 };
        let mut left = time;
        for timeouts in 0..MOST_TIMEOUTS {
            left = left.saturating_sub(self.timeout(timeouts.into()));
            if left.is_zero() {
                return timeouts + 1;
            }
        }
        MOST_TIMEOUTS
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The memory that the entries take, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.entries.memory()
    }

    pub(crate) fn tuple(&self, key: TupleKey) -> Option<FourTuple> {
        self.entries.tuple(key)
    }

    /// The slot of the listener that an entry belongs to.
    pub(crate) fn listener(&self, key: TupleKey) -> Option<u32> {
        self.entries.get(key).map(|entry| entry.listener)
    }

    pub(crate) fn iss(&self, key: TupleKey) -> Option<SeqNum> {
        self.entries.get(key).map(|entry| entry.iss)
    }

    /// Whether the source prefix of this tuple has so many entries.
    pub(crate) fn prefix_has(&self, tuple: &FourTuple, entries: u32) -> bool {
        // As a rule, all prefixes together have fewer.
        self.len() >= entries as usize && self.prefixes.get(tuple.remote_addr) >= entries
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
        self.enqueue(key);
        self.prefixes.add(tuple.remote_addr);
        Some(key)
    }

    /// Ends an entry.
    pub(crate) fn remove(&mut self, key: TupleKey) {
        self.dequeue(key);
        if let Some((tuple, _)) = self.entries.remove(key) {
            self.prefixes.sub(tuple.remote_addr);
        }
    }

    /// The list for what an entry waits for.
    fn list(&mut self, key: TupleKey) -> Option<&mut TupleList> {
        let entry = self.entries.get(key)?;
        match entry.phase {
            Phase::Untold => Some(&mut self.untold),
            Phase::Told | Phase::Refused => Some(&mut self.told),
            Phase::Answered(_) => self.answered.get_mut(usize::from(entry.retransmits)),
        }
    }

    fn enqueue(&mut self, key: TupleKey) {
        let Some(mut list) = self.list(key).copied() else { return };
        list.push(&mut self.entries, key);
        self.put_back(key, list);
    }

    /// Takes an entry out of the list that it is in, for as long as it waits for the same thing.
    fn dequeue(&mut self, key: TupleKey) {
        let Some(mut list) = self.list(key).copied() else { return };
        if list.may_hold(&self.entries, key) {
            list.remove(&mut self.entries, key);
            self.put_back(key, list);
        } else {
            self.overdue.remove(&mut self.entries, key);
        }
    }

    fn put_back(&mut self, key: TupleKey, list: TupleList) {
        if let Some(place) = self.list(key) {
            *place = list;
        }
    }

    /// The clock moves on by this much at once. A handshake that has waited for all of its life is over, and no entry
    /// has to tell a moment that lies far back.
    pub(crate) fn clock_jumps(&mut self, by: Duration) {
        if by < self.lifetime {
            return;
        }
        for list in self.answered.iter_mut().chain([&mut self.untold, &mut self.told]) {
            self.overdue.append(&mut self.entries, list);
        }
    }

    /// A listener is closed: its entries are to be looked for.
    pub(crate) fn start_sweep(&mut self) {
        self.sweep = (self.entries.len() > 0).then(Cursor::default);
    }

    pub(crate) fn end_sweep(&mut self) {
        self.sweep = None;
    }

    /// The next entries that may be those of a closed listener, a bounded number of them; `None` if there are no more.
    pub(crate) fn sweep(&mut self) -> Option<Vec<TupleKey>> {
        let (found, next) = self.entries.keys_from(self.sweep?, SWEEP);
        self.sweep = next;
        Some(found)
    }

    /// When the next entry needs its SYN-ACK sent again, or is to be reaped.
    pub(crate) fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        if self.sweep.is_some() || self.overdue.oldest().is_some() {
            return Some(Timestamp::START);
        }
        if self.entries.len() == 0 {
            return None;
        }
        let lists = self.answered.iter().chain([&self.untold, &self.told]);
        let fronts = lists.filter_map(|list| self.entries.get(list.oldest()?));
        fronts.map(|entry| entry.deadline.near(now)).min()
    }

    /// What is to be done with the next entry whose timer has gone off.
    ///
    /// `patience`: that of the listener in a slot.
    pub(crate) fn pop_overdue(
        &mut self,
        now: Timestamp,
        patience: impl Fn(u32) -> Option<Patience>,
    ) -> Option<Overdue> {
        let due = |list: &TupleList| {
            list.oldest()
                .filter(|key| self.entries.get(*key).is_some_and(|entry| entry.deadline.near(now) <= now))
        };
        // Nobody decided, or waits any more.
        let over = self.overdue.oldest().or_else(|| due(&self.untold)).or_else(|| due(&self.told));
        if over.is_some() {
            return over.map(Overdue::Reap);
        }
        let key = self.answered.iter().find_map(due)?;
        let usual = Patience { retries: self.retries, deferral: 0 };
        let patience = self.listener(key).and_then(patience).unwrap_or(usual);
        Some(self.overdue_answer(key, patience, now))
    }

    /// A SYN-ACK was not answered in time; or the data that is waited for has not come. As in Linux, that is not asked for before the
    /// wait is over, and then the peer has another chance. The owner of the table removes what is to be reaped.
    fn overdue_answer(&mut self, key: TupleKey, patience: Patience, now: Timestamp) -> Overdue {
        let Patience { retries, deferral } = patience;
        let Some(entry) = self.entries.get(key) else { return Overdue::Reap(key) };
        let (timeouts, deferred) = (entry.retransmits, entry.is_deferred());
        let most = if deferred { retries.max(deferral) } else { retries };
        if timeouts >= most || usize::from(timeouts) + 1 >= self.answered.len() {
            return Overdue::Reap(key);
        }
        self.dequeue(key);
        let deadline = ShortTimestamp::after(now, self.timeout(u32::from(timeouts) + 1));
        let waits = deferred && timeouts.saturating_add(1) < deferral;
        if let Some(entry) = self.entries.get_mut(key) {
            if waits { entry.wait(deadline) } else { entry.retransmit(deadline) }
        }
        self.enqueue(key);
        if waits { Overdue::Wait } else { Overdue::Retransmit(key) }
    }

    /// A segment arrives for the entry.
    pub(crate) fn segment_arrives(
        &mut self,
        key: TupleKey,
        segment: (&TcpHeader, EcnCodepoint),
        payload_len: usize,
        announced: &Announced,
        now: Timestamp,
    ) -> Answer {
        let Some(tuple) = self.entries.tuple(key) else { return Answer::Drop };
        let Some(entry) = self.entries.get_mut(key) else { return Answer::Drop };
        entry.segment_arrives(&tuple, segment, payload_len, announced, now)
    }

    pub(crate) fn syn_ack(&self, key: TupleKey, announced: &Announced, now: Timestamp) -> Option<TcpHeader> {
        let tuple = self.entries.tuple(key)?;
        self.entries.get(key).map(|entry| entry.syn_ack(&tuple, announced, now))
    }

    /// What a connection needs to know that is made of a SYN at once (RFC 7413).
    pub(crate) fn handshake_of(
        syn: &TcpHeader,
        opening: &Opening,
        announced: &Announced,
        now: Timestamp,
    ) -> Handshake {
        let entry = HalfOpen::new(0, syn, opening, ShortTimestamp::after(now, Duration::ZERO));
        entry.handshake(announced, |_| Duration::ZERO, now)
    }

    /// What the connection needs to know that this becomes.
    pub(crate) fn handshake(
        &self,
        key: TupleKey,
        announced: &Announced,
        now: Timestamp,
    ) -> Option<Handshake> {
        let timeout = |retransmits| self.timeout(retransmits);
        self.entries.get(key).map(|entry| entry.handshake(announced, timeout, now))
    }

    /// How the peer will scale its windows.
    pub(crate) fn peer_scale(&self, key: TupleKey) -> Option<WindowScale> {
        self.entries.get(key).map(HalfOpen::peer_scale)
    }

    /// What the peer's SYN said, for the user to decide by.
    pub(crate) fn syn_options(&self, key: TupleKey) -> Option<SynOptions> {
        self.entries.get(key).map(HalfOpen::syn_options)
    }

    /// The next entry that the user has yet to be told of, which is told from now on.
    pub(crate) fn tell(&mut self) -> Option<TupleKey> {
        let key = self.untold.oldest()?;
        self.dequeue(key);
        self.entries.get_mut(key)?.tell();
        self.enqueue(key);
        Some(key)
    }

    /// Whether the user has not decided yet.
    pub(crate) fn is_undecided(&self, key: TupleKey) -> bool {
        self.entries.get(key).is_some_and(HalfOpen::is_undecided)
    }

    /// Whether the user wants silence.
    pub(crate) fn is_refused(&self, key: TupleKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.phase == Phase::Refused)
    }

    /// The user wants the connection: it is half-open from now on. Says whether it was undecided.
    pub(crate) fn decide(&mut self, key: TupleKey, now: Timestamp) -> bool {
        let undecided = self.is_undecided(key);
        if undecided {
            self.dequeue(key);
            if let Some(entry) = self.entries.get_mut(key) {
                entry.decide(ShortTimestamp::after(now, self.first_timeout));
            }
            self.enqueue(key);
        }
        undecided
    }

    /// The user wants nothing to be answered: further SYNs of the peer find the entry, and vanish.
    pub(crate) fn refuse(&mut self, key: TupleKey) {
        self.dequeue(key);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.phase = Phase::Refused;
        }
        self.enqueue(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(1);
    const PATIENCE: Option<Patience> = Some(Patience { retries: 5, deferral: 0 });

    fn table() -> HalfOpenTable {
        HalfOpenTable::new(5, TIMEOUT, TIMEOUT * 120, TIMEOUT * 120, [0; 16])
    }

    /// A SYN from this port, which the user has to decide about.
    fn insert(table: &mut HalfOpenTable, port: u16) -> TupleKey {
        let remote = ("10.0.0.2".parse::<std::net::IpAddr>().unwrap(), port).into();
        let tuple = FourTuple::new("10.0.0.1:80".parse().unwrap(), remote);
        let (iss, wscale, ecn) = (SeqNum::new(1), None, EcnFeedback::None);
        let field = EcnCodepoint::NotEct;
        let opening = Opening { iss, wscale, timestamps: true, sack: true, ecn, field, undecided: true };
        table.insert(&tuple, 0, &TcpHeader::default(), &opening, Timestamp::START).unwrap()
    }

    #[test]
    fn one_that_waits_keeps_nothing_behind_it() {
        let mut table = table();
        insert(&mut table, 0);
        for port in 1..=50_000 {
            let key = insert(&mut table, port);
            if port % 2 == 0 {
                assert!(table.decide(key, Timestamp::START));
            }
            table.remove(key);
            assert_eq!((table.len(), table.entries.len()), (1, 1));
        }
    }

    #[test]
    fn what_is_refused_or_told_out_of_turn_still_ends_in_time() {
        let mut table = table();
        let keys: Vec<_> = (0..4).map(|port| insert(&mut table, port)).collect();
        table.refuse(keys[3]);
        assert_eq!(table.tell(), Some(keys[0]));
        assert!(table.decide(keys[1], Timestamp::START) && !table.decide(keys[1], Timestamp::START));
        let end = Timestamp::START + TIMEOUT * 120;
        assert_eq!(table.next_deadline(Timestamp::START), Some(Timestamp::START + TIMEOUT));
        let mut reaped = Vec::new();
        while let Some(overdue) = table.pop_overdue(end, |_| PATIENCE) {
            if let Overdue::Reap(key) = overdue {
                table.remove(key);
                reaped.push(key);
            }
        }
        reaped.sort_by_key(|key| key.get());
        assert_eq!((reaped, table.len()), (vec![keys[0], keys[2], keys[3]], 1));
    }

    #[test]
    fn a_jump_past_its_whole_life_ends_every_handshake() {
        for jump in [120, 6 * 86_400, 12 * 86_400, 100 * 365 * 86_400] {
            let mut table = table();
            let keys: Vec<_> = (0..5).map(|port| insert(&mut table, port)).collect();
            table.tell();
            table.decide(keys[2], Timestamp::START);
            table.clock_jumps(TIMEOUT * 119);
            assert_eq!(table.pop_overdue(Timestamp::START, |_| PATIENCE), None);
            let now = Timestamp::START + TIMEOUT * jump;
            table.clock_jumps(TIMEOUT * jump);
            table.remove(keys[4]);
            for _ in 0..4 {
                let Some(Overdue::Reap(key)) = table.pop_overdue(now, |_| PATIENCE) else {
                    panic!("not all are over")
                };
                table.remove(key);
            }
            assert_eq!((table.pop_overdue(now, |_| PATIENCE), table.len()), (None, 0));
            assert_eq!(table.overdue, TupleList::default());
        }
    }
}
