//! What tshark thinks of everything that crosses the wire.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use ropeway::device::tap::Tap;
use ropeway::net::{TcpListener, TcpStream};
use ropeway_examples::capture::Capture;
use ropeway_tests::link::{self, Family, Link};
use ropeway_tests::{http, over_both_families, pattern};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener as KernelListener, TcpStream as KernelStream, UdpSocket};

over_both_families! {
    #[needs("tshark")]
    tshark_finds_nothing_wrong
}

/// What a peer does wrong, if it is not what the test did on purpose.
type Findings = BTreeMap<String, usize>;

async fn tshark_finds_nothing_wrong(family: Family) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("wire.pcap");
    let capture = Arc::new(Mutex::new(Capture::create(Some(&file)).unwrap()));
    let device = link::device();
    let lost = device.counters();
    let hook = Arc::clone(&capture);
    let device = Tap::new(device, move |_, time, packet: &[u8]| {
        hook.lock().unwrap().write(time, packet)
    });
    let link = Link::over(device, lost, family, |_| ());
    be_busy(&link).await;
    link.stack.closed().await.unwrap();
    // Dropping a capture completes its file.
    *capture.lock().unwrap() = Capture::default();

    let findings = expert_view(&file);
    let resets = findings
        .get("Connection reset (RST)")
        .copied()
        .unwrap_or_default();
    assert_eq!(resets, 4, "two refused, two reset: {findings:#?}");
    let unexplained: Vec<_> = findings
        .iter()
        .filter(|(message, _)| !is_explained(message))
        .collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
}

/// What a clean link shows as well: how connections open and close, what HTTP says, and windows that a receiver
/// fills because it is slower than its sender.
fn is_explained(message: &str) -> bool {
    const EXPLAINED: [&str; 10] = [
        "Connection establish request (SYN)",
        "Connection establish acknowledge (SYN+ACK)",
        "Connection finish (FIN)",
        "Connection reset (RST)",
        "This frame initiates the connection closing",
        "This frame undergoes the connection closing",
        "TCP window update",
        "TCP window specified by the receiver is now completely full",
        "GET /",
        "HTTP/1.1 200 OK",
    ];
    EXPLAINED
        .iter()
        .any(|explained| message.starts_with(explained))
}

/// Pages in both directions, orderly ends, resets, refusals.
async fn be_busy(link: &Link) {
    const LEN: u64 = 3 << 20;
    let listener = TcpListener::bind_on(&link.stack, link.ours(80))
        .await
        .unwrap();
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
            let mut stream = TcpStream::connect_on(&link.stack, link.kernel(80))
                .await
                .unwrap();
            http::request(&mut stream, LEN).await;
            pattern::receive(&mut stream).await
        };
        let (sent, received) = tokio::join!(serve, fetch);
        assert_eq!((sent, LEN), received);
    }

    TcpStream::connect_on(&link.stack, link.kernel(9))
        .await
        .unwrap_err();
    KernelStream::connect(link.ours(9)).await.unwrap_err();
    let (kernel, ours) = tokio::join!(KernelStream::connect(link.ours(80)), listener.accept());
    ours.unwrap().0.set_zero_linger().unwrap();
    kernel.unwrap().read(&mut [0]).await.unwrap_err();
    let (ours, kernel) = tokio::join!(
        TcpStream::connect_on(&link.stack, link.kernel(80)),
        kernel_listener.accept()
    );
    kernel.unwrap().0.set_zero_linger().unwrap();
    ours.unwrap().read(&mut [0]).await.unwrap_err();
    let socket = UdpSocket::bind(link.kernel(0)).await.unwrap();
    socket.connect(link.ours(9)).await.unwrap();
    socket.send(b"anybody there?").await.unwrap();
    socket.recv(&mut [0; 10]).await.unwrap_err();
}

/// tshark's expert messages, with how often each was given. Checksums are checked.
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
    for message in text
        .split(['\n', '\t', '\u{1f}'])
        .filter(|message| !message.is_empty())
    {
        *findings.entry(message.to_owned()).or_default() += 1;
    }
    findings
}
