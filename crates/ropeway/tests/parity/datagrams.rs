//! More of UDP sockets: shared among tasks, waited for in all ways, errors in all ways.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::io::{Interest, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::common::{errno, kind, settle};
use super::net::UdpSocket;

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.unwrap()
}

async fn pair_on(any: &str) -> (UdpSocket, UdpSocket) {
    let (left, right) = (UdpSocket::bind(any).await.unwrap(), UdpSocket::bind(any).await.unwrap());
    left.connect(right.local_addr().unwrap()).await.unwrap();
    right.connect(left.local_addr().unwrap()).await.unwrap();
    (left, right)
}

async fn pair() -> (UdpSocket, UdpSocket) {
    pair_on("127.0.0.1:0").await
}

/// Counts how often it is called.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Bell {
    fn waker() -> (Arc<Self>, Waker) {
        let bell = Arc::new(Self::default());
        (Arc::clone(&bell), Waker::from(bell))
    }

    fn rung(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn one_task_reads_and_another_one_writes() {
    let server = Arc::new(socket().await);
    let to = server.local_addr().unwrap();
    let (sender, mut receiver) = mpsc::channel::<(Vec<u8>, SocketAddr)>(16);
    let reader = tokio::spawn({
        let server = Arc::clone(&server);
        async move {
            let mut buf = [0; 64];
            loop {
                let (len, from) = server.recv_from(&mut buf).await.unwrap();
                if len == 0 {
                    return;
                }
                sender.send((buf[..len].to_vec(), from)).await.unwrap();
            }
        }
    });
    let writer = tokio::spawn(async move {
        while let Some((data, to)) = receiver.recv().await {
            assert_eq!(poll_fn(|cx| server.poll_send_to(cx, &data, to)).await.unwrap(), data.len());
        }
    });
    let clients = [socket().await, socket().await];
    let mut buf = [0; 64];
    for round in 0..20_u8 {
        for client in &clients {
            client.send_to(&[round; 3], to).await.unwrap();
            let answer = timeout(Duration::from_secs(5), client.recv_from(&mut buf)).await.unwrap().unwrap();
            assert_eq!((answer, buf[..3] == [round; 3]), ((3, to), true));
        }
    }
    clients[0].send_to(b"", to).await.unwrap();
    reader.await.unwrap();
    writer.await.unwrap();
}

#[tokio::test]
async fn readers_that_try_share_what_comes() {
    let server = Arc::new(socket().await);
    let to = server.local_addr().unwrap();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    for _ in 0..2 {
        let (server, sender) = (Arc::clone(&server), sender.clone());
        tokio::spawn(async move {
            let mut buf = [0; 16];
            loop {
                server.readable().await.unwrap();
                match server.try_recv_from(&mut buf) {
                    // The other one was faster.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    result => sender
                        .send(u64::from_be_bytes({
                            let (len, _) = result.unwrap();
                            buf[..len].try_into().unwrap()
                        }))
                        .unwrap(),
                }
            }
        });
    }
    let client = socket().await;
    for number in 0..100_u64 {
        client.writable().await.unwrap();
        assert_eq!(client.try_send_to(&number.to_be_bytes(), to).unwrap(), 8);
    }
    let mut numbers = Vec::new();
    while numbers.len() < 100 {
        numbers.push(timeout(Duration::from_secs(5), receiver.recv()).await.unwrap().unwrap());
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..100), "each was read once");
}

