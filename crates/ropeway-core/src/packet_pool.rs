//! Where devices read packets to.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::buffer::send::length_u32;
use crate::transmit::Received;

/// Slabs that may be waited for, in bytes: what is beyond belongs to those who hold it, and then to the allocator.
const MOST: usize = 1024 * 1024;
/// Likewise, of trains: a few dozen of them.
const MOST_OF_TRAINS: usize = 8 * 1024 * 1024;

/// Short packets are copied together in pieces of this size.
const SHORT: usize = 16 * 1024;

/// After so many short packets in a row nothing long is on its way: slabs that nobody holds go back to the allocator, so many
/// with each further packet.
const SHORT_IN_A_ROW: u8 = 32;
const GIVEN_BACK: usize = 4;

/// Memory that packets are read to, and that is used again when they are gone.
///
/// A packet that fills half of its slab, or more, takes the slab along, and the pool uses it again when the last part of the
/// packet was let go of: in the long run a packet costs neither an allocation nor a copy. Whoever holds it holds at most twice
/// its length, which [`Received::true_size`] says, and nothing that belongs to another packet.
///
/// Shorter packets are copied to memory that they share, 16 KiB at a time, and say nothing of it. So the stack copies what it
/// keeps of one; whoever keeps the packet itself keeps up to 16 KiB.
///
/// # Examples
///
/// ```
/// use std::io::{self, Read};
///
/// use ropeway_core::{PacketPool, Received};
///
/// fn receive(device: &mut impl Read, pool: &mut PacketPool) -> io::Result<Received> {
///     let length = device.read(pool.window())?;
///     Ok(pool.take(length))
/// }
///
/// let mut pool = PacketPool::new(1500);
/// let received = receive(&mut &[0x45; 1500][..], &mut pool)?;
/// assert_eq!(received.packet.len(), 1500);
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Debug)]
pub struct PacketPool {
    slabs: Slabs,
    /// For packets that are longer than those.
    trains: Option<Slabs>,
    /// Where short packets are copied to.
    short: BytesMut,
    /// How many have come in a row.
    in_a_row: u8,
}

impl PacketPool {
    /// A pool for packets of up to `longest` bytes.
    #[must_use]
    pub fn new(longest: u16) -> Self {
        Self { slabs: Slabs::new(longest, MOST), trains: None, short: BytesMut::new(), in_a_row: 0 }
    }

    /// Likewise, for a device that merges several of them into trains of up to 65,535 bytes. What does not fit into
    /// [`window`](Self::window) goes to the second of [`windows`](Self::windows).
    #[must_use]
    pub fn with_trains(longest: u16) -> Self {
        Self { trains: Some(Slabs::new(u16::MAX, MOST_OF_TRAINS)), ..Self::new(longest) }
    }

    /// Where to read the next packet to. It is longer than the longest packet: one that fills it has been cut short, or is a
    /// train.
    pub fn window(&mut self) -> &mut [u8] {
        &mut self.slabs.window
    }

    /// The window, and what follows where it is full. The latter is empty unless the pool was made
    /// [with trains](Self::with_trains).
    pub fn windows(&mut self) -> [&mut [u8]; 2] {
        let len = self.slabs.window.len();
        let overflow = self.trains.as_mut().and_then(|trains| trains.window.get_mut(len..));
        [&mut self.slabs.window, overflow.unwrap_or_default()]
    }

    /// The packet that was read to the first `len` bytes of the windows.
    pub fn take(&mut self, len: usize) -> Received {
        if len > self.slabs.window.len()
            && let Some(trains) = &mut self.trains
        {
            self.in_a_row = 0;
            return trains.take_train(&self.slabs.window, len);
        }
        let len = len.min(self.slabs.window.len());
        if self.slabs.is_worth_taking(len) {
            self.in_a_row = 0;
            return self.slabs.take(len);
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row > SHORT_IN_A_ROW {
            self.slabs.give_back();
            self.trains.as_mut().into_iter().for_each(Slabs::give_back);
        }
        Received::new(self.copy(len))
    }

    /// Bytes of memory that the pool has, or will have when packets are gone.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slabs.capacity() + self.trains.as_ref().map_or(0, Slabs::capacity) + self.short.capacity()
    }

