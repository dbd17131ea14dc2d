//! A run's packets, as the sender's end saw them, as a file for Wireshark.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use pcap_file::pcap::{PcapHeader, PcapPacket, PcapWriter};
use pcap_file::{DataLink, TsResolution};

use super::emulator::Seen;
use super::results::Sample;

/// Enough for all headers.
const SNAP_LEN: usize = 120;

/// What the file of a run is called.
pub(crate) fn name(run: &Sample) -> String {
    let (congestion, stack) = (run.congestion.name(), run.stack.name());
    let name = format!("{} {congestion} {stack} {}.pcap", run.cell, run.run);
    name.replace(['/', ':', ',', '%'], "").replace(' ', "-")
}

/// Writes the packets, with the path's beginning as time 0.
pub(crate) fn write(path: &Path, seen: &[Seen]) -> io::Result<()> {
    let header = PcapHeader {
        snaplen: 65535,
        datalink: DataLink::RAW,
        ts_resolution: TsResolution::NanoSecond,
        ..PcapHeader::default()
    };
    let file = io::BufWriter::new(File::create(path)?);
    let mut writer = PcapWriter::with_header(file, header).map_err(io::Error::other)?;
    for Seen { at, packet } in seen {
        let kept = packet.get(..SNAP_LEN).unwrap_or(packet);
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        let packet =
            PcapPacket { timestamp: Duration::from_micros(*at), orig_len: length, data: Cow::Borrowed(kept) };
        writer.write_packet(&packet).map_err(io::Error::other)?;
    }
    io::Write::flush(&mut writer.into_writer())
}
