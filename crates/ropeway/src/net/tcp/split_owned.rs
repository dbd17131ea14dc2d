//! Halves that own their stream together.

use std::error::Error;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};

use super::split::{impl_read_half, impl_write_half};
use super::stream::TcpStream;

/// The read half of a [`TcpStream`], made by [`into_split`](TcpStream::into_split).
///
/// Its methods are those of the stream. Dropping it does nothing until the write half is dropped too.
#[derive(Debug)]
pub struct OwnedReadHalf {
    stream: Arc<TcpStream>,
}

/// The write half of a [`TcpStream`], made by [`into_split`](TcpStream::into_split).
///
/// Its methods are those of the stream. Dropping it sends a FIN, as `shutdown` does, unless it is
/// [forgotten](Self::forget).
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Arc<TcpStream>,
    shutdown_on_drop: bool,
}

/// The halves are not of the same stream. It gives them back.
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tried to reunite halves that are not from the same socket")
    }
}

impl Error for ReuniteError {}

pub(crate) fn split_owned(stream: TcpStream) -> (OwnedReadHalf, OwnedWriteHalf) {
    let stream = Arc::new(stream);
    let read = OwnedReadHalf { stream: Arc::clone(&stream) };
    (read, OwnedWriteHalf { stream, shutdown_on_drop: true })
}

fn reunite(read: OwnedReadHalf, write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
    if !Arc::ptr_eq(&read.stream, &write.stream) {
        return Err(ReuniteError(read, write));
    }
    write.forget();
    #[expect(clippy::expect_used, reason = "only the two halves hold it, and one is gone")]
    Ok(Arc::into_inner(read.stream).expect("the other half was the only other owner"))
}

impl OwnedReadHalf {
    /// Puts the halves of one stream together again.
    ///
    /// # Errors
    ///
    /// If they are not of the same stream: the error gives them back.
    pub fn reunite(self, other: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        reunite(self, other)
    }
}

impl OwnedWriteHalf {
    /// Puts the halves of one stream together again.
    ///
    /// # Errors
    ///
    /// If they are not of the same stream: the error gives them back.
    pub fn reunite(self, other: OwnedReadHalf) -> Result<TcpStream, ReuniteError> {
        reunite(other, self)
    }

    /// Drops this half without a FIN. The stream is closed when the read half is dropped too.
    pub fn forget(mut self) {
        self.shutdown_on_drop = false;
    }

    fn shutdown(&mut self) -> io::Result<()> {
        let result = self.stream.shutdown_write();
        self.shutdown_on_drop &= result.is_err();
        result
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.shutdown_on_drop {
            // A stack that has ended has nobody to tell.
            let _ended = self.stream.shutdown_write();
        }
    }
}

impl_read_half!(OwnedReadHalf, self => self.stream);
impl_write_half!(OwnedWriteHalf, self => self.stream, shutdown: self.get_mut().shutdown());
