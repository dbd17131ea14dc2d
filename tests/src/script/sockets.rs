//! The script's file descriptors.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ropeway_core::{
    BindingId, ConnectError, ConnectionError, ConnectionId, KeepAlive, ListenError, ListenerId, RecvError,
    SendError, SocketOptions,
};

use super::zero_copy::ZeroCopy;

/// What a descriptor stands for.
#[derive(Debug)]
pub(super) enum Kind {
    /// Neither listening nor connecting yet.
    New(Option<(BindingId, SocketAddr)>),
    Listener(ListenerId),
    Connection(ConnectionId),
    /// A connect that failed at once.
    Dead,
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) kind: Kind,
    pub(super) nonblocking: bool,
    pub(super) options: SocketOptions,
    /// What probes are sent when they are switched on.
    pub(super) keep_alive: KeepAlive,
    /// `TCP_FASTOPEN_CONNECT`.
    pub(super) connects_fast: bool,
    /// `connect` waits for something to send.
    pub(super) deferred: bool,
    /// `connect` has told of its success.
    pub(super) told_connected: bool,
    /// `SO_ZEROCOPY`
    pub(super) zero_copy: Option<ZeroCopy>,
}

impl Socket {
    pub(super) fn new(kind: Kind, options: SocketOptions, keep_alive: KeepAlive) -> Self {
        Self {
            kind,
            nonblocking: false,
            options,
            keep_alive,
            connects_fast: false,
            deferred: false,
            told_connected: false,
            zero_copy: None,
        }
    }
}

pub(super) type Sockets = BTreeMap<i64, Socket>;

/// How a call comes back.
#[derive(Debug, PartialEq)]
pub(super) enum Done {
    Returned(i64),
    Error(&'static str),
    /// Not yet.
    Blocks,
}

pub(super) fn connection_errno(error: ConnectionError) -> &'static str {
    match error {
        ConnectionError::Refused => "ECONNREFUSED",
        ConnectionError::Reset => "ECONNRESET",
        ConnectionError::BrokenPipe => "EPIPE",
        ConnectionError::Aborted => "ECONNABORTED",
        ConnectionError::TimedOut => "ETIMEDOUT",
        ConnectionError::NetworkUnreachable => "ENETUNREACH",
        ConnectionError::ProtocolUnreachable => "ENOPROTOOPT",
        // A filter's "prohibited" is EHOSTUNREACH or EACCES, depending on the code.
        _ => "EHOSTUNREACH",
    }
}

pub(super) fn listen_errno(error: ListenError) -> &'static str {
    match error {
        ListenError::AddressNotAvailable => "EADDRNOTAVAIL",
        _ => "EADDRINUSE",
    }
}

pub(super) fn connect_errno(error: ConnectError) -> &'static str {
    match error {
        ConnectError::AddressInUse | ConnectError::PortsExhausted => "EADDRNOTAVAIL",
        ConnectError::AddressNotAvailable | ConnectError::FamilyMismatch => "EINVAL",
        ConnectError::NetworkUnreachable | ConnectError::InvalidRemote => "ENETUNREACH",
        _ => "ENOBUFS",
    }
}

pub(super) fn recv_errno(error: RecvError) -> &'static str {
    match error {
        RecvError::WouldBlock => "EAGAIN",
        RecvError::Failed(error) => connection_errno(error),
        _ => "ENOTCONN",
    }
}

pub(super) fn send_errno(error: SendError) -> &'static str {
    match error {
        SendError::WouldBlock => "EAGAIN",
        SendError::Failed(error) => connection_errno(error),
        // As Linux says it of a socket that is not connected, too.
        _ => "EPIPE",
    }
}

/// Linux's number of an error, for `SO_ERROR`.
pub(super) fn errno_number(name: &str) -> Option<i64> {
    const NUMBERS: [(&str, i64); 22] = [
        ("EPERM", 1),
        ("EBADF", 9),
        ("EAGAIN", 11),
        ("EWOULDBLOCK", 11),
        ("EACCES", 13),
        ("EFAULT", 14),
        ("EINVAL", 22),
        ("EPIPE", 32),
        ("EPROTO", 71),
        ("ENOPROTOOPT", 92),
        ("EOPNOTSUPP", 95),
        ("EADDRINUSE", 98),
        ("EADDRNOTAVAIL", 99),
        ("ENETUNREACH", 101),
        ("ECONNABORTED", 103),
        ("ECONNRESET", 104),
        ("ENOBUFS", 105),
        ("EISCONN", 106),
        ("ENOTCONN", 107),
        ("ETIMEDOUT", 110),
        ("ECONNREFUSED", 111),
        ("EHOSTUNREACH", 113),
    ];
    NUMBERS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}
