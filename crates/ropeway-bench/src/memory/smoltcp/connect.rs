//! Connections opened, used and closed: a number of sockets on each end, looked at in turn, as smoltcp's users do.

use std::io;

use smoltcp::socket::tcp::State;
use smoltcp::time::Instant;

use super::super::{CLIENT, Churn, PORT, Progress, SERVER, TICK};
use super::{Direction, Endpoint};

/// Of each socket, in bytes.
const BUFFER: usize = 4096;
/// Listening sockets for each connection that is open at a time: with one, the next SYN meets the last connection's
/// end, and is refused.
const LISTENING: usize = 2;
/// The clients' ports, in turn: all that a client can have.
const FIRST_PORT: u16 = 1024;

/// Opens and closes what `churn` says. Answers how many packets that took.
#[inline(never)]
pub(in super::super) fn run(churn: Churn) -> io::Result<u64> {
    let (to_server, to_client) = (Direction::new(), Direction::new());
    let endpoint = Endpoint::new(CLIENT, &to_client, &to_server, churn.at_once, BUFFER);
    let mut client =
        Client { endpoint, sent: vec![true; churn.at_once], opened: 0, closed: 0, port: FIRST_PORT };
    let mut server = Endpoint::new(SERVER, &to_server, &to_client, LISTENING * churn.at_once, BUFFER);
    let mut now = Instant::ZERO;
    let mut progress = Progress::default();
    let (mut echoed, mut closed) = (0, 0);
    serve(&mut server, &mut echoed, &mut closed)?;
    while closed < churn.connections {
        now += TICK.into();
        client.advance(churn)?;
        client.endpoint.poll(now);
        server.poll(now);
        serve(&mut server, &mut echoed, &mut closed)?;
        server.poll(now);
        client.endpoint.poll(now);
        progress.check(closed)?;
    }
    if (echoed, client.closed) != (churn.connections, churn.connections) {
        return Err(io::Error::other(format!("{echoed} bytes came back, {} clients closed", client.closed)));
    }
    Ok(to_server.wire.borrow().total() + to_client.wire.borrow().total())
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
        for n in 0..self.endpoint.handles.len() {
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
                    self.endpoint.connect(n, self.port)?;
                    self.port = self.port.checked_add(1).unwrap_or(FIRST_PORT);
                }
            }
        }
        Ok(())
    }
}

/// Sends back what came, closes what the client has closed, and listens again.
fn serve(server: &mut Endpoint, echoed: &mut u64, closed: &mut u64) -> io::Result<()> {
    for (_, socket) in server.sockets.iter_mut() {
        let smoltcp::socket::Socket::Tcp(socket) = socket;
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
