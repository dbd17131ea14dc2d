//! A guest, its gateway and the outside, in memory and on a paused clock.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test says what is wrong by failing"
)]

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ropeway::Stack;
use ropeway::device::memory;
use ropeway::divert::DivertOptions;
use ropeway::net::{TcpListener, TcpStream, UdpSocket};
use ropeway::packet::{IcmpMessage, UnreachableKind, icmp, ip};
use ropeway_gateway::{
    DnsSettings, Flow, FlowKind, Gateway, GatewayCounters, Outside, Policy, Settings, StackSockets, Verdict,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const SERVER: &str = "192.0.2.99";
/// The gateway's address on the outside's network.
const OWN: &str = "192.0.2.1";
const SOON: Duration = Duration::from_secs(2);

struct Lab {
    guest: Stack,
    server: Stack,
    /// The stack that the gateway's own sockets are on.
    host: Stack,
    counters: Box<dyn Fn() -> GatewayCounters>,
    gateway: JoinHandle<io::Result<()>>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.gateway.abort();
    }
}

fn stack(addresses: &[&str], device: memory::MemoryDevice, seed: u8) -> Stack {
    let builder =
        addresses.iter().fold(Stack::builder(), |builder, address| builder.address(address.parse().unwrap()));
    builder.device(device).seed([seed; 32]).build().unwrap()
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.network = ["10.0.2.0/24", "fd00:2::/64"].map(|net| net.parse().unwrap()).to_vec();
    settings
}

fn allow(_: &Flow) -> Verdict {
    Verdict::Allow
}

impl Lab {
    fn new() -> Self {
        Self::with(settings(), allow, StackSockets::new)
    }

    fn with<O: Outside>(settings: Settings, policy: impl Policy, outside: impl FnOnce(Stack) -> O) -> Self {
        let (left, right) = memory::pair(1500);
        let guest = stack(&["10.0.2.15/24", "fd00:2::15/64"], left, 1);
        let inner = stack(&["10.0.2.2/24", "fd00:2::2/64"], right, 2);
        let (left, right) = memory::pair(1500);
        let host = stack(&["192.0.2.1/24", "2001:db8::1/64"], left, 3);
        let server = stack(&["192.0.2.99/24", "2001:db8::99/64"], right, 4);
        let gateway = Gateway::with_policy(inner, settings, outside(host.clone()), policy).unwrap();
        let counters = Box::new(gateway.counters());
        Self { guest, server, host, counters, gateway: tokio::spawn(gateway.run()) }
    }

    async fn listen(&self, at: &str) -> TcpListener {
        TcpListener::bind_on(&self.server, at).await.unwrap()
    }

    async fn dial(&self, to: &str) -> io::Result<TcpStream> {
        TcpStream::connect_on(&self.guest, to).await
    }

    /// A connection of the guest's to the server: its two ends.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let listener = self.listen("192.0.2.99:80").await;
        let (guest, server) = tokio::join!(self.dial("192.0.2.99:80"), listener.accept());
        (guest.unwrap(), server.unwrap().0)
    }

    async fn udp(&self, to: &str) -> UdpSocket {
        let any = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind_on(&self.guest, any).await.unwrap();
        socket.connect(to).await.unwrap();
        socket
    }

    /// A server outside that gives back what it gets.
    async fn echo(&self, at: &str) {
        let socket = UdpSocket::bind_on(&self.server, at).await.unwrap();
        tokio::spawn(async move {
            let mut buf = [0; 2000];
            while let Ok((len, from)) = socket.recv_from(&mut buf).await {
                socket.send_to(&buf[..len], from).await.unwrap();
            }
        });
    }

    fn counted(&self) -> GatewayCounters {
        (self.counters)()
    }
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(SOON, future).await.expect("it takes too long")
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("it has worked"),
        Err(error) => error.kind(),
    }
}

async fn asks(socket: &UdpSocket, question: &[u8]) -> Option<Vec<u8>> {
    socket.send(question).await.unwrap();
    let mut buf = [0; 2000];
    let answer = timeout(SOON, socket.recv(&mut buf)).await.ok()?;
    Some(buf[..answer.unwrap()].to_vec())
}

