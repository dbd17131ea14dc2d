//! What SYN, SYN-ACK and the third segment say of ECN (RFC 3168 6.1.1, RFC 9768 3.1).

use ropeway_packet::{EcnCodepoint, TcpFlags};

use crate::ecn::EcnFeedback;

/// Both flags of RFC 3168.
const SETUP: TcpFlags = TcpFlags::from_ace(0b011);

// SHLD-8, RFC 3168 6.1.1-1, RFC 9768 3.1.1-1, RFC 3168 6.1.1-7
/// The flags of a SYN that asks for this.
pub(crate) fn syn_flags(asked: EcnFeedback) -> TcpFlags {
    match asked {
        EcnFeedback::None => TcpFlags::EMPTY,
        EcnFeedback::Classic => SETUP,
        EcnFeedback::Accurate => TcpFlags::ACE,
    }
}

// RFC 3168 6.1.1-5, RFC 3168 6.1.1-8
/// What a SYN gets that comes with these flags, in a packet with this field: no more than `most`.
///
/// RFC 3168 6.1.1: its packet cannot be marked. One that says it can has been changed on its way, and its flags may have been,
/// too. Accurate ECN tells the peer of that instead. RFC 9768 3.1.3-1: what is not known yet of AE, CWR and ECE asks for
/// Accurate ECN.
pub(crate) fn agree(most: EcnFeedback, syn: TcpFlags, ip: EcnCodepoint) -> EcnFeedback {
    let classic = syn.contains(SETUP) && ip == EcnCodepoint::NotEct;
    match (most, syn.ace()) {
        (EcnFeedback::Accurate, ace) if ace != 0b000 && ace != 0b011 => EcnFeedback::Accurate,
        (EcnFeedback::Classic | EcnFeedback::Accurate, _) if classic => EcnFeedback::Classic,
        _ => EcnFeedback::None,
    }
}

// RFC 3168 6.1.1-2, RFC 9768 3.1.2-1, RFC 3168 6.1.1-7
/// The flags of the SYN-ACK that agrees to this. `syn`: the field of the SYN's packet, which Accurate ECN reflects.
pub(crate) fn syn_ack_flags(agreed: EcnFeedback, syn: EcnCodepoint) -> TcpFlags {
    match agreed {
        EcnFeedback::None => TcpFlags::EMPTY,
        EcnFeedback::Classic => TcpFlags::ECE,
        EcnFeedback::Accurate => reflection(syn),
    }
}

// RFC 3168 6.1.1-6, RFC 3168 6.1.1-8
/// What a SYN-ACK with these flags agrees to. One that has all that our SYN had reflects it, and means nothing.
pub(crate) fn answered(asked: EcnFeedback, syn_ack: TcpFlags) -> EcnFeedback {
    match (asked, syn_ack.ace()) {
        // RFC 9768 3.1.2-2
        (EcnFeedback::Accurate, 0b000 | 0b111) | (EcnFeedback::None, _) => EcnFeedback::None,
        (EcnFeedback::Accurate, 0b001) => EcnFeedback::Classic,
        // RFC 9768 3.1.3-2: 0b101 is not in use yet, and counts as an agreement.
        (EcnFeedback::Accurate, _) => EcnFeedback::Accurate,
        (EcnFeedback::Classic, _) if syn_ack & SETUP == TcpFlags::ECE => EcnFeedback::Classic,
        (EcnFeedback::Classic, _) => EcnFeedback::None,
    }
}

/// How a handshake tells of the field that a packet came with (RFC 9768 3.1.1, 3.2.2.1).
pub(crate) const fn reflection(field: EcnCodepoint) -> TcpFlags {
    TcpFlags::from_ace(match field {
        EcnCodepoint::NotEct => 0b010,
        EcnCodepoint::Ect1 => 0b011,
        EcnCodepoint::Ect0 => 0b100,
        EcnCodepoint::Ce => 0b110,
    })
}

/// What a handshake tells of a packet of ours that nobody may have marked or changed (RFC 9768 3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It came as it was sent; or nothing is told of it.
    Unchanged,
    /// Something on the way has made it one that can be marked.
    Changed,
    /// It came with a mark.
    Marked,
    /// The flags do not come through, or the peer does not count after all.
    Nothing,
}

impl Told {
    pub(crate) fn of(flags: TcpFlags) -> Self {
        match flags.ace() {
            0b000 => Self::Nothing,
            0b011 | 0b100 => Self::Changed,
            0b110 => Self::Marked,
            _ => Self::Unchanged,
        }
    }
}

/// Whether the third segment of a handshake that nobody remembers shows that Accurate ECN was agreed on (RFC 9768 5.1).
pub(crate) fn shows_accurate(third: TcpFlags) -> bool {
    third.ace() > 0b001
}
