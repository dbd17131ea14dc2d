//! What a connection costs, call by call: opened, used for a byte there and back, closed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use clap::ValueEnum;
use ropeway_core::{ConnectionId, ListenerId, SendFlags, SocketOptions, Stack, Timestamp, Transmit};

use super::paths::{CLIENT, CONNECTIONS, PORT, TICK, carry, either, stack};
use crate::steps::peers::SERVER;

/// A call on the way of a connection, in their order. The client opens it and closes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Step {
    Connect,
    SynOut,
    SynIn,
    SynAckOut,
    SynAckIn,
    Send,
    /// The third segment, with the client's byte.
    FirstOut,
    FirstIn,
    Accept,
    Recv,
    Answer,
    AnswerOut,
    AnswerIn,
    RecvAnswer,
    Close,
    FinOut,
    FinIn,
    RecvEnd,
    CloseToo,
    LastFinOut,
    /// The client is in TIME-WAIT.
    LastFinIn,
    LastAckOut,
    LastAckIn,
    /// TIME-WAIT is over.
    TimeWaitEnds,
}

impl Step {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connection: connect",
            Self::SynOut => "connection: SYN out",
            Self::SynIn => "connection: SYN in",
            Self::SynAckOut => "connection: SYN-ACK out",
            Self::SynAckIn => "connection: SYN-ACK in",
            Self::Send => "connection: send",
            Self::FirstOut => "connection: ACK with data out",
            Self::FirstIn => "connection: ACK with data in, established",
            Self::Accept => "connection: accept",
            Self::Recv => "connection: recv",
            Self::Answer => "connection: send, the answer",
            Self::AnswerOut => "connection: answer out",
            Self::AnswerIn => "connection: answer in",
            Self::RecvAnswer => "connection: recv, the answer",
            Self::Close => "connection: close",
            Self::FinOut => "connection: FIN out",
            Self::FinIn => "connection: FIN in",
            Self::RecvEnd => "connection: recv, the end",
            Self::CloseToo => "connection: close, the other end",
            Self::LastFinOut => "connection: FIN out, the other end",
            Self::LastFinIn => "connection: FIN in, to TIME-WAIT",
            Self::LastAckOut => "connection: last ACK out",
            Self::LastAckIn => "connection: last ACK in",
            Self::TimeWaitEnds => "connection: TIME-WAIT ends",
        }
    }

    /// Goes through connections one after the other, and counts this step of each.
    pub(super) fn run(self) -> io::Result<()> {
        let mut ends = Ends::new()?;
        for _ in 0..CONNECTIONS {
            ends.connection(self)?;
        }
        Ok(())
    }
}

/// A client and a server.
struct Ends {
    now: Timestamp,
    client: Stack,
    server: Stack,
    listener: ListenerId,
}

impl Ends {
    fn new() -> io::Result<Self> {
        // As in a driver, whose tasks run before it does what is due.
        let end = |address: Ipv4Addr| stack(address, |config| config.events_first = true);
        let (client, mut server) = (end(CLIENT), end(SERVER));
        let listener = server.listen(address(), 1, SocketOptions::default()).map_err(io::Error::other)?;
        Ok(Self { now: Timestamp::START, client, server, listener })
    }

    fn connection(&mut self, counted: Step) -> io::Result<()> {
        let is = |step: Step| step == counted;
        let (flags, now) = (SendFlags::default(), self.now);
        let id = either(is(Step::Connect), || {
            self.client.connect(now, None, address(), SocketOptions::default()).map_err(io::Error::other)
        })?;
        self.client_sends(is(Step::SynOut), is(Step::SynIn))?;
        self.server_sends(is(Step::SynAckOut), is(Step::SynAckIn))?;
        either(is(Step::Send), || self.client.send(now, id, b"x", flags)).map_err(io::Error::other)?;
        self.client_sends(is(Step::FirstOut), is(Step::FirstIn))?;
        let accepted = either(is(Step::Accept), || self.server.accept(now, self.listener));
        let (accepted, _) =
            accepted.map_err(io::Error::other)?.ok_or_else(|| missing("a connection to accept"))?;
        recv(is(Step::Recv), &mut self.server, now, accepted, 1)?;
        either(is(Step::Answer), || self.server.send(now, accepted, b"x", flags))
            .map_err(io::Error::other)?;
        self.server_sends(is(Step::AnswerOut), is(Step::AnswerIn))?;
        recv(is(Step::RecvAnswer), &mut self.client, now, id, 1)?;
        either(is(Step::Close), || self.client.close(now, id));
        self.client_sends(is(Step::FinOut), is(Step::FinIn))?;
        recv(is(Step::RecvEnd), &mut self.server, now, accepted, 0)?;
        either(is(Step::CloseToo), || self.server.close(now, accepted));
        self.server_sends(is(Step::LastFinOut), is(Step::LastFinIn))?;
        self.client_sends(is(Step::LastAckOut), is(Step::LastAckIn))?;
        while self.client.sizes().time_wait > 0 {
            self.now = self.client.poll_timeout().ok_or_else(|| missing("TIME-WAIT"))?.max(self.now + TICK);
            either(is(Step::TimeWaitEnds), || self.client.handle_timeout(self.now));
            self.server.handle_timeout(self.now);
        }
        let left = self.client.sizes().connections + self.server.sizes().connections;
        if left == 0 { Ok(()) } else { Err(io::Error::other("something is left of a connection")) }
    }

    /// The client sends one packet, and the server takes it.
    fn client_sends(&mut self, out: bool, taken: bool) -> io::Result<()> {
        pass(&mut self.client, &mut self.server, self.now, (out, taken))
    }

    fn server_sends(&mut self, out: bool, taken: bool) -> io::Result<()> {
        pass(&mut self.server, &mut self.client, self.now, (out, taken))
    }
}

/// One packet, no more and no less, goes from one stack to the other. Which of both sides is counted?
fn pass(from: &mut Stack, to: &mut Stack, now: Timestamp, (out, taken): (bool, bool)) -> io::Result<()> {
    let packet: Option<Transmit> = either(out, || from.poll_transmit(now));
    let packet = carry(&packet.ok_or_else(|| missing("a packet"))?);
    if let Some(more) = from.poll_transmit(now) {
        return Err(io::Error::other(format!("there is a packet too many: {more:?}")));
    }
    either(taken, || to.handle_packet(now, packet));
    while from.poll_event().is_some() || to.poll_event().is_some() {}
    Ok(())
}

/// Reads so many bytes, which are all there are.
fn recv(counted: bool, stack: &mut Stack, now: Timestamp, id: ConnectionId, bytes: usize) -> io::Result<()> {
    let data = either(counted, || stack.recv(now, id, 64)).map_err(io::Error::other)?;
    if data.len() == bytes {
        Ok(())
    } else {
        Err(io::Error::other(format!("{} bytes were read instead of {bytes}", data.len())))
    }
}

fn address() -> SocketAddr {
    SocketAddr::from((SERVER, PORT))
}

fn missing(what: &str) -> io::Error {
    io::Error::other(format!("{what} is missing"))
}
