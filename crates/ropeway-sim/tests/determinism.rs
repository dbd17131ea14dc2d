//! The same seed gives the same trace, byte for byte.
//!
//! `ROPEWAY_SOAK=10` takes ten times as many seeds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ropeway::net::{TcpListener, TcpStream};
use ropeway_sim::{CoDel, Host, Link, Loss, Net, Queue, Rate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

const SECOND: Duration = Duration::from_secs(1);
const MS: fn(u64) -> Duration = Duration::from_millis;

/// What a run left: the digest of its capture, and how many packets were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Trace {
    digest: u128,
    packets: u64,
    elapsed: Duration,
}

/// Runs `scenario` in a runtime of its own.
fn run<F: Future<Output = ()>>(seed: u64, link: &Link, scenario: impl FnOnce(Net) -> F) -> Trace {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let net = Net::builder().seed(seed).default_link(link.clone()).build();
        scenario(net.clone()).await;
        Trace { digest: net.digest(), packets: net.packets(), elapsed: net.elapsed() }
    })
}

/// Echoes on port 7, whatever happens to the connections.
async fn echo() {
    let listener = TcpListener::bind("[::]:7").await.unwrap();
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await
        });
    }
}

/// Sends `len` bytes and reads them back.
async fn ask(host: String, len: usize) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((host, 7)).await?;
    let data: Vec<u8> = (0..251).cycle().take(len).collect();
    let (mut read, mut write) = stream.split();
    let mut back = vec![0; len];
    let (sent, received) = tokio::join!(biased; write.write_all(&data), read.read_exact(&mut back));
    sent?;
    received?;
    assert!(back == data, "TCP delivered something else");
    stream.shutdown().await
}

/// Four hosts that talk to each other over links with everything that links can do to packets.
async fn busy(net: Net) {
    let hosts: Vec<Host> = (0..4).map(|number| net.add_host(&format!("h{number}")).build()).collect();
    for host in &hosts {
        host.on_boot(echo);
    }
    let mut asking = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        for turn in 1..3 {
            let other = format!("h{}", (number + turn) % 4);
            asking.push(host.spawn(timeout(3600 * SECOND, ask(other, 3000 * turn))));
        }
    }
    // With chance against it, a handshake takes so long that the other end has given up.
    let mut whole = 0;
    for asked in asking {
        whole += usize::from(matches!(asked.await.unwrap(), Ok(Ok(()))));
    }
    assert!(whole >= 6, "{whole}");
}

fn hostile() -> Link {
    Link::new()
        .rate(Rate::mbit(20))
        .delay(Duration::from_micros(1234))
        .jitter(Duration::from_micros(789))
        .loss(Loss::burst(0.03, 3.0))
        .reorder(0.05)
        .duplicate(0.02)
        .corrupt(0.01)
        .queue(Queue::packets(20).codel(CoDel::default()))
}

fn soak() -> u64 {
    std::env::var("ROPEWAY_SOAK").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Kept small, so that 1,000 seeds take seconds without optimisation: eight connections between four hosts, some
/// three hundred packets.
#[test]
fn a_thousand_seeds() {
    let link = hostile();
    let mut digests = std::collections::BTreeSet::new();
    for seed in 0..1000 * soak() {
        let (first, second) = (run(seed, &link, busy), run(seed, &link, busy));
        assert_eq!(first, second, "seed {seed}");
        assert!(first.packets > 80, "nothing happened with seed {seed}: {first:?}");
        assert!(digests.insert(first.digest), "seed {seed} is like another one");
    }
}

/// Threads that burn the processor beside it change when things happen on the wall clock, and nothing else.
#[test]
fn a_machine_under_load() {
    let link = hostile();
    let alone: Vec<Trace> = (0..20).map(|seed| run(seed, &link, busy)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..6)
        .map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                // Tasks of other runtimes, whose ids come from the same counter.
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                while !stop.load(Ordering::Relaxed) {
                    runtime.block_on(async { tokio::spawn(async {}).await.unwrap() });
                }
            })
        })
        .collect();
    let loaded: Vec<Trace> = (0..20).map(|seed| run(seed, &link, busy)).collect();
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(alone, loaded);
}

fn twice<F: Future<Output = ()>>(link: &Link, scenario: impl Fn(Net) -> F) -> Trace {
    let first = run(7, link, &scenario);
    assert_eq!(first, run(7, link, &scenario));
    assert_ne!(first.digest, run(8, link, &scenario).digest);
    first
}

#[test]
fn a_partition_during_close() {
    let link = Link::wan();
    let trace = twice(&link, async |net| {
        let [a, b] = net.add_hosts(["a", "b"]);
        let accepted = b.spawn(async {
            let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            stream
        });
        let mut client = a.run(TcpStream::connect("b:80")).await.unwrap();
        let server = accepted.await.unwrap();
        client.write_all(&[1; 20_000]).await.unwrap();
        // Both close; one FIN is on its way when the partition begins.
        drop(client);
        sleep(MS(60)).await;
        net.partition([&a], [&b]);
        drop(server);
        sleep(45 * SECOND).await;
        net.heal();
        a.stack().closed().await.unwrap();
        b.stack().closed().await.unwrap();
        sleep(61 * SECOND).await;
        assert_eq!((a.stack().sizes().time_wait, b.stack().sizes().time_wait), (0, 0));
    });
    assert!(trace.elapsed > 100 * SECOND);
}

#[test]
fn both_ends_restart() {
    twice(&Link::wan(), async |net| {
        let [a, b] = net.add_hosts(["a", "b"]);
        b.on_boot(echo);
        for _ in 0..5 {
            let mut stream = a.run(TcpStream::connect("b:7")).await.unwrap();
            stream.write_all(&[1; 50_000]).await.unwrap();
            sleep(MS(70)).await;
            a.restart();
            b.restart();
            assert!(stream.write_all(b"x").await.is_err());
            a.run(timeout(60 * SECOND, ask("b".into(), 5000))).await.unwrap().unwrap();
        }
    });
}

#[test]
fn an_hour_at_thirty_percent_loss() {
    let link = Link::wan().loss(0.3);
    let trace = twice(&link, async |net| {
        let [a, b] = net.add_hosts(["a", "b"]);
        b.on_boot(echo);
        // Between two hosts there are two links: half of all packets get through.
        a.run(async {
            let mut whole = 0;
            while net.elapsed() < 3600 * SECOND {
                let asked = timeout(300 * SECOND, ask("b".into(), 2000)).await;
                whole += usize::from(matches!(asked, Ok(Ok(()))));
                sleep(10 * SECOND).await;
            }
            assert!(whole > 10, "{whole}");
        })
        .await;
    });
    assert!(trace.elapsed >= 3600 * SECOND);
}
