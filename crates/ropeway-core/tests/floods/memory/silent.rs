//! What peers and programs hold that do nothing any more, when others need memory.

use ropeway_core::ConnectionId;

use super::{BUDGET, Crowd};
use crate::common::*;

/// A hundred connections that hold ten segments beyond a gap each, and of which nothing is heard after that.
fn with_gaps() -> (Crowd, Vec<ConnectionId>) {
    let mut crowd = Crowd::new();
    let ids = (0..100).map(|n| {
        crowd.from(1, 1000 + n);
        let id = crowd.open().unwrap();
        for n in 0..10 {
            crowd.lab.input(some(1400).seq(1401 + 2800 * n));
        }
        crowd.lab.drain();
        id
    });
    let ids = ids.collect();
    (crowd, ids)
}

#[test]
fn a_silent_peers_gaps_are_given_up_when_others_fill_the_memory() {
    let (mut crowd, ids) = with_gaps();
    let before = crowd.lab.stack.memory().reassembly;
    assert!(before > 100 * 14_000);
    // Others of its network do not read.
    for round in 0..60 {
        for port in 3000..3100 {
            crowd.from(1, port);
            if round == 0 {
                crowd.open();
            }
            crowd.stuff(1);
            crowd.assert_within_budget();
        }
    }
    let used = crowd.lab.stack.memory();
    assert!(used.reassembly < before / 4, "{used:?}");
    assert!(crowd.lab.counters().bytes_reneged >= 75 * 14_000);
    // Their peers repair it, each at its pace.
    for (port, id) in (1000..).zip(ids) {
        crowd.from(1, port);
        let mut read = 0;
        for n in 0..3 {
            crowd.lab.flow.nxt = 1 + 1400 * n;
            crowd.stuff(1);
            read += crowd.lab.read_all(id).len();
        }
        assert!(read >= 4200 && read % 1400 == 0, "port {port}: {read}");
    }
}

#[test]
fn silent_peers_keep_their_gaps_while_there_is_memory() {
    let (mut crowd, _) = with_gaps();
    let before = crowd.lab.stack.memory().reassembly;
    for port in 3000..3100 {
        crowd.from(1, port);
        crowd.open();
        crowd.stuff(10);
    }
    let used = crowd.lab.stack.memory();
    assert_eq!((used.reassembly, crowd.lab.counters().bytes_reneged), (before, 0), "{used:?}");
}

#[test]
fn orphans_of_silent_peers_are_reset_when_others_fill_the_memory() {
    let mut crowd = Crowd::new();
    for port in 1000..1100 {
        crowd.from(1, port);
        let id = crowd.open().unwrap();
        let lab = &mut crowd.lab;
        lab.input(ack().win(0));
        lab.stack.send(lab.ts(), id, &[7; 20_000], Default::default()).unwrap();
        lab.close(id);
        lab.drain();
    }
    assert_eq!((crowd.lab.stack.sizes().orphans, crowd.lab.counters().orphans_reset), (100, 0));
    // Others come as long as there is room, and again.
    for port in 3000..3900 {
        crowd.from(1, port);
        crowd.open();
        crowd.assert_within_budget();
    }
    assert!(crowd.lab.counters().opens_refused > 0);
    let (left, reset) = (crowd.lab.stack.sizes().orphans, crowd.lab.counters().orphans_reset);
    assert!(reset >= 90 && left as u64 + reset == 100, "{reset} were reset, and {left} are left");
}

#[test]
fn writers_who_wait_leave_room_for_connections() {
    // One network, and many: then those who came first have had their share.
    for (networks, per_network, newcomers) in [(1u8, 200u16, &[0, 200][..]), (100, 2, &[200])] {
        let mut crowd = Crowd::new();
        let places =
            (0..networks).flat_map(|network| (1000..1000 + per_network).map(move |port| (network, port)));
        let open = places.map(|(network, port)| {
            crowd.from(network, port);
            let id = crowd.open().unwrap();
            crowd.lab.input(ack().win(0));
            id
        });
        let ids: Vec<_> = open.collect();
        for id in [&ids[..]; 20].concat() {
            let lab = &mut crowd.lab;
            while lab.stack.send(lab.ts(), id, &[7; 65_536], Default::default()).is_ok() {}
            lab.drain();
            lab.events.clear();
        }
        crowd.assert_within_budget();
        let used = crowd.lab.stack.memory();
        assert!(used.total() > BUDGET / 2, "{used:?}");
        for network in newcomers {
            crowd.from(*network, 5000);
            let id = crowd.open().unwrap_or_else(|| panic!("{network} is refused at {used:?}"));
            crowd.stuff(2);
            assert_eq!(crowd.lab.read_all(id).len(), 2800);
        }
    }
}
