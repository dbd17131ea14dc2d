//! ECN with the kernel at the other end: both ask, both agree, and both take the marks of a box between them for congestion.

#![cfg(target_os = "linux")]

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use ropeway::device::{Capabilities, Device, Received, Transmit};
use ropeway::net::{TcpListener, TcpStream};
use ropeway::packet::{Checksum, EcnCodepoint, TcpFlags, ip, parse_tcp};
use ropeway::{EcnFeedback, EcnMode};
use ropeway_tests::link::{self, Family, Link};
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

/// Marks some packets of those that can be marked.
#[derive(Debug)]
struct Marking<D> {
    device: D,
    seen: Arc<Seen>,
    count: u64,
}

/// One in so many.
const EVERY: u64 = 300;

impl<D> Marking<D> {
    fn pass(&mut self, packet: &Bytes, way: usize) -> Option<Bytes> {
        let parsed = ip::parse(packet).ok()?;
        let field = EcnCodepoint::of(parsed.traffic_class);
        if way == 0 {
            let flags = parse_tcp(packet, parsed, false).ok()?.tcp.flags;
            let plain = !flags.contains(TcpFlags::SYN);
            self.seen.echoes.fetch_add(u64::from(plain && flags.contains(TcpFlags::ECE)), Ordering::Relaxed);
            self.seen.answers.fetch_add(u64::from(plain && flags.contains(TcpFlags::CWR)), Ordering::Relaxed);
        }
        self.count += u64::from(field != EcnCodepoint::NotEct);
        if field == EcnCodepoint::NotEct || !self.count.is_multiple_of(EVERY) {
            return None;
        }
        self.seen.marked[way].fetch_add(1, Ordering::Relaxed);
        let mut bytes = BytesMut::from(&packet[..]);
        if bytes[0] >> 4 == 6 {
            bytes[1] |= 0x30;
            return Some(bytes.freeze());
        }
        bytes[1] |= 3;
        bytes[10..12].fill(0);
        let mut sum = Checksum::new();
        sum.add_bytes(&bytes[..20]);
        let sum = sum.finish().to_be_bytes();
        bytes[10..12].copy_from_slice(&sum);
        Some(bytes.freeze())
    }
}

impl<D: Device> Device for Marking<D> {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(self.device.capabilities().mtu)
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        let before = batch.len();
        let result = self.device.poll_recv(cx, batch, max);
        for received in &mut batch[before..] {
            let mut packet = Bytes::new();
            received.for_each_on_wire(&mut BytesMut::new(), |bytes| packet = Bytes::copy_from_slice(bytes));
            if let Some(marked) = self.pass(&packet, 0) {
                *received = Received::new(marked);
            }
        }
        result
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        let mut packets: VecDeque<_> = queue
            .drain(..)
            .map(|packet| {
                let whole = packet.to_bytes();
                self.pass(&whole, 1).map_or(packet, Transmit::whole)
            })
            .collect();
        let result = self.device.poll_send(cx, &mut packets);
        queue.extend(packets);
        result
    }
}

fn marking(family: Family, mode: EcnMode) -> (Link, Arc<Seen>) {
    let device = link::device();
    let (lost, seen) = (device.counters(), Arc::new(Seen::default()));
    let device = Marking { device, seen: Arc::clone(&seen), count: 0 };
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
