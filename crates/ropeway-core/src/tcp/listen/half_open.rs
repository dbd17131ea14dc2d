//! The SYN queue: SYN-RECEIVED of passive opens. An entry holds no buffers.
//!
//! SYN-ACKs are retransmitted with backoff, and the entry is reaped when they run out. The delay before the
//! n-th retransmission is the same for all, so there is one queue for each n, in the order of arrival.

use std::collections::VecDeque;
use std::time::Duration;

use ropeway_packet::{FourTuple, SeqNum, TcpFlags, TcpHeader, TcpOptions, Timestamps, WindowScale};

use crate::event::ListenerId;
use crate::recovery::rto::backed_off;
use crate::slab::{Key, Slab};
use crate::tcp::closed::reset_for;
use crate::tcp::connection::{Handshake, Negotiated, timestamp_clock};
use crate::time::Timestamp;

/// A connection to be.
#[derive(Debug)]
pub(crate) struct HalfOpen {
    pub(crate) tuple: FourTuple,
    pub(crate) listener: ListenerId,
    pub(crate) iss: SeqNum,
    irs: SeqNum,
    /// When the SYN-ACK was first sent.
    answered_at: Timestamp,
    deadline: Timestamp,
    peer_mss: Option<u16>,
    /// The peer's window scale and ours.
    wscale: Option<(WindowScale, WindowScale)>,
    /// The peer's timestamp.
    ts_recent: Option<u32>,
    pub(crate) timestamp_offset: u32,
    advmss: u16,
    window: u16,
    retransmits: u8,
    /// A retransmission of ours or of the peer's SYN makes the round trip ambiguous (Karn).
    answered_twice: bool,
}

/// What a SYN and the stack's settings make of a half-open connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(crate) iss: SeqNum,
    pub(crate) timestamp_offset: u32,
    pub(crate) advmss: u16,
    pub(crate) window: u16,
    /// The scale that we announce if the peer does.
    pub(crate) wscale: Option<WindowScale>,
    pub(crate) timestamps: bool,
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
#[derive(Debug)]
pub(crate) enum Overdue {
    /// The SYN-ACK is sent again.
    Retransmit(FourTuple, ListenerId, TcpHeader),
    /// It is over.
    Reaped(Key, HalfOpen),
}

#[derive(Debug)]
pub(crate) struct HalfOpenTable {
    entries: Slab<HalfOpen>,
    /// One queue for each number of retransmissions.
    queues: Vec<VecDeque<(Timestamp, Key)>>,
    first_timeout: Duration,
    longest_timeout: Duration,
}

impl HalfOpenTable {
    pub(crate) fn new(retries: u32, first_timeout: Duration, longest_timeout: Duration) -> Self {
        let levels = retries.min(u32::from(u8::MAX)) + 1;
        let queues = (0..levels).map(|_| VecDeque::new()).collect();
        Self { entries: Slab::new(), queues, first_timeout, longest_timeout }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, key: Key) -> Option<&HalfOpen> {
        self.entries.get(key)
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<HalfOpen> {
        self.entries.remove(key)
    }

    /// The entries of one listener.
    pub(crate) fn of(&self, listener: ListenerId) -> Vec<(Key, FourTuple)> {
        let own = self.entries.iter().filter(|(_, entry)| entry.listener == listener);
        own.map(|(key, entry)| (key, entry.tuple)).collect()
    }

    /// A SYN for a listener: LISTEN becomes SYN-RECEIVED.
    pub(crate) fn insert(
        &mut self,
        tuple: FourTuple,
        listener: ListenerId,
        syn: &TcpHeader,
        opening: &Opening,
        now: Timestamp,
    ) -> Option<Key> {
        let deadline = now + self.first_timeout;
        let key = self.entries.insert_with(|_| HalfOpen {
            tuple,
            listener,
            iss: opening.iss,
            irs: syn.seq,
            answered_at: now,
            deadline,
            peer_mss: syn.options.mss,
            wscale: syn
                .options
                .window_scale
                .and_then(|shift| Some((WindowScale::new(shift), opening.wscale?))),
            ts_recent: syn
                .options
                .timestamps
                .filter(|_| opening.timestamps)
                .map(|timestamps| timestamps.tsval),
            timestamp_offset: opening.timestamp_offset,
            advmss: opening.advmss,
            window: opening.window,
            retransmits: 0,
            answered_twice: false,
        })?;
        if let Some(queue) = self.queues.first_mut() {
            queue.push_back((deadline, key));
        }
        Some(key)
    }

    /// When the next entry needs its SYN-ACK sent again, or is to be reaped.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.queues.iter().filter_map(|queue| queue.front()).map(|(deadline, _)| *deadline).min()
    }

