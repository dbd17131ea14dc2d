//! A device whose other side is the program itself: for tunnels, proxies and whatever else carries packets.
//!
//! # Examples
//!
//! A tunnel that encrypts what the stack sends, and decrypts what it is to receive:
//!
//! ```
//! use bytes::Bytes;
//! use ropeway::Stack;
//! use ropeway::device::channel;
//! # fn encrypt(packet: Bytes) -> Bytes { packet }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (device, mut channel) = channel::channel(1420);
//! let stack = Stack::builder().address("10.9.0.2/24".parse()?).device(device).build()?;
//!
//! # let connecting = tokio::spawn(async move {
//! #     ropeway::net::TcpStream::connect_on(&stack, "10.9.0.1:80").await
//! # });
//! if let Some(packet) = channel.recv().await {
//!     let datagram = encrypt(packet);
//!     // ... and off it goes. Packets that come back go into the stack:
//!     channel.send(datagram).await?;
//! }
//! # connecting.abort();
//! # Ok(())
//! # }
//! ```

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};

use super::queue::{self, Receiver, Sender};
use super::{Capabilities, Device, Received, Transmit};
use crate::waiters::guard;

/// How many packets are under way in each direction before the sender has to wait.
const CAPACITY: usize = 1024;

/// The stack's side. See [`channel`].
#[derive(Debug)]
pub struct ChannelDevice {
    mtu: u16,
    outgoing: Sender,
    incoming: mpsc::Receiver<Received>,
}

/// The program's side. See [`channel`].
///
/// When it is dropped, and all its senders with it, the device has failed, and its stack ends.
#[derive(Debug)]
pub struct PacketChannel {
    sender: PacketSender,
    receiver: Receiver,
}

/// Puts packets into a stack, from any number of tasks. Made by [`PacketChannel::sender`].
#[derive(Clone, Debug)]
pub struct PacketSender {
    packets: mpsc::Sender<Received>,
}

/// The stack has ended, and its device with it. The packet comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendError(pub Bytes);

/// Why a packet was not sent at once. It comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrySendError {
    /// The stack has to catch up.
    Full(Bytes),
    /// The stack has ended, and its device with it.
    Closed(Bytes),
}

/// Why there is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// The stack has nothing to send.
    Empty,
    /// The stack has ended, and its device with it.
    Closed,
}

/// A device and the handle of the program that carries its packets, which are whole IP packets of up to `mtu`
/// bytes.
///
/// 1024 packets fit into each direction. A program that does not take what the stack sends holds it up:
/// nothing is dropped, and the stack's senders wait.
#[must_use]
pub fn channel(mtu: u16) -> (ChannelDevice, PacketChannel) {
    channel_with_capacity(mtu, CAPACITY)
}

/// Likewise, with room for `packets` packets in each direction, and at least one.
#[must_use]
pub fn channel_with_capacity(mtu: u16, packets: usize) -> (ChannelDevice, PacketChannel) {
    let (outgoing, receiver) = queue::queue(packets);
    let (sender, incoming) = mpsc::channel(packets.clamp(1, Semaphore::MAX_PERMITS));
    let sender = PacketSender { packets: sender };
    (ChannelDevice { mtu, outgoing, incoming }, PacketChannel { sender, receiver })
}

impl PacketChannel {
    /// Puts a packet into the stack, and waits while it has to catch up.
    ///
    /// # Errors
    ///
    /// If the stack has ended.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped has not sent the packet, which is lost.
    pub async fn send(&self, packet: Bytes) -> Result<(), SendError> {
        self.sender.send(packet).await
    }

    /// Puts a packet into the stack if there is room.
    ///
    /// # Errors
    ///
    /// If the stack has to catch up, or has ended.
    pub fn try_send(&self, packet: Bytes) -> Result<(), TrySendError> {
        self.sender.try_send(packet)
    }

    /// Waits for a packet that the stack sends. `None` when the stack has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped has taken no packet.
    pub async fn recv(&mut self) -> Option<Bytes> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Polls for a packet that the stack sends. `None` when the stack has ended.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut received = None;
        let _ended = ready!(self.receiver.poll_recv(cx, 1, |packet| received = Some(packet)));
        Poll::Ready(received)
    }

    /// Takes a packet that the stack sends, if there is one.
    ///
    /// # Errors
    ///
    /// If there is none, or the stack has ended.
    pub fn try_recv(&mut self) -> Result<Bytes, TryRecvError> {
        match self.poll_recv(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(packet)) => Ok(packet),
            Poll::Ready(None) => Err(TryRecvError::Closed),
            Poll::Pending => Err(TryRecvError::Empty),
        }
    }

    /// A handle for another task that only sends.
    #[must_use]
    pub fn sender(&self) -> PacketSender {
        self.sender.clone()
    }
}

impl PacketSender {
    /// Puts a packet into the stack, and waits while it has to catch up.
    ///
    /// # Errors
    ///
    /// If the stack has ended.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped has not sent the packet, which is lost.
    pub async fn send(&self, packet: Bytes) -> Result<(), SendError> {
        let sent = self.packets.send(Received::new(packet)).await;
        sent.map_err(|refused| SendError(refused.0.packet))
    }

    /// Puts a packet into the stack if there is room.
    ///
    /// # Errors
    ///
    /// If the stack has to catch up, or has ended.
    pub fn try_send(&self, packet: Bytes) -> Result<(), TrySendError> {
        self.packets.try_send(Received::new(packet)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(refused) => TrySendError::Full(refused.packet),
            mpsc::error::TrySendError::Closed(refused) => TrySendError::Closed(refused.packet),
        })
    }
}

impl Device for ChannelDevice {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(self.mtu)
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        // Room is given to those who wait for it: foreign code, as in our own queue.
        let Some(received) = guard(|| self.incoming.poll_recv_many(cx, batch, max)) else {
            cx.waker().wake_by_ref();
            return if batch.is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) };
        };
        match ready!(received) {
            0 => Poll::Ready(Err(handle_dropped())),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        while !queue.is_empty() {
            let room = ready!(self.outgoing.poll_room(cx)).map_err(|_| handle_dropped())?;
            let sent = queue.drain(..room.min(queue.len()));
            let fits = sent.filter(|packet| packet.len() <= usize::from(self.mtu));
            // Put together before the queue's lock is taken.
            let packets: Vec<_> = fits.map(|packet| packet.to_bytes()).collect();
            self.outgoing.send(packets);
        }
        Poll::Ready(Ok(()))
    }
}

fn handle_dropped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the device's PacketChannel was dropped")
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the stack has ended")
    }
}

impl Error for SendError {}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the stack has to catch up",
            Self::Closed(_) => "the stack has ended",
        })
    }
}

impl Error for TrySendError {}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the stack has nothing to send",
            Self::Closed => "the stack has ended",
        })
    }
}

impl Error for TryRecvError {}
