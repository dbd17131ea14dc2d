//! The loopback of the process, which sockets use that name no stack; and that of a runtime whose clock is paused.
//!
//! What holds for the kernel's loopback too is in `parity/runtimes.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::future::Future;
use std::io::ErrorKind;
use std::pin::pin;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::{kind, pattern};
use ropeway::Stack;
use ropeway::net::{TcpListener, TcpSocket, TcpStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::runtime::{Builder, Runtime, is_rt_shutdown_err};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn paused() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// What a future that needs nobody else's help comes to, the first time that it is polled.
fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits"),
    }
}

/// Without a runtime, a task, or a turn of anybody else.
fn pair_at_once() -> (TcpStream, TcpStream) {
    let listener = at_once(TcpListener::bind("127.0.0.1:0")).unwrap();
    let client = at_once(TcpStream::connect(listener.local_addr().unwrap())).unwrap();
    (client, at_once(listener.accept()).unwrap().0)
}

async fn echo_once(client: &mut TcpStream, server: &mut TcpStream) {
    client.write_all(b"echo").await.unwrap();
    let mut buf = [0; 4];
    server.read_exact(&mut buf).await.unwrap();
    server.write_all(&buf).await.unwrap();
    client.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"echo");
}

#[test]
fn what_is_written_is_there_when_the_call_returns() {
    let (client, server) = pair_at_once();
    for round in 0..100 {
        let data = pattern(1 + round * 97);
        assert_eq!(client.try_write(&data).unwrap(), data.len());
        let mut buf = vec![0; 2 * data.len()];
        assert_eq!(server.try_read(&mut buf).unwrap(), data.len());
        assert_eq!(buf[..data.len()], data);
    }
    // So is the end of the stream, and a reset.
    drop(client);
    assert_eq!(server.try_read(&mut [0]).unwrap(), 0);
    let (client, server) = pair_at_once();
    server.set_zero_linger().unwrap();
    drop(server);
    assert_eq!(kind(client.try_read(&mut [0])), ErrorKind::ConnectionReset);
}

#[test]
fn whoever_waits_is_woken_by_the_writer_itself() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (client, server) = pair_at_once();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&count));
    assert!(server.poll_read_ready(&mut Context::from_waker(&waker)).is_pending());
    client.try_write(b"x").unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 1);
}

/// Wakers are called without a lock.
#[test]
fn a_waker_may_use_the_sockets() {
    struct Answers(Mutex<Vec<u8>>, TcpStream);
    impl Wake for Answers {
        fn wake(self: Arc<Self>) {
            let mut buf = [0; 16];
            let len = self.1.try_read(&mut buf).unwrap();
            self.0.lock().unwrap().extend_from_slice(&buf[..len]);
            self.1.try_write(&buf[..len]).unwrap();
        }
    }
    let (mut client, server) = pair_at_once();
    let answers = Arc::new(Answers(Mutex::default(), server));
    let waker = Waker::from(Arc::clone(&answers));
    assert!(answers.1.poll_read_ready(&mut Context::from_waker(&waker)).is_pending());
    client.try_write(b"inline").unwrap();
    assert_eq!(*answers.0.lock().unwrap(), b"inline");
    let mut buf = [0; 6];
    at_once(client.read_exact(&mut buf)).unwrap();
    assert_eq!(&buf, b"inline");
}

