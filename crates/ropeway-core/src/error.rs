//! What can go wrong, one small enum per call.

use std::fmt;

/// Why a connection ended before its time, or trouble on the way that it survived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The peer answered our SYN with a RST, or its host said that the port is closed.
    Refused,
    /// The peer sent a RST (RFC 9293 3.6 MUST-12).
    Reset,
    /// The peer sent a RST after it had closed its side: nobody reads what we write.
    BrokenPipe,
    /// The connection was aborted on this side.
    Aborted,
    /// The peer did not answer: R2, the user timeout, keep-alive or the SYN's retries ran out.
    TimedOut,
    /// ICMP: the network is unreachable.
    NetworkUnreachable,
    /// ICMP: the host is unreachable.
    HostUnreachable,
    /// ICMP: the host does not speak TCP.
    ProtocolUnreachable,
    /// ICMP: a filter on the way prohibits it.
    Prohibited,
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "connection refused",
            Self::Reset => "connection reset by peer",
            Self::BrokenPipe => "broken pipe",
            Self::Aborted => "connection aborted",
            Self::TimedOut => "connection timed out",
            Self::NetworkUnreachable => "network is unreachable",
            Self::HostUnreachable => "no route to host",
            Self::ProtocolUnreachable => "the host does not accept TCP",
            Self::Prohibited => "prohibited by a filter on the way",
        })
    }
}

impl std::error::Error for ConnectionError {}

/// Why `listen` failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenError {
    /// Another listener, or a connection without `reuse_addr`, has that address.
    AddressInUse,
    /// The address is not one of ours.
    AddressNotAvailable,
    /// No ephemeral port is free.
    PortsExhausted,
}

/// Why `connect` failed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The local address and port are taken towards that remote.
    AddressInUse,
    /// The local address is not one of ours.
    AddressNotAvailable,
    /// We have no address of the remote's family, so there is no way out.
    NetworkUnreachable,
    /// No TCP can be opened to this remote: broadcast, multicast or port 0 (RFC 9293 3.9.1.1 MUST-46).
    InvalidRemote,
    /// The two addresses are not of one family.
    FamilyMismatch,
    /// No ephemeral port towards that remote is free.
    PortsExhausted,
    /// `max_connections` has been reached.
    TooManyConnections,
    /// The memory budget is nearly used up, or the remote's network has its share of it.
    OutOfMemory,
    /// The stack has been shut down.
    ShutDown,
}

/// Why `send` took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The send buffer is full; `Event::Writable` tells when to try again.
    WouldBlock,
    /// The connection is not open yet, or the id is unknown.
    NotConnected,
    /// This side has been shut down for writing, or the connection is gone.
    BrokenPipe,
    /// The connection failed. Told once; from then on it is `BrokenPipe`.
    Failed(ConnectionError),
}

/// Why `recv` or `peek` gave nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// Nothing has arrived; `Event::Readable` tells when to try again.
    WouldBlock,
    /// The connection is not open yet, or the id is unknown.
    NotConnected,
    /// The connection failed. Told once, after the bytes that had arrived; from then on reading tells
    /// the end of the stream.
    Failed(ConnectionError),
}

/// Why `shutdown` had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The connection is not open, or not any more, or the id is unknown.
    NotConnected,
}

/// Why a UDP socket has not sent a datagram, or not been connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatagramError {
    /// Too much waits to leave already; `Event::Udp` tells when to try again.
    WouldBlock,
    /// The socket is not connected, and nobody has said where the datagram goes to.
    NoDestination,
    /// The datagram is longer than a packet can be, or than the path takes.
    TooLong,
    /// The data is that of too many datagrams.
    TooManySegments,
    /// There is no way from the socket's address to that one.
    NetworkUnreachable,
    /// The local address is not one of ours.
    AddressNotAvailable,
    /// Port 0, or an address that a datagram cannot come from or go to.
    InvalidAddress,
    /// The two addresses are not of one family.
    FamilyMismatch,
    /// What goes to a broadcast address has to be allowed first ([`UdpOptions::broadcast`](crate::UdpOptions::broadcast)).
    BroadcastRefused,
    /// No ephemeral port towards that remote is free.
    PortsExhausted,
    /// An ICMP error has come since the last call (RFC 1122 4.1.3.3). Nothing was sent now.
    Failed(ConnectionError),
    /// The id names nothing.
    UnknownSocket,
}

