//! Options as they are received.

use super::*;

/// What a SYN with these option bytes says, if nothing in them is malformed.
#[track_caller]
fn well_formed(options: &[u8]) -> TcpOptions {
    let parsed = TcpHeader::parse(&segment(TcpFlags::SYN, options)).unwrap();
    assert!(!parsed.malformed_options, "{options:?}");
    parsed.header.options
}

/// What can be read of malformed option bytes in a SYN.
#[track_caller]
fn malformed(options: &[u8]) -> TcpOptions {
    let parsed = TcpHeader::parse(&segment(TcpFlags::SYN, options)).unwrap();
    assert!(parsed.malformed_options, "{options:?}");
    parsed.header.options
}

// RFC 9293 3.1 MUST-4
#[test]
fn every_option_alone() {
    let none = TcpOptions::default();
    // RFC 9293 3.2
    assert_eq!(well_formed(&[]), none);
    assert_eq!(well_formed(&[0]), none);
    assert_eq!(well_formed(&[NOP; 40]), none);
    assert_eq!(well_formed(&[2, 4, 5, 180]), TcpOptions { mss: Some(1460), ..none });
    // RFC 7323 2.2: reported as it stands, even above 14.
    assert_eq!(well_formed(&[3, 3, 7]), TcpOptions { window_scale: Some(7), ..none });
    assert_eq!(well_formed(&[3, 3, 255]), TcpOptions { window_scale: Some(255), ..none });
    // RFC 2018 2
    assert_eq!(well_formed(&[4, 2]), TcpOptions { sack_permitted: true, ..none });
    // RFC 7323 3.2
    assert_eq!(well_formed(&STAMP_BYTES), TcpOptions { timestamps: Some(STAMPS), ..none });
    // RFC 7413 4.1.1
    assert_eq!(well_formed(&[34, 2]), TcpOptions { fast_open: Some(FastOpen::REQUEST), ..none });
    for len in (4..=16).step_by(2) {
        let cookie: Vec<u8> = (1..=len).collect();
        let mut bytes = vec![34, 2 + len];
        bytes.extend_from_slice(&cookie);
        let option = well_formed(&bytes).fast_open.unwrap();
        assert_eq!(option.cookie(), cookie);
        assert!(!option.is_request());
    }
}

// RFC 9768 3.2.3
#[test]
fn counters_of_ecn_stand_in_two_orders_and_any_length() {
    let bytes = [172, 11, 0, 0, 1, 0, 2, 0, 3, 0, 0];
    let first = |option: AccurateEcn| (option.e0b(), option.ceb(), option.e1b());
    let read = |len: u8, kind| {
        let mut option = bytes[..usize::from(len)].to_vec();
        (option[0], option[1]) = (kind, len);
        first(well_formed(&option).accurate_ecn.unwrap())
    };
    let (one, two, three) = (Some(1), Some(0x200), Some(0x03_0000));
    assert_eq!(read(11, 172), (one, two, three));
    assert_eq!(read(11, 174), (three, two, one));
    assert_eq!(read(8, 172), (one, two, None));
    assert_eq!(read(8, 174), (None, two, one));
    assert_eq!(read(5, 172), (one, None, None));
    assert_eq!(read(5, 174), (None, None, one));
    assert_eq!(read(2, 172), (None, None, None));
    // Another length is for the future: whole counters are taken, what is left is padding.
    assert_eq!(read(7, 172), (one, None, None));
    assert_eq!(
        first(well_formed(&[172, 13, 0, 0, 1, 0, 2, 0, 3, 0, 0, 9, 9]).accurate_ecn.unwrap()),
        (one, two, three)
    );
}

#[test]
fn sack_has_one_to_four_blocks() {
    for count in 1..=4_u8 {
        let mut bytes = vec![5, 2 + 8 * count];
        for start in 0..u32::from(count) {
            bytes.extend(start.to_be_bytes());
            bytes.extend((start + 1).to_be_bytes());
        }
        let options = well_formed(&bytes);
        assert_eq!(options.sack, blocks(0..u32::from(count)));
        assert_eq!(options.sack.len(), usize::from(count));
    }
}

#[test]
fn options_may_start_at_any_byte() {
    // RFC 9293 3.2 MUST-64
    for nops in 0..=4 {
        let mut bytes = vec![NOP; nops];
        bytes.extend([2, 4, 5, 180, 3, 3, 7, 4, 2]);
        bytes.extend(STAMP_BYTES);
        bytes.extend([34, 6, 9, 8, 7, 6]);
        let options = well_formed(&bytes);
        assert_eq!(options.mss, Some(1460));
        assert_eq!(options.window_scale, Some(7));
        assert!(options.sack_permitted);
        assert_eq!(options.timestamps, Some(STAMPS));
        assert_eq!(options.fast_open, FastOpen::new(&[9, 8, 7, 6]));
    }
}

