//! Stacks of several shards: each flow has one, whatever queue of the device its packets come in by.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::{HashSet, VecDeque};
use std::io::{self, ErrorKind};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::{builder, kind, pattern};
use ropeway::device::{Capabilities, Device, Received, Transmit};
use ropeway::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use ropeway::{Stack, StackConfig, TableSizes};
use ropeway_core::packet::{Payload, fragment};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;

const SERVER: &str = "10.0.0.2:80";

/// A queue of one end of a cable that gives each packet to the next queue of the other end, whatever flow it belongs to.
struct Scattering {
    incoming: UnboundedReceiver<Bytes>,
    to: Arc<[UnboundedSender<Bytes>]>,
    next: Arc<AtomicUsize>,
    others: Vec<UnboundedReceiver<Bytes>>,
    fails: Arc<AtomicBool>,
    /// A failure is a panic.
    panics: Arc<AtomicBool>,
    /// Routers on the way cut what is longer, whatever it says.
    narrow: Arc<AtomicUsize>,
}

/// What comes of a packet through a link of `mtu` bytes, in no good order.
fn through(packet: Bytes, mtu: usize, number: usize) -> Vec<Bytes> {
    if packet.len() <= mtu {
        return vec![packet];
    }
    let whole = Payload::from(packet);
    let cut = fragment::split(&whole, mtu.try_into().unwrap(), number.try_into().unwrap()).unwrap();
    let mut pieces: Vec<Bytes> =
        cut.map(|(header, data)| [&header[..], &data.to_vec()].concat().into()).collect();
    let count = pieces.len();
    pieces.rotate_left(number % count);
    pieces
}

