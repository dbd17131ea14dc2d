//! Buffers that tune themselves: by what is read in a round trip, and by the congestion window.

use std::time::Duration;

use ropeway_core::{BufferRange, ConnectionId, SendFlags, SocketOptions, StackConfig, TcpInfo};

use crate::common::*;

const INITIAL: usize = 128 * 1024;
const LARGEST: usize = 32 * 1024 * 1024;

/// What is under way on a path of 2.5 MB/s and 200 ms: far more than either buffer begins with.
const BDP: usize = 500_000;

/// Two stacks at the ends of such a path.
fn far() -> Pair {
    far_with(|_| {})
}

fn far_with(change: impl Fn(&mut StackConfig)) -> Pair {
    let mut pair = Pair::with(|_, config| change(config));
    pair.delay = [Duration::from_millis(100); 2];
    (pair.rate, pair.queue) = (Some(2_500_000), BDP / 2);
    pair.watch = None;
    pair
}

fn info(pair: &Pair, program: usize) -> Option<TcpInfo> {
    let side = pair.programs[program].side;
    pair.stacks[side].info(pair.ts(), pair.programs[program].id?).ok()
}

/// A sends so many bytes to B, or B to A. When the last one was read.
fn transfer(pair: &mut Pair, bytes: usize, from_opener: bool, change: fn(&mut SocketOptions)) -> u64 {
    let send = [Op::Send(bytes), Op::ShutdownWrite, Op::RecvEof, Op::Close];
    let recv = [Op::Recv(bytes), Op::RecvEof, Op::Close];
    let (client, server) = if from_opener { (&send[..], &recv[..]) } else { (&recv[..], &send[..]) };
    pair.converse_with(client, server, change, change);
    let receiver = usize::from(from_opener);
    let began = pair.now;
    while pair.programs[receiver].received() < bytes {
        assert!(pair.step(), "it stands still");
    }
    pair.now - began
}

#[test]
fn a_long_fast_path_is_filled_at_defaults_as_with_ample_buffers() {
    for from_opener in [true, false] {
        for timestamps in [true, false] {
            let time = |change| {
                let mut pair = far_with(|config| config.timestamps = timestamps);
                transfer(&mut pair, 10_000_000, from_opener, change)
            };
            let ample = time(|options| (options.recv_buffer, options.send_buffer) = (1 << 25, 1 << 25));
            let tuned = time(|_| {});
            assert!(tuned * 100 <= ample * 102, "{tuned} and {ample} us, from the opener: {from_opener}");
        }
    }
}

// Each half second, 1.25 MB of what the path brings meanwhile are read at once.
#[test]
fn an_application_that_reads_seldom_and_much_is_not_held_back() {
    let received = |size: usize| {
        let mut pair = far();
        let change = |options: &mut SocketOptions| options.recv_buffer = size;
        pair.converse_with(&[Op::Send(100_000_000)], &[Op::Pause(100_000)], |_| {}, change);
        let mut received = [0, 0];
        for half_second in 1..=40 {
            pair.run_to(ms(500 * half_second));
            let Some(id) = pair.programs[1].id else { continue };
            let now = pair.ts();
            while let Ok(read) = pair.stacks[1].recv(now, id, usize::MAX) {
                received[usize::from(half_second > 20)] += read.len();
            }
            pair.pump();
        }
        received[1]
    };
    let (ample, tuned) = (received(1 << 25), received(0));
    assert!(tuned * 100 >= ample * 97, "{tuned} of {ample} bytes");
}

#[test]
fn slow_start_is_never_held_back_by_the_receive_window() {
    let mut pair = far();
    let bytes = 3_000_000;
    pair.converse(&[Op::Send(bytes), Op::Close], &[Op::Recv(bytes), Op::RecvEof, Op::Close]);
    while pair.programs[1].received() < bytes {
        assert!(pair.step(), "it stands still");
        let Some(info) = info(&pair, 0) else { continue };
        assert_eq!(info.rwnd_limited, Duration::ZERO, "at {} us", pair.now);
        assert_eq!(info.sndbuf_limited, Duration::ZERO, "at {} us", pair.now);
    }
}

