//! A well-behaved connection over a path of its own: it opens, sends small messages to and fro, then megabytes either way.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ropeway_core::{
    ConnectionId, IpCidr, PacketPool, Received, RecvError, SendError, SendFlags, SocketOptions, Stack,
    StackConfig, Timestamp, Transmit,
};
use serde::{Deserialize, Serialize};

use crate::carry::carry;
use crate::{PORT, SERVER};

/// Its address, in a network of its own.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The path: 100 Mbit/s, and 10 ms each way.
const NANOS_PER_BYTE: u64 = 80;
const DELAY: Duration = Duration::from_millis(10);

const MESSAGES: usize = 20;
const MESSAGE: usize = 100;
/// What it sends, and receives then.
const BULK: usize = 10_000_000;

/// What it got.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct Service {
    /// Until the connection was open, in milliseconds; nothing, if it was not.
    pub(super) connect: Option<f64>,
    /// There and back, for the slowest message, in milliseconds.
    pub(super) slowest: Option<f64>,
    /// Mbit/s to the server, and from it.
    pub(super) upload: Option<f64>,
    pub(super) download: Option<f64>,
}

/// What it does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connect,
    Message(usize),
    Upload,
    Download,
    Done,
}

/// See the [module](self).
pub(super) struct Honest {
    stack: Stack,
    id: ConnectionId,
    /// Its other end.
    server: Option<ConnectionId>,
    to_server: Path,
    to_client: Path,
    phase: Phase,
    since: Timestamp,
    /// What of this phase was written and read, there and back.
    written: [usize; 2],
    read: [usize; 2],
    service: Service,
}

impl Honest {
    /// It connects now.
    pub(super) fn start(now: Timestamp) -> io::Result<Self> {
        let mut config = StackConfig::default();
        config.addresses = vec![IpCidr::new(ADDRESS.into(), 24)];
        let mut stack = Stack::new(Arc::new(config), [8; 32], now);
        let server = SocketAddr::from((SERVER, PORT));
        let id = stack.connect(now, None, server, SocketOptions::default()).map_err(io::Error::other)?;
        Ok(Self {
            stack,
            id,
            server: None,
            to_server: Path::new(),
            to_client: Path::new(),
            phase: Phase::Connect,
            since: now,
            written: [0; 2],
            read: [0; 2],
            service: Service::default(),
        })
    }

    /// The server has accepted it.
    pub(super) fn accepted(&mut self, id: ConnectionId) {
        self.server = Some(id);
    }

    /// The server has sent it a packet.
    pub(super) fn is_sent(&mut self, now: Timestamp, transmit: &Transmit) {
        self.to_client.enter(now, transmit);
    }

    /// When something happens next.
    pub(super) fn next(&self) -> Option<Timestamp> {
        let times = [self.stack.poll_timeout(), self.to_server.next(), self.to_client.next()];
        times.into_iter().flatten().min()
    }

    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    /// What it got until now.
    pub(super) fn service(&self, now: Timestamp) -> Service {
        let rate = self.rate(now.since(self.since));
        match self.phase {
            Phase::Upload => Service { upload: Some(rate), ..self.service },
            Phase::Download => Service { download: Some(rate), ..self.service },
            _ => self.service,
        }
    }

    /// How fast what has been read in this phase was, in Mbit/s.
    fn rate(&self, took: Duration) -> f64 {
        (self.read[0] + self.read[1]) as f64 * 8.0 / 1e6 / took.as_secs_f64()
    }

    pub(super) fn id(&self) -> Option<ConnectionId> {
        self.server
    }

    /// Does what is due, and what both programs can do.
    pub(super) fn turn(&mut self, server: &mut Stack, now: Timestamp) -> io::Result<()> {
        while let Some(packet) = self.to_server.arrival(now) {
            server.handle_packet(now, packet);
        }
        while let Some(packet) = self.to_client.arrival(now) {
            self.stack.handle_packet(now, packet);
        }
        if self.stack.poll_timeout().is_some_and(|due| due <= now) {
            self.stack.handle_timeout(now);
        }
        self.work(server, now)?;
        while let Some(transmit) = self.stack.poll_transmit(now) {
            self.to_server.enter(now, &transmit);
        }
        while self.stack.poll_event().is_some() {}
        Ok(())
    }

