mod v4;
mod v6;

use super::*;

fn params(src: &str, dst: &str) -> IpParams {
    IpParams {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
        protocol: Protocol::TCP,
        hop_limit: 64,
        traffic_class: 0b1011_0110,
        dont_fragment: true,
        ident: 0x1234,
        flow_label: 0xa_bcde,
    }
}

/// A packet with this payload.
fn packet(params: &IpParams, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; params.header_len()];
    assert_eq!(params.emit(payload.len(), &mut packet), packet.len());
    packet.extend_from_slice(payload);
    packet
}

#[test]
fn only_two_versions_exist() {
    assert_eq!(parse(&[]), Err(IpError::Truncated));
    for version in 0..16_u8 {
        let mut bytes = vec![0; 60];
        bytes[0] = version << 4 | 5;
        let wrong = parse(&bytes) == Err(IpError::BadVersion(version));
        assert_eq!(wrong, version != 4 && version != 6, "version {version}");
    }
}

#[test]
fn families_are_not_mixed() {
    // The destination decides; the source that does not fit is left unspecified.
    let v4 = params("2001:db8::1", "192.0.2.2");
    let parsed = parse(&packet(&v4, &[])).unwrap();
    assert_eq!((parsed.src, parsed.dst), ("0.0.0.0".parse().unwrap(), v4.dst));
    let v6 = params("192.0.2.1", "2001:db8::2");
    let parsed = parse(&packet(&v6, &[])).unwrap();
    assert_eq!((parsed.src, parsed.dst), ("::".parse().unwrap(), v6.dst));
}

#[test]
fn a_short_buffer_is_left_alone() {
    for params in [params("192.0.2.1", "192.0.2.2"), params("2001:db8::1", "2001:db8::2")] {
        for len in 0..params.header_len() {
            let mut out = vec![0xee; len];
            assert_eq!(params.emit(0, &mut out), 0);
            assert!(out.iter().all(|&byte| byte == 0xee));
        }
    }
}

#[test]
fn lengths_saturate() {
    let mut out = [0; 40];
    params("192.0.2.1", "192.0.2.2").emit(usize::MAX, &mut out);
    assert_eq!(out[2..4], [0xff, 0xff]);
    params("2001:db8::1", "2001:db8::2").emit(usize::MAX, &mut out);
    assert_eq!(out[4..6], [0xff, 0xff]);
}

#[test]
fn protocol_numbers() {
    let numbers = [
        Protocol::HOP_BY_HOP,
        Protocol::ICMP,
        Protocol::TCP,
        Protocol::UDP,
        Protocol::IPV6_ROUTING,
        Protocol::IPV6_FRAGMENT,
        Protocol::AUTHENTICATION,
        Protocol::ICMPV6,
        Protocol::IPV6_NO_NEXT_HEADER,
        Protocol::IPV6_DESTINATION_OPTIONS,
    ];
    assert_eq!(numbers.map(|protocol| protocol.0), [0, 1, 6, 17, 43, 44, 51, 58, 59, 60]);
}
