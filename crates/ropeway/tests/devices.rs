//! The devices, and the border between them and the driver.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use common::{builder, kind, pattern, settle, within};
use ropeway::device::channel::{self, TryRecvError, TrySendError};
use ropeway::device::memory;
use ropeway::device::tap::{Direction, Tap};
use ropeway::device::{Capabilities, Device, Received, Transmit};
use ropeway::net::{TcpListener, TcpSocket, TcpStream};
use ropeway::packet::{icmp, ip, parse_tcp};
use ropeway::{Stack, StackConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SOON: Duration = Duration::from_secs(1);

fn echo_request(data: &[u8]) -> Bytes {
    let (from, to): (IpAddr, IpAddr) = ("10.0.0.7".parse().unwrap(), "10.0.0.1".parse().unwrap());
    icmp::emit_echo_request(from, to, 1, 2, data, 64).into()
}

#[tokio::test(start_paused = true)]
async fn a_channel_carries_packets_both_ways() {
    let (device, mut channel) = channel::channel(1500);
    let _stack = builder(1).device(device).build().unwrap();
    assert_eq!(channel.try_recv(), Err(TryRecvError::Empty));
    channel.send(echo_request(b"hello?")).await.unwrap();
    let reply = within(SOON, channel.recv()).await.unwrap();
    assert!(reply.ends_with(b"hello?"));
    let header = ip::parse(&reply).unwrap();
    assert_eq!((header.src, header.dst), ("10.0.0.1".parse().unwrap(), "10.0.0.7".parse().unwrap()));

    let sender = channel.sender();
    tokio::spawn(async move { sender.send(echo_request(b"again")).await }).await.unwrap().unwrap();
    channel.try_send(echo_request(b"and again")).unwrap();
    assert!(within(SOON, channel.recv()).await.unwrap().ends_with(b"again"));
    assert!(within(SOON, channel.recv()).await.unwrap().ends_with(b"and again"));
}

/// The sequence number of the first SYN of a stack that was made at the same moment as every other.
async fn first_isn(seed: Option<[u8; 32]>) -> u32 {
    let (device, mut channel) = channel::channel(1500);
    let mut builder = Stack::builder().address("10.0.0.1/24".parse().unwrap()).device(device);
    if let Some(seed) = seed {
        builder = builder.seed(seed);
    }
    let stack = builder.build().unwrap();
    let socket = TcpSocket::new_v4_on(&stack).unwrap();
    socket.bind("10.0.0.1:5000".parse().unwrap()).unwrap();
    let connecting = tokio::spawn(socket.connect("10.0.0.2:80".parse().unwrap()));
    let packet = within(SOON, channel.recv()).await.unwrap();
    connecting.abort();
    parse_tcp(&packet, ip::parse(&packet).unwrap(), true).unwrap().tcp.seq.get()
}

/// RFC 6528 3-3: each has its own secret, unless it is given one.
#[tokio::test(start_paused = true)]
async fn two_stacks_differ_in_their_secrets() {
    assert_ne!(first_isn(None).await, first_isn(None).await);
    assert_ne!(first_isn(Some([1; 32])).await, first_isn(Some([2; 32])).await);
    assert_eq!(first_isn(Some([1; 32])).await, first_isn(Some([1; 32])).await);
}

#[tokio::test(start_paused = true)]
async fn a_channel_holds_up_who_is_too_fast() {
    let (device, mut channel) = channel::channel_with_capacity(1500, 2);
    let stack = builder(1).device(device).build().unwrap();
    // The stack has not run yet.
    channel.try_send(echo_request(b"1")).unwrap();
    channel.try_send(echo_request(b"2")).unwrap();
    let third = echo_request(b"3");
    assert_eq!(channel.try_send(third.clone()), Err(TrySendError::Full(third.clone())));
    settle().await;
    channel.send(third).await.unwrap();
    channel.send(echo_request(b"4")).await.unwrap();
    settle().await;
    // Nobody takes the replies; none is lost.
    for expected in [b"1", b"2", b"3", b"4"] {
        assert!(within(SOON, channel.recv()).await.unwrap().ends_with(expected));
    }
    drop(stack);
    assert_eq!(within(SOON, channel.recv()).await, None);
    assert_eq!(channel.try_recv(), Err(TryRecvError::Closed));
    let packet = echo_request(b"late");
    assert_eq!(channel.try_send(packet.clone()), Err(TrySendError::Closed(packet.clone())));
    assert_eq!(channel.send(packet.clone()).await.unwrap_err().0, packet);
}

#[tokio::test(start_paused = true)]
async fn a_channel_whose_handle_is_gone_has_failed() {
    let (device, channel) = channel::channel(1500);
    let stack = builder(1).device(device).build().unwrap();
    let connecting = tokio::spawn({
        let stack = stack.clone();
        async move { TcpStream::connect_on(&stack, "10.0.0.2:80").await }
    });
    settle().await;
    drop(channel);
    assert_eq!(kind(within(SOON, connecting).await.unwrap()), ErrorKind::NetworkDown);
    assert!(stack.closed().await.unwrap_err().to_string().contains("PacketChannel"));
}

#[tokio::test(start_paused = true)]
async fn two_stacks_through_channels() {
    let (left_device, mut left_channel) = channel::channel(1420);
    let (right_device, mut right_channel) = channel::channel(1420);
    let left = builder(1).device(left_device).build().unwrap();
    let right = builder(2).device(right_device).build().unwrap();
    let (to_left, to_right) = (left_channel.sender(), right_channel.sender());
    tokio::spawn(async move {
        while let Some(packet) = left_channel.recv().await {
            assert!(packet.len() <= 1420);
            to_right.send(packet).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Some(packet) = right_channel.recv().await {
            to_left.send(packet).await.unwrap();
        }
    });
    let listener = TcpListener::bind_on(&right, "10.0.0.2:80").await.unwrap();
    let mut client = TcpStream::connect_on(&left, "10.0.0.2:80").await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    tokio::spawn(async move {
        server.write_all(&pattern(500_000)).await.unwrap();
    });
    let mut received = Vec::new();
    within(Duration::from_secs(10), client.read_to_end(&mut received)).await.unwrap();
    assert!(received == pattern(500_000));
}

#[tokio::test(start_paused = true)]
async fn a_tap_sees_what_crosses_and_when() {
    let seen = Arc::new(Mutex::new(Vec::<(Direction, SystemTime, Vec<u8>)>::new()));
    let (left, right) = memory::pair(1500);
    let log = Arc::clone(&seen);
    let left = Tap::new(left, move |direction, time, packet: &[u8]| {
        log.lock().unwrap().push((direction, time, packet.to_vec()));
    });
    let left = builder(1).device(left).build().unwrap();
    let right = builder(2).device(right).build().unwrap();
    let listener = TcpListener::bind_on(&right, "10.0.0.2:80").await.unwrap();
    let client = TcpStream::connect_on(&left, "10.0.0.2:80").await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3600)).await;
    client.try_write(b"an hour later").unwrap();
    server.read_exact(&mut [0; 13]).await.unwrap();

    let seen = seen.lock().unwrap();
    let flags: Vec<_> = seen
        .iter()
        .map(|(direction, _, packet)| {
            let segment = parse_tcp(packet, ip::parse(packet).unwrap(), true).unwrap();
            (*direction, format!("{:?}", segment.tcp.flags))
        })
        .collect();
    assert_eq!(flags[0], (Direction::Sent, "SYN".to_owned()));
    assert_eq!(flags[1].0, Direction::Received);
    assert_eq!(flags[2], (Direction::Sent, "ACK".to_owned()));
    assert!(seen[3].2.ends_with(b"an hour later"));
    let hour = seen[3].1.duration_since(seen[0].1).unwrap();
    assert!(hour >= Duration::from_secs(3600) && hour < Duration::from_secs(3601), "{hour:?}");
}

