//! What a gateway is told when it is made.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use ropeway::IpCidr;

/// What a [`Gateway`](crate::Gateway) does and how much.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The guest's own networks. What is there is not looked for outside.
    pub network: Vec<IpCidr>,
    /// Addresses that lead elsewhere; the first that fits counts. What they lead to is not checked, so this is how a guest reaches the
    /// host's own services.
    pub maps: Vec<Map>,
    /// Where DNS queries are taken, and who answers them. None by default.
    pub dns: Option<DnsSettings>,
    /// Ports of the host that lead to the guest.
    pub forwards: Vec<Forward>,
    /// How much the guest may have at a time.
    pub limits: Limits,
    /// How long the outside may take to answer a connection. 30 s.
    pub connect_timeout: Duration,
    /// How long a UDP flow may be idle (RFC 4787 4.3: two minutes at least). 120 s.
    pub udp_idle: Duration,
    /// Likewise, echo requests of one sender to one address. 10 s.
    pub echo_idle: Duration,
    /// How long each resolver may take to answer. 5 s.
    pub dns_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            network: Vec::new(),
            maps: Vec::new(),
            dns: None,
            forwards: Vec::new(),
            limits: Limits::default(),
            connect_timeout: Duration::from_secs(30),
            udp_idle: Duration::from_secs(120),
            echo_idle: Duration::from_secs(10),
            dns_timeout: Duration::from_secs(5),
        }
    }
}

/// Where DNS queries are taken, and who answers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSettings {
    /// The resolver's address, as the guest knows it, with the port 53.
    pub at: Vec<IpAddr>,
    /// Resolvers, which are asked one after the other until one answers. They may be the host's own.
    pub resolvers: Vec<SocketAddr>,
}

/// How much a guest may have at a time. What is beyond is refused or dropped, and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// TCP connections, forwarded ones included. 4096.
    pub tcp_flows: usize,
    /// Of these, such that the outside has not answered yet. Others wait for their turn. 256.
    pub connecting: usize,
    /// UDP flows: beyond it, the one that has been idle longest ends. 1024.
    pub udp_flows: usize,
    /// DNS queries without an answer. 256.
    pub dns_queries: usize,
    /// Senders and receivers of echo requests. 64.
    pub echo_flows: usize,
    /// Sockets of the host in all. As many as the process may open, but for 64.
    pub descriptors: usize,
    /// ICMP errors to the guest in a second. 1000.
    pub icmp_errors_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tcp_flows: 4096,
            connecting: 256,
            udp_flows: 1024,
            dns_queries: 256,
            echo_flows: 64,
            descriptors: descriptors().saturating_sub(64).max(16),
            icmp_errors_per_second: 1000,
        }
    }
}

/// How many descriptors the process may have.
#[cfg(target_os = "linux")]
fn descriptors() -> usize {
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE);
    limit.ok().and_then(|(soft, _)| usize::try_from(soft).ok()).unwrap_or(1024).min(1 << 20)
}

#[cfg(not(target_os = "linux"))]
fn descriptors() -> usize {
    256
}

/// An address that leads to another one: `10.0.2.2=127.0.0.1`, or with ports, `10.0.2.2:80=127.0.0.1:8080`.
///
/// ```
/// use ropeway_gateway::Map;
///
/// let map: Map = "10.0.2.2:80=127.0.0.1:8080".parse()?;
/// assert_eq!(map.lead("10.0.2.2:80".parse()?), Some("127.0.0.1:8080".parse()?));
/// assert_eq!(map.lead("10.0.2.2:81".parse()?), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    from: (IpAddr, Option<u16>),
    to: (IpAddr, Option<u16>),
}

impl Map {
    /// Leads from all ports of an address to those of another.
    #[must_use]
    pub fn address(from: IpAddr, to: IpAddr) -> Self {
        Self { from: (from, None), to: (to, None) }
    }

    /// Where an address leads to, if this says anything about it.
    #[must_use]
    pub fn lead(&self, original: SocketAddr) -> Option<SocketAddr> {
        let (address, port) = self.from;
        let fits = address == original.ip() && port.is_none_or(|port| port == original.port());
        fits.then(|| SocketAddr::new(self.to.0, self.to.1.unwrap_or(original.port())))
    }
}

/// This is no map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseMapError;

impl fmt::Display for ParseMapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write ADDRESS=ADDRESS or ADDRESS:PORT=ADDRESS:PORT, such as 10.0.2.2=127.0.0.1")
    }
}

impl std::error::Error for ParseMapError {}

impl FromStr for Map {
    type Err = ParseMapError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (from, to) = text.split_once('=').ok_or(ParseMapError)?;
        let map = Self { from: end(from)?, to: end(to)? };
        // A port of many that leads to one would be a surprise.
        if map.from.1.is_none() && map.to.1.is_some() { Err(ParseMapError) } else { Ok(map) }
    }
}

fn end(text: &str) -> Result<(IpAddr, Option<u16>), ParseMapError> {
    if let Ok(address) = text.parse() {
        return Ok((address, None));
    }
    let address: SocketAddr = text.parse().map_err(|_| ParseMapError)?;
    Ok((address.ip(), Some(address.port())))
}

/// A port of the host that leads to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forward {
    /// UDP, not TCP.
    pub udp: bool,
    /// Where the host takes connections or datagrams. Whoever reaches that reaches the guest.
    pub at: SocketAddr,
    /// Where they go to: the guest's address.
    pub to: SocketAddr,
}

impl Forward {
    /// Connections.
    #[must_use]
    pub fn tcp(at: SocketAddr, to: SocketAddr) -> Self {
        Self { udp: false, at, to }
    }

    /// Datagrams.
    #[must_use]
    pub fn udp(at: SocketAddr, to: SocketAddr) -> Self {
        Self { udp: true, at, to }
    }
}
