//! Frames that come in: what is taken, and what is dropped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Buf;
use ropeway::device::Received;
use ropeway::packet::{Protocol, ip};
use ropeway_core::Timestamp;

use super::EthernetLayer;
use crate::MacAddr;
use crate::frame::{ARP, FIRST_TYPE, HEADER_LEN, Header, IPV4, IPV6, VLAN};
use crate::ndp::wire;
use crate::neighbors::Heard;

/// What stands at the beginning of each IP packet.
struct IpHead {
    src: IpAddr,
    dst: IpAddr,
    /// Of the packet, as its header says.
    len: usize,
}

impl EthernetLayer {
    /// Takes a frame that came, from its Ethernet header on, without the frame check sequence. Gives the packet that the stack is to
    /// receive, if it carries one. What is wrong with it is counted, never an error.
    pub fn handle_frame(&mut self, now: Timestamp, mut frame: Received) -> Option<Received> {
        let header = self.accept(&frame.packet)?;
        let payload = frame.packet.get(HEADER_LEN..).unwrap_or_default();
        let head = match header.ethertype {
            ARP => {
                self.last_source = None;
                self.take_arp(now, header, payload);
                return None;
            }
            IPV4 => self.head_v4(payload)?,
            IPV6 => self.head_v6(payload)?,
            kind => {
                match VLAN.contains(&kind) {
                    true => self.counts.vlan_frames(),
                    false => self.counts.unknown_frames(),
                }
                return None;
            }
        };
        if head.len > usize::from(self.mtu) {
            self.counts.oversized_frames();
            return None;
        }
        // RFC 1122 3.3.6: what is for one host is not sent to all; nobody is to be answered for that.
        if header.dst.is_multicast() && !head.dst.is_multicast() && !self.is_broadcast(head.dst) {
            self.counts.unicast_in_broadcast_frames();
            return None;
        }
        if self.take_for_layer(now, header, payload, &head) || !self.is_good_source(now, head.src, header.src)
        {
            return None;
        }
        frame.packet.advance(HEADER_LEN);
        // What follows the packet is padding.
        frame.packet.truncate(head.len);
        Some(frame)
    }

    /// The header, if the frame is for us and from another station.
    fn accept(&self, frame: &[u8]) -> Option<Header> {
        let Some(header) = Header::parse(frame) else {
            self.counts.runt_frames();
            return None;
        };
        if header.dst != self.mac && !header.dst.is_multicast() {
            self.counts.frames_to_others();
            return None;
        }
        if !header.src.is_unicast() || header.src == self.mac {
            self.counts.bad_source_macs();
            return None;
        }
        if header.ethertype < FIRST_TYPE {
            self.counts.unknown_frames();
            return None;
        }
        Some(header)
    }

    fn head_v4(&self, packet: &[u8]) -> Option<IpHead> {
        let Some((&[first, _, l0, l1, _, _, _, _, _, _, _, _, s0, s1, s2, s3, d0, d1, d2, d3], _)) =
            packet.split_first_chunk::<20>()
        else {
            self.counts.runt_frames();
            return None;
        };
        if first >> 4 != 4 {
            self.counts.unknown_frames();
            return None;
        }
        Some(IpHead {
            src: Ipv4Addr::new(s0, s1, s2, s3).into(),
            dst: Ipv4Addr::new(d0, d1, d2, d3).into(),
            len: u16::from_be_bytes([l0, l1]).into(),
        })
    }

    fn head_v6(&self, packet: &[u8]) -> Option<IpHead> {
        let Some((&[first, _, _, _, l0, l1, _, _], rest)) = packet.split_first_chunk::<8>() else {
            self.counts.runt_frames();
            return None;
        };
        let (Some(src), Some(dst)) =
            (rest.first_chunk::<16>(), rest.get(16..).and_then(|rest| rest.first_chunk::<16>()))
        else {
            self.counts.runt_frames();
            return None;
        };
        if first >> 4 != 6 {
            self.counts.unknown_frames();
            return None;
        }
        Some(IpHead {
            src: Ipv6Addr::from(*src).into(),
            dst: Ipv6Addr::from(*dst).into(),
            len: 40 + usize::from(u16::from_be_bytes([l0, l1])),
        })
    }

    /// What is the layer's own: DHCP, and neighbor discovery.
    fn take_for_layer(&mut self, now: Timestamp, header: Header, packet: &[u8], head: &IpHead) -> bool {
        match head.dst {
            IpAddr::V4(dst) => {
                let is_dhcp = self.is_for_dhcp(packet, dst);
                if is_dhcp {
                    self.take_dhcp(now, header, packet);
                }
                is_dhcp
            }
            IpAddr::V6(_) => {
                let next = packet.get(6).copied();
                if next == Some(Protocol::TCP.0) || next == Some(Protocol::UDP.0) {
                    return false;
                }
                let Ok(ip) = ip::parse(packet) else { return false };
                let Some(message) = wire::parse(packet, &ip) else { return false };
                self.last_source = None;
                self.take_ndp(now, header, &ip, message);
                true
            }
        }
    }

    /// Whether a packet from `src` may come from the station `mac`.
    fn is_good_source(&mut self, now: Timestamp, src: IpAddr, mac: MacAddr) -> bool {
        if self.last_source == Some((src, mac)) {
            return true;
        }
        let is_router = self.routers.is_empty();
        let is_bad =
            src.is_multicast() || src.is_loopback() || src.is_unspecified() || self.is_broadcast(src);
        if is_bad || self.is_ours(src) || is_router && !self.is_on_link(src) {
            self.counts.bad_sources();
            return false;
        }
        let is_anothers = || {
            let known = self.neighbors.station_of(src);
            known.is_some_and(|known| known != mac) || self.is_leased_to_another(now, src, mac)
        };
        if is_router && is_anothers() {
            self.counts.stolen_sources();
            return false;
        }
        self.last_source = Some((src, mac));
        true
    }

    /// A neighbor tells that it has an address.
    pub(super) fn hear(&mut self, now: Timestamp, (address, mac): (IpAddr, MacAddr), heard: Heard) {
        self.work(|layer, work| {
            layer.neighbors.hear(now, (address, mac), heard, &mut layer.random, work);
        });
    }
}
