//! Networks in a few lines: names, addresses, routers, and times that are exact.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::ErrorKind;
use std::time::Duration;

use ropeway::net::{TcpListener, TcpSocket, TcpStream};
use ropeway_sim::{Host, Link, Net, Pipe, Rate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

const US: fn(u64) -> Duration = Duration::from_micros;
const MS: fn(u64) -> Duration = Duration::from_millis;

/// Echoes whatever comes to port 7 of `host`.
fn echo_on(host: &Host) {
    host.spawn(async {
        let listener = TcpListener::bind("[::]:7").await.unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
}

async fn ask(host: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((host, 7)).await?;
    stream.write_all(b"on belay?").await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(start_paused = true)]
async fn two_hosts() {
    let net = Net::new();
    echo_on(&net.add_host("server").build());
    assert_eq!(net.add_host("client").build().run(ask("server")).await.unwrap(), b"on belay?");
}

#[tokio::test(start_paused = true)]
async fn round_trips_are_exact_to_the_microsecond() {
    for delay in [1, 37, 333, 500, 999, 1000, 1001, 2345, 100_000] {
        let net = Net::builder().default_link(Link::new().delay(US(delay))).build();
        echo_on(&net.add_host("server").build());
        net.add_host("client")
            .build()
            .run(async {
                let start = Instant::now();
                let mut stream = TcpStream::connect("server:7").await.unwrap();
                // Two links each way.
                assert_eq!(start.elapsed(), US(4 * delay));
                for round in 2..5 {
                    stream.write_all(b"x").await.unwrap();
                    stream.read_exact(&mut [0]).await.unwrap();
                    assert_eq!(start.elapsed(), US(4 * delay * round), "{delay} us");
                }
            })
            .await;
        drop(net);
        // Not on a tick of Tokio's timers: the next network begins where this one ends.
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn timers_of_tokio_stay_exact() {
    let net = Net::builder().default_link(Link::new().delay(US(77))).build();
    echo_on(&net.add_host("server").build());
    let timer = tokio::spawn(async {
        let start = Instant::now();
        let mut late = Vec::new();
        for tick in 1..=300 {
            sleep(MS(1)).await;
            late.push(start.elapsed() - MS(tick));
        }
        late
    });
    net.add_host("client")
        .build()
        .run(async {
            let mut stream = TcpStream::connect("server:7").await.unwrap();
            for _ in 0..500 {
                stream.write_all(b"x").await.unwrap();
                stream.read_exact(&mut [0]).await.unwrap();
            }
        })
        .await;
    assert!(timer.await.unwrap().iter().all(Duration::is_zero));
}

#[tokio::test(start_paused = true)]
async fn a_rate_takes_its_time() {
    let net = Net::new();
    let (a, b) = (net.add_host("a").unlinked().build(), net.add_host("b").unlinked().build());
    net.link(&a, &b, Link::asymmetric(Pipe::new().rate(Rate::mbit(10)), Pipe::new()));
    let server = b.spawn(async {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        (received.len(), Instant::now())
    });
    let start = Instant::now();
    a.run(async {
        let mut stream = TcpStream::connect("b:80").await.unwrap();
        stream.write_all(&[1; 1_448_000]).await.unwrap();
    })
    .await;
    let (received, end) = server.await.unwrap();
    assert_eq!(received, 1_448_000);
    // 1000 packets of 1500 bytes with 1448 of data each take 1.2 s, the handshake and the FIN a little.
    let took = end - start;
    assert!(took >= MS(1200) && took < MS(1201), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn names_and_addresses() {
    let net = Net::new();
    let chosen = net.add_host("db").address("192.0.2.7".parse::<std::net::IpAddr>().unwrap()).build();
    let [one, two] = net.add_hosts(["one", "two"]);
    assert_eq!(chosen.addresses(), ["192.0.2.7".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!((one.ip().to_string(), two.ip().to_string()), ("10.0.0.1".into(), "10.0.0.2".into()));
    assert_eq!(two.ipv6().unwrap().to_string(), "fd00::2");
    assert_eq!(net.host("two").ip(), two.ip());
    one.run(async {
        let unknown = TcpStream::connect("three:80").await.unwrap_err();
        assert_eq!(unknown.kind(), ErrorKind::NotFound);
        assert!(unknown.to_string().contains("three"), "{unknown}");
        assert_eq!(TcpStream::connect("db:80").await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let nowhere = TcpStream::connect("203.0.113.1:80").await.unwrap_err();
        assert_eq!(nowhere.kind(), ErrorKind::HostUnreachable);
        // Its own loopback addresses, which others do not see.
        let listener = TcpListener::bind("localhost:80").await.unwrap();
        assert!(TcpStream::connect(listener.local_addr().unwrap()).await.is_ok());
    })
    .await;
    let refused = two.run(TcpStream::connect((one.ip(), 80))).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    echo_on(&one);
    let over_v6 = two.run(TcpStream::connect((one.ipv6().unwrap(), 7))).await.unwrap();
    assert!(over_v6.peer_addr().unwrap().is_ipv6());
}

#[tokio::test(start_paused = true)]
async fn the_shortest_path_through_routers() {
    let net = Net::new();
    let slow = Link::new().delay(MS(10));
    let routers: Vec<_> = (0..4).map(|number| net.router(&format!("r{number}"))).collect();
    // A ring of four: from r0 to r2 there are two ways with two links, and the one by r1 was made first.
    for number in 0..4 {
        let link = if number < 2 { slow.clone() } else { Link::new().delay(MS(1)) };
        net.link(&routers[number], &routers[(number + 1) % 4], link);
    }
    let hosts: Vec<_> = (0..4)
        .map(|number| net.add_host(&format!("h{number}")).link(&routers[number], Link::new()).build())
        .collect();
    for host in &hosts {
        echo_on(host);
    }
    let time = async |from: usize, to: &str| {
        let start = Instant::now();
        hosts[from].run(TcpStream::connect((to, 7))).await.unwrap();
        start.elapsed()
    };
    assert_eq!(time(0, "h1").await, MS(20));
    assert_eq!(time(0, "h3").await, MS(2));
    assert_eq!(time(0, "h2").await, MS(40));
    assert_eq!(time(1, "h2").await, MS(20));
}

#[tokio::test(start_paused = true)]
async fn a_narrow_link_on_the_way() {
    let net = Net::new();
    let (left, right) = (net.router("left"), net.router("right"));
    net.link(&left, &right, Link::new().mtu(1280).delay(MS(5)));
    let a = net.add_host("a").link(&left, Link::new()).build();
    let b = net.add_host("b").link(&right, Link::new()).build();
    echo_on(&b);
    for address in b.addresses() {
        a.run(async {
            let mut stream = TcpStream::connect((address, 7)).await.unwrap();
            let data: Vec<u8> = (0..251).cycle().take(100_000).collect();
            let (mut read, mut write) = stream.split();
            let mut echo = vec![0; data.len()];
            tokio::join!(async { write.write_all(&data).await.unwrap() }, async {
                read.read_exact(&mut echo).await.unwrap();
            });
            assert!(echo == data);
        })
        .await;
        assert_eq!(a.stack().path_mtu(address), 1280);
    }
}

#[tokio::test(start_paused = true)]
async fn an_hour_is_over_in_no_time() {
    let net = Net::new();
    echo_on(&net.add_host("server").build());
    let wall = std::time::Instant::now();
    net.add_host("client")
        .build()
        .run(async {
            let mut stream = TcpStream::connect("server:7").await.unwrap();
            for _ in 0..3600 {
                sleep(Duration::from_secs(1)).await;
                stream.write_all(b"tick").await.unwrap();
                stream.read_exact(&mut [0; 4]).await.unwrap();
            }
        })
        .await;
    assert!(net.elapsed() > Duration::from_secs(3600));
    assert!(wall.elapsed() < Duration::from_secs(20), "{:?}", wall.elapsed());
}

#[tokio::test(start_paused = true)]
async fn packets_run_out_of_hops() {
    let net = Net::new();
    let [a, b] = net.add_hosts(["a", "b"]);
    b.run(TcpListener::bind("0.0.0.0:80")).await.unwrap();
    let address = std::net::SocketAddr::new(b.ip(), 80);
    a.run(async {
        let socket = ropeway::net::TcpSocket::new_v4().unwrap();
        socket.set_ttl(1).unwrap();
        assert!(tokio::time::timeout(MS(100), socket.connect(address)).await.is_err());
    })
    .await;
    assert_eq!(a.stack().counters().icmp_received, 1, "the hub has told");
    assert_eq!(b.stack().counters().received, 0);
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "time cannot pass: a task never waits")]
async fn a_task_that_never_waits_is_told_of() {
    let net = Net::new();
    echo_on(&net.add_host("b").build());
    let _spinning = tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let _asked = net.add_host("a").build().spawn(ask("b")).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "the simulated network has panicked")]
async fn a_rule_that_panics_fails_the_test() {
    let net = Net::new();
    echo_on(&net.add_host("b").build());
    net.rule(ropeway_sim::Segments::new().when(|_| panic!("on purpose")), ropeway_sim::Action::Drop);
    net.add_host("a").build().spawn(ask("b")).tolerate();
    // Whatever the test waits for.
    std::future::pending::<()>().await;
}

/// A request and its answer take one round trip instead of two, once the server has given a cookie (RFC 7413).
#[tokio::test(start_paused = true)]
async fn fast_open_saves_a_round_trip() {
    let net = Net::builder().default_link(Link::new().delay(MS(5))).build();
    net.add_host("server").build().spawn(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_fastopen(16).unwrap();
        socket.bind("0.0.0.0:80".parse().unwrap()).unwrap();
        let listener = socket.listen(16).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 7]).await.unwrap();
            stream.write_all(b"answer").await.unwrap();
        }
    });
    net.add_host("client")
        .build()
        .run(async {
            let server = ropeway::net::lookup_host("server:80").await.unwrap().find(|addr| addr.is_ipv4());
            for round_trips in [2, 1, 1] {
                let start = Instant::now();
                let socket = TcpSocket::new_v4().unwrap();
                let mut stream = socket.connect_with(server.unwrap(), b"request").await.unwrap();
                stream.read_exact(&mut [0; 6]).await.unwrap();
                assert_eq!(start.elapsed(), MS(20 * round_trips));
            }
        })
        .await;
}
