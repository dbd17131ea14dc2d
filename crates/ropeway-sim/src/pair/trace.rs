//! The record of what crossed, and what a failure shows.

use std::fmt::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;
use ropeway_core::packet::{self, TcpFlags, TcpSegment};

use super::Pair;

impl Pair {
    pub(super) fn remember(&mut self, from: usize, packet: Bytes, what: &'static str) {
        if let Some(segment) = packet_syn(&packet) {
            self.bases.insert(segment.0, segment.1);
        }
        if self.trace.len() >= 300 {
            self.trace.pop_front();
        }
        self.trace.push_back((self.now, from, packet, what));
    }

    /// The packets that crossed, one line each; the last 300 of them.
    #[must_use]
    pub fn record(&self) -> String {
        let mut text = String::new();
        for (at, from, packet, what) in &self.trace {
            let who = if *from == 0 { "A > B" } else { "B > A" };
            let (mut seq_base, mut ack_base) = (0, 0);
            if let Some(segment) = parse(packet) {
                let src = SocketAddr::new(segment.ip.src, segment.tcp.src_port);
                let dst = SocketAddr::new(segment.ip.dst, segment.tcp.dst_port);
                seq_base = self.bases.get(&(src, dst)).copied().unwrap_or(0);
                ack_base = self.bases.get(&(dst, src)).copied().unwrap_or(0);
            }
            text += &describe(*at, who, packet, seq_base, ack_base);
            text += what;
            text.push('\n');
        }
        text
    }

    /// Fails the test, and shows what crossed.
    ///
    /// # Panics
    ///
    /// Always.
    #[track_caller]
    pub fn fail(&self, why: &str) -> ! {
        let states: Vec<String> = (0..self.programs.len())
            .map(|index| {
                let program = &self.programs[index];
                let name = ["A", "B"][program.side];
                format!(
                    "{name}: {} {:?} waits for {:?}",
                    self.state(index),
                    program.script,
                    program.waits_for
                )
            })
            .collect();
        panic!("{why}\n--- at {} us; {}\n{}", self.now, states.join("; "), self.record());
    }
}

/// The ends and the sequence number of a SYN.
fn packet_syn(packet: &[u8]) -> Option<((SocketAddr, SocketAddr), u32)> {
    // Cheap: only what may be a TCP SYN over IPv4 or IPv6 is parsed.
    let flags = match packet.first()? >> 4 {
        4 => *packet.get(33)?,
        _ => *packet.get(53)?,
    };
    if flags & 2 == 0 {
        return None;
    }
    let segment = parse(packet)?;
    if !segment.tcp.flags.contains(TcpFlags::SYN) {
        return None;
    }
    let src = SocketAddr::new(segment.ip.src, segment.tcp.src_port);
    let dst = SocketAddr::new(segment.ip.dst, segment.tcp.dst_port);
    Some(((src, dst), segment.tcp.seq.get()))
}

/// The TCP segment in a packet, if there is one in it that can be read.
#[must_use]
pub fn parse(packet: &[u8]) -> Option<TcpSegment> {
    packet::parse_tcp(packet, packet::ip::parse(packet).ok()?, true).ok()
}

/// The flags as tcpdump writes them.
#[must_use]
pub fn flag_letters(flags: TcpFlags) -> String {
    let letters = [
        (TcpFlags::SYN, 'S'),
        (TcpFlags::FIN, 'F'),
        (TcpFlags::RST, 'R'),
        (TcpFlags::PSH, 'P'),
        (TcpFlags::URG, 'U'),
        (TcpFlags::ECE, 'E'),
        (TcpFlags::CWR, 'W'),
        (TcpFlags::ACK, '.'),
    ];
    let text: String =
        letters.iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, letter)| letter).collect();
    if text.is_empty() { "none".into() } else { text }
}

/// One packet as a line: `0.100000 A > B  S. seq 0 ack 1 win 65535 <mss 1460> len 0`. Sequence numbers are
/// relative to the two bases.
#[must_use]
pub fn describe(at: u64, who: &str, packet: &[u8], seq_base: u32, ack_base: u32) -> String {
    let mut line = format!("{:>4}.{:06} {who}  ", at / 1_000_000, at % 1_000_000);
    match parse(packet) {
        Some(segment) => line += &describe_tcp(&segment, seq_base, ack_base),
        None => match packet::ip::parse(packet) {
            Ok(ip) => {
                let _ =
                    write!(line, "{} > {} protocol {} len {}", ip.src, ip.dst, ip.protocol.0, packet.len());
            }
            Err(error) => {
                let _ = write!(line, "not IP: {error}");
            }
        },
    }
    line
}

/// A TCP segment as part of such a line.
#[must_use]
pub fn describe_tcp(segment: &TcpSegment, seq_base: u32, ack_base: u32) -> String {
    let tcp = &segment.tcp;
    let mut line = format!("{:<3} seq {}", flag_letters(tcp.flags), tcp.seq.get().wrapping_sub(seq_base));
    if tcp.flags.contains(TcpFlags::ACK) {
        let _ = write!(line, " ack {}", tcp.ack.get().wrapping_sub(ack_base));
    }
    let _ = write!(line, " win {}", tcp.window);
    if tcp.flags.contains(TcpFlags::URG) {
        let _ = write!(line, " urg {}", tcp.urgent);
    }
    let mut options = Vec::new();
    if let Some(mss) = tcp.options.mss {
        options.push(format!("mss {mss}"));
    }
    if tcp.options.sack_permitted {
        options.push("sackOK".into());
    }
    if let Some(ts) = tcp.options.timestamps {
        options.push(format!("TS val {} ecr {}", ts.tsval, ts.tsecr));
    }
    if let Some(shift) = tcp.options.window_scale {
        options.push(format!("wscale {shift}"));
    }
    if !options.is_empty() {
        let _ = write!(line, " <{}>", options.join(","));
    }
    let _ = write!(line, " len {}", segment.payload.len());
    line
}
