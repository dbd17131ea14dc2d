//! Port scans: ours of the kernel, and nmap's of us.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ropeway::net::TcpListener;
use ropeway::packet::Protocol;
use ropeway::scan::{probe_tcp_on, probe_udp_on};
use ropeway::{ConnectionError, PortPolicy, ProbeOutcome};
use ropeway_tests::link::{self, Family, Link};
use ropeway_tests::namespace::{LinkState, set_link};
use ropeway_tests::{over_both_families, programs};
use tokio::net::{TcpListener as KernelListener, UdpSocket};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);

/// The ports that nmap asks about.
const OPEN: u16 = 22;
const CLOSED: u16 = 23;
/// Somebody listens here too, which the policy hides.
const REFUSE: u16 = 24;
const PROHIBIT: u16 = 25;
const DROP: u16 = 26;

over_both_families! {
    our_scan_of_the_kernel
    our_scan_leaves_the_kernel_no_connection
    our_scan_of_nobody
    #[needs("nmap")]
    nmap_sends_syns
    #[needs("nmap")]
    nmap_sends_wrong_checksums
    #[needs("nmap")]
    nmap_connects
    #[needs("nmap")]
    nmap_sends_what_no_connection_begins_with
    #[needs("nmap")]
    nmap_sends_acks
    #[needs("nmap")]
    nmap_sends_datagrams
}

