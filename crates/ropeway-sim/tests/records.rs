//! What a test can look at afterwards, and what it leaves when it fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::process::Command;
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use ropeway::net::{TcpListener, TcpStream};
use ropeway_sim::{Host, Link, Loss, Net};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Two hosts 10 ms apart, of which the first loses its third packet; they talk, and close.
async fn talk() -> (Net, Host, Host) {
    let net = Net::builder().default_link(Link::new().delay(Duration::from_millis(5))).build();
    let (a, b) = (net.host("a"), net.host("b"));
    a.link().update_from(&a, |pipe| pipe.loss = Loss::Packets(vec![3]));
    b.spawn(async {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
    });
    a.run(async {
        let mut stream = TcpStream::connect("b:80").await.unwrap();
        stream.write_all(b"on belay?").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "on belay?");
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    (net, a, b)
}

#[tokio::test(start_paused = true)]
async fn a_capture_has_an_interface_for_each_link_and_says_what_was_lost() {
    let (net, ..) = talk().await;
    let pcap = net.pcap();
    let mut reader = PcapNgReader::new(pcap.as_slice()).unwrap();
    let (mut names, mut times, mut comments) = (Vec::new(), Vec::new(), Vec::new());
    while let Some(block) = reader.next_block() {
        match block.unwrap() {
            Block::InterfaceDescription(interface) => {
                names.extend(interface.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                    _ => None,
                }));
            }
            Block::EnhancedPacket(packet) => {
                times.push(packet.timestamp);
                comments.extend(packet.options.iter().find_map(|option| match option {
                    EnhancedPacketOption::Comment(comment) => {
                        Some((packet.interface_id, comment.to_string()))
                    }
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    assert_eq!(names, ["hub-a", "hub-b", "no link"]);
    assert_eq!(comments, [(0, "lost as the test chose".to_owned())]);
    assert!(times.is_sorted());
    // SYN, SYN-ACK and ACK over two links each, at the least.
    assert!(times.len() > 12, "{}", times.len());
    assert_eq!((times[1] - times[0]).as_micros(), 5000);
}

#[tokio::test(start_paused = true)]
async fn a_ladder_tells_the_whole_story() {
    let (net, a, b) = talk().await;
    let ladder = net.ladder(&b, &a);
    let lines: Vec<&str> = ladder.lines().collect();
    let has = |line: usize, words: &[&str]| {
        let missing = words.iter().find(|word| !lines[line].contains(**word));
        assert!(missing.is_none(), "{missing:?} in line {line} of\n{ladder}");
    };
    has(0, &["a 10.0.0.1:", "b 10.0.0.2:80"]);
    has(1, &[" 0.000  SYN-SENT", "|-- SYN seq 0", "->|", " 10.000  SYN-RECEIVED"]);
    has(2, &[" 20.000  ESTABLISHED", "|<- SYN,ACK seq 0 ack 1", " 10.000"]);
    has(3, &[" 20.000", "ACK seq 1 ack 1", "30.000  ESTABLISHED"]);
    has(4, &["PSH,ACK seq 1 ack 1 len 9", "X |", "lost as the test chose (a to hub)"]);
    assert!(ladder.contains("TIME-WAIT") && ladder.contains("LAST-ACK"), "{ladder}");
    assert_eq!(net.ladders().trim_end(), ladder.trim_end());
    assert!(net.ladder(&a, &net.host("c")).contains("no segment"));
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_the_faults() {
    let (net, a, b) = talk().await;
    net.partition([&a], [&b]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    net.heal();
    b.crash();
    b.restart();
    b.freeze();
    let log = net.log();
    let words = [
        "seed 1",
        "the link a-hub changes",
        "partition: a from b",
        "heal",
        "b crashes",
        "b starts again",
        "b freezes",
    ];
    assert_eq!(log.lines().count(), words.len(), "{log}");
    for (line, word) in log.lines().zip(words) {
        assert!(line.ends_with(word), "{log}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_bounded() {
    let net = Net::builder().keep(100_000).build();
    net.host("b").spawn(async {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    });
    net.host("a")
        .run(async {
            let mut stream = TcpStream::connect("b:80").await.unwrap();
            stream.write_all(&[0; 1_000_000]).await.unwrap();
        })
        .await;
    let len = net.pcap().len();
    assert!(len > 90_000 && len < 120_000, "{len}");
}

/// Run by the test below, in a process of its own.
#[tokio::test(start_paused = true)]
#[ignore = "fails on purpose"]
async fn fails_on_purpose() {
    if std::env::var_os("ROPEWAY_SIM_DIR").is_none() {
        return;
    }
    let (_net, ..) = talk().await;
    panic!("on purpose");
}

#[test]
fn a_test_that_fails_leaves_its_records() {
    let directory = tempfile::tempdir().unwrap();
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "fails_on_purpose"])
        .env("ROPEWAY_SIM_DIR", directory.path())
        .env("ROPEWAY_SEED", "0x2a")
        .output()
        .unwrap();
    assert!(!run.status.success());
    let told = String::from_utf8_lossy(&run.stdout);
    assert!(told.contains("the seed is 42") && told.contains("ROPEWAY_SEED=42 replays it"), "{told}");
    let left = directory.path().join("fails_on_purpose-42");
    assert!(told.contains(left.to_str().unwrap()), "{told}");
    assert!(fs::read(left.join("packets.pcapng")).unwrap().len() > 1000);
    assert!(fs::read_to_string(left.join("connections.txt")).unwrap().contains("SYN-SENT"));
    assert!(fs::read_to_string(left.join("events.txt")).unwrap().contains("seed 42"));
}
