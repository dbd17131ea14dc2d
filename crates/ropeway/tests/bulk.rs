//! Many connections, much data, and readers that stop.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::{Mode, Net, SERVER, kind, pattern, settle, within};
use ropeway::net::{TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Echoes every connection until the task is aborted.
fn echo(listener: TcpListener) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await.unwrap();
                write.shutdown().await.unwrap();
            });
        }
    })
}

async fn exchange(mut stream: TcpStream, data: Vec<u8>) {
    let (mut read, mut write) = stream.split();
    let mut echo = Vec::new();
    let (sent, received) = tokio::join!(
        async {
            write.write_all(&data).await?;
            write.shutdown().await
        },
        read.read_to_end(&mut echo)
    );
    sent.unwrap();
    received.unwrap();
    assert!(echo == data, "{} of {} bytes", echo.len(), data.len());
}

async fn two_hundred(net: Net) {
    let echo = echo(net.listen().await);
    let clients: Vec<_> = (0..200usize)
        .map(|number| {
            let left = net.left.clone();
            tokio::spawn(async move {
                let stream = TcpStream::connect_on(&left, SERVER).await.unwrap();
                exchange(stream, pattern(1 + number * 331)).await;
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    echo.abort();
    let _aborted = echo.await;
    net.expect_empty().await;
}

#[tokio::test(start_paused = true)]
async fn two_hundred_connections() {
    two_hundred(Net::new()).await;
}

#[tokio::test(start_paused = true)]
async fn two_hundred_connections_over_a_cable_for_two_packets() {
    two_hundred(Net::with(|_| {}, 2)).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops() {
    const RECV: u32 = 30_000;
    const SEND: u32 = 20_000;
    let net = Net::with(
        |config| {
            config.socket.recv_buffer = RECV as usize;
            config.socket.send_buffer = SEND as usize;
        },
        1024,
    );
    let (client, mut server) = net.connect().await;
    assert_eq!((client.send_buffer_size().unwrap(), server.recv_buffer_size().unwrap()), (SEND, RECV));

    // The sender fills its buffer and the reader's, and not a byte more, however long it takes.
    let data = pattern(1_000_000);
    let mut sent = 0;
    for _ in 0..100 {
        while let Ok(len) = client.try_write(&data[sent..]) {
            sent += len;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let unread = server.info().unwrap().unread;
    assert_eq!(sent, unread + SEND as usize);
    // One byte may be out, to probe the window.
    assert!(client.info().unwrap().not_sent >= SEND as usize - 1);
    // The window's field counts in steps of 128 bytes here, because of its scale.
    assert!(unread <= RECV as usize && unread + 128 > RECV as usize, "{unread}");
    assert_eq!(client.info().unwrap().snd_wnd, 0);
    assert!(timeout(Duration::from_secs(100), client.writable()).await.is_err());

    // It goes on where it stopped, and nothing is lost.
    let reader = tokio::spawn(async move {
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        received
    });
    let mut client = client;
    within(Duration::from_secs(300), client.write_all(&data[sent..])).await.unwrap();
    client.shutdown().await.unwrap();
    assert!(within(Duration::from_secs(300), reader).await.unwrap() == data);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_for_an_hour() {
    let net = Net::with(|config| config.socket.recv_buffer = 4096, 1024);
    let (mut client, mut server) = net.connect().await;
    let data = pattern(100_000);
    let copy = data.clone();
    let writer = tokio::spawn(async move {
        client.write_all(&copy).await.unwrap();
        client.shutdown().await.unwrap();
        client
    });
    let mut received = Vec::new();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let mut buf = [0; 1000];
        let len = server.read(&mut buf).await.unwrap();
        received.extend_from_slice(&buf[..len]);
    }
    within(Duration::from_secs(600), server.read_to_end(&mut received)).await.unwrap();
    assert!(received == data);
    writer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_device_that_takes_nothing_for_a_while() {
    let net = Net::with(|config| config.socket.send_buffer = 1 << 20, 1024);
    let (mut client, mut server) = net.connect().await;
    let local = TcpListener::bind_on(&net.left, "127.0.0.1:0").await.unwrap();
    net.trouble.set(Mode::Blocked);
    let data = pattern(400_000);
    client.write_all(&data).await.unwrap();
    settle().await;

    // What does not need the device is not held up by it, and waiting for the device is not a busy wait.
    let mut loopback = TcpStream::connect_on(&net.left, local.local_addr().unwrap()).await.unwrap();
    let (mut accepted, _) = local.accept().await.unwrap();
    loopback.write_all(b"meanwhile").await.unwrap();
    let mut buf = [0; 9];
    within(Duration::from_secs(1), accepted.read_exact(&mut buf)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(kind(server.try_read(&mut buf)), ErrorKind::WouldBlock);

    net.trouble.set(Mode::None);
    let mut received = vec![0; data.len()];
    within(Duration::from_secs(60), server.read_exact(&mut received)).await.unwrap();
    assert!(received == data);
}

#[tokio::test(start_paused = true)]
async fn loopback_bulk() {
    let stack = ropeway::Stack::loopback().unwrap();
    let listener = TcpListener::bind_on(&stack, "127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let echo = echo(listener);
    let exchanges: Vec<_> = (0..20)
        .map(|_| {
            let stack = stack.clone();
            tokio::spawn(async move {
                exchange(TcpStream::connect_on(&stack, addr).await.unwrap(), pattern(300_000)).await;
            })
        })
        .collect();
    for exchange in exchanges {
        exchange.await.unwrap();
    }
    echo.abort();
    let _aborted = echo.await;
    within(Duration::from_secs(1), stack.closed()).await.unwrap();
}