impl Device for Scattering {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(1500)
    }

    fn another_queue(&mut self) -> io::Result<Option<Box<dyn Device>>> {
        Ok(self.others.pop().map(|incoming| {
            let (to, next) = (Arc::clone(&self.to), Arc::clone(&self.next));
            let (fails, panics) = (Arc::clone(&self.fails), Arc::clone(&self.panics));
            let narrow = Arc::clone(&self.narrow);
            Box::new(Self { incoming, to, next, others: Vec::new(), fails, panics, narrow })
                as Box<dyn Device>
        }))
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        let mut packets = Vec::new();
        // A queue that somebody else has ended gets nothing, and is no failure.
        let Poll::Ready(1..) = self.incoming.poll_recv_many(cx, &mut packets, max) else {
            return Poll::Pending;
        };
        if self.fails.swap(false, Ordering::Relaxed) {
            assert!(!self.panics.load(Ordering::Relaxed), "a device with a fault of its own");
            return Poll::Ready(Err(io::Error::other("unplugged")));
        }
        batch.extend(packets.into_iter().map(Received::alone));
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, _: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        let mtu = self.narrow.load(Ordering::Relaxed);
        for packet in queue.drain(..) {
            for piece in through(packet.to_bytes(), mtu, self.next.load(Ordering::Relaxed)) {
                let next = self.next.fetch_add(1, Ordering::Relaxed) % self.to.len();
                let _gone = self.to[next].send(piece);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A cable with so many queues at each end; and what makes the next read at the left end fail.
fn cable(left: usize, right: usize) -> (Scattering, Scattering, Arc<AtomicBool>) {
    let end = |queues| -> (Arc<[_]>, Vec<_>) {
        let (to, from): (Vec<_>, _) = (0..queues).map(|_| unbounded_channel()).unzip();
        (to.into(), from)
    };
    let ((to_left, mut at_left), (to_right, mut at_right)) = (end(left), end(right));
    let fails = Arc::new(AtomicBool::new(false));
    let device = |to, from: &mut Vec<_>, fails| Scattering {
        incoming: from.pop().unwrap(),
        to,
        next: Arc::default(),
        others: std::mem::take(from),
        fails,
        panics: Arc::default(),
        narrow: Arc::new(AtomicUsize::new(usize::MAX)),
    };
    (
        device(to_right, &mut at_left, Arc::clone(&fails)),
        device(to_left, &mut at_right, Arc::default()),
        fails,
    )
}

fn shards(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

/// 10.0.0.1 and 10.0.0.2, with so many shards each.
fn pair(left: usize, right: usize) -> (Stack, Stack) {
    let (at_left, at_right, _) = cable(left, right);
    (
        builder(1).shards(shards(left)).device(at_left).build().unwrap(),
        builder(2).shards(shards(right)).device(at_right).build().unwrap(),
    )
}

/// Answers every connection with what it has said.
async fn echo(listener: TcpListener, connections: usize) {
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (mut stream, _) = listener.accept().await.unwrap();
        tasks.spawn(async move {
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
        });
    }
    tasks.join_all().await;
}

async fn asks_back(mut stream: TcpStream, bytes: usize) {
    let said = pattern(bytes);
    let (mut reader, mut writer) = stream.split();
    let write = async {
        writer.write_all(&said).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let (heard_bytes, ()) = tokio::join!(reader.read_to_end(&mut heard), write);
    assert_eq!(heard_bytes.unwrap(), bytes);
    assert!(heard == said);
}

async fn expect_empty(stack: &Stack) {
    stack.closed().await.unwrap();
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(stack.sizes(), TableSizes::default());
}

async fn many_connections(left: &Stack, right: &Stack, connections: usize, bytes: usize) {
    let listener = TcpListener::bind_on(right, SERVER).await.unwrap();
    let server = tokio::spawn(echo(listener, connections));
    let mut clients = JoinSet::new();
    for _ in 0..connections {
        let left = left.clone();
        clients.spawn(async move {
            asks_back(TcpStream::connect_on(&left, SERVER).await.unwrap(), bytes).await;
        });
    }
    clients.join_all().await;
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn every_flow_finds_its_shard_whatever_queue_it_comes_in_by() {
    let (left, right) = pair(2, 3);
    many_connections(&left, &right, 100, 20_000).await;
    let (opened, taken) = (left.counters(), right.counters());
    assert_eq!((opened.active_opens, taken.passive_opens), (100, 100));
    expect_empty(&left).await;
    expect_empty(&right).await;
}

/// Where its fragments meet is not where the flow is, as a rule.
#[tokio::test(start_paused = true)]
async fn segments_in_fragments_find_their_shard() {
    let (at_left, at_right, _) = cable(3, 2);
    at_left.narrow.store(576, Ordering::Relaxed);
    at_right.narrow.store(700, Ordering::Relaxed);
    let left = builder(1).shards(shards(3)).device(at_left).build().unwrap();
    let right = builder(2).shards(shards(2)).device(at_right).build().unwrap();
    many_connections(&left, &right, 30, 50_000).await;
    for stack in [&left, &right] {
        assert!(stack.counters().datagrams_reassembled > 1000, "{:?}", stack.counters());
        assert_eq!(stack.counters().datagrams_timed_out, 0);
        expect_empty(stack).await;
        assert_eq!(stack.memory().fragments, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_run_at_the_same_time_lose_nothing() {
    let (left, right) = pair(4, 4);
    many_connections(&left, &right, 200, 50_000).await;
    assert_eq!(right.counters().passive_opens, 200);
    left.closed().await.unwrap();
    right.closed().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn connections_to_ourselves_stay_within_their_shard() {
    let stack = builder(1).shards(shards(4)).build().unwrap();
    let listener = TcpListener::bind_on(&stack, "10.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn(echo(listener, 50));
    for _ in 0..50 {
        asks_back(TcpStream::connect_on(&stack, addr).await.unwrap(), 1000).await;
    }
    server.await.unwrap();
    expect_empty(&stack).await;
}

#[tokio::test(start_paused = true)]
async fn a_port_is_taken_in_every_shard_or_in_none() {
    let stack = builder(1).shards(shards(3)).build().unwrap();
    let listener = TcpListener::bind_on(&stack, "10.0.0.1:80").await.unwrap();
    assert_eq!(kind(TcpListener::bind_on(&stack, "10.0.0.1:80").await), ErrorKind::AddrInUse);
    let socket = TcpSocket::new_v4_on(&stack).unwrap();
    assert_eq!(kind(socket.bind("0.0.0.0:80".parse().unwrap())), ErrorKind::AddrInUse);
    drop(listener);
    socket.bind("10.0.0.1:80".parse().unwrap()).unwrap();
    assert_eq!(stack.sizes().bindings, 1);
    let listener = socket.listen(4).unwrap();
    assert_eq!((stack.sizes().bindings, stack.sizes().listeners), (0, 1));
    drop(listener);
    assert_eq!((stack.sizes().bindings, stack.sizes().listeners), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_port_that_one_shard_has_a_flow_on_is_free_in_none() {
    let (left, right) = pair(4, 1);
    let listener = TcpListener::bind_on(&right, SERVER).await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(TcpStream::connect_on(&left, SERVER).await.unwrap());
        let _accepted = listener.accept().await.unwrap();
    }
    for stream in &streams {
        let socket = TcpSocket::new_v4_on(&left).unwrap();
        assert_eq!(kind(socket.bind(stream.local_addr().unwrap())), ErrorKind::AddrInUse);
    }
    assert_eq!(left.sizes().bindings, 0, "what one shard refused, the others have given back");
    // Port 0 is one that is free in all of them, also when there are few.
    let mut few = StackConfig::default();
    few.ephemeral_ports = 50_000..=50_007;
    let stack = builder(3).config(few).shards(shards(4)).build().unwrap();
    let mut bound = HashSet::new();
    let mut sockets = Vec::new();
    for _ in 0..8 {
        let socket = TcpSocket::new_v4_on(&stack).unwrap();
        socket.bind("10.0.0.3:0".parse().unwrap()).unwrap();
        bound.insert(socket.local_addr().unwrap().port());
        sockets.push(socket);
    }
    assert_eq!(bound.len(), 8);
    let socket = TcpSocket::new_v4_on(&stack).unwrap();
    assert_eq!(kind(socket.bind("10.0.0.3:0".parse().unwrap())), ErrorKind::AddrInUse);
}

#[tokio::test(start_paused = true)]
async fn a_bound_socket_connects_from_its_port_in_whichever_shard_that_is() {
    let (left, right) = pair(4, 2);
    let listener = TcpListener::bind_on(&right, SERVER).await.unwrap();
    for port in 5000..5020 {
        let socket = TcpSocket::new_v4_on(&left).unwrap();
        socket.bind(([10, 0, 0, 1], port).into()).unwrap();
        let stream = socket.connect(SERVER.parse().unwrap()).await.unwrap();
        let (_accepted, peer) = listener.accept().await.unwrap();
        assert_eq!((stream.local_addr().unwrap().port(), peer.port()), (port, port));
        assert_eq!(left.sizes().bindings, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_hears_of_connections_in_every_shard() {
    let (left, right) = pair(1, 4);
    let listener = Arc::new(TcpListener::bind_on(&right, SERVER).await.unwrap());
    // Several tasks wait in all shards at the same time; nobody is forgotten.
    let mut accepting = JoinSet::new();
    for _ in 0..40 {
        let listener = Arc::clone(&listener);
        accepting.spawn(async move { listener.accept().await.unwrap().1 });
    }
    let mut streams = Vec::new();
    for _ in 0..40 {
        streams.push(TcpStream::connect_on(&left, SERVER).await.unwrap());
    }
    let peers: HashSet<_> = accepting.join_all().await.into_iter().collect();
    assert_eq!(peers.len(), 40);
    // And so by the poll function.
    for _ in 0..20 {
        let _stream = TcpStream::connect_on(&left, SERVER).await.unwrap();
        std::future::poll_fn(|cx| listener.poll_accept(cx)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_option_of_a_listener_counts_in_every_shard() {
    let (left, right) = pair(1, 4);
    let listener = TcpListener::bind_on(&right, SERVER).await.unwrap();
    listener.set_ttl(17).unwrap();
    for _ in 0..20 {
        let _stream = TcpStream::connect_on(&left, SERVER).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().0.ttl().unwrap(), 17);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fast_open_cookie_is_good_in_every_shard() {
    let (left, right) = pair(1, 4);
    let socket = TcpSocket::new_v4_on(&right).unwrap();
    socket.bind(SERVER.parse().unwrap()).unwrap();
    socket.set_fastopen(16).unwrap();
    let listener = socket.listen(16).unwrap();
    for number in 0..20 {
        let client = TcpSocket::new_v4_on(&left).unwrap().connect_with(SERVER.parse().unwrap(), b"hello");
        let (client, accepted) = tokio::try_join!(client, listener.accept()).unwrap();
        accepted.0.readable().await.unwrap();
        assert_eq!(client.info().unwrap().syn_data, number > 0, "connection {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn any_address_is_listened_to_in_every_shard() {
    let (left, right) = pair(1, 3);
    let listener = right.listen_any(16).unwrap();
    assert_eq!(kind(right.listen_any(16)), ErrorKind::AddrInUse);
    let answers = tokio::spawn(async move {
        for number in 0..20 {
            let incoming = listener.incoming().await.unwrap();
            match number % 2 {
                0 => drop(incoming.accept().await.unwrap()),
                _ => drop(incoming),
            }
        }
        listener
    });
    for number in 0..20 {
        let stream = TcpStream::connect_on(&left, (format!("10.0.1.{number}"), 443)).await;
        match number % 2 {
            0 => drop(stream.unwrap()),
            _ => assert_eq!(kind(stream), ErrorKind::ConnectionRefused),
        }
    }
    drop(answers.await.unwrap());
    right.listen_any(16).unwrap();
}

/// What those who read learn when a queue of the left stack fails, whichever shard they belong to.
async fn failure_of_a_queue(panics: bool) -> Vec<io::Error> {
    let (at_left, at_right, fails) = cable(3, 1);
    at_left.panics.store(panics, Ordering::Relaxed);
    let left = builder(1).shards(shards(3)).device(at_left).build().unwrap();
    let right = builder(2).device(at_right).build().unwrap();
    let listener = TcpListener::bind_on(&right, SERVER).await.unwrap();
    let (mut streams, mut accepted) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        streams.push(TcpStream::connect_on(&left, SERVER).await.unwrap());
        accepted.push(listener.accept().await.unwrap());
    }
    fails.store(true, Ordering::Relaxed);
    streams[0].write_all(b"is anybody there?").await.unwrap();
    let mut errors = Vec::new();
    for stream in &mut streams {
        errors.push(stream.read(&mut [0]).await.unwrap_err());
    }
    assert!(TcpStream::connect_on(&left, SERVER).await.is_err());
    assert!(left.closed().await.is_err());
    errors
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_fails_ends_the_whole_stack() {
    for error in failure_of_a_queue(false).await {
        assert!(error.to_string().contains("unplugged"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_panics_ends_the_whole_stack() {
    assert_eq!(failure_of_a_queue(true).await.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_delivers_what_every_shard_has() {
    let (left, right) = pair(4, 1);
    let listener = TcpListener::bind_on(&right, SERVER).await.unwrap();
    let mut reading = JoinSet::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect_on(&left, SERVER).await.unwrap();
        let (mut accepted, _) = listener.accept().await.unwrap();
        reading.spawn(async move { accepted.read_to_end(&mut Vec::new()).await.unwrap() });
        stream.write_all(&pattern(100_000)).await.unwrap();
    }
    left.shutdown(Duration::from_secs(10)).await.unwrap();
    assert!(reading.join_all().await.into_iter().all(|bytes| bytes == 100_000));
}

#[tokio::test(start_paused = true)]
async fn what_a_host_may_have_is_for_all_its_shards() {
    let mut config = StackConfig::default();
    config.memory_budget = Some(8 << 20);
    config.max_connections = 100;
    let stack = builder(1).config(config).shards(shards(4)).build().unwrap();
    assert_eq!(stack.config().max_connections, 100);
    assert_eq!(stack.memory().budget, 8 << 20);
    stack.add_address("10.0.9.9/24".parse().unwrap()).unwrap();
    let listener = TcpListener::bind_on(&stack, "10.0.9.9:80").await.unwrap();
    // What one of the shards holds, the others cannot: 8 MiB are not 32.
    let mut streams = Vec::new();
    let mut written = 0;
    for _ in 0..16 {
        let stream = TcpStream::connect_on(&stack, "10.0.9.9:80").await.unwrap();
        let accepted = listener.accept().await.unwrap();
        while let Ok(bytes) = stream.try_write(&[0; 4096]) {
            written += bytes;
            tokio::task::yield_now().await;
        }
        streams.push((stream, accepted));
    }
    assert!(written > 2 << 20, "{written}");
    let memory = stack.memory();
    assert!(memory.total() <= 8 << 20, "{memory:?}");
    assert!(memory.leased <= 8 << 20, "{memory:?}");
}

#[tokio::test(start_paused = true)]
async fn a_device_of_one_queue_has_one_shard() {
    let (at_left, at_right, _) = cable(1, 1);
    let left = builder(1).shards(shards(4)).device(at_left).build().unwrap();
    let right = builder(2).device(at_right).build().unwrap();
    many_connections(&left, &right, 10, 1000).await;
}

/// A socket is in each shard, and hears its peers wherever their flows are.
#[tokio::test]
async fn a_udp_socket_hears_all_flows_and_answers_each() {
    let (left, right) = pair(3, 4);
    let server = UdpSocket::bind_on(&right, "10.0.0.2:53").await.unwrap();
    let echo = tokio::spawn(async move {
        let mut buf = [0; 100];
        loop {
            let (len, from) = server.recv_from(&mut buf).await.unwrap();
            server.send_to(&buf[..len], from).await.unwrap();
        }
    });
    let mut tasks = JoinSet::new();
    for number in 0..40u8 {
        let client = UdpSocket::bind_on(&left, "0.0.0.0:0").await.unwrap();
        tasks.spawn(async move {
            if number % 2 == 0 {
                client.connect("10.0.0.2:53").await.unwrap();
            }
            for _ in 0..20 {
                client.send_to(&[number; 10], "10.0.0.2:53").await.unwrap();
                let mut buf = [0; 100];
                assert_eq!(client.recv(&mut buf).await.unwrap(), 10);
                assert_eq!(buf[..10], [number; 10]);
            }
        });
    }
    while let Some(client) = tasks.join_next().await {
        client.unwrap();
    }
    echo.abort();
    let _aborted = echo.await;
    assert_eq!((left.sizes().udp_sockets, right.sizes().udp_sockets), (0, 0));
    assert_eq!((left.counters().udp_sent, right.counters().udp_received), (800, 800));
}

/// An ICMP error comes to the shard of the flow that it is about.
#[tokio::test]
async fn a_refusal_finds_the_socket_that_asked() {
    let (left, right) = pair(4, 3);
    for _ in 0..20 {
        let client = UdpSocket::bind_on(&left, "0.0.0.0:0").await.unwrap();
        client.connect("10.0.0.2:9").await.unwrap();
        client.send(b"?").await.unwrap();
        assert_eq!(kind(client.recv(&mut [0; 8]).await), ErrorKind::ConnectionRefused);
    }
    assert_eq!(right.counters().udp_no_port, 20);
    // The same between own addresses, and with a port that is claimed in each shard or in none.
    let server = UdpSocket::bind_on(&left, "127.0.0.1:0").await.unwrap();
    assert_eq!(kind(UdpSocket::bind_on(&left, server.local_addr().unwrap()).await), ErrorKind::AddrInUse);
    for _ in 0..20 {
        let client = UdpSocket::bind_on(&left, "127.0.0.1:0").await.unwrap();
        client.send_to(b"x", server.local_addr().unwrap()).await.unwrap();
        assert_eq!(server.recv(&mut [0; 8]).await.unwrap(), 1);
    }
}
