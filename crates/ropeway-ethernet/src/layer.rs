//! The layer between frames and packets, without I/O and without a clock.

mod arp;
mod dhcp;
mod ndp;
mod receive;
mod send;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ropeway::IpCidr;
use ropeway::device::Received;
use ropeway_core::Timestamp;

use crate::counters::Counts;
use crate::dhcp::Server;
use crate::frame::{FrameQueue, Header};
use crate::ndp::Advertiser;
use crate::neighbors::Neighbors;
use crate::random::Random;
use crate::{EthernetConfig, EthernetCounters, MacAddr};

/// Frames that wait for the link, in bytes, beyond which no packet is taken: a train more may be taken before.
const ROOM: usize = 128 * 1024;
/// Beyond it the layer's own frames are dropped as well.
const ROOM_FOR_CONTROL: usize = 2 * ROOM;
/// ICMP errors that wait for the stack.
const MOST_ERRORS: usize = 64;
/// DHCP messages and router solicitations that are answered in a second.
const MOST_ANSWERS: u32 = 32;
/// RFC 5227 1.1: DEFEND_INTERVAL.
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// RFC 5227 1.1: ANNOUNCE_NUM and ANNOUNCE_INTERVAL.
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);

/// The state of an Ethernet layer: frames, packets and the time go in, and frames, packets and a deadline come out.
///
/// [`EthernetDevice`](crate::EthernetDevice) drives one. Whoever moves frames by other means drives it as follows: give it frames that
/// came ([`handle_frame`](Self::handle_frame)) and packets that are to be sent ([`handle_packet`](Self::handle_packet)); send what is
/// in [`frames`](Self::frames); and call [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) says so.
///
/// # Examples
///
/// ```
/// use bytes::Bytes;
/// use ropeway::device::{Received, Transmit};
/// use ropeway_core::Timestamp;
/// use ropeway_ethernet::{EthernetConfig, EthernetLayer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = EthernetConfig::new("02:00:00:00:00:01".parse()?).address("10.0.0.1/24".parse()?);
/// let mut layer = EthernetLayer::new(config);
/// let now = Timestamp::START;
/// // An empty IPv4 packet to 10.0.0.9.
/// let packet = Bytes::from_static(b"\x45\0\0\x14\0\0\0\0\x40\x3b\0\0\x0a\0\0\x01\x0a\0\0\x09");
/// layer.handle_packet(now, &Transmit::whole(packet));
/// // Nobody knows yet who that is. So the first frame asks everybody.
/// let question = layer.frames().front().expect("a frame");
/// assert_eq!(question[..6], [0xff; 6]);
/// assert_eq!(question[12..14], [0x08, 0x06]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct EthernetLayer {
    mac: MacAddr,
    link_local: Ipv6Addr,
    addresses: Vec<IpCidr>,
    proxied: Vec<IpCidr>,
    routers: Vec<IpAddr>,
    mtu: u16,
    neighbors: Neighbors,
    dhcp: Option<Server>,
    advertiser: Option<Advertiser>,
    random: Random,
    counts: Counts,
    frames: FrameQueue,
    /// ICMP errors for the stack: nobody has answered for a next hop.
    errors: VecDeque<Received>,
    /// The source that was found to be in order last, and the station it is of.
    last_source: Option<(IpAddr, MacAddr)>,
    /// The second in which answers are counted, and how many it has had.
    answers: (u64, u32),
    /// When one of our addresses was defended last.
    defended: Option<Timestamp>,
    /// When our addresses are announced next, and how often they are yet.
    announce: Option<(Timestamp, u8)>,
    begun: bool,
}

impl EthernetLayer {
    /// A layer with these settings.
    #[must_use]
    pub fn new(config: EthernetConfig) -> Self {
        let EthernetConfig { mac, addresses, proxied, routers, mtu, dhcp, advertise, seed } = config;
        let counts = Counts::default();
        let dhcp = dhcp.and_then(|dhcp| {
            let server = Server::new(dhcp, &addresses, mtu);
            if server.is_none() {
                tracing::warn!("no DHCP: none of our addresses is in the pool's network");
            }
            server
        });
        let link_local = mac.link_local();
        let advertiser =
            advertise.map(|advertise| Advertiser::new(advertise, mac, link_local, &addresses, mtu));
        Self {
            mac,
            link_local,
            addresses,
            proxied,
            routers,
            mtu,
            neighbors: Neighbors::new(counts.clone()),
            dhcp,
            advertiser,
            random: seed.map_or_else(Random::fresh, Random::seeded),
            counts,
            frames: FrameQueue::new(),
            errors: VecDeque::new(),
            last_source: None,
            answers: (0, 0),
            defended: None,
            announce: None,
            begun: false,
        }
    }

