//! One half-open connection, and what its segments call for (RFC 9293 3.10.7.4, for SYN-RECEIVED).

use std::time::Duration;

use ropeway_packet::{
    EcnCodepoint, FourTuple, SeqNum, TcpFlags, TcpHeader, TcpOptions, Timestamps, WindowScale,
};

use super::super::incoming::SynOptions;
use super::{Announced, Answer, Opening};
use crate::ecn::EcnFeedback;
use crate::tcp::closed::reset_for;
use crate::tcp::connection::{Handshake, Negotiated, timestamp_clock};
use crate::tcp::ecn::Ecn;
use crate::tcp::ecn::handshake::{agree, syn_ack_flags};
use crate::time::{ShortTimestamp, Timestamp};
use crate::tuple_list::{Linked, Links};

/// A connection to be: 36 bytes, besides the tuple (RFC 4987 3.5-1).
#[derive(Clone, Debug)]
pub(super) struct HalfOpen {
    pub(super) iss: SeqNum,
    irs: SeqNum,
    ts_recent: u32,
    /// The slot of its listener.
    pub(super) listener: u32,
    links: Links,
    /// Zero if the SYN had no such option.
    peer_mss: u16,
    pub(super) deadline: ShortTimestamp,
    scales: Scales,
    said: Said,
    pub(super) retransmits: u8,
    /// ACKs sent since the last SYN-ACK.
    acks: u8,
    pub(super) phase: Phase,
}

/// What is not acceptable is acknowledged this often after each SYN-ACK. Two listeners that forged SYNs have
/// set on each other would answer each other's ACKs for ever.
const MAX_ACKS: u8 = 8;

/// What an entry is waiting for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// The user, who has yet to be told of it.
    Untold,
    /// The user's decision.
    Told,
    /// The third segment.
    Answered(Answered),
    /// Nothing: the user wants the peer's SYNs to vanish.
    Refused,
}

/// What is known of the SYN-ACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Answered {
    Once,
    /// The round trip is ambiguous (Karn).
    Again,
    /// It has arrived, and data is waited for (`TCP_DEFER_ACCEPT`). What the timers do from then on is no loss.
    Deferred(Lost),
}

/// How often a SYN-ACK had been lost when one was acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lost {
    Never,
    Once,
    Often,
}

/// What else both SYNs have agreed on, a bit each.
#[derive(Clone, Copy, Debug, Default)]
struct Said(u8);

impl Said {
    const TIMESTAMPS: u8 = 1;
    const SACK: u8 = 1 << 1;
    const CLASSIC_ECN: u8 = 1 << 2;
    const ACCURATE_ECN: u8 = 1 << 3;
    /// Two bits: the ECN field of the latest SYN's packet.
    const FIELD: u8 = 4;
    /// We must not send what can be marked (RFC 9768 3.1.5).
    const NOT_CAPABLE: u8 = 1 << 7;

    fn new(timestamps: bool, sack: bool, ecn: EcnFeedback) -> Self {
        let bits = [
            (Self::TIMESTAMPS, timestamps),
            (Self::SACK, sack),
            (Self::CLASSIC_ECN, ecn == EcnFeedback::Classic),
            (Self::ACCURATE_ECN, ecn == EcnFeedback::Accurate),
        ];
        Self(bits.into_iter().filter(|(_, said)| *said).fold(0, |all, (bit, _)| all | bit))
    }

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    fn ecn(self) -> EcnFeedback {
        match (self.has(Self::CLASSIC_ECN), self.has(Self::ACCURATE_ECN)) {
            (_, true) => EcnFeedback::Accurate,
            (true, _) => EcnFeedback::Classic,
            _ => EcnFeedback::None,
        }
    }

    fn field(self) -> EcnCodepoint {
        EcnCodepoint::of(self.0 >> Self::FIELD)
    }

