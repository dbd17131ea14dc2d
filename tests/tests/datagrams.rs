//! What is not TCP: echo requests, datagrams to ports where nobody is, and UDP sockets at both ends.

#![cfg(target_os = "linux")]

use std::io::{ErrorKind, IoSliceMut};
use std::os::fd::AsRawFd;
use std::time::Duration;

use ropeway::net::udp::{Outgoing, RecvMeta};
use ropeway::packet::EcnCodepoint;

use ropeway_tests::link::{Family, Link};
use ropeway_tests::{over_both_families, programs};
use tokio::net::UdpSocket;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);

over_both_families! {
    #[needs("ping")]
    we_answer_echo_requests
    a_datagram_to_our_closed_port_is_refused
    datagrams_cross_both_ways
    a_closed_port_of_the_kernel_refuses_us
    trains_cross_both_ways
}

async fn we_answer_echo_requests(family: Family) {
    let link = Link::new(family);
    let address = link.ours(0).ip().to_string();
    for size in ["0", "56", "1400"] {
        let ping = programs::spawn("ping", &["-n", "-c", "3", "-i", "0.05", "-W", "2", "-s", size, &address]);
        let output = ping.wait_with_output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("3 received, 0% packet loss"), "{size} bytes: {text}");
    }
}

async fn a_datagram_to_our_closed_port_is_refused(family: Family) {
    let link = Link::new(family);
    let socket = UdpSocket::bind(link.kernel(0)).await.unwrap();
    socket.connect(link.ours(9)).await.unwrap();
    socket.send(b"anybody there?").await.unwrap();
    let received = timeout(Duration::from_secs(5), socket.recv(&mut [0; 10])).await.expect("an answer");
    assert_eq!(received.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

async fn datagrams_cross_both_ways(family: Family) {
    let link = Link::new(family);
    let theirs = UdpSocket::bind(link.kernel(0)).await.unwrap();
    let ours = ropeway::net::UdpSocket::bind_on(&link.stack, link.ours(0)).await.unwrap();
    ours.connect(theirs.local_addr().unwrap()).await.unwrap();
    let mut buf = [0; 2000];
    let longest = if link.ours(0).is_ipv4() { 1472 } else { 1452 };
    for len in [0, 1, 2, 511, 1000, longest] {
        let data = vec![7; len];
        ours.send(&data).await.unwrap();
        let (read, from) = timeout(SOON, theirs.recv_from(&mut buf)).await.expect("it arrives").unwrap();
        assert_eq!((&buf[..read], from), (&data[..], ours.local_addr().unwrap()));
        theirs.send_to(&data, from).await.unwrap();
        assert_eq!(timeout(SOON, ours.recv(&mut buf)).await.expect("it comes back").unwrap(), len);
    }
    ours.set_dont_fragment(true).unwrap();
    let too_long = ours.send(&vec![7; longest + 1]).await.unwrap_err();
    assert_eq!(too_long.raw_os_error(), Some(libc::EMSGSIZE));
}

async fn a_closed_port_of_the_kernel_refuses_us(family: Family) {
    let link = Link::new(family);
    let ours = ropeway::net::UdpSocket::bind_on(&link.stack, link.ours(0)).await.unwrap();
    ours.connect(link.kernel(9)).await.unwrap();
    ours.send(b"anybody there?").await.unwrap();
    let received = timeout(SOON, ours.recv(&mut [0; 10])).await.expect("an answer");
    assert_eq!(received.unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

/// With the sizes, the marks and the order that they were sent with, whoever cuts them.
async fn trains_cross_both_ways(family: Family) {
    let link = Link::new(family);
    let theirs = UdpSocket::bind(link.kernel(0)).await.unwrap();
    let ours = ropeway::net::UdpSocket::bind_on(&link.stack, link.ours(0)).await.unwrap();
    ours.connect(theirs.local_addr().unwrap()).await.unwrap();
    let data: Vec<u8> = (0..30_000u32).map(|at| (at % 251) as u8).collect();
    let how = Outgoing { segment_size: Some(1200), ecn: Some(EcnCodepoint::Ect0), ..Outgoing::default() };
    let mut buf = vec![0; 65_535];
    for len in [1200, 1201, 12_000, 30_000] {
        ours.send_train(&data[..len], &how).await.unwrap();
        for sent in data[..len].chunks(1200) {
            let read = timeout(SOON, theirs.recv(&mut buf)).await.expect("it arrives").unwrap();
            assert_eq!(&buf[..read], sent);
        }
    }
    theirs.connect(ours.local_addr().unwrap()).await.unwrap();
    set_segment_size(&theirs, 1100);
    theirs.send(&data).await.unwrap();
    let mut received = Vec::new();
    while received.len() < data.len() {
        let mut meta = [RecvMeta::default()];
        let bufs = &mut [IoSliceMut::new(&mut buf)];
        timeout(SOON, ours.recv_trains(bufs, &mut meta)).await.expect("all of it comes").unwrap();
        assert_eq!(meta[0].stride, 1100.min(data.len() - received.len()));
        assert_eq!(
            (meta[0].remote, meta[0].local),
            (theirs.local_addr().unwrap(), ours.local_addr().unwrap())
        );
        received.extend_from_slice(&buf[..meta[0].len]);
    }
    assert!(received == data);
}

/// What the kernel's socket sends is cut by the kernel, or by whoever takes it over.
fn set_segment_size(socket: &UdpSocket, size: libc::c_int) {
    let len = libc::socklen_t::try_from(size_of_val(&size)).unwrap();
    // SAFETY: the option is an `int`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_SEGMENT, (&raw const size).cast(), len)
    };
    assert_eq!(result, 0);
}
