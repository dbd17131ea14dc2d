//! What tshark thinks of everything that crosses the wire.

#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use ropeway::device::tap::Tap;
use ropeway::net::{TcpListener, TcpStream};
use ropeway_examples::capture::Capture;
use ropeway_tests::link::{self, Family, Link};
use ropeway_tests::{http, namespace, pattern};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener as KernelListener, TcpStream as KernelStream, UdpSocket};

#[test]
fn tshark_finds_nothing_wrong_over_ipv4() {
    finds_nothing_wrong(Family::V4);
}

#[test]
fn tshark_finds_nothing_wrong_over_ipv6() {
    finds_nothing_wrong(Family::V6);
}

/// tshark's messages about a capture, with how often each was given.
type Findings = BTreeMap<String, usize>;

/// A busy run shows nothing that a clean link does not explain. A machine that stops for a moment makes either end
/// send something again, so there are three attempts; what is wrong with ropeway is wrong in each of them.
fn finds_nothing_wrong(family: Family) {
    let mut unexplained = Findings::new();
    for _ in 0..3 {
        let findings = namespace::run_with(&["tshark"], async move || capture_busy_run(family).await);
        let Some(findings) = findings else { return };
        let resets = findings.get("Connection reset (RST)").copied().unwrap_or_default();
        assert_eq!(resets, 4, "two refused, two reset: {findings:#?}");
        unexplained = findings.into_iter().filter(|(message, _)| !is_explained(message)).collect();
        if unexplained.is_empty() {
            return;
        }
    }
    panic!("{unexplained:#?}");
}

async fn capture_busy_run(family: Family) -> Findings {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wire.pcap");
    let capture = Arc::new(Mutex::new(Capture::create(Some(&file)).unwrap()));
    let device = link::device();
    let lost = device.counters();
    let hook = Arc::clone(&capture);
    let device = Tap::new(device, move |_, time, packet: &[u8]| hook.lock().unwrap().write(time, packet));
    // With SACK, either end probes the tail after some milliseconds without an answer: on a busy machine, what they send
    // again is what tshark would find.
    let link = Link::over(device, lost, family, |config| config.sack = false);
    be_busy(&link).await;
    link.stack.closed().await.unwrap();
    // Dropping a capture completes its file.
    *capture.lock().unwrap() = Capture::default();
    expert_view(&file)
}

/// What a clean link shows as well: how connections open and close, what HTTP says, and windows that close
/// because a receiver is slower than its sender.
fn is_explained(message: &str) -> bool {
    const EXPLAINED: [&str; 11] = [
        "Connection establish request (SYN)",
        "Connection establish acknowledge (SYN+ACK)",
        "Connection finish (FIN)",
        "Connection reset (RST)",
        "This frame initiates the connection closing",
        "This frame undergoes the connection closing",
        "TCP Zero Window segment",
        "TCP window update",
        "TCP window specified by the receiver is now completely full",
        "GET /",
        "HTTP/1.1 200 OK",
    ];
    EXPLAINED.iter().any(|explained| message.starts_with(explained))
}

/// Pages in both directions, orderly ends, resets, refusals.
async fn be_busy(link: &Link) {
    const LEN: u64 = 3 << 20;
    let listener = TcpListener::bind_on(&link.stack, link.ours(80)).await.unwrap();
    let kernel_listener = KernelListener::bind(link.kernel(80)).await.unwrap();
    for _ in 0..3 {
        let serve = async { http::serve(listener.accept().await.unwrap().0).await };
        let fetch = async {
            let mut stream = KernelStream::connect(link.ours(80)).await.unwrap();
            http::request(&mut stream, LEN).await;
            pattern::receive(&mut stream).await
        };
        let (sent, received) = tokio::join!(serve, fetch);
        assert_eq!((sent, LEN), received);

        let serve = async { http::serve(kernel_listener.accept().await.unwrap().0).await };
        let fetch = async {
            let mut stream = TcpStream::connect_on(&link.stack, link.kernel(80)).await.unwrap();
            http::request(&mut stream, LEN).await;
            pattern::receive(&mut stream).await
        };
        let (sent, received) = tokio::join!(serve, fetch);
        assert_eq!((sent, LEN), received);
    }

    TcpStream::connect_on(&link.stack, link.kernel(9)).await.unwrap_err();
    KernelStream::connect(link.ours(9)).await.unwrap_err();
    let (kernel, ours) = tokio::join!(KernelStream::connect(link.ours(80)), listener.accept());
    ours.unwrap().0.set_zero_linger().unwrap();
    kernel.unwrap().read(&mut [0]).await.unwrap_err();
    let (ours, kernel) =
        tokio::join!(TcpStream::connect_on(&link.stack, link.kernel(80)), kernel_listener.accept());
    kernel.unwrap().0.set_zero_linger().unwrap();
    ours.unwrap().read(&mut [0]).await.unwrap_err();
    let socket = UdpSocket::bind(link.kernel(0)).await.unwrap();
    socket.connect(link.ours(9)).await.unwrap();
    socket.send(b"anybody there?").await.unwrap();
    socket.recv(&mut [0; 10]).await.unwrap_err();
}

/// tshark's expert messages. Checksums are checked.
fn expert_view(file: &Path) -> Findings {
    let mut tshark = Command::new("tshark");
    for protocol in ["ip", "tcp", "udp"] {
        tshark.args(["-o", &format!("{protocol}.check_checksum:TRUE")]);
    }
    tshark.arg("-r").arg(file).args([
        "-T",
        "fields",
        "-E",
        "aggregator=\u{1f}",
        "-e",
        "_ws.expert.message",
        "-e",
        "_ws.malformed",
    ]);
    let output = tshark.stderr(Stdio::null()).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let mut findings = Findings::new();
    for message in text.split(['\n', '\t', '\u{1f}']).filter(|message| !message.is_empty()) {
        *findings.entry(message.to_owned()).or_default() += 1;
    }
    findings
}
