//! Foreign code that panics: a task's waker, a resolver, a future, a device. It takes nobody else's connections with it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use common::{Mode, Net, SERVER, kind, within};
use ropeway::device::channel::channel_with_capacity;
use ropeway::device::memory;
use ropeway::net::{TcpListener, TcpStream};
use ropeway::{Stack, StackConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// Real time here, and never used up.
const LIMIT: Duration = Duration::from_secs(60);

/// Panics when it wakes.
struct Alarm;

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        panic!("this waker panics");
    }
}

/// Panics when its last clone is dropped, however that comes about.
struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("this waker panics when it is dropped");
        }
    }
}

/// A waker that panics when it wakes, or else when it is dropped. Drop it while others have clones.
fn bad_waker(wakes: bool) -> Waker {
    if wakes { Waker::from(Arc::new(Alarm)) } else { Waker::from(Arc::new(Bomb)) }
}

/// Waits for both directions of a stream with a waker that panics.
fn wait_badly(stream: &mut TcpStream, wakes: bool) {
    let waker = bad_waker(wakes);
    let mut cx = Context::from_waker(&waker);
    assert!(Pin::new(&mut *stream).poll_read(&mut cx, &mut ReadBuf::new(&mut [0; 8])).is_pending());
    while Pin::new(&mut *stream).poll_write(&mut cx, &[7; 50_000]).is_ready() {}
}

async fn others_go_on(net: &Net, listener: &TcpListener, bystanders: &mut [(TcpStream, TcpStream)]) {
    for (client, server) in bystanders {
        server.write_all(b"still here?").await.unwrap();
        let mut buf = [0; 11];
        client.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"still here?");
    }
    let (client, accepted) = tokio::join!(TcpStream::connect_on(&net.left, SERVER), listener.accept());
    client.unwrap();
    accepted.unwrap();
}

async fn wakers_that_panic() {
    for wakes in [true, false] {
        let net = Net::new();
        let listener = net.listen().await;
        let connect = async || {
            let (client, accepted) =
                tokio::join!(TcpStream::connect_on(&net.left, SERVER), listener.accept());
            (client.unwrap(), accepted.unwrap().0)
        };
        let mut bystanders = [connect().await, connect().await];
        let (mut client, mut server) = connect().await;
        let idle = bystanders
            .each_mut()
            .map(|(_, server)| tokio::spawn(std::future::ready(server.local_addr().is_ok())));
        // Of readers, writers, those who accept, and those who wait for the end.
        wait_badly(&mut client, wakes);
        {
            let waker = bad_waker(wakes);
            let mut cx = Context::from_waker(&waker);
            let (mut closing, mut accepting) = (pin!(net.left.closed()), pin!(listener.accept()));
            assert!(closing.as_mut().poll(&mut cx).is_pending());
            assert!(accepting.as_mut().poll(&mut cx).is_pending());
            drop(waker);
            let reading = tokio::spawn(async move {
                let mut read = vec![0; 1 << 20];
                let len = server.read(&mut read).await.unwrap();
                server.write_all(b"data for the bad waker").await.unwrap();
                (server, len)
            });
            let (server, _) = reading.await.unwrap();
            let other = TcpStream::connect_on(&net.left, SERVER).await.unwrap();
            drop((server, other));
        }
        for task in idle {
            assert!(task.await.unwrap());
        }
        while listener.poll_accept(&mut Context::from_waker(Waker::noop())).is_ready() {}
        others_go_on(&net, &listener, &mut bystanders).await;
        // Another waker takes the place of a bad one, and a socket with one is dropped.
        let _ = Pin::new(&mut client)
            .poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut [0; 8]));
        drop(client);
        others_go_on(&net, &listener, &mut bystanders).await;
        assert!(net.left.counters().sent > 0, "the stack is there");
    }
}

