//! The SYN queue: SYN-RECEIVED of passive opens. An entry holds no buffers: 40 bytes for IPv4, 64 for IPv6.
//!
//! SYN-ACKs are retransmitted with backoff, and the entry is reaped when they run out. The delay before the
//! n-th retransmission is the same for all, so there is one queue for each n, in the order of arrival. An
//! entry has one place in one queue; when it ends, its slot is free as soon as that place comes up, or when
//! there are more dead entries than live ones.

use std::collections::VecDeque;
use std::time::Duration;

use ropeway_packet::{FourTuple, SeqNum, TcpFlags, TcpHeader, TcpOptions, Timestamps, WindowScale};

use super::incoming::SynOptions;
use super::prefix::PrefixCounts;
use crate::recovery::rto::backed_off;
use crate::tcp::closed::reset_for;
use crate::tcp::connection::{Handshake, Negotiated, timestamp_clock};
use crate::time::{ShortTimestamp, Timestamp};
use crate::tuple_slab::{TupleKey, TupleSlab};

/// A connection to be: 28 bytes, besides the tuple (RFC 4987 3.5-1).
#[derive(Clone, Debug)]
struct HalfOpen {
    iss: SeqNum,
    irs: SeqNum,
    ts_recent: u32,
    /// The slot of its listener.
    listener: u32,
    /// Zero if the SYN had no such option.
    peer_mss: u16,
    deadline: ShortTimestamp,
    scales: Scales,
    retransmits: u8,
    /// ACKs sent since the last SYN-ACK.
    acks: u8,
    phase: Phase,
}

/// What is not acceptable is acknowledged this often after each SYN-ACK. Two listeners that forged SYNs have
/// set on each other would answer each other's ACKs for ever.
const MAX_ACKS: u8 = 8;

/// What an entry is waiting for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The user's decision. It has timestamps or not.
    Undecided { timestamps: bool },
    /// The third segment. Answered twice, the round trip is ambiguous (Karn).
    Answered { timestamps: bool, twice: bool },
    /// Nothing: the user wants the peer's SYNs to vanish.
    Refused,
    /// Nothing any more; it goes when its place in the queue comes up.
    Dead,
}

/// The peer's window scale and ours, four bits each; 15 is none.
#[derive(Clone, Copy, Debug)]
struct Scales(u8);

impl Scales {
    fn new(peer: Option<u8>, own: Option<WindowScale>) -> Self {
        let peer = peer.map_or(15, |shift| WindowScale::new(shift).get());
        Self(peer << 4 | own.map_or(15, WindowScale::get))
    }

    fn peer(self) -> Option<WindowScale> {
        (self.0 >> 4 != 15).then(|| WindowScale::new(self.0 >> 4))
    }

