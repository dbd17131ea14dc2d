//! The options of a UDP socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::socket::UdpSocket;
use crate::error::{self, invalid};

/// # Options
///
/// Each answers with an error only if the stack has ended, or as it says.
impl UdpSocket {
    /// Whether datagrams may go to a broadcast address (`SO_BROADCAST`).
    pub fn broadcast(&self) -> io::Result<bool> {
        self.held.options(|options| options.broadcast)
    }

    /// Sets whether datagrams may go to a broadcast address (`SO_BROADCAST`). Off by default.
    pub fn set_broadcast(&self, on: bool) -> io::Result<()> {
        self.held.update_options(|options| options.broadcast = on)
    }

    /// Whether what is longer than the path takes is refused instead of sent in fragments (`IP_MTU_DISCOVER`).
    pub fn dont_fragment(&self) -> io::Result<bool> {
        self.held.options(|options| options.dont_fragment)
    }

    /// Sets whether what is longer than the path takes is refused, with EMSGSIZE, instead of sent in fragments (`IP_MTU_DISCOVER` and
    /// `IPV6_MTU_DISCOVER`, `IP_PMTUDISC_DO`). Off by default, as in Linux.
    pub fn set_dont_fragment(&self, on: bool) -> io::Result<()> {
        self.held.update_options(|options| options.dont_fragment = on)
    }

    /// Whether what goes to an IPv4 group comes to this host, too (`IP_MULTICAST_LOOP`).
    pub fn multicast_loop_v4(&self) -> io::Result<bool> {
        self.held.options(|options| options.multicast_loop_v4)
    }

    /// Sets whether what goes to an IPv4 group comes to this host, too, if it has joined (`IP_MULTICAST_LOOP`). On by default.
    pub fn set_multicast_loop_v4(&self, on: bool) -> io::Result<()> {
        self.held.update_options(|options| options.multicast_loop_v4 = on)
    }

    /// The TTL of what goes to a group (`IP_MULTICAST_TTL`).
    pub fn multicast_ttl_v4(&self) -> io::Result<u32> {
        self.held.options(|options| options.multicast_ttl.into())
    }

    /// Sets the TTL of what goes to a group, 0 to 255 (`IP_MULTICAST_TTL`). 1 by default; what has 0 stays in this host. It is
    /// the hop limit of IPv6, too.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for more.
    pub fn set_multicast_ttl_v4(&self, ttl: u32) -> io::Result<()> {
        let ttl = u8::try_from(ttl).map_err(|_| invalid("a TTL is 0 to 255"))?;
        self.held.update_options(|options| options.multicast_ttl = ttl)
    }

    /// Whether what goes to an IPv6 group comes to this host, too (`IPV6_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP on an IPv4 socket.
    pub fn multicast_loop_v6(&self) -> io::Result<bool> {
        self.has_v6(true)?;
        self.held.options(|options| options.multicast_loop_v6)
    }

    /// Sets whether what goes to an IPv6 group comes to this host, too, if it has joined (`IPV6_MULTICAST_LOOP`). On by default.
    ///
    /// # Errors
    ///
    /// ENOPROTOOPT on an IPv4 socket.
    pub fn set_multicast_loop_v6(&self, on: bool) -> io::Result<()> {
        self.has_v6(false)?;
        self.held.update_options(|options| options.multicast_loop_v6 = on)
    }

    /// The traffic class of sent IPv6 packets (`IPV6_TCLASS`). 0 by default.
    ///
    /// # Errors
    ///
    /// EOPNOTSUPP on an IPv4 socket.
    pub fn tclass_v6(&self) -> io::Result<u32> {
        self.has_v6(true)?;
        self.held.options(|options| options.tclass.into())
    }

    /// Sets the traffic class of sent IPv6 packets, ECN included (`IPV6_TCLASS`).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for more than 255; ENOPROTOOPT on an IPv4 socket.
    pub fn set_tclass_v6(&self, tclass: u32) -> io::Result<()> {
        self.has_v6(false)?;
        let tclass = u8::try_from(tclass).map_err(|_| invalid("a traffic class is 0 to 255"))?;
        self.held.update_options(|options| options.tclass = tclass)
    }

    /// The TTL or hop limit of what goes to a single host (`IP_TTL`). 64 by default.
    pub fn ttl(&self) -> io::Result<u32> {
        self.held.options(|options| options.ttl.into())
    }

