//! The counters of Accurate ECN (RFC 9768 3.2): what has arrived here, and what the peer says has arrived there.

use ropeway_packet::{AccurateEcn, EcnCodepoint, EcnOrder, SeqNum, TcpFlags};

use super::MARKED_ROUNDS;
use super::option::OptionUse;

/// RFC 9768 3.2.1: what the counter of packets begins with, and those of bytes but for CE.
const FIRST_CEP: u32 = 5;

/// Packets with a mark, and bytes of data in packets with each field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) marked: u32,
    pub(crate) e1_bytes: u32,
    pub(crate) ce_bytes: u32,
    pub(crate) e0_bytes: u32,
}

/// The option before anything has arrived.
pub(crate) fn first_option() -> AccurateEcn {
    option_of(&Counters::default(), AccurateEcn::MAX)
}

/// The option with so many counters, in Linux's order: ECT(1) first.
fn option_of(counters: &Counters, count: usize) -> AccurateEcn {
    let Counters { e1_bytes, ce_bytes, e0_bytes, .. } = counters;
    let all = [e1_bytes.wrapping_add(1), *ce_bytes, e0_bytes.wrapping_add(1)];
    AccurateEcn::new(EcnOrder::Ect1First, all.get(..count).unwrap_or_default())
}

/// What few connections have: both ends count marks.
#[derive(Clone, Debug)]
pub(crate) struct Accurate {
    /// `r.cep` and its neighbours, from 0.
    pub(crate) received: Counters,
    /// `s.cep` and its neighbours, from 0.
    pub(crate) delivered: Counters,
    /// What the last packet said.
    last: EcnCodepoint,
    /// The field of the latest SYN-ACK, which the pure ACK of it reflects.
    pub(crate) syn_ack: EcnCodepoint,
    /// Packets with a mark since our last acknowledgement.
    untold: u32,
    /// Nothing was fed back yet.
    first: bool,
    pub(crate) option: OptionUse,
    rounds: Rounds,
    /// How many segments an acknowledgement is for, on the average, in [`PER_ACK`]ths.
    per_ack: u16,
}

/// The unit of that average, of which each acknowledgement moves it by a sixteenth.
const PER_ACK: u16 = 64;

/// An acknowledgement for more segments than this is no sign of one that was lost where they all are: the peer, or an interface
/// before it, takes several at once. Linux has the same bound.
const FEW_ACKS: u16 = 4 * PER_ACK;

/// RFC 9768 3.2.2.3: whether all that was ever sent arrived with a mark, and for how many round trips.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rounds {
    all_marked: bool,
    count: u8,
    end: SeqNum,
}

/// A mark that is told of in an acknowledgement, as far as it can be read by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Feedback {
    /// The least number of packets that the bits of ACE can mean.
    pub(crate) least: u32,
    /// Bytes with a mark, if the option tells.
    pub(crate) ce_bytes: Option<u32>,
    /// Nothing was fed back before: the bits cannot have come round.
    pub(crate) first: bool,
    /// Acknowledgements are for many segments anyway.
    pub(crate) few_acks: bool,
}

/// ACE counts modulo this.
const ACE: u32 = 8;

impl Feedback {
    /// How many packets had a mark (RFC 9768 3.2.2.5.2-1, appendix A.2): if so many segments arrived that the bits may have come round, as
    /// many as that can be; unless the option knows better, or acknowledgements are few anyway. `segments` have arrived.
    pub(crate) fn packets(&self, segments: u32, mss: u32) -> u32 {
        if segments < ACE || self.first {
            return self.least;
        }
        let most = segments - (segments.wrapping_sub(self.least) % ACE);
        let Some(bytes) = self.ce_bytes else { return if self.few_acks { self.least } else { most } };
        let likely = bytes.div_ceil(mss.max(1));
        let more = likely.saturating_sub(self.least).saturating_add(ACE / 2 - 1) / ACE * ACE;
        most.min(self.least.saturating_add(more))
    }
}

