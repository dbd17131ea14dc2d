//! Peers that vanish, readers that stop, cables that are pulled.

#![cfg(target_os = "linux")]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use ropeway::KeepAlive;
use ropeway::net::{TcpListener, TcpStream};
use ropeway_tests::link::{self, Family, Link};
use ropeway_tests::namespace::{LinkState, set_link};
use ropeway_tests::{over_both_families, pattern};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener as KernelListener, TcpStream as KernelStream};
use tokio::time::{sleep, timeout};

over_both_families! {
    a_peer_that_vanishes_while_we_send
    a_peer_that_vanishes_while_nothing_is_sent
    a_peer_that_was_never_there
    a_kernel_that_does_not_read_stops_us_and_loses_nothing
    we_do_not_read_and_the_kernel_stops_and_nothing_is_lost
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
