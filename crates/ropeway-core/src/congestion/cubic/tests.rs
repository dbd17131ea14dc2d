use super::super::{Algorithm, Phase};
use super::*;
use ropeway_packet::SeqNum;

const MSS: u32 = 1000;
const OPEN: Phase = Phase::Open;
const TIMEOUT: Congestion = Congestion::Timeout { again: false };

/// A controller, and a path with a round-trip time; windows in segments.
struct Path {
    control: Box<dyn Controller>,
    now: Timestamp,
    rtt: Duration,
    una: SeqNum,
}

impl Path {
    fn new(control: Box<dyn Controller>, rtt: Duration) -> Self {
        Self { control, now: Timestamp::from_micros(1_000_000), rtt, una: SeqNum::new(u32::MAX - 100) }
    }

    /// CUBIC without HyStart++ that has come to this window.
    fn with_window(window: u32, ssthresh: u32, rtt: Duration) -> Self {
        let start = Start::new(Timestamp::START, MSS).with_window(window * MSS, ssthresh * MSS);
        Self::new(Cubic::without_hystart().build(&start), rtt)
    }

    fn window(&self) -> u32 {
        self.control.window() / MSS
    }

    fn nxt(&self) -> SeqNum {
        self.una + self.control.window()
    }

    fn ack(&mut self, bytes: u32, window_limited: bool, phase: Phase) {
        let nxt = self.nxt();
        self.una += bytes;
        self.control.on_ack(&Delivery {
            una: self.una,
            nxt,
            acked: bytes,
            delivered: bytes,
            rtt: Some(self.rtt),
            srtt: Some(self.rtt),
            window_limited,
            phase,
            ..Delivery::new(self.now)
        });
    }

    /// A round trip: a window is acknowledged, spread over it, a segment at a time.
    fn round(&mut self) {
        self.round_of(self.window(), true);
    }

    fn round_of(&mut self, segments: u32, window_limited: bool) {
        for _ in 0..segments {
            self.now += self.rtt / segments;
            self.ack(MSS, window_limited, OPEN);
        }
    }

    fn rounds(&mut self, count: u32) {
        for _ in 0..count {
            self.round();
        }
    }

    fn event(&mut self, cause: Congestion) {
        let event = CongestionEvent::new(self.now, cause, self.control.window(), self.nxt());
        self.control.on_congestion(&event);
    }

    /// A loss, and its recovery.
    fn lose(&mut self) {
        self.event(Congestion::Loss);
        self.now += self.rtt;
        let window = self.control.window();
        self.ack(window, true, Phase::Recovery);
        self.ack(MSS, true, OPEN);
    }
}

const MS: fn(u64) -> Duration = Duration::from_millis;

/// The mean window in segments if one of `every` segments is lost, over `epochs` losses.
fn mean_window(every: u64, rtt: Duration, epochs: u32) -> f64 {
    let mut path = Path::with_window(10, 10, rtt);
    let (mut sent, mut rounds, mut windows) = (0u64, 0u64, 0u64);
    for epoch in 0..2 * epochs {
        if epoch == epochs {
            (rounds, windows) = (0, 0);
        }
        while sent < every {
            let window = path.window();
            // As a peer's offload merges them: at most 64 acknowledgements a window.
            let (step, mut left) = (window.div_ceil(64), window);
            while left > 0 {
                let segments = step.min(left);
                path.now += path.rtt * segments / window;
                path.ack(segments * MSS, true, OPEN);
                left -= segments;
            }
            (sent, rounds, windows) = (sent + u64::from(window), rounds + 1, windows + u64::from(window));
        }
        sent -= every;
        path.event(Congestion::Loss);
    }
    windows as f64 / rounds as f64
}

