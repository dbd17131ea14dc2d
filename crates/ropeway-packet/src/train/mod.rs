//! Trains: consecutive segments of one connection as one packet, so that what a packet costs is
//! paid once.
//!
//! [`split`] cuts a packet that is longer than the link takes into segments (GSO, or TSO in a
//! device). [`Merger`] finds segments that can be taken as one (GRO). Neither copies data: what goes
//! out is new headers with slices of the payload, what comes in is the first packet with ranges of
//! those behind it.
//!
//! What is merged can be cut again into the same packets, byte for byte. Only the IPv4
//! identification of packets with DF, which nobody may look at (RFC 6864 4.1), is that of the
//! first.
//!
//! ```
//! use bytes::Bytes;
//! use ropeway_packet::train::{Merger, Place, split};
//! use ropeway_packet::{
//!     ChecksumMode, IpParams, Payload, Protocol, TcpFlags, TcpHeader, emit_tcp,
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
//! let header = TcpHeader { flags: TcpFlags::ACK, ..TcpHeader::default() };
//! let data = Payload::from(Bytes::from(vec![7; 4000]));
//! let headers = emit_tcp(&params, &header, &data, ChecksumMode::Partial);
//!
//! // Three packets go out.
//! let mut packets = Vec::new();
//! for segment in split(&headers, &data, 1460)? {
//!     let mut packet = segment.headers.to_vec();
//!     segment.payload.for_each(|slice| packet.extend_from_slice(slice));
//!     packets.push(packet);
//! }
//! assert_eq!(packets.iter().map(Vec::len).collect::<Vec<_>>(), [1500, 1500, 1120]);
//!
//! // They come in as one.
//! let mut merger = Merger::new();
//! merger.begin();
//! let mut received = Payload::new();
//! for (index, packet) in packets.into_iter().enumerate() {
//!     match merger.place(index, &packet, false) {
//!         Place::Alone { .. } => received.push(Bytes::from(packet).slice(40..)),
//!         Place::Behind(segment) => {
//!             assert_eq!((segment.train, segment.segment_size), (0, 1460));
//!             received.push(Bytes::from(packet).slice(segment.payload));
//!         }
//!     }
//! }
//! assert_eq!(received, data);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod headers;
mod merge;
mod split;
mod template;

pub use merge::{Merger, Place, Segment};
pub use split::{Cut, Split, SplitError, split};

#[cfg(test)]
mod tests;
