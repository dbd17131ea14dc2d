//! What limits a transfer: runs that have one limit by design, told at each of three places.

use std::time::Duration;

use ropeway::net::{TcpListener, TcpSocket, TcpStream};
use ropeway_sim::{Host, Link, Net, Queue, Rate};
use ropeway_why::{Grade, Limit, Report, Side};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::world::{PLACES, World, ms, run};

/// The client's share of time with a limit; the reports are those of the three places.
fn share(report: &Report, from: Side, limit: Limit) -> f64 {
    let connection = report.connections.first().expect("a connection");
    let direction =
        connection.directions.iter().find(|direction| direction.from == from).expect("a direction");
    direction.limits.iter().filter(|share| share.limit == limit).map(|share| share.share).sum()
}

fn check(world: &World, from: Side, limit: Limit, least: f64) {
    for place in PLACES {
        let report = world.why(place);
        let found = share(&report, from, limit);
        assert!(found >= least, "{place:?}: {limit} {found:.2} of the time\n{}", report.text(true));
    }
}

async fn sink(listener: TcpListener) {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    let mut buffer = vec![0; 65_536];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}

async fn bulk(server: &Host, client: &Host, bytes: usize) {
    let listener = server.run(TcpListener::bind("0.0.0.0:80")).await.expect("a listener");
    let sink = server.spawn(sink(listener));
    client
        .run(async {
            let mut stream = TcpStream::connect("server:80").await.expect("a connection");
            stream.write_all(&vec![7; bytes]).await.expect("a write");
            stream.shutdown().await.expect("a close");
            let _ = stream.read(&mut [0]).await;
        })
        .await;
    sink.await.expect("the sink ends");
}

fn wire(delay: u64) -> Link {
    Link::new().delay(ms(delay))
}

#[test]
fn a_program_that_writes_now_and_then_is_the_limit() {
    let world = run(1, wire(10), wire(15), |_: Net, client, server| async move {
        let listener = server.run(TcpListener::bind("0.0.0.0:80")).await.expect("a listener");
        let sink = server.spawn(sink(listener));
        client
            .run(async {
                let mut stream = TcpStream::connect("server:80").await.expect("a connection");
                for _ in 0..20 {
                    stream.write_all(&[1; 5000]).await.expect("a write");
                    sleep(ms(300)).await;
                }
            })
            .await;
        sink.await.expect("the sink ends");
    });
    check(&world, Side::Client, Limit::Application, 0.8);
}

#[test]
fn a_program_that_waits_for_answers_is_told_apart() {
    let world = run(2, wire(20), wire(30), |_: Net, client, server| async move {
        let listener = server.run(TcpListener::bind("0.0.0.0:80")).await.expect("a listener");
        let echo = server.spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut buffer = [0; 400];
            while stream.read_exact(&mut buffer).await.is_ok() {
                stream.write_all(&[2; 900]).await.expect("an answer");
            }
        });
        client
            .run(async {
                let mut stream = TcpStream::connect("server:80").await.expect("a connection");
                for _ in 0..30 {
                    stream.write_all(&[1; 400]).await.expect("a question");
                    stream.read_exact(&mut [0; 900]).await.expect("an answer");
                }
            })
            .await;
        echo.await.expect("the echo ends");
    });
    check(&world, Side::Client, Limit::Answer, 0.8);
}

#[test]
fn a_small_window_is_the_limit_on_a_long_path() {
    let world = run(3, wire(30), wire(20), |_: Net, client, server| async move {
        let listener = server
            .run(async {
                let socket = TcpSocket::new_v4().expect("a socket");
                socket.set_recv_buffer_size(20_000).expect("a size");
                socket.bind("0.0.0.0:80".parse().expect("an address")).expect("a port");
                socket.listen(8).expect("a listener")
            })
            .await;
        let sink = server.spawn(sink(listener));
        client
            .run(async {
                let mut stream = TcpStream::connect("server:80").await.expect("a connection");
                stream.write_all(&vec![7; 600_000]).await.expect("a write");
            })
            .await;
        sink.await.expect("the sink ends");
    });
    check(&world, Side::Client, Limit::ReceiveWindow, 0.7);
}

