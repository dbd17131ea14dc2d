//! A packet that was sent against the line that expects it, field by field.

use super::ast::{Body, Ecn, IcmpSpec, PacketSpec, TcpOption, TcpSpec};
use super::flow::Flow;
use super::notation;
use super::settings::{Mode, Settings};
use super::wire::{Packet, PacketBody, Tcp, encode_options, flag};

/// One field that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The field's name.
    pub field: &'static str,
    /// As the script has it.
    pub expected: String,
    /// As it was.
    pub actual: String,
}

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) differences: Vec<Difference>,
    /// What the script asks for and the stack does not have; it was left out of the comparison.
    pub(super) unsupported: Vec<&'static str>,
}

impl Findings {
    fn check<T: PartialEq + ToString>(&mut self, field: &'static str, expected: &T, actual: &T) {
        if expected != actual {
            self.push(field, expected.to_string(), actual.to_string());
        }
    }

    pub(super) fn push(&mut self, field: &'static str, expected: String, actual: String) {
        self.differences.push(Difference { field, expected, actual });
    }
}

/// Compares a packet with what is expected. `segment` has the script's numbers if it is TCP, and `flow` is then
/// the connection that it belongs to.
pub(super) fn compare(
    spec: &PacketSpec,
    packet: &Packet,
    segment: Option<&Tcp>,
    flow: Option<&Flow>,
    settings: &Settings,
) -> Findings {
    let mut findings = Findings::default();
    ip_header(spec, packet, &mut findings);
    match (&spec.body, &packet.body, segment) {
        (Body::Tcp(expected), PacketBody::Tcp(wire), Some(actual)) => {
            if let (Some((src, dst)), Some(flow)) = (spec.ports, flow) {
                let actual = (flow.script_port.unwrap_or(wire.src_port), wire.dst_port);
                findings.check("source port", &src, &actual.0);
                findings.check("destination port", &dst, &actual.1);
            }
            let cut =
                settings.mode == Mode::Packetdrill && flow.is_some_and(|flow| flow.has_more_behind(wire));
            tcp_header(
                &TcpSpec { flags: flags_of(expected, actual, cut), ..expected.clone() },
                actual,
                settings,
                &mut findings,
            );
            if let Some(wrong) = flow.and_then(|flow| flow.check_payload(wire)) {
                findings.push("payload", "what was written".into(), wrong);
            }
        }
        (Body::Icmp(expected), PacketBody::Icmp(kind, code, _), _) => {
            icmp(expected, *kind, *code, packet.src.is_ipv4(), &mut findings);
        }
        (Body::Udp(len), PacketBody::Udp(_, _, payload), _) => {
            findings.check("length", &usize::from(*len), &payload.len());
        }
        _ => findings.push("packet", notation::spec(spec), notation::packet(packet, segment)),
    }
    findings
}

fn ip_header(spec: &PacketSpec, packet: &Packet, findings: &mut Findings) {
    let ecn = packet.tos & 3;
    let wrong = match spec.ip.ecn {
        Some(Ecn::Exactly(expected)) => expected != ecn,
        Some(Ecn::Ect01) => ecn != 1 && ecn != 2,
        None => false,
    };
    if wrong {
        findings.push("ECN field", format!("{:?}", spec.ip.ecn), ecn.to_string());
    }
    if let Some(tos) = spec.ip.tos {
        findings.check("TOS", &tos, &packet.tos);
    }
    if let Some(ttl) = spec.ip.ttl {
        findings.check("TTL", &ttl, &packet.ttl);
    }
}

/// The flags that a segment needs. `cut`: more has been written than it carries; Linux sets PSH all the same where a host that
/// cuts segments itself ends its burst, and where it cuts follows from its estimate of the path's rate.
fn flags_of(expected: &TcpSpec, actual: &Tcp, cut: bool) -> u16 {
    if cut && !actual.has(flag::PSH) { expected.flags & !flag::PSH } else { expected.flags }
}

