//! The record as a capture that Wireshark opens.

use std::borrow::Cow;
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, Endianness, PcapResult};

use super::{Fate, Place, Record, Seen};
use crate::clock::BEGINNING;
use crate::world::{Notes, Way};

/// Nanoseconds, as a power of ten.
const NANOSECONDS: u8 = 9;
/// Packet flags: received, or sent, seen from the node that the interface is named after second.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

impl Record {
    /// The packets as a pcapng file: an interface for each link, and one for what came to no link. A packet has the
    /// time at which it arrived, or was lost; comments say why it was lost, and what was done to it.
    pub(crate) fn pcapng(&self) -> Vec<u8> {
        // Writing to memory does not fail.
        self.write_pcapng().unwrap_or_default()
    }

    fn write_pcapng(&self) -> PcapResult<Vec<u8>> {
        let mut writer = PcapNgWriter::with_endianness(Vec::new(), Endianness::Little)?;
        for [first, second] in &self.links {
            writer.write_pcapng_block(interface(format!("{first}-{second}")))?;
        }
        writer.write_pcapng_block(interface("no link".to_owned()))?;
        for seen in &self.seen {
            writer.write_pcapng_block(self.block(seen))?;
        }
        Ok(writer.into_inner())
    }

    fn block<'a>(&self, seen: &'a Seen) -> EnhancedPacketBlock<'a> {
        let mut options = Vec::new();
        let comment = comment(seen);
        if !comment.is_empty() {
            options.push(EnhancedPacketOption::Comment(Cow::Owned(comment)));
        }
        let interface_id = match seen.place {
            Place::Link(link, way) => {
                let direction = if way == Way::Forth { INBOUND } else { OUTBOUND };
                options.push(EnhancedPacketOption::Flags(direction));
                link.0
            }
            Place::Node(_) => u32::try_from(self.links.len()).unwrap_or(u32::MAX),
        };
        EnhancedPacketBlock {
            interface_id,
            timestamp: BEGINNING + Duration::from_micros(seen.at),
            original_len: u32::try_from(seen.packet.bytes.len()).unwrap_or(u32::MAX),
            data: Cow::Borrowed(&seen.packet.bytes),
            options,
        }
    }
}

fn interface(name: String) -> InterfaceDescriptionBlock<'static> {
    let options = vec![
        InterfaceDescriptionOption::IfName(Cow::Owned(name)),
        InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
    ];
    InterfaceDescriptionBlock { linktype: DataLink::RAW, snaplen: 0, options }
}

/// What there is to say about a packet; nothing about one that just arrived.
fn comment(seen: &Seen) -> String {
    let Notes { corrupted, duplicate, reordered, marked, rule } = seen.packet.notes;
    let cause = match seen.fate {
        Fate::Dropped(cause) => cause.to_string(),
        Fate::Arrived => String::new(),
    };
    let notes = [
        (corrupted, "corrupted"),
        (duplicate, "duplicate"),
        (reordered, "reordered"),
        (marked, "marked by CoDel: congestion experienced"),
        (rule, "changed by a rule of the test"),
    ];
    let mut words: Vec<&str> = notes.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
    if !cause.is_empty() {
        words.push(&cause);
    }
    words.join("; ")
}
