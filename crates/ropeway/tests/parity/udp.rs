//! UDP sockets.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{Interest, ReadBuf, Ready};
use tokio::time::timeout;

use super::common::{errno, kind, pattern, settle};
use super::net::UdpSocket;

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

/// Two that are connected to each other.
async fn pair() -> (UdpSocket, UdpSocket) {
    let (left, right) = (socket().await, socket().await);
    left.connect(right.local_addr().unwrap()).await.unwrap();
    right.connect(left.local_addr().unwrap()).await.unwrap();
    (left, right)
}

/// An address on which nobody listens.
async fn nobody() -> SocketAddr {
    socket().await.local_addr().unwrap()
}

#[tokio::test]
async fn datagrams_keep_their_bounds_and_tell_who_sent_them() {
    for any in ["127.0.0.1:0", "[::1]:0"] {
        let (left, right) = (UdpSocket::bind(any).await.unwrap(), UdpSocket::bind(any).await.unwrap());
        let to = right.local_addr().unwrap();
        for data in [&b"one"[..], b"", b"three"] {
            assert_eq!(left.send_to(data, to).await.unwrap(), data.len());
        }
        let mut buf = [0; 10];
        for data in [&b"one"[..], b"", b"three"] {
            let (len, from) = right.recv_from(&mut buf).await.unwrap();
            assert_eq!((&buf[..len], from), (data, left.local_addr().unwrap()));
        }
        assert_eq!(kind(right.try_recv_from(&mut buf)), ErrorKind::WouldBlock);
    }
}

#[tokio::test]
async fn a_connected_pair() {
    let (left, right) = pair().await;
    assert_eq!(left.peer_addr().unwrap(), right.local_addr().unwrap());
    assert_eq!(left.send(b"ping").await.unwrap(), 4);
    let mut buf = [0; 10];
    assert_eq!(right.recv(&mut buf).await.unwrap(), 4);
    assert_eq!(right.send(b"pong!").await.unwrap(), 5);
    assert_eq!(left.recv_from(&mut buf).await.unwrap(), (5, right.local_addr().unwrap()));
    // One that is connected may write to others, and hears only its peer.
    let other = socket().await;
    other.send_to(b"x", left.local_addr().unwrap()).await.unwrap();
    left.send_to(b"y", other.local_addr().unwrap()).await.unwrap();
    assert_eq!(other.recv(&mut buf).await.unwrap(), 1);
    settle().await;
    assert_eq!(kind(left.try_recv(&mut buf)), ErrorKind::WouldBlock);
    // It may be connected anew.
    left.connect(other.local_addr().unwrap()).await.unwrap();
    assert_eq!(left.peer_addr().unwrap(), other.local_addr().unwrap());
}

