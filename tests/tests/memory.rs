//! What the process takes, as the kernel counts it, when a peer leaves gaps or a program does not read.
//!
//! One test function: memory is counted for the whole process.

#![cfg(target_os = "linux")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::fs;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use ropeway::device::tun::TunDevice;
use ropeway::device::{Device, Transmit};
use ropeway::net::{TcpListener, TcpStream};
use ropeway::packet::{
    ChecksumMode, IpParams, Payload, Protocol, SeqNum, TcpFlags, TcpHeader, TcpOptions, TcpSegment, emit_tcp,
    ip, parse_tcp,
};
use ropeway_tests::link::{Family, Link};
use ropeway_tests::namespace;
use tokio::io::AsyncReadExt;
use tokio::task::{LocalSet, spawn_local, yield_now};

const BUFFER: usize = 512 * 1024;
const PORT: u16 = 80;
/// Where the connection comes from that is read at once.
const NEIGHBOUR: u16 = 1000;
/// Packets that are sent before the server is waited for.
const BATCH: usize = 48;
/// What else the process may come to hold: slabs, queues, and what the allocator does not give back.
const BESIDES: usize = 8 << 20;

#[test]
fn the_process_takes_no_more_than_its_connections_may_hold() {
    let before = resident();
    for (connections, gap) in [(1, 1), (5, 0), (5, 1), (100, 1)] {
        for len in [512, 600, 1400, 1460] {
            namespace::run(async move || {
                LocalSet::new().run_until(attack(connections, len, gap, before)).await;
            });
        }
    }
}

/// Segments of `len` bytes with `gap` bytes between them fill the windows of so many connections.
async fn attack(connections: u16, len: usize, gap: usize, before: usize) {
    let what = format!("{connections} connections, segments of {len} bytes, gaps of {gap}");
    let link = Link::with_config(Family::V4, |config| config.socket.recv_buffer = BUFFER);
    let mut peer = Peer::new();
    let listener = TcpListener::bind_on(&link.stack, link.ours(PORT)).await.unwrap();
    let mut neighbour = Neighbour::new(&mut peer, &listener).await;
    let mut held = Vec::new();
    for port in 0..connections {
        held.push((peer.open(2000 + port).await, listener.accept().await.unwrap().0));
    }
    // The first byte brings the whole window.
    for (connection, _) in &held {
        peer.send(connection, 1, 1).await;
    }
    neighbour.wait(&mut peer).await;
    let mut seq = 2 + gap;
    while seq + len < BUFFER {
        for (connection, _) in &held {
            peer.send(connection, seq, len).await;
            if peer.sent >= BATCH {
                neighbour.wait(&mut peer).await;
            }
        }
        if connections < 10 {
            // As many packets of others come between them as fit into 64 KiB.
            for _ in 0..44 {
                neighbour.send(&mut peer).await;
            }
            neighbour.wait(&mut peer).await;
        }
        seq += len + gap;
    }
    neighbour.wait(&mut peer).await;

    let most = usize::from(connections) * (2 * BUFFER + 16 * 1024);
    let counted: usize = held.iter().map(|(_, stream)| memory(stream)).sum();
    assert!(counted > most / 8, "{what}: no attack, only {counted} bytes are held");
    assert!(counted <= most, "{what}: {counted} bytes are held");
    let grown = resident().saturating_sub(before);
    assert!(grown <= counted + counted / 4 + BESIDES, "{what}: {grown} bytes more, and {counted} counted");
    println!("{what}: {} KiB counted, {} KiB more are resident", counted / 1024, grown / 1024);
}

/// What a connection says that it holds.
fn memory(stream: &TcpStream) -> usize {
    let info = stream.info().unwrap();
    info.receive_memory + info.reassembly_memory
}

/// The memory of this process that is in RAM, in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    1024 * line.trim_end_matches("kB").trim().parse::<usize>().unwrap()
}

/// A connection whose bytes are read as they come. When its last ones have, all packets before them have.
struct Neighbour {
    connection: Connection,
    sent: usize,
    read: Rc<Cell<usize>>,
}

impl Neighbour {
    const LEN: usize = 1400;

