//! Unix stream sockets with QEMU's framing: before each frame its length, a big-endian number of four bytes.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use ropeway::device::Received;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Sleep;

use super::{LONGEST_FRAME, Link};
use crate::FrameQueue;

/// Bytes that are asked for at a time.
const READ: usize = 256 * 1024;
/// How long to wait after a connection could not be accepted.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes of a length.
const LENGTH: usize = 4;

/// Ethernet over a Unix stream socket, as QEMU's `-netdev stream` and passt have it.
///
/// # Examples
///
/// ```no_run
/// use ropeway_ethernet::StreamLink;
///
/// # async fn example() -> std::io::Result<()> {
/// // qemu-system-x86_64 -netdev stream,id=n0,server=off,addr.type=unix,addr.path=/run/vm.sock ...
/// let server = StreamLink::listen("/run/vm.sock")?;
/// // The other role: somebody else listens, such as `qemu -netdev stream,server=on` or passt.
/// let client = StreamLink::new(tokio::net::UnixStream::connect("/tmp/passt_1.socket").await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StreamLink {
    listener: Option<UnixListener>,
    stream: Option<UnixStream>,
    peers: u64,
    incoming: BytesMut,
    /// When it is tried again to accept a connection.
    retry: Option<Pin<Box<Sleep>>>,
}

impl StreamLink {
    /// Uses a connected socket. When the peer closes it, the link has failed.
    #[must_use]
    pub fn new(stream: UnixStream) -> Self {
        Self { listener: None, stream: Some(stream), peers: 0, incoming: BytesMut::new(), retry: None }
    }

    /// Waits for connections at `path`, and uses one at a time: when it ends, the next. While there is none, frames that are sent are lost.
    /// A socket without a listener at `path` is replaced.
    ///
    /// # Errors
    ///
    /// What binding the socket fails with: `AddrInUse` if somebody listens there, or if it is something else than a socket.
    ///
    /// # Panics
    ///
    /// Outside of a runtime, as [`UnixListener::bind`].
    pub fn listen(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        super::remove_dead_socket(path, || std::os::unix::net::UnixStream::connect(path).map(drop))?;
        Ok(Self::from_listener(UnixListener::bind(path)?))
    }

    /// Likewise, with a socket that listens already.
    #[must_use]
    pub fn from_listener(listener: UnixListener) -> Self {
        Self { listener: Some(listener), stream: None, peers: 0, incoming: BytesMut::new(), retry: None }
    }

    /// The connection has ended, with this error if there was one. If others may come it is no error of the link.
    fn lost(&mut self, error: io::Error) -> io::Result<()> {
        if self.listener.is_none() {
            return Err(error);
        }
        tracing::info!(%error, "the peer of the Ethernet socket is gone");
        self.stream = None;
        self.incoming.clear();
        Ok(())
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(listener) = &self.listener else { return Poll::Pending };
        let stream = loop {
            if let Some(retry) = &mut self.retry {
                ready!(retry.as_mut().poll(cx));
                self.retry = None;
            }
            match ready!(listener.poll_accept(cx)) {
                Ok((stream, _)) => break stream,
                // Too many open files, as a rule: that passes.
                Err(error) => {
                    tracing::warn!(%error, "a peer of the Ethernet socket could not be accepted");
                    self.retry = Some(Box::pin(tokio::time::sleep(RETRY)));
                }
            }
        };
        tracing::info!("a peer has connected to the Ethernet socket");
        self.stream = Some(stream);
        self.incoming.clear();
        self.peers += 1;
        Poll::Ready(())
    }

    /// Takes whole frames out of what has been read. An error says that the peer has lost the framing.
    fn take_frames(&mut self, frames: &mut Vec<Received>, max: usize) -> io::Result<()> {
        for _ in 0..max {
            // Of a length that has not come whole nothing is known yet.
            let Some(length) = self.incoming.first_chunk::<LENGTH>() else { return Ok(()) };
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            if length > LONGEST_FRAME {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the peer sent a frame longer than any",
                ));
            }
            if self.incoming.len() < LENGTH + length {
                return Ok(());
            }
            self.incoming.advance(LENGTH);
            frames.push(Received::new(self.incoming.split_to(length).freeze()));
        }
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &self.stream else { return Poll::Pending };
        self.incoming.reserve(READ);
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_read_buf(&mut self.incoming) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if is_to_be_tried_again(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, frames: &mut FrameQueue) -> Poll<io::Result<()>> {
        let Some(stream) = &self.stream else {
            frames.clear();
            return Poll::Ready(Ok(()));
        };
        while !frames.is_empty() {
            ready!(stream.poll_write_ready(cx))?;
            match stream.try_write(frames.as_stream()) {
                Ok(written) => frames.advance(written),
                Err(error) if is_to_be_tried_again(&error) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn is_to_be_tried_again(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

impl Link for StreamLink {
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        let before = frames.len();
        loop {
            if self.stream.is_none() {
                ready!(self.poll_accept(cx));
            }
            // What has been read comes first.
            let taken = self.take_frames(frames, max);
            if frames.len() > before {
                return Poll::Ready(taken.or_else(|error| self.lost(error)));
            }
            match taken {
                Ok(()) => match ready!(self.poll_read(cx)) {
                    Ok(()) => {}
                    Err(error) => self.lost(error)?,
                },
                Err(error) => self.lost(error)?,
            }
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, frames: &mut FrameQueue) -> Poll<io::Result<()>> {
        match ready!(self.poll_write(cx, frames)) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => {
                frames.clear();
                Poll::Ready(self.lost(error))
            }
        }
    }

    fn flush(&mut self, frames: &mut FrameQueue) {
        while !frames.is_empty()
            && let Some(stream) = &self.stream
            && let Ok(written) = stream.try_write(frames.as_stream())
        {
            frames.advance(written);
        }
    }

    fn peer(&self) -> u64 {
        self.peers
    }

    fn slabs(&self) -> usize {
        self.incoming.capacity()
    }
}
