//! The TCP header (RFC 9293 3.1) and its options (RFC 9293 3.2, 7323, 2018, 7413).

mod flags;
mod header;
mod options;

pub use flags::TcpFlags;
pub(crate) use header::CHECKSUM_OFFSET;
pub use header::{ParsedTcp, TcpHeader};
pub use options::{FastOpen, SackBlocks, TcpOptions, Timestamps};