    /// The longest packet that crosses the link, in bytes with its IP header.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Our link-local IPv6 address. A stack that is to be reached there needs it as one of its addresses.
    #[must_use]
    pub fn link_local(&self) -> Ipv6Addr {
        self.link_local
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> EthernetCounters {
        self.counts.read()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// Frames to send, in their order. Whoever sends one takes it off.
    pub fn frames(&mut self) -> &mut FrameQueue {
        &mut self.frames
    }

    /// Whether few enough frames wait that more packets should be given: no more than 128 KiB.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.frames.len() < ROOM
    }

    /// A packet that the layer has made for its own stack: the ICMP error for one whose next hop does not answer.
    pub fn poll_packet(&mut self) -> Option<Received> {
        self.errors.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if !self.begun {
            return Some(Timestamp::START);
        }
        let advertiser = self.advertiser.as_ref().and_then(Advertiser::poll_timeout);
        let announce = self.announce.map(|(at, _)| at);
        [self.neighbors.poll_timeout(), advertiser, announce].into_iter().flatten().min()
    }

    /// Does what is due: questions are repeated or given up, advertisements are sent.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        if !self.begun {
            self.link_changed(now);
        }
        // An address may be another station's now.
        self.last_source = None;
        self.work(|layer, work| layer.neighbors.handle_timeout(now, work));
        if let Some(packet) = self.advertiser.as_mut().and_then(|ra| ra.poll(now, &mut self.random)) {
            self.counts.router_advertisements();
            self.send_control(
                MacAddr::of_group(crate::ndp::wire::ALL_NODES.into()),
                crate::frame::IPV6,
                &packet,
            );
        }
        if let Some((at, left)) = self.announce
            && at <= now
        {
            self.announce_all();
            let left = left.saturating_sub(1);
            self.announce = (left > 0).then(|| (now + ANNOUNCE_INTERVAL, left));
        }
    }

    /// Somebody else may be at the other end of the link now: neighbors are forgotten, and our addresses and the router are announced
    /// anew. Leases stay, but who does not renew one loses it when there is no other address left.
    pub fn link_changed(&mut self, now: Timestamp) {
        self.begun = true;
        self.neighbors.clear();
        self.last_source = None;
        self.frames.clear();
        self.announce = Some((now, ANNOUNCEMENTS));
        if let Some(dhcp) = &mut self.dhcp {
            dhcp.link_changed();
        }
        if let Some(advertiser) = &mut self.advertiser {
            advertiser.begin(now);
        }
    }

    fn is_ours(&self, address: IpAddr) -> bool {
        address == self.link_local
            || self.addresses.iter().any(|own| own.address() == address)
            || self.proxied.iter().any(|proxied| proxied.contains(address))
    }

    fn is_on_link(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
            || self.addresses.iter().any(|own| own.contains(address))
    }

    fn is_broadcast(&self, address: IpAddr) -> bool {
        address == Ipv4Addr::BROADCAST || self.addresses.iter().any(|own| own.is_broadcast(address))
    }

    /// Whether a station may have such an address, as far as the address tells.
    fn may_be_neighbor(&self, address: IpAddr) -> bool {
        !address.is_unspecified()
            && !address.is_multicast()
            && !address.is_loopback()
            && self.is_on_link(address)
            && !self.is_broadcast(address)
            && !self.is_ours(address)
    }

    /// Whether the DHCP server has given the address to another station.
    fn is_leased_to_another(&self, now: Timestamp, address: IpAddr, mac: MacAddr) -> bool {
        let IpAddr::V4(address) = address else { return false };
        let holder = self.dhcp.as_ref().and_then(|dhcp| dhcp.holder(now, address));
        holder.is_some_and(|holder| holder != mac)
    }

    /// Whether one more answer may be given in this second.
    fn may_answer(&mut self, now: Timestamp) -> bool {
        let second = now.as_millis() / 1000;
        if self.answers.0 != second {
            self.answers = (second, 0);
        }
        self.answers.1 += 1;
        if self.answers.1 > MOST_ANSWERS {
            self.counts.answers_limited();
            return false;
        }
        true
    }

    // RFC 5227 2.4-1
    /// Somebody else uses one of our addresses. Says whether it is to be defended: not more often than each ten seconds, so that two
    /// that do so do not flood the link.
    fn defends(&mut self, now: Timestamp, address: IpAddr, mac: MacAddr) -> bool {
        self.counts.address_conflicts();
        let often = self.defended.is_some_and(|last| now.since(last) < DEFEND_INTERVAL);
        if !often {
            tracing::warn!(%address, station = %mac, "another station uses one of our addresses");
            self.defended = Some(now);
        }
        !often
    }

    fn announce_all(&mut self) {
        let addresses: Vec<IpAddr> = self.addresses.iter().map(IpCidr::address).collect();
        for address in addresses.into_iter().chain([IpAddr::V6(self.link_local)]) {
            match address {
                IpAddr::V4(address) => self.announce_v4(address),
                IpAddr::V6(address) => self.announce_v6(address),
            }
        }
    }

    /// Sends a frame of the layer's own, if there is room.
    fn send_control(&mut self, dst: MacAddr, ethertype: u16, payload: &[u8]) {
        if self.frames.len() >= ROOM_FOR_CONTROL {
            self.counts.control_frames_dropped();
            return;
        }
        let header = Header { dst, src: self.mac, ethertype };
        self.frames.push(header, payload.len(), |to| to.extend_from_slice(payload));
    }
}
