//! ARP: who asks, who answers, who lies.

use std::net::{IpAddr, Ipv4Addr};

use bytes::BytesMut;
use ropeway_core::Timestamp;

use super::EthernetLayer;
use crate::MacAddr;
use crate::arp::{self, Operation, Packet};
use crate::frame::{ARP, Header};
use crate::neighbors::Heard;

impl EthernetLayer {
    pub(super) fn take_arp(&mut self, now: Timestamp, header: Header, payload: &[u8]) {
        let packet = Packet::parse(payload);
        let Some(packet) = packet.filter(|packet| packet.sender_mac == header.src) else {
            self.counts.bad_arp();
            return;
        };
        let sender = IpAddr::V4(packet.sender);
        if self.addresses.iter().any(|own| own.address() == sender) {
            if self.defends(now, sender, header.src) {
                self.announce_v4(packet.sender);
            }
            return;
        }
        let is_request = packet.operation == Operation::Request;
        let for_us = self.is_ours(packet.target.into());
        // RFC 5227 2.1.1: somebody wants to know whether the address is free.
        if packet.sender.is_unspecified() {
            if is_request && for_us {
                self.answer_arp(&packet);
            }
            return;
        }
        if !self.may_be_neighbor(sender) {
            self.counts.bad_sources();
            return;
        }
        if self.is_leased_to_another(now, sender, header.src) {
            self.counts.neighbor_conflicts();
            return;
        }
        let heard = match packet.operation {
            Operation::Request if for_us => Heard::Asks,
            Operation::Reply if for_us && header.dst == self.mac => Heard::Answers,
            _ => Heard::Tells,
        };
        // RFC 826 3-3
        if is_request && for_us {
            self.answer_arp(&packet);
        }
        // A question about others tells of who asks it, but is no news of a stranger.
        let is_news = heard != Heard::Tells || !is_request || packet.sender == packet.target;
        if is_news || self.neighbors.station_of(sender).is_some() {
            self.hear(now, (sender, header.src), heard);
        }
    }

    fn answer_arp(&mut self, request: &Packet) {
        let reply = Packet {
            operation: Operation::Reply,
            sender_mac: self.mac,
            sender: request.target,
            target_mac: request.sender_mac,
            target: request.sender,
        };
        self.send_arp(request.sender_mac, &reply);
    }

    /// Asks who has an address.
    pub(super) fn ask_v4(&mut self, about: Ipv4Addr, whom: Option<MacAddr>, on_behalf_of: Option<IpAddr>) {
        let ours = |address: &IpAddr| self.addresses.iter().any(|own| own.address() == *address);
        let of_its_network = || self.addresses.iter().find(|own| own.contains(about.into()));
        let sender = on_behalf_of.filter(ours).or_else(|| of_its_network().map(|own| own.address()));
        let Some(IpAddr::V4(sender)) = sender else { return };
        let request = Packet {
            operation: Operation::Request,
            sender_mac: self.mac,
            sender,
            target_mac: MacAddr::new([0; 6]),
            target: about,
        };
        self.send_arp(whom.unwrap_or(MacAddr::BROADCAST), &request);
    }

    // RFC 5227 2.3-1
    pub(super) fn announce_v4(&mut self, address: Ipv4Addr) {
        let announcement = Packet {
            operation: Operation::Request,
            sender_mac: self.mac,
            sender: address,
            target_mac: MacAddr::new([0; 6]),
            target: address,
        };
        self.send_arp(MacAddr::BROADCAST, &announcement);
    }

    fn send_arp(&mut self, dst: MacAddr, packet: &Packet) {
        let mut bytes = BytesMut::with_capacity(arp::LEN);
        packet.emit(&mut bytes);
        self.send_control(dst, ARP, &bytes);
    }
}
