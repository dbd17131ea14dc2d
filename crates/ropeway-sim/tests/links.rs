//! Links at work under a TCP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::time::Duration;

use ropeway::MtuProbing;
use ropeway::net::{TcpListener, TcpStream, UdpSocket};
use ropeway_sim::{CoDel, Host, Link, Net, Pipe, Queue, Rate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

const MS: fn(u64) -> Duration = Duration::from_millis;

/// Sends so many bytes from `a` to `b`, and says how long it took until all had arrived, and were what was sent.
async fn transfer(net: &Net, a: &Host, b: &Host, len: usize) -> Duration {
    let listener = b.run(TcpListener::bind("0.0.0.0:80")).await.unwrap();
    let receiving = b.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        received
    });
    let start = net.elapsed();
    let data: Vec<u8> = (0..251).cycle().take(len).collect();
    a.run(async {
        let mut stream = TcpStream::connect((b.name(), 80)).await.unwrap();
        stream.write_all(&data).await.unwrap();
    })
    .await;
    assert!(receiving.await.unwrap() == data, "TCP delivered something else");
    net.elapsed() - start
}

/// Two hosts with this link between them.
fn two(forth: Pipe, back: Pipe) -> (Net, Host, Host) {
    let net = Net::new();
    let (a, b) = (net.add_host("a").unlinked().build(), net.add_host("b").unlinked().build());
    net.link(&a, &b, Link::asymmetric(forth, back));
    (net, a, b)
}

#[tokio::test(start_paused = true)]
async fn data_survives_everything_that_a_link_does() {
    let hostile = Pipe::new()
        .rate(Rate::mbit(10))
        .delay(MS(10))
        .jitter(MS(5))
        .loss(0.02)
        .reorder(0.05)
        .reorder_by(MS(4))
        .duplicate(0.05)
        .corrupt(0.01);
    let (net, a, b) = two(hostile.clone(), hostile);
    transfer(&net, &a, &b, 300_000).await;
    let counters = b.stack().counters();
    assert!(counters.bad_checksums + counters.malformed_ip > 0 && counters.out_of_order > 0, "{counters:?}");
    assert!(a.stack().counters().tcp_retransmitted > 0);
}

#[tokio::test(start_paused = true)]
async fn every_preset_carries_data() {
    for link in [Link::lan(), Link::wan(), Link::mobile_3g(), Link::satellite(), Link::lossy_wifi()] {
        let (net, a, b) = two(link.forth, link.back);
        let took = transfer(&net, &a, &b, 100_000).await;
        assert!(took < Duration::from_secs(60), "{took:?}");
    }
}

