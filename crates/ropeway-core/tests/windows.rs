//! Windows and sizes: back-pressure, silly windows, Nagle, options, MSS and path MTU (RFC 9293 3.7, 3.8.6,
//! RFC 7323).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::*;
use ropeway_core::packet::icmp::emit_error;
use ropeway_core::packet::{IcmpErrorKind, TcpFlags};
use ropeway_core::{ConnectionId, Readiness, SendError, SenderLimit, SocketOptions, State};

fn established() -> (Lab, ConnectionId) {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer::default());
    (lab, id)
}

// ---- back-pressure

// RFC 9293 3.8.6.1 MAY-8
#[test]
fn unread_data_closes_the_window_and_nothing_is_buffered_beyond_it() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.recv_buffer = 5000);
    lab.send_all([data(pattern(0, 1460)), data(pattern(1460, 1460))]);
    lab.expect(ack().ack(2921).win(2080));
    lab.send_all([data(pattern(2920, 1460)), data(pattern(4380, 620))]);
    lab.after(40);
    lab.expect(ack().ack(5001).win(0));
    assert_eq!(lab.info(id).unread, 5000);
    // The peer does not care for the window.
    for _ in 0..3 {
        lab.send(some(1000).seq(5001));
        lab.expect(ack().ack(5001).win(0));
    }
    lab.send(some(1000).seq(7001));
    lab.expect(ack().ack(5001).win(0));
    assert_eq!(lab.info(id).unread, 5000);
    assert_eq!(lab.read(id, 100_000), pattern(0, 5000));
    lab.expect(ack().ack(5001).win(5000));
}

// RFC 9293 3.4: what reaches beyond the window is trimmed to it.
#[test]
fn a_segment_that_reaches_beyond_the_window_is_trimmed() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.recv_buffer = 1000);
    lab.send(data(pattern(0, 1400)).fin());
    lab.drain();
    assert_eq!(lab.info(id).unread, 1000);
    lab.assert_state(id, State::Established);
    assert_eq!(lab.read(id, 10_000), pattern(0, 1000));
}

// MUST-39
#[test]
fn the_window_opens_by_a_segment_or_half_the_buffer_never_by_less() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.recv_buffer = 5840);
    lab.send_all((0..4).map(|_| some(1460)));
    lab.expect(ack().ack(5841).win(0));
    for _ in 0..14 {
        lab.read(id, 100);
        lab.quiet();
    }
    // A probe of the peer's gets no crumb either.
    lab.send(some(1).seq(5841));
    lab.expect(ack().ack(5841).win(0));
    lab.read(id, 59);
    lab.quiet();
    lab.read(id, 1);
    lab.expect(ack().ack(5841).win(1460));
    // The same with a buffer smaller than two segments.
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.recv_buffer = 1000);
    lab.send(some(1000));
    lab.after(40);
    lab.expect(ack().win(0));
    lab.read(id, 499);
    lab.quiet();
    lab.read(id, 1);
    lab.expect(ack().win(500));
}

// SHLD-14; RFC 7323 2.4-1
#[test]
fn a_smaller_buffer_does_not_take_the_window_back() {
    let (mut lab, id) = established();
    lab.set(id, |options| options.recv_buffer = 1000);
    // What was promised is taken.
    lab.send_all([some(1460), some(1460)]);
    let edge = lab.expect(ack().ack(2921)).tcp;
    assert_eq!(edge.ack.get() + u32::from(edge.window), 1 + 65535);
    assert_eq!(lab.info(id).unread, 2920);
}

#[test]
fn a_larger_buffer_is_announced() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.recv_buffer = 1000);
    lab.send(some(1000));
    lab.after(40);
    lab.expect(ack().win(0));
    lab.set(id, |options| options.recv_buffer = 10_000);
    lab.expect(ack().ack(1001).win(9000));
}

// RFC 9293 3.8.6.1 MAY-8
#[test]
fn a_reader_that_stops_stops_the_sender_and_loses_nothing() {
    for buffer in [4000, 65_535, 512 * 1024] {
        let mut pair = Pair::new();
        let total = 2_000_000;
        pair.converse_with(
            &[Op::Send(total), Op::Close],
            &[
                Op::Recv(10_000),
                Op::Pause(20_000),
                Op::Recv(500_000),
                Op::Pause(300_000),
                Op::Recv(total - 510_000),
                Op::RecvEof,
                Op::Close,
            ],
            |_| {},
            |options| options.recv_buffer = buffer,
        );
        for at in (0..400).map(secs) {
            pair.run_to(at);
            if let Some(id) = pair.programs[1].id
                && let Ok(info) = pair.stacks[1].info(pair.ts(), id)
            {
                assert!(info.unread <= buffer, "{} bytes unread", info.unread);
            }
        }
        pair.live(secs(2000));
    }
}

#[test]
fn both_sides_send_before_either_reads() {
    // Two programs that write all before they read: fine as long as it fits into the buffers.
    let script = [Op::Send(600_000), Op::Recv(600_000), Op::ShutdownWrite, Op::RecvEof, Op::Close];
    let mut pair = Pair::new();
    pair.converse_with(&script, &script, |o| o.send_buffer = 1_000_000, |o| o.send_buffer = 1_000_000);
    pair.live(secs(20));
}

// ---- shutting the window in the middle (RFC 9293 3.8.6)

// MUST-34, SHLD-15; RFC 7323 2.4-3
#[test]
fn a_window_taken_back_stops_new_data() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 20_000, ..Peer::default() });
    lab.write(id, &pattern(0, 30_000));
    assert_eq!(lab.drain().len(), 10);
    // Of 14600 in flight, one segment is acknowledged and the window ends in the middle of the rest.
    lab.send(ack().ack(1461).win(5000));
    lab.quiet();
    lab.send(ack().ack(2921).win(3540));
    lab.quiet();
    assert_eq!(lab.info(id).limited_by, SenderLimit::ReceiveWindow);
    lab.flow.win = 20_000;
    lab.send(ack().ack(14_601));
    assert!(!lab.drain().is_empty());
}

// SHLD-16: what lies within the window is retransmitted normally.
#[test]
fn what_lies_within_a_shrunk_window_is_retransmitted_at_its_time() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 20_000, ..Peer::default() });
    lab.write(id, &pattern(0, 14_600));
    lab.drain();
    lab.send(ack().ack(1461).win(1000));
    lab.at(200);
    let again = lab.next_tcp();
    assert_eq!(again.tcp.seq.get().wrapping_sub(lab.flow.iss), 1461);
    assert!(!again.payload.is_empty());
}

