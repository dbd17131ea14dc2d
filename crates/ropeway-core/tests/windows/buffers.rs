//! The sizes of the send and receive buffers, from none to more than there are sequence numbers, and when a socket is
//! writable.

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
