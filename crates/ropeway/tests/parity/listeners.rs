//! Accepting.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::common::{errno, kind, pair_through, settle};
use super::net::{TcpListener, TcpSocket, TcpStream};

#[tokio::test]
async fn many() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..50u8)
        .map(|number| {
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(addr).await.unwrap();
                stream.write_all(&[number]).await.unwrap();
                let mut echo = [0];
                stream.read_exact(&mut echo).await.unwrap();
                assert_eq!(echo, [number]);
            })
        })
        .collect();
    for _ in 0..50 {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.unwrap();
        });
    }
    for client in clients {
        client.await.unwrap();
    }
}

/// One more than the backlog says, as `sk_acceptq_is_full` counts. Whoever comes then is not answered while nobody
/// accepts: its SYN comes again after a second.
#[tokio::test]
async fn a_backlog_has_room_for_one_more() {
    for backlog in [0, 1, 3, 16] {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(backlog).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        for _ in 0..=backlog {
            waiting.push(TcpStream::connect(addr).await.unwrap().local_addr().unwrap());
        }
        let mut late = pin!(TcpStream::connect(addr));
        assert!(timeout(Duration::from_millis(20), &mut late).await.is_err(), "a backlog of {backlog}");
        for client in waiting {
            assert_eq!(listener.accept().await.unwrap().1, client);
        }
        let (late, accepted) = tokio::join!(late, listener.accept());
        assert_eq!(late.unwrap().local_addr().unwrap(), accepted.unwrap().1);
    }
}

#[tokio::test]
async fn the_largest_backlog() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    pair_through(&socket.listen(u32::MAX).unwrap()).await;
}

#[tokio::test]
async fn several_tasks_accept() {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let addr = listener.local_addr().unwrap();
    let acceptors: Vec<_> = (0..4)
        .map(|_| {
            let listener = Arc::clone(&listener);
            tokio::spawn(async move { listener.accept().await.unwrap().1 })
        })
        .collect();
    settle().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(TcpStream::connect(addr).await.unwrap());
    }
    let mut accepted: Vec<SocketAddr> = Vec::new();
    for acceptor in acceptors {
        accepted.push(acceptor.await.unwrap());
    }
    let mut connected: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
    accepted.sort();
    connected.sort();
    assert_eq!(accepted, connected);
}

#[tokio::test]
async fn polled() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(listener.poll_accept(cx).is_pending());
    let (client, accepted) = tokio::join!(TcpStream::connect(addr), poll_fn(|cx| listener.poll_accept(cx)));
    assert_eq!(client.unwrap().local_addr().unwrap(), accepted.unwrap().1);
}

#[tokio::test]
async fn accept_that_is_dropped_takes_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert!(timeout(Duration::from_millis(2), listener.accept()).await.is_err());
    pair_through(&listener).await;
}

#[tokio::test]
async fn a_dropped_listener_resets_who_waits() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    settle().await;
    drop(listener);
    assert_eq!(errno(client.read(&mut [0]).await), libc::ECONNRESET);
}

#[tokio::test]
async fn an_accepted_stream_outlives_its_listener() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (mut client, mut server) = pair_through(&listener).await;
    let addr = listener.local_addr().unwrap();
    drop(listener);
    client.write_all(b"x").await.unwrap();
    server.read_exact(&mut [0]).await.unwrap();
    assert_eq!(errno(TcpStream::connect(addr).await), libc::ECONNREFUSED);
}

#[tokio::test]
async fn addresses() {
    let unspecified = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let addr = unspecified.local_addr().unwrap();
    assert!(addr.ip().is_unspecified() && addr.port() != 0);
    // All of 127.0.0.0/8 is this host, and so is the unspecified address.
    let client = TcpStream::connect(("127.9.9.9", addr.port())).await.unwrap();
    let (server, _) = unspecified.accept().await.unwrap();
    assert_eq!(server.local_addr().unwrap(), client.peer_addr().unwrap());
    let client = TcpStream::connect(addr).await.unwrap();
    assert_eq!(client.peer_addr().unwrap(), ([127, 0, 0, 1], addr.port()).into());
}

#[tokio::test]
async fn both_families() {
    let listener = TcpListener::bind("[::]:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let client = TcpStream::connect(("::1", port)).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1, client.local_addr().unwrap());

    let client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (server, peer) = listener.accept().await.unwrap();
    let mapped = |addr: SocketAddr| match addr {
        SocketAddr::V4(addr) => (addr.ip().to_ipv6_mapped(), addr.port()).into(),
        SocketAddr::V6(_) => addr,
    };
    // To the listener's side all addresses are of its family.
    assert_eq!(peer, mapped(client.local_addr().unwrap()));
    assert_eq!(server.peer_addr().unwrap(), peer);
    assert_eq!(server.local_addr().unwrap(), mapped(client.peer_addr().unwrap()));
}

#[tokio::test]
async fn names_and_several_addresses() {
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let gone = TcpListener::bind((addr.ip(), 0)).await.unwrap().local_addr().unwrap();

    TcpStream::connect(("localhost", addr.port())).await.unwrap();
    TcpStream::connect(format!("localhost:{}", addr.port())).await.unwrap();
    TcpStream::connect(&[gone, addr][..]).await.unwrap();
    // The last error wins.
    let both = [gone, gone];
    assert_eq!(errno(TcpStream::connect(&both[..]).await), libc::ECONNREFUSED);
    let none: &[SocketAddr] = &[];
    assert_eq!(kind(TcpStream::connect(none).await), ErrorKind::InvalidInput);
    assert_eq!(kind(TcpListener::bind(none).await), ErrorKind::InvalidInput);
    let second = TcpListener::bind(&[addr, gone][..]).await.unwrap();
    assert_eq!(second.local_addr().unwrap(), gone);
}

#[tokio::test]
async fn sockets() {
    let socket = TcpSocket::new_v4().unwrap();
    assert_eq!(socket.local_addr().unwrap(), "0.0.0.0:0".parse().unwrap());
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    assert!(addr.port() != 0);
    let listener = socket.listen(8).unwrap();
    assert_eq!(listener.local_addr().unwrap(), addr);

    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let local = socket.local_addr().unwrap();
    let client = socket.connect(addr).await.unwrap();
    assert_eq!(client.local_addr().unwrap(), local);
    assert_eq!(listener.accept().await.unwrap().1, local);

    // Listening without an address takes any.
    let listener = TcpSocket::new_v4().unwrap().listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    assert!(addr.ip().is_unspecified() && addr.port() != 0);
    let listener = TcpSocket::new_v6().unwrap().listen(1).unwrap();
    assert!(listener.local_addr().unwrap().is_ipv6());
}

#[tokio::test]
async fn a_dropped_socket_releases_its_address() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    let other = TcpSocket::new_v4().unwrap();
    assert_eq!(errno(other.bind(addr)), libc::EADDRINUSE);
    drop(socket);
    other.bind(addr).unwrap();
}

#[tokio::test]
async fn a_socket_may_connect_to_itself() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    // A simultaneous open with itself (RFC 9293 3.5 MUST-10).
    let mut stream = socket.connect(addr).await.unwrap();
    stream.write_all(b"echo").await.unwrap();
    let mut buf = [0; 4];
    stream.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"echo");
}
