//! The path on a clock of the test's own.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use ropeway_sim::Rate;

use super::*;

const MS: u64 = 1000;

/// A port's two queues.
#[derive(Clone, Default)]
struct Queues {
    incoming: Rc<RefCell<VecDeque<Vec<u8>>>>,
    outgoing: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl Port for Queues {
    fn recv(&mut self, packet: &mut [u8]) -> io::Result<Option<usize>> {
        let next = self.incoming.borrow_mut().pop_front();
        Ok(next.map(|next| {
            packet[..next.len()].copy_from_slice(&next);
            next.len()
        }))
    }

    fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        self.outgoing.borrow_mut().push(packet.to_vec());
        Ok(())
    }
}

struct Lab {
    path: Path<Queues>,
    sender: Queues,
    receiver: Queues,
}

impl Lab {
    fn new(forth: Pipe, changes: Vec<(Micros, Change)>) -> Self {
        let (sender, receiver) = (Queues::default(), Queues::default());
        let course = Course { seed: 1, forth, back: Pipe::new().delay(Duration::from_millis(3)), changes };
        Self { path: Path::new(course, sender.clone(), receiver.clone()), sender, receiver }
    }

    /// A turn at so many microseconds, and how many packets have come out at the receiver so far.
    fn turn(&mut self, at: Micros) -> usize {
        self.path.turn(|| at * 1000).unwrap();
        self.receiver.outgoing.borrow().len()
    }

    fn send(&self, packet: Vec<u8>) {
        self.sender.incoming.borrow_mut().push_back(packet);
    }
}

/// An IPv4 packet of this protocol and length, as far as a path looks at one, with a mark.
fn packet(protocol: u8, length: usize, mark: u8) -> Vec<u8> {
    let mut packet = vec![0; length];
    (packet[0], packet[PROTOCOL], packet[length - 1]) = (0x45, protocol, mark);
    packet
}

#[test]
fn a_packet_arrives_after_its_wire_time_and_the_delay() {
    let mut lab = Lab::new(Pipe::new().rate(Rate::mbit(10)).delay(Duration::from_millis(10)), Vec::new());
    // A millisecond each.
    (0..2).for_each(|mark| lab.send(packet(TCP, 1250, mark)));
    assert_eq!([0, 10_999, 11_000, 11_999, 12_000].map(|at| lab.turn(at)), [0, 0, 1, 1, 2]);
    assert_eq!(lab.receiver.outgoing.borrow()[1], packet(TCP, 1250, 1));
    // And back, on a link of its own.
    lab.receiver.incoming.borrow_mut().push_back(packet(TCP, 40, 0));
    let back = [20_000, 22_999, 23_000].map(|at| {
        lab.turn(at);
        lab.sender.outgoing.borrow().len()
    });
    assert_eq!(back, [0, 0, 1]);
}

#[test]
fn only_tcp_crosses_the_path() {
    let mut lab = Lab::new(Pipe::new(), Vec::new());
    for protocol in [1, 17, TCP, 58] {
        lab.send(packet(protocol, 100, protocol));
    }
    lab.turn(0);
    assert_eq!(lab.turn(1), 1);
    assert_eq!(lab.receiver.outgoing.borrow()[0], packet(TCP, 100, TCP));
}

#[test]
fn a_path_changes_when_it_is_to() {
    let changes =
        vec![(5 * MS, Change::Up(false)), (9 * MS, Change::Up(true)), (9 * MS, Change::Rate(Rate::mbit(1)))];
    let mut lab = Lab::new(Pipe::new().rate(Rate::mbit(10)), changes);
    for at in [3 * MS, 6 * MS, 8 * MS, 9 * MS] {
        lab.send(packet(TCP, 1250, 0));
        lab.turn(at);
    }
    assert_eq!(lab.path.counts().forth.lost, 2);
    // The first one took a millisecond, the last one takes ten.
    assert_eq!([18_999, 19_000].map(|at| lab.turn(at)), [1, 2]);
}

#[test]
fn what_is_late_or_is_not_seen_for_long_is_noted() {
    let mut lab = Lab::new(Pipe::new().delay(Duration::from_millis(10)), Vec::new());
    lab.send(packet(TCP, 100, 0));
    lab.turn(0);
    lab.turn(10_007);
    let counts = lab.path.counts();
    assert_eq!((counts.late.most(), counts.unseen.most()), (7.0, 10_007.0));
}

#[test]
fn a_turn_takes_in_no_more_than_a_batch() {
    let mut lab = Lab::new(Pipe::new(), Vec::new());
    (0..=BATCH).for_each(|_| lab.send(packet(TCP, 100, 0)));
    lab.turn(0);
    assert_eq!(lab.turn(1), BATCH);
    assert_eq!(lab.turn(2), BATCH + 1);
}

#[test]
fn the_same_seed_loses_the_same_packets() {
    let lost = |start: u8| {
        let mut lab = Lab::new(Pipe::new().loss(0.2), Vec::new());
        for number in 0..100 {
            lab.send(packet(TCP, 100, start + number));
            lab.turn(u64::from(number) * MS);
        }
        lab.turn(200 * MS);
        let arrived = lab.receiver.outgoing.take();
        arrived.into_iter().map(|packet| packet[99] - start).collect::<Vec<u8>>()
    };
    assert_eq!(lost(0), lost(100));
    assert!((60..95).contains(&lost(0).len()));
}

#[test]
fn what_is_kept_is_what_the_sender_sees() {
    let mut lab = Lab::new(Pipe::new().delay(Duration::from_millis(10)), Vec::new());
    lab.path.keep_packets();
    lab.send(packet(TCP, 100, 1));
    let answer = Cell::new(Some(packet(TCP, 40, 2)));
    for at in [0, 10 * MS, 13 * MS] {
        if lab.turn(at) > 0 {
            lab.receiver.incoming.borrow_mut().extend(answer.take());
            lab.turn(at);
        }
    }
    let seen: Vec<(Micros, u8)> =
        lab.path.seen().unwrap().iter().map(|seen| (seen.at, *seen.packet.last().unwrap())).collect();
    assert_eq!(seen, [(0, 1), (13 * MS, 2)]);
}
