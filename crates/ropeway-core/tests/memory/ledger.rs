//! What the ledger tells, beside what the allocator counts.

use ropeway_core::packet::Protocol;
use ropeway_core::packet::icmp::emit_echo_request;
use ropeway_core::{ConnectionId, MemoryUse, Received};

use super::common::*;
use super::{live, silent};

/// What so many connections do.
type Load = (&'static str, fn(&mut Lab, ConnectionId), fn(&MemoryUse) -> usize);

const LOADS: [Load; 6] = [
    ("idle", |_, _| {}, |used| used.records),
    (
        "writes to a closed window",
        |lab, id| {
            lab.input(ack().win(0));
            lab.stack.send(lab.ts(), id, &[7; 20_000], Default::default()).unwrap();
        },
        |used| used.send,
    ),
    (
        "writes byte by byte",
        |lab, id| {
            lab.input(ack().win(0));
            for _ in 0..3000 {
                lab.stack.send(lab.ts(), id, b"x", Default::default()).unwrap();
            }
        },
        |used| used.send,
    ),
    ("does not read", |lab, _| (0..10).for_each(|_| lab.input(some(1400))), |used| used.receive),
    (
        "leaves gaps",
        |lab, _| (0..10).for_each(|n| lab.input(some(1400).seq(2 + 1401 * n))),
        |used| used.reassembly,
    ),
    (
        "is not acknowledged",
        |lab, id| {
            for _ in 0..10 {
                lab.stack.send(lab.ts(), id, &[7; 1000], Default::default()).unwrap();
                lab.collect();
            }
        },
        |used| used.records,
    ),
];

/// Connections from other ports of the lab, each accepted.
fn opened(lab: &mut Lab, count: u16, mut each: impl FnMut(&mut Lab, ConnectionId)) -> Vec<ConnectionId> {
    let listener = lab.listen_with(200, |_| {});
    let ids = (0..count).map(|n| {
        lab.flow = lab::Flow { win: 65_535, ..lab::Flow::default() };
        lab.remote.set_port(1000 + n);
        lab.input(syn().mss(1460).ws(0).sack_ok(true));
        lab.collect();
        lab.input(ack());
        let id = lab.accept(listener).unwrap();
        each(lab, id);
        lab.drain();
        lab.events.clear();
        id
    });
    ids.collect()
}

/// Only the first page of each table may be left.
fn assert_nothing_is_charged(lab: &Lab, what: &str) {
    let used = lab.stack.memory();
    assert_eq!([used.send, used.receive, used.reassembly, used.records, used.slabs], [0; 5], "{what}");
    assert!(used.total() < 16 * 1024, "{what}: {used:?}");
    assert!(used.leased <= 512 * 1024, "{what}: {used:?}");
}

pub(crate) fn the_ledger_tells_what_is_held() {
    for (what, load, kind) in LOADS {
        let mut lab = silent();
        // The tables have their pages.
        lab.events = Vec::with_capacity(4096);
        let (before, counted_before) = (live(), lab.stack.memory());
        let ids = opened(&mut lab, 500, load);
        let held = live() - before;
        let counted = lab.stack.memory();
        let total = isize::try_from(counted.total() - counted_before.total()).unwrap();
        println!("{what}: {} bytes each are held, {} counted", held / 500, total / 500);
        assert!(total * 10 >= held * 8, "{what}: {held} bytes are held, and only {total} counted");
        assert!(total * 8 <= held * 10, "{what}: {total} bytes are counted, and only {held} held");
        assert!(kind(&counted) > 500 * 900, "{what}: {counted:?}");
        assert!(counted.leased >= counted.total(), "{counted:?}");
        for id in ids {
            lab.stack.abort(lab.ts(), id);
            lab.close(id);
        }
        lab.drain();
        assert_nothing_is_charged(&lab, what);
    }
}

/// Echo requests, and segments to closed ports, of which no answer leaves: they wait, are counted, and are bounded.
pub(crate) fn answers_that_wait_are_told_and_bounded() {
    for len in [0, 100, 60_000] {
        let mut lab = Lab::with(|config| (config.mtu, config.memory_budget) = (u16::MAX, Some(16 << 20)));
        let (local, remote) = (lab.local, lab.remote);
        let before = live();
        for n in 0..1500u16 {
            let packet = match len {
                0 => tcp_packet(
                    remote.ip(),
                    local.ip(),
                    &header((1000 + n, 9), &ack(), 1, 1, 1000, None),
                    None,
                    &[],
                ),
                len => emit_echo_request(remote.ip(), local.ip(), n, n, &vec![7; len], 64),
            };
            // A lab would remember each of them.
            lab.stack.handle_packet(lab.ts(), Received::new(packet.into()));
        }
        let (held, waiting) = (live() - before, lab.stack.memory().waiting);
        println!("answers to {len} bytes: {held} bytes are held, {waiting} counted");
        assert!(waiting <= 1 << 20, "{waiting} bytes wait");
        assert!(waiting.cast_signed() * 10 >= held * 8 && waiting.cast_signed() * 8 <= held * 10);
        assert!(lab.stack.counters().replies_dropped > 0);
        while lab.stack.poll_transmit(lab.ts()).is_some() {}
        assert_eq!(lab.stack.memory().waiting, 0);
    }
}

/// Many datagrams with little of each, and few with much, in small pieces and in large ones.
pub(crate) fn fragments_that_wait_are_counted_as_they_are_held() {
    for (datagrams, pieces, len) in
        [(2000, 1, 8), (1000, 2, 600), (200, 5, 1480), (2, 4000, 8), (1, 40, 1480)]
    {
        for (v6, to) in [(false, "10.0.0.2"), (true, "fd00::2")] {
            let mut lab = Lab::with(|config| config.reassembly_memory = 16 << 20);
            let before = live();
            for n in 0..datagrams {
                for piece in 1..=pieces {
                    let from = if v6 {
                        format!("fd00:{n:x}::1")
                    } else {
                        format!("10.{}.{}.1", 1 + n / 250, n % 250)
                    };
                    let packet =
                        later_fragment(&from, to, piece * 8 * usize::div_ceil(len, 8), &vec![7; len]);
                    lab.stack.handle_packet(lab.ts(), Received::alone(packet.into()));
                }
            }
            let (held, counted) = (live() - before, lab.stack.memory().fragments.cast_signed());
            println!(
                "{datagrams} x {pieces} fragments of {len} bytes: {held} bytes are held, {counted} counted"
            );
            assert!(counted * 10 >= held * 8 && counted * 7 <= held * 10, "{held} held, {counted} counted");
            lab.run_to(ms(60_000));
            assert_eq!(lab.stack.memory().fragments, 0);
            assert!(live() - before < 100_000, "{} are left", live() - before);
        }
    }
}

/// A fragment that is not the first, and not the last.
fn later_fragment(from: &str, to: &str, offset: usize, data: &[u8]) -> Vec<u8> {
    let (from, to): (std::net::IpAddr, _) = (from.parse().unwrap(), to.parse().unwrap());
    let place = u16::try_from(offset).unwrap();
    if from.is_ipv6() {
        let header = [&[17, 0], &(place | 1).to_be_bytes()[..], &[0, 0, 0, 9]].concat();
        return ip_packet(from, to, Protocol::IPV6_FRAGMENT, &[&header, data].concat());
    }
    let mut packet = ip_packet(from, to, Protocol::UDP, data);
    packet[6..8].copy_from_slice(&((place / 8) | (1 << 13)).to_be_bytes());
    fix_ip_checksum(&mut packet);
    packet
}

pub(crate) fn after_churn_nothing_is_charged_to_anybody() {
    let mut lab = silent();
    let before = lab.stack.memory();
    for round in 0..20 {
        let ids = opened(&mut lab, 100, LOADS[round % LOADS.len()].1);
        assert!(lab.stack.memory().total() > before.total());
        for (n, id) in (0..).zip(ids) {
            lab.flow = lab::Flow { win: 65_535, ..lab::Flow::default() };
            lab.remote.set_port(1000 + n);
            match n % 3 {
                0 => lab.stack.abort(lab.ts(), id),
                // It is given up in the end.
                1 => {}
                _ => lab.stack.shutdown(lab.ts(), id, std::net::Shutdown::Both).unwrap(),
            }
            lab.close(id);
            lab.drain();
        }
        // Half-open ones, that are reaped.
        lab.local.set_port(81 + u16::try_from(round).unwrap());
        for _ in 0..20 {
            lab.run_to(lab.now + ms(60_000));
            lab.drain();
        }
        lab.events.clear();
    }
    assert_eq!(lab.stack.sizes().connections, 0);
    assert_nothing_is_charged(&lab, "churn");
}
