//! What peers learn when a runtime ends with a stack on it, and what `Stack::shutdown` waits for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::time::Duration;

use common::{Mode, Net, SERVER, Trouble, Troubled, builder, kind, pattern, settle, within};
use ropeway::Stack;
use ropeway::device::channel::{ChannelDevice, PacketChannel, channel_with_capacity};
use ropeway::device::memory;
use ropeway::device::tap::Tap;
use ropeway::net::{TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

const SOON: Duration = Duration::from_secs(20);

fn runtimes() -> [Runtime; 2] {
    [
        Builder::new_current_thread().enable_all().build().unwrap(),
        Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
    ]
}

/// A peer with a runtime of its own, which lives on.
struct Peer {
    runtime: Runtime,
    listener: TcpListener,
}

impl Peer {
    /// And the other end of its cable.
    fn new() -> (Self, Troubled) {
        let (left, right) = memory::pair(1500);
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(async {
            let stack = builder(2).device(right).build().unwrap();
            TcpListener::bind_on(&stack, SERVER).await.unwrap()
        });
        (Self { runtime, listener }, Troubled { device: left, trouble: Trouble::default() })
    }

    /// All that the next connection brings, and how it ends.
    fn read(&self) -> (Vec<u8>, io::Result<usize>) {
        self.runtime.block_on(within(SOON, async {
            let (mut stream, _) = self.listener.accept().await.unwrap();
            let mut received = Vec::new();
            let end = stream.read_to_end(&mut received).await;
            (received, end)
        }))
    }
}

/// Connects from a stack on `device`.
async fn connect(device: impl ropeway::device::Device) -> TcpStream {
    let stack = builder(1).device(device).build().unwrap();
    TcpStream::connect_on(&stack, SERVER).await.unwrap()
}

#[test]
fn a_program_that_writes_little_and_exits_is_heard() {
    for runtime in runtimes() {
        let (peer, device) = Peer::new();
        runtime.block_on(async {
            let mut stream = connect(device).await;
            stream.write_all(b"last words").await.unwrap();
        });
        drop(runtime);
        let (received, end) = peer.read();
        assert_eq!((received.as_slice(), end.unwrap()), (&b"last words"[..], 10));
    }
}

/// More than the windows allow: what was lost is not passed over in silence.
#[test]
fn a_program_that_writes_much_and_exits_resets_its_peer() {
    for runtime in runtimes() {
        let (peer, device) = Peer::new();
        runtime.block_on(async {
            let mut stream = connect(device).await;
            stream.write_all(&pattern(300_000)).await.unwrap();
        });
        drop(runtime);
        let (received, end) = peer.read();
        assert_eq!(received, pattern(received.len()));
        assert!(received.len() >= 10_000, "the windows allow more than {}", received.len());
        // With threads of its own, the driver may have been faster than the end of the program.
        match end {
            Ok(len) => assert_eq!(len, 300_000),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

/// Nothing is outstanding: that is a normal end, whoever holds the stream.
#[test]
fn an_idle_connection_ends_with_a_fin_whatever_is_dropped_first() {
    for held_by_a_task in [false, true] {
        for runtime in runtimes() {
            let (peer, device) = Peer::new();
            let kept = runtime.block_on(async {
                let mut stream = connect(device).await;
                stream.write_all(b"all of it").await.unwrap();
                while stream.info().unwrap().bytes_acked < 9 {
                    tokio::task::yield_now().await;
                }
                if !held_by_a_task {
                    return Some(stream);
                }
                tokio::spawn(async move { stream.read(&mut [0]).await });
                None
            });
            drop(runtime);
            assert_eq!(peer.read().1.unwrap(), 9);
            drop(kept);
        }
    }
}

#[test]
fn a_stream_that_outlives_its_runtime_has_said_its_last_words_already() {
    for runtime in runtimes() {
        let (peer, device) = Peer::new();
        let stream = runtime.block_on(async {
            let mut stream = connect(device).await;
            stream.write_all(b"unacknowledged").await.unwrap();
            stream
        });
        drop(runtime);
        let (received, end) = peer.read();
        assert_eq!(received, b"unacknowledged");
        // The stream was not closed, and nobody will say more: unless a driver with a thread of its own has got the
        // acknowledgement by then, that is a reset.
        assert_eq!(
            end.map_err(|error| error.kind()).unwrap_or_else(|kind| {
                assert_eq!(kind, ErrorKind::ConnectionReset);
                14
            }),
            14
        );
        drop(stream);
    }
}

#[test]
fn unread_data_and_unaccepted_connections_are_reset() {
    for accepts in [false, true] {
        for runtime in runtimes() {
            let (peer, device) = Peer::new();
            let listener = runtime.block_on(async {
                let stack = builder(1).device(device).build().unwrap();
                TcpListener::bind_on(&stack, "10.0.0.1:80").await.unwrap()
            });
            let stack = peer.listener.stack().clone();
            let client = peer.runtime.spawn(async move {
                let mut client = TcpStream::connect_on(&stack, "10.0.0.1:80").await.unwrap();
                client.write_all(b"unread").await.unwrap();
                while client.info().unwrap().bytes_acked < 6 {
                    tokio::task::yield_now().await;
                }
                client
            });
            let (mut client, accepted) = runtime.block_on(async {
                let accepted = if accepts { Some(listener.accept().await.unwrap()) } else { None };
                (client.await.unwrap(), accepted)
            });
            drop(runtime);
            let read = peer.runtime.block_on(within(SOON, client.read(&mut [0])));
            assert_eq!(kind(read), ErrorKind::ConnectionReset);
            drop((accepted, listener));
        }
    }
}

#[test]
fn a_thousand_connections_are_all_told() {
    let (peer, device) = Peer::new();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let clients = runtime.block_on(async {
        let stack = builder(1).device(device).build().unwrap();
        let listener = TcpListener::bind_on(&stack, "10.0.0.1:80").await.unwrap();
        let remote = peer.listener.stack().clone();
        let clients = peer.runtime.spawn(async move {
            let mut clients = Vec::new();
            for _ in 0..500 {
                clients.push(TcpStream::connect_on(&remote, "10.0.0.1:80").await.unwrap());
            }
            clients
        });
        for _ in 0..500 {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move { stream.read(&mut [0]).await });
        }
        clients.await.unwrap()
    });
    drop(runtime);
    peer.runtime.block_on(within(SOON, async {
        for mut client in clients {
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }
    }));
}

#[test]
fn a_device_that_takes_nothing_or_panics_does_not_hold_the_end_up() {
    for mode in [Mode::Blocked, Mode::Cut, Mode::Panics] {
        for runtime in runtimes() {
            let (_peer, device) = Peer::new();
            let trouble = device.trouble.clone();
            let stream = runtime.block_on(async {
                let mut stream = connect(device).await;
                stream.write_all(&pattern(100_000)).await.unwrap();
                stream
            });
            // The driver has not looked yet.
            trouble.set(mode);
            drop(runtime);
            assert!(trouble.device_is_dropped());
            assert_eq!(kind(stream.try_write(b"x")), ErrorKind::Other);
        }
    }
}

/// The program's side of a channel outlives the stack, and finds the last words in it.
#[test]
fn a_channel_carries_the_last_words() {
    for runtime in runtimes() {
        let (left, mut ours) = channel_with_capacity(1500, 64);
        let (right, mut theirs) = channel_with_capacity(1500, 64);
        let carrier = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = carrier.block_on(async {
            let stack = builder(2).device(right).build().unwrap();
            TcpListener::bind_on(&stack, SERVER).await.unwrap()
        });
        let (to_left, to_right) = (ours.sender(), theirs.sender());
        carrier.spawn(async move {
            while let Some(packet) = ours.recv().await {
                to_right.send(packet).await.unwrap();
            }
        });
        carrier.spawn(async move {
            while let Some(packet) = theirs.recv().await {
                // The left stack may be gone.
                let _gone = to_left.send(packet).await;
            }
        });
        runtime.block_on(async {
            let mut stream = connect(left).await;
            stream.write_all(b"last words").await.unwrap();
        });
        drop(runtime);
        let (received, end) = Peer { runtime: carrier, listener }.read();
        assert_eq!((received.as_slice(), end.unwrap()), (&b"last words"[..], 10));
    }
}

/// What crosses a tap is seen to the last packet.
#[test]
fn a_tap_shows_the_last_words() {
    let (peer, device) = Peer::new();
    let (seen, packets) = std::sync::mpsc::channel();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut stream =
            connect(Tap::new(device, move |_, _, packet: &[u8]| seen.send(packet.to_vec()).unwrap())).await;
        stream.write_all(b"last words").await.unwrap();
    });
    drop(runtime);
    peer.read().1.unwrap();
    assert!(packets.iter().any(|packet| packet.ends_with(b"last words")));
}

thread_local! {
    static WARNINGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the warnings of each thread.
struct Warnings;

struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        WARNINGS.with_borrow_mut(|warnings| warnings.push(line.0));
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn the_loss_is_logged_once_with_counts() {
    let _subscriber = tracing::subscriber::set_default(Warnings);
    for bytes in [0, 300_000] {
        WARNINGS.take();
        let (_peer, device) = Peer::new();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut stream = connect(device).await;
            stream.write_all(&pattern(bytes)).await.unwrap();
        });
        drop(runtime);
        let warnings = WARNINGS.take();
        match bytes {
            0 => assert_eq!(warnings, Vec::<String>::new()),
            _ => {
                assert_eq!(warnings.len(), 1, "{warnings:?}");
                assert!(warnings[0].contains("bytes=300000 connections=1"), "{}", warnings[0]);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn shutdown_returns_when_all_is_acknowledged_although_the_peer_keeps_its_half_open() {
    let net = Net::new();
    let (mut client, mut server) = net.connect().await;
    client.write_all(&pattern(400_000)).await.unwrap();
    let reads = tokio::spawn(async move {
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        (server, received)
    });
    within(SOON, net.left.shutdown(Duration::from_secs(5))).await.unwrap();
    let (mut server, received) = reads.await.unwrap();
    assert_eq!(received, pattern(400_000));
    // The other half still works; ours is shut, and so is the stack.
    server.write_all(b"and you?").await.unwrap();
    let mut read = [0; 8];
    client.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"and you?");
    assert_eq!(kind(client.write(b"x").await), ErrorKind::BrokenPipe);
    assert_eq!(kind(TcpStream::connect_on(&net.left, SERVER).await), ErrorKind::NetworkDown);
    within(SOON, net.left.shutdown(Duration::from_secs(5))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_what_was_dropped_before() {
    let net = Net::new();
    let (mut client, mut server) = net.connect().await;
    client.write_all(&pattern(200_000)).await.unwrap();
    drop(client);
    let (down, received) = tokio::join!(net.left.shutdown(Duration::from_secs(5)), async {
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.map(|_| received)
    });
    down.unwrap();
    assert_eq!(received.unwrap(), pattern(200_000));
}

#[tokio::test(start_paused = true)]
async fn shutdown_tells_what_did_not_arrive() {
    let net = Net::new();
    let (mut client, mut server) = net.connect().await;
    // The peer does not read.
    client.write_all(&pattern(500_000)).await.unwrap();
    client.write_all(&pattern(300_000)).await.unwrap();
    let start = tokio::time::Instant::now();
    let error = net.left.shutdown(Duration::from_secs(3)).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed().as_secs()), (ErrorKind::TimedOut, 3));
    assert!(error.to_string().contains("1 connections"), "{error}");
    // And now it resets.
    let left = net.left.clone();
    let down = tokio::spawn(async move { left.shutdown(Duration::from_secs(3)).await });
    settle().await;
    server.set_zero_linger().unwrap();
    server.read_exact(&mut [0; 10]).await.unwrap();
    drop(server);
    let error = down.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(error.to_string().contains("bytes that were not acknowledged"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_is_shut_down_takes_no_more_connections() {
    let net = Net::new();
    let _listener = net.listen().await;
    net.right.shutdown(Duration::ZERO).await.unwrap();
    assert_eq!(kind(TcpStream::connect_on(&net.left, SERVER).await), ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_of_the_loopback() {
    let stack = Stack::loopback().unwrap();
    let listener = TcpListener::bind_on(&stack, "127.0.0.1:80").await.unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect_on(&stack, "127.0.0.1:80"), listener.accept());
    let (mut client, mut server) = (client.unwrap(), accepted.unwrap().0);
    client.write_all(b"local").await.unwrap();
    within(SOON, stack.shutdown(Duration::from_secs(5))).await.unwrap();
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"local");
}

/// A stack whose packets nobody takes: the device has room for one.
fn behind_a_full_channel() -> (Stack, PacketChannel) {
    let (device, channel): (ChannelDevice, _) = channel_with_capacity(1500, 1);
    (builder(1).device(device).build().unwrap(), channel)
}

#[tokio::test(start_paused = true)]
async fn ten_connects_behind_a_full_device_are_given_up_in_time() {
    let (stack, _channel) = behind_a_full_channel();
    let start = tokio::time::Instant::now();
    let connects: Vec<_> = (0..10)
        .map(|_| {
            let stack = stack.clone();
            tokio::spawn(async move { TcpStream::connect_on(&stack, SERVER).await.map(drop) })
        })
        .collect();
    for connect in connects {
        assert_eq!(kind(within(Duration::from_secs(3600), connect).await.unwrap()), ErrorKind::TimedOut);
    }
    assert_eq!(start.elapsed().as_secs(), 247);
}

#[tokio::test(start_paused = true)]
async fn twenty_user_timeouts_behind_a_blocked_device_pass_and_the_loopback_goes_on() {
    let net = Net::new();
    let listener = net.listen().await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let (client, accepted) = tokio::join!(TcpStream::connect_on(&net.left, SERVER), listener.accept());
        let client = client.unwrap();
        client.set_tcp_user_timeout(Some(Duration::from_secs(30))).unwrap();
        streams.push((client, accepted.unwrap()));
    }
    let local = TcpListener::bind_on(&net.left, "127.0.0.1:80").await.unwrap();
    net.trouble.set(Mode::Blocked);
    let start = tokio::time::Instant::now();
    for (client, _) in &mut streams {
        client.write_all(&pattern(100_000)).await.unwrap();
    }
    let (one, other) = tokio::join!(TcpStream::connect_on(&net.left, "127.0.0.1:80"), local.accept());
    let (mut one, mut other) = (one.unwrap(), other.unwrap().0);
    let echo = tokio::spawn(async move {
        let mut buf = vec![0; 2_000_000];
        other.read_exact(&mut buf).await.map(|_| buf)
    });
    within(SOON, one.write_all(&pattern(2_000_000))).await.unwrap();
    assert_eq!(within(SOON, echo).await.unwrap().unwrap(), pattern(2_000_000));
    for (mut client, _) in streams {
        let failed = within(Duration::from_secs(3600), client.read(&mut [0])).await;
        assert_eq!(kind(failed), ErrorKind::TimedOut);
    }
    assert_eq!(start.elapsed().as_secs(), 30);
}
