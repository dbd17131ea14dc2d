//! What a test can look at afterwards, and what it leaves when it fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::process::Command;
use std::time::Duration;

use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::blocks::interface_description::InterfaceDescriptionOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use ropeway::net::{TcpListener, TcpStream};
use ropeway_sim::{Action, Host, Link, Loss, Net, Rate, Segments};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Two hosts 10 ms apart, of which the first loses its third packet; they talk, and close.
async fn talk() -> (Net, Host, Host) {
    let net = Net::builder().default_link(Link::new().delay(Duration::from_millis(5))).build();
    let [a, b] = net.add_hosts(["a", "b"]);
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

/// What a capture holds: the names of its interfaces; and of each packet the interface, the time since the first one in
/// milliseconds, and the comment.
fn read(pcap: &[u8]) -> (Vec<String>, Vec<(u32, u64, String)>) {
    let mut reader = PcapNgReader::new(pcap).unwrap();
    let (mut names, mut packets) = (Vec::new(), Vec::new());
    let mut start = None;
    while let Some(block) = reader.next_block() {
        match block.unwrap() {
            Block::InterfaceDescription(interface) => {
                names.extend(interface.options.iter().find_map(|option| match option {
                    InterfaceDescriptionOption::IfName(name) => Some(name.to_string()),
                    _ => None,
                }));
            }
            Block::EnhancedPacket(packet) => {
                let since = packet.timestamp - *start.get_or_insert(packet.timestamp);
                let comment = packet.options.iter().find_map(|option| match option {
                    EnhancedPacketOption::Comment(comment) => Some(comment.to_string()),
                    _ => None,
                });
                packets.push((
                    packet.interface_id,
                    u64::try_from(since.as_millis()).unwrap(),
                    comment.unwrap(),
                ));
            }
            _ => {}
        }
    }
    (names, packets)
}

#[tokio::test(start_paused = true)]
async fn a_capture_has_each_packet_once_with_its_path() {
    let (net, a, b) = talk().await;
    let (names, packets) = read(&net.pcap());
    assert_eq!(names, ["hub", "a", "b"]);
    assert_eq!(packets.len() as u64, net.packets());
    assert_eq!(packets[0], (1, 0, "a 0.000 > hub 5.000 > b 10.000".to_owned()));
    assert_eq!(packets[1], (2, 10, "b 10.000 > hub 15.000 > a 20.000".to_owned()));
    let lost: Vec<_> = packets.iter().filter(|(.., path)| path.contains("lost")).collect();
    assert_eq!(lost, [&(1, 20, "a 20.000 > lost as the test chose (a to hub) 20.000".to_owned())]);
    assert!(packets.iter().map(|(_, at, _)| at).is_sorted());

    // As each host has seen it.
    let (names, at_a) = read(&a.pcap());
    assert_eq!(names, ["a"]);
    let (names, at_b) = read(&b.pcap());
    assert_eq!(names, ["b"]);
    assert_eq!(at_a.len() as u64, net.packets());
    assert_eq!(at_b.len() as u64, net.packets() - 1, "one was lost on its way to it");
    assert_eq!(at_b[0], (0, 0, "a 0.000 > hub 5.000 > b 10.000".to_owned()));
    assert!(!at_b.iter().any(|(.., path)| path.contains("lost")));
}

#[tokio::test(start_paused = true)]
async fn a_capture_tells_what_was_done_to_a_packet() {
    let net = Net::builder().default_link(Link::new().delay(Duration::from_millis(5))).build();
    let [a, b] = net.add_hosts(["a", "b"]);
    b.link().update(|pipe| (pipe.duplicate, pipe.corrupt) = (1.0, 1.0));
    b.spawn(std::future::pending::<()>());
    let connect = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect((b.ip(), 80)));
    assert!(a.run(connect).await.is_err());
    let (_, packets) = read(&net.pcap());
    let copy = "b 10.000 [corrupted, duplicate]";
    assert_eq!(packets[0].2, format!("a 0.000 > hub 5.000 > b 10.000 [corrupted] > {copy}"));
    let (_, packets) = read(&b.pcap());
    assert_eq!(packets[0].2, "a 0.000 > hub 5.000 > b 10.000 [corrupted]");
    assert!(packets[1].2.ends_with(copy), "{packets:?}");
    a.crash();
    let (_, packets) = read(&net.pcap());
    assert_eq!(packets.len(), 1);
    // What is still on its way.
    let [c, d] = net.add_hosts(["c", "d"]);
    let _connecting = c.spawn(TcpStream::connect((d.ip(), 80)));
    tokio::time::sleep(Duration::from_millis(7)).await;
    let (_, packets) = read(&net.pcap());
    assert!(packets[1].2.ends_with("> hub 105.000 > on its way"), "{packets:?}");
    assert!(net.ladder(&c, &d).contains("has not arrived"), "{}", net.ladder(&c, &d));
}

