//! Explicit Congestion Notification, as a connection uses it (RFC 3168, RFC 9768).

use ropeway_packet::{AccurateEcn, EcnCodepoint, SackBlocks, SeqNum, TcpFlags};

use super::segment_arrives::Arrival;
use super::{Connection, Env};
use crate::ecn::{EcnFeedback, EcnOption};
use crate::tcp::ecn::Ecn;
use crate::tcp::ecn::accurate::{Accurate, Trust};
use crate::tcp::ecn::handshake::Told;
use crate::tcp::ecn::option::OptionUse;
use crate::tcp::sender::{AckNews, Acked, Signal};
use crate::time::Timestamp;

/// The bytes that a header has for options, and those that timestamps take of them.
const OPTION_SPACE: usize = 40;
const TIMESTAMPS: usize = 12;

/// The bytes that the option of Accurate ECN takes, with its padding.
const LONGEST: u16 = 12;

impl Connection {
    /// Both SYNs have agreed on this. `field`: that of the SYN-ACK's packet, if it was the peer's.
    pub(super) fn begin_ecn(&mut self, ecn: Ecn, field: EcnCodepoint) {
        self.ecn = ecn;
        self.ecn.use_ect1(self.options.congestion.wants_ect1());
        if ecn.feedback() == EcnFeedback::Accurate {
            let option = OptionUse::new(self.options.ecn_option, self.options.ecn_option_beacon);
            self.rare.accurate = Some(Box::new(Accurate::new(field, self.sender.snd().iss, option)));
        }
    }

    fn accurate_mut(&mut self) -> Option<&mut Accurate> {
        match self.ecn.feedback() {
            EcnFeedback::Accurate => self.rare.accurate.as_deref_mut(),
            _ => None,
        }
    }

    pub(super) fn accurate(&self) -> Option<&Accurate> {
        self.rare.accurate.as_deref()
    }

    // ---- the handshake

    /// The peer's SYN-ACK has agreed to Accurate ECN. What it tells of our SYN, that is what may become of our data; and the pure ACK of
    /// it tells of its own packet.
    pub(super) fn take_syn_ack(&mut self, segment: &Arrival, env: &mut Env<'_>) {
        if self.ecn.feedback() != EcnFeedback::Accurate {
            return;
        }
        self.ecn.reflect();
        let marked = segment.ecn == EcnCodepoint::Ce;
        if let Some(accurate) = self.accurate_mut() {
            accurate.syn_ack = segment.ecn;
            // RFC 9768 3.2.2.2-2
            accurate.received.marked = u32::from(marked);
        }
        match Told::of(segment.header.flags) {
            Told::Unchanged | Told::Nothing => {}
            Told::Changed => self.distrust_path(),
            Told::Marked => {
                self.distrust_path();
                self.sender.on_handshake_marked(env.now);
            }
        }
        self.see_option(segment.header.options.accurate_ecn, env.now);
    }

    /// A SYN-ACK comes again, and is challenged: its own packet is told of, as the first one's was (RFC 9768 3.2.2.1-2).
    #[cold]
    #[inline(never)]
    pub(super) fn take_syn_ack_again(&mut self, segment: &Arrival) {
        let again = segment.header.flags.contains(TcpFlags::ACK)
            && segment.header.seq == self.receiver.rcv().irs
            && self.state().is_synchronized();
        if again && let Some(accurate) = self.accurate_mut() {
            accurate.syn_ack = segment.ecn;
            self.ecn.reflect();
        }
    }

    /// The first segment after our SYN-ACK: without data, it tells what has become of that (RFC 9768 3.2.2.1-3).
    pub(super) fn take_third_segment(&mut self, segment: &Arrival, env: &mut Env<'_>) {
        if self.ecn.feedback() != EcnFeedback::Accurate || segment.unscaled {
            return;
        }
        let plain = segment.payload.is_empty()
            && !segment.header.flags.contains(TcpFlags::FIN)
            && segment.header.options.sack == SackBlocks::EMPTY;
        match Told::of(segment.header.flags) {
            _ if !plain => {}
            Told::Unchanged => {}
            Told::Nothing => self.ecn.distrust_all(),
            Told::Changed => self.distrust_path(),
            Told::Marked => {
                self.distrust_path();
                if let Some(accurate) = self.accurate_mut() {
                    accurate.delivered.marked = 1;
                }
                self.sender.on_handshake_marked(env.now);
            }
        }
    }

