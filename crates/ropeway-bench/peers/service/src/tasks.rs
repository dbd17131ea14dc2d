//! What is done with a connection, whatever stack it is of.

use std::convert::Infallible;
use std::io;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::{APPLICATION_BUFFER, Task};

/// The body of every response.
static BODY: [u8; 1024] = [b'r'; 1024];

/// Serves one connection until its peer closes it.
///
/// # Errors
///
/// The connection broke: the other end, which measures, sees that too.
pub async fn serve(
    task: Task,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> io::Result<()> {
    match task {
        Task::Sink => sink(stream).await,
        Task::Source => source(stream).await,
        Task::Both => {
            let (reading, writing) = tokio::io::split(stream);
            let written = tokio::spawn(source(writing));
            sink(reading).await?;
            written.await?
        }
        Task::Echo => echo(stream).await,
        // In a box: no other task is to be as large as hyper's state.
        Task::Http => Box::pin(http(stream)).await,
        Task::UdpSink | Task::UdpSource => Err(io::ErrorKind::Unsupported.into()),
    }
}

async fn sink(mut stream: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; APPLICATION_BUFFER];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

async fn source(mut stream: impl AsyncWrite + Unpin) -> io::Result<()> {
    let buffer = vec![0x5a; APPLICATION_BUFFER];
    loop {
        stream.write_all(&buffer).await?;
    }
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = [0; 64];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return stream.shutdown().await,
            read => stream.write_all(buffer.get(..read).unwrap_or_default()).await?,
        }
    }
}

async fn http(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<()> {
    let answer =
        async |_: Request<_>| Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(&BODY))));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer));
    connection.await.map_err(io::Error::other)
}
