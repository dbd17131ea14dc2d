//! One direction of a link, packet by packet.

use std::time::Duration;

use super::*;
use crate::link::{CoDel, Queue};
use crate::world::{NodeId, Notes, Packet};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn packet(id: u64) -> Packet {
    let mut bytes = vec![0; 100];
    bytes[..8].copy_from_slice(&id.to_be_bytes());
    Packet { id, sent_at: 0, from: NodeId(0), bytes: bytes.into(), notes: Notes::default() }
}

/// Sends so many packets, one each millisecond, and says when each arrived, and whether twice.
fn send(config: &Pipe, seed: u64, count: u64) -> Vec<Option<(Packet, Micros, bool)>> {
    let mut pipe = PipeState::new(Seed::of(seed), "test", config.clone());
    let send = |id| match pipe.cross(id * 1000, packet(id)) {
        Wire::Lost(..) => None,
        Wire::Arrives(packet, at, twice) => Some((packet, at, twice)),
    };
    (1..=count).map(send).collect()
}

fn lost(config: &Pipe, seed: u64) -> Vec<usize> {
    let sent = send(config, seed, 10_000);
    sent.iter().enumerate().filter(|(_, arrived)| arrived.is_none()).map(|(index, _)| index).collect()
}

#[test]
fn one_trouble_does_not_shift_the_chances_of_another() {
    let config = Pipe::new().loss(0.1);
    let plain = lost(&config, 1);
    let others = [
        config.clone().jitter(MS(5)),
        config.clone().duplicate(0.5),
        config.clone().corrupt(0.5),
        config.clone().reorder(0.5),
        config.clone().jitter(MS(1)).duplicate(0.1).corrupt(0.1).reorder(0.1).delay(MS(9)),
    ];
    for other in others {
        assert_eq!(lost(&other, 1), plain);
    }
    assert_ne!(lost(&config, 2), plain);
}

#[test]
fn losses_are_as_likely_as_they_are_said_to_be() {
    for loss in [0.01, 0.1, 0.5] {
        let expected = 10_000.0 * loss;
        for config in [Pipe::new().loss(loss), Pipe::new().loss(Loss::burst(loss, 4.0))] {
            let lost = lost(&config, 3).len() as f64;
            assert!((lost - expected).abs() < 0.35 * expected, "{lost} of {expected}: {:?}", config.loss);
        }
    }
}

#[test]
fn bursts_are_as_long_as_they_are_said_to_be() {
    let bursts = |config: &Pipe| {
        let lost = lost(config, 4);
        let starts = lost.iter().filter(|index| **index == 0 || !lost.contains(&(**index - 1))).count();
        lost.len() as f64 / starts as f64
    };
    let length = bursts(&Pipe::new().loss(Loss::burst(0.05, 8.0)));
    assert!((6.0..10.0).contains(&length), "{length}");
    let length = bursts(&Pipe::new().loss(0.05));
    assert!(length < 1.2, "{length}");
}

#[test]
fn chosen_packets_are_lost() {
    assert_eq!(lost(&Pipe::new().loss(Loss::Packets(vec![1, 3, 77])), 5), [0, 2, 76]);
    assert_eq!(lost(&Pipe::new().loss(Loss::Every(2500)), 5), [2499, 4999, 7499, 9999]);
    assert_eq!(lost(&Pipe::new().loss(Loss::Every(0)), 5), []);
    // Counted anew when it is set anew, and only then.
    let mut pipe = PipeState::new(Seed::of(5), "test", Pipe::new().loss(Loss::Packets(vec![2])));
    let mut is_lost = || matches!(pipe.cross(0, packet(1)), Wire::Lost(..));
    assert!(!is_lost());
    pipe.set(pipe.config.clone().delay(MS(1)));
    let mut is_lost = || matches!(pipe.cross(0, packet(1)), Wire::Lost(..));
    assert!(is_lost() && !is_lost());
    pipe.set(pipe.config.clone().loss(Loss::Packets(vec![1])));
    assert!(matches!(pipe.cross(0, packet(1)), Wire::Lost(..)));
}

#[test]
fn jitter_keeps_the_order_and_its_bounds() {
    let arrivals: Vec<_> = send(&Pipe::new().delay(MS(20)).jitter(MS(10)), 6, 5000);
    let delays = arrivals.iter().flatten().map(|(packet, at, _)| at - packet.id * 1000);
    let (least, most) = (delays.clone().min().unwrap(), delays.max().unwrap());
    assert!((20_000..22_000).contains(&least) && (29_900..=30_000).contains(&most), "{least} {most}");
    assert!(arrivals.iter().flatten().map(|(_, at, _)| at).is_sorted());
}

