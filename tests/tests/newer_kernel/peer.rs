//! The other end, as the tests see it.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use ropeway::congestion::Algorithm;
use ropeway::net::{TcpListener, TcpSocket, TcpStream};
use ropeway::{EcnMode, TcpInfo};
use ropeway_tests::link::{self, Family, Link};
use ropeway_tests::middlebox::{Middlebox, Segment, Way};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::agent::talk;
use crate::info::Info;

/// Which kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// The one of this machine.
    Machines,
    /// The newer one, behind its router.
    Guest,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) kernel: Kernel,
    pub(crate) orders: SocketAddr,
}

/// Who opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opens {
    Kernel,
    Ours,
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sends {
    Kernel,
    Ours,
}

/// What both ends know of a connection when everything is over.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) kernel: Info,
    pub(crate) ours: TcpInfo,
    /// How long the sender took.
    pub(crate) seconds: f64,
}

/// Something that goes on at the other end.
pub(crate) struct Work(BufReader<tokio::net::TcpStream>);

impl Work {
    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        let line = line.trim().to_owned();
        assert!(!line.is_empty() && !line.starts_with("error"), "the other end: {line:?}");
        line
    }

    pub(crate) async fn end(mut self) -> (String, f64, Info) {
        let line = self.line().await;
        let words: Vec<_> = line.split(' ').collect();
        let [sum, seconds, info] = words[..] else { panic!("{line}") };
        (sum.to_owned(), seconds.parse().unwrap(), Info::from_hex(info))
    }
}

fn next_port() -> u16 {
    static PORT: AtomicU16 = AtomicU16::new(2000);
    PORT.fetch_add(1, Ordering::Relaxed)
}

impl Peer {
    async fn order(&self, line: String) -> Work {
        let mut control = tokio::net::TcpStream::connect(self.orders).await.unwrap();
        control.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        Work(BufReader::new(control))
    }

    async fn ask(&self, line: String) -> String {
        self.order(line).await.line().await
    }

    /// Sets `net.ipv4.NAME`.
    pub(crate) async fn set(&self, name: &str, value: impl Display) {
        self.ask(format!("set /proc/sys/net/ipv4/{name} {value}")).await;
    }

    /// Runs a program beside the router.
    pub(crate) async fn run(&self, program: &str) {
        self.ask(format!("run {program}")).await;
    }

    /// Makes everything as it is at first, whatever has been set.
    pub(crate) async fn reset(&self) {
        self.set("tcp_ecn", 2).await;
        if self.kernel == Kernel::Guest {
            self.set("tcp_ecn_option", 2).await;
            self.set("tcp_congestion_control", "cubic").await;
            for device in ["vec0", "veth0"] {
                self.run(&format!("tc qdisc replace dev {device} root pfifo limit 1000")).await;
            }
        }
    }

    /// Begins a connection that is open once ropeway, or whoever else, does its part.
    pub(crate) async fn begin(&self, words: String) -> Work {
        let mut work = self.order(words).await;
        assert_eq!(work.line().await, "ready");
        work
    }

    pub(crate) fn address(&self, family: Family) -> IpAddr {
        match (self.kernel, family) {
            (Kernel::Machines, _) => family.kernel(),
            (Kernel::Guest, Family::V4) => Ipv4Addr::new(10, 11, 0, 2).into(),
            (Kernel::Guest, Family::V6) => Ipv6Addr::new(0xfd11, 0, 0, 0, 0, 0, 0, 2).into(),
        }
    }
}

/// What the box between does with a segment: `false` loses it.
type Rule = Box<dyn FnMut(Way, &mut Segment<'_>) -> bool + Send>;

fn nothing() -> Rule {
    Box::new(|_, _| true)
}

/// ropeway, and the other end.
pub(crate) struct Between {
    pub(crate) peer: Peer,
    pub(crate) family: Family,
    link: Link,
    rule: Arc<Mutex<Rule>>,
    /// What a connection of ours uses.
    pub(crate) ecn: EcnMode,
    pub(crate) congestion: Algorithm,
}

impl Between {
    /// With a box between.
    pub(crate) fn new(peer: Peer, family: Family) -> Self {
        let device = link::device();
        let lost = device.counters();
        let rule = Arc::new(Mutex::new(nothing()));
        let current = Arc::clone(&rule);
        let device = Middlebox::new(device, move |way, segment| (current.lock().unwrap())(way, segment));
        let link = Link::over(device, lost, family, |_| ());
        Self { peer, family, link, rule, ecn: EcnMode::default(), congestion: Algorithm::Cubic }
    }

    /// Without one, so with offload.
    pub(crate) fn plain(peer: Peer, family: Family) -> Self {
        let (link, rule) = (Link::new(family), Arc::new(Mutex::new(nothing())));
        Self { peer, family, link, rule, ecn: EcnMode::default(), congestion: Algorithm::Cubic }
    }

    /// Sets what the box does from now on.
    pub(crate) fn set_rule(&self, rule: impl FnMut(Way, &mut Segment<'_>) -> bool + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
    }

    fn socket(&self) -> TcpSocket {
        let socket = match self.family {
            Family::V4 => TcpSocket::new_v4_on(&self.link.stack),
            Family::V6 => TcpSocket::new_v6_on(&self.link.stack),
        };
        let socket = socket.unwrap();
        socket.set_ecn(self.ecn).unwrap();
        socket.set_congestion(self.congestion.clone()).unwrap();
        socket
    }

    /// One connection, over which one end sends `len` bytes.
    pub(crate) async fn transfer(&self, opens: Opens, sends: Sends, len: u64) -> Outcome {
        let what = if sends == Sends::Kernel { "send" } else { "receive" };
        let (mut stream, work) = self.open(opens, what, len).await;
        let begun = std::time::Instant::now();
        let talk = talk(&mut stream, sends == Sends::Ours, len);
        let (ours, (theirs, seconds, kernel)) = tokio::join!(talk, work.end());
        assert_eq!(ours, theirs);
        let seconds = if sends == Sends::Ours { begun.elapsed().as_secs_f64() } else { seconds };
        Outcome { kernel, ours: stream.info().unwrap(), seconds }
    }

    async fn open(&self, opens: Opens, what: &str, len: u64) -> (TcpStream, Work) {
        let port = next_port();
        if opens == Opens::Ours {
            let to = SocketAddr::new(self.peer.address(self.family), port);
            let work = self.peer.begin(format!("listen {to} {what} {len}")).await;
            return (self.socket().connect(to).await.unwrap(), work);
        }
        let ours = self.link.ours(port);
        let socket = self.socket();
        socket.bind(ours).unwrap();
        let listener: TcpListener = socket.listen(8).unwrap();
        let work = self.peer.begin(format!("connect {ours} {what} {len}")).await;
        (listener.accept().await.unwrap().0, work)
    }
}
