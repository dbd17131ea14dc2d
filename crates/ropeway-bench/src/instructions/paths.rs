//! The paths, and what goes them.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use ropeway_core::{
    ConnectionId, EcnMode, IpCidr, Received, RxChecksum, SendFlags, SocketOptions, Stack, StackConfig,
    SynCookieMode, Timestamp, Transmit,
};

use crate::memory::connections;
use crate::steps::peers::{Peer, SERVER};

/// How often a path is gone.
const TIMES: u64 = 2000;
/// Likewise, a whole connection.
pub(super) const CONNECTIONS: u64 = 400;
/// Others among which a packet finds its connection.
const CROWD: u32 = 100_000;
/// Segments that are on their way at a time.
const FLIGHT: u64 = 8;
/// Segments that arrive together.
const BATCH: usize = 32;
/// The data of a full segment with timestamps, on Ethernet.
const DATA: [u8; 1448] = [0x5a; 1448];
pub(super) const TICK: Duration = Duration::from_micros(100);
pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
pub(super) const PORT: u16 = 80;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum HotPath {
    /// `handle_packet` of an acknowledgement of one segment, with more in flight.
    AckIn,
    /// `handle_packet` of a full segment, without the sum of its data.
    DataIn,
    /// `handle_batch` of 32 full segments in a row, likewise: for each of them.
    BatchIn,
    /// `poll_transmit` of a full segment, likewise.
    DataOut,
    /// `AckIn`, `DataIn` and `DataOut` with ECN of RFC 3168.
    AckInEcn,
    DataInEcn,
    DataOutEcn,
    /// Likewise, with Accurate ECN (RFC 9768) and its option.
    AckInAccurate,
    DataInAccurate,
    DataOutAccurate,
    /// `handle_packet` of an acknowledgement that says nothing, for another connection than the packet before it was, with
    /// 100,000 half-open connections beside both.
    FindAmong,
    /// A connection, opened, used for a byte there and back, and closed: both ends.
    Connection,
}

impl HotPath {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AckIn => "acknowledgement in",
            Self::DataIn => "data in",
            Self::BatchIn => "data in, one of a batch",
            Self::DataOut => "data out",
            Self::AckInEcn => "acknowledgement in, ECN",
            Self::DataInEcn => "data in, ECN",
            Self::DataOutEcn => "data out, ECN",
            Self::AckInAccurate => "acknowledgement in, Accurate ECN",
            Self::DataInAccurate => "data in, Accurate ECN",
            Self::DataOutAccurate => "data out, Accurate ECN",
            Self::FindAmong => "find among 100,000",
            Self::Connection => "connection, both ends",
        }
    }

    /// How often `run` goes it.
    pub(super) fn times(self) -> u64 {
        if self == Self::Connection { CONNECTIONS } else { TIMES }
    }

    /// Goes the path.
    pub(super) fn run(self) -> io::Result<()> {
        match self {
            Self::FindAmong => find_among(),
            Self::BatchIn => Bulk::new(EcnMode::Off)?.run_batches(),
            Self::Connection => counted(|| connections(CONNECTIONS)),
            _ => {
                let (mode, path) = self.with_ecn();
                Bulk::new(mode)?.run(path)
            }
        }
    }

    /// Which mode of ECN, and the path without.
    fn with_ecn(self) -> (EcnMode, Self) {
        match self {
            Self::AckInEcn => (EcnMode::On, Self::AckIn),
            Self::DataInEcn => (EcnMode::On, Self::DataIn),
            Self::DataOutEcn => (EcnMode::On, Self::DataOut),
            Self::AckInAccurate => (EcnMode::Accurate, Self::AckIn),
            Self::DataInAccurate => (EcnMode::Accurate, Self::DataIn),
            Self::DataOutAccurate => (EcnMode::Accurate, Self::DataOut),
            path => (EcnMode::Off, path),
        }
    }
}

/// What callgrind counts.
#[inline(never)]
fn counted<R>(call: impl FnOnce() -> R) -> R {
    call()
}

pub(super) fn stack(address: Ipv4Addr, change: impl FnOnce(&mut StackConfig)) -> Stack {
    let mut config = StackConfig::default();
    config.addresses = vec![IpCidr::new(address.into(), 8)];
    config.tx_checksum_offload = true;
    change(&mut config);
    Stack::new(Arc::new(config), [7; 32], Timestamp::START)
}

/// As from a device that vouches for it.
pub(super) fn carry(transmit: &Transmit) -> Received {
    Received::alone(transmit.to_bytes()).with_checksum(RxChecksum::Verified)
}

/// One end sends, the other acknowledges each segment at once.
struct Bulk {
    now: Timestamp,
    sender: (Stack, ConnectionId),
    receiver: (Stack, ConnectionId),
}

