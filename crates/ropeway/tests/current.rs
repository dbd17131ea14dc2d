//! Which stack a socket uses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::io::ErrorKind;

use common::{Net, kind};
use ropeway::Stack;
use ropeway::net::{TcpListener, TcpSocket, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn nothing_is_needed_for_loopback() {
    assert!(Stack::current().is_none());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stack = Stack::current().unwrap();
    assert_eq!(listener.stack(), &stack);
    assert!(stack.addresses().is_empty());
    // It is the runtime's, in every task, and outlives its sockets.
    drop(listener);
    tokio::spawn(async move { assert_eq!(Stack::current().unwrap(), stack) }).await.unwrap();
}

#[tokio::test]
async fn elsewhere_needs_a_device() {
    for remote in ["10.1.2.3:80", "[2001:db8::1]:80"] {
        // As with the kernel where there is nothing but `lo`. What to do about it is in the log.
        let error = TcpStream::connect(remote).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENETUNREACH));
    }
}

#[test]
fn a_stack_of_one_s_own_needs_a_runtime() {
    let error = Stack::loopback().unwrap_err();
    assert!(error.to_string().contains("Tokio runtime"), "{error}");
    // As with tokio's, a socket can be made anywhere, and used in a runtime.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_nodelay(true).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert!(socket.listen(1).unwrap().ttl().is_ok());
    });
}

