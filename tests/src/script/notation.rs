//! Packets as the script's language writes them.

use std::fmt::Write as _;

use super::ast::{Body, Direction, Ecn, PacketSpec, TcpOption, TcpSpec};
use super::wire::{Packet, PacketBody, Tcp, flag};

/// `1.000250`
pub(super) fn time(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// `S. 0:0(0) ack 1 win 65535 <mss 1460>`
pub(super) fn tcp(tcp: &Tcp) -> String {
    let len = u32::try_from(tcp.payload.len()).unwrap_or(u32::MAX);
    let mut text = format!("{} {}:{}({len})", flag::letters(tcp.flags), tcp.seq, tcp.seq.wrapping_add(len));
    if tcp.has(flag::ACK) {
        let _ = write!(text, " ack {}", tcp.ack);
    }
    let _ = write!(text, " win {}", tcp.win);
    if tcp.urg != 0 || tcp.has(flag::URG) {
        let _ = write!(text, " urg {}", tcp.urg);
    }
    if !tcp.options.is_empty() {
        let _ = write!(text, " {}", options(&tcp.options));
    }
    text
}

/// `<mss 1460,nop,wscale 7>`
pub(super) fn options(options: &[TcpOption]) -> String {
    let list: Vec<_> = options.iter().map(option).collect();
    format!("<{}>", list.join(","))
}

fn option(option: &TcpOption) -> String {
    match option {
        TcpOption::Eol => "eol".into(),
        TcpOption::Nop => "nop".into(),
        TcpOption::Mss(mss) => format!("mss {mss}"),
        TcpOption::WindowScale(shift) => format!("wscale {shift}"),
        TcpOption::SackPermitted => "sackOK".into(),
        TcpOption::Sack(blocks) => {
            blocks.iter().fold("sack".into(), |text, (left, right)| format!("{text} {left}:{right}"))
        }
        TcpOption::Timestamps { val, ecr } => format!("TS val {val} ecr {ecr}"),
        TcpOption::FastOpen { cookie, experimental } => {
            let name = if *experimental { "FOEXP" } else { "FO" };
            cookie.iter().fold(format!("{name} "), |text, byte| format!("{text}{byte:02x}")).trim_end().into()
        }
        TcpOption::OwnCookie { experimental } => {
            if *experimental {
                "FOEXP ...".into()
            } else {
                "FO ...".into()
            }
        }
        TcpOption::Other(kind, value) => {
            value.iter().fold(format!("kind {kind} "), |text, byte| format!("{text}{byte:02x}"))
        }
    }
}

/// What a line of the script asks for.
pub(super) fn spec(spec: &PacketSpec) -> String {
    let mut text = String::from(if spec.direction == Direction::In { "< " } else { "> " });
    match spec.ip.ecn {
        Some(Ecn::Exactly(bits)) => {
            let name = ["noecn", "ect1", "ect0", "ce"].get(usize::from(bits)).unwrap_or(&"?");
            let _ = write!(text, "[{name}] ");
        }
        Some(Ecn::Ect01) => text += "[ect01] ",
        None => {}
    }
    if let Some(tos) = spec.ip.tos {
        let _ = write!(text, "(tos {tos:#x}) ");
    }
    if let Some(ttl) = spec.ip.ttl {
        let _ = write!(text, "(ttl {ttl}) ");
    }
    if let Some((src, dst)) = spec.ports {
        let _ = write!(text, "{src} > {dst} ");
    }
    match &spec.body {
        Body::Tcp(tcp) => text += &tcp_spec(tcp),
        Body::Icmp(icmp) => {
            let _ = write!(text, "icmp {} {}", icmp.kind, icmp.code.as_deref().unwrap_or_default());
        }
        Body::Udp(len) => {
            let _ = write!(text, "udp ({len})");
        }
        Body::Unsupported(what) => text += what,
    }
    text
}

fn tcp_spec(tcp: &TcpSpec) -> String {
    let len = u32::try_from(tcp.len).unwrap_or(u32::MAX);
    let mut text = format!("{} {}:{}({len})", flag::letters(tcp.flags), tcp.seq, tcp.seq.wrapping_add(len));
    if let Some(ack) = tcp.ack {
        let _ = write!(text, " ack {ack}");
    }
    if let Some(win) = tcp.win {
        let _ = write!(text, " win {win}");
    }
    if tcp.urg != 0 {
        let _ = write!(text, " urg {}", tcp.urg);
    }
    match &tcp.options {
        None => text += " <...>",
        Some(list) if list.is_empty() => {}
        Some(list) => {
            let _ = write!(text, " {}", options(list));
        }
    }
    text
}

/// A packet with the script's numbers, if it is a segment: then `tcp` has them.
pub(super) fn packet(packet: &Packet, segment: Option<&Tcp>) -> String {
    match (&packet.body, segment) {
        (_, Some(segment)) => tcp(segment),
        (PacketBody::Tcp(segment), None) => tcp(segment),
        (PacketBody::Icmp(kind, code, rest), _) => {
            format!("icmp type {kind} code {code} ({} bytes)", rest.len() + 4)
        }
        (PacketBody::Udp(_, _, payload), _) => format!("udp ({})", payload.len()),
        (PacketBody::Other(what), _) => what.clone(),
    }
}