#[test]
fn buffers_begin_small_and_end_as_large_as_the_path_asks() {
    let mut pair = far();
    let bytes = 10_000_000;
    pair.converse(&[Op::Send(bytes), Op::Pause(60_000)], &[Op::Recv(bytes), Op::Pause(60_000)]);
    pair.run_to(ms(301));
    assert_eq!(info(&pair, 1).unwrap().recv_buffer, INITIAL);
    assert!(info(&pair, 0).unwrap().send_buffer <= 64 * 1024);
    while pair.programs[1].received() < bytes {
        assert!(pair.step(), "it stands still");
    }
    let (sender, receiver) = (info(&pair, 0).unwrap(), info(&pair, 1).unwrap());
    assert!((2 * BDP..9 * BDP).contains(&receiver.recv_buffer), "{}", receiver.recv_buffer);
    assert!((2 * BDP..9 * BDP).contains(&sender.send_buffer), "{}", sender.send_buffer);
    assert!((BDP / 2..2 * BDP).contains(&(receiver.rcv_space as usize)), "{}", receiver.rcv_space);
    let rtt = receiver.rcv_rtt.unwrap();
    assert!((Duration::from_millis(190)..Duration::from_millis(400)).contains(&rtt), "{rtt:?}");
}

#[test]
fn a_fixed_size_stays_that_size() {
    let mut pair = far();
    let bytes = 1_000_000;
    let change = |options: &mut SocketOptions| (options.recv_buffer, options.send_buffer) = (100_000, 70_000);
    pair.converse_with(
        &[Op::Send(bytes), Op::Close],
        &[Op::Recv(bytes), Op::RecvEof, Op::Close],
        change,
        change,
    );
    while pair.programs[1].received() < bytes {
        assert!(pair.step(), "it stands still");
        for side in [0, 1] {
            let Some(info) = info(&pair, side) else { continue };
            assert_eq!((info.recv_buffer, info.send_buffer), (100_000, 70_000));
            assert!(info.rcv_wnd <= 100_000 && info.unread <= 100_000 && info.not_sent <= 70_000);
        }
    }
}

fn silent(change: impl FnOnce(&mut StackConfig)) -> Lab {
    let mut lab = Lab::with(change);
    lab.silent = true;
    lab.most_calls = u32::MAX;
    lab
}

/// A connection whose windows are scaled, over a path of 100 ms.
fn accepted(lab: &mut Lab) -> ConnectionId {
    let listener = lab.listen();
    lab.flow.ts = Some(1000);
    lab.input(syn().mss(1460).ws(10));
    lab.drain();
    lab.run_to(lab.now + ms(100));
    lab.input(ack());
    lab.collect();
    lab.accept(listener).unwrap()
}

/// Rounds of ever more segments, all of which are read: at last 80, whose bytes are returned.
fn grown(lab: &mut Lab, id: ConnectionId) -> usize {
    for segments in [10, 20, 40, 80, 80, 80, 80] {
        round(lab, id, segments, usize::MAX);
    }
    80 * 1448
}

/// A round trip of 100 ms: so many full segments arrive at once, and then so many bytes are read.
fn round(lab: &mut Lab, id: ConnectionId, segments: usize, read: usize) {
    for _ in 0..segments {
        lab.input(some(1448));
    }
    if read > 0 {
        let _ = lab.stack.recv(lab.ts(), id, read);
    }
    lab.collect();
    lab.run_to(lab.now + ms(100));
    lab.drain();
}

#[test]
fn what_is_read_in_a_round_trip_twice_over_is_the_buffer() {
    let mut lab = silent(|_| {});
    let id = accepted(&mut lab);
    let read = grown(&mut lab, id);
    let info = lab.info(id);
    assert!((read * 9 / 10..=read).contains(&(info.rcv_space as usize)), "{}", info.rcv_space);
    // Six times, since it came from less than half of it at once.
    assert!((2 * read..=6 * read).contains(&info.recv_buffer), "{}", info.recv_buffer);
    assert_eq!(info.rcv_wnd as usize, info.recv_buffer);
    assert_eq!(info.rcv_ssthresh as usize, info.recv_buffer);
}

