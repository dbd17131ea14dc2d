//! What goes wrong, and the kind of error it is.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::common::{kind, pair, pair_through, settle};
use super::net::{TcpListener, TcpSocket, TcpStream};

/// A connection whose client the server has reset.
async fn reset() -> TcpStream {
    let (client, server) = pair().await;
    server.set_zero_linger().unwrap();
    drop(server);
    settle().await;
    client
}

#[tokio::test]
async fn refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(kind(TcpStream::connect(addr).await), ErrorKind::ConnectionRefused);
    assert_eq!(kind(TcpStream::connect("127.0.0.1:0").await), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn reading_after_reset() {
    let mut client = reset().await;
    let mut buf = [0; 8];
    assert_eq!(kind(client.read(&mut buf).await), ErrorKind::ConnectionReset);
    assert_eq!(client.read(&mut buf).await.unwrap(), 0);
    assert_eq!(kind(client.write(b"x").await), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn writing_after_reset() {
    let mut client = reset().await;
    assert_eq!(kind(client.write(b"x").await), ErrorKind::ConnectionReset);
    assert_eq!(kind(client.write(b"x").await), ErrorKind::BrokenPipe);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn peeking_after_reset() {
    let client = reset().await;
    assert_eq!(kind(client.peek(&mut [0; 8]).await), ErrorKind::ConnectionReset);
    assert_eq!(client.peek(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn taking_the_error_of_a_reset() {
    let mut client = reset().await;
    let error = client.take_error().unwrap().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(client.take_error().unwrap().is_none());
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(kind(client.write(b"x").await), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn everything_else_after_a_reset() {
    let mut client = reset().await;
    let ready = client.ready(tokio::io::Interest::READABLE | tokio::io::Interest::WRITABLE);
    let ready = ready.await.unwrap();
    assert!(ready.is_readable() && ready.is_writable());
    assert!(ready.is_read_closed() && ready.is_write_closed());
    assert_eq!(kind(client.peer_addr()), ErrorKind::NotConnected);
    assert!(client.local_addr().is_ok());
    client.shutdown().await.unwrap();
    client.set_nodelay(true).unwrap();
}

#[tokio::test]
async fn what_arrived_before_a_reset_is_still_read() {
    let (mut client, mut server) = pair().await;
    server.write_all(b"in time").await.unwrap();
    settle().await;
    server.set_zero_linger().unwrap();
    drop(server);
    settle().await;
    let mut buf = [0; 32];
    let read = client.read(&mut buf).await.unwrap();
    assert_eq!(&buf[..read], b"in time");
    assert_eq!(kind(client.read(&mut buf).await), ErrorKind::ConnectionReset);
    assert_eq!(client.read(&mut buf).await.unwrap(), 0);
}

#[tokio::test]
async fn a_waiting_reader_learns_of_a_reset() {
    let (mut client, server) = pair().await;
    let reader = tokio::spawn(async move { client.read(&mut [0; 8]).await });
    settle().await;
    server.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(kind(reader.await.unwrap()), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn dropping_with_unread_data_resets() {
    let (mut client, server) = pair().await;
    client.write_all(b"unread").await.unwrap();
    server.readable().await.unwrap();
    drop(server);
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn writing_to_a_peer_that_is_gone() {
    let (mut client, server) = pair().await;
    drop(server);
    // The peer has closed, which only means that it will send no more.
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    client.write_all(b"are you there?").await.unwrap();
    settle().await;
    // The answer was a RST in CLOSE-WAIT, which Linux tells as EPIPE.
    assert_eq!(kind(client.write(b"?").await), ErrorKind::BrokenPipe);
    assert_eq!(kind(client.write(b"?").await), ErrorKind::BrokenPipe);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn the_error_of_a_peer_that_is_gone() {
    let (mut client, server) = pair().await;
    drop(server);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    client.write_all(b"are you there?").await.unwrap();
    settle().await;
    let error = client.take_error().unwrap().unwrap();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert!(client.take_error().unwrap().is_none());
}

#[tokio::test]
async fn resetting_after_shutdown() {
    let (mut client, server) = pair().await;
    client.shutdown().await.unwrap();
    settle().await;
    server.set_zero_linger().unwrap();
    drop(server);
    settle().await;
    assert_eq!(kind(client.read(&mut [0; 8]).await), ErrorKind::ConnectionReset);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    client.shutdown().await.unwrap();
}

#[tokio::test]
async fn shutting_down_twice_after_the_end() {
    let (mut client, server) = pair().await;
    drop(server);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    client.shutdown().await.unwrap();
    settle().await;
    client.shutdown().await.unwrap();
    assert_eq!(kind(client.write(b"x").await), ErrorKind::BrokenPipe);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(client.take_error().unwrap().is_none());
}

#[tokio::test]
async fn address_in_use() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    assert_eq!(kind(TcpListener::bind(addr).await), ErrorKind::AddrInUse);
    assert_eq!(kind(TcpListener::bind(("0.0.0.0", addr.port())).await), ErrorKind::AddrInUse);
    // Another address is another matter.
    TcpListener::bind(("127.0.0.2", addr.port())).await.unwrap();

    let socket = TcpSocket::new_v4().unwrap();
    assert_eq!(kind(socket.bind(addr)), ErrorKind::AddrInUse);
}

#[tokio::test]
async fn address_that_is_not_ours() {
    assert_eq!(kind(TcpListener::bind("192.0.2.1:0").await), ErrorKind::AddrNotAvailable);
    let socket = TcpSocket::new_v4().unwrap();
    assert_eq!(kind(socket.bind("192.0.2.1:0".parse().unwrap())), ErrorKind::AddrNotAvailable);
}

#[tokio::test]
async fn misused_sockets() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let again = "127.0.0.1:0".parse().unwrap();
    assert_eq!(kind(socket.bind(again)), ErrorKind::InvalidInput);

    let socket = TcpSocket::new_v6().unwrap();
    assert_eq!(kind(socket.bind(again)), ErrorKind::InvalidInput);
    assert_eq!(kind(socket.connect(again).await), ErrorKind::InvalidInput);
    let socket = TcpSocket::new_v4().unwrap();
    assert!(socket.bind("[::1]:0".parse().unwrap()).is_err());
    assert!(socket.connect("[::1]:1".parse().unwrap()).await.is_err());
}

#[tokio::test]
async fn a_connection_that_exists_already() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let local = socket.local_addr().unwrap();
    let _first = socket.connect(addr).await.unwrap();

    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(local).unwrap();
    assert_eq!(kind(socket.connect(addr).await), ErrorKind::AddrNotAvailable);
}

#[tokio::test]
async fn nowhere_to_connect_to() {
    // Broadcast and multicast (RFC 9293 3.9.2.3 MUST-46, MUST-57).
    let error = TcpStream::connect("255.255.255.255:9").await;
    assert_eq!(kind(error), ErrorKind::NetworkUnreachable);
    let error = TcpStream::connect("224.0.0.1:9").await;
    assert_eq!(kind(error), ErrorKind::NetworkUnreachable);
}

#[tokio::test]
async fn time_wait_keeps_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (mut client, server) = pair_through(&listener).await;
    drop((listener, server));
    // The server closed first, so its end goes to TIME-WAIT.
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    drop(client);
    settle().await;
    let socket = TcpSocket::new_v4().unwrap();
    assert_eq!(kind(socket.bind(addr)), ErrorKind::AddrInUse);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(addr).unwrap();
    socket.listen(1).unwrap();
    // Which is what `TcpListener::bind` does by itself.
    TcpListener::bind(addr).await.unwrap();
}

#[tokio::test]
async fn listeners_that_share() {
    let share = |addr: &str| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseport(true).unwrap();
        socket.bind(addr.parse().unwrap()).unwrap();
        socket.listen(64).unwrap()
    };
    let one = share("127.0.0.1:0");
    let addr = one.local_addr().unwrap();
    let two = share(&addr.to_string());
    let mut clients = Vec::new();
    for _ in 0..16 {
        clients.push(TcpStream::connect(addr).await.unwrap());
    }
    let accept = |listener: TcpListener| {
        tokio::spawn(async move {
            loop {
                listener.accept().await.unwrap();
            }
        })
    };
    // Every connection is in one of the two queues: the streams are dropped there, which all clients see.
    let acceptors = [accept(one), accept(two)];
    for client in &mut clients {
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }
    acceptors.iter().for_each(|acceptor| acceptor.abort());
}
