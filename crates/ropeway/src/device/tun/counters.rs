//! What a device lost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::netlink::Interface;

/// What a [`TunDevice`](super::TunDevice) lost, by reason. Reading it costs the device nothing.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let device = ropeway::device::tun::TunDevice::attach("rope0")?;
/// let counters = device.counters();
/// // ... give the device to a stack; later:
/// println!("{} packets lost while the link was down", counters.link_down());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TunCounters(Arc<Counts>);

impl TunCounters {
    pub(super) fn of(counts: &Arc<Counts>) -> Self {
        Self(Arc::clone(counts))
    }

    /// Packets that were not sent because the link was down.
    #[must_use]
    pub fn link_down(&self) -> u64 {
        self.0.link_down.load(Ordering::Relaxed)
    }

    /// Packets that were not sent because the kernel would not have them: malformed ones, or for want of memory.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Packets to us that the kernel dropped because they came faster than they were read, and the device's queue was
    /// full: since the interface was made. It asks the kernel; once the interface is gone, the answer is 0.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        let mut interface = self.0.interface.lock().unwrap_or_else(PoisonError::into_inner);
        interface.as_mut().and_then(|interface| interface.tx_dropped().ok()).unwrap_or_default()
    }

    /// Packets that were received in part only, because somebody had raised the device's MTU, and so thrown away.
    #[must_use]
    pub fn truncated(&self) -> u64 {
        self.0.truncated.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) link_down: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) truncated: AtomicU64,
    /// Where the kernel can be asked for its own counts.
    pub(super) interface: Mutex<Option<Interface>>,
}

impl Counts {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
