//! Connections opened, used and closed: a number of sockets on each end, looked at in turn, as smoltcp's users do.

use std::io;

use smoltcp::socket::tcp::State;
use smoltcp::time::Instant;

use super::super::{CLIENT, Churn, Churned, MTU, PORT, Progress, SERVER, TICK};
use super::{Direction, Endpoint};

/// Of each socket, in bytes.
const BUFFER: usize = 4096;
/// Listening sockets for each connection that is open at a time: with one, the next SYN meets the last connection's
/// end, and is refused.
const LISTENING: usize = 2;
/// The clients' ports, in turn: all that a client can have.
const FIRST_PORT: u16 = 1024;

/// Where connections that stay idle go.
const IDLE_PORT: u16 = PORT + 1;

/// Both ends and what joins them.
pub(in super::super) struct Ends {
    churn: Churn,
    now: Instant,
    client: Client,
    server: Endpoint,
    /// How many of the server's sockets are for the run.
    listening: usize,
    to_server: Direction,
    to_client: Direction,
}

impl Ends {
    /// Makes both ends, and the connections that stay idle.
    pub(in super::super) fn new(churn: Churn) -> io::Result<Self> {
        let (to_server, to_client) = (Direction::new(MTU), Direction::new(MTU));
        let Churn { at_once, idle, .. } = churn;
        let listening = LISTENING * at_once;
        let endpoint = Endpoint::new(CLIENT, &to_client, &to_server, at_once + idle, BUFFER);
        let server = Endpoint::new(SERVER, &to_server, &to_client, listening + idle, BUFFER);
        let client = Client { endpoint, sent: vec![true; at_once], opened: 0, closed: 0, port: FIRST_PORT };
        let mut ends = Self { churn, now: Instant::ZERO, client, server, listening, to_server, to_client };
        ends.open_idle()?;
        Ok(ends)
    }

    fn open_idle(&mut self) -> io::Result<()> {
        for n in 0..self.churn.idle {
            self.server.socket(self.listening + n)?.listen(IDLE_PORT).map_err(io::Error::other)?;
            self.client.endpoint.connect(
                self.churn.at_once + n,
                IDLE_PORT,
                u16::try_from(n).map_or(FIRST_PORT, |n| FIRST_PORT.saturating_add(n)),
            )?;
            for _ in 0..3 {
                self.poll();
            }
            if !self.server.socket(self.listening + n)?.may_send() {
                return Err(io::Error::other("an idle connection did not open"));
            }
        }
        Ok(())
    }

    fn poll(&mut self) {
        self.now += TICK.into();
        self.client.endpoint.poll(self.now);
        self.server.poll(self.now);
    }

    fn packets(&self) -> u64 {
        self.to_server.wire.borrow().counts.total() + self.to_client.wire.borrow().counts.total()
    }

    /// Opens and closes them.
    #[inline(never)]
    pub(in super::super) fn run(mut self) -> io::Result<Churned> {
        let (before, begin) = (self.packets(), std::time::Instant::now());
        let connections = self.churn.connections;
        let mut progress = Progress::default();
        let (mut echoed, mut closed) = (0, 0);
        self.serve(&mut echoed, &mut closed)?;
        while closed < connections {
            self.client.advance(self.churn)?;
            self.poll();
            self.serve(&mut echoed, &mut closed)?;
            self.server.poll(self.now);
            self.client.endpoint.poll(self.now);
            progress.check(closed)?;
        }
        let wall = begin.elapsed();
        if (echoed, self.client.closed) != (connections, connections) {
            let closed = self.client.closed;
            return Err(io::Error::other(format!("{echoed} bytes came back, {closed} clients closed")));
        }
        Ok(Churned { packets: self.packets() - before, wall })
    }

    /// Sends back what came, closes what the client has closed, and listens again.
    fn serve(&mut self, echoed: &mut u64, closed: &mut u64) -> io::Result<()> {
        for n in 0..self.listening {
            let socket = self.server.socket(n)?;
            while socket.can_recv() && socket.can_send() {
                let mut bytes = [0; 64];
                let read = socket.recv_slice(&mut bytes).map_err(io::Error::other)?;
                socket.send_slice(bytes.get(..read).unwrap_or_default()).map_err(io::Error::other)?;
                *echoed += read as u64;
            }
            if socket.state() == State::CloseWait {
                socket.close();
                *closed += 1;
            }
            if !socket.is_open() {
                socket.listen(PORT).map_err(io::Error::other)?;
            }
        }
        Ok(())
    }
}

/// The end that connects.
struct Client {
    endpoint: Endpoint,
    /// Whether each socket's byte has been sent.
    sent: Vec<bool>,
    opened: u64,
    closed: u64,
    port: u16,
}

impl Client {
    /// A byte on each that has opened; those whose byte has come back are closed, and those that are over connect
    /// again. TIME-WAIT does not keep a socket of smoltcp's from that.
    fn advance(&mut self, churn: Churn) -> io::Result<()> {
        for n in 0..self.sent.len() {
            let Some(sent) = self.sent.get_mut(n) else { continue };
            let socket = self.endpoint.socket(n)?;
            if !*sent && socket.can_send() {
                socket.send_slice(b"x").map_err(io::Error::other)?;
                *sent = true;
            } else if socket.can_recv() {
                let mut byte = [0; 64];
                let came_back = socket.recv_slice(&mut byte).map_err(io::Error::other)?;
                if came_back != 1 {
                    return Err(io::Error::other(format!("{came_back} bytes came back")));
                }
                socket.close();
                self.closed += 1;
            } else if !socket.is_open() {
                if !*sent {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                if self.opened < churn.connections {
                    *sent = false;
                    self.opened += 1;
                    self.endpoint.connect(n, PORT, self.port)?;
                    self.port = self.port.checked_add(1).unwrap_or(FIRST_PORT);
                }
            }
        }
        Ok(())
    }
}
