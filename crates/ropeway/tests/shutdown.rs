//! What `Stack::shutdown` waits for, and what it tells.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::{Net, SERVER, kind, pattern, settle, within};
use ropeway::Stack;
use ropeway::net::{TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(start_paused = true)]
async fn shutdown_returns_when_all_is_acknowledged_although_the_peer_keeps_its_half_open() {
    let net = Net::with(|config| config.socket.send_buffer = 1 << 20, 1024);
    let (mut client, mut server) = net.connect().await;
    client.write_all(&pattern(400_000)).await.unwrap();
    let reads = tokio::spawn(async move {
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        (server, received)
    });
    within(SOON, net.left.shutdown(Duration::from_secs(5))).await.unwrap();
    let (mut server, received) = reads.await.unwrap();
    assert_eq!(received, pattern(400_000));
    // The other half still works; ours is shut, and so is the stack.
    server.write_all(b"and you?").await.unwrap();
    let mut read = [0; 8];
    client.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"and you?");
    assert_eq!(kind(client.write(b"x").await), ErrorKind::BrokenPipe);
    assert_eq!(kind(TcpStream::connect_on(&net.left, SERVER).await), ErrorKind::NetworkDown);
    within(SOON, net.left.shutdown(Duration::from_secs(5))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_what_was_dropped_before() {
    let net = Net::with(|config| config.socket.send_buffer = 1 << 20, 1024);
    let (mut client, mut server) = net.connect().await;
    client.write_all(&pattern(200_000)).await.unwrap();
    drop(client);
    let (down, received) = tokio::join!(net.left.shutdown(Duration::from_secs(5)), async {
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.map(|_| received)
    });
    down.unwrap();
    assert_eq!(received.unwrap(), pattern(200_000));
}

#[tokio::test(start_paused = true)]
async fn shutdown_tells_what_did_not_arrive() {
    let net = Net::with(|config| config.socket.send_buffer = 1 << 20, 1024);
    let (mut client, mut server) = net.connect().await;
    // The peer does not read.
    client.write_all(&pattern(500_000)).await.unwrap();
    client.write_all(&pattern(300_000)).await.unwrap();
    let start = tokio::time::Instant::now();
    let error = net.left.shutdown(Duration::from_secs(3)).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed().as_secs()), (ErrorKind::TimedOut, 3));
    assert!(error.to_string().contains("1 connections"), "{error}");
    // And now it resets.
    let left = net.left.clone();
    let down = tokio::spawn(async move { left.shutdown(Duration::from_secs(3)).await });
    settle().await;
    server.set_zero_linger().unwrap();
    server.read_exact(&mut [0; 10]).await.unwrap();
    drop(server);
    let error = down.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(error.to_string().contains("bytes that were not acknowledged"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_is_shut_down_takes_no_more_connections() {
    let net = Net::new();
    let _listener = net.listen().await;
    net.right.shutdown(Duration::ZERO).await.unwrap();
    assert_eq!(kind(TcpStream::connect_on(&net.left, SERVER).await), ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_of_the_loopback() {
    let stack = Stack::loopback().unwrap();
    let listener = TcpListener::bind_on(&stack, "127.0.0.1:80").await.unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect_on(&stack, "127.0.0.1:80"), listener.accept());
    let (mut client, mut server) = (client.unwrap(), accepted.unwrap().0);
    client.write_all(b"local").await.unwrap();
    within(SOON, stack.shutdown(Duration::from_secs(5))).await.unwrap();
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"local");
}
