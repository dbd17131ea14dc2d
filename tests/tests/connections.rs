//! Connections between ropeway and the kernel, opened and closed in every way there is.

#![cfg(target_os = "linux")]

use std::io::ErrorKind;
use std::time::Duration;

use ropeway::net::{TcpListener, TcpStream};
use ropeway_tests::link::{Family, Link};
use ropeway_tests::{over_both_families, pattern};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener as KernelListener, TcpStream as KernelStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connections at a time.
const MANY: u16 = 200;
/// Bytes that each of them carries both ways.
const SOME: u64 = 64 * 1024;

over_both_families! {
    the_kernel_opens_200_connections_at_once
    we_open_200_connections_at_once
    the_kernel_closes_its_half_first
    we_close_our_half_first
    our_closed_port_refuses_the_kernel
    the_kernels_closed_port_refuses_us
    the_kernel_resets_us
    we_reset_the_kernel
    dropping_a_stream_with_unread_data_resets_the_kernel
    what_the_kernel_sent_before_it_closed_is_read_to_the_end
    addresses_are_those_of_the_link
}

/// A connection that the kernel has opened.
async fn from_kernel(link: &Link) -> (KernelStream, TcpStream) {
    let listener = TcpListener::bind_on(&link.stack, link.ours(0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (kernel, ours) = tokio::join!(KernelStream::connect(address), listener.accept());
    (kernel.unwrap(), ours.unwrap().0)
}

/// A connection that we have opened.
async fn to_kernel(link: &Link) -> (KernelStream, TcpStream) {
    let listener = KernelListener::bind(link.kernel(0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (kernel, ours) = tokio::join!(listener.accept(), TcpStream::connect_on(&link.stack, address));
    (kernel.unwrap().0, ours.unwrap())
}

async fn the_kernel_opens_200_connections_at_once(family: Family) {
    let link = Link::new(family);
    let listener = TcpListener::bind_on(&link.stack, link.ours(7)).await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..MANY {
        let address = link.ours(7);
        tasks.spawn(async move {
            let mut stream = KernelStream::connect(address).await.unwrap();
            ask(&mut stream).await;
        });
    }
    let mut open = Vec::new();
    for _ in 0..MANY {
        open.push(listener.accept().await.unwrap().0);
    }
    for stream in open {
        tasks.spawn(answer(stream));
    }
    tasks.join_all().await;
    leaves_nothing(&link).await;
}

async fn we_open_200_connections_at_once(family: Family) {
    let link = Link::new(family);
    let listener = KernelListener::bind(link.kernel(7)).await.unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..MANY {
        let (stack, address) = (link.stack.clone(), link.kernel(7));
        tasks.spawn(async move {
            let mut stream = TcpStream::connect_on(&stack, address).await.unwrap();
            ask(&mut stream).await;
        });
    }
    let mut open = Vec::new();
    for _ in 0..MANY {
        open.push(listener.accept().await.unwrap().0);
    }
    for stream in open {
        tasks.spawn(answer(stream));
    }
    tasks.join_all().await;
    leaves_nothing(&link).await;
}

/// Sends the pattern, and expects it back.
async fn ask(stream: &mut (impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin)) {
    let sent = pattern::send(stream, SOME).await;
    stream.shutdown().await.unwrap();
    assert_eq!(pattern::receive(stream).await, (sent, SOME));
}

/// Reads to the end, and sends the pattern back.
async fn answer(mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin) {
    let (_, len) = pattern::receive(&mut stream).await;
    assert_eq!(len, SOME);
    pattern::send(&mut stream, len).await;
    stream.shutdown().await.unwrap();
}

/// No connection is left but those in TIME-WAIT.
async fn leaves_nothing(link: &Link) {
    timeout(Duration::from_secs(10), link.stack.closed()).await.expect("connections end").unwrap();
    let sizes = link.stack.sizes();
    assert_eq!((sizes.connections, sizes.half_open), (0, 0));
}

async fn the_kernel_closes_its_half_first(family: Family) {
    let link = Link::new(family);
    let (mut kernel, mut ours) = to_kernel(&link).await;
    kernel.write_all(b"the last word").await.unwrap();
    kernel.shutdown().await.unwrap();
    let mut text = String::new();
    ours.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "the last word");

    let send = async {
        let sent = pattern::send(&mut ours, 1 << 20).await;
        ours.shutdown().await.unwrap();
        sent
    };
    let (sent, received) = tokio::join!(send, pattern::receive(&mut kernel));
    assert_eq!((sent, 1 << 20), received);
    drop((ours, kernel));
    leaves_nothing(&link).await;
}

async fn we_close_our_half_first(family: Family) {
    let link = Link::new(family);
    let (mut kernel, mut ours) = from_kernel(&link).await;
    ours.write_all(b"the last word").await.unwrap();
    ours.shutdown().await.unwrap();
    let mut text = String::new();
    kernel.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "the last word");
    assert_eq!(ours.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);

    let send = async {
        let sent = pattern::send(&mut kernel, 1 << 20).await;
        kernel.shutdown().await.unwrap();
        sent
    };
    let (sent, received) = tokio::join!(send, pattern::receive(&mut ours));
    assert_eq!((sent, 1 << 20), received);
    drop((ours, kernel));
    leaves_nothing(&link).await;
}

async fn our_closed_port_refuses_the_kernel(family: Family) {
    let link = Link::new(family);
    let error = KernelStream::connect(link.ours(9)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

async fn the_kernels_closed_port_refuses_us(family: Family) {
    let link = Link::new(family);
    let error = TcpStream::connect_on(&link.stack, link.kernel(9)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    leaves_nothing(&link).await;
}

async fn the_kernel_resets_us(family: Family) {
    let link = Link::new(family);
    let (kernel, mut ours) = to_kernel(&link).await;
    kernel.set_zero_linger().unwrap();
    drop(kernel);
    let mut buf = [0; 10];
    assert_eq!(ours.read(&mut buf).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(ours.read(&mut buf).await.unwrap(), 0);
    assert_eq!(ours.write(b"x").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
}

async fn we_reset_the_kernel(family: Family) {
    let link = Link::new(family);
    let (mut kernel, ours) = from_kernel(&link).await;
    ours.set_zero_linger().unwrap();
    drop(ours);
    assert_eq!(kernel.read(&mut [0; 10]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    leaves_nothing(&link).await;
}

async fn dropping_a_stream_with_unread_data_resets_the_kernel(family: Family) {
    let link = Link::new(family);
    let (mut kernel, ours) = from_kernel(&link).await;
    kernel.write_all(b"never read").await.unwrap();
    ours.readable().await.unwrap();
    drop(ours);
    assert_eq!(kernel.read(&mut [0; 10]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

async fn what_the_kernel_sent_before_it_closed_is_read_to_the_end(family: Family) {
    let link = Link::new(family);
    let (mut kernel, mut ours) = to_kernel(&link).await;
    let sent = pattern::send(&mut kernel, 100_000).await;
    drop(kernel);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(pattern::receive(&mut ours).await, (sent, 100_000));
}

async fn addresses_are_those_of_the_link(family: Family) {
    let link = Link::new(family);
    let (kernel, ours) = from_kernel(&link).await;
    assert_eq!(kernel.peer_addr().unwrap(), ours.local_addr().unwrap());
    assert_eq!(kernel.local_addr().unwrap(), ours.peer_addr().unwrap());
    assert_eq!(kernel.local_addr().unwrap().ip(), family.kernel());
    let (kernel, ours) = to_kernel(&link).await;
    assert_eq!(kernel.peer_addr().unwrap(), ours.local_addr().unwrap());
    assert_eq!(ours.local_addr().unwrap().ip(), family.ours());
}