// SHLD-17, MUST-35
#[test]
fn a_window_shrunk_to_zero_is_probed_and_does_not_time_out() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 20_000, ..Peer::default() });
    lab.write(id, &pattern(0, 14_600));
    lab.drain();
    lab.send(ack().ack(1461).win(0));
    // For two hours the peer answers, and nothing more.
    while lab.now < secs(7200) {
        let at = lab.next_deadline().expect("a timer");
        lab.run_to(at);
        for sent in lab.drain() {
            assert!(sent.tcp.unwrap().payload.len() <= 1460);
            lab.input(ack().ack(1461).win(0));
            lab.collect();
        }
    }
    lab.assert_state(id, State::Established);
    lab.flow.win = 20_000;
    lab.send(ack().ack(1461));
    let mut got = vec![false; 14_600];
    got[..1460].fill(true);
    while got[1460..].contains(&false) {
        for sent in lab.drain() {
            let tcp = sent.tcp.unwrap();
            let at = (tcp.tcp.seq.get().wrapping_sub(lab.flow.iss) - 1) as usize;
            got[at..at + tcp.payload.len()].fill(true);
        }
        let upto = got.iter().position(|got| !got).unwrap_or(14_600);
        if upto <= 1460 {
            let at = lab.next_deadline().unwrap();
            lab.run_to(at);
        } else {
            lab.input(ack().ack(1 + upto as u32));
            lab.collect();
        }
    }
}

/// A connection whose peer has closed the window with nothing outstanding, and a probe that it dropped.
fn probed() -> (Lab, ConnectionId) {
    let (mut lab, id) = established();
    lab.write(id, b"a");
    lab.expect(data(b"a"));
    lab.flow.win = 0;
    lab.send(ack());
    lab.write(id, &pattern(0, 3000));
    lab.at(200);
    lab.expect(some(1).seq(2));
    lab.send(ack().ack(2));
    (lab, id)
}

// RFC 9293 3.4 Table 6: with its window closed, the peer takes only segments at exactly its RCV.NXT. An
// acknowledgement that stands behind our own probe is dropped: its data would never be acknowledged.
#[test]
fn acknowledgements_stay_acceptable_to_a_peer_whose_window_is_closed() {
    let (mut lab, _) = probed();
    // The probe's byte was not taken.
    lab.send_all([some(1460).ack(2), some(1460).ack(2)]);
    lab.expect(ack().seq(2).ack(2921));
}

#[test]
fn a_reset_stays_acceptable_to_a_peer_whose_window_is_closed() {
    let (mut lab, id) = probed();
    lab.abort(id);
    lab.expect(rst_ack().seq(2));
}

#[test]
fn a_keepalive_or_challenge_stays_acceptable_to_a_peer_whose_window_is_closed() {
    let (mut lab, _) = probed();
    lab.send(syn().seq(1));
    lab.expect(ack().seq(2).ack(1));
}

/// The same with a peer that shrinks its window under what is in flight.
#[test]
fn acknowledgements_stay_acceptable_to_a_peer_that_shrank_its_window() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 20_000, ..Peer::default() });
    lab.write(id, &pattern(0, 14_600));
    lab.drain();
    lab.flow.win = 1000;
    lab.send(ack().ack(1461));
    lab.send_all([some(1460).ack(1461), some(1460).ack(1461)]);
    let seq = lab.next_tcp().tcp.seq.get().wrapping_sub(lab.flow.iss);
    assert!((1461..=2461).contains(&seq), "seq {seq} lies outside of the peer's window");
}

/// One side does not read; the other side's data must flow at full speed all the same.
#[test]
fn one_closed_window_does_not_slow_the_other_direction() {
    // Without scaling, a window that is announced as closed is closed to the byte.
    let mut pair = Pair::with(|_, config| config.window_scaling = false);
    pair.converse_with(
        &[
            Op::Send(300_000),
            Op::Recv(3_000_000),
            Op::Pause(60_000),
            Op::ShutdownWrite,
            Op::RecvEof,
            Op::Close,
        ],
        &[
            Op::Pause(2000),
            Op::Send(3_000_000),
            Op::Pause(60_000),
            Op::Recv(300_000),
            Op::ShutdownWrite,
            Op::RecvEof,
            Op::Close,
        ],
        |_| {},
        |options| options.recv_buffer = 20_000,
    );
    pair.run_to(secs(5));
    if pair.programs[0].received() < 3_000_000 {
        pair.fail(&format!("only {} bytes after five seconds", pair.programs[0].received()));
    }
    pair.live(secs(1000));
}

// ---- silly windows and Nagle

// MUST-38
#[test]
fn the_sender_does_not_fill_crumbs_of_a_window() {
    let (mut lab, id) = established();
    lab.write(id, b"a");
    lab.expect(data(b"a"));
    lab.flow.win = 0;
    lab.send(ack());
    lab.write(id, &pattern(0, 3000));
    lab.at(100);
    lab.flow.win = 100;
    lab.send(ack());
    lab.quiet();
    // 3.8.6.2.1 (4): the override timeout.
    lab.run_to(ms(400));
    let sent = lab.drain();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].tcp.as_ref().unwrap().payload.len(), 100);
    lab.flow.win = 1460;
    lab.send(ack());
    lab.expect(data(pattern(100, 1460)).seq(102));
}

// MUST-38 (3): half of the largest window there ever was is worth a segment.
#[test]
fn half_of_the_largest_window_is_no_crumb() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 1000, ..Peer::default() });
    lab.write(id, &pattern(0, 3000));
    lab.expect(data(pattern(0, 1000)));
    lab.send(ack().win(499));
    lab.quiet();
    lab.send(ack().win(500));
    lab.expect(data(pattern(1000, 500)));
}

#[test]
fn a_peer_with_a_window_of_one_byte_gets_bytes() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 1, ..Peer::default() });
    lab.write(id, b"abc");
    for byte in [b"a", b"b", b"c"] {
        lab.expect(data(byte));
        lab.send(ack());
    }
    lab.quiet();
}

// SHLD-7
#[test]
fn nagle_holds_a_small_segment_while_another_is_unacknowledged() {
    let (mut lab, id) = established();
    lab.write(id, b"one");
    lab.expect(data(b"one").push());
    lab.write(id, b"two");
    lab.write(id, b"three");
    lab.quiet();
    assert_eq!(lab.info(id).limited_by, SenderLimit::SmallSegment);
    lab.at(30);
    lab.send(ack());
    lab.expect(data(b"twothree").push());
}

