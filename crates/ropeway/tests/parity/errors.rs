//! What goes wrong, and which error of the operating system it is.

use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest, ReadBuf};

use super::common::{errno, pair, pair_through, settle, told};
use super::net::{TcpListener, TcpSocket, TcpStream, lookup_host};

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
    assert_eq!(errno(TcpStream::connect(addr).await), libc::ECONNREFUSED);
    assert_eq!(errno(TcpStream::connect("127.0.0.1:0").await), libc::ECONNREFUSED);
}

#[tokio::test]
async fn reading_after_reset() {
    let mut client = reset().await;
    let mut buf = [0; 8];
    assert_eq!(errno(client.read(&mut buf).await), libc::ECONNRESET);
    assert_eq!(client.read(&mut buf).await.unwrap(), 0);
    assert_eq!(errno(client.write(b"x").await), libc::EPIPE);
}

#[tokio::test]
async fn writing_after_reset() {
    let mut client = reset().await;
    assert_eq!(errno(client.write(b"x").await), libc::ECONNRESET);
    assert_eq!(errno(client.write(b"x").await), libc::EPIPE);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn peeking_after_reset() {
    let client = reset().await;
    assert_eq!(errno(client.peek(&mut [0; 8]).await), libc::ECONNRESET);
    assert_eq!(client.peek(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn taking_the_error_of_a_reset() {
    let mut client = reset().await;
    let error = client.take_error().unwrap().unwrap();
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
    assert!(client.take_error().unwrap().is_none());
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(errno(client.write(b"x").await), libc::EPIPE);
}

#[tokio::test]
async fn everything_else_after_a_reset() {
    let mut client = reset().await;
    let ready = client.ready(tokio::io::Interest::READABLE | tokio::io::Interest::WRITABLE);
    let ready = ready.await.unwrap();
    assert!(ready.is_readable() && ready.is_writable());
    assert!(ready.is_read_closed() && ready.is_write_closed());
    assert_eq!(errno(client.peer_addr()), libc::ENOTCONN);
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
    assert_eq!(errno(client.read(&mut buf).await), libc::ECONNRESET);
    assert_eq!(client.read(&mut buf).await.unwrap(), 0);
}

#[tokio::test]
async fn a_waiting_reader_learns_of_a_reset() {
    let (mut client, server) = pair().await;
    let reader = tokio::spawn(async move { client.read(&mut [0; 8]).await });
    settle().await;
    server.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(errno(reader.await.unwrap()), libc::ECONNRESET);
}

#[tokio::test]
async fn dropping_with_unread_data_resets() {
    let (mut client, server) = pair().await;
    client.write_all(b"unread").await.unwrap();
    server.readable().await.unwrap();
    drop(server);
    assert_eq!(errno(client.read(&mut [0; 8]).await), libc::ECONNRESET);
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
    assert_eq!(errno(client.write(b"?").await), libc::EPIPE);
    assert_eq!(errno(client.write(b"?").await), libc::EPIPE);
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
    assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
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
    assert_eq!(errno(client.read(&mut [0; 8]).await), libc::ECONNRESET);
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
    assert_eq!(errno(client.write(b"x").await), libc::EPIPE);
    assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(client.take_error().unwrap().is_none());
}

#[tokio::test]
async fn address_in_use() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    assert_eq!(errno(TcpListener::bind(addr).await), libc::EADDRINUSE);
    assert_eq!(errno(TcpListener::bind(("0.0.0.0", addr.port())).await), libc::EADDRINUSE);
    // Another address is another matter.
    TcpListener::bind(("127.0.0.2", addr.port())).await.unwrap();

    let socket = TcpSocket::new_v4().unwrap();
    assert_eq!(errno(socket.bind(addr)), libc::EADDRINUSE);
}

#[tokio::test]
async fn address_that_is_not_ours() {
    assert_eq!(errno(TcpListener::bind("192.0.2.1:0").await), libc::EADDRNOTAVAIL);
    let socket = TcpSocket::new_v4().unwrap();
    assert_eq!(errno(socket.bind("192.0.2.1:0".parse().unwrap())), libc::EADDRNOTAVAIL);
}

#[tokio::test]
async fn misused_sockets() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let again = "127.0.0.1:0".parse().unwrap();
    assert_eq!(errno(socket.bind(again)), libc::EINVAL);

    let socket = TcpSocket::new_v6().unwrap();
    assert_eq!(errno(socket.bind(again)), libc::EINVAL);
    assert_eq!(errno(socket.connect(again).await), libc::EINVAL);
    let socket = TcpSocket::new_v4().unwrap();
    assert_eq!(errno(socket.bind("[::1]:0".parse().unwrap())), libc::EAFNOSUPPORT);
    assert_eq!(errno(socket.connect("[::1]:1".parse().unwrap()).await), libc::EAFNOSUPPORT);
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
    assert_eq!(errno(socket.connect(addr).await), libc::EADDRNOTAVAIL);
}

#[tokio::test]
async fn nowhere_to_connect_to() {
    // Broadcast and multicast (RFC 9293 3.9.2.3 MUST-46, MUST-57).
    let error = TcpStream::connect("255.255.255.255:9").await;
    assert_eq!(errno(error), libc::ENETUNREACH);
    let error = TcpStream::connect("224.0.0.1:9").await;
    assert_eq!(errno(error), libc::ENETUNREACH);
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
    assert_eq!(errno(socket.bind(addr)), libc::EADDRINUSE);
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

#[tokio::test]
async fn every_way_to_read_tells_of_a_reset_by_its_number() {
    let mut buf = [0; 8];
    assert_eq!(errno(reset().await.try_read(&mut buf)), libc::ECONNRESET);
    let client = reset().await;
    assert_eq!(errno(client.try_read_vectored(&mut [IoSliceMut::new(&mut buf)])), libc::ECONNRESET);
    assert_eq!(errno(reset().await.try_read_buf(&mut Vec::with_capacity(8))), libc::ECONNRESET);
    let client = reset().await;
    assert_eq!(
        errno(poll_fn(|cx| client.poll_peek(cx, &mut ReadBuf::new(&mut buf))).await),
        libc::ECONNRESET
    );
    let client = reset().await;
    let reading = || client.try_read(&mut [0; 8]);
    assert_eq!(errno(client.async_io(Interest::READABLE, reading).await), libc::ECONNRESET);

    let (mut read, _write) = reset().await.into_split();
    assert_eq!(errno(read.peek(&mut buf).await), libc::ECONNRESET);
    assert_eq!(read.read(&mut buf).await.unwrap(), 0);
    let mut client = reset().await;
    let (mut read, mut write) = client.split();
    assert_eq!(errno(read.read(&mut buf).await), libc::ECONNRESET);
    assert_eq!(errno(write.write(b"x").await), libc::EPIPE);
    assert_eq!(errno(write.peer_addr()), libc::ENOTCONN);
    assert_eq!(errno(read.peer_addr()), libc::ENOTCONN);
}

#[tokio::test]
async fn every_way_to_write_tells_of_a_reset_by_its_number() {
    assert_eq!(errno(reset().await.try_write(b"x")), libc::ECONNRESET);
    assert_eq!(errno(reset().await.try_write_vectored(&[IoSlice::new(b"x")])), libc::ECONNRESET);
    let (_read, mut write) = reset().await.into_split();
    assert_eq!(errno(write.write_vectored(&[IoSlice::new(b"x")]).await), libc::ECONNRESET);
    assert_eq!(errno(write.write_all(b"x").await), libc::EPIPE);
    write.shutdown().await.unwrap();
}

#[tokio::test]
async fn listening_where_another_listens() {
    let bound = |addr| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(addr).unwrap();
        socket
    };
    let first = bound("127.0.0.1:0".parse().unwrap());
    let addr = first.local_addr().unwrap();
    let second = bound(addr);
    let _listener = first.listen(1).unwrap();
    assert_eq!(errno(second.listen(1)), libc::EADDRINUSE);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_device_that_does_not_exist() {
    let socket = TcpSocket::new_v4().unwrap();
    assert_eq!(errno(socket.bind_device(Some(b"nonesuch"))), libc::ENODEV);
    socket.bind_device(None).unwrap();
}

#[tokio::test]
async fn halves_of_different_streams() {
    let ((one, _), (other, _)) = (pair().await, pair().await);
    let ((read, _), (_, write)) = (one.into_split(), other.into_split());
    let error = read.reunite(write).unwrap_err();
    assert_eq!(error.to_string(), "tried to reunite halves that are not from the same socket");
}

#[tokio::test]
async fn what_is_no_address() {
    let invalid = |text: &str| (ErrorKind::InvalidInput, text.to_owned());
    let none: &[SocketAddr] = &[];
    assert_eq!(told(TcpStream::connect(none).await), invalid("could not resolve to any address"));
    assert_eq!(told(TcpListener::bind(none).await), invalid("could not resolve to any address"));
    for text in ["localhost:65536", "localhost:-1", "localhost:http", "localhost:", "127.0.0.1:65536"] {
        assert_eq!(told(TcpStream::connect(text).await), invalid("invalid port value"), "{text}");
        assert_eq!(told(TcpListener::bind(text.to_owned()).await), invalid("invalid port value"), "{text}");
    }
    for text in ["localhost", "127.0.0.1", ""] {
        assert_eq!(told(TcpStream::connect(text).await), invalid("invalid socket address"), "{text}");
        assert_eq!(told(lookup_host(text).await.map(drop)), invalid("invalid socket address"), "{text}");
    }
}