impl Bulk {
    fn new(ecn: EcnMode) -> io::Result<Self> {
        let now = Timestamp::START;
        let (mut client, mut server) = (stack(CLIENT, |_| {}), stack(SERVER, |_| {}));
        let mut options = SocketOptions::default();
        (options.quick_ack, options.ecn) = (true, ecn);
        let address = SocketAddr::from((SERVER, PORT));
        let listener = server.listen(address, 1, options.clone()).map_err(io::Error::other)?;
        let id = client.connect(now, None, address, options).map_err(io::Error::other)?;
        for _ in 0..2 {
            while let Some(packet) = client.poll_transmit(now) {
                server.handle_packet(now, carry(&packet));
            }
            while let Some(packet) = server.poll_transmit(now) {
                client.handle_packet(now, carry(&packet));
            }
        }
        let accepted = server.accept(now, listener).map_err(io::Error::other)?;
        let (accepted, _) = accepted.ok_or_else(|| io::Error::other("the handshake has failed"))?;
        Ok(Self { now, sender: (client, id), receiver: (server, accepted) })
    }

    fn run(mut self, path: HotPath) -> io::Result<()> {
        let counts = |this: HotPath| this == path;
        let mut flight = VecDeque::new();
        let (sender, receiver) = (&mut self.sender, &mut self.receiver);
        for turn in 0..TIMES + FLIGHT {
            self.now += TICK;
            let now = self.now;
            let lost = |what: &str| io::Error::other(format!("{what} is missing in turn {turn}"));
            let warm = turn >= FLIGHT;
            sender.0.send(now, sender.1, &DATA, SendFlags::default()).map_err(io::Error::other)?;
            let segment = either(warm && counts(HotPath::DataOut), || sender.0.poll_transmit(now));
            flight.push_back(carry(&segment.ok_or_else(|| lost("a segment"))?));
            if !warm {
                continue;
            }
            let oldest = flight.pop_front().ok_or_else(|| lost("the oldest segment"))?;
            either(counts(HotPath::DataIn), || receiver.0.handle_packet(now, oldest));
            receiver.0.recv(now, receiver.1, DATA.len()).map_err(io::Error::other)?;
            let ack = carry(&receiver.0.poll_transmit(now).ok_or_else(|| lost("an acknowledgement"))?);
            either(counts(HotPath::AckIn), || sender.0.handle_packet(now, ack));
            while sender.0.poll_event().is_some() || receiver.0.poll_event().is_some() {}
        }
        Ok(())
    }

    fn run_batches(mut self) -> io::Result<()> {
        let (sender, receiver) = (&mut self.sender, &mut self.receiver);
        let (mut batch, mut left) = (Vec::new(), TIMES);
        while left > 0 {
            self.now += TICK;
            let now = self.now;
            let data = [0x5a; BATCH * DATA.len()];
            sender.0.send(now, sender.1, &data, SendFlags::default()).map_err(io::Error::other)?;
            batch.extend(std::iter::from_fn(|| sender.0.poll_transmit(now)).map(|packet| carry(&packet)));
            let full = batch.iter().filter(|packet| packet.packet.len() > DATA.len()).count() as u64;
            let warm = full == BATCH as u64;
            either(warm, || receiver.0.handle_batch(now, &mut batch));
            left = left.saturating_sub(if warm { full } else { 0 });
            receiver.0.recv(now, receiver.1, data.len()).map_err(io::Error::other)?;
            while let Some(ack) = receiver.0.poll_transmit(now) {
                sender.0.handle_packet(now, carry(&ack));
            }
            while sender.0.poll_event().is_some() || receiver.0.poll_event().is_some() {}
        }
        Ok(())
    }
}

/// Makes a call, counted or not.
pub(super) fn either<R>(is_counted: bool, call: impl FnOnce() -> R) -> R {
    if is_counted { counted(call) } else { call() }
}

fn find_among() -> io::Result<()> {
    let now = Timestamp::START;
    let mut server = stack(SERVER, |config| {
        config.half_open_per_prefix = u32::MAX;
        config.memory_budget = Some(usize::MAX);
        config.syn_cookies = SynCookieMode::Never;
        config.tx_checksum_offload = false;
    });
    let address = SocketAddr::from((SERVER, PORT));
    server.listen(address, CROWD as usize + 2, SocketOptions::default()).map_err(io::Error::other)?;
    let mut peers = [Peer::new(0, PORT), Peer::new(1, PORT)];
    for number in 0..CROWD + 2 {
        server.handle_packet(now, Peer::new(number, PORT).syn());
        let syn_ack = server.poll_transmit(now).ok_or_else(|| io::Error::other("a SYN was not answered"))?;
        if let Some(peer) = peers.get_mut(number as usize) {
            peer.hears(&syn_ack);
            server.handle_packet(now, peer.ack());
        }
    }
    let sizes = server.sizes();
    if (sizes.connections, sizes.half_open) != (2, CROWD as usize) {
        return Err(io::Error::other(format!("there are {sizes:?}")));
    }
    for (_, peer) in (0..TIMES).zip(peers.iter().cycle()) {
        let ack = peer.ack();
        counted(|| server.handle_packet(now, ack));
    }
    Ok(())
}
