//! The other ends: packets made by hand, and two sequence numbers for each.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use ropeway_core::packet::{
    ChecksumMode, IpParams, Payload, Protocol, SeqNum, TcpFlags, TcpHeader, TcpOptions, emit_tcp, ip,
    parse_tcp,
};
use ropeway_core::{ConnectionId, Received, Transmit};

pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// The first sequence number of each peer.
const ISS: u32 = 1000;

/// A peer, and the connection that the stack has with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Which one: its address follows from it.
    pub(crate) number: u32,
    /// Our port.
    pub(crate) port: u16,
    pub(crate) id: Option<ConnectionId>,
    /// What the peer sends next.
    pub(crate) seq: SeqNum,
    /// What it expects next.
    pub(crate) ack: SeqNum,
}

impl Peer {
    pub(crate) fn new(number: u32, port: u16) -> Self {
        Self { number, port, id: None, seq: SeqNum::new(ISS), ack: SeqNum::new(0) }
    }

    /// Each has an address of its own: 11.0.0.0 and on.
    fn address(self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::from_bits(0x0b00_0000 + self.number), 5000))
    }

    fn segment(self, flags: TcpFlags, options: TcpOptions, data: &[u8]) -> Received {
        let address = self.address();
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
            dst_port: self.port,
            seq: self.seq,
            ack: self.ack,
            flags,
            window: 65_535,
            urgent: 0,
            options,
        };
        let payload = Payload::from(Bytes::copy_from_slice(data));
        let header = emit_tcp(&ip, &header, &payload, ChecksumMode::Full);
        let transmit = Transmit::new(header, payload, ChecksumMode::Full);
        Received::new(transmit.to_bytes())
    }

    pub(crate) fn syn(self) -> Received {
        let options = TcpOptions { mss: Some(1460), sack_permitted: true, ..TcpOptions::default() };
        self.segment(TcpFlags::SYN, options, b"")
    }

    /// The stack's SYN-ACK has come.
    pub(crate) fn hears(&mut self, syn_ack: &Transmit) {
        if let Ok(ip) = ip::parse(&syn_ack.header)
            && let Ok(segment) = parse_tcp(&syn_ack.header, ip, false)
        {
            self.ack = segment.tcp.seq + 1;
            self.seq = SeqNum::new(ISS) + 1;
        }
    }

    pub(crate) fn ack(self) -> Received {
        self.segment(TcpFlags::ACK, TcpOptions::default(), b"")
    }

    pub(crate) fn data(&mut self, data: &[u8]) -> Received {
        let segment = self.segment(TcpFlags::ACK | TcpFlags::PSH, TcpOptions::default(), data);
        self.seq += u32::try_from(data.len()).unwrap_or(0);
        segment
    }

    pub(crate) fn fin(&mut self) -> Received {
        let segment = self.segment(TcpFlags::ACK | TcpFlags::FIN, TcpOptions::default(), b"");
        self.seq += 1;
        segment
    }
}
