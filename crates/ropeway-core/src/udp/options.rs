//! The options of a UDP socket.

use crate::options::{MAX_BUFFER, SocketOptions};

/// As in Linux (`net.core.rmem_default`, `wmem_default`).
const BUFFER: usize = 212_992;

/// A buffer never takes less than a datagram, and what it takes besides.
const LEAST_BUFFER: usize = 2304;

/// The options of a UDP socket. What cannot be meant is brought into range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// How much memory datagrams may take that wait to be read, in bytes (`SO_RCVBUF`); what comes beyond it is dropped and counted.
    /// One datagram has always room. 212,992 by default; at least 2,304, at most 1 GiB.
    pub recv_buffer: usize,
    /// How much memory datagrams may take that wait to leave, in bytes (`SO_SNDBUF`). Senders wait beyond it. 212,992.
    pub send_buffer: usize,
    /// The TTL, or hop limit, of what goes to a single host (`IP_TTL`). At least 1.
    pub ttl: u8,
    /// The TTL of what goes to a group (`IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`). 1; what has 0 stays in this host.
    pub multicast_ttl: u8,
    /// The type of service over IPv4: DSCP and ECN (`IP_TOS`).
    pub tos: u8,
    /// The traffic class over IPv6 (`IPV6_TCLASS`).
    pub tclass: u8,
    /// What goes to a broadcast address may be sent (`SO_BROADCAST`). Off.
    pub broadcast: bool,
    /// What goes to an IPv4 group comes to this host, too, if it has joined (`IP_MULTICAST_LOOP`). On.
    pub multicast_loop_v4: bool,
    /// Likewise, to an IPv6 group (`IPV6_MULTICAST_LOOP`). On.
    pub multicast_loop_v6: bool,
    /// Hear of ICMP errors that may pass, too, such as that a host cannot be reached (`IP_RECVERR`). Off: of those that last.
    pub all_errors: bool,
    /// Send nothing in fragments: what is longer than the path takes is an error (`IP_MTU_DISCOVER` and `IPV6_MTU_DISCOVER`,
    /// `IP_PMTUDISC_DO`). Off (`IP_PMTUDISC_WANT`): it leaves in fragments (RFC 1122 3.3.3), and what fits has the DF bit. Fragments are
    /// lost on many paths (RFC 8900), so protocols that find out what passes, as QUIC does, turn it on.
    pub dont_fragment: bool,
    /// A socket on `::` leaves IPv4 to others (`IPV6_V6ONLY`). It counts when the socket is bound. Off, as in Linux.
    pub only_v6: bool,
    /// Share the port with others that set this, too (`SO_REUSEADDR`): the last one that was bound takes what goes to a single
    /// host, and all take what goes to a group. It counts when the socket is bound.
    pub reuse_addr: bool,
    /// Share the port with others that set this, too (`SO_REUSEPORT`): each flow goes to one of them, always the same. It counts
    /// when the socket is bound.
    pub reuse_port: bool,
}

impl UdpOptions {
    /// What the stack's settings for sockets say of a UDP socket, too.
    pub(crate) fn of_stack(socket: &SocketOptions) -> Self {
        Self { ttl: socket.ttl, tos: socket.tos, tclass: socket.tos, ..Self::default() }
    }

    pub(crate) fn normalize(&mut self) {
        self.recv_buffer = self.recv_buffer.clamp(LEAST_BUFFER, MAX_BUFFER);
        self.send_buffer = self.send_buffer.clamp(LEAST_BUFFER, MAX_BUFFER);
        self.ttl = self.ttl.max(1);
    }
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self {
            recv_buffer: BUFFER,
            send_buffer: BUFFER,
            ttl: 64,
            multicast_ttl: 1,
            tos: 0,
            tclass: 0,
            broadcast: false,
            multicast_loop_v4: true,
            multicast_loop_v6: true,
            all_errors: false,
            dont_fragment: false,
            only_v6: false,
            reuse_addr: false,
            reuse_port: false,
        }
    }
}
