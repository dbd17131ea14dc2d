//! A stream's hold on a connection of the core: what every call on it goes through.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use ropeway_core::packet::Payload;
use ropeway_core::{
    ConnectionId, Readiness, RecvError, SendError, SendFlags, SocketOptions, Stack as Core, TcpInfo,
    Timestamp,
};

use crate::Stack;
use crate::error;
use crate::shard::{Effect, Shard, Slot, Source};
use crate::stack::current::at_home;
use crate::wait::{Wait, poll_once};
use crate::waiters::{read_interest, write_interest};

/// Closes the connection when it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    shard: Arc<Shard>,
    id: ConnectionId,
    /// Keeps the driver alive.
    stack: Stack,
    /// The application sees IPv6 addresses: an IPv4 connection of an IPv6 socket shows mapped ones, as in
    /// Linux (RFC 3493 3.7).
    ipv6: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shard.close(self.source());
    }
}

impl Connection {
    /// Takes hold of a connection that nobody else holds. `ipv6` is the family of the socket.
    pub(crate) fn new(stack: Stack, shard: Arc<Shard>, id: ConnectionId, ipv6: bool) -> Self {
        Self { shard, id, stack, ipv6 }
    }

    /// Opens a connection, and waits until it is established or has failed.
    ///
    /// `start` says how the core is to begin.
    pub(crate) async fn open(
        stack: Stack,
        shard: Arc<Shard>,
        remote: SocketAddr,
        start: impl FnOnce(&mut Core, Timestamp) -> io::Result<ConnectionId>,
    ) -> io::Result<Self> {
        if !stack.reaches(remote) {
            return Err(error::loopback_only(remote));
        }
        let shard = at_home(&shard);
        let id = shard.attempt(Effect::Driver, |core, now| Poll::Ready(start(core, now)))?;
        // Dropping the future from here on closes the connection.
        let connection = Self::new(stack, shard, id, remote.is_ipv6());
        connection.established().await?;
        Ok(connection)
    }

    async fn established(&self) -> io::Result<()> {
        let outcome = write_interest() | Readiness::ERROR;
        self.wait(outcome, Effect::None, |core, _, id| {
            if !core.readiness(id).intersects(outcome) {
                return Poll::Pending;
            }
            Poll::Ready(outcome_of(core, id))
        })
        .await
    }

    pub(crate) fn stack(&self) -> &Stack {
        &self.stack
    }

    fn source(&self) -> Source {
        Source::Connection(self.id)
    }

    /// Makes one attempt; `Pending` becomes [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub(crate) fn attempt<R>(
        &self,
        effect: Effect,
        attempt: impl FnOnce(&mut Core, Timestamp, ConnectionId) -> Poll<io::Result<R>>,
    ) -> io::Result<R> {
        self.shard.attempt(effect, |core, now| attempt(core, now, self.id))
    }

    /// Makes one attempt, on behalf of the last caller of a poll function.
    pub(crate) fn poll<R>(
        &self,
        slot: Slot<'_>,
        effect: Effect,
        cx: &mut Context<'_>,
        attempt: impl FnOnce(&mut Core, Timestamp, ConnectionId) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        let attempt = |core: &mut Core, now| attempt(core, now, self.id);
        poll_once(&self.shard, self.source(), slot, effect, cx, attempt)
    }

    /// Attempts until there is an answer. Any number of tasks may do so.
    pub(crate) async fn wait<R>(
        &self,
        interest: Readiness,
        effect: Effect,
        mut attempt: impl FnMut(&mut Core, Timestamp, ConnectionId) -> Poll<io::Result<R>>,
    ) -> io::Result<R> {
        let attempt = |core: &mut Core, now: Timestamp| attempt(core, now, self.id);
        Wait::new(&self.shard, self.source(), attempt).interest(interest).effect(effect).await
    }

    /// Writes all of it, as room comes up.
    pub(crate) async fn write_all(&self, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let attempt = |core: &mut Core, now, id| send(core, now, id, data);
            let taken = self.wait(write_interest(), Effect::Driver, attempt).await?;
            data = data.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    pub(crate) fn look<R>(&self, look: impl FnOnce(&Core, Timestamp, ConnectionId) -> R) -> R {
        self.shard.look(|core, now| look(core, now, self.id))
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        let tuple = self.look(|core, _, id| core.tuple(id)).map_err(error::unknown)?;
        Ok(shown(tuple.local(), self.ipv6))
    }

    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        // The kernel's getpeername asks for a connection that is established.
        if !self.look(|core, _, id| core.is_connected(id)) {
            return Err(error::not_connected());
        }
        let tuple = self.look(|core, _, id| core.tuple(id)).map_err(error::unknown)?;
        Ok(shown(tuple.remote(), self.ipv6))
    }

    pub(crate) fn info(&self) -> io::Result<TcpInfo> {
        self.look(|core, now, id| core.info(now, id)).map_err(error::unknown)
    }

    pub(crate) fn options<R>(&self, look: impl FnOnce(&SocketOptions) -> R) -> io::Result<R> {
        self.look(|core, _, id| core.options(id).map(look)).map_err(error::unknown)
    }

    pub(crate) fn update_options(&self, change: impl FnOnce(&mut SocketOptions)) -> io::Result<()> {
        self.attempt(Effect::Driver, |core, now, id| {
            Poll::Ready(core.update_options(now, id, change).map_err(error::unknown))
        })
    }

    pub(crate) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.attempt(Effect::None, |core, _, id| {
            let error = core.take_error(id);
            Poll::Ready(Ok(error.map(|error| error::connection(error, is_ipv6(core, id)))))
        })
    }

    /// Closes, and waits until the peer's TCP has acknowledged everything, for at most as long as `SO_LINGER`
    /// says. A linger time of zero resets; dropping does that.
    pub(crate) async fn close(self) -> io::Result<()> {
        let linger = self.options(|options| options.linger)?;
        if linger.is_some_and(|linger| linger.is_zero()) {
            return Ok(());
        }
        self.shutdown_write()?;
        let finished = self.wait(Readiness::FIN_ACKED, Effect::None, |core, _, id| {
            if !core.readiness(id).contains(Readiness::FIN_ACKED) {
                return Poll::Pending;
            }
            Poll::Ready(outcome_of(core, id))
        });
        let Some(linger) = linger else { return finished.await };
        tokio::time::timeout(linger, finished).await.unwrap_or_else(|_| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the linger time is over; what is left is sent in the background",
            ))
        })
    }

    /// Sends FIN after what was written. A connection that is over already has nothing to shut down, which
    /// tokio does not count as an error.
    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        self.attempt(Effect::Driver, |core, now, id| {
            let _not_connected = core.shutdown(now, id, Shutdown::Write);
            Poll::Ready(Ok(()))
        })
    }
}