/// Why [`send_packet`](crate::Stack::send_packet) has sent nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketError {
    /// Too many packets wait to leave already: it is as if the device had dropped it.
    WouldBlock,
    /// It is no IP packet, or is not as long as its header says.
    Malformed,
    /// It is longer than the path takes, and may not be cut.
    TooLong,
    /// It is for an address of the stack's own.
    ToOurselves,
}

/// Why a UDP socket has not joined or left a multicast group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupError {
    /// The address is not a group's.
    NotAGroup,
    /// The socket has joined the group already.
    AlreadyJoined,
    /// The socket has not joined the group.
    NotJoined,
    /// The socket has joined as many groups as it may.
    TooMany,
    /// The id names nothing.
    UnknownSocket,
}

/// The id names nothing: it was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownId;

macro_rules! display {
    ($($type:ty { $($variant:pat => $text:expr,)+ })+) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self { $($variant => fmt::Display::fmt(&$text, f),)+ }
            }
        }
        impl std::error::Error for $type {}
    )+};
}

display! {
    ListenError {
        Self::AddressInUse => "address already in use",
        Self::AddressNotAvailable => "the address is not one of this stack's",
        Self::PortsExhausted => "no ephemeral port is free",
    }
    ConnectError {
        Self::AddressInUse => "address already in use",
        Self::AddressNotAvailable => "the local address is not one of this stack's",
        Self::NetworkUnreachable => "the stack has no address of the remote's family",
        Self::InvalidRemote => "no connection can be opened to a broadcast or multicast address, or to port 0",
        Self::FamilyMismatch => "local and remote address are not both IPv4 or both IPv6",
        Self::PortsExhausted => "no ephemeral port is free",
        Self::TooManyConnections => "the stack's limit of connections has been reached",
        Self::OutOfMemory => "the stack's memory budget is used up: close connections, or raise memory_budget",
        Self::ShutDown => "the stack has been shut down",
    }
    SendError {
        Self::WouldBlock => "the send buffer is full",
        Self::NotConnected => "not connected",
        Self::BrokenPipe => "broken pipe",
        Self::Failed(error) => error,
    }
    RecvError {
        Self::WouldBlock => "nothing has arrived",
        Self::NotConnected => "not connected",
        Self::Failed(error) => error,
    }
    ShutdownError {
        Self::NotConnected => "not connected",
    }
    DatagramError {
        Self::WouldBlock => "too much waits to leave",
        Self::NoDestination => "the socket is not connected, and no destination was given",
        Self::TooLong => "the datagram is longer than a packet can be, or than the path takes",
        Self::TooManySegments => "more datagrams in one call than there may be",
        Self::NetworkUnreachable => "there is no way from the socket's address to that one",
        Self::AddressNotAvailable => "the local address is not one of this stack's",
        Self::InvalidAddress => "no datagram can come from or go to this address and port",
        Self::FamilyMismatch => "local and remote address are not both IPv4 or both IPv6",
        Self::PortsExhausted => "no ephemeral port is free",
        Self::BroadcastRefused => "broadcasts have to be allowed on the socket first",
        Self::Failed(error) => error,
        Self::UnknownSocket => "no such socket",
    }
    PacketError {
        Self::WouldBlock => "too much waits to leave",
        Self::Malformed => "this is no IP packet of the length that its header says",
        Self::TooLong => "the packet is longer than the path takes, and may not be cut",
        Self::ToOurselves => "the packet is for an address of the stack's own",
    }
    GroupError {
        Self::NotAGroup => "not a multicast address",
        Self::AlreadyJoined => "the socket has joined the group already",
        Self::NotJoined => "the socket has not joined the group",
        Self::TooMany => "the socket has joined as many groups as it may",
        Self::UnknownSocket => "no such socket",
    }
    UnknownId {
        Self => "no such socket",
    }
}