    async fn new(peer: &mut Peer, listener: &TcpListener) -> Self {
        let connection = peer.open(NEIGHBOUR).await;
        let (mut stream, _) = listener.accept().await.unwrap();
        let read = Rc::new(Cell::new(0));
        let count = Rc::clone(&read);
        spawn_local(async move {
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(len @ 1..) = stream.read(&mut buffer).await {
                count.set(count.get() + len);
            }
        });
        Self { connection, sent: 0, read }
    }

    async fn send(&mut self, peer: &mut Peer) {
        peer.send(&self.connection, 1 + self.sent, Self::LEN).await;
        self.sent += Self::LEN;
    }

    /// Waits until the server has taken all that was sent.
    async fn wait(&mut self, peer: &mut Peer) {
        self.send(peer).await;
        while self.read.get() < self.sent {
            for _ in 0..1000 {
                yield_now().await;
                peer.receive();
                if self.read.get() >= self.sent {
                    break;
                }
            }
            // Some were lost in a queue that was full.
            let read = self.read.get();
            for seq in (read..self.sent).step_by(Self::LEN) {
                peer.send(&self.connection, 1 + seq, Self::LEN).await;
            }
        }
        peer.sent = 0;
    }
}

/// The attacker: a host behind the kernel, which forwards its packets.
struct Peer {
    device: TunDevice,
    /// Packets since the server was waited for.
    sent: usize,
}

/// The attacker's end of a connection.
struct Connection {
    port: u16,
    /// What it acknowledges.
    ack: SeqNum,
}

impl Peer {
    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 10, 0, 2));

    fn new() -> Self {
        let device = TunDevice::builder().name("rope1").address("10.10.0.1/24".parse().unwrap()).up().build();
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        Self { device: device.unwrap(), sent: 0 }
    }

    async fn open(&mut self, port: u16) -> Connection {
        let options = TcpOptions { mss: Some(1460), window_scale: Some(7), ..TcpOptions::default() };
        let syn = TcpHeader { flags: TcpFlags::SYN, options, ..header(port) };
        self.emit(&syn, Bytes::new()).await;
        let ack = loop {
            yield_now().await;
            if let Some(answer) = self.receive().iter().find(|answer| answer.tcp.dst_port == port) {
                break answer.tcp.seq + 1;
            }
        };
        let connection = Connection { port, ack };
        self.send(&connection, 1, 0).await;
        connection
    }

    /// Sends the bytes from `seq` on: the first byte of a stream is number 1.
    async fn send(&mut self, connection: &Connection, seq: usize, len: usize) {
        let seq = SeqNum::new(0) + u32::try_from(seq).unwrap();
        let header = TcpHeader { flags: TcpFlags::ACK, seq, ack: connection.ack, ..header(connection.port) };
        self.emit(&header, Bytes::from(vec![b'x'; len])).await;
        self.sent += 1;
    }

    async fn emit(&mut self, header: &TcpHeader, data: Bytes) {
        let params = IpParams {
            src: Self::ADDRESS,
            dst: Family::V4.ours(),
            protocol: Protocol::TCP,
            hop_limit: 64,
            traffic_class: 0,
            dont_fragment: true,
            ident: 0,
            flow_label: 0,
        };
        let mut packet = emit_tcp(&params, header, &Payload::from(data.clone()), ChecksumMode::Full).to_vec();
        packet.extend_from_slice(&data);
        let mut queue = VecDeque::from([Transmit::whole(packet.into())]);
        poll_fn(|cx| self.device.poll_send(cx, &mut queue)).await.unwrap();
    }

    /// What has arrived.
    fn receive(&mut self) -> Vec<TcpSegment> {
        let mut batch = Vec::new();
        while let Poll::Ready(result) =
            self.device.poll_recv(&mut Context::from_waker(Waker::noop()), &mut batch, 64)
        {
            result.unwrap();
        }
        batch.iter().filter_map(|received| parse(&received.packet)).collect()
    }
}

fn header(port: u16) -> TcpHeader {
    TcpHeader {
        src_port: port,
        dst_port: PORT,
        seq: SeqNum::new(0),
        ack: SeqNum::new(0),
        flags: TcpFlags::ACK,
        window: u16::MAX,
        urgent: 0,
        options: TcpOptions::default(),
    }
}

fn parse(packet: &[u8]) -> Option<TcpSegment> {
    let ip = ip::parse(packet).ok()?;
    parse_tcp(packet, ip, false).ok()
}
