//! What crosses the door of UDP: sockets' names, datagrams in, datagrams out.

use std::net::SocketAddr;

use bytes::Bytes;
use ropeway_packet::{EcnCodepoint, Payload};

/// A UDP socket. Ids are never reused while one who holds them could mistake another for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct UdpId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl UdpId {
    /// A small number, unique among the sockets alive: an index for a caller's own table.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// A datagram that was received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram {
    /// Its data.
    pub payload: Bytes,
    /// Who sent it.
    pub remote: SocketAddr,
    /// Where it was sent to: an address of ours, a group, a broadcast address, or with
    /// [`udp_listen_any`](crate::Stack::udp_listen_any) whatever it was.
    pub local: SocketAddr,
    /// The IPv4 type of service or IPv6 traffic class: DSCP and ECN.
    pub traffic_class: u8,
}

/// Datagrams that were received one after the other, from one sender to one address and with equal DSCP and ECN, all of
/// [`segment_size`](Self::segment_size) bytes but for the last, which may be shorter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatagramTrain {
    /// Their data, one behind the other.
    pub payload: Payload,
    /// How many bytes each has; what there is if it is just one, which may be 0.
    pub segment_size: usize,
    /// As of a [`Datagram`].
    pub remote: SocketAddr,
    /// As of a [`Datagram`].
    pub local: SocketAddr,
    /// As of a [`Datagram`].
    pub traffic_class: u8,
}

impl DatagramTrain {
    /// What routers have said about congestion.
    #[must_use]
    pub fn ecn(&self) -> EcnCodepoint {
        EcnCodepoint::of(self.traffic_class)
    }
}

/// How a datagram is to be sent. By default to the peer that the socket is connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub to: Option<SocketAddr>,
    /// From where: an address of ours, and then the port is the socket's own whatever this says. A socket that takes datagrams to
    /// any address ([`udp_listen_any`](crate::Stack::udp_listen_any)) must say it, and sends from any address and port.
    pub from: Option<SocketAddr>,
    /// The ECN field, if it is to be another one than that of the socket's options.
    pub ecn: Option<EcnCodepoint>,
    /// The data is that of several datagrams, of so many bytes each but for the last (`UDP_SEGMENT`). `None`, or 0: it is one.
    pub segment_size: Option<u16>,
}

/// How a UDP socket fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpInfo {
    /// Datagrams that wait to be read.
    pub unread: usize,
    /// The memory that these take, in bytes (`SO_MEMINFO`, rmem_alloc).
    pub unread_memory: usize,
    /// The memory that datagrams take which wait to leave, in bytes.
    pub unsent_memory: usize,
    /// Datagrams that were dropped because the queue was full, or memory scarce (`SO_RXQ_OVFL`).
    pub dropped: u64,
}
