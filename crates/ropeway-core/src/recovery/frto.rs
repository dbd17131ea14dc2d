//! F-RTO: was a retransmission timeout spurious? With SACK (RFC 5682 3.1) and without (2.1).

use ropeway_packet::SeqNum;

use super::News;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Frto {
    /// There was no timeout, or nothing can be known of it.
    #[default]
    Off,
    /// The first acknowledgement after the timeout is awaited, or the second.
    Waiting,
    /// The first has come: until the next one only new data is sent (step 2.b).
    NewData,
}

/// What an acknowledgement says of the timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// What was thought to be lost is arriving (step 3.b).
    Spurious,
    /// New data goes out, and its acknowledgement will tell (step 2.b).
    Undecided,
    /// Nothing speaks against it.
    Real,
}

impl Frto {
    /// The timer went off.
    pub(super) fn begin(&mut self, enabled: bool) {
        *self = if enabled { Self::Waiting } else { Self::Off };
    }

    // RFC 5682 2.1-7, RFC 5682 3.1-3, RFC 5682 3.1-4
    // RFC 5682 2.1-2, RFC 5682 2.1-3, RFC 5682 2.1-4, RFC 5682 2.1-5, RFC 5682 3.1-1, RFC 5682 3.1-2
    /// An acknowledgement after the timeout. `high`: the recovery point, which rises when new data is to be sent.
    pub(super) fn on_ack(&mut self, news: &News, sack: bool, high: &mut SeqNum) -> Verdict {
        if *self == Self::Off {
            return Verdict::Real;
        }
        // Without SACK what was sent once may have arrived before the timeout, and only be acknowledged now: the second
        // acknowledgement tells.
        let second = news.nxt.after(*high);
        if news.original && (sack || second) {
            return Verdict::Spurious;
        }
        if second {
            // Step 3.a
            if news.sacked > 0 || news.duplicate {
                *self = Self::Off;
            }
        } else if news.acked > 0 && !news.una.at_or_after(*high) {
            *high = news.nxt;
            // Step 2.b
            *self = if news.can_send_new { Self::NewData } else { Self::Off };
            if *self == Self::NewData {
                return Verdict::Undecided;
            }
        }
        if *self == Self::NewData {
            *self = Self::Waiting;
        }
        Verdict::Real
    }
}
