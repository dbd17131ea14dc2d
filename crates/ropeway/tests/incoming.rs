//! `Stack::listen_any`: connections to anywhere, decided on by the program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Mode, Net, kind, settle, within};
use ropeway::net::TcpStream;
use ropeway::net::tcp::{Incoming, Rejection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

const SOON: Duration = Duration::from_secs(1);

/// A port of a foreign address, asked for by the left stack.
fn ask(net: &Net, port: u16) -> JoinHandle<std::io::Result<TcpStream>> {
    let left = net.left.clone();
    tokio::spawn(async move { TcpStream::connect_on(&left, ("93.184.216.34", port)).await })
}

async fn asked(
    net: &Net,
) -> (ropeway::net::tcp::AnyListener, Incoming, JoinHandle<std::io::Result<TcpStream>>) {
    let listener = net.right.listen_any(64).unwrap();
    let client = ask(net, 443);
    let incoming = within(SOON, listener.incoming()).await.unwrap();
    (listener, incoming, client)
}

#[tokio::test(start_paused = true)]
async fn a_decision_may_take_fifty_seconds() {
    let net = Net::new();
    let (_listener, incoming, client) = asked(&net).await;
    assert_eq!(incoming.original_dst(), "93.184.216.34:443".parse().unwrap());
    assert_eq!(incoming.remote().ip(), "10.0.0.1".parse::<std::net::IpAddr>().unwrap());
    sleep(Duration::from_secs(50)).await;
    assert_eq!((net.right.sizes().half_open, net.right.sizes().connections), (1, 0));
    let (server, client) = tokio::join!(incoming.accept(), client);
    let (mut server, mut client) = (server.unwrap(), client.unwrap().unwrap());
    assert_eq!(server.local_addr().unwrap(), client.peer_addr().unwrap());
    client.write_all(b"hello").await.unwrap();
    let mut buf = [0; 5];
    server.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"hello");
}

#[tokio::test(start_paused = true)]
async fn each_way_to_say_no() {
    let net = Net::new();
    let (listener, incoming, client) = asked(&net).await;
    incoming.reject(Rejection::Reset).unwrap();
    assert_eq!(kind(client.await.unwrap()), ErrorKind::ConnectionRefused);

    let client = ask(&net, 444);
    listener.incoming().await.unwrap().reject(Rejection::Unreachable).unwrap();
    assert_eq!(kind(client.await.unwrap()), ErrorKind::HostUnreachable);

    let client = ask(&net, 445);
    drop(listener.incoming().await.unwrap());
    assert_eq!(kind(client.await.unwrap()), ErrorKind::ConnectionRefused);

    let (start, client) = (Instant::now(), ask(&net, 446));
    listener.incoming().await.unwrap().reject(Rejection::Drop).unwrap();
    assert_eq!(kind(client.await.unwrap()), ErrorKind::TimedOut);
    assert!(start.elapsed() > Duration::from_secs(60), "it was answered: {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_acceptance_that_is_cancelled_leaves_no_connection_behind() {
    let net = Net::new();
    let (listener, incoming, client) = asked(&net).await;
    net.trouble.set(Mode::Cut);
    {
        let mut accept = pin!(incoming.accept());
        assert!(tokio::time::timeout(Duration::from_millis(10), &mut accept).await.is_err());
    }
    net.trouble.set(Mode::None);
    client.abort();
    assert_eq!(net.right.sizes().half_open, 0);
    // And one whose handshake completes in the very moment in which it is cancelled.
    let client = ask(&net, 80);
    let accept = listener.incoming().await.unwrap().accept();
    let mut accept = Box::pin(accept);
    std::future::poll_fn(|cx| {
        assert!(accept.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    let mut client = client.await.unwrap().unwrap();
    settle().await;
    assert_eq!(net.right.sizes().connections, 1);
    drop(accept);
    assert_eq!(kind(client.read(&mut [0; 1]).await), ErrorKind::ConnectionReset);
    drop((client, listener));
    net.expect_empty().await;
}

/// A client that goes away takes its acceptance with it.
#[tokio::test(start_paused = true)]
async fn the_peer_gives_up_after_the_decision() {
    let net = Net::new();
    let (_listener, incoming, client) = asked(&net).await;
    net.trouble.set(Mode::Cut);
    let accept = tokio::spawn(incoming.accept());
    settle().await;
    client.abort();
    assert_eq!(kind(within(Duration::from_secs(70), accept).await.unwrap()), ErrorKind::ConnectionAborted);
}

/// A thousand handshakes at once: each task is woken for its own, and not for those of the others.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_handshake_is_woken_for_this_one_only() {
    const COUNT: usize = 1000;
    let net = Net::with(|config| config.half_open_per_prefix = u32::MAX, 8192);
    let listener = net.right.listen_any(COUNT).unwrap();
    let clients: Vec<_> = (0..COUNT).map(|n| ask(&net, 1000 + u16::try_from(n).unwrap())).collect();
    let polls = Arc::new(AtomicUsize::new(0));
    let mut accepts = JoinSet::new();
    for _ in 0..COUNT {
        let incoming = within(SOON, listener.incoming()).await.unwrap();
        let polls = Arc::clone(&polls);
        accepts.spawn(async move {
            let mut accept = pin!(incoming.accept());
            std::future::poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                accept.as_mut().poll(cx)
            })
            .await
        });
    }
    let servers = accepts.join_all().await;
    assert_eq!(servers.iter().filter(|server| server.is_ok()).count(), COUNT);
    for client in clients {
        client.await.unwrap().unwrap();
    }
    let polls = polls.load(Ordering::Relaxed);
    assert!(polls <= 2 * COUNT, "{polls} polls for {COUNT} handshakes");
}

/// `listen_any` shows the address that is in the packets: IPv4's, whatever the client calls it.
#[tokio::test(start_paused = true)]
async fn a_mapped_destination_is_an_ipv4_one() {
    let net = Net::new();
    let listener = net.right.listen_any(64).unwrap();
    let left = net.left.clone();
    let client =
        tokio::spawn(async move { TcpStream::connect_on(&left, "[::ffff:93.184.216.34]:443").await });
    let incoming = within(SOON, listener.incoming()).await.unwrap();
    assert_eq!(incoming.original_dst(), "93.184.216.34:443".parse().unwrap());
    let (server, client) = tokio::join!(incoming.accept(), client);
    let (server, client) = (server.unwrap(), client.unwrap().unwrap());
    assert_eq!(server.local_addr().unwrap(), "93.184.216.34:443".parse().unwrap());
    assert_eq!(client.peer_addr().unwrap(), "[::ffff:93.184.216.34]:443".parse().unwrap());
    assert_eq!(client.local_addr().unwrap().ip(), "::ffff:10.0.0.1".parse::<std::net::IpAddr>().unwrap());
}