/// More than a window: writer and reader take turns, and each one's call moves what has become possible.
#[test]
fn two_hands_that_take_turns_move_any_amount() {
    let (client, mut server) = pair_at_once();
    let data = pattern(30_000_000);
    let (mut written, mut received) = (0, Vec::new());
    let mut buf = vec![0; 100_000];
    while received.len() < data.len() {
        while written < data.len() {
            match client.try_write(&data[written..]) {
                Ok(len) => written += len,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        let before = received.len();
        loop {
            let mut read = ReadBuf::new(&mut buf);
            let cx = &mut Context::from_waker(Waker::noop());
            match pin!(&mut server).poll_read(cx, &mut read) {
                Poll::Ready(result) => result.unwrap(),
                Poll::Pending => break,
            }
            received.extend_from_slice(read.filled());
        }
        assert!(received.len() > before, "nobody can go on");
    }
    assert!(received == data);
}

/// Nagle's algorithm and delayed acknowledgements do not wait for each other: a reader that wants more says so.
#[test]
fn many_small_writes_and_a_reader_that_waits_for_all_of_them() {
    let (client, mut server) = pair_at_once();
    for round in 0..50 {
        for byte in 0..10 {
            assert_eq!(client.try_write(&[byte]).unwrap(), 1);
        }
        let mut buf = [0; 10];
        let mut read = pin!(server.read_exact(&mut buf));
        // It takes a poll for each segment, and no time.
        let cx = &mut Context::from_waker(Waker::noop());
        let done = (0..10).any(|_| read.as_mut().poll(cx).is_ready());
        assert!(done, "round {round} waits for a timer");
        // An answer, so that acknowledgements are delayed from now on.
        assert_eq!(server.try_write(b"!").unwrap(), 1);
        assert_eq!(client.try_read(&mut [0; 4]).unwrap(), 1);
    }
}

/// Timers go off although nobody calls: `TCP_CORK` lets go after 200 ms.
#[test]
fn what_waits_for_a_timer_comes_without_another_call() {
    let runtime = runtime();
    let (client, mut server) = pair_at_once();
    client.set_tcp_cork(true).unwrap();
    client.try_write(b"corked").unwrap();
    assert_eq!(kind(server.try_read(&mut [0])), ErrorKind::WouldBlock);
    let mut buf = [0; 6];
    runtime.block_on(server.read_exact(&mut buf)).unwrap();
    assert_eq!(&buf, b"corked");
}

#[test]
fn it_is_one_for_all_runtimes() {
    let (one, two) = (runtime(), runtime());
    let listener = one.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap();
    assert_eq!(kind(two.block_on(TcpListener::bind(addr))), ErrorKind::AddrInUse);
    let client = two.block_on(TcpStream::connect(addr)).unwrap();
    assert_eq!(client.stack(), listener.stack());
    // It is named where it is used, and nowhere else.
    assert!(Stack::current().is_none());
    assert!(one.block_on(async { Stack::current() }).unwrap() == *listener.stack());
    assert!(runtime().block_on(async { Stack::current() }).is_none());
    // A stack of one's own is isolated from it.
    two.block_on(async {
        let own = Stack::loopback().unwrap();
        let own_listener = own.scope(TcpListener::bind(addr)).await.unwrap();
        assert_ne!(own_listener.stack(), listener.stack());
    });
    drop((one, two));
    assert!(at_once(TcpStream::connect(addr)).is_ok(), "it outlives every runtime");
}

#[test]
fn a_socket_that_was_made_outside_is_at_home_everywhere() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    let listener = socket.listen(8).unwrap();
    for runtime in [runtime(), runtime()] {
        runtime.block_on(async {
            let (client, accepted) = tokio::join!(TcpStream::connect(addr), listener.accept());
            echo_once(&mut client.unwrap(), &mut accepted.unwrap().0).await;
        });
    }
    let (mut client, mut server) = pair_at_once();
    // One that has neither timers nor I/O, too.
    for runtime in [runtime(), Builder::new_current_thread().build().unwrap()] {
        runtime.block_on(echo_once(&mut client, &mut server));
        runtime.block_on(TcpStream::connect(addr)).unwrap();
    }
}

/// It belongs to everybody, so one cannot end it for the others.
#[test]
fn it_is_not_shut_down() {
    let runtime = runtime();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shutdown = listener.stack().shutdown(Duration::from_secs(1)).await;
        assert_eq!(kind(shutdown), ErrorKind::Unsupported);
        TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    });
}

#[test]
fn a_paused_runtime_has_its_own() {
    let (one, two, machine) = (paused(), paused(), runtime());
    // A port of its own each, although it is the same.
    let bind = || TcpListener::bind("127.0.0.1:7007");
    let (first, second) = (one.block_on(bind()).unwrap(), two.block_on(bind()).unwrap());
    let third = machine.block_on(bind()).unwrap();
    assert!(first.stack() != second.stack() && second.stack() != third.stack());
    {
        let _one = one.enter();
        assert_eq!(Stack::current().unwrap(), *first.stack());
    }
    // An hour passes there, and nowhere else.
    let start = std::time::Instant::now();
    let (mut client, mut server) = machine.block_on(async {
        let (client, accepted) = tokio::join!(TcpStream::connect("127.0.0.1:7007"), third.accept());
        (client.unwrap(), accepted.unwrap().0)
    });
    one.block_on(async {
        let (client, accepted) = tokio::join!(TcpStream::connect("127.0.0.1:7007"), first.accept());
        let (mut client, mut server) = (client.unwrap(), accepted.unwrap().0);
        client.set_tcp_user_timeout(Some(Duration::from_secs(1800))).unwrap();
        while client.try_write(&[0; 65536]).is_ok() {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(kind(client.write_all(&[0]).await), ErrorKind::TimedOut);
        assert!(server.read(&mut [0]).await.is_ok());
    });
    machine.block_on(echo_once(&mut client, &mut server));
    assert!(start.elapsed() < Duration::from_secs(1800));
    // With its runtime it ends, and is forgotten.
    let stack = first.stack().clone();
    drop(one);
    let error = machine.block_on(first.accept()).unwrap_err();
    assert!(is_rt_shutdown_err(&error), "{error:?}");
    assert!(format!("{stack:?}").contains("ended: true"), "{stack:?}");
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_goes_on_again_keeps_its_own() {
    let listener = TcpListener::bind("127.0.0.1:7008").await.unwrap();
    tokio::time::resume();
    let client = TcpStream::connect("127.0.0.1:7008").await.unwrap();
    assert_eq!(client.stack(), listener.stack());
    assert!(std::thread::spawn(|| at_once(TcpStream::connect("127.0.0.1:7008"))).join().unwrap().is_err());
}

/// A clock that has been paused and advanced is ahead of the machine's for ever, and yet not paused.
#[tokio::test]
async fn a_clock_that_is_ahead_is_not_paused() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(10)).await;
    tokio::time::resume();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    assert!(std::thread::spawn(move || at_once(TcpStream::connect(addr))).join().unwrap().is_ok());
}

