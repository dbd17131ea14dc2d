//! What the hosts' programs do: a flow from a sender to a receiver, over one connection or several.

use std::net::Shutdown;

use bytes::Bytes;
use ropeway_core::{
    ConnectionId, Event, ListenerId, RecvError, SendError, SendFlags, SocketOptions, Stack, TcpInfo,
    Timestamp,
};
use ropeway_sim::pipe::Micros;

use super::host::{Host, address};

/// What a flow is to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// The sender opens a connection and writes so many bytes.
    Bulk(u64),
    /// The sender writes for ever: the cell's time ends it.
    Endless,
    /// The receiver opens a connection and asks so many times, one after the other, for so many bytes.
    Turns { times: u32, bytes: u64 },
    /// The same with a connection for each.
    Connections { times: u32, bytes: u64 },
}

impl Work {
    /// Whether the receiver opens the connections, and asks.
    pub(crate) fn is_asked_for(self) -> bool {
        matches!(self, Self::Turns { .. } | Self::Connections { .. })
    }

    /// How many bytes the receiver gets in all, if there is an end.
    pub(crate) fn total(self) -> Option<u64> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            Self::Endless => None,
            Self::Turns { times, bytes } | Self::Connections { times, bytes } => {
                Some(u64::from(times) * bytes)
            }
        }
    }
}

/// The bytes of a request.
pub(crate) const REQUEST: u64 = 100;

/// What a sender writes at once: the same memory again and again.
static CHUNK: [u8; 1 << 18] = [0; 1 << 18];

/// What a reader takes at once.
const READ: usize = 1 << 20;

/// A flow at work.
#[derive(Debug)]
pub(super) struct FlowState {
    work: Work,
    number: usize,
    options: SocketOptions,
    pub(super) start: Micros,
    has_begun: bool,
    listener: Option<ListenerId>,
    sender: End,
    receiver: End,
    /// Bytes that the sender still has to write, and that were asked for since the last request was whole.
    owed: u64,
    asked: u64,
    /// Bytes that the receiver still has to write.
    to_ask: u64,
    /// Answers that are still to be had, the current one included.
    left: u32,
    /// Bytes of the current one.
    missing: u64,
    /// Bytes that the receiver has read.
    pub(super) received: u64,
    /// When it had read the last of them.
    pub(super) done: Option<Micros>,
    /// Connections that failed.
    pub(super) failed: u32,
}

/// One end of the flow.
#[derive(Clone, Copy, Debug)]
struct End {
    host: usize,
    connection: Option<ConnectionId>,
}

impl FlowState {
    pub(super) fn new(
        number: usize,
        work: Work,
        hosts: [usize; 2],
        start: Micros,
        options: SocketOptions,
    ) -> Self {
        let [sender, receiver] = hosts.map(|host| End { host, connection: None });
        let (left, missing) = match work {
            Work::Bulk(bytes) => (1, bytes),
            Work::Endless => (1, u64::MAX),
            Work::Turns { times, bytes } | Work::Connections { times, bytes } => (times, bytes),
        };
        Self {
            work,
            number,
            options,
            start,
            has_begun: false,
            listener: None,
            sender,
            receiver,
            owed: if work.is_asked_for() { 0 } else { missing },
            asked: 0,
            to_ask: 0,
            left,
            missing,
            received: 0,
            done: None,
            failed: 0,
        }
    }

    fn port(&self) -> u16 {
        5000 + u16::try_from(self.number).unwrap_or_default()
    }

    /// The host that opens the connections, and the other.
    pub(super) fn opener(&self) -> usize {
        if self.work.is_asked_for() { self.receiver.host } else { self.sender.host }
    }

    fn acceptor(&self) -> usize {
        if self.work.is_asked_for() { self.sender.host } else { self.receiver.host }
    }

    /// Nothing more will come of it. One without an end never keeps others waiting.
    pub(super) fn is_over(&self) -> bool {
        self.left == 0 || self.work == Work::Endless
    }

    pub(super) fn has_end(&self) -> bool {
        self.work != Work::Endless
    }

    /// When its program begins, if it has not.
    pub(super) fn next_start(&self) -> Option<Micros> {
        Some(self.start).filter(|_| !self.has_begun)
    }

    /// The program of the opening host begins.
    pub(super) fn begin(&mut self, stack: &mut Stack, now: Timestamp) {
        self.has_begun = true;
        self.open(stack, now);
    }

    /// What the sender's connection says of itself.
    pub(super) fn info(&self, now: Timestamp, hosts: &[Host]) -> Option<TcpInfo> {
        hosts.get(self.sender.host)?.stack.info(now, self.sender.connection?).ok()
    }

    /// The program of the accepting host begins.
    pub(super) fn listen(&mut self, hosts: &mut [Host]) {
        let local = (address(self.acceptor()), self.port()).into();
        let Some(host) = hosts.get_mut(self.acceptor()) else { return };
        self.listener = host.stack.listen(local, 16, self.options.clone()).ok();
    }

    fn open(&mut self, stack: &mut Stack, now: Timestamp) {
        let remote = (address(self.acceptor()), self.port()).into();
        let connection = stack.connect(now, None, remote, self.options.clone()).ok();
        if self.work.is_asked_for() {
            (self.receiver.connection, self.to_ask) = (connection, REQUEST);
            self.receive(stack, now);
        } else {
            self.sender.connection = connection;
            self.send(stack, now);
        }
    }