fn tcp_header(expected: &TcpSpec, actual: &Tcp, settings: &Settings, findings: &mut Findings) {
    if expected.flags != actual.flags {
        findings.push("flags", flag::letters(expected.flags), flag::letters(actual.flags));
    }
    findings.check("sequence number", &expected.seq, &actual.seq);
    findings.check("payload length", &expected.len, &actual.payload.len());
    findings.check("acknowledgement number", &expected.ack.unwrap_or(0), &actual.ack);
    if let Some(win) = expected.win {
        // FreeBSD's right edge follows every byte; Linux's and ours wait for a segment's worth.
        let close = settings.bsd && win.abs_diff(actual.win) < 1460;
        // That of a RST means nothing.
        let ends = settings.mode == Mode::Packetdrill && actual.has(flag::RST);
        if !close && !ends {
            findings.check("window", &win, &actual.win);
        }
    }
    findings.check("urgent pointer", &expected.urg, &actual.urg);
    if let Some(options) = &expected.options {
        tcp_options(options, &actual.options, settings, findings);
    }
}

fn tcp_options(expected: &[TcpOption], actual: &[TcpOption], settings: &Settings, findings: &mut Findings) {
    // What fills the last word.
    let padding = encode_options(expected).len() - unpadded(expected);
    let mut expected = expected.to_vec();
    expected.extend(std::iter::repeat_n(TcpOption::Eol, padding));
    let (mut expected, mut actual) = (expected, actual.to_vec());
    let missing = unsupported(&expected, &actual);
    if !missing.is_empty() {
        for list in [&mut expected, &mut actual] {
            list.retain(|option| {
                name_of(option).is_none() && !matches!(option, TcpOption::Nop | TcpOption::Eol)
            });
        }
        findings.unsupported.extend(missing);
    }
    if settings.bsd {
        // The same options in FreeBSD's order.
        for list in [&mut expected, &mut actual] {
            list.retain(|option| !matches!(option, TcpOption::Nop | TcpOption::Eol));
            list.sort_by_key(|option| encode_options(std::slice::from_ref(option)).first().copied());
        }
    }
    let wrong = expected.len() != actual.len()
        || expected.iter().zip(&actual).any(|(expected, actual)| !same_option(expected, actual, settings));
    if wrong {
        findings.push("options", notation::options(&expected), notation::options(&actual));
    }
}

fn unpadded(options: &[TcpOption]) -> usize {
    options.iter().map(|option| encode_options(std::slice::from_ref(option)).len()).zip(options).fold(
        0,
        |sum, (padded, option)| {
            sum + match option {
                TcpOption::Eol | TcpOption::Nop => 1,
                TcpOption::WindowScale(_) => 3,
                TcpOption::SackPermitted => 2,
                TcpOption::Sack(_) | TcpOption::Timestamps { .. } => padded - 2,
                TcpOption::FastOpen { cookie, experimental } => {
                    2 + cookie.len() + usize::from(*experimental) * 2
                }
                TcpOption::OwnCookie { experimental } => 10 + usize::from(*experimental) * 2,
                TcpOption::Other(_, value) => 2 + value.len(),
                TcpOption::Mss(_) => 4,
            }
        },
    )
}

/// What is expected of options that the stack does not have.
fn unsupported(expected: &[TcpOption], actual: &[TcpOption]) -> Vec<&'static str> {
    let names: Vec<_> = actual.iter().filter_map(name_of).collect();
    expected.iter().filter_map(name_of).filter(|name| !names.contains(name)).collect()
}

fn name_of(option: &TcpOption) -> Option<&'static str> {
    match option {
        TcpOption::Other(19, _) => Some("TCP MD5"),
        TcpOption::Other(30, _) => Some("MPTCP"),
        _ => None,
    }
}