mod warnings {
    //! What is logged in this thread.

    use std::cell::Cell;
    use tracing::{Event, Level, Metadata, Subscriber, span};

    thread_local! {
        pub(super) static COUNT: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) struct Warnings;

    impl Subscriber for Warnings {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= Level::WARN
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, _: &Event<'_>) {
            COUNT.set(COUNT.get() + 1);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }
}

/// What was made before goes on to work, as the kernel's would; and it is said, once.
#[tokio::test]
async fn a_clock_that_is_paused_too_late() {
    let _subscriber = tracing::subscriber::set_default(warnings::Warnings);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::task::yield_now().await;
    assert_eq!(warnings::COUNT.get(), 0);
    tokio::time::pause();
    for _ in 0..3 {
        let (client, accepted) = tokio::join!(TcpStream::connect(addr), listener.accept());
        let (mut client, mut server) = (client.unwrap(), accepted.unwrap().0);
        let server = tokio::spawn(async move {
            let mut buf = [0; 4];
            server.read_exact(&mut buf).await.unwrap();
            server.write_all(&buf).await.unwrap();
        });
        client.write_all(b"late").await.unwrap();
        let mut buf = [0; 4];
        client.read_exact(&mut buf).await.unwrap();
        server.await.unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
    }
    assert_eq!(warnings::COUNT.get(), 1);
}

/// Run by the test below, in a process of its own.
#[test]
#[ignore = "it ends the process"]
fn a_process_that_exits() {
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let open = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (mut client, server) = (client.unwrap(), accepted.unwrap().0);
        while client.try_write(&[0; 65536]).is_ok() {}
        tokio::spawn(async move { client.write_all(&[0]).await });
        (listener, server)
    });
    println!("as far as this");
    match std::env::var("ROPEWAY_EXIT").as_deref() {
        Ok("exit") => std::process::exit(0),
        Ok("forget") => std::mem::forget((runtime, open)),
        _ => drop((runtime, open)),
    }
}

#[test]
fn open_sockets_do_not_keep_a_process() {
    for how in ["exit", "forget", "drop"] {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "a_process_that_exits", "--nocapture"])
            .env("ROPEWAY_EXIT", how)
            .output()
            .unwrap();
        assert!(output.status.success(), "{how}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("as far as this"), "{how}: {output:?}");
    }
}

/// A server for all, and clients whose runtimes come, and go at any moment.
#[test]
fn runtimes_that_come_and_go_do_not_trouble_a_server() {
    let server = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let listener = server.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap();
    server.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    let ping = move || async move {
        let (mut read, mut write) = TcpStream::connect(addr).await.unwrap().into_split();
        let data = pattern(200_000);
        let sent = data.clone();
        let writer = tokio::spawn(async move { write.write_all(&sent).await });
        let mut back = vec![0; data.len()];
        read.read_exact(&mut back).await.unwrap();
        writer.await.unwrap().unwrap();
        assert!(back == data);
    };
    let clients: Vec<_> = (0..6)
        .map(|number| {
            std::thread::spawn(move || {
                for round in 0..10 {
                    let runtime = if number % 2 == 0 {
                        runtime()
                    } else {
                        Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
                    };
                    // Some are still at it when their runtime goes.
                    let left = runtime.spawn(ping());
                    runtime.block_on(ping());
                    if round % 3 == 0 {
                        runtime.block_on(left).unwrap();
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    server.block_on(ping());
}

#[test]
fn a_socket_in_a_thread_local_is_closed_with_its_thread() {
    thread_local! {
        static KEPT: std::cell::RefCell<Option<TcpStream>> = const { std::cell::RefCell::new(None) };
    }
    let (client, server) = pair_at_once();
    std::thread::spawn(move || KEPT.set(Some(client))).join().unwrap();
    assert_eq!(server.try_read(&mut [0]).unwrap(), 0);
}

/// A thread of its own for each end, and no runtime at all.
#[test]
fn two_threads_without_a_runtime() {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    fn block_on<F: Future>(future: F) -> F::Output {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => std::thread::park(),
            }
        }
    }
    let (tell, told) = mpsc::channel();
    let server = std::thread::spawn(move || {
        block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).await.unwrap();
            received
        })
    });
    let addr = told.recv().unwrap();
    let data = pattern(5_000_000);
    block_on(async {
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(&data).await.unwrap();
        client.close().await.unwrap();
    });
    assert!(server.join().unwrap() == data);
}
