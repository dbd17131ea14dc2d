//! How a stack ends, and what its sockets learn of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::ErrorKind;
use std::sync::mpsc;
use std::time::Duration;

use common::{Mode, Net, SERVER, kind, settle, within};
use ropeway::net::{TcpListener, TcpSocket, TcpStream};
use ropeway::{Stack, StackEnded};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::runtime::{Runtime, is_rt_shutdown_err};

const SOON: Duration = Duration::from_secs(1);

fn paused() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn closing_goes_on_in_the_background() {
    let net = Net::new();
    let (mut client, mut server) = net.connect().await;
    let trouble = net.trouble.clone();
    drop((net.left, net.right));
    client.write_all(&common::pattern(200_000)).await.unwrap();
    drop(client);
    assert!(!trouble.device_is_dropped());
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    assert_eq!(received.len(), 200_000);
    assert!(!trouble.device_is_dropped(), "the FIN is not answered yet");
    drop(server);
    settle().await;
    // TIME-WAIT is not waited for.
    assert!(trouble.device_is_dropped());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_does_not_keep_a_stack_for_ever() {
    let net = Net::new();
    let (mut client, server) = net.connect().await;
    net.trouble.set(Mode::Cut);
    client.write_all(b"unanswered").await.unwrap();
    drop((client, net.left));
    settle().await;
    assert!(!net.trouble.device_is_dropped());
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(net.trouble.device_is_dropped());
    drop(server);
}

/// The three forms of `SO_LINGER`: without it, with a time, with zero.
#[tokio::test(start_paused = true)]
async fn a_close_that_lingers_waits_for_the_last_acknowledgement() {
    let net = Net::new();
    let (mut client, mut server) = net.connect().await;
    client.write_all(&common::pattern(50_000)).await.unwrap();
    let close = client.close();
    let read = async {
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        received.len()
    };
    let (closed, read) = tokio::join!(close, read);
    assert_eq!((closed.unwrap(), read), ((), 50_000));

    // A peer that does not answer: the time is over, and the rest is sent all the same.
    let (mut client, mut server) = net.connect().await;
    #[expect(deprecated, reason = "as in tokio")]
    client.set_linger(Some(Duration::from_secs(3))).unwrap();
    net.trouble.set(Mode::Cut);
    client.write_all(b"late").await.unwrap();
    let start = tokio::time::Instant::now();
    assert_eq!(kind(client.close().await), ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 3);
    net.trouble.set(Mode::None);
    let mut received = Vec::new();
    server.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"late");

    // The peer has gone: what was written has not arrived, and the caller learns it.
    let (mut client, server) = net.connect().await;
    server.set_zero_linger().unwrap();
    net.trouble.set(Mode::Cut);
    client.write_all(b"lost").await.unwrap();
    settle().await;
    drop(server);
    settle().await;
    net.trouble.set(Mode::None);
    assert_eq!(kind(client.close().await), ErrorKind::ConnectionReset);

    // The peer has closed first, and resets instead of reading.
    let (mut client, mut server) = net.connect().await;
    server.shutdown().await.unwrap();
    settle().await;
    server.set_zero_linger().unwrap();
    client.write_all(&common::pattern(100_000)).await.unwrap();
    let (closed, ()) = tokio::join!(client.close(), async { drop(server) });
    assert_eq!(kind(closed), ErrorKind::ConnectionReset);

    // Zero resets.
    let (client, mut server) = net.connect().await;
    client.set_zero_linger().unwrap();
    client.close().await.unwrap();
    assert_eq!(kind(server.read(&mut [0; 9]).await), ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn a_stack_that_was_never_used_ends_at_once() {
    let net = Net::new();
    drop(net.left);
    settle().await;
    assert!(net.trouble.device_is_dropped());
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_socket_keeps_its_stack() {
    let net = Net::new();
    let (left, trouble) = (net.left, net.trouble);
    let socket = TcpSocket::new_v4_on(&left).unwrap();
    drop(left);
    settle().await;
    socket.bind("10.0.0.1:80".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    settle().await;
    let left = listener.stack().clone();
    let (client, accepted) =
        tokio::join!(TcpStream::connect_on(&net.right, "10.0.0.1:80"), listener.accept());
    drop((left, listener));
    let (read, write) = accepted.unwrap().0.into_split();
    drop(read);
    settle().await;
    assert!(!trouble.device_is_dropped());
    drop((write, client));
    settle().await;
    assert!(trouble.device_is_dropped());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_quiescence() {
    let net = Net::new();
    within(SOON, net.left.closed()).await.unwrap();
    let (client, server) = net.connect().await;
    let left = net.left.clone();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let left = left.clone();
            tokio::spawn(async move { left.closed().await })
        })
        .collect();
    settle().await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    drop(client);
    settle().await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    drop(server);
    for waiting in waiting {
        within(SOON, waiting).await.unwrap().unwrap();
    }
}

/// Everything that can wait for the left stack, all at once.
struct Waiting {
    tasks: Vec<tokio::task::JoinHandle<std::io::Result<()>>>,
    /// Does not wait, but learns of it too.
    idle: TcpStream,
}

impl Waiting {
    async fn new(net: &Net) -> Self {
        let (reading, server) = net.connect().await;
        let (full, full_server) = net.connect().await;
        let (idle, idle_server) = net.connect().await;
        // The right ends stay open, and silent.
        std::mem::forget((server, full_server, idle_server));
        while full.try_write(&[0; 65536]).is_ok() {
            settle().await;
        }
        settle().await;
        let (read, write) = reading.into_split();
        std::mem::forget(write);
        let (full_read, mut full_write) = full.into_split();
        let listener = TcpListener::bind_on(&net.left, "10.0.0.1:99").await.unwrap();
        let (left, other_left) = (net.left.clone(), net.left.clone());
        let mut read = read;
        let tasks = vec![
            tokio::spawn(async move { read.read(&mut [0]).await.map(drop) }),
            tokio::spawn(async move { full_write.write_all(&[0; 1 << 20]).await }),
            tokio::spawn(async move { full_read.as_ref().ready(Interest::READABLE).await.map(drop) }),
            tokio::spawn(async move { full_read_peek(net_stream(&left).await).await }),
            tokio::spawn(async move { listener.accept().await.map(drop) }),
            tokio::spawn(async move { other_left.closed().await }),
            tokio::spawn({
                let left = net.left.clone();
                async move { TcpStream::connect_on(&left, "10.0.0.77:1").await.map(drop) }
            }),
        ];
        settle().await;
        assert!(tasks.iter().all(|task| !task.is_finished()));
        Self { tasks, idle }
    }

    async fn all_fail(self, expected: ErrorKind, text: &str) {
        for task in self.tasks {
            let error = within(SOON, task).await.unwrap().unwrap_err();
            assert_eq!(error.kind(), expected);
            let ended = error.get_ref().unwrap().downcast_ref::<StackEnded>().unwrap();
            assert!(ended.to_string().contains(text), "{ended}");
        }
        everything_fails(self.idle, expected).await;
    }
}

/// A connection that nobody answers.
async fn net_stream(left: &Stack) -> TcpStream {
    TcpStream::connect_on(left, "10.0.0.2:81").await.unwrap()
}

async fn full_read_peek(stream: TcpStream) -> std::io::Result<()> {
    stream.peek(&mut [0]).await.map(drop)
}

/// Whatever is tried on a stack that has ended is answered, at once, with that error.
async fn everything_fails(mut stream: TcpStream, expected: ErrorKind) {
    let stack = stream.stack().clone();
    assert_eq!(kind(within(SOON, stream.read(&mut [0])).await), expected);
    assert_eq!(kind(within(SOON, stream.write(&[0])).await), expected);
    assert_eq!(kind(within(SOON, stream.peek(&mut [0])).await), expected);
    assert_eq!(kind(within(SOON, stream.readable()).await), expected);
    assert_eq!(kind(within(SOON, stream.writable()).await), expected);
    assert_eq!(kind(within(SOON, stream.shutdown()).await), expected);
    assert_eq!(kind(stream.try_read(&mut [0])), expected);
    assert_eq!(kind(stream.try_write(&[0])), expected);
    assert_eq!(kind(stream.take_error()), expected);
    assert_eq!(kind(stream.set_nodelay(true)), expected);
    assert!(stream.local_addr().is_ok() && stream.info().is_ok() && stream.nodelay().is_ok());
    assert_eq!(kind(within(SOON, TcpStream::connect_on(&stack, SERVER)).await), expected);
    assert_eq!(kind(within(SOON, TcpListener::bind_on(&stack, "0.0.0.0:0")).await), expected);
    assert_eq!(kind(within(SOON, stack.closed()).await), expected);
    assert_eq!(kind(stack.set_path_mtu("10.0.0.2".parse().unwrap(), 1400)), expected);
    assert_eq!(kind(stack.raise_mtu(1000)), expected);
    let socket = TcpSocket::new_v4_on(&stack).unwrap();
    assert_eq!(kind(socket.bind("0.0.0.0:0".parse().unwrap())), expected);
    assert!(!format!("{stack:?} {stream:?}").is_empty());
    let _halves = stream.into_split();
}

#[tokio::test(start_paused = true)]
async fn a_device_that_fails() {
    let net = Net::new();
    let _more = TcpListener::bind_on(&net.right, "10.0.0.2:81").await.unwrap();
    let waiting = Waiting::new(&net).await;
    net.trouble.set(Mode::Failed);
    waiting.all_fail(ErrorKind::NetworkDown, "the cable burnt").await;
    assert!(net.trouble.device_is_dropped());
}

#[tokio::test(start_paused = true)]
async fn the_cause_is_the_source() {
    let net = Net::new();
    net.trouble.set(Mode::Failed);
    settle().await;
    let error = net.left.closed().await.unwrap_err();
    assert_eq!(error.to_string(), "the stack's device failed: the cable burnt");
    let ended = error.get_ref().unwrap();
    assert_eq!(ended.source().unwrap().to_string(), "the cable burnt");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_panics() {
    let net = Net::new();
    let _more = TcpListener::bind_on(&net.right, "10.0.0.2:81").await.unwrap();
    let waiting = Waiting::new(&net).await;
    net.trouble.set(Mode::Panics);
    waiting.all_fail(ErrorKind::Other, "panicked").await;
}

#[test]
fn a_runtime_that_shuts_down() {
    // The sockets are waited for in one runtime, and their stack lives in another.
    let (stack_runtime, user_runtime) = (paused(), paused());
    let (net, waiting) = stack_runtime.block_on(async {
        let net = Net::new();
        let _more = TcpListener::bind_on(&net.right, "10.0.0.2:81").await.unwrap();
        let (client, server) = net.connect().await;
        std::mem::forget(server);
        (net, client)
    });
    let (mut client, left) = (waiting, net.left.clone());
    let (started, has_started) = mpsc::channel();
    let user = std::thread::spawn(move || {
        user_runtime.block_on(async move {
            let closed = tokio::spawn(async move { left.closed().await });
            let reader = tokio::spawn(async move {
                let result = client.read(&mut [0]).await;
                (client, result)
            });
            settle().await;
            started.send(()).unwrap();
            let (client, result) = reader.await.unwrap();
            assert!(is_rt_shutdown_err(&result.unwrap_err()));
            assert!(is_rt_shutdown_err(&closed.await.unwrap().unwrap_err()));
            everything_fails(client, ErrorKind::Other).await;
        });
    });
    has_started.recv().unwrap();
    drop(stack_runtime);
    user.join().unwrap();
    assert!(net.trouble.device_is_dropped());
}

#[test]
fn sockets_that_outlive_every_runtime() {
    let runtime = paused();
    let everything = runtime.block_on(async {
        let net = Net::new();
        let (client, server) = net.connect().await;
        let listener = net.listen().await;
        let socket = TcpSocket::new_v4_on(&net.left).unwrap();
        socket.bind("10.0.0.1:7".parse().unwrap()).unwrap();
        (net, client, server.into_split(), listener, socket)
    });
    drop(runtime);
    assert_eq!(kind(everything.1.try_read(&mut [0])), ErrorKind::Other);
    drop(everything);
}

#[test]
fn sockets_that_are_dropped_with_their_tasks() {
    for workers in [1, 4] {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
        runtime.block_on(async {
            let net = Net::new();
            let listener = net.listen().await;
            for _ in 0..20 {
                let left = net.left.clone();
                tokio::spawn(async move {
                    let mut stream = TcpStream::connect_on(&left, SERVER).await.unwrap();
                    stream.read(&mut [0]).await
                });
                let (mut accepted, _) = listener.accept().await.unwrap();
                tokio::spawn(async move { accepted.read(&mut [0]).await });
            }
            std::mem::forget(tokio::spawn(async move { listener.accept().await.map(drop) }));
        });
        // In whichever order the tasks are dropped: no panic, no deadlock.
        drop(runtime);
    }
}

#[test]
fn sockets_in_thread_locals() {
    thread_local! {
        static KEPT: std::cell::RefCell<Option<TcpStream>> = const { std::cell::RefCell::new(None) };
    }
    let runtime = paused();
    let (client, server) = runtime.block_on(async { Net::new().connect().await });
    std::thread::spawn(move || {
        KEPT.with_borrow_mut(|kept| *kept = Some(client));
        // Dropped when the thread ends, after Tokio's own thread locals may be gone.
    })
    .join()
    .unwrap();
    runtime.block_on(async {
        let mut server = server;
        assert_eq!(within(SOON, server.read(&mut [0])).await.unwrap(), 0);
    });
}
