use super::super::{Algorithm, Phase};
use super::*;
use ropeway_packet::SeqNum;

const MSS: u32 = 1000;

/// What a controller is told, in segments.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many acknowledgements of so many segments each, in that phase.
    Acks(u32, u32, Phase),
    /// One of so many segments, from a window that was not used.
    Unused(u32),
    /// An event, with so many segments outstanding.
    Event(Congestion, u32),
    /// A timeout that takes only some for lost: so many are outstanding, so many still in flight.
    TimeoutOf(u32, u32),
    Spurious,
    Idle,
    /// All that was sent is acknowledged.
    AllAcked,
}
use Step::*;

const LOSS: Congestion = Congestion::Loss;
const TIMEOUT: Congestion = Congestion::Timeout { again: false };
const AGAIN: Congestion = Congestion::Timeout { again: true };

/// Takes the steps, and gives window and threshold after each, in segments; `u32::MAX` is no threshold.
fn run(mut reno: Box<dyn Controller>, steps: &[Step]) -> Vec<(u32, u32)> {
    let now = Timestamp::START;
    let (mut una, nxt) = (SeqNum::new(u32::MAX - 5), SeqNum::new(1_000_000));
    let mut seen = Vec::new();
    for step in steps {
        match *step {
            Acks(count, segments, phase) => {
                for _ in 0..count {
                    una += segments;
                    let ack = Delivery {
                        una,
                        nxt,
                        acked: segments * MSS,
                        delivered: segments * MSS,
                        phase,
                        ..Delivery::new(now)
                    };
                    reno.on_ack(&ack);
                }
            }
            Unused(segments) => reno.on_ack(&Delivery {
                una,
                nxt,
                acked: segments * MSS,
                delivered: segments * MSS,
                window_limited: false,
                ..Delivery::new(now)
            }),
            Event(cause, outstanding) => {
                reno.on_congestion(&CongestionEvent::new(now, cause, outstanding * MSS, nxt));
            }
            TimeoutOf(outstanding, in_flight) => {
                let mut event = CongestionEvent::new(now, TIMEOUT, outstanding * MSS, nxt);
                event.in_flight = in_flight * MSS;
                reno.on_congestion(&event);
            }
            Spurious => reno.on_spurious(now),
            Idle => reno.on_idle(now, Duration::from_secs(1)),
            AllAcked => reno.on_ack(&Delivery { una: nxt, nxt, ..Delivery::new(now) }),
        }
        let threshold = if reno.ssthresh() == u32::MAX { u32::MAX } else { reno.ssthresh() / MSS };
        assert!(reno.window() >= MSS);
        seen.push((reno.window() / MSS, threshold));
    }
    seen
}

fn reno() -> Box<dyn Controller> {
    Algorithm::NewReno.build(&Start::new(Timestamp::START, MSS))
}

/// One that runs with so many segments of window and threshold.
fn running(window: u32, threshold: u32) -> Box<dyn Controller> {
    NewReno.build(&Start::new(Timestamp::START, MSS).with_window(window * MSS, threshold * MSS))
}

const NONE: u32 = u32::MAX;
const OPEN: Phase = Phase::Open;

#[test]
fn slow_start_grows_by_what_is_acknowledged_and_avoidance_by_a_segment_a_window() {
    let steps = [
        Acks(10, 1, OPEN),
        Event(LOSS, 20),
        Acks(9, 1, OPEN),
        Acks(1, 1, OPEN),
        Acks(5, 2, OPEN),
        Acks(1, 1, OPEN),
    ];
    let windows = [(20, NONE), (10, 10), (10, 10), (11, 10), (11, 10), (12, 10)];
    assert_eq!(run(reno(), &steps), windows);
}

#[test]
fn one_acknowledgement_of_many_windows_adds_one_segment() {
    assert_eq!(run(running(10, 5), &[Acks(1, 1000, OPEN), Acks(1, 1, OPEN)]), [(11, 5), (11, 5)]);
}

#[test]
fn slow_start_ends_at_the_threshold() {
    assert_eq!(run(running(10, 15), &[Acks(1, 20, OPEN)]), [(15, 15)]);
}

#[test]
fn a_window_that_is_not_used_does_not_grow() {
    assert_eq!(run(reno(), &[Unused(10), Acks(1, 10, OPEN)]), [(10, NONE), (20, NONE)]);
    assert_eq!(run(running(10, 5), &[Unused(10), Unused(10)]), [(10, 5), (10, 5)]);
}

#[test]
fn nothing_grows_in_a_recovery() {
    for phase in [Phase::Recovery, Phase::Cwr] {
        let steps = [Event(LOSS, 10), Acks(3, 5, phase), Acks(4, 1, OPEN), Acks(1, 1, OPEN)];
        assert_eq!(run(reno(), &steps), [(5, 5), (5, 5), (5, 5), (6, 5)], "{phase:?}");
    }
}

