//! Connections opened, used and closed: the application does what events tell it to, as tasks do.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ropeway_core::{
    ConnectionId, Event, ListenerId, Readiness, RecvError, SendFlags, SocketOptions, Stack, StackConfig,
    Timestamp,
};

use super::super::{CLIENT, Churn, Churned, MTU, PORT, Progress, SERVER, TICK};
use super::{Link, stack, turn};

/// How long the client's end stays in TIME-WAIT: some thousand entries are there at each moment, come and go in the
/// run, and leave ports free.
const TIME_WAIT: Duration = Duration::from_millis(50);

/// Connections that are opened at a time before the run.
const BATCH: usize = 500;

/// After so long, nothing of a handshake is left to be done.
const SETTLED: Duration = Duration::from_secs(5);

/// Idle connections to one port of the server's: fewer than the client has ports.
const TO_ONE_PORT: usize = 60_000;

/// Both ends and what joins them.
pub(in super::super) struct Ends {
    churn: Churn,
    now: Timestamp,
    client: Client,
    server: Stack,
    listener: ListenerId,
    to_server: Link,
    to_client: Link,
}

impl Ends {
    /// Makes both ends, and the connections that stay idle.
    pub(in super::super) fn new(churn: Churn) -> io::Result<Self> {
        let now = Timestamp::START;
        let config = |config: &mut StackConfig| {
            config.timestamps = churn.timestamps;
            config.time_wait = TIME_WAIT;
            config.ephemeral_ports = 1024..=u16::MAX;
            // Both ends have one address each, and may have a million connections.
            config.max_connections = usize::MAX;
            config.half_open_per_prefix = u32::MAX;
            config.memory_budget = Some(usize::MAX);
        };
        let (client, mut server) = (stack(CLIENT, now, config), stack(SERVER, now, config));
        let client = Client { stack: client, opened: 0, closed: 0 };
        let listener = server.listen(address(0), 1024, SocketOptions::default()).map_err(io::Error::other)?;
        let (to_server, to_client) = (Link::new(MTU), Link::new(MTU));
        let mut ends = Self { churn, now, client, server, listener, to_server, to_client };
        ends.open_idle()?;
        Ok(ends)
    }

    fn open_idle(&mut self) -> io::Result<()> {
        let mut progress = Progress::default();
        let (mut opened, mut listener) = (0, None);
        while opened < self.churn.idle {
            let port = 1 + opened / TO_ONE_PORT;
            if opened % TO_ONE_PORT == 0 {
                let next = self.server.listen(address(port), 1024, SocketOptions::default());
                listener = Some(next.map_err(io::Error::other)?);
            }
            let Some(listener) = listener else { break };
            let end = (port * TO_ONE_PORT).min(self.churn.idle).min(opened + BATCH);
            for _ in opened..end {
                self.client.open(self.now, address(port))?;
            }
            while opened < end {
                self.turn();
                while self.client.stack.poll_event().is_some() || self.server.poll_event().is_some() {}
                while self.server.accept(self.now, listener).map_err(io::Error::other)?.is_some() {
                    opened += 1;
                }
                progress.check(opened as u64)?;
            }
        }
        self.client.opened = 0;
        self.now += SETTLED;
        let is_due = |stack: &Stack, now| stack.poll_timeout().is_some_and(|deadline| deadline <= now);
        while is_due(&self.client.stack, self.now) || is_due(&self.server, self.now) {
            self.turn();
        }
        Ok(())
    }

    fn turn(&mut self) {
        self.now += TICK;
        turn(&mut self.client.stack, self.now, &mut self.to_client, &mut self.to_server);
        turn(&mut self.server, self.now, &mut self.to_server, &mut self.to_client);
    }

    fn packets(&self) -> u64 {
        self.to_server.counts.total() + self.to_client.counts.total()
    }

    /// Opens and closes them.
    #[inline(never)]
    pub(in super::super) fn run(mut self) -> io::Result<Churned> {
        let (before, begin) = (self.packets(), Instant::now());
        let Churn { connections, at_once, .. } = self.churn;
        let mut progress = Progress::default();
        let (mut echoed, mut closed) = (0, 0);
        while closed < connections {
            self.now += TICK;
            let now = self.now;
            let client = &mut self.client;
            while client.opened < connections && client.opened - client.closed < at_once as u64 {
                client.open(now, address(0))?;
            }
            turn(&mut client.stack, now, &mut self.to_client, &mut self.to_server);
            client.advance(now)?;
            self.to_server.take(&mut client.stack, now);
            turn(&mut self.server, now, &mut self.to_server, &mut self.to_client);
            serve(&mut self.server, now, self.listener, &mut echoed, &mut closed)?;
            self.to_client.take(&mut self.server, now);
            progress.check(closed)?;
        }
        let wall = begin.elapsed();
        if (echoed, self.client.closed) != (connections, connections) {
            let closed = self.client.closed;
            return Err(io::Error::other(format!("{echoed} bytes came back, {closed} clients closed")));
        }
        Ok(Churned { packets: self.packets() - before, wall })
    }

