//! Proportional rate reduction (RFC 9937): how much may be sent during a recovery.

/// The state of one recovery, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prr {
    /// `prr_delivered`
    delivered: u64,
    /// `prr_out`
    out: u64,
    /// `RecoverFS`
    recover_fs: u32,
    /// `cwnd`: what may be in flight now.
    window: u32,
}

impl Prr {
    pub(super) const NONE: Self = Self { delivered: 0, out: 0, recover_fs: 0, window: 0 };

    // RFC 9937 6.1-1
    /// Recovery begins (RFC 9937 6.1). `flight_size`: SND.NXT - SND.UNA, less what had been reported before.
    pub(crate) fn begin(&mut self, flight_size: u32, window: u32) {
        *self = Self { delivered: 0, out: 0, recover_fs: flight_size.max(1), window };
    }

    // RFC 9937 6.2-1, RFC 9937 6.2-2, RFC 9937 6.2-3, RFC 9937 6.2-4
    /// An acknowledgement in recovery (RFC 9937 6.2). `safe_ack`: SND.UNA has moved, and no more losses were found.
    pub(crate) fn on_ack(&mut self, delivered: u32, pipe: u32, ssthresh: u32, mss: u32, safe_ack: bool) {
        self.delivered += u64::from(delivered);
        let mut count = if pipe > ssthresh {
            // Rounded up to a segment: a part of one cannot be sent.
            let mss = u64::from(mss);
            let share = self.delivered.saturating_mul(u64::from(ssthresh));
            let target = share.div_ceil(u64::from(self.recover_fs) * mss) * mss;
            target.saturating_sub(self.out)
        } else {
            let mut count = self.delivered.saturating_sub(self.out).max(u64::from(delivered));
            if safe_ack {
                count += u64::from(mss);
            }
            count.min(u64::from(ssthresh - pipe))
        };
        // The first retransmission goes out at once.
        if self.out == 0 {
            count = count.max(u64::from(mss));
        }
        self.window = pipe.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Nothing has been sent in this recovery.
    pub(crate) fn is_new(&self) -> bool {
        self.out == 0
    }

    /// At least so much may be in flight.
    pub(crate) fn allow(&mut self, window: u32) {
        self.window = self.window.max(window);
    }

    pub(crate) fn on_sent(&mut self, len: u32) {
        self.out += u64::from(len);
    }

    /// What may be in flight now.
    pub(crate) fn window(&self) -> u32 {
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    /// What goes out on each of so many acknowledgements of one segment: a retransmission as long as there is something lost,
    /// new data after, a dot for nothing. And what is in flight at the end.
    fn run(cwnd: u32, ssthresh: u32, mut due: u32, acks: u32) -> (String, u32) {
        let mut prr = Prr::default();
        let mut pipe = (cwnd - due) * MSS;
        let mut sent = Vec::new();
        for ack in 1..=acks {
            pipe -= MSS;
            // Limited transmit: until the third duplicate nothing is known to be lost.
            if ack < 3 {
                pipe += MSS;
                sent.push("N");
                continue;
            }
            if ack == 3 {
                prr.begin((cwnd + 2) * MSS - 2 * MSS, cwnd * MSS);
            }
            prr.on_ack(MSS, pipe, ssthresh * MSS, MSS, false);
            if pipe + MSS > prr.window() {
                sent.push(".");
                continue;
            }
            pipe += MSS;
            prr.on_sent(MSS);
            sent.push(if due > 0 { "R" } else { "N" });
            due = due.saturating_sub(1);
            assert!(pipe + MSS > prr.window(), "one segment at a time");
        }
        (sent.join(" "), pipe / MSS)
    }

    // RFC 9937 6.1-1, RFC 9937 6.2-1
    // RFC 6937 3.1, by the rules of RFC 9937: one loss of twenty, and the threshold is half.
    #[test]
    fn one_loss_halves_the_rate_and_ends_at_the_threshold() {
        let (sent, pipe) = run(20, 10, 1, 19);
        assert_eq!(sent, "N N R . N . N . N . N . N . N . N . .");
        assert_eq!(pipe, 10);
    }

    // RFC 9937 6.2-2
    // RFC 6937 3.1: the first fifteen of twenty are lost: what arrives lets as much go, and no more.
    #[test]
    fn many_losses_conserve_packets() {
        let (sent, pipe) = run(20, 10, 15, 5);
        assert_eq!(sent, "N N R R R");
        assert_eq!(pipe, 5);
    }

    // RFC 9937 6.2-3
    // RFC 9937 6.2: an acknowledgement that brings progress and no news of losses lets one segment more go.
    #[test]
    fn a_safe_acknowledgement_lets_one_more_go() {
        let mut prr = Prr::default();
        prr.begin(20 * MSS, 10 * MSS);
        prr.on_ack(MSS, 4 * MSS, 10 * MSS, MSS, false);
        assert_eq!(prr.window(), 5 * MSS);
        prr.on_sent(MSS);
        prr.on_ack(2 * MSS, 3 * MSS, 10 * MSS, MSS, true);
        assert_eq!(prr.window(), 6 * MSS);
    }
}
