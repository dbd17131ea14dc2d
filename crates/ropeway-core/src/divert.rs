//! Packets that nobody here takes, for the program to take: they wait until it does.

use bytes::Bytes;
use ropeway_packet::Protocol;

use crate::buffer::chunk::Chunk;
use crate::queue::PagedQueue;

/// Which packets the program takes that nothing else does ([`Stack::divert`](crate::Stack::divert)).
///
/// ```
/// use ropeway_core::DivertOptions;
///
/// let mut only_icmp_and_others = DivertOptions::default();
/// (only_icmp_and_others.tcp, only_icmp_and_others.udp) = (false, false);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DivertOptions {
    /// TCP segments of no connection, to a port without a listener. They get no RST. On.
    pub tcp: bool,
    /// UDP datagrams that no socket takes. They get no ICMP error. On.
    pub udp: bool,
    /// ICMP messages that concern nothing here, and packets of other protocols. They get no ICMP error. Echo requests to an
    /// address of the stack are among them if [`EchoPolicy::Divert`](crate::EchoPolicy::Divert) says so. On.
    pub other: bool,
    /// How much memory packets may take that wait, in bytes: of what does not fit, the newest are dropped and counted
    /// (`Counters::diverted_dropped`). One packet always fits. Each shard has such a queue. 1 MiB.
    pub queue: usize,
}

impl Default for DivertOptions {
    fn default() -> Self {
        Self { tcp: true, udp: true, other: true, queue: 1 << 20 }
    }
}

impl DivertOptions {
    /// Whether packets of that protocol are diverted.
    pub(crate) fn take(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::TCP => self.tcp,
            Protocol::UDP => self.udp,
            _ => self.other,
        }
    }
}

/// What has been diverted, and not been taken yet.
#[derive(Clone, Debug)]
pub(crate) struct Diverted {
    pub(crate) options: DivertOptions,
    queue: PagedQueue<Chunk>,
    memory: usize,
}

impl Diverted {
    pub(crate) fn new(options: DivertOptions) -> Self {
        Self { options, queue: PagedQueue::default(), memory: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The memory that all of it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// Takes a packet in if there is room: in the queue, and of what is `left` of the memory budget. Says whether there was.
    pub(crate) fn push(&mut self, packet: Chunk, left: usize) -> bool {
        let takes = memory_of(&packet);
        let has_room = self.memory + takes <= self.options.queue || self.is_empty();
        if !has_room || takes > left {
            return false;
        }
        self.memory += takes;
        self.queue.push_back(packet);
        true
    }

    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let packet = self.queue.pop_front()?;
        self.memory -= memory_of(&packet);
        Some(packet.into_bytes())
    }
}

/// A packet, and its place in the queue.
fn memory_of(packet: &Chunk) -> usize {
    packet.true_size() + size_of::<Chunk>()
}
