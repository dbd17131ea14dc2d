//! The TCP header (RFC 9293 3.1) and its options (RFC 9293 3.2, 7323, 2018, 7413).
//!
//! ```
//! use ropeway_packet::{SeqNum, TcpFlags, TcpHeader, TcpOptions};
//!
//! let syn = TcpHeader {
//!     src_port: 49152,
//!     dst_port: 80,
//!     seq: SeqNum::new(1),
//!     flags: TcpFlags::SYN,
//!     window: 64_240,
//!     options: TcpOptions { mss: Some(1460), window_scale: Some(7), ..TcpOptions::default() },
//!     ..TcpHeader::default()
//! };
//! let mut bytes = [0; 60];
//! let len = syn.emit(&mut bytes);
//! assert_eq!(bytes[20..len], [2, 4, 5, 180, 1, 3, 3, 7]);
//! assert_eq!(TcpHeader::parse(&bytes[..len])?.header, syn);
//! # Ok::<(), ropeway_packet::TcpError>(())
//! ```

mod accurate_ecn;
mod flags;
mod header;
mod options;

pub use accurate_ecn::{AccurateEcn, EcnOrder};
pub use flags::TcpFlags;
pub(crate) use header::CHECKSUM_OFFSET;
pub use header::{ParsedTcp, TcpHeader};
pub use options::{FastOpen, SackBlocks, TcpOptions, Timestamps};

#[cfg(test)]
mod tests;