#[tokio::test]
async fn datagrams_without_data_are_datagrams() {
    for any in ["127.0.0.1:0", "[::1]:0"] {
        let (left, right) = pair_on(any).await;
        let from = left.local_addr().unwrap();
        for _ in 0..7 {
            assert_eq!(left.send(b"").await.unwrap(), 0);
        }
        let mut buf = [7; 4];
        right.readable().await.unwrap();
        assert_eq!(right.peek_from(&mut buf).await.unwrap(), (0, from));
        assert_eq!(right.recv_from(&mut buf).await.unwrap(), (0, from));
        assert_eq!(right.recv(&mut buf).await.unwrap(), 0);
        assert_eq!(right.try_recv(&mut buf).unwrap(), 0);
        assert_eq!(right.try_recv_from(&mut buf).unwrap(), (0, from));
        let mut grows = Vec::with_capacity(4);
        assert_eq!(right.recv_buf(&mut grows).await.unwrap(), 0);
        let mut space = [0; 4];
        let mut read = ReadBuf::new(&mut space);
        poll_fn(|cx| right.poll_recv(cx, &mut read)).await.unwrap();
        assert!(read.filled().is_empty() && grows.is_empty() && buf == [7; 4]);
        // Nor does it take room in the reader's buffer.
        assert_eq!(right.recv(&mut []).await.unwrap(), 0);
        assert_eq!(kind(right.try_recv(&mut buf)), ErrorKind::WouldBlock);
    }
}

