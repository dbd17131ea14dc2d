//! Explicit Congestion Notification between the ends of one connection (RFC 3168, RFC 9768): what they have agreed on, what
//! the peer is told of, and which packets may be marked.

pub(crate) mod accurate;
pub(crate) mod handshake;
pub(crate) mod option;

use ropeway_packet::{EcnCodepoint, TcpFlags};

use crate::ecn::EcnFeedback;

/// What a connection knows of ECN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ecn {
    feedback: EcnFeedback,
    bits: u8,
    /// How often an echo has reduced the window, if all that was ever delivered was echoed.
    echoed: u8,
}

/// After so many round trips in which everything was marked, it is not congestion that marks (RFC 9768 3.2.2.3-2).
pub(crate) const MARKED_ROUNDS: u8 = 4;

impl Ecn {
    /// A mark has arrived: ECE goes with every segment until the peer answers with CWR.
    const ECHOES: u8 = 1;
    /// The window was reduced: CWR goes with the next new data.
    const REDUCED: u8 = 1 << 1;
    /// What is sent must not be marked: the path, or the peer, may not stand it.
    const NOT_CAPABLE: u8 = 1 << 2;
    /// The peer has sent what may be marked.
    const SEEN: u8 = 1 << 3;
    /// What may be marked says so as L4S does (RFC 9331).
    const ECT1: u8 = 1 << 4;
    /// The next ACK without data tells of the SYN-ACK's packet (RFC 9768 3.2.2.1).
    const REFLECTS: u8 = 1 << 5;
    /// Something was delivered that was not echoed.
    const UNMARKED: u8 = 1 << 7;
    /// What the peer feeds back is not believed.
    const DEAF: u8 = 1 << 6;

    fn has(self, bit: u8) -> bool {
        self.bits & bit != 0
    }

    fn set(&mut self, bit: u8, on: bool) {
        self.bits = if on { self.bits | bit } else { self.bits & !bit };
    }

    /// What the handshake has come to. `capable`: what is sent may be marked.
    pub(crate) fn agreed(feedback: EcnFeedback, capable: bool) -> Self {
        let mut new = Self { feedback, bits: 0, echoed: 0 };
        new.set(Self::NOT_CAPABLE, !capable);
        new
    }

    #[inline]
    pub(crate) fn feedback(self) -> EcnFeedback {
        self.feedback
    }

    #[inline]
    pub(crate) fn is_on(self) -> bool {
        self.feedback != EcnFeedback::None
    }

    /// The peer has sent something that may be marked.
    pub(crate) fn was_seen(self) -> bool {
        self.has(Self::SEEN)
    }

    pub(crate) fn use_ect1(&mut self, wanted: bool) {
        self.set(Self::ECT1, wanted && self.feedback == EcnFeedback::Accurate);
    }

    /// Nothing of ours is to be marked any more.
    pub(crate) fn distrust_path(&mut self) {
        self.set(Self::NOT_CAPABLE, true);
    }

    /// Nor does what is fed back count; but what arrives is still told of.
    pub(crate) fn distrust_all(&mut self) {
        self.distrust_path();
        self.set(Self::DEAF, true);
    }

    pub(crate) fn heeds_feedback(self) -> bool {
        self.feedback == EcnFeedback::Accurate && !self.has(Self::DEAF) && !self.has(Self::NOT_CAPABLE)
    }

    /// A SYN-ACK has come.
    pub(crate) fn reflect(&mut self) {
        self.set(Self::REFLECTS, true);
    }

    /// Whether an ACK of the SYN-ACK is to go before any data.
    #[inline]
    pub(crate) fn reflects(self) -> bool {
        self.has(Self::REFLECTS)
    }

    /// The ACK of a SYN-ACK is sent, if there is one to send.
    pub(crate) fn take_reflection(&mut self) -> bool {
        let reflects = self.reflects();
        self.set(Self::REFLECTS, false);
        reflects
    }

    // ---- what arrives

    /// A packet has come with this field.
    pub(crate) fn saw(&mut self, ip: EcnCodepoint) {
        if ip != EcnCodepoint::NotEct {
            self.set(Self::SEEN, true);
        }
    }

