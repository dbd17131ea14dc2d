//! A cable in memory, between two stacks.
//!
//! It needs no rights, and works under Tokio's paused clock and between runtimes. Nothing is lost on it, and
//! nothing takes time: a cable that loses, delays or reorders packets is what the `ropeway-sim` crate is for.
//!
//! See [`Stack`](crate::Stack) for an example.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, ready};

use super::queue::{self, Disconnected, Receiver, Sender};
use super::{Capabilities, Device, Received, Transmit};

/// How many packets are under way in each direction before the sender has to wait.
const CAPACITY: usize = 1024;

/// One end of a cable in memory. See [`pair`].
#[derive(Debug)]
pub struct MemoryDevice {
    mtu: u16,
    outgoing: Sender,
    incoming: Receiver,
}

/// The two ends of a cable that carries packets of up to `mtu` bytes.
///
/// 1024 packets fit into each direction; a sender that is faster than the receiver has to wait. When one end
/// is dropped, the cable is cut: what the other end sends is lost, which it cannot see.
#[must_use]
pub fn pair(mtu: u16) -> (MemoryDevice, MemoryDevice) {
    pair_with_capacity(mtu, CAPACITY)
}

/// Likewise, with room for `packets` packets in each direction, and at least one.
#[must_use]
pub fn pair_with_capacity(mtu: u16, packets: usize) -> (MemoryDevice, MemoryDevice) {
    let (to_right, from_left) = queue::queue(packets);
    let (to_left, from_right) = queue::queue(packets);
    (
        MemoryDevice { mtu, outgoing: to_right, incoming: from_right },
        MemoryDevice { mtu, outgoing: to_left, incoming: from_left },
    )
}

impl Device for MemoryDevice {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(self.mtu)
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        match self.incoming.poll_recv(cx, max, |packet| batch.push(Received::alone(packet))) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
            Poll::Ready(Err(Disconnected)) | Poll::Pending => Poll::Pending,
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        while !queue.is_empty() {
            match ready!(self.outgoing.poll_room(cx)) {
                Ok(room) => {
                    let sent = queue.drain(..room.min(queue.len()));
                    let fits = sent.filter(|packet| packet.len() <= usize::from(self.mtu));
                    // Put together before the queue's lock is taken.
                    let packets: Vec<_> = fits.map(|packet| packet.to_bytes()).collect();
                    self.outgoing.send(packets);
                }
                Err(Disconnected) => queue.clear(),
            }
        }
        Poll::Ready(Ok(()))
    }
}