#[tokio::test]
async fn over_ipv6_and_connected_anew() {
    let (left, right) = pair_on("[::1]:0").await;
    assert_eq!(left.local_addr().unwrap().ip(), Ipv6Addr::LOCALHOST);
    left.send(b"six").await.unwrap();
    let mut buf = [0; 8];
    assert_eq!(right.recv_from(&mut buf).await.unwrap(), (3, left.local_addr().unwrap()));
    // A socket on any address is on one while it is connected, and keeps its port.
    let any = UdpSocket::bind("[::]:0").await.unwrap();
    let port = any.local_addr().unwrap().port();
    any.connect(right.local_addr().unwrap()).await.unwrap();
    assert_eq!(any.local_addr().unwrap(), SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    assert_eq!(any.peer_addr().unwrap(), right.local_addr().unwrap());
    let third = UdpSocket::bind("[::1]:0").await.unwrap();
    any.connect(third.local_addr().unwrap()).await.unwrap();
    any.send(b"again").await.unwrap();
    assert_eq!(third.recv_from(&mut buf).await.unwrap(), (5, (Ipv6Addr::LOCALHOST, port).into()));
}

#[tokio::test]
async fn what_came_before_it_was_connected_stays_and_others_are_no_longer_heard() {
    let (server, friend, other) = (socket().await, socket().await, socket().await);
    let to = server.local_addr().unwrap();
    other.send_to(b"before", to).await.unwrap();
    settle().await;
    server.connect(friend.local_addr().unwrap()).await.unwrap();
    other.send_to(b"after", to).await.unwrap();
    settle().await;
    friend.send_to(b"friend", to).await.unwrap();
    let mut buf = [0; 8];
    let (len, from) = server.recv_from(&mut buf).await.unwrap();
    assert_eq!((&buf[..len], from), (&b"before"[..], other.local_addr().unwrap()));
    let (len, from) = server.recv_from(&mut buf).await.unwrap();
    assert_eq!((&buf[..len], from), (&b"friend"[..], friend.local_addr().unwrap()));
    assert_eq!(kind(server.try_recv(&mut buf)), ErrorKind::WouldBlock);
}

#[tokio::test]
async fn too_long_a_datagram_is_refused_by_every_call() {
    for (any, longest) in [("127.0.0.1:0", 65_507), ("[::1]:0", 65_527)] {
        let (left, right) = pair_on(any).await;
        let (data, to) = (vec![1; longest + 1], right.local_addr().unwrap());
        assert_eq!(errno(left.send(&data).await), 90, "EMSGSIZE");
        assert_eq!(errno(left.try_send(&data)), 90);
        assert_eq!(errno(poll_fn(|cx| left.poll_send(cx, &data)).await), 90);
        assert_eq!(errno(poll_fn(|cx| left.poll_send_to(cx, &data, to)).await), 90);
        // It is an error of the call, and none of the socket.
        assert!(left.take_error().unwrap().is_none());
        assert_eq!(left.send(&data[..longest]).await.unwrap(), longest);
        assert_eq!(right.recv(&mut vec![0; 70_000]).await.unwrap(), longest);
    }
}

/// A socket about whose datagram an error has come.
async fn refused() -> UdpSocket {
    let nobody = socket().await.local_addr().unwrap();
    let client = socket().await;
    client.connect(nobody).await.unwrap();
    client.send(b"?").await.unwrap();
    settle().await;
    client
}

#[tokio::test]
async fn a_refusal_wakes_whoever_waits_and_every_call_can_tell_it() {
    let nobody = socket().await.local_addr().unwrap();
    let client = Arc::new(socket().await);
    client.connect(nobody).await.unwrap();
    let waiting = tokio::spawn({
        let client = Arc::clone(&client);
        async move { client.recv(&mut [0; 8]).await }
    });
    settle().await;
    client.send(b"?").await.unwrap();
    let told = timeout(Duration::from_secs(5), waiting).await.expect("nobody is woken").unwrap();
    assert_eq!(told.unwrap_err().kind(), ErrorKind::ConnectionRefused);

    let mut buf = [0; 8];
    let refusal = ErrorKind::ConnectionRefused;
    let soon = Duration::from_secs(5);
    let client = refused().await;
    assert_eq!(timeout(soon, client.recv_from(&mut buf)).await.unwrap().unwrap_err().kind(), refusal);
    let client = refused().await;
    assert_eq!(timeout(soon, client.peek_from(&mut buf)).await.unwrap().unwrap_err().kind(), refusal);
    let client = refused().await;
    assert_eq!(timeout(soon, client.send(b"?")).await.unwrap().unwrap_err().kind(), refusal);
    let client = refused().await;
    let polled = poll_fn(|cx| client.poll_send(cx, b"?"));
    assert_eq!(timeout(soon, polled).await.unwrap().unwrap_err().kind(), refusal);
    // A datagram that was not sent because of it may be sent again.
    assert_eq!(timeout(soon, client.send(b"?")).await.unwrap().unwrap(), 1);
}

#[tokio::test]
async fn an_error_comes_before_what_waits_to_be_read_and_takes_nothing_of_it() {
    let (peer, client) = (socket().await, socket().await);
    let (to, from) = (client.local_addr().unwrap(), peer.local_addr().unwrap());
    client.connect(from).await.unwrap();
    peer.send_to(b"last", to).await.unwrap();
    settle().await;
    drop(peer);
    client.send(b"?").await.unwrap();
    settle().await;
    let mut buf = [0; 8];
    assert_eq!(client.recv(&mut buf).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(client.recv(&mut buf).await.unwrap(), 4);
}

#[tokio::test]
async fn of_several_that_poll_the_last_one_is_woken() {
    let (left, right) = pair().await;
    let mut space = [0; 8];
    let mut read = ReadBuf::new(&mut space);
    let ((first, one), (last, two)) = (Bell::waker(), Bell::waker());
    assert!(right.poll_recv(&mut Context::from_waker(&one), &mut read).is_pending());
    assert!(right.poll_recv_from(&mut Context::from_waker(&two), &mut read).is_pending());
    left.send(b"x").await.unwrap();
    timeout(Duration::from_secs(5), async {
        while last.rung() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is not woken");
    assert_eq!(first.rung(), 0);
    assert!(right.poll_recv(&mut Context::from_waker(&two), &mut read).is_ready());
}

#[tokio::test]
async fn calls_that_are_dropped_while_they_wait_leave_nothing_behind() {
    let (left, right) = pair().await;
    let right = Arc::new(right);
    let mut buf = [0; 8];
    for _ in 0..50 {
        // One is dropped after it was polled, one is aborted with its task, one before it was ever polled.
        let waiting = tokio::spawn({
            let right = Arc::clone(&right);
            async move { right.recv(&mut [0; 8]).await }
        });
        {
            let mut waits = pin!(right.recv_from(&mut buf));
            assert!(poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx).is_pending())).await);
            drop(right.readable());
        }
        tokio::task::yield_now().await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
    }
    left.send(b"here").await.unwrap();
    assert_eq!(timeout(Duration::from_secs(5), right.recv(&mut buf)).await.unwrap().unwrap(), 4);
    // A wakeup that came for one that was dropped reaches the other one.
    let other = tokio::spawn({
        let right = Arc::clone(&right);
        async move { right.recv(&mut [0; 8]).await }
    });
    tokio::task::yield_now().await;
    {
        let mut waits = pin!(right.recv_from(&mut buf));
        assert!(poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx).is_pending())).await);
        left.send(b"more").await.unwrap();
    }
    assert_eq!(timeout(Duration::from_secs(5), other).await.unwrap().unwrap().unwrap(), 4);
}

