//! ECN with the kernel at the other end: both ask, both agree, and both take the marks of a box between them for congestion.

#![cfg(target_os = "linux")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ropeway::net::{TcpListener, TcpStream};
use ropeway::packet::EcnCodepoint;
use ropeway::{EcnFeedback, EcnMode};
use ropeway_tests::link::{self, Family, Link};
use ropeway_tests::middlebox::{Middlebox, Segment, Way};
use ropeway_tests::{over_both_families, pattern};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener as KernelListener, TcpStream as KernelStream};

/// 8 MiB
const MUCH: u64 = 8 << 20;

over_both_families! {
    the_kernel_asks_and_its_marks_are_echoed
    the_kernel_agrees_and_echoes_our_marks
    without_ecn_in_the_kernel_there_is_none
}

/// What the box has done, and seen.
#[derive(Debug, Default)]
struct Seen {
    /// Packets marked on their way to us, and to the kernel.
    marked: [AtomicU64; 2],
    /// Segments of the kernel's with ECE, and with CWR.
    echoes: AtomicU64,
    answers: AtomicU64,
}

/// One in so many packets is marked, of those that can be.
const EVERY: u64 = 300;

impl Seen {
    fn pass(&self, count: &mut u64, way: Way, segment: &mut Segment<'_>) {
        if way == Way::In && segment.flags() & Segment::SYN == 0 {
            self.echoes.fetch_add(u64::from(segment.flags() & Segment::ECE != 0), Ordering::Relaxed);
            self.answers.fetch_add(u64::from(segment.flags() & Segment::CWR != 0), Ordering::Relaxed);
        }
        let may_be = segment.ecn() != EcnCodepoint::NotEct;
        *count += u64::from(may_be);
        if may_be && count.is_multiple_of(EVERY) {
            self.marked[usize::from(way == Way::Out)].fetch_add(1, Ordering::Relaxed);
            segment.set_ecn(3);
        }
    }
}

fn marking(family: Family, mode: EcnMode) -> (Link, Arc<Seen>) {
    let device = link::device();
    let (lost, seen) = (device.counters(), Arc::new(Seen::default()));
    let (box_sees, mut count) = (Arc::clone(&seen), 0);
    let device = Middlebox::new(device, move |way, segment| {
        box_sees.pass(&mut count, way, segment);
        true
    });
    (Link::over(device, lost, family, |config| config.socket.ecn = mode), seen)
}

/// What the kernel does in this namespace (`net.ipv4.tcp_ecn`).
fn set_kernel(mode: u8) {
    std::fs::write("/proc/sys/net/ipv4/tcp_ecn", mode.to_string()).unwrap();
}

/// The kernel sends to us.
async fn the_kernel_asks_and_its_marks_are_echoed(family: Family) {
    set_kernel(1);
    let (link, seen) = marking(family, EcnMode::WhenAsked);
    let listener = TcpListener::bind_on(&link.stack, link.ours(80)).await.unwrap();
    let (kernel, ours) = tokio::join!(KernelStream::connect(link.ours(80)), listener.accept());
    let (mut kernel, mut ours) = (kernel.unwrap(), ours.unwrap().0);
    assert_eq!(ours.info().unwrap().ecn, EcnFeedback::Classic);
    let send = async {
        let sent = pattern::send(&mut kernel, MUCH).await;
        kernel.shutdown().await.unwrap();
        sent
    };
    let (sent, (received, len)) = tokio::join!(send, pattern::receive(&mut ours));
    assert_eq!((sent, len), (received, MUCH));
    assert!(ours.info().unwrap().ecn_seen && seen.marked[0].load(Ordering::Relaxed) > 5);
    assert!(seen.answers.load(Ordering::Relaxed) > 0, "the kernel answers our echoes with CWR: {seen:?}");
}

/// We send to the kernel.
async fn the_kernel_agrees_and_echoes_our_marks(family: Family) {
    set_kernel(2);
    let (link, seen) = marking(family, EcnMode::On);
    let listener = KernelListener::bind(link.kernel(80)).await.unwrap();
    let (ours, kernel) = tokio::join!(TcpStream::connect_on(&link.stack, link.kernel(80)), listener.accept());
    let (mut ours, mut kernel) = (ours.unwrap(), kernel.unwrap().0);
    let send = async {
        let sent = pattern::send(&mut ours, MUCH).await;
        ours.shutdown().await.unwrap();
        sent
    };
    let (sent, (received, len)) = tokio::join!(send, pattern::receive(&mut kernel));
    assert_eq!((sent, len), (received, MUCH));
    let info = ours.info().unwrap();
    assert_eq!(info.ecn, EcnFeedback::Classic);
    assert!(seen.marked[1].load(Ordering::Relaxed) > 5 && info.delivered_ce > 0, "{seen:?} {info:?}");
    assert!(seen.echoes.load(Ordering::Relaxed) > 0, "{seen:?}");
    assert!(info.ssthresh < u32::MAX, "{info:?}");
}

async fn without_ecn_in_the_kernel_there_is_none(family: Family) {
    set_kernel(0);
    let (link, _) = marking(family, EcnMode::On);
    let listener = KernelListener::bind(link.kernel(80)).await.unwrap();
    for mode in [EcnMode::On, EcnMode::Accurate] {
        let socket = match family {
            Family::V4 => ropeway::net::TcpSocket::new_v4_on(&link.stack),
            Family::V6 => ropeway::net::TcpSocket::new_v6_on(&link.stack),
        };
        let socket = socket.unwrap();
        socket.set_ecn(mode).unwrap();
        let (ours, kernel) = tokio::join!(socket.connect(link.kernel(80)), listener.accept());
        assert_eq!(ours.unwrap().info().unwrap().ecn, EcnFeedback::None);
        drop(kernel);
    }
}