#[test]
fn a_peer_that_trickles_does_not_grow_the_buffer() {
    for (len, every) in [(1, 1), (100, 10), (1448, 50)] {
        let mut lab = silent(|_| {});
        let id = accepted(&mut lab);
        for _ in 0..2000 {
            lab.input(some(len));
            let _ = lab.stack.recv(lab.ts(), id, usize::MAX);
            lab.collect();
            lab.run_to(lab.now + ms(every));
            lab.drain();
        }
        assert_eq!(lab.info(id).recv_buffer, INITIAL, "{len} bytes every {every} ms");
    }
}

#[test]
fn an_application_that_does_not_read_does_not_grow_the_buffer() {
    for read in [0, 1, 1000, 10_000] {
        let mut lab = silent(|_| {});
        let id = accepted(&mut lab);
        for _ in 0..200 {
            round(&mut lab, id, 200, read);
        }
        let info = lab.info(id);
        assert_eq!(info.recv_buffer, INITIAL, "{read} bytes are read each time");
        assert!(info.unread <= INITIAL, "{} bytes unread", info.unread);
    }
}

// It reads all, and then no more: what was reached stays the limit.
#[test]
fn an_application_that_stops_reading_is_given_no_more() {
    let mut lab = silent(|_| {});
    let id = accepted(&mut lab);
    grown(&mut lab, id);
    let reached = lab.info(id).recv_buffer;
    for _ in 0..100 {
        round(&mut lab, id, 400, 0);
    }
    let info = lab.info(id);
    assert_eq!((info.recv_buffer, info.unread), (reached, reached));
}

// A gap makes room for what was in flight behind it, and no more: nothing of that is read.
#[test]
fn a_gap_that_is_never_filled_does_not_grow_the_buffer_without_bounds() {
    let mut lab = silent(|_| {});
    let id = accepted(&mut lab);
    let read = grown(&mut lab, id);
    let gap = lab.flow.nxt;
    for n in 1..4000 {
        lab.input(some(1448).seq(gap + n * 1448));
        lab.collect();
        if n % 80 == 0 {
            lab.run_to(lab.now + ms(100));
        }
        lab.drain();
    }
    let info = lab.info(id);
    assert!(info.recv_buffer <= 6 * read, "{}", info.recv_buffer);
    assert_eq!(info.unread, 0);
}

// It makes the round trip look ten times as long. A window that arrives in less proves it shorter.
#[test]
fn a_peer_that_echoes_old_timestamps_gains_what_is_read_in_its_round_trip() {
    let mut lab = silent(|_| {});
    let id = accepted(&mut lab);
    lab.run_to(lab.now + secs(2));
    for n in 0..300 {
        for _ in 0..10 {
            let old = lab.flow.tsval.wrapping_sub(if n == 0 { 0 } else { 900 });
            lab.input(some(1448).ts(1000 + (lab.now / 1000) as u32, old));
        }
        let _ = lab.stack.recv(lab.ts(), id, usize::MAX);
        lab.collect();
        lab.run_to(lab.now + ms(100));
        lab.drain();
    }
    let (info, second) = (lab.info(id), 10 * 14_480);
    assert!(info.rcv_rtt.unwrap() > Duration::from_millis(500), "{:?}", info.rcv_rtt);
    assert!((INITIAL..=6 * second).contains(&info.recv_buffer), "{}", info.recv_buffer);
}

#[test]
fn a_peer_with_a_closed_window_does_not_grow_the_send_buffer() {
    let mut lab = silent(|_| {});
    let id = lab.accepted(Peer { win: 0, ..Peer::default() });
    let mut written = 0;
    for _ in 0..1000 {
        written += lab.stack.send(lab.ts(), id, &[0; 1000], SendFlags::default()).unwrap_or(0);
        lab.run_to(lab.now + ms(100));
        lab.input(ack().win(0));
        lab.drain();
    }
    assert!(written <= 17 * 1024, "{written} bytes");
    assert_eq!(lab.info(id).send_buffer, 16 * 1024);
}

