//! Queues: full ones drop and count, or make the sender wait; memory is shared.

use ropeway_core::packet::Protocol;
use ropeway_core::{DatagramError, Event, PortPolicy, Readiness, Received, Timestamp};

use crate::common::*;
use crate::{datagram, read};

#[test]
fn a_full_queue_drops_the_newest_and_counts_them() {
    let mut lab = Lab::new();
    let id = lab.bind_with("10.0.0.2:53", |options| options.recv_buffer = 10_000);
    for n in 0..100u8 {
        lab.inject(datagram("10.0.0.1:5000", "10.0.0.2:53", &[n; 900]));
    }
    let info = lab.stack.udp_info(id).unwrap();
    assert!((8..=11).contains(&info.unread) && info.unread_memory <= 10_000, "{info:?}");
    assert_eq!(info.dropped, 100 - info.unread as u64);
    assert_eq!(lab.stack.counters().udp_queue_full, info.dropped);
    for n in 0..info.unread {
        assert_eq!(usize::from(lab.heard(id).payload[0]), n);
    }
    lab.send_packet(datagram("10.0.0.1:5000", "10.0.0.2:53", b"room again"));
    assert_eq!(lab.heard(id).payload, b"room again"[..]);
}

/// A small datagram in a large slab keeps no more than itself alive; what many share counts as a whole.
#[test]
fn what_is_held_is_what_is_counted() {
    let mut lab = Lab::new();
    let id = lab.bind("10.0.0.2:53");
    let empty = lab.stack.memory().datagrams;
    for (len, most) in [(10, 300), (600, 1700), (1400, 1700)] {
        let packet = datagram("10.0.0.1:5000", "10.0.0.2:53", &vec![7; len]);
        let slab = Received::new(packet.into()).with_true_size(Some(1536));
        lab.stack.handle_packet(lab.ts(), slab);
        let held = lab.stack.memory().datagrams - empty;
        assert!((len..most).contains(&held), "{len} bytes take {held}");
        lab.heard(id);
        assert_eq!(lab.stack.memory().datagrams, empty);
    }
    lab.stack.udp_close(lab.ts(), id);
    assert_eq!(lab.stack.memory().datagrams, 0);
}

/// RFC 8085 3.1 leaves the pace to the application; a flood of one socket must not cost another its datagrams.
#[test]
fn a_flooded_socket_leaves_room_to_the_others_and_to_tcp() {
    let mut lab = Lab::with(|config| config.memory_budget = Some(1 << 20));
    lab.silent = true;
    let flooded = lab.bind_with("10.0.0.2:53", |options| options.recv_buffer = 1 << 30);
    let other = lab.bind("10.0.0.2:54");
    for n in 0..5000u32 {
        let from = format!("10.{}.{}.1:5000", 1 + n / 200, n % 200);
        lab.inject(datagram(&from, "10.0.0.2:53", &[7; 1000]));
    }
    let memory = lab.stack.memory();
    assert!(memory.datagrams < (1 << 20) / 8, "{memory:?}");
    assert!(lab.stack.counters().udp_memory_dropped > 4000);
    for _ in 0..10 {
        lab.inject(datagram("10.0.0.1:5000", "10.0.0.2:54", &[7; 1000]));
    }
    assert_eq!(lab.stack.udp_info(other).unwrap().unread, 10);
    lab.collect();
    let connection = lab.accepted(Peer::default());
    lab.send(some(1000));
    assert_eq!(lab.read(connection, 2000).len(), 1000);
    lab.drain();
    while lab.stack.udp_recv(flooded).is_ok() {}
    assert_eq!(lab.stack.udp_info(flooded).unwrap().unread_memory, 0);
}

/// So many ports at once: a scan of all, with a socket among them.
#[test]
fn a_flood_of_ports_costs_no_memory_and_gets_so_many_answers_a_second() {
    let mut lab = Lab::with(|config| config.icmp_errors_per_second = 50);
    lab.silent = true;
    let id = lab.bind("10.0.0.2:53");
    let before = lab.stack.memory();
    for port in 1..=20_000 {
        lab.inject(datagram("10.0.0.1:5000", &format!("10.0.0.2:{port}"), &[7; 100]));
    }
    let answers = lab.drain();
    assert_eq!(answers.len(), 50);
    assert!(answers.iter().all(|answer| answer.packet.len() <= 128 + 28), "no amplification");
    lab.heard(id);
    assert_eq!(lab.stack.memory().total(), before.total());
    assert_eq!(lab.stack.counters().icmp_rate_limited, 20_000 - 1 - 50);
}

/// Whoever is named as the source of a flood gets a part of what is sent, and others are still answered.
#[test]
fn one_address_gets_its_part_of_the_errors_a_second() {
    let mut lab = Lab::with(|config| config.icmp_errors_per_source = 10);
    lab.silent = true;
    let asks = |lab: &mut Lab, from: &str, to: &str, times: usize| {
        for _ in 0..times {
            lab.inject(datagram(&format!("{from}:5000"), &format!("{to}:53"), b"?"));
        }
        lab.drain().len()
    };
    assert_eq!(asks(&mut lab, "10.0.0.1", "10.0.0.2", 500), 10);
    assert_eq!(asks(&mut lab, "10.0.0.7", "10.0.0.2", 1), 1);
    lab.at(1000);
    assert_eq!(asks(&mut lab, "10.0.0.1", "10.0.0.2", 500), 10);
    // A host of IPv6 has as many addresses as it likes.
    let answers: usize =
        (1..200).map(|host| asks(&mut lab, &format!("[fd00::1:{host:x}]"), "[fd00::2]", 1)).sum();
    assert_eq!(answers, 10);
    let counters = lab.stack.counters();
    assert_eq!((counters.icmp_errors_sent, counters.icmp_rate_limited), (31, 490 + 490 + 189));
}