/// What tshark finds in a capture: a line for each frame that its analysis of TCP remarks on, or that it warns of.
/// `None` if there is no tshark.
fn findings(pcap: &[u8]) -> Option<Vec<String>> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, pcap).unwrap();
    // Chats and notes tell of each SYN and FIN.
    let filter = "tcp.analysis.flags || _ws.expert.severity >= 0x600000";
    let fields = ["-T", "fields", "-e", "frame.number", "-e", "_ws.expert.message"];
    let run = Command::new("tshark").arg("-r").arg(file.path()).args(["-Y", filter]).args(fields).output();
    let run = match run {
        Ok(run) => run,
        Err(error) => {
            let is_skipped = std::env::var_os("ROPEWAY_REQUIRE_TUN").is_none_or(|value| value != "1");
            assert!(is_skipped && error.kind() == std::io::ErrorKind::NotFound, "tshark: {error}");
            println!("skipped: there is no tshark");
            return None;
        }
    };
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let text = String::from_utf8(run.stdout).unwrap();
    Some(text.lines().map(str::to_owned).collect())
}

/// A megabyte each way, by two connections at once, over three links.
async fn exchange(net: &Net) {
    let (left, right) = (net.router("left"), net.router("right"));
    net.link(&left, &right, Link::new().delay(Duration::from_millis(20)).rate(Rate::mbit(50)));
    let a = net.add_host("a").link(&left, Link::lan()).build();
    let b = net.add_host("b").link(&right, Link::lan()).build();
    b.on_boot(|| async {
        let listener = TcpListener::bind("[::]:80").await.unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await.unwrap();
                write.shutdown().await.unwrap();
            });
        }
    });
    for address in b.addresses() {
        a.run(async {
            let mut stream = TcpStream::connect((address, 80)).await.unwrap();
            let (mut read, mut write) = stream.split();
            let send = async {
                write.write_all(&vec![7; 500_000]).await.unwrap();
                write.shutdown().await.unwrap();
            };
            let mut back = Vec::new();
            let (_, received) = tokio::join!(send, read.read_to_end(&mut back));
            assert_eq!(received.unwrap(), 500_000);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn wireshark_finds_nothing_in_a_run_without_loss() {
    let net = Net::new();
    exchange(&net).await;
    for (name, pcap) in [("all", net.pcap()), ("a", net.host("a").pcap()), ("b", net.host("b").pcap())] {
        let Some(findings) = findings(&pcap) else { return };
        assert!(findings.is_empty(), "{name}: {findings:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn wireshark_finds_the_true_retransmissions_of_a_run_with_loss() {
    let net = Net::new();
    let large = || Segments::new().when(|segment| segment.payload.len() > 1000);
    for number in [100, 500, 501] {
        net.rule(large().nth(number), Action::Drop);
    }
    exchange(&net).await;
    let again = |host: &str| net.host(host).stack().counters().tcp_retransmitted;
    let truth = again("a") + again("b");
    assert!(truth >= 3);
    for (name, pcap) in [("all", net.pcap()), ("a", net.host("a").pcap()), ("b", net.host("b").pcap())] {
        let Some(findings) = findings(&pcap) else { return };
        let count = findings.iter().filter(|line| line.contains("retransmission")).count() as u64;
        // Who gets one sees only that it comes late. And of two that go out together, wireshark takes only the first for a
        // fast retransmission.
        let late = findings.iter().filter(|line| line.contains("out-of-order")).count() as u64;
        assert!(count + late == truth && (name != "all" || late <= 1), "{name}: {truth}: {findings:#?}");
    }
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
    has(4, &["PSH,ACK seq 1 ack 1 len 9 \"on belay?\" win", "X |", "lost as the test chose (a to hub)"]);
    assert!(ladder.contains("TIME-WAIT") && ladder.contains("LAST-ACK"), "{ladder}");
    assert_eq!(net.ladders().trim_end(), ladder.trim_end());
    assert!(net.ladder(&a, &net.add_host("c").build()).contains("no segment"));
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
    net.add_host("b").build().spawn(async {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    });
    net.add_host("a")
        .build()
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