#[test]
fn a_reader_that_reads_slowly_is_the_limit() {
    let world = run(4, wire(5), wire(5), |_: Net, client, server| async move {
        let listener = server.run(TcpListener::bind("0.0.0.0:80")).await.expect("a listener");
        let reader = server.spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut buffer = vec![0; 20_000];
            while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                sleep(ms(50)).await;
            }
        });
        client
            .run(async {
                let mut stream = TcpStream::connect("server:80").await.expect("a connection");
                stream.write_all(&vec![7; 2_000_000]).await.expect("a write");
            })
            .await;
        reader.await.expect("the reader ends");
    });
    check(&world, Side::Client, Limit::SlowReader, 0.7);
    let report = world.why(crate::world::Place::Client);
    assert!(
        report.connections[0].directions[0]
            .verdicts
            .iter()
            .any(|verdict| { verdict.grade == Grade::Shown && verdict.text.contains("does not read") })
    );
}

#[test]
fn a_narrow_link_with_a_queue_is_the_path() {
    let narrow = Link::new().delay(ms(10)).rate(Rate::mbit(5)).queue(Queue::bytes(200_000));
    let world = run(5, narrow, wire(10), |_: Net, client, server| async move {
        bulk(&server, &client, 3_000_000).await;
    });
    check(&world, Side::Client, Limit::Path, 0.6);
}

#[test]
fn small_writes_that_wait_for_delayed_acknowledgements_are_nagles() {
    let world = run(6, wire(5), wire(5), |_: Net, client, server| async move {
        let listener = server.run(TcpListener::bind("0.0.0.0:80")).await.expect("a listener");
        let reader = server.spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut buffer = [0; 200];
            while stream.read_exact(&mut buffer).await.is_ok() {
                stream.write_all(&[1; 10]).await.expect("an answer");
            }
        });
        client
            .run(async {
                let mut stream = TcpStream::connect("server:80").await.expect("a connection");
                for _ in 0..30 {
                    stream.write_all(&[1; 50]).await.expect("a head");
                    sleep(ms(1)).await; // it leaves
                    stream.write_all(&[1; 150]).await.expect("a body");
                    stream.read_exact(&mut [0; 10]).await.expect("an answer");
                }
            })
            .await;
        reader.await.expect("the reader ends");
    });
    check(&world, Side::Client, Limit::Nagle, 0.5);
}

#[test]
fn a_black_out_is_waiting_for_the_timer() {
    let world = run(7, wire(10), wire(10), |_: Net, client, server| async move {
        let link = client.link();
        let cut = async {
            sleep(ms(150)).await;
            link.update(|pipe| pipe.up = false);
            sleep(ms(3000)).await;
            link.update(|pipe| pipe.up = true);
        };
        tokio::join!(cut, async {
            let listener = server.run(TcpListener::bind("0.0.0.0:80")).await.expect("a listener");
            let sink = server.spawn(sink(listener));
            client
                .run(async {
                    let mut stream = TcpStream::connect("server:80").await.expect("a connection");
                    for _ in 0..40 {
                        stream.write_all(&[7; 20_000]).await.expect("a write");
                        sleep(ms(10)).await;
                    }
                })
                .await;
            sink.await.expect("the sink ends");
        });
    });
    for place in PLACES {
        let report = world.why(place);
        let waited =
            share(&report, Side::Client, Limit::Timeout) + share(&report, Side::Client, Limit::Recovery);
        // Behind the cut, what was lost cannot be seen.
        let least = if place == crate::world::Place::Client { 0.6 } else { 0.0 };
        assert!(waited >= least, "{place:?} {waited}: {}", report.text(true));
    }
    let _ = Duration::ZERO;
}
