//! Who waits for the sockets of a stack.

use std::fmt;
use std::net::SocketAddr;
use std::task::Waker;

use ropeway_core::{ConnectionId, Readiness, State, Timestamp};

use crate::shard::{self, Source};
use crate::waiters::{read_interest, write_interest};

/// A task that waits for a socket of a stack.
#[derive(Clone, Debug)]
pub struct WaitingTask {
    /// What it waits for.
    pub what: WaitingFor,
    /// What wakes it: `will_wake` tells whether another waker is the same task's.
    pub waker: Waker,
}

/// What a task waits for. Its `Display` completes the sentence "It waits ...".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitingFor {
    /// The answer to a SYN.
    Connect {
        /// This end.
        local: SocketAddr,
        /// The other end.
        peer: SocketAddr,
    },
    /// Something to read, or room to write.
    Transfer {
        /// Whether it waits to read.
        reads: bool,
        /// Whether it waits to write.
        writes: bool,
        /// This end.
        local: SocketAddr,
        /// The other end.
        peer: SocketAddr,
        /// The connection's state.
        state: State,
    },
    /// A connection or listener that is no more.
    Ended,
    /// A connection to accept.
    Accept {
        /// The listener's address.
        local: SocketAddr,
    },
    /// The end of a handshake that was let in.
    Handshake {
        /// This end.
        local: SocketAddr,
        /// The other end.
        peer: SocketAddr,
    },
    /// A datagram, or room to send one.
    Datagram {
        /// The socket's address.
        local: SocketAddr,
    },
    /// A packet that nobody else takes.
    Diverted,
    /// The moment at which no connection is left.
    Shutdown,
}

impl fmt::Display for WaitingFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { local, peer } => write!(f, "to connect from {local} to {peer}"),
            Self::Transfer { reads, writes, local, peer, state } => {
                let what = match (reads, writes) {
                    (true, true) => "read or write",
                    (true, false) => "read",
                    (false, true) => "write",
                    (false, false) => "learn of an error",
                };
                write!(f, "to {what} on the connection {local} - {peer}, in {state}")
            }
            Self::Ended => f.write_str("on a socket that has ended"),
            Self::Accept { local } => write!(f, "to accept on the listener {local}"),
            Self::Handshake { local, peer } => write!(f, "for the handshake of {peer} with {local}"),
            Self::Datagram { local } => {
                write!(f, "for a datagram, or to send one, on the UDP socket {local}")
            }
            Self::Diverted => f.write_str("for a packet that no socket of the stack takes"),
            Self::Shutdown => f.write_str("for the last connection of the stack to end"),
        }
    }
}

/// All that wait for something of the stack.
pub(super) fn tasks(state: &shard::State, now: Timestamp) -> Vec<WaitingTask> {
    let mut tasks = Vec::new();
    for waiters in state.waiters.iter() {
        let Some(source) = waiters.source else { continue };
        tasks.extend(waiters.iter().map(|(interest, waker)| {
            let what = waiting_for(state, now, source, interest).unwrap_or(WaitingFor::Ended);
            WaitingTask { what, waker: waker.clone() }
        }));
    }
    tasks
}

fn waiting_for(
    state: &shard::State,
    now: Timestamp,
    source: Source,
    interest: Readiness,
) -> Option<WaitingFor> {
    Some(match source {
        Source::Connection(id) => connection(state, now, id, interest)?,
        Source::Listener(id) => WaitingFor::Accept { local: state.core.listener_addr(id).ok()? },
        Source::Handshake(tuple) => WaitingFor::Handshake { local: tuple.local(), peer: tuple.remote() },
        Source::Udp(id) => WaitingFor::Datagram { local: state.core.udp_local_addr(id).ok()? },
        Source::Diversion => WaitingFor::Diverted,
        Source::Quiescence => WaitingFor::Shutdown,
    })
}

fn connection(
    state: &shard::State,
    now: Timestamp,
    id: ConnectionId,
    interest: Readiness,
) -> Option<WaitingFor> {
    let tuple = state.core.tuple(id).ok()?;
    let (local, peer) = (tuple.local(), tuple.remote());
    let state = state.core.info(now, id).ok()?.state;
    if state == State::SynSent {
        return Some(WaitingFor::Connect { local, peer });
    }
    let (reads, writes) = (interest.intersects(read_interest()), interest.intersects(write_interest()));
    Some(WaitingFor::Transfer { reads, writes, local, peer, state })
}
