//! Black holes for large packets between ropeway and the kernel: each finds out what passes, and understands the other's probes.

#![cfg(target_os = "linux")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ropeway::MtuProbing;
use ropeway::net::{TcpListener, TcpStream};
use ropeway_tests::link::{self, Family, Link};
use ropeway_tests::middlebox::{Middlebox, Way};
use ropeway_tests::{over_both_families, pattern};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener as KernelListener, TcpStream as KernelStream};

/// 4 MiB
const MUCH: u64 = 4 << 20;

/// What the path takes where it does not take all.
const NARROW: usize = 1380;

over_both_families! {
    we_find_a_black_hole_and_later_connections_know_it
    we_find_one_that_opens_in_the_middle_of_a_transfer
    we_begin_small_and_find_what_passes
    all_passes_and_nothing_is_lost
    the_kernel_finds_a_black_hole
    the_kernel_begins_small_and_its_probes_arrive
}

/// A link whose packets above a size vanish, both ways.
struct Narrow {
    link: Link,
    takes: Arc<AtomicUsize>,
    seen: Arc<Seen>,
}

/// What the box has seen, to us and to the kernel.
#[derive(Debug, Default)]
struct Seen {
    swallowed: [AtomicU64; 2],
    largest_passed: [AtomicUsize; 2],
}

impl Narrow {
    fn new(family: Family, takes: usize, mode: MtuProbing) -> Self {
        let device = link::device();
        let (lost, seen) = (device.counters(), Arc::new(Seen::default()));
        let limit = Arc::new(AtomicUsize::new(takes));
        let (at_box, of_box) = (Arc::clone(&limit), Arc::clone(&seen));
        let device = Middlebox::new(device, move |way, segment| {
            let way = usize::from(way == Way::Out);
            let passes = segment.packet_len() <= at_box.load(Ordering::Relaxed);
            if passes {
                of_box.largest_passed[way].fetch_max(segment.packet_len(), Ordering::Relaxed);
            } else {
                of_box.swallowed[way].fetch_add(1, Ordering::Relaxed);
            }
            passes
        });
        let link = Link::over(device, lost, family, |config| {
            config.mtu_probing = mode;
            // A window that leaves time for a probe or two.
            config.socket.send_buffer = 200_000;
        });
        Self { link, takes: limit, seen }
    }

    fn swallowed(&self, way: Way) -> u64 {
        self.seen.swallowed[usize::from(way == Way::Out)].load(Ordering::Relaxed)
    }

    fn largest_passed(&self, way: Way) -> usize {
        self.seen.largest_passed[usize::from(way == Way::Out)].load(Ordering::Relaxed)
    }