// RFC 9293 A.3 (Minshall): the small end of a large write does not wait.
#[test]
fn nagle_does_not_hold_the_end_of_a_large_write() {
    let (mut lab, id) = established();
    lab.write(id, &pattern(0, 3000));
    lab.expect(some(1460).no_push());
    lab.expect(some(1460).no_push());
    lab.expect(some(80).push());
    lab.write(id, b"x");
    lab.quiet();
    lab.send(ack().ack(2921));
    lab.quiet();
    lab.send(ack());
    lab.expect(data(b"x"));
}

#[test]
fn nagle_lets_full_segments_go() {
    let (mut lab, id) = established();
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.write(id, &pattern(0, 1459));
    lab.quiet();
    lab.write(id, &pattern(1459, 1));
    lab.expect(data(pattern(0, 1460)));
}

// MUST-17
#[test]
fn nodelay_sends_at_once() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.nodelay = true);
    for n in 0..10u32 {
        lab.write(id, b"x");
        lab.expect(data(b"x").seq(1 + n).push());
    }
}

#[test]
fn nodelay_switched_on_lets_go_what_nagle_held() {
    let (mut lab, id) = established();
    lab.write(id, b"one");
    lab.expect(data(b"one"));
    lab.write(id, b"two");
    lab.quiet();
    lab.set(id, |options| options.nodelay = true);
    lab.expect(data(b"two"));
}

#[test]
fn close_lets_go_what_nagle_held() {
    let (mut lab, id) = established();
    lab.write(id, b"one");
    lab.expect(data(b"one"));
    lab.write(id, b"two");
    lab.shutdown_write(id);
    lab.expect(data(b"two").fin().push());
}

/// Write, write, read: the second write waits for the delayed acknowledgement of the first, and no longer.
#[test]
fn nagle_against_delayed_acknowledgements_costs_one_delay() {
    let mut pair = Pair::with(|_, config| config.quick_acks = 0);
    pair.converse_with(
        &[Op::Send(10), Op::Pause(1), Op::Send(20), Op::Recv(5), Op::Close],
        &[Op::Recv(30), Op::Send(5), Op::RecvEof, Op::Close],
        |_| {},
        // A larger buffer would be announced at the first read, and the acknowledgement with it.
        |options| options.recv_buffer = 65_535,
    );
    for (at, received) in [(41, 10), (43, 30)] {
        pair.run_to(ms(at));
        if pair.programs[1].received() != received {
            pair.fail(&format!("{} bytes received", pair.programs[1].received()));
        }
    }
    pair.live(secs(5));
}

// MUST-61
#[test]
fn push_stands_on_the_last_byte_there_is() {
    let (mut lab, id) = established();
    lab.write(id, &pattern(0, 2920));
    lab.expect(some(1460).no_push());
    lab.expect(some(1460).push());
}

// SHLD-27, SHLD-28
#[test]
fn small_writes_are_collected_into_full_segments() {
    let (mut lab, id) = established();
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    for n in 0..292 {
        lab.stack.send(lab.ts(), id, &pattern(n * 10, 10), Default::default()).unwrap();
    }
    lab.collect();
    lab.expect(data(pattern(0, 1460)));
    lab.expect(data(pattern(1460, 1460)));
    lab.quiet();
}

// ---- buffers

#[test]
fn the_send_buffer_is_exact() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer { win: 10, ..Peer::default() }, |options| options.send_buffer = 1000);
    assert_eq!(lab.stack.send(lab.ts(), id, &pattern(0, 5000), Default::default()), Ok(1000));
    assert_eq!(lab.stack.send(lab.ts(), id, b"x", Default::default()), Err(SendError::WouldBlock));
    lab.collect();
    lab.expect(data(pattern(0, 10)));
    lab.events.clear();
    lab.send(ack().ack(11).win(600));
    lab.expect(data(pattern(10, 600)));
    assert_eq!(lab.stack.send(lab.ts(), id, &pattern(0, 50), Default::default()), Ok(10));
    assert!(!lab.told(id, Readiness::WRITABLE));
    lab.send(ack().ack(611).win(0));
    assert!(lab.told(id, Readiness::WRITABLE));
}

#[test]
fn writable_follows_notsent_lowat() {
    let mut lab = Lab::new();
    let id =
        lab.accepted_with(Peer { win: 1000, ..Peer::default() }, |options| options.notsent_lowat = Some(500));
    assert!(lab.stack.readiness(id).contains(Readiness::WRITABLE));
    lab.write(id, &pattern(0, 1500));
    lab.expect(some(1000));
    assert!(!lab.stack.readiness(id).contains(Readiness::WRITABLE));
    lab.events.clear();
    lab.send(ack().win(100));
    lab.run_to(secs(1));
    lab.drain();
    assert!(lab.stack.readiness(id).contains(Readiness::WRITABLE), "400 bytes wait");
    assert!(lab.told(id, Readiness::WRITABLE));
}

#[test]
fn tiny_buffers_carry_a_conversation() {
    for (recv, send) in
        [(1, 1), (1, 100_000), (100, 1), (100, 100), (1459, 1459), (1447, 10_000), (2919, 5000)]
    {
        let mut pair = Pair::new();
        let client = [Op::Send(400), Op::Recv(300), Op::Close];
        let server = [Op::Recv(400), Op::Send(300), Op::RecvEof, Op::Close];
        let small = |options: &mut SocketOptions| {
            options.recv_buffer = recv;
            options.send_buffer = send;
        };
        pair.converse_with(&client, &server, small, small);
        pair.live(secs(1000));
    }
}

// "at least 1 byte", says the option.
#[test]
fn buffers_of_no_bytes_count_as_one() {
    let mut pair = Pair::new();
    let client = [Op::Send(20), Op::Recv(20), Op::Close];
    let server = [Op::Recv(20), Op::Send(20), Op::RecvEof, Op::Close];
    let none = |options: &mut SocketOptions| {
        options.recv_buffer = 0;
        options.send_buffer = 0;
    };
    pair.converse_with(&client, &server, none, none);
    pair.live(secs(1000));
}

#[test]
fn huge_buffers_carry_a_conversation() {
    for size in [1 << 30, usize::MAX / 2, usize::MAX] {
        let mut pair =
            Pair::new().fate(|crossing| if crossing.number == 20 { Fate::Drop } else { Fate::Deliver });
        let client = [Op::Send(400_000), Op::Recv(300_000), Op::Close];
        let server = [Op::Recv(400_000), Op::Send(300_000), Op::RecvEof, Op::Close];
        let huge = |options: &mut SocketOptions| {
            options.recv_buffer = size;
            options.send_buffer = size;
        };
        pair.converse_with(&client, &server, huge, huge);
        pair.live(secs(100));
    }
}

