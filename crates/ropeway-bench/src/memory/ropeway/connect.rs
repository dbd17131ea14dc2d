//! Connections opened, used and closed: the application does what events tell it to, as tasks do.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ropeway_core::{
    ConnectionId, Event, ListenerId, Readiness, RecvError, SendFlags, SocketOptions, Stack, StackConfig,
    Timestamp,
};

use super::super::{CLIENT, Churn, PORT, Progress, SERVER, TICK};
use super::{Link, stack, turn};

/// How long the client's end stays in TIME-WAIT: some thousand entries are there at each moment, come and go in the
/// run, and leave ports free.
const TIME_WAIT: Duration = Duration::from_millis(50);

/// Opens and closes what `churn` says. Answers how many packets that took.
#[inline(never)]
pub(in super::super) fn run(churn: Churn) -> io::Result<u64> {
    let mut now = Timestamp::START;
    let config = |config: &mut StackConfig| {
        config.timestamps = churn.timestamps;
        config.time_wait = TIME_WAIT;
        config.ephemeral_ports = 1024..=u16::MAX;
    };
    let (mut client, mut server) = (Client::new(stack(CLIENT, now, config)), stack(SERVER, now, config));
    let address = SocketAddr::from((SERVER, PORT));
    let listener = server.listen(address, 1024, SocketOptions::default()).map_err(io::Error::other)?;
    let (mut to_server, mut to_client) = (Link::new(), Link::new());
    let mut progress = Progress::default();
    let (mut echoed, mut closed) = (0, 0);
    while closed < churn.connections {
        now += TICK;
        client.open(now, address, churn)?;
        turn(&mut client.stack, now, &mut to_client, &mut to_server);
        client.advance(now)?;
        to_server.take(&mut client.stack, now);
        turn(&mut server, now, &mut to_server, &mut to_client);
        serve(&mut server, now, listener, &mut echoed, &mut closed)?;
        to_client.take(&mut server, now);
        progress.check(closed)?;
    }
    if (echoed, client.closed) != (churn.connections, churn.connections) {
        return Err(io::Error::other(format!("{echoed} bytes came back, {} clients closed", client.closed)));
    }
    Ok(to_server.wire.total() + to_client.wire.total())
}

/// The end that connects.
struct Client {
    stack: Stack,
    opened: u64,
    closed: u64,
}

impl Client {
    fn new(stack: Stack) -> Self {
        Self { stack, opened: 0, closed: 0 }
    }

    fn open(&mut self, now: Timestamp, server: SocketAddr, churn: Churn) -> io::Result<()> {
        while self.opened < churn.connections && self.opened - self.closed < churn.at_once as u64 {
            let options = SocketOptions::default();
            self.stack.connect(now, None, server, options).map_err(io::Error::other)?;
            self.opened += 1;
        }
        Ok(())
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