#[test]
fn what_ends_a_recovery_counts_by_what_it_delivers_as_in_linux() {
    let ends = |delivered| {
        let mut reno = running(10, 10);
        reno.on_congestion(&CongestionEvent::new(Timestamp::START, LOSS, 10 * MSS, SeqNum::new(10 * MSS)));
        let ack = |una: u32, delivered: u32, phase| Delivery {
            una: SeqNum::new(una * MSS),
            acked: MSS,
            delivered: delivered * MSS,
            phase,
            ..Delivery::new(Timestamp::START)
        };
        reno.on_ack(&ack(1, 1, Phase::Recovery));
        // All that was reported before is acknowledged, and what had been sent again.
        reno.on_ack(&Delivery { acked: 9 * MSS, ..ack(10, delivered, OPEN) });
        let mut more = 0;
        while reno.window() == 5 * MSS {
            more += 1;
            reno.on_ack(&ack(10 + more, 1, OPEN));
        }
        more
    };
    assert_eq!([0, 1, 3].map(ends), [5, 4, 2]);
}

// Parts of segments are not sent, and so are not acknowledged either.
#[test]
fn a_part_of_a_segment_does_not_slow_the_growth() {
    let steps = [Event(LOSS, 7), Acks(2, 1, OPEN), Acks(1, 1, OPEN), Acks(3, 1, OPEN), Acks(1, 1, OPEN)];
    assert_eq!(run(reno(), &steps), [(3, 3), (3, 3), (4, 3), (4, 3), (5, 3)]);
    let steps = [Event(TIMEOUT, 7), Acks(2, 1, OPEN), Acks(2, 1, OPEN), Acks(1, 1, OPEN)];
    assert_eq!(run(reno(), &steps), [(1, 3), (3, 3), (3, 3), (4, 3)]);
}

#[test]
fn what_is_only_late_does_not_stop_the_growth() {
    let steps = [Acks(5, 1, Phase::Disorder), Acks(1, 5, OPEN)];
    assert_eq!(run(reno(), &steps), [(15, NONE), (20, NONE)]);
}

#[test]
fn the_threshold_is_half_of_what_is_in_flight_but_two_segments() {
    for (flight, threshold) in [(10, 5), (7, 3), (4, 2), (3, 2), (1, 2), (0, 2)] {
        assert_eq!(run(reno(), &[Event(LOSS, flight)]), [(threshold, threshold)], "{flight} in flight");
        assert_eq!(run(reno(), &[Event(TIMEOUT, flight)]), [(1, threshold)], "{flight}, timeout");
    }
}

// RFC 8511 3-1, RFC 8511 4-1
#[test]
fn a_mark_takes_a_fifth_but_half_in_slow_start() {
    for (flight, threshold) in [(10, 8), (5, 4), (4, 3), (2, 2), (1, 2)] {
        let steps = [Event(Congestion::Ecn, flight)];
        assert_eq!(run(running(10, 10), &steps), [(threshold, threshold)], "{flight}");
    }
    assert_eq!(run(reno(), &[Event(Congestion::Ecn, 10)]), [(5, 5)]);
}

#[test]
fn a_loss_never_raises_the_window() {
    // The application did not use it, or a timeout has cut it: more is outstanding than it allows.
    assert_eq!(run(running(4, 2), &[Event(LOSS, 100)]), [(4, 50)]);
}

#[test]
fn repeated_timeouts_reduce_the_threshold_once() {
    let steps = [Event(TIMEOUT, 10), Event(AGAIN, 10), Event(AGAIN, 1)];
    assert_eq!(run(reno(), &steps), [(1, 5); 3]);
}

#[test]
fn a_timeout_in_a_recovery_does_not_raise_the_threshold() {
    let steps = [Event(LOSS, 10), Acks(1, 1, Phase::Recovery), Event(TIMEOUT, 14), Event(TIMEOUT, 4)];
    assert_eq!(run(reno(), &steps), [(5, 5), (5, 5), (1, 5), (1, 2)]);
}

#[test]
fn after_a_timeout_slow_start_takes_one_segment_an_acknowledgement() {
    let steps = [
        Event(TIMEOUT, 12),
        Acks(1, 1, Phase::Loss),
        Acks(1, 9, Phase::Loss),
        Acks(3, 2, OPEN),
        Acks(3, 2, OPEN),
    ];
    assert_eq!(run(reno(), &steps), [(1, 6), (2, 6), (3, 6), (6, 6), (7, 6)]);
}