/// More bytes queued than sequence numbers can tell apart.
#[test]
fn a_send_buffer_beyond_the_sequence_space_still_sends() {
    let mut lab = Lab::new();
    lab.silent = true;
    let id = lab.accepted_with(Peer::default(), |options| options.send_buffer = usize::MAX);
    // 5 GiB of the same 64 MiB.
    let chunk = Bytes::from(vec![7; 64 << 20]);
    for _ in 0..80 {
        let mut chunk = chunk.clone();
        match lab.stack.send_bytes(lab.ts(), id, &mut chunk, Default::default()) {
            Ok(_) | Err(SendError::WouldBlock) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    lab.collect();
    assert_eq!(lab.drain().len(), 10, "the initial window");
}

// ---- window scale (RFC 7323 2)

// RFC 7323 2.2-1, RFC 7323 2.3-1
#[test]
fn windows_are_scaled_only_if_both_say_so() {
    // Both: the peer's windows count 16 times, ours are announced in units of 128.
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460).ws(4).win(1000));
    lab.expect(syn_ack().ws(7).win(65535));
    lab.send(ack().win(1000));
    let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    assert_eq!(lab.info(id).snd_wnd, 16_000);
    lab.send_all([some(1460), some(1460)]);
    lab.expect(ack().win(((512 * 1024 - 2920) / 128) as u16));
    // The peer does not.
    let (mut lab, id) = established();
    assert_eq!((lab.info(id).snd_wscale, lab.info(id).rcv_wscale), (None, None));
    lab.send_all([some(1460), some(1460)]);
    lab.expect(ack().win(65535));
    // Nor when it was we who asked.
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn().ws(7));
    lab.send(syn_ack().mss(1460).win(1000));
    lab.expect(ack().win(65535));
    assert_eq!((lab.info(id).snd_wscale, lab.info(id).rcv_wscale), (None, None));
    // We do not.
    let mut lab = Lab::with(|config| config.window_scaling = false);
    let listener = lab.listen();
    lab.send(syn().mss(1460).ws(4).win(1000));
    assert_eq!(lab.expect(syn_ack()).tcp.options.window_scale, None);
    lab.send(ack().win(1000));
    let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    assert_eq!(lab.info(id).snd_wnd, 1000);
}

// RFC 7323 2.3-2
#[test]
fn a_scale_beyond_14_counts_as_14() {
    for (shift, window) in [(0, 3), (14, 3 << 14), (15, 3 << 14), (255, 3 << 14)] {
        let mut lab = Lab::new();
        let listener = lab.listen();
        lab.send(syn().mss(1460).ws(shift));
        lab.expect(syn_ack());
        lab.send(ack().win(3));
        let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
        assert_eq!(lab.info(id).snd_wnd, window);
    }
}

// RFC 7323 2.2-3, RFC 7323 2.3-1
#[test]
fn the_window_of_a_syn_is_not_scaled() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn().ws(7).win(65535));
    lab.send(syn_ack().mss(1460).ws(10).win(500));
    // Even the first ACK of ours is.
    lab.expect(ack().win(4096));
    assert_eq!(lab.info(id).snd_wnd, 500);
    lab.send(ack().win(500));
    assert_eq!(lab.info(id).snd_wnd, 500 << 10);
}

// MUST-1; RFC 9293 3.1 REC-1
#[test]
fn the_largest_window_is_not_negative() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460).ws(14));
    lab.expect(syn_ack());
    lab.send(ack().win(65535));
    let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    assert_eq!(lab.info(id).snd_wnd, 65535 << 14);
    lab.write(id, &pattern(0, 14_600));
    assert_eq!(lab.drain().len(), 10);
}

#[test]
fn scaled_windows_of_small_buffers_are_exact_enough() {
    for buffer in [1, 100, 1000, 8191, 8192, 9000, 65_535, 65_536, 100_000] {
        let mut lab = Lab::new();
        let listener = lab.listen_with(16, |options| options.recv_buffer = buffer);
        lab.send(syn().mss(1460).ws(0));
        let shift = lab.expect(syn_ack()).tcp.options.window_scale.unwrap();
        lab.send(ack());
        let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
        lab.send(some(1));
        lab.after(40);
        let announced = usize::from(lab.expect(ack()).tcp.window) << shift;
        assert!(
            announced <= buffer && announced + (1 << shift) + 1 > buffer - buffer / 32,
            "{buffer}: {announced}"
        );
        let _ = id;
    }
}

// RFC 7323 2.4-2
// SHLD-14: with scaling, a window may look smaller by less than one unit (RFC 7323 2.4); never by more.
#[test]
fn the_right_edge_never_recedes_by_a_unit() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(16, |options| options.recv_buffer = 100_000);
    lab.send(syn().mss(1460).ws(0));
    let shift = lab.expect(syn_ack()).tcp.options.window_scale.unwrap();
    lab.send(ack());
    let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    let mut best = 0;
    let mut random = Random::new(3);
    for _ in 0..2000 {
        lab.input(some(random.below(300) as usize));
        if random.chance(30) {
            let _ = lab.stack.recv(lab.ts(), id, 1 + random.below(2000) as usize);
        }
        for sent in lab.drain() {
            let tcp = sent.tcp.unwrap().tcp;
            let edge = tcp.ack.get() + (u32::from(tcp.window) << shift);
            assert!(edge + (1 << shift) > best, "{edge} after {best}");
            best = best.max(edge);
        }
        if lab.info(id).unread > 99_000 {
            lab.read(id, 50_000);
            lab.drain();
        }
    }
}

// ---- timestamps (RFC 7323 3 to 5)

// RFC 7323 3.2-1, RFC 7323 3.2-4, RFC 7323 3.2-5
#[test]
fn timestamps_are_used_only_if_both_say_so() {
    // Both.
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { ts: true, ..Peer::default() });
    lab.write(id, b"x");
    lab.expect(data(b"x").ts(lab.flow.tsval, 1000));
    lab.shutdown_write(id);
    assert!(lab.expect(fin()).tcp.options.timestamps.is_some());
    // Not the peer: not even if it sends some later.
    let mut lab = Lab::new();
    lab.listen();
    lab.send(syn().mss(1460));
    lab.expect(syn_ack().no_ts());
    let (mut lab, id) = established();
    lab.send(some(10).ts(5, 5));
    lab.write(id, b"x");
    lab.expect(data(b"x").no_ts());
    // Not we.
    let mut lab = Lab::with(|config| config.timestamps = false);
    lab.listen();
    lab.send(syn().mss(1460).ts(7, 0));
    lab.expect(syn_ack().no_ts());
    let mut lab = Lab::with(|config| config.timestamps = false);
    lab.connect();
    lab.expect(syn().no_ts());
    // We offer, the peer declines.
    let mut lab = Lab::new();
    lab.connect();
    assert!(lab.expect(syn()).tcp.options.timestamps.is_some());
    lab.send(syn_ack().mss(1460));
    lab.expect(ack().no_ts());
}