    /// Something on the way changes what cannot be marked: nothing of ours is to be marked (RFC 9768 3.2.2.3-1).
    fn distrust_path(&mut self) {
        if self.options.ecn_fallback {
            self.ecn.distrust_path();
        }
    }

    // ---- what arrives

    /// What its packet says of congestion counts, now that it is known to be the peer's (RFC 3168 6.1.5-2). `len`: how much data it
    /// came with.
    #[inline]
    pub(super) fn note_marks(&mut self, segment: &Arrival, len: usize, now: Timestamp) {
        if self.ecn.is_on() {
            self.note_marks_of(segment, len, now);
        }
    }

    #[inline(never)]
    fn note_marks_of(&mut self, segment: &Arrival, len: usize, now: Timestamp) {
        let at_once = match self.ecn.feedback() {
            EcnFeedback::None => false,
            EcnFeedback::Classic => {
                self.ecn.segment_arrives(segment.ecn, segment.header.flags, !segment.payload.is_empty())
            }
            EcnFeedback::Accurate => self.count_marks(segment, len, now),
        };
        if at_once {
            self.ack_now();
        }
    }

    fn count_marks(&mut self, segment: &Arrival, len: usize, now: Timestamp) -> bool {
        self.ecn.saw(segment.ecn);
        let (packets, _) = segment.cut();
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let answers = (self.receiver.owes_ack(), self.receiver.uses_sack());
        self.see_option(segment.header.options.accurate_ecn, now);
        let Some(accurate) = self.accurate_mut() else { return false };
        if len > 0 {
            accurate.option.came_on();
        }
        accurate.arrives(segment.ecn, packets, len, answers)
    }

    /// Data that has come before: it counts as what is new does, if it is the peer's.
    #[cold]
    pub(super) fn note_marks_of_old(&mut self, segment: &Arrival, now: Timestamp) {
        if self.ecn.feedback() != EcnFeedback::Accurate || !self.is_recent_ack(segment) {
            return;
        }
        let (packets, _) = segment.cut();
        let len = u32::try_from(segment.payload.len()).unwrap_or(u32::MAX);
        let Some(accurate) = self.accurate_mut() else { return };
        let gives_up = accurate.option.came_again();
        accurate.arrives(segment.ecn, packets, len, (true, true));
        if gives_up {
            self.update_mss(now);
        }
    }

    /// The option is seen for the first time: ours has room in each segment from now on.
    fn see_option(&mut self, option: Option<AccurateEcn>, now: Timestamp) {
        if option.is_some() && self.accurate_mut().is_some_and(|accurate| accurate.option.see(option)) {
            self.update_mss(now);
        }
    }

    // ---- what acknowledgements tell

    /// What an acknowledgement tells of marks.
    #[inline]
    pub(super) fn signal(&self, segment: &Arrival) -> Signal {
        if self.ecn.is_on() { self.signal_in(segment) } else { Signal::None }
    }

    #[inline(never)]
    fn signal_in(&self, segment: &Arrival) -> Signal {
        if self.ecn.is_echo(segment.header.flags) {
            return Signal::Echo;
        }
        let heeds = self.ecn.heeds_feedback() && !segment.unscaled;
        match self.accurate().filter(|_| heeds) {
            Some(accurate) => Signal::Counted {
                feedback: accurate.read(segment.header.flags, segment.header.options.accurate_ecn),
                fresh: self.has_newer_timestamp(segment) && !self.may_reflect(segment),
            },
            None => Signal::None,
        }
    }

    /// Whether it may be the answer to a SYN-ACK that came again, and so tell of that one's packet instead of what is counted
    /// (RFC 9768 3.2.2.1-2). If it is not, the next one tells the same.
    fn may_reflect(&self, segment: &Arrival) -> bool {
        let header = &segment.header;
        let of_syn_ack = header.ack == self.sender.snd().iss + 1 && segment.payload.is_empty();
        of_syn_ack && header.options.sack == SackBlocks::EMPTY
    }

