//! How a connection is opened.

use std::time::Duration;

use ropeway_packet::TcpFlags;

use super::{Ends, Seen, Side};

/// What a SYN offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) mss: Option<u16>,
    pub(crate) window_scale: Option<u8>,
    pub(crate) sack: bool,
    pub(crate) timestamps: bool,
    pub(crate) fast_open: bool,
    pub(crate) ecn: bool,
}

/// The SYNs of one end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Syns {
    /// The initial sequence number.
    isn: Option<u32>,
    /// Frames and times of the SYN, and of the same sent again: the first few.
    pub(crate) sent: Vec<(u64, Duration)>,
    pub(crate) count: u64,
}

/// The handshake.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handshake {
    pub(crate) syns: Ends<Syns>,
    pub(crate) offers: Ends<Option<Offer>>,
    /// The first acknowledgement of each end's SYN.
    pub(crate) acknowledged: Ends<Option<(u64, Duration)>>,
    /// A RST that answered the SYN.
    pub(crate) refused: Option<u64>,
    /// Both ends have sent a SYN without an ACK (RFC 9293 3.5).
    pub(crate) simultaneous: bool,
    without_ack: Ends<bool>,
    /// The SYN carried data.
    pub(crate) early_data: u32,
}

impl Handshake {
    /// A SYN. Returns whether it is the first of its number.
    pub(crate) fn on_syn(&mut self, from: Side, seen: &Seen) -> bool {
        let segment = &seen.segment;
        let syns = &mut self.syns[from];
        let first = syns.isn != Some(segment.seq);
        if first {
            *syns = Syns { isn: Some(segment.seq), ..Syns::default() };
            let options = &segment.options;
            self.offers[from] = Some(Offer {
                mss: options.mss,
                window_scale: options.window_scale,
                sack: options.sack_permitted,
                timestamps: options.timestamps.is_some(),
                fast_open: options.fast_open.is_some(),
                ecn: segment.flags.intersects(TcpFlags::ECE | TcpFlags::CWR),
            });
            self.acknowledged[from] = None;
        }
        let syns = &mut self.syns[from];
        syns.count += 1;
        if syns.sent.len() < 8 {
            syns.sent.push((seen.frame, seen.at));
        }
        self.early_data += segment.len;
        self.without_ack[from] |= segment.ack.is_none();
        self.simultaneous = self.without_ack.client && self.without_ack.server;
        first
    }

    /// Any segment: it may acknowledge the other's SYN, or refuse it.
    pub(crate) fn on_segment(&mut self, from: Side, seen: &Seen) {
        let to = from.other();
        let answers =
            self.syns[to].isn.map(|isn| isn.wrapping_add(1)).filter(|_| self.acknowledged[to].is_none());
        let Some(next) = answers else { return };
        let Some(ack) = seen.segment.ack else { return };
        if seen.segment.flags.contains(TcpFlags::RST) {
            if ack == next || ack == next.wrapping_add(self.early_data) {
                self.refused.get_or_insert(seen.frame);
            }
        } else if ack.wrapping_sub(next).cast_signed() >= 0 {
            self.acknowledged[to] = Some((seen.frame, seen.at));
        }
    }

    /// The time from a SYN of the other end, sent once, to the answer that this is.
    pub(crate) fn sample(&self, from: Side, seen: &Seen) -> Option<Duration> {
        let to = from.other();
        let syns = &self.syns[to];
        let next = syns.isn?.wrapping_add(1);
        let answers =
            self.acknowledged[to].is_none() && syns.count == 1 && !seen.segment.flags.contains(TcpFlags::RST);
        (answers && seen.segment.ack == Some(next))
            .then(|| seen.at.saturating_sub(syns.sent.first().map_or(seen.at, |sent| sent.1)))
    }

    pub(crate) fn isn(&self, side: Side) -> Option<u32> {
        self.syns[side].isn
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }
}
