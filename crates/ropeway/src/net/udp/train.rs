//! Several datagrams with one call: what QUIC sends and receives by (UDP_SEGMENT and UDP_GRO of Linux).

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use ropeway_core::packet::EcnCodepoint;
use ropeway_core::{DatagramTrain, Outgoing, RecvError, Stack as Core, UdpId};

use super::held::Held;
use super::socket::UdpSocket;

/// Datagrams that are read into one buffer.
const MAX_SEGMENTS: usize = 64;

/// What a buffer that was received into holds: datagrams of one sender, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecvMeta {
    /// Who sent them.
    pub remote: SocketAddr,
    /// Where they were sent to: the address is one of the stack's, a group or a broadcast address.
    pub local: SocketAddr,
    /// Bytes in the buffer.
    pub len: usize,
    /// Bytes of each datagram; the last one may be shorter.
    pub stride: usize,
    /// What routers have said about congestion.
    pub ecn: EcnCodepoint,
}

impl Default for RecvMeta {
    /// Of a buffer that nothing was received into.
    fn default() -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self { remote: nowhere, local: nowhere, len: 0, stride: 0, ecn: EcnCodepoint::NotEct }
    }
}

/// # Trains
///
/// [`Outgoing::segment_size`] makes several datagrams of one buffer: up to 128, of equal sizes but for the last. A device that cuts
/// packets gets them as one. What was received one after the other, from one sender and alike, is read into one buffer likewise.
///
/// # Examples
///
/// ```
/// use std::io::IoSliceMut;
///
/// use ropeway::net::UdpSocket;
/// use ropeway::net::udp::{Outgoing, RecvMeta};
/// use ropeway::packet::EcnCodepoint;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let (left, right) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
/// let how = Outgoing {
///     to: Some(right.local_addr()?),
///     segment_size: Some(1200),
///     ecn: Some(EcnCodepoint::Ect0),
///     ..Outgoing::default()
/// };
/// left.send_train(&[7; 3000], &how).await?;
///
/// let (mut buf, mut meta) = ([0; 65_535], [RecvMeta::default()]);
/// assert_eq!(right.recv_trains(&mut [IoSliceMut::new(&mut buf)], &mut meta).await?, 1);
/// let [meta] = meta;
/// assert_eq!((meta.len, meta.stride, meta.ecn), (3000, 1200, EcnCodepoint::Ect0));
/// assert_eq!(meta.local, right.local_addr()?);
/// # Ok(())
/// # }
/// ```
impl UdpSocket {
    /// Sends one datagram or several, as `how` says.
    ///
    /// # Errors
    ///
    /// Those of [`send_to`](Self::send_to); [`InvalidInput`](io::ErrorKind::InvalidInput) for more than 128 datagrams;
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) for a source that is not the stack's.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped has sent nothing.
    pub async fn send_train(&self, data: &[u8], how: &Outgoing) -> io::Result<()> {
        self.held.send(data, how).await
    }

    /// Polls for datagrams to be sent; see [`poll_send`](Self::poll_send).
    ///
    /// # Errors
    ///
    /// Those of [`send_train`](Self::send_train).
    pub fn poll_send_train(&self, cx: &mut Context<'_>, data: &[u8], how: &Outgoing) -> Poll<io::Result<()>> {
        self.held.poll_send(cx, data, how)
    }

    /// Sends datagrams if that can be done at once.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), and those of [`send_train`](Self::send_train).
    pub fn try_send_train(&self, data: &[u8], how: &Outgoing) -> io::Result<()> {
        self.held.try_send(data, how)
    }

    /// Receives datagrams into one or several buffers, and says how many buffers hold something; `meta` says what. At least as
    /// many buffers as places in `meta` are used. A datagram that is longer than its buffer is cut.
    ///
    /// # Errors
    ///
    /// Those of [`recv_from`](Self::recv_from).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped has taken nothing.
    pub async fn recv_trains(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        let rooms = rooms(bufs, meta);
        let trains = self.held.recv(|core, id| take(core, id, &rooms)).await?;
        Ok(fill(&self.held, &trains, bufs, meta))
    }

    /// Polls for datagrams; see [`poll_recv`](Self::poll_recv).
    ///
    /// # Errors
    ///
    /// Those of [`recv_trains`](Self::recv_trains).
    pub fn poll_recv_trains(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let rooms = rooms(bufs, meta);
        let trains = ready!(self.held.poll_recv(cx, |core, id| take(core, id, &rooms)))?;
        Poll::Ready(Ok(fill(&self.held, &trains, bufs, meta)))
    }

    /// Receives datagrams if there are any.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock), and those of [`recv_trains`](Self::recv_trains).
    pub fn try_recv_trains(&self, bufs: &mut [IoSliceMut<'_>], meta: &mut [RecvMeta]) -> io::Result<usize> {
        let rooms = rooms(bufs, meta);
        let trains = self.held.try_recv(|core, id| take(core, id, &rooms))?;
        Ok(fill(&self.held, &trains, bufs, meta))
    }
}

/// How long each buffer is that is used.
pub(super) fn rooms(bufs: &[IoSliceMut<'_>], meta: &[RecvMeta]) -> Vec<usize> {
    bufs.iter().zip(meta).map(|(buf, _)| buf.len()).collect()
}

/// A train for each room, as far as there are any.
pub(super) fn take(core: &mut Core, id: UdpId, rooms: &[usize]) -> Result<Vec<DatagramTrain>, RecvError> {
    let mut trains = Vec::with_capacity(rooms.len());
    for room in rooms {
        match core.udp_recv_train(id, *room, MAX_SEGMENTS) {
            Ok(train) => trains.push(train),
            Err(_) if !trains.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(trains)
}

/// Copies what was taken, without the lock.
pub(super) fn fill(
    held: &Held,
    trains: &[DatagramTrain],
    bufs: &mut [IoSliceMut<'_>],
    meta: &mut [RecvMeta],
) -> usize {
    for ((train, buf), meta) in trains.iter().zip(bufs).zip(meta) {
        let mut len = 0;
        for part in train.payload.parts() {
            let Some(room) = buf.get_mut(len..) else { break };
            let fits = part.len().min(room.len());
            if let (Some(to), Some(from)) = (room.get_mut(..fits), part.get(..fits)) {
                to.copy_from_slice(from);
            }
            len += fits;
        }
        *meta = RecvMeta {
            remote: held.shown(train.remote),
            local: held.shown(train.local),
            len,
            stride: train.segment_size.min(len),
            ecn: train.ecn(),
        };
    }
    trains.len()
}
