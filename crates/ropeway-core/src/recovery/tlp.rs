//! Tail loss probes (RFC 8985 7): when nothing is heard, the last segment goes out again, so that something is.

use std::time::Duration;

use ropeway_packet::SeqNum;

use crate::time::Timestamp;

/// How long a receiver may keep an acknowledgement back, at the worst: WCDelAckT (RFC 8985 7.2).
const WORST_DELAYED_ACK: Duration = Duration::from_millis(200);

/// Before there is a round-trip sample (RFC 8985 7.2).
const WITHOUT_SAMPLE: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tlp {
    /// `TLP.end_seq`, while a probe is out: SND.NXT when it was sent.
    end: Option<SeqNum>,
    /// `TLP.is_retrans`: it was no new data.
    is_retrans: bool,
}

/// What an acknowledgement says of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeAnswer {
    /// Nothing, or nothing bad.
    Nothing,
    /// The probe has repaired a loss (RFC 8985 7.4).
    Repaired,
}

impl Tlp {
    pub(super) const NONE: Self = Self { end: None, is_retrans: false };

    pub(crate) fn is_out(&self) -> bool {
        self.end.is_some()
    }

    pub(crate) fn end(&self) -> Option<SeqNum> {
        self.end
    }

    // RFC 8985 7.2-1
    /// PTO (RFC 8985 7.2). `lone`: one segment is in flight, and its acknowledgement may be delayed.
    pub(crate) fn timeout(srtt: Option<Duration>, lone: bool, granularity: Duration) -> Duration {
        let Some(srtt) = srtt else { return WITHOUT_SAMPLE };
        2 * srtt + if lone { WORST_DELAYED_ACK } else { 2 * granularity }
    }

    pub(crate) fn on_sent(&mut self, nxt: SeqNum, is_retrans: bool) {
        self.end = Some(nxt);
        self.is_retrans = is_retrans;
    }

    pub(crate) fn forget(&mut self) {
        self.end = None;
    }

    // RFC 8985 7.4.2-1, RFC 8985 7.4.2-2
    /// RFC 8985 7.4.2. `dsack`: it reports that the probe arrived twice. `bare`: it brings no news at all.
    pub(crate) fn on_ack(&mut self, ack: SeqNum, dsack: bool, bare: bool) -> ProbeAnswer {
        // It has repaired nothing, even if something before it is missing: the loss of a probe of the path's MTU begins no
        // recovery that would end this.
        if dsack {
            self.end = None;
        }
        let Some(end) = self.end.filter(|end| ack.at_or_after(*end)) else { return ProbeAnswer::Nothing };
        if !self.is_retrans {
            self.end = None;
        } else if ack.after(end) {
            self.end = None;
            return ProbeAnswer::Repaired;
        } else if bare {
            // Both copies have arrived.
            self.end = None;
        }
        ProbeAnswer::Nothing
    }
}

// RFC 8985 7.2-2
/// When the probe is due: not after the retransmission timer, whose place it takes then (RFC 8985 7.2).
pub(crate) fn deadline(now: Timestamp, timeout: Duration, rto_at: Option<Timestamp>) -> Timestamp {
    let at = now + timeout;
    rto_at.map_or(at, |rto| rto.min(at))
}
