//! What peers learn when a runtime ends with a stack on it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::io::{self, ErrorKind};
use std::time::Duration;

use common::{Mode, SERVER, Trouble, Troubled, builder, kind, pattern, within};
use ropeway::device::channel::channel_with_capacity;
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
            stream.set_send_buffer_size(1 << 20).unwrap();
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
