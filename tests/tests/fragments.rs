//! IP fragments between ropeway and the kernel, which cuts and puts together by itself.

#![cfg(target_os = "linux")]

use std::fs;
use std::process::Command;

use ropeway::net::{TcpListener, UdpSocket};
use ropeway_tests::link::{Family, Link};
use ropeway_tests::{namespace, over_both_families, programs};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

over_both_families! {
    #[needs("ping")]
    long_echo_requests_are_answered
    datagrams_in_fragments_cross_both_ways
}

async fn datagrams_in_fragments_cross_both_ways(family: Family) {
    let link = Link::new(family);
    let ours = UdpSocket::bind_on(&link.stack, link.ours(53)).await.unwrap();
    let theirs = tokio::net::UdpSocket::bind(link.kernel(0)).await.unwrap();
    let mut buf = vec![0; 70_000];
    for len in [1473, 20_000, 65_507] {
        let sent: Vec<u8> = (0..251).cycle().take(len).collect();
        theirs.send_to(&sent, link.ours(53)).await.unwrap();
        let (heard, from) = ours.recv_from(&mut buf).await.unwrap();
        assert!(buf[..heard] == sent, "{len} bytes");
        ours.send_to(&sent, from).await.unwrap();
        let (heard, from) = theirs.recv_from(&mut buf).await.unwrap();
        assert!(buf[..heard] == sent && from == link.ours(53), "{len} bytes");
    }
    ours.set_dont_fragment(true).unwrap();
    let refused = ours.send_to(&[7; 1473], theirs.local_addr().unwrap()).await;
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(90), "EMSGSIZE");
}

async fn long_echo_requests_are_answered(family: Family) {
    let link = Link::new(family);
    let address = link.ours(0).ip().to_string();
    for size in ["1473", "20000", "65000"] {
        let ping = programs::spawn("ping", &["-n", "-c", "3", "-i", "0.05", "-W", "5", "-s", size, &address]);
        let output = ping.wait_with_output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("3 received, 0% packet loss"), "{size} bytes: {text}");
    }
    let counters = link.stack.counters();
    assert_eq!((counters.datagrams_reassembled, counters.datagrams_fragmented), (9, 9));
    assert_eq!(link.stack.memory().fragments, 0);
}

/// A host of its own behind this namespace, which forwards: 10.8.0.2.
struct Behind {
    host: Child,
}

impl Behind {
    async fn new() -> Self {
        let host = programs::spawn("unshare", &["--net", "sleep", "1000"]);
        let network = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
        let pid = host.id().unwrap().to_string();
        while network(&pid) == network("thread-self") {
            tokio::task::yield_now().await;
        }
        programs::ip(&format!("link add v0 type veth peer name v1 netns {pid}"));
        programs::ip("addr add 10.8.0.1/24 dev v0");
        programs::ip("link set v0 up");
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        let behind = Self { host };
        behind
            .run("ip addr add 10.8.0.2/24 dev v1 && ip link set v1 up && ip route add default via 10.8.0.1");
        behind
    }

    /// The command line of a shell there.
    fn command(&self, line: &str) -> Vec<String> {
        let pid = self.host.id().unwrap().to_string();
        ["-t", &pid, "-n", "sh", "-c", line].map(String::from).to_vec()
    }

    fn run(&self, line: &str) {
        let output = Command::new("nsenter").args(self.command(line)).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A TCP that does not look for the path's MTU sends segments that routers may cut, and one of them does.
#[test]
fn tcp_through_a_router_that_fragments() {
    namespace::run_with(&["curl", "ip", "nsenter", "unshare"], async || {
        let link = Link::new(Family::V4);
        let behind = Behind::new().await;
        programs::ip("link set rope0 mtu 600");
        behind.run("echo 1 > /proc/sys/net/ipv4/ip_no_pmtu_disc");
        let listener = TcpListener::bind_on(&link.stack, link.ours(80)).await.unwrap();
        let line = behind.command("seq 1 50000 | curl -sS --data-binary @- http://10.9.0.2/");
        let curl = programs::spawn("nsenter", &line.iter().map(String::as_str).collect::<Vec<_>>());
        let (mut stream, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip().to_string(), "10.8.0.2");
        let sent: String = (1..=50_000).map(|number| format!("{number}\n")).collect();
        let mut request = Vec::new();
        while !request.ends_with(b"\n50000\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "after {} bytes", request.len());
        }
        assert!(request.ends_with(sent.as_bytes()));
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nthere")
            .await
            .unwrap();
        assert_eq!(curl.wait_with_output().await.unwrap().stdout, b"there");
        let counters = link.stack.counters();
        assert!(counters.datagrams_reassembled > 50, "{counters:?}");
        assert!(counters.fragments > 2 * counters.datagrams_reassembled);
    });
}
