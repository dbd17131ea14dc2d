//! What is done, step by step, with everything open.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ropeway_core::{
    IpCidr, KeepAlive, ListenerId, SendFlags, SocketOptions, Stack, StackConfig, Timestamp, Transmit,
};

use super::gauge::{Gauge, Kind};
use super::peers::{Peer, SERVER};

/// The connections in question are those to this port.
const PORT: u16 = 80;
/// A listener that is closed with all that waits for it.
const DOOMED: u16 = 81;

const IDLE: Duration = Duration::from_secs(7200);

/// A request, and its answer.
const MESSAGE: [u8; 100] = [0x5a; 100];

/// The stack, and the peers it has connections with.
pub(super) struct World {
    stack: Stack,
    now: Timestamp,
    count: u32,
    peers: Vec<Peer>,
    /// The next peer's number.
    next: u32,
}

impl World {
    pub(super) fn new(count: u32) -> io::Result<Self> {
        let mut config = StackConfig::default();
        config.addresses = vec![IpCidr::new(SERVER.into(), 8)];
        config.half_open_per_prefix = u32::MAX;
        config.max_connections = usize::MAX;
        config.memory_budget = Some(usize::MAX);
        config.max_time_wait = usize::MAX;
        config.timestamps = false;
        let now = Timestamp::START;
        let stack = Stack::new(Arc::new(config), [7; 32], now);
        Ok(Self { stack, now, count, peers: Vec::with_capacity(count as usize), next: 0 })
    }

    /// A tenth of what is open, for what need not be done with all.
    fn some(&self) -> u32 {
        self.count / 10
    }

    pub(super) fn run(mut self, gauge: &mut Gauge) -> io::Result<()> {
        self.open(gauge)?;
        self.exchange(gauge)?;
        self.connect(gauge)?;
        self.local(gauge)?;
        self.retransmit(gauge)?;
        self.keep_alive(gauge);
        self.close_listener(gauge)?;
        self.close(gauge);
        self.shut_down(gauge);
        let left = self.stack.sizes().connections;
        let begin = Instant::now();
        drop(self.stack);
        println!("the stack with {left} connections left is dropped in {:?}", begin.elapsed());
        Ok(())
    }

    fn listen(&mut self, port: u16) -> io::Result<ListenerId> {
        let mut options = SocketOptions::default();
        options.keep_alive = Some(KeepAlive { idle: IDLE, ..KeepAlive::default() });
        let address = SocketAddr::from((SERVER, port));
        self.stack.listen(address, self.count as usize, options).map_err(io::Error::other)
    }

    fn new_peer(&mut self, port: u16) -> Peer {
        let peer = Peer::new(self.next, port);
        self.next += 1;
        peer
    }

    /// Everything that the stack has to send and to tell.
    fn drain(&mut self, gauge: &mut Gauge) -> Option<Transmit> {
        self.drain_as(gauge, Kind::PacketOut)
    }

    fn drain_as(&mut self, gauge: &mut Gauge, kind: Kind) -> Option<Transmit> {
        let now = self.now;
        let mut last = None;
        loop {
            match gauge.time(kind, || self.stack.poll_transmit(now)) {
                Some(packet) => last = Some(packet),
                // There may be more that waits for another call.
                None if self.stack.has_output() => {}
                None => break,
            }
        }
        while gauge.time(Kind::Event, || self.stack.poll_event()).is_some() {}
        last
    }

    /// A peer's SYN and its answer.
    fn half_open(&mut self, gauge: &mut Gauge, port: u16) -> io::Result<Peer> {
        let mut peer = self.new_peer(port);
        let (now, syn) = (self.now, peer.syn());
        gauge.time(Kind::SynIn, || self.stack.handle_packet(now, syn));
        let syn_ack = self.drain(gauge).ok_or_else(|| io::Error::other("a SYN was not answered"))?;
        peer.hears(&syn_ack);
        Ok(peer)
    }

