//! What is not TCP: echo requests, and datagrams to ports where nobody is.

#![cfg(target_os = "linux")]

use std::io::ErrorKind;
use std::time::Duration;

use ropeway_tests::link::{Family, Link};
use ropeway_tests::{over_both_families, programs};
use tokio::net::UdpSocket;
use tokio::time::timeout;

over_both_families! {
    #[needs("ping")]
    we_answer_echo_requests
    a_datagram_to_our_closed_port_is_refused
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
