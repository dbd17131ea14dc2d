//! The story of an execution, for whoever has to understand a failure. Told only when asked for.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use ropeway_core::Timestamp;
use ropeway_packet::{TcpFlags, ip, parse_tcp};

static TOLD: AtomicBool = AtomicBool::new(false);

/// From now on each execution prints what happens in it: every packet, every call, every step of the clock.
pub fn tell_stories() {
    TOLD.store(true, Ordering::Relaxed);
}

/// Prints a line if stories are told.
pub(crate) fn tell(now: Timestamp, line: impl FnOnce() -> String) {
    if TOLD.load(Ordering::Relaxed) {
        eprintln!("{now:?} {}", line());
    }
}

/// A packet in a line.
pub(crate) fn describe(packet: &[u8]) -> String {
    let Ok(ip) = ip::parse(packet) else { return format!("not IP: {packet:02x?}") };
    let Ok(segment) = parse_tcp(packet, ip.clone(), true) else {
        return format!("{} > {} protocol {}, {} bytes", ip.src, ip.dst, ip.protocol.0, packet.len());
    };
    let tcp = &segment.tcp;
    let names = [
        (TcpFlags::SYN, "SYN"),
        (TcpFlags::FIN, "FIN"),
        (TcpFlags::RST, "RST"),
        (TcpFlags::URG, "URG"),
        (TcpFlags::ACK, "ACK"),
    ];
    let names: Vec<&str> =
        names.into_iter().filter(|(flag, _)| tcp.flags.contains(*flag)).map(|(_, name)| name).collect();
    let mut line = format!(
        "{} > {} {} seq {} ack {} win {} len {}",
        tcp.src_port,
        tcp.dst_port,
        names.join(","),
        tcp.seq.get(),
        tcp.ack.get(),
        tcp.window,
        segment.payload.len()
    );
    if let Some(timestamps) = tcp.options.timestamps {
        let _ = write!(line, " ts {}/{}", timestamps.tsval, timestamps.tsecr);
    }
    if segment.malformed_options {
        line += " malformed options";
    }
    line
}