    /// Acts on the news of a host, if they are about this flow.
    pub(super) fn happen(&mut self, host: usize, stack: &mut Stack, now: Timestamp, event: Event) {
        match event {
            Event::Acceptable(listener) if host == self.acceptor() && Some(listener) == self.listener => {
                while let Ok(Some((connection, _))) = stack.accept(now, listener) {
                    self.accept(stack, now, connection);
                }
            }
            Event::Ready(id, _) if host == self.sender.host && Some(id) == self.sender.connection => {
                self.send(stack, now);
            }
            Event::Ready(id, _) if host == self.receiver.host && Some(id) == self.receiver.connection => {
                self.receive(stack, now);
            }
            _ => {}
        }
    }

    fn accept(&mut self, stack: &mut Stack, now: Timestamp, connection: ConnectionId) {
        if self.work.is_asked_for() {
            if let Some(before) = self.sender.connection.replace(connection) {
                stack.close(now, before);
            }
            (self.owed, self.asked) = (0, 0);
            self.send(stack, now);
        } else {
            self.receiver.connection = Some(connection);
            self.receive(stack, now);
        }
    }

    /// The sender's program: takes requests, and writes.
    fn send(&mut self, stack: &mut Stack, now: Timestamp) {
        let Some(id) = self.sender.connection else { return };
        let (asked, peer_is_done) = match drain(stack, now, id) {
            Ok(drained) => drained,
            Err(_) => {
                stack.close(now, id);
                self.sender.connection = None;
                if !self.work.is_asked_for() {
                    self.failed += 1;
                    self.left = 0;
                }
                return;
            }
        };
        self.asked += asked;
        if let Work::Turns { bytes, .. } | Work::Connections { bytes, .. } = self.work {
            self.owed += self.asked / REQUEST * bytes;
            self.asked %= REQUEST;
        }
        let writes_no_more = match self.work {
            Work::Bulk(_) | Work::Endless => true,
            Work::Turns { .. } => peer_is_done,
            Work::Connections { .. } => asked > 0 || peer_is_done,
        };
        let is_writable = write(stack, now, id, &mut self.owed);
        // RFC 9293 3.10.4: a connection that is closed before it is open is deleted.
        if is_writable && self.owed == 0 && writes_no_more && stack.is_connected(id) {
            // Again and again, which changes nothing.
            let _ = stack.shutdown(now, id, Shutdown::Write);
        }
    }

    /// The receiver's program: writes requests, reads and discards.
    fn receive(&mut self, stack: &mut Stack, now: Timestamp) {
        let Some(id) = self.receiver.connection else { return };
        write(stack, now, id, &mut self.to_ask);
        let drained = drain(stack, now, id);
        if let Ok((bytes, _)) = drained {
            self.received += bytes;
            self.missing = self.missing.saturating_sub(bytes);
            if self.missing == 0 && self.left > 0 {
                return self.answered(stack, now, id);
            }
        }
        match drained {
            Ok((_, false)) => {}
            Ok((_, true)) if self.left == 0 => self.leave(stack, now, id),
            // It ends, and something is missing.
            Ok((_, true)) | Err(_) => {
                self.failed += 1;
                self.leave(stack, now, id);
                self.next(stack, now);
            }
        }
    }

    /// All of an answer has been read.
    fn answered(&mut self, stack: &mut Stack, now: Timestamp, id: ConnectionId) {
        match self.work {
            Work::Turns { bytes, .. } if self.left > 1 => {
                (self.left, self.missing, self.to_ask) = (self.left - 1, bytes, REQUEST);
                write(stack, now, id, &mut self.to_ask);
            }
            _ => {
                self.leave(stack, now, id);
                self.next(stack, now);
            }
        }
    }

    fn leave(&mut self, stack: &mut Stack, now: Timestamp, id: ConnectionId) {
        stack.close(now, id);
        self.receiver.connection = None;
    }

    /// The next connection, if there is to be one.
    fn next(&mut self, stack: &mut Stack, now: Timestamp) {
        self.left = match self.work {
            Work::Connections { .. } => self.left.saturating_sub(1),
            _ => 0,
        };
        match self.work {
            Work::Connections { bytes, .. } if self.left > 0 => {
                self.missing = bytes;
                self.open(stack, now);
            }
            Work::Connections { .. } => self.done = Some(now.as_micros()),
            _ if self.missing == 0 => self.done = Some(now.as_micros()),
            _ => {}
        }
    }
}

/// Reads what is there. How many bytes, and whether they were the last.
fn drain(stack: &mut Stack, now: Timestamp, id: ConnectionId) -> Result<(u64, bool), RecvError> {
    let mut bytes = 0;
    loop {
        match stack.recv(now, id, READ) {
            Ok(payload) if payload.is_empty() => return Ok((bytes, true)),
            Ok(payload) => bytes += payload.len() as u64,
            Err(RecvError::WouldBlock | RecvError::NotConnected) => return Ok((bytes, false)),
            Err(error) => return Err(error),
        }
    }
}

/// Writes as much as there is room for. Whether the connection can still be written to.
fn write(stack: &mut Stack, now: Timestamp, id: ConnectionId, owed: &mut u64) -> bool {
    while *owed > 0 {
        let len = usize::try_from(*owed).unwrap_or(usize::MAX).min(CHUNK.len());
        let mut chunk = Bytes::from_static(CHUNK.get(..len).unwrap_or_default());
        match stack.send_bytes(now, id, &mut chunk, SendFlags::default()) {
            Ok(taken) => *owed -= taken as u64,
            Err(SendError::WouldBlock | SendError::NotConnected) => break,
            Err(_) => return false,
        }
    }
    true
}