#[test]
fn jitter_that_may_overtake_keeps_its_bounds_and_not_the_order() {
    let config = Pipe::new().delay(MS(20)).jitter(MS(10)).overtaking(true);
    let arrivals: Vec<_> = send(&config, 6, 5000).into_iter().flatten().collect();
    let delays = arrivals.iter().map(|(packet, at, _)| at - packet.id * 1000);
    let (least, most) = (delays.clone().min().unwrap(), delays.max().unwrap());
    assert!((20_000..20_100).contains(&least) && (29_900..=30_000).contains(&most), "{least} {most}");
    // Whoever has been overtaken is not marked, whoever overtakes is.
    let mut latest = 0;
    for (packet, at, _) in &arrivals {
        assert_eq!(packet.notes.reordered, *at < latest);
        latest = latest.max(*at);
    }
    assert!(arrivals.iter().filter(|(packet, ..)| packet.notes.reordered).count() > 1000);
}

#[test]
fn bunches_arrive_at_once_and_in_order() {
    let arrivals = send(&Pipe::new().delay(MS(3)).bunch(MS(10)), 6, 100);
    let arrivals: Vec<_> = arrivals.iter().flatten().map(|(packet, at, _)| (packet.id, *at)).collect();
    assert_eq!(arrivals.len(), 100);
    for (id, at) in arrivals {
        assert_eq!(at, (id * 1000 + 3000).div_ceil(10_000) * 10_000);
    }
}

#[test]
fn runs_of_losses_have_an_end() {
    let lost = lost(&Pipe::new().loss(Loss::Runs { loss: 0.6, most: 3 }), 4);
    // Of 1 + 0.6 + 0.36 + 0.216 = 2.176 packets from one that arrives to the next, 1.176 are lost.
    assert!((5200..5600).contains(&lost.len()), "{}", lost.len());
    assert!(lost.windows(4).all(|four| four[3] - four[0] > 3));
    assert!(lost.windows(3).any(|three| three[2] - three[0] == 2));
}

#[test]
fn reordered_packets_are_overtaken_and_others_keep_their_order() {
    let config = Pipe::new().delay(MS(5)).reorder(0.1).reorder_by(MS(3));
    let arrivals = send(&config, 7, 5000);
    let (late, others): (Vec<_>, Vec<_>) =
        arrivals.iter().flatten().partition(|(packet, ..)| packet.notes.reordered);
    assert!((400..600).contains(&late.len()), "{}", late.len());
    assert!(late.iter().all(|(packet, at, _)| at - packet.id * 1000 == 8000));
    assert!(others.iter().all(|(packet, at, _)| at - packet.id * 1000 == 5000));
}

#[test]
fn duplicates_and_corruption() {
    let arrivals = send(&Pipe::new().duplicate(0.2).corrupt(0.2), 8, 5000);
    let twice = arrivals.iter().flatten().filter(|(_, _, twice)| *twice).count();
    assert!((900..1100).contains(&twice), "{twice}");
    let mut changed = 0;
    for (arrived, ..) in arrivals.iter().flatten() {
        let pairs = arrived.bytes.iter().zip(packet(arrived.id).bytes);
        let bits: u32 = pairs.map(|(one, other)| (*one ^ other).count_ones()).sum();
        assert_eq!(bits, u32::from(arrived.notes.corrupted));
        changed += bits;
    }
    assert!((900..1100).contains(&changed), "{changed}");
}

#[test]
fn queues_have_their_limits() {
    let room = |queue, waiting: u64| {
        let mut pipe = PipeState::new(Seed::of(9), "test", Pipe::new().queue(queue));
        for id in 0..waiting {
            pipe.bytes += 100;
            pipe.waiting.push_back(Waiting { since: 0, packet: packet(id) });
        }
        pipe.has_room(100)
    };
    assert!(room(Queue::packets(3), 2) && !room(Queue::packets(3), 3));
    assert!(room(Queue::bytes(350), 2) && !room(Queue::bytes(350), 3));
}

/// When what was given to the pipe arrives.
#[derive(Default)]
struct Arrivals(Vec<Micros>);

impl Outcome<Packet> for Arrivals {
    fn arrives(&mut self, at: Micros, _: Packet) {
        self.0.push(at);
    }

    fn dropped(&mut self, packet: Packet, cause: Cause) {
        panic!("{packet:?}: {cause}");
    }
}