#[test]
fn unknown_options_are_skipped_by_their_length() {
    // RFC 9293 3.1 MUST-6: the last is as long as the header allows.
    for len in 2..=36_u8 {
        let mut bytes = vec![253, len];
        bytes.resize(usize::from(len), 2);
        bytes.extend([2, 4, 5, 180]);
        assert_eq!(well_formed(&bytes).mss, Some(1460), "{len}");
    }
}

#[test]
fn nothing_is_read_behind_the_end_of_options() {
    assert_eq!(well_formed(&[0, 2, 4, 5, 180]).mss, None);
    assert_eq!(well_formed(&[0, 2, 0, 9, 9]).mss, None);
}

// RFC 9293 3.1 MUST-68
#[test]
fn illegal_lengths_end_the_walk() {
    // RFC 9293 3.1 MUST-7. What stood before them counts.
    let before = [2, 4, 5, 180];
    for bad in [
        &[253, 0, NOP, NOP][..],
        &[253, 1, NOP, NOP],
        &[2, 0, 5, 180],
        &[8, 1, 0, 0],
        &[253, 5, 0, 0],
        &[253, 255, 0, 0],
        &[NOP, NOP, NOP, 253],
        &[NOP, NOP, NOP, 2],
        &[5, 10, 0, 0],
        &[34, 18, 0, 0],
    ] {
        let mut bytes = before.to_vec();
        bytes.extend_from_slice(bad);
        // What follows cannot be told apart any more.
        assert_eq!(malformed(&bytes), TcpOptions { mss: Some(1460), ..TcpOptions::default() });
    }
    let mut bytes = vec![253, 0];
    bytes.extend(before);
    assert_eq!(malformed(&bytes).mss, None);
}

#[test]
fn known_options_of_wrong_length_are_left_out() {
    let after = [3, 3, 7];
    for bad in [
        &[2, 2][..],
        &[2, 3, 0],
        &[2, 5, 0, 0, 0],
        &[3, 2],
        &[3, 4, 0, 0],
        &[4, 3, 0],
        &[8, 9, 0, 0, 0, 0, 0, 0, 0],
        &[8, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[5, 2],
        &[5, 9, 0, 0, 0, 0, 0, 0, 0],
        &[5, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        let mut bytes = bad.to_vec();
        bytes.extend(after);
        let options = malformed(&bytes);
        assert_eq!(options, TcpOptions { window_scale: Some(7), ..TcpOptions::default() }, "{bad:?}");
    }
}

#[test]
fn the_last_of_equal_options_wins() {
    assert_eq!(well_formed(&[2, 4, 0, 1, 2, 4, 0, 2]).mss, Some(2));
    assert_eq!(well_formed(&[3, 3, 1, 3, 3, 2]).window_scale, Some(2));
    assert_eq!(well_formed(&[34, 2, 34, 6, 1, 2, 3, 4]).fast_open, FastOpen::new(&[1, 2, 3, 4]));
    let mut two_sacks = vec![5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4];
    two_sacks.extend([5, 10, 0, 0, 0, 9, 0, 0, 0, 10]);
    assert_eq!(well_formed(&two_sacks).sack, blocks([9]));
    let mut two_stamps = vec![8, 10, 0, 0, 0, 0, 0, 0, 0, 0];
    two_stamps.extend(STAMP_BYTES);
    assert_eq!(well_formed(&two_stamps).timestamps, Some(STAMPS));
    // A malformed one does not undo a good one.
    assert_eq!(malformed(&[2, 4, 0, 1, 2, 3, 0]).mss, Some(1));
}

// RFC 7413 4.1.1-1
#[test]
fn a_cookie_of_a_length_that_is_not_allowed_is_ignored() {
    let good = FastOpen::new(&[1, 2, 3, 4]);
    for bad in [&[34, 3, 0][..], &[34, 4, 0, 0], &[34, 7, 0, 0, 0, 0, 0], &[254, 5, 0xf9, 0x89, 0]] {
        assert_eq!(well_formed(bad).fast_open, None, "{bad:?}");
        assert_eq!(well_formed(&[&[34, 6, 1, 2, 3, 4], bad].concat()).fast_open, good, "{bad:?}");
    }
    let mut long = vec![34, 20];
    long.extend([0; 18]);
    assert_eq!(well_formed(&long).fast_open, None);
}

#[test]
fn the_experimental_kind_is_known_by_its_magic_number() {
    let request = FastOpen::REQUEST.as_experiment(true);
    assert_eq!(well_formed(&[254, 4, 0xf9, 0x89]).fast_open, Some(request));
    let cookie = FastOpen::new(&[1, 2, 3, 4]).map(|cookie| cookie.as_experiment(true));
    assert_eq!(well_formed(&[254, 8, 0xf9, 0x89, 1, 2, 3, 4]).fast_open, cookie);
    // Another experiment, or a cut one.
    for other in [&[254, 8, 0xf9, 0x88, 1, 2, 3, 4][..], &[254, 3, 0xf9], &[254, 2], &[253, 4, 0xf9, 0x89]] {
        assert_eq!(well_formed(other).fast_open, None, "{other:?}");
    }
}
