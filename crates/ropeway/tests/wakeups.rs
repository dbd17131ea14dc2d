//! Lost wakeups, which are what a stack with wakers gets wrong first: many tasks on many threads, and nobody
//! is left asleep.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use common::{Net, SERVER, pattern, within};
use ropeway::net::{TcpListener, TcpStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Interest, ReadBuf};

/// Whoever is asleep for so long has missed a wakeup. It is real time here, and never used up.
const LIMIT: Duration = Duration::from_secs(60);

/// How a task may wait.
#[derive(Clone, Copy)]
enum Style {
    /// `AsyncRead` and `AsyncWrite`.
    Poll,
    /// `ready`, then `try_read` and `try_write`.
    Try,
    /// `read_bytes`.
    Bytes,
}

async fn read_all(stream: &TcpStream, len: usize, style: Style) -> Vec<u8> {
    let mut received = Vec::with_capacity(len);
    let mut buf = vec![0; 3001];
    while received.len() < len {
        match style {
            Style::Poll => {
                poll_fn(|cx| stream.poll_read_ready(cx)).await.unwrap();
                if let Ok(len) = stream.try_read(&mut buf) {
                    received.extend_from_slice(&buf[..len]);
                }
            }
            Style::Try => {
                let ready = stream.ready(Interest::READABLE | Interest::ERROR).await.unwrap();
                assert!(ready.is_readable());
                match stream.try_read(&mut buf) {
                    Ok(len) => received.extend_from_slice(&buf[..len]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            Style::Bytes => received.extend_from_slice(&stream.read_bytes(997).await.unwrap()),
        }
    }
    received
}

async fn write_all(stream: &TcpStream, mut data: &[u8]) {
    while !data.is_empty() {
        stream.writable().await.unwrap();
        match stream.try_write(&data[..data.len().min(4001)]) {
            Ok(len) => data = &data[len..],
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
}

/// Small buffers, so that everyone has to wait for everyone all the time.
fn narrow(packets: usize) -> Net {
    Net::with(
        |config| {
            config.socket.recv_buffer = 5000;
            config.socket.send_buffer = 3000;
        },
        packets,
    )
}

async fn crowd(net: &Net, connections: usize, len: usize) {
    let listener = Arc::new(net.listen().await);
    let styles = [Style::Poll, Style::Try, Style::Bytes];
    let mut tasks = Vec::new();
    for number in 0..connections {
        let (left, style) = (net.left.clone(), styles[number % 3]);
        tasks.push(tokio::spawn(async move {
            let stream = Arc::new(TcpStream::connect_on(&left, SERVER).await.unwrap());
            let reader = Arc::clone(&stream);
            let reader = tokio::spawn(async move { read_all(&reader, len, style).await });
            write_all(&stream, &pattern(len)).await;
            assert!(reader.await.unwrap() == pattern(len));
        }));
        let listener = Arc::clone(&listener);
        tasks.push(tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            let writer = tokio::spawn(async move { write.write_all(&pattern(len)).await });
            assert!(read_all(read.as_ref(), len, style).await == pattern(len));
            writer.await.unwrap().unwrap();
        }));
    }
    for task in tasks {
        within(LIMIT, task).await.unwrap();
    }
    within(LIMIT, net.left.closed()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_on_four_threads() {
    crowd(&narrow(1024), 30, 40_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_on_a_cable_for_one_packet() {
    crowd(&narrow(1), 10, 20_000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_byte_to_and_fro() {
    let net = Net::new();
    let (mut client, mut server) = net.connect().await;
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let echo = tokio::spawn(async move {
        let mut byte = [0];
        while server.read(&mut byte).await.unwrap() == 1 {
            server.write_all(&byte).await.unwrap();
        }
    });
    for round in 0..3000u32 {
        let sent = [round.to_le_bytes()[0]];
        client.write_all(&sent).await.unwrap();
        let mut byte = [0];
        within(LIMIT, client.read_exact(&mut byte)).await.unwrap();
        assert_eq!(byte, sent);
    }
    drop(client);
    within(LIMIT, echo).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_readers_of_one_stream() {
    let net = Net::new();
    let (mut client, server) = net.connect().await;
    let server = Arc::new(server);
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                let mut read = 0;
                loop {
                    match within(LIMIT, server.read_bytes(100)).await.unwrap().len() {
                        0 => return read,
                        len => read += len,
                    }
                }
            })
        })
        .collect();
    for _ in 0..500 {
        client.write_all(&[7; 100]).await.unwrap();
        tokio::task::yield_now().await;
    }
    client.shutdown().await.unwrap();
    let mut read = 0;
    for reader in readers {
        read += within(LIMIT, reader).await.unwrap();
    }
    assert_eq!(read, 50_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_acceptors_and_many_connectors() {
    let net = Net::new();
    let listener = Arc::new(net.listen().await);
    let acceptors: Vec<_> = (0..50)
        .map(|_| {
            let listener = Arc::clone(&listener);
            tokio::spawn(async move { within(LIMIT, listener.accept()).await.unwrap().0 })
        })
        .collect();
    let connectors: Vec<_> = (0..50)
        .map(|_| {
            let left = net.left.clone();
            tokio::spawn(async move { within(LIMIT, TcpStream::connect_on(&left, SERVER)).await.unwrap() })
        })
        .collect();
    for task in acceptors.into_iter().chain(connectors) {
        drop(within(LIMIT, task).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_that_changes_tasks() {
    let net = Net::new();
    let (mut client, mut server) = net.connect().await;
    let writer = tokio::spawn(async move {
        for byte in 0..200u8 {
            client.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        client
    });
    for expected in 0..200u8 {
        // Each byte is read by a task of its own, after another one has polled and given up.
        poll_fn(|cx| {
            let mut none = ReadBuf::new(&mut []);
            let _polled = Pin::new(&mut server).poll_read(cx, &mut none);
            std::task::Poll::Ready(())
        })
        .await;
        server = within(
            LIMIT,
            tokio::spawn(async move {
                let mut byte = [0];
                server.read_exact(&mut byte).await.unwrap();
                assert_eq!(byte, [expected]);
                server
            }),
        )
        .await
        .unwrap();
    }
    drop(writer.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn loopback_on_four_threads() {
    let stack = ropeway::Stack::loopback().unwrap();
    let listener = TcpListener::bind_on(&stack, "127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let stack = stack.clone();
        tasks.push(tokio::spawn(async move {
            let stream = TcpStream::connect_on(&stack, addr).await.unwrap();
            write_all(&stream, &pattern(300_000)).await;
            assert!(read_all(&stream, 300_000, Style::Try).await == pattern(300_000));
        }));
        let (stream, _) = within(LIMIT, listener.accept()).await.unwrap();
        tasks.push(tokio::spawn(async move {
            let received = read_all(&stream, 300_000, Style::Bytes).await;
            write_all(&stream, &received).await;
        }));
    }
    for task in tasks {
        within(LIMIT, task).await.unwrap();
    }
}

/// Writes to a stream from within `wake`.
struct Writes {
    stream: Arc<TcpStream>,
}

impl Wake for Writes {
    fn wake(self: Arc<Self>) {
        assert_eq!(self.stream.try_write(b"at once").unwrap(), 7);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_from_within_a_wakeup_wakes_the_driver() {
    // The driver is about to sleep when it wakes the others. What they give it to do is not forgotten.
    let net = Net::new();
    let (mut client, server) = net.connect().await;
    let server = Arc::new(server);
    let waker = Waker::from(Arc::new(Writes { stream: Arc::clone(&server) }));
    assert!(server.poll_read_ready(&mut Context::from_waker(&waker)).is_pending());
    client.write_all(b"wake up").await.unwrap();
    let mut answer = [0; 7];
    // Sooner than the acknowledgement, which would wake the driver too.
    within(Duration::from_millis(10), client.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"at once");
}

/// Holds a stream, as a task does, and drops it when it is woken or dropped.
struct Holds {
    _stream: TcpStream,
}

impl Wake for Holds {
    fn wake(self: Arc<Self>) {}
}

#[tokio::test(start_paused = true)]
async fn wakers_that_drop_streams_of_their_own() {
    let net = Net::new();
    let (mut client, server) = net.connect().await;
    let mut peers = Vec::new();
    let mut holder = async || {
        let (stream, peer) = net.connect().await;
        peers.push(peer);
        Waker::from(Arc::new(Holds { _stream: stream }))
    };
    // One is replaced, one is dropped with its future, one is woken, one is dropped with the stream.
    for _ in 0..2 {
        let waker = holder().await;
        assert!(server.poll_read_ready(&mut Context::from_waker(&waker)).is_pending());
    }
    {
        let waker = holder().await;
        let readable = pin!(server.readable());
        assert!(readable.poll(&mut Context::from_waker(&waker)).is_pending());
    }
    client.write_all(b"x").await.unwrap();
    server.readable().await.unwrap();
    server.try_read(&mut [0]).unwrap();
    let waker = holder().await;
    assert!(server.poll_read_ready(&mut Context::from_waker(&waker)).is_pending());
    drop((waker, server));
    for mut peer in peers {
        assert_eq!(within(Duration::from_secs(1), peer.read(&mut [0])).await.unwrap(), 0);
    }
}

#[test]
fn a_driver_that_ends_wakes_wakers_that_drop_streams() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(async {
        let net = Net::new();
        let (stream, _peer) = net.connect().await;
        let (other, _other_peer) = net.connect().await;
        let waker = Waker::from(Arc::new(Holds { _stream: other }));
        assert!(stream.poll_read_ready(&mut Context::from_waker(&waker)).is_pending());
        stream
    });
    drop(runtime);
    assert_eq!(stream.try_read(&mut [0]).unwrap_err().kind(), ErrorKind::Other);
}

/// Each task that waits is counted, and nobody is when the sockets are gone.
#[tokio::test(start_paused = true)]
async fn tasks_that_wait_count_as_memory_until_their_sockets_are_closed() {
    const CONNECTIONS: usize = 500;
    let stack = ropeway::Stack::loopback().unwrap();
    let listener = TcpListener::bind_on(&stack, "127.0.0.1:80").await.unwrap();
    let mut pairs = Vec::new();
    for _ in 0..CONNECTIONS {
        let client = TcpStream::connect_on(&stack, "127.0.0.1:80").await.unwrap();
        pairs.push((client, listener.accept().await.unwrap().0));
    }
    let before = stack.memory();
    let mut waits: Vec<_> = pairs.iter().map(|(_, server)| Box::pin(server.readable())).collect();
    for wait in &mut waits {
        assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    let after = stack.memory();
    assert!(after.records >= before.records + CONNECTIONS * 64, "{before:?} and {after:?}");
    assert!(after.total() <= before.total() + CONNECTIONS * 400, "{before:?} and {after:?}");
    // A thousand futures may wait for one socket.
    let mut more: Vec<_> = (0..1000).map(|_| Box::pin(pairs[0].0.readable())).collect();
    for wait in &mut more {
        assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert!(stack.memory().records >= after.records + 32_000);
    drop((waits, more));
    drop((pairs, listener));
    stack.closed().await.unwrap();
    let records = stack.memory().records;
    assert!(records < 32 * 1024, "{records} bytes are left");
}

/// What an application answers at once takes the acknowledgement along: that of the request, and that of the FIN.
#[tokio::test(start_paused = true)]
async fn a_connection_for_a_request_and_its_answer_is_eight_packets() {
    let net = Net::new();
    let listener = net.listen().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // As servers do, in a task of its own.
        let echo = tokio::spawn(async move {
            let mut byte = [0];
            while stream.read(&mut byte).await.unwrap() == 1 {
                stream.write_all(&byte).await.unwrap();
            }
        });
        echo.await.unwrap();
    });
    let left = net.left.clone();
    let client = tokio::spawn(async move {
        let mut client = TcpStream::connect_on(&left, SERVER).await.unwrap();
        client.write_all(b"?").await.unwrap();
        client.read_exact(&mut [0]).await.unwrap();
    });
    client.await.unwrap();
    server.await.unwrap();
    net.expect_empty().await;
    assert_eq!((net.left.counters().sent, net.right.counters().sent), (5, 3));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_an_error_alone_hears_of_a_reset() {
    let (client, server) = Net::new().connect().await;
    let waits = tokio::spawn(async move {
        let ready = client.ready(Interest::ERROR).await.unwrap();
        (ready.is_error(), client.take_error().unwrap().map(|error| error.kind()))
    });
    tokio::task::yield_now().await;
    server.set_zero_linger().unwrap();
    drop(server);
    let told = within(Duration::from_secs(1), waits).await.unwrap();
    assert_eq!(told, (true, Some(ErrorKind::ConnectionReset)));
}
