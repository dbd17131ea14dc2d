//! How much fits into a second of wall time, and into memory: connections, bytes, and hosts.
//!
//! `cargo run --release -p ropeway-sim --example scale`

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program that measures")]

use std::future::Future;
use std::time::{Duration, Instant};

use ropeway::net::{TcpListener, TcpStream};
use ropeway_sim::{Link, Net};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn main() {
    connections(5_000);
    bytes(200 << 20);
    hosts(10_000);
}

/// Runs a simulation, and says how long it took on the wall, and how much memory the process has more.
fn measure<F: Future<Output = ()>>(run: impl FnOnce(Net) -> F) -> (Duration, usize) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let before = resident();
    let start = Instant::now();
    let grown = runtime.block_on(async {
        let net = Net::builder().default_link(Link::new().delay(Duration::from_micros(500))).keep(0).build();
        run(net.clone()).await;
        resident().saturating_sub(before)
    });
    (start.elapsed(), grown)
}

/// One connection after the other: connect, a byte each way, close.
fn connections(count: u32) {
    let (took, _) = measure(async |net| {
        net.add_host("server").build().spawn(echo());
        net.add_host("client")
            .build()
            .run(async {
                for _ in 0..count {
                    let mut stream = TcpStream::connect("server:7").await.unwrap();
                    stream.write_all(b"x").await.unwrap();
                    stream.read_exact(&mut [0]).await.unwrap();
                }
            })
            .await;
    });
    println!("connections, one after the other: {:.0} a second", f64::from(count) / took.as_secs_f64());
}

/// One long transfer.
fn bytes(len: usize) {
    let (took, _) = measure(async |net| {
        net.add_host("server").build().spawn(echo());
        net.add_host("client")
            .build()
            .run(async {
                let mut stream = TcpStream::connect("server:7").await.unwrap();
                let (mut read, mut write) = stream.split();
                let chunk = vec![0; 1 << 16];
                let sending = async {
                    for _ in 0..len / chunk.len() {
                        write.write_all(&chunk).await.unwrap();
                    }
                };
                let receiving = async {
                    let (mut rest, mut buf) = (len / chunk.len() * chunk.len(), vec![0; 1 << 16]);
                    while rest > 0 {
                        rest -= read.read(&mut buf).await.unwrap();
                    }
                };
                tokio::join!(biased; sending, receiving);
            })
            .await;
    });
    // Echoed: both directions carry it.
    println!("bytes: {:.0} MB a second", 2.0 * (len >> 20) as f64 / took.as_secs_f64());
}

/// Many hosts, each with a listener, and each connected to the next.
fn hosts(count: usize) {
    let (took, grown) = measure(async |net| {
        let hosts: Vec<_> = (0..count).map(|number| net.add_host(&format!("h{number}")).build()).collect();
        for host in &hosts {
            host.spawn(echo());
        }
        let mut clients = Vec::new();
        for (number, host) in hosts.iter().enumerate() {
            let next = format!("h{}:7", (number + 1) % count);
            clients.push(host.spawn(async move {
                let mut stream = TcpStream::connect(next).await.unwrap();
                stream.write_all(b"x").await.unwrap();
                stream.read_exact(&mut [0]).await.unwrap();
                stream
            }));
        }
        let mut streams = Vec::new();
        for client in clients {
            streams.push(client.await.unwrap());
        }
    });
    println!(
        "{count} hosts, each with a connection to the next: {took:.2?}, {} KiB a host",
        grown / count / 1024
    );
}

async fn echo() {
    let listener = TcpListener::bind("0.0.0.0:7").await.unwrap();
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await
        });
    }
}

/// Bytes of memory that the process has, on Linux.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
