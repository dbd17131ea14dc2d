//! Back-pressure: what is unread closes the window, and nothing is taken beyond it (RFC 9293 3.8.6).

use std::time::Duration;

use ropeway_core::State;

use crate::common::*;

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
            |options| options.send_buffer = 512 * 1024,
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
