//! TIME-WAIT: a table of its own (RFC 9293 3.6.1 MUST-13, RFC 1337, RFC 6191).
//!
//! Every entry waits equally long, so a queue in the order of arrival is a queue in the order of expiry.

use std::collections::VecDeque;
use std::time::Duration;

use ropeway_packet::{FourTuple, SeqNum, TcpFlags, TcpHeader, TcpOptions, Timestamps};

use super::connection::{TimeWaitParts, timestamp_clock};
use crate::slab::{Key, Slab};
use crate::time::Timestamp;

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) tuple: FourTuple,
    parts: TimeWaitParts,
    expires: Timestamp,
    /// How many places in the queue it has: one for each restart, up to a limit.
    queued: u8,
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

/// A peer that repeats its FIN for ever gets no more places in the queue than this at a time.
const MAX_QUEUED: u8 = 8;

#[derive(Debug)]
pub(crate) struct TimeWaitTable {
    entries: Slab<Entry>,
    queue: VecDeque<(Timestamp, Key)>,
    duration: Duration,
}

impl TimeWaitTable {
    pub(crate) fn new(duration: Duration) -> Self {
        Self { entries: Slab::new(), queue: VecDeque::new(), duration }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(crate) fn tuples(&self) -> impl Iterator<Item = &FourTuple> {
        self.entries.iter().map(|(_, entry)| &entry.tuple)
    }

    pub(crate) fn insert(&mut self, tuple: FourTuple, parts: TimeWaitParts, now: Timestamp) -> Option<Key> {
        let expires = now + self.duration;
        let key = self.entries.insert_with(|_| Entry { tuple, parts, expires, queued: 1 })?;
        self.queue.push_back((expires, key));
        Some(key)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Entry> {
        self.entries.remove(key)
    }

    /// When the next entry may expire.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.queue.front().map(|(expires, _)| *expires)
    }

    /// Takes an entry whose 2 MSL are over.
    pub(crate) fn pop_expired(&mut self, now: Timestamp) -> Option<(Key, FourTuple)> {
        while self.next_deadline()? <= now {
            if let Some(expired) = self.pop_front(now) {
                return Some(expired);
            }
        }
        None
    }

    /// Takes the oldest entry, to make room.
    pub(crate) fn pop_oldest(&mut self) -> Option<(Key, FourTuple)> {
        while let Some((_, key)) = self.queue.pop_front() {
            if let Some(entry) = self.entries.remove(key) {
                return Some((key, entry.tuple));
            }
        }
        None
    }

    /// Takes the front of the queue; if its entry has been restarted, it lives on.
    fn pop_front(&mut self, now: Timestamp) -> Option<(Key, FourTuple)> {
        let (_, key) = self.queue.pop_front()?;
        let entry = self.entries.get_mut(key)?;
        entry.queued -= 1;
        if entry.expires > now {
            if entry.queued == 0 {
                entry.queued = 1;
                self.queue.push_back((entry.expires, key));
            }
            return None;
        }
        Some((key, self.entries.remove(key)?.tuple))
    }

    /// A segment arrives (RFC 9293 3.10.7.4, for TIME-WAIT).
    pub(crate) fn segment_arrives(
        &mut self,
        key: Key,
        segment: &TcpHeader,
        payload_len: usize,
        now: Timestamp,
    ) -> Answer {
        let expires = now + self.duration;
        let Some(entry) = self.entries.get_mut(key) else { return Answer::Drop };
        // RFC 1337: a RST must not cut the wait short.
        if segment.flags.contains(TcpFlags::RST) {
            return Answer::Drop;
        }
        if segment.flags.contains(TcpFlags::SYN) {
            if !segment.flags.contains(TcpFlags::ACK) && entry.is_newer(segment) {
                return Answer::NewIncarnation(entry.parts.snd_nxt);
            }
            return Answer::Ack(entry.ack(now));
        }
        let len = segment.segment_len(payload_len);
        let last = segment.seq + len;
        if segment.flags.contains(TcpFlags::FIN) && last == entry.parts.rcv_nxt {
            // The peer did not get our last ACK: it gets another, and the wait begins anew.
            if entry.expires != expires && entry.queued < MAX_QUEUED {
                entry.queued += 1;
                self.queue.push_back((expires, key));
            }
            entry.expires = expires;
            return Answer::Ack(entry.ack(now));
        }
        // Anything else but a bare acknowledgement in order is an old duplicate, or a peer gone astray.
        if len == 0 && segment.seq == entry.parts.rcv_nxt {
            return Answer::Drop;
        }
        Answer::Ack(entry.ack(now))
    }

    /// The acknowledgement that an entry answers with.
    pub(crate) fn ack_for(&self, key: Key, now: Timestamp) -> Option<TcpHeader> {
        self.entries.get(key).map(|entry| entry.ack(now))
    }
}

impl Entry {
    /// Whether a SYN can only come from a new incarnation of the connection: its timestamp is above the old
    /// one's (RFC 6191 2), or else its sequence number is (RFC 9293 3.6.1 MAY-2).
    fn is_newer(&self, syn: &TcpHeader) -> bool {
        if let (Some((recent, _)), Some(timestamps)) = (self.parts.timestamps, syn.options.timestamps) {
            if SeqNum::new(timestamps.tsval).after(SeqNum::new(recent)) {
                return true;
            }
            if timestamps.tsval != recent {
                return false;
            }
        }
        syn.seq.after(self.parts.rcv_nxt)
    }

    fn ack(&self, now: Timestamp) -> TcpHeader {
        TcpHeader {
            src_port: self.tuple.local_port,
            dst_port: self.tuple.remote_port,
            seq: self.parts.snd_nxt,
            ack: self.parts.rcv_nxt,
            flags: TcpFlags::ACK,
            window: self.parts.window,
            urgent: 0,
            options: TcpOptions {
                timestamps: self.parts.timestamps.map(|(recent, offset)| Timestamps {
                    tsval: timestamp_clock(now, offset),
                    tsecr: recent,
                }),
                ..TcpOptions::default()
            },
        }
    }
}
