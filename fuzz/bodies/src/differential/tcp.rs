//! TCP: the fixed header, and the options.

use pnet_packet::Packet;
use pnet_packet::tcp::TcpOptionNumbers as numbers;
use ropeway_packet::{
    IpPacket, ParsedTcp, SackBlocks, SeqNum, TcpFlags, TcpHeader, TcpOptions, Timestamps, parse_tcp,
};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire;

use super::checksum::{is_right_with_pseudo_header, is_same};
use super::{addresses, be16, be32};

pub(super) fn segment(bytes: &[u8], ip: &IpPacket, segment: &[u8]) {
    let ours = parse_tcp(bytes, ip.clone(), true);
    let (src, dst) = addresses(ip);
    let Ok(smoltcp) = wire::TcpPacket::new_checked(segment) else {
        assert!(ours.is_err(), "smoltcp refuses {bytes:02x?}: {ours:?}");
        return;
    };
    let good = is_right_with_pseudo_header(ip, segment);
    is_same(good, smoltcp.verify_checksum(&src, &dst));
    assert_eq!(ours.is_ok(), good, "checksum of {bytes:02x?}: {ours:?}");
    let Ok(ours) = ours else { return };
    let header = &ours.tcp;
    same_fixed_header(segment, header, &smoltcp);
    assert_eq!(&bytes[ours.payload.clone()], smoltcp.payload());
    let repr = wire::TcpRepr::parse(&smoltcp, &src, &dst, &ChecksumCapabilities::ignored());
    let parsed = ParsedTcp {
        header: *header,
        header_len: usize::from(smoltcp.header_len()),
        malformed_options: ours.malformed_options,
    };
    match repr {
        Ok(repr) => {
            // To smoltcp, Fast Open (34) is unknown whatever its length, and so are timestamps (8) of a wrong
            // one. RFC 9293 3.1 MUST-7 wants illegal lengths noticed.
            let strange = parsed.malformed_options && has_unknown(segment, &parsed, &[8, 34]);
            assert!(!parsed.malformed_options || strange, "smoltcp takes the options of {segment:02x?}");
            same_options_as_smoltcp(header, &repr);
        }
        // smoltcp refuses port 0, mixtures of SYN, FIN, RST and PSH, and options with illegal lengths: here
        // these are for the connection to judge (RFC 9293 3.10.7), and SYN-only options are not looked at
        // elsewhere.
        Err(_) => {
            let flags = header.flags.bits() & 0x0f;
            let plain = flags & 7 == 0 || (flags & 7).count_ones() == 1;
            let ports = header.src_port != 0 && header.dst_port != 0;
            let options = parsed.malformed_options || !header.flags.contains(TcpFlags::SYN);
            assert!(!plain || !ports || options, "smoltcp refuses {segment:02x?}");
        }
    }
    same_options_as_pnet(segment, &parsed);
}

fn same_fixed_header(segment: &[u8], header: &TcpHeader, smoltcp: &wire::TcpPacket<&[u8]>) {
    let pnet = pnet_packet::tcp::TcpPacket::new(segment).expect("20 bytes");
    assert_eq!((header.src_port, header.dst_port), (pnet.get_source(), pnet.get_destination()));
    assert_eq!((header.src_port, header.dst_port), (smoltcp.src_port(), smoltcp.dst_port()));
    assert_eq!((header.seq.get(), header.ack.get()), (pnet.get_sequence(), pnet.get_acknowledgement()));
    let seqs = (smoltcp.seq_number().0.cast_unsigned(), smoltcp.ack_number().0.cast_unsigned());
    assert_eq!((header.seq.get(), header.ack.get()), seqs);
    assert_eq!((header.window, header.urgent), (pnet.get_window(), pnet.get_urgent_ptr()));
    assert_eq!((header.window, header.urgent), (smoltcp.window_len(), smoltcp.urgent_at()));
    assert_eq!(usize::from(pnet.get_data_offset()) * 4, usize::from(smoltcp.header_len()));
    // The lowest reserved bit is AE, once NS; the other three are ignored (RFC 9293 3.1).
    let flags = header.flags.bits();
    assert_eq!(flags, u16::from(pnet.get_reserved() & 1) << 8 | u16::from(pnet.get_flags()));
    let theirs = [
        smoltcp.fin(),
        smoltcp.syn(),
        smoltcp.rst(),
        smoltcp.psh(),
        smoltcp.ack(),
        smoltcp.urg(),
        smoltcp.ece(),
        smoltcp.cwr(),
        smoltcp.ns(),
    ];
    for (bit, theirs) in theirs.into_iter().enumerate() {
        assert_eq!(flags & (1 << bit) != 0, theirs, "flag {bit} of {segment:02x?}");
    }
}