    /// An acknowledgement that acknowledges nothing new may be older than others, unless its timestamp is newer.
    fn has_newer_timestamp(&self, segment: &Arrival) -> bool {
        let timestamps = self.timestamps.as_ref().zip(segment.header.options.timestamps);
        timestamps.is_some_and(|(state, theirs)| SeqNum::new(theirs.tsval).after(SeqNum::new(state.recent)))
    }

    /// What an acknowledgement means for ECN: the peer is told of a reduction (RFC 3168 6.1.2).
    #[inline]
    pub(super) fn note_feedback(
        &mut self,
        acked: &Acked,
        news: &AckNews,
        segment: &Arrival,
        env: &mut Env<'_>,
    ) {
        if self.ecn.is_on() {
            env.counters.delivered_ce += u64::from(acked.marked);
            self.take_feedback(acked, news, segment);
        }
    }

    #[inline(never)]
    fn take_feedback(&mut self, acked: &Acked, news: &AckNews, segment: &Arrival) {
        let flags = segment.header.flags;
        if self.ecn.feedback() == EcnFeedback::Classic && acked.delivered > 0 {
            let reduced = news.signal == Signal::Echo && acked.outcome.reduced;
            if !self.ecn.believes_echo(flags, reduced) && self.options.ecn_fallback {
                self.ecn.distrust_all();
            }
        }
        match news.signal {
            Signal::None => {}
            Signal::Echo if acked.marked > 0 => {
                self.rare.delivered_ce = self.rare.delivered_ce.wrapping_add(acked.marked);
            }
            Signal::Echo => {}
            Signal::Counted { feedback, fresh } if acked.delivered > 0 || fresh => {
                let option = segment.header.options.accurate_ecn;
                let ends = (self.sender.snd().una, self.sender.snd().nxt);
                let counts = (acked.marked, acked.delivered);
                let trust = self
                    .accurate_mut()
                    .map(|accurate| accurate.take((feedback, flags, option), counts, ends));
                match trust {
                    Some(Trust::None) if self.options.ecn_fallback => self.ecn.distrust_all(),
                    Some(Trust::Feedback) => self.distrust_path(),
                    _ => {}
                }
            }
            Signal::Counted { .. } => {}
        }
        if acked.outcome.undone {
            self.ecn.on_undone();
        } else if acked.outcome.reduced {
            self.ecn.on_reduced();
        }
    }

    // ---- what is sent

    /// The flags and the option of a segment with so much data that has room for so many SACK blocks; and how many of these are left.
    /// `pure`: it is nothing but an acknowledgement.
    #[inline(never)]
    pub(super) fn feed_back(
        &mut self,
        pure: bool,
        len: usize,
        blocks: usize,
        now: Timestamp,
    ) -> (TcpFlags, Option<AccurateEcn>, usize) {
        if self.ecn.feedback() == EcnFeedback::Classic {
            return (self.ecn.flags(), None, blocks);
        }
        let blocks = blocks.min(self.receiver.sack_count());
        let reflects = pure && self.ecn.take_reflection();
        let room = OPTION_SPACE - if self.timestamps.is_some() { TIMESTAMPS } else { 0 };
        let srtt = self.sender.rto().srtt();
        let Some(accurate) = self.accurate_mut() else { return (TcpFlags::EMPTY, None, blocks) };
        let flags = accurate.flags(reflects);
        let due = accurate.option.is_due(len > 0, now, srtt);
        let fits = due.then(|| accurate.option.fit(room, blocks)).flatten();
        let (counters, blocks) = fits.map_or((None, blocks), |(counters, blocks)| (Some(counters), blocks));
        accurate.option.sent(counters.is_some(), now);
        (flags, counters.map(|counters| accurate.option(counters)), blocks)
    }

    /// The option of a SYN-ACK of ours in a simultaneous open.
    pub(super) fn option_of_syn_ack(&self) -> Option<AccurateEcn> {
        let wanted = self.options.ecn_option != EcnOption::Off;
        self.accurate().filter(|_| wanted).map(|accurate| accurate.option(AccurateEcn::MAX))
    }

    /// How much shorter segments of data are for the sake of the option (RFC 9768 3.2.3).
    pub(super) fn room_for_ecn(&self) -> u16 {
        let has = self.accurate().is_some_and(|accurate| accurate.option.goes_with_data());
        if has { LONGEST } else { 0 }
    }
}