fn same_option(expected: &TcpOption, actual: &TcpOption, settings: &Settings) -> bool {
    let (TcpOption::Timestamps { val, ecr }, TcpOption::Timestamps { val: actual_val, ecr: actual_ecr }) =
        (expected, actual)
    else {
        return expected == actual;
    };
    let apart = val.wrapping_sub(*actual_val).cast_signed().unsigned_abs();
    // Half a tick may lie between when a value was taken and when it was sent.
    let val_ok = settings.ts_tick == 0 || u64::from(apart) * settings.ts_tick <= settings.tolerance;
    let ecr_ok = settings.mode == Mode::Packetdrill || ecr == actual_ecr;
    val_ok && ecr_ok
}

fn icmp(expected: &IcmpSpec, kind: u8, code: u8, v4: bool, findings: &mut Findings) {
    match icmp_numbers(expected, v4) {
        Some((expected_kind, expected_code)) => {
            findings.check("ICMP type", &expected_kind, &kind);
            findings.check("ICMP code", &expected_code, &code);
        }
        None => findings.push("ICMP type", expected.kind.clone(), kind.to_string()),
    }
}

/// Type and code of an ICMP message by the names that scripts use.
pub(super) fn icmp_numbers(spec: &IcmpSpec, v4: bool) -> Option<(u8, u8)> {
    let code = spec.code.as_deref().unwrap_or_default();
    if let Ok(code) = code.parse() {
        return Some((icmp_type(&spec.kind, v4)?, code));
    }
    // The two versions' names stand for each other, so that a script runs over both.
    let code = match (v4, code) {
        (_, "") => 0,
        (true, "net_unreachable" | "noroute" | "no_route") => 0,
        (true, "host_unreachable" | "addr_unreachable") => 1,
        (true, "protocol_unreachable" | "unk_nexthdr") => 2,
        (true, "port_unreachable") => 3,
        (true, "frag_needed") => 4,
        (true, "source_route_failed") => 5,
        (true, "net_unknown") => 6,
        (true, "host_unknown") => 7,
        (true, "source_host_isolated") => 8,
        (true, "net_prohibited") => 9,
        (true, "host_prohibited") => 10,
        (true, "net_unreachable_for_tos") => 11,
        (true, "host_unreachable_for_tos") => 12,
        (true, "pkt_filtered" | "packet_filtered" | "adm_prohibited" | "admin_prohibited") => 13,
        (true, "precedence_violation") => 14,
        (true, "precedence_cutoff") => 15,
        (
            _,
            "ttl_exceeded" | "ttl_exceeded_in_transit" | "exc_ttl" | "exceed_reassembly" | "exc_fragtime",
        ) => u8::from(code == "exceed_reassembly" || code == "exc_fragtime"),
        (false, "noroute" | "no_route" | "net_unreachable") => 0,
        (
            false,
            "adm_prohibited" | "admin_prohibited" | "pkt_filtered" | "host_prohibited" | "net_prohibited",
        ) => 1,
        (false, "not_neighbour") => 2,
        (false, "addr_unreachable" | "host_unreachable") => 3,
        (false, "port_unreachable") => 4,
        (false, "frag_needed") => return Some((2, 0)),
        (false, "unk_nexthdr" | "unknown_next_header" | "protocol_unreachable") => return Some((4, 1)),
        (false, "hdr_field") => 0,
        _ => return None,
    };
    Some((icmp_type(&spec.kind, v4)?, code))
}

fn icmp_type(name: &str, v4: bool) -> Option<u8> {
    Some(match (v4, name) {
        (true, "echo_reply") => 0,
        (true, "unreachable" | "dest_unreachable") => 3,
        (true, "packet_too_big") => 3,
        (true, "source_quench") => 4,
        (true, "redirect") => 5,
        (true, "echo_request") => 8,
        (true, "time_exceeded") => 11,
        (true, "parameter_problem") => 12,
        (false, "unreachable" | "dest_unreachable") => 1,
        (false, "packet_too_big") => 2,
        (false, "time_exceeded") => 3,
        (false, "parameter_problem") => 4,
        (false, "echo_request") => 128,
        (false, "echo_reply") => 129,
        _ => return name.parse().ok(),
    })
}