// RFC 7323 4.1-1, RFC 7323 5.4-1
#[test]
fn the_timestamp_clock_ticks_in_milliseconds() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { ts: true, ..Peer::default() });
    lab.write(id, b"x");
    let first = lab.expect(data(b"x")).tcp.options.timestamps.unwrap().tsval;
    lab.send(ack());
    lab.at(12_345);
    lab.write(id, b"x");
    let later = lab.expect(data(b"x")).tcp.options.timestamps.unwrap().tsval;
    assert_eq!(later.wrapping_sub(first), 12_345);
}

// RFC 7323 4.3-1, RFC 7323 4.3-2
// RFC 7323 4.3: the timestamp of the segment that the acknowledgement began to wait for
#[test]
fn the_echo_is_of_the_oldest_unacknowledged_segment() {
    let mut lab = Lab::new();
    lab.accepted(Peer { ts: true, ..Peer::default() });
    lab.send(some(1460).ts(2000, 0));
    lab.send(some(1460).ts(2010, 0));
    let echo = lab.expect(ack().ack(2921)).tcp.options.timestamps.unwrap().tsecr;
    assert_eq!(echo, 2000);
    // (B) of 4.3: a segment beyond a gap is not echoed; the one that fills it is.
    lab.send(some(1460).seq(2921 + 1460).ts(2020, 0));
    assert_eq!(lab.expect(ack().ack(2921)).tcp.options.timestamps.unwrap().tsecr, 2000);
    lab.send(some(1460).seq(2921).ts(2030, 0));
    assert_eq!(lab.expect(ack().ack(5841)).tcp.options.timestamps.unwrap().tsecr, 2030);
}

// RFC 7323 4.3 (2) with Linux's tcp_sequence, to which a repeat of the last segment is not outside of the
// window: the peer's retransmission is answered with its own timestamp. With the first one's, the peer would
// take the whole time that it waited for a round trip.
#[test]
fn the_echo_of_a_retransmission_is_its_own() {
    let mut lab = Lab::new();
    lab.accepted(Peer { ts: true, ..Peer::default() });
    lab.send(some(100).ts(2000, 0));
    lab.after(40);
    assert_eq!(lab.expect(ack().ack(101)).tcp.options.timestamps.unwrap().tsecr, 2000);
    // That was lost.
    lab.send(some(100).seq(1).ts(2240, 0));
    assert_eq!(lab.expect(ack().ack(101)).tcp.options.timestamps.unwrap().tsecr, 2240);
    lab.send(fin().ts(2300, 0));
    assert_eq!(lab.expect(ack().ack(102)).tcp.options.timestamps.unwrap().tsecr, 2300);
    lab.send(fin().seq(101).ts(2500, 0));
    assert_eq!(lab.expect(ack().ack(102)).tcp.options.timestamps.unwrap().tsecr, 2500);
}

// RFC 7323 5.3-1
#[test]
fn paws_drops_an_old_segment_and_acknowledges_it() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { ts: true, ..Peer::default() });
    lab.send(some(10).ts(5000, 0));
    lab.after(40);
    lab.expect(ack().ack(11));
    lab.send(some(10).seq(11).ts(4999, 0));
    lab.expect(ack().ack(11));
    assert_eq!(lab.info(id).unread, 10);
    assert_eq!(lab.stack.counters().paws_dropped, 1);
    // Across the wrap of the timestamp clock it is still old or new.
    lab.send(some(10).seq(11).ts(5000u32.wrapping_sub(0x7fff_ffff), 0));
    lab.expect(ack().ack(11));
    lab.send(some(10).seq(11).ts(5000 + 0x7fff_fff0, 0));
    lab.after(40);
    lab.expect(ack().ack(21));
}

// RFC 7323 5.2-1
#[test]
fn paws_does_not_stop_a_reset() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { ts: true, ..Peer::default() });
    lab.send(some(10).ts(5000, 0));
    lab.send(rst().ts(1, 0));
    lab.assert_state(id, State::Closed);
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { ts: true, ..Peer::default() });
    lab.send(rst().no_ts());
    lab.assert_state(id, State::Closed);
}

// RFC 7323 5.5-1
// RFC 7323 5.5: after 24 days a timestamp proves nothing.
#[test]
fn paws_forgets_after_24_days_of_silence() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { ts: true, ..Peer::default() });
    lab.send(some(10).ts(5000, 0));
    lab.after(40);
    lab.expect(ack());
    let day = secs(24 * 3600);
    lab.at_us(23 * day);
    lab.send(some(10).ts(4000, 0).seq(11));
    lab.expect(ack().ack(11));
    lab.at_us(25 * day);
    lab.send(some(10).ts(4000, 0).seq(11));
    lab.after(40);
    lab.expect(ack().ack(21));
    assert_eq!(lab.info(id).unread, 20);
}

// RFC 7323 3.2-3
#[test]
fn a_segment_without_the_agreed_timestamps_is_dropped() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { ts: true, ..Peer::default() });
    lab.send(some(10).no_ts());
    lab.run_to(secs(1));
    assert_eq!(lab.info(id).unread, 0);
}

// ---- MSS (RFC 9293 3.7.1)

// MUST-14, SHLD-5, MUST-67; RFC 9293 3.7.1 MAY-3
#[test]
fn the_announced_mss_is_the_mtus() {
    for (mtu, v4, v6) in
        [(1500, 1460, 1440), (9000, 8960, 8940), (1280, 1240, 1220), (576, 536, 516), (65535, 65495, 65475)]
    {
        for (v6_too, mss) in [(false, v4), (true, v6)] {
            let mut lab = Lab::with(|config| config.mtu = mtu);
            if v6_too {
                lab = lab.v6();
            }
            lab.listen();
            lab.send(syn());
            lab.expect(syn_ack().mss(mss));
            let mut lab = Lab::with(|config| config.mtu = mtu);
            if v6_too {
                lab = lab.v6();
            }
            lab.connect();
            lab.expect(syn().mss(mss));
        }
    }
}

