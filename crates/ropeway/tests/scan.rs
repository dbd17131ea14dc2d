//! Probes of ports, on a clock that stands still until everyone waits.

#![allow(clippy::unwrap_used)] // what goes wrong fails the test

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use ropeway::device::memory;
use ropeway::net::TcpListener;
use ropeway::packet::Protocol;
use ropeway::scan::{probe_tcp_on, probe_udp_on};
use ropeway::{ConnectionError, PortPolicy, ProbeOutcome, Stack};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(60);
const PROHIBITED: ProbeOutcome = ProbeOutcome::Filtered(ConnectionError::Prohibited);
const SILENT: ProbeOutcome = ProbeOutcome::Filtered(ConnectionError::TimedOut);

/// Who asks, and who is asked: port 80 is open, 81 refuses, 82 prohibits, 83 is silent.
fn pair() -> (Stack, Stack) {
    let (left, right) = memory::pair(1500);
    let ours = Stack::builder().address("10.0.0.1/24".parse().unwrap()).device(left).build().unwrap();
    let host = Stack::builder().address("10.0.0.2/24".parse().unwrap()).device(right).build().unwrap();
    for protocol in [Protocol::TCP, Protocol::UDP] {
        host.set_port_policy(protocol, 81..=81, PortPolicy::Refuse).unwrap();
        host.set_port_policy(protocol, 82..=82, PortPolicy::Prohibit).unwrap();
        host.set_port_policy(protocol, 83..=83, PortPolicy::Drop).unwrap();
    }
    (ours, host)
}

fn port(port: u16) -> SocketAddr {
    ([10, 0, 0, 2], port).into()
}

#[tokio::test(start_paused = true)]
async fn every_answer_that_a_tcp_port_can_give() {
    let (ours, host) = pair();
    let _listener = TcpListener::bind_on(&host, port(80)).await.unwrap();
    let start = Instant::now();
    for (asked, outcome) in
        [(80, ProbeOutcome::Open), (81, ProbeOutcome::Closed), (82, PROHIBITED), (84, ProbeOutcome::Closed)]
    {
        assert_eq!(probe_tcp_on(&ours, port(asked), PATIENCE, 2).await.unwrap(), outcome, "port {asked}");
    }
    assert!(start.elapsed() < Duration::from_millis(10), "nothing had to be waited for");
    assert_eq!(probe_tcp_on(&ours, port(83), PATIENCE, 2).await.unwrap(), SILENT);
    // Timeouts of 1, 2 and 4 s.
    assert_eq!(start.elapsed().as_secs(), 7);
    assert_eq!(probe_tcp_on(&ours, port(83), Duration::from_secs(2), 9).await.unwrap(), SILENT);
    assert_eq!(start.elapsed().as_secs(), 9);
    for stack in [ours, host] {
        let sizes = stack.sizes();
        assert_eq!((sizes.connections, sizes.half_open), (0, 0), "nothing stays behind");
    }
}

#[tokio::test(start_paused = true)]
async fn every_answer_that_a_udp_port_can_give() {
    let (ours, host) = pair();
    let start = Instant::now();
    for (asked, outcome) in [(81, ProbeOutcome::Closed), (82, PROHIBITED), (84, ProbeOutcome::Closed)] {
        let answer = probe_udp_on(&ours, port(asked), b"x", PATIENCE, 2).await.unwrap();
        assert_eq!(answer, Some(outcome), "port {asked}");
    }
    assert!(start.elapsed() < Duration::from_millis(10), "nothing had to be waited for");
    assert_eq!(probe_udp_on(&ours, port(83), b"x", PATIENCE, 2).await.unwrap(), None);
    assert_eq!(start.elapsed().as_secs(), 60);
    assert_eq!(host.counters().policy_refused, 3, "the datagram and two more");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_is_over() {
    let (ours, host) = pair();
    let second = Duration::from_millis(1500);
    assert!(timeout(second, probe_tcp_on(&ours, port(83), PATIENCE, 9)).await.is_err());
    assert!(timeout(second, probe_udp_on(&ours, port(83), b"x", PATIENCE, 99)).await.is_err());
    let asked = host.counters().policy_refused;
    assert_eq!(asked, 2 + 3, "both were under way");
    tokio::time::sleep(PATIENCE).await;
    assert_eq!(host.counters().policy_refused, asked);
    assert_eq!(ours.sizes().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn many_ports_are_asked_at_once() {
    let (ours, host) = pair();
    let _listener = TcpListener::bind_on(&host, port(80)).await.unwrap();
    let mut probes = tokio::task::JoinSet::new();
    for asked in 1..=1000 {
        let ours = ours.clone();
        probes.spawn(async move { (asked, probe_tcp_on(&ours, port(asked), PATIENCE, 0).await.unwrap()) });
    }
    while let Some(answered) = probes.join_next().await {
        let (asked, outcome) = answered.unwrap();
        let expected = match asked {
            80 => ProbeOutcome::Open,
            82 => PROHIBITED,
            83 => SILENT,
            _ => ProbeOutcome::Closed,
        };
        assert_eq!(outcome, expected, "port {asked}");
    }
}

#[tokio::test]
async fn nowhere_to_ask() {
    let stack = Stack::loopback().unwrap();
    let error = probe_tcp_on(&stack, port(80), PATIENCE, 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
    let error = probe_udp_on(&stack, port(80), b"", PATIENCE, 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
}

/// However many retries are asked for, and however little patience there is: no flood.
#[tokio::test(start_paused = true)]
async fn a_udp_probe_with_endless_retries_sends_one_datagram_a_millisecond() {
    let (ours, host) = pair();
    for (patience, retries, most) in [
        (Duration::from_millis(50), u32::MAX, 51),
        (Duration::ZERO, u32::MAX, 1),
        (Duration::from_millis(50), 0, 1),
    ] {
        let before = host.counters().received;
        assert_eq!(probe_udp_on(&ours, port(83), b"?", patience, retries).await.unwrap(), None);
        tokio::time::sleep(Duration::from_millis(10)).await;
        let sent = host.counters().received - before;
        assert!((1..=most).contains(&sent), "{sent} datagrams");
    }
    // For as long as there is a clock: whoever asked may stop waiting.
    let endless = probe_udp_on(&ours, port(83), b"?", Duration::MAX, 1);
    assert!(timeout(Duration::from_secs(3600), endless).await.is_err());
    let endless = probe_tcp_on(&ours, port(83), Duration::MAX, u32::MAX);
    assert!(timeout(Duration::from_secs(3600), endless).await.is_err());
}