#[tokio::test]
async fn entered() {
    let Net { left, right, .. } = Net::new();
    {
        let _left = left.enter();
        assert_eq!(Stack::current().unwrap(), left);
        {
            let _right = right.enter();
            assert_eq!(Stack::current().unwrap(), right);
        }
        assert_eq!(Stack::current().unwrap(), left);
    }
    // Guards may be dropped in any order.
    let first = left.enter();
    let second = right.enter();
    drop(first);
    assert_eq!(Stack::current().unwrap(), right);
    drop(second);
    assert!(Stack::current().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_scope_follows_its_task() {
    let net = Net::new();
    let (left, right) = (net.left.clone(), net.right.clone());
    let server = tokio::spawn({
        let right = right.clone();
        async move {
            right
                .scope(async {
                    let listener = TcpListener::bind("10.0.0.2:80").await.unwrap();
                    for _ in 0..50 {
                        // Wherever the task goes on, it is in its scope.
                        tokio::task::yield_now().await;
                        assert_eq!(Stack::current().unwrap(), *listener.stack());
                    }
                    listener
                })
                .await
        }
    });
    let listener = server.await.unwrap();
    let accepted = tokio::spawn(async move { listener.accept().await.unwrap().0 });
    let mut client = left.scope(TcpStream::connect("10.0.0.2:80")).await.unwrap();
    assert_eq!(client.stack(), &left);
    drop(accepted.await.unwrap());
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    // Nothing is left of it outside.
    assert_ne!(Stack::current().as_ref(), Some(&left));
}

#[tokio::test]
async fn what_a_builder_refuses() {
    let (device, _other) = ropeway::device::memory::pair(1400);
    let refused = Stack::builder().device(device).mtu(1500).build();
    assert_eq!(kind(refused), ErrorKind::InvalidInput);
    assert_eq!(kind(Stack::builder().mtu(67).build()), ErrorKind::InvalidInput);
    let (device, _other) = ropeway::device::memory::pair(1279);
    let refused = Stack::builder().device(device).address("fd00::1/64".parse().unwrap()).build();
    assert_eq!(kind(refused), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn addresses_that_come_and_go() {
    let net = Net::new();
    let addr = "10.0.0.9:80";
    assert_eq!(kind(TcpListener::bind_on(&net.right, addr).await), ErrorKind::AddrNotAvailable);
    net.right.add_address("10.0.0.9/24".parse().unwrap()).unwrap();
    assert_eq!(net.right.addresses().len(), 2);
    let _listener = TcpListener::bind_on(&net.right, addr).await.unwrap();
    let client = TcpStream::connect_on(&net.left, addr).await.unwrap();
    assert_eq!(client.peer_addr().unwrap(), addr.parse().unwrap());
    net.right.remove_address("10.0.0.9".parse().unwrap()).unwrap();
    assert_eq!(net.right.addresses().len(), 1);
    assert_eq!(net.left.path_mtu("10.0.0.9".parse().unwrap()), 1500);
    assert!(net.left.counters().tcp_sent > 0);
    assert_eq!(net.left.config().mtu, 1500);
}

/// Reads and writes so much in one direction, and tells what the writer says of the connection then.
async fn upload(client: &mut TcpStream, server: &mut TcpStream, bytes: usize) -> ropeway::TcpInfo {
    let (data, mut got) = (vec![7; bytes], vec![0; bytes]);
    let (sent, received) = tokio::join!(client.write_all(&data), server.read_exact(&mut got));
    sent.unwrap();
    received.unwrap();
    client.info().unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_mtu_of_a_path_is_told_and_that_of_the_stack_raised() {
    let (left_end, right_end) = ropeway::device::memory::pair(9000);
    let stack = |host: u8, device| {
        let address = format!("10.0.0.{host}/24").parse().unwrap();
        Stack::builder().address(address).device(device).mtu(1500).build().unwrap()
    };
    let (left, right) = (stack(1, left_end), stack(2, right_end));
    let remote: std::net::IpAddr = "10.0.0.2".parse().unwrap();
    let listener = TcpListener::bind_on(&right, "10.0.0.2:80").await.unwrap();

    // A path that takes less than the device: connections begin with that, and find out that more passes.
    left.set_path_mtu(remote, 1000).unwrap();
    assert_eq!((left.path_mtu(remote), left.path_mtu("10.0.0.3".parse().unwrap())), (1000, 1500));
    let mut client = TcpStream::connect_on(&left, "10.0.0.2:80").await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    assert_eq!((client.info().unwrap().snd_mss, client.info().unwrap().advmss), (948, 1460));
    assert_eq!(upload(&mut client, &mut server, 500_000).await.pmtu, 1500);
    assert_eq!(left.path_mtu(remote), 1500);
    left.set_path_mtu(remote, 40).unwrap();
    assert_eq!(left.path_mtu(remote), 552, "no path takes less");

    // The tunnel below takes more from now on.
    assert_eq!(kind(left.raise_mtu(9001)), ErrorKind::InvalidInput);
    for stack in [&left, &right] {
        stack.raise_mtu(9000).unwrap();
        stack.raise_mtu(1400).unwrap();
        assert_eq!(stack.config().mtu, 9000);
    }
    let listener = TcpListener::bind_on(&left, "10.0.0.1:82").await.unwrap();
    let mut client = TcpStream::connect_on(&right, "10.0.0.1:82").await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let info = upload(&mut client, &mut server, 100_000).await;
    assert_eq!((info.snd_mss, info.advmss, info.pmtu), (8948, 8960, 9000));
    assert_eq!(kind(Stack::loopback().unwrap().raise_mtu(1500)), ErrorKind::InvalidInput, "without a device");
}

/// The parity tests have the loopback; this is over a device.
#[tokio::test]
async fn mapped_addresses_over_a_device() {
    let net = Net::new();
    let mapped = |host: u8| format!("[::ffff:10.0.0.{host}]:80").parse::<std::net::SocketAddr>().unwrap();
    let listener = TcpListener::bind_on(&net.right, mapped(2)).await.unwrap();
    assert_eq!(listener.local_addr().unwrap(), mapped(2));
    let socket = TcpSocket::new_v6_on(&net.left).unwrap();
    socket.bind(mapped(1)).unwrap();
    let client = socket.connect(mapped(2)).await.unwrap();
    assert_eq!((client.local_addr().unwrap(), client.peer_addr().unwrap()), (mapped(1), mapped(2)));
    assert_eq!(listener.accept().await.unwrap().1, mapped(1));
    // To oneself, at one's address on the device.
    let _own = TcpListener::bind_on(&net.left, "10.0.0.1:81").await.unwrap();
    TcpStream::connect_on(&net.left, "[::ffff:10.0.0.1]:81").await.unwrap();

    let patience = std::time::Duration::from_secs(1);
    let outcome = ropeway::scan::probe_tcp_on(&net.left, mapped(2), patience, 1).await.unwrap();
    assert_eq!(outcome, ropeway::ProbeOutcome::Open);
    assert_eq!(net.left.path_mtu(mapped(2).ip()), 1500);
    net.right.remove_address(mapped(2).ip()).unwrap();
    assert!(net.right.addresses().is_empty());
}
