//! A flow over a bottleneck in virtual time: the test cases of draft-ietf-ccwg-bbr-06, appendix A, and what holds besides.

mod path;

use std::time::Duration;

use proptest::prelude::*;
use ropeway_packet::SeqNum;

use self::path::{MSS, Path};
use super::*;

const MBIT: u64 = 125_000;
const MS: fn(u64) -> Duration = Duration::from_millis;

/// 10 Mbit/s, 40 ms, and a queue of that many BDP's hundredths.
fn path(queue_percent: u64) -> Path {
    Path::new(10 * MBIT, MS(40), 50_000 * queue_percent / 100)
}

/// One that has come to ProbeBW.
fn in_probe_bw(queue_percent: u64) -> Path {
    let mut path = path(queue_percent);
    path.run_to(|control| control.state.is_probe_bw());
    path
}

fn near(value: u64, wanted: u64, percent: u64) -> bool {
    value.abs_diff(wanted) * 100 <= wanted * percent
}

// A.1
#[test]
fn startup_ends_when_the_bandwidth_has_not_grown_for_three_rounds() {
    let mut path = path(400);
    path.run_to(|control| control.full_bw.reached);
    let control = &path.control;
    assert!(control.full_bw.now && control.state == State::Drain, "{control:?}");
    assert!(near(control.max_bw.get(), 10 * MBIT, 2), "{}", control.max_bw.get());
    assert_eq!(path.dropped, 0);
    assert!(path.since_start() < MS(800), "{:?}", path.since_start());
    assert_eq!(control.pacing_rate, super::model::percent(control.bw, 50) * 99 / 100);
}

// A.2: 2 % in one round of a recovery, in six ranges.
#[test]
fn startup_ends_by_losses_although_the_application_limits() {
    let mut path = path(400);
    path.app_rate = Some(5 * MBIT);
    path.run(MS(300));
    assert_eq!(path.control.state, State::Startup);
    path.drop_every = 3;
    path.run_to(|control| control.state != State::Startup);
    let control = &path.control;
    assert!(control.full_bw.now && control.full_bw.reached && control.state != State::Startup, "{control:?}");
    assert!(control.inflight_longterm >= control.bdp().min(20_000) && control.inflight_longterm < INFINITY);
}

#[test]
fn a_few_losses_do_not_end_startup() {
    let mut path = path(400);
    path.drop_every = 200;
    path.run_to(|control| control.full_bw.reached);
    assert!(near(path.control.max_bw.get(), 10 * MBIT, 3));
    assert_eq!(path.control.inflight_longterm, INFINITY);
}

// 5.3.1.3: without SACK one loss in a round trip is all that can be seen.
#[test]
fn without_sack_any_loss_in_a_recovery_ends_startup() {
    let mut path = path(400);
    path.sack = false;
    path.run(MS(100));
    path.drop_next = 1;
    path.run(MS(300));
    assert!(path.control.full_bw.reached);
}

// A.3
#[test]
fn drain_ends_when_no_more_than_the_product_is_in_flight() {
    let mut path = path(400);
    path.run_to(|control| control.state == State::Drain);
    assert!(path.control.in_flight > path.control.inflight(path.control.bw));
    let rounds = path.control.rounds.count;
    path.run_to(|control| control.state != State::Drain);
    assert!(path.control.state.is_probe_bw());
    assert!(path.control.in_flight <= path.control.inflight(path.control.bw));
    assert!(path.control.rounds.count <= rounds + 2);
}

// A.4: other traffic keeps the queue full.
#[test]
fn drain_ends_after_three_rounds_whatever_is_in_flight() {
    let mut path = path(400);
    path.run_to(|control| control.state == State::Drain);
    let rounds = path.control.rounds.count;
    path.rate = MBIT;
    path.run_to(|control| control.state != State::Drain);
    assert_eq!(path.control.rounds.count, rounds + 4);
    assert!(path.control.in_flight > path.control.inflight(path.control.bw));
}

