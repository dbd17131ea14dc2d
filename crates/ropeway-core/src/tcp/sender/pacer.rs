//! How fast segments follow each other: a bucket that what is sent fills, and that runs out at the rate.
//!
//! Acknowledgements pace by themselves as long as they come one by one. The bucket holds two initial windows, so it
//! binds only what would leave as a longer burst: after idle time, after a stretch acknowledgement, after a recovery. Where
//! the controller paces, it holds the controller's quantum.

use std::time::Duration;

use crate::congestion::Controller;
use crate::time::Timestamp;

/// Linux's `tcp_pacing_ss_ratio` and `tcp_pacing_ca_ratio`, in percent.
const SLOW_START_RATIO: u64 = 200;
const AVOIDANCE_RATIO: u64 = 120;

/// Segments that may go out at once: an initial window (RFC 9002 7.7).
const BURST_SEGMENTS: u64 = 10;

/// In slow start, as many as follow when one segment acknowledges an initial window.
const SLOW_START_BURST_SEGMENTS: u64 = 20;

/// A timer ticks in milliseconds: what may be sent in two of them goes out at once, or the rate could not be reached.
const BURST_MILLIS: u64 = 2;

/// Who has waited sends this long's worth: neither a timer nor a wakeup for each packet.
const QUANTUM_MILLIS: u64 = 1;

/// The level is kept in millionths of a byte: a rate times microseconds.
const BYTE: u64 = 1_000_000;

/// A terabyte a second. What is faster is not paced.
const FASTEST: u64 = 1 << 40;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pacer {
    /// Bytes a second; 0: as fast as may be.
    rate: u64,
    /// What is in the bucket: sent, and not run out yet.
    level: u64,
    /// When the level was looked at, in microseconds.
    at: u64,
}

impl Pacer {
    /// Bytes a second, if there is a rate.
    pub(crate) fn rate(&self) -> Option<u64> {
        Some(self.rate).filter(|rate| *rate > 0)
    }

    /// The rate at which the window is sent in a round trip, and somewhat more, so that the window stays the limit.
    pub(crate) fn rate_of(window: u32, ssthresh: u32, srtt: Option<Duration>) -> Option<u64> {
        let micros = srtt.map(|srtt| srtt.as_micros()).filter(|micros| *micros > 0)?;
        let ratio = if window < ssthresh / 2 { SLOW_START_RATIO } else { AVOIDANCE_RATIO };
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        Some((u64::from(window) * ratio * 10_000 / micros).max(1))
    }

    pub(crate) fn set_rate(&mut self, now: Timestamp, rate: Option<u64>, most: Option<u64>) {
        self.run_out(now);
        self.rate = match (rate, most) {
            (Some(rate), Some(most)) => rate.min(most).clamp(1, FASTEST),
            (Some(rate), None) | (None, Some(rate)) => rate.clamp(1, FASTEST),
            (None, None) => 0,
        };
    }

    fn run_out(&mut self, now: Timestamp) {
        let now = now.as_micros();
        self.level = self.level.saturating_sub(self.rate.saturating_mul(now.saturating_sub(self.at)));
        self.at = now;
    }

    /// What the rate brings in so many milliseconds, or these segments if that is more.
    fn worth(&self, millis: u64, segments: u64, mss: u32) -> u64 {
        (self.rate * millis * 1000).max(segments * u64::from(mss) * BYTE)
    }

    /// What may go out at once: the controller's quantum, if it has one, and what a late timer has missed.
    fn burst(&self, mss: u32, control: &dyn Controller) -> u64 {
        match control.quantum() {
            Some(quantum) => self.worth(BURST_MILLIS, 1, mss) + u64::from(quantum) * BYTE,
            None if control.window() < control.ssthresh() => {
                self.worth(BURST_MILLIS, SLOW_START_BURST_SEGMENTS, mss)
            }
            None => self.worth(BURST_MILLIS, BURST_SEGMENTS, mss),
        }
    }

    /// When the next segment may be sent, if that is not now. By then, several may.
    pub(crate) fn waits_until(
        &mut self,
        now: Timestamp,
        mss: u32,
        control: &dyn Controller,
    ) -> Option<Timestamp> {
        if self.rate == 0 {
            return None;
        }
        self.run_out(now);
        // Whatever the controller says, this may.
        if self.level == 0 {
            return None;
        }
        let burst = self.burst(mss, control);
        if self.level < burst {
            return None;
        }
        let quantum = match control.quantum() {
            Some(quantum) => u64::from(quantum.max(1)) * BYTE,
            None => self.worth(QUANTUM_MILLIS, 2, mss),
        };
        let wait = (self.level - burst).saturating_add(quantum.min(burst)).div_ceil(self.rate);
        Some(Timestamp::from_micros(now.as_micros().saturating_add(wait.max(1))))
    }

    /// How many bytes may go at once, after `waits_until` has let one segment go: as many whole segments as it would.
    pub(crate) fn room(&self, mss: u32, control: &dyn Controller) -> u32 {
        if self.rate == 0 {
            return u32::MAX;
        }
        let room = self.burst(mss, control).saturating_sub(self.level);
        let mss = u64::from(mss.max(1));
        u32::try_from(room.div_ceil(mss * BYTE) * mss).unwrap_or(u32::MAX)
    }