impl Accurate {
    pub(crate) fn new(syn_ack: EcnCodepoint, iss: SeqNum, option: OptionUse) -> Self {
        Self {
            received: Counters::default(),
            delivered: Counters::default(),
            last: EcnCodepoint::NotEct,
            syn_ack,
            untold: 0,
            first: true,
            option,
            rounds: Rounds { all_marked: true, count: 0, end: iss + 1 },
            per_ack: 0,
        }
    }

    // ---- what arrives

    /// So many packets have arrived (RFC 9768 3.2-1), with so much data in all (RFC 9768 3.2-2). Says whether an acknowledgement is due
    /// (RFC 9768 3.2.2.5.1-1, RFC 9768 3.2.2.5.1-2). `waits`: data waits to be acknowledged. `may_answer`: an acknowledgement
    /// of acknowledgements is not taken for a duplicate.
    pub(crate) fn arrives(
        &mut self,
        field: EcnCodepoint,
        packets: u32,
        len: u32,
        (waits, may_answer): (bool, bool),
    ) -> bool {
        let changes = field != self.last && len > 0;
        self.last = field;
        let received = &mut self.received;
        let bytes = match field {
            EcnCodepoint::NotEct => return changes,
            EcnCodepoint::Ect1 => &mut received.e1_bytes,
            EcnCodepoint::Ect0 => &mut received.e0_bytes,
            EcnCodepoint::Ce => &mut received.ce_bytes,
        };
        let before = *bytes;
        *bytes = bytes.wrapping_add(len);
        if len > 0 {
            self.option.changed(field, before, *bytes);
        }
        if field == EcnCodepoint::Ce {
            received.marked = received.marked.wrapping_add(packets);
            self.untold = self.untold.saturating_add(packets);
        }
        let waits = waits || len > 0;
        changes || (self.untold >= 2 && waits) || (self.untold >= 3 && may_answer)
    }

    // ---- what is told

    /// ACE of a segment that is sent now. `handshake`: it is the pure ACK of a SYN-ACK (RFC 9768 3.2.2.1-1).
    pub(crate) fn flags(&mut self, handshake: bool) -> TcpFlags {
        if handshake {
            return super::handshake::reflection(self.syn_ack);
        }
        self.untold = 0;
        // RFC 9768 3.2.2.2-1
        let [.., ace] = FIRST_CEP.wrapping_add(self.received.marked).to_be_bytes();
        TcpFlags::from_ace(ace)
    }

    /// The option with so many counters.
    pub(crate) fn option(&self, counters: usize) -> AccurateEcn {
        option_of(&self.received, counters)
    }

    // ---- what the peer tells

    /// What an acknowledgement says that is not older than another one.
    pub(crate) fn read(&self, flags: TcpFlags, option: Option<AccurateEcn>) -> Feedback {
        let option = option.filter(|_| self.option.is_believed());
        let known = FIRST_CEP.wrapping_add(self.delivered.marked);
        Feedback {
            least: u32::from(flags.ace()).wrapping_sub(known) % ACE,
            ce_bytes: option.and_then(|option| option.ceb()).map(|ceb| moved(ceb, self.delivered.ce_bytes)),
            first: self.first,
            few_acks: self.per_ack > FEW_ACKS,
        }
    }

