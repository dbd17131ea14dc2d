use std::time::Duration;

use super::super::{Algorithm, Controller, Cubic, NewReno, Start};
use super::*;
use crate::time::Timestamp;

const MSS: u32 = 1000;

/// CUBIC in its first slow start.
struct Flow {
    control: Box<dyn Controller>,
    una: SeqNum,
}

impl Flow {
    fn new(algorithm: &Algorithm) -> Self {
        Self {
            control: algorithm.build(&Start::new(Timestamp::START, MSS)),
            una: SeqNum::new(u32::MAX - 20_000),
        }
    }

    /// A round trip; each acknowledgement is for two segments. Tells by how many segments the window has grown.
    fn round(&mut self, rtt: &[u64]) -> u32 {
        self.round_with(rtt, true)
    }

    fn round_with(&mut self, rtt: &[u64], window_limited: bool) -> u32 {
        let window = self.control.window();
        let nxt = self.una + window;
        for n in 0..window / (2 * MSS) {
            self.una += 2 * MSS;
            let rtt = rtt[n as usize % rtt.len()];
            self.control.on_ack(&Delivery {
                una: self.una,
                nxt: nxt + 2 * MSS * n,
                acked: 2 * MSS,
                delivered: 2 * MSS,
                rtt: Some(Duration::from_micros(rtt)),
                srtt: Some(Duration::from_micros(rtt)),
                window_limited,
                ..Delivery::new(Timestamp::START)
            });
        }
        (self.control.window() - window) / MSS
    }

    /// Whether congestion avoidance has begun.
    fn left(&self) -> bool {
        self.control.ssthresh() != u32::MAX
    }
}

fn cubic() -> Flow {
    Flow::new(&Algorithm::Cubic)
}

#[test]
fn on_a_path_without_a_queue_slow_start_doubles() {
    let mut flow = cubic();
    for window in [10, 20, 40, 80, 160] {
        assert_eq!(flow.round(&[50_000]), window);
    }
}

#[test]
fn a_delay_that_rises_and_stays_ends_slow_start_after_five_rounds() {
    let mut flow = cubic();
    flow.round(&[50_000]);
    flow.round(&[50_000]);
    assert_eq!(flow.control.window(), 40 * MSS);
    // It is noticed with the eighth sample, after which a quarter counts.
    let grown = flow.round(&[60_000]);
    assert!((20..30).contains(&grown), "{grown}");
    for round in 2..=5 {
        assert!(!flow.left(), "round {round}");
        let window = flow.control.window() / MSS;
        let grown = flow.round(&[60_000 + 5_000 * round]);
        assert!(grown <= window / 4 + 1, "round {round}: {window} + {grown}");
    }
    flow.round(&[90_000]);
    assert!(flow.left());
    let window = flow.control.window();
    assert!(flow.control.ssthresh() <= window && window <= flow.control.ssthresh() + MSS);
    // CUBIC begins at its plateau.
    assert!(flow.round(&[90_000]) <= 2);
}

#[test]
fn jitter_that_passes_does_not_end_slow_start() {
    let mut flow = cubic();
    flow.round(&[50_000]);
    flow.round(&[50_000]);
    flow.round(&[60_000]);
    let window = flow.control.window() / MSS;
    let grown = flow.round(&[50_000]);
    assert!(grown > window * 3 / 4 && !flow.left(), "{window} + {grown}");
    let window = flow.control.window() / MSS;
    assert!(flow.round(&[50_000]) >= window - 1);
}

#[test]
fn the_rise_that_counts_is_an_eighth_within_four_and_sixteen_milliseconds() {
    let table = [
        (1_000, 4_000),
        (20_000, 4_000),
        (32_000, 4_000),
        (80_000, 10_000),
        (128_000, 16_000),
        (600_000, 16_000),
    ];
    for (rtt, rise) in table {
        for (longer, notices) in [(rise - 1, false), (rise, true)] {
            let mut flow = cubic();
            flow.round(&[rtt]);
            flow.round(&[rtt]);
            assert_eq!(flow.round(&[rtt + longer]) < 40, notices, "{rtt} us and {longer}");
        }
    }
}

#[test]
fn one_quick_sample_in_a_round_shows_that_there_is_no_queue() {
    let mut flow = cubic();
    flow.round(&[50_000]);
    flow.round(&[50_000]);
    assert_eq!(flow.round(&[80_000, 80_000, 50_000, 80_000, 80_000, 80_000, 80_000, 80_000]), 40);
}

#[test]
fn less_than_eight_samples_tell_nothing() {
    let mut flow = cubic();
    assert_eq!(flow.round(&[50_000]), 10);
    // Seven of a window of 14.
    flow.control = Algorithm::Cubic.build(&Start::new(Timestamp::START, MSS).with_window(14 * MSS, u32::MAX));
    assert_eq!(flow.round(&[50_000]), 14);
    flow.control.on_idle(Timestamp::START, Duration::from_secs(9));
    assert_eq!(flow.round(&[90_000]), 10);
}

/// Round trips of 50.9 ms by a clock that ticks in milliseconds are sometimes 50 and sometimes 51 ms.
#[test]
fn a_clock_of_milliseconds_neither_ends_slow_start_nor_brings_it_back() {
    let mut flow = cubic();
    for window in [10, 20, 40, 80] {
        assert_eq!(flow.round(&[50_000, 51_000]), window);
        flow.una += 1;
    }
    let mut flow = cubic();
    flow.round(&[50_000]);
    flow.round(&[50_000]);
    // A queue of 10 ms that stays. Rounded up to the tick it was 61, and less than a tick less in the next round.
    flow.round(&[61_000]);
    for _ in 0..4 {
        let window = flow.control.window() / MSS;
        assert!(flow.round(&[60_100]) <= window / 4 + 1);
    }
    flow.round(&[60_100]);
    assert!(flow.left());
}

#[test]
fn a_window_that_is_not_used_is_not_what_lengthens_the_round_trips() {
    let mut flow = cubic();
    flow.round(&[50_000]);
    for rtt in 5..30 {
        flow.round_with(&[rtt * 10_000], false);
    }
    assert!(!flow.left());
    assert_eq!(flow.round(&[290_000]), 20);
}

#[test]
fn only_the_first_slow_start_is_watched() {
    let mut flow = cubic();
    flow.control =
        Algorithm::Cubic.build(&Start::new(Timestamp::START, MSS).with_window(10 * MSS, 1000 * MSS));
    for (round, window) in [10, 20, 40, 80, 160].into_iter().enumerate() {
        assert_eq!(flow.round(&[50_000 << round]), window);
    }
}

#[test]
fn it_can_be_left_out() {
    for algorithm in [Algorithm::custom(Cubic::without_hystart()), Algorithm::custom(NewReno)] {
        let mut flow = Flow::new(&algorithm);
        for (round, window) in [10, 20, 40, 80, 160].into_iter().enumerate() {
            assert_eq!(flow.round(&[50_000 << round]), window, "{algorithm:?}");
        }
    }
}
