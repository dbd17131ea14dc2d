//! Peers that vanish, readers that stop, cables that are pulled, memory that is scarce.

#![cfg(target_os = "linux")]

use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ropeway::KeepAlive;
use ropeway::device::tun::TunDevice;
use ropeway::device::{Capabilities, Device, Received, Transmit};
use ropeway::net::{TcpListener, TcpStream};
use ropeway::packet::{ip, parse_tcp};
use ropeway_tests::link::{self, Family, Link};
use ropeway_tests::namespace::{LinkState, set_link};
use ropeway_tests::{over_both_families, pattern};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener as KernelListener, TcpSocket as KernelSocket, TcpStream as KernelStream};
use tokio::time::{sleep, timeout};

over_both_families! {
    a_peer_that_vanishes_while_we_send
    a_peer_that_vanishes_while_nothing_is_sent
    a_peer_that_was_never_there
    a_kernel_that_does_not_read_stops_us_and_loses_nothing
    we_do_not_read_and_the_kernel_stops_and_nothing_is_lost
    the_kernel_sends_again_what_was_dropped_after_it_was_reported
}

#[test]
fn a_cable_that_is_pulled_and_plugged_in_again() {
    // Over IPv4 only: IPv6 addresses leave an interface that goes down.
    ropeway_tests::namespace::run(async || {
        let link = Link::new(Family::V4);
        let (mut kernel, mut ours) = to_kernel(&link).await;
        let send = async move {
            let first = pattern::send(&mut ours, 20 << 20).await;
            ours.shutdown().await.unwrap();
            first
        };
        let cable = async {
            for _ in 0..3 {
                sleep(Duration::from_millis(100)).await;
                set_link(link::NAME, LinkState::Down).unwrap();
                sleep(Duration::from_millis(300)).await;
                set_link(link::NAME, LinkState::Up).unwrap();
            }
        };
        let receive = async {
            // So slow that the cable is pulled in the middle.
            sleep(Duration::from_millis(500)).await;
            pattern::receive(&mut kernel).await
        };
        let (sent, received, ()) = tokio::join!(send, receive, cable);
        assert_eq!((sent, 20 << 20), received);
    });
}