    // RFC 3168 6.1.3-2
    /// A segment has arrived in the window. Says whether it is to be acknowledged at once.
    ///
    /// RFC 3168 6.1.3-1: the echo of a mark lasts until CWR comes. A sender that has just reduced its window may have no more
    /// than a segment in flight, so neither waits.
    pub(crate) fn segment_arrives(&mut self, ip: EcnCodepoint, flags: TcpFlags, has_data: bool) -> bool {
        self.saw(ip);
        let answered = flags.contains(TcpFlags::CWR);
        if answered {
            self.set(Self::ECHOES, false);
        }
        let marked = ip == EcnCodepoint::Ce && has_data;
        let begins = marked && !self.has(Self::ECHOES);
        if marked {
            self.set(Self::ECHOES, true);
        }
        begins || (answered && has_data)
    }

    /// Whether an acknowledgement echoes a mark that was not answered yet. Until the peer has seen our CWR, it repeats the echo.
    pub(crate) fn is_echo(self, flags: TcpFlags) -> bool {
        let stops = self.has(Self::REDUCED) || self.has(Self::DEAF);
        self.feedback == EcnFeedback::Classic && flags.contains(TcpFlags::ECE) && !stops
    }

    /// An acknowledgement of something new has come with these flags, and an echo in it has `reduced` the window. Says whether echoes are
    /// congestion: a box that sets ECE, or marks all packets, would keep the window at its least for ever. RFC 9768 3.2.2.3-2 has that
    /// for its counters; here a round trip is a reduction.
    pub(crate) fn believes_echo(&mut self, flags: TcpFlags, reduced: bool) -> bool {
        if !flags.contains(TcpFlags::ECE) {
            self.set(Self::UNMARKED, true);
        }
        self.echoed = self.echoed.saturating_add(u8::from(reduced));
        self.has(Self::UNMARKED) || self.echoed <= MARKED_ROUNDS
    }

    // ---- what is sent

    /// The congestion window was reduced, for whatever reason (RFC 3168 6.1.2-3).
    pub(crate) fn on_reduced(&mut self) {
        if self.feedback == EcnFeedback::Classic {
            self.set(Self::REDUCED, true);
        }
    }

    /// The reduction was undone.
    pub(crate) fn on_undone(&mut self) {
        self.set(Self::REDUCED, false);
    }

    /// The flags of a segment without data, or with data that was sent before.
    #[inline]
    pub(crate) fn flags(self) -> TcpFlags {
        if self.has(Self::ECHOES) { TcpFlags::ECE } else { TcpFlags::EMPTY }
    }

    /// New data is sent (RFC 3168 6.1.2-2). Its flags, besides [`flags`](Self::flags).
    #[inline]
    pub(crate) fn data_sent(&mut self) -> TcpFlags {
        if self.has(Self::REDUCED) {
            self.set(Self::REDUCED, false);
            return TcpFlags::CWR;
        }
        TcpFlags::EMPTY
    }

    // RFC 3168 6.1.2-5
    /// What the packet of new data says to routers. Everything else is not to be marked: acknowledgements
    /// (RFC 3168 6.1.4-1), retransmissions (RFC 3168 6.1.5-1), probes of the window (RFC 3168 6.1.6-1), and what has SYN
    /// (RFC 3168 6.1.1-3) or RST.
    #[inline]
    pub(crate) fn codepoint_of_data(self) -> EcnCodepoint {
        match self.feedback {
            EcnFeedback::None => EcnCodepoint::NotEct,
            _ if self.has(Self::NOT_CAPABLE) => EcnCodepoint::NotEct,
            _ if self.has(Self::ECT1) => EcnCodepoint::Ect1,
            _ => EcnCodepoint::Ect0,
        }
    }

    /// The same of any other packet but those with SYN or RST. Where marks on it are counted, it may be marked, too: RFC 8311 4.3 lets
    /// experiments do so (draft-ietf-tcpm-generalized-ecn), and Linux does.
    #[inline]
    pub(crate) fn codepoint_of_rest(self) -> EcnCodepoint {
        match self.feedback {
            EcnFeedback::Accurate => self.codepoint_of_data(),
            _ => EcnCodepoint::NotEct,
        }
    }
}