// MUST-15
#[test]
fn without_the_option_the_mss_is_536_or_1220() {
    for (v6, mss) in [(false, 536), (true, 1220)] {
        let new = || if v6 { Lab::new().v6() } else { Lab::new() };
        let peer = Peer { mss: None, ..Peer::default() };
        let mut lab = new();
        let id = lab.accepted(peer);
        lab.write(id, &pattern(0, 10_000));
        lab.expect(some(mss));
        let mut lab = new();
        let id = lab.connected(peer);
        lab.write(id, &pattern(0, 10_000));
        lab.expect(some(mss));
    }
}

// MUST-16; RFC 9293 3.7.1 MUST-14
#[test]
fn the_segment_size_is_the_smaller_of_both_less_the_options() {
    for (offered, mtu, ts, len) in [
        (1460, 1500, false, 1460),
        (1460, 1500, true, 1448),
        (65535, 1500, false, 1460),
        (65535, 1500, true, 1448),
        (1000, 1500, true, 988),
        (1460, 1000, false, 960),
        (48, 1500, false, 48),
        (48, 1500, true, 36),
    ] {
        let mut lab = Lab::with(|config| config.mtu = mtu);
        let id = lab.accepted(Peer { mss: Some(offered), ts, ..Peer::default() });
        lab.write(id, &pattern(0, 20_000));
        assert_eq!(lab.next_tcp().payload.len(), len, "offered {offered}, MTU {mtu}, timestamps {ts}");
        assert_eq!(usize::from(lab.info(id).snd_mss), len);
    }
}

// A peer that says it can take nothing, or next to nothing
#[test]
fn a_silly_mss_makes_neither_a_stall_nor_a_flood() {
    for offered in [0, 1, 47] {
        let mut lab = Lab::new();
        let id = lab.accepted(Peer { mss: Some(offered), ..Peer::default() });
        lab.write(id, &pattern(0, 1000));
        let first = lab.next_tcp().payload.len();
        // Linux takes 0 for no option at all, and has the same floor.
        assert!(first == 48 || (offered == 0 && first == 536), "offered {offered}: {first}");
    }
}

#[test]
fn max_segment_bounds_both_directions() {
    let mut lab = Lab::new();
    let id = lab.connect_with(|options| options.max_segment = Some(700)).unwrap();
    lab.expect(syn().mss(700));
    lab.send(syn_ack().mss(1460));
    lab.expect(ack());
    lab.write(id, &pattern(0, 5000));
    lab.expect(some(700));
    lab.drain();
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.max_segment = Some(700));
    lab.write(id, &pattern(0, 5000));
    lab.expect(some(700));
}

// MUST-65
#[test]
fn mss_and_scale_stand_only_in_syns() {
    let mut pair = Pair::new().fate(|crossing| {
        let tcp = parse(crossing.packet).unwrap().tcp;
        // The codec ignores them outside of a SYN, so the raw bytes are looked at.
        let header = &crossing.packet[20..20 + usize::from(crossing.packet[32] >> 4) * 4];
        if !tcp.flags.contains(TcpFlags::SYN) {
            assert!(header.len() == 20 || (header.len() == 32 && header[20..24] == [1, 1, 8, 10]));
        }
        Fate::Deliver
    });
    pair.converse(
        &[Op::Send(5000), Op::Recv(10), Op::Close],
        &[Op::Recv(5000), Op::Send(10), Op::RecvEof, Op::Close],
    );
    pair.live(secs(10));
}

#[test]
fn a_peer_without_any_option_is_served() {
    for v6 in [false, true] {
        let mut lab = if v6 { Lab::new().v6() } else { Lab::new() };
        let id = lab.accepted(Peer { mss: None, ..Peer::default() });
        lab.write(id, &pattern(0, 3000));
        let mut got = Vec::new();
        while got.len() < 3000 {
            for sent in lab.drain() {
                let tcp = sent.tcp.unwrap();
                assert_eq!(tcp.tcp.options, Default::default());
                got.extend_from_slice(&sent.packet[tcp.payload]);
            }
            lab.send(ack());
        }
        assert_eq!(got, pattern(0, 3000));
        lab.send(data(pattern(0, 1000)).fin());
        lab.drain();
        assert_eq!(lab.read(id, 5000), pattern(0, 1000));
    }
}

// MUST-4, MUST-5, MUST-6, MUST-7, MUST-64, MUST-68
#[test]
fn odd_options_are_skipped_and_lies_survived() {
    let good: [&[u8]; 5] = [
        // MSS not on a word boundary, after NOPs
        &[1, 2, 4, 5, 0xb4, 1, 1, 0],
        // unknown options around it, one of them without a value
        &[254, 2, 253, 6, 1, 2, 3, 4, 2, 4, 5, 0xb4, 200, 3, 9],
        // garbage after EOL
        &[2, 4, 5, 0xb4, 0, 99, 1, 77],
        // the option twice: the last one counts
        &[2, 4, 0, 100, 2, 4, 5, 0xb4],
        // 40 bytes of NOPs but for the MSS
        &[1; 36],
    ];
    for (n, options) in good.iter().enumerate() {
        let mut lab = Lab::new();
        let listener = lab.listen();
        let options = if n == 4 { [*options, &[2, 4, 5, 0xb4]].concat() } else { options.to_vec() };
        lab.send(syn().options(&options));
        lab.expect(syn_ack());
        lab.send(ack().options(&[254, 4, 1, 1]));
        let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
        lab.write(id, &pattern(0, 5000));
        assert_eq!(lab.next_tcp().payload.len(), 1460, "options {n}");
    }
    let lies: [&[u8]; 6] = [&[2, 0], &[2, 1, 5, 0xb4], &[2], &[8, 40, 1], &[2, 4, 5], &[3, 255, 1, 1]];
    for lie in lies {
        // In a SYN: a reset, silence or an answer; but the listener lives.
        let mut lab = Lab::new();
        let listener = lab.listen();
        lab.send(syn().options(lie));
        lab.drain();
        lab.switch(4001);
        lab.handshake(Peer::default());
        let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
        // Outside of the window it hurts nobody.
        lab.send(some(5).seq(1_000_000).options(lie));
        lab.drain();
        lab.assert_state(id, State::Established);
        // MUST-7: within, the suggested procedure is to reset.
        lab.send(some(5).options(lie));
        lab.drain();
        assert!(matches!(lab.state(id), State::Established | State::Closed));
    }
}

// ---- sequence numbers wrap (RFC 9293 3.4)

