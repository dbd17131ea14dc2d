//! Acknowledgements that are thinned in bulk (`SocketOptions::ack_thinning`; RFC 3449 5.2.1, RFC 5681 4.2).

use std::time::Duration;

use ropeway_core::{AckThinning, ConnectionId, StackConfig};

use crate::common::*;

const MSS: u32 = 1460;
/// What a round trip takes, by the handshake.
const RTT: u64 = 40;

/// A peer that sends in bulk, and an application that reads all of it at once.
struct Bulk {
    lab: Lab,
    id: ConnectionId,
}

impl Bulk {
    fn new(thinning: Option<AckThinning>, change: impl FnOnce(&mut StackConfig)) -> Self {
        let mut lab = Lab::with(|config| {
            config.socket.ack_thinning = thinning;
            change(config);
        });
        let listener = lab.listen();
        lab.send(syn().mss(1460).ws(7).sack_ok(true));
        lab.expect(syn_ack().seq(0).ack(1));
        lab.after(RTT);
        lab.send(ack());
        let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().expect("it was accepted");
        Self { lab, id }
    }

    fn usual() -> Self {
        Self::new(Some(AckThinning::default()), |_| {})
    }

    /// One of which the rate has been the same for long.
    fn steady(thinning: AckThinning) -> Self {
        let mut bulk = Self::new(Some(thinning), |_| {});
        bulk.rounds(8, 40);
        bulk
    }

    /// A segment arrives, and is read; says what was acknowledged since the last, with the acknowledgements that this one has
    /// brought about.
    fn arrives(&mut self, seg: Seg) -> Vec<u32> {
        self.lab.input(seg);
        // Beyond a gap there is nothing to read.
        let _ = self.lab.stack.recv(self.lab.ts(), self.id, 1 << 20);
        self.acks()
    }

    fn acks(&mut self) -> Vec<u32> {
        let sent = self.lab.drain();
        let acks = sent.iter().map(|sent| sent.tcp.as_ref().unwrap().tcp.ack);
        acks.map(|ack| ack.get().wrapping_sub(self.lab.flow.isn)).collect()
    }

    fn full(&mut self) -> Vec<u32> {
        self.arrives(some(MSS as usize).no_push())
    }

    fn wait(&mut self, micros: u64) -> Vec<u32> {
        self.lab.run_to(self.lab.now + micros);
        self.acks()
    }

    /// So many full segments in each of so many round trips: how many acknowledgements they bring, in each.
    fn rounds(&mut self, rounds: usize, segments: u64) -> Vec<usize> {
        let round = |bulk: &mut Self| {
            (0..segments).map(|_| bulk.full().len() + bulk.wait(ms(RTT) / segments).len()).sum()
        };
        (0..rounds).map(|_| round(self)).collect()
    }
}

// SHLD-19
#[test]
fn unless_it_is_asked_for_every_second_segment_is_acknowledged() {
    assert_eq!(Bulk::new(None, |_| {}).rounds(10, 40), [20; 10]);
}

#[test]
fn bulk_at_a_steady_rate_is_acknowledged_four_times_a_round_trip() {
    let rounds = Bulk::usual().rounds(12, 40);
    // Nothing is known at first.
    assert_eq!(rounds[..4], [20; 4]);
    assert!(rounds[6..].iter().all(|acks| (4..=5).contains(acks)), "{rounds:?}");
}

#[test]
fn buffers_whose_size_is_set_make_no_difference() {
    let mut bulk = Bulk::new(Some(AckThinning::default()), |config| config.socket.recv_buffer = 1 << 20);
    let rounds = bulk.rounds(12, 40);
    assert_eq!(rounds[..4], [20; 4]);
    assert!(rounds[6..].iter().all(|acks| (4..=5).contains(acks)), "{rounds:?}");
}

// Slow start opens the window with each acknowledgement.
#[test]
fn while_the_rate_grows_every_second_segment_is_acknowledged() {
    let mut bulk = Bulk::usual();
    for segments in [10, 20, 40, 80] {
        assert_eq!(bulk.rounds(1, segments), [segments as usize / 2], "{segments} a round trip");
    }
    let mut bulk = Bulk::steady(AckThinning::default());
    // It is found out in the round trip after the one in which it has grown.
    bulk.rounds(2, 80);
    assert_eq!(bulk.rounds(1, 160), [80]);
}

#[test]
fn after_a_pause_every_second_segment_is_acknowledged() {
    let mut bulk = Bulk::steady(AckThinning::default());
    bulk.wait(ms(2000));
    let rounds = bulk.rounds(3, 40);
    assert_eq!(rounds, [20; 3]);
}

#[test]
fn few_segments_in_a_round_trip_are_acknowledged_as_ever() {
    assert_eq!(Bulk::usual().rounds(10, 8), [4; 10]);
}

/// How many segments the fullest of the acknowledgements has answered.
fn most_at_once(bulk: &mut Bulk, gap: u64) -> u32 {
    let (mut last, mut most) = (None, 0);
    for _ in 0..200 {
        let acks = [bulk.full(), bulk.wait(gap)].concat();
        for ack in acks {
            most = most.max(last.map_or(0, |last| (ack - last) / MSS));
            last = Some(ack);
        }
    }
    most
}

