//! What SYN and SYN-ACK say of ECN (RFC 3168 6.1.1).

use ropeway_packet::{EcnCodepoint, TcpFlags};

use crate::ecn::EcnFeedback;

/// Both flags of RFC 3168.
const SETUP: TcpFlags = TcpFlags::from_ace(0b011);

// SHLD-8, RFC 3168 6.1.1-1
/// The flags of a SYN that asks for this.
pub(crate) fn syn_flags(asked: EcnFeedback) -> TcpFlags {
    match asked {
        EcnFeedback::None => TcpFlags::EMPTY,
        EcnFeedback::Classic => SETUP,
    }
}

/// What a SYN gets that comes with these flags, in a packet with this field: no more than `most`.
///
/// RFC 3168 6.1.1: its packet cannot be marked. One that says it can has been changed on its way, and its flags may have been,
/// too.
pub(crate) fn agree(most: EcnFeedback, syn: TcpFlags, ip: EcnCodepoint) -> EcnFeedback {
    let classic = syn.contains(SETUP) && ip == EcnCodepoint::NotEct;
    match most {
        EcnFeedback::Classic if classic => EcnFeedback::Classic,
        _ => EcnFeedback::None,
    }
}

// RFC 3168 6.1.1-2
/// The flags of the SYN-ACK that agrees to this.
pub(crate) fn syn_ack_flags(agreed: EcnFeedback) -> TcpFlags {
    match agreed {
        EcnFeedback::None => TcpFlags::EMPTY,
        EcnFeedback::Classic => TcpFlags::ECE,
    }
}

/// What a SYN-ACK with these flags agrees to. One that has both reflects our SYN, and means nothing.
pub(crate) fn answered(asked: EcnFeedback, syn_ack: TcpFlags) -> EcnFeedback {
    let agrees = syn_ack & SETUP == TcpFlags::ECE;
    match asked {
        EcnFeedback::Classic if agrees => EcnFeedback::Classic,
        _ => EcnFeedback::None,
    }
}