// 58,400 bytes are the initial window four times.
#[test]
fn the_send_buffer_follows_the_congestion_window_up_and_down() {
    let mut pair = far();
    pair.converse(&[Op::Send(20_000_000), Op::Pause(1000)], &[Op::Recv(20_000_000), Op::Pause(1000)]);
    pair.run_to(secs(4));
    let wide = info(&pair, 0).unwrap();
    assert!(wide.cwnd as usize > BDP && wide.send_buffer >= 2 * wide.cwnd as usize, "{wide:?}");
    // The path becomes twenty times slower, and a queue of eight packets loses what is too much.
    (pair.rate, pair.queue) = (Some(125_000), 12_000);
    pair.run_to(secs(60));
    let narrow = info(&pair, 0).unwrap();
    assert!(narrow.cwnd < 60_000, "{}", narrow.cwnd);
    assert!(narrow.send_buffer < 200_000, "{}", narrow.send_buffer);
}

// A device nearby brings the acknowledgements before it takes more.
#[test]
fn a_wide_window_that_nothing_fills_leaves_the_send_buffer_small() {
    let mut lab = silent(|config| config.longest_train = u16::MAX);
    let id = lab.accepted(Peer { ws: Some(10), ..Peer::default() });
    let (data, mut una) = ([0; 64 * 1024], 1_u32);
    let write_all =
        |lab: &mut Lab| while lab.stack.send(lab.ts(), id, &data, SendFlags::default()).is_ok() {};
    for _ in 0..8 {
        write_all(&mut lab);
        lab.run_to(lab.now + ms(10));
        una += lab.drain().iter().map(|sent| sent.packet.len() as u32 - 40).sum::<u32>();
        lab.input(ack().ack(una));
    }
    assert!(lab.info(id).send_buffer > 2_000_000, "{}", lab.info(id).send_buffer);
    for _ in 0..5000 {
        write_all(&mut lab);
        let Some(sent) = lab.stack.poll_transmit(lab.ts()) else { continue };
        una += sent.payload.len() as u32;
        lab.input(ack().ack(una));
    }
    let info = lab.info(id);
    assert!(info.cwnd > 1_000_000 && info.send_buffer <= 4 * 65_536, "{info:?}");
}

#[test]
fn after_a_pause_the_send_buffer_begins_anew_with_the_window() {
    let mut pair = far();
    let some = 5_000_000;
    pair.converse(
        &[Op::Send(some), Op::Pause(30_000), Op::Send(1), Op::Pause(1000)],
        &[Op::Recv(some + 1), Op::Pause(1000)],
    );
    pair.run_to(secs(10));
    assert!(info(&pair, 0).unwrap().send_buffer > BDP);
    while pair.programs[1].received() < some + 1 {
        assert!(pair.step(), "it stands still");
    }
    assert!(info(&pair, 0).unwrap().send_buffer <= 64 * 1024);
}

#[test]
fn ranges_are_kept() {
    let range = BufferRange { min: 10_000, initial: 20_000, max: 150_000 };
    let change =
        |_, config: &mut StackConfig| (config.auto_recv_buffer, config.auto_send_buffer) = (range, range);
    let mut pair = Pair::with(change);
    pair.delay = [Duration::from_millis(50); 2];
    let bytes = 3_000_000;
    pair.converse(&[Op::Send(bytes), Op::Close], &[Op::Recv(bytes), Op::RecvEof, Op::Close]);
    let mut most = 0;
    while pair.programs[1].received() < bytes {
        assert!(pair.step(), "it stands still");
        for side in [0, 1] {
            let Some(info) = info(&pair, side) else { continue };
            for size in [info.recv_buffer, info.send_buffer] {
                assert!((20_000..=150_000).contains(&size), "{size}");
                most = most.max(size);
            }
        }
    }
    assert_eq!(most, 150_000);
}

// RFC 7323 2.3
#[test]
fn the_window_scale_is_chosen_for_the_largest_buffer() {
    for (largest, max_window, scale) in
        [(LARGEST, 1 << 25, 10), (1 << 20, 1 << 16, 5), (1 << 30, 1 << 16, 14), (60_000, 60_000, 0)]
    {
        let with = || {
            Lab::with(|config| {
                config.auto_recv_buffer.max = largest;
                config.max_window = max_window;
            })
        };
        let mut lab = with();
        lab.connect();
        lab.expect(syn().ws(scale));
        let mut lab = with();
        lab.listen();
        lab.send(syn().mss(1460).ws(0));
        lab.expect(syn_ack().ws(scale));
    }
}