    fn set_field(&mut self, field: EcnCodepoint) {
        self.0 = self.0 & !(EcnCodepoint::MASK << Self::FIELD) | field.within(0) << Self::FIELD;
    }
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

impl Linked for HalfOpen {
    fn links(&self) -> Links {
        self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl HalfOpen {
    pub(super) fn new(listener: u32, syn: &TcpHeader, opening: &Opening, deadline: ShortTimestamp) -> Self {
        let ts_recent =
            syn.options.timestamps.filter(|_| opening.timestamps).map(|timestamps| timestamps.tsval);
        let timestamps = ts_recent.is_some();
        let mut said = Said::new(timestamps, opening.sack && syn.options.sack_permitted, opening.ecn);
        said.set_field(opening.field);
        Self {
            iss: opening.iss,
            irs: syn.seq,
            ts_recent: ts_recent.unwrap_or(0),
            listener,
            links: Links::NONE,
            peer_mss: syn.options.mss.unwrap_or(0),
            deadline,
            scales: Scales::new(syn.options.window_scale, opening.wscale),
            said,
            retransmits: 0,
            acks: 0,
            phase: if opening.undecided { Phase::Untold } else { Phase::Answered(Answered::Once) },
        }
    }

    /// The user has been told.
    pub(super) fn tell(&mut self) {
        if self.phase == Phase::Untold {
            self.phase = Phase::Told;
        }
    }

    /// A SYN-ACK is on its way: the user has decided.
    pub(super) fn decide(&mut self, deadline: ShortTimestamp) {
        if self.is_undecided() {
            self.deadline = deadline;
            self.phase = Phase::Answered(Answered::Once);
        }
    }

    pub(super) fn is_undecided(&self) -> bool {
        matches!(self.phase, Phase::Untold | Phase::Told)
    }

    fn timestamps(&self) -> Option<u32> {
        let on = self.said.has(Said::TIMESTAMPS) && self.phase != Phase::Refused;
        on.then_some(self.ts_recent)
    }

    /// The SYN-ACK is sent once more; and again at `deadline`.
    pub(super) fn retransmit(&mut self, deadline: ShortTimestamp) {
        self.wait(deadline);
        self.answered_again();
    }

    fn answered_again(&mut self) {
        if self.phase == Phase::Answered(Answered::Once) {
            self.phase = Phase::Answered(Answered::Again);
        }
    }

    /// Whether the peer is known to have our SYN-ACK, and owes its data.
    pub(super) fn is_deferred(&self) -> bool {
        matches!(self.phase, Phase::Answered(Answered::Deferred(_)))
    }

    /// The timer goes off again then; nothing is sent meanwhile.
    pub(super) fn wait(&mut self, deadline: ShortTimestamp) {
        self.retransmits = self.retransmits.saturating_add(1);
        self.acks = 0;
        self.deadline = deadline;
    }

    /// The handshake is complete but for its data.
    fn defer(&mut self) {
        if !self.is_deferred() {
            let lost = match self.retransmits {
                0 => Lost::Never,
                1 => Lost::Once,
                _ => Lost::Often,
            };
            self.phase = Phase::Answered(Answered::Deferred(lost));
        }
    }

    /// How often the SYN-ACK was sent again for want of an answer.
    fn losses(&self) -> u32 {
        match self.phase {
            Phase::Answered(Answered::Deferred(Lost::Never)) => 0,
            Phase::Answered(Answered::Deferred(Lost::Once)) => 1,
            _ => self.retransmits.into(),
        }
    }

    pub(super) fn segment_arrives(
        &mut self,
        tuple: &FourTuple,
        (segment, field): (&TcpHeader, EcnCodepoint),
        payload_len: usize,
        announced: &Announced,
        now: Timestamp,
    ) -> Answer {
        let flags = segment.flags;
        if !matches!(self.phase, Phase::Answered(_)) {
            return self.arrives_unanswered(segment);
        }
        let rcv_nxt = self.irs + 1;
        if flags.contains(TcpFlags::SYN) && !flags.contains(TcpFlags::RST) && segment.seq == self.irs {
            return self.syn_again(tuple, (segment, field), announced, now);
        }
        let len = segment.segment_len(payload_len);
        let in_window = segment.seq.within(rcv_nxt, u32::from(announced.window).max(1))
            || (segment.seq.before(rcv_nxt) && (segment.seq + len).after(rcv_nxt));
        if flags.contains(TcpFlags::RST) {
            // RFC 9293 3.5 MUST-11, R-07, RFC 5961 3.2-3: only the very next sequence number proves that the
            // peer sent it.
            return match in_window {
                true if segment.seq == rcv_nxt => Answer::BackToListen,
                true => self.acknowledge(tuple, announced, now),
                false => Answer::Drop,
            };
        }
        if !in_window || self.is_older_than_syn(segment) {
            return self.acknowledge(tuple, announced, now);
        }
        if flags.contains(TcpFlags::SYN) {
            return Answer::BackToListen;
        }
        // RFC 7323 3.2-3
        let lacks_timestamps = announced.strict_timestamps
            && self.timestamps().is_some()
            && segment.options.timestamps.is_none();
        if lacks_timestamps || !flags.contains(TcpFlags::ACK) {
            return Answer::Drop;
        }
        if segment.ack != self.iss + 1 {
            return reset_for(segment, payload_len).map_or(Answer::Drop, Answer::Reply);
        }
        if self.retransmits < announced.deferral && len == 0 {
            self.defer();
            return Answer::Defer;
        }
        Answer::Complete
    }

    /// While the user decides, only the peer's RST counts; its SYNs do not start anything anew.
    fn arrives_unanswered(&self, segment: &TcpHeader) -> Answer {
        let gives_up = segment.flags.contains(TcpFlags::RST) && segment.seq == self.irs + 1;
        if gives_up { Answer::BackToListen } else { Answer::Drop }
    }

    // RFC 3168 6.1.1-6
    /// The peer's SYN again: our SYN-ACK may be lost. The echo is of the latest (RFC 7323 4.3), and so is the field of its packet
    /// (RFC 9768 3.1.5).
    fn syn_again(
        &mut self,
        tuple: &FourTuple,
        (syn, field): (&TcpHeader, EcnCodepoint),
        announced: &Announced,
        now: Timestamp,
    ) -> Answer {
        let (agreed, asked) = (self.said.ecn(), agree(EcnFeedback::Accurate, syn.flags, field));
        let mixed = agreed != asked && agreed != EcnFeedback::None && asked != EcnFeedback::None;
        if mixed && self.said.has(Said::ACCURATE_ECN) {
            // RFC 9768 3.1.5-2: neither end would know what the other one goes by.
            return reset_for(syn, 0).map_or(Answer::Drop, Answer::Refuse);
        }
        self.said.set_field(field);
        if syn.flags.ace() == 0 {
            // RFC 3168 6.1.1-6, RFC 9768 3.1.5-3
            self.said.0 |= Said::NOT_CAPABLE;
        }
        self.answered_again();
        if let Some(latest) = syn.options.timestamps
            && SeqNum::new(latest.tsval).after(SeqNum::new(self.ts_recent))
        {
            self.ts_recent = latest.tsval;
        }
        Answer::Reply(self.syn_ack(tuple, announced, now))
    }

    /// PAWS, as far as an entry can tell (RFC 7323 5.3).
    fn is_older_than_syn(&self, segment: &TcpHeader) -> bool {
        match (self.timestamps(), segment.options.timestamps) {
            (Some(recent), Some(timestamps)) => SeqNum::new(timestamps.tsval).before(SeqNum::new(recent)),
            _ => false,
        }
    }

    fn acknowledge(&mut self, tuple: &FourTuple, announced: &Announced, now: Timestamp) -> Answer {
        self.acks = self.acks.saturating_add(1);
        if self.acks > MAX_ACKS { Answer::Drop } else { Answer::Reply(self.ack(tuple, announced, now)) }
    }

    pub(super) fn syn_ack(&self, tuple: &FourTuple, announced: &Announced, now: Timestamp) -> TcpHeader {
        let mut header = self.ack(tuple, announced, now);
        header.seq = self.iss;
        header.flags = TcpFlags::SYN | TcpFlags::ACK | self.ecn_flags(announced);
        header.options.accurate_ecn = announced.ecn_option.filter(|_| self.tells_option());
        header.window = announced.window;
        // RFC 9293 3.7.1 MUST-14
        header.options.mss = Some(announced.advmss);
        // RFC 7323 2.2-1
        header.options.window_scale = self.scales.both().map(|(_, own)| own.get());
        // RFC 2018 2-1
        header.options.sack_permitted = self.said.has(Said::SACK);
        header
    }

    /// The option goes with the first SYN-ACK only, in case it is what does not come through (RFC 9768 3.2.3.2.2-1).
    fn tells_option(&self) -> bool {
        let first = self.phase == Phase::Answered(Answered::Once);
        self.said.ecn() == EcnFeedback::Accurate && first
    }

    /// A SYN-ACK that was sent twice in vain gives Accurate ECN up, in case that is what does not come through (RFC 9768 3.2.3.2.2).
    fn fell_back(&self, announced: &Announced) -> bool {
        self.said.has(Said::ACCURATE_ECN) && announced.ecn_fallback && self.losses() > 1
    }

    /// What of ECN a SYN-ACK says.
    fn ecn_flags(&self, announced: &Announced) -> TcpFlags {
        match self.fell_back(announced) {
            true => TcpFlags::EMPTY,
            false => syn_ack_flags(self.said.ecn(), self.said.field()),
        }
    }

    /// What the connection goes by. Who has heard, or said, that nothing was agreed on sends nothing that can be marked.
    fn agreed(&self, announced: &Announced) -> Ecn {
        let capable = !(self.said.has(Said::NOT_CAPABLE) || self.fell_back(announced));
        Ecn::agreed(self.said.ecn(), capable)
    }

    fn ack(&self, tuple: &FourTuple, announced: &Announced, now: Timestamp) -> TcpHeader {
        let tsval = timestamp_clock(now, announced.timestamp_offset);
        // RFC 7323 3.2-5
        let timestamps = self.timestamps().map(|tsecr| Timestamps { tsval, tsecr });
        let scale = self.scales.both().map_or(WindowScale::ZERO, |(_, own)| own);
        TcpHeader {
            src_port: tuple.local_port,
            dst_port: tuple.remote_port,
            seq: self.iss + 1,
            ack: self.irs + 1,
            flags: TcpFlags::ACK,
            window: scale.scale(u32::from(announced.window)),
            urgent: 0,
            options: TcpOptions { timestamps, ..TcpOptions::default() },
        }
    }

    /// What the connection needs to know that this becomes.
    pub(super) fn handshake(
        &self,
        announced: &Announced,
        timeout: impl Fn(u32) -> Duration,
        now: Timestamp,
    ) -> Handshake {
        let once = self.phase == Phase::Answered(Answered::Once);
        let retransmits = self.losses();
        let before = |waited: Duration| self.deadline.before(waited, now);
        // The timers may have been late: half of the first timeout is left to them.
        let since_first_timeout =
            (1..=retransmits).map(&timeout).fold(Duration::ZERO, Duration::saturating_add);
        let since_second = since_first_timeout.saturating_add(timeout(0) / 2);
        let again = retransmits > 0 && !self.is_deferred();
        Handshake {
            timestamp_offset: announced.timestamp_offset,
            irs: self.irs,
            announced_window: u32::from(announced.window),
            negotiated: Negotiated {
                peer_mss: Some(self.peer_mss).filter(|mss| *mss != 0),
                wscale: self.scales.both(),
                timestamps: self.timestamps(),
                sack: self.said.has(Said::SACK),
                ecn: self.agreed(announced),
            },
            answered_at: once.then(|| before(timeout(0))),
            retransmits,
            timed_out_at: again.then(|| before(since_first_timeout)),
            sent_again_after: again.then(|| before(since_second)),
        }
    }

    /// How the peer will scale its windows.
    pub(super) fn peer_scale(&self) -> WindowScale {
        self.scales.both().map_or(WindowScale::ZERO, |(peer, _)| peer)
    }

    /// What the peer's SYN said, for the user to decide by.
    pub(super) fn syn_options(&self) -> SynOptions {
        SynOptions {
            mss: Some(self.peer_mss).filter(|mss| *mss != 0),
            window_scale: self.scales.peer().map(WindowScale::get),
            timestamps: self.timestamps().is_some(),
            sack: self.said.has(Said::SACK),
            ecn: self.said.ecn(),
            seq: self.irs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple_slab::slot_sizes;

    // RFC 4987 3.5-1
    #[test]
    fn an_entry_takes_48_or_72_bytes() {
        assert_eq!(slot_sizes::<HalfOpen>(), (48, 72));
    }
}
