//! TIME-WAIT: a table of its own (RFC 9293 3.6.1 MUST-13, RFC 1337, RFC 6191).
//!
//! Every entry waits equally long, so a queue in the order of arrival is a queue in the order of expiry.

use std::collections::VecDeque;
use std::time::Duration;

use ropeway_packet::{FourTuple, SeqNum, TcpFlags, TcpHeader, TcpOptions, Timestamps};

use super::connection::{TimeWaitParts, timestamp_clock};
use crate::time::{ShortTimestamp, Timestamp};
use crate::tuple_slab::{TupleKey, TupleSlab};

/// Twenty-four bytes, besides the tuple and the place in the queue.
#[derive(Debug)]
struct Entry {
    snd_nxt: SeqNum,
    rcv_nxt: SeqNum,
    /// The peer's last timestamp.
    ts_recent: u32,
    window: u16,
    phase: Phase,
    /// When the wait is over; only the place in the queue that says the same counts.
    expires: ShortTimestamp,
    /// How many places in the queue it has. The slot is free when the last one has come up.
    queued: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// With or without timestamps.
    Plain,
    Timestamps,
    /// Taken over by a new incarnation; it only waits for its places in the queue to come up.
    Dead,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    key: TupleKey,
    expires: ShortTimestamp,
}

/// What a segment for a TIME-WAIT tuple calls for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is dropped.
    Drop,
    /// It is acknowledged with this.
    Ack(TcpHeader),
    /// It is a SYN that may open a new connection, whose ISN must be above this number.
    NewIncarnation(SeqNum),
}

#[derive(Debug)]
pub(crate) struct TimeWaitTable {
    entries: TupleSlab<Entry>,
    queue: VecDeque<Place>,
    duration: Duration,
    live: usize,
}

/// A peer that repeats its FIN for ever gets no more places in the queue than this at a time.
const MAX_QUEUED: u8 = 8;

impl TimeWaitTable {
    pub(crate) fn new(duration: Duration) -> Self {
        Self { entries: TupleSlab::new(), queue: VecDeque::new(), duration, live: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.live
    }

    pub(crate) fn tuple(&self, key: TupleKey) -> Option<FourTuple> {
        self.entries.tuple(key)
    }

    pub(crate) fn tuples(&self) -> impl Iterator<Item = FourTuple> {
        self.entries.iter().filter(|(_, _, entry)| entry.phase != Phase::Dead).map(|(_, tuple, _)| tuple)
    }

    pub(crate) fn insert(
        &mut self,
        tuple: &FourTuple,
        parts: &TimeWaitParts,
        now: Timestamp,
    ) -> Option<TupleKey> {
        let expires = ShortTimestamp::new(now + self.duration);
        let phase = if parts.ts_recent.is_some() { Phase::Timestamps } else { Phase::Plain };
        let entry = Entry {
            snd_nxt: parts.snd_nxt,
            rcv_nxt: parts.rcv_nxt,
            ts_recent: parts.ts_recent.unwrap_or(0),
            window: parts.window,
            phase,
            expires,
            queued: 1,
        };
        let key = self.entries.insert(tuple, entry)?;
        self.queue.push_back(Place { key, expires });
        self.live += 1;
        Some(key)
    }

    /// Ends an entry before its time, for a new incarnation.
    pub(crate) fn remove(&mut self, key: TupleKey) {
        if let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.phase != Phase::Dead) {
            entry.phase = Phase::Dead;
            self.live -= 1;
        }
    }