#[tokio::test]
async fn a_socket_that_is_dropped_while_others_wait_is_theirs() {
    let (left, right) = pair().await;
    let right = Arc::new(right);
    let waiting = tokio::spawn({
        let right = Arc::clone(&right);
        async move { right.recv(&mut [0; 8]).await }
    });
    tokio::task::yield_now().await;
    drop(right);
    left.send(b"x").await.unwrap();
    assert_eq!(timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap().unwrap(), 1);
    // Now its last holder is gone, and the port with it.
    settle().await;
    left.send(b"x").await.unwrap();
    settle().await;
    assert_eq!(left.send(b"x").await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn more_than_the_queue_holds_is_lost_from_the_end_and_the_sender_hears_nothing() {
    const SENT: u32 = 4000;
    let (left, right) = pair().await;
    for number in 0..SENT {
        left.send(&number.to_be_bytes()).await.unwrap();
    }
    settle().await;
    let (mut buf, mut got) = ([0; 8], 0);
    while let Ok(len) = right.try_recv(&mut buf) {
        assert_eq!(u32::from_be_bytes(buf[..len].try_into().unwrap()), got);
        got += 1;
    }
    assert!((100..SENT).contains(&got), "{got} have come");
    // There is room again.
    left.send(b"next").await.unwrap();
    assert_eq!(timeout(Duration::from_secs(5), right.recv(&mut buf)).await.unwrap().unwrap(), 4);
    assert!(left.take_error().unwrap().is_none() && right.take_error().unwrap().is_none());
}

#[tokio::test]
async fn closures_are_called_when_the_socket_is_ready_and_their_errors_are_told() {
    let (left, right) = pair().await;
    let mut calls = 0;
    let blocked = right.try_io(Interest::READABLE, || {
        calls += 1;
        Ok(())
    });
    assert_eq!((kind(blocked), calls), (ErrorKind::WouldBlock, 0), "it is not called");
    left.writable().await.unwrap();
    assert_eq!(left.try_io(Interest::WRITABLE, || Ok(1)).unwrap(), 1);
    left.send(b"x").await.unwrap();
    right.readable().await.unwrap();
    let failed: std::io::Result<()> = right.try_io(Interest::READABLE, || Err(ErrorKind::NotFound.into()));
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::NotFound);
    let failed: std::io::Result<()> =
        right.async_io(Interest::READABLE, || Err(ErrorKind::InvalidData.into())).await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::InvalidData);
    let both = right.ready(Interest::READABLE | Interest::WRITABLE).await.unwrap();
    assert!(both.is_readable() && both.is_writable() && !both.is_read_closed());
}

#[tokio::test]
async fn addresses_are_tried_one_after_the_other() {
    let taken = socket().await;
    let (used, free) = (taken.local_addr().unwrap(), SocketAddr::from(([127, 0, 0, 1], 0)));
    let bound = UdpSocket::bind(&[used, free][..]).await.unwrap();
    assert!(bound.local_addr().unwrap() != used);
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, used.port()));
    bound.connect(&[six, used][..]).await.unwrap();
    assert_eq!(bound.peer_addr().unwrap(), used);
    // Of a call that sends, the first one counts.
    assert_eq!(errno(bound.send_to(b"x", &[six, used][..]).await), 97, "EAFNOSUPPORT");
}
