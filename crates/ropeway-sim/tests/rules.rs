//! Rules for single packets, and expectations.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use ropeway::net::{TcpListener, TcpStream};
use ropeway_sim::{Action, Host, Link, Net, Segments, TcpFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};

const MS: fn(u64) -> Duration = Duration::from_millis;
const SYN_ACK: TcpFlags = TcpFlags::from_bits_truncate(0x12);

/// Two hosts 10 ms apart, the second of which reads what comes to port 80 and says how much it was.
fn two() -> (Net, Host, Host) {
    let net = Net::builder().default_link(Link::new().delay(MS(5))).build();
    let [a, b] = net.add_hosts(["a", "b"]);
    b.on_boot(|| async {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut received = Vec::new();
            // A rule may have broken the connection.
            if stream.read_to_end(&mut received).await.is_ok() {
                stream.write_all(&received).await.unwrap();
            }
        }
    });
    (net, a, b)
}

async fn connect(a: &Host) -> (TcpStream, Duration) {
    let start = Instant::now();
    let stream = a.run(TcpStream::connect("b:80")).await.unwrap();
    (stream, start.elapsed())
}

/// Sends `data` and expects it back; says how long it took.
async fn echo(a: &Host, data: &[u8]) -> Duration {
    let (mut stream, _) = connect(a).await;
    let start = Instant::now();
    stream.write_all(data).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, data);
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_third_syn_ack_is_lost() {
    let (net, a, b) = two();
    let rule = net.rule(Segments::new().from(&b).flags(SYN_ACK).nth(3), Action::Drop);
    for number in 1..=4 {
        let (_stream, took) = connect(&a).await;
        assert_eq!(took > MS(900), number == 3, "{number}: {took:?}");
    }
    // The lost one, and its retransmission, are counted, too.
    assert_eq!(rule.matched(), 1);
    assert!(net.ladders().contains("dropped by a rule of the test (at b)"), "{}", net.ladders());
    rule.remove();
}

#[tokio::test(start_paused = true)]
async fn a_held_segment_is_released() {
    let (net, a, b) = two();
    let data = Segments::new().from(&a).to(&b).to_port(80).with_data().first(1);
    let rule = net.rule(data, Action::Hold);
    let (mut stream, _) = connect(&a).await;
    let start = Instant::now();
    stream.write_all(b"x").await.unwrap();
    stream.shutdown().await.unwrap();
    sleep(MS(100)).await;
    assert_eq!(rule.matched(), 1);
    rule.release();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(start.elapsed(), MS(120));
}

#[tokio::test(start_paused = true)]
async fn a_delayed_segment_is_overtaken() {
    let (net, a, b) = two();
    net.rule(Segments::new().from(&a).seq(1..2).with_data(), Action::Delay(MS(30)));
    let took = echo(&a, &[7; 3000]).await;
    assert_eq!(took, MS(50));
    assert_eq!(b.stack().counters().bad_checksums, 0);
}

#[tokio::test(start_paused = true)]
async fn a_segment_is_sent_twice() {
    let (net, a, b) = two();
    let before = b.stack().counters().tcp_received;
    let rule = net.rule(Segments::new().from(&a).containing(b"twice"), Action::Duplicate);
    assert_eq!(echo(&a, b"say it twice").await, MS(20));
    sleep(MS(100)).await;
    assert_eq!(rule.matched(), 1);
    let plain = {
        let before = b.stack().counters().tcp_received;
        echo(&a, b"say it once").await;
        sleep(MS(100)).await;
        b.stack().counters().tcp_received - before
    };
    assert_eq!(b.stack().counters().tcp_received - before, 2 * plain + 1);
}

#[tokio::test(start_paused = true)]
async fn a_corrupted_segment_is_sent_again() {
    let (net, a, b) = two();
    net.rule(Segments::new().from(&a).with_data().nth(1), Action::Corrupt);
    assert!(echo(&a, b"on belay?").await > MS(200));
    assert_eq!(b.stack().counters().bad_checksums, 1);
}

#[tokio::test(start_paused = true)]
async fn a_segment_is_replaced() {
    let (net, a, _) = two();
    // A RST instead of the first data: the flags stand in byte 13 of the TCP header, behind 20 bytes of IPv4; the
    // checksum is mended for the bits that change.
    let reset = Action::replace(|packet| {
        let mut packet = packet.to_vec();
        let (old, new) = (packet[33], packet[33] | 0x04);
        packet[33] = new;
        let sum = u32::from(u16::from_be_bytes([packet[36], packet[37]])) + u32::from(old) + 0xffff;
        let sum = sum - u32::from(new);
        let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        packet[36..38].copy_from_slice(&sum.to_be_bytes());
        packet
    });
    net.rule(Segments::new().from(&a).with_data().nth(1), reset);
    let (mut stream, _) = connect(&a).await;
    stream.write_all(b"hello").await.unwrap();
    let error = stream.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn conditions_of_all_kinds() {
    let (net, a, b) = two();
    let count = |segments| net.expect(segments);
    let by_port = count(Segments::new().from_port(80).flags(TcpFlags::SYN));
    let bare_acks = count(Segments::new().to(&b).without(TcpFlags::SYN | TcpFlags::FIN | TcpFlags::PSH));
    let fin_acked = count(Segments::new().from(&b).ack(7..8));
    let chosen = count(Segments::new().when(|segment| {
        segment.from.port() == 80 && segment.header.window > 0 && segment.payload == b"hello"
    }));
    echo(&a, b"hello").await;
    sleep(MS(100)).await;
    assert_eq!(by_port.seen(), 1);
    assert!(bare_acks.seen() >= 2);
    assert!(fin_acked.seen() >= 1);
    assert_eq!(chosen.seen(), 1);
    for expectation in [by_port, bare_acks, fin_acked, chosen] {
        expectation.check();
    }
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "expected never, seen 1 times: segments from b with SYN|ACK")]
async fn what_was_expected_never() {
    let (net, a, b) = two();
    net.expect(Segments::new().from(&b).flags(SYN_ACK)).never();
    connect(&a).await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "expected 2 times, seen 1 times: segments to port 80 with SYN\n")]
async fn what_was_expected_more_often() {
    let (net, a, _b) = two();
    let expectation = net.expect(Segments::new().to_port(80).flags(TcpFlags::SYN)).times(2..=2);
    connect(&a).await;
    expectation.check();
}
