//! What connections cost: bytes for each kind of entry, SYN floods, opening and closing, slow and hostile peers. All in
//! memory, on one thread, through the door of `ropeway-core`.
//!
//! A binary of its own, since it counts every allocation.

#[path = "../../allocated.rs"]
mod allocated;
#[path = "../../carry.rs"]
mod carry;
mod datagrams;
mod hostile;
mod streams;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use allocated::allocated;
use bytes::Bytes;
use clap::{Parser, Subcommand};
use ropeway_core::congestion::Algorithm;
use ropeway_core::packet::{
    ChecksumMode, IpParams, Payload, Protocol, SeqNum, TcpFlags, TcpHeader, TcpOptions, Timestamps, emit_tcp,
};
use ropeway_core::{
    ConnectionId, ListenerId, Received, SendFlags, SocketOptions, Stack, StackConfig, SynCookieMode,
    Timestamp,
};

/// What connections cost.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bytes per half-open, established and TIME-WAIT connection.
    Sizes {
        /// How many of each.
        #[arg(long, default_value_t = 100_000)]
        count: u32,
    },
    /// Bytes per idle `TcpStream` with a task that waits for its peer, on the loopback of the process.
    Streams {
        /// How many.
        #[arg(long, default_value_t = 100_000)]
        count: u32,
    },
    /// Bytes per UDP flow: idle, with a datagram that is not read, flooded, and as a socket that a task waits for.
    Datagrams {
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        count: u32,
    },
    /// A flood of spoofed SYNs, with honest clients among them.
    Flood {
        /// How many spoofed SYNs.
        #[arg(long, default_value_t = 5_000_000)]
        syns: u32,
        /// How many honest clients.
        #[arg(long, default_value_t = 1000)]
        honest: u32,
    },
    /// Connections opened, used for one byte, and closed.
    Churn {
        /// How many.
        #[arg(long, default_value_t = 200_000)]
        count: u32,
    },
    /// TIME-WAIT entries that all expire.
    Expire {
        /// How many.
        #[arg(long, default_value_t = 1_000_000)]
        count: u32,
    },
    /// Connections that do their worst: what is held and counted for them, and what a well-behaved one gets beside them.
    Hostile(hostile::Settings),
}

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PORT: u16 = 80;

fn main() {
    match Cli::parse().command {
        Command::Sizes { count } => sizes(count),
        Command::Streams { count } => streams::measure(count),
        Command::Datagrams { count } => datagrams::measure(count),
        Command::Flood { syns, honest } => {
            for mode in [SynCookieMode::WhenFull, SynCookieMode::Always, SynCookieMode::Never] {
                flood(mode, syns, honest);
            }
        }
        Command::Churn { count } => churn(count),
        Command::Expire { count } => expire(count),
        Command::Hostile(settings) => {
            hostile::run(&settings).unwrap_or_else(|error| fail(&error.to_string()))
        }
    }
}

fn stack(address: Ipv4Addr, change: impl FnOnce(&mut StackConfig)) -> Stack {
    let mut config = StackConfig::default();
    config.memory_budget = Some(usize::MAX);
    config.addresses = vec![ropeway_core::IpCidr::new(address.into(), 8)];
    config.half_open_per_prefix = u32::MAX;
    config.max_time_wait = usize::MAX;
    change(&mut config);
    Stack::new(Arc::new(config), [7; 32], Timestamp::START)
}

fn listen(stack: &mut Stack, backlog: usize) -> ListenerId {
    let address = SocketAddr::from((SERVER, PORT));
    stack.listen(address, backlog, SocketOptions::default()).unwrap_or_else(|error| fail(&error.to_string()))
}

/// The client of the n-th connection: a source address and port of its own.
fn client(n: u32) -> (Ipv4Addr, u16) {
    let port = u16::try_from(n % 50_000).unwrap_or(0) + 1024;
    (Ipv4Addr::from_bits(0x0b00_0000 + n / 50_000 + n.wrapping_mul(2_654_435_761) % 65_536 * 256), port)
}

