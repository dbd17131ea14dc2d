//! The record as captures that Wireshark opens.
//!
//! Wireshark takes all that is in a file for seen at one place, whatever its interfaces. So a file has each packet once:
//! that of a host as the host has sent or got it, and that of the network as its sender has sent it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::{DataLink, Endianness, PcapResult};

use super::{Fate, Place, Sighting, Trace};
use crate::clock::BEGINNING;
use crate::engine::{Micros, millis};
use crate::world::{Kind, NodeId, Notes, World};

/// Nanoseconds, as a power of ten.
const NANOSECONDS: u8 = 9;
/// Packet flags: received, or sent.
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// A packet in a capture.
struct Frame<'a> {
    order: u64,
    at: Micros,
    interface: u32,
    direction: u32,
    bytes: &'a [u8],
    comment: String,
}

impl World {
    /// All packets as a pcapng file, each as its sender has sent it, with an interface for each node.
    pub(crate) fn pcapng(&self) -> Vec<u8> {
        let frames = self.record.traces().map(|trace| self.sent(trace, trace.from.0));
        let names: Vec<&str> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        // Writing to memory does not fail.
        write(&names, frames).unwrap_or_default()
    }

    /// The hosts that have sent or got packets, each with a name that a file can have.
    pub(crate) fn names_of_files(&self) -> BTreeMap<NodeId, String> {
        let mut busy = BTreeSet::new();
        for trace in self.record.traces() {
            busy.insert(trace.from);
            busy.extend(trace.sightings.iter().filter_map(|seen| match (seen.fate, seen.place) {
                (Fate::Arrived, Place::Node(node)) => Some(node),
                _ => None,
            }));
        }
        let mut names = BTreeMap::new();
        for node in busy.into_iter().filter(|node| matches!(self.node(*node).kind, Kind::Host(_))) {
            let is_plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
            let name = self.node(node).name.replace(|c| !is_plain(c), "_");
            let is_taken = names.values().any(|taken: &String| taken.eq_ignore_ascii_case(&name));
            names.insert(node, if is_taken { format!("{name}-{}", node.0) } else { name });
        }
        names
    }

    /// The packets that a node has sent and got, as a pcapng file.
    pub(crate) fn pcapng_of(&self, node: NodeId) -> Vec<u8> {
        let mut frames = Vec::new();
        for trace in self.record.traces() {
            if trace.from == node {
                frames.push(self.sent(trace, 0));
            }
            let arrived = trace
                .sightings
                .iter()
                .enumerate()
                .filter(|(_, seen)| seen.fate == Fate::Arrived && seen.place == Place::Node(node));
            frames.extend(arrived.map(|(index, seen)| self.arrived(trace, index, seen)));
        }
        frames.sort_by_key(|frame| frame.order);
        let names = [self.node(node).name.as_str()];
        write(&names, frames.into_iter()).unwrap_or_default()
    }

    fn sent<'a>(&self, trace: &'a Trace, interface: u32) -> Frame<'a> {
        let comment = self.path(trace, trace.sightings.len());
        let (order, at, bytes) = (trace.order, trace.sent_at, &trace.sent);
        Frame { order, at, interface, direction: OUTBOUND, bytes, comment }
    }

    fn arrived<'a>(&self, trace: &Trace, index: usize, seen: &'a Sighting) -> Frame<'a> {
        let comment = self.path(trace, index + 1);
        Frame {
            order: seen.order,
            at: seen.at,
            interface: 0,
            direction: INBOUND,
            bytes: &seen.bytes,
            comment,
        }
    }

    /// Where a packet was at which millisecond, as far as the first `count` sightings tell.
    fn path(&self, trace: &Trace, count: usize) -> String {
        let mut path = format!("{} {}", self.node(trace.from).name, millis(trace.sent_at));
        for seen in trace.sightings.iter().take(count) {
            let what = match (seen.fate, seen.place) {
                (Fate::Dropped(cause), place) => format!("{cause} ({})", self.record.name_of(place, self)),
                (_, Place::Node(node)) => self.node(node).name.clone(),
                (_, Place::Link(link, way)) => self
                    .links
                    .get(link.0 as usize)
                    .map(|link| self.node(link.end(way)).name.clone())
                    .unwrap_or_default(),
            };
            let _ = write!(path, " > {what} {}", millis(seen.at));
            let notes = notes(seen.notes);
            if !notes.is_empty() {
                let _ = write!(path, " [{notes}]");
            }
        }
        if trace.sightings.iter().take(count).all(|seen| seen.fate == Fate::Passed) {
            path.push_str(" > on its way");
        }
        path
    }
}

fn write<'a>(names: &[&str], frames: impl Iterator<Item = Frame<'a>>) -> PcapResult<Vec<u8>> {
    let mut writer = PcapNgWriter::with_endianness(Vec::new(), Endianness::Little)?;
    for name in names {
        writer.write_pcapng_block(InterfaceDescriptionBlock {
            linktype: DataLink::RAW,
            snaplen: 0,
            options: vec![
                InterfaceDescriptionOption::IfName(Cow::Borrowed(name)),
                InterfaceDescriptionOption::IfTsResol(NANOSECONDS),
            ],
        })?;
    }
    for frame in frames {
        writer.write_pcapng_block(EnhancedPacketBlock {
            interface_id: frame.interface,
            timestamp: BEGINNING + Duration::from_micros(frame.at),
            original_len: u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX),
            data: Cow::Borrowed(frame.bytes),
            options: vec![
                EnhancedPacketOption::Comment(Cow::Owned(frame.comment)),
                EnhancedPacketOption::Flags(frame.direction),
            ],
        })?;
    }
    Ok(writer.into_inner())
}

/// What was done to a packet on its way.
fn notes(notes: Notes) -> String {
    let Notes { corrupted, duplicate, reordered, marked, rule } = notes;
    let notes = [
        (corrupted, "corrupted"),
        (duplicate, "duplicate"),
        (reordered, "reordered"),
        (marked, "marked by CoDel: congestion experienced"),
        (rule, "changed by a rule of the test"),
    ];
    let words: Vec<&str> = notes.iter().filter(|(set, _)| *set).map(|(_, word)| *word).collect();
    words.join(", ")
}
