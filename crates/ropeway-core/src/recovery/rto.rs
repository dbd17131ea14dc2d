//! The retransmission timeout (RFC 6298).

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::{GRANULARITY, StackConfig};
use crate::options::SocketOptions;
use crate::time::{Timestamp, micros};

/// How long the smallest round trip counts (`tcp_min_rtt_wlen`).
const MIN_RTT_WINDOW: Duration = Duration::from_secs(300);

/// The estimator of RFC 6298 with its backoff. All times have microsecond resolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rto {
    /// Round trips are in microseconds; one of more than an hour counts as an hour.
    srtt: Option<NonZeroU32>,
    rttvar: u32,
    /// The variation of single samples, and the largest of it in this round trip.
    mdev: u32,
    mdev_max: u32,
    min_rtt: Option<NonZeroU32>,
    /// When the smallest sample was taken.
    min_rtt_at: Timestamp,
    /// In microseconds, as is the least that it exceeds the round trip by; an hour of that is as good as more.
    rto: u64,
    min: u32,
    /// In milliseconds, rounded up: 49 days are as good as for ever.
    max: u32,
    backoff: u32,
}

/// G of RFC 6298.
const GRANULARITY_MICROS: u32 = GRANULARITY.subsec_micros();

/// Longer than any round trip.
const LONGEST: u32 = 3_600_000_000;

/// Round trips are kept with one more, so that none is zero.
fn stored(micros: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(micros + 1)
}

fn duration(micros: u32) -> Duration {
    Duration::from_micros(u64::from(micros))
}

impl Rto {
    pub(crate) fn new(options: &SocketOptions, config: &StackConfig) -> Self {
        let mut rto = Self {
            srtt: None,
            rttvar: 0,
            mdev: 0,
            mdev_max: 0,
            min_rtt: None,
            min_rtt_at: Timestamp::START,
            rto: micros(config.initial_rto),
            min: 0,
            max: 0,
            backoff: 0,
        };
        rto.set_bounds(options, config);
        rto
    }

    /// The bounds of (2.4) and (2.5), as the socket has them, or else the stack. What is known of the path stays.
    pub(crate) fn set_bounds(&mut self, options: &SocketOptions, config: &StackConfig) {
        let (min, max) =
            (options.min_rto.unwrap_or(config.min_rto), options.max_rto.unwrap_or(config.max_rto));
        self.min = u32::try_from(micros(min)).map_or(LONGEST, |min| min.min(LONGEST));
        self.max = u32::try_from(max.as_micros().div_ceil(1000)).unwrap_or(u32::MAX);
        self.rto = match self.srtt() {
            Some(srtt) => self.timeout_beyond(micros(srtt)),
            None => self.rto.min(self.max_micros()),
        };
    }

    /// As in Linux, the minimum is one of the variation: the peer's delayed acknowledgement comes on top of the round trip,
    /// however steady that is (RFC 6298 4-1).
    fn timeout_beyond(&self, srtt: u64) -> u64 {
        let variation =
            u64::from(GRANULARITY_MICROS).max(u64::from(self.min)).max(4 * u64::from(self.rttvar));
        srtt.saturating_add(variation).min(self.max_micros())
    }

    /// A round-trip sample (RFC 9293 3.8.1 MUST-18). The caller keeps Karn's rule: none from what was sent twice (RFC 6298
    /// 3). `round`: a round trip has passed since this last was true.
    ///
    /// Every acknowledgement brings a sample. So that many of them in a round trip do not forget the ones before
    /// (RFC 7323 4.2-1), the variation falls only once a round trip, and towards the largest that was seen in it; it rises
    /// at once. As in Linux.
    pub(crate) fn sample(&mut self, rtt: Duration, now: Timestamp, round: bool) {
        // More than the longest timeout is no round trip: the clock has jumped.
        let rtt = self.clamp(rtt);
        self.note(rtt, now);
        let first = self.srtt.is_none();
        let srtt = match self.srtt {
            // RFC 6298 2-2
            None => {
                self.mdev = rtt / 2;
                self.mdev_max = self.mdev;
                self.rttvar = self.mdev;
                rtt
            }
            // RFC 6298 2-3: alpha = 1/8, beta = 1/4
            Some(srtt) => {
                let srtt = srtt.get() - 1;
                self.mdev = mix(self.mdev, srtt.abs_diff(rtt), 4);
                self.mdev_max = self.mdev_max.max(self.mdev);
                self.rttvar = self.rttvar.max(self.mdev_max);
                mix(srtt, rtt, 8)
            }
        };
        if round && !first {
            if self.mdev_max < self.rttvar {
                self.rttvar = self.mdev_max + mix(self.rttvar - self.mdev_max, 0, 4);
            }
            self.mdev_max = 0;
        }
        self.srtt = stored(srtt);
        self.rto = self.timeout_beyond(u64::from(srtt));
        self.backoff = 0;
    }

    fn clamp(&self, rtt: Duration) -> u32 {
        u32::try_from(micros(rtt).min(self.max_micros())).unwrap_or(LONGEST).min(LONGEST)
    }

    // RFC 8985 6.2-10
    /// The smallest round trip of the last minutes (RFC 8985 6.2, step 1): a path may get longer.
    pub(crate) fn note_min(&mut self, rtt: Duration, now: Timestamp) {
        self.note(self.clamp(rtt), now);
    }

    fn note(&mut self, rtt: u32, now: Timestamp) {
        let outdated = now.since(self.min_rtt_at) > MIN_RTT_WINDOW;
        if outdated || self.min_rtt.is_none_or(|min| rtt < min.get()) {
            self.min_rtt = stored(rtt);
            self.min_rtt_at = now;
        }
    }

