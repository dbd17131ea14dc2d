//! Explicit Congestion Notification, as users ask for it and are told of it.

/// Whether connections use Explicit Congestion Notification, and which feedback (`tcp_ecn`).
///
/// Routers then mark packets instead of dropping them, and the sender slows down as if one was lost: by less, as RFC 8511
/// has it. With Accurate ECN (RFC 9768) it is told of every mark, where RFC 3168 tells of one in a round trip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EcnMode {
    /// Neither asked for nor agreed to (0 in Linux).
    Off,
    /// Asked for, and agreed to (1).
    On,
    /// Agreed to when the peer asks (2). Linux's default, too.
    #[default]
    WhenAsked,
    /// Accurate ECN is asked for, and agreed to; RFC 3168 if the peer has no other (3).
    Accurate,
    /// ECN of RFC 3168 is asked for; Accurate ECN, too, is agreed to (4).
    OnOrAccurateWhenAsked,
    /// Accurate ECN, or that of RFC 3168, is agreed to when the peer asks (5).
    AccurateWhenAsked,
}

impl EcnMode {
    /// The mode of this number in Linux's `net.ipv4.tcp_ecn`.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Off,
            1 => Self::On,
            2 => Self::WhenAsked,
            3 => Self::Accurate,
            4 => Self::OnOrAccurateWhenAsked,
            5 => Self::AccurateWhenAsked,
            _ => return None,
        })
    }

    /// What an active open asks for.
    pub(crate) const fn asks_for(self) -> EcnFeedback {
        match self {
            Self::Accurate => EcnFeedback::Accurate,
            Self::On | Self::OnOrAccurateWhenAsked => EcnFeedback::Classic,
            Self::Off | Self::WhenAsked | Self::AccurateWhenAsked => EcnFeedback::None,
        }
    }

    /// The most that a passive open agrees to.
    pub(crate) const fn agrees_to(self) -> EcnFeedback {
        match self {
            Self::Off => EcnFeedback::None,
            Self::On | Self::WhenAsked => EcnFeedback::Classic,
            Self::Accurate | Self::OnOrAccurateWhenAsked | Self::AccurateWhenAsked => EcnFeedback::Accurate,
        }
    }
}

/// When the option of Accurate ECN is sent (`tcp_ecn_option`). Its counters of bytes tell what three bits in the header cannot
/// when acknowledgements are few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EcnOption {
    /// Never (0 in Linux).
    Off,
    /// In the handshake, and in acknowledgements without data when a counter has changed, or now and then (1).
    Least,
    /// In every segment that has room for it, once the peer's has been seen (2): segments of data are shorter by 12 bytes.
    #[default]
    Full,
}

impl EcnOption {
    /// The value of this number in Linux's `net.ipv4.tcp_ecn_option`.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Off),
            1 => Some(Self::Least),
            2 => Some(Self::Full),
            _ => None,
        }
    }
}

/// How both ends of a connection tell each other of marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EcnFeedback {
    /// Not at all: ECN is not in use.
    #[default]
    None,
    /// By an echo that lasts until it is answered (RFC 3168 6.1).
    Classic,
    /// By counters (RFC 9768).
    Accurate,
}
