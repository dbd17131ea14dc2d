//! Futures that are dropped half way: nothing is lost, and nothing leaks.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use common::{Mode, Net, SERVER, pattern, settle, within};
use ropeway::net::{TcpListener, TcpSocket, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Polls `future` until it is ready, or has been pending `pendings` times; then drops it.
async fn give_up_after<F: Future>(pendings: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = pendings;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// A short connection from one end to the other, in `client`'s and in `server`'s part.
async fn client(net: &Net) {
    let mut stream = TcpStream::connect_on(&net.left, SERVER).await.unwrap();
    stream.writable().await.unwrap();
    stream.write_all(&pattern(3000)).await.unwrap();
    stream.peek(&mut [0; 10]).await.unwrap();
    stream.read_exact(&mut [0; 10]).await.unwrap();
    stream.shutdown().await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
}

async fn server(listener: &TcpListener) -> std::io::Result<()> {
    let (mut stream, _) = listener.accept().await?;
    let mut received = vec![0; 3000];
    stream.read_exact(&mut received).await?;
    stream.write_all(&received[..10]).await?;
    stream.readable().await?;
    stream.read_to_end(&mut received).await?;
    stream.write_bytes(Bytes::from_static(b"farewell")).await
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_dropped_at_any_await() {
    let mut completed = 0;
    for pendings in 0..20 {
        let net = Net::new();
        let listener = net.listen().await;
        let server = tokio::spawn(async move {
            let result = server(&listener).await;
            drop(listener);
            result
        });
        completed += usize::from(give_up_after(pendings, client(&net)).await.is_some());
        settle().await;
        // A server without a client waits for ever, or learns of the client's end.
        if !server.is_finished() {
            server.abort();
        }
        let _result = server.await;
        net.expect_empty().await;
    }
    assert!(completed > 0 && completed < 20, "{completed}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_dropped_at_any_await() {
    let mut completed = 0;
    for pendings in 0..20 {
        let net = Net::new();
        let listener = net.listen().await;
        let left = net.left.clone();
        let peer = tokio::spawn(async move {
            let mut stream = TcpStream::connect_on(&left, SERVER).await?;
            stream.write_all(&pattern(3000)).await?;
            stream.shutdown().await?;
            stream.read_to_end(&mut Vec::new()).await
        });
        completed += usize::from(give_up_after(pendings, server(&listener)).await.is_some());
        drop(listener);
        // The client sees an end, or a reset; it never hangs.
        let _result = within(Duration::from_secs(600), peer).await.unwrap();
        net.expect_empty().await;
    }
    assert!(completed > 0 && completed < 20, "{completed}");
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_is_dropped_closes() {
    let net = Net::new();
    net.trouble.set(Mode::Cut);
    let connecting = give_up_after(0, TcpStream::connect_on(&net.left, SERVER)).await;
    assert!(connecting.is_none());
    settle().await;
    net.trouble.set(Mode::None);
    within(Duration::from_secs(1), net.left.closed()).await.unwrap();

    // One of the two ends of a handshake that is under way.
    let _listener = net.listen().await;
    assert!(give_up_after(0, TcpStream::connect_on(&net.left, SERVER)).await.is_none());
    let socket = TcpSocket::new_v4_on(&net.left).unwrap();
    socket.bind("10.0.0.1:0".parse().unwrap()).unwrap();
    let local = socket.local_addr().unwrap();
    assert!(give_up_after(0, socket.connect(SERVER.parse().unwrap())).await.is_none());
    settle().await;
    within(Duration::from_secs(1), net.left.closed()).await.unwrap();
    assert_eq!(net.left.sizes().bindings, 0);
    let again = TcpSocket::new_v4_on(&net.left).unwrap();
    again.bind(local).unwrap();
}

#[tokio::test(start_paused = true)]
async fn losing_branches_of_a_select_lose_nothing() {
    let net = Net::new();
    let (mut client, mut server) = net.connect().await;
    let data = pattern(200_000);
    let copy = data.clone();
    let writer = tokio::spawn(async move {
        let mut rest = &copy[..];
        while !rest.is_empty() {
            let chunk = rest.len().min(7001);
            tokio::select! {
                biased;
                written = client.write(&rest[..chunk]) => rest = &rest[written.unwrap()..],
                () = tokio::task::yield_now() => {}
            }
            if rest.len().is_multiple_of(3) {
                tokio::task::yield_now().await;
            }
        }
        client
    });
    let mut received = Vec::new();
    while received.len() < data.len() {
        let mut buf = [0; 4999];
        tokio::select! {
            biased;
            read = server.read(&mut buf) => received.extend_from_slice(&buf[..read.unwrap()]),
            () = tokio::task::yield_now() => {}
        }
    }
    assert!(received == data);
    drop(writer.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn waiters_that_are_dropped_are_forgotten() {
    let net = Net::new();
    let (mut client, server) = net.connect().await;
    // Some of those in the queue leave: the others are woken all the same.
    let mut kept = pin!(server.readable());
    assert!(give_up_after(0, kept.as_mut()).await.is_none());
    for _ in 0..100 {
        assert!(give_up_after(0, server.readable()).await.is_none());
        assert!(give_up_after(0, server.priority()).await.is_none());
        assert!(give_up_after(0, net.left.closed()).await.is_none());
    }
    client.write_all(b"x").await.unwrap();
    within(Duration::from_secs(1), kept).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_waker_of_the_last_poll_counts() {
    let net = Net::new();
    let (mut client, server) = net.connect().await;
    // Polled by one task, then by another: the second one is woken.
    assert!(give_up_after(0, poll_fn(|cx| server.poll_read_ready(cx))).await.is_none());
    let reader = tokio::spawn(async move { poll_fn(|cx| server.poll_read_ready(cx)).await });
    settle().await;
    client.write_all(b"x").await.unwrap();
    within(Duration::from_secs(1), reader).await.unwrap().unwrap();
}