    pub(crate) fn on_sent(&mut self, now: Timestamp, len: u32) {
        if self.rate > 0 {
            self.run_out(now);
            self.level = self.level.saturating_add(u64::from(len) * BYTE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::{CongestionEvent, Delivery};

    const MSS: u32 = 1000;
    const SLOW_START: Control = Control { slow_start: true, quantum: None };

    #[derive(Clone, Copy, Debug)]
    struct Control {
        slow_start: bool,
        quantum: Option<u32>,
    }

    impl Controller for Control {
        fn window(&self) -> u32 {
            10 * MSS
        }

        fn ssthresh(&self) -> u32 {
            if self.slow_start { u32::MAX } else { 10 * MSS }
        }

        fn quantum(&self) -> Option<u32> {
            self.quantum
        }

        fn on_ack(&mut self, _delivery: &Delivery) {}

        fn on_congestion(&mut self, _event: &CongestionEvent) {}

        fn on_mss_change(&mut self, _mss: u32) {}

        fn boxed(&self) -> Box<dyn Controller> {
            Box::new(*self)
        }
    }

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(1_000_000 + micros)
    }

    /// When each of `count` segments leaves that want to leave at once.
    fn departures(pacer: &mut Pacer, count: usize, control: Control) -> Vec<u64> {
        let mut now = 0;
        let mut sent = Vec::new();
        while sent.len() < count {
            match pacer.waits_until(at(now), MSS, &control) {
                Some(later) => now = later.as_micros() - 1_000_000,
                None => {
                    pacer.on_sent(at(now), MSS);
                    sent.push(now);
                }
            }
        }
        sent
    }

    #[test]
    fn a_burst_is_ten_segments_or_twenty_and_the_rest_follows_at_the_rate_by_twos() {
        for (slow_start, burst) in [(false, 10), (true, 20)] {
            let mut pacer = Pacer::default();
            pacer.set_rate(at(0), Some(1_000_000), None);
            let sent = departures(&mut pacer, burst + 6, Control { slow_start, quantum: None });
            assert!(sent[..burst].iter().all(|at| *at == 0));
            assert_eq!(sent[burst..], [2000, 2000, 4000, 4000, 6000, 6000]);
        }
    }

    #[test]
    fn a_controllers_quantum_is_the_burst_with_what_two_milliseconds_bring() {
        for (rate, first, then) in [(1_000_000, 5, 3), (10_000_000, 23, 3)] {
            let mut pacer = Pacer::default();
            pacer.set_rate(at(0), Some(rate), None);
            let sent = departures(&mut pacer, 40, Control { slow_start: true, quantum: Some(3 * MSS) });
            assert_eq!(sent.iter().filter(|at| **at == 0).count(), first);
            let next = sent[first];
            assert_eq!(next, 3_000_000_000 / rate, "as much as a quantum has run out");
            assert_eq!(sent.iter().filter(|at| **at == next).count(), then);
        }
    }

    #[test]
    fn at_a_gigabyte_a_second_a_tick_brings_what_a_millisecond_takes() {
        let mut pacer = Pacer::default();
        pacer.set_rate(at(0), Some(1_000_000_000), None);
        let sent = departures(&mut pacer, 5000, SLOW_START);
        assert_eq!(sent.iter().filter(|at| **at == 0).count(), 2000);
        assert_eq!(sent.iter().filter(|at| **at == 1000).count(), 1000);
    }

    #[test]
    fn the_rate_is_twice_the_windows_in_slow_start_and_a_fifth_more_later() {
        let srtt = Some(Duration::from_millis(100));
        assert_eq!(Pacer::rate_of(10_000, u32::MAX, srtt), Some(200_000));
        assert_eq!(Pacer::rate_of(10_000, 12_000, srtt), Some(120_000));
        assert_eq!(Pacer::rate_of(10_000, 12_000, None), None);
        assert_eq!(Pacer::rate_of(10_000, 12_000, Some(Duration::ZERO)), None);
    }

    // What was sent while the rate was low is a debt of bytes, not of time.
    #[test]
    fn a_rate_that_rises_is_not_held_back_by_the_one_before() {
        let mut pacer = Pacer::default();
        pacer.set_rate(at(0), Some(1000), None);
        for _ in 0..20 {
            pacer.on_sent(at(0), MSS);
        }
        assert_eq!(pacer.waits_until(at(0), MSS, &SLOW_START), Some(at(2_000_000)));
        pacer.set_rate(at(0), Some(1_000_000), None);
        assert_eq!(pacer.waits_until(at(0), MSS, &SLOW_START), Some(at(2000)));
    }

    #[test]
    fn the_users_limit_holds_with_and_without_a_rate() {
        let mut pacer = Pacer::default();
        pacer.set_rate(at(0), None, Some(5));
        assert_eq!(pacer.rate(), Some(5));
        pacer.set_rate(at(0), Some(10), Some(5));
        assert_eq!(pacer.rate(), Some(5));
        pacer.set_rate(at(0), None, None);
        assert_eq!((pacer.rate(), pacer.waits_until(at(0), MSS, &SLOW_START)), (None, None));
    }
}
