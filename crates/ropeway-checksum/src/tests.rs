use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// RFC 1071 in its own words: word by word, with end-around carry.
fn by_the_book(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    words.fold(0, |sum: u16, word| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

type Sum = fn(&[u8]) -> u16;
type Copy = fn(&[u8], &mut [u8]) -> u16;

/// Every way there is to sum and to copy.
fn ways() -> Vec<(&'static str, Sum, Copy)> {
    vec![
        ("as it comes", sum, copy),
        ("portable", portable::sum, portable::copy),
        #[cfg(all(target_arch = "x86_64", not(feature = "portable")))]
        ("avx2", avx2::sum, avx2::copy),
    ]
}

/// Bytes in which no two places that a mistake could mix up are alike.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Sums and copies `bytes` in every way.
fn check(bytes: &[u8]) {
    let expected = by_the_book(bytes);
    for (name, sum, copy) in ways() {
        assert_eq!(sum(bytes), expected, "{name}: {} bytes", bytes.len());
        // Neither is the room aligned.
        let mut room = vec![0xa5; bytes.len() + 3];
        let (before, to) = room.split_at_mut(1);
        let (to, behind) = to.split_at_mut(bytes.len());
        assert_eq!(copy(bytes, to), expected, "{name}: {} bytes copied", bytes.len());
        assert_eq!(to, bytes, "{name}");
        assert_eq!((&*before, &*behind), (&[0xa5][..], &[0xa5; 2][..]), "{name}");
    }
}

#[test]
fn every_short_length_from_every_start() {
    let bytes = noise(1100);
    for start in 0..33 {
        for len in 0..530 {
            check(&bytes[start..start + len]);
        }
    }
}

#[test]
fn long_and_odd() {
    let bytes = noise(65_600);
    for len in [1459, 1460, 1461, 4095, 4096, 4097, 8191, 16_383, 65_534, 65_535] {
        for start in [0, 1, 2, 31, 63] {
            check(&bytes[start..start + len]);
        }
    }
}

#[test]
fn the_greatest_sums_there_are() {
    for len in [1, 2, 3, 31, 32, 63, 64, 65, 255, 256, 257, 1460, 65_535, 65_536, 300_001] {
        let bytes = vec![0xff; len];
        check(&bytes);
        assert_eq!(sum(&bytes), if len % 2 == 0 { 0xffff } else { 0xff00 });
    }
    check(&[0; 1000]);
}

#[test]
fn one_bit_anywhere_counts_at_its_place() {
    let mut bytes = vec![0; 700];
    for at in 0..bytes.len() {
        bytes[at] = 0x80;
        for (name, sum, _) in ways() {
            assert_eq!(sum(&bytes), if at % 2 == 0 { 0x8000 } else { 0x0080 }, "{name}: byte {at}");
        }
        bytes[at] = 0;
    }
}

#[test]
fn a_copy_is_as_long_as_the_shorter() {
    let bytes = noise(1000);
    for (name, _, copy) in ways().into_iter().take(2) {
        for len in [0, 3, 400, 999] {
            let mut less = vec![0; len];
            assert_eq!(copy(&bytes, &mut less), by_the_book(&bytes[..len]), "{name}");
            assert_eq!(less, bytes[..len], "{name}");
            let mut more = vec![0; 1000];
            assert_eq!(copy(&bytes[..len], &mut more), by_the_book(&bytes[..len]), "{name}");
            assert_eq!((&more[..len], &more[len..]), (&bytes[..len], &vec![0; 1000 - len][..]), "{name}");
        }
    }
}

proptest! {
    #[test]
    fn all_ways_agree(bytes in vec(any::<u8>(), 0..3000), start in 0_usize..64) {
        check(bytes.get(start..).unwrap_or_default());
    }

    #[test]
    fn folding_keeps_the_sum_modulo_65535(sum: u64) {
        for sum in [sum, sum | 0xffff_ffff_0000_0000, 0xffff_ffff_0001_0000, u64::MAX] {
            prop_assert_eq!(u64::from(fold(sum)) % 0xffff, sum % 0xffff);
            prop_assert_eq!(fold(sum) == 0, sum == 0);
        }
    }
}
