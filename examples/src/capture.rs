//! Writes packets to a file, for Wireshark.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::time::SystemTime;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, TsResolution};

/// Bytes that a packet in a capture may have: no IP packet has more.
const SNAPLEN: u32 = 65535;

/// A capture in the pcap format, with an IP header first in each packet (LINKTYPE_RAW); or none. The file is
/// complete when this is dropped.
#[derive(Default)]
pub struct Capture(Option<PcapWriter<BufWriter<File>>>);

impl Capture {
    /// Starts a capture in the file `path`; without one, nothing is captured.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn create(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else {
            return Ok(Self::default());
        };
        let named = |error: &dyn std::fmt::Display| {
            io::Error::other(format!("cannot write {}: {error}", path.display()))
        };
        let file = BufWriter::new(File::create(path).map_err(|error| named(&error))?);
        let header = PcapHeader {
            snaplen: SNAPLEN,
            datalink: DataLink::RAW,
            ts_resolution: TsResolution::NanoSecond,
            ..PcapHeader::default()
        };
        let writer = PcapWriter::with_header(file, header).map_err(|error| named(&error))?;
        Ok(Self(Some(writer)))
    }

    /// Writes a packet that crossed at `time`. When the file takes no more, the capture ends.
    pub fn write(&mut self, time: SystemTime, packet: &[u8]) {
        let Some(writer) = &mut self.0 else { return };
        let timestamp = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let len = u32::try_from(packet.len()).unwrap_or(SNAPLEN);
        if let Err(error) = writer.write_packet(&PcapPacket::new(timestamp, len, packet)) {
            eprintln!("the capture ends here: {error}");
            self.0 = None;
        }
    }
}
