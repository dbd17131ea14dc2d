//! One socket.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use ropeway_packet::FourTuple;

use super::datagram::UdpInfo;
use super::options::UdpOptions;
use super::receive::ReceiveQueue;
pub(crate) use super::sent::Sent;
use crate::error::ConnectionError;
use crate::event::Readiness;
use crate::ports::Sharing;
use crate::transmit::Transmit;

/// What a socket has of the local ports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hold {
    /// The port that it was bound to.
    Port,
    /// A flow from an address and port that it did not choose.
    Flow(FourTuple),
    /// Nothing: it takes what nobody else does, whatever the address and port.
    Anything,
}

/// A socket, always bound.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    /// What it was bound to, and what its port is claimed for.
    pub(crate) bound: SocketAddr,
    /// Where its datagrams come to: as it was bound, until a peer says which of our addresses it is.
    pub(crate) local: SocketAddr,
    /// Whom it is connected to.
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) hold: Hold,
    /// How it was bound.
    pub(crate) sharing: Sharing,
    pub(crate) options: UdpOptions,
    pub(crate) receive: ReceiveQueue,
    /// Told once (`SO_ERROR`).
    pub(crate) error: Option<ConnectionError>,
    /// What waits to leave.
    pub(crate) outgoing: VecDeque<Transmit>,
    pub(crate) unsent: usize,
    /// It is in the line of those that have something to send.
    pub(crate) in_line: bool,
    /// A send was refused, and nobody was told since that there is room.
    pub(crate) blocked: bool,
    /// Likewise, because of what waits altogether.
    pub(crate) crowded: bool,
    /// The groups that it has joined.
    pub(crate) groups: Vec<IpAddr>,
    pub(crate) sent: Option<Box<Sent>>,
    /// News that nobody was told yet.
    pub(crate) gained: Readiness,
    /// Nobody holds it any more.
    pub(crate) closed: bool,
}

impl Socket {
    pub(crate) fn new(bound: SocketAddr, hold: Hold, sharing: Sharing, mut options: UdpOptions) -> Self {
        options.normalize();
        Self {
            bound,
            local: bound,
            remote: None,
            hold,
            sharing,
            options,
            receive: ReceiveQueue::default(),
            error: None,
            outgoing: VecDeque::new(),
            unsent: 0,
            in_line: false,
            blocked: false,
            crowded: false,
            groups: Vec::new(),
            sent: None,
            gained: Readiness::EMPTY,
            closed: false,
        }
    }

    /// Whether it takes what nobody else does.
    pub(crate) fn takes_any(&self) -> bool {
        self.hold == Hold::Anything
    }

    /// Whether more may wait to leave.
    pub(crate) fn has_room(&self) -> bool {
        self.unsent < self.options.send_buffer
    }

    /// What it can do now. `sends`: what it sends leaves by this shard.
    pub(crate) fn readiness(&self, sends: bool) -> Readiness {
        let mut readiness = Readiness::EMPTY;
        if !self.receive.is_empty() {
            readiness |= Readiness::READABLE;
        }
        if sends && self.has_room() && !self.crowded {
            readiness |= Readiness::WRITABLE;
        }
        if self.error.is_some() {
            readiness |= Readiness::ERROR | Readiness::READABLE | Readiness::WRITABLE;
        }
        readiness
    }

    pub(crate) fn info(&self) -> UdpInfo {
        UdpInfo {
            unread: self.receive.len(),
            unread_memory: self.receive.memory(),
            unsent_memory: self.unsent,
            dropped: self.receive.dropped(),
        }
    }
}
