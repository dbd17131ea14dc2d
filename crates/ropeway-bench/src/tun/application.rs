//! The application of a run on Tokio: the same tasks on ropeway's sockets and on the kernel's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{APPLICATION_BUFFER, Job, Scenario};
use crate::meter::Meter;

/// How often a waiting listener looks whether the run is over.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A listener of either kind.
pub(crate) trait Listen {
    /// What it accepts.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, with Nagle's algorithm off.
    async fn accept(&self) -> io::Result<Self::Stream>;
}

impl Listen for ropeway::net::TcpListener {
    type Stream = ropeway::net::TcpStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        without_nagle(Self::accept(self).await?, Self::Stream::set_nodelay)
    }
}

impl Listen for tokio::net::TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        without_nagle(Self::accept(self).await?, Self::Stream::set_nodelay)
    }
}

fn without_nagle<S>(
    (stream, _): (S, SocketAddr),
    set_nodelay: impl FnOnce(&S, bool) -> io::Result<()>,
) -> io::Result<S> {
    set_nodelay(&stream, true)?;
    Ok(stream)
}

/// Serves `job` until its peer has what it wanted.
pub(crate) async fn serve(job: &Arc<Job>, listener: &impl Listen) -> io::Result<Meter> {
    match job.scenario {
        Scenario::Download => receive(job, listener).await,
        Scenario::Upload => send(job, listener).await,
        Scenario::Connect | Scenario::Connect16 | Scenario::Ping => {
            echo(listener, || job.stopped()).await?;
            Ok(Meter::new(job.window))
        }
    }
}

async fn receive(job: &Job, listener: &impl Listen) -> io::Result<Meter> {
    let mut stream = listener.accept().await?;
    let mut meter = Meter::new(job.window);
    let mut buffer = vec![0; APPLICATION_BUFFER];
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(meter);
        }
        if meter.add(read) {
            job.stop();
        }
    }
}

async fn send(job: &Job, listener: &impl Listen) -> io::Result<Meter> {
    let mut stream = listener.accept().await?;
    let mut meter = Meter::new(job.window);
    let mut buffer = vec![0x5a; APPLICATION_BUFFER];
    while !meter.add(stream.write(&buffer).await?) {}
    stream.shutdown().await?;
    // The peer closes when it has everything.
    match stream.read(&mut buffer).await? {
        0 => Ok(meter),
        unexpected => Err(io::Error::other(format!("the peer sent {unexpected} bytes"))),
    }
}

/// Sends back what comes on every connection, until `stopped`.
pub(crate) async fn echo(listener: &impl Listen, stopped: impl Fn() -> bool) -> io::Result<()> {
    while !stopped() {
        if let Ok(accepted) = tokio::time::timeout(LOOK_EVERY, listener.accept()).await {
            // One that fails shows as an error at the peer's end.
            tokio::spawn(echo_one(accepted?));
        }
    }
    Ok(())
}

async fn echo_one(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = [0; 64];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(buffer.get(..read).unwrap_or_default()).await?,
        }
    }
}
