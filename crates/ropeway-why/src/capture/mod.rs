//! Captures: pcap and pcapng, from a file or a pipe, read once and in bounded memory.

mod packet;
mod reader;

pub(crate) use packet::{Icmp, Packet, Segment, Transport};
pub use reader::CaptureError;
pub(crate) use reader::{Frame, Losses, read};
