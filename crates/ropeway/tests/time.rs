//! Timers, under Tokio's paused clock: each at its moment.
//!
//! Tokio's timers tick in milliseconds, and are rounded up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::{Mode, Net, kind, pattern};
use ropeway::net::tcp::TcpKeepalive;
use ropeway::net::{TcpListener, TcpSocket, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

/// That `start` lies `expected` back, or up to two ticks more.
#[track_caller]
fn assert_elapsed(start: Instant, expected: Duration) {
    let elapsed = start.elapsed();
    let latest = expected + Duration::from_millis(2);
    assert!(elapsed >= expected && elapsed <= latest, "{elapsed:?} instead of {expected:?}");
}

#[tokio::test(start_paused = true)]
async fn what_needs_no_waiting_takes_no_time() {
    let net = Net::new();
    let start = Instant::now();
    let (mut client, mut server) = net.connect().await;
    let data = pattern(100_000);
    let mut received = vec![0; data.len()];
    let (sent, read) = tokio::join!(client.write_all(&data), server.read_exact(&mut received));
    sent.unwrap();
    read.unwrap();
    assert!(received == data);
    assert!(start.elapsed() <= Duration::from_millis(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn connecting_to_nobody() {
    let net = Net::new();
    net.trouble.set(Mode::Cut);
    let socket = TcpSocket::new_v4_on(&net.left).unwrap();
    socket.set_tcp_syn_retries(2).unwrap();
    let start = Instant::now();
    let result = socket.connect(common::SERVER.parse().unwrap()).await;
    assert_eq!(kind(result), ErrorKind::TimedOut);
    // RFC 6298 5.5: 1 s, then 2 s, then 4 s.
    assert_elapsed(start, Duration::from_secs(7));
}

#[tokio::test(start_paused = true)]
async fn a_lost_segment_is_sent_again() {
    let net = Net::new();
    let (mut client, mut server) = net.connect().await;
    net.trouble.set(Mode::Cut);
    client.write_all(b"again").await.unwrap();
    common::settle().await;
    net.trouble.set(Mode::None);
    let start = Instant::now();
    let mut buf = [0; 5];
    server.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"again");
    assert!(start.elapsed() <= Duration::from_millis(202), "{:?}", start.elapsed());
    assert_eq!(client.info().unwrap().retransmitted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_vanishes_while_nothing_is_sent() {
    let net = Net::new();
    let (mut client, _server) = net.connect().await;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(10))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    client.set_tcp_keepalive(&keepalive).unwrap();
    net.trouble.set(Mode::Cut);
    let start = Instant::now();
    assert_eq!(kind(client.read(&mut [0]).await), ErrorKind::TimedOut);
    assert_elapsed(start, Duration::from_secs(10 + 3 * 5));
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_vanishes_while_something_is_sent() {
    let net = Net::new();
    let (mut client, _server) = net.connect().await;
    client.set_tcp_user_timeout(Some(Duration::from_secs(3))).unwrap();
    net.trouble.set(Mode::Cut);
    let start = Instant::now();
    client.write_all(b"are you there?").await.unwrap();
    assert_eq!(kind(client.read(&mut [0]).await), ErrorKind::TimedOut);
    assert_elapsed(start, Duration::from_secs(3));
    assert_eq!(kind(client.write(b"x").await), ErrorKind::BrokenPipe);
}

#[tokio::test(start_paused = true)]
async fn time_wait_lasts_two_msl() {
    let net = Net::new();
    let (client, mut server) = net.connect().await;
    drop(client);
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    let start = Instant::now();
    drop(server);
    net.left.closed().await.unwrap();
    net.right.closed().await.unwrap();
    assert_eq!((net.left.sizes().time_wait, net.right.sizes().time_wait), (1, 0));
    sleep(Duration::from_secs(60) - Duration::from_millis(1)).await;
    assert_eq!(net.left.sizes().time_wait, 1);
    while net.left.sizes().time_wait > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_elapsed(start, Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_is_idle_lets_time_pass() {
    let net = Net::new();
    let (client, _server) = net.connect().await;
    let start = std::time::Instant::now();
    sleep(Duration::from_secs(1_000_000)).await;
    // Nothing spins: a week and a half is over in no time.
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(client.info().unwrap().state, ropeway::State::Established);
}

#[tokio::test(start_paused = true)]
async fn time_is_that_of_the_stacks_runtime() {
    let net = Net::new();
    let (client, mut server) = net.connect().await;
    sleep(Duration::from_secs(100_000)).await;
    // A thread without a runtime, whose own clock is far behind.
    let client = std::thread::spawn(move || {
        assert_eq!(client.try_write(b"later").unwrap(), 5);
        client
    })
    .join()
    .unwrap();
    let mut buf = [0; 5];
    common::within(Duration::from_secs(1), server.read_exact(&mut buf)).await.unwrap();
    assert_eq!(&buf, b"later");
    let read = TcpStream::info(&client).unwrap();
    assert!(read.last_data_sent.unwrap() < Duration::from_secs(1));
}

/// 512 KiB with a send buffer below a segment took ten seconds: 40 ms for the peer's delayed acknowledgement, each time.
#[tokio::test(start_paused = true)]
async fn the_smallest_buffers_wait_for_no_delayed_acknowledgement() {
    for (send, recv) in [(2048, 1 << 20), (0, 1 << 20), (1 << 20, 0), (0, 0), (5000, 3000)] {
        // Over a cable for packets of 1,500 bytes, and over the loopback.
        let net = Net::new();
        let cable = (
            TcpSocket::new_v4_on(&net.right).unwrap(),
            TcpSocket::new_v4_on(&net.left).unwrap(),
            "10.0.0.2:0",
        );
        let loopback = (TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap(), "127.0.0.1:0");
        for (server, client, addr) in [cable, loopback] {
            server.set_recv_buffer_size(recv).unwrap();
            client.set_send_buffer_size(send).unwrap();
            assert_eq!(client.send_buffer_size().unwrap(), send.max(4608));
            assert_eq!(server.recv_buffer_size().unwrap(), recv.max(2304));
            server.bind(addr.parse().unwrap()).unwrap();
            let listener = server.listen(1).unwrap();
            let start = Instant::now();
            let connect = client.connect(listener.local_addr().unwrap());
            let (client, accepted) = tokio::join!(connect, listener.accept());
            let (mut client, (mut server, _)) = (client.unwrap(), accepted.unwrap());
            let data = pattern(512 * 1024);
            let mut received = vec![0; data.len()];
            let (sent, read) = tokio::join!(client.write_all(&data), server.read_exact(&mut received));
            sent.unwrap();
            read.unwrap();
            assert!(received == data);
            let took = start.elapsed();
            assert!(took < Duration::from_millis(100), "{took:?} with {send} and {recv} to {addr}");
        }
    }
}

/// As after a stop of the process, or on a clock that counts sleep.
#[tokio::test(start_paused = true)]
async fn after_a_jump_of_any_length_connects_work() {
    let day = 86_400;
    let jumps =
        [1, 61, 3600, day, 6 * day, 7 * day, 12 * day, 13 * day, 25 * day, 50 * day, 365 * day, 36_500 * day];
    for jump in jumps {
        let net = Net::new();
        let (mut client, server) = net.connect().await;
        let held = net.connect().await;
        // One in TIME-WAIT, and one with an acknowledgement due.
        client.write_all(b"due").await.unwrap();
        client.shutdown().await.unwrap();
        server.close().await.unwrap();
        tokio::time::advance(Duration::from_secs(jump)).await;
        for round in 0..3 {
            let (mut client, mut server) = net.connect().await;
            let start = Instant::now();
            client.write_all(b"as ever").await.unwrap();
            let mut buf = [0; 7];
            server.read_exact(&mut buf).await.unwrap();
            assert!(start.elapsed() < Duration::from_millis(2), "{jump} s, {round}: {:?}", start.elapsed());
            tokio::time::advance(Duration::from_secs(jump)).await;
        }
        drop(held);
    }
}

/// More than there are ports, in less time than TIME-WAIT lasts: as on Linux's loopback.
#[tokio::test(start_paused = true)]
async fn thirty_thousand_short_connections_in_half_a_minute() {
    let stack = ropeway::Stack::loopback().unwrap();
    let listener = TcpListener::bind_on(&stack, "127.0.0.1:80").await.unwrap();
    for n in 0..30_000 {
        let (client, accepted) =
            tokio::join!(TcpStream::connect_on(&stack, "127.0.0.1:80"), listener.accept());
        let (client, _server) = (client.unwrap(), accepted.unwrap());
        client.close().await.unwrap();
        if n % 100 == 0 {
            sleep(Duration::from_millis(100)).await;
        }
    }
}