    /// When the next entry may expire.
    pub(crate) fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        self.queue.front().map(|place| place.expires.near(now))
    }

    /// Takes an entry whose 2 MSL are over. Each place in the queue that is looked at costs one of the budget,
    /// those of entries that have been taken over or restarted included.
    pub(crate) fn pop_expired(
        &mut self,
        now: Timestamp,
        budget: &mut usize,
    ) -> Option<(TupleKey, FourTuple)> {
        while *budget > 0 && self.next_deadline(now)? <= now {
            *budget -= 1;
            if let Some(expired) = self.pop_front() {
                return Some(expired);
            }
        }
        None
    }

    /// Takes the oldest entry, to make room.
    pub(crate) fn pop_oldest(&mut self) -> Option<(TupleKey, FourTuple)> {
        while !self.queue.is_empty() {
            if let Some(oldest) = self.pop_front() {
                return Some(oldest);
            }
        }
        None
    }

    /// Takes the front of the queue, and its entry unless that has been restarted.
    fn pop_front(&mut self) -> Option<(TupleKey, FourTuple)> {
        let Place { key, expires } = self.queue.pop_front()?;
        let entry = self.entries.get_mut(key)?;
        entry.queued -= 1;
        let live = entry.phase != Phase::Dead;
        let expired = live && entry.expires == expires;
        if expired {
            entry.phase = Phase::Dead;
            self.live -= 1;
        } else if live && entry.queued == 0 {
            // It was restarted more often than it may have places: this is a new one.
            entry.queued = 1;
            self.queue.push_back(Place { key, expires: entry.expires });
        }
        let tuple = self.entries.tuple(key)?;
        if self.entries.get(key)?.queued == 0 {
            self.entries.remove(key);
        }
        expired.then_some((key, tuple))
    }

    /// A segment arrives (RFC 9293 3.10.7.4, for TIME-WAIT). `ts_offset`: what is added to our clock.
    pub(crate) fn segment_arrives(
        &mut self,
        key: TupleKey,
        segment: &TcpHeader,
        payload_len: usize,
        ts_offset: u32,
        now: Timestamp,
    ) -> Answer {
        let Some(ack) = self.ack_for(key, ts_offset, now) else { return Answer::Drop };
        let Some(entry) = self.entries.get_mut(key) else { return Answer::Drop };
        // RFC 1337: a RST must not cut the wait short.
        if segment.flags.contains(TcpFlags::RST) {
            return Answer::Drop;
        }
        if segment.flags.contains(TcpFlags::SYN) {
            if !segment.flags.contains(TcpFlags::ACK) && entry.is_older_than(segment) {
                return Answer::NewIncarnation(entry.snd_nxt);
            }
            return Answer::Ack(ack);
        }
        let len = segment.segment_len(payload_len);
        let last = segment.seq + len;
        if segment.flags.contains(TcpFlags::FIN) && last == entry.rcv_nxt {
            // The peer did not get our last ACK: it gets another, and the wait begins anew.
            entry.expires = ShortTimestamp::new(now + self.duration);
            if entry.queued < MAX_QUEUED {
                entry.queued += 1;
                self.queue.push_back(Place { key, expires: entry.expires });
            }
            return Answer::Ack(ack);
        }
        // RFC 9293 3.10.7.4, fifth.
        let in_window = segment.seq.within(entry.rcv_nxt, u32::from(entry.window).max(1));
        if in_window && !segment.flags.contains(TcpFlags::ACK) {
            return Answer::Drop;
        }
        // Anything else but a bare acknowledgement in order is an old duplicate, or a peer gone astray.
        if len == 0 && segment.seq == entry.rcv_nxt {
            return Answer::Drop;
        }
        Answer::Ack(ack)
    }

    /// The acknowledgement that an entry answers with.
    pub(crate) fn ack_for(&self, key: TupleKey, ts_offset: u32, now: Timestamp) -> Option<TcpHeader> {
        let entry = self.entries.get(key)?;
        let tuple = self.entries.tuple(key)?;
        let timestamps = (entry.phase == Phase::Timestamps)
            .then(|| Timestamps { tsval: timestamp_clock(now, ts_offset), tsecr: entry.ts_recent });
        Some(TcpHeader {
            src_port: tuple.local_port,
            dst_port: tuple.remote_port,
            seq: entry.snd_nxt,
            ack: entry.rcv_nxt,
            flags: TcpFlags::ACK,
            window: entry.window,
            urgent: 0,
            options: TcpOptions { timestamps, ..TcpOptions::default() },
        })
    }
}