#[tokio::test]
async fn wakers_that_panic_take_nothing_with_them() {
    within(LIMIT, wakers_that_panic()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wakers_that_panic_take_nothing_with_them_on_threads() {
    within(LIMIT, wakers_that_panic()).await;
}

/// When the stack ends, everyone is told, whoever panics.
#[tokio::test]
async fn a_waker_that_panics_does_not_keep_the_end_from_others() {
    within(LIMIT, async {
        let net = Net::new();
        let (mut client, _server) = net.connect().await;
        let (mut other, _other) = net.connect().await;
        wait_badly(&mut client, true);
        let waiting = tokio::spawn(async move { kind(other.read(&mut [0]).await) });
        tokio::task::yield_now().await;
        net.trouble.set(Mode::Failed);
        assert_ne!(waiting.await.unwrap(), ErrorKind::UnexpectedEof);
    })
    .await;
}

/// The program that carries a channel's packets waits with wakers of its own.
#[tokio::test]
async fn a_carrier_whose_waker_panics_does_not_end_the_stack() {
    within(LIMIT, async {
        for wakes in [true, false] {
            let waker = bad_waker(wakes);
            let (device, mut channel) = channel_with_capacity(1500, 1);
            let stack =
                Stack::builder().address("10.0.0.1/24".parse().unwrap()).device(device).build().unwrap();
            let mut cx = Context::from_waker(&waker);
            assert!(channel.poll_recv(&mut cx).is_pending());
            let sender = channel.sender();
            let mut sending: Vec<_> =
                (0..2).map(|_| Box::pin(sender.send(Bytes::from_static(b"x")))).collect();
            let ready = sending.iter_mut().filter_map(|sending| match sending.as_mut().poll(&mut cx) {
                Poll::Ready(sent) => Some(sent),
                Poll::Pending => None,
            });
            assert_eq!(ready.count(), 1);
            drop(waker);
            let connecting = tokio::spawn({
                let stack = stack.clone();
                async move { TcpStream::connect_on(&stack, "10.0.0.9:1").await }
            });
            let syn = channel.recv().await.unwrap();
            assert_eq!(syn[0] >> 4, 4);
            drop(sending);
            sender.send(Bytes::from_static(b"y")).await.unwrap();
            sender.send(Bytes::from_static(b"z")).await.unwrap();
            assert!(!connecting.is_finished());
            let listener = TcpListener::bind_on(&stack, "127.0.0.1:0").await.unwrap();
            let to = listener.local_addr().unwrap().to_string();
            TcpStream::connect_on(&stack, &*to).await.unwrap();
            connecting.abort();
        }
    })
    .await;
}

#[tokio::test]
async fn a_resolver_that_panics_panics_only_its_caller() {
    within(LIMIT, async {
        let stack = Stack::builder().resolver(|name| panic!("no idea who {name} is")).build().unwrap();
        let listener = TcpListener::bind_on(&stack, "127.0.0.1:80").await.unwrap();
        for _ in 0..3 {
            let caller = tokio::spawn({
                let stack = stack.clone();
                async move { TcpStream::connect_on(&stack, "db:80").await }
            });
            assert!(caller.await.unwrap_err().is_panic());
            let (client, accepted) =
                tokio::join!(TcpStream::connect_on(&stack, "127.0.0.1:80"), listener.accept());
            client.unwrap();
            accepted.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_future_that_panics_in_a_scope_leaves_the_scope() {
    let (outer, inner) = (Stack::loopback().unwrap(), Stack::loopback().unwrap());
    let _listener = TcpListener::bind_on(&inner, "127.0.0.1:80").await.unwrap();
    outer
        .scope(async {
            let mut future = Box::pin(inner.scope(async {
                TcpStream::connect("127.0.0.1:80").await.unwrap();
                panic!("a future panics");
            }));
            loop {
                let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
                }));
                match polled {
                    Ok(Poll::Pending) => tokio::task::yield_now().await,
                    Ok(Poll::Ready(never)) => never,
                    Err(_) => break,
                }
            }
            // The outer stack is the current one again: nobody listens there.
            assert_eq!(kind(TcpStream::connect("127.0.0.1:80").await), ErrorKind::ConnectionRefused);
        })
        .await;
}

/// Durations and sizes at their ends, through the runtime's clock and devices.
#[tokio::test(start_paused = true)]
async fn a_stack_lives_with_its_settings_at_their_extremes() {
    let durations = [Duration::ZERO, Duration::from_millis(u64::MAX), Duration::MAX];
    let fields: [fn(&mut StackConfig, Duration); 9] = [
        |config, value| config.time_wait = value,
        |config, value| config.initial_rto = value,
        |config, value| config.min_rto = value,
        |config, value| config.max_rto = value,
        |config, value| config.delayed_ack = value,
        |config, value| config.fin_timeout = value,
        |config, value| config.decision_timeout = value,
        |config, value| config.socket.user_timeout = Some(value),
        |config, value| config.socket.linger = Some(value),
    ];
    for (field, value) in fields.iter().flat_map(|field| durations.map(|value| (field, value))) {
        let net = Net::with(|config| field(config, value), 1024);
        let (mut client, mut server) = net.connect().await;
        client.write_all(b"hello").await.unwrap();
        let mut buf = [0; 5];
        server.read_exact(&mut buf).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        server.write_all(b"hello").await.unwrap();
        client.read_exact(&mut buf).await.unwrap();
        client.shutdown().await.unwrap();
        server.close().await.unwrap();
        drop(client);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(net.left.shutdown(Duration::MAX).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn devices_with_room_for_none_and_for_ever_so_many() {
    for packets in [0, 1, usize::MAX] {
        let (device, _channel) = channel_with_capacity(1500, packets);
        assert!(Stack::builder().device(device).build().is_ok());
        let (left, right) = memory::pair_with_capacity(1500, packets);
        let left = common::builder(1).device(left).build().unwrap();
        let right = common::builder(2).device(right).build().unwrap();
        let listener = TcpListener::bind_on(&right, SERVER).await.unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect_on(&left, SERVER), listener.accept());
        client.unwrap();
        accepted.unwrap();
    }
}

/// What a builder refuses, it refuses in one line that says what to do.
#[tokio::test]
async fn what_a_builder_refuses_it_explains() {
    for range in [0..=0, {
        #[allow(clippy::reversed_empty_ranges, reason = "a range without a port")]
        let none = 9..=8;
        none
    }] {
        let mut config = StackConfig::default();
        config.ephemeral_ports = range;
        let error = Stack::builder().config(config).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("32768..=60999"), "{error}");
    }
    let mut config = StackConfig::default();
    config.memory_budget = Some((1 << 20) - 1);
    let error = Stack::builder().config(config).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("memory_budget") && error.to_string().contains("1 MiB"), "{error}");
    for (mtu, of_device, address, word) in [
        (67, 1500, "10.0.0.1/24", "68"),
        (0, 1500, "10.0.0.1/24", "68"),
        (1279, 1500, "fd00::1/64", "1280"),
        (1501, 1500, "10.0.0.1/24", "leave mtu() out"),
        (u16::MAX, 0, "10.0.0.1/24", "leave mtu() out"),
    ] {
        let (device, _channel) = channel_with_capacity(of_device, 1);
        let builder = Stack::builder().mtu(mtu).device(device).address(address.parse().unwrap());
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let text = error.to_string();
        assert!(text.contains(word) && text.contains("MTU") && !text.contains('\n'), "{text}");
    }
}