#[test]
fn a_timeout_in_a_recovery_ends_it() {
    let steps = [Event(LOSS, 10), Acks(1, 1, Phase::Recovery), Event(AGAIN, 10), Acks(1, 1, Phase::Loss)];
    assert_eq!(run(reno(), &steps), [(5, 5), (5, 5), (1, 5), (2, 5)]);
}

#[test]
fn a_timeout_leaves_room_for_one_segment_beside_what_may_be_in_flight() {
    assert_eq!(run(reno(), &[TimeoutOf(10, 3)]), [(4, 5)]);
    assert_eq!(run(running(2, 2), &[TimeoutOf(10, 9)]), [(2, 5)]);
}

#[test]
fn a_lost_handshake_leaves_one_segment_and_no_threshold() {
    assert_eq!(run(reno(), &[Event(Congestion::LostHandshake, 0), Acks(1, 1, OPEN)]), [(1, NONE), (2, NONE)]);
    assert_eq!(run(reno(), &[Event(Congestion::LostHandshake, 0), Spurious]), [(1, NONE), (10, NONE)]);
    // A spurious timeout after it does not give back what the handshake has cost.
    let steps = [Event(Congestion::LostHandshake, 0), Event(TIMEOUT, 1), Spurious];
    assert_eq!(run(reno(), &steps), [(1, NONE), (1, 2), (1, NONE)]);
}

#[test]
fn what_was_spurious_is_given_back() {
    for event in [LOSS, TIMEOUT] {
        let steps = [Acks(10, 1, OPEN), Event(event, 20), Spurious];
        assert_eq!(run(reno(), &steps)[2], (20, NONE), "{event:?}");
    }
    // All that the episode took, not only its last event.
    let steps = [Event(LOSS, 10), Event(TIMEOUT, 10), Event(AGAIN, 10), Spurious, Spurious];
    assert_eq!(run(reno(), &steps)[3..], [(10, NONE), (10, NONE)]);
    // Late: by a duplicate that tells of it after the end of the recovery.
    assert_eq!(run(reno(), &[Event(LOSS, 10), AllAcked, Spurious])[2], (10, NONE));
}

#[test]
fn only_the_last_episode_is_given_back() {
    let steps = [Event(LOSS, 10), AllAcked, Event(LOSS, 5), Spurious, Spurious];
    assert_eq!(run(reno(), &steps)[2..], [(2, 2), (5, 5), (5, 5)]);
    let steps = [Event(TIMEOUT, 10), AllAcked, Event(TIMEOUT, 4), Spurious];
    assert_eq!(run(reno(), &steps)[1..], [(1, 5), (1, 2), (1, 5)]);
}

#[test]
fn a_mark_of_the_network_is_never_spurious() {
    let steps = [Event(LOSS, 10), AllAcked, Event(Congestion::Ecn, 5), Spurious];
    assert_eq!(run(reno(), &steps)[3], (4, 4));
}

#[test]
fn undo_takes_nothing_that_was_won_since() {
    let steps = [Event(LOSS, 10), Acks(400, 1, OPEN), Spurious];
    let seen = run(reno(), &steps);
    assert!(seen[1].0 > 20, "{seen:?}");
    assert_eq!(seen[2], (seen[1].0, NONE));
}

#[test]
fn idle_time_takes_the_window_back_to_the_restart_window() {
    assert_eq!(run(running(100, 50), &[Idle]), [(10, 75)]);
    assert_eq!(run(running(100, 80), &[Idle]), [(10, 80)]);
    assert_eq!(run(running(4, 2), &[Idle]), [(4, 2)]);
    assert_eq!(run(reno(), &[Acks(10, 1, OPEN), Idle]), [(20, NONE), (10, NONE)]);
    // What was acknowledged of the larger window is no step towards a larger one.
    assert_eq!(run(running(100, 10), &[Acks(99, 1, OPEN), Idle, Acks(9, 1, OPEN)])[2], (19, 75));
}

#[test]
fn another_mss_leaves_the_bytes_as_they_are() {
    let mut reno = reno();
    reno.on_mss_change(500);
    assert_eq!(reno.window(), 10_000);
    reno.on_congestion(&CongestionEvent::new(Timestamp::START, TIMEOUT, 10_000, SeqNum::new(0)));
    assert_eq!((reno.window(), reno.ssthresh()), (500, 5000));
    reno.on_mss_change(9000);
    assert_eq!(reno.window(), 9000);
}

#[test]
fn a_copy_goes_its_own_way() {
    let mut one = reno();
    one.on_congestion(&CongestionEvent::new(Timestamp::START, LOSS, 10_000, SeqNum::new(0)));
    let mut copy = one.clone();
    copy.on_spurious(Timestamp::START);
    assert_eq!((one.window(), copy.window()), (5000, 10_000));
    one.on_spurious(Timestamp::START);
    assert_eq!(one.window(), 10_000);
}
