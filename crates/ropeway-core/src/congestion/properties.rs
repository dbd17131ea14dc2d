//! What holds for every control, whatever it is told.

use std::time::Duration;

use proptest::prelude::*;
use ropeway_packet::SeqNum;

use super::*;
use crate::time::Timestamp;

#[derive(Clone, Debug)]
enum Call {
    Sent(u64, u32, u32),
    Ack(Box<Delivery>),
    Lost(u64, Departure),
    Congestion(CongestionEvent),
    Spurious(u64),
    Idle(u64, Duration),
    Mss(u32),
    /// A copy goes on; the other one is thrown away.
    Copy,
}

/// The ends of the range, and what lies between them, small and large.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), Just(u32::MAX), Just(1 << 30), Just(1 << 31), 0..100_000u32, any::<u32>()]
}

fn moment() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), 0..1_000_000_000u64, any::<u64>()]
}

fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        (0..10_000_000u64).prop_map(Duration::from_micros),
        any::<u64>().prop_map(Duration::from_micros),
    ]
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        4 => Just(Phase::Open),
        1 => Just(Phase::Disorder),
        1 => Just(Phase::Cwr),
        1 => Just(Phase::Recovery),
        1 => Just(Phase::Loss),
    ]
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let round_trips = (prop::option::of(time()), prop::option::of(time()));
    let course = (
        prop::option::of(departure().boxed()),
        prop::option::of((any::<u64>(), time())),
        number(),
        any::<bool>(),
    );
    ((moment(), number(), number(), number()), round_trips, any::<[bool; 2]>(), phase(), course).prop_map(
        |((now, una, nxt, acked), (rtt, srtt), [window_limited, spurious], phase, course)| Delivery {
            newest: course.0,
            rate: course.1.map(|(delivered, interval)| RateSample::new(delivered, interval)),
            in_flight: course.2,
            marked: if course.3 { acked } else { 0 },
            sack: course.3,
            una: SeqNum::new(una),
            nxt: SeqNum::new(nxt),
            acked,
            delivered: acked,
            rtt,
            srtt,
            window_limited,
            spurious,
            phase,
            ..Delivery::new(Timestamp::from_micros(now))
        },
    )
}

fn departure() -> impl Strategy<Value = Departure> {
    let numbers = (number(), number(), number(), number());
    (numbers, any::<[u64; 2]>(), any::<bool>()).prop_map(
        |((start, len, in_flight, lost_since), [delivered, delivered_since], app_limited)| Departure {
            delivered,
            delivered_since,
            in_flight,
            lost_since,
            app_limited,
            ..Departure::new(SeqNum::new(start), len)
        },
    )
}

fn event() -> impl Strategy<Value = CongestionEvent> {
    let cause = prop_oneof![
        Just(Congestion::Loss),
        Just(Congestion::Ecn),
        Just(Congestion::LostHandshake),
        any::<bool>().prop_map(|again| Congestion::Timeout { again }),
    ];
    (moment(), cause, number(), number(), number()).prop_map(|(now, cause, flight, in_flight, nxt)| {
        let now = Timestamp::from_micros(now);
        CongestionEvent { in_flight, ..CongestionEvent::new(now, cause, flight, SeqNum::new(nxt)) }
    })
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        2 => (moment(), number(), number()).prop_map(|(now, len, out)| Call::Sent(now, len, out)),
        12 => delivery().boxed().prop_map(|delivery| Call::Ack(Box::new(delivery))),
        2 => (moment(), departure().boxed()).prop_map(|(now, lost)| Call::Lost(now, lost)),
        4 => event().prop_map(Call::Congestion),
        2 => moment().prop_map(Call::Spurious),
        1 => (moment(), time()).prop_map(|(now, idle)| Call::Idle(now, idle)),
        1 => number().prop_map(Call::Mss),
        1 => Just(Call::Copy),
    ]
}

fn algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![
        Just(Algorithm::NewReno),
        Just(Algorithm::Cubic),
        Just(Algorithm::custom(Cubic::without_hystart())),
        Just(Algorithm::Bbr),
        Just(Algorithm::custom(Bbr::with_marks())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    /// Nothing panics, and the window stays between a segment and a gibibyte. Acknowledgements do not lower it, and a congestion
    /// event never raises it beyond two segments; but BBR's follows its model.
    #[test]
    fn the_window_stays_within_its_bounds(
        algorithm in algorithm(),
        mss in number(),
        window in prop::option::of((number(), number())),
        calls in prop::collection::vec(call().boxed(), 0..60),
    ) {
        let mut start = Start::new(Timestamp::START, mss);
        start.window = window;
        let mut mss = mss.clamp(1, 65_535);
        let follows_losses = algorithm.name() != "bbr";
        let mut control = algorithm.build(&start);
        for call in calls {
            let before = control.window();
            match call {
                Call::Sent(now, len, out) => control.on_sent(Timestamp::from_micros(now), len, out),
                Call::Ack(delivery) => {
                    control.on_ack(&delivery);
                    let allowed = u64::from(before) + u64::from(delivery.acked.max(before / 2 + mss));
                    prop_assert!(control.window() >= before || !follows_losses);
                    prop_assert!(u64::from(control.window()) <= allowed || !follows_losses);
                }
                Call::Lost(now, lost) => {
                    control.on_lost(Timestamp::from_micros(now), &lost);
                    prop_assert!(control.window() == before);
                }
                Call::Congestion(event) => {
                    control.on_congestion(&event);
                    prop_assert!(control.window() <= before.max(2 * mss));
                }
                Call::Spurious(now) => {
                    control.on_spurious(Timestamp::from_micros(now));
                    prop_assert!(control.window() >= before);
                }
                Call::Idle(now, idle) => {
                    control.on_idle(Timestamp::from_micros(now), idle);
                    prop_assert!(control.window() <= before);
                }
                Call::Mss(new) => {
                    mss = new.clamp(1, 65_535);
                    control.on_mss_change(new);
                }
                Call::Copy => control = control.clone(),
            }
            prop_assert!((mss..=1 << 30).contains(&control.window()), "{control:?}");
            prop_assert!(control.ssthresh() > 0 || window.is_some(), "{control:?}");
        }
    }
}
