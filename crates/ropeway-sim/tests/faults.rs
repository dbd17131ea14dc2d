//! What befalls hosts and the paths between them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::ErrorKind;
use std::time::Duration;

use ropeway::net::{TcpListener, TcpStream};
use ropeway_sim::{Host, Link, Net, TaskError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);

/// Two hosts 10 ms apart, the second of which echoes on port 7.
fn two() -> (Net, Host, Host) {
    let net = Net::builder().default_link(Link::new().delay(Duration::from_millis(5))).build();
    let [a, b] = net.add_hosts(["a", "b"]);
    b.on_boot(echo);
    (net, a, b)
}

async fn echo() -> std::io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:7").await?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await
        });
    }
}

async fn say(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"hello").await?;
    stream.read_exact(&mut [0; 5]).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_heals() {
    let (net, a, b) = two();
    let mut stream = a.run(TcpStream::connect("b:7")).await.unwrap();
    say(&mut stream).await.unwrap();
    net.partition([&a], [&b]);
    assert!(timeout(20 * SECOND, say(&mut stream)).await.is_err());
    assert!(timeout(SECOND, b.run(TcpStream::connect("a:7"))).await.is_err());
    net.heal();
    // What was sent is sent again, and the connection goes on.
    stream.read_exact(&mut [0; 5]).await.unwrap();
    say(&mut stream).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_partition_loses_what_is_on_its_way() {
    let (net, a, b) = two();
    let mut stream = a.run(TcpStream::connect("b:7")).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    sleep(Duration::from_millis(3)).await;
    net.partition([&a], [&b]);
    sleep(Duration::from_millis(20)).await;
    net.heal();
    let start = Instant::now();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    assert!(start.elapsed() > Duration::from_millis(100), "it took a retransmission");
}

#[tokio::test(start_paused = true)]
async fn a_cut_in_one_direction() {
    let (net, a, b) = two();
    let (c, mut stream) = (net.add_host("c").build(), a.run(TcpStream::connect("b:7")).await.unwrap());
    let counters = a.stack().counters().tcp_received;
    net.cut(&b, &a);
    assert!(timeout(10 * SECOND, say(&mut stream)).await.is_err());
    assert_eq!(a.stack().counters().tcp_received, counters, "nothing came back");
    assert!(b.stack().counters().tcp_received > 5, "but it was heard");
    assert!(c.run(TcpStream::connect("b:7")).await.is_ok());
    net.heal_between([&a], [&b]);
    stream.read_exact(&mut [0; 5]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_silent() {
    let (_net, a, b) = two();
    let mut stream = a.run(TcpStream::connect("b:7")).await.unwrap();
    say(&mut stream).await.unwrap();
    let idle = b.spawn(std::future::pending::<()>());
    let (stack, received) = (b.stack(), a.stack().counters().tcp_received);
    b.crash();
    assert!(!b.is_up());
    assert!(matches!(idle.await, Err(TaskError::Crashed)));
    sleep(60 * SECOND).await;
    assert_eq!(a.stack().counters().tcp_received, received, "neither FIN nor RST");
    assert_eq!(stack.closed().await.unwrap_err().kind(), ErrorKind::NetworkDown);
    // Who sends to it finds out by its own timeout.
    stream.set_tcp_user_timeout(Some(5 * SECOND)).unwrap();
    let start = Instant::now();
    assert_eq!(say(&mut stream).await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert!(start.elapsed() >= 5 * SECOND && start.elapsed() < 6 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_restart_knows_nothing_of_the_life_before() {
    let (_net, a, b) = two();
    let mut stream = a.run(TcpStream::connect("b:7")).await.unwrap();
    say(&mut stream).await.unwrap();
    let addresses = b.addresses();
    b.crash();
    assert!(timeout(SECOND, a.run(TcpStream::connect("b:7"))).await.is_err());
    b.restart();
    assert_eq!(b.addresses(), addresses);
    assert_eq!(say(&mut stream).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    say(&mut a.run(TcpStream::connect("b:7")).await.unwrap()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn both_ends_restart() {
    let (_net, a, b) = two();
    for _ in 0..5 {
        let mut stream = a.run(TcpStream::connect("b:7")).await.unwrap();
        say(&mut stream).await.unwrap();
        a.restart();
        b.restart();
        assert_eq!(stream.try_write(b"x").unwrap_err().kind(), ErrorKind::NetworkDown);
    }
}

#[tokio::test(start_paused = true)]
async fn children_of_a_crashed_host_are_told() {
    let (_net, a, b) = two();
    let connect = async {
        sleep(SECOND).await;
        TcpStream::connect("a:1").await
    };
    let (sender, child) = tokio::sync::oneshot::channel();
    b.spawn(async { sender.send(tokio::spawn(connect)).unwrap() });
    let child = child.await.unwrap();
    b.restart();
    let error = child.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkDown);
    assert!(error.to_string().contains("crashed"), "{error}");
    drop(a);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "\"b\" crashed while Host::run waited")]
async fn run_panics_when_its_host_crashes() {
    let (_net, _a, b) = two();
    let crash = async {
        sleep(SECOND).await;
        b.crash();
    };
    tokio::join!(b.run(std::future::pending::<()>()), crash);
}

#[tokio::test(start_paused = true)]
async fn a_freeze_and_a_thaw() {
    let (_net, a, b) = two();
    let mut stream = a.run(TcpStream::connect("b:7")).await.unwrap();
    say(&mut stream).await.unwrap();
    let counting = b.spawn(async {
        let start = Instant::now();
        let mut late = Duration::ZERO;
        for tick in 1..=100 {
            sleep(Duration::from_millis(10)).await;
            late = start.elapsed() - tick * Duration::from_millis(10);
        }
        late
    });
    sleep(Duration::from_millis(500)).await;
    b.freeze();
    assert!(b.is_up());
    let wall = b.wall_clock();
    let sent = b.stack().counters().tcp_sent;
    assert!(timeout(10 * SECOND, say(&mut stream)).await.is_err());
    assert_eq!(b.stack().counters().tcp_sent, sent);
    assert_eq!(b.wall_clock(), wall, "its clock stands");
    b.thaw();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    say(&mut stream).await.unwrap();
    // It was not polled for ten seconds.
    let late = counting.await.unwrap();
    assert!(late >= 9 * SECOND && late <= 11 * SECOND, "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_fast() {
    let (net, a, b) = two();
    net.partition([&a], [&b]);
    // The SYN is repeated after a second of the host's own.
    for (speed, expected) in [(1.0, 1000), (2.0, 500), (0.5, 2000)] {
        a.set_clock_speed(speed);
        let connecting = a.spawn(TcpStream::connect("b:7"));
        sleep(Duration::from_millis(10)).await;
        let (start, sent) = (Instant::now(), a.stack().counters().tcp_sent);
        while a.stack().counters().tcp_sent == sent {
            sleep(Duration::from_millis(1)).await;
        }
        let took = start.elapsed().as_millis() + 10;
        assert!(took.abs_diff(expected) <= 1, "{took} ms at {speed}");
        connecting.abort();
    }
}