// RFC 9293 3.4 R-13
#[test]
fn all_of_a_connection_crosses_the_wrap_of_both_sequence_spaces() {
    for active in [false, true] {
        for before in [0, 1, 2, 3, 700, 1460, 5000, 20_000] {
            let iss = 0u32.wrapping_sub(before);
            let mut lab = Lab::with_iss(iss, active, |_| {});
            lab.flow.isn = 0u32.wrapping_sub(before / 2 + 1);
            let id = if active { lab.connected(Peer::default()) } else { lab.accepted(Peer::default()) };
            assert_eq!(lab.flow.iss, iss);
            lab.write(id, &pattern(0, 30_000));
            let mut got = Vec::new();
            let mut upto = 0;
            while got.len() < 30_000 {
                for sent in lab.drain() {
                    let tcp = sent.tcp.unwrap();
                    assert_eq!(tcp.tcp.seq.get().wrapping_sub(iss) as usize, 1 + got.len());
                    got.extend_from_slice(&sent.packet[tcp.payload]);
                }
                // A segment of ours each time, out of order by turns.
                lab.input(data(pattern(upto + 500, 500)).seq(1 + upto as u32 + 500));
                lab.input(data(pattern(upto, 500)).seq(1 + upto as u32));
                upto += 1000;
                lab.flow.nxt = 1 + upto as u32;
                lab.collect();
                assert_eq!(lab.stack.recv(lab.ts(), id, 5000).unwrap().to_vec(), pattern(upto - 1000, 1000));
            }
            assert_eq!(got, pattern(0, 30_000));
            lab.shutdown_write(id);
            lab.drain();
            lab.send(fin().ack(30_002));
            lab.expect(ack().seq(30_002).ack(upto as u32 + 2));
            lab.assert_state(id, State::TimeWait);
        }
    }
}

// RFC 9293 3.4 R-13
#[test]
fn zero_window_and_retransmission_cross_the_wrap() {
    for before in 0..8 {
        let iss = 0u32.wrapping_sub(before);
        let mut lab = Lab::with_iss(iss, false, |_| {});
        lab.flow.isn = u32::MAX - 2;
        let id = lab.accepted(Peer { win: 2, ..Peer::default() });
        lab.write(id, b"abcdef");
        lab.expect(data(b"ab").seq(1));
        lab.at(200);
        lab.expect(data(b"ab").seq(1));
        lab.send(ack().ack(3).win(0));
        lab.run_to(secs(2));
        assert_eq!(lab.drain()[0].tcp.as_ref().unwrap().tcp.seq.get().wrapping_sub(iss), 3);
        lab.send(ack().ack(4).win(3));
        lab.expect(data(b"def").seq(4));
    }
}

// ---- path MTU (RFC 1191, RFC 8201, RFC 5927)

/// What a router says about a packet that is too big.
fn too_big(lab: &mut Lab, mtu: u32, packet: &[u8]) {
    let (router, us) = if lab.local.is_ipv4() { ("10.9.9.9", "10.0.0.2") } else { ("fd00:9::9", "fd00::2") };
    let message = emit_error(
        router.parse().unwrap(),
        us.parse().unwrap(),
        IcmpErrorKind::PacketTooBig { mtu },
        packet,
        64,
    );
    lab.send_packet(message);
}

fn in_flight(v6: bool) -> (Lab, ConnectionId, Vec<Bytes>) {
    let mut lab = if v6 { Lab::new().v6() } else { Lab::new() };
    let id = lab.accepted(Peer::default());
    lab.write(id, &pattern(0, 6000));
    let packets = lab.drain().into_iter().map(|sent| sent.packet).collect();
    (lab, id, packets)
}

// RFC 7323 5.7-1
#[test]
fn a_smaller_path_mtu_cuts_what_is_in_flight_anew() {
    for (v6, mtu, mss) in [(false, 1000, 960), (true, 1300, 1240)] {
        let (mut lab, id, packets) = in_flight(v6);
        let cwnd = lab.info(id).cwnd;
        lab.at(10);
        too_big(&mut lab, mtu, &packets[0]);
        lab.expect(data(pattern(0, mss)).seq(1));
        lab.expect(data(pattern(mss, mss)).seq(1 + mss as u32));
        let mut got = pattern(0, 2 * mss);
        loop {
            for sent in lab.drain() {
                let tcp = sent.tcp.unwrap();
                assert!(sent.packet.len() <= mtu as usize);
                got.extend_from_slice(&sent.packet[tcp.payload]);
            }
            if got.len() >= 6000 {
                break;
            }
            lab.send(ack().ack(1 + got.len() as u32));
        }
        assert_eq!(got, pattern(0, 6000));
        assert!(lab.info(id).cwnd >= cwnd, "RFC 1191 6.5: not a sign of congestion");
        assert_eq!(lab.stack.path_mtu(lab.remote.ip()), mtu as u16);
        assert_eq!(lab.info(id).pmtu, mtu as u16);
    }
}

#[test]
fn a_path_mtu_is_for_all_connections_to_that_host_and_lasts_ten_minutes() {
    let (mut lab, _, packets) = in_flight(false);
    too_big(&mut lab, 1000, &packets[0]);
    lab.drain();
    assert_eq!(lab.stack.path_mtu("10.0.0.77".parse().unwrap()), 1500);
    lab.local.set_port(81);
    lab.switch(4001);
    let id = lab.accepted(Peer::default());
    assert_eq!(lab.info(id).snd_mss, 960);
    lab.send(rst());
    lab.run_to(secs(601));
    lab.drain();
    assert_eq!(lab.stack.path_mtu("10.0.0.1".parse().unwrap()), 1500);
}

/// Two connections have packets in flight that are too big. The router's word on the second one's says nothing new of
/// the path, and all to that connection.
#[test]
fn a_known_path_mtu_still_reaches_a_connection_whose_packets_are_refused() {
    let (mut lab, first, packets) = in_flight(false);
    lab.local.set_port(81);
    lab.switch(4001);
    let second = lab.accepted(Peer::default());
    lab.write(second, &pattern(0, 3000));
    let refused = lab.drain().remove(0).packet;
    too_big(&mut lab, 1000, &packets[0]);
    assert_eq!(lab.info(first).pmtu, 1000);
    lab.drain();
    // A router further on allows more: the least of all counts.
    too_big(&mut lab, 1300, &refused);
    assert_eq!(lab.info(second).pmtu, 1000);
    lab.expect(data(pattern(0, 960)).seq(1));
}