fn segment(n: u32, header: &TcpHeader) -> Received {
    let (address, port) = client(n);
    let ip = IpParams {
        src: address.into(),
        dst: SERVER.into(),
        protocol: Protocol::TCP,
        hop_limit: 64,
        traffic_class: 0,
        dont_fragment: true,
        ident: 0,
        flow_label: 0,
    };
    let header = TcpHeader { src_port: port, dst_port: PORT, window: 65_535, ..*header };
    let packet = emit_tcp(&ip, &header, &Payload::new(), ChecksumMode::Full);
    Received::new(Bytes::copy_from_slice(&packet))
}

/// A SYN as Linux sends it.
fn syn(n: u32) -> Received {
    let options = TcpOptions {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { tsval: n, tsecr: 0 }),
        ..TcpOptions::default()
    };
    segment(n, &TcpHeader { seq: SeqNum::new(1000), flags: TcpFlags::SYN, options, ..TcpHeader::default() })
}

fn drain(stack: &mut Stack, now: Timestamp) {
    while stack.poll_transmit(now).is_some() {}
    while stack.poll_event().is_some() {}
}

fn per_entry(before: usize, count: u32) -> f64 {
    (allocated() as f64 - before as f64) / f64::from(count)
}

fn sizes(count: u32) {
    let now = Timestamp::START;
    let mut server = stack(SERVER, |config| config.timestamps = false);
    listen(&mut server, count as usize);
    let before = allocated();
    for n in 0..count {
        server.handle_packet(now, syn(n));
        drain(&mut server, now);
    }
    assert_eq!(server.sizes().half_open, count as usize);
    println!("half-open       {:7.1} bytes each, of {count}", per_entry(before, count));
    drop(server);
    for algorithm in [Algorithm::NewReno, Algorithm::Cubic, Algorithm::Bbr] {
        established_size(count, &algorithm);
    }
    time_wait_size(count);
}

/// What connections have sent each way before they are idle again.
const EXCHANGED: &[u8] = &[0; 20_000];

/// Both ends of each connection are in one stack, and both count.
fn established_size(count: u32, algorithm: &Algorithm) {
    let now = Timestamp::START;
    let mut stack = stack(SERVER, |config| config.ephemeral_ports = 1024..=u16::MAX);
    let before = allocated();
    let pairs = open_pairs(&mut stack, now, count / 2, algorithm);
    let connections = 2 * u32::try_from(pairs.len()).unwrap_or(0);
    let fresh = per_entry(before, connections);
    for (client, server) in pairs {
        for (from, to) in [(client, server), (server, client)] {
            let _sent = stack.send(now, from, EXCHANGED, SendFlags::default());
            drain(&mut stack, now);
            let _received = stack.recv(now, to, EXCHANGED.len());
            drain(&mut stack, now);
        }
    }
    println!(
        "established     {fresh:7.1} bytes each, of {connections}, idle, {algorithm}; {:.1} when they have sent \
         {} bytes",
        per_entry(before, connections),
        EXCHANGED.len()
    );
}

/// Opens connections from the stack to itself: several listening addresses, so that ports suffice.
fn open_pairs(
    stack: &mut Stack,
    now: Timestamp,
    count: u32,
    algorithm: &Algorithm,
) -> Vec<(ConnectionId, ConnectionId)> {
    let mut options = SocketOptions::default();
    options.congestion = algorithm.clone();
    let mut pairs = Vec::with_capacity(count as usize);
    let mut port = 1;
    while pairs.len() < count as usize {
        let address = SocketAddr::from((SERVER, port));
        let Ok(listener) = stack.listen(address, 1 << 16, options.clone()) else { fail("listen") };
        let batch = (count as usize - pairs.len()).min(20_000);
        let mut clients = Vec::with_capacity(batch);
        for _ in 0..batch {
            match stack.connect(now, None, address, options.clone()) {
                Ok(client) => clients.push(client),
                Err(error) => fail(&error.to_string()),
            }
            drain(stack, now);
        }
        for client in clients {
            let Ok(Some((server, _))) = stack.accept(now, listener) else { fail("accept") };
            pairs.push((client, server));
        }
        stack.close_listener(now, listener);
        port += 1;
    }
    pairs
}