    fn copy(&mut self, len: usize) -> Bytes {
        if self.short.capacity() < len {
            self.short.reserve(SHORT.max(len));
        }
        self.short.extend_from_slice(self.slabs.window.get(..len).unwrap_or_default());
        self.short.split().freeze()
    }
}

/// Slabs of one size.
#[derive(Debug)]
struct Slabs {
    /// The slab that the next packet is read to. Its length is that of all of them.
    window: BytesMut,
    /// The slabs that packets have taken along, the oldest first. Whoever holds the only part of one can write to it.
    lent: VecDeque<Bytes>,
    /// So many bytes may be waited for.
    most: usize,
}

impl Slabs {
    fn new(longest: u16, most: usize) -> Self {
        let window = slab((usize::from(longest) + 1).next_multiple_of(64));
        Self { window, lent: VecDeque::new(), most }
    }

    fn is_worth_taking(&self, len: usize) -> bool {
        2 * len >= self.window.len()
    }

    /// The first `len` bytes of the window, with the slab.
    fn take(&mut self, len: usize) -> Received {
        let size = self.window.len();
        let slab = std::mem::take(&mut self.window).freeze();
        let mut packet = slab.clone();
        packet.truncate(len);
        self.window = self.next_slab(size);
        self.lent.push_back(slab);
        Received::new(packet).with_true_size(Some(length_u32(size)))
    }

    /// A packet that begins in another window, and goes on in this one where it would be.
    fn take_train(&mut self, begin: &[u8], len: usize) -> Received {
        let len = len.min(self.window.len());
        if let Some(head) = self.window.get_mut(..begin.len()) {
            head.copy_from_slice(begin);
        }
        if self.is_worth_taking(len) {
            return self.take(len);
        }
        Received::alone(Bytes::copy_from_slice(self.window.get(..len).unwrap_or_default()))
    }

    fn capacity(&self) -> usize {
        (self.lent.len() + 1) * self.window.len()
    }

    /// Lets go of a few of those that would be used again, the oldest first.
    fn give_back(&mut self) {
        for _ in 0..GIVEN_BACK {
            if self.lent.front().is_none_or(|slab| !slab.is_unique()) {
                return;
            }
            self.lent.pop_front();
        }
    }

    /// A slab of `len` bytes.
    fn next_slab(&mut self, len: usize) -> BytesMut {
        match self.lent.pop_front().map(Bytes::try_into_mut) {
            Some(Ok(slab)) => return slab,
            // Packets go in the order in which they came, as a rule. It will be free next, unless there are too many.
            Some(Err(held)) if (self.lent.len() + 3) * len <= self.most => self.lent.push_front(held),
            _ => {}
        }
        slab(len)
    }
}

