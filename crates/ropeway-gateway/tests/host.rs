//! The gateway with the host's own sockets, on loopback, and a guest in memory.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test says what is wrong by failing")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ropeway::Stack;
use ropeway::device::memory;
use ropeway::net::{TcpListener, UdpSocket};
use ropeway_gateway::{Forward, Gateway, HostSockets, Map, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket as HostUdpSocket};
use tokio::time::timeout;

const GUEST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 0, 2, 15)), 7);
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The guest's stack, behind a gateway.
fn guest(settings: Settings) -> Stack {
    let (left, right) = memory::pair(1500);
    let guest = Stack::builder().address("10.0.2.15/24".parse().unwrap()).device(left).build().unwrap();
    let inner = Stack::builder().address("10.0.2.2/24".parse().unwrap()).device(right).build().unwrap();
    tokio::spawn(Gateway::new(inner, settings, HostSockets::new()).unwrap().run());
    guest
}

/// Ports of the host that are free.
fn free() -> SocketAddr {
    let socket = std::net::UdpSocket::bind(LOOPBACK).unwrap();
    socket.local_addr().unwrap()
}

#[tokio::test]
async fn forwards_lead_to_the_guest_and_its_answers_back() {
    let (tcp, udp) = (free(), free());
    let mut settings = Settings::default();
    settings.forwards = vec![Forward::tcp(tcp, GUEST), Forward::udp(udp, GUEST)];
    let guest = guest(settings);
    let datagrams = UdpSocket::bind_on(&guest, GUEST).await.unwrap();
    let listener = TcpListener::bind_on(&guest, GUEST).await.unwrap();
    tokio::spawn(async move {
        let mut buf = [0; 2000];
        while let Ok((len, from)) = datagrams.recv_from(&mut buf).await {
            // It comes from the gateway.
            assert_eq!(from.ip(), Ipv4Addr::new(10, 0, 2, 2));
            datagrams.send_to(&buf[..len], from).await.unwrap();
        }
    });
    let senders = [(); 3].map(|()| HostUdpSocket::bind(LOOPBACK));
    for (n, sender) in (0u8..).zip(senders) {
        let (sender, mut buf) = (sender.await.unwrap(), [0; 100]);
        for round in 0..20 {
            // The gateway's own socket may not be there yet.
            sender.send_to(&[n, round], udp).await.unwrap();
            match timeout(Duration::from_millis(200), sender.recv(&mut buf)).await {
                Ok(Ok(len)) if buf[..len] == [n, round] => break,
                _ => assert!(round < 19, "no answer"),
            }
        }
    }
    let (dialed, accepted) = tokio::join!(TcpStream::connect(tcp), listener.accept());
    let (mut host, mut guest) = (dialed.unwrap(), accepted.unwrap().0);
    host.write_all(b"on belay?").await.unwrap();
    host.shutdown().await.unwrap();
    let mut said = String::new();
    guest.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "on belay?");
    guest.write_all(b"climbing").await.unwrap();
    drop(guest);
    said.clear();
    host.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "climbing");
}

/// What is sent by a socket that is new must not be lost.
#[tokio::test]
async fn the_first_datagram_of_a_flow_arrives_and_trains_come_back_whole() {
    let mut settings = Settings::default();
    settings.maps.push(Map::address("10.0.2.2".parse().unwrap(), LOOPBACK.ip()));
    let guest = guest(settings);
    let server = HostUdpSocket::bind(LOOPBACK).await.unwrap();
    let port = server.local_addr().unwrap().port();
    let socket = UdpSocket::bind_on(&guest, "0.0.0.0:0").await.unwrap();
    socket.connect(("10.0.2.2", port)).await.unwrap();
    for n in 0..10u8 {
        socket.send(&[n; 500]).await.unwrap();
    }
    let (mut buf, mut from) = ([0; 2000], LOOPBACK);
    for n in 0..10u8 {
        let received = timeout(Duration::from_secs(5), server.recv_from(&mut buf)).await;
        let (len, sender) = received.unwrap().unwrap();
        assert_eq!(buf[..len], [n; 500]);
        from = sender;
    }
    for n in 0..10u8 {
        server.send_to(&[n; 700], from).await.unwrap();
    }
    for n in 0..10u8 {
        let len = timeout(Duration::from_secs(5), socket.recv(&mut buf)).await.unwrap().unwrap();
        assert_eq!(buf[..len], [n; 700]);
    }
}
