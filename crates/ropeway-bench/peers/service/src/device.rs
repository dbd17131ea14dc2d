//! The TUN device that a stack is given.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A TUN device; each read and each write is a packet.
#[derive(Debug)]
pub struct Device(AsyncFd<File>);

impl Device {
    /// The descriptor of the device that is the standard input.
    ///
    /// # Errors
    ///
    /// The process is out of descriptors.
    pub fn file() -> io::Result<File> {
        Ok(io::stdin().as_fd().try_clone_to_owned()?.into())
    }

    /// The device that is the standard input.
    ///
    /// # Errors
    ///
    /// There is no Tokio runtime with I/O, or the process is out of descriptors.
    pub fn given() -> io::Result<Self> {
        // SAFETY: the file belongs to what is registered, which neither closes nor replaces it before its own end.
        unsafe { AsyncFd::register(Self::file()?) }.map(Self).map_err(|error| error.into_parts().1)
    }
}

impl AsyncRead for Device {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            if let Ok(result) = guard.try_io(|file| file.get_ref().read(buffer.initialize_unfilled())) {
                return Poll::Ready(result.map(|read| buffer.advance(read)));
            }
        }
    }
}

impl AsyncWrite for Device {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, packet: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(result) = guard.try_io(|file| file.get_ref().write(packet)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