    /// RFC 6298 5-7: when the handshake's segment was lost, data starts with at least three seconds.
    pub(crate) fn after_lost_handshake(&mut self) {
        if self.srtt.is_none() {
            self.rto = self.rto.max(3_000_000).min(self.max_micros());
        }
        self.backoff = 0;
    }

    /// The timer went off: it is doubled (RFC 6298 5-5, RFC 9293 3.8.2 MUST-19).
    pub(crate) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }

    /// The next timeout is as long as the first.
    pub(crate) fn forget_backoff(&mut self) {
        self.backoff = 0;
    }

    /// How long to wait now, backoff included.
    pub(crate) fn current(&self) -> Duration {
        backed_off(self.base(), self.backoff, self.max())
    }

    pub(crate) fn base(&self) -> Duration {
        Duration::from_micros(self.rto)
    }

    fn max_micros(&self) -> u64 {
        u64::from(self.max) * 1000
    }

    pub(crate) fn max(&self) -> Duration {
        Duration::from_millis(u64::from(self.max))
    }

    pub(crate) fn backoff(&self) -> u32 {
        self.backoff
    }

    pub(crate) fn srtt(&self) -> Option<Duration> {
        self.srtt.map(|srtt| duration(srtt.get() - 1))
    }

    pub(crate) fn rttvar(&self) -> Duration {
        duration(self.rttvar)
    }

    pub(crate) fn min_rtt(&self) -> Option<Duration> {
        self.min_rtt.map(|rtt| duration(rtt.get() - 1))
    }
}

/// An average in which `new` is one part of `parts`.
fn mix(old: u32, new: u32, parts: u64) -> u32 {
    let mixed = (u64::from(old) * (parts - 1) + u64::from(new)) / parts;
    u32::try_from(mixed).unwrap_or(u32::MAX)
}

/// `timeout` doubled `times` times, at most `max`.
pub(crate) fn backed_off(timeout: Duration, times: u32, max: Duration) -> Duration {
    timeout.saturating_mul(1u32.checked_shl(times).unwrap_or(u32::MAX)).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rto() -> Rto {
        Rto::new(&SocketOptions::default(), &StackConfig::default())
    }

    // RFC 6298 2-1, RFC 6298 2-5
    #[test]
    fn starts_at_one_second_and_doubles_up_to_the_maximum() {
        let mut rto = rto();
        let seconds: Vec<u64> = (0..9)
            .map(|_| {
                let now = rto.current().as_secs();
                rto.back_off();
                now
            })
            .collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 120, 120]);
    }

    // RFC 6298 2-2, RFC 6298 2-3
    #[test]
    fn first_sample_sets_and_later_ones_smooth() {
        let mut rto = rto();
        rto.sample(Duration::from_millis(100), Timestamp::START, true);
        assert_eq!(rto.current(), Duration::from_millis(300));
        rto.sample(Duration::from_millis(200), Timestamp::START, true);
        // rttvar = 3/4 * 50 + 1/4 * 100 = 62.5; srtt = 7/8 * 100 + 1/8 * 200 = 112.5
        assert_eq!(rto.srtt(), Some(Duration::from_micros(112_500)));
        assert_eq!(rto.rttvar(), Duration::from_micros(62_500));
        assert_eq!(rto.current(), Duration::from_micros(362_500));
        assert_eq!(rto.min_rtt(), Some(Duration::from_millis(100)));
    }

    // RFC 6298 4-1
    #[test]
    fn a_steady_path_still_gets_the_clocks_granularity() {
        let config = StackConfig { min_rto: Duration::ZERO, ..StackConfig::default() };
        let mut rto = Rto::new(&SocketOptions::default(), &config);
        for _ in 0..1000 {
            rto.sample(Duration::from_millis(100), Timestamp::START, true);
        }
        assert_eq!(rto.rttvar(), Duration::ZERO);
        assert_eq!(rto.current(), Duration::from_millis(100) + GRANULARITY);
    }

    // RFC 7323 4.2-1
    #[test]
    fn many_samples_in_a_round_trip_do_not_forget_the_one_before() {
        let mut rto = rto();
        rto.sample(Duration::from_millis(100), Timestamp::START, true);
        // A hundred acknowledgements in one round trip, all alike: the variation does not fall before its end.
        for _ in 0..100 {
            rto.sample(Duration::from_millis(100), Timestamp::START, false);
        }
        assert_eq!(rto.rttvar(), Duration::from_millis(50));
        rto.sample(Duration::from_millis(100), Timestamp::START, true);
        let after = rto.rttvar();
        assert!((Duration::from_millis(37)..Duration::from_millis(51)).contains(&after), "{after:?}");
        // It rises at once.
        rto.sample(Duration::from_millis(900), Timestamp::START, false);
        assert!(rto.rttvar() >= Duration::from_millis(200));
    }

    #[test]
    fn never_below_the_minimum() {
        let mut rto = rto();
        for _ in 0..100 {
            rto.sample(Duration::from_micros(50), Timestamp::START, true);
        }
        assert_eq!(rto.current(), Duration::from_micros(200_050));
    }

    #[test]
    fn an_acknowledgement_that_is_delayed_does_not_time_out_on_a_long_path() {
        let mut rto = rto();
        for _ in 0..100 {
            rto.sample(Duration::from_millis(300), Timestamp::START, true);
        }
        assert!(rto.current() >= Duration::from_millis(340));
    }
}
