//! What a connection reports agrees with what its calls do, and what is counted with what has happened.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use ropeway_core::{Counters, Readiness, SendError, SocketOptions, Stack, StackConfig, Timestamp};

/// Bytes that a window probe carries, and that are acknowledged, are not counted in `bytes_sent`.
#[test]
fn bytes_of_a_window_probe_are_counted() {
    let mut now = Timestamp::from_micros(1_000_000);
    let mut stack = Stack::new(Arc::new(StackConfig::default()), [7; 32], now);
    let mut options = SocketOptions::default();
    options.recv_buffer = 1000;
    options.nodelay = true;
    let listener = stack.listen("127.0.0.1:80".parse().unwrap(), 1, options.clone()).unwrap();
    let client = stack.connect(now, None, "127.0.0.1:80".parse().unwrap(), options).unwrap();
    while stack.poll_transmit(now).is_some() {}
    let _server = stack.accept(now, listener).unwrap().unwrap();
    // 700 of a window of 1000; then 1000 more, of which only 300 fit: less than half the window waits.
    for len in [700, 1000] {
        assert_eq!(stack.send(now, client, &vec![0; len], Default::default()).unwrap(), len);
        while stack.poll_transmit(now).is_some() {}
    }
    for _ in 0..100 {
        now += Duration::from_millis(100);
        stack.handle_timeout(now);
        while stack.poll_transmit(now).is_some() {}
    }
    let info = stack.info(now, client).unwrap();
    assert!(info.bytes_acked >= 1000, "{info:?}");
    assert!(info.bytes_sent >= info.bytes_acked, "sent {} < acked {}", info.bytes_sent, info.bytes_acked);
}

/// `Readiness::WRITABLE` is documented as "`send` would not say `WouldBlock`", but it also asks for a third of the buffer.
#[test]
fn writable_is_what_send_takes() {
    let now = Timestamp::from_micros(1_000_000);
    let mut stack = Stack::new(Arc::new(StackConfig::default()), [7; 32], now);
    let mut options = SocketOptions::default();
    options.send_buffer = 900;
    let _listener = stack.listen("127.0.0.1:80".parse().unwrap(), 1, options.clone()).unwrap();
    let client = stack.connect(now, None, "127.0.0.1:80".parse().unwrap(), options).unwrap();
    while stack.poll_transmit(now).is_some() {}
    assert_eq!(stack.send(now, client, &[0; 700], Default::default()), Ok(700));
    // There is room, and `send` takes it.
    assert!(stack.readiness(client).contains(Readiness::WRITABLE));
    assert_eq!(stack.send(now, client, &[0; 100], Default::default()), Ok(100));
    assert_eq!(stack.send(now, client, &[0; 1000], Default::default()), Ok(100));
    assert!(!stack.readiness(client).contains(Readiness::WRITABLE));
    assert_eq!(stack.send(now, client, &[0; 1], Default::default()), Err(SendError::WouldBlock));
}

/// Linux: with TCP_NOTSENT_LOWAT, `send` takes nothing while that much is unsent (tcp_stream_memory_free).
#[test]
fn send_respects_notsent_lowat() {
    let now = Timestamp::from_micros(1_000_000);
    let mut stack = Stack::new(Arc::new(StackConfig::default()), [7; 32], now);
    let mut options = SocketOptions::default();
    options.notsent_lowat = Some(1000);
    let _listener = stack.listen("127.0.0.1:80".parse().unwrap(), 1, options.clone()).unwrap();
    let client = stack.connect(now, None, "127.0.0.1:80".parse().unwrap(), options).unwrap();
    while stack.poll_transmit(now).is_some() {}
    assert_eq!(stack.send(now, client, &[0; 2000], Default::default()), Ok(2000));
    assert!(!stack.readiness(client).contains(Readiness::WRITABLE));
    assert_eq!(stack.send(now, client, &[0; 1], Default::default()), Err(SendError::WouldBlock));
}

// tcp(7): a large write is not taken whole; what was taken is sent before more is.
#[test]
fn a_large_write_leaves_no_more_unsent_than_notsent_lowat_and_a_segment() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.notsent_lowat = Some(20_000));
    let taken = lab.stack.send(lab.ts(), id, &[7; 200_000], Default::default()).unwrap();
    assert_eq!(taken, 20_000);
    lab.collect();
    assert_eq!(lab.info(id).not_sent, 20_000 - 14_600, "ten segments are on their way");
    assert_eq!(lab.stack.send(lab.ts(), id, &[7; 200_000], Default::default()), Ok(14_600));
    assert_eq!(lab.stack.send(lab.ts(), id, &[7; 1], Default::default()), Err(SendError::WouldBlock));
}

