//! Simulations in which nothing can happen any more, or something for ever: the test fails, and is told why.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, unreachable_pub)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant as RealInstant};

use common::{assert_has, failure_of, run};
use ropeway::net::{TcpListener, TcpSocket, TcpStream};
use ropeway_sim::{Action, Link, Net, Segments};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::sleep;

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

/// A network whose tests need not wait long to be stuck.
fn net() -> Net {
    Net::builder().default_link(Link::new().delay(MS(5))).patience(MS(300)).build()
}

/// Accepts connections, and never says a word.
async fn mute() -> std::io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:80").await?;
    let mut open = Vec::new();
    loop {
        open.push(listener.accept().await?);
    }
}

#[test]
fn a_read_that_nobody_answers_is_told_with_who_waits_where() {
    let text = failure_of(async {
        let net = net();
        net.add_host("server").build().spawn(mute());
        net.add_host("client")
            .build()
            .run(async {
                let mut stream = TcpStream::connect("server:80").await.unwrap();
                stream.read_exact(&mut [0; 9]).await.unwrap();
            })
            .await;
    });
    assert_has(
        &text,
        &[
            // The last timer was that of a retransmission, and had nothing to do.
            "deadlock at 1010.000 ms",
            "client: Host::run at crates/ropeway-sim/tests/stuck.rs:",
            "waits to read on the connection 10.0.0.2:",
            " - 10.0.0.1:80, in ESTABLISHED",
            "server: the task spawned at crates/ropeway-sim/tests/stuck.rs:",
            "waits to accept on the listener 0.0.0.0:80",
            // The ladder.
            "SYN-SENT",
        ],
    );
}

#[test]
fn a_write_that_nobody_reads_is_told() {
    let text = failure_of(async {
        let net = net();
        // Its window is closed, so TCP probes it for ever: that is not a deadlock, but the limit ends it.
        net.add_host("server").build().spawn(mute());
        let stack = net.add_host("client").build();
        stack
            .run(async {
                let mut stream = TcpStream::connect("server:80").await.unwrap();
                stream.write_all(&vec![0; 10_000_000]).await.unwrap();
            })
            .await;
    });
    assert_has(&text, &["time_limit", "client: Host::run", "waits to write on the connection"]);
}

#[test]
fn tasks_that_wait_for_each_other_are_told() {
    let text = failure_of(async {
        let net = net();
        let host = net.add_host("a").build();
        let never = host.spawn(std::future::pending::<()>());
        let waiting = host.spawn(never);
        let _ended = waiting.await;
    });
    assert_has(
        &text,
        &[
            "waits for the end of a: the task spawned at",
            "a: a task that was not started by",
            "waits for something that is not the network's: a channel, a lock",
        ],
    );
}

#[test]
fn a_test_that_waits_for_something_of_its_own_fails_too() {
    for wait in 0..4 {
        let text = failure_of(async {
            let net = net();
            net.add_host("server").build().spawn(mute());
            let (sender, mut receiver) = mpsc::channel::<()>(1);
            match wait {
                0 => drop(receiver.recv().await),
                1 => tokio::spawn(async move { receiver.recv().await }).await.map(drop).unwrap(),
                2 => Arc::new(Notify::new()).notified().await,
                _ => std::future::pending().await,
            }
            drop(sender);
        });
        assert_has(&text, &["deadlock at 0.000 ms", "server: the task spawned", "waits to accept"]);
    }
}

#[test]
fn children_of_a_hosts_tasks_are_told_with_their_host() {
    let text = failure_of(async {
        let net = net();
        net.add_host("server").build().spawn(async {
            let listener = TcpListener::bind("[::]:80").await.unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move { stream.read_u8().await });
            }
        });
        let stream = net.add_host("client").build().run(TcpStream::connect("server:80")).await.unwrap();
        std::future::pending::<()>().await;
        drop(stream);
    });
    assert_has(
        &text,
        &["server: a task that was not started by Host::spawn", "waits to read on the connection"],
    );
}

#[test]
fn timers_that_run_are_no_deadlock() {
    run(async {
        let net = net();
        net.add_host("server").build().on_boot(mute);
        let mut stream = net.add_host("client").build().run(TcpStream::connect("server:80")).await.unwrap();
        // Only Tokio's clock knows of this one.
        let late = tokio::spawn(sleep(SECS(40 * 24 * 3600)));
        assert!(tokio::time::timeout(SECS(24 * 3600), stream.read_u8()).await.is_err());
        late.await.unwrap();
    })
    .unwrap();
}

#[test]
fn time_wait_and_keep_alive_come_first() {
    let text = failure_of(async {
        let net = net();
        net.add_host("server").build().spawn(async {
            let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_to_end(&mut Vec::new()).await.unwrap();
        });
        let mut stream = net.add_host("client").build().run(TcpStream::connect("server:80")).await.unwrap();
        stream.shutdown().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
        std::future::pending::<()>().await;
    });
    // 30 ms to close, and 2 MSL.
    assert_has(&text, &["deadlock at 60"]);

    let text = failure_of(async {
        let net = net();
        net.add_host("server").build().spawn(mute());
        let mut stream = net
            .add_host("client")
            .build()
            .run(async {
                let socket = TcpSocket::new_v4().unwrap();
                socket.set_keepalive(true).unwrap();
                let server = tokio::net::lookup_host("10.0.0.1:80").await.unwrap().next().unwrap();
                socket.connect(server).await.unwrap()
            })
            .await;
        stream.read_u8().await.unwrap();
    });
    // It goes on for ever, so only the limit ends it.
    assert_has(&text, &["longer than 8640000s, its limit", "waits to read on the connection"]);
}

