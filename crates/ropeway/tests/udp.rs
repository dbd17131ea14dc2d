//! UDP sockets over devices: what the kernel's loopback cannot show. What both have in common is in `parity`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod common;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::{Mode, Net, builder, kind, pattern, settle, within};
use ropeway::Stack;
use ropeway::device::{Capabilities, Device, Received, RxChecksum, Transmit, memory};
use ropeway::net::udp::{Outgoing, RecvMeta, UdpOptions};
use ropeway::net::{TcpListener, TcpStream, UdpSocket};
use ropeway::packet::{self, EcnCodepoint, IpParams, Protocol};

const SOON: Duration = Duration::from_secs(20);
const SERVER: &str = "10.0.0.2:53";

impl Net {
    /// A client, and a server at [`SERVER`].
    async fn sockets(&self) -> (UdpSocket, UdpSocket) {
        let server = UdpSocket::bind_on(&self.right, SERVER).await.unwrap();
        let client = UdpSocket::bind_on(&self.left, "0.0.0.0:0").await.unwrap();
        client.connect(SERVER).await.unwrap();
        (client, server)
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_and_an_answer_cross_the_cable() {
    let net = Net::new();
    let (client, server) = net.sockets().await;
    assert_eq!(client.local_addr().unwrap().ip().to_string(), "10.0.0.1");
    client.send(b"question").await.unwrap();
    let mut buf = [0; 1500];
    let (len, from) = within(SOON, server.recv_from(&mut buf)).await.unwrap();
    assert_eq!((&buf[..len], from), (&b"question"[..], client.local_addr().unwrap()));
    server.send_to(b"answer", from).await.unwrap();
    assert_eq!(within(SOON, client.recv(&mut buf)).await.unwrap(), 6);
    drop((client, server));
    assert_eq!((net.left.sizes().udp_sockets, net.left.memory().datagrams), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_says_that_nobody_listens_is_heard() {
    let net = Net::new();
    let (client, server) = net.sockets().await;
    drop(server);
    client.send(b"?").await.unwrap();
    let refused = within(SOON, client.recv(&mut [0; 8])).await;
    assert_eq!(kind(refused), ErrorKind::ConnectionRefused);
    assert_eq!(net.right.counters().udp_no_port, 1);
    // A task that waits for an error alone hears of it, too.
    client.send(b"?").await.unwrap();
    let ready = within(SOON, client.ready(tokio::io::Interest::ERROR)).await.unwrap();
    assert!(ready.is_error());
}

#[tokio::test(start_paused = true)]
async fn a_sender_waits_for_a_device_that_takes_nothing_and_goes_on_with_it() {
    let net = Net::with(|_| {}, 16);
    let (client, server) = net.sockets().await;
    server.set_recv_buffer_size(1 << 20).unwrap();
    net.trouble.set(Mode::Blocked);
    let mut sent = 0u32;
    while client.try_send(&[7; 1000]).is_ok() {
        sent += 1;
        settle().await;
        assert!(sent < 1000, "nobody waits");
    }
    assert_eq!(kind(client.try_send(&[7; 1000])), ErrorKind::WouldBlock);
    let client = Arc::new(client);
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let client = Arc::clone(&client);
            tokio::spawn(async move {
                client.writable().await.unwrap();
                client.send(&[7; 1000]).await.unwrap();
            })
        })
        .collect();
    settle().await;
    assert!(writers.iter().all(|writer| !writer.is_finished()));
    // One that is dropped while it waits has sent nothing.
    assert!(tokio::time::timeout(Duration::from_millis(1), client.send(b"dropped")).await.is_err());
    net.trouble.set(Mode::None);
    let mut buf = [0; 1500];
    for _ in 0..sent + 3 {
        assert_eq!(within(SOON, server.recv(&mut buf)).await.unwrap(), 1000);
    }
    for writer in writers {
        within(SOON, writer).await.unwrap();
    }
    assert_eq!(kind(server.try_recv(&mut buf)), ErrorKind::WouldBlock);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_and_counts() {
    let net = Net::new();
    let (client, server) = net.sockets().await;
    server.set_recv_buffer_size(10_000).unwrap();
    for _ in 0..100 {
        client.send(&[7; 1000]).await.unwrap();
    }
    settle().await;
    let info = server.info().unwrap();
    assert!(info.unread < 12 && info.dropped == 100 - info.unread as u64, "{info:?}");
    assert_eq!(net.right.counters().udp_queue_full, info.dropped);
}

#[tokio::test(start_paused = true)]
async fn trains_cross_the_cable_and_tell_sizes_marks_and_destinations() {
    let net = Net::new();
    let (client, server) = net.sockets().await;
    let data = pattern(10_000);
    let how = Outgoing { segment_size: Some(1200), ecn: Some(EcnCodepoint::Ect1), ..Outgoing::default() };
    client.send_train(&data, &how).await.unwrap();
    client.send(b"and one more").await.unwrap();
    settle().await;
    let (mut one, mut two, mut unused) = ([0; 65_535], [0; 65_535], [0; 1]);
    let mut meta = [RecvMeta::default(); 3];
    let mut bufs = [&mut one[..], &mut two, &mut unused].map(IoSliceMut::new);
    assert_eq!(within(SOON, server.recv_trains(&mut bufs, &mut meta)).await.unwrap(), 2);
    assert_eq!((meta[0].len, meta[0].stride, meta[0].ecn), (10_000, 1200, EcnCodepoint::Ect1));
    assert_eq!((meta[1].len, meta[1].stride, meta[1].ecn), (12, 12, EcnCodepoint::NotEct));
    assert_eq!((meta[0].local, meta[0].remote), (SERVER.parse().unwrap(), client.local_addr().unwrap()));
    assert!(one[..10_000] == data && two[..12] == *b"and one more");
    assert_eq!(
        kind(server.try_recv_trains(&mut [IoSliceMut::new(&mut one)], &mut meta)),
        ErrorKind::WouldBlock
    );
    assert_eq!(net.left.counters().udp_sent, 10);
}

#[tokio::test(start_paused = true)]
async fn what_comes_to_any_address_is_answered_from_there() {
    let net = Net::new();
    let (left, right) = memory::pair(1500);
    let client = Stack::builder().address("10.0.0.1/8".parse().unwrap()).device(left).build().unwrap();
    let gateway = Stack::builder().device(right).build().unwrap();
    let any = gateway.listen_any_udp().unwrap();
    assert_eq!(kind(gateway.listen_any_udp()), ErrorKind::AddrInUse);
    let mut buf = [0; 100];
    for to in ["10.1.2.3:53", "10.9.9.9:9"] {
        let socket = UdpSocket::bind_on(&client, "0.0.0.0:0").await.unwrap();
        socket.connect(to).await.unwrap();
        socket.send(b"ping").await.unwrap();
        let (len, remote, original) = within(SOON, any.recv_from(&mut buf)).await.unwrap();
        assert_eq!((len, remote, original), (4, socket.local_addr().unwrap(), to.parse().unwrap()));
        any.send_from(b"pong!", original, remote).await.unwrap();
        assert_eq!(within(SOON, socket.recv(&mut buf)).await.unwrap(), 5);
    }
    drop(any);
    gateway.listen_any_udp().unwrap();
    drop(net);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_learns_that_the_device_has_failed() {
    let net = Net::new();
    let (client, _server) = net.sockets().await;
    let client = Arc::new(client);
    let reader = tokio::spawn({
        let client = Arc::clone(&client);
        async move { client.recv(&mut [0; 8]).await }
    });
    settle().await;
    net.trouble.set(Mode::Failed);
    assert_eq!(kind(within(SOON, reader).await.unwrap()), ErrorKind::NetworkDown);
    assert_eq!(kind(client.send(b"x").await), ErrorKind::NetworkDown);
    assert_eq!(kind(client.readable().await), ErrorKind::NetworkDown);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_leaves_though_socket_and_stack_are_dropped() {
    let (left, right) = memory::pair(1500);
    let (left, right) = (builder(1).device(left).build().unwrap(), builder(2).device(right).build().unwrap());
    let server = UdpSocket::bind_on(&right, SERVER).await.unwrap();
    let client = UdpSocket::bind_on(&left, "0.0.0.0:0").await.unwrap();
    for _ in 0..100 {
        client.send_to(b"last words", SERVER).await.unwrap();
    }
    drop((client, left));
    for _ in 0..100 {
        assert_eq!(within(SOON, server.recv(&mut [0; 32])).await.unwrap(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_goes_on_beside_a_flood_of_datagrams() {
    let net = Net::new();
    let (client, server) = net.sockets().await;
    let flood = tokio::spawn(async move {
        loop {
            client.send(&[7; 1400]).await.unwrap();
        }
    });
    let listener = TcpListener::bind_on(&net.right, "10.0.0.2:80").await.unwrap();
    let stream = within(SOON, TcpStream::connect_on(&net.left, "10.0.0.2:80"));
    let (stream, accepted) = tokio::join!(stream, listener.accept());
    let (mut stream, mut accepted) = (stream.unwrap(), accepted.unwrap().0);
    let data = pattern(100_000);
    let written = data.clone();
    let writer = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut stream, &written).await.unwrap();
        stream
    });
    let mut read = vec![0; data.len()];
    within(SOON, tokio::io::AsyncReadExt::read_exact(&mut accepted, &mut read)).await.unwrap();
    assert!(read == data);
    writer.await.unwrap();
    flood.abort();
    assert!(server.info().unwrap().unread > 0);
}

#[tokio::test(start_paused = true)]
async fn sockets_that_share_a_port_divide_its_flows() {
    let net = Net::new();
    let options = UdpOptions { reuse_port: true, ..UdpOptions::default() };
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(UdpSocket::bind_with_on(&net.right, SERVER, &options).await.unwrap());
    }
    for _ in 0..60 {
        let client = UdpSocket::bind_on(&net.left, "0.0.0.0:0").await.unwrap();
        client.send_to(b"x", SERVER).await.unwrap();
    }
    settle().await;
    let unread: Vec<_> = servers.iter().map(|server| server.info().unwrap().unread).collect();
    assert!(unread.iter().sum::<usize>() == 60 && unread.iter().all(|unread| *unread > 5), "{unread:?}");
}

#[tokio::test(start_paused = true)]
async fn a_group_is_heard_across_the_cable() {
    let net = Net::new();
    let group: SocketAddr = "224.0.0.251:5353".parse().unwrap();
    let any = "0.0.0.0:5353";
    let (left, right) = (
        UdpSocket::bind_on(&net.left, any).await.unwrap(),
        UdpSocket::bind_on(&net.right, any).await.unwrap(),
    );
    for socket in [&left, &right] {
        socket.join_multicast_v4("224.0.0.251".parse().unwrap(), "0.0.0.0".parse().unwrap()).unwrap();
    }
    left.send_to(b"who?", group).await.unwrap();
    let mut buf = [0; 16];
    for socket in [&left, &right] {
        let (len, from) = within(SOON, socket.recv_from(&mut buf)).await.unwrap();
        assert_eq!((len, from), (4, "10.0.0.1:5353".parse().unwrap()));
    }
    left.set_broadcast(true).unwrap();
    left.send_to(b"all", "10.0.0.255:5353").await.unwrap();
    assert_eq!(within(SOON, right.recv(&mut buf)).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn names_are_looked_up() {
    let stack = Stack::builder()
        .resolver(|name| (name == "dns").then(|| Ok(vec![std::net::Ipv4Addr::LOCALHOST.into()])))
        .build()
        .unwrap();
    let server = UdpSocket::bind_on(&stack, "dns:53").await.unwrap();
    let client = UdpSocket::bind_on(&stack, "127.0.0.1:0").await.unwrap();
    client.send_to(b"x", "dns:53").await.unwrap();
    client.connect(("dns", 53)).await.unwrap();
    assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
    assert_eq!(within(SOON, server.recv(&mut [0; 8])).await.unwrap(), 1);
}

/// A device on which packets wait, all alike.
struct Flood {
    packet: Bytes,
    segment_size: Option<u16>,
    left: usize,
}

impl Device for Flood {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(1500)
    }

    fn poll_recv(
        &mut self,
        _: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Pending;
        }
        let some = max.min(self.left);
        self.left -= some;
        let packet = || Received::new(self.packet.clone()).with_segment_size(self.segment_size);
        batch.extend((0..some).map(|_| packet().with_checksum(RxChecksum::Verified)));
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, _: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        queue.clear();
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_reader_on_the_drivers_thread_loses_nothing_to_a_flood() {
    const SEGMENT: usize = 1200;
    for (segments, packets) in [(1, 20_000), (54, 2000)] {
        let ip = IpParams {
            src: "10.0.0.1".parse().unwrap(),
            dst: "10.0.0.2".parse().unwrap(),
            protocol: Protocol::UDP,
            hop_limit: 64,
            traffic_class: 0,
            dont_fragment: true,
            ident: 0,
            flow_label: 0,
        };
        let packet = packet::udp::emit(&ip, 1000, 53, &vec![7; segments * SEGMENT]).unwrap().into();
        let segment_size = (segments > 1).then_some(SEGMENT as u16);
        let device = Flood { packet, segment_size, left: packets };
        let stack = Stack::builder().address("10.0.0.2/24".parse().unwrap()).device(device).build().unwrap();
        let server = UdpSocket::bind_on(&stack, SERVER).await.unwrap();
        let (mut buf, mut meta, mut received, mut dropped) = (vec![0; 65_535], [RecvMeta::default()], 0, 0);
        // That trains are on their way, the first batches tell: more come at once than the socket has room for.
        let most = if segments > 1 { (64 + 32 + 16 + 8) * segments } else { 0 };
        within(SOON, async {
            while received + dropped < segments * packets {
                if segments > 1 {
                    server.recv_trains(&mut [IoSliceMut::new(&mut buf)], &mut meta).await.unwrap();
                    received += meta[0].len / SEGMENT;
                } else {
                    server.recv_from(&mut buf).await.unwrap();
                    received += 1;
                }
                dropped = server.info().unwrap().dropped as usize;
                assert!(dropped <= most, "{dropped} were dropped after {received} were received");
            }
        })
        .await;
    }
}