#[test]
fn a_cable_between_two_runtimes() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (one, two) = (runtime(), runtime());
    let (left, right) = memory::pair_with_capacity(1500, 16);
    let listener = two.block_on(async {
        let right = builder(2).device(right).build().unwrap();
        TcpListener::bind_on(&right, "10.0.0.2:80").await.unwrap()
    });
    let server = two.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap()
    });
    one.block_on(async {
        let left = builder(1).device(left).build().unwrap();
        let mut stream = TcpStream::connect_on(&left, "10.0.0.2:80").await.unwrap();
        let (mut read, mut write) = stream.split();
        let data = pattern(1_000_000);
        let mut echo = Vec::new();
        let (sent, received) = tokio::join!(
            async {
                write.write_all(&data).await?;
                write.shutdown().await
            },
            async { within(Duration::from_secs(60), read.read_to_end(&mut echo)).await }
        );
        sent.unwrap();
        received.unwrap();
        assert!(echo == data);
    });
    assert_eq!(two.block_on(server).unwrap(), 1_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_cut_cable_is_silent() {
    let (left, right) = memory::pair(1500);
    let left = builder(1).device(left).build().unwrap();
    drop(right);
    let socket = TcpSocket::new_v4_on(&left).unwrap();
    socket.set_tcp_syn_retries(1).unwrap();
    let connecting = socket.connect("10.0.0.2:80".parse().unwrap());
    assert_eq!(kind(within(Duration::from_secs(5), connecting).await), ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_dropped() {
    let (mut left, mut right) = memory::pair(100);
    let packet = |len| Transmit::whole(Bytes::from(vec![0; len]));
    let mut queue = VecDeque::from([packet(100), packet(101), packet(99)]);
    poll_fn(|cx| left.poll_send(cx, &mut queue)).await.unwrap();
    let mut batch = Vec::new();
    poll_fn(|cx| right.poll_recv(cx, &mut batch, 64)).await.unwrap();
    let lens: Vec<_> = batch.iter().map(|received| received.packet.len()).collect();
    assert_eq!(lens, [100, 99]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_stays_in_order() {
    let (mut left, mut right) = memory::pair_with_capacity(100, 2);
    let mut queue: VecDeque<_> = (0..5).map(|byte| Transmit::whole(Bytes::from(vec![byte]))).collect();
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(left.poll_send(cx, &mut queue).is_pending());
    assert_eq!(queue.len(), 3);
    let mut batch = Vec::new();
    assert!(right.poll_recv(cx, &mut batch, 1).is_ready());
    assert!(left.poll_send(cx, &mut queue).is_pending());
    while right.poll_recv(cx, &mut batch, 64).is_ready() {
        let _pending = left.poll_send(cx, &mut queue);
    }
    assert!(queue.is_empty());
    let bytes: Vec<_> = batch.iter().map(|received| received.packet[0]).collect();
    assert_eq!(bytes, [0, 1, 2, 3, 4]);
}

/// A device that keeps memory to read packets to.
struct Hoarder {
    of_machine: bool,
}

impl Device for Hoarder {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(1500).with_packets_of_machine(self.of_machine)
    }

    fn poll_recv(
        &mut self,
        _: &mut Context<'_>,
        _: &mut Vec<Received>,
        _: usize,
    ) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }

    fn poll_send(
        &mut self,
        _: &mut Context<'_>,
        queue: &mut VecDeque<Transmit>,
    ) -> Poll<std::io::Result<()>> {
        queue.clear();
        Poll::Ready(Ok(()))
    }

    fn slabs(&self) -> usize {
        123_456
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_device_keeps_counts_and_a_tap_on_it_changes_nothing() {
    for tapped in [false, true] {
        let builder = builder(1);
        let device = Hoarder { of_machine: true };
        let stack = match tapped {
            false => builder.device(device).build().unwrap(),
            true => builder.device(Tap::new(device, |_, _, _: &[u8]| {})).build().unwrap(),
        };
        settle().await;
        assert_eq!(stack.memory().slabs, 123_456);
        let budget = stack.config().memory_budget;
        assert_eq!(budget, Some(stack.memory().budget));
        // A quarter of the machine's memory, or of what the control group may have.
        if let Ok(info) = std::fs::read_to_string("/proc/meminfo") {
            let total = info.lines().next().unwrap().split_whitespace().nth(1).unwrap();
            assert!(stack.memory().budget <= total.parse::<usize>().unwrap() * 1024 / 4);
        }
    }
}

/// Equal programs are to do the same everywhere.
#[tokio::test(start_paused = true)]
async fn without_a_device_of_the_machine_the_budget_is_a_constant() {
    let (left, _right) = memory::pair(1500);
    for stack in [
        builder(1).device(left).build().unwrap(),
        builder(1).device(Hoarder { of_machine: false }).build().unwrap(),
        Stack::loopback().unwrap(),
    ] {
        assert_eq!(stack.memory().budget, 4 << 30);
    }
    let mut config = StackConfig::default();
    config.memory_budget = Some(50 << 20);
    let stack = builder(1).config(config).device(Hoarder { of_machine: true }).build().unwrap();
    assert_eq!(stack.memory().budget, 50 << 20, "what the user says counts");
}
