//! What simulated networks cost: beside turmoil, which simulates a TCP of its own, and with many hosts.
//!
//! A binary of its own, since it counts every allocation.

#[path = "../allocated.rs"]
mod allocated;

use std::io;
use std::time::{Duration, Instant};

use allocated::allocated;
use clap::{Parser, Subcommand};
use ropeway_sim::{Link, Net};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What simulated networks cost.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Clients that talk to an echo server, on ropeway-sim and on turmoil in turns.
    Compare {
        /// How often each has its turn.
        #[arg(long, default_value_t = 7)]
        rounds: usize,
    },
    /// Many hosts in one process.
    Hosts {
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        count: u32,
    },
}

fn main() -> io::Result<()> {
    match Cli::parse().command {
        Command::Compare { rounds } => {
            compare(rounds);
            Ok(())
        }
        Command::Hosts { count } => hosts(count),
    }
}

/// What each client does.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    clients: u32,
    connections: u32,
    /// In each connection.
    messages: u32,
    /// Bytes of each.
    size: usize,
}

/// One way.
const LATENCY: Duration = Duration::from_millis(2);

const LOADS: [Load; 4] = [
    Load { name: "messages of 100 bytes", clients: 10, connections: 1, messages: 1000, size: 100 },
    Load { name: "short connections", clients: 10, connections: 200, messages: 1, size: 100 },
    Load { name: "messages of 1 MB", clients: 2, connections: 1, messages: 10, size: 1_000_000 },
    Load { name: "a message from each of 500 clients", clients: 500, connections: 1, messages: 1, size: 100 },
];

async fn talk<S: AsyncRead + AsyncWrite>(stream: S, load: Load) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let message = vec![7; load.size];
    let mut echo = vec![0; load.size];
    for _ in 0..load.messages {
        let (written, read) = tokio::join!(writer.write_all(&message), reader.read_exact(&mut echo));
        written?;
        read?;
    }
    writer.shutdown().await
}

async fn echo<S: AsyncRead + AsyncWrite>(stream: S) -> io::Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match reader.read(&mut buffer).await? {
            0 => return writer.shutdown().await,
            read => writer.write_all(buffer.get(..read).unwrap_or_default()).await?,
        }
    }
}

/// Server and client, on the sockets of one of the two.
macro_rules! programs {
    ($net:path) => {
        use $net::{TcpListener, TcpStream};

        use super::{Load, echo, io, talk};

        pub(super) async fn server() -> io::Result<()> {
            let listener = TcpListener::bind("0.0.0.0:7").await?;
            loop {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(echo(stream));
            }
        }

        pub(super) async fn client(load: Load) -> io::Result<()> {
            for _ in 0..load.connections {
                talk(TcpStream::connect("server:7").await?, load).await?;
            }
            Ok(())
        }
    };
}

mod on_ropeway {
    programs!(ropeway::net);
}

mod on_turmoil {
    programs!(turmoil::net);
}

fn run_ropeway(load: Load) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(async {
        let net = Net::builder().default_link(Link::new().delay(LATENCY / 2)).keep(0).build();
        net.add_host("server").build().spawn(on_ropeway::server());
        let clients: Vec<_> = (0..load.clients)
            .map(|number| net.add_host(&format!("client{number}")).build().spawn(on_ropeway::client(load)))
            .collect();
        for client in clients {
            client.await.map_err(io::Error::other)??;
        }
        Ok(())
    })
}

fn run_turmoil(load: Load) -> io::Result<()> {
    let mut sim = turmoil::Builder::new()
        .simulation_duration(Duration::from_secs(3600))
        .min_message_latency(LATENCY)
        .max_message_latency(LATENCY)
        // A listener whose queue is full panics there; the default is 64.
        .tcp_capacity(1000)
        .build();
    sim.host("server", || async { Ok(on_turmoil::server().await?) });
    for number in 0..load.clients {
        sim.client(format!("client{number}"), async move { Ok(on_turmoil::client(load).await?) });
    }
    sim.run().map_err(|error| io::Error::other(error.to_string()))
}

fn compare(rounds: usize) {
    println!("echo over {LATENCY:?} each way; medians of {rounds} rounds, in turns; wall time");
    for load in LOADS {
        let mut times = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (ours, theirs) = (measure(|| run_ropeway(load)), measure(|| run_turmoil(load)));
            times.0.push(ours);
            times.1.push(theirs);
            times.2.push(ours / theirs);
        }
        let (ours, theirs, ratio) = (median(times.0), median(times.1), median(times.2));
        let connections = f64::from(load.clients * load.connections);
        let bytes = connections * f64::from(load.messages) * load.size as f64 * 2.0;
        println!("{}: {} clients, {} connections each", load.name, load.clients, load.connections);
        for (name, time) in [("ropeway-sim", ours), ("turmoil", theirs)] {
            println!(
                "  {name:12} {:9.2} ms  {:8.0} connections/s  {:8.1} MB/s",
                time * 1e3,
                connections / time,
                bytes / time / 1e6
            );
        }
        println!("  ropeway-sim / turmoil: {ratio:.2} times the time");
    }
}

/// Seconds of wall time.
fn measure(work: impl FnOnce() -> io::Result<()>) -> f64 {
    let start = Instant::now();
    if let Err(error) = work() {
        eprintln!("a run failed: {error}");
        std::process::exit(1);
    }
    start.elapsed().as_secs_f64()
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Hosts that are all there at once, each with a server, and a connection to its neighbour.
fn hosts(count: u32) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    runtime.block_on(async {
        let net = Net::builder().default_link(Link::new().delay(LATENCY / 2)).keep(0).build();
        let (empty, start) = (allocated(), Instant::now());
        let hosts: Vec<_> = (0..count).map(|number| net.add_host(&format!("host{number}")).build()).collect();
        tell(count, "made", empty, start);
        let start = Instant::now();
        for host in &hosts {
            host.spawn(on_ropeway::server());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        tell(count, "with a listener", empty, start);
        let start = Instant::now();
        let mut clients = Vec::new();
        for (number, host) in hosts.iter().enumerate() {
            let to = hosts.get(number + 1).or(hosts.first()).map(|host| host.ip());
            let Some(to) = to else { continue };
            clients.push(host.spawn(async move {
                let mut stream = ropeway::net::TcpStream::connect((to, 7)).await?;
                stream.write_all(b"on belay?").await?;
                stream.read_exact(&mut [0; 9]).await?;
                io::Result::Ok(stream)
            }));
        }
        let mut streams = Vec::new();
        for client in clients {
            streams.push(client.await.map_err(io::Error::other)??);
        }
        tell(count, "with a connection to the next, used and open", empty, start);
        let packets: u64 = hosts.iter().map(|host| host.stack().counters().sent).sum();
        println!("{packets} packets");
        drop(streams);
        Ok(())
    })
}

fn tell(count: u32, what: &str, empty: usize, start: Instant) {
    let each = allocated().saturating_sub(empty) / count as usize;
    println!("{count} hosts {what}: {each} bytes each, after {:.2} s", start.elapsed().as_secs_f64());
}
