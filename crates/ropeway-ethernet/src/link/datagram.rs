//! Unix datagram sockets: each datagram is a frame.

use std::io;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll, ready};

use ropeway::device::{PacketPool, Received};
use socket2::SockRef;
use tokio::net::UnixDatagram;

use super::Link;
use crate::FrameQueue;

/// What vfkit, and libkrun with its flag for that, send before the first frame.
const HELLO: &[u8] = b"VFKT";
/// Memory that the kernel may hold frames in: macOS would give room for one small frame otherwise.
const SEND_BUFFER: usize = 1 << 20;
const RECEIVE_BUFFER: usize = 4 << 20;

/// Ethernet over Unix datagram sockets, as libkrun (`krun_add_net_unixgram`) and vfkit (`virtio-net,unixSocketPath=`) have it.
///
/// # Examples
///
/// ```no_run
/// use ropeway_ethernet::DatagramLink;
///
/// # async fn example() -> std::io::Result<()> {
/// // vfkit --device virtio-net,unixSocketPath=/run/vm.sock ...
/// let server = DatagramLink::listen("/run/vm.sock")?;
/// // One of a pair, whose other end a library such as libkrun gets as a descriptor.
/// let (ours, theirs) = std::os::unix::net::UnixDatagram::pair()?;
/// let pair = DatagramLink::new(ours)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct DatagramLink {
    socket: UnixDatagram,
    /// The socket waits for peers.
    listens: bool,
    /// Where the peer is, if it has a name and has come.
    peer: Option<PathBuf>,
    peers: u64,
    pool: PacketPool,
    /// What was bound, and goes with the link.
    bound: Option<PathBuf>,
}

impl DatagramLink {
    /// Uses a socket that is connected, such as one of a pair.
    ///
    /// # Errors
    ///
    /// What registering it with the runtime fails with.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn new(socket: StdDatagram) -> io::Result<Self> {
        Self::of(socket, false, None)
    }

    /// Waits at `path` for a peer: the first that sends something, and has a socket with a name, which gets our frames. Others are not heard
    /// while it is there. A dead socket at `path` is replaced.
    ///
    /// # Errors
    ///
    /// What binding the socket fails with: `AddrInUse` if somebody is there.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn listen(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        super::remove_dead_socket(path, || StdDatagram::unbound()?.connect(path))?;
        Self::of(StdDatagram::bind(path)?, true, Some(path.to_owned()))
    }

    /// Binds `local`, and connects it with the socket at `remote`, as a virtual machine does.
    ///
    /// # Errors
    ///
    /// What binding or connecting fails with.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn connect(local: impl AsRef<Path>, remote: impl AsRef<Path>) -> io::Result<Self> {
        let local = local.as_ref();
        super::remove_dead_socket(local, || StdDatagram::unbound()?.connect(local))?;
        let socket = StdDatagram::bind(local)?;
        let link = Self::of(socket.try_clone()?, false, Some(local.to_owned()))?;
        socket.connect(remote)?;
        match socket.send(HELLO) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            // If so much waits there that it does not fit, the first frame will do.
            _ => Ok(link),
        }
    }

    fn of(socket: StdDatagram, listens: bool, bound: Option<PathBuf>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let options = SockRef::from(&socket);
        // As much as the system allows.
        let _ = options.set_send_buffer_size(SEND_BUFFER);
        let _ = options.set_recv_buffer_size(RECEIVE_BUFFER);
        let socket = UnixDatagram::from_std(socket)?;
        Ok(Self { socket, listens, peer: None, peers: 0, pool: PacketPool::new(1514), bound })
    }

    /// Reads a datagram. `None` if it is no frame of our peer's.
    fn try_recv(&mut self) -> io::Result<Option<Received>> {
        let (len, from) = self.socket.try_recv_from(self.pool.window())?;
        let is_hello = self.pool.window().get(..len) == Some(HELLO);
        if self.listens && (is_hello || self.peer.is_none()) {
            let Some(path) = from.as_pathname() else {
                tracing::warn!(
                    "a peer without a name has sent to the Ethernet socket: it cannot be answered"
                );
                return Ok(None);
            };
            // Connected, so that no other peer can send, and so that we can wait until this one has room.
            self.socket.connect(path)?;
            tracing::info!(peer = %path.display(), "a peer has come to the Ethernet socket");
            self.peer = Some(path.to_owned());
            self.peers += 1;
        }
        let is_peer = !self.listens || self.peer.as_deref() == from.as_pathname();
        Ok((is_peer && !is_hello).then(|| self.pool.take(len)))
    }

    /// Sends a frame. Says whether it is gone, for better or worse.
    fn try_send(&mut self, frame: &[u8]) -> io::Result<()> {
        if self.listens && self.peer.is_none() {
            return Ok(());
        }
        match self.socket.try_send(frame) {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Err(error)
            }
            Err(error) if is_end(&error) && !self.listens => Err(error),
            Err(error) if is_end(&error) => {
                tracing::info!(%error, "the peer of the Ethernet socket is gone");
                self.peer = None;
                Ok(())
            }
            Err(error) => {
                tracing::debug!(%error, "frame dropped");
                Ok(())
            }
        }
    }
}

/// Whether nobody is there any more.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotConnected, NotFound};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | NotConnected | NotFound)
}

impl Link for DatagramLink {
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        let before = frames.len();
        while frames.len() - before < max {
            match self.socket.poll_recv_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending if frames.len() > before => break,
                Poll::Pending => return Poll::Pending,
            }
            let peers = self.peers;
            match self.try_recv() {
                Ok(frame) => frames.extend(frame),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) if self.listens => {
                    tracing::debug!(%error, "nothing received");
                    self.peer = None;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
            // The device has to know of another peer before it gets frames of it.
            if self.peers != peers && frames.len() > before {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, frames: &mut FrameQueue) -> Poll<io::Result<()>> {
        while let Some(frame) = frames.front() {
            ready!(self.socket.poll_send_ready(cx))?;
            match self.try_send(frame) {
                Ok(()) => frames.pop_front(),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn flush(&mut self, frames: &mut FrameQueue) {
        while let Some(frame) = frames.front()
            && self.try_send(frame).is_ok()
        {
            frames.pop_front();
        }
    }

    fn peer(&self) -> u64 {
        self.peers
    }

    fn slabs(&self) -> usize {
        self.pool.capacity()
    }

    fn set_longest(&mut self, longest: u16) {
        self.pool = PacketPool::new(longest);
    }
}

impl Drop for DatagramLink {
    fn drop(&mut self) {
        if let Some(path) = &self.bound {
            let _ = std::fs::remove_file(path);
        }
    }
}