// A.5, A.8
#[test]
fn probe_bw_goes_round_and_is_not_left_by_itself() {
    let mut path = in_probe_bw(400);
    path.run_to(|control| control.state == State::ProbeBwCruise);
    for _ in 0..3 {
        let mut states = vec![path.control.state];
        while states.len() < 5 {
            path.step();
            let state = path.control.state;
            if states.last() != Some(&state) {
                states.push(state);
            }
            if state == State::ProbeRtt {
                states.clear();
                path.run_to(|control| control.state == State::ProbeBwCruise);
                states.push(State::ProbeBwCruise);
            }
        }
        use State::{ProbeBwCruise as Cruise, ProbeBwDown as Down, ProbeBwRefill as Refill, ProbeBwUp as Up};
        assert_eq!(states, [Cruise, Refill, Up, Down, Cruise]);
        assert!(path.control.in_flight <= path.control.inflight(path.control.max_bw.get()));
    }
    assert_eq!(path.dropped, 0);
    assert!(near(path.control.max_bw.get(), 10 * MBIT, 2));
}

// 5.3.3.6: two to three seconds, or as many rounds as there are segments in flight, 63 at most.
#[test]
fn a_probe_waits_for_two_to_three_seconds_or_sixty_three_rounds() {
    let mut waits = Vec::new();
    for seed in 0..6 {
        let mut path = Path::with_seed(10 * MBIT, MS(400), 1_000_000, seed);
        path.run_to(|control| control.state == State::ProbeBwCruise);
        let wait = Duration::from_micros(path.control.probe_bw.wait());
        assert!(wait >= MS(2000) && wait < MS(3000));
        waits.push(wait);
        let since = path.now;
        path.run_to(|control| control.state == State::ProbeBwRefill);
        assert!(path.now.since(since) < MS(3500));
    }
    waits.sort();
    waits.dedup();
    assert!(waits.len() > 4, "chance decides: {waits:?}");
    let mut short = Path::new(60 * MBIT, MS(10), 150_000);
    short.run_to(|control| control.state == State::ProbeBwCruise);
    let since = short.now;
    short.run_to(|control| control.state == State::ProbeBwRefill);
    assert!((60..=64).contains(&(short.now.since(since).as_millis() / 10)), "{:?}", short.now.since(since));
}

// A.6, A.18: what was too much becomes the bound, and the probe is over.
#[test]
fn losses_of_a_probe_bound_what_is_in_flight() {
    let mut path = in_probe_bw(400);
    path.run_to(|control| control.state == State::ProbeBwUp);
    path.run(MS(45));
    path.drop_next = 5;
    let cwnd = path.control.cwnd;
    path.run_to(|control| control.state != State::ProbeBwUp);
    let control = &path.control;
    assert_eq!(control.state, State::ProbeBwDown);
    assert!(control.probe_bw.prev_too_high);
    assert!(control.inflight_longterm < cwnd);
    assert!(u64::from(control.inflight_longterm) >= u64::from(control.bdp()) * 70 / 100);
    // The next one goes no further than that, and the one after it comes at once.
    let bound = control.inflight_longterm;
    path.run_to(|control| control.state == State::ProbeBwUp);
    assert!(path.control.inflight_longterm <= bound + MSS);
    path.run_to(|control| control.state == State::ProbeBwDown);
    path.run_to(|control| control.state != State::ProbeBwDown);
    assert!(matches!(path.control.state, State::ProbeBwRefill | State::ProbeBwCruise));
}

// A.7
#[test]
fn an_application_that_limits_never_ends_startup() {
    let mut path = path(400);
    path.app_rate = Some(MBIT);
    path.run(MS(4500));
    assert_eq!(path.control.state, State::Startup);
    assert!(!path.control.full_bw.reached);
}

// A.10
#[test]
fn the_round_trip_is_probed_each_five_seconds_for_two_hundred_milliseconds() {
    let mut path = in_probe_bw(400);
    let mut begun = Vec::new();
    for _ in 0..3 {
        path.least_window = u32::MAX;
        path.run_to(|control| control.state == State::ProbeRtt);
        begun.push(path.now);
        let bdp = path.control.bdp();
        path.run_to(|control| control.state == State::ProbeBwCruise);
        assert!(path.least_window >= (bdp / 2).saturating_sub(2 * MSS) && path.least_window <= bdp * 6 / 10);
        let lasted = path.now.since(begun[begun.len() - 1]);
        assert!(lasted >= MS(200) && lasted < MS(350), "{lasted:?}");
    }
    for pair in begun.windows(2) {
        let between = pair[1].since(pair[0]);
        assert!(between > MS(5000) && between < MS(5700), "{between:?}");
    }
    assert!(near(path.control.min_rtt.get().unwrap(), 41_200, 5), "{:?}", path.control.min_rtt);
    assert!(
        near(path.control.max_bw.get(), 10 * MBIT, 2),
        "what it sends little in says nothing of the path"
    );
}

