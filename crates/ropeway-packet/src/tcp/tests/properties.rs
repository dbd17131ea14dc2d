use std::fmt::Debug;

use pnet_packet::tcp::TcpPacket;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn any_header() -> impl Strategy<Value = TcpHeader> {
    let fields = (any::<[u16; 4]>(), any::<[u32; 2]>(), 0_u16..512);
    let cookie = (2..=8_usize).prop_flat_map(|half| vec(any::<u8>(), half * 2));
    let cookie = prop_oneof![Just(vec![]), cookie];
    let options = (
        option::of(any::<u16>()),
        option::of(any::<u8>()),
        any::<bool>(),
        option::of(any::<(u32, u32)>()),
        vec(any::<(u32, u32)>(), 0..=4),
        option::of((cookie, any::<bool>())),
        option::of((any::<bool>(), vec(0..1_u32 << 24, 0..=3))),
    );
    (fields, options).prop_map(|((ports, [seq, ack], flags), options)| {
        let (mss, window_scale, sack_permitted, timestamps, sack, cookie, counters) = options;
        let mut blocks = SackBlocks::EMPTY;
        for (start, end) in sack {
            blocks.push((SeqNum::new(start), SeqNum::new(end)));
        }
        let [src_port, dst_port, window, urgent] = ports;
        TcpHeader {
            src_port,
            dst_port,
            seq: SeqNum::new(seq),
            ack: SeqNum::new(ack),
            flags: TcpFlags::from_bits_truncate(flags),
            window,
            urgent,
            options: TcpOptions {
                mss,
                window_scale,
                sack_permitted,
                timestamps: timestamps.map(|(tsval, tsecr)| Timestamps { tsval, tsecr }),
                sack: blocks,
                fast_open: cookie.and_then(|(cookie, old)| Some(FastOpen::new(&cookie)?.as_experiment(old))),
                accurate_ecn: counters.map(|(first, counters)| {
                    AccurateEcn::new(if first { EcnOrder::Ect0First } else { EcnOrder::Ect1First }, &counters)
                }),
            },
        }
    })
}

/// The header as its bytes can say it: without options that belong to a SYN, and without the SACK
/// blocks and counters that do not fit.
fn sayable(header: TcpHeader) -> TcpHeader {
    let mut said = header;
    if !header.flags.contains(TcpFlags::SYN) {
        let TcpOptions { timestamps, sack, accurate_ecn, .. } = header.options;
        said.options = TcpOptions { timestamps, sack, accurate_ecn, ..TcpOptions::default() };
    }
    let bare = TcpOptions { sack: SackBlocks::EMPTY, accurate_ecn: None, ..said.options };
    let bare = TcpHeader { options: bare, ..said };
    let counters =
        said.options.accurate_ecn.map_or(0, |option| AccurateEcn::padded_len_of(option.counters().len()));
    said.options.accurate_ecn = said.options.accurate_ecn.filter(|_| bare.len() + counters <= 60);
    let other = TcpHeader { options: TcpOptions { sack: SackBlocks::EMPTY, ..said.options }, ..said };
    let room = (60 - other.len()).saturating_sub(4) / 8;
    said.options.sack = SackBlocks::EMPTY;
    for &block in header.options.sack.as_slice().iter().take(room) {
        said.options.sack.push(block);
    }
    said
}

fn equal<T: PartialEq + Debug>(left: T, right: T) -> Result<(), TestCaseError> {
    prop_assert_eq!(left, right);
    Ok(())
}

proptest! {
    #[test]
    fn parse_inverts_emit(header in any_header(), data in vec(any::<u8>(), 0..8)) {
        let mut bytes = emit(&header);
        prop_assert!(bytes.len() <= 60 && bytes.len().is_multiple_of(4));
        let header_len = bytes.len();
        bytes.extend(data);
        let parsed = TcpHeader::parse(&bytes).unwrap();
        prop_assert_eq!(parsed, ParsedTcp { header: sayable(header), header_len, malformed_options: false });
    }

    #[test]
    fn emit_inverts_parse(header in any_header()) {
        let bytes = emit(&header);
        prop_assert_eq!(emit(&TcpHeader::parse(&bytes).unwrap().header), bytes);
    }

    // RFC 9293 3.1 MUST-69: nothing stands behind an end of list, because there is none.
    #[test]
    fn no_end_of_list_is_ever_written(header in any_header()) {
        let bytes = emit(&header);
        let mut rest = &bytes[20..];
        while let Some((&kind, behind)) = rest.split_first() {
            prop_assert_ne!(kind, 0);
            rest = if kind == NOP { behind } else { &rest[usize::from(behind[0])..] };
        }
    }

    #[test]
    fn pnet_reads_the_same_fields(header in any_header()) {
        let bytes = emit(&header);
        let pnet = TcpPacket::new(&bytes).unwrap();
        equal(pnet.get_source(), header.src_port)?;
        equal(pnet.get_destination(), header.dst_port)?;
        equal(pnet.get_sequence(), header.seq.get())?;
        equal(pnet.get_acknowledgement(), header.ack.get())?;
        equal(usize::from(pnet.get_data_offset()) * 4, bytes.len())?;
        equal(u16::from(pnet.get_reserved()) << 8 | u16::from(pnet.get_flags()), header.flags.bits())?;
        equal(pnet.get_window(), header.window)?;
        equal(pnet.get_urgent_ptr(), header.urgent)?;
        equal(pnet.get_checksum(), 0)?;
        let kinds: Vec<u8> = pnet.get_options_iter().map(|option| option.get_number().0).filter(|&kind| kind > 1).collect();
        let said = sayable(header).options;
        for (kind, present) in [
            (2, said.mss.is_some()),
            (3, said.window_scale.is_some()),
            (4, said.sack_permitted),
            (5, !said.sack.is_empty()),
            (8, said.timestamps.is_some()),
            (34, said.fast_open.is_some_and(|option| !option.is_experiment())),
            (254, said.fast_open.is_some_and(|option| option.is_experiment())),
            (172, said.accurate_ecn.is_some_and(|option| option.order() == EcnOrder::Ect0First)),
            (174, said.accurate_ecn.is_some_and(|option| option.order() == EcnOrder::Ect1First)),
        ] {
            equal(kinds.iter().filter(|&&found| found == kind).count(), usize::from(present))?;
        }
    }

    #[test]
    fn any_option_bytes_are_read(options in vec(any::<u8>(), 0..=40), syn: bool) {
        let flags = if syn { TcpFlags::SYN } else { TcpFlags::ACK };
        let parsed = TcpHeader::parse(&segment(flags, &options)).unwrap();
        prop_assert!(parsed.header.options.sack.len() <= 4);
        // What was read survives being written, as far as there is room.
        let again = TcpHeader::parse(&emit(&parsed.header)).unwrap();
        prop_assert_eq!(again.header, sayable(parsed.header));
    }
}
