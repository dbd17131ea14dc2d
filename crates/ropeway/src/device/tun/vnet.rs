//! The header that a TUN device with offload has before each packet: `struct virtio_net_hdr` (virtio 1.2, 5.1.6), in the
//! machine's byte order.

use ropeway_core::packet::{ChecksumMode, Protocol};
use ropeway_core::{RxChecksum, Transmit};

/// How long the header is.
pub(super) const LEN: usize = 10;

/// The checksum begins at `csum_start`, and is to be completed at `csum_offset` from there.
const NEEDS_CSUM: u8 = 1;
/// The checksum was verified.
const DATA_VALID: u8 = 2;

const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// Of either family.
const GSO_UDP_L4: u8 = 5;
/// One of the segments has CWR.
const GSO_ECN: u8 = 0x80;

/// Where CWR stands in a TCP header.
const FLAGS: usize = 13;
const CWR: u8 = 0x80;

/// Where the checksum stands in a TCP header, and in one of UDP.
const TCP_CHECKSUM: u16 = 16;
const UDP_CHECKSUM: u16 = 6;

/// What the header of a packet that was received says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offload {
    pub(super) checksum: RxChecksum,
    pub(super) segment_size: Option<u16>,
}

/// Reads a header. The lengths of headers in it are hints that may be wrong, and are not used.
pub(super) fn parse(header: &[u8; LEN]) -> Offload {
    let [flags, gso_type, _, _, size_a, size_b, ..] = *header;
    let verified = flags & (NEEDS_CSUM | DATA_VALID) != 0;
    let size = u16::from_ne_bytes([size_a, size_b]);
    let is_train = matches!(gso_type & !GSO_ECN, GSO_TCPV4 | GSO_TCPV6 | GSO_UDP_L4) && size > 0;
    Offload {
        checksum: if verified { RxChecksum::Verified } else { RxChecksum::Unverified },
        segment_size: is_train.then_some(size),
    }
}

/// Whether the kernel, which takes CWR off all segments of a train but the first (RFC 3168), would spoil the counter of Accurate ECN
/// that it is a part of.
pub(super) fn spoils(train: &Transmit) -> bool {
    train.accurate_ecn && has_cwr(train)
}

/// Whether a packet carries datagrams.
pub(super) fn is_udp(packet: &Transmit) -> bool {
    let at = if ip_len(packet).1 == GSO_TCPV4 { 9 } else { 6 };
    packet.header.get(at).is_some_and(|protocol| *protocol == Protocol::UDP.0)
}

fn has_cwr(packet: &Transmit) -> bool {
    let tcp = packet.header.get(ip_len(packet).0.into()..).unwrap_or_default();
    tcp.get(FLAGS).is_some_and(|flags| flags & CWR != 0)
}

/// How long the IP header is, and what a train of segments of that version is called.
fn ip_len(packet: &Transmit) -> (u16, u8) {
    match packet.header.first() {
        Some(first) if first >> 4 == 4 => (u16::from(first & 0xf) * 4, GSO_TCPV4),
        _ => (40, GSO_TCPV6),
    }
}