impl Entry {
    /// Whether a SYN can only come from a new incarnation of the connection: its timestamp is above the old
    /// one's (RFC 6191 2), or else its sequence number is (RFC 9293 3.6.1 MAY-2).
    fn is_older_than(&self, syn: &TcpHeader) -> bool {
        if let (Phase::Timestamps, Some(timestamps)) = (self.phase, syn.options.timestamps) {
            if SeqNum::new(timestamps.tsval).after(SeqNum::new(self.ts_recent)) {
                return true;
            }
            if timestamps.tsval != self.ts_recent {
                return false;
            }
        }
        syn.seq.after(self.rcv_nxt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple_slab::slot_sizes;

    #[test]
    fn an_entry_takes_forty_eight_bytes_with_its_place() {
        let (v4, v6) = slot_sizes::<Entry>();
        assert!(v4 + size_of::<Place>() <= 48, "{v4} + {}", size_of::<Place>());
        assert!(v6 + size_of::<Place>() <= 72, "{v6} + {}", size_of::<Place>());
    }

    #[test]
    fn a_fin_repeated_for_ever_costs_no_more_memory() {
        let mut table = TimeWaitTable::new(Duration::from_secs(60));
        let tuple = FourTuple::new("10.0.0.1:80".parse().unwrap(), "10.0.0.2:9".parse().unwrap());
        let rcv_nxt = SeqNum::new(1000);
        let parts = TimeWaitParts { snd_nxt: SeqNum::new(5), rcv_nxt, window: 9, ts_recent: None };
        let key = table.insert(&tuple, &parts, Timestamp::START).unwrap();
        let fin =
            TcpHeader { seq: rcv_nxt - 1, flags: TcpFlags::FIN | TcpFlags::ACK, ..TcpHeader::default() };
        let mut now = Timestamp::START;
        for _ in 0..10_000 {
            now += Duration::from_micros(1);
            table.segment_arrives(key, &fin, 0, 0, now);
        }
        assert!(table.queue.len() <= usize::from(MAX_QUEUED));
        let (later, budget) = (now + Duration::from_secs(61), &mut 100);
        assert_eq!(table.pop_expired(later, budget).map(|(_, tuple)| tuple), Some(tuple));
        assert_eq!((table.len(), table.pop_expired(later, budget)), (0, None));
        assert!(table.queue.is_empty());
        assert_eq!(table.entries.len(), 0);
    }

    /// A million, half of which have been taken over: no call does more than its budget.
    #[test]
    fn a_million_expire_within_the_budget() {
        let mut table = TimeWaitTable::new(Duration::from_secs(60));
        let parts =
            TimeWaitParts { snd_nxt: SeqNum::new(5), rcv_nxt: SeqNum::new(9), window: 9, ts_recent: None };
        let local = "10.0.0.1:80".parse().unwrap();
        for number in 0..1_000_000_u32 {
            let remote = std::net::Ipv4Addr::from_bits(number);
            let tuple = FourTuple::new(local, (remote, 9).into());
            let key = table.insert(&tuple, &parts, Timestamp::START).unwrap();
            if number < 500_000 {
                table.remove(key);
            }
        }
        let now = Timestamp::START + Duration::from_secs(60);
        let (mut calls, mut expired) = (0, 0);
        while table.next_deadline(now).is_some() {
            let (mut budget, before) = (1000, table.queue.len());
            while table.pop_expired(now, &mut budget).is_some() {
                expired += 1;
            }
            assert_eq!(before - table.queue.len(), 1000);
            calls += 1;
        }
        assert_eq!((calls, expired, table.len(), table.entries.len()), (1000, 500_000, 0, 0));
    }
}