// A.16
#[test]
fn after_probing_the_round_trip_in_startup_it_goes_on_with_startup() {
    let mut path = path(400);
    path.app_rate = Some(MBIT);
    path.run_to(|control| control.state == State::ProbeRtt);
    assert!(path.since_start() > MS(5000));
    path.run_to(|control| control.state != State::ProbeRtt);
    assert_eq!(path.control.state, State::Startup);
    path.app_rate = None;
    path.run(MS(1500));
    assert!(near(path.control.max_bw.get(), 10 * MBIT, 2));
}

// A.11
#[test]
fn whoever_was_idle_needs_no_probe_of_the_round_trip() {
    let mut path = in_probe_bw(400);
    path.pause(MS(6000));
    assert!(path.control.in_flight == 0);
    let rate = path.control.bw;
    path.step();
    assert!(path.control.idle_restart);
    assert_eq!(path.control.pacing_rate, rate * 99 / 100, "at the rate, neither faster nor slower");
    for _ in 0..200 {
        path.step();
        assert_ne!(path.control.state, State::ProbeRtt);
    }
    assert!(!path.control.idle_restart);
}

// A long round trip without a queue is measured by what is sent anyway: a probe of it would cost more than 2 %.
#[test]
fn a_long_path_without_a_queue_is_not_probed() {
    for (rtt, is_probed) in [(600, false), (40, true)] {
        let mut path = Path::new(10 * MBIT, MS(rtt), 750_000);
        path.app_rate = Some(3 * MBIT);
        let mut probed = false;
        while path.since_start() < MS(15_000) {
            path.step();
            probed |= path.control.state == State::ProbeRtt;
        }
        assert_eq!(probed, is_probed, "{rtt} ms");
    }
}

// It lasts a round trip, and it takes another one until the path is full again.
#[test]
fn a_long_path_is_probed_each_25_round_trips() {
    let mut path = Path::new(10 * MBIT, MS(1000), 1_250_000);
    path.run(MS(20_000));
    let mut begun = Vec::new();
    for _ in 0..2 {
        path.run_to(|control| control.state == State::ProbeRtt);
        begun.push(path.now);
        path.run_to(|control| control.state != State::ProbeRtt);
    }
    let between = begun[1].since(begun[0]);
    assert!(between > MS(25_000) && between < MS(32_000), "{between:?}");
}

// A.12, A.13
#[test]
fn acknowledgements_that_come_in_bunches_leave_the_path_full() {
    let mut path = path(1000);
    path.bunch = MS(30);
    path.run(MS(2000));
    let (delivered, control) = (path.delivered, &path.control);
    assert!(control.extra_acked() > 20_000, "{}", control.extra_acked());
    assert!(control.cwnd > 2 * control.bdp() || control.state == State::ProbeRtt);
    path.run(MS(2000));
    assert!(near(path.delivered - delivered, 2 * 10 * MBIT, 4), "{}", path.delivered - delivered);
}

// A.14
#[test]
fn less_than_a_packet_in_flight_still_has_four() {
    let mut path = Path::new(8000, MS(10), 100_000);
    path.run(MS(20_000));
    let control = &path.control;
    assert!((4 * MSS..12 * MSS).contains(&control.cwnd), "{control:?}");
    assert!(near(control.bw, 8000, 5), "{control:?}");
    assert!(control.pacing_rate <= 8000 * 130 / 100);
}