/// What is done three times is counted three times, besides what a handshake counts.
#[track_caller]
fn counted(counter: fn(&Counters) -> u64, mut once: impl FnMut(&mut Lab, u32)) {
    let mut lab = Lab::new();
    lab.accepted(Peer::default());
    let before = counter(lab.stack.counters());
    for nth in 0..3 {
        once(&mut lab, nth);
        lab.drain();
    }
    assert_eq!(counter(lab.stack.counters()) - before, 3);
}

#[test]
fn segments_that_are_not_acceptable_are_counted_by_reason() {
    counted(|counters| counters.out_of_window, |lab, _| lab.send(data(b"x").seq(1_000_000)));
    counted(|counters| counters.unacceptable_acks, |lab, _| lab.send(ack().ack(1000)));
    counted(|counters| counters.unacceptable_acks, |lab, _| lab.send(ack().ack(0u32.wrapping_sub(100_000))));
    counted(|counters| counters.out_of_order, |lab, nth| lab.send(data(b"x").seq(10 * (nth + 1))));
}

#[test]
fn a_refusal_counts_as_a_reset() {
    let mut lab = Lab::new();
    for times in 1..=3 {
        let id = lab.connect();
        lab.expect(syn());
        lab.send(rst_ack().seq(0).ack(1));
        assert_eq!(lab.stack.counters().resets_received, times);
        lab.close(id);
    }
}

/// Bytes with gaps between them cost 160 more each. Half of the buffer and 8 KiB may be spent for such.
#[test]
fn what_is_out_of_order_is_kept_while_memory_lasts() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer::default(), |options| options.recv_buffer = 1000);
    let fit = (1000 / 2 + 8 * 1024) / 160;
    for nth in 1..=fit + 3 {
        lab.send(data(b"x").seq(1 + 2 * nth));
        lab.drain();
        assert_eq!(lab.stack.counters().reassembly_overflows, u64::from(nth.saturating_sub(fit)), "{nth}");
    }
    // What was kept is there when the gaps close; what was not has to be sent again.
    lab.send(some(2 * fit as usize).seq(1));
    lab.drain();
    assert_eq!(lab.read(id, 10_000).len(), 2 * fit as usize + 1);
}

#[test]
fn each_fast_retransmit_is_counted_once() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer::default());
    for times in 1..=2 {
        let una = lab.flow.seen;
        lab.write(id, &pattern(0, 6 * 1460));
        lab.drain();
        for _ in 0..5 {
            lab.send(ack().ack(una));
            lab.drain();
        }
        while lab.info(id).unacked > 0 {
            lab.send(ack());
            lab.drain();
        }
        // Duplicates mean a loss again when something beyond that recovery is acknowledged (RFC 6582 3.2).
        lab.write(id, b"beyond");
        lab.expect(data(b"beyond"));
        lab.send(ack());
        assert_eq!(lab.stack.counters().fast_retransmits, times);
    }
}

#[test]
fn segments_and_bytes_are_counted_in_both_directions() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer::default());
    let before = lab.info(id);
    lab.send(data(b"hello"));
    // Beyond a gap it does not count until the gap is closed.
    lab.send(data(b"def").seq(9));
    lab.expect(ack().ack(6));
    assert_eq!(lab.info(id).bytes_received - before.bytes_received, 5);
    lab.send(data(b"abc").seq(6));
    lab.expect(ack().ack(12));
    lab.write(id, &pattern(0, 1660));
    lab.drain();
    let sent = lab.info(id);
    assert_eq!((sent.bytes_acked, sent.delivered), (before.bytes_acked, before.delivered));
    lab.send(ack().seq(12));
    let after = lab.info(id);
    assert_eq!(after.bytes_received - before.bytes_received, 11);
    assert_eq!(after.bytes_sent - before.bytes_sent, 1660);
    assert_eq!(after.bytes_acked - before.bytes_acked, 1660);
    assert_eq!(after.delivered - before.delivered, 2, "in segments");
    assert_eq!(after.segments_in - before.segments_in, 4);
    assert_eq!(after.segments_out - before.segments_out, 4);
}

/// `tcpi_busy_time` of Linux: while anything is outstanding or waiting, a FIN included, and not while the peer speaks.
#[test]
fn busy_is_who_has_something_outstanding_or_waiting() {
    let busy = |lab: &Lab, id| lab.info(id).busy_time.as_millis();
    let mut lab = Lab::new();
    let id = lab.accepted(Peer::default());
    // Nothing to send: a segment that needs no answer does not make it busy.
    lab.send(ack().win(500));
    lab.send(ack().win(500));
    lab.after(100);
    assert_eq!(busy(&lab, id), 0);
    // Nothing outstanding, but something waits for the window.
    lab.send(ack().win(0));
    lab.write(id, b"later");
    lab.after(50);
    assert_eq!(busy(&lab, id), 50);
    lab.send(ack().win(500));
    lab.expect(data(b"later"));
    lab.send(ack().win(500));
    lab.after(100);
    assert_eq!(busy(&lab, id), 50);
    // The FIN alone is outstanding.
    lab.write(id, b"last");
    lab.expect(data(b"last"));
    lab.shutdown_write(id);
    lab.expect(fin());
    lab.after(10);
    lab.send(ack().ack(10));
    lab.after(10);
    lab.send(data(b"hello").ack(10));
    lab.after(10);
    lab.send(ack().ack(11));
    lab.after(30);
    lab.expect(ack().ack(6));
    lab.after(70);
    assert_eq!(busy(&lab, id), 80);
}

