//! Handshakes that wait for the user's word before they are answered.

use std::net::SocketAddr;

use ropeway_packet::{FourTuple, SeqNum};

use crate::ecn::EcnFeedback;
use crate::event::ConnectionId;

/// What a SYN said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SynOptions {
    /// The peer's MSS, in bytes of payload.
    pub mss: Option<u16>,
    /// The peer's window scale; `None` if it does not scale.
    pub window_scale: Option<u8>,
    /// The peer offers timestamps, and so do we.
    pub timestamps: bool,
    /// The peer offers SACK, and so do we (RFC 2018).
    pub sack: bool,
    /// What both ends agree to of ECN (RFC 3168).
    pub ecn: EcnFeedback,
    /// The peer's initial sequence number.
    pub seq: SeqNum,
}

/// A SYN that has not been answered: the user accepts or rejects it, in its own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incoming {
    /// Names the handshake: what is local in it is where the peer wanted to go.
    pub tuple: FourTuple,
    /// What the SYN said.
    pub syn: SynOptions,
}

impl Incoming {
    pub(crate) fn new(tuple: FourTuple, syn: SynOptions) -> Self {
        Self { tuple, syn }
    }

    /// Who wants to connect.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.tuple.remote()
    }

    /// To where: the address and port that the SYN was sent to.
    #[must_use]
    pub fn original_dst(&self) -> SocketAddr {
        self.tuple.local()
    }
}

/// What has become of a SYN that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The handshake is not complete yet.
    Waiting,
    /// It is: this is the connection.
    Connection(ConnectionId),
    /// It never will be: the peer has reset, or has not answered.
    Gone,
}

/// How a SYN is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rejection {
    /// With a RST: the peer sees "connection refused".
    Reset,
    /// With an ICMP error, "administratively prohibited": the peer sees "no route to host", or the like.
    Unreachable,
    /// With an ICMP error, "host unreachable": what a router says that cannot reach the host.
    HostUnreachable,
    /// With an ICMP error, "network unreachable": what a router says that knows no way.
    NetworkUnreachable,
    /// With silence, to the peer's further SYNs too.
    Drop,
}
