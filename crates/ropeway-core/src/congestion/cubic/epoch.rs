//! A congestion avoidance stage: the cubic curve, and what Reno would have by now.

use std::time::Duration;

use crate::time::{Timestamp, micros};

/// *α_cubic* is 3 (1 - β) / (1 + β) = 9/17: the numerators of it and of Reno's 1.
const ALPHA: u64 = 9;
const ALPHA_RENO: u64 = 17;

/// The curve's unit of time: 2^20 a second.
const TICK_BITS: u32 = 20;

/// More than an hour from the plateau, the curve is beyond every window.
const FAR: u64 = 1 << (TICK_BITS + 12);

#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch {
    /// *t*, in microseconds: time in which the window was used.
    elapsed: u64,
    /// Until when time is counted.
    counted: Timestamp,
    /// *K*, in ticks: how long it takes to get to the plateau.
    k: u32,
    /// The plateau, in bytes: *W_max*, or the first window if that is more.
    plateau: u32,
    /// *W_est*, in bytes.
    w_est: u32,
    /// Fractions of a byte by which the curve's window has grown, in units of 1 / cwnd.
    curve_credit: u32,
    /// Likewise *W_est*, in units of 1 / (17 cwnd).
    reno_credit: u64,
}

impl Epoch {
    // RFC 9438 4.8-2
    pub(super) fn new(now: Timestamp, cwnd: u32, w_max: Option<u32>, mss: u32) -> Self {
        let plateau = w_max.map_or(cwnd, |w_max| w_max.max(cwnd));
        Self {
            elapsed: 0,
            counted: now,
            k: time_to_climb(plateau - cwnd, mss),
            plateau,
            w_est: cwnd,
            curve_credit: 0,
            reno_credit: 0,
        }
    }

    /// Counts the time until now.
    pub(super) fn advance(&mut self, now: Timestamp) {
        self.elapsed = self.elapsed.saturating_add(micros(now.since(self.counted)));
        self.counted = now;
    }

    // RFC 9438 4.2-3
    /// Does not count it (RFC 9438 4.2: *t* leaves out what the application did not use).
    pub(super) fn skip(&mut self, now: Timestamp) {
        self.counted = now;
    }

    // RFC 9438 4.2-2, RFC 9438 4.4-1, RFC 9438 4.3-1, RFC 9438 4.5-1
    /// The window after an acknowledgement of so many bytes (RFC 9438 4.2 to 4.5).
    pub(super) fn window(&mut self, acked: u32, cwnd: u32, cwnd_prior: u32, rtt: Duration, mss: u32) -> u32 {
        let acked = acked.min(cwnd);
        self.advance_reno(acked, cwnd, cwnd_prior, mss);
        if self.curve(Duration::ZERO, mss) < self.w_est {
            self.curve_credit = 0;
            return self.w_est;
        }
        // Never down, and never faster than slow start.
        let target = self.curve(rtt, mss).clamp(cwnd, cwnd.saturating_add(cwnd / 2));
        let credit = u64::from(self.curve_credit) + u64::from(acked) * u64::from(target - cwnd);
        self.curve_credit = saturate(credit % u64::from(cwnd));
        cwnd.saturating_add(saturate(credit / u64::from(cwnd))).min(target)
    }

    // RFC 9438 4.3-1, RFC 9438 4.3-2
    /// RFC 9438 4.3: *W_est* grows by α segments for each window that is acknowledged.
    fn advance_reno(&mut self, acked: u32, cwnd: u32, cwnd_prior: u32, mss: u32) {
        let alpha = if self.w_est < cwnd_prior { ALPHA } else { ALPHA_RENO };
        let unit = ALPHA_RENO * u64::from(cwnd);
        self.reno_credit += alpha * u64::from(acked) * u64::from(mss);
        self.w_est = self.w_est.saturating_add(saturate(self.reno_credit / unit));
        self.reno_credit %= unit;
    }

    // RFC 9438 4.2-1
    /// *W_cubic(t + ahead)*, in bytes, and no less than 0.
    fn curve(&self, ahead: Duration, mss: u32) -> u32 {
        let t = ticks(self.elapsed.saturating_add(micros(ahead)));
        let k = u64::from(self.k);
        let distance = climb(t.abs_diff(k), mss);
        if t < k { self.plateau.saturating_sub(distance) } else { self.plateau.saturating_add(distance) }
    }
}

// RFC 9438 5.1-1
/// C t^3 with C = 2/5, in bytes.
fn climb(t: u64, mss: u32) -> u32 {
    let t = u128::from(t.min(FAR));
    let fifths = (t * t * t * u128::from(2 * mss)) >> (3 * TICK_BITS);
    u32::try_from(fifths / 5).unwrap_or(u32::MAX)
}

/// How many ticks it takes to climb so many bytes: the cube root of bytes / (C mss).
fn time_to_climb(bytes: u32, mss: u32) -> u32 {
    saturate(cube_root((u128::from(bytes) * 5) << (3 * TICK_BITS), u128::from(2 * mss)))
}

/// The integer cube root of `n / d`, `n / d` being less than 2^99.
fn cube_root(n: u128, d: u128) -> u64 {
    let n = n / d.max(1);
    let mut root = 0u128;
    for bit in (0..33).rev() {
        let next = root | 1 << bit;
        if next * next * next <= n {
            root = next;
        }
    }
    u64::try_from(root).unwrap_or(u64::MAX)
}

fn ticks(micros: u64) -> u64 {
    // 2^20 / 10^6 = 16384 / 15625
    micros.min(2 * FAR) * 16_384 / 15_625
}

fn saturate(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cube_root_is_exact() {
        for root in [0u128, 1, 2, 3, 10, 1 << 20, (1 << 33) - 2] {
            let cube = root * root * root;
            for (n, expected) in
                [(cube, root), (cube + 1, root), ((root + 1) * (root + 1) * (root + 1) - 1, root)]
            {
                // Between 0 and 1 there is no room.
                assert_eq!(u128::from(cube_root(n, 1)), if n == 1 { 1 } else { expected }, "{n}");
            }
        }
    }

    // RFC 9438 4.2-1, RFC 9438 5.1-1
    #[test]
    fn the_curve_is_a_cubic_with_its_plateau_at_k() {
        // 300 segments above the first window: K is the cube root of 750, 9.086 s.
        let mss = 1000;
        let mut epoch = Epoch::new(Timestamp::START, 700 * mss, Some(1000 * mss), mss);
        for (seconds, segments) in
            [(0, 700), (1, 788), (5, 972), (8, 999), (10, 1000), (12, 1009), (20, 1520)]
        {
            epoch.elapsed = seconds * 1_000_000;
            assert_eq!(epoch.curve(Duration::ZERO, mss) / mss, segments, "after {seconds} s");
        }
    }

    #[test]
    fn a_curve_that_goes_on_for_days_stays_within_its_numbers() {
        for mss in [1, 65_535] {
            for w_max in [1, 1 << 30, u32::MAX] {
                let mut epoch = Epoch::new(Timestamp::START, 1, Some(w_max), mss);
                assert!(epoch.curve(Duration::ZERO, mss) <= 8 * mss, "mss {mss}, W_max {w_max}");
                epoch.elapsed = 30 * 86_400 * 1_000_000;
                assert_eq!(epoch.curve(Duration::ZERO, mss), u32::MAX);
                epoch.elapsed = u64::MAX;
                assert_eq!(epoch.curve(Duration::MAX, mss), u32::MAX);
            }
        }
    }
}
