//! Sockets and the runtimes that they are made and used in.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime, is_rt_shutdown_err};

use super::common::{errno, pair, pair_through};
use super::net::{TcpListener, TcpSocket, TcpStream};

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Goes on by itself, whoever else waits.
fn multi_thread() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Sends back what comes, until that ends.
async fn echo(mut stream: TcpStream) {
    let (mut read, mut write) = stream.split();
    tokio::io::copy(&mut read, &mut write).await.unwrap();
}

/// Writes, and reads it back.
async fn ping(stream: &mut TcpStream, data: &[u8]) {
    stream.write_all(data).await.unwrap();
    let mut back = vec![0; data.len()];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(back, data);
}

/// An executor that is not Tokio's.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// A server that takes so many connections, on a thread and a runtime of its own.
fn server(runtime: Runtime, connections: usize) -> (SocketAddr, JoinHandle<()>) {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let mut served = Vec::new();
            for _ in 0..connections {
                let (stream, _) = listener.accept().await.unwrap();
                served.push(tokio::spawn(echo(stream)));
            }
            for served in served {
                served.await.unwrap();
            }
        });
    });
    (told.recv().unwrap(), thread)
}

#[test]
fn a_server_on_a_thread_of_its_own_is_reached() {
    for (at_server, at_client) in [
        (current_thread(), current_thread()),
        (current_thread(), multi_thread()),
        (multi_thread(), current_thread()),
    ] {
        let (addr, server) = server(at_server, 3);
        at_client.block_on(async {
            let clients = [1, 1000, 300_000].map(|len| {
                tokio::spawn(async move {
                    let (mut read, mut write) = TcpStream::connect(addr).await.unwrap().into_split();
                    let data = vec![7; len];
                    let writer = tokio::spawn(async move { write.write_all(&data).await });
                    let mut back = Vec::new();
                    read.read_to_end(&mut back).await.unwrap();
                    writer.await.unwrap().unwrap();
                    assert_eq!(back.len(), len);
                })
            });
            for client in clients {
                client.await.unwrap();
            }
        });
        server.join().unwrap();
    }
}

#[test]
fn a_blocking_client_has_a_runtime_of_its_own() {
    struct Client(Runtime, TcpStream);
    impl Client {
        fn connect(addr: SocketAddr) -> Self {
            let runtime = current_thread();
            let stream = runtime.block_on(TcpStream::connect(addr)).unwrap();
            Self(runtime, stream)
        }
        fn ping(&mut self, data: &[u8]) {
            self.0.block_on(ping(&mut self.1, data));
        }
    }
    let (addr, server) = server(current_thread(), 2);
    let (mut one, mut two) = (Client::connect(addr), Client::connect(addr));
    for round in 0..100 {
        one.ping(&[round; 10]);
        two.ping(&[round; 10_000]);
    }
    drop((one, two));
    server.join().unwrap();
}

/// Nothing depends on the runtime that was there first.
#[test]
fn a_runtime_that_goes_takes_only_its_own_sockets() {
    let (first, second) = (multi_thread(), multi_thread());
    let listener = first.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let addr = listener.local_addr().unwrap();
    // One end in either; and both ends in the second, although the listener is the first's.
    let mut left = second.block_on(TcpStream::connect(addr)).unwrap();
    let server = first.block_on(listener.accept()).unwrap().0;
    first.spawn(echo(server));
    second.block_on(ping(&mut left, b"before"));
    let (mut client, mut server) = second.block_on(pair_through(&listener));
    let (mut other, other_server) = second.block_on(pair());

    drop(first);
    second.block_on(async {
        assert_eq!(left.read(&mut [0]).await.unwrap(), 0);
        client.write_all(b"after").await.unwrap();
        let mut buf = [0; 5];
        server.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"after");
        tokio::spawn(echo(other_server));
        ping(&mut other, b"after").await;
        drop(listener);
        assert_eq!(errno(TcpStream::connect(addr).await), libc::ECONNREFUSED);
        TcpListener::bind(addr).await.unwrap();
    });
}

#[test]
fn a_socket_that_moves_to_another_runtime() {
    let (one, two) = (multi_thread(), current_thread());
    let (mut client, server, socket) = one.block_on(async {
        let (client, server) = pair().await;
        (client, server, TcpSocket::new_v4().unwrap())
    });
    two.block_on(async {
        let server = tokio::spawn(echo(server));
        ping(&mut client, &[1; 100_000]).await;
        client.shutdown().await.unwrap();
        server.await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        pair_through(&socket.listen(1).unwrap()).await;
    });
}

#[test]
fn any_executor_will_do() {
    let runtime = multi_thread();
    let (mut client, mut server) = runtime.block_on(pair());
    let echo = thread::spawn(move || {
        block_on(async {
            let mut buf = [0; 4];
            server.read_exact(&mut buf).await.unwrap();
            server.write_all(&buf).await.unwrap();
        });
    });
    block_on(ping(&mut client, b"echo"));
    echo.join().unwrap();
}

/// The example in Tokio's documentation.
#[test]
fn a_listener_whose_runtime_is_gone() {
    let (one, two) = (current_thread(), current_thread());
    let listener = one.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    drop(one);
    let error = two.block_on(listener.accept()).unwrap_err();
    assert!(is_rt_shutdown_err(&error), "{error:?}");
    let error = block_on(listener.accept()).unwrap_err();
    assert!(is_rt_shutdown_err(&error), "{error:?}");
}

#[test]
fn a_stream_whose_runtime_is_gone() {
    let (one, two) = (current_thread(), current_thread());
    let (mut client, server) = one.block_on(pair());
    drop(one);
    two.block_on(async {
        let gone = |error| assert!(is_rt_shutdown_err(&error), "{error:?}");
        gone(client.read(&mut [0]).await.unwrap_err());
        gone(client.write(&[0]).await.unwrap_err());
        gone(client.peek(&mut [0]).await.unwrap_err());
        gone(client.readable().await.unwrap_err());
        gone(client.writable().await.unwrap_err());
        let (mut read, mut write) = server.into_split();
        gone(read.read(&mut [0]).await.unwrap_err());
        gone(write.write(&[0]).await.unwrap_err());
    });
}

#[test]
fn whoever_waits_learns_that_the_runtime_is_gone() {
    let (one, two) = (multi_thread(), multi_thread());
    let (listener, mut client, server) = one.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, server) = pair_through(&listener).await;
        (listener, client, server)
    });
    let (mut kept, mut kept_server) = two.block_on(pair());
    let accepts = two.spawn(async move { listener.accept().await.map(drop) });
    let reads = two.spawn(async move { client.read(&mut [0]).await.map(drop) });
    let reads_on = two.spawn(async move { kept.read(&mut [0]).await });
    two.block_on(super::common::settle());
    drop(one);
    for waits in [accepts, reads] {
        let error = two.block_on(waits).unwrap().unwrap_err();
        assert!(is_rt_shutdown_err(&error), "{error:?}");
    }
    two.block_on(async {
        kept_server.write_all(b"x").await.unwrap();
        assert_eq!(reads_on.await.unwrap().unwrap(), 1);
    });
    drop(server);
}
