//! Nothing is left: what each connection may hold all the same, and what is told of the rest.

use ropeway_core::ConnectionId;
use ropeway_core::packet::TcpHeader;

use super::{BUDGET, Crowd};
use crate::common::*;

/// What peers send to each connection of a crowd, and what its application writes.
type Load = (&'static str, fn(n: u32) -> Seg, fn(&mut Lab, ConnectionId) -> bool);

/// Writes so much, if there is room.
fn writes(lab: &mut Lab, id: ConnectionId, bytes: &[u8]) -> bool {
    lab.stack.send(lab.ts(), id, bytes, Default::default()).is_ok()
}

const LOADS: [Load; 4] = [
    ("full segments", |_| some(1400), |lab, id| writes(lab, id, &[7; 1400])),
    ("short segments", |_| some(100), |lab, id| writes(lab, id, b"x")),
    (
        "bytes beyond gaps",
        |n| some(1).seq(3 + 2 * n),
        |lab, id| {
            // One fits behind the other in no chunk.
            writes(lab, id, b"x") && writes(lab, id, &[7; 2048])
        },
    ),
    (
        "segments beyond gaps",
        |n| some(600).seq(2 + 601 * n),
        |lab, id| {
            let mut bytes = vec![7; 700].into();
            lab.stack.send_bytes(lab.ts(), id, &mut bytes, Default::default()).is_ok()
        },
    ),
];

#[test]
fn as_many_connections_as_get_in_may_all_fill_both_ways_within_the_budget() {
    for (what, segment, write) in LOADS {
        let mut crowd = Crowd::new();
        let mut ids = Vec::new();
        for port in 1000..1400 {
            for network in 0..5 {
                crowd.from(network, port);
                ids.extend(crowd.open().map(|id| (network, port, id)));
            }
        }
        assert!((500..1500).contains(&ids.len()), "{} are open", ids.len());
        for (network, port, id) in ids {
            crowd.from(network, port);
            let lab = &mut crowd.lab;
            lab.input(ack().win(0));
            (0..40).for_each(|n| lab.input(segment(n)));
            let mut written = 0;
            while write(lab, id) {
                written += 1;
            }
            assert!(written > 0, "{what}: nothing can be written");
            lab.drain();
            lab.events.clear();
            let used = crowd.lab.stack.memory();
            assert!(used.total() <= BUDGET, "{what}: {used:?}");
        }
    }
}

#[test]
fn when_nothing_is_left_each_buffer_keeps_its_least_size() {
    for min in [512, 2048, 8192] {
        let mut lab = Lab::with(|config| {
            config.memory_budget = Some(BUDGET);
            (config.auto_recv_buffer.min, config.auto_send_buffer.min) = (min, min);
        });
        lab.silent = true;
        let id = lab.accepted_with(Peer { win: 0, ..Peer::default() }, |_| {});
        lab.stack.set_slabs(BUDGET);
        // A flight of them reaches far beyond what is left.
        (0..400).for_each(|_| lab.input(some(100)));
        lab.drain();
        let unread = lab.info(id).unread;
        assert!((min..2 * min + 2048).contains(&unread), "{unread} bytes of {min} are unread");
        let mut written = 0;
        while let Ok(taken) = lab.stack.send(lab.ts(), id, &[7; 100], Default::default()) {
            written += taken;
        }
        assert!((min..2 * min + 2048).contains(&written), "{written} bytes of {min} are written");
        let used = lab.stack.memory();
        assert!(used.send + used.receive <= 2 * (min + min / 4) + 3 * 1024, "{used:?}");
    }
}

#[test]
fn what_is_next_in_order_gets_in_although_gaps_have_taken_all() {
    let (mut crowd, id) = Crowd::with_nothing_left();
    let lab = &mut crowd.lab;
    (0..60).for_each(|n| lab.input(some(1).seq(2000 + 2 * n)));
    lab.drain();
    let held = lab.info(id).reassembly_memory;
    assert!((2000..4000).contains(&held), "{held} bytes");
    lab.input(some(1400).seq(1));
    assert_eq!(lab.info(id).unread, 1400);
    // And what has just arrived beyond a gap takes the place of what came before.
    lab.input(some(900).seq(3000));
    let sent = lab.drain().pop().unwrap().tcp.unwrap().tcp;
    let blocks: Vec<_> = sent.options.sack.as_slice().iter().map(|(from, _)| from.get()).collect();
    assert_eq!((sent.ack.get(), blocks), (1401, vec![3000]));
}

// RFC 9293 3.8.6 SHLD-14
#[test]
fn what_is_dropped_although_it_was_promised_is_answered_and_no_window_shrinks() {
    let (mut crowd, id) = Crowd::with_nothing_left();
    let now = crowd.lab.ts();
    crowd.lab.stack.update_options(now, id, |options| options.quick_ack = true).unwrap();
    let scale = crowd.scale;
    let edge = |last: &TcpHeader| last.ack.get() + (u32::from(last.window) << scale);
    let mut last = crowd.stuff(1).unwrap();
    for _ in 0..10 {
        let answer = crowd.stuff(1).expect("each segment is answered");
        assert!(edge(&answer) + (1 << scale) > edge(&last), "the right edge moves back");
        last = answer;
    }
    assert!(crowd.lab.counters().promised_dropped > 5);
    assert!(last.ack.get() < 6000, "{} is acknowledged", last.ack.get());
    // Those behind what was dropped are counted by a sender without SACK, one by one.
    crowd.lab.flow.nxt = last.ack.get() + 1400;
    crowd.lab.input(some(1400));
    crowd.lab.input(some(1400));
    let answers = crowd.lab.drain();
    let acks: Vec<_> = answers.iter().map(|sent| sent.tcp.as_ref().unwrap().tcp.ack).collect();
    assert_eq!(acks, [last.ack; 2]);
    // When it is read, the peer learns it.
    let unread = crowd.lab.info(id).unread;
    assert_eq!(crowd.lab.read_all(id).len(), unread);
    crowd.lab.flow.nxt = last.ack.get();
    assert!(crowd.stuff(1).unwrap().ack.get() > last.ack.get());
}
