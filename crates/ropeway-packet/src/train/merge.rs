//! Several packets become one (GRO).

use std::ops::Range;

use super::headers::{Headers, Other, TCP_FLAGS, V4_IDENT, are_alike, packet_len, seq, sum_of, u16_at};
use crate::segment::HeaderBuf;
use crate::{Checksum, Protocol, SeqNum, TcpFlags, checksum};

/// How many connections can have a train that goes on.
const FLOWS: usize = 32;
/// The longest train, with its headers: what one IP packet holds.
const LONGEST: usize = u16::MAX as usize;

/// Where a received packet belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It goes on as it is. Others may be found to continue it.
    Alone {
        /// Its transport checksum is known to be right.
        verified: bool,
    },
    /// It continues the train that another packet began.
    Behind(Segment),
}

/// A packet that continues a train.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The index of the train's first packet.
    pub train: usize,
    /// Where in this packet its data stands: what comes next in the train.
    pub payload: Range<usize>,
    /// Bytes of data in each segment of the train but the last one, which may have fewer.
    pub segment_size: u16,
    /// It has PSH, which none before it had.
    pub push: bool,
}

/// Finds trains in a batch of received packets, in the order of their arrival.
///
/// Packets make a train if the receiver would see no difference. They are of one connection and
/// follow each other in sequence, each as long as the first, but for the last. Everything else in
/// their headers is equal: DSCP and ECN, TTL or hop limit, flow label, DF, acknowledgment number,
/// window, flags, and options to the byte, so timestamps among them. Their checksums are right. A
/// train ends
///
/// - with a segment that is shorter or has PSH;
/// - before one that would make it longer than an IP packet;
/// - before whatever else comes of the same connection: another acknowledgment, a retransmission,
///   SYN, FIN, RST or URG.
///
/// So a connection's packets stay in order. Those that may belong to any connection end all trains:
/// fragments, and packets with IP options or extension headers.
///
/// A merger has a fixed size of some 5 KiB and holds no packets. It keeps an eye on 32 connections
/// at a time; of more that take turns, less is merged.
///
/// See the [module](crate::train) for an example.
#[derive(Clone, Debug)]
pub struct Merger {
    /// What the connections are found by; 0 where there is none. Apart from the trains, since all
    /// of it is read for each packet.
    keys: [u32; FLOWS],
    trains: [Train; FLOWS],
    /// So many places were taken in this batch, the first ones: a batch without data takes none.
    taken: usize,
    /// The place of the train that went on last: it goes on, as a rule.
    last: usize,
    /// Which place the next connection gets when all are taken.
    next: usize,
}

impl Default for Merger {
    fn default() -> Self {
        Self::new()
    }
}

impl Merger {
    /// A merger that has seen no packet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            keys: [0; FLOWS],
            trains: std::array::from_fn(|_| Train::default()),
            taken: 0,
            last: 0,
            next: 0,
        }
    }

    /// Begins a batch: no train of before goes on.
    pub fn begin(&mut self) {
        self.taken = 0;
    }

    /// Says where the next packet belongs; `index` is what the caller calls it.
    ///
    /// With `verified` the caller vouches for its transport checksum. Otherwise it is verified here
    /// if the packet could be part of a train, and need not be again if the answer says so.
    #[inline]
    pub fn place(&mut self, index: usize, packet: &[u8], verified: bool) -> Place {
        match self.behind(self.last, packet, verified) {
            Some(segment) => Place::Behind(segment),
            None => self.search(index, packet, verified),
        }
    }

    /// The packet as the next segment of the train at this place, if it is that.
    #[inline]
    fn behind(&mut self, at: usize, packet: &[u8], verified: bool) -> Option<Segment> {
        let key = self.keys.get_mut(..self.taken)?.get_mut(at).filter(|key| **key != 0)?;
        let train = self.trains.get_mut(at)?;
        let payload = train.continuation(packet, verified)?;
        let segment = train.push(payload, pushes(packet, train.ip_len));
        if train.is_complete(segment.payload.len(), segment.push) {
            *key = 0;
        }
        self.last = at;
        Some(segment)
    }

    /// Likewise, for a packet that may belong anywhere.
    fn search(&mut self, index: usize, packet: &[u8], verified: bool) -> Place {
        let headers = match Headers::read(packet) {
            Ok(headers) => headers,
            Err(other) => {
                if other == Other::Opaque {
                    self.begin();
                }
                return Place::Alone { verified };
            }
        };
        let pushes = headers.flags().contains(TcpFlags::PSH);
        if pushes && self.taken == 0 {
            // It begins no train, and there is none that it could end.
            return Place::Alone { verified };
        }
        let payload = headers.payload_to_merge(packet);
        if payload.is_none() && self.taken == 0 {
            return Place::Alone { verified };
        }
        let key = key(headers.flow());
        let found = self.find(key, headers.flow());
        let Some(payload) = payload else {
            self.end(found);
            return Place::Alone { verified };
        };
        if !verified && !headers.checksum_is_right(packet) {
            return Place::Alone { verified };
        }
        if let Some(segment) = found.and_then(|at| self.behind(at, packet, true)) {
            return Place::Behind(segment);
        }
        self.end(found);
        if !pushes {
            self.start(key, index, &headers, payload.len());
        }
        Place::Alone { verified: true }
    }

    /// Where the train of a connection is, if it has one that goes on.
    #[inline]
    fn find(&self, key: u32, flow: &[u8]) -> Option<usize> {
        let mut keys = self.keys.iter().take(self.taken).zip(&self.trains);
        keys.position(|(place, train)| *place == key && train.flow() == flow)
    }

    /// The train at this place does not go on.
    #[inline]
    fn end(&mut self, at: Option<usize>) {
        if let Some(key) = at.and_then(|at| self.keys.get_mut(at)) {
            *key = 0;
        }
    }

    /// A packet begins a train. If there is no place, another connection's train ends.
    fn start(&mut self, key: u32, index: usize, headers: &Headers<'_>, payload_len: usize) {
        let free = self.keys.iter().take(self.taken).position(|key| *key == 0);
        let at = free.unwrap_or_else(|| {
            if self.taken < FLOWS {
                self.taken += 1;
                return self.taken - 1;
            }
            self.next = (self.next + 1) % FLOWS;
            self.next
        });
        if let (Some(place), Some(train), Some(begun)) =
            (self.keys.get_mut(at), self.trains.get_mut(at), Train::new(index, headers, payload_len))
        {
            *place = key;
            *train = begun;
            self.last = at;
        }
    }
}