    /// Sets the TTL or hop limit of what goes to a single host, 1 to 255 (`IP_TTL`, RFC 1122 4.1.4).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for another value.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        let ttl = u8::try_from(ttl).ok().filter(|ttl| *ttl > 0);
        let ttl = ttl.ok_or_else(|| invalid("a TTL is 1 to 255"))?;
        self.held.update_options(|options| options.ttl = ttl)
    }

    /// The type-of-service byte of sent IPv4 packets (`IP_TOS`). 0 by default.
    pub fn tos_v4(&self) -> io::Result<u32> {
        self.held.options(|options| options.tos.into())
    }

    /// Sets the type-of-service byte of sent IPv4 packets, ECN included (`IP_TOS`). What is beyond a byte is ignored, as in Linux.
    pub fn set_tos_v4(&self, tos: u32) -> io::Result<()> {
        let [.., tos] = tos.to_be_bytes();
        self.held.update_options(|options| options.tos = tos)
    }

    /// Use [`tos_v4`](Self::tos_v4).
    #[deprecated(note = "`tos` related methods have been renamed `tos_v4` since they are IPv4-specific.")]
    #[doc(hidden)]
    pub fn tos(&self) -> io::Result<u32> {
        self.tos_v4()
    }

    /// Use [`set_tos_v4`](Self::set_tos_v4).
    #[deprecated(note = "`tos` related methods have been renamed `tos_v4` since they are IPv4-specific.")]
    #[doc(hidden)]
    pub fn set_tos(&self, tos: u32) -> io::Result<()> {
        self.set_tos_v4(tos)
    }

    /// The device that the socket is bound to (`SO_BINDTODEVICE`): none. A stack has one device.
    pub fn device(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Undoes a binding to a device (`SO_BINDTODEVICE`), of which there is none.
    ///
    /// # Errors
    ///
    /// ENODEV for a name: a stack has one device, so choose the stack, as with [`bind_on`](Self::bind_on).
    pub fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
        match interface {
            None | Some([]) => Ok(()),
            Some(_) => Err(error::no_device()),
        }
    }

    /// How much memory datagrams may take that wait to be read, in bytes (`SO_RCVBUF`).
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        self.held.options(|options| options.recv_buffer)
    }

    /// Sets how much memory datagrams may take that wait to be read, in bytes; at least 2,304 (`SO_RCVBUF`, which Linux doubles).
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.held.update_options(|options| options.recv_buffer = bytes)
    }

    /// How much memory datagrams may take that wait to leave, in bytes (`SO_SNDBUF`).
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        self.held.options(|options| options.send_buffer)
    }

    /// Sets how much memory datagrams may take that wait to leave, in bytes; at least 2,304 (`SO_SNDBUF`, which Linux doubles).
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.held.update_options(|options| options.send_buffer = bytes)
    }

    /// Joins an IPv4 group (`IP_ADD_MEMBERSHIP`). `interface`: an address of the stack's, or the unspecified one. It counts for
    /// what comes in; no router is told (there is no IGMP).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for an address that is no group's; [`AddrInUse`](io::ErrorKind::AddrInUse)
    /// if the socket has joined already; ENODEV for another interface; ENOBUFS beyond 64 groups.
    pub fn join_multicast_v4(&self, multiaddr: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.has_interface(interface)?;
        self.join(multiaddr.into())
    }

    /// Joins an IPv6 group (`IPV6_JOIN_GROUP`). `interface`: 0, or 1 for the stack's only device. No router is told (there is no MLD).
    ///
    /// # Errors
    ///
    /// Those of [`join_multicast_v4`](Self::join_multicast_v4); ENOPROTOOPT on an IPv4 socket.
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.has_v6(false)?;
        has_index(interface)?;
        self.join((*multiaddr).into())
    }

    /// Leaves an IPv4 group (`IP_DROP_MEMBERSHIP`).
    ///
    /// # Errors
    ///
    /// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) if the socket has not joined it;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for an address that is no group's.
    pub fn leave_multicast_v4(&self, multiaddr: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        self.has_interface(interface)?;
        self.leave(multiaddr.into())
    }

    /// Leaves an IPv6 group (`IPV6_LEAVE_GROUP`).
    ///
    /// # Errors
    ///
    /// Those of [`leave_multicast_v4`](Self::leave_multicast_v4); ENOPROTOOPT on an IPv4 socket.
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> io::Result<()> {
        self.has_v6(false)?;
        has_index(interface)?;
        self.leave((*multiaddr).into())
    }

    fn join(&self, group: IpAddr) -> io::Result<()> {
        self.held.each(|core, _, id| core.udp_join(id, group).map_err(error::group)).map(drop)
    }

    fn leave(&self, group: IpAddr) -> io::Result<()> {
        self.held.each(|core, _, id| core.udp_leave(id, group).map_err(error::group)).map(drop)
    }

    fn has_interface(&self, interface: Ipv4Addr) -> io::Result<()> {
        let is_ours = interface.is_unspecified()
            || interface.is_loopback()
            || self.stack().addresses().iter().any(|own| own.address() == interface);
        if is_ours { Ok(()) } else { Err(error::no_device()) }
    }

    /// Whether an option of IPv6 may be set, or `asked` for.
    fn has_v6(&self, asked: bool) -> io::Result<()> {
        if self.held.is_ipv6() { Ok(()) } else { Err(error::no_such_option(asked)) }
    }
}

fn has_index(interface: u32) -> io::Result<()> {
    if interface <= 1 { Ok(()) } else { Err(error::no_device()) }
}
