//! Honest clients on the kernel's TCP: connect, a byte there and back, close.

use std::io;
use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::PATIENCE;
use crate::link;
use crate::sys;

/// How often to look at the flood.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What became of the clients.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// How many there were.
    pub(super) all: u32,
    /// How long those that were served took to connect, sorted.
    pub(super) times: Vec<Duration>,
    /// How many of these sent their SYN again once.
    pub(super) once: u32,
    /// How many of these sent it again more than once.
    pub(super) more: u32,
}

/// One client that was served.
struct Client {
    connected_after: Duration,
    syns_sent_again: u32,
}

/// Lets `count` clients come after `ramp`, evenly over `spread`, and calls `look` time and again until the last one is
/// done.
pub(super) fn run(
    target: SocketAddrV4,
    count: u32,
    ramp: Duration,
    spread: Duration,
    mut look: impl FnMut() -> io::Result<()>,
) -> io::Result<Clients> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let first = Instant::now() + ramp;
        let mut tasks: JoinSet<io::Result<Client>> = (0..count)
            .map(|n| async move {
                sleep_until(first + spread * n / count).await;
                timeout(PATIENCE, client(target)).await?
            })
            .collect();
        let mut clients = Clients { all: count, ..Clients::default() };
        let mut next_look = Instant::now();
        while !tasks.is_empty() {
            let Ok(done) = tokio::time::timeout_at(next_look, tasks.join_next()).await else {
                look()?;
                next_look += LOOK_EVERY;
                continue;
            };
            // Who was not served shows in the count.
            if let Some(Ok(Ok(client))) = done {
                clients.times.push(client.connected_after);
                match client.syns_sent_again {
                    0 => {}
                    1 => clients.once += 1,
                    _ => clients.more += 1,
                }
            }
        }
        clients.times.sort_unstable();
        Ok(clients)
    })
}

async fn client(target: SocketAddrV4) -> io::Result<Client> {
    let socket = link::kernel_socket()?;
    socket.set_nonblocking(true)?;
    let start = Instant::now();
    let mut stream = TcpSocket::from_std_stream(socket.into()).connect(target.into()).await?;
    let connected_after = start.elapsed();
    let syns_sent_again = sys::retransmissions(&stream)?;
    stream.write_all(b"x").await?;
    if stream.read_u8().await? != b'x' {
        return Err(io::Error::other("another byte came back"));
    }
    Ok(Client { connected_after, syns_sent_again })
}