fn time_wait_size(count: u32) {
    let now = Timestamp::START;
    let mut server = stack(SERVER, |config| config.timestamps = false);
    let listener = listen(&mut server, 64);
    // One goes through first, so that what connections leave allocated is there already.
    to_time_wait(&mut server, listener, now, count);
    let before = allocated();
    for n in 0..count {
        to_time_wait(&mut server, listener, now, n);
    }
    assert_eq!(server.sizes().time_wait, count as usize + 1);
    println!("TIME-WAIT       {:7.1} bytes each, of {count}", per_entry(before, count));
}

/// The n-th client connects; the server closes first, and waits.
fn to_time_wait(server: &mut Stack, listener: ListenerId, now: Timestamp, n: u32) {
    server.handle_packet(now, syn(n));
    let mut server_seq = SeqNum::new(0);
    while let Some(packet) = server.poll_transmit(now) {
        if let Ok(ip) = ropeway_core::packet::ip::parse(&packet.header)
            && let Ok(segment) = ropeway_core::packet::parse_tcp(&packet.header, ip, false)
        {
            server_seq = segment.tcp.seq;
        }
    }
    let seq = SeqNum::new(1001);
    let ack = |ack: SeqNum, flags: TcpFlags| {
        segment(n, &TcpHeader { seq, ack, flags: flags | TcpFlags::ACK, ..TcpHeader::default() })
    };
    server.handle_packet(now, ack(server_seq + 1, TcpFlags::EMPTY));
    let Ok(Some((id, _))) = server.accept(now, listener) else { fail("the handshake did not complete") };
    server.close(now, id);
    drain(server, now);
    server.handle_packet(now, ack(server_seq + 2, TcpFlags::FIN));
    drain(server, now);
}

fn flood(mode: SynCookieMode, syns: u32, honest: u32) {
    const PER_TICK: u32 = 1000;
    let mut now = Timestamp::START;
    let mut server = stack(SERVER, |config| config.syn_cookies = mode);
    let listener = listen(&mut server, 1024);
    let mut clients = stack(Ipv4Addr::new(10, 0, 0, 2), |_| {});
    let packets: Vec<Received> = (0..100_000).map(syn).collect();
    let mut spoofed = packets.iter().cycle();
    let before = allocated();
    let mut spent = Duration::ZERO;
    let mut ids = Vec::new();
    let mut full = None;
    let ticks = syns.div_ceil(PER_TICK);
    // A million SYNs a second of virtual time; the honest ones come evenly among them.
    for tick in 0..ticks {
        now += Duration::from_millis(1);
        let start = Instant::now();
        for packet in spoofed.by_ref().take(PER_TICK as usize) {
            server.handle_packet(now, packet.clone());
        }
        server.handle_timeout(now);
        let mut answers = Vec::new();
        while let Some(packet) = server.poll_transmit(now) {
            answers.push(packet);
        }
        spent += start.elapsed();
        while (ids.len() as u64) < u64::from(honest) * u64::from(tick + 1) / u64::from(ticks) {
            let remote = SocketAddr::from((SERVER, PORT));
            match clients.connect(now, None, remote, SocketOptions::default()) {
                Ok(id) => ids.push(id),
                Err(error) => fail(&error.to_string()),
            }
        }
        exchange(&mut server, &mut clients, now);
        while let Ok(Some((id, _))) = server.accept(now, listener) {
            server.abort(now, id);
            server.close(now, id);
        }
        if tick == ticks / 10 {
            full = Some(allocated());
        }
    }
    let grown = full.map_or(0, |full| allocated().saturating_sub(full));
    let opened =
        ids.iter().filter(|id| clients.info(now, **id).is_ok_and(|info| info.segments_in > 0)).count();
    println!(
        "{mode:?}: {:.2} M SYNs/s on one core; honest clients: {opened} of {honest} got in, {} SYNs sent again; \
         allocated, honest clients included: {} bytes after a tenth, {grown} more at the end",
        f64::from(syns) / spent.as_secs_f64() / 1e6,
        clients.counters().tcp_retransmitted,
        full.unwrap_or(before).saturating_sub(before),
    );
}