    /// An acknowledgement was taken that said `feedback`: `packets` had a mark, of `segments` that have arrived. Says what follows for the
    /// packets that are sent from now on.
    pub(crate) fn take(
        &mut self,
        (feedback, flags, option): (Feedback, TcpFlags, Option<AccurateEcn>),
        (packets, segments): (u32, u32),
        (una, nxt): (SeqNum, SeqNum),
    ) -> Trust {
        let first = std::mem::take(&mut self.first);
        self.count_acknowledgement(segments);
        let delivered = &mut self.delivered;
        delivered.marked = delivered.marked.wrapping_add(packets);
        if let Some(option) = option.filter(|_| self.option.is_believed()) {
            let advance = |counter: &mut u32, field: Option<u32>, first: u32| {
                if let Some(field) = field {
                    *counter = counter.wrapping_add(moved(field.wrapping_sub(first), *counter));
                }
            };
            advance(&mut delivered.e0_bytes, option.e0b(), 1);
            advance(&mut delivered.ce_bytes, option.ceb(), 0);
            advance(&mut delivered.e1_bytes, option.e1b(), 1);
        }
        // RFC 9768 3.2.2.4-1
        if first && flags.ace() == 0 {
            return Trust::None;
        }
        // The first feedback is told by three bits alone.
        let all = if first { packets % ACE == segments % ACE } else { packets >= segments };
        self.rounds.all_marked &= segments == 0 || all;
        if self.rounds.all_marked && una.after(self.rounds.end) {
            self.rounds.end = nxt;
            self.rounds.count = self.rounds.count.saturating_add(1);
            // RFC 9768 3.2.2.3-2
            if self.rounds.count > MARKED_ROUNDS {
                return Trust::None;
            }
        }
        // RFC 9768 3.2.3.2.5-1: bytes had marks, and no packet had.
        let contradicts = packets == 0 && segments < ACE && feedback.ce_bytes.is_some_and(|bytes| bytes > 0);
        if contradicts { Trust::Feedback } else { Trust::Path }
    }
}

impl Accurate {
    fn count_acknowledgement(&mut self, segments: u32) {
        let Some(segments) = u16::try_from(segments).ok().filter(|&segments| segments > 0) else { return };
        let seen = segments.min(u16::MAX / PER_ACK) * PER_ACK;
        self.per_ack = if self.per_ack == 0 { seen } else { self.per_ack - self.per_ack / 16 + seen / 16 };
    }
}

/// What the counters say of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// It leaves marks as they are.
    Path,
    /// What is fed back counts, but nothing of ours is to be marked.
    Feedback,
    /// What is fed back is not to be believed.
    None,
}

/// By how much a counter of 24 bits has moved forward. What would be back is from before.
fn moved(field: u32, known: u32) -> u32 {
    let delta = field.wrapping_sub(known) & 0x00ff_ffff;
    if delta < 1 << 23 { delta } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feedback(least: u32, ce_bytes: Option<u32>, first: bool) -> Feedback {
        Feedback { least, ce_bytes, first, few_acks: false }
    }

    // RFC 9768 3.2.2.5.2-1
    #[test]
    fn the_bits_may_have_come_round_if_that_many_segments_arrived() {
        for (least, segments, most) in
            [(0, 7, 0), (7, 7, 7), (0, 8, 8), (1, 8, 1), (0, 9, 8), (1, 10, 9), (2, 10, 10), (3, 40, 35)]
        {
            assert_eq!(feedback(least, None, false).packets(segments, 1000), most, "{least} of {segments}");
        }
        // The first feedback of all.
        assert_eq!(feedback(0, None, true).packets(10, 1000), 0);
        // Each is for many.
        assert_eq!(Feedback { few_acks: true, ..feedback(1, None, false) }.packets(10, 1000), 1);
    }

    #[test]
    fn the_option_tells_how_often_they_came_round() {
        for (least, bytes, packets) in
            [(0, 0, 0), (1, 1000, 1), (1, 9000, 9), (1, 17_000, 17), (0, 16_000, 16), (0, 100, 0)]
        {
            let told = feedback(least, Some(bytes), false);
            assert_eq!(told.packets(17, 1000), packets, "{least} and {bytes} bytes");
        }
    }

    #[test]
    fn counters_of_24_bits_come_round_and_do_not_go_back() {
        assert_eq!(moved(5, 3), 2);
        assert_eq!(moved(1, 0x00ff_ffff), 2);
        assert_eq!(moved(1, 0x01ff_ffff), 2);
        assert_eq!(moved(2, 3), 0);
    }
}
