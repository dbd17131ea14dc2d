//! Datagrams in pieces: IP fragments to send, and what a whole datagram needs of those that arrived
//! (RFC 791 3.2, RFC 8200 4.5).
//!
//! Which fragments belong together, and how long they wait for each other, is state, and not for
//! this crate. [`ip::parse`](crate::ip::parse) says of each packet whether and where it belongs in a
//! larger one.
//!
//! ```
//! use bytes::Bytes;
//! use ropeway_packet::fragment::Marks;
//! use ropeway_packet::{EcnCodepoint, IpParams, Payload, Protocol, fragment, ip, udp};
//!
//! let params = IpParams {
//!     src: "192.0.2.1".parse()?,
//!     dst: "192.0.2.2".parse()?,
//!     protocol: Protocol::UDP,
//!     hop_limit: 64,
//!     traffic_class: 0,
//!     dont_fragment: false,
//!     ident: 0,
//!     flow_label: 0,
//! };
//! let datagram = Payload::from(Bytes::from(udp::emit(&params, 5000, 53, &[7; 4000])?));
//!
//! // To send it over links of 1500 bytes:
//! let pieces = fragment::split(&datagram, 1500, 77).ok_or("too narrow")?;
//! let packets: Vec<Vec<u8>> = pieces.map(|(header, data)| [&header[..], &data.to_vec()].concat()).collect();
//! assert_eq!(packets.iter().map(Vec::len).collect::<Vec<_>>(), [1500, 1500, 1068]);
//!
//! // And to put it together again:
//! let parsed = packets.iter().map(|packet| ip::parse(packet)).collect::<Result<Vec<_>, _>>()?;
//! let len = parsed.iter().map(|ip| ip.payload.len()).sum();
//! let marks = Marks::default().with(EcnCodepoint::NotEct);
//! let mut whole = fragment::whole_headers(&packets[0], len, marks).ok_or("too long")?;
//! for (packet, ip) in packets.iter().zip(&parsed) {
//!     whole.extend_from_slice(&packet[ip.payload.clone()]);
//! }
//! let ip = ip::parse(&whole)?;
//! assert_eq!((ip.ident, ip.fragment), (77, None));
//! assert_eq!(whole[ip.payload], datagram.to_vec()[20..]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod join;
mod marks;
mod split;

pub use join::{has_all_headers, whole_headers};
pub use marks::Marks;
pub use split::{Split, split};

/// Writes two bytes at `at`.
fn put_u16(packet: &mut [u8], at: usize, value: u16) {
    if let Some(place) = packet.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = value.to_be_bytes();
    }
}

#[cfg(test)]
mod tests;
