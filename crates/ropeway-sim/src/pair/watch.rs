//! What must hold of every packet that crosses, whatever the test is about.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use ropeway_core::packet::TcpFlags;

use super::parse;

/// One direction of one connection, as its packets show it. Sequence numbers are relative to the SYN.
#[derive(Clone, Debug, Default)]
struct Way {
    iss: u32,
    /// One more than the highest sequence number sent.
    end: u32,
    fin: Option<u32>,
    /// The highest acknowledgement sent, relative to the other way's SYN.
    ack: u32,
    /// The right edge of the window announced, likewise.
    edge: u32,
    offered_scale: Option<u8>,
    offered_timestamps: bool,
    tsval: Option<u32>,
}

/// Looks at all packets, before anything happens to them.
#[derive(Debug, Default)]
pub struct Watch {
    ways: HashMap<(SocketAddr, SocketAddr), Way>,
    /// Ends that had more than one connection: an old SYN has come late, and numbers of both mix.
    muddled: HashSet<(SocketAddr, SocketAddr)>,
}

impl Watch {
    /// What is wrong with this packet, if something is.
    pub fn look(&mut self, packet: &[u8]) -> Option<String> {
        let Some(segment) = parse(packet) else {
            return ropeway_core::packet::ip::parse(packet).is_err().then(|| "it is malformed".into());
        };
        let tcp = &segment.tcp;
        let len = segment.payload.len() as u32;
        let ends =
            (SocketAddr::new(segment.ip.src, tcp.src_port), SocketAddr::new(segment.ip.dst, tcp.dst_port));
        if segment.malformed_options {
            return Some("its options are malformed".into());
        }
        if tcp.flags.contains(TcpFlags::RST) {
            return (len > 0).then(|| "a RST with data".into());
        }
        if self.muddled.contains(&ends) {
            return None;
        }
        if tcp.flags.contains(TcpFlags::SYN) {
            let known = self.ways.get(&ends).map(|way| way.iss == tcp.seq.get());
            if known == Some(false) {
                self.muddled.extend([ends, (ends.1, ends.0)]);
                return None;
            }
            if known.is_none() {
                let way = Way {
                    iss: tcp.seq.get(),
                    offered_scale: tcp.options.window_scale,
                    offered_timestamps: tcp.options.timestamps.is_some(),
                    ..Way::default()
                };
                self.ways.insert(ends, way);
            }
        }
        let other = self.ways.get(&(ends.1, ends.0)).cloned();
        let way = self.ways.get_mut(&ends)?;
        let seq = tcp.seq.get().wrapping_sub(way.iss);
        let end = seq.wrapping_add(tcp.segment_len(len as usize));
        if let Some(fin) = way.fin
            && after(end, fin + 1)
        {
            return Some(format!("it ends at {end}, behind the FIN at {fin}"));
        }
        if tcp.flags.contains(TcpFlags::FIN) {
            if way.fin.is_some_and(|fin| fin != end - 1) {
                return Some("the FIN has moved".into());
            }
            way.fin = Some(end - 1);
        }
        if let Some(ts) = tcp.options.timestamps {
            if way.tsval.is_some_and(|last| after(last, ts.tsval)) {
                return Some("its timestamp is older than the last one".into());
            }
            way.tsval = Some(ts.tsval);
        }
        way.end = if after(end, way.end) { end } else { way.end };
        let other = other.filter(|_| tcp.flags.contains(TcpFlags::ACK))?;
        let is_syn = tcp.flags.contains(TcpFlags::SYN);
        if !is_syn && (way.offered_timestamps && other.offered_timestamps) != tcp.options.timestamps.is_some()
        {
            return Some("timestamps are not as agreed".into());
        }
        // A probe of a closed window is one byte, or the FIN.
        if other.edge > 0 && len > 0 && after(end, other.edge + 2) {
            return Some(format!("it ends at {end}, beyond the window, which ends at {}", other.edge));
        }
        let ack = tcp.ack.get().wrapping_sub(other.iss);
        if after(ack, other.end) {
            return Some(format!("it acknowledges {ack} of {}", other.end));
        }
        if after(way.ack, ack) {
            return Some(format!("it acknowledges {ack} after {}", way.ack));
        }
        way.ack = ack;
        let scale = match (is_syn, way.offered_scale, other.offered_scale) {
            (false, Some(own), Some(_)) => own.min(14),
            _ => 0,
        };
        let edge = ack.wrapping_add(u32::from(tcp.window) << scale);
        // RFC 7323 2.4: scaling may take back less than one unit.
        if after(way.edge, edge.wrapping_add(1 << scale) - 1) {
            return Some(format!("the window ends at {edge} after {}", way.edge));
        }
        way.edge = if after(edge, way.edge) { edge } else { way.edge };
        None
    }
}

fn after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}