/// The longest round trip that a second connection sees beside a long transfer.
async fn longest_wait_beside_a_transfer(queue: Queue) -> Duration {
    let (net, a, b) =
        two(Pipe::new().rate(Rate::mbit(2)).delay(MS(10)).queue(queue), Pipe::new().delay(MS(10)));
    b.spawn(async {
        let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
    });
    let probing = a.spawn(async {
        let mut stream = TcpStream::connect("b:7").await.unwrap();
        sleep(Duration::from_secs(3)).await;
        let mut longest = Duration::ZERO;
        for _ in 0..50 {
            let start = Instant::now();
            stream.write_all(b"x").await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
            longest = longest.max(start.elapsed());
            sleep(MS(50)).await;
        }
        longest
    });
    transfer(&net, &a, &b, 3_000_000).await;
    probing.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_managed_queue_stays_short() {
    let bloated = longest_wait_beside_a_transfer(Queue::bytes(400_000)).await;
    let managed = longest_wait_beside_a_transfer(Queue::bytes(400_000).codel(CoDel::default())).await;
    assert!(bloated > MS(700), "{bloated:?}");
    assert!(managed < bloated / 2, "{managed:?} with CoDel, {bloated:?} without");
}

#[tokio::test(start_paused = true)]
async fn a_link_changes_while_it_is_used() {
    let net = Net::new();
    let (a, b) = (net.add_host("a").unlinked().build(), net.add_host("b").unlinked().build());
    let link = net.link(&a, &b, Link::new().rate(Rate::mbit(8)).delay(MS(1)));
    let slow = async {
        // Half of it has arrived by then.
        sleep(MS(500)).await;
        link.update_from(&a, |pipe| pipe.rate = Some(Rate::mbit(1)));
    };
    let (took, ()) = tokio::join!(transfer(&net, &a, &b, 1_000_000), slow);
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(link.settings()[0].rate, Some(Rate::mbit(1)));
    assert_eq!(link.settings()[1].rate, Some(Rate::mbit(8)));

    // Down for ten seconds: what was sent meanwhile is sent again.
    let down = async {
        sleep(MS(100)).await;
        link.update(|pipe| pipe.up = false);
        sleep(Duration::from_secs(10)).await;
        link.update(|pipe| pipe.up = true);
    };
    let (took, ()) = tokio::join!(transfer(&net, &a, &b, 100_000), down);
    assert!(took > Duration::from_secs(10) && took < Duration::from_secs(40), "{took:?}");

    // Narrower than the stack knows: it is told.
    link.update(|pipe| pipe.mtu = 1300);
    transfer(&net, &a, &b, 100_000).await;
    assert_eq!(a.stack().path_mtu(b.ip()), 1300);
}

/// A link that loses what is too large without a word costs two timeouts once; what then passes is used, also by who comes
/// later; and when the path takes more again, that is found out after a while.
#[tokio::test(start_paused = true)]
async fn a_black_hole_that_opens_and_closes_is_found_and_left() {
    let net = Net::new();
    let (a, b) = (net.add_host("a").unlinked().build(), net.add_host("b").unlinked().build());
    let link = net.link(&a, &b, Link::new().rate(Rate::mbit(10)).delay(MS(10)).queue(Queue::bytes(30_000)));
    let narrows = async {
        sleep(MS(300)).await;
        link.update(|pipe| pipe.black_hole = Some(1300));
    };
    let (took, ()) = tokio::join!(transfer(&net, &a, &b, 2_000_000), narrows);
    assert!(took < Duration::from_secs(3), "{took:?}");
    let counters = a.stack().counters();
    assert_eq!((counters.black_holes, counters.retransmission_timeouts), (1, 2));
    assert!((1285..=1300).contains(&a.stack().path_mtu(b.ip())), "{}", a.stack().path_mtu(b.ip()));

    transfer(&net, &a, &b, 2_000_000).await;
    assert_eq!(a.stack().counters().retransmission_timeouts, 2, "it is known");

    link.update(|pipe| pipe.black_hole = None);
    sleep(Duration::from_secs(601)).await;
    transfer(&net, &a, &b, 2_000_000).await;
    assert_eq!(a.stack().path_mtu(b.ip()), 1500);
    assert_eq!(a.stack().counters().retransmission_timeouts, 2);
}

/// Where routers tell, nothing waits for a timeout, however often the path changes.
#[tokio::test(start_paused = true)]
async fn a_path_whose_routers_tell_shrinks_without_a_timeout() {
    let net = Net::new();
    let (a, b) = (net.add_host("a").unlinked().build(), net.add_host("b").unlinked().build());
    let router = net.router("r");
    net.link(&a, &router, Link::new().delay(MS(5)));
    let link = net.link(&router, &b, Link::new().rate(Rate::mbit(10)).delay(MS(5)));
    let narrows = async {
        for mtu in [1400, 1300, 1290] {
            sleep(MS(300)).await;
            link.update(|pipe| pipe.mtu = mtu);
        }
    };
    tokio::join!(transfer(&net, &a, &b, 2_000_000), narrows);
    assert_eq!(a.stack().path_mtu(b.ip()), 1290);
    let counters = a.stack().counters();
    assert_eq!(
        (counters.black_holes, counters.retransmission_timeouts, counters.fast_retransmits),
        (0, 0, 0)
    );
}

/// Black holes both ways, in the middle of a transfer both ways, with probing in each of its modes.
#[tokio::test(start_paused = true)]
async fn a_black_hole_is_the_end_only_where_probing_is_off() {
    for (mode, arrives) in
        [(MtuProbing::Off, false), (MtuProbing::BlackHole, true), (MtuProbing::Always, true)]
    {
        let net = Net::new();
        let [a, b] = ["a", "b"]
            .map(|name| net.add_host(name).config(|config| config.mtu_probing = mode).unlinked().build());
        net.link(&a, &b, Link::new().rate(Rate::mbit(10)).delay(MS(10)).black_hole(1200));
        let done = tokio::time::timeout(Duration::from_secs(60), transfer(&net, &a, &b, 300_000)).await;
        assert_eq!(done.is_ok(), arrives, "{mode:?}");
        let timeouts = a.stack().counters().retransmission_timeouts;
        match mode {
            MtuProbing::Always => assert_eq!(timeouts, 0, "it begins with what passes"),
            MtuProbing::BlackHole => assert_eq!(timeouts, 2),
            _ => assert!(timeouts > 5),
        }
    }
}

/// A datagram of more than the path takes leaves in fragments, and where a link is narrower still these are cut again.
#[tokio::test(start_paused = true)]
async fn datagrams_in_fragments_cross_a_narrow_link() {
    let net = Net::new();
    let (a, b) = (net.add_host("a").unlinked().build(), net.add_host("b").unlinked().build());
    let link = net.link(&a, &b, Link::new().delay(MS(1)));
    link.update(|pipe| pipe.mtu = 700);
    let receiver = b.run(UdpSocket::bind("0.0.0.0:53")).await.unwrap();
    let sender = a.run(UdpSocket::bind("0.0.0.0:0")).await.unwrap();
    let data: Vec<u8> = (0..251).cycle().take(20_000).collect();
    sender.send_to(&data, SocketAddr::new(b.ip(), 53)).await.unwrap();
    let mut heard = vec![0; 30_000];
    let (len, _) = receiver.recv_from(&mut heard).await.unwrap();
    assert!(heard.get(..len) == Some(&data[..]), "UDP delivered something else");
    let counters = b.stack().counters();
    assert_eq!((counters.fragments, counters.datagrams_reassembled), (41, 1));
}
