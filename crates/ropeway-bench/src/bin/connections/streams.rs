//! What connections cost a program: streams, each held by a task that waits for its peer.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ropeway::congestion::Algorithm;
use ropeway::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::allocated::allocated;

/// Connections to one listening port, whose other ends need a local port each.
const PER_PORT: u32 = 20_000;

/// What is sent each way before all are idle again. It fits into both buffers.
const EXCHANGED: &[u8] = &[0; 10_000];

/// After this, nothing that was sent is on its way any more.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) fn measure(count: u32) {
    // Each has an address of its own: what the last one has left in TIME-WAIT holds its ports.
    let mut hosts = (1..).map(|host| Ipv4Addr::new(127, 0, 0, host));
    for algorithm in [Algorithm::NewReno, Algorithm::Cubic] {
        for (used, host) in [false, true].into_iter().zip(hosts.by_ref()) {
            // A runtime of its own: what the last one had is gone.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let bytes =
                runtime.and_then(|runtime| runtime.block_on(size_of_streams(count, host, &algorithm, used)));
            match bytes {
                Ok(bytes) => println!(
                    "stream and task {:7.1} bytes each, of {count}, idle{}, {algorithm}",
                    bytes,
                    if used { " again" } else { "" }
                ),
                Err(error) => crate::fail(&error.to_string()),
            }
        }
    }
}

/// Both ends of each connection count.
async fn size_of_streams(count: u32, host: Ipv4Addr, algorithm: &Algorithm, used: bool) -> io::Result<f64> {
    let mut tasks = JoinSet::new();
    let before = allocated();
    let (mut opened, mut port) = (0, 80);
    while opened < count / 2 {
        let listener = listen((host, port).into(), algorithm)?;
        port += 1;
        for _ in 0..PER_PORT.min(count / 2 - opened) {
            let client = socket(algorithm)?.connect(listener.local_addr()?).await?;
            let (server, _) = listener.accept().await?;
            if used {
                exchange(&client, &server).await?;
            }
            tasks.spawn(wait(client));
            tasks.spawn(wait(server));
            opened += 1;
        }
    }
    sleep(PAUSE).await;
    let bytes = (allocated() as f64 - before as f64) / f64::from(2 * opened);
    tasks.shutdown().await;
    Ok(bytes)
}

fn socket(algorithm: &Algorithm) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_congestion(algorithm.clone())?;
    Ok(socket)
}

fn listen(address: SocketAddr, algorithm: &Algorithm) -> io::Result<TcpListener> {
    let socket = socket(algorithm)?;
    socket.bind(address)?;
    socket.listen(16)
}

async fn exchange(one: &TcpStream, other: &TcpStream) -> io::Result<()> {
    for (from, to) in [(one, other), (other, one)] {
        let (mut written, mut read) = (0, 0);
        while read < EXCHANGED.len() {
            let rest = EXCHANGED.get(written..).unwrap_or_default();
            written += from.try_write(rest).or_else(none_yet)?;
            to.readable().await?;
            read += to.try_read(&mut [0; 4096]).or_else(none_yet)?;
        }
    }
    Ok(())
}

fn none_yet(error: io::Error) -> io::Result<usize> {
    if error.kind() == io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) }
}

/// Waits for the peer as a server does that keeps no buffer meanwhile.
async fn wait(stream: TcpStream) -> io::Result<()> {
    while {
        stream.readable().await?;
        stream.try_read(&mut [0; 4096]).or_else(none_yet)? > 0
    } {}
    Ok(())
}