// A.15
#[test]
fn ten_times_the_bandwidth_is_found_and_a_tenth_too() {
    let mut path = in_probe_bw(400);
    path.run(MS(1000));
    path.rate = 100 * MBIT;
    path.run(MS(7000));
    assert!(near(path.control.max_bw.get(), 100 * MBIT, 10), "{:?}", path.control.max_bw);
    path.rate = 10 * MBIT;
    path.run(MS(14_000));
    assert!(near(path.control.max_bw.get(), 10 * MBIT, 5), "{:?}", path.control.max_bw);
    assert!(path.control.bw <= path.control.max_bw.get());
}

// A.19
#[test]
fn a_policer_is_followed_without_endless_losses() {
    let mut path = path(30);
    path.run(MS(3000));
    let (dropped, delivered) = (path.dropped, path.delivered);
    path.run(MS(10_000));
    let segments = (path.delivered - delivered) / u64::from(MSS);
    assert!(near(path.delivered - delivered, 100 * MBIT, 12), "{}", path.delivered - delivered);
    assert!(
        u64::from(path.dropped - dropped) * 100 < 2 * segments,
        "{} of {segments}",
        path.dropped - dropped
    );
}

// A.17, A.18
#[test]
fn a_recovery_that_was_none_gives_back_what_it_took() {
    for state in [State::ProbeBwUp, State::ProbeBwCruise] {
        let mut path = in_probe_bw(400);
        path.run_to(|control| control.state == state);
        path.run(MS(45));
        let before = path.control.clone();
        path.drop_next = 6;
        path.run_to(|control| control.phase == Phase::Recovery);
        path.run(MS(20));
        path.control.on_spurious(path.now);
        let control = &path.control;
        assert!(control.cwnd >= before.cwnd, "{state:?}");
        assert!(control.inflight_longterm >= before.inflight_longterm);
        assert!(control.bw_shortterm >= before.bw_shortterm);
        assert!(control.inflight_shortterm >= before.inflight_shortterm);
        if state == State::ProbeBwUp {
            assert_eq!(control.state, State::ProbeBwRefill, "it probes anew");
        }
    }
    let mut path = path(400);
    path.run(MS(150));
    path.drop_every = 8;
    path.run_to(|control| control.state != State::Startup);
    assert_eq!(path.control.undo.state, Some(State::Startup));
    path.control.on_spurious(path.now);
    assert!(path.control.state == State::Startup && !path.control.full_bw.reached);
}

// A.20
#[test]
fn an_application_that_pauses_during_refill_takes_no_bandwidth_away() {
    let mut path = in_probe_bw(400);
    path.run_to(|control| control.state == State::ProbeBwRefill);
    let bandwidth = path.control.max_bw.get();
    path.app_rate = Some(MBIT);
    path.run_to(|control| control.state != State::ProbeBwRefill);
    assert_eq!(path.control.state, State::ProbeBwUp);
    assert_eq!(path.control.max_bw.get(), bandwidth);
}

#[test]
fn losses_that_no_probe_makes_lower_the_rate_to_what_arrives_and_by_three_tenths_at_most() {
    let mut path = in_probe_bw(400);
    path.run_to(|control| control.state == State::ProbeBwCruise);
    let bandwidth = path.control.max_bw.get();
    path.drop_next = 10;
    path.run(MS(150));
    let control = &path.control;
    assert!(control.bw_shortterm < u64::MAX && control.bw_shortterm >= bandwidth * 7 / 10);
    assert_eq!(control.bw, control.bw_shortterm.min(control.max_bw.get()));
    assert!(control.cwnd <= control.inflight_shortterm);
    path.run_to(|control| control.state == State::ProbeBwRefill);
    assert_eq!(path.control.bw_shortterm, u64::MAX, "a probe begins without");
}

#[test]
fn a_timeout_leaves_a_segment_beyond_what_is_in_flight_and_the_end_of_it_gives_the_window_back() {
    let mut path = in_probe_bw(400);
    path.run(MS(500));
    let cwnd = path.control.cwnd;
    let event = CongestionEvent {
        in_flight: 3 * MSS,
        ..CongestionEvent::new(path.now, Congestion::Timeout { again: false }, cwnd, SeqNum::new(0))
    };
    path.control.on_congestion(&event);
    assert_eq!(path.control.cwnd, 4 * MSS);
    path.phase = Phase::Open;
    path.run(MS(100));
    assert!(path.control.cwnd >= cwnd * 7 / 10, "{} and {cwnd}", path.control.cwnd);
}

