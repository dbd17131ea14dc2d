//! What a device lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
}

impl Counts {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
