//! DHCP: which packets are the server's, and how answers go out.

use std::net::{IpAddr, Ipv4Addr};

use ropeway::packet::{IpParams, Protocol, ip, udp};
use ropeway_core::Timestamp;

use super::EthernetLayer;
use crate::dhcp::{Answer, CLIENT_PORT, Effect, SERVER_PORT, Silence};
use crate::frame::{Header, IPV4};
use crate::neighbors::Work;

/// Bytes of an IPv4 header without options.
const IP_LEN: usize = 20;

impl EthernetLayer {
    /// Whether a packet is for the DHCP server.
    pub(super) fn is_for_dhcp(&self, packet: &[u8], dst: Ipv4Addr) -> bool {
        let Some(server) = &self.dhcp else { return false };
        let is_udp = packet.get(9) == Some(&Protocol::UDP.0);
        let at = packet.first().map_or(0, |first| usize::from(first & 0xf) * 4);
        let port = packet.get(at + 2..at + 4);
        let for_us = self.is_broadcast(dst.into()) || dst == server.address();
        is_udp && for_us && port == Some(&SERVER_PORT.to_be_bytes())
    }

    pub(super) fn take_dhcp(&mut self, now: Timestamp, header: Header, packet: &[u8]) {
        let datagram = ip::parse(packet).ok().and_then(|ip| udp::parse(packet, &ip, true).ok());
        let datagram = datagram.filter(|datagram| datagram.header.src_port == CLIENT_PORT);
        let Some(bytes) = datagram.and_then(|datagram| packet.get(datagram.payload)) else {
            return self.counts.bad_dhcp();
        };
        if !self.may_answer(now) {
            return;
        }
        let Some(server) = &mut self.dhcp else { return };
        let neighbors = &self.neighbors;
        let is_taken = |address: Ipv4Addr| {
            neighbors.recent_station_of(now, address.into()).is_some_and(|station| station != header.src)
        };
        match server.handle(now, header.src, bytes, is_taken) {
            Ok(answer) => self.answer_dhcp(now, header, &answer),
            Err(Silence::Bad) => self.counts.bad_dhcp(),
            Err(Silence::Exhausted) => self.counts.dhcp_exhausted(),
            Err(Silence::Heard) => {}
        }
    }

    fn answer_dhcp(&mut self, now: Timestamp, header: Header, answer: &Answer) {
        match answer.effect {
            Effect::None => {}
            Effect::Refused => self.counts.dhcp_refused(),
            Effect::Leased(address) => {
                self.counts.dhcp_leases();
                tracing::debug!(%address, station = %header.src, "leased");
                self.last_source = None;
                self.work(|layer, work: &mut Work| {
                    layer.neighbors.assign(now, address.into(), header.src, work);
                });
            }
        }
        let Some(server) = &self.dhcp else { return };
        let params = IpParams {
            src: server.address().into(),
            dst: IpAddr::V4(answer.dst),
            protocol: Protocol::UDP,
            hop_limit: 64,
            traffic_class: 0,
            dont_fragment: true,
            ident: 0,
            flow_label: 0,
        };
        if let Ok(packet) = udp::emit(&params, SERVER_PORT, CLIENT_PORT, &answer.message) {
            debug_assert!(packet.len() > IP_LEN);
            self.send_control(answer.mac, IPV4, &packet);
        }
    }
}
