//! Memory: what a stack holds is bounded by what its tables and buffers hold, however long it runs.
//!
//! One test function: the allocator counts for the whole process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod common;
#[path = "memory/day.rs"]
mod day;
#[path = "memory/held.rs"]
mod held;
#[path = "memory/ledger.rs"]
mod ledger;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::time::Duration;

use common::*;
use ropeway_core::KeepAlive;

struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is done by the system's allocator; only a number is kept beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size().cast_signed(), Ordering::Relaxed);
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size().cast_signed(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn live() -> isize {
    LIVE.load(Ordering::Relaxed)
}

#[test]
fn memory_stays_bounded() {
    let tests: [(&str, fn()); 20] = [
        ("a day of churn", day::a_day_of_churn),
        ("a long life with long timers", a_long_life_with_long_timers),
        ("many short lives", many_short_lives),
        ("many at once, and none", many_at_once_and_none),
        ("many listeners of one address", many_listeners_of_one_address),
        ("a flood of half-open connections", a_flood_of_half_open_connections),
        ("a FIN repeated in TIME-WAIT", a_fin_repeated_in_time_wait),
        ("single bytes beyond gaps", single_bytes_beyond_gaps),
        ("single bytes unread", single_bytes_unread),
        ("single bytes written", single_bytes_written),
        ("what packets keep alive", held::no_connection_holds_more_than_twice_its_buffer_and_16_kib),
        ("gaps that close", held::gaps_that_close_byte_by_byte_cost_no_more),
        ("long packets, nearly read", held::a_reader_that_leaves_a_byte_of_a_long_packet),
        ("the ledger", ledger::the_ledger_tells_what_is_held),
        ("answers that wait", ledger::answers_that_wait_are_told_and_bounded),
        ("fragments that wait", ledger::fragments_that_wait_are_counted_as_they_are_held),
        ("churn", ledger::after_churn_nothing_is_charged_to_anybody),
        ("full segments, not copied", held::full_segments_stay_where_they_lie),
        ("connections that have been busy", connections_that_have_been_busy),
        ("options that are no longer the usual ones", options_that_are_no_longer_the_usual_ones),
    ];
    for (name, test) in tests {
        test();
        println!("{name}: bounded");
    }
}

fn silent() -> Lab {
    let mut lab = Lab::new();
    lab.silent = true;
    lab.most_calls = u32::MAX;
    lab
}

/// Each answer sets and stops short timers under a long one.
fn a_long_life_with_long_timers() {
    let mut lab = silent();
    let id = lab.accepted_with(Peer::default(), |options| {
        options.keep_alive = Some(KeepAlive { idle: Duration::from_secs(7200), ..KeepAlive::default() });
    });
    let mut before = 0;
    for round in 0..6000 {
        lab.input(some(10));
        lab.collect();
        let _ = lab.stack.recv(lab.ts(), id, 100);
        lab.run_to(lab.now + ms(300));
        lab.stack.send(lab.ts(), id, b"answer", Default::default()).unwrap();
        lab.collect();
        lab.input(ack());
        lab.run_to(lab.now + ms(300));
        lab.drain();
        lab.events.clear();
        if round == 1000 {
            before = live();
        }
    }
    assert!(live() - before < 4096, "{} bytes more after 5000 rounds", live() - before);
}

fn many_short_lives() {
    let mut lab = silent();
    let listener = lab.listen();
    let mut before = 0;
    for round in 0..30_000u32 {
        lab.flow = lab::Flow { win: 65_535, ..lab::Flow::default() };
        lab.remote.set_port(1000 + (round % 60_000) as u16);
        lab.input(syn().mss(1460));
        lab.collect();
        lab.input(ack());
        lab.collect();
        let id = lab.accept(listener).unwrap();
        lab.input(data(b"request").fin());
        lab.collect();
        let _ = lab.stack.recv(lab.ts(), id, 100);
        lab.stack.send(lab.ts(), id, b"response", Default::default()).unwrap();
        lab.close(id);
        lab.input(ack());
        lab.drain();
        lab.events.clear();
        lab.run_to(lab.now + ms(1));
        if round == 5000 {
            before = live();
        }
    }
    assert_eq!(lab.stack.sizes().connections, 0);
    assert!(live() - before < 64 * 1024, "{} bytes more after 25000 connections", live() - before);
}

/// Tables that grow by pages: no call needs memory for all there is, whether their number grows or shrinks, and what they
/// had is given back.
fn many_at_once_and_none() {
    const MANY: u32 = 30_000;
    let mut lab = silent();
    let listener = lab.listen_with(MANY as usize, |options| options.keep_alive = Some(KeepAlive::default()));
    let (mut ids, mut before) = (Vec::new(), 0);
    for host in 0..MANY + 10 {
        lab.flow = lab::Flow { win: 65_535, ..lab::Flow::default() };
        lab.remote.set_ip([10, 1, (host >> 8) as u8, host as u8].into());
        lab.input(syn().mss(1460));
        lab.collect();
        lab.input(ack());
        lab.drain();
        lab.events.clear();
        // The first few are there from the beginning.
        if host == 9 {
            ids = Vec::with_capacity(MANY as usize + 1);
            before = live();
        }
        ids.extend(lab.accept(listener));
        // Others than those that double a vector for the first times.
        if host == 1000 {
            LARGEST.store(0, Ordering::Relaxed);
        }
    }
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(largest <= 32 * 1024, "{largest} bytes at once for {MANY} connections");
    let each = (live() - before) / MANY.cast_signed() as isize;
    assert!(each < 1400, "{each} bytes each");
    for id in ids {
        let now = lab.ts();
        lab.stack.abort(now, id);
        lab.stack.close(now, id);
        // The lab itself would remember each of them.
        while lab.stack.poll_transmit(now).is_some() || lab.stack.poll_event().is_some() {}
    }
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(largest <= 32 * 1024, "{largest} bytes at once when {MANY} connections end");
    assert!(live() - before < 64 * 1024, "{} bytes more when {MANY} connections have ended", live() - before);
}

/// Listeners that share an address stand in a table by pages, like all others.
fn many_listeners_of_one_address() {
    const MANY: usize = 30_000;
    let mut lab = silent();
    let options = || {
        let mut options = ropeway_core::SocketOptions::default();
        options.reuse_port = true;
        options
    };
    let (local, mut ids) = (lab.local, Vec::with_capacity(MANY));
    let before = live();
    for n in 0..MANY {
        ids.push(lab.stack.listen(local, 1, options()).unwrap());
        if n == 1000 {
            LARGEST.store(0, Ordering::Relaxed);
        }
    }
    // Whichever is closed, the others are found.
    for (n, id) in ids.into_iter().enumerate() {
        lab.stack.close_listener(lab.ts(), id);
        if n % 1000 == 0 && n < MANY - 1 {
            lab.switch(1000 + u16::try_from(n / 1000).unwrap());
            lab.input(syn().mss(1460));
            assert_eq!(lab.drain().len(), 1);
        }
    }
    let largest = LARGEST.load(Ordering::Relaxed);
    assert!(largest <= 32 * 1024, "{largest} bytes at once for {MANY} listeners");
    assert!(live() - before < 64 * 1024, "{} bytes more", live() - before);
}

fn a_flood_of_half_open_connections() {
    let mut lab = silent();
    lab.listen_with(1000, |_| {});
    let mut before = 0;
    for round in 0..100_000u32 {
        lab.flow = lab::Flow { win: 65_535, ..lab::Flow::default() };
        lab.remote.set_port(1000 + (round % 60_000) as u16);
        lab.input(syn().mss(1460));
        lab.drain();
        // Half of them take it back.
        if round % 2 == 0 {
            lab.input(rst().seq(1));
        }
        lab.run_to(lab.now + ms(1));
        lab.drain();
        if round == 70_000 {
            before = live();
        }
    }
    assert!(live() - before < 64 * 1024, "{} bytes more after 30000 SYNs", live() - before);
}

fn a_fin_repeated_in_time_wait() {
    let mut lab = silent();
    let id = lab.accepted(Peer::default());
    lab.close(id);
    lab.input(fin().ack(2));
    lab.drain();
    let before = live();
    for _ in 0..50_000 {
        lab.now += 10;
        lab.input(fin().seq(1).ack(2));
        lab.drain();
    }
    assert!(live() - before < 4096, "{} bytes more after 50000 FINs", live() - before);
}

/// The window is 64 KiB, since nothing has been read by which it could grow; a byte every two makes a range of each.
fn single_bytes_beyond_gaps() {
    let mut lab = silent();
    let listener = lab.listen();
    lab.send(syn().mss(1460).ws(0));
    lab.drain();
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    let before = live();
    for n in 0..30_000 {
        lab.input(some(1).seq(3 + 2 * n));
        lab.drain();
    }
    let used = live() - before;
    assert!(used < (2 * 128 + 16) * 1024, "{used} bytes for 30000");
    let _ = id;
}

fn single_bytes_unread() {
    let mut lab = silent();
    let listener = lab.listen();
    lab.send(syn().mss(1460).ws(0));
    lab.drain();
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    let before = live();
    for _ in 0..30_000 {
        lab.input(some(1));
        lab.drain();
        lab.events.clear();
    }
    let used = live() - before;
    assert!(used < 256 * 1024, "{used} bytes for 30000");
    assert_eq!(lab.info(id).unread, 30_000);
}

fn single_bytes_written() {
    let mut lab = silent();
    let id = lab.accepted_with(Peer { win: 0, ..Peer::default() }, roomy);
    let before = live();
    for _ in 0..30_000 {
        lab.stack.send(lab.ts(), id, b"x", Default::default()).unwrap();
        lab.collect();
    }
    let used = live() - before;
    assert!(used < 256 * 1024, "{used} bytes for 30000");
}

/// Both buffers have grown, and are empty again: a connection that has been busy costs what one costs that never was.
fn connections_that_have_been_busy() {
    let never = idle_connection(&[]);
    let been = idle_connection(&[10, 20, 40, 80]);
    // The stack keeps some room in its lists.
    assert!(been - never < 64, "{been} bytes each, and {never} for one that never was");
    // With its places in the stack's tables, and the congestion control.
    assert!(been < 1280, "{been} bytes each");
}

/// A program that sets the same options on each of its sockets pays for them once.
fn options_that_are_no_longer_the_usual_ones() {
    const CONNECTIONS: usize = 1000;
    let mut lab = silent();
    let listener = lab.listen();
    let ids: Vec<_> = (0..u16::try_from(CONNECTIONS).unwrap())
        .map(|port| {
            lab.switch(1000 + port);
            lab.input(syn().mss(1460));
            lab.drain();
            lab.input(ack());
            lab.accept(listener).unwrap()
        })
        .collect();
    lab.drain();
    let before = live();
    for id in &ids {
        let now = lab.ts();
        lab.stack.update_options(now, *id, |options| options.nodelay = true).unwrap();
        lab.stack.update_options(now, *id, |options| options.tos = 8).unwrap();
    }
    while lab.stack.poll_transmit(lab.ts()).is_some() || lab.stack.poll_event().is_some() {}
    // The stack keeps some room in its lists.
    let each = (live() - before) / CONNECTIONS.cast_signed();
    assert!(each < 64, "{each} bytes each");
    assert!(ids.iter().all(|id| lab.stack.options(*id).unwrap().nodelay));
    let now = lab.ts();
    lab.stack.update_options(now, ids[0], |options| options.nodelay = false).unwrap();
    assert!(!lab.stack.options(ids[0]).unwrap().nodelay && lab.stack.options(ids[1]).unwrap().nodelay);
    assert!(!lab.stack.listener_options(listener).unwrap().nodelay);
}

/// What an idle connection costs after rounds of so many segments each way.
fn idle_connection(rounds: &[u32]) -> isize {
    const CONNECTIONS: u16 = 1024;
    let mut lab = silent();
    let listener = lab.listen();
    let before = live();
    for port in 0..CONNECTIONS {
        lab.switch(1000 + port);
        lab.flow.win = 65_535;
        lab.input(syn().mss(1460).ws(10));
        lab.drain();
        lab.run_to(lab.now + ms(3));
        lab.input(ack());
        lab.drain();
        let id = lab.accept(listener).unwrap();
        for &segments in rounds {
            for _ in 0..segments {
                lab.input(some(1460));
            }
            let _ = lab.stack.recv(lab.ts(), id, usize::MAX);
            for _ in 0..segments {
                let _ = lab.stack.send(lab.ts(), id, &[0; 1460], Default::default());
            }
            lab.drain();
            lab.run_to(lab.now + ms(3));
            lab.input(ack());
        }
        let info = lab.info(id);
        assert!(rounds.is_empty() || (info.recv_buffer > 200_000 && info.send_buffer > 100_000), "{info:?}");
        while lab.info(id).unacked > 0 || lab.info(id).not_sent > 0 {
            lab.drain();
            lab.run_to(lab.now + ms(3));
            lab.input(ack());
        }
        lab.drain();
        lab.events.clear();
    }
    lab.run_to(lab.now + secs(60));
    lab.drain();
    lab.events.clear();
    // What the stack keeps for whoever writes next is no connection's.
    let spare = isize::try_from(lab.stack.memory().spare).unwrap();
    (live() - before - spare) / isize::try_from(CONNECTIONS).unwrap()
}
