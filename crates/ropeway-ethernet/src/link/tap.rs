//! TAP devices of Linux.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ropeway::device::{PacketPool, Received};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tun::Tun;

use super::Link;
use crate::FrameQueue;

/// The program's end of a TAP device: the kernel's end is an Ethernet interface.
///
/// # Examples
///
/// ```no_run
/// use ropeway_ethernet::TapLink;
///
/// # async fn example() -> std::io::Result<()> {
/// // ip tuntap add dev guest0 mode tap user alice; ip link set guest0 up
/// let link = TapLink::open("guest0")?;
/// # Ok(())
/// # }
/// ```
pub struct TapLink {
    tun: Tun,
    pool: PacketPool,
}

impl TapLink {
    /// Attaches to the TAP device `name` of the calling thread's network namespace. If there is none it is made, which needs
    /// `CAP_NET_ADMIN`, and goes with the link. Its settings are left alone: it has to be brought up, and its MTU set, from outside.
    ///
    /// # Errors
    ///
    /// What the kernel says: `PermissionDenied` without the right, `ResourceBusy` when another program is attached, `InvalidInput` when it is
    /// another kind of device.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn open(name: &str) -> io::Result<Self> {
        let mut tuns = Tun::builder().name(name).tap().build().map_err(from_tokio_tun)?;
        let tun = tuns.pop().ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { tun, pool: PacketPool::new(1514) })
    }

    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.tun.name()
    }
}

fn from_tokio_tun(error: tokio_tun::Error) -> io::Error {
    match error {
        tokio_tun::Error::NixError(error) => error.into(),
        tokio_tun::Error::IoError(error) => error,
    }
}

impl Link for TapLink {
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        let before = frames.len();
        while frames.len() - before < max {
            let mut buffer = ReadBuf::new(self.pool.window());
            match Pin::new(&mut self.tun).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => {
                    let len = buffer.filled().len();
                    frames.push(self.pool.take(len));
                }
                _ if frames.len() > before => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, frames: &mut FrameQueue) -> Poll<io::Result<()>> {
        while let Some(frame) = frames.front() {
            match ready!(Pin::new(&mut self.tun).poll_write(cx, frame)) {
                // The interface was deleted.
                Err(error) if error.raw_os_error() == Some(EBADFD) => return Poll::Ready(Err(error)),
                // It is down, or does not take this frame.
                Err(error) => tracing::debug!(%error, "frame dropped"),
                Ok(_) => {}
            }
            frames.pop_front();
        }
        Poll::Ready(Ok(()))
    }

    fn flush(&mut self, frames: &mut FrameQueue) {
        while let Some(frame) = frames.front()
            && self.tun.try_send(frame).is_ok()
        {
            frames.pop_front();
        }
    }

    fn slabs(&self) -> usize {
        self.pool.capacity()
    }

    fn set_longest(&mut self, longest: u16) {
        self.pool = PacketPool::new(longest);
    }
}

/// "File descriptor in bad state": the same number on all of Linux's architectures but three, which tokio-tun does not have.
const EBADFD: i32 = 77;

impl std::fmt::Debug for TapLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TapLink").field("name", &self.name()).finish_non_exhaustive()
    }
}
