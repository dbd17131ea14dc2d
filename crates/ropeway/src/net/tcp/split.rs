//! Halves that borrow their stream.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};

use super::stream::TcpStream;

/// The read half of a [`TcpStream`], made by [`split`](TcpStream::split).
///
/// Its methods are those of the stream.
#[derive(Debug)]
pub struct ReadHalf<'a>(&'a TcpStream);

/// The write half of a [`TcpStream`], made by [`split`](TcpStream::split).
///
/// Its methods are those of the stream. Its `shutdown` sends a FIN; dropping it does nothing.
#[derive(Debug)]
pub struct WriteHalf<'a>(&'a TcpStream);

pub(crate) fn split(stream: &mut TcpStream) -> (ReadHalf<'_>, WriteHalf<'_>) {
    (ReadHalf(stream), WriteHalf(stream))
}

/// What both kinds of halves have: `$stream` is an expression for the stream of `$self`.
macro_rules! impl_read_half {
    ($type:ty, $self:ident => $stream:expr) => {
        impl $type {
            /// See [`TcpStream::poll_peek`].
            ///
            /// # Errors
            ///
            /// Those of [`TcpStream::peek`].
            pub fn poll_peek(
                &mut $self,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<usize>> {
                $stream.poll_peek(cx, buf)
            }

            /// See [`TcpStream::peek`].
            ///
            /// # Errors
            ///
            /// Those of [`TcpStream::peek`].
            ///
            /// # Cancel safety
            ///
            /// Cancel safe.
            pub async fn peek(&mut $self, buf: &mut [u8]) -> io::Result<usize> {
                $stream.peek(buf).await
            }

            /// See [`TcpStream::ready`].
            ///
            /// # Errors
            ///
            /// If the stack ends.
            ///
            /// # Cancel safety
            ///
            /// Cancel safe.
            pub async fn ready(&$self, interest: Interest) -> io::Result<Ready> {
                $stream.ready(interest).await
            }

            /// See [`TcpStream::readable`].
            ///
            /// # Errors
            ///
            /// If the stack ends.
            ///
            /// # Cancel safety
            ///
            /// Cancel safe.
            pub async fn readable(&$self) -> io::Result<()> {
                $stream.readable().await
            }

            /// See [`TcpStream::try_read`].
            ///
            /// # Errors
            ///
            /// Those of [`TcpStream::try_read`].
            pub fn try_read(&$self, buf: &mut [u8]) -> io::Result<usize> {
                $stream.try_read(buf)
            }

            /// See [`TcpStream::try_read_vectored`].
            ///
            /// # Errors
            ///
            /// Those of [`TcpStream::try_read`].
            pub fn try_read_vectored(&$self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                $stream.try_read_vectored(bufs)
            }

            /// See [`TcpStream::try_read_buf`].
            ///
            /// # Errors
            ///
            /// Those of [`TcpStream::try_read`].
            pub fn try_read_buf<B: BufMut>(&$self, buf: &mut B) -> io::Result<usize> {
                $stream.try_read_buf(buf)
            }

            /// See [`TcpStream::read_bytes`].
            ///
            /// # Errors
            ///
            /// Those of [`TcpStream::read_bytes`].
            ///
            /// # Cancel safety
            ///
            /// Cancel safe.
            pub async fn read_bytes(&$self, max: usize) -> io::Result<Bytes> {
                $stream.read_bytes(max).await
            }

            /// See [`TcpStream::peer_addr`].
            ///
            /// # Errors
            ///
            /// Those of [`TcpStream::peer_addr`].
            pub fn peer_addr(&$self) -> io::Result<SocketAddr> {
                $stream.peer_addr()
            }

            /// See [`TcpStream::local_addr`].
            ///
            /// # Errors
            ///
            /// None as yet.
            pub fn local_addr(&$self) -> io::Result<SocketAddr> {
                $stream.local_addr()
            }
        }

        impl AsyncRead for $type {
            fn poll_read(
                $self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                $stream.poll_read_shared(cx, buf)
            }
        }

        impl AsRef<TcpStream> for $type {
            fn as_ref(&$self) -> &TcpStream {
                $stream.as_ref()
            }
        }
    };
}

/// The same for the other direction; how it is shut down differs.
macro_rules! impl_write_half {
    ($type:ty, $self:ident => $stream:expr, shutdown: $shutdown:expr) => {
        impl $type {
            /// See [`TcpStream::ready`].
            ///
            /// # Errors
            ///
            /// If the stack ends.
            ///
            /// # Cancel safety
            ///
            /// Cancel safe.
            pub async fn ready(&$self, interest: Interest) -> io::Result<Ready> {
                $stream.ready(interest).await
            }

            /// See [`TcpStream::writable`].
            ///
            /// # Errors
            ///
            /// If the stack ends.
            ///
            /// # Cancel safety
            ///
            /// Cancel safe.
            pub async fn writable(&$self) -> io::Result<()> {
                $stream.writable().await
            }

            /// See [`TcpStream::try_write`].
            ///
            /// # Errors
            ///
            /// Those of [`TcpStream::try_write`].
            pub fn try_write(&$self, buf: &[u8]) -> io::Result<usize> {
                $stream.try_write(buf)
            }

            /// See [`TcpStream::try_write_vectored`].
            ///
            /// # Errors
            ///
            /// Those of [`TcpStream::try_write`].
            pub fn try_write_vectored(&$self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
                $stream.try_write_vectored(bufs)
            }

            /// See [`TcpStream::write_bytes`].
            ///
            /// # Errors
            ///
            /// Those of [`TcpStream::write_bytes`].
            ///
            /// # Cancel safety
            ///
            /// Not cancel safe.
            pub async fn write_bytes(&$self, data: Bytes) -> io::Result<()> {
                $stream.write_bytes(data).await
            }

            /// See [`TcpStream::peer_addr`].
            ///
            /// # Errors
            ///
            /// Those of [`TcpStream::peer_addr`].
            pub fn peer_addr(&$self) -> io::Result<SocketAddr> {
                $stream.peer_addr()
            }

            /// See [`TcpStream::local_addr`].
            ///
            /// # Errors
            ///
            /// None as yet.
            pub fn local_addr(&$self) -> io::Result<SocketAddr> {
                $stream.local_addr()
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(
                $self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                $stream.poll_write_shared(cx, buf)
            }

            fn poll_write_vectored(
                $self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                $stream.poll_write_vectored_shared(cx, bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            /// Does nothing: what was written is on its way.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Sends a FIN after what was written, and returns at once.
            fn poll_shutdown(
                $self: Pin<&mut Self>,
                _: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                Poll::Ready($shutdown)
            }
        }

        impl AsRef<TcpStream> for $type {
            fn as_ref(&$self) -> &TcpStream {
                $stream.as_ref()
            }
        }
    };
}

pub(super) use {impl_read_half, impl_write_half};

impl_read_half!(ReadHalf<'_>, self => self.0);
impl_write_half!(WriteHalf<'_>, self => self.0, shutdown: self.0.shutdown_write());