// RFC 5681 3.1
#[test]
fn a_lost_handshake_begins_with_a_segment() {
    let mut path = path(400);
    let event = CongestionEvent::new(path.now, Congestion::LostHandshake, 0, SeqNum::new(0));
    path.control.on_congestion(&event);
    assert_eq!(path.control.window(), MSS);
    path.run(MS(1500));
    assert!(near(path.control.max_bw.get(), 10 * MBIT, 2));
}

#[test]
fn marks_slow_down_like_losses_and_end_a_probe_if_that_is_asked_for() {
    for counts in [false, true] {
        let mut path = in_probe_bw(400);
        path.control.marks = counts;
        path.run_to(|control| control.state == State::ProbeBwUp);
        path.run(MS(45));
        path.mark_next = 10;
        path.run(MS(90));
        assert_eq!(path.control.inflight_longterm < INFINITY, counts);
        assert_eq!(path.control.probe_bw.prev_too_high, counts);
        path.run_to(|control| control.state == State::ProbeBwCruise);
        path.mark_next = 2;
        path.run(MS(100));
        assert!(path.control.inflight_shortterm < INFINITY, "a mark is never left without an answer");
    }
}

#[test]
fn one_loss_in_a_hundred_costs_little() {
    let mut path = path(400);
    path.drop_every = 100;
    path.run(MS(3000));
    let delivered = path.delivered;
    path.run(MS(10_000));
    assert!(near(path.delivered - delivered, 100 * MBIT, 20), "{}", path.delivered - delivered);
}

#[test]
fn equal_seeds_are_equal_and_others_differ() {
    let run = |seed| {
        let mut path = Path::with_seed(10 * MBIT, MS(40), 50_000, seed);
        path.run(MS(12_000));
        (path.delivered, path.dropped, format!("{:?}", path.control))
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7).2, run(8).2);
}

#[test]
fn what_it_takes_over_is_where_it_begins() {
    let start = Start::new(Timestamp::START, MSS).with_window(77 * MSS, 55 * MSS);
    assert_eq!(Bbr::default().build(&start).window(), 77 * MSS);
}

#[test]
fn losses_that_cross_the_threshold_within_a_train_are_found_within_it() {
    // A hundred segments were in flight, the last fifty as one train, all of it lost: 2 % of (50 + x) is x.
    let rs = Sample {
        now: Timestamp::START,
        newly_acked: 0,
        delivered: 0,
        delivery_rate: 0,
        prior_delivered: 0,
        tx_in_flight: 100_000,
        lost: 50_000,
        rtt: None,
        is_app_limited: false,
        is_cwnd_limited: false,
    };
    assert_eq!(super::loss::inflight_at_loss(&rs, 50_000), 51_020);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

    /// Whatever the path does, the window stays between a segment and a gibibyte, and something arrives.
    #[test]
    fn no_path_stops_it(
        rate in 2_000..100_000_000u64,
        rtt in 1..2000u64,
        queue in 3000..10_000_000u64,
        drop_every in prop_oneof![Just(0u32), 2..1000u32],
        bunch in 0..100u64,
        seed in any::<u64>(),
        changes in prop::collection::vec((2_000..100_000_000u64, 0..3u8), 0..4),
    ) {
        let mut path = Path::with_seed(rate, MS(rtt), queue, seed);
        (path.drop_every, path.bunch) = (drop_every, MS(bunch));
        for (rate, what) in changes.into_iter().chain([(rate, 0)]) {
            path.rate = rate;
            match what {
                1 => path.control.on_spurious(path.now),
                2 => path.pause(MS(7000)),
                _ => {}
            }
            let delivered = path.delivered;
            for step in 0..20_000 {
                if step > 500 && path.delivered > delivered {
                    break;
                }
                path.step();
                prop_assert!((MSS..=MAX_WINDOW).contains(&path.control.window()));
                prop_assert!(path.control.pacing_rate().is_none_or(|rate| rate > 0));
            }
            prop_assert!(path.delivered > delivered);
        }
    }
}
