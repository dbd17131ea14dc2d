//! Congestion controls that are not the crate's: they are asked and told, and one that talks nonsense harms nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ropeway_core::congestion::{CongestionEvent, Controller, ControllerFactory, Delivery, Start};
use ropeway_core::{Algorithm, StackConfig, Timestamp};

use crate::common::*;

/// Answers the same, whatever happens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fixed {
    pub(crate) window: u32,
    pub(crate) ssthresh: u32,
    pub(crate) rate: Option<u64>,
    pub(crate) quantum: Option<u32>,
    told: Arc<[AtomicU32; 3]>,
}

impl Fixed {
    fn of(window: u32) -> Self {
        Self { window, ssthresh: u32::MAX, ..Self::default() }
    }

    /// How many acknowledgements, bytes acknowledged, and events it was told of.
    fn told(&self) -> [u32; 3] {
        [0, 1, 2].map(|n: usize| self.told[n].load(Ordering::Relaxed))
    }
}

impl ControllerFactory for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }

    fn build(&self, _start: &Start) -> Box<dyn Controller> {
        Box::new(self.clone())
    }
}

impl Controller for Fixed {
    fn window(&self) -> u32 {
        self.window
    }

    fn ssthresh(&self) -> u32 {
        self.ssthresh
    }

    fn pacing_rate(&self) -> Option<u64> {
        self.rate
    }

    fn quantum(&self) -> Option<u32> {
        self.quantum
    }

    fn on_ack(&mut self, delivery: &Delivery) {
        self.told[0].fetch_add(1, Ordering::Relaxed);
        self.told[1].fetch_add(delivery.acked, Ordering::Relaxed);
    }

    fn on_congestion(&mut self, _event: &CongestionEvent) {
        self.told[2].fetch_add(1, Ordering::Relaxed);
    }

    fn on_mss_change(&mut self, _mss: u32) {}

    fn boxed(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }
}

/// Ones whose answers nobody can follow, for settings at their extremes.
pub(crate) fn nonsense() -> Vec<Algorithm> {
    let mut all = Vec::new();
    for window in [0, 1, u32::MAX] {
        for ssthresh in [0, u32::MAX] {
            for rate in [None, Some(0), Some(1_000_000), Some(u64::MAX)] {
                for quantum in [None, Some(0), Some(u32::MAX)] {
                    all.push(Algorithm::custom(Fixed {
                        window,
                        ssthresh,
                        rate,
                        quantum,
                        ..Fixed::default()
                    }));
                }
            }
        }
    }
    all
}

const MSS: usize = 1460;

fn at_most(window: u32, algorithm: Algorithm, v6: bool) -> (Lab, ropeway_core::ConnectionId) {
    let mut lab = Lab::with(|config: &mut StackConfig| config.pacing = false).v6_if(v6);
    let id = lab.accepted_with(Peer::default(), |options| options.congestion = algorithm);
    assert_eq!((lab.info(id).congestion, lab.info(id).cwnd), ("fixed", window));
    lab.set(id, roomy);
    (lab, id)
}

#[test]
fn its_window_is_what_goes_out_and_it_hears_of_all_that_happens() {
    for v6 in [false, true] {
        let fixed = Fixed::of(3 * MSS as u32);
        let (mut lab, id) = at_most(3 * MSS as u32, Algorithm::custom(fixed.clone()), v6);
        lab.write(id, &pattern(0, 20 * MSS));
        for _ in 0..3 {
            assert_eq!(lab.drain().len(), 3);
            lab.send(ack());
        }
        let told = fixed.told();
        assert_eq!(told[1] as usize, 9 * 1440 + if v6 { 0 } else { 9 * 20 });
        assert_eq!((told[0], told[2]), (3, 0));
        assert_eq!(lab.drain().len(), 3);
        lab.run_to_deadline();
        lab.run_to_deadline();
        assert!(fixed.told()[2] >= 1, "a timeout");
    }
}