#[test]
fn it_is_bounded_by_a_count_a_time_and_the_window() {
    let usual = AckThinning::default();
    assert_eq!(most_at_once(&mut Bulk::steady(AckThinning { segments: 4, ..usual }), 1000), 4);
    for segments in [0, 1, 2] {
        assert_eq!(most_at_once(&mut Bulk::steady(AckThinning { segments, ..usual }), 1000), 2);
    }
    let short = AckThinning { delay: Duration::from_micros(3500), ..usual };
    assert_eq!(most_at_once(&mut Bulk::steady(short), 1000), 4);
    let zero = AckThinning { delay: Duration::ZERO, ..usual };
    assert!(most_at_once(&mut Bulk::steady(zero), 1000) <= 2);
    let mut small = Bulk::new(Some(usual), |config| config.socket.recv_buffer = 24 * 1460);
    small.rounds(8, 40);
    assert_eq!(most_at_once(&mut small, 1000), 6);
}

// What a stack is told not to delay, it does not.
#[test]
fn quick_ack_and_a_delay_of_zero_have_the_last_word() {
    let mut bulk = Bulk::steady(AckThinning::default());
    bulk.lab.set(bulk.id, |options| options.quick_ack = true);
    bulk.acks();
    assert_eq!(bulk.rounds(1, 40), [40]);
    bulk.lab.flow.nxt += MSS;
    assert_eq!(bulk.rounds(1, 40), [40]);
    let mut bulk = Bulk::new(Some(AckThinning::default()), |config| config.delayed_ack = Duration::ZERO);
    assert_eq!(bulk.rounds(8, 40), [40; 8]);
    // Of what lies beyond a gap neither.
    bulk.lab.flow.nxt += MSS;
    assert_eq!(bulk.rounds(1, 40), [40]);
}

/// A segment has just been acknowledged: what comes now waits.
fn just_acknowledged(bulk: &mut Bulk) {
    while bulk.full().is_empty() {
        assert!(bulk.wait(100).is_empty() || bulk.lab.next_deadline().is_none());
    }
}

#[test]
fn the_end_of_a_write_is_acknowledged_as_ever() {
    let mut bulk = Bulk::steady(AckThinning::default());
    just_acknowledged(&mut bulk);
    assert!(bulk.full().is_empty() && bulk.full().is_empty() && bulk.full().is_empty());
    let nxt = bulk.lab.flow.nxt;
    assert_eq!(bulk.arrives(some(100).push()), [nxt + 100]);
}

#[test]
fn what_ends_without_a_push_is_acknowledged_after_a_quarter_of_a_round_trip() {
    let mut bulk = Bulk::steady(AckThinning::default());
    just_acknowledged(&mut bulk);
    assert!(bulk.full().is_empty() && bulk.full().is_empty() && bulk.full().is_empty());
    assert!(bulk.wait(ms(RTT) / 4 - 100).is_empty());
    assert_eq!(bulk.wait(ms(1)), [bulk.lab.flow.nxt]);
}

// RFC 5681 4.2, RFC 8985 6.2
#[test]
fn beyond_a_gap_the_first_three_are_told_of_at_once_and_the_others_soon() {
    let mut bulk = Bulk::steady(AckThinning { sacks: 4, ..AckThinning::default() });
    just_acknowledged(&mut bulk);
    let una = bulk.lab.flow.nxt;
    bulk.lab.flow.nxt += MSS;
    for _ in 0..3 {
        assert_eq!(bulk.full(), [una]);
    }
    // Four by one, however close they come.
    for _ in 0..2 {
        assert_eq!([bulk.full(), bulk.full(), bulk.full()], [[0; 0]; 3]);
        assert_eq!(bulk.full(), [una]);
    }
    // Or after an eighth of a round trip.
    assert!(bulk.full().is_empty() && bulk.wait(ms(RTT) / 8 - 100).is_empty());
    assert_eq!(bulk.wait(ms(1)), [una]);
    // A further gap is news, and so is what fills the first, or what came twice.
    bulk.lab.flow.nxt += MSS;
    assert!(bulk.full() == [una] && bulk.full().is_empty());
    let end = bulk.lab.flow.nxt;
    assert_eq!(bulk.arrives(some(MSS as usize).seq(una).no_push()), [end - 3 * MSS]);
    assert_eq!(bulk.arrives(some(MSS as usize).seq(una).no_push()), [end - 3 * MSS]);
}

// Without SACK the sender counts them.
#[test]
fn without_sack_each_duplicate_is_sent() {
    let mut bulk = Bulk::new(Some(AckThinning::default()), |config| config.sack = false);
    bulk.rounds(8, 40);
    just_acknowledged(&mut bulk);
    let una = bulk.lab.flow.nxt;
    bulk.lab.flow.nxt += MSS;
    for _ in 0..10 {
        assert_eq!(bulk.full(), [una]);
    }
}

#[test]
fn off_again_it_is_as_ever() {
    let mut bulk = Bulk::steady(AckThinning::default());
    bulk.lab.set(bulk.id, |options| options.ack_thinning = None);
    bulk.wait(ms(RTT));
    assert_eq!(bulk.rounds(2, 40), [20; 2]);
}
