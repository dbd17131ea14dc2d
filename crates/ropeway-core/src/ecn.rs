//! Explicit Congestion Notification, as users ask for it and are told of it.

/// Whether connections use Explicit Congestion Notification (RFC 3168; `tcp_ecn`).
///
/// Routers then mark packets instead of dropping them, and the sender slows down as if one was lost: by less, as RFC 8511
/// has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EcnMode {
    /// Neither asked for nor agreed to (0 in Linux).
    Off,
    /// Asked for, and agreed to (1).
    On,
    /// Agreed to when the peer asks (2).
    #[default]
    WhenAsked,
}

impl EcnMode {
    /// The mode of this number in Linux's `net.ipv4.tcp_ecn`.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Off,
            1 => Self::On,
            2 => Self::WhenAsked,
            _ => return None,
        })
    }

    /// What an active open asks for.
    pub(crate) const fn asks_for(self) -> EcnFeedback {
        match self {
            Self::On => EcnFeedback::Classic,
            Self::Off | Self::WhenAsked => EcnFeedback::None,
        }
    }

    /// The most that a passive open agrees to.
    pub(crate) const fn agrees_to(self) -> EcnFeedback {
        match self {
            Self::Off => EcnFeedback::None,
            Self::On | Self::WhenAsked => EcnFeedback::Classic,
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
}
