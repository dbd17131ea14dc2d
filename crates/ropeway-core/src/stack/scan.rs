//! Probing the TCP ports of others, half-open (SYN, SYN-ACK, RST). UDP ports are probed with sockets.

use std::net::SocketAddr;

use super::Stack;
use crate::error::ConnectError;
use crate::event::ConnectionId;
use crate::options::SocketOptions;
use crate::probe::ProbeOutcome;
use crate::time::Timestamp;

impl Stack {
    /// Asks whether a TCP port is open, without opening a connection: the SYN-ACK of an open port is answered
    /// with a RST. `Event::Ready` tells that there is an outcome; `options.syn_retries` says how long it may
    /// take. End it with [`close`](Self::close).
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub fn probe_tcp(
        &mut self,
        now: Timestamp,
        local: Option<SocketAddr>,
        remote: SocketAddr,
        options: SocketOptions,
    ) -> Result<ConnectionId, ConnectError> {
        let id = self.connect(now, local, remote, options)?;
        self.with_connection(now, id, |connection, _| connection.only_probe());
        Ok(id)
    }

    /// What a TCP probe has found out, once it has.
    #[must_use]
    pub fn tcp_probe_outcome(&self, id: ConnectionId) -> Option<ProbeOutcome> {
        self.connection(id).ok()?.probe_outcome()
    }
}
