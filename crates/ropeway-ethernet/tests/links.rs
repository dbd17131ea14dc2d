//! Two stacks, each with an Ethernet device, over each kind of link that needs no rights.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use bytes::Bytes;
use ropeway::Stack;
use ropeway::net::{TcpListener, TcpStream};
use ropeway_ethernet::{
    DatagramLink, EthernetConfig, EthernetCountersHandle, EthernetDevice, Link, StreamLink, memory,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

fn stack(link: impl Link, number: u8, mtu: u16) -> (Stack, EthernetCountersHandle) {
    let addresses =
        [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")].map(|text| text.parse().unwrap());
    let mut config = EthernetConfig::new(format!("02:00:00:00:00:{number:02x}").parse().unwrap()).mtu(mtu);
    let mut builder = Stack::builder();
    for address in addresses {
        config = config.address(address);
        builder = builder.address(address);
    }
    let device = EthernetDevice::new(link, config);
    let counters = device.counters();
    (builder.device(device).build().unwrap(), counters)
}

/// Moves so many bytes there and back.
async fn echo(server: &Stack, client: &Stack, address: IpAddr, len: usize) {
    let listener = TcpListener::bind_on(server, SocketAddr::new(address, 80)).await.unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let ask = async {
        let stream = TcpStream::connect_on(client, SocketAddr::new(address, 80)).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        let sent: Vec<u8> = (0..len).map(|at| (at * 7 / 3).to_le_bytes()[0]).collect();
        let expected = sent.clone();
        let write = async {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let read = reader.read_to_end(&mut received);
        let (_, read) = tokio::join!(write, read);
        read.unwrap();
        assert!(received == expected);
    };
    let both = async { tokio::join!(serve, ask) };
    timeout(Duration::from_secs(60), both).await.expect("in time");
}

async fn works(left: impl Link, right: impl Link, mtu: u16) {
    let (server, counters) = stack(left, 1, mtu);
    let (client, _) = stack(right, 2, mtu);
    for address in ["10.0.0.1", "fd00::1"] {
        echo(&server, &client, address.parse().unwrap(), 3_000_000).await;
    }
    let counters = counters.read();
    assert_eq!((counters.unresolved_packets, counters.oversized_frames, counters.runt_frames), (0, 0, 0));
}

#[tokio::test]
async fn a_cable_in_memory() {
    let (left, right) = memory::pair();
    works(left, right, 1500).await;
}

#[tokio::test]
async fn a_stream_socket_with_small_and_large_packets() {
    for mtu in [1280, 1500, 65_520] {
        let (left, right) = UnixStream::pair().unwrap();
        works(StreamLink::new(left), StreamLink::new(right), mtu).await;
    }
}

#[tokio::test]
async fn datagram_sockets_with_small_and_large_packets() {
    for mtu in [1280, 1500, 65_520] {
        let (left, right) = UnixDatagram::pair().unwrap();
        works(DatagramLink::new(left).unwrap(), DatagramLink::new(right).unwrap(), mtu).await;
    }
}

#[tokio::test]
async fn datagram_sockets_with_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("link");
    let listening = DatagramLink::listen(&path).unwrap();
    let connected = DatagramLink::connect(folder.path().join("guest"), &path).unwrap();
    works(listening, connected, 1500).await;
}

#[tokio::test]
async fn a_socket_that_is_in_use_is_not_taken_and_a_dead_one_is() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["stream", "datagram"] {
        let path = folder.path().join(kind);
        let listen = || match kind {
            "stream" => StreamLink::listen(&path).map(drop),
            _ => DatagramLink::listen(&path).map(drop),
        };
        let alive: Box<dyn std::any::Any> = match kind {
            "stream" => Box::new(std::os::unix::net::UnixListener::bind(&path).unwrap()),
            _ => Box::new(UnixDatagram::bind(&path).unwrap()),
        };
        assert_eq!(listen().unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
        drop(alive);
        listen().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert!(StreamLink::listen(&file).is_err() && DatagramLink::listen(&file).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    }
}

/// A guest that is restarted: the stack stays, and so does a listener.
#[tokio::test]
async fn one_guest_after_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vm.sock");
    let (server, _) = stack(StreamLink::listen(&path).unwrap(), 1, 1500);
    for _ in 0..3 {
        let link = StreamLink::new(UnixStream::connect(&path).await.unwrap());
        let (client, _) = stack(link, 2, 1500);
        echo(&server, &client, "10.0.0.1".parse().unwrap(), 10_000).await;
        client.shutdown(Duration::from_secs(5)).await.unwrap();
        drop(client);
    }
}

#[tokio::test]
async fn a_peer_that_loses_the_framing_loses_its_connection_and_nobody_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vm.sock");
    let link = StreamLink::from_listener(UnixListener::bind(&path).unwrap());
    let (server, _) = stack(link, 1, 1500);
    for garbage in [&[0xff; 64][..], &[0, 1, 0, 4, 9, 9], &[0, 0, 0], &[0; 4000]] {
        let mut broken = UnixStream::connect(&path).await.unwrap();
        broken.write_all(garbage).await.unwrap();
        drop(broken);
    }
    let (client, _) = stack(StreamLink::new(UnixStream::connect(&path).await.unwrap()), 2, 1500);
    echo(&server, &client, "10.0.0.1".parse().unwrap(), 10_000).await;
}

/// Nobody answers for an address of the link: the connection attempt says so when it fails.
#[tokio::test(start_paused = true)]
async fn connecting_to_a_neighbor_that_is_not_there_says_so() {
    let (left, _right) = memory::pair();
    let (stack, counters) = stack(left, 1, 1500);
    let error = TcpStream::connect_on(&stack, "10.0.0.9:7").await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::HostUnreachable);
    assert!(counters.read().unresolved >= 1);
}

#[tokio::test]
async fn a_stack_ends_with_its_link() {
    let (left, right) = UnixStream::pair().unwrap();
    let (stack, _) = stack(StreamLink::new(left), 1, 1500);
    let listener = TcpListener::bind_on(&stack, "10.0.0.1:80").await.unwrap();
    drop(right);
    timeout(Duration::from_secs(5), listener.accept()).await.expect("it ends").unwrap_err();
}

/// What comes in a frame that nobody can be, between frames of a connection.
#[tokio::test]
async fn garbage_beside_a_connection_does_not_hurt_it() {
    let (left, right) = memory::pair();
    let (near, mut far) = memory::pair();
    let (server, counters) = stack(left, 1, 1500);
    let (client, _) = stack(near, 2, 1500);
    let mut right = right;
    let wire = tokio::spawn(async move {
        let mut number = 0_u8;
        loop {
            let garbage: Vec<u8> = (0..number).map(|at| at.wrapping_mul(number)).collect();
            tokio::select! {
                Some(frame) = far.recv() => {
                    right.send(Bytes::from(garbage));
                    right.send(frame);
                }
                Some(frame) = right.recv() => far.send(frame),
                else => return,
            }
            number = number.wrapping_add(1);
        }
    });
    echo(&server, &client, "fd00::1".parse().unwrap(), 300_000).await;
    wire.abort();
    assert!(counters.read().runt_frames > 0);
}
