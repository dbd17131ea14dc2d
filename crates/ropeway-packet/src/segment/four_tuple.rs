//! What names a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The two sockets of a connection, seen from this end (RFC 9293 3.3.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FourTuple {
    /// This end's address.
    pub local_addr: IpAddr,
    /// The other end's address.
    pub remote_addr: IpAddr,
    /// This end's port.
    pub local_port: u16,
    /// The other end's port.
    pub remote_port: u16,
}

impl FourTuple {
    /// The connection between these two. The flow label and the scope of IPv6 socket addresses are
    /// dropped.
    #[inline]
    pub fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            local_addr: local.ip(),
            remote_addr: remote.ip(),
            local_port: local.port(),
            remote_port: remote.port(),
        }
    }

    /// This end.
    #[inline]
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(self.local_addr, self.local_port)
    }

    /// The other end.
    #[inline]
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.remote_addr, self.remote_port)
    }

    /// The connection seen from the other end.
    #[inline]
    pub fn reversed(&self) -> Self {
        Self {
            local_addr: self.remote_addr,
            remote_addr: self.local_addr,
            local_port: self.remote_port,
            remote_port: self.local_port,
        }
    }

    /// Whether the connection runs over IPv4.
    #[inline]
    pub fn is_ipv4(&self) -> bool {
        self.local_addr.is_ipv4()
    }
}

impl fmt::Display for FourTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <-> {}", self.local(), self.remote())
    }
}

impl fmt::Debug for FourTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
