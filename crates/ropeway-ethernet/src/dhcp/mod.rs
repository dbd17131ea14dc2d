//! A DHCP server for the guests of one link (RFC 2131).

mod leases;
mod wire;

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::BytesMut;
use ropeway::IpCidr;
use ropeway_core::Timestamp;

use self::leases::Leases;
pub(crate) use self::wire::{CLIENT_PORT, SERVER_PORT};
use self::wire::{Kind, Message, Network, Reply};
use crate::MacAddr;

/// The most addresses of a pool.
pub(crate) const MOST_ADDRESSES: usize = 1024;

/// What a DHCP server gives to the hosts of the link.
///
/// It is the only server of its link: a client that asks for an address of its pool which nobody has gets it, also if the server
/// has forgotten that it gave it.
#[derive(Clone, Debug)]
pub struct DhcpConfig {
    pool: RangeInclusive<Ipv4Addr>,
    lease_time: Duration,
    router: bool,
    dns: Vec<Ipv4Addr>,
}

impl DhcpConfig {
    /// A server that gives the addresses of `pool`, for an hour at a time, and tells the layer's own address of that network as the
    /// router. Of a larger pool the first 1024 addresses are given.
    #[must_use]
    pub fn new(pool: RangeInclusive<Ipv4Addr>) -> Self {
        Self { pool, lease_time: Duration::from_secs(3600), router: true, dns: Vec::new() }
    }

    /// Sets for how long an address is given: at least a minute.
    #[must_use]
    pub fn lease_time(self, lease_time: Duration) -> Self {
        let least = Duration::from_secs(60);
        Self { lease_time: lease_time.clamp(least, Duration::from_secs(u32::MAX.into())), ..self }
    }

    /// Sets whether hosts are told that we are their router.
    #[must_use]
    pub fn router(self, router: bool) -> Self {
        Self { router, ..self }
    }

    /// Adds a DNS server. Up to eight are told.
    #[must_use]
    pub fn dns(mut self, server: Ipv4Addr) -> Self {
        if self.dns.len() < 8 {
            self.dns.push(server);
        }
        self
    }
}

/// What the server has for a client.
pub(crate) struct Answer {
    /// The DHCP message.
    pub(crate) message: BytesMut,
    /// Where it goes: an address that the client has or gets, or all.
    pub(crate) dst: Ipv4Addr,
    pub(crate) mac: MacAddr,
    pub(crate) effect: Effect,
}

/// What has become of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    None,
    Leased(Ipv4Addr),
    Refused,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The message is malformed, relayed, or not from the station that it names.
    Bad,
    /// There is no address.
    Exhausted,
    /// None is needed.
    Heard,
}

#[derive(Debug)]
pub(crate) struct Server {
    config: DhcpConfig,
    /// Our address in the pool's network.
    own: IpCidr,
    server: Ipv4Addr,
    mtu: u16,
    leases: Leases,
}

impl Server {
    /// `None` if we have no address in the pool's network.
    pub(crate) fn new(config: DhcpConfig, addresses: &[IpCidr], mtu: u16) -> Option<Self> {
        let own = *addresses.iter().find(|own| own.contains((*config.pool.start()).into()))?;
        let std::net::IpAddr::V4(server) = own.address() else { return None };
        let network = |address: Ipv4Addr| own.contains(address.into()) && !own.is_broadcast(address.into());
        let is_first = |address: Ipv4Addr| own.prefix_len() < 31 && address.to_bits() & host_bits(own) == 0;
        let all = config.pool.start().to_bits()..=config.pool.end().to_bits();
        let pool = all
            .map(Ipv4Addr::from_bits)
            .take_while(|address| own.contains((*address).into()))
            .filter(|address| network(*address) && !is_first(*address))
            .filter(|address| addresses.iter().all(|own| own.address() != *address))
            .take(MOST_ADDRESSES)
            .collect();
        Some(Self { leases: Leases::new(pool, config.lease_time), config, own, server, mtu })
    }

    /// Whose an address is, if it is leased.
    pub(crate) fn holder(&self, now: Timestamp, address: Ipv4Addr) -> Option<MacAddr> {
        self.leases.holder(now, address)
    }

    /// Other hosts may be on the link now.
    pub(crate) fn link_changed(&mut self) {
        self.leases.link_changed();
    }