// At 3 Gbit/s, a packet of 100 bytes takes 267 ns: less than the clock can tell.
#[test]
fn packets_that_take_less_than_a_microsecond_leave_at_the_rate_of_the_link() {
    let mut pipe = PipeState::new(Seed::of(1), "test", Pipe::new().rate(crate::Rate::gbit(3)));
    let mut arrivals = Arrivals::default();
    let mut departure = None;
    for id in 1..=1000 {
        departure = pipe.enter(5, packet(id), &mut arrivals).or(departure);
    }
    while let Some(at) = departure {
        departure = pipe.depart(at, &mut arrivals);
    }
    assert_eq!(arrivals.0.len(), 1000);
    assert_eq!(arrivals.0.last(), Some(&(5 + 267)));
}

/// What becomes of packets of 100 bytes, in order.
#[derive(Default)]
struct Fates(Vec<Result<u64, Cause>>);

impl Outcome<Packet> for Fates {
    fn arrives(&mut self, _: Micros, packet: Packet) {
        self.0.push(Ok(packet.id));
    }

    fn dropped(&mut self, _: Packet, cause: Cause) {
        self.0.push(Err(cause));
    }
}

#[test]
fn a_black_hole_swallows_what_is_larger_and_what_waits_when_it_opens() {
    let mut pipe =
        PipeState::new(Seed::of(1), "test", Pipe::new().black_hole(100).rate(crate::Rate::mbit(1)));
    let mut fates = Fates::default();
    let mut enter = |pipe: &mut PipeState<Packet>, id| pipe.enter(5, packet(id), &mut fates);
    let departure = enter(&mut pipe, 1).unwrap();
    enter(&mut pipe, 2);
    pipe.set(pipe.config().clone().black_hole(99));
    assert_eq!(enter(&mut pipe, 3), None);
    assert_eq!(pipe.waiting.len(), 2, "what is swallowed takes no room and no time");
    let next = pipe.depart(departure, &mut fates).unwrap();
    pipe.set(Pipe { black_hole: None, ..pipe.config().clone() });
    pipe.depart(next, &mut fates);
    assert_eq!(fates.0, [Err(Cause::BlackHole), Err(Cause::BlackHole), Ok(2)]);
}

/// How many of the packets that wait so long CoDel complains about, when one leaves the queue each millisecond.
fn complaints(waited: Micros, bytes: usize) -> usize {
    let mut state = CoDelState::default();
    let settings = CoDel::default();
    let judge = |ms: u64| state.judge(&settings, ms * 1000, waited, bytes) == Verdict::Congested;
    (1..=1000).map(judge).filter(|congested| *congested).count()
}

#[test]
fn codel_waits_for_an_interval_and_then_drops_ever_faster() {
    assert_eq!(complaints(4_000, 100_000), 0, "below the target");
    assert_eq!(complaints(20_000, 1_500), 0, "a queue of one packet");
    // After 100 ms the first, then after 100, 71, 58 ... ms: 900 ms make 100 * (1 + 1/sqrt 2 + ... + 1/sqrt 27).
    let dropped = complaints(20_000, 100_000);
    assert!((24..=30).contains(&dropped), "{dropped}");
}

#[test]
fn only_packets_that_may_be_marked_are_marked() {
    let v4 = |ecn: u8| {
        let params = ropeway_packet::IpParams {
            src: [10, 0, 0, 1].into(),
            dst: [10, 0, 0, 2].into(),
            protocol: ropeway_packet::Protocol::TCP,
            hop_limit: 64,
            traffic_class: 0xb8 | ecn,
            dont_fragment: true,
            ident: 0,
            flow_label: 0,
        };
        let mut bytes = vec![0; 40];
        params.emit(20, &mut bytes);
        bytes
    };
    let v6 = |ecn: u8| {
        let mut bytes = vec![0; 60];
        bytes[..2].copy_from_slice(&[0x6b, 0x80 | ecn << 4]);
        bytes
    };
    for (make, which) in [(&v4 as &dyn Fn(u8) -> Vec<u8>, "v4"), (&v6, "v6")] {
        for ecn in 0..4 {
            let mut packet = Packet { bytes: make(ecn).into(), ..packet(1) };
            assert_eq!(packet.mark(), ecn != 0, "{which} {ecn}");
            let expected = if ecn == 0 { 0 } else { 3 };
            if which == "v4" {
                // The header's checksum is right.
                let parsed = ropeway_packet::ip::parse(&packet.bytes).unwrap();
                assert_eq!(parsed.traffic_class, 0xb8 | expected);
            } else {
                assert_eq!(packet.bytes[..], make(expected)[..]);
            }
        }
    }
}