#[test]
fn a_stack_has_one_for_all_its_connections_and_a_socket_its_own() {
    let fixed = Algorithm::custom(Fixed::of(2 * MSS as u32));
    let lab = || Lab::with(|config| config.socket.congestion = fixed.clone());
    let (mut accepts, mut connects, mut differs) = (lab(), lab(), lab());
    let id = accepts.accepted(Peer::default());
    assert_eq!(accepts.info(id).congestion, "fixed");
    let id = connects.connected(Peer::default());
    assert_eq!(connects.info(id).congestion, "fixed");
    let id = differs.connected_with(Peer::default(), |options| options.congestion = Algorithm::NewReno);
    assert_eq!(differs.info(id).congestion, "reno");
}

#[test]
fn one_that_takes_over_a_connection_knows_the_window_there_was() {
    let seen = |algorithm: Algorithm| {
        let mut lab = Lab::with(|config| config.socket.congestion = algorithm);
        let id = lab.accepted(Peer::default());
        lab.write(id, &pattern(0, 10 * MSS));
        lab.drain();
        lab.send(ack());
        let before = (lab.info(id).cwnd, lab.info(id).ssthresh);
        lab.set(id, |options| options.congestion = Algorithm::NewReno);
        assert_eq!((lab.info(id).cwnd, lab.info(id).ssthresh), before);
        lab.set(id, |options| options.congestion = Algorithm::Cubic);
        assert_eq!((lab.info(id).cwnd, lab.info(id).ssthresh), before);
        before
    };
    assert_eq!(seen(Algorithm::Cubic), (20 * MSS as u32, u32::MAX));
    assert_eq!(seen(Algorithm::custom(Fixed::of(12_345))), (12_345, u32::MAX));
}

#[test]
fn a_window_of_nothing_is_one_segment() {
    let (mut lab, id) = at_most(0, Algorithm::custom(Fixed::of(0)), false);
    lab.write(id, &pattern(0, 5 * MSS));
    for n in 0..5 {
        lab.expect(data(pattern(n * MSS, MSS)));
        lab.quiet();
        lab.send(ack());
    }
    lab.quiet();
    assert_eq!(lab.stack.counters().retransmission_timeouts, 0);
}

#[test]
fn a_quantum_of_nothing_is_one_segment() {
    // A megabyte a second: a segment every 1.46 ms, after a burst.
    let fixed = Fixed { rate: Some(1_000_000), quantum: Some(0), ..Fixed::of(u32::MAX) };
    let mut lab = Lab::new();
    let peer = Peer { ws: Some(7), ..Peer::default() };
    let id = lab.accepted_with(peer, |options| options.congestion = Algorithm::custom(fixed));
    lab.write(id, &pattern(0, MSS));
    lab.drain();
    lab.after(50);
    lab.send(ack());
    lab.write(id, &pattern(0, 30 * MSS));
    let burst = lab.drain().len();
    assert!(burst < 30);
    lab.run_to_deadline();
    let start = lab.now;
    for n in 0..30 - burst as u64 {
        assert_eq!((lab.drain().len(), lab.now - start), (1, 1460 * n));
        lab.run_to_deadline();
    }
}

#[test]
fn the_clock_of_a_controller_is_the_stacks() {
    // It is built when the connection begins, and nobody asks a clock of its own.
    #[derive(Debug)]
    struct Witness(Arc<AtomicU32>);
    impl ControllerFactory for Witness {
        fn name(&self) -> &'static str {
            "witness"
        }
        fn build(&self, start: &Start) -> Box<dyn Controller> {
            assert!(start.now >= Timestamp::START && start.mss > 0);
            self.0.fetch_add(1, Ordering::Relaxed);
            Algorithm::Cubic.build(start)
        }
    }
    let count = Arc::new(AtomicU32::new(0));
    let witness: Arc<dyn ControllerFactory> = Arc::new(Witness(count.clone()));
    let mut lab = Lab::with(|config| config.socket.congestion = witness.into());
    let id = lab.accepted(Peer::default());
    assert!(count.load(Ordering::Relaxed) > 0);
    assert_eq!(lab.info(id).cwnd as usize, 10 * MSS);
}
