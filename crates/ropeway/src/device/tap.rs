//! A look at every packet that crosses a device: for captures.
//!
//! # Examples
//!
//! ```
//! use ropeway::Stack;
//! use ropeway::device::memory;
//! use ropeway::device::tap::Tap;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
//! let (device, _other_end) = memory::pair(1500);
//! # let seen = Arc::new(AtomicUsize::new(0));
//! # let count = seen.clone();
//! let device = Tap::new(device, move |direction, time, packet| {
//! #   count.fetch_add(1, Ordering::Relaxed);
//!     println!("{direction:?} {} bytes at {time:?}", packet.len());
//! });
//! let stack = Stack::builder().address("10.0.0.1/24".parse()?).device(device).build()?;
//! # let connect = ropeway::net::TcpStream::connect_on(&stack, "10.0.0.2:80");
//! # let _ = tokio::time::timeout(std::time::Duration::from_millis(20), connect).await;
//! # assert!(seen.load(Ordering::Relaxed) >= 1);
//! # Ok(())
//! # }
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::BytesMut;
use tokio::time::Instant;

use super::{Capabilities, Device, Received, Transmit};

/// Which way a packet crossed, seen from the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The device received it.
    Received,
    /// The stack sent it.
    Sent,
}

/// A device that shows every packet that crosses another one to a hook.
///
/// The hook is called by the driver, so what it does holds the stack up. The time it is given follows Tokio's
/// clock: under a paused clock it is virtual, counted from the moment at which the tap was first used.
pub struct Tap<D, F> {
    device: D,
    hook: F,
    /// The wall clock and Tokio's at the same moment.
    epoch: Option<(SystemTime, Instant)>,
    /// Where packets are put together.
    scratch: BytesMut,
}

impl<D, F> Tap<D, F>
where
    D: Device,
    F: FnMut(Direction, SystemTime, &[u8]) + Send + 'static,
{
    /// Shows what crosses `device` to `hook`: which way, when, and the packet from its IP header on.
    ///
    /// They are seen as they are on the wire, whatever the device does for the stack: trains are cut, and checksums completed.
    pub fn new(device: D, hook: F) -> Self {
        Self { device, hook, epoch: None, scratch: BytesMut::new() }
    }

    /// Lets the device send, and shows what it has taken.
    fn show_sent<R>(
        &mut self,
        queue: &mut VecDeque<Transmit>,
        send: impl FnOnce(&mut D, &mut VecDeque<Transmit>) -> R,
    ) -> R {
        // What the device takes it consumes, and only then it has crossed. A clone shares the payload.
        let offered: Vec<Transmit> = queue.iter().cloned().collect();
        let result = send(&mut self.device, queue);
        let taken = offered.len().saturating_sub(queue.len());
        if taken > 0 {
            let now = self.now();
            let Self { hook, scratch, .. } = self;
            for packet in offered.iter().take(taken) {
                packet.for_each_on_wire(scratch, |packet| hook(Direction::Sent, now, packet));
            }
        }
        result
    }

    fn now(&mut self) -> SystemTime {
        let now = Instant::now();
        let (wall, start) = *self.epoch.get_or_insert_with(|| (SystemTime::now(), now));
        wall + now.saturating_duration_since(start)
    }
}

impl<D, F> Device for Tap<D, F>
where
    D: Device,
    F: FnMut(Direction, SystemTime, &[u8]) + Send + 'static,
{
    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }

    fn set_offload(&mut self, on: bool) -> io::Result<()> {
        self.device.set_offload(on)
    }

    fn slabs(&self) -> usize {
        self.device.slabs()
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        let before = batch.len();
        let result = self.device.poll_recv(cx, batch, max);
        let received = batch.get(before..).unwrap_or_default();
        if !received.is_empty() {
            let now = self.now();
            let Self { hook, scratch, .. } = self;
            for packet in received {
                packet.for_each_on_wire(scratch, |packet| hook(Direction::Received, now, packet));
            }
        }
        result
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        self.show_sent(queue, |device, queue| device.poll_send(cx, queue))
    }

    fn flush(&mut self, queue: &mut VecDeque<Transmit>) {
        self.show_sent(queue, |device, queue| device.flush(queue));
    }
}

impl<D: fmt::Debug, F> fmt::Debug for Tap<D, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("device", &self.device).finish_non_exhaustive()
    }
}
