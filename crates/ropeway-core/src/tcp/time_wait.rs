//! TIME-WAIT: a table of its own (RFC 9293 3.6.1, RFC 1337, RFC 6191).
//!
//! Every entry waits equally long, so a list in the order of arrival is a list in the order of expiry.

use std::time::Duration;

use ropeway_packet::{FourTuple, SeqNum, TcpFlags, TcpHeader, TcpOptions, Timestamps};

use super::connection::{TimeWaitParts, timestamp_clock};
use super::listen::asks_to_open;
use crate::time::{ShortTimestamp, Timestamp};
use crate::tuple_list::{Linked, Links, TupleList};
use crate::tuple_slab::{TupleKey, TupleSlab};

/// Twenty-eight bytes, besides the tuple.
#[derive(Clone, Debug)]
struct Entry {
    snd_nxt: SeqNum,
    rcv_nxt: SeqNum,
    /// The peer's last timestamp.
    ts_recent: u32,
    /// The neighbours in the order of expiry.
    links: Links,
    window: u16,
    /// When the wait is over.
    expires: ShortTimestamp,
    timestamps: bool,
}

impl Linked for Entry {
    fn links(&self) -> Links {
        self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
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

/// An old connection, as a new one with its tuple must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incarnation {
    pub(crate) snd_nxt: SeqNum,
    pub(crate) ts_recent: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct TimeWaitTable {
    entries: TupleSlab<Entry>,
    /// In the order of expiry.
    waiting: TupleList,
    /// Those whose wait a jump of the clock has ended, whatever their five bytes say of it.
    overdue: TupleList,
    duration: Duration,
}

impl TimeWaitTable {
    pub(crate) fn new(duration: Duration) -> Self {
        let (waiting, overdue) = (TupleList::default(), TupleList::default());
        Self { entries: TupleSlab::new(), waiting, overdue, duration: ShortTimestamp::longest(duration) }
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

    pub(crate) fn insert(
        &mut self,
        tuple: &FourTuple,
        parts: &TimeWaitParts,
        now: Timestamp,
    ) -> Option<TupleKey> {
        // RFC 9293 3.6.1 MUST-13
        let entry = Entry {
            snd_nxt: parts.snd_nxt,
            rcv_nxt: parts.rcv_nxt,
            ts_recent: parts.ts_recent.unwrap_or(0),
            links: Links::NONE,
            window: parts.window,
            expires: ShortTimestamp::after(now, self.duration),
            timestamps: parts.ts_recent.is_some(),
        };
        let key = self.entries.insert(tuple, entry)?;
        self.waiting.push(&mut self.entries, key);
        Some(key)
    }

    /// Ends an entry before its time, for a new incarnation or to make room.
    pub(crate) fn remove(&mut self, key: TupleKey) -> Option<FourTuple> {
        self.unlink(key);
        self.entries.remove(key).map(|(tuple, _)| tuple)
    }

    /// When the next entry expires.
    pub(crate) fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        if self.overdue.oldest().is_some() {
            return Some(Timestamp::START);
        }
        self.entries.get(self.waiting.oldest()?).map(|entry| entry.expires.near(now))
    }

    /// The clock moves on by this much at once. What waits for no longer is due, and no entry has to tell a moment
    /// that lies far back.
    pub(crate) fn clock_jumps(&mut self, by: Duration) {
        if by >= self.duration {
            self.overdue.append(&mut self.entries, &mut self.waiting);
        }
    }

    /// An entry whose 2 MSL are over (RFC 9293 3.10.8 R-12).
    pub(crate) fn expired(&self, now: Timestamp) -> Option<TupleKey> {
        if self.next_deadline(now)? > now { None } else { self.oldest() }
    }

    /// The oldest entry.
    pub(crate) fn oldest(&self) -> Option<TupleKey> {
        self.overdue.oldest().or_else(|| self.waiting.oldest())
    }

    /// What a connection must begin beyond that takes the tuple of an entry over, if it may: timestamps were in use, so
    /// that old segments can be told, and the wait began at least `age` ago.
    pub(crate) fn incarnation(&self, key: TupleKey, age: Duration, now: Timestamp) -> Option<Incarnation> {
        let entry = self.entries.get(key).filter(|entry| entry.timestamps)?;
        let began = entry.expires.before(self.duration, now);
        let old = Incarnation { snd_nxt: entry.snd_nxt, ts_recent: entry.ts_recent };
        (now.since(began) >= age).then_some(old)
    }

    /// Begins the wait anew.
    fn restart(&mut self, key: TupleKey, now: Timestamp) {
        self.unlink(key);
        if let Some(entry) = self.entries.get_mut(key) {
            entry.expires = ShortTimestamp::after(now, self.duration);
        }
        self.waiting.push(&mut self.entries, key);
    }

    fn unlink(&mut self, key: TupleKey) {
        let waits = self.waiting.may_hold(&self.entries, key);
        let list = if waits { &mut self.waiting } else { &mut self.overdue };
        list.remove(&mut self.entries, key);
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
        let Some(entry) = self.entries.get(key) else { return Answer::Drop };
        // RFC 1337: a RST must not cut the wait short.
        if segment.flags.contains(TcpFlags::RST) {
            return Answer::Drop;
        }
        if segment.flags.contains(TcpFlags::SYN) {
            let is_news = !segment.flags.contains(TcpFlags::ACK) && entry.is_older_than(segment);
            return match is_news {
                true if asks_to_open(segment.flags) => Answer::NewIncarnation(entry.snd_nxt),
                true => Answer::Drop,
                false => Answer::Ack(ack),
            };
        }
        let len = segment.segment_len(payload_len);
        let last = segment.seq + len;
        if segment.flags.contains(TcpFlags::FIN) && last == entry.rcv_nxt {
            // RFC 9293 3.10.7.4 R-10: the peer did not get our last ACK; it gets another, and the wait begins
            // anew.
            self.restart(key, now);
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
        let timestamps = entry
            .timestamps
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
    /// one's (RFC 6191 2, RFC 9293 3.6.1 SHLD-4), or else its sequence number is (MAY-2).
    fn is_older_than(&self, syn: &TcpHeader) -> bool {
        if let (true, Some(timestamps)) = (self.timestamps, syn.options.timestamps) {
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

    fn parts() -> TimeWaitParts {
        TimeWaitParts { snd_nxt: SeqNum::new(5), rcv_nxt: SeqNum::new(1000), window: 9, ts_recent: None }
    }

    fn tuple(number: u32) -> FourTuple {
        let remote = std::net::Ipv4Addr::from_bits(number);
        FourTuple::new("10.0.0.1:80".parse().unwrap(), (remote, 9).into())
    }

    fn pop_expired(table: &mut TimeWaitTable, now: Timestamp) -> Option<(TupleKey, FourTuple)> {
        let key = table.expired(now)?;
        table.remove(key).map(|tuple| (key, tuple))
    }

    fn secs(secs: u64) -> Timestamp {
        Timestamp::START + Duration::from_secs(secs)
    }

    #[test]
    fn an_entry_takes_forty_bytes() {
        let (v4, v6) = slot_sizes::<Entry>();
        assert!(v4 <= 40, "{v4}");
        assert!(v6 <= 64, "{v6}");
    }

    #[test]
    fn a_fin_repeated_for_ever_costs_no_more_memory_and_the_wait_begins_anew() {
        let mut table = TimeWaitTable::new(Duration::from_secs(60));
        let keys = [1, 2, 3].map(|number| table.insert(&tuple(number), &parts(), secs(0)).unwrap());
        let fin = TcpHeader {
            seq: parts().rcv_nxt - 1,
            flags: TcpFlags::FIN | TcpFlags::ACK,
            ..TcpHeader::default()
        };
        for second in 1..=10 {
            let answer = table.segment_arrives(keys[1], &fin, 0, 0, secs(second));
            assert!(matches!(answer, Answer::Ack(_)));
            assert_eq!(table.len(), 3);
        }
        assert_eq!(table.next_deadline(secs(10)), Some(secs(60)));
        assert_eq!(pop_expired(&mut table, secs(60)), Some((keys[0], tuple(1))));
        assert_eq!(pop_expired(&mut table, secs(60)), Some((keys[2], tuple(3))));
        assert_eq!(
            (pop_expired(&mut table, secs(69)), table.next_deadline(secs(69))),
            (None, Some(secs(70)))
        );
        assert_eq!(pop_expired(&mut table, secs(70)), Some((keys[1], tuple(2))));
        assert_eq!((table.len(), table.oldest()), (0, None));
    }

    #[test]
    fn a_jump_past_all_their_ends_ends_all_but_those_that_come_after_it() {
        for jump in [60, 6 * 86_400, 12 * 86_400, 100 * 365 * 86_400] {
            let mut table = TimeWaitTable::new(Duration::from_secs(60));
            let keys: Vec<_> = (0..9).map(|n| table.insert(&tuple(n), &parts(), secs(1)).unwrap()).collect();
            table.clock_jumps(Duration::from_secs(59));
            assert_eq!(table.expired(secs(60)), None);
            table.clock_jumps(Duration::from_secs(jump));
            table.insert(&tuple(9), &parts(), secs(60 + jump)).unwrap();
            // The ends and the middle of either list can be taken out.
            for (n, at) in [(0, 0), (8, 8), (4, 4)] {
                assert_eq!(table.remove(keys[at]), Some(tuple(n)));
            }
            let due: Vec<_> =
                std::iter::from_fn(|| pop_expired(&mut table, secs(60 + jump))).map(|(_, due)| due).collect();
            assert_eq!(due, [1, 2, 3, 5, 6, 7].map(tuple));
            assert_eq!(table.next_deadline(secs(60 + jump)), Some(secs(120 + jump)));
            assert_eq!(pop_expired(&mut table, secs(120 + jump)).map(|(_, due)| due), Some(tuple(9)));
        }
    }

    /// A million, half of which have been taken over, all over the table.
    #[test]
    fn a_million_expire_in_order() {
        let mut table = TimeWaitTable::new(Duration::from_secs(60));
        let keys: Vec<_> = (0..1_000_000)
            .map(|number| table.insert(&tuple(number), &parts(), Timestamp::START).unwrap())
            .collect();
        for (number, key) in (0..).zip(&keys).step_by(2) {
            assert_eq!(table.remove(*key), Some(tuple(number)));
        }
        assert_eq!((table.len(), pop_expired(&mut table, secs(59))), (500_000, None));
        for number in (1..1_000_000).step_by(2) {
            assert_eq!(pop_expired(&mut table, secs(60)).map(|(_, tuple)| tuple), Some(tuple(number)));
        }
        assert_eq!(
            (pop_expired(&mut table, secs(60)), table.len(), table.next_deadline(secs(60))),
            (None, 0, None)
        );
    }
}
