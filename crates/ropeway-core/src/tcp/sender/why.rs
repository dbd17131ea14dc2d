//! Why a segment is sent that is not simply the next one.

/// The mechanism that asked for a retransmission or a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Something that was sent later has arrived (RFC 8985).
    Rack,
    /// SACK blocks behind it (RFC 6675 4).
    Sack,
    /// Duplicate acknowledgements (RFC 5681 3.2).
    Duplicates,
    /// A partial acknowledgement (RFC 6582 3.2).
    PartialAck,
    /// The retransmission timer went off (RFC 6298 5).
    Timeout,
    /// The same, and the peer has dropped what it had reported (RFC 2018 5).
    Reneging,
    /// It was too big for the path (RFC 1191 6.5).
    PathMtu,
    /// It is larger than others, to find out whether the path takes it (RFC 4821).
    MtuProbe,
    /// The tail is probed (RFC 8985 7).
    TailProbe,
    /// It came with a SYN, and was not acknowledged with it (RFC 7413 4.2.2).
    FastOpen,
    /// A closed window is probed (RFC 9293 3.8.6.1), or what has probed it goes out anew.
    WindowProbe,
    /// An idle peer is asked whether it is there (RFC 9293 3.8.4).
    KeepAlive,
}

impl Why {
    /// As [`events`](crate::events) tell it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rack => "rack",
            Self::Sack => "sack",
            Self::Duplicates => "dupack",
            Self::PartialAck => "partial_ack",
            Self::Timeout => "rto",
            Self::Reneging => "reneging",
            Self::PathMtu => "pmtu",
            Self::MtuProbe => "mtu_probe",
            Self::TailProbe => "tlp",
            Self::FastOpen => "fast_open",
            Self::WindowProbe => "window_probe",
            Self::KeepAlive => "keep_alive",
        }
    }
}