// RFC 8312 5.1, tables 1 and 2; RFC 9293 3.8.2 MAY-18
#[test]
fn the_mean_window_is_that_of_the_published_tables() {
    let table = [
        (100, 100, 200, 12.0),
        (100, 1_000, 100, 38.0),
        (100, 10_000, 50, 187.0),
        (100, 100_000, 20, 1054.0),
        (100, 1_000_000, 8, 5926.0),
        (10, 100, 200, 12.0),
        (10, 1_000, 100, 38.0),
        (10, 10_000, 50, 120.0),
        (10, 100_000, 20, 379.0),
        (10, 1_000_000, 8, 1200.0),
    ];
    for (rtt, every, epochs, published) in table {
        let mean = mean_window(every, MS(rtt), epochs);
        println!("RTT {rtt} ms, one of {every} lost: {mean:.1} segments, published {published}");
        assert!((mean / published - 1.0).abs() < 0.1, "RTT {rtt} ms, one of {every} lost: {mean:.1}");
    }
}

// RFC 9438 4.6-1, RFC 9438 4.6-2, RFC 8511 4-1, RFC 9438 4.6-3, RFC 9438 4.6-5
#[test]
fn a_loss_takes_three_tenths_and_a_timeout_all_but_a_segment() {
    // However much is in flight: the window stands for what the path has carried.
    for (before, threshold) in [(100, 70), (10, 7), (3, 2), (2, 2)] {
        for (cause, window) in [(Congestion::Loss, threshold), (TIMEOUT, 1)] {
            let mut control = Path::with_window(before, 2, MS(100)).control;
            control.on_congestion(&CongestionEvent::new(Timestamp::START, cause, MSS, SeqNum::new(9)));
            let seen = (control.window() / MSS, control.ssthresh() / MSS);
            assert_eq!(seen, (window, threshold), "{cause:?} of {before}");
        }
    }
    // RFC 8511 3.1-1, RFC 9438 4.6: a mark takes less than a loss, and may take it below two segments.
    let mut control = Path::with_window(2, 2, MS(100)).control;
    control.on_congestion(&CongestionEvent::new(Timestamp::START, Congestion::Ecn, MSS, SeqNum::new(9)));
    assert_eq!((control.window(), control.ssthresh()), (1700, 2 * MSS));
    // In slow start the window is far beyond what the path has.
    let mut control = Path::with_window(10, 100, MS(100)).control;
    control.on_congestion(&CongestionEvent::new(Timestamp::START, Congestion::Ecn, MSS, SeqNum::new(9)));
    assert_eq!(control.window(), 7 * MSS);
}

// RFC 9438 4.2-1, RFC 9438 4.5-1
/// From 1000 segments down to 700: K is the cube root of 300 / 0.4, 9.09 s. The window is the curve's at the end of each
/// second, since it aims at a round trip ahead.
#[test]
fn the_window_climbs_along_the_curve() {
    let mut path = Path::with_window(1000, 500, MS(100));
    path.lose();
    assert_eq!(path.window(), 700);
    let mut seen = Vec::new();
    for _ in 0..15 {
        path.rounds(10);
        seen.push(path.window());
    }
    let curve = |t: f64| 0.4 * (t - 9.0856).powi(3) + 1000.0;
    for (second, window) in (1..).zip(&seen) {
        let expected = curve(f64::from(second));
        assert!((f64::from(*window) - expected).abs() < 8.0, "{second} s: {window}, {expected}: {seen:?}");
    }
    assert!(seen.is_sorted());
}

// RFC 9438 4.2-2
#[test]
fn a_window_far_below_the_curve_grows_by_half_a_round_trip_at_most() {
    let mut path = Path::with_window(100, 50, MS(100));
    path.lose();
    path.rounds(3);
    // An hour in which no acknowledgement came: the curve is out of sight.
    path.now += Duration::from_secs(3600);
    for _ in 0..10 {
        let before = path.control.window();
        path.round();
        let grown = path.control.window() - before;
        assert!(grown <= before / 2 + MSS, "{before} + {grown}");
        assert!(grown >= before / 3, "{before} + {grown}");
    }
}