    /// A message from the station `mac`. `is_taken` says whether another station than that one is known to have an address.
    pub(crate) fn handle(
        &mut self,
        now: Timestamp,
        mac: MacAddr,
        bytes: &[u8],
        is_taken: impl Fn(Ipv4Addr) -> bool,
    ) -> Result<Answer, Silence> {
        let message = Message::parse(bytes).filter(|message| message.mac == mac).ok_or(Silence::Bad)?;
        match message.kind {
            Kind::Discover => self.offer(now, &message, is_taken),
            Kind::Request => self.request(now, &message, is_taken),
            Kind::Inform => Ok(self.inform(&message)),
            Kind::Decline => {
                // RFC 2131 4.3.3
                if message.server == Some(self.server)
                    && let Some(address) = message.requested
                {
                    self.leases.decline(now, &message, address);
                }
                Err(Silence::Heard)
            }
            Kind::Release => {
                // RFC 2131 4.3.4
                if message.server == Some(self.server) {
                    self.leases.release(now, &message, message.ciaddr);
                }
                Err(Silence::Heard)
            }
            Kind::Offer | Kind::Ack | Kind::Nak => Err(Silence::Bad),
        }
    }

    // RFC 2131 4.3.1
    fn offer(
        &mut self,
        now: Timestamp,
        message: &Message,
        is_taken: impl Fn(Ipv4Addr) -> bool,
    ) -> Result<Answer, Silence> {
        let address = self.leases.offer(now, message, is_taken).ok_or(Silence::Exhausted)?;
        Ok(self.answer(message, Kind::Offer, address))
    }

    // RFC 2131 4.3.2
    fn request(
        &mut self,
        now: Timestamp,
        message: &Message,
        is_taken: impl Fn(Ipv4Addr) -> bool,
    ) -> Result<Answer, Silence> {
        if message.server.is_some_and(|server| server != self.server) {
            // It has chosen another server.
            self.leases.withdraw(message);
            return Err(Silence::Heard);
        }
        let wanted = match message.requested {
            Some(requested) if message.ciaddr.is_unspecified() => requested,
            None if !message.ciaddr.is_unspecified() => message.ciaddr,
            _ => return Err(Silence::Bad),
        };
        if self.leases.lease(now, message, wanted, is_taken) {
            let mut answer = self.answer(message, Kind::Ack, wanted);
            answer.effect = Effect::Leased(wanted);
            return Ok(answer);
        }
        let refusal = Reply {
            kind: Kind::Nak,
            server: self.server,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            lease_time: None,
            network: None,
        };
        // RFC 2131 4.1: all of them may have to hear it, since the client may not have the address that it thinks it has.
        Ok(Answer {
            message: refusal.emit(message),
            dst: Ipv4Addr::BROADCAST,
            mac: MacAddr::BROADCAST,
            effect: Effect::Refused,
        })
    }

    // RFC 2131 4.3.5
    fn inform(&self, message: &Message) -> Answer {
        let reply = Reply {
            kind: Kind::Ack,
            server: self.server,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            lease_time: None,
            network: Some(self.network()),
        };
        self.addressed(message, reply)
    }

    fn answer(&self, message: &Message, kind: Kind, address: Ipv4Addr) -> Answer {
        let reply = Reply {
            kind,
            server: self.server,
            yiaddr: address,
            lease_time: u32::try_from(self.config.lease_time.as_secs()).ok(),
            network: Some(self.network()),
        };
        self.addressed(message, reply)
    }

    /// RFC 2131 4.1: who has an address gets the answer there; who cannot take one before it has an address gets it as all do.
    fn addressed(&self, message: &Message, reply: Reply<'_>) -> Answer {
        let bytes = reply.emit(message);
        // Nobody but the sender gets it, whatever address it says is its own.
        let has_one =
            self.own.contains(message.ciaddr.into()) && !self.own.is_broadcast(message.ciaddr.into());
        let (dst, mac) = match () {
            () if has_one => (message.ciaddr, message.mac),
            () if message.broadcast || reply.yiaddr.is_unspecified() => {
                (Ipv4Addr::BROADCAST, MacAddr::BROADCAST)
            }
            () => (reply.yiaddr, message.mac),
        };
        Answer { message: bytes, dst, mac, effect: Effect::None }
    }

    fn network(&self) -> Network<'_> {
        let mask = !host_bits(self.own);
        Network {
            mask: Ipv4Addr::from_bits(mask),
            broadcast: Ipv4Addr::from_bits(self.server.to_bits() | !mask),
            router: self.config.router.then_some(self.server),
            dns: &self.config.dns,
            mtu: self.mtu,
        }
    }

    /// Our address, from which answers come.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.server
    }
}

/// The bits of an address behind the prefix.
fn host_bits(own: IpCidr) -> u32 {
    u32::MAX.checked_shr(own.prefix_len().into()).unwrap_or(0)
}