/// A new slab.
fn slab(len: usize) -> BytesMut {
    let mut slab = BytesMut::zeroed(len);
    // Counted from the beginning: otherwise that would cost an allocation for each packet.
    drop(slab.split_off(len));
    slab
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(pool: &mut PacketPool, len: usize, fill: u8) -> Received {
        pool.window()[..len].fill(fill);
        pool.take(len)
    }

    #[test]
    fn packets_keep_their_bytes_while_others_arrive() {
        let mut pool = PacketPool::new(1500);
        let packets: Vec<_> = (0..200).map(|n| receive(&mut pool, 1 + usize::from(n) * 7, n)).collect();
        for (n, received) in (0_u8..).zip(&packets) {
            assert_eq!(received.packet.len(), 1 + usize::from(n) * 7);
            assert!(received.packet.iter().all(|byte| *byte == n));
        }
    }

    #[test]
    fn the_window_is_longer_than_the_longest_packet() {
        for longest in [68, 1500, 9000, 65535] {
            let mut pool = PacketPool::new(longest);
            for _ in 0..100 {
                assert!(pool.window().len() > usize::from(longest));
                let _ = pool.take(usize::from(longest));
            }
        }
    }

    #[test]
    fn a_packet_keeps_no_more_than_twice_its_length_alive_or_says_nothing() {
        for longest in [68, 576, 1500, 9000, 65535] {
            let mut pool = PacketPool::new(longest);
            let slab = pool.window().len();
            for len in 1..=usize::from(longest) {
                let true_size = receive(&mut pool, len, 7).true_size;
                assert_eq!(true_size, (2 * len >= slab).then_some(length_u32(slab)), "{len} bytes");
            }
        }
    }

    #[test]
    fn a_train_begins_in_the_window_and_goes_on_in_the_overflow() {
        let mut pool = PacketPool::with_trains(1500);
        let train: Vec<u8> = (0..65_535_u32).map(|at| (at % 251) as u8).collect();
        let room = pool.window().len();
        for len in [1, 40, 1500, room - 1, room, room + 1, 2000, 9000, 32_000, 33_000, 65_535] {
            let [window, overflow] = pool.windows();
            let (first, rest) = train[..len].split_at(len.min(window.len()));
            window[..first.len()].copy_from_slice(first);
            overflow[..rest.len()].copy_from_slice(rest);
            let received = pool.take(len);
            assert_eq!(received.packet, train[..len], "{len} bytes");
            let most = (len >= 750).then_some(length_u32(2 * len));
            assert_eq!(received.true_size.is_some(), most.is_some(), "{len} bytes");
            assert!(received.true_size <= most, "{len} bytes take {:?}", received.true_size);
        }
        assert!(pool.windows()[1].len() + room > usize::from(u16::MAX));
        assert!(PacketPool::new(1500).windows()[1].is_empty());
    }

    /// Where in memory packets come to lie, roughly.
    fn places(pool: &mut PacketPool, len: usize, outstanding: usize) -> usize {
        let mut places = std::collections::BTreeSet::new();
        let mut held = VecDeque::new();
        for _ in 0..10_000 {
            let received = receive(pool, len, 1);
            places.insert(if len < 700 { 0 } else { received.packet.as_ptr().addr() });
            held.push_back(received);
            if held.len() > outstanding {
                held.pop_front();
            }
        }
        places.len()
    }

    #[test]
    fn memory_is_used_again_when_its_packets_are_gone() {
        let mut pool = PacketPool::new(1500);
        assert_eq!(places(&mut pool, 1500, 0), 2);
        assert_eq!(places(&mut pool, 1500, 300), 302);
        assert!(pool.capacity() < 304 * 1600);
        let _ = places(&mut pool, 40, 0);
        assert!(pool.short.capacity() <= SHORT);
    }

    #[test]
    fn slabs_are_given_back_when_nothing_long_comes_any_more() {
        let mut pool = PacketPool::with_trains(1500);
        let long = |pool: &mut PacketPool| [pool.take(1500), pool.take(60_000)];
        drop((0..30).map(|_| long(&mut pool)).collect::<Vec<_>>());
        let most = pool.capacity();
        assert!(most > 1_900_000, "{most} bytes");
        // Acknowledgements between long packets are no reason.
        for _ in 0..100 {
            (0..10).for_each(|_| drop(pool.take(40)));
            let _ = long(&mut pool);
        }
        assert!(pool.capacity() >= most);
        let held = long(&mut pool);
        (0..100).for_each(|_| drop(pool.take(40)));
        assert!(pool.capacity() < 250_000, "{} bytes wait", pool.capacity());
        assert_eq!(held.map(|received| received.packet.len()), [1500, 60_000]);
    }

    #[test]
    fn no_more_is_kept_for_later_than_was_said() {
        let mut pool = PacketPool::new(1500);
        let slab = pool.window().len();
        let held: Vec<_> = (0..2000).map(|_| receive(&mut pool, 1500, 1)).collect();
        assert!((MOST - 2 * slab..=MOST).contains(&pool.capacity()), "{} bytes wait", pool.capacity());
        // What is held for long is no hindrance for long.
        let _ = places(&mut pool, 1500, 0);
        assert!(places(&mut pool, 1500, 0) <= MOST / slab);
        assert!(held.iter().all(|received| received.packet == [1; 1500][..]));
    }
}