/// Carries packets between honest clients and the server until both are silent.
fn exchange(server: &mut Stack, clients: &mut Stack, now: Timestamp) {
    clients.handle_timeout(now);
    loop {
        let mut quiet = true;
        while let Some(packet) = clients.poll_transmit(now) {
            quiet = false;
            server.handle_packet(now, packet.to_bytes().into());
        }
        while let Some(packet) = server.poll_transmit(now) {
            quiet = false;
            clients.handle_packet(now, packet.to_bytes().into());
        }
        if quiet {
            return;
        }
    }
}

fn churn(count: u32) {
    let mut now = Timestamp::START;
    let mut server = stack(SERVER, |config| config.time_wait = Duration::from_secs(1));
    let mut clients = stack(Ipv4Addr::new(10, 0, 0, 2), |config| config.time_wait = Duration::from_secs(1));
    let listener = listen(&mut server, 1024);
    let start = Instant::now();
    for _ in 0..count {
        now += Duration::from_micros(100);
        let remote = SocketAddr::from((SERVER, PORT));
        let Ok(client) = clients.connect(now, None, remote, SocketOptions::default()) else {
            fail("connect")
        };
        exchange(&mut server, &mut clients, now);
        let Ok(Some((id, _))) = server.accept(now, listener) else { fail("accept") };
        let _sent = clients.send(now, client, b"x", SendFlags::default());
        clients.close(now, client);
        exchange(&mut server, &mut clients, now);
        let _received = server.recv(now, id, 10);
        server.close(now, id);
        exchange(&mut server, &mut clients, now);
        server.handle_timeout(now);
    }
    let each = start.elapsed() / count;
    println!(
        "opened, one byte, closed: {each:?} each, both ends ({:.0} a second on one core)",
        1.0 / each.as_secs_f64()
    );
}

fn expire(count: u32) {
    let now = Timestamp::START;
    let mut server = stack(SERVER, |config| config.timestamps = false);
    let listener = listen(&mut server, 64);
    let mut times = Vec::with_capacity(count as usize);
    for n in 0..count {
        let start = Instant::now();
        to_time_wait(&mut server, listener, now, n);
        times.push(start.elapsed());
    }
    let waiting = server.sizes().time_wait;
    println!("{waiting} connections opened and closed: {}", spread(&mut times));
    let later = now + Duration::from_secs(61);
    times.clear();
    while server.poll_timeout().is_some_and(|due| due <= later) {
        let start = Instant::now();
        server.handle_timeout(later);
        times.push(start.elapsed());
    }
    println!("all expired but {}, in so many calls: {}", server.sizes().time_wait, spread(&mut times));
}

fn spread(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |permille: usize| times.get((times.len() * permille / 1000).min(times.len() - 1)).copied();
    let total: Duration = times.iter().sum();
    format!(
        "{} in {total:?}, median {:?}, 999 of 1000 within {:?}, the longest {:?}",
        times.len(),
        at(500).unwrap_or_default(),
        at(999).unwrap_or_default(),
        at(1000).unwrap_or_default()
    )
}

fn fail(why: &str) -> ! {
    eprintln!("connections: {why}");
    std::process::exit(1);
}