#[test]
fn an_error_that_ends_a_connection_is_told_of_as_an_error() {
    let (mut lab, id) = established();
    lab.send(rst().seq(1));
    assert!(lab.told(id, Readiness::ERROR));
    let (mut lab, id) = established();
    lab.abort(id);
    lab.expect(rst_ack());
    assert!(lab.told(id, Readiness::ERROR));
}

/// What is told of retransmission timeouts: how many, how many recoveries they began, and for how many milliseconds.
fn timeouts(lab: &Lab, id: ropeway_core::ConnectionId) -> (u32, u32, u128) {
    let info = lab.info(id);
    (info.total_rto, info.total_rto_recoveries, info.total_rto_time.as_millis())
}

// Linux: `tcpi_total_rto`, `tcpi_total_rto_recoveries`, `tcpi_total_rto_time`
#[test]
fn timeouts_are_counted_with_the_recoveries_that_they_begin_and_their_time() {
    let (mut lab, id) = established();
    assert_eq!(timeouts(&lab, id), (0, 0, 0));
    lab.write(id, &pattern(0, 2920));
    lab.drain();
    lab.at(200);
    lab.drain();
    assert_eq!(timeouts(&lab, id), (1, 1, 0));
    lab.at(600);
    lab.drain();
    assert_eq!(timeouts(&lab, id), (2, 1, 400), "they follow each other");
    // A part is acknowledged: it goes on.
    lab.at(700);
    lab.send(ack().ack(1461));
    lab.drain();
    assert_eq!(timeouts(&lab, id), (2, 1, 500));
    lab.at(750);
    lab.send(ack().ack(2921));
    lab.at(5000);
    assert_eq!(timeouts(&lab, id), (2, 1, 550), "it is over");
    lab.write(id, b"x");
    lab.drain();
    while lab.info(id).total_rto == 2 {
        lab.run_to_deadline();
        lab.drain();
    }
    lab.send(ack().ack(2922));
    assert_eq!(timeouts(&lab, id), (3, 2, 550));
}

#[test]
fn timeouts_of_handshakes_count_at_both_ends() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    for at in [1000, 3000] {
        lab.at(at);
        lab.expect(syn());
    }
    assert_eq!(timeouts(&lab, id), (2, 1, 2000));
    lab.at(3100);
    lab.send(syn_ack().mss(1460));
    lab.expect(ack());
    lab.at(9000);
    assert_eq!(timeouts(&lab, id), (2, 1, 2100));

    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    for at in [1000, 3000] {
        lab.at(at);
        lab.expect(syn_ack());
    }
    lab.at(3100);
    lab.send(ack());
    let (id, _) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    assert_eq!(timeouts(&lab, id), (2, 1, 2100));
    lab.at(9000);
    assert_eq!(timeouts(&lab, id), (2, 1, 2100));
}

/// What ends with its last timeout has spent its time until then.
#[test]
fn the_time_of_a_recovery_ends_with_its_connection() {
    let mut lab = Lab::with(|config| config.retries2 = 2);
    let id = lab.accepted(Peer::default());
    lab.write(id, b"x");
    lab.drain();
    for at in [200, 600, 1400] {
        lab.at(at);
        lab.drain();
    }
    assert_eq!(timeouts(&lab, id), (2, 1, 1200));
    lab.at(100_000);
    assert_eq!(timeouts(&lab, id), (2, 1, 1200));
}

// Linux: `tcpi_ato`, `tcpi_last_ack_recv`
#[test]
fn the_delay_of_acknowledgements_and_the_last_one_that_came_are_told() {
    let (mut lab, id) = established();
    assert_eq!(lab.info(id).ato, Duration::from_millis(40));
    lab.at(100);
    assert_eq!(lab.info(id).last_ack_recv, Some(Duration::from_millis(100)), "the third segment");
    lab.write(id, b"x");
    lab.drain();
    lab.send(ack().ack(2));
    lab.at(150);
    assert_eq!(lab.info(id).last_ack_recv, Some(Duration::from_millis(50)));
    assert_eq!(lab.info(id).last_data_recv, Some(Duration::from_millis(150)));
    lab.set(id, |options| options.delayed_ack = Some(Duration::from_millis(7)));
    assert_eq!(lab.info(id).ato, Duration::from_millis(7));
    lab.set(id, |options| options.delayed_ack = Some(Duration::from_secs(7)));
    assert_eq!(lab.info(id).ato, Duration::from_millis(499), "RFC 9293 3.8.6.3 MUST-40");
}
