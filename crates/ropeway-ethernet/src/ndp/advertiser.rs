//! Router advertisements (RFC 4861 6.2), with DNS servers (RFC 8106).

use std::net::Ipv6Addr;
use std::time::Duration;

use bytes::BytesMut;
use ropeway::IpCidr;
use ropeway_core::Timestamp;

use super::wire::{ALL_NODES, Advertisement, MOST_DNS_SERVERS, router_advertisement};
use crate::MacAddr;
use crate::random::Random;

/// RFC 4861 6.2.1: MaxRtrAdvInterval, and a third of it.
const MOST_INTERVAL: Duration = Duration::from_secs(600);
const LEAST_INTERVAL: Duration = Duration::from_secs(200);
/// RFC 4861 10: MAX_INITIAL_RTR_ADVERT_INTERVAL, MAX_INITIAL_RTR_ADVERTISEMENTS, MIN_DELAY_BETWEEN_RAS, MAX_RA_DELAY_TIME.
const INITIAL_INTERVAL: Duration = Duration::from_secs(16);
const INITIAL: u8 = 3;
const LEAST_DELAY: Duration = Duration::from_secs(3);
const MOST_DELAY_MICROS: u32 = 500_000;

/// RFC 4861 6.2.1: AdvValidLifetime, AdvPreferredLifetime.
const VALID: Duration = Duration::from_secs(30 * 24 * 3600);
const PREFERRED: Duration = Duration::from_secs(7 * 24 * 3600);

/// What router advertisements tell the hosts of the link, beside the prefixes of our addresses, the MTU, and our hardware address.
#[derive(Clone, Debug, Default)]
pub struct RouterConfig {
    lifetime: Option<Duration>,
    dns: Vec<Ipv6Addr>,
}

impl RouterConfig {
    /// Advertisements of a router for half an hour at a time, without DNS servers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long hosts use us as a router after an advertisement: at most 9000 seconds. Zero: they use the prefixes, and do not use
    /// us as a router.
    #[must_use]
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime: Some(lifetime.min(Duration::from_secs(9000))), ..self }
    }

    /// Adds a DNS server. Up to eight are told.
    #[must_use]
    pub fn dns(mut self, server: Ipv6Addr) -> Self {
        if self.dns.len() < usize::from(MOST_DNS_SERVERS) {
            self.dns.push(server);
        }
        self
    }
}

#[derive(Debug)]
pub(crate) struct Advertiser {
    config: RouterConfig,
    mac: MacAddr,
    src: Ipv6Addr,
    prefixes: Vec<(Ipv6Addr, u8)>,
    mtu: u16,
    /// When the next one to all is due, and when the last one was sent.
    next: Option<Timestamp>,
    last: Option<Timestamp>,
    sent: u8,
}

impl Advertiser {
    pub(crate) fn new(
        config: RouterConfig,
        mac: MacAddr,
        src: Ipv6Addr,
        addresses: &[IpCidr],
        mtu: u16,
    ) -> Self {
        let mut prefixes: Vec<_> = addresses.iter().filter_map(prefix).collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        Self { config, mac, src, prefixes, mtu, next: None, last: None, sent: 0 }
    }

    /// Whether hosts are to use us as a router.
    pub(crate) fn is_router(&self) -> bool {
        !self.lifetime().is_zero()
    }

    fn lifetime(&self) -> Duration {
        // RFC 4861 6.2.1: three times the interval.
        self.config.lifetime.unwrap_or(MOST_INTERVAL * 3)
    }

    /// Begins to advertise.
    pub(crate) fn begin(&mut self, now: Timestamp) {
        (self.next, self.sent) = (Some(now), 0);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.next
    }

    // RFC 4861 6.2.6-1
    /// A host that has no address yet asks: all are answered, a little later, and not more often than each three seconds.
    pub(crate) fn is_asked(&mut self, now: Timestamp, random: &mut Random) {
        let soon = now + Duration::from_micros(random.below(MOST_DELAY_MICROS).into());
        let soon = self.last.map_or(soon, |last| soon.max(last + LEAST_DELAY));
        self.next = Some(self.next.map_or(soon, |next| next.min(soon)));
    }

    // RFC 4861 6.2.4-1
    /// The advertisement to all, if it is due.
    pub(crate) fn poll(&mut self, now: Timestamp, random: &mut Random) -> Option<BytesMut> {
        self.next.filter(|next| *next <= now)?;
        self.sent = self.sent.saturating_add(1);
        self.last = Some(now);
        let spread = (MOST_INTERVAL - LEAST_INTERVAL).as_secs();
        let interval =
            LEAST_INTERVAL + Duration::from_secs(random.below(u32::try_from(spread).unwrap_or(0)).into());
        let interval = if self.sent < INITIAL { interval.min(INITIAL_INTERVAL) } else { interval };
        self.next = Some(now + interval);
        Some(self.to(ALL_NODES))
    }

    /// The advertisement for one host.
    pub(crate) fn to(&self, dst: Ipv6Addr) -> BytesMut {
        let says = Advertisement {
            mac: self.mac,
            hop_limit: 64,
            router_lifetime: self.lifetime(),
            mtu: self.mtu,
            prefixes: &self.prefixes,
            valid: VALID,
            preferred: PREFERRED,
            dns: &self.config.dns,
            // RFC 8106 5.1: at least three times the interval.
            dns_lifetime: MOST_INTERVAL * 3,
        };
        router_advertisement(self.src, dst, &says)
    }
}

/// The network of an address, if it is one that hosts can be told of.
fn prefix(own: &IpCidr) -> Option<(Ipv6Addr, u8)> {
    let std::net::IpAddr::V6(address) = own.address() else { return None };
    let host = u128::MAX.checked_shr(own.prefix_len().into()).unwrap_or(0);
    let network = Ipv6Addr::from_bits(address.to_bits() & !host);
    (!network.is_unicast_link_local() && own.prefix_len() < 128).then_some((network, own.prefix_len()))
}
