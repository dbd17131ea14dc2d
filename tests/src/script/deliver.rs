//! Lines with `<`: this arrives.

use std::net::{IpAddr, SocketAddr};

use ropeway_core::packet::{Checksum, Protocol, checksum};

use super::ast::{Body, Ecn, IcmpSpec, PacketExtras, PacketSpec, Pragma, TcpSpec};
use super::compare::icmp_numbers;
use super::fast_open::with_own_cookies;
use super::flow::{Flow, byte_at};
use super::notation;
use super::parse_packet::hex;
use super::run::{Runner, Stop};
use super::settings::number;
use super::wire::{Packet, PacketBody, Tcp, encode, flag, wrap};

impl Runner<'_> {
    pub(super) fn deliver(&mut self, spec: &PacketSpec, pragmas: &[Pragma]) -> Result<(), Stop> {
        let extras = self.extras(pragmas)?;
        match &spec.body {
            Body::Tcp(tcp) => self.deliver_tcp(spec, tcp, &extras),
            Body::Icmp(icmp) => self.deliver_icmp(spec, icmp, &extras),
            Body::Udp(len) => {
                self.note(&notation::spec(spec));
                let (src, dst) = spec.ports.unwrap_or((self.next_port, self.settings.bind_port));
                let packet = self.ip(spec, self.settings.remote, self.settings.local, &extras);
                let datagram = udp(&packet, src, dst, &vec![0; usize::from(*len)]);
                self.inject(wrap(&packet, Protocol::UDP, &datagram, &extras))
            }
            Body::Unsupported(what) => Err(Stop::Unsupported(what.clone())),
        }
    }

    fn extras(&self, pragmas: &[Pragma]) -> Result<PacketExtras, Stop> {
        let mut extras = PacketExtras::default();
        for setting in pragmas.iter().flat_map(|pragma| pragma.value.split(',')) {
            let (name, value) = setting.trim().split_once('=').unwrap_or((setting.trim(), ""));
            let known = match name {
                "bad-checksum" => {
                    extras.bad_checksum = true;
                    true
                }
                "other-data" => {
                    extras.other_data = true;
                    true
                }
                "src" => value.parse().map(|ip| extras.src = Some(ip)).is_ok(),
                "dst" => value.parse().map(|ip| extras.dst = Some(ip)).is_ok(),
                "options" => hex(value).map(|bytes| extras.options = Some(bytes)).is_some(),
                "ip-options" => hex(value)
                    .filter(|bytes| bytes.len().is_multiple_of(4))
                    .map(|bytes| extras.ip_options = Some(bytes))
                    .is_some(),
                "reserved" => number(value).map(|bits| extras.reserved = bits).is_some(),
                "data-offset" => number(value).map(|words| extras.data_offset = Some(words)).is_some(),
                "ack-field" => number(value).map(|ack| extras.ack_field = Some(ack)).is_some(),
                _ => false,
            };
            if !known {
                return Err(self.fail(format!("'@packet: {setting}' makes no sense")));
            }
        }
        Ok(extras)
    }

    fn ip(&self, spec: &PacketSpec, src: IpAddr, dst: IpAddr, extras: &PacketExtras) -> Packet {
        let ecn = match spec.ip.ecn {
            Some(Ecn::Exactly(bits)) => bits,
            _ => 0,
        };
        Packet {
            src: extras.src.unwrap_or(src),
            dst: extras.dst.unwrap_or(dst),
            ttl: spec.ip.ttl.unwrap_or(255),
            tos: spec.ip.tos.unwrap_or(ecn),
            flow_label: spec.ip.flow_label.unwrap_or(0),
            body: PacketBody::Other(String::new()),
        }
    }

    fn deliver_tcp(&mut self, spec: &PacketSpec, tcp: &TcpSpec, extras: &PacketExtras) -> Result<(), Stop> {
        let (index, keys) = (self.flow_for_arrival(spec, extras), self.stack.fast_open_keys());
        let flow = &mut self.flows[index];
        let mut segment = Tcp {
            src_port: flow.remote.port(),
            dst_port: flow.local.port(),
            seq: tcp.seq,
            ack: tcp.ack.unwrap_or(0),
            flags: tcp.flags,
            win: tcp.win.unwrap_or(0),
            urg: tcp.urg,
            options: with_own_cookies(tcp.options.clone().unwrap_or_default(), flow, keys),
            payload: payload(tcp, extras),
        };
        let text = format!("< {}", notation::tcp(&segment));
        let translated = flow.arrive(&mut segment);
        let (src, dst) = (flow.remote.ip(), flow.local.ip());
        if let Some(ack) = extras.ack_field {
            segment.ack = flow.local_seq(ack);
        }
        if extras.other_data {
            flow.untrusted = true;
        }
        self.note(&text);
        translated.map_err(|what| self.fail(what))?;
        let packet = self.ip(spec, src, dst, extras);
        let merged = self.settings.segment_size.filter(|size| segment.payload.len() > usize::from(*size));
        self.inject_train(encode(&packet, &segment, extras), merged)
    }

    /// The connection that a packet belongs to; a new one if there is none.
    fn flow_for_arrival(&mut self, spec: &PacketSpec, extras: &PacketExtras) -> usize {
        let remote_ip = extras.src.unwrap_or(self.settings.remote);
        let local_ip = extras.dst.unwrap_or(self.settings.local);
        let found = match spec.ports {
            Some((src, dst)) => self.flows.iter().rposition(|flow| {
                let local = flow.script_port.unwrap_or(flow.local.port());
                let ips = (flow.remote.ip(), flow.local.ip()) == (remote_ip, local_ip);
                (flow.remote.port(), local) == (src, dst) && ips
            }),
            None => self.current.filter(|current| {
                let flow = &self.flows[*current];
                !self.next_is_new && (flow.remote.ip(), flow.local.ip()) == (remote_ip, local_ip)
            }),
        };
        let index = found.unwrap_or_else(|| {
            let (src, dst) = spec.ports.unwrap_or_else(|| {
                self.next_port += 1;
                (self.next_port, self.settings.bind_port)
            });
            self.flows.push(Flow::new(SocketAddr::new(local_ip, dst), SocketAddr::new(remote_ip, src)));
            self.flows.len() - 1
        });
        self.current = Some(index);
        self.next_is_new = false;
        index
    }

    fn deliver_icmp(
        &mut self,
        spec: &PacketSpec,
        icmp: &IcmpSpec,
        extras: &PacketExtras,
    ) -> Result<(), Stop> {
        self.note(&notation::spec(spec));
        let v4 = self.settings.local.is_ipv4();
        let Some((kind, code)) = icmp_numbers(icmp, v4) else {
            return Err(Stop::Unsupported(format!("icmp {} {:?}", icmp.kind, icmp.code)));
        };
        let word = match icmp.mtu {
            // RFC 1191 has the MTU in the lower half of the word, RFC 4443 in all of it.
            Some(mtu) => mtu.to_be_bytes(),
            None if icmp.kind.starts_with("echo") => {
                let [hi, lo] = icmp.id.to_be_bytes();
                [hi, lo, 0, 0]
            }
            None => [0; 4],
        };
        let mut message = vec![kind, code, 0, 0];
        message.extend_from_slice(&word);
        message.extend(self.quote(icmp));
        let packet = self.ip(spec, self.settings.remote, self.settings.local, extras);
        let protocol = if v4 { Protocol::ICMP } else { Protocol::ICMPV6 };
        let mut sum = if v4 {
            Checksum::new()
        } else {
            let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
            checksum::pseudo_header(packet.src, packet.dst, protocol, len)
        };
        sum.add_bytes(&message);
        let sum = sum.finish().to_be_bytes();
        message[2..4].copy_from_slice(&sum);
        self.inject(wrap(&packet, protocol, &message, extras))
    }

    /// The beginning of the packet of ours that an ICMP error is about: without a sequence number in the
    /// script, the last one that was sent.
    fn quote(&self, icmp: &IcmpSpec) -> Vec<u8> {
        if icmp.kind.starts_with("echo") {
            return vec![0; 8];
        }
        let Some(flow) = self.current.and_then(|current| self.flows.get(current)) else { return Vec::new() };
        let (seq, len) = match icmp.quoted {
            Some((seq, len)) => (flow.local_seq(seq), len),
            None => (flow.last_sent_seq, flow.last_sent_len),
        };
        let quoted = Packet {
            src: flow.local.ip(),
            dst: flow.remote.ip(),
            ttl: 63,
            tos: 0,
            flow_label: 0,
            body: PacketBody::Other(String::new()),
        };
        let mut upper = if icmp.quotes_udp {
            udp(&quoted, flow.local.port(), flow.remote.port(), &vec![0; len])
        } else {
            let mut upper = vec![0; 20 + len];
            upper[0..2].copy_from_slice(&flow.local.port().to_be_bytes());
            upper[2..4].copy_from_slice(&flow.remote.port().to_be_bytes());
            upper[4..8].copy_from_slice(&seq.to_be_bytes());
            upper[12] = 5 << 4;
            upper
        };
        let protocol = if icmp.quotes_udp { Protocol::UDP } else { Protocol::TCP };
        let mut bytes = wrap(&quoted, protocol, &upper, &PacketExtras::default());
        // RFC 792 promises 8 bytes behind the header.
        upper.truncate(8);
        bytes.truncate(if quoted.src.is_ipv4() { 28 } else { 48 });
        bytes
    }
}

/// The data of a segment: what its end sends at these sequence numbers.
fn payload(tcp: &TcpSpec, extras: &PacketExtras) -> Vec<u8> {
    // Data in a SYN stands behind it; that of others counts from 1.
    let start = if tcp.flags & flag::SYN != 0 { 0 } else { (tcp.seq as usize).wrapping_sub(1) };
    let byte = |at: usize| if extras.other_data { !byte_at(at) } else { byte_at(at) };
    (0..tcp.len).map(|at| byte(start.wrapping_add(at))).collect()
}

fn udp(packet: &Packet, src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
    let mut datagram = Vec::new();
    for field in [src, dst, len, 0] {
        datagram.extend_from_slice(&field.to_be_bytes());
    }
    datagram.extend_from_slice(payload);
    let mut sum = checksum::pseudo_header(packet.src, packet.dst, Protocol::UDP, u32::from(len));
    sum.add_bytes(&datagram);
    let sum = sum.finish().to_be_bytes();
    datagram[6..8].copy_from_slice(&sum);
    datagram
}