    /// A handshake, up to the accept queue.
    fn establish(&mut self, gauge: &mut Gauge, port: u16) -> io::Result<Peer> {
        let peer = self.half_open(gauge, port)?;
        let (now, ack) = (self.now, peer.ack());
        gauge.time(Kind::HandshakeIn, || self.stack.handle_packet(now, ack));
        self.drain(gauge);
        Ok(peer)
    }

    fn open(&mut self, gauge: &mut Gauge) -> io::Result<()> {
        let listener = self.listen(PORT)?;
        let watched_from = (self.count as usize).saturating_sub(gauge.sample());
        for n in 0..self.count as usize {
            gauge.watch(n >= watched_from);
            let mut peer = self.establish(gauge, PORT)?;
            let now = self.now;
            let accepted = gauge.time(Kind::Accept, || self.stack.accept(now, listener));
            peer.id = accepted.map_err(io::Error::other)?.map(|(id, _)| id);
            self.peers.push(peer);
        }
        gauge.watch(true);
        Ok(())
    }

    /// A permutation of the peers that no cache foresees.
    fn scattered(&self, n: u32) -> usize {
        usize::try_from(u64::from(n) * 2_654_435_761 % u64::from(self.count.max(1))).unwrap_or(0)
    }

    /// A request in, its answer out, and that acknowledged.
    fn exchange(&mut self, gauge: &mut Gauge) -> io::Result<()> {
        for n in 0..self.some() {
            let place = self.scattered(n);
            let Some(mut peer) = self.peers.get(place).copied() else { continue };
            let Some(id) = peer.id else { continue };
            let (now, data) = (self.now, peer.data(&MESSAGE));
            gauge.time(Kind::DataIn, || self.stack.handle_packet(now, data));
            self.drain(gauge);
            let read = gauge.time(Kind::Recv, || self.stack.recv(now, id, MESSAGE.len()));
            read.map_err(io::Error::other)?;
            let sent = gauge.time(Kind::Send, || self.stack.send(now, id, &MESSAGE, SendFlags::default()));
            let sent = sent.map_err(io::Error::other)?;
            self.drain(gauge);
            peer.ack += u32::try_from(sent).unwrap_or(0);
            let ack = peer.ack();
            self.stack.handle_packet(now, ack);
            self.drain(gauge);
            self.put(place, peer);
        }
        Ok(())
    }

    fn put(&mut self, place: usize, peer: Peer) {
        if let Some(home) = self.peers.get_mut(place) {
            *home = peer;
        }
    }

    /// Connections that we open. Nobody answers, and they are given up again.
    fn connect(&mut self, gauge: &mut Gauge) -> io::Result<()> {
        let mut ids = Vec::new();
        for n in 0..self.some() {
            let remote = SocketAddr::from((Ipv4Addr::from_bits(0x0c00_0000 + n / 10_000), 80));
            let now = self.now;
            let id =
                gauge.time(Kind::Connect, || self.stack.connect(now, None, remote, SocketOptions::default()));
            ids.push(id.map_err(io::Error::other)?);
            self.drain(gauge);
        }
        for id in ids {
            let now = self.now;
            gauge.time(Kind::Close, || self.stack.close(now, id));
            self.drain(gauge);
        }
        Ok(())
    }