// RFC 9438 4.3-1, RFC 9438 4.3-2
#[test]
fn on_short_paths_it_is_as_fast_as_reno() {
    // 9/17 of a segment a round trip, until it is back where it was; then one.
    let mut path = Path::with_window(20, 10, MS(1));
    path.lose();
    assert_eq!(path.window(), 14);
    path.rounds(11);
    assert_eq!(path.window(), 14 + 11 * 9 / 17);
    path.rounds(2);
    let before = path.window();
    path.rounds(10);
    assert!((9..=10).contains(&(path.window() - before)));
}

// RFC 9438 4.7-1
#[test]
fn a_peak_below_the_last_makes_room() {
    let second_peak = |window: u32| {
        let mut path = Path::with_window(1000, 500, MS(100));
        path.lose();
        let start = path.control.window();
        path.control.on_congestion(&CongestionEvent::new(path.now, Congestion::Loss, start, path.nxt()));
        assert_eq!(path.window(), window);
        path.ack(start, true, Phase::Recovery);
        path.ack(MSS, true, OPEN);
        // It is flattest where the plateau is.
        let rise = |path: &mut Path| {
            let before = path.control.window();
            path.round();
            (path.control.window() - before, before / MSS)
        };
        (0..150).map(|_| rise(&mut path)).min().unwrap().1
    };
    // 700 * (1 + 0.7) / 2, not 700.
    let plateau = second_peak(490);
    assert!((590..=600).contains(&plateau), "{plateau}");
}

// RFC 9438 4.8-1, RFC 9438 4.8-2
#[test]
fn after_a_timeout_the_curve_begins_where_slow_start_ends() {
    let mut path = Path::with_window(100, 50, MS(100));
    path.event(TIMEOUT);
    assert_eq!((path.window(), path.control.ssthresh() / MSS), (1, 70));
    path.rounds(8);
    // Back at the threshold in seven round trips, with no plateau at 100 to reach soon.
    assert_eq!(path.window(), 70);
    path.rounds(20);
    let (slow, reno) = (path.window(), 70 + 20 * 9 / 17);
    assert!((reno..reno + 4).contains(&slow), "{slow}");
}

// RFC 9438 4.2-3
#[test]
fn time_in_which_the_window_was_not_used_does_not_count() {
    let climb = |idle: &dyn Fn(&mut Path)| {
        let mut path = Path::with_window(1000, 500, MS(100));
        path.lose();
        path.rounds(10);
        idle(&mut path);
        path.rounds(10);
        path.window()
    };
    let expected = climb(&|_| ());
    let limited = climb(&|path| {
        for _ in 0..100 {
            path.round_of(5, false);
        }
    });
    assert_eq!(limited, expected, "limited by the application for ten seconds");
    let silent = climb(&|path| {
        path.now += MS(150);
        let now = path.now;
        path.control.on_sent(now, MSS, MSS);
    });
    assert!(silent.abs_diff(expected) <= 1, "nothing in flight: {silent}, {expected}");
}

// RFC 9438 5.8-1, RFC 9438 4.6-4
#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let mut path = Path::with_window(100, 50, MS(100));
    for _ in 0..50 {
        path.round_of(10, false);
    }
    assert_eq!(path.window(), 100);
    let mut path = Path::new(Algorithm::Cubic.build(&Start::new(Timestamp::START, MSS)), MS(100));
    path.round_of(10, false);
    assert_eq!(path.window(), 10);
}

#[test]
fn after_idle_time_it_restarts_and_finds_its_curve_again() {
    let mut path = Path::with_window(1000, 500, MS(100));
    path.lose();
    path.rounds(50);
    let before = path.window();
    path.now += Duration::from_secs(60);
    path.control.on_idle(path.now, Duration::from_secs(60));
    assert_eq!(path.window(), 10);
    path.rounds(9);
    let after = path.window();
    assert!((before * 3 / 4..=before + 20).contains(&after), "{before}, {after}");
}

