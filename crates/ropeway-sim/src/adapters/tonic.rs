//! For tonic.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use ropeway::net::{TcpListener, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// The connections that a listener accepts, for `tonic::transport::Server::serve_with_incoming`.
///
/// # Examples
///
/// ```
/// use ropeway::net::TcpListener;
/// use ropeway_sim::adapters::TonicIncoming;
///
/// # async fn serve(routes: tonic::service::Routes) -> Result<(), Box<dyn std::error::Error>> {
/// let listener = TcpListener::bind("0.0.0.0:50051").await?;
/// tonic::transport::Server::builder().add_routes(routes).serve_with_incoming(TonicIncoming(listener)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TonicIncoming(pub TcpListener);

impl futures_core::Stream for TonicIncoming {
    type Item = io::Result<TonicStream>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_accept(cx).map_ok(|(stream, _)| TonicStream(stream)).map(Some)
    }
}

/// A stream as tonic's server wants it. `Request::remote_addr` tells the peer's address.
#[derive(Debug)]
pub struct TonicStream(TcpStream);

impl Connected for TonicStream {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        let (local_addr, remote_addr): (Option<SocketAddr>, _) =
            (self.0.local_addr().ok(), self.0.peer_addr().ok());
        TcpConnectInfo { local_addr, remote_addr }
    }
}

impl AsyncRead for TonicStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for TonicStream {
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