#[tokio::test]
async fn what_does_not_fit_into_the_buffer_is_lost() {
    let (left, right) = pair().await;
    left.send(b"long").await.unwrap();
    left.send(b"next").await.unwrap();
    let mut buf = [0; 2];
    assert_eq!(right.recv(&mut buf).await.unwrap(), 2);
    assert_eq!(&buf, b"lo");
    assert_eq!(right.recv(&mut []).await.unwrap(), 0);
    assert_eq!(kind(right.try_recv(&mut buf)), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn peeking_leaves_the_datagram() {
    let (left, right) = pair().await;
    let from = left.local_addr().unwrap();
    left.send(b"hello").await.unwrap();
    let mut buf = [0; 10];
    assert_eq!(right.peek_sender().await.unwrap(), from);
    assert_eq!(right.peek_from(&mut buf).await.unwrap(), (5, from));
    assert_eq!(right.peek(&mut buf[..2]).await.unwrap(), 2);
    assert_eq!((right.try_peek(&mut buf).unwrap(), right.try_peek_from(&mut buf).unwrap()), (5, (5, from)));
    assert_eq!(right.try_peek_sender().unwrap(), from);
    let mut space = [0; 10];
    let mut read = ReadBuf::new(&mut space);
    poll_fn(|cx| right.poll_peek(cx, &mut read)).await.unwrap();
    assert_eq!(read.filled(), b"hello");
    read.clear();
    assert_eq!(poll_fn(|cx| right.poll_peek_from(cx, &mut read)).await.unwrap(), from);
    assert_eq!(poll_fn(|cx| right.poll_peek_sender(cx)).await.unwrap(), from);
    assert_eq!(right.recv(&mut buf).await.unwrap(), 5);
    assert_eq!(kind(right.try_peek(&mut buf)), ErrorKind::WouldBlock);
    assert_eq!(kind(right.try_peek_sender()), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn polling() {
    let (left, right) = pair().await;
    let (from, to) = (left.local_addr().unwrap(), right.local_addr().unwrap());
    let cx = &mut Context::from_waker(Waker::noop());
    let mut space = [0; 10];
    let mut read = ReadBuf::new(&mut space);
    assert!(right.poll_recv(cx, &mut read).is_pending());
    assert!(right.poll_recv_ready(cx).is_pending());
    poll_fn(|cx| left.poll_send_ready(cx)).await.unwrap();
    assert_eq!(poll_fn(|cx| left.poll_send(cx, b"one")).await.unwrap(), 3);
    assert_eq!(poll_fn(|cx| left.poll_send_to(cx, b"two!", to)).await.unwrap(), 4);
    poll_fn(|cx| right.poll_recv_ready(cx)).await.unwrap();
    poll_fn(|cx| right.poll_recv(cx, &mut read)).await.unwrap();
    assert_eq!(read.filled(), b"one");
    assert_eq!(poll_fn(|cx| right.poll_recv_from(cx, &mut read)).await.unwrap(), from);
    assert_eq!(read.filled(), b"onetwo!", "it is appended");
}

#[tokio::test]
async fn buffers_that_grow() {
    let (left, right) = pair().await;
    for _ in 0..4 {
        left.send(b"hello").await.unwrap();
    }
    let mut buf = Vec::with_capacity(32);
    assert_eq!(right.recv_buf(&mut buf).await.unwrap(), 5);
    assert_eq!(right.recv_buf_from(&mut buf).await.unwrap(), (5, left.local_addr().unwrap()));
    right.readable().await.unwrap();
    assert_eq!(right.try_recv_buf(&mut buf).unwrap(), 5);
    assert_eq!(right.try_recv_buf_from(&mut buf).unwrap(), (5, left.local_addr().unwrap()));
    assert_eq!(buf, b"hellohellohellohello");
}

#[tokio::test]
async fn readiness() {
    let (left, right) = pair().await;
    let both = Interest::READABLE | Interest::WRITABLE;
    let ready = left.ready(both).await.unwrap();
    assert!(ready.is_writable() && !ready.is_readable());
    left.writable().await.unwrap();
    assert!(timeout(Duration::from_millis(4), right.readable()).await.is_err());
    assert_eq!(left.try_send(b"x").unwrap(), 1);
    right.readable().await.unwrap();
    right.readable().await.unwrap();
    assert!(right.ready(both).await.unwrap().is_readable());
    assert_eq!(right.try_recv(&mut [0; 8]).unwrap(), 1);
    assert_eq!(kind(right.try_recv(&mut [0; 8])), ErrorKind::WouldBlock);
    assert!(timeout(Duration::from_millis(4), right.readable()).await.is_err());
}

#[tokio::test]
async fn both_directions_at_once_and_many_waiters() {
    let (left, right) = pair().await;
    let (left, right) = (Arc::new(left), Arc::new(right));
    let echo = tokio::spawn({
        let right = Arc::clone(&right);
        async move {
            let mut buf = [0; 64];
            for _ in 0..200 {
                let (len, from) = right.recv_from(&mut buf).await.unwrap();
                right.send_to(&buf[..len], from).await.unwrap();
            }
        }
    });
    let mut readers = Vec::new();
    for _ in 0..4 {
        let left = Arc::clone(&left);
        readers.push(tokio::spawn(async move {
            let mut buf = [0; 64];
            for _ in 0..50 {
                assert_eq!(left.recv(&mut buf).await.unwrap(), 8);
            }
        }));
    }
    for n in 0..200u64 {
        left.send(&n.to_be_bytes()).await.unwrap();
        tokio::task::yield_now().await;
    }
    timeout(Duration::from_secs(5), async {
        echo.await.unwrap();
        for reader in readers {
            reader.await.unwrap();
        }
    })
    .await
    .expect("a datagram was lost on the loopback, or a waiter forgotten");
}

#[tokio::test]
async fn a_call_that_is_dropped_has_taken_nothing() {
    let (left, right) = pair().await;
    let mut buf = [0; 8];
    for _ in 0..3 {
        let waiting = right.recv(&mut buf);
        assert!(timeout(Duration::from_millis(1), waiting).await.is_err());
    }
    left.send(b"here").await.unwrap();
    assert_eq!(right.recv(&mut buf).await.unwrap(), 4);
}

#[tokio::test]
async fn a_closed_port_refuses_the_next_call() {
    let addr = nobody().await;
    let client = socket().await;
    client.connect(addr).await.unwrap();
    client.send(b"?").await.unwrap();
    let refused = timeout(Duration::from_secs(5), client.recv(&mut [0; 8])).await.expect("nobody is told");
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    // Told once.
    assert_eq!(kind(client.try_recv(&mut [0; 8])), ErrorKind::WouldBlock);
    assert!(client.take_error().unwrap().is_none());

    client.send(b"?").await.unwrap();
    settle().await;
    assert_eq!(client.send(b"?").await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    client.send(b"?").await.unwrap();
    settle().await;
    assert_eq!(client.take_error().unwrap().unwrap().kind(), ErrorKind::ConnectionRefused);
    assert!(client.take_error().unwrap().is_none());
    client.send(b"?").await.unwrap();
    settle().await;
    assert_eq!(client.peek(&mut [0; 8]).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);

    // Somebody who is not connected does not hear of it.
    let client = socket().await;
    client.send_to(b"?", addr).await.unwrap();
    settle().await;
    client.send_to(b"?", addr).await.unwrap();
    assert_eq!(kind(client.try_recv_from(&mut [0; 8])), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn the_longest_datagram_and_one_longer() {
    for (any, longest) in [("127.0.0.1:0", 65_507), ("[::1]:0", 65_527)] {
        let (left, right) = (UdpSocket::bind(any).await.unwrap(), UdpSocket::bind(any).await.unwrap());
        let (data, to) = (pattern(longest + 1), right.local_addr().unwrap());
        assert_eq!(left.send_to(&data[..longest], to).await.unwrap(), longest);
        let mut buf = vec![0; 70_000];
        let (len, _) = right.recv_from(&mut buf).await.unwrap();
        assert!(buf[..len] == data[..longest]);
        assert_eq!(errno(left.send_to(&data, to).await), 90, "EMSGSIZE");
        assert_eq!(errno(left.try_send_to(&data, to)), 90);
    }
}

#[tokio::test]
async fn errors_have_the_kernels_numbers() {
    let (v4, v6) = (socket().await, UdpSocket::bind("[::1]:0").await.unwrap());
    let port = v4.local_addr().unwrap().port();
    assert_eq!(errno(v4.send(b"x").await), 89, "EDESTADDRREQ");
    assert_eq!(errno(v4.try_send(b"x")), 89);
    assert_eq!(errno(v4.peer_addr()), 107, "ENOTCONN");
    assert_eq!(errno(v4.send_to(b"x", (Ipv6Addr::LOCALHOST, 9)).await), 97, "EAFNOSUPPORT");
    assert_eq!(errno(v4.connect((Ipv6Addr::LOCALHOST, 9)).await), 97);
    assert_eq!(errno(v4.send_to(b"x", "127.0.0.1:0").await), 22, "EINVAL");
    assert_eq!(errno(v6.send_to(b"x", "[::ffff:127.0.0.1]:9").await), 101, "ENETUNREACH");
    assert_eq!(errno(v4.send_to(b"x", "255.255.255.255:9").await), 13, "EACCES");
    assert_eq!(errno(UdpSocket::bind(("127.0.0.1", port)).await), 98, "EADDRINUSE");
    assert_eq!(errno(UdpSocket::bind("192.0.2.1:0").await), 99, "EADDRNOTAVAIL");
    let nowhere: &[SocketAddr] = &[];
    assert_eq!(kind(UdpSocket::bind(nowhere).await), ErrorKind::InvalidInput);
    assert_eq!(kind(v4.send_to(b"x", nowhere).await), ErrorKind::InvalidInput);
    assert_eq!(kind(v4.connect(nowhere).await), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_socket_for_both_families_sees_mapped_addresses() {
    let both = UdpSocket::bind("[::]:0").await.unwrap();
    let port = both.local_addr().unwrap().port();
    assert_eq!(both.local_addr().unwrap(), SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    let mut buf = [0; 8];
    for (any, to) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
        let client = UdpSocket::bind(any).await.unwrap();
        client.send_to(b"ping", (to, port)).await.unwrap();
        let (len, from) = both.recv_from(&mut buf).await.unwrap();
        assert!(from.is_ipv6() && len == 4);
        both.send_to(b"pong", from).await.unwrap();
        let (_, from) = client.recv_from(&mut buf).await.unwrap();
        assert_eq!(from.port(), port);
    }
    let client = socket().await;
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    both.connect((mapped, client.local_addr().unwrap().port())).await.unwrap();
    assert_eq!(both.local_addr().unwrap(), SocketAddr::from((mapped, port)));
    both.send(b"x").await.unwrap();
    assert_eq!(client.recv_from(&mut buf).await.unwrap(), (1, (Ipv4Addr::LOCALHOST, port).into()));
}

#[tokio::test]
async fn an_unspecified_address_is_this_host() {
    let server = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let client = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    client.send_to(b"x", ("0.0.0.0", port)).await.unwrap();
    assert_eq!(server.recv(&mut [0; 8]).await.unwrap(), 1);
    client.connect(("127.0.0.1", port)).await.unwrap();
    assert_eq!(client.local_addr().unwrap().ip(), Ipv4Addr::LOCALHOST);
}

#[tokio::test]
async fn a_dropped_socket_gives_its_port_back() {
    let addr = nobody().await;
    for _ in 0..3 {
        drop(UdpSocket::bind(addr).await.unwrap());
    }
}

#[tokio::test]
async fn options() {
    let (v4, v6) = (socket().await, UdpSocket::bind("[::1]:0").await.unwrap());
    assert!(!v4.broadcast().unwrap());
    v4.set_broadcast(true).unwrap();
    assert!(v4.broadcast().unwrap());
    assert!(v4.multicast_loop_v4().unwrap() && v6.multicast_loop_v6().unwrap());
    v4.set_multicast_loop_v4(false).unwrap();
    v6.set_multicast_loop_v6(false).unwrap();
    assert!(!v4.multicast_loop_v4().unwrap() && !v6.multicast_loop_v6().unwrap());
    assert_eq!((v4.multicast_ttl_v4().unwrap(), v4.ttl().unwrap()), (1, 64));
    v4.set_multicast_ttl_v4(0).unwrap();
    v4.set_ttl(255).unwrap();
    assert_eq!((v4.multicast_ttl_v4().unwrap(), v4.ttl().unwrap()), (0, 255));
    assert_eq!(errno(v4.set_ttl(256)), 22);
    assert_eq!(errno(v4.set_ttl(0)), 22);
    assert_eq!(errno(v4.set_multicast_ttl_v4(256)), 22);
    v4.set_tos_v4(0xb8 | 1).unwrap();
    v6.set_tclass_v6(0xb8 | 2).unwrap();
    assert_eq!((v4.tos_v4().unwrap(), v6.tclass_v6().unwrap()), (0xb9, 0xba));
    assert_eq!(errno(v6.set_tclass_v6(256)), 22);
    assert_eq!(errno(v4.multicast_loop_v6()), 95, "EOPNOTSUPP");
    assert_eq!(errno(v4.set_tclass_v6(1)), 92, "ENOPROTOOPT");
    assert_eq!(v4.device().unwrap(), None);
    assert_eq!(errno(v4.bind_device(Some(b"no-such-device"))), 19, "ENODEV");
}

#[tokio::test]
async fn groups() {
    let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let (group, own) = (Ipv4Addr::new(239, 7, 7, 7), Ipv4Addr::LOCALHOST);
    assert_eq!(errno(socket.join_multicast_v4(Ipv4Addr::new(10, 0, 0, 1), own)), 22);
    assert_eq!(errno(socket.leave_multicast_v4(group, own)), 99);
    socket.join_multicast_v4(group, own).unwrap();
    assert_eq!(errno(socket.join_multicast_v4(group, own)), 98);
    assert_eq!(errno(socket.join_multicast_v4(group, Ipv4Addr::new(192, 0, 2, 1))), 19);
    socket.leave_multicast_v4(group, own).unwrap();
    let v6 = UdpSocket::bind("[::]:0").await.unwrap();
    let group: Ipv6Addr = "ff02::7:7".parse().unwrap();
    v6.join_multicast_v6(&group, 1).unwrap();
    assert_eq!(errno(v6.join_multicast_v6(&group, 1)), 98);
    v6.leave_multicast_v6(&group, 1).unwrap();
    assert_eq!(errno(v6.join_multicast_v6(&group, 9999)), 19);
    assert_eq!(errno(socket.join_multicast_v6(&group, 1)), 92);
}

#[tokio::test]
async fn closures_that_try() {
    let (left, right) = pair().await;
    let blocked: io::Result<()> = right.try_io(Interest::READABLE, || Ok(()));
    assert_eq!(kind(blocked), ErrorKind::WouldBlock);
    left.send(b"x").await.unwrap();
    right.readable().await.unwrap();
    assert_eq!(right.try_io(Interest::READABLE, || Ok(7)).unwrap(), 7);
    assert_eq!(right.async_io(Interest::READABLE, || Ok(8)).await.unwrap(), 8);
}

fn plain<
    T: Send + Sync + Unpin + std::fmt::Debug + std::panic::UnwindSafe + std::panic::RefUnwindSafe + 'static,
>() {
}
fn future<T>(_: impl Future<Output = T> + Send) {}

type Result<T> = io::Result<T>;
type From = (usize, SocketAddr);

macro_rules! signatures {
    ($($method:expr => $type:ty;)+) => { $(let _: $type = $method;)+ };
}

#[test]
#[allow(clippy::type_complexity, reason = "a signature to the letter")]
fn surface() {
    plain::<UdpSocket>();
    signatures! {
        UdpSocket::local_addr => fn(&UdpSocket) -> Result<SocketAddr>;
        UdpSocket::peer_addr => fn(&UdpSocket) -> Result<SocketAddr>;
        UdpSocket::take_error => fn(&UdpSocket) -> Result<Option<io::Error>>;
        UdpSocket::poll_send_ready => fn(&UdpSocket, &mut Context<'_>) -> Poll<Result<()>>;
        UdpSocket::poll_recv_ready => fn(&UdpSocket, &mut Context<'_>) -> Poll<Result<()>>;
        UdpSocket::poll_send => fn(&UdpSocket, &mut Context<'_>, &[u8]) -> Poll<Result<usize>>;
        UdpSocket::poll_send_to => fn(&UdpSocket, &mut Context<'_>, &[u8], SocketAddr) -> Poll<Result<usize>>;
        UdpSocket::try_send => fn(&UdpSocket, &[u8]) -> Result<usize>;
        UdpSocket::try_send_to => fn(&UdpSocket, &[u8], SocketAddr) -> Result<usize>;
        UdpSocket::poll_recv => fn(&UdpSocket, &mut Context<'_>, &mut ReadBuf<'_>) -> Poll<Result<()>>;
        UdpSocket::poll_recv_from =>
            fn(&UdpSocket, &mut Context<'_>, &mut ReadBuf<'_>) -> Poll<Result<SocketAddr>>;
        UdpSocket::poll_peek => fn(&UdpSocket, &mut Context<'_>, &mut ReadBuf<'_>) -> Poll<Result<()>>;
        UdpSocket::poll_peek_from =>
            fn(&UdpSocket, &mut Context<'_>, &mut ReadBuf<'_>) -> Poll<Result<SocketAddr>>;
        UdpSocket::poll_peek_sender => fn(&UdpSocket, &mut Context<'_>) -> Poll<Result<SocketAddr>>;
        UdpSocket::try_recv => fn(&UdpSocket, &mut [u8]) -> Result<usize>;
        UdpSocket::try_recv_from => fn(&UdpSocket, &mut [u8]) -> Result<From>;
        UdpSocket::try_peek => fn(&UdpSocket, &mut [u8]) -> Result<usize>;
        UdpSocket::try_peek_from => fn(&UdpSocket, &mut [u8]) -> Result<From>;
        UdpSocket::try_peek_sender => fn(&UdpSocket) -> Result<SocketAddr>;
        UdpSocket::try_recv_buf::<Vec<u8>> => fn(&UdpSocket, &mut Vec<u8>) -> Result<usize>;
        UdpSocket::try_recv_buf_from::<Vec<u8>> => fn(&UdpSocket, &mut Vec<u8>) -> Result<From>;
        UdpSocket::broadcast => fn(&UdpSocket) -> Result<bool>;
        UdpSocket::join_multicast_v4 => fn(&UdpSocket, Ipv4Addr, Ipv4Addr) -> Result<()>;
        UdpSocket::join_multicast_v6 => fn(&UdpSocket, &Ipv6Addr, u32) -> Result<()>;
        UdpSocket::leave_multicast_v4 => fn(&UdpSocket, Ipv4Addr, Ipv4Addr) -> Result<()>;
        UdpSocket::leave_multicast_v6 => fn(&UdpSocket, &Ipv6Addr, u32) -> Result<()>;
        UdpSocket::device => fn(&UdpSocket) -> Result<Option<Vec<u8>>>;
        UdpSocket::bind_device => fn(&UdpSocket, Option<&[u8]>) -> Result<()>;
    }
    fn calls(socket: &UdpSocket, buf: &mut [u8]) {
        future::<Result<UdpSocket>>(UdpSocket::bind("127.0.0.1:0"));
        future::<Result<()>>(socket.connect("127.0.0.1:0"));
        future::<Result<Ready>>(socket.ready(Interest::READABLE));
        future::<Result<usize>>(socket.send(&[]));
        future::<Result<usize>>(socket.send_to(&[], "127.0.0.1:0"));
        future::<Result<usize>>(socket.recv(buf));
        future::<Result<From>>(socket.recv_from(buf));
        future::<Result<From>>(socket.peek_from(buf));
        future::<Result<SocketAddr>>(socket.peek_sender());
    }
    let _ = calls;
}
