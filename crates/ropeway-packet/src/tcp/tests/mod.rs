mod properties;
mod read;
mod write;

use super::*;
use crate::{SeqNum, TcpError};

const NOP: u8 = 1;

/// A segment without data that has these option bytes, padded with end-of-options.
fn segment(flags: TcpFlags, options: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 20];
    bytes.extend_from_slice(options);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes[12] = u8::try_from(bytes.len() * 4).unwrap();
    bytes[13] = u8::try_from(flags.bits()).unwrap();
    bytes
}

fn emit(header: &TcpHeader) -> Vec<u8> {
    let mut bytes = vec![0xee; 60];
    let len = header.emit(&mut bytes);
    assert_eq!(len, header.len());
    assert!(bytes[len..].iter().all(|&byte| byte == 0xee), "wrote behind the header");
    bytes.truncate(len);
    bytes
}

fn block(start: u32) -> (SeqNum, SeqNum) {
    (SeqNum::new(start), SeqNum::new(start + 1))
}

fn blocks(starts: impl IntoIterator<Item = u32>) -> SackBlocks {
    let mut blocks = SackBlocks::EMPTY;
    for start in starts {
        assert!(blocks.push(block(start)));
    }
    blocks
}

const STAMPS: Timestamps = Timestamps { tsval: 0x0102_0304, tsecr: 0x0506_0708 };
const STAMP_BYTES: [u8; 10] = [8, 10, 1, 2, 3, 4, 5, 6, 7, 8];

#[test]
fn fixed_fields() {
    let mut bytes = segment(TcpFlags::EMPTY, &[]);
    bytes[..20].copy_from_slice(&[
        0x12, 0x34, 0x56, 0x78, 1, 2, 3, 4, 5, 6, 7, 8, 0x5f, 0xff, 0x9a, 0xbc, 0xaa, 0xaa, 0xde, 0xf0,
    ]);
    let parsed = TcpHeader::parse(&bytes).unwrap();
    let header = TcpHeader {
        src_port: 0x1234,
        dst_port: 0x5678,
        seq: SeqNum::new(0x0102_0304),
        ack: SeqNum::new(0x0506_0708),
        // The three bits that are still reserved are ignored.
        flags: TcpFlags::from_bits_truncate(0x1ff),
        window: 0x9abc,
        urgent: 0xdef0,
        options: TcpOptions::default(),
    };
    assert_eq!(parsed, ParsedTcp { header, header_len: 20, malformed_options: false });
    // They are sent as zero, and the checksum too.
    bytes[12] = 0x51;
    bytes[16..18].fill(0);
    assert_eq!(emit(&header), bytes);
}

#[test]
fn header_must_be_whole() {
    let bytes = segment(TcpFlags::SYN, &[2, 4, 5, 180]);
    for len in 0..bytes.len() {
        assert_eq!(TcpHeader::parse(&bytes[..len]), Err(TcpError::Truncated), "{len} bytes");
    }
    assert_eq!(TcpHeader::parse(&bytes).unwrap().header_len, 24);
}

#[test]
fn data_offset_must_lie_in_the_segment() {
    let mut bytes = vec![0; 64];
    for words in 0..=15_u8 {
        bytes[12] = words << 4;
        let parsed = TcpHeader::parse(&bytes);
        if words < 5 {
            assert_eq!(parsed, Err(TcpError::BadDataOffset), "{words} words");
        } else {
            assert_eq!(parsed.unwrap().header_len, usize::from(words) * 4);
        }
        let exact = usize::from(words.max(5)) * 4;
        assert!(TcpHeader::parse(&bytes[..exact - 1]).is_err(), "{words} words");
    }
}

#[test]
fn segment_length_counts_syn_and_fin() {
    let len = |flags, payload| TcpHeader { flags, ..TcpHeader::default() }.segment_len(payload);
    assert_eq!(len(TcpFlags::ACK, 0), 0);
    assert_eq!(len(TcpFlags::ACK, 5), 5);
    assert_eq!(len(TcpFlags::SYN, 0), 1);
    assert_eq!(len(TcpFlags::SYN | TcpFlags::FIN, 3), 5);
}

#[test]
fn flags_print_their_names() {
    let print = |flags: TcpFlags| format!("{flags:?}");
    assert_eq!(print(TcpFlags::EMPTY), "EMPTY");
    assert_eq!(print(TcpFlags::FIN), "FIN");
    assert_eq!(print(TcpFlags::SYN | TcpFlags::ACK), "SYN|ACK");
    assert_eq!(print(!TcpFlags::EMPTY), "FIN|SYN|RST|PSH|ACK|URG|ECE|CWR|AE");
    assert_eq!(TcpFlags::from_bits_truncate(u16::MAX), !TcpFlags::EMPTY);
}

#[test]
fn flags_are_a_set() {
    let mut flags = TcpFlags::SYN;
    flags |= TcpFlags::ACK;
    assert!(flags.contains(TcpFlags::SYN | TcpFlags::ACK));
    assert!(!flags.contains(TcpFlags::SYN | TcpFlags::FIN));
    assert!(flags.intersects(TcpFlags::SYN | TcpFlags::FIN));
    assert!(!flags.intersects(TcpFlags::FIN));
    assert!(flags.contains(TcpFlags::EMPTY) && !flags.intersects(TcpFlags::EMPTY));
    assert_eq!(flags | TcpFlags::ACK, flags);
    assert_eq!(flags & TcpFlags::ACK, TcpFlags::ACK);
    assert_eq!(flags & !TcpFlags::ACK, TcpFlags::SYN);
}

#[test]
fn sack_blocks_and_cookies_are_bounded() {
    let mut full = blocks(0..4);
    assert!(!full.push(block(4)));
    assert_eq!(full, blocks(0..4));
    assert_eq!(format!("{:?}", blocks([1])), "[(1, 2)]");
    assert!(SackBlocks::default().is_empty());
    for len in 0..=18 {
        let legal = len == 0 || (4..=16).contains(&len) && len % 2 == 0;
        assert_eq!(FastOpen::new(&vec![1; len]).is_some(), legal, "{len} bytes");
    }
    assert_eq!(FastOpen::new(&[]), Some(FastOpen::REQUEST));
    let cookie = FastOpen::new(&[1, 2, 3, 4]).unwrap();
    assert_eq!(format!("{cookie:?}"), "FastOpen([1, 2, 3, 4])");
    assert_eq!(format!("{:?}", cookie.as_experiment(true)), "FastOpenExperiment([1, 2, 3, 4])");
}
