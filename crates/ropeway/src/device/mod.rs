//! Where packets come from and go to.
//!
//! A [`Device`] moves whole IP packets in batches, with the metadata that lets a capable one take over
//! checksums and segmentation. The stack's driver is its only user: it owns the device, polls it from one
//! task, and drops it when the stack ends.
//!
//! To write a device of your own, implement the trait; a tunnel that carries packets by its own means is served
//! by [`channel`]. [`memory`] connects two stacks in one process, `tun` connects one with the kernel, and
//! [`tap`] shows what crosses any device. Read packets to a [`PacketPool`]: then the stack holds them as they are, and knows how
//! much memory that takes; packets of which it is not known are copied.

pub mod channel;
pub(crate) mod cut;
pub mod memory;
mod queue;
pub mod tap;
#[cfg(all(target_os = "linux", feature = "tun"))]
pub mod tun;

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll, Waker};

pub use ropeway_core::{PacketPool, Received, RxChecksum, Transmit};

/// Moves batches of whole IP packets, with offload metadata.
pub trait Device: Send + 'static {
    /// What the device can do: it is asked when the stack is built.
    fn capabilities(&self) -> Capabilities;

    /// Whether the device may hand over what it would otherwise complete for us: trains ([`Received::segment_size`]), and packets
    /// without a checksum ([`RxChecksum::Verified`]). It must not before it is asked to; so whoever wraps a device and does not
    /// know of these never sees them.
    ///
    /// # Errors
    ///
    /// The stack goes on without.
    fn set_offload(&mut self, on: bool) -> io::Result<()> {
        let _ = on;
        Ok(())
    }

    /// Another queue of the same device, for a driver that runs beside the others: each sends through its own, and a packet comes
    /// in by any of them. It is asked for after `set_offload`, once for each [shard](crate::stack::Builder::shards) but the first.
    /// `None`, the default, says that there is no other.
    ///
    /// # Errors
    ///
    /// The stack is not built.
    fn another_queue(&mut self) -> io::Result<Option<Box<dyn Device>>> {
        Ok(None)
    }

    /// Appends up to `max` packets to `batch`.
    ///
    /// `Ready(Ok(()))` once at least one packet was appended; `Pending`, with the waker of `cx` registered,
    /// when there is none. An error ends the device, and with it the stack.
    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>>;

    /// How many bytes of memory the device keeps to read packets to ([`PacketPool::capacity`]). They count as the stack's.
    fn slabs(&self) -> usize {
        0
    }

    /// Sends from the front of `queue` until it is empty.
    ///
    /// `Ready(Ok(()))` when all of it was sent; `Pending`, with the waker of `cx` registered, when the device
    /// takes no more for now: what it refused stays in the queue, in order. A packet that the device can
    /// never take is dropped, which is not an error. An error ends the device, and with it the stack.
    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>>;

    /// Sends from the front of `queue` what can be sent at once, without waiting: the last words of a stack that
    /// ends, perhaps with its runtime. Nobody will wake the driver any more, and there may be no reactor to
    /// register with. What stays in the queue is lost.
    ///
    /// The default polls [`poll_send`](Self::poll_send) with a waker that wakes nobody. That is right for a device
    /// that needs no runtime to send.
    fn flush(&mut self, queue: &mut VecDeque<Transmit>) {
        let _nobody_waits = self.poll_send(&mut Context::from_waker(Waker::noop()), queue);
    }
}

/// What a [`Device`] can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The largest packet it carries, in bytes, IP header included.
    pub mtu: u16,
    /// It finishes transport checksums, so that the stack writes only their pseudo-header sum
    /// ([`Transmit::checksum`]).
    pub tx_checksum_offload: bool,
    /// The longest train, in bytes, IP header included: a packet of several segments that it cuts, or carries whole
    /// ([`Transmit::segment_size`]). 0: none.
    pub longest_train: u16,
    /// Its packets come from outside of the process. Then the default of
    /// [`memory_budget`](crate::StackConfig::memory_budget) depends on the machine; otherwise equal programs have equal
    /// budgets everywhere.
    pub of_machine: bool,
}

impl Capabilities {
    /// A device that carries packets of up to `mtu` bytes, and does nothing else to them.
    #[must_use]
    pub const fn new(mtu: u16) -> Self {
        Self { mtu, tx_checksum_offload: false, longest_train: 0, of_machine: false }
    }

    /// Sets whether the device finishes transport checksums.
    #[must_use]
    pub const fn with_tx_checksum_offload(mut self, offload: bool) -> Self {
        self.tx_checksum_offload = offload;
        self
    }

    /// Sets the longest train that the device takes, in bytes; it completes the checksums of its segments.
    #[must_use]
    pub const fn with_longest_train(mut self, bytes: u16) -> Self {
        self.longest_train = bytes;
        self
    }

    /// Sets whether packets come from outside of the process.
    #[must_use]
    pub const fn with_packets_of_machine(mut self, of_machine: bool) -> Self {
        self.of_machine = of_machine;
        self
    }
}

/// No device at all: nothing ever comes, and what is sent is lost. Packets between a stack's own addresses
/// never reach a device.
#[derive(Debug)]
pub(crate) struct Nowhere;

impl Device for Nowhere {
    /// The MTU is that of Linux's `lo`, or the most there is.
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(u16::MAX)
    }

    fn poll_recv(&mut self, _: &mut Context<'_>, _: &mut Vec<Received>, _: usize) -> Poll<io::Result<()>> {
        Poll::Pending
    }

    fn poll_send(&mut self, _: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        queue.clear();
        Poll::Ready(Ok(()))
    }

    fn another_queue(&mut self) -> io::Result<Option<Box<dyn Device>>> {
        Ok(Some(Box::new(Self)))
    }
}

impl<D: Device + ?Sized> Device for Box<D> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        (**self).poll_recv(cx, batch, max)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        (**self).poll_send(cx, queue)
    }

    fn flush(&mut self, queue: &mut VecDeque<Transmit>) {
        (**self).flush(queue);
    }

    fn set_offload(&mut self, on: bool) -> io::Result<()> {
        (**self).set_offload(on)
    }

    fn another_queue(&mut self) -> io::Result<Option<Box<dyn Device>>> {
        (**self).another_queue()
    }

    fn slabs(&self) -> usize {
        (**self).slabs()
    }
}
