//! Bytes to typed TCP/IP packets and back: no state, no clock, no allocation on the way in, no
//! panic.
//!
//! Everything here works on one packet at a time, but for [`train`]s of them. Parsing ([`ip::parse`], [`parse_tcp`],
//! [`udp::parse`], [`icmp::parse`]) validates lengths before it reads a field, allocates nothing,
//! and answers with plain values and with [`Range`](std::ops::Range)s: offsets into the packet that
//! was given. Emitting ([`emit_tcp`], [`udp::emit`], [`icmp::emit_error`] and its neighbours) fills
//! in every length and checksum.
//!
//! The [`pnet_packet`](https://docs.rs/pnet_packet) crate reads the fixed header fields and gives
//! the protocol numbers, but none of its types is part of this interface.
//!
//! ```
//! use bytes::Bytes;
//! use ropeway_packet::{
//!     ChecksumMode, IpParams, Payload, Protocol, SeqNum, TcpFlags, TcpHeader, emit_tcp, ip, parse_tcp,
//! };
//!
//! let params = IpParams {
//!     src: "192.0.2.1".parse()?,
//!     dst: "192.0.2.2".parse()?,
//!     protocol: Protocol::TCP,
//!     hop_limit: 64,
//!     traffic_class: 0,
//!     dont_fragment: true,
//!     ident: 0,
//!     flow_label: 0,
//! };
//! let header = TcpHeader {
//!     src_port: 49152,
//!     dst_port: 80,
//!     seq: SeqNum::new(1_000),
//!     ack: SeqNum::new(2_000),
//!     flags: TcpFlags::ACK | TcpFlags::PSH,
//!     window: 502,
//!     ..TcpHeader::default()
//! };
//! let payload = Payload::from(Bytes::from_static(b"GET / HTTP/1.0\r\n\r\n"));
//!
//! let mut packet = emit_tcp(&params, &header, &payload, ChecksumMode::Full).to_vec();
//! packet.extend_from_slice(&payload.to_vec());
//!
//! let segment = parse_tcp(&packet, ip::parse(&packet)?, true)?;
//! assert_eq!(segment.tcp, header);
//! assert_eq!(packet[segment.payload], payload.to_vec());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

pub mod checksum;
pub mod error;
pub mod fragment;
pub mod icmp;
pub mod ip;
pub mod segment;
pub mod seq;
pub mod tcp;
pub mod train;
pub mod udp;
mod words;

pub use checksum::Checksum;
pub use error::{IcmpError, IpError, OptionReport, TcpError, UdpError};
pub use icmp::{IcmpErrorKind, IcmpMessage, Quoted, QuotedIp, UnreachableCode, UnreachableKind};
pub use ip::{EcnCodepoint, Fragment, IpPacket, IpParams, Protocol};
pub use segment::{
    ChecksumMode, FourTuple, HeaderBuf, Payload, Slices, TcpSegment, emit_tcp, parse_tcp, parse_tcp_header,
};
pub use seq::{SeqNum, WindowScale};
pub use tcp::{
    AccurateEcn, EcnOrder, FastOpen, ParsedTcp, SackBlocks, TcpFlags, TcpHeader, TcpOptions, Timestamps,
};
pub use udp::{UdpDatagram, UdpHeader};