/// Takes up to `max` received bytes; an empty payload is the end of the stream. A buffer without room gets
/// one as soon as there is something to read, as tokio has it.
pub(crate) fn recv(
    core: &mut Core,
    now: Timestamp,
    id: ConnectionId,
    max: usize,
) -> Poll<io::Result<Payload>> {
    if max == 0 {
        return readiness(core, id, read_interest()).map_ok(|_| Payload::new());
    }
    received(core.recv(now, id, max), core, id)
}

/// Copies received bytes, and leaves them where they are.
pub(crate) fn peek(core: &mut Core, id: ConnectionId, buf: &mut [u8]) -> Poll<io::Result<usize>> {
    if buf.is_empty() {
        return readiness(core, id, read_interest()).map_ok(|_| 0);
    }
    received(core.peek(id, buf), core, id)
}

pub(crate) fn send(
    core: &mut Core,
    now: Timestamp,
    id: ConnectionId,
    data: &[u8],
) -> Poll<io::Result<usize>> {
    sent(core.send(now, id, data, SendFlags::default()), core, id)
}

pub(crate) fn send_vectored(
    core: &mut Core,
    now: Timestamp,
    id: ConnectionId,
    data: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    sent(core.send_vectored(now, id, data, SendFlags::default()), core, id)
}

pub(crate) fn send_bytes(
    core: &mut Core,
    now: Timestamp,
    id: ConnectionId,
    data: &mut Bytes,
) -> Poll<io::Result<usize>> {
    sent(core.send_bytes(now, id, data, SendFlags::default()), core, id)
}

/// The end of `data` is the urgent mark.
pub(crate) fn send_urgent(
    core: &mut Core,
    now: Timestamp,
    id: ConnectionId,
    data: &[u8],
) -> Poll<io::Result<usize>> {
    sent(core.send(now, id, data, SendFlags { urgent: true, more: false }), core, id)
}

/// What of `interest` is there; `Pending` if nothing is.
pub(crate) fn readiness(core: &Core, id: ConnectionId, interest: Readiness) -> Poll<io::Result<Readiness>> {
    let readiness = core.readiness(id);
    if readiness.intersects(interest) { Poll::Ready(Ok(readiness)) } else { Poll::Pending }
}

fn received<R>(result: Result<R, RecvError>, core: &Core, id: ConnectionId) -> Poll<io::Result<R>> {
    match result {
        Err(RecvError::WouldBlock) => Poll::Pending,
        result => Poll::Ready(result.map_err(|error| error::recv(error, is_ipv6(core, id)))),
    }
}

fn sent<R>(result: Result<R, SendError>, core: &Core, id: ConnectionId) -> Poll<io::Result<R>> {
    match result {
        Err(SendError::WouldBlock) => Poll::Pending,
        result => Poll::Ready(result.map_err(|error| error::send(error, is_ipv6(core, id)))),
    }
}

/// An address as a socket of that family shows it.
pub(crate) fn shown(addr: SocketAddr, ipv6: bool) -> SocketAddr {
    match addr {
        SocketAddr::V4(addr) if ipv6 => (addr.ip().to_ipv6_mapped(), addr.port()).into(),
        addr => addr,
    }
}

/// What has ended the connection, if something has. Trouble that it has survived is not an outcome.
fn outcome_of(core: &mut Core, id: ConnectionId) -> io::Result<()> {
    let failed = core.readiness(id).contains(Readiness::ERROR);
    match failed.then(|| core.take_error(id)).flatten() {
        Some(error) => Err(error::connection(error, is_ipv6(core, id))),
        None => Ok(()),
    }
}

fn is_ipv6(core: &Core, id: ConnectionId) -> bool {
    core.tuple(id).is_ok_and(|tuple| !tuple.is_ipv4())
}