// RFC 5927 4.1, 7.2
#[test]
fn stale_and_forged_messages_about_the_path_are_ignored() {
    for v6 in [false, true] {
        let mtu = 1300;
        let (mut lab, id, packets) = in_flight(v6);
        let ip_len = if v6 { 40 } else { 20 };
        // The second segment is acknowledged by now: its quote is stale.
        lab.send(ack().ack(2921));
        let quiet = |lab: &mut Lab, packet: &[u8]| {
            lab.drain();
            too_big(lab, mtu, packet);
            lab.quiet();
            assert_eq!(lab.info(id).pmtu, 1500);
            assert_eq!(lab.stack.path_mtu(lab.remote.ip()), 1500);
        };
        quiet(&mut lab, &packets[0]);
        quiet(&mut lab, &packets[1]);
        // A sequence number beyond what was sent, another port, another address, another protocol.
        let forged = |at: usize, with: u8| {
            let mut packet = packets[3].to_vec();
            packet[at] ^= with;
            packet
        };
        quiet(&mut lab, &forged(ip_len + 5, 0x40));
        quiet(&mut lab, &forged(ip_len + 1, 1));
        quiet(&mut lab, &forged(ip_len + 3, 1));
        quiet(&mut lab, &forged(if v6 { 39 } else { 19 }, 1));
        quiet(&mut lab, &forged(if v6 { 23 } else { 15 }, 1));
        quiet(&mut lab, &forged(if v6 { 6 } else { 9 }, 17 ^ 6));
        // Cut off before the sequence number.
        quiet(&mut lab, &packets[3][..ip_len + 4]);
        quiet(&mut lab, &packets[3][..ip_len]);
        quiet(&mut lab, &[]);
        assert!(lab.stack.counters().icmp_ignored >= 8);
        // The truth is believed.
        too_big(&mut lab, mtu, &packets[3]);
        assert_eq!(lab.info(id).pmtu, mtu as u16);
    }
}

// RFC 1191 5, 7: an old router does not say; and no path has less than 68, nor do we go below 552.
#[test]
fn small_and_unknown_ipv4_path_mtus() {
    for (said, believed) in [(0, 1492), (68, 552), (551, 552), (552, 552), (1499, 1499)] {
        let (mut lab, id, packets) = in_flight(false);
        too_big(&mut lab, said, &packets[0]);
        assert_eq!(lab.info(id).pmtu, believed, "said {said}");
    }
}

// RFC 8201 4: a message that says less than 1280 must be discarded.
#[test]
fn an_ipv6_path_mtu_below_1280_is_discarded() {
    for said in [0, 68, 1279] {
        let (mut lab, id, packets) = in_flight(true);
        too_big(&mut lab, said, &packets[0]);
        lab.quiet();
        assert_eq!(lab.info(id).pmtu, 1500, "said {said}");
    }
    let (mut lab, id, packets) = in_flight(true);
    too_big(&mut lab, 1280, &packets[0]);
    assert_eq!(lab.info(id).pmtu, 1280);
}

// RFC 1191 3, RFC 8201 4: such a message never raises the estimate.
#[test]
fn a_message_never_raises_the_path_mtu() {
    for v6 in [false, true] {
        let (mut lab, id, packets) = in_flight(v6);
        too_big(&mut lab, 1300, &packets[0]);
        lab.drain();
        for larger in [1400, 1500, 9000, 65535] {
            too_big(&mut lab, larger, &packets[0]);
            lab.drain();
            assert_eq!(lab.info(id).pmtu, 1300);
            assert_eq!(lab.stack.path_mtu(lab.remote.ip()), 1300);
        }
    }
}

// ---- Diffserv and TTL

// MUST-48, MUST-49, SHLD-21, SHLD-22
#[test]
fn tos_and_ttl_stand_on_every_packet_and_can_change() {
    for v6 in [false, true] {
        let mut lab = if v6 { Lab::new().v6() } else { Lab::new() };
        let listener = lab.listen_with(16, |options| {
            options.tos = 0x28;
            options.ttl = 9;
        });
        let look = |lab: &mut Lab| {
            let ip = lab.next_tcp().ip;
            (ip.traffic_class, ip.hop_limit)
        };
        lab.send(syn().mss(1460));
        assert_eq!(look(&mut lab), (0x28, 9));
        lab.send(ack());
        let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
        lab.write(id, b"x");
        assert_eq!(look(&mut lab), (0x28, 9));
        lab.set(id, |options| {
            options.tos = 0xb8;
            options.ttl = 77;
        });
        lab.send(ack());
        lab.write(id, b"y");
        assert_eq!(look(&mut lab), (0xb8, 77));
    }
}

#[test]
fn quick_and_slow_readers_of_a_peek() {
    let (mut lab, id) = established();
    lab.send(data(b"hello"));
    let mut buf = [0; 3];
    assert_eq!(lab.stack.peek(id, &mut buf), Ok(3));
    assert_eq!(&buf, b"hel");
    assert_eq!(lab.read(id, 100), b"hello");
}

#[test]
fn shut_down_for_reading_discards_and_keeps_the_window_open() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.recv_buffer = 5840);
    lab.stack.shutdown(lab.ts(), id, std::net::Shutdown::Read).unwrap();
    for n in 1..20u32 {
        lab.send_all([some(1460), some(1460)]);
        lab.expect(ack().ack(1 + 2920 * n).win(5840));
    }
    assert!(lab.read(id, 10).is_empty());
    lab.close(id);
    lab.expect(fin());
    lab.at_us(lab.now + Duration::from_millis(1).as_micros() as u64);
}

/// Both ends' windows are closed, and both probe at the same moment: each takes the other's byte, and from then on
/// each one's bare acknowledgements begin before what the other expects (found by the fuzz target `pair`).
#[test]
fn window_probes_that_cross_do_not_start_an_acknowledgement_war() {
    for pause in (100..500).step_by(10) {
        let mut pair = Pair::with(|_, config| {
            config.timestamps = false;
            config.window_scaling = false;
            config.socket.recv_buffer = 40;
        });
        pair.delay = [Duration::from_millis(20); 2];
        let script =
            [Op::Send(63), Op::Pause(pause), Op::Recv(63), Op::ShutdownWrite, Op::RecvEof, Op::Close];
        // A is established a link's delay before B; now both write at the same moment.
        let late = [&[Op::Pause(20)][..], &script].concat();
        pair.converse(&late, &script);
        pair.live(secs(200));
        let crossed = pair.total_crossed();
        assert!(
            crossed < 40,
            "{crossed} packets for 126 bytes, with a pause of {pause} ms\n{}",
            pair.record()
        );
    }
}
