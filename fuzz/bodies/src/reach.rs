//! What inputs have come upon, by the stacks' own counters: a target that never gets to what it is there for finds nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use ropeway_core::Counters;

/// A counter of a stack that inputs are to move.
type Wanted = (&'static str, fn(&Counters) -> u64);

const WANTED: [Wanted; 21] = [
    ("probes of the path's MTU", |counters| counters.mtu_probes),
    ("probes that passed", |counters| counters.mtu_probes_passed),
    ("probes that were lost", |counters| counters.mtu_probes_lost),
    ("black holes", |counters| counters.black_holes),
    ("Fast Open by a client", |counters| counters.fast_open_active),
    ("Fast Open by a client, in vain", |counters| counters.fast_open_active_failed),
    ("paths that swallow what Fast Open sends", |counters| counters.fast_open_black_holes),
    ("Fast Open by a server", |counters| counters.fast_open_passive),
    ("cookies refused", |counters| counters.fast_open_passive_failed),
    ("cookies asked for", |counters| counters.fast_open_cookies_requested),
    ("datagrams received", |counters| counters.udp_received),
    ("datagrams sent", |counters| counters.udp_sent),
    ("datagrams for full queues", |counters| counters.udp_queue_full),
    ("datagrams for no port", |counters| counters.udp_no_port),
    ("datagrams with bad checksums", |counters| counters.udp_bad_checksums),
    ("ICMP errors", |counters| counters.icmp_received),
    ("fragments received", |counters| counters.fragments),
    ("datagrams put together", |counters| counters.datagrams_reassembled),
    ("datagrams that never were", |counters| counters.datagrams_timed_out),
    ("datagrams in pieces that overlap", |counters| counters.datagrams_overlapping),
    ("datagrams sent in fragments", |counters| counters.datagrams_fragmented),
];

/// How many executions have moved each counter.
#[derive(Debug)]
pub struct Reach {
    times: [AtomicU64; WANTED.len()],
}

/// Of the target [`pair`](crate::pair).
pub static PAIR: Reach = Reach::new();
/// Of the target [`stack`](crate::stack).
pub static STACK: Reach = Reach::new();

impl Reach {
    const fn new() -> Self {
        Self { times: [const { AtomicU64::new(0) }; WANTED.len()] }
    }

    /// An execution has ended.
    pub(crate) fn note<'a>(&self, stacks: impl Iterator<Item = &'a Counters> + Clone) {
        for ((_, count), times) in WANTED.iter().zip(&self.times) {
            if stacks.clone().any(|counters| count(counters) > 0) {
                times.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// What was come upon, and in how many executions.
    pub fn told(&self) -> impl Iterator<Item = (&'static str, u64)> {
        WANTED.iter().zip(&self.times).map(|((what, _), times)| (*what, times.load(Ordering::Relaxed)))
    }
}
