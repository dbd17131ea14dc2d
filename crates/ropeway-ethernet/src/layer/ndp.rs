//! Neighbor discovery: who asks, who answers, who lies, and who looks for a router.

use std::net::{IpAddr, Ipv6Addr};

use ropeway::packet::IpPacket;
use ropeway_core::Timestamp;

use super::EthernetLayer;
use crate::MacAddr;
use crate::frame::{Header, IPV6};
use crate::ndp::wire::{
    ALL_NODES, AdvertisementFlags, Invalid, Message, neighbor_advertisement, neighbor_solicitation,
    solicited_node,
};
use crate::neighbors::Heard;

impl EthernetLayer {
    // RFC 4861 8.3-1
    pub(super) fn take_ndp(
        &mut self,
        now: Timestamp,
        header: Header,
        ip: &IpPacket,
        message: Result<Message, Invalid>,
    ) {
        let IpAddr::V6(src) = ip.src else { return };
        let (Message::RouterSolicitation { source_mac: mac }
        | Message::NeighborSolicitation { source_mac: mac, .. }
        | Message::NeighborAdvertisement { target_mac: mac, .. }) = (match message {
            Ok(Message::OtherRouter) => return self.counts.foreign_routers(),
            Ok(message) => message,
            Err(Invalid) => return self.counts.bad_ndp(),
        })
        else {
            return;
        };
        // Whoever speaks for another station is not believed.
        if mac.is_some_and(|mac| mac != header.src) {
            return self.counts.bad_ndp();
        }
        match message {
            Ok(Message::RouterSolicitation { source_mac }) => {
                self.take_router_solicitation(now, header, src, source_mac.is_some());
            }
            Ok(Message::NeighborSolicitation { target, source_mac }) => {
                self.take_solicitation(now, header, src, target, source_mac.is_some());
            }
            Ok(Message::NeighborAdvertisement { target, flags, target_mac }) => {
                let was_asked = flags.solicited && header.dst == self.mac;
                let heard = if was_asked { Heard::Answers } else { Heard::Tells };
                if self.is_ours(target.into()) {
                    if self.defends(now, target.into(), header.src) {
                        self.announce_v6(target);
                    }
                } else if target_mac.is_none() && self.neighbors.station_of(target.into()).is_none() {
                    // Who is not known has to say where it is.
                    self.counts.unsolicited_answers();
                } else if self.may_be_neighbor(target.into()) {
                    self.hear(now, (target.into(), header.src), heard);
                } else {
                    self.counts.bad_sources();
                }
            }
            Ok(Message::OtherRouter) | Err(Invalid) => {}
        }
    }

    // RFC 4861 7.2.3-2, RFC 4861 7.2.4-1
    fn take_solicitation(
        &mut self,
        now: Timestamp,
        header: Header,
        src: Ipv6Addr,
        target: Ipv6Addr,
        tells_mac: bool,
    ) {
        if self.is_ours(src.into()) {
            self.counts.bad_sources();
            return;
        }
        let is_ours = self.is_ours(target.into());
        if src.is_unspecified() {
            // RFC 4862 5.4.3: somebody wants to know whether the address is free. It is not.
            if is_ours {
                self.counts.address_conflicts();
                self.announce_v6(target);
            }
            return;
        }
        if !self.may_be_neighbor(src.into()) {
            self.counts.bad_sources();
            return;
        }
        if !is_ours {
            return;
        }
        if tells_mac {
            self.hear(now, (src.into(), header.src), Heard::Asks);
        }
        let flags = AdvertisementFlags { solicited: true, ..self.flags(target) };
        let packet = neighbor_advertisement(target, src, flags, self.mac);
        self.send_control(header.src, IPV6, &packet);
    }

    // RFC 4861 6.2.6-1, RFC 4861 6.2.6-2
    fn take_router_solicitation(&mut self, now: Timestamp, header: Header, src: Ipv6Addr, tells_mac: bool) {
        if self.advertiser.is_none() {
            return;
        }
        if !src.is_unspecified() && !self.may_be_neighbor(src.into()) {
            self.counts.bad_sources();
            return;
        }
        if !self.may_answer(now) {
            return;
        }
        if tells_mac {
            self.hear(now, (src.into(), header.src), Heard::Asks);
        }
        let Some(advertiser) = &mut self.advertiser else { return };
        if src.is_unspecified() {
            advertiser.is_asked(now, &mut self.random);
            return;
        }
        let packet = advertiser.to(src);
        self.counts.router_advertisements();
        self.send_control(header.src, IPV6, &packet);
    }

    /// Asks who has an address, or whether it is there.
    pub(super) fn ask_v6(&mut self, about: Ipv6Addr, whom: Option<MacAddr>, on_behalf_of: Option<IpAddr>) {
        let src = match on_behalf_of {
            Some(IpAddr::V6(src)) if self.addresses.iter().any(|own| own.address() == src) => src,
            _ => self.link_local,
        };
        let dst = if whom.is_some() { about } else { solicited_node(about) };
        let packet = neighbor_solicitation(src, dst, about, self.mac);
        self.send_control(whom.unwrap_or(MacAddr::of_group(dst.into())), IPV6, &packet);
    }

    // RFC 4861 7.2.6-1
    pub(super) fn announce_v6(&mut self, address: Ipv6Addr) {
        let packet = neighbor_advertisement(address, ALL_NODES, self.flags(address), self.mac);
        self.send_control(MacAddr::of_group(ALL_NODES.into()), IPV6, &packet);
    }

    /// RFC 4861 7.2.8: who answers for others does not override what they say.
    fn flags(&self, address: Ipv6Addr) -> AdvertisementFlags {
        let own = |own: IpAddr| own == address;
        let overrides = address == self.link_local || self.addresses.iter().any(|cidr| own(cidr.address()));
        let router = self.advertiser.as_ref().is_some_and(crate::ndp::Advertiser::is_router);
        AdvertisementFlags { router, solicited: false, overrides }
    }
}
