//! TCP Fast Open with the kernel at the other end: cookies go both ways, and data goes with SYNs both ways.

#![cfg(target_os = "linux")]

use std::os::fd::AsRawFd;

use ropeway::net::{TcpListener, TcpSocket};
use ropeway_tests::link::{Family, Link};
use ropeway_tests::over_both_families;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener as KernelListener, TcpSocket as KernelSocket, TcpStream as KernelStream};

over_both_families! {
    the_kernel_sends_data_with_its_syn
    the_kernel_takes_data_with_our_syn
    a_kernel_without_fast_open_gets_the_data_after_the_handshake
}

/// What the kernel does in this namespace: 1 for clients, 2 for servers.
fn set_kernel(bits: u32) {
    std::fs::write("/proc/sys/net/ipv4/tcp_fastopen", bits.to_string()).unwrap();
}

/// An option of one of the kernel's sockets.
fn set_option(socket: &impl AsRawFd, option: libc::c_int, value: libc::c_int) {
    let len = libc::socklen_t::try_from(size_of_val(&value)).unwrap();
    // SAFETY: the kernel reads an integer of the length that is given.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, option, (&raw const value).cast(), len)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Whether the kernel has sent, or taken, data with a SYN (`TCPI_OPT_SYN_DATA`).
fn kernel_used_it(stream: &KernelStream) -> bool {
    let mut info = [0_u8; 256];
    let mut len = libc::socklen_t::try_from(info.len()).unwrap();
    // SAFETY: the kernel writes as many bytes as `len` says at most.
    let result = unsafe {
        let place = info.as_mut_ptr().cast();
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, place, &raw mut len)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    // `tcpi_options`
    info[5] & 32 != 0
}

fn our_socket(link: &Link, family: Family) -> TcpSocket {
    let socket = match family {
        Family::V4 => TcpSocket::new_v4_on(&link.stack),
        Family::V6 => TcpSocket::new_v6_on(&link.stack),
    };
    socket.unwrap()
}

/// A client of the kernel's that sends what is written first with its SYN, if it has a cookie.
async fn kernel_connect(link: &Link, family: Family) -> KernelStream {
    let socket = match family {
        Family::V4 => KernelSocket::new_v4(),
        Family::V6 => KernelSocket::new_v6(),
    };
    let socket = socket.unwrap();
    set_option(&socket, libc::TCP_FASTOPEN_CONNECT, 1);
    socket.connect(link.ours(80)).await.unwrap()
}

async fn the_kernel_sends_data_with_its_syn(family: Family) {
    set_kernel(1);
    let link = Link::new(family);
    let socket = our_socket(&link, family);
    socket.bind(link.ours(80)).unwrap();
    socket.set_fastopen(16).unwrap();
    let listener: TcpListener = socket.listen(16).unwrap();
    for with_syn in [false, true, true] {
        let client = async {
            let mut client = kernel_connect(&link, family).await;
            client.write_all(b"request").await.unwrap();
            let mut answer = [0; 6];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"answer");
            client
        };
        let server = async {
            let (mut server, _) = listener.accept().await.unwrap();
            let mut request = [0; 7];
            server.read_exact(&mut request).await.unwrap();
            assert_eq!(&request, b"request");
            server.write_all(b"answer").await.unwrap();
            server
        };
        let (client, server) = tokio::join!(client, server);
        assert_eq!((server.info().unwrap().syn_data, kernel_used_it(&client)), (with_syn, with_syn));
    }
    let counters = link.stack.counters();
    assert_eq!((counters.fast_open_cookies_requested, counters.fast_open_passive), (1, 2));
    assert_eq!(counters.fast_open_passive_failed, 0);
}

async fn the_kernel_takes_data_with_our_syn(family: Family) {
    set_kernel(2);
    let link = Link::new(family);
    let listener = KernelListener::bind(link.kernel(80)).await.unwrap();
    set_option(&listener, libc::TCP_FASTOPEN, 16);
    for (with_syn, len) in [(false, 7), (true, 7), (true, 20_000)] {
        let request = bytes(len);
        let client = async {
            let mut client = our_socket(&link, family).connect_with(link.kernel(80), &request).await.unwrap();
            let mut answer = [0; 6];
            client.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"answer");
            client
        };
        let server = async {
            let (mut server, _) = listener.accept().await.unwrap();
            let mut got = vec![0; len];
            server.read_exact(&mut got).await.unwrap();
            assert_eq!(got, request);
            server.write_all(b"answer").await.unwrap();
            server
        };
        let (client, server) = tokio::join!(client, server);
        assert_eq!((client.info().unwrap().syn_data, kernel_used_it(&server)), (with_syn, with_syn));
    }
    assert_eq!(link.stack.counters().fast_open_active, 2);
}

async fn a_kernel_without_fast_open_gets_the_data_after_the_handshake(family: Family) {
    set_kernel(0);
    let link = Link::new(family);
    let listener = KernelListener::bind(link.kernel(80)).await.unwrap();
    for _ in 0..3 {
        let connect = our_socket(&link, family).connect_with(link.kernel(80), b"request");
        let (client, server) = tokio::join!(connect, listener.accept());
        let mut got = [0; 7];
        server.unwrap().0.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"request");
        assert!(!client.unwrap().info().unwrap().syn_data);
    }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}