    /// Takes an entry whose timer has gone off.
    pub(crate) fn pop_overdue(&mut self, now: Timestamp) -> Option<Overdue> {
        for level in 0..self.queues.len() {
            while let Some(&(deadline, key)) = self.queues.get(level).and_then(VecDeque::front) {
                if deadline > now {
                    break;
                }
                if let Some(queue) = self.queues.get_mut(level) {
                    queue.pop_front();
                }
                if self.entries.get(key).is_some_and(|entry| entry.deadline == deadline) {
                    return self.overdue(level, key, now);
                }
            }
        }
        None
    }

    fn overdue(&mut self, level: usize, key: Key, now: Timestamp) -> Option<Overdue> {
        let Some(next) = self.queues.get_mut(level + 1) else {
            return self.entries.remove(key).map(|entry| Overdue::Reaped(key, entry));
        };
        let entry = self.entries.get_mut(key)?;
        entry.retransmits = entry.retransmits.saturating_add(1);
        entry.answered_twice = true;
        entry.deadline = now + backed_off(self.first_timeout, entry.retransmits.into(), self.longest_timeout);
        next.push_back((entry.deadline, key));
        Some(Overdue::Retransmit(entry.tuple, entry.listener, entry.syn_ack(now)))
    }

    /// A segment arrives for the entry.
    pub(crate) fn segment_arrives(
        &mut self,
        key: Key,
        segment: &TcpHeader,
        payload_len: usize,
        now: Timestamp,
    ) -> Answer {
        let Some(entry) = self.entries.get_mut(key) else { return Answer::Drop };
        let flags = segment.flags;
        let rcv_nxt = entry.irs + 1;
        if flags.contains(TcpFlags::SYN) && !flags.contains(TcpFlags::RST) && segment.seq == entry.irs {
            // The peer's SYN again: our SYN-ACK may be lost.
            entry.answered_twice = true;
            return Answer::Reply(entry.syn_ack(now));
        }
        let len = segment.segment_len(payload_len);
        let window = u32::from(entry.window);
        let in_window = segment.seq.within(rcv_nxt, window.max(1))
            || (segment.seq.before(rcv_nxt) && (segment.seq + len).after(rcv_nxt));
        let too_old = match (entry.ts_recent, segment.options.timestamps) {
            (Some(recent), Some(timestamps)) => SeqNum::new(timestamps.tsval).before(SeqNum::new(recent)),
            _ => false,
        };
        if !in_window || (too_old && !flags.contains(TcpFlags::RST)) {
            return if flags.contains(TcpFlags::RST) { Answer::Drop } else { Answer::Reply(entry.ack(now)) };
        }
        if flags.contains(TcpFlags::RST) {
            // RFC 5961 3: only the very next sequence number proves that the peer sent it.
            return if segment.seq == rcv_nxt { Answer::BackToListen } else { Answer::Reply(entry.ack(now)) };
        }
        if flags.contains(TcpFlags::SYN) {
            return Answer::BackToListen;
        }
        if !flags.contains(TcpFlags::ACK) {
            return Answer::Drop;
        }
        if segment.ack != entry.iss + 1 {
            return reset_for(segment, payload_len).map_or(Answer::Drop, Answer::Reply);
        }
        Answer::Complete
    }

    pub(crate) fn syn_ack(&self, key: Key, now: Timestamp) -> Option<TcpHeader> {
        self.entries.get(key).map(|entry| entry.syn_ack(now))
    }
}

impl HalfOpen {
    fn syn_ack(&self, now: Timestamp) -> TcpHeader {
        TcpHeader {
            seq: self.iss,
            flags: TcpFlags::SYN | TcpFlags::ACK,
            window: self.window,
            options: TcpOptions {
                mss: Some(self.advmss),
                window_scale: self.wscale.map(|(_, own)| own.get()),
                timestamps: self.timestamps(now),
                ..TcpOptions::default()
            },
            ..self.ack(now)
        }
    }

    fn ack(&self, now: Timestamp) -> TcpHeader {
        let scale = self.wscale.map_or(WindowScale::ZERO, |(_, own)| own);
        TcpHeader {
            src_port: self.tuple.local_port,
            dst_port: self.tuple.remote_port,
            seq: self.iss + 1,
            ack: self.irs + 1,
            flags: TcpFlags::ACK,
            window: scale.scale(u32::from(self.window)),
            urgent: 0,
            options: TcpOptions { timestamps: self.timestamps(now), ..TcpOptions::default() },
        }
    }

    fn timestamps(&self, now: Timestamp) -> Option<Timestamps> {
        let tsval = timestamp_clock(now, self.timestamp_offset);
        self.ts_recent.map(|tsecr| Timestamps { tsval, tsecr })
    }

    /// What the connection needs to know that this becomes.
    pub(crate) fn handshake(&self) -> Handshake {
        Handshake {
            irs: self.irs,
            announced_window: u32::from(self.window),
            negotiated: Negotiated {
                peer_mss: self.peer_mss,
                wscale: self.wscale,
                timestamps: self.ts_recent,
            },
            answered_at: (!self.answered_twice).then_some(self.answered_at),
            retransmits: u32::from(self.retransmits),
        }
    }
}
