//! The sizes of the send and receive buffers, from none to more than there are sequence numbers, and when a socket is
//! writable.

use std::time::Duration;

use bytes::Bytes;
use ropeway_core::{Readiness, SendError, SocketOptions};

use crate::common::*;

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
        lab.accepted_with(Peer { win: 1000, ..Peer::default() }, |options| options.notsent_lowat = Some(400));
    assert!(lab.stack.readiness(id).contains(Readiness::WRITABLE));
    lab.write(id, &pattern(0, 1460));
    lab.expect(some(1000));
    assert!(!lab.stack.readiness(id).contains(Readiness::WRITABLE));
    lab.events.clear();
    lab.send(ack().win(100));
    lab.run_to(secs(1));
    lab.drain();
    assert!(lab.stack.readiness(id).contains(Readiness::WRITABLE), "360 bytes wait");
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

/// The microseconds that it takes A to send so many bytes, of which the first quarter is not counted, and B to read them.
fn upload(pair: &mut Pair, total: usize, send: usize, recv: usize) -> u64 {
    pair.converse_with(
        &[Op::Send(total), Op::ShutdownWrite, Op::RecvEof, Op::Close],
        &[Op::Recv(total / 4), Op::Recv(total - total / 4), Op::ShutdownWrite, Op::RecvEof, Op::Close],
        |options| options.send_buffer = send,
        |options| options.recv_buffer = recv,
    );
    pair.pump();
    let mut start = 0;
    while pair.programs[1].received() < total {
        assert!(pair.step(), "nothing can happen any more");
        if pair.programs[1].received() < total / 4 {
            start = pair.now;
        }
    }
    pair.now - start
}

/// A sender whose buffer is below two segments has to wait for acknowledgements; a receiver that delays them, for more
/// data. 40 ms each time made 512 KiB take ten seconds.
#[test]
fn small_buffers_do_not_wait_for_delayed_acknowledgements() {
    const NONE: usize = 512 * 1024;
    let sizes = [536, 1000, 1460, 1500, 2000, 2048, 2304, 2919, 2920, 3000, 4608, 10_000, 65_536];
    let small = sizes
        .iter()
        .flat_map(|size| [(*size, NONE), (NONE, *size), (*size, *size), (*size, 2304), (4608, *size)]);
    for (send, recv) in small {
        for (mtu, nodelay) in [(1500, false), (1500, true), (65_535, false)] {
            let mut pair = Pair::with(|_, config| {
                config.mtu = mtu;
                config.quick_acks = 0;
                config.socket.nodelay = nodelay;
            });
            pair.watch = None;
            pair.delay = [Duration::from_micros(20); 2];
            let took = upload(&mut pair, 512 * 1024, send, recv);
            assert!(took < ms(100), "{took} us with buffers of {send} and {recv} bytes, an MTU of {mtu}");
        }
    }
}

/// The writer is woken before the path runs dry: with a third of the buffer to be free first, 30 % of the time was lost.
#[test]
fn an_upload_that_its_buffer_limits_uses_all_of_it() {
    // 10 MB/s and 20 ms: 200 kB are on the way.
    for (send, at_least) in
        [(50_000, 0.85), (100_000, 0.9), (200_000, 0.93), (300_000, 0.98), (512 * 1024, 0.98)]
    {
        let mut pair = Pair::new();
        pair.watch = None;
        pair.delay = [Duration::from_millis(10); 2];
        pair.rate = Some(10_000_000);
        let total = 10_000_000;
        let seconds = upload(&mut pair, total, send, 4 << 20) as f64 / 1e6;
        let possible = (send as f64 / 0.02).min(10_000_000.0 * 1448.0 / 1500.0);
        let used = 0.75 * total as f64 / seconds / possible;
        assert!(used > at_least, "{:.1} % with {send} bytes", used * 100.0);
    }
}
