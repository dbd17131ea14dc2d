//! Options as they are sent.

use super::*;

fn option_bytes(flags: TcpFlags, options: TcpOptions) -> Vec<u8> {
    emit(&TcpHeader { flags, options, ..TcpHeader::default() }).split_off(20)
}

// RFC 7323 2.2-2
#[test]
fn options_of_a_syn_are_ignored_elsewhere() {
    let mut bytes = vec![2, 4, 5, 180, 3, 3, 7, 4, 2, 34, 2];
    bytes.extend(STAMP_BYTES);
    let parsed = TcpHeader::parse(&segment(TcpFlags::ACK, &bytes)).unwrap();
    assert!(!parsed.malformed_options);
    let stamps_only = TcpOptions { timestamps: Some(STAMPS), ..TcpOptions::default() };
    assert_eq!(parsed.header.options, stamps_only);
    // They are not sent there either: RFC 9293 3.2 MUST-65.
    let options = TcpOptions {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        fast_open: Some(FastOpen::REQUEST),
        ..stamps_only
    };
    assert_eq!(option_bytes(TcpFlags::ACK, options)[..4], [NOP, NOP, 8, 10]);
    assert_eq!(option_bytes(TcpFlags::ACK, options).len(), 12);
}

/// The order and padding of Linux's `tcp_options_write`.
/// RFC 9293 3.1 MUST-68
#[test]
fn option_layouts() {
    let none = TcpOptions::default();
    let mss = TcpOptions { mss: Some(1460), ..none };
    let scaled = TcpOptions { window_scale: Some(10), ..mss };
    let sack = TcpOptions { sack_permitted: true, ..scaled };
    let stamped = TcpOptions { timestamps: Some(STAMPS), ..scaled };
    let all = TcpOptions { timestamps: Some(STAMPS), ..sack };
    let mss_bytes = [2, 4, 5, 180];
    let stamp_value = [1, 2, 3, 4, 5, 6, 7, 8];
    let scale_bytes = [NOP, 3, 3, 10];
    let cases: [(TcpOptions, Vec<u8>); 6] = [
        (none, vec![]),
        (mss, mss_bytes.to_vec()),
        (scaled, [mss_bytes, scale_bytes].concat()),
        (sack, [mss_bytes, [NOP, NOP, 4, 2], scale_bytes].concat()),
        (stamped, [&mss_bytes[..], &[NOP, NOP, 8, 10], &stamp_value, &scale_bytes].concat()),
        (all, [&mss_bytes[..], &[4, 2, 8, 10], &stamp_value, &scale_bytes].concat()),
    ];
    for (options, bytes) in cases {
        for flags in [TcpFlags::SYN, TcpFlags::SYN | TcpFlags::ACK] {
            assert_eq!(option_bytes(flags, options), bytes, "{options:?}");
        }
    }
    let acks = TcpOptions { timestamps: Some(STAMPS), sack: blocks([9]), ..none };
    assert_eq!(
        option_bytes(TcpFlags::ACK, acks),
        [&[NOP, NOP, 8, 10][..], &stamp_value, &[NOP, NOP, 5, 10, 0, 0, 0, 9, 0, 0, 0, 10]].concat()
    );
    let request = TcpOptions { fast_open: Some(FastOpen::REQUEST), ..mss };
    assert_eq!(option_bytes(TcpFlags::SYN, request), [2, 4, 5, 180, 34, 2, NOP, NOP]);
    let cookie = TcpOptions { fast_open: FastOpen::new(&[9; 6]), ..mss };
    assert_eq!(option_bytes(TcpFlags::SYN, cookie), [2, 4, 5, 180, 34, 8, 9, 9, 9, 9, 9, 9]);
    let experiment =
        TcpOptions { fast_open: cookie.fast_open.map(|cookie| cookie.as_experiment(true)), ..mss };
    let expected = [2, 4, 5, 180, 254, 10, 0xf9, 0x89, 9, 9, 9, 9, 9, 9, NOP, NOP];
    assert_eq!(option_bytes(TcpFlags::SYN, experiment), expected);
}

#[test]
fn counters_of_ecn_are_written_as_linux_does() {
    let counters = |counters: &[u32]| Some(AccurateEcn::new(EcnOrder::Ect1First, counters));
    let all = TcpOptions { mss: Some(1460), accurate_ecn: counters(&[1, 0, 1]), ..TcpOptions::default() };
    let expected = [2, 4, 5, 180, 174, 11, 0, 0, 1, 0, 0, 0, 0, 0, 1, NOP];
    assert_eq!(option_bytes(TcpFlags::SYN | TcpFlags::ACK, all), expected);
    for (count, bytes) in [
        (0, &[174, 2, NOP, NOP][..]),
        (1, &[174, 5, 0, 0, 1, NOP, NOP, NOP]),
        (2, &[174, 8, 0, 0, 1, 0, 0, 2]),
    ] {
        let options = TcpOptions { accurate_ecn: counters(&[1, 2, 3][..count]), ..TcpOptions::default() };
        assert_eq!(option_bytes(TcpFlags::ACK, options), bytes);
    }
}

#[test]
fn sack_blocks_give_way() {
    let stamped = TcpOptions { timestamps: Some(STAMPS), ..TcpOptions::default() };
    let four = TcpOptions { sack: blocks(0..4), ..stamped };
    let without = TcpOptions { timestamps: None, ..four };
    let fits = |flags, options| {
        let header = TcpHeader { flags, options, ..TcpHeader::default() };
        let parsed = TcpHeader::parse(&emit(&header)).unwrap();
        assert_eq!(parsed.header_len, header.len());
        parsed.header.options.sack.as_slice().to_vec()
    };
    assert_eq!(fits(TcpFlags::ACK, without), (0..4).map(block).collect::<Vec<_>>());
    assert_eq!(fits(TcpFlags::ACK, four), (0..3).map(block).collect::<Vec<_>>());
    // A SYN does not normally have any; with the longest cookie there is no room left.
    let syn = TcpOptions { mss: Some(1), window_scale: Some(1), sack_permitted: true, ..four };
    for cookie in [FastOpen::new(&[7; 16]), FastOpen::new(&[7; 16]).map(|cookie| cookie.as_experiment(true))]
    {
        let syn = TcpOptions { fast_open: cookie, ..syn };
        assert_eq!(fits(TcpFlags::SYN, syn), []);
        assert_eq!(option_bytes(TcpFlags::SYN, syn).len(), 40);
        let header = TcpHeader { flags: TcpFlags::SYN, options: syn, ..TcpHeader::default() };
        let parsed = TcpHeader::parse(&emit(&header)).unwrap().header.options;
        assert_eq!(parsed, TcpOptions { sack: SackBlocks::EMPTY, ..syn });
    }
}

#[test]
fn a_short_buffer_is_left_alone() {
    let options = TcpOptions { timestamps: Some(STAMPS), ..TcpOptions::default() };
    let header = TcpHeader { options, ..TcpHeader::default() };
    for len in 0..32 {
        let mut out = vec![0xee; len];
        assert_eq!(header.emit(&mut out), 0);
        assert!(out.iter().all(|&byte| byte == 0xee));
    }
}