    /// Sends a byte there and back so many times, on a connection of its own. Gives how long each took, in order of size.
    pub(in super::super) fn ping(mut self, exchanges: u64) -> io::Result<Vec<Duration>> {
        let id = self.client.open(self.now, address(0))?;
        (0..4).for_each(|_| self.turn());
        let mut times = Vec::with_capacity(usize::try_from(exchanges).unwrap_or_default());
        let (mut echoed, mut closed) = (0, 0);
        for _ in 0..exchanges {
            let begin = Instant::now();
            self.now += TICK;
            let (client, now) = (&mut self.client.stack, self.now);
            client.send(now, id, b"x", SendFlags::default()).map_err(io::Error::other)?;
            turn(client, now, &mut self.to_client, &mut self.to_server);
            turn(&mut self.server, now, &mut self.to_server, &mut self.to_client);
            serve(&mut self.server, now, self.listener, &mut echoed, &mut closed)?;
            self.to_client.take(&mut self.server, now);
            turn(client, now, &mut self.to_client, &mut self.to_server);
            while client.poll_event().is_some() {}
            let byte = client.recv(now, id, 64).map_err(io::Error::other)?;
            if byte.len() != 1 {
                return Err(io::Error::other(format!("{} bytes came back", byte.len())));
            }
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        Ok(times)
    }
}

/// The server's ports: the first is for what is measured.
fn address(number: usize) -> SocketAddr {
    SocketAddr::from((SERVER, PORT.saturating_add(u16::try_from(number).unwrap_or(u16::MAX))))
}

/// The end that connects.
struct Client {
    stack: Stack,
    opened: u64,
    closed: u64,
}

impl Client {
    fn open(&mut self, now: Timestamp, server: SocketAddr) -> io::Result<ConnectionId> {
        self.opened += 1;
        self.stack.connect(now, None, server, SocketOptions::default()).map_err(io::Error::other)
    }

    /// A byte to each that has opened; those whose byte has come back are closed.
    fn advance(&mut self, now: Timestamp) -> io::Result<()> {
        while let Some(event) = self.stack.poll_event() {
            let Event::Ready(id, ready) = event else { continue };
            if ready.contains(Readiness::ERROR) {
                return Err(io::Error::other(format!(
                    "a connection failed: {:?}",
                    self.stack.take_error(id)
                )));
            }
            if ready.contains(Readiness::READABLE) {
                let byte = self.stack.recv(now, id, 64).map_err(io::Error::other)?;
                if byte.len() != 1 {
                    return Err(io::Error::other(format!("{} bytes came back", byte.len())));
                }
                self.stack.close(now, id);
                self.closed += 1;
            } else if ready.contains(Readiness::WRITABLE) {
                self.stack.send(now, id, b"x", SendFlags::default()).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }
}

/// Accepts, sends back what came, and closes what the client has closed.
fn serve(
    server: &mut Stack,
    now: Timestamp,
    listener: ListenerId,
    echoed: &mut u64,
    closed: &mut u64,
) -> io::Result<()> {
    while let Some(event) = server.poll_event() {
        match event {
            Event::Acceptable(_) => {
                while let Some((id, _)) = server.accept(now, listener).map_err(io::Error::other)? {
                    echo(server, now, id, echoed, closed)?;
                }
            }
            Event::Ready(id, _) => echo(server, now, id, echoed, closed)?,
            _ => {}
        }
    }
    Ok(())
}

fn echo(
    server: &mut Stack,
    now: Timestamp,
    id: ConnectionId,
    echoed: &mut u64,
    closed: &mut u64,
) -> io::Result<()> {
    loop {
        match server.recv(now, id, 64) {
            Ok(end) if end.is_empty() => {
                server.close(now, id);
                *closed += 1;
                return Ok(());
            }
            Ok(bytes) => {
                for part in bytes.parts() {
                    *echoed += part.len() as u64;
                    server.send(now, id, part, SendFlags::default()).map_err(io::Error::other)?;
                }
            }
            // What was told may be over: the connection has ended since, or waits to be accepted.
            Err(RecvError::WouldBlock | RecvError::NotConnected) => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}