fn same_options_as_smoltcp(header: &TcpHeader, repr: &wire::TcpRepr<'_>) {
    let ours = &header.options;
    if header.flags.contains(TcpFlags::SYN) {
        assert_eq!(ours.mss, repr.max_seg_size);
        // RFC 7323 2.3: above 14 counts as 14; here the caller's WindowScale does that.
        assert_eq!(ours.window_scale.map(|shift| shift.min(14)), repr.window_scale);
        assert_eq!(ours.sack_permitted, repr.sack_permitted);
    } else {
        assert_eq!((ours.mss, ours.window_scale, ours.sack_permitted), (None, None, false));
    }
    let timestamps = repr.timestamp.map(|theirs| (theirs.tsval, theirs.tsecr));
    assert_eq!(ours.timestamps.map(|ours| (ours.tsval, ours.tsecr)), timestamps);
    // smoltcp keeps three blocks.
    let theirs = repr.sack_ranges.iter().flatten().copied();
    let ours = ours.sack.as_slice().iter().map(|(start, end)| (start.get(), end.get()));
    assert!(ours.take(3).eq(theirs), "SACK blocks");
}

/// Whether an option of these kinds is there that smoltcp does not understand.
fn has_unknown(segment: &[u8], parsed: &ParsedTcp, kinds: &[u8]) -> bool {
    let mut rest = &segment[20..parsed.header_len];
    while let Ok((next, option)) = wire::TcpOption::parse(rest) {
        match option {
            wire::TcpOption::EndOfList => return false,
            wire::TcpOption::Unknown { kind, .. } if kinds.contains(&kind) => return true,
            _ => rest = next,
        }
    }
    false
}

/// pnet walks past the end of the list and cuts what is too long, so well-formed lists are compared, and those
/// before their end.
fn same_options_as_pnet(segment: &[u8], parsed: &ParsedTcp) {
    if parsed.malformed_options {
        return;
    }
    let pnet = pnet_packet::tcp::TcpPacket::new(segment).expect("20 bytes");
    let syn = parsed.header.flags.contains(TcpFlags::SYN);
    let mut theirs = TcpOptions::default();
    for option in pnet.get_options_iter() {
        let value = option.payload();
        match option.get_number() {
            numbers::EOL => break,
            numbers::MSS if syn => theirs.mss = Some(be16(value)),
            numbers::WSCALE if syn => theirs.window_scale = value.first().copied(),
            numbers::SACK_PERMITTED if syn => theirs.sack_permitted = true,
            numbers::TIMESTAMPS => {
                theirs.timestamps = Some(Timestamps { tsval: be32(&value[..4]), tsecr: be32(&value[4..8]) });
            }
            numbers::SACK => {
                theirs.sack = SackBlocks::EMPTY;
                for block in value.chunks_exact(8) {
                    let number = |bytes| SeqNum::new(be32(bytes));
                    theirs.sack.push((number(&block[..4]), number(&block[4..])));
                }
            }
            _ => {}
        }
    }
    let ours = TcpOptions { fast_open: None, accurate_ecn: None, ..parsed.header.options };
    assert_eq!(ours, theirs, "options of {segment:02x?}");
}
