//! What an Ethernet layer is told.

use std::net::IpAddr;

use ropeway::IpCidr;

use crate::{DhcpConfig, MacAddr, RouterConfig};

/// The settings of an Ethernet layer.
///
/// The layer is a **router** for the hosts of its link, such as the guests of a gateway, unless it is told of a router: then it is a
/// **host** among others. A router takes packets only from addresses of its own networks, and from the station that has the address. A
/// host takes them from anywhere.
///
/// # Examples
///
/// A router for virtual machines:
///
/// ```
/// use std::net::Ipv4Addr;
/// use ropeway_ethernet::{DhcpConfig, EthernetConfig, MacAddr, RouterConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Ipv4Addr::new(10, 0, 2, 15)..=Ipv4Addr::new(10, 0, 2, 30);
/// let config = EthernetConfig::new("52:55:0a:00:02:02".parse()?)
///     .address("10.0.2.2/24".parse()?)
///     .address("fd00::2/64".parse()?)
///     .dhcp(DhcpConfig::new(pool).dns(Ipv4Addr::new(10, 0, 2, 2)))
///     .advertise(RouterConfig::new().dns("fd00::2".parse()?));
/// # Ok(())
/// # }
/// ```
///
/// A host:
///
/// ```
/// # use ropeway_ethernet::EthernetConfig;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = EthernetConfig::new("02:00:00:00:00:07".parse()?)
///     .address("192.168.1.7/24".parse()?)
///     .router("192.168.1.1".parse()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct EthernetConfig {
    pub(crate) mac: MacAddr,
    pub(crate) addresses: Vec<IpCidr>,
    pub(crate) proxied: Vec<IpCidr>,
    pub(crate) routers: Vec<IpAddr>,
    pub(crate) mtu: u16,
    pub(crate) dhcp: Option<DhcpConfig>,
    pub(crate) advertise: Option<RouterConfig>,
    pub(crate) seed: Option<u64>,
}

impl EthernetConfig {
    /// A layer whose hardware address is `mac`. It has the link-local IPv6 address that is made from it, and an MTU of 1500 bytes.
    #[must_use]
    pub fn new(mac: MacAddr) -> Self {
        Self {
            mac,
            addresses: Vec::new(),
            proxied: Vec::new(),
            routers: Vec::new(),
            mtu: 1500,
            dhcp: None,
            advertise: None,
            seed: None,
        }
    }

    /// Adds an address that is answered for, with its network, whose other addresses are on the link. The stack needs it as well
    /// ([`Builder::address`](ropeway::Builder::address)).
    #[must_use]
    pub fn address(mut self, address: IpCidr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Adds addresses that are answered for as if they were ours: proxy ARP (RFC 1027) and its like for IPv6 (RFC 4861 7.2.8).
    #[must_use]
    pub fn proxy(mut self, addresses: IpCidr) -> Self {
        self.proxied.push(addresses);
        self
    }

    /// Adds a router, to which whatever is not for this link is given: the first of each family is used.
    #[must_use]
    pub fn router(mut self, router: IpAddr) -> Self {
        self.routers.push(router);
        self
    }

    /// Sets the longest packet, in bytes with its IP header: at least 1280, as IPv6 needs.
    #[must_use]
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.mtu = mtu.max(1280);
        self
    }

    /// Gives addresses to the hosts of the link by DHCP. It needs one of our addresses in the pool's network.
    #[must_use]
    pub fn dhcp(mut self, dhcp: DhcpConfig) -> Self {
        self.dhcp = Some(dhcp);
        self
    }

    /// Sends router advertisements with the prefixes of our IPv6 addresses.
    #[must_use]
    pub fn advertise(mut self, advertise: RouterConfig) -> Self {
        self.advertise = Some(advertise);
        self
    }

    /// Sets where times that vary by chance come from, so that two runs are the same.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }
}
