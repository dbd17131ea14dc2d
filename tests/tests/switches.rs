//! Linux's switches beside the kernel that they come from: each test with ropeway at the one end, and at the other.

#![cfg(target_os = "linux")]

use std::io::ErrorKind;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use ropeway::net::{TcpListener, TcpStream};
use ropeway_tests::link::{Family, Link};
use ropeway_tests::over_both_families;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::{TcpListener as KernelListener, TcpStream as KernelStream};

over_both_families! {
    a_connection_is_accepted_with_its_request
    a_peer_that_says_nothing_is_accepted_when_the_time_is_over
    a_dropped_connection_that_does_not_wait_is_reset
}

const REQUEST: &[u8] = b"GET";

/// `setsockopt` of the kernel, for TCP.
fn set(socket: RawFd, option: libc::c_int, value: libc::c_int) {
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap();
    // SAFETY: the value is there, and as long as is said.
    let result =
        unsafe { libc::setsockopt(socket, libc::IPPROTO_TCP, option, (&raw const value).cast(), len) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

async fn deferring(link: &Link, time: Duration) -> (TcpListener, KernelListener) {
    let ours = TcpListener::bind_on(&link.stack, link.ours(80)).await.unwrap();
    ours.set_tcp_defer_accept(Some(time)).unwrap();
    let kernel = KernelListener::bind(link.kernel(0)).await.unwrap();
    set(kernel.as_raw_fd(), libc::TCP_DEFER_ACCEPT, i32::try_from(time.as_secs()).unwrap());
    (ours, kernel)
}

async fn a_connection_is_accepted_with_its_request(family: Family) {
    let link = Link::new(family);
    let (ours, kernel) = deferring(&link, Duration::from_secs(60)).await;
    let mut client = KernelStream::connect(link.ours(80)).await.unwrap();
    while link.stack.counters().accepts_deferred == 0 {
        tokio::task::yield_now().await;
    }
    client.write_all(REQUEST).await.unwrap();
    let (server, _) = ours.accept().await.unwrap();
    let mut request = [0; 8];
    assert_eq!(server.try_read(&mut request).unwrap(), REQUEST.len());
    assert_eq!(link.stack.counters().tcp_retransmitted, 0);

    let mut client = TcpStream::connect_on(&link.stack, kernel.local_addr().unwrap()).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    let (mut server, _) = kernel.accept().await.unwrap();
    let mut request = [0; REQUEST.len()];
    server.read_exact(&mut request).await.unwrap();
    assert_eq!(request, REQUEST);
}

async fn a_peer_that_says_nothing_is_accepted_when_the_time_is_over(family: Family) {
    let link = Link::new(family);
    let (ours, kernel) = deferring(&link, Duration::from_secs(1)).await;
    let _client = KernelStream::connect(link.ours(80)).await.unwrap();
    let (server, _) = ours.accept().await.unwrap();
    assert_eq!(server.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
    // The SYN-ACK has asked again.
    assert_eq!(link.stack.counters().tcp_retransmitted, 1);
    assert_eq!(server.info().unwrap().cwnd, 10 * u32::from(server.info().unwrap().snd_mss));

    let _client = TcpStream::connect_on(&link.stack, kernel.local_addr().unwrap()).await.unwrap();
    let (server, _) = kernel.accept().await.unwrap();
    assert_eq!(server.try_read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

async fn a_dropped_connection_that_does_not_wait_is_reset(family: Family) {
    let link = Link::new(family);
    let ours = TcpListener::bind_on(&link.stack, link.ours(80)).await.unwrap();
    ours.set_tcp_fin_timeout(Some(Duration::ZERO)).unwrap();
    let (client, server) = tokio::join!(KernelStream::connect(link.ours(80)), ours.accept());
    drop(server.unwrap());
    let client = client.unwrap();
    client.ready(Interest::ERROR).await.unwrap();
    let told = client.take_error().unwrap().expect("a reset");
    assert_eq!(told.kind(), ErrorKind::BrokenPipe);

    let kernel = KernelListener::bind(link.kernel(0)).await.unwrap();
    set(kernel.as_raw_fd(), libc::TCP_LINGER2, -1);
    let address = kernel.local_addr().unwrap();
    let (client, server) = tokio::join!(TcpStream::connect_on(&link.stack, address), kernel.accept());
    drop(server.unwrap());
    let client = client.unwrap();
    client.ready(Interest::ERROR).await.unwrap();
    assert_eq!(client.take_error().unwrap().expect("a reset").kind(), ErrorKind::BrokenPipe);
}