/// A train that goes on.
#[derive(Clone, Debug, Default)]
struct Train {
    /// The index of its first packet.
    index: usize,
    /// The headers of that.
    headers: HeaderBuf,
    is_v4: bool,
    /// Bytes of its IP header.
    ip_len: usize,
    /// The pseudo-header of each segment, without its length.
    pseudo_header: Checksum,
    /// Of each segment so far.
    segment_size: u16,
    /// Bytes so far, one header included.
    len: usize,
    /// What the next segment has.
    seq: SeqNum,
    /// Likewise, if it counts.
    ident: Option<u16>,
}

impl Train {
    #[inline]
    fn new(index: usize, headers: &Headers<'_>, payload_len: usize) -> Option<Self> {
        let segment_size = u16::try_from(payload_len).ok()?;
        let (src, dst) = headers.addresses();
        Some(Self {
            index,
            headers: HeaderBuf::copy_of(headers.all)?,
            is_v4: headers.is_v4,
            ip_len: headers.ip.len(),
            pseudo_header: checksum::pseudo_header(src, dst, Protocol::TCP, 0),
            segment_size,
            len: headers.all.len() + payload_len,
            seq: headers.seq() + u32::from(segment_size),
            ident: headers.idents_count().then(|| headers.ident().wrapping_add(1)),
        })
    }

    #[inline]
    fn flow(&self) -> &[u8] {
        Headers::flow_of(self.is_v4, &self.headers)
    }

    /// Where in `packet` the data stands of the next segment, if it is that.
    #[inline]
    fn continuation(&self, packet: &[u8], verified: bool) -> Option<Range<usize>> {
        let headers = packet.get(..self.headers.len())?;
        if !are_alike(self.is_v4, &self.headers, headers) {
            return None;
        }
        let (ip, tcp) = headers.split_at_checked(self.ip_len)?;
        let payload = headers.len()..packet_len(self.is_v4, ip);
        let follows = seq(tcp) == self.seq
            && self.ident.is_none_or(|ident| u16_at(ip, V4_IDENT) == ident)
            && (1..=usize::from(self.segment_size)).contains(&payload.len())
            && self.len + payload.len() <= LONGEST;
        let segment = packet.get(self.ip_len..payload.end)?;
        let right = follows
            && (!self.is_v4 || sum_of(ip).finish() == 0)
            && (verified || self.checksum_is_right(segment));
        right.then_some(payload)
    }

    /// Whether the TCP checksum of `segment` is right.
    #[inline]
    fn checksum_is_right(&self, segment: &[u8]) -> bool {
        let mut sum = self.pseudo_header;
        sum.add_u32(u32::try_from(segment.len()).unwrap_or(0));
        sum.add_bytes(segment);
        sum.finish() == 0
    }

    /// The train goes on.
    #[inline]
    fn push(&mut self, payload: Range<usize>, push: bool) -> Segment {
        self.len += payload.len();
        self.seq += u32::from(self.segment_size);
        self.ident = self.ident.map(|ident| ident.wrapping_add(1));
        Segment { train: self.index, payload, segment_size: self.segment_size, push }
    }

    /// Whether nothing can follow a segment.
    #[inline]
    fn is_complete(&self, payload_len: usize, push: bool) -> bool {
        push || payload_len < usize::from(self.segment_size) || self.len >= LONGEST
    }
}

/// Whether a packet has PSH whose TCP header begins at `tcp`.
#[inline]
fn pushes(packet: &[u8], tcp: usize) -> bool {
    TcpFlags::from_bits_truncate(u16_at(packet, tcp + TCP_FLAGS)).contains(TcpFlags::PSH)
}

/// What a connection is found by: its addresses and ports in 32 bits that are not all zero. Who
/// makes others collide gains nothing, since they are compared.
#[inline]
fn key(flow: &[u8]) -> u32 {
    let (words, _) = flow.as_chunks::<4>();
    let mixed = words
        .iter()
        .fold(0_u32, |key, word| (key.rotate_left(5) ^ u32::from_ne_bytes(*word)).wrapping_mul(0x9e37_79b9));
    mixed | 1
}