async fn our_scan_of_the_kernel(family: Family) {
    let link = Link::new(family);
    let listener = KernelListener::bind(link.kernel(0)).await.unwrap();
    let tcp = async |addr| probe_tcp_on(&link.stack, addr, PATIENCE, 1).await.unwrap();
    assert_eq!(tcp(listener.local_addr().unwrap()).await, ProbeOutcome::Open);
    assert_eq!(tcp(link.kernel(9)).await, ProbeOutcome::Closed);

    let udp = async |addr| probe_udp_on(&link.stack, addr, b"anybody there?", PATIENCE, 1).await.unwrap();
    assert_eq!(udp(link.kernel(9)).await, Some(ProbeOutcome::Closed));
    let socket = UdpSocket::bind(link.kernel(0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let silent = probe_udp_on(&link.stack, address, b"", Duration::from_millis(200), 1).await.unwrap();
    assert_eq!(silent, None, "open or filtered");
    let answer = async {
        loop {
            let (_, peer) = socket.recv_from(&mut [0; 100]).await.unwrap();
            // Some of these answer the probe before, which is over.
            let _refused = socket.send_to(b"yes", peer).await;
        }
    };
    tokio::select! {
        outcome = udp(address) => assert_eq!(outcome, Some(ProbeOutcome::Open)),
        () = answer => {}
    }
}

async fn our_scan_leaves_the_kernel_no_connection(family: Family) {
    let link = Link::new(family);
    let listener = KernelListener::bind(link.kernel(0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    for _ in 0..10 {
        assert_eq!(probe_tcp_on(&link.stack, address, PATIENCE, 1).await.unwrap(), ProbeOutcome::Open);
    }
    let accepted = timeout(Duration::from_millis(300), listener.accept()).await;
    assert!(accepted.is_err(), "a half-open scan has opened a connection: {accepted:?}");
    assert_eq!(link.stack.sizes().connections, 0);
}

async fn our_scan_of_nobody(family: Family) {
    let link = Link::new(family);
    set_link(link::NAME, LinkState::Down).unwrap();
    let start = Instant::now();
    let outcome = probe_tcp_on(&link.stack, link.kernel(9), PATIENCE, 1).await.unwrap();
    assert_eq!(outcome, ProbeOutcome::Filtered(ConnectionError::TimedOut));
    // Timeouts of 1 s and 2 s.
    assert!(start.elapsed() > Duration::from_millis(2900), "{:?}", start.elapsed());
}

/// A host with one port for each thing that a port can say.
async fn host(family: Family) -> (Link, [TcpListener; 2]) {
    let link = Link::new(family);
    for protocol in [Protocol::TCP, Protocol::UDP] {
        let policies =
            [(REFUSE, PortPolicy::Refuse), (PROHIBIT, PortPolicy::Prohibit), (DROP, PortPolicy::Drop)];
        for (port, policy) in policies {
            link.stack.set_port_policy(protocol, port..=port, policy).unwrap();
        }
    }
    let listen = async |port| TcpListener::bind_on(&link.stack, link.ours(port)).await.unwrap();
    let listeners = [listen(OPEN).await, listen(REFUSE).await];
    (link, listeners)
}

/// Runs nmap against some ports, and gives what it printed.
async fn nmap(target: SocketAddr, arguments: &[&str]) -> String {
    let address = target.ip().to_string();
    let ports = format!("{OPEN}-{DROP}");
    let mut all = vec!["-n", "-Pn", "-T4", "--max-retries", "1", "--host-timeout", "60s", "-p", &ports];
    // A machine that is busy with other tests is not a filter.
    all.extend(["--min-rtt-timeout", "500ms"]);
    if target.is_ipv6() {
        all.push("-6");
    }
    all.extend(arguments);
    all.push(&address);
    let output = programs::spawn("nmap", &all).wait_with_output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "nmap {all:?}: {text}");
    text
}

/// What nmap says of each port after a scan of this kind.
async fn states(target: SocketAddr, kind: &str) -> BTreeMap<u16, String> {
    let text = nmap(target, &[kind, "-oG", "-"]).await;
    let ports = text.lines().find_map(|line| line.split_once("Ports: ")).unwrap_or_else(|| panic!("{text}"));
    let list = ports.1.split('\t').next().unwrap();
    let entries = list.split(", ").map(|entry| entry.split('/'));
    entries.map(|mut parts| (parts.next().unwrap().parse().unwrap(), parts.next().unwrap().into())).collect()
}

/// Checks what nmap sees of a [`host`], by scans of these kinds.
async fn sees(family: Family, kinds: &[&str], expected: [(u16, &str); 5]) {
    let (link, _listeners) = host(family).await;
    let expected = BTreeMap::from(expected.map(|(port, state)| (port, state.to_owned())));
    for kind in kinds {
        assert_eq!(states(link.ours(0), kind).await, expected, "nmap {kind}");
    }
    // None of these opens a connection. What is half open, nmap's own kernel resets.
    timeout(PATIENCE, link.stack.closed()).await.expect("nothing stays behind").unwrap();
}

async fn nmap_sends_syns(family: Family) {
    let expected =
        [(OPEN, "open"), (CLOSED, "closed"), (REFUSE, "closed"), (PROHIBIT, "filtered"), (DROP, "filtered")];
    sees(family, &["-sS"], expected).await;
}

/// Who answers those is no host, but a filter that gives itself away.
async fn nmap_sends_wrong_checksums(family: Family) {
    let expected = [OPEN, CLOSED, REFUSE, PROHIBIT, DROP].map(|port| (port, "filtered"));
    sees(family, &["--badsum"], expected).await;
}

async fn nmap_connects(family: Family) {
    let (link, [open, _]) = host(family).await;
    let states = states(link.ours(0), "-sT").await;
    let said = [OPEN, CLOSED, REFUSE, PROHIBIT, DROP].map(|port| states.get(&port).unwrap().as_str());
    assert_eq!(said, ["open", "closed", "closed", "filtered", "filtered"]);
    // This scan is not half-open.
    timeout(PATIENCE, open.accept()).await.expect("a connection").unwrap();
}

/// FIN; FIN, PSH and URG; nothing: a port that is open says nothing to them, and one that is closed a RST.
async fn nmap_sends_what_no_connection_begins_with(family: Family) {
    let expected = [
        (OPEN, "open|filtered"),
        (CLOSED, "closed"),
        (REFUSE, "closed"),
        (PROHIBIT, "filtered"),
        (DROP, "open|filtered"),
    ];
    sees(family, &["-sF", "-sX", "-sN"], expected).await;
}

/// An ACK out of the blue is answered with a RST, whether somebody listens or not.
async fn nmap_sends_acks(family: Family) {
    let expected = [
        (OPEN, "unfiltered"),
        (CLOSED, "unfiltered"),
        (REFUSE, "unfiltered"),
        (PROHIBIT, "filtered"),
        (DROP, "filtered"),
    ];
    sees(family, &["-sA"], expected).await;
}

async fn nmap_sends_datagrams(family: Family) {
    let expected = [
        (OPEN, "closed"),
        (CLOSED, "closed"),
        (REFUSE, "closed"),
        (PROHIBIT, "filtered"),
        (DROP, "open|filtered"),
    ];
    sees(family, &["-sU"], expected).await;
}

// RFC 6528 3-2
#[test]
fn nmap_cannot_predict_our_sequence_numbers() {
    // Over IPv4 only: nmap rates sequence numbers by a scan of another kind over IPv6.
    ropeway_tests::namespace::run_with(&["nmap"], async || {
        let (link, _listeners) = host(Family::V4).await;
        let text = nmap(link.ours(0), &["-O", "-v", "--max-os-tries", "1"]).await;
        let line = text.lines().find(|line| line.starts_with("TCP Sequence Prediction"));
        assert!(line.is_some_and(|line| line.contains("Good luck!")), "{text}");
        let line = text.lines().find(|line| line.starts_with("IP ID Sequence Generation"));
        assert!(line.is_some_and(|line| line.contains("All zeros")), "{text}");
    });
}