    fn both(self) -> Option<(WindowScale, WindowScale)> {
        let own = (self.0 & 15 != 15).then(|| WindowScale::new(self.0 & 15));
        self.peer().zip(own)
    }
}

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
        self.entries.get(key).filter(|entry| entry.phase != Phase::Dead)
    }

    /// How many entries the source prefix of this tuple has.
    pub(crate) fn of_prefix(&self, tuple: &FourTuple) -> u32 {
        self.prefixes.get(tuple.remote_addr)
    }

    /// The entries of one listener.
    pub(crate) fn of_listener(&self, listener: u32) -> Vec<TupleKey> {
        let own = |entry: &HalfOpen| entry.listener == listener && entry.phase != Phase::Dead;
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
        let ts_recent =
            syn.options.timestamps.filter(|_| opening.timestamps).map(|timestamps| timestamps.tsval);
        let timestamps = ts_recent.is_some();
        let (phase, delay) = if opening.undecided {
            (Phase::Undecided { timestamps }, self.decision_timeout)
        } else {
            (Phase::Answered { timestamps, twice: false }, self.first_timeout)
        };
        let entry = HalfOpen {
            iss: opening.iss,
            irs: syn.seq,
            ts_recent: ts_recent.unwrap_or(0),
            listener,
            peer_mss: syn.options.mss.unwrap_or(0),
            deadline: ShortTimestamp::after(now, delay),
            scales: Scales::new(syn.options.window_scale, opening.wscale),
            retransmits: 0,
            acks: 0,
            phase,
        };
        let key = self.entries.insert(tuple, entry)?;
        let queue = if opening.undecided { self.queues.last_mut() } else { self.queues.first_mut() };
        queue?.push_back(key);
        self.prefixes.add(tuple.remote_addr);
        self.live += 1;
        Some(key)
    }

    /// Ends an entry.
    pub(crate) fn remove(&mut self, key: TupleKey) {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.phase != Phase::Dead) else {
            return;
        };
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
            let lives = entries.get(key).is_some_and(|entry| entry.phase != Phase::Dead);
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
            entry.retransmits = entry.retransmits.saturating_add(1);
            entry.acks = 0;
            entry.answered_again();
            let delay = backed_off(self.first_timeout, entry.retransmits.into(), self.longest_timeout);
            entry.deadline = ShortTimestamp::after(now, delay);
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
        let (Some(syn_ack), Some(ack)) = (self.syn_ack(key, announced, now), self.ack(key, announced, now))
        else {
            return Answer::Drop;
        };
        let Some(entry) = self.entries.get_mut(key) else { return Answer::Drop };
        let flags = segment.flags;
        if !matches!(entry.phase, Phase::Answered { .. }) {
            return entry.arrives_unanswered(segment);
        }
        let rcv_nxt = entry.irs + 1;
        if flags.contains(TcpFlags::SYN) && !flags.contains(TcpFlags::RST) && segment.seq == entry.irs {
            // The peer's SYN again: our SYN-ACK may be lost. The echo is of the latest (RFC 7323 4.3).
            entry.answered_again();
            let mut syn_ack = syn_ack;
            if let (Some(echo), Some(latest)) = (&mut syn_ack.options.timestamps, segment.options.timestamps)
                && SeqNum::new(latest.tsval).after(SeqNum::new(entry.ts_recent))
            {
                entry.ts_recent = latest.tsval;
                echo.tsecr = latest.tsval;
            }
            return Answer::Reply(syn_ack);
        }
        let len = segment.segment_len(payload_len);
        let in_window = segment.seq.within(rcv_nxt, u32::from(announced.window).max(1))
            || (segment.seq.before(rcv_nxt) && (segment.seq + len).after(rcv_nxt));
        if flags.contains(TcpFlags::RST) {
            // RFC 9293 3.5 MUST-11, R-07, RFC 5961 3.2-3: only the very next sequence number proves that the
            // peer sent it.
            return match in_window {
                true if segment.seq == rcv_nxt => Answer::BackToListen,
                true => entry.acknowledge(ack),
                false => Answer::Drop,
            };
        }
        if !in_window || entry.is_older_than_syn(segment) {
            return entry.acknowledge(ack);
        }
        if flags.contains(TcpFlags::SYN) {
            return Answer::BackToListen;
        }
        // RFC 7323 3.2-3: what lacks the timestamps that were agreed on is dropped.
        let lacks_timestamps = entry.timestamps().is_some() && segment.options.timestamps.is_none();
        if lacks_timestamps || !flags.contains(TcpFlags::ACK) {
            return Answer::Drop;
        }
        if segment.ack != entry.iss + 1 {
            return reset_for(segment, payload_len).map_or(Answer::Drop, Answer::Reply);
        }
        Answer::Complete
    }

    pub(crate) fn syn_ack(&self, key: TupleKey, announced: &Announced, now: Timestamp) -> Option<TcpHeader> {
        let entry = self.live_entry(key)?;
        let mut header = self.ack(key, announced, now)?;
        header.seq = entry.iss;
        header.flags = TcpFlags::SYN | TcpFlags::ACK;
        header.window = announced.window;
        // RFC 9293 3.7.1 MUST-14
        header.options.mss = Some(announced.advmss);
        // RFC 7323 2.2-1
        header.options.window_scale = entry.scales.both().map(|(_, own)| own.get());
        Some(header)
    }

    fn ack(&self, key: TupleKey, announced: &Announced, now: Timestamp) -> Option<TcpHeader> {
        let entry = self.live_entry(key)?;
        let tuple = self.entries.tuple(key)?;
        let tsval = timestamp_clock(now, announced.timestamp_offset);
        // RFC 7323 3.2-5
        let timestamps = entry.timestamps().map(|tsecr| Timestamps { tsval, tsecr });
        let scale = entry.scales.both().map_or(WindowScale::ZERO, |(_, own)| own);
        Some(TcpHeader {
            src_port: tuple.local_port,
            dst_port: tuple.remote_port,
            seq: entry.iss + 1,
            ack: entry.irs + 1,
            flags: TcpFlags::ACK,
            window: scale.scale(u32::from(announced.window)),
            urgent: 0,
            options: TcpOptions { timestamps, ..TcpOptions::default() },
        })
    }

    /// What the connection needs to know that this becomes.
    pub(crate) fn handshake(
        &self,
        key: TupleKey,
        announced: &Announced,
        now: Timestamp,
    ) -> Option<Handshake> {
        let entry = self.live_entry(key)?;
        let once = matches!(entry.phase, Phase::Answered { twice: false, .. });
        let answered_at = entry.deadline.near(now).as_micros().saturating_sub(micros(self.first_timeout));
        Some(Handshake {
            irs: entry.irs,
            announced_window: u32::from(announced.window),
            negotiated: Negotiated {
                peer_mss: Some(entry.peer_mss).filter(|mss| *mss != 0),
                wscale: entry.scales.both(),
                timestamps: entry.timestamps(),
            },
            answered_at: once.then(|| Timestamp::from_micros(answered_at)),
            retransmits: u32::from(entry.retransmits),
        })
    }

    /// What the peer's SYN said, for the user to decide by.
    pub(crate) fn syn_options(&self, key: TupleKey) -> Option<SynOptions> {
        let entry = self.live_entry(key)?;
        Some(SynOptions {
            mss: Some(entry.peer_mss).filter(|mss| *mss != 0),
            window_scale: entry.scales.peer().map(WindowScale::get),
            timestamps: entry.timestamps().is_some(),
            seq: entry.irs,
        })
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
        let Some(Phase::Undecided { timestamps }) = self.entries.get(key).map(|entry| entry.phase) else {
            return None;
        };
        let tuple = self.entries.tuple(key)?;
        let entry = self.entries.get(key)?;
        let decided = HalfOpen {
            deadline: ShortTimestamp::after(now, self.first_timeout),
            phase: Phase::Answered { timestamps, twice: false },
            ..*entry
        };
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
        if let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.phase != Phase::Dead) {
            entry.phase = Phase::Refused;
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl HalfOpen {
    fn timestamps(&self) -> Option<u32> {
        let on = matches!(
            self.phase,
            Phase::Undecided { timestamps: true } | Phase::Answered { timestamps: true, .. }
        );
        on.then_some(self.ts_recent)
    }

    fn acknowledge(&mut self, ack: TcpHeader) -> Answer {
        self.acks = self.acks.saturating_add(1);
        if self.acks > MAX_ACKS { Answer::Drop } else { Answer::Reply(ack) }
    }

    fn answered_again(&mut self) {
        if let Phase::Answered { twice, .. } = &mut self.phase {
            *twice = true;
        }
    }

    /// PAWS, as far as an entry can tell (RFC 7323 5.3).
    fn is_older_than_syn(&self, segment: &TcpHeader) -> bool {
        match (self.timestamps(), segment.options.timestamps) {
            (Some(recent), Some(timestamps)) => SeqNum::new(timestamps.tsval).before(SeqNum::new(recent)),
            _ => false,
        }
    }

    /// While the user decides, only the peer's RST counts; its SYNs do not start anything anew.
    fn arrives_unanswered(&self, segment: &TcpHeader) -> Answer {
        let gives_up = segment.flags.contains(TcpFlags::RST) && segment.seq == self.irs + 1;
        if gives_up { Answer::BackToListen } else { Answer::Drop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple_slab::slot_sizes;

    // RFC 4987 3.5-1
    #[test]
    fn an_entry_takes_forty_or_sixty_four_bytes() {
        assert_eq!(slot_sizes::<HalfOpen>(), (40, 64));
    }

    #[test]
    fn one_that_waits_does_not_keep_those_behind_it() {
        let timeout = Duration::from_secs(1);
        let mut table = HalfOpenTable::new(5, timeout, timeout * 120, timeout * 120, [0; 16]);
        let insert = |table: &mut HalfOpenTable, port| {
            let local = "10.0.0.1:80".parse().unwrap();
            let tuple = FourTuple::new(local, ("10.0.0.2".parse::<std::net::IpAddr>().unwrap(), port).into());
            let (iss, wscale) = (SeqNum::new(1), None);
            let opening = Opening { iss, wscale, timestamps: true, undecided: true };
            table.insert(&tuple, 0, &TcpHeader::default(), &opening, Timestamp::START).unwrap()
        };
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
}