    /// Connections between our own addresses, whose buffers are filled at once.
    fn local(&mut self, gauge: &mut Gauge) -> io::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let pairs = self.some().min(1000);
        let options = SocketOptions::default;
        let listener = self.stack.listen(address, pairs as usize, options()).map_err(io::Error::other)?;
        let mut clients = Vec::new();
        for _ in 0..pairs {
            let client = self.stack.connect(self.now, None, address, options()).map_err(io::Error::other)?;
            clients.push(client);
        }
        self.drain_as(gauge, Kind::Local);
        for _ in 0..20 {
            for client in &clients {
                let _full = self.stack.send(self.now, *client, &[0x5a; 65_536], SendFlags::default());
            }
            self.drain_as(gauge, Kind::Local);
        }
        for client in clients {
            self.stack.abort(self.now, client);
            self.stack.close(self.now, client);
        }
        self.drain_as(gauge, Kind::Local);
        self.stack.close_listener(self.now, listener);
        self.expire(gauge, Kind::ListenersRest);
        Ok(())
    }

    /// Does all that is due.
    fn expire(&mut self, gauge: &mut Gauge, kind: Kind) {
        let now = self.now;
        while gauge.time(Kind::NextTimeout, || self.stack.poll_timeout()).is_some_and(|due| due <= now) {
            gauge.time(kind, || self.stack.handle_timeout(now));
            self.drain(gauge);
        }
    }

    /// A tenth of all send something, and all of it is lost.
    fn retransmit(&mut self, gauge: &mut Gauge) -> io::Result<()> {
        for n in 0..self.some() {
            let place = self.scattered(n);
            let Some(mut peer) = self.peers.get(place).copied() else { continue };
            let Some(id) = peer.id else { continue };
            let sent =
                self.stack.send(self.now, id, &MESSAGE, SendFlags::default()).map_err(io::Error::other)?;
            peer.ack += u32::try_from(sent).unwrap_or(0);
            self.drain(gauge);
            self.put(place, peer);
        }
        // By Nagle's algorithm another byte waits until that is acknowledged.
        for n in 0..self.some() {
            let Some(peer) = self.peers.get(self.scattered(n)).copied() else { continue };
            let Some(id) = peer.id else { continue };
            self.stack.send(self.now, id, b"x", SendFlags::default()).map_err(io::Error::other)?;
        }
        self.drain_as(gauge, Kind::NothingOut);
        self.now += Duration::from_secs(3);
        self.expire(gauge, Kind::Retransmit);
        for n in 0..self.some() {
            if let Some(peer) = self.peers.get(self.scattered(n)).copied() {
                self.stack.handle_packet(self.now, peer.ack());
                self.drain(gauge);
            }
        }
        Ok(())
    }

    /// All have been idle for as long, and are probed at once.
    fn keep_alive(&mut self, gauge: &mut Gauge) {
        self.now += IDLE + Duration::from_secs(10);
        self.expire(gauge, Kind::KeepAlive);
    }

    /// A listener is closed for which a tenth of all wait, and as many handshakes.
    fn close_listener(&mut self, gauge: &mut Gauge) -> io::Result<()> {
        let listener = self.listen(DOOMED)?;
        for _ in 0..self.some() {
            self.establish(gauge, DOOMED)?;
        }
        for _ in 0..self.some() {
            self.half_open(gauge, DOOMED)?;
        }
        let now = self.now;
        gauge.time(Kind::CloseListener, || self.stack.close_listener(now, listener));
        self.drain(gauge);
        self.expire(gauge, Kind::ListenersRest);
        Ok(())
    }

    /// Half of them are closed by us, then by their peers, and leave TIME-WAIT together.
    fn close(&mut self, gauge: &mut Gauge) {
        let now = self.now;
        for n in 0..self.count / 2 {
            let Some(mut peer) = self.peers.get(self.scattered(n)).copied() else { continue };
            let Some(id) = peer.id else { continue };
            gauge.time(Kind::Close, || self.stack.close(now, id));
            self.drain(gauge);
            peer.ack += 1;
            let fin = peer.fin();
            gauge.time(Kind::FinIn, || self.stack.handle_packet(now, fin));
            self.drain(gauge);
        }
        self.now += Duration::from_secs(61);
        self.expire(gauge, Kind::TimeWaitOver);
    }

    /// The rest end together.
    fn shut_down(&mut self, gauge: &mut Gauge) {
        let now = self.now;
        gauge.time(Kind::ShutDown, || self.stack.shut_down(now));
        self.drain(gauge);
        self.expire(gauge, Kind::ShutDownRest);
    }
}