// RFC 9438 4.9.2-1, RFC 9438 4.9.1-1
#[test]
fn what_was_spurious_is_given_back_with_its_curve() {
    for cause in [Congestion::Loss, TIMEOUT] {
        let mut path = Path::with_window(1000, 500, MS(100));
        path.lose();
        path.rounds(30);
        let mut other = Path { control: path.control.clone(), ..path };
        let before = (path.control.window(), path.control.ssthresh());
        path.event(cause);
        assert!(path.control.window() < before.0);
        path.control.on_spurious(path.now);
        assert_eq!((path.control.window(), path.control.ssthresh()), before, "{cause:?}");
        path.rounds(100);
        other.rounds(100);
        assert_eq!(path.control.window(), other.control.window(), "{cause:?}: as if nothing had been");
    }
}

// RFC 9438 4.9.2-2
#[test]
fn undo_takes_nothing_that_was_won_since() {
    let mut path = Path::with_window(20, 10, MS(100));
    path.lose();
    path.rounds(100);
    let won = path.control.window();
    assert!(won > 20 * MSS);
    let threshold = path.control.ssthresh();
    path.control.on_spurious(path.now);
    assert_eq!((path.control.window(), path.control.ssthresh()), (won, threshold));
}

#[test]
fn undo_in_the_first_slow_start_gives_slow_start_back() {
    let mut path = Path::new(Algorithm::Cubic.build(&Start::new(Timestamp::START, MSS)), MS(50));
    path.rounds(2);
    path.lose();
    path.control.on_spurious(path.now);
    assert_eq!((path.window(), path.control.ssthresh()), (40, u32::MAX));
    path.round();
    assert_eq!(path.window(), 80);
}

#[test]
fn a_window_of_a_gibibyte_stays_one() {
    let start = Start::new(Timestamp::START, 1448).with_window(1 << 30, 1 << 29);
    let mut path = Path::new(Cubic::new().build(&start), MS(600));
    for _ in 0..100 {
        path.now += MS(600);
        path.ack(1 << 30, true, OPEN);
        assert_eq!(path.control.window(), 1 << 30);
    }
    path.lose();
    assert_eq!(path.control.ssthresh(), (1u32 << 30) / 10 * 7 + 2);
    // K is the cube root of 222,000 / 0.4, 82 s: 137 round trips.
    for _ in 0..140 {
        path.now += MS(600);
        path.ack(path.control.window(), true, OPEN);
    }
    assert!(path.control.window() > (1 << 30) / 100 * 99, "{}", path.control.window());
}

#[test]
fn clocks_that_jump_and_round_trips_of_nothing_or_hours_do_no_harm() {
    for rtt in [Duration::ZERO, Duration::from_secs(10_000), Duration::MAX] {
        let mut path = Path::with_window(100, 50, MS(100));
        path.lose();
        path.rtt = rtt;
        let back = Timestamp::START;
        for now in [path.now, back, Timestamp::from_micros(u64::MAX), back, path.now] {
            path.now = now;
            let before = path.control.window();
            path.ack(before, true, OPEN);
            let after = path.control.window();
            assert!((before..=before + before / 2 + MSS).contains(&after), "{rtt:?}: {before}, {after}");
        }
    }
}

// RFC 4821 4-4
#[test]
fn another_mss_leaves_the_bytes_as_they_are() {
    let mut path = Path::with_window(100, 50, MS(100));
    path.lose();
    path.rounds(5);
    let before = path.control.window();
    path.control.on_mss_change(MSS / 2);
    assert_eq!(path.control.window(), before);
    path.round();
    let after = path.control.window();
    assert!((before..before + 10 * MSS).contains(&after));
    path.control.on_mss_change(u32::MAX);
    assert_eq!(path.control.window(), after);
    path.event(TIMEOUT);
    assert_eq!(path.control.window(), 65_535);
}