/// Over a device that takes nothing.
#[test]
fn a_sender_waits_when_too_much_waits_to_leave() {
    let mut lab = Lab::new();
    let id = lab.bind_with("10.0.0.2:53", |options| options.send_buffer = 10_000);
    let mut sent = 0u8;
    while lab.say_to(id, "10.0.0.1:5", &[sent; 1000]).is_ok() {
        sent += 1;
        assert!(sent < 100, "nobody waits");
    }
    assert_eq!(lab.say_to(id, "10.0.0.1:5", &[0; 1000]), Err(DatagramError::WouldBlock));
    assert!(!lab.stack.udp_readiness(id).contains(Readiness::WRITABLE));
    assert!((7..=10).contains(&sent));
    assert!(lab.stack.memory().waiting >= usize::from(sent) * 1000);
    // A socket of our own hears at once all the same.
    let own = lab.bind("127.0.0.1:9");
    lab.say_to(own, "127.0.0.1:9", b"x").unwrap();
    lab.heard(own);
    lab.events.clear();
    for n in 0..sent {
        assert_eq!(read(&lab.next_packet()).3[0], n);
    }
    assert_eq!(
        lab.events
            .iter()
            .filter(|event| matches!(event, Event::Udp(of, gained)
        if *of == id && gained.contains(Readiness::WRITABLE)))
            .count(),
        1
    );
    assert_eq!((lab.stack.memory().waiting, lab.stack.udp_info(id).unwrap().unsent_memory), (0, 0));
    lab.say_to(id, "10.0.0.1:5", b"x").unwrap();
}

#[test]
fn senders_take_turns_and_all_together_are_bounded() {
    let mut lab = Lab::with(|config| config.memory_budget = Some(1 << 20));
    let ids: Vec<_> = (1..=40).map(|n| lab.bind(&format!("10.0.0.2:{n}"))).collect();
    let mut waiting = Vec::new();
    for round in 0..100u8 {
        for id in &ids {
            if lab.say_to(*id, "10.0.0.1:5", &[round; 100]).is_err() {
                waiting.push(*id);
            }
        }
    }
    assert!(lab.stack.memory().waiting <= (1 << 20) / 32 + 1000, "{:?}", lab.stack.memory());
    let first: Vec<_> =
        (0..40).map(|_| read(&lab.stack.poll_transmit(lab.ts()).unwrap().to_bytes()).1).collect();
    let mut senders = first.clone();
    senders.sort();
    senders.dedup();
    assert_eq!(senders.len(), 40, "each has had a turn");
    waiting.sort();
    waiting.dedup();
    lab.events.clear();
    lab.drain();
    for id in waiting {
        assert!(
            lab.events.iter().any(|event| matches!(event, Event::Udp(of, gained)
            if *of == id && gained.contains(Readiness::WRITABLE))),
            "{id:?} waits for ever"
        );
        lab.say_to(id, "10.0.0.1:5", b"x").unwrap();
    }
}

#[test]
fn what_was_sent_leaves_though_its_socket_is_closed() {
    let mut lab = Lab::new();
    let id = lab.bind("10.0.0.2:53");
    for n in 0..3 {
        lab.say_to(id, "10.0.0.1:5", &[n]).unwrap();
    }
    lab.stack.udp_close(lab.ts(), id);
    assert_eq!(lab.stack.sizes().udp_sockets, 0);
    assert_eq!(lab.say_to(id, "10.0.0.1:5", b"x"), Err(DatagramError::UnknownSocket));
    lab.bind("10.0.0.2:53");
    for n in 0..3 {
        assert_eq!(read(&lab.next_packet()).3, [n]);
    }
    lab.collect();
    assert_eq!((lab.stack.has_output(), lab.stack.memory().waiting), (false, 0));
}

/// What ports say does not concern those whom a connected socket talks to.
#[test]
fn a_port_policy_is_for_those_who_come_unasked() {
    for (policy, answers) in [(PortPolicy::Refuse, 1), (PortPolicy::Prohibit, 1), (PortPolicy::Drop, 0)] {
        let mut lab = Lab::new();
        let id = lab.bind("10.0.0.2:53");
        let connected = lab.bound_to("10.0.0.2:54", "10.0.0.1:5000");
        lab.stack.set_port_policy(Protocol::UDP, 1..=100, policy);
        lab.send_packet(datagram("10.0.0.1:5000", "10.0.0.2:53", b"x"));
        lab.heard_nothing(id);
        assert_eq!(lab.drain().len(), answers);
        lab.send_packet(datagram("10.0.0.1:5000", "10.0.0.2:54", b"x"));
        lab.heard(connected);
    }
}

#[test]
fn ten_thousand_sockets_cost_what_they_are_and_each_hears_its_own() {
    let mut lab = Lab::new();
    lab.silent = true;
    let ids: Vec<_> = (1..=10_000).map(|port| lab.bind(&format!("10.0.0.2:{port}"))).collect();
    let each = lab.stack.memory().datagrams / 10_000;
    assert!(each < 512, "{each} bytes");
    for (n, id) in ids.iter().enumerate() {
        lab.inject(datagram("10.0.0.1:5000", &format!("10.0.0.2:{}", n + 1), &(n as u32).to_be_bytes()));
        assert_eq!(lab.heard(*id).payload, (n as u32).to_be_bytes()[..]);
    }
    for id in ids {
        lab.stack.udp_close(lab.ts(), id);
    }
    assert_eq!((lab.stack.memory().datagrams, lab.stack.sizes().udp_sockets), (0, 0));
    assert_eq!(lab.stack.poll_timeout(), None::<Timestamp>);
}
