//! Where received packets are read to.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::sys;

/// Bytes in a slab. It is what `BytesMut` can give back to itself, and small enough for the L2 cache.
const SLAB: usize = 64 * 1024;

/// Used-up slabs that may be waited for; what is beyond goes back to the allocator.
const MOST_SPENT: usize = 16;

/// A piece of initialised memory that packets are read to one after the other, and split off it: a packet
/// costs neither an allocation nor a copy. When no packet of a used-up slab is left, its memory is used again.
#[derive(Debug)]
pub(super) struct Slab {
    /// What no packet occupies yet.
    free: BytesMut,
    /// The rests of used-up slabs, the oldest first: each can have its whole slab back when no packet of it
    /// is left.
    spent: VecDeque<BytesMut>,
    /// The longest packet that is expected, in bytes.
    longest: usize,
}

impl Slab {
    pub(super) fn new(mtu: u16) -> Self {
        Self { free: BytesMut::new(), spent: VecDeque::new(), longest: usize::from(mtu) }
    }

    /// Sets the longest packet that is expected, in bytes.
    pub(super) fn set_longest(&mut self, mtu: u16) {
        self.longest = usize::from(mtu);
    }

    /// Where to read the next packet to. It is longer than the longest packet: a packet that fills it has
    /// been cut short.
    pub(super) fn window(&mut self) -> &mut [u8] {
        if self.free.len() <= self.longest {
            self.next_slab();
        }
        &mut self.free
    }

    fn next_slab(&mut self) {
        let rest = std::mem::take(&mut self.free);
        if rest.capacity() > 0 {
            self.spent.push_back(rest);
        }
        if self.spent.front_mut().is_some_and(|oldest| {
            oldest.clear();
            oldest.try_reclaim(SLAB)
        }) && let Some(mut slab) = self.spent.pop_front()
        {
            // Reclaiming never allocates: this is the memory that `resize` has initialised below.
            sys::restore_len(&mut slab, SLAB);
            self.free = slab;
            return;
        }
        if self.spent.len() > MOST_SPENT {
            self.spent.pop_front();
        }
        self.free = BytesMut::with_capacity(SLAB);
        self.free.resize(SLAB, 0);
    }

    /// Splits off the packet that was read to the first `len` bytes of the window.
    pub(super) fn take(&mut self, len: usize) -> Bytes {
        self.free.split_to(len.min(self.free.len())).freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(slab: &mut Slab, len: usize, fill: u8) -> Bytes {
        slab.window()[..len].fill(fill);
        slab.take(len)
    }

    #[test]
    fn packets_keep_their_bytes_while_others_arrive() {
        let mut slab = Slab::new(1500);
        let packets: Vec<Bytes> = (0..200).map(|n| receive(&mut slab, 1 + usize::from(n) * 7, n)).collect();
        for (n, packet) in (0_u8..).zip(&packets) {
            assert_eq!(packet.len(), 1 + usize::from(n) * 7);
            assert!(packet.iter().all(|byte| *byte == n));
        }
    }

    #[test]
    fn the_window_is_longer_than_the_longest_packet() {
        for mtu in [68, 1500, 9000, 65535] {
            let mut slab = Slab::new(mtu);
            for _ in 0..100 {
                assert!(slab.window().len() > usize::from(mtu));
                let _ = slab.take(usize::from(mtu));
            }
        }
    }

    #[test]
    fn memory_is_used_again_when_its_packets_are_gone() {
        let mut slab = Slab::new(1500);
        let mut starts = std::collections::BTreeSet::new();
        for _ in 0..10_000 {
            if slab.free.len() <= 1500 {
                starts.insert(slab.window().as_ptr().addr());
            }
            drop(receive(&mut slab, 1500, 1));
        }
        assert_eq!(starts.len(), 1, "one slab is enough for packets that are dropped at once");
    }
}