/// The header of a packet that is sent. Only TCP segments and trains of datagrams leave their checksum to others.
pub(super) fn of(packet: &Transmit) -> [u8; LEN] {
    let mut header = [0; LEN];
    if packet.checksum == ChecksumMode::Full {
        return header;
    }
    let (ip_len, gso_type) = ip_len(packet);
    let (gso_type, checksum) = match is_udp(packet) {
        true => (GSO_UDP_L4, UDP_CHECKSUM),
        false if has_cwr(packet) => (gso_type | GSO_ECN, TCP_CHECKSUM),
        false => (gso_type, TCP_CHECKSUM),
    };
    let (gso_type, size) = packet.segment_size.map_or((GSO_NONE, 0), |size| (gso_type, size));
    let all = u16::try_from(packet.header.len()).unwrap_or_default();
    header[0] = NEEDS_CSUM;
    header[1] = gso_type;
    header[2..4].copy_from_slice(&all.to_ne_bytes());
    header[4..6].copy_from_slice(&size.to_ne_bytes());
    header[6..8].copy_from_slice(&ip_len.to_ne_bytes());
    header[8..10].copy_from_slice(&checksum.to_ne_bytes());
    header
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ropeway_core::packet::{IpParams, Payload, TcpHeader, TcpOptions, Timestamps, emit_tcp, udp};

    use super::*;

    fn fields(header: [u8; LEN]) -> (u8, u8, [u16; 4]) {
        let word = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        (header[0], header[1], [word(2), word(4), word(6), word(8)])
    }

    fn segment(addresses: [&str; 2], segment_size: Option<u16>) -> Transmit {
        let [src, dst] = addresses.map(|address| address.parse().unwrap());
        let ip = IpParams {
            src,
            dst,
            protocol: Protocol::TCP,
            hop_limit: 64,
            traffic_class: 0,
            dont_fragment: true,
            ident: 0,
            flow_label: 0,
        };
        let timestamps = Some(Timestamps { tsval: 1, tsecr: 2 });
        let options = TcpOptions { timestamps, ..TcpOptions::default() };
        let tcp = TcpHeader { options, ..TcpHeader::default() };
        let payload = Payload::from(Bytes::from_static(&[7; 4000]));
        let header = emit_tcp(&ip, &tcp, &payload, ChecksumMode::Partial);
        let mut transmit = Transmit::whole(Bytes::new());
        transmit.header = header;
        transmit.payload = payload;
        transmit.checksum = ChecksumMode::Partial;
        transmit.segment_size = segment_size;
        transmit
    }

    #[test]
    fn a_segment_asks_for_its_checksum_and_a_train_for_its_cuts() {
        let v4 = ["192.0.2.1", "192.0.2.2"];
        let v6 = ["2001:db8::1", "2001:db8::2"];
        assert_eq!(fields(of(&segment(v4, None))), (NEEDS_CSUM, GSO_NONE, [52, 0, 20, 16]));
        assert_eq!(fields(of(&segment(v4, Some(1000)))), (NEEDS_CSUM, GSO_TCPV4, [52, 1000, 20, 16]));
        assert_eq!(fields(of(&segment(v6, Some(1428)))), (NEEDS_CSUM, GSO_TCPV6, [72, 1428, 40, 16]));
    }

    #[test]
    fn datagrams_are_cut_by_a_name_of_their_own() {
        for ([src, dst], ip_len) in [(["192.0.2.1", "192.0.2.2"], 20), (["2001:db8::1", "2001:db8::2"], 40)] {
            let [src, dst] = [src, dst].map(|address| address.parse().unwrap());
            let ip = IpParams {
                src,
                dst,
                protocol: Protocol::UDP,
                hop_limit: 64,
                traffic_class: 0,
                dont_fragment: true,
                ident: 0,
                flow_label: 0,
            };
            let sum = ropeway_core::packet::Checksum::new();
            let headers = udp::emit_headers(&ip, 1, 2, 4000, sum, ChecksumMode::Partial).unwrap();
            let train = Transmit::new(headers, Bytes::from_static(&[7; 4000]).into(), ChecksumMode::Partial);
            let train = train.with_segment_size(Some(1200));
            assert_eq!(fields(of(&train)), (NEEDS_CSUM, GSO_UDP_L4, [ip_len + 8, 1200, ip_len, 6]));
        }
    }

    #[test]
    fn what_is_complete_needs_nothing() {
        assert_eq!(of(&Transmit::whole(Bytes::from_static(&[0x45; 40]))), [0; LEN]);
    }

    #[test]
    fn a_received_header_is_believed_in_what_it_must_say_and_in_nothing_else() {
        let header = |flags: u8, gso: u8, size: u16| {
            let mut header = [0xff; LEN];
            header[0] = flags;
            header[1] = gso;
            header[4..6].copy_from_slice(&size.to_ne_bytes());
            let Offload { checksum, segment_size } = parse(&header);
            (checksum == RxChecksum::Verified, segment_size)
        };
        assert_eq!(header(0, 0, 0), (false, None));
        assert_eq!(header(NEEDS_CSUM, GSO_NONE, 1448), (true, None));
        assert_eq!(header(DATA_VALID, GSO_NONE, 0), (true, None));
        assert_eq!(header(NEEDS_CSUM, GSO_TCPV4, 1448), (true, Some(1448)));
        assert_eq!(header(NEEDS_CSUM, GSO_TCPV6 | GSO_ECN, 1428), (true, Some(1428)));
        assert_eq!(header(NEEDS_CSUM, GSO_TCPV4, 0), (true, None));
        assert_eq!(header(NEEDS_CSUM, GSO_UDP_L4, 1200), (true, Some(1200)));
        assert_eq!(header(NEEDS_CSUM, 3, 1200), (true, None), "fragments of datagrams are none of ours");
    }
}
