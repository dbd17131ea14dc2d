//! The two ends of a transfer: an application on the kernel's sockets, on ropeway's, or on smoltcp.

pub(crate) mod kernel;
pub(crate) mod ropeway;
pub(crate) mod smoltcp;

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Congestion;
use super::net::Lane;

/// The port that receivers listen on.
pub(crate) const PORT: u16 = 5001;
/// How much an application reads or writes at a time.
const APPLICATION_BUFFER: usize = 128 * 1024;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Stacks are made, sockets listen.
    Prepares,
    /// Senders connect and send.
    Goes,
    /// All has arrived, or takes too long.
    IsOver,
}

/// What both ends of a run know.
#[derive(Clone)]
pub(crate) struct End {
    pub(crate) lane: Lane,
    pub(crate) congestion: Congestion,
    /// Bytes in each socket buffer, unless they tune themselves.
    pub(crate) buffer: Option<usize>,
    /// The bytes of each flow.
    pub(crate) flows: Vec<u64>,
    pub(crate) stage: watch::Receiver<Stage>,
    pub(crate) ready: Sender<()>,
}

/// What a sender knows in the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// When it began to connect.
    pub(crate) began: Instant,
    /// Segments that were sent again, if the stack tells.
    pub(crate) again: Option<u64>,
}

impl End {
    /// Everything is there that the other end needs.
    fn is_ready(&self) -> io::Result<()> {
        self.ready.send(()).map_err(io::Error::other)
    }

    /// Waits for the stage; for ever, if it never comes.
    async fn reached(&self, wanted: Stage) {
        if self.stage.clone().wait_for(|stage| *stage >= wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What comes of `work`, unless the run is over before.
    async fn unless_over<T>(&self, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.reached(Stage::IsOver) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Sends so many bytes and the end of the stream, and gives the connection back when the run is over.
async fn send_one<S: AsyncRead + AsyncWrite + Unpin>(
    end: End,
    connect: impl Future<Output = io::Result<S>>,
    bytes: u64,
) -> io::Result<S> {
    let mut stream = end.unless_over(connect).await?;
    // What does not get through in time is found missing by the receiver.
    let _ = end.unless_over(write(&mut stream, bytes)).await;
    end.reached(Stage::IsOver).await;
    Ok(stream)
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: u64) -> io::Result<()> {
    let buffer = vec![0x5a; APPLICATION_BUFFER];
    let mut left = bytes;
    while left > 0 {
        let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        left -= stream.write(buffer.get(..length).unwrap_or_default()).await? as u64;
    }
    stream.shutdown().await
}

/// Reads so many bytes, and tells when the last one was there; then waits for the end of the run.
async fn receive_one(
    end: End,
    mut stream: impl AsyncRead + Unpin + Send + 'static,
    bytes: u64,
) -> io::Result<Instant> {
    let mut buffer = vec![0; APPLICATION_BUFFER];
    let mut left = bytes;
    while left > 0 {
        let read = end.unless_over(stream.read(&mut buffer)).await? as u64;
        if read == 0 || read > left {
            return Err(io::Error::other(format!("{left} bytes were left, and {read} came")));
        }
        left -= read;
    }
    let done = Instant::now();
    tokio::spawn(async move {
        end.reached(Stage::IsOver).await;
        drop(stream);
    });
    Ok(done)
}

/// When the last flow was done.
async fn last(flows: Vec<JoinHandle<io::Result<Instant>>>) -> io::Result<Instant> {
    let mut last = None;
    for flow in flows {
        last = last.max(Some(flow.await.map_err(io::Error::other)??));
    }
    last.ok_or_else(|| io::Error::other("there is no flow"))
}

/// The address that senders connect to.
pub(crate) fn target(address: std::net::Ipv4Addr) -> SocketAddr {
    SocketAddr::from((address, PORT))
}