#[test]
fn threads_that_may_still_wake_a_task_are_waited_for() {
    run(async {
        let net = Net::builder().patience(MS(1500)).build();
        net.add_host("server").build().spawn(mute());
        // One that Tokio knows of, however long it takes; meanwhile its clock stands.
        let start = tokio::time::Instant::now();
        tokio::task::spawn_blocking(|| std::thread::sleep(MS(2500))).await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
        // And one of nobody's.
        let (sender, receiver) = oneshot::channel();
        std::thread::spawn(move || {
            std::thread::sleep(MS(700));
            sender.send(()).unwrap();
        });
        receiver.await.unwrap();
        // One that speaks again and again counts as alive.
        let (sender, mut receiver) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for word in 0..5 {
                std::thread::sleep(MS(500));
                sender.send(word).unwrap();
            }
        });
        while receiver.recv().await.is_some() {}
        assert_eq!(start.elapsed(), Duration::ZERO, "none of that took simulated time");
    })
    .unwrap();
}

#[test]
fn a_thread_that_blocks_for_ever_is_told() {
    for timer in [false, true] {
        let (release, blocked) = std::sync::mpsc::channel::<()>();
        let text = failure_of(async {
            let net = net();
            net.add_host("server").build().spawn(mute());
            // The runtime cannot end before the thread does.
            let _release = release;
            let blocking = tokio::task::spawn_blocking(move || blocked.recv());
            if timer {
                sleep(MS(1)).await;
            }
            let _ended = blocking.await;
        });
        assert_has(&text, &["spawn_blocking", "stuck at 0.000 ms", "six times", "waits to accept"]);
    }
}

#[test]
fn a_deadlock_of_tasks_that_are_not_send_is_told() {
    let text = failure_of(async {
        let net = net();
        let host = net.add_host("a").build();
        let set = tokio::task::LocalSet::new();
        set.run_until(async {
            let listener = host.run(TcpListener::bind("0.0.0.0:80")).await.unwrap();
            host.spawn_local(async move { listener.accept().await.map(drop) });
            std::future::pending::<()>().await;
        })
        .await;
    });
    assert_has(&text, &["a: the task spawned at", "waits to accept on the listener 0.0.0.0:80"]);
}

#[test]
fn what_is_in_the_way_is_told() {
    let text = failure_of(async {
        let net = net();
        let [server, client] = net.add_hosts(["server", "client"]);
        let [down, frozen] = net.add_hosts(["down", "frozen"]);
        server.spawn(mute());
        down.crash();
        frozen.freeze();
        let _held = net.rule(Segments::new().from(&server).with_data(), Action::Hold);
        net.cut(&down, &client);
        client
            .run(async {
                let mut stream = TcpStream::connect("server:80").await.unwrap();
                stream.read_u8().await.unwrap();
            })
            .await;
    });
    assert_has(&text, &["down is down", "frozen is frozen", "client is cut off from down"]);
}

#[test]
fn a_deadlock_of_one_runtime_leaves_another_alone() {
    let other = std::thread::spawn(|| {
        run(async {
            let net = Net::new();
            net.add_host("server").build().spawn(mute());
            for _ in 0..1000 {
                net.host("server").run(sleep(SECS(1))).await;
            }
        })
    });
    failure_of(async {
        let net = net();
        net.add_host("a").build().run(std::future::pending::<()>()).await;
    });
    other.join().unwrap().unwrap();
}

#[test]
fn time_that_never_ends_is_told() {
    // By a host's task, by nobody's, and noticed only at the end.
    for who in 0..3 {
        let start = RealInstant::now();
        let text = failure_of(async {
            let net = Net::builder().time_limit(SECS(60)).build();
            let host = net.add_host("server").build();
            let tick = async {
                loop {
                    sleep(SECS(1)).await;
                }
            };
            match who {
                0 => host.run(tick).await,
                1 => tick.await,
                _ => sleep(SECS(61)).await,
            }
        });
        assert_has(&text, &["longer than 60s, its limit (NetBuilder::time_limit)"]);
        assert!(who != 0 || text.contains("61000.000 ms"), "{text}");
        assert!(start.elapsed() < SECS(60));
    }
    run(async {
        let net = Net::builder().time_limit(SECS(60)).build();
        net.add_host("a").build().run(sleep(SECS(60))).await;
    })
    .unwrap();
    run(async {
        let net = Net::builder().time_limit(Duration::MAX).build();
        net.add_host("a").build().run(sleep(SECS(1000 * 24 * 3600))).await;
    })
    .unwrap();
}

#[test]
fn a_deadlock_leaves_the_records() {
    let directory = tempfile::tempdir().unwrap();
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_test_that_waits_for_something_of_its_own_fails_too", "--nocapture"])
        .env("ROPEWAY_SIM_DIR", directory.path())
        .output()
        .unwrap();
    assert!(run.status.success());
    let told = String::from_utf8_lossy(&run.stderr);
    assert_has(&told, &["ROPEWAY_SEED=1 replays it", "events.txt are in"]);
    let left = directory.path().join("a_test_that_waits_for_something_of_its_own_fails_too-1");
    assert_has(&std::fs::read_to_string(left.join("events.txt")).unwrap(), &["a deadlock at 0.000 ms"]);
}
