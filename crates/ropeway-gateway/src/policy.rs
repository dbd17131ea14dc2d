//! What a guest may do: asked once for each flow.

use std::net::SocketAddr;

/// What kind of flow a guest begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FlowKind {
    /// A TCP connection.
    Tcp,
    /// Datagrams between two ends.
    Udp,
    /// A DNS query to the gateway, over UDP.
    Dns,
    /// Echo requests to an address. The ports are 0.
    Echo,
}

/// A flow that a guest begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flow {
    /// What it is.
    pub kind: FlowKind,
    /// The guest's end.
    pub guest: SocketAddr,
    /// Where the guest sends to.
    pub original_dst: SocketAddr,
    /// Where that leads to, if [maps](crate::Settings::maps) say so; otherwise the same.
    pub target: SocketAddr,
}

/// What becomes of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It goes on to its target, unless that is an address which [a guest must not reach](crate#what-a-guest-must-not-reach).
    Allow,
    /// The guest is told: by a RST, or for what is not TCP by an ICMP error "administratively prohibited".
    Refuse,
    /// The guest is told nothing.
    Drop,
    /// It goes there instead, wherever that is: the program's own word is not checked. Of an echo request, the port does not count.
    Redirect(SocketAddr),
}

/// Decides about flows. A closure is one, too.
///
/// It is called in the task that moves packets, for each connection, each query, and the first datagram of each flow: it should not
/// take long.
pub trait Policy: Send + Sync + 'static {
    /// What becomes of a flow.
    fn decide(&self, flow: &Flow) -> Verdict;
}

impl<F: Fn(&Flow) -> Verdict + Send + Sync + 'static> Policy for F {
    fn decide(&self, flow: &Flow) -> Verdict {
        self(flow)
    }
}