#[test]
fn no_buffer_grows_while_memory_is_scarce_and_each_does_later() {
    let mut pair = far();
    for stack in &mut pair.stacks {
        // So little is left that a connection has taken half of it from the beginning.
        stack.set_slabs(stack.memory().budget - 12_500);
    }
    let bytes = 20_000_000;
    pair.converse(&[Op::Send(bytes), Op::Close], &[Op::Recv(bytes), Op::RecvEof, Op::Close]);
    while pair.programs[1].received() < 50_000 {
        assert!(pair.step(), "it stands still");
        assert!(info(&pair, 0).is_none_or(|info| info.send_buffer == 16 * 1024));
        assert!(info(&pair, 1).is_none_or(|info| info.recv_buffer == INITIAL));
    }
    let stopped = pair.stacks.each_ref().map(|stack| stack.counters().growth_stopped);
    assert!(stopped[0] > 0, "{stopped:?}");
    pair.stacks.iter_mut().for_each(|stack| stack.set_slabs(0));
    pair.run_to(pair.now + secs(5));
    assert!(info(&pair, 1).unwrap().recv_buffer > BDP && info(&pair, 0).unwrap().send_buffer > BDP);
    assert_eq!(pair.stacks.each_ref().map(|stack| stack.counters().growth_stopped), stopped);
}

#[test]
fn a_sender_that_has_taken_half_of_the_budget_grows_no_further() {
    for (budget, stops) in [(1 << 20, true), (1 << 32, false)] {
        let mut pair = far_with(|config| config.memory_budget = Some(budget));
        pair.converse(&[Op::Send(20_000_000)], &[Op::Recv(20_000_000)]);
        while pair.now < secs(5) {
            assert!(pair.step(), "it stands still");
            let used = pair.stacks[0].memory();
            assert!(used.total() <= budget, "{used:?}");
        }
        assert_eq!(pair.stacks[0].counters().growth_stopped > 0, stops);
    }
}

// A user's size is not one that grows.
#[test]
fn a_buffer_of_a_fixed_size_wants_no_more() {
    let mut pair = far_with(|config| config.memory_budget = Some(1 << 20));
    let fixed = |options: &mut SocketOptions| (options.recv_buffer, options.send_buffer) = (700_000, 700_000);
    pair.converse_with(&[Op::Send(20_000_000)], &[Op::Recv(20_000_000)], fixed, fixed);
    pair.run_to(secs(5));
    assert!(info(&pair, 0).unwrap().unacked > 0);
    assert_eq!(pair.stacks.each_ref().map(|stack| stack.counters().growth_stopped), [0, 0]);
}

#[test]
fn a_buffer_can_become_automatic_and_fixed_again() {
    let mut pair = far();
    let bytes = 20_000_000;
    let change = |options: &mut SocketOptions| (options.recv_buffer, options.send_buffer) = (80_000, 80_000);
    pair.converse_with(
        &[Op::Send(bytes), Op::Close],
        &[Op::Recv(bytes), Op::RecvEof, Op::Close],
        change,
        change,
    );
    pair.run_to(secs(3));
    let set = |pair: &mut Pair, size: usize| {
        for side in [0, 1] {
            let (now, id) = (pair.ts(), pair.programs[side].id.unwrap());
            let change =
                |options: &mut SocketOptions| (options.recv_buffer, options.send_buffer) = (size, size);
            pair.stacks[side].update_options(now, id, change).unwrap();
        }
    };
    set(&mut pair, 0);
    // What was read before says nothing of a round trip.
    pair.run_to(secs(3) + ms(150));
    assert_eq!(info(&pair, 1).unwrap().recv_buffer, INITIAL);
    pair.run_to(secs(6));
    assert!(info(&pair, 1).unwrap().recv_buffer > BDP && info(&pair, 0).unwrap().send_buffer > BDP);
    set(&mut pair, 30_000);
    pair.run_to(secs(7));
    assert_eq!((info(&pair, 1).unwrap().recv_buffer, info(&pair, 0).unwrap().send_buffer), (30_000, 30_000));
    pair.live(secs(1000));
}