async fn to_kernel(link: &Link) -> (KernelStream, TcpStream) {
    let listener = KernelListener::bind(link.kernel(0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (kernel, ours) = tokio::join!(listener.accept(), TcpStream::connect_on(&link.stack, address));
    (kernel.unwrap().0, ours.unwrap())
}

async fn a_peer_that_vanishes_while_we_send(family: Family) {
    let link = Link::with_config(family, |config| config.socket.user_timeout = Some(Duration::from_secs(2)));
    let (_kernel, mut ours) = to_kernel(&link).await;
    ours.write_all(b"hello").await.unwrap();
    set_link(link::NAME, LinkState::Down).unwrap();
    let cut = Instant::now();
    ours.write_all(b"is anybody there?").await.unwrap();
    let error = ours.read(&mut [0; 10]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let took = cut.elapsed();
    assert!((Duration::from_millis(1900)..Duration::from_secs(6)).contains(&took), "{took:?}");
    assert_eq!(ours.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

async fn a_peer_that_vanishes_while_nothing_is_sent(family: Family) {
    let second = Duration::from_secs(1);
    let link = Link::with_config(family, |config| {
        config.socket.keep_alive = Some(KeepAlive { idle: second, interval: second, count: 2 });
    });
    let (_kernel, mut ours) = to_kernel(&link).await;
    // While the kernel is there, its answers keep the connection alive.
    let silence = timeout(Duration::from_secs(4), ours.read(&mut [0; 10])).await;
    assert!(silence.is_err(), "{silence:?}");
    set_link(link::NAME, LinkState::Down).unwrap();
    let cut = Instant::now();
    let error = ours.read(&mut [0; 10]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(cut.elapsed() < Duration::from_secs(6), "{:?}", cut.elapsed());
}

async fn a_peer_that_was_never_there(family: Family) {
    let link = Link::with_config(family, |config| config.socket.syn_retries = 1);
    set_link(link::NAME, LinkState::Down).unwrap();
    let start = Instant::now();
    let error = TcpStream::connect_on(&link.stack, link.kernel(9)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    // A first timeout of 1 s, and one of 2 s after the retransmission.
    let took = start.elapsed();
    assert!((Duration::from_millis(2900)..Duration::from_secs(6)).contains(&took), "{took:?}");
    assert_eq!(link.stack.sizes().connections, 0);
}

async fn a_kernel_that_does_not_read_stops_us_and_loses_nothing(family: Family) {
    const LEN: u64 = 32 << 20;
    let link = Link::new(family);
    let (mut kernel, ours) = to_kernel(&link).await;
    let (mut reader, mut writer) = ours.into_split();
    let send = tokio::spawn(async move {
        let sent = pattern::send(&mut writer, LEN).await;
        writer.shutdown().await.unwrap();
        (sent, writer)
    });
    // The window closes, and stays closed for a few probes.
    sleep(Duration::from_secs(3)).await;
    assert!(!send.is_finished(), "32 MiB fit the buffers of both ends?");
    let received = pattern::receive(&mut kernel).await;
    let (sent, _writer) = send.await.unwrap();
    assert_eq!((sent, LEN), received);
    drop(kernel);
    assert_eq!(reader.read(&mut [0; 10]).await.unwrap(), 0);
}

async fn we_do_not_read_and_the_kernel_stops_and_nothing_is_lost(family: Family) {
    const LEN: u64 = 32 << 20;
    const BUFFER: usize = 100_000;
    let link = Link::with_config(family, |config| config.socket.recv_buffer = BUFFER);
    let listener = TcpListener::bind_on(&link.stack, link.ours(7)).await.unwrap();
    let (kernel, ours) = tokio::join!(KernelStream::connect(link.ours(7)), listener.accept());
    let (mut kernel, (mut ours, _)) = (kernel.unwrap(), ours.unwrap());
    let send = tokio::spawn(async move {
        let sent = pattern::send(&mut kernel, LEN).await;
        kernel.shutdown().await.unwrap();
        (sent, kernel)
    });
    sleep(Duration::from_secs(3)).await;
    assert!(!send.is_finished(), "32 MiB fit the buffers of both ends?");
    let unread = ours.info().unwrap().unread;
    assert!((BUFFER / 2..=BUFFER).contains(&unread), "{unread} of {BUFFER} bytes wait");
    let received = pattern::receive(&mut ours).await;
    let (sent, _kernel) = send.await.unwrap();
    assert_eq!((sent, LEN), received);
}

/// RFC 2018 8: what lies beyond a gap may be dropped although it was reported, and the sender has to send it again.
async fn the_kernel_sends_again_what_was_dropped_after_it_was_reported(family: Family) {
    const LEN: u64 = 4 << 20;
    const BUDGET: usize = 32 << 20;
    let device = link::device();
    let lost = device.counters();
    let link = Link::over(Lossy { device, port: 7, segments: 0 }, lost, family, |config| {
        config.memory_budget = Some(BUDGET);
        config.socket.recv_buffer = BUDGET;
    });
    let listener = TcpListener::bind_on(&link.stack, link.ours(7)).await.unwrap();
    let (kernel, ours) = tokio::join!(KernelStream::connect(link.ours(7)), listener.accept());
    let (mut kernel, (mut ours, _)) = (kernel.unwrap(), ours.unwrap());
    let _unread = hold_much(&link, family).await;

    let send = async move {
        let sent = pattern::send(&mut kernel, LEN).await;
        kernel.shutdown().await.unwrap();
        sent
    };
    let (sent, received) = tokio::join!(send, pattern::receive(&mut ours));
    assert_eq!((sent, LEN), received);
    let counters = link.stack.counters();
    assert!(counters.bytes_reneged > 0, "{counters:?}");
    assert!(kernel_counter("TCPSACKReneging") > 0, "the kernel has noticed nothing");
}

/// Fills the stack's memory with what nobody reads, until what lies beyond gaps is dropped.
async fn hold_much(link: &Link, family: Family) -> (TcpStream, KernelStream) {
    let listener = TcpListener::bind_on(&link.stack, link.ours(8)).await.unwrap();
    let socket = match family {
        Family::V4 => KernelSocket::new_v4(),
        Family::V6 => KernelSocket::new_v6(),
    };
    let socket = socket.unwrap();
    // The kernel does not have much more than what has arrived.
    socket.set_send_buffer_size(64 * 1024).unwrap();
    let (kernel, ours) = tokio::join!(socket.connect(link.ours(8)), listener.accept());
    let (mut kernel, (ours, _)) = (kernel.unwrap(), ours.unwrap());
    loop {
        let memory = link.stack.memory();
        let (held, could_have) = (memory.total() - memory.slabs, memory.budget - memory.slabs);
        if 32 * held > 23 * could_have {
            return (ours, kernel);
        }
        kernel.write_all(&[0; 16 * 1024]).await.unwrap();
    }
}

/// What the kernel has counted in this namespace.
fn kernel_counter(name: &str) -> u64 {
    let netstat = fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let rows: Vec<Vec<&str>> = netstat.lines().map(|line| line.split(' ').collect()).collect();
    let column = |pair: &[Vec<&str>]| {
        let at = pair[0].iter().position(|title| *title == name)?;
        pair[1][at].parse().ok()
    };
    rows.chunks(2).find_map(column).unwrap()
}

/// A device that loses each hundredth segment with data for a port.
struct Lossy {
    device: TunDevice,
    port: u16,
    segments: u32,
}

impl Lossy {
    fn takes(&mut self, received: &Received) -> bool {
        let Ok(header) = ip::parse(&received.packet) else { return true };
        let Ok(segment) = parse_tcp(&received.packet, header, true) else { return true };
        if segment.tcp.dst_port != self.port || segment.payload.is_empty() {
            return true;
        }
        self.segments += 1;
        !self.segments.is_multiple_of(100)
    }
}

impl Device for Lossy {
    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        let old = batch.len();
        while batch.len() == old {
            std::task::ready!(self.device.poll_recv(cx, batch, max))?;
            let new = batch.split_off(old);
            batch.extend(new.into_iter().filter(|received| self.takes(received)));
        }
        Poll::Ready(Ok(()))
    }

    fn slabs(&self) -> usize {
        self.device.slabs()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        self.device.poll_send(cx, queue)
    }
}
