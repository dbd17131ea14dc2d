//! The other ends: packets made by hand, and a few numbers for each.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use ropeway_core::packet::{
    ChecksumMode, IpParams, Payload, Protocol, SeqNum, TcpFlags, TcpHeader, TcpOptions, emit_tcp,
};
use ropeway_core::{ConnectionId, PacketPool, Received, RxChecksum, Transmit};

use crate::carry::carry;
use crate::{PORT, SERVER};

/// What one of them sends at most in a segment.
pub(super) const MSS: u32 = 1460;

/// The first sequence number of each.
const ISS: u32 = 1000;

/// Hosts of a network, and where their ports begin.
const HOSTS: u32 = 250;
const FIRST_PORT: u32 = 1024;

/// One of them, and the connection that the stack has with it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Attacker {
    pub(super) id: Option<ConnectionId>,
    /// What it sends next.
    pub(super) seq: SeqNum,
    /// What it has been told of: acknowledged, and the right edge of its window.
    pub(super) una: SeqNum,
    pub(super) edge: SeqNum,
    /// What it expects next.
    pub(super) ack: SeqNum,
    /// How the windows are scaled that it is told of.
    pub(super) scale: u8,
    /// The handshake is complete.
    pub(super) is_open: bool,
}

impl Attacker {
    /// It is told this. Says whether that was the answer to its SYN.
    pub(super) fn hears(&mut self, told: &TcpHeader) -> bool {
        let is_syn_ack = told.flags.contains(TcpFlags::SYN);
        if is_syn_ack {
            self.ack = told.seq + 1;
            self.scale = told.options.window_scale.unwrap_or(0);
            self.seq = told.ack;
        }
        self.una = told.ack;
        let window = u32::from(told.window) << if is_syn_ack { 0 } else { self.scale };
        self.edge = told.ack + window;
        is_syn_ack
    }
}

/// Who they are: in so many networks (/24), and how wide their own windows are.
#[derive(Debug)]
pub(super) struct Crowd {
    networks: u32,
    window: u16,
    pool: PacketPool,
    zeroes: Bytes,
}

impl Crowd {
    pub(super) fn new(networks: u32, window: u16) -> Self {
        Self { networks, window, pool: PacketPool::new(1500), zeroes: Bytes::from_static(&[0; MSS as usize]) }
    }

    /// What the device keeps to read packets to.
    pub(super) fn slabs(&self) -> usize {
        self.pool.capacity()
    }

    fn address(&self, number: u32) -> SocketAddr {
        let (network, place) = (number % self.networks, number / self.networks);
        let host = Ipv4Addr::from_bits(0x0b00_0001 + (network << 8) + place % HOSTS);
        SocketAddr::from((host, u16::try_from(FIRST_PORT + place / HOSTS).unwrap_or(u16::MAX)))
    }

    /// The number of the one with this address.
    pub(super) fn number(&self, address: SocketAddr) -> Option<u32> {
        let IpAddr::V4(host) = address.ip() else { return None };
        let host = host.to_bits().checked_sub(0x0b00_0001)?;
        let place = u32::from(address.port()).checked_sub(FIRST_PORT)? * HOSTS + host % 256;
        Some(place * self.networks + (host >> 8))
    }

    pub(super) fn syn(&mut self, number: u32) -> Received {
        let options = TcpOptions {
            mss: u16::try_from(MSS).ok(),
            window_scale: Some(7),
            sack_permitted: true,
            ..TcpOptions::default()
        };
        let attacker = Attacker { seq: SeqNum::new(ISS), ..Attacker::default() };
        self.packet(number, &attacker, TcpFlags::SYN, options, 0)
    }

    /// A segment with so many bytes from its next sequence number on.
    pub(super) fn segment(&mut self, number: u32, attacker: &Attacker, len: u32) -> Received {
        self.packet(number, attacker, TcpFlags::ACK, TcpOptions::default(), len)
    }

    pub(super) fn reset(&mut self, number: u32, attacker: &Attacker) -> Received {
        let at = Attacker { seq: attacker.una, ..*attacker };
        self.packet(number, &at, TcpFlags::RST | TcpFlags::ACK, TcpOptions::default(), 0)
    }

    /// It lies in the memory in which a TUN device would have read it.
    fn packet(
        &mut self,
        number: u32,
        attacker: &Attacker,
        flags: TcpFlags,
        options: TcpOptions,
        len: u32,
    ) -> Received {
        let address = self.address(number);
        let ip = IpParams {
            src: address.ip(),
            dst: SERVER.into(),
            protocol: Protocol::TCP,
            hop_limit: 64,
            traffic_class: 0,
            dont_fragment: true,
            ident: 0,
            flow_label: 0,
        };
        let header = TcpHeader {
            src_port: address.port(),
            dst_port: PORT,
            seq: attacker.seq,
            ack: attacker.ack,
            flags,
            window: self.window,
            urgent: 0,
            options,
        };
        let payload = Payload::from(self.zeroes.slice(..len.min(MSS) as usize));
        let header = emit_tcp(&ip, &header, &payload, ChecksumMode::Partial);
        let packet = Transmit::new(header, payload, ChecksumMode::Partial);
        carry(&packet, &mut self.pool).with_checksum(RxChecksum::Verified)
    }
}

/// Whom a packet is for, and what it says.
pub(super) fn read(transmit: &Transmit) -> Option<(SocketAddr, TcpHeader)> {
    let host: [u8; 4] = *transmit.header.get(16..20)?.first_chunk()?;
    let told = TcpHeader::parse(transmit.header.get(20..)?).ok()?.header;
    Some((SocketAddr::from((host, told.dst_port)), told))
}