    /// We send to the kernel: what we say of the connection at the end.
    async fn upload(&self, half_way: impl FnOnce()) -> ropeway::TcpInfo {
        let listener = KernelListener::bind(self.link.kernel(0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, kernel) =
            tokio::join!(TcpStream::connect_on(&self.link.stack, address), listener.accept());
        let (mut ours, mut kernel) = (ours.unwrap(), kernel.unwrap().0);
        let send = async {
            let sent = [pattern::send(&mut ours, MUCH / 2).await];
            half_way();
            let rest = rest_of_pattern(&mut ours).await;
            ours.shutdown().await.unwrap();
            (sent, rest)
        };
        let (_, (_, len)) = tokio::join!(send, pattern::receive(&mut kernel));
        assert_eq!(len, MUCH);
        ours.info().unwrap()
    }

    /// The kernel sends to us.
    async fn download(&self) {
        let listener = TcpListener::bind_on(&self.link.stack, self.link.ours(80)).await.unwrap();
        let (kernel, ours) = tokio::join!(KernelStream::connect(self.link.ours(80)), listener.accept());
        let (mut kernel, mut ours) = (kernel.unwrap(), ours.unwrap().0);
        let send = async {
            let sent = pattern::send(&mut kernel, MUCH).await;
            kernel.shutdown().await.unwrap();
            sent
        };
        let (sent, received) = tokio::join!(send, pattern::receive(&mut ours));
        assert_eq!((sent, MUCH), received);
    }
}

/// The second half of what [`pattern::receive`] expects.
async fn rest_of_pattern(writer: &mut TcpStream) {
    let mut rest = vec![0; usize::try_from(MUCH / 2).unwrap()];
    pattern::fill(MUCH / 2, &mut rest);
    writer.write_all(&rest).await.unwrap();
}

/// What the kernel does in this namespace.
fn set_kernel(mode: u8) {
    let set = |name: &str, value: u8| std::fs::write(format!("/proc/sys/net/ipv4/{name}"), value.to_string());
    set("tcp_mtu_probing", mode).unwrap();
    // So many timeouts in a row make it suspicious.
    set("tcp_retries1", 1).unwrap();
}

async fn we_find_a_black_hole_and_later_connections_know_it(family: Family) {
    let narrow = Narrow::new(family, NARROW, MtuProbing::BlackHole);
    let info = narrow.upload(|| ()).await;
    let counters = narrow.link.stack.counters();
    assert_eq!((counters.black_holes, counters.retransmission_timeouts), (1, 2), "{counters:?}");
    let pmtu = usize::from(info.pmtu);
    assert!(pmtu > NARROW - 16 && pmtu <= NARROW, "{info:?}");
    assert_eq!(narrow.largest_passed(Way::Out), pmtu);
    let swallowed = narrow.swallowed(Way::Out);

    let info = narrow.upload(|| ()).await;
    assert_eq!(usize::from(info.pmtu), pmtu);
    assert_eq!(narrow.swallowed(Way::Out), swallowed);
    assert_eq!(narrow.link.stack.counters().retransmission_timeouts, 2);
}

async fn we_find_one_that_opens_in_the_middle_of_a_transfer(family: Family) {
    let narrow = Narrow::new(family, 1500, MtuProbing::BlackHole);
    let info = narrow.upload(|| narrow.takes.store(NARROW, Ordering::Relaxed)).await;
    let counters = narrow.link.stack.counters();
    assert_eq!((counters.black_holes, counters.retransmission_timeouts), (1, 2), "{counters:?}");
    assert!(usize::from(info.pmtu) > NARROW - 16 && usize::from(info.pmtu) <= NARROW, "{info:?}");
    assert_eq!(info.mtu_search.unwrap().black_holes, 1);
}

async fn we_begin_small_and_find_what_passes(family: Family) {
    let narrow = Narrow::new(family, NARROW, MtuProbing::Always);
    let info = narrow.upload(|| ()).await;
    let counters = narrow.link.stack.counters();
    assert_eq!((counters.black_holes, counters.retransmission_timeouts), (0, 0), "{counters:?}");
    assert_eq!((counters.fast_retransmits, info.ssthresh), (0, u32::MAX), "{counters:?}");
    assert!(counters.mtu_probes_lost > 0 && narrow.swallowed(Way::Out) == counters.mtu_probes_lost);
    assert!(usize::from(info.pmtu) > NARROW - 16 && usize::from(info.pmtu) <= NARROW, "{info:?}");
}

async fn all_passes_and_nothing_is_lost(family: Family) {
    let narrow = Narrow::new(family, 1500, MtuProbing::Always);
    let info = narrow.upload(|| ()).await;
    let counters = narrow.link.stack.counters();
    assert_eq!(
        (info.pmtu, counters.mtu_probes_lost, counters.fast_retransmits),
        (1500, 0, 0),
        "{counters:?}"
    );
    // On a busy machine a tail may be asked for, and nothing else.
    assert_eq!((counters.retransmission_timeouts, info.reord_seen), (0, 0), "{counters:?}");
    assert!(counters.tcp_retransmitted <= counters.tail_probes, "{counters:?}");
}

async fn the_kernel_finds_a_black_hole(family: Family) {
    set_kernel(1);
    let narrow = Narrow::new(family, NARROW, MtuProbing::BlackHole);
    narrow.download().await;
    assert!(narrow.swallowed(Way::In) > 0);
    assert!(narrow.largest_passed(Way::In) <= NARROW);
    assert_eq!(narrow.swallowed(Way::Out), 0);
}

async fn the_kernel_begins_small_and_its_probes_arrive(family: Family) {
    set_kernel(2);
    let narrow = Narrow::new(family, NARROW, MtuProbing::BlackHole);
    narrow.download().await;
    // From 1024 bytes of data on, by bisection.
    assert!(narrow.largest_passed(Way::In) > 1200, "{:?}", narrow.seen);
    assert!(narrow.swallowed(Way::In) < 20, "{:?}", narrow.seen);
}
