//! The layer, driven by Tokio.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ropeway::device::{Capabilities, Device, Received, Transmit};
use ropeway_core::Timestamp;
use tokio::time::{Instant, Sleep};

use crate::counters::Counts;
use crate::layer::EthernetLayer;
use crate::{EthernetConfig, EthernetCounters, Link};

/// Batches of frames that bring no packet, after which others get their turn.
const ROUNDS: usize = 4;

/// A device of Ethernet frames.
///
/// Time follows Tokio's clock, so a paused one works where the link is in memory.
#[derive(Debug)]
pub struct EthernetDevice<L> {
    link: L,
    layer: EthernetLayer,
    peer: u64,
    /// Where frames wait on their way from the link to the layer. Empty between calls.
    frames: Vec<Received>,
    epoch: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Reads the counters of a device, wherever that is. It outlives the device.
#[derive(Clone, Debug)]
pub struct EthernetCountersHandle {
    counts: Counts,
}

impl EthernetCountersHandle {
    /// What has been counted so far.
    #[must_use]
    pub fn read(&self) -> EthernetCounters {
        self.counts.read()
    }
}

impl<L: Link> EthernetDevice<L> {
    /// A device of these settings on this link.
    #[must_use]
    pub fn new(mut link: L, config: EthernetConfig) -> Self {
        let layer = EthernetLayer::new(config);
        link.set_longest(layer.mtu().saturating_add(14 + 4));
        let peer = link.peer();
        Self { link, layer, peer, frames: Vec::new(), epoch: None, sleep: None }
    }

    /// A handle to its counters.
    #[must_use]
    pub fn counters(&self) -> EthernetCountersHandle {
        EthernetCountersHandle { counts: self.layer.counts() }
    }

    /// Our link-local IPv6 address. A stack that is to be reached there needs it as one of its addresses.
    #[must_use]
    pub fn link_local(&self) -> std::net::Ipv6Addr {
        self.layer.link_local()
    }

    fn now(&mut self) -> Timestamp {
        let now = Instant::now();
        let epoch = *self.epoch.get_or_insert(now);
        Timestamp::START + now.saturating_duration_since(epoch)
    }

    /// Gives the link what waits. An error of the link is one of the device.
    fn send_frames(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.layer.frames().is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.link.poll_send(cx, self.layer.frames())
    }

    fn do_what_is_due(&mut self, now: Timestamp) {
        if self.link.peer() != self.peer {
            self.peer = self.link.peer();
            self.layer.link_changed(now);
        }
        if self.layer.poll_timeout().is_some_and(|due| due <= now) {
            self.layer.handle_timeout(now);
        }
    }

    /// Sets the alarm. Says whether it has gone off already.
    fn arm(&mut self, cx: &mut Context<'_>) -> bool {
        let (Some(due), Some(epoch)) = (self.layer.poll_timeout(), self.epoch) else { return false };
        // Rounded up: the clock may be read at a part of a microsecond.
        let at = epoch + due.since(Timestamp::START) + std::time::Duration::from_micros(1);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx).is_ready()
    }
}

impl<L: Link> Device for EthernetDevice<L> {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(self.layer.mtu())
            .with_longest_train(u16::MAX)
            .with_packets_of_machine(self.link.is_of_machine())
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        let before = batch.len();
        for _ in 0..ROUNDS {
            let received = self.link.poll_recv(cx, &mut self.frames, max)?;
            let now = self.now();
            self.do_what_is_due(now);
            let Self { layer, frames, .. } = self;
            for frame in frames.drain(..) {
                batch.extend(layer.handle_frame(now, frame));
            }
            while batch.len() - before < max
                && let Some(packet) = self.layer.poll_packet()
            {
                batch.push(packet);
            }
            let _full = self.send_frames(cx)?;
            if batch.len() > before {
                return Poll::Ready(Ok(()));
            }
            if received.is_pending() && !self.arm(cx) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn slabs(&self) -> usize {
        self.link.slabs()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        let now = self.now();
        loop {
            while self.layer.has_room()
                && let Some(packet) = queue.pop_front()
            {
                self.layer.handle_packet(now, &packet);
            }
            match self.send_frames(cx)? {
                Poll::Ready(()) if queue.is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(()) => {}
                // What waits in the layer goes with the next turn; more is not taken.
                Poll::Pending => return if queue.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending },
            }
        }
    }

    fn flush(&mut self, queue: &mut VecDeque<Transmit>) {
        let now = self.now();
        loop {
            while self.layer.has_room()
                && let Some(packet) = queue.pop_front()
            {
                self.layer.handle_packet(now, &packet);
            }
            self.link.flush(self.layer.frames());
            if queue.is_empty() || !self.layer.has_room() {
                return;
            }
        }
    }
}
