//! `Stack::divert`: packets that no socket takes, for the program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::{Net, kind, within};
use ropeway::EchoPolicy;
use ropeway::divert::DivertOptions;
use ropeway::net::{TcpStream, UdpSocket};
use ropeway::packet::{IcmpMessage, Protocol, icmp, ip};

const SOON: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_task_that_waits_gets_what_nobody_takes_and_answers_from_anywhere() {
    let net = Net::new();
    let diversion = net.right.divert(DivertOptions::default()).unwrap();
    assert_eq!(kind(net.right.divert(DivertOptions::default())), ErrorKind::AddrInUse);
    assert_eq!(kind(diversion.try_recv()), ErrorKind::WouldBlock);
    let waits = tokio::spawn(async move { (diversion.recv().await.unwrap(), diversion) });
    let socket = UdpSocket::bind_on(&net.left, "10.0.0.1:0").await.unwrap();
    socket.connect("93.184.216.34:53").await.unwrap();
    socket.send(b"question").await.unwrap();
    let (packet, diversion) = within(SOON, waits).await.unwrap();
    let parsed = ip::parse(&packet).unwrap();
    assert_eq!((parsed.protocol, parsed.dst), (Protocol::UDP, "93.184.216.34".parse().unwrap()));
    // The answer is the question with its ends exchanged: no sum changes.
    let mut answer = packet.to_vec();
    for (one, other) in [(12, 16), (13, 17), (14, 18), (15, 19), (20, 22), (21, 23)] {
        answer.swap(one, other);
    }
    diversion.send(answer.into()).unwrap();
    let mut buf = [0; 100];
    assert_eq!(within(SOON, socket.recv(&mut buf)).await.unwrap(), 8);
    // Without a diversion, nobody is there.
    drop(diversion);
    assert!(net.right.divert(DivertOptions::default()).is_ok());
    let refused = TcpStream::connect_on(&net.left, "10.0.0.2:81").await;
    assert_eq!(kind(refused), ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn echo_requests_are_diverted_where_the_policy_says_so() {
    let net = Net::new();
    net.right.set_echo_policy(EchoPolicy::Divert).unwrap();
    let (pinger, pinged) = (
        net.left.divert(DivertOptions::default()).unwrap(),
        net.right.divert(DivertOptions::default()).unwrap(),
    );
    let [left, right] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
    pinger.send(icmp::emit_echo_request(left, right, 1, 2, b"ping", 64).into()).unwrap();
    let packet = within(SOON, pinged.recv()).await.unwrap();
    let message = icmp::parse(&packet, &ip::parse(&packet).unwrap()).unwrap();
    assert!(matches!(message, IcmpMessage::EchoRequest { ident: 1, seq: 2, .. }));
    net.right.set_echo_policy(EchoPolicy::Answer).unwrap();
    pinger.send(icmp::emit_echo_request(left, right, 1, 3, b"ping", 64).into()).unwrap();
    // The reply is for no socket of the pinger's.
    let packet = within(SOON, pinger.recv()).await.unwrap();
    let message = icmp::parse(&packet, &ip::parse(&packet).unwrap()).unwrap();
    assert!(matches!(message, IcmpMessage::EchoReply { ident: 1, seq: 3, .. }));
    assert_eq!(kind(pinged.try_recv()), ErrorKind::WouldBlock);
}