    /// Both programs do what they can.
    fn work(&mut self, server: &mut Stack, now: Timestamp) -> io::Result<()> {
        if !self.stack.is_connected(self.id) {
            return Ok(());
        }
        loop {
            let before = (self.phase, self.written, self.read);
            let (there, back) = match self.phase {
                Phase::Message(_) => (MESSAGE, MESSAGE.min(self.read[0])),
                Phase::Upload => (BULK, 0),
                Phase::Download => (0, BULK),
                Phase::Connect | Phase::Done => (0, 0),
            };
            let ([written_there, written_back], [read_there, read_back]) =
                (&mut self.written, &mut self.read);
            write(&mut self.stack, now, self.id, there, written_there)?;
            if let Some(id) = self.server {
                write(server, now, id, back, written_back)?;
                read(server, now, id, read_there)?;
            }
            read(&mut self.stack, now, self.id, read_back)?;
            if let Some(next) = self.over(now.since(self.since)) {
                (self.phase, self.since) = (next, now);
                (self.written, self.read) = ([0; 2], [0; 2]);
            }
            if (self.phase, self.written, self.read) == before {
                return Ok(());
            }
        }
    }

    /// Notes what a phase came to that took so long, if it is over. Gives the next one.
    fn over(&mut self, took: Duration) -> Option<Phase> {
        let rate = self.rate(took);
        let service = &mut self.service;
        match (self.phase, self.read) {
            (Phase::Connect, _) => {
                service.connect = Some(millis(took));
                Some(Phase::Message(0))
            }
            (Phase::Message(n), [MESSAGE, MESSAGE]) => {
                service.slowest = Some(service.slowest.unwrap_or(0.0).max(millis(took)));
                Some(if n + 1 < MESSAGES { Phase::Message(n + 1) } else { Phase::Upload })
            }
            (Phase::Upload, [BULK, 0]) => {
                service.upload = Some(rate);
                Some(Phase::Download)
            }
            (Phase::Download, [0, BULK]) => {
                service.download = Some(rate);
                Some(Phase::Done)
            }
            _ => None,
        }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Writes until so much has been written, as far as there is room.
fn write(
    stack: &mut Stack,
    now: Timestamp,
    id: ConnectionId,
    all: usize,
    done: &mut usize,
) -> io::Result<()> {
    static BLOCK: [u8; 16 * 1024] = [0x5a; 16 * 1024];
    while *done < all {
        let block = BLOCK.get(..all - *done).unwrap_or(&BLOCK);
        match stack.send(now, id, block, SendFlags::default()) {
            Ok(taken) => *done += taken,
            Err(SendError::WouldBlock) => break,
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Ok(())
}

fn read(stack: &mut Stack, now: Timestamp, id: ConnectionId, done: &mut usize) -> io::Result<()> {
    loop {
        match stack.recv(now, id, usize::MAX) {
            Ok(bytes) => *done += bytes.len(),
            Err(RecvError::WouldBlock) => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

/// One direction: a queue without bounds in front of a wire that loses nothing.
struct Path {
    /// In nanoseconds.
    busy_until: u64,
    flying: VecDeque<(Timestamp, Received)>,
    pool: PacketPool,
}

impl Path {
    fn new() -> Self {
        Self { busy_until: 0, flying: VecDeque::new(), pool: PacketPool::new(1500) }
    }

    fn enter(&mut self, now: Timestamp, transmit: &Transmit) {
        let packet = carry(transmit, &mut self.pool);
        let start = self.busy_until.max(now.as_micros() * 1000);
        self.busy_until = start + transmit.len() as u64 * NANOS_PER_BYTE;
        self.flying.push_back((Timestamp::from_micros(self.busy_until.div_ceil(1000)) + DELAY, packet));
    }

    fn next(&self) -> Option<Timestamp> {
        self.flying.front().map(|(at, _)| *at)
    }

    fn arrival(&mut self, now: Timestamp) -> Option<Received> {
        self.flying.pop_front_if(|(at, _)| *at <= now).map(|(_, packet)| packet)
    }
}
