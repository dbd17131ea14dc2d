//! Loss recovery decides what is lost and may be sent again; how much may be in flight,
//! [`congestion`](crate::congestion) says.

pub(crate) mod rto;

use ropeway_packet::SeqNum;

/// Duplicate acknowledgements that mean a loss (RFC 5681 3.2).
const DUP_THRESH: u32 = 3;

/// What an acknowledgement means for recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckOutcome {
    /// No recovery was under way.
    Normal,
    /// Some of what was lost has arrived, and the next hole is known (RFC 6582 3.2 (3), partial).
    Partial {
        /// The first one of this recovery: only it restarts the retransmission timer.
        first: bool,
    },
    /// All that was outstanding when recovery began has arrived.
    Recovered,
}

/// Fast retransmit and fast recovery of RFC 6582, with the limited transmit of RFC 3042.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    duplicates: u32,
    /// `recover` of RFC 6582: the highest sequence number sent when the last loss was noticed.
    recover: SeqNum,
    fast: bool,
    partial_seen: bool,
    /// The segment at SND.UNA is to be sent again now.
    resend: bool,
    /// Where the last one that was ended: as long as SND.UNA is before it, it is on its way.
    resent_until: SeqNum,
    /// What the window is inflated by: each duplicate acknowledgement says that a segment left the network.
    inflation: u32,
}

impl Recovery {
    pub(crate) fn new(iss: SeqNum) -> Self {
        Self {
            duplicates: 0,
            recover: iss,
            fast: false,
            partial_seen: false,
            resend: false,
            resent_until: iss,
            inflation: 0,
        }
    }

    /// Bytes that may be in flight beyond the congestion window.
    pub(crate) fn allowance(&self, mss: u32) -> u32 {
        if self.fast {
            self.inflation
        } else {
            // RFC 3042: one new segment for each of the first two duplicates.
            self.duplicates.min(DUP_THRESH - 1) * mss
        }
    }

    /// Whether the segment at SND.UNA is to be sent again.
    pub(crate) fn resend_due(&self) -> bool {
        self.resend
    }

    /// The segment at SND.UNA has been sent again, up to `until`.
    pub(crate) fn resend_done(&mut self, until: SeqNum) {
        self.resend = false;
        self.resent_until = until;
    }

    /// A duplicate acknowledgement (RFC 5681 2). Says whether a loss is to be assumed from now on.
    pub(crate) fn on_duplicate_ack(&mut self, una: SeqNum, max: SeqNum, mss: u32) -> bool {
        self.duplicates = self.duplicates.saturating_add(1);
        if self.fast {
            // No more than was outstanding can have left the network: who sends more duplicates lies (RFC 5681 3.2,
            // RFC 5681 5).
            let outstanding = self.recover.since(una);
            self.inflation = self.inflation.saturating_add(mss).min(outstanding.max(self.inflation));
            return false;
        }
        // RFC 6582 3.2 (2): only when more than `recover` is acknowledged; duplicates of what a timeout made
        // us send again mean nothing.
        if self.duplicates != DUP_THRESH || !una.after(self.recover) {
            return false;
        }
        self.fast = true;
        self.partial_seen = false;
        self.recover = max;
        self.resend = true;
        self.resent_until = una;
        self.inflation = DUP_THRESH * mss;
        true
    }

    /// `una` has moved forward by `acked` bytes.
    pub(crate) fn on_ack(&mut self, una: SeqNum, acked: u32, mss: u32) -> AckOutcome {
        self.duplicates = 0;
        self.resend = false;
        if !self.fast {
            if una.after(self.recover) {
                // It must not fall behind by half the sequence space.
                self.recover = una - 1;
            }
            return AckOutcome::Normal;
        }
        if una.at_or_after(self.recover) {
            self.fast = false;
            self.inflation = 0;
            return AckOutcome::Recovered;
        }
        // An acknowledgement of a part of what was resent tells of no other hole: whoever acknowledges byte by byte
        // does not get a segment for each.
        self.resend = una.at_or_after(self.resent_until);
        self.inflation = self.inflation.saturating_sub(acked);
        if acked >= mss {
            self.inflation = self.inflation.saturating_add(mss);
        }
        let first = !std::mem::replace(&mut self.partial_seen, true);
        AckOutcome::Partial { first }
    }

    /// Everything outstanding, up to `max`, is sent anew: the retransmission timer went off, or the packets were too big.
    pub(crate) fn begin_anew(&mut self, max: SeqNum) {
        self.duplicates = 0;
        self.fast = false;
        self.inflation = 0;
        self.resend = false;
        self.recover = max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    #[test]
    fn third_duplicate_resends_once_and_partial_acks_walk_the_holes() {
        let una = SeqNum::new(5000);
        let max = una + 10 * MSS;
        let mut recovery = Recovery::new(una - 1);
        assert!(!recovery.on_duplicate_ack(una, max, MSS));
        assert!(!recovery.on_duplicate_ack(una, max, MSS));
        assert_eq!(recovery.allowance(MSS), 2 * MSS);
        assert!(recovery.on_duplicate_ack(una, max, MSS));
        assert!(recovery.resend_due());
        recovery.resend_done(una + MSS);
        assert!(!recovery.on_duplicate_ack(una, max, MSS));
        assert!(!recovery.resend_due());
        assert_eq!(recovery.on_ack(una + 3 * MSS, 3 * MSS, MSS), AckOutcome::Partial { first: true });
        assert!(recovery.resend_due());
        assert_eq!(recovery.on_ack(una + 5 * MSS, 2 * MSS, MSS), AckOutcome::Partial { first: false });
        assert_eq!(recovery.on_ack(max, 5 * MSS, MSS), AckOutcome::Recovered);
        assert_eq!(recovery.allowance(MSS), 0);
    }

    #[test]
    fn duplicates_after_a_timeout_do_not_start_recovery() {
        let una = SeqNum::new(5000);
        let max = una + 10 * MSS;
        let mut recovery = Recovery::new(una - 1);
        recovery.begin_anew(max);
        for _ in 0..10 {
            assert!(!recovery.on_duplicate_ack(una, max, MSS));
        }
        assert_eq!(recovery.on_ack(max, 10 * MSS, MSS), AckOutcome::Normal);
    }
}
