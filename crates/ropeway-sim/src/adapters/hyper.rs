//! For hyper, and for clients that are built on it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use ropeway::net::TcpStream;

/// Opens connections for `hyper_util::client::legacy::Client`, and for tonic's `Endpoint::connect_with_connector`. It
/// does no TLS: hyper-rustls and the like can be built on it.
///
/// # Examples
///
/// ```
/// use http_body_util::Empty;
/// use hyper::body::Bytes;
/// use hyper_util::{client::legacy::Client, rt::TokioExecutor};
/// use ropeway_sim::adapters::HttpConnector;
///
/// # fn make() {
/// let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(HttpConnector);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpConnector;

impl tower_service::Service<Uri> for HttpConnector {
    type Response = HttpStream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<HttpStream>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(async move {
            let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
            // An IPv6 address stands in brackets.
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(default))).await?;
            Ok(HttpStream(TokioIo::new(stream)))
        })
    }
}

/// A stream as hyper's clients want it.
#[derive(Debug)]
pub struct HttpStream(TokioIo<TcpStream>);

impl HttpStream {
    /// The stream itself.
    #[must_use]
    pub fn into_inner(self) -> TcpStream {
        self.0.into_inner()
    }
}

impl Connection for HttpStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for HttpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}

/// An executor whose tasks belong to the host of who gives them to it: for servers of HTTP/2, which run each request in a
/// task of its own, when handlers open connections.
///
/// # Examples
///
/// ```
/// use hyper::server::conn::http2;
/// use ropeway_sim::adapters::HostExecutor;
/// let builder = http2::Builder::new(HostExecutor);
/// # let _ = builder;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HostExecutor;

impl<F> hyper::rt::Executor<F> for HostExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        crate::spawn(task);
    }
}
