//! Which host code belongs to.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::Cell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use ropeway::Stack;
use ropeway::net::{TcpListener, TcpStream};
use ropeway_sim::{Link, Net};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout};

/// A service written for tokio: a task for each connection, which connects onwards.
async fn proxy(port: u16, target: &'static str) -> std::io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    loop {
        let (mut inbound, _) = listener.accept().await?;
        tokio::spawn(async move {
            let mut outbound = TcpStream::connect(target).await?;
            copy_bidirectional(&mut inbound, &mut outbound).await
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_connects_from_its_own_host() {
    let net = Net::new();
    net.add_host("proxy").build().spawn(proxy(8080, "server:80"));
    let (proxy, client) = (net.host("proxy"), net.add_host("client").build());
    let server = net.add_host("server").build().spawn(async {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        let mut peers = Vec::new();
        for _ in 0..3 {
            let (mut stream, peer) = listener.accept().await.unwrap();
            stream.write_all(b"hello").await.unwrap();
            peers.push(peer.ip());
        }
        peers
    });
    client
        .run(async {
            let mut clients = JoinSet::new();
            for _ in 0..3 {
                clients.spawn(async {
                    let mut said = String::new();
                    TcpStream::connect("proxy:8080").await.unwrap().read_to_string(&mut said).await.unwrap();
                    said
                });
            }
            assert!(clients.join_all().await.iter().all(|said| said == "hello"));
        })
        .await;
    assert_eq!(server.await.unwrap(), [proxy.ip(); 3]);
}

#[tokio::test(start_paused = true)]
async fn children_are_told_apart() {
    let net = Net::new();
    let hosts: Vec<_> = (0..20).map(|number| net.add_host(&format!("h{number}")).build()).collect();
    let mut tasks = Vec::new();
    for host in &hosts {
        let name = host.name().to_owned();
        tasks.push(host.spawn(async move {
            // Polls of many hosts alternate, and so do the children that they spawn.
            for round in 0..10 {
                let name = name.clone();
                let child = tokio::spawn(async move {
                    sleep(Duration::from_micros(round * 7)).await;
                    (name, Stack::current().unwrap())
                });
                sleep(Duration::from_millis(1)).await;
                let (name, stack) = child.await.unwrap();
                assert_eq!(stack, Stack::current().unwrap(), "{name}");
            }
        }));
        // A task of nobody's in between.
        let stranger = tokio::spawn(async { Stack::current().is_none() });
        assert!(stranger.await.unwrap());
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_host_inside_another() {
    let net = Net::new();
    let [outer, inner] = net.add_hosts(["outer", "inner"]);
    let [a, b, c] = outer
        .run(async {
            let stack = || async { Stack::current().unwrap() };
            let a = tokio::spawn(stack());
            let b = inner.run(async move { tokio::spawn(stack()).await.unwrap() }).await;
            let c = tokio::spawn(stack());
            [a.await.unwrap(), b, c.await.unwrap()]
        })
        .await;
    assert_eq!([a, b, c], [outer.stack(), inner.stack(), outer.stack()]);
}

#[tokio::test(start_paused = true)]
async fn code_of_no_host_is_told_so() {
    let net = Net::new();
    for error in [
        TcpStream::connect("127.0.0.1:1").await.unwrap_err(),
        TcpListener::bind("0.0.0.0:80").await.unwrap_err(),
        tokio::spawn(TcpStream::connect("a:1")).await.unwrap().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        let text = error.to_string();
        assert!(text.contains("Host::run") && text.contains("ropeway_sim::spawn"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
    // A task that a task has spawned is nobody's: better told so than guessed.
    let host = net.add_host("a").build();
    let grandchild = host.run(async {
        let child = tokio::spawn(async { tokio::spawn(TcpListener::bind("0.0.0.0:80")).await.unwrap() });
        child.await.unwrap()
    });
    assert_eq!(grandchild.await.unwrap_err().kind(), ErrorKind::NotConnected);
    // `ropeway_sim::spawn` goes on to any depth.
    let grandchild = host.run(async {
        let child = tokio::spawn(async {
            let grandchild = ropeway_sim::spawn(async {
                let great = ropeway_sim::spawn(TcpListener::bind("0.0.0.0:80"));
                great.await.unwrap()
            });
            grandchild.await.unwrap()
        });
        child.await.unwrap()
    });
    assert_eq!(grandchild.await.unwrap().stack(), &host.stack());
}

#[tokio::test(start_paused = true)]
async fn streams_know_their_host_wherever_they_are_used() {
    let net = Net::new();
    let listener = net.add_host("server").build().run(TcpListener::bind("0.0.0.0:80")).await.unwrap();
    // Accepted by a task of no host, and handed to another.
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move { stream.write_all(b"hello").await }).await.unwrap()
    });
    let mut stream = net.add_host("client").build().run(TcpStream::connect("server:80")).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "hello");
    server.await.unwrap().unwrap();
}

/// A service and a client that keep their state in an `Rc`.
async fn on_one_thread() {
    let net = Net::builder().default_link(Link::new().delay(Duration::from_micros(2_500))).build();
    let [server, client] = net.add_hosts(["server", "client"]);
    let served = Rc::new(Cell::new(0));
    let count = Rc::clone(&served);
    let service = server.spawn_local(async move {
        let listener = TcpListener::bind("0.0.0.0:80").await?;
        loop {
            let (mut stream, _) = listener.accept().await?;
            let count = Rc::clone(&count);
            // A task of the task, which belongs to the host, too.
            ropeway_sim::spawn_local(async move {
                assert_eq!(ropeway_sim::Host::current().unwrap().name(), "server");
                while let Ok(byte) = stream.read_u8().await {
                    count.set(count.get() + 1);
                    stream.write_u8(byte + 1).await.unwrap();
                }
            });
        }
        #[allow(unreachable_code)]
        Ok::<(), std::io::Error>(())
    });
    let start = Instant::now();
    let asked = Rc::new(Cell::new(0));
    let count = Rc::clone(&asked);
    let asking = client.spawn_local(async move {
        let mut stream = TcpStream::connect("server:80").await.unwrap();
        for byte in 0..50 {
            stream.write_u8(byte).await.unwrap();
            count.set(stream.read_u8().await.unwrap());
        }
    });
    asking.await.unwrap();
    // Exact, as with other tasks: a round trip of 10 ms to connect, and one for each byte.
    assert_eq!(start.elapsed(), Duration::from_millis(510));
    assert_eq!((served.get(), asked.get()), (50, 50));
    server.crash();
    assert!(matches!(service.await, Err(ropeway_sim::TaskError::Crashed)));
}

#[tokio::test(start_paused = true)]
async fn tasks_that_are_not_send_run_in_a_local_set() {
    LocalSet::new().run_until(on_one_thread()).await;
}

#[test]
fn tasks_that_are_not_send_run_on_a_local_runtime() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build_local(Default::default()).unwrap();
    runtime.block_on(on_one_thread());
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "one simulated network at a time")]
async fn two_networks_at_a_time() {
    let _one = Net::new();
    let _two = Net::new();
}

#[tokio::test]
#[should_panic(expected = "clock paused")]
async fn a_clock_that_runs() {
    let _net = Net::new();
}

#[tokio::test(start_paused = true)]
async fn a_network_after_another() {
    for _ in 0..3 {
        let net = Net::new();
        let listener = net.add_host("a").build().run(TcpListener::bind("0.0.0.0:80")).await.unwrap();
        let waiting = tokio::spawn(async move { listener.accept().await.map(drop) });
        let spawned = net.host("a").spawn(std::future::pending::<()>());
        let client = net.add_host("b").build().run(TcpStream::connect("a:80")).await.unwrap();
        timeout(Duration::from_secs(1), waiting).await.unwrap().unwrap().unwrap();
        drop(net);
        assert_eq!(client.try_write(b"x").unwrap_err().kind(), ErrorKind::Other);
        assert!(matches!(spawned.await, Err(ropeway_sim::TaskError::Crashed)));
    }
    assert!(TcpListener::bind("127.0.0.1:0").await.is_ok(), "as if there had been no simulation");
}