#[tokio::test(start_paused = true)]
async fn each_half_is_closed_by_itself() {
    let lab = Lab::new();
    for _ in 0..2 {
        let (mut one, mut other) = lab.connect().await;
        one.write_all(b"all of the question").await.unwrap();
        one.shutdown().await.unwrap();
        let mut read = Vec::new();
        soon(other.read_to_end(&mut read)).await.unwrap();
        assert_eq!(read, b"all of the question");
        let answer: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        let (sent, received) = tokio::join!(
            async {
                other.write_all(&answer).await?;
                other.shutdown().await
            },
            async {
                let mut read = Vec::new();
                one.read_to_end(&mut read).await.map(|_| read)
            }
        );
        sent.unwrap();
        assert!(received.unwrap() == answer);
    }
    soon(async {
        while lab.counted().tcp_open > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    let counted = lab.counted();
    assert_eq!((counted.tcp_opened, counted.tcp_reset, counted.tcp_failed), (2, 0, 0));
    assert_eq!((counted.bytes_out, counted.bytes_in), (38, 6_000_000));
}

#[tokio::test(start_paused = true)]
async fn a_reset_at_one_end_is_a_reset_at_the_other() {
    let lab = Lab::new();
    for guest_breaks in [true, false] {
        let (guest, server) = lab.connect().await;
        let (mut breaks, mut other) = if guest_breaks { (guest, server) } else { (server, guest) };
        breaks.write_all(b"half of").await.unwrap();
        let mut read = [0; 7];
        soon(other.read_exact(&mut read)).await.unwrap();
        breaks.set_zero_linger().unwrap();
        drop(breaks);
        assert_eq!(kind(soon(other.read(&mut read)).await), ErrorKind::ConnectionReset);
    }
    assert_eq!(lab.counted().tcp_reset, 2);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_not_read_has_to_wait() {
    let lab = Lab::new();
    for guest_writes in [true, false] {
        let (guest, server) = lab.connect().await;
        let (mut writes, mut reads) = if guest_writes { (guest, server) } else { (server, guest) };
        for stream in [&writes, &reads] {
            stream.set_send_buffer_size(64 * 1024).unwrap();
            stream.set_recv_buffer_size(64 * 1024).unwrap();
        }
        let mut written = 0;
        while let Ok(more) = timeout(Duration::from_secs(20), writes.write(&[7; 16 * 1024])).await {
            written += more.unwrap();
            assert!(written < 200 << 20, "{written} bytes are somewhere between the two");
        }
        writes.shutdown().await.unwrap();
        // The other direction does not care.
        reads.write_all(b"not yet").await.unwrap();
        let mut read = [0; 7];
        soon(writes.read_exact(&mut read)).await.unwrap();
        let mut all = Vec::new();
        timeout(Duration::from_secs(600), reads.read_to_end(&mut all)).await.unwrap().unwrap();
        assert_eq!(all.len(), written);
    }
}

#[tokio::test(start_paused = true)]
async fn the_guest_learns_what_the_outside_said() {
    let lab = Lab::new();
    assert_eq!(kind(soon(lab.dial("192.0.2.99:81")).await), ErrorKind::ConnectionRefused);
    // Nobody is there: the gateway gives up before the guest does.
    let begin = Instant::now();
    // ropeway takes "host unreachable" for trouble that passes; Linux ends a connection that is being opened.
    let guest = lab.guest.clone();
    let dials = tokio::spawn(async move { TcpStream::connect_on(&guest, "192.0.2.77:80").await });
    while lab.guest.counters().icmp_received == 0 {
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(begin.elapsed().as_secs(), 30);
    dials.abort();
    assert_eq!((lab.counted().tcp_failed, lab.counted().tcp_opened), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_guest_must_not_reach_is_refused_in_every_form() {
    let lab = Lab::new();
    let _own = TcpListener::bind_on(&lab.host, "192.0.2.1:80").await.unwrap();
    let to = [
        "169.254.169.254:80",
        "192.0.2.1:80",
        "10.0.2.2:80",
        "10.0.2.99:80",
        "[fe80::1]:80",
        "[64:ff9b::7f00:1]:80",
        "[64:ff9b::169.254.169.254]:80",
        "[64:ff9b::192.0.2.1]:80",
        "[64:ff9b::10.0.2.7]:80",
        "[2002:7f00:1::1]:80",
        "[2001:db8::1]:80",
        "[64:ff9b:1::1]:80",
        "0.1.2.3:80",
        "240.0.0.1:80",
    ];
    for (n, to) in to.into_iter().enumerate() {
        assert_eq!(kind(soon(lab.dial(to)).await), ErrorKind::ConnectionRefused, "{to}");
        assert_eq!(lab.counted().forbidden, 2 * n as u64 + 1, "{to}");
        // And by datagrams.
        assert_eq!(asks_quietly(&lab, to).await, None, "{to}");
    }
    assert_eq!(lab.counted().forbidden, 2 * to.len() as u64);
    assert_eq!((lab.counted().tcp_opened, lab.counted().udp_opened), (0, 0));
}

async fn asks_quietly(lab: &Lab, to: &str) -> Option<Vec<u8>> {
    let socket = lab.udp(to).await;
    socket.send(b"x").await.unwrap();
    let mut buf = [0; 100];
    timeout(Duration::from_millis(100), socket.recv(&mut buf)).await.ok()?.ok().map(|len| buf[..len].to_vec())
}

#[tokio::test(start_paused = true)]
async fn what_is_mapped_may_be_the_hosts_own() {
    let mut settings = settings();
    settings.maps.push("10.0.2.2:80=192.0.2.1:8080".parse().unwrap());
    let lab = Lab::with(settings, allow, StackSockets::new);
    let listener = TcpListener::bind_on(&lab.host, "192.0.2.1:8080").await.unwrap();
    let (guest, accepted) = tokio::join!(soon(lab.dial("10.0.2.2:80")), soon(listener.accept()));
    assert_eq!(guest.unwrap().peer_addr().unwrap(), "10.0.2.2:80".parse().unwrap());
    accepted.unwrap();
    assert!(soon(lab.dial("10.0.2.2:81")).await.is_err());
    assert!(soon(lab.dial("192.0.2.1:8080")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_policy_allows_refuses_drops_and_redirects() {
    let policy = |flow: &Flow| match flow.original_dst.port() {
        1 => Verdict::Refuse,
        2 => Verdict::Drop,
        3 => Verdict::Redirect("192.0.2.99:80".parse().unwrap()),
        _ => Verdict::Allow,
    };
    let lab = Lab::with(settings(), policy, StackSockets::new);
    let listener = lab.listen("192.0.2.99:80").await;
    lab.echo("192.0.2.99:80").await;
    assert_eq!(kind(soon(lab.dial("198.51.100.7:1")).await), ErrorKind::ConnectionRefused);
    assert!(timeout(SOON, lab.dial("198.51.100.7:2")).await.is_err());
    for to in ["198.51.100.7:3", "192.0.2.99:80"] {
        let (guest, server) = tokio::join!(soon(lab.dial(to)), soon(listener.accept()));
        // Whatever is behind it, the guest sees whom it has asked.
        assert_eq!(guest.unwrap().peer_addr().unwrap(), to.parse().unwrap());
        server.unwrap();
        assert_eq!(asks(&lab.udp(to).await, b"hello").await.as_deref(), Some(&b"hello"[..]));
    }
    assert_eq!(asks_quietly(&lab, "198.51.100.7:1").await, None);
    assert_eq!(asks_quietly(&lab, "198.51.100.7:2").await, None);
    assert_eq!(lab.counted().refused, 4);
}

#[tokio::test(start_paused = true)]
async fn a_udp_flow_ends_when_it_has_been_idle() {
    let lab = Lab::new();
    lab.echo("192.0.2.99:7").await;
    let socket = lab.udp("192.0.2.99:7").await;
    for _ in 0..3 {
        assert_eq!(asks(&socket, b"hello").await.as_deref(), Some(&b"hello"[..]));
        sleep(Duration::from_secs(119)).await;
        assert_eq!((lab.counted().udp_opened, lab.counted().udp_open), (1, 1));
    }
    sleep(Duration::from_secs(2)).await;
    assert_eq!(lab.counted().udp_open, 0);
    assert_eq!(asks(&socket, b"again").await.as_deref(), Some(&b"again"[..]));
    let counted = lab.counted();
    assert_eq!((counted.udp_opened, counted.udp_sent, counted.udp_received), (2, 4, 4));
}

#[tokio::test(start_paused = true)]
async fn of_too_many_udp_flows_the_longest_idle_one_ends() {
    let mut settings = settings();
    settings.limits.udp_flows = 8;
    let lab = Lab::with(settings, allow, StackSockets::new);
    lab.echo("192.0.2.99:7").await;
    let busy = lab.udp("192.0.2.99:7").await;
    for n in 0..50 {
        assert!(asks(&busy, b"busy").await.is_some());
        let socket = lab.udp("192.0.2.99:7").await;
        assert!(asks(&socket, b"new").await.is_some(), "{n}");
        sleep(Duration::from_millis(10)).await;
        assert!(lab.counted().udp_open <= 8);
    }
    // One that is used is not it.
    assert_eq!((lab.counted().udp_opened, lab.counted().udp_evicted), (51, 43));
}

#[tokio::test(start_paused = true)]
async fn a_closed_port_outside_is_told_by_icmp() {
    let lab = Lab::new();
    let errors = lab.guest.divert(DivertOptions::default()).unwrap();
    let socket = lab.udp("192.0.2.99:9").await;
    for _ in 0..2 {
        socket.send(b"anybody?").await.unwrap();
        sleep(Duration::from_millis(50)).await;
    }
    let packet = soon(errors.recv()).await.unwrap();
    let parsed = ip::parse(&packet).unwrap();
    assert_eq!(parsed.src, SERVER.parse::<IpAddr>().unwrap());
    let IcmpMessage::Unreachable { code, quote } = icmp::parse(&packet, &parsed).unwrap() else { panic!() };
    assert_eq!(code.kind, UnreachableKind::Port);
    let quoted = icmp::parse_quote(&packet[quote]).unwrap();
    assert_eq!(quoted.ports, Some((socket.local_addr().unwrap().port(), 9)));
    // What the guest gets back is no more than what it sent, and the headers of an error.
    assert!(packet.len() <= 36 + 28 + 28);
}

fn query(id: u16, name: &str) -> Vec<u8> {
    let mut message = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    [&message[..], &[0, 0, 1, 0, 1]].concat()
}

fn with_dns(resolvers: &[&str]) -> Settings {
    let mut settings = settings();
    let resolvers = resolvers.iter().map(|resolver| resolver.parse().unwrap()).collect();
    settings.dns = Some(DnsSettings { at: vec!["10.0.2.3".parse().unwrap()], resolvers });
    settings
}

/// A resolver outside that answers each query with what `answers` makes of it.
async fn resolver(lab: &Lab, at: &str, answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) {
    let socket = UdpSocket::bind_on(&lab.server, at).await.unwrap();
    tokio::spawn(async move {
        let mut buf = [0; 2000];
        while let Ok((len, from)) = socket.recv_from(&mut buf).await {
            for answer in answers(&buf[..len]) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
}

fn answer_to(query: &[u8]) -> Vec<u8> {
    let mut answer = query.to_vec();
    answer[2] |= 0x80;
    answer
}

#[tokio::test(start_paused = true)]
async fn only_the_answer_to_a_query_is_passed_on() {
    let lab = Lab::with(with_dns(&["192.0.2.99:53"]), allow, StackSockets::new);
    resolver(&lab, "192.0.2.99:53", |asked| {
        let mut wrong_id = answer_to(asked);
        wrong_id[0] ^= 1;
        let mut wrong_question = answer_to(asked);
        wrong_question[14] ^= 1;
        vec![wrong_id, wrong_question, asked.to_vec(), b"?".to_vec(), answer_to(asked)]
    })
    .await;
    let socket = lab.udp("10.0.2.3:53").await;
    let asked = query(7, "example.com");
    assert_eq!(asks(&socket, &asked).await, Some(answer_to(&asked)));
    let counted = lab.counted();
    assert_eq!((counted.dns_queries, counted.dns_mismatched, counted.dns_failed), (1, 4, 0));
    // What is no query gets no answer, and goes nowhere.
    for garbage in [&b"x"[..], &answer_to(&asked), &asked[..20], &[0xff; 100]] {
        assert_eq!(asks(&socket, garbage).await, None);
    }
    assert_eq!((lab.counted().dns_queries, lab.counted().udp_opened), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_next_resolver_is_asked_when_one_does_not_answer() {
    let lab = Lab::with(with_dns(&["192.0.2.99:53", "192.0.2.99:54"]), allow, StackSockets::new);
    resolver(&lab, "192.0.2.99:54", |asked| vec![answer_to(asked)]).await;
    resolver(&lab, "192.0.2.99:53", |_| Vec::new()).await;
    let socket = lab.udp("10.0.2.3:53").await;
    let asked = query(7, "example.com");
    socket.send(&asked).await.unwrap();
    let mut buf = [0; 100];
    let begin = Instant::now();
    let len = timeout(Duration::from_secs(20), socket.recv(&mut buf)).await.unwrap().unwrap();
    assert_eq!((&buf[..len], begin.elapsed().as_secs()), (&answer_to(&asked)[..], 5));
}

#[tokio::test(start_paused = true)]
async fn queries_beyond_the_limit_are_dropped_and_silence_is_servfail() {
    let mut settings = with_dns(&["192.0.2.99:53"]);
    settings.limits.dns_queries = 3;
    let lab = Lab::with(settings, allow, StackSockets::new);
    resolver(&lab, "192.0.2.99:53", |_| Vec::new()).await;
    let socket = lab.udp("10.0.2.3:53").await;
    for id in 0..10 {
        socket.send(&query(id, "example.com")).await.unwrap();
    }
    let mut buf = [0; 100];
    for _ in 0..3 {
        let len = timeout(Duration::from_secs(20), socket.recv(&mut buf)).await.unwrap().unwrap();
        assert_eq!((buf[2] & 0x80, buf[3] & 0xf, len), (0x80, 2, query(0, "example.com").len()));
    }
    let counted = lab.counted();
    assert_eq!((counted.dns_queries, counted.over_limit, counted.dns_failed), (3, 7, 3));
}

#[tokio::test(start_paused = true)]
async fn connections_beyond_the_limits_are_refused_and_those_that_wait_take_turns() {
    let mut settings = settings();
    (settings.limits.tcp_flows, settings.limits.connecting) = (3, 1);
    let lab = Lab::with(settings, allow, StackSockets::new);
    let listener = lab.listen("192.0.2.99:80").await;
    // Nobody is there, and the only place is taken for as long as that may take.
    let guest = lab.guest.clone();
    let lost = tokio::spawn(async move { TcpStream::connect_on(&guest, "192.0.2.77:80").await });
    sleep(Duration::from_secs(1)).await;
    let begin = Instant::now();
    let guest = lab.guest.clone();
    let waits = tokio::spawn(async move { TcpStream::connect_on(&guest, "192.0.2.99:80").await });
    let (_server, _) = listener.accept().await.unwrap();
    let _guest = waits.await.unwrap().unwrap();
    assert_eq!(begin.elapsed().as_secs(), 29);
    assert!(lost.await.unwrap().is_err());
    let mut held = Vec::new();
    for _ in 0..2 {
        let (guest, server) = tokio::join!(soon(lab.dial("192.0.2.99:80")), soon(listener.accept()));
        held.push((guest.unwrap(), server.unwrap()));
    }
    assert_eq!(kind(soon(lab.dial("192.0.2.99:80")).await), ErrorKind::ConnectionRefused);
    assert_eq!((lab.counted().over_limit, lab.counted().tcp_open), (1, 3));
    held.clear();
    sleep(Duration::from_secs(1)).await;
    let (guest, server) = tokio::join!(soon(lab.dial("192.0.2.99:80")), soon(listener.accept()));
    guest.unwrap();
    server.unwrap();
}

/// A host that runs out of descriptors for the first so many sockets.
struct Exhausted {
    inner: StackSockets,
    left: Arc<AtomicUsize>,
}

impl Exhausted {
    fn socket(&self) -> io::Result<()> {
        let spend = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend) {
            Ok(_) => Err(io::Error::from_raw_os_error(24)),
            Err(_) => Ok(()),
        }
    }
}

impl Outside for Exhausted {
    type Stream = <StackSockets as Outside>::Stream;
    type Datagrams = <StackSockets as Outside>::Datagrams;

    async fn connect(&self, to: SocketAddr) -> io::Result<Self::Stream> {
        self.socket()?;
        self.inner.connect(to).await
    }

    async fn datagrams(&self, to: SocketAddr) -> io::Result<Self::Datagrams> {
        self.socket()?;
        self.inner.datagrams(to).await
    }

    fn echo(&self, to: IpAddr) -> io::Result<Self::Datagrams> {
        self.inner.echo(to)
    }

    async fn is_own(&self, address: IpAddr) -> io::Result<bool> {
        self.inner.is_own(address).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_without_descriptors_is_survived() {
    let left = Arc::new(AtomicUsize::new(5));
    let outside = |stack| Exhausted { inner: StackSockets::new(stack), left: Arc::clone(&left) };
    let lab = Lab::with(with_dns(&["192.0.2.99:53"]), allow, outside);
    resolver(&lab, "192.0.2.99:53", |asked| vec![answer_to(asked)]).await;
    lab.echo("192.0.2.99:7").await;
    let listener = lab.listen("192.0.2.99:80").await;
    // A connection waits until there are some.
    let (guest, server) = tokio::join!(soon(lab.dial("192.0.2.99:80")), soon(listener.accept()));
    guest.unwrap();
    server.unwrap();
    assert_eq!((lab.counted().out_of_descriptors, lab.counted().tcp_failed), (5, 0));
    // A datagram is lost, as on any link.
    left.store(1, Ordering::Relaxed);
    let socket = lab.udp("192.0.2.99:7").await;
    assert_eq!(asks(&socket, b"lost").await, None);
    assert_eq!(asks(&socket, b"again").await.as_deref(), Some(&b"again"[..]));
    // A query fails, and says so.
    left.store(1, Ordering::Relaxed);
    let socket = lab.udp("10.0.2.3:53").await;
    let answer = asks(&socket, &query(1, "example.com")).await.unwrap();
    assert_eq!(answer[3] & 0xf, 2);
    assert_eq!(asks(&socket, &query(2, "example.com")).await, Some(answer_to(&query(2, "example.com"))));
    assert_eq!(lab.counted().out_of_descriptors, 7);
}

#[tokio::test(start_paused = true)]
async fn the_gateways_own_address_answers_pings_and_others_are_the_policys_affair() {
    let refuses = |flow: &Flow| match flow.kind {
        FlowKind::Echo if flow.original_dst.ip() == IpAddr::from([198, 51, 100, 1]) => Verdict::Refuse,
        _ => Verdict::Allow,
    };
    let lab = Lab::with(settings(), refuses, StackSockets::new);
    let pinger = lab.guest.divert(DivertOptions::default()).unwrap();
    let ping = |to: &str| {
        let request =
            icmp::emit_echo_request("10.0.2.15".parse().unwrap(), to.parse().unwrap(), 1, 2, b"ping", 64);
        pinger.send(request.into()).unwrap();
    };
    let heard = async || {
        let packet = timeout(SOON, pinger.recv()).await.ok()?.unwrap();
        let message = icmp::parse(&packet, &ip::parse(&packet).unwrap()).unwrap();
        Some(message)
    };
    ping("10.0.2.2");
    assert!(matches!(heard().await, Some(IcmpMessage::EchoReply { ident: 1, seq: 2, .. })));
    ping("198.51.100.1");
    assert!(matches!(heard().await, Some(IcmpMessage::Unreachable { .. })));
    ping(OWN);
    assert!(matches!(heard().await, Some(IcmpMessage::Unreachable { .. })));
    // This outside has no such sockets.
    ping(SERVER);
    assert_eq!(heard().await, None);
    let counted = lab.counted();
    assert_eq!((counted.refused, counted.forbidden, counted.echo_failed), (1, 1, 1));
}
