use super::*;
use crate::udp;

#[test]
fn quotes_may_be_cut_anywhere() {
    for is_v4 in [true, false] {
        let (src, dst) = addrs(is_v4);
        let packet = tcp_packet(is_v4);
        let header_len = params(is_v4).header_len();
        for len in 0..=packet.len() {
            let quoted = parse_quote(&packet[..len]);
            if len < header_len {
                assert_eq!(quoted, None, "{len} bytes");
                continue;
            }
            let quoted = quoted.unwrap();
            let total_len = u32::try_from(packet.len()).unwrap();
            assert_eq!(quoted.ip, QuotedIp { src, dst, protocol: Protocol::TCP, total_len });
            assert_eq!(quoted.ports, (len >= header_len + 4).then_some((4000, 80)), "{len} bytes");
            let seq = (len >= header_len + 8).then_some(SeqNum::new(0x0102_0304));
            assert_eq!(quoted.seq, seq, "{len} bytes");
        }
    }
}

#[test]
fn quotes_are_not_judged() {
    // Routers change the TTL and the checksum, and quote packets longer than the quote.
    let mut quote = tcp_packet(true);
    quote[2..4].copy_from_slice(&1500_u16.to_be_bytes());
    quote[8] = 0;
    quote[10..12].fill(0xaa);
    let quoted = parse_quote(&quote).unwrap();
    assert_eq!(quoted.ports, Some((4000, 80)));
    assert_eq!(quoted.ip.total_len, 1500);
    // Options lie between.
    let mut with_options = quote.clone();
    with_options[0] = 0x46;
    with_options.splice(20..20, [1; 4]);
    assert_eq!(parse_quote(&with_options).unwrap().ports, Some((4000, 80)));
    with_options[0] = 0x4f;
    with_options.truncate(60);
    assert_eq!(parse_quote(&with_options).unwrap().ports, None);
    // A header length that cannot be, and a version.
    quote[0] = 0x44;
    assert_eq!(parse_quote(&quote), None);
    quote[0] = 0x55;
    assert_eq!(parse_quote(&quote), None);
}

#[test]
fn only_a_first_fragment_has_ports() {
    let mut quote = tcp_packet(true);
    quote[6..8].copy_from_slice(&0x2000_u16.to_be_bytes());
    assert_eq!(parse_quote(&quote).unwrap().ports, Some((4000, 80)));
    quote[6..8].copy_from_slice(&0x2001_u16.to_be_bytes());
    assert_eq!(parse_quote(&quote).unwrap().ports, None);

    let mut quote = tcp_packet(false);
    quote[6] = Protocol::IPV6_FRAGMENT.0;
    quote.splice(40..40, [Protocol::TCP.0, 0, 0, 0b111, 0, 0, 0, 1]);
    assert_eq!(parse_quote(&quote).unwrap().ports, Some((4000, 80)));
    for (at, byte) in [(42, 1), (43, 8)] {
        let mut later = quote.clone();
        later[at] = byte;
        let quoted = parse_quote(&later).unwrap();
        assert_eq!((quoted.ip.protocol, quoted.ports, quoted.seq), (Protocol::TCP, None, None));
    }
}

#[test]
fn quotes_with_extension_headers() {
    // Options that would be refused in a packet to us do not matter in one that we sent.
    let mut quote = tcp_packet(false);
    quote[6] = Protocol::HOP_BY_HOP.0;
    let extension = [Protocol::TCP.0, 0, 0x80, 4, 0, 0, 0, 0];
    quote.splice(40..40, extension);
    assert_eq!(parse_quote(&quote).unwrap().seq, Some(SeqNum::new(0x0102_0304)));
    // Cut within the chain: the header that is cut.
    for len in 40..48 {
        let quoted = parse_quote(&quote[..len]).unwrap();
        assert_eq!((quoted.ip.protocol, quoted.ports), (Protocol::HOP_BY_HOP, None));
    }
    // A chain without end.
    quote.truncate(40);
    quote.extend([Protocol::HOP_BY_HOP.0, 0, 0, 0, 0, 0, 0, 0].repeat(1000));
    let quoted = parse_quote(&quote).unwrap();
    assert_eq!((quoted.ip.protocol, quoted.ports), (Protocol::HOP_BY_HOP, None));
}

#[test]
fn quotes_of_other_protocols() {
    for is_v4 in [true, false] {
        let (src, dst) = addrs(is_v4);
        let udp = udp::emit(&params(is_v4), 53, 5353, b"x").unwrap();
        let quoted = parse_quote(&udp).unwrap();
        assert_eq!((quoted.ip.protocol, quoted.ports, quoted.seq), (Protocol::UDP, Some((53, 5353)), None));
        let at = params(is_v4).header_len() + 6;
        let checksum = u16::from_be_bytes([udp[at], udp[at + 1]]);
        assert_eq!(quoted.datagram, Some((9, checksum)));
        assert_eq!(parse_quote(&udp[..at + 1]).unwrap().datagram, None);
        let marked = IpParams { ident: 0x1234, flow_label: 0x5_4321, ..params(is_v4) };
        let marked = udp::emit(&marked, 53, 5353, b"x").unwrap();
        assert_eq!(parse_quote(&marked).unwrap().label, if is_v4 { 0x1234 } else { 0x5_4321 });
        let echo = emit_echo_request(src, dst, 1, 2, &[], 64);
        let quoted = parse_quote(&echo).unwrap();
        assert_eq!((quoted.ports, quoted.seq), (None, None));
    }
}

// RFC 1122 3.2.2, RFC 4443 2.4 e
#[test]
fn errors_and_redirects_are_told_from_all_else() {
    let of = |is_v4: bool, protocol: Protocol, kind: u8| {
        let address = if is_v4 { "192.0.2.1" } else { "fd00::1" }.parse().unwrap();
        let params = IpParams { src: address, dst: address, protocol, ..params(is_v4) };
        let mut packet = vec![0; params.header_len()];
        params.emit(8, &mut packet);
        packet.extend_from_slice(&[kind, 0, 0, 0, 0, 0, 0, 0]);
        packet
    };
    for (is_v4, protocol, errors) in [
        (true, Protocol::ICMP, &[3, 4, 5, 11, 12][..]),
        (false, Protocol::ICMPV6, &[0, 1, 2, 3, 4, 127, 137]),
    ] {
        for kind in errors {
            assert!(is_error(&of(is_v4, protocol, *kind)), "{kind}");
            assert!(!is_error(&of(is_v4, Protocol::UDP, *kind)), "{kind}");
        }
        for kind in if is_v4 { [0, 8, 13] } else { [128, 129, 135] } {
            assert!(!is_error(&of(is_v4, protocol, kind)), "{kind}");
        }
        // Its type is not there, or in another fragment.
        let mut later = of(is_v4, protocol, 8);
        later.truncate(if is_v4 { 20 } else { 40 });
        assert!(is_error(&later));
    }
    let mut later = of(true, Protocol::ICMP, 8);
    later[7] = 1;
    assert!(is_error(&later));
    assert!(is_error(&[]) && is_error(&[0x45; 10]));
}
