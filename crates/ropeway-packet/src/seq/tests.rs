use proptest::prelude::*;

use super::*;

// RFC 9293 3.4 R-13
#[test]
fn comparison_wraps() {
    let last = SeqNum::new(u32::MAX);
    let first = SeqNum::new(0);
    assert!(last.before(first) && first.after(last));
    assert!(last.at_or_before(last) && last.at_or_after(last));
    assert!(!last.before(last) && !last.after(last));
    assert_eq!(last.max(first), first);
    assert_eq!(last.min(first), last);
    assert_eq!(first - 1, last);
    assert_eq!(first.since(last), 1);
    assert_eq!(last.since(first), u32::MAX);
}

#[test]
fn comparison_holds_just_below_half_the_circle() {
    let start = SeqNum::new(0xf000_0000);
    let reach = (1 << 31) - 1;
    assert!(start.before(start + reach) && (start + reach).after(start));
    assert!((start + 1).before(start + (1 << 31)));
    // Exactly opposite, either may come first: both say "before".
    let opposite = start + (1 << 31);
    assert!(start.before(opposite) && opposite.before(start));
    assert!(!start.after(opposite) && !opposite.after(start));
}

#[test]
fn within_is_half_open_and_wraps() {
    let start = SeqNum::new(u32::MAX - 1);
    assert!(start.within(start, 1));
    assert!((start + 3).within(start, 4));
    assert!(!(start + 4).within(start, 4));
    assert!(!(start - 1).within(start, 4));
    assert!(!start.within(start, 0));
    assert!((start - 1).within(start, u32::MAX) ^ true);
    assert!((start - 2).within(start, u32::MAX));
}

#[test]
fn numbers_print_as_numbers() {
    let mut seq = SeqNum::new(41);
    seq += 1;
    assert_eq!(format!("{seq} {seq:?}"), "42 42");
}

// RFC 7323 2.3-2
#[test]
fn window_scale_ends_at_14() {
    // RFC 7323 2.3
    assert_eq!(WindowScale::new(14), WindowScale::MAX);
    assert_eq!(WindowScale::new(15), WindowScale::MAX);
    assert_eq!(WindowScale::new(255).get(), 14);
    assert_eq!(WindowScale::MAX.unscale(u16::MAX), 65_535 << 14);
    assert_eq!(WindowScale::ZERO.unscale(7), 7);
}

#[test]
fn window_scale_fits_the_buffer() {
    for (bytes, shift) in [
        (0, 0),
        (65_535, 0),
        (65_536, 1),
        (131_070, 1),
        (131_071, 2),
        (6 << 20, 7),
        (65_535 << 14, 14),
        (usize::MAX, 14),
    ] {
        assert_eq!(WindowScale::for_buffer(bytes).get(), shift, "{bytes} bytes");
    }
}

#[test]
fn scaling_rounds_down_and_saturates() {
    let scale = WindowScale::new(7);
    assert_eq!(scale.scale(127), 0);
    assert_eq!(scale.scale(128), 1);
    assert_eq!(scale.scale(255), 1);
    assert_eq!(scale.scale(u32::MAX), u16::MAX);
    assert_eq!(WindowScale::ZERO.scale(65_536), u16::MAX);
}

proptest! {
    #[test]
    fn order_is_that_of_the_distance(start: u32, distance in 1..1_u32 << 31) {
        let (start, later) = (SeqNum::new(start), SeqNum::new(start) + distance);
        prop_assert!(start.before(later) && later.after(start));
        prop_assert!(start.at_or_before(later) && !start.at_or_after(later));
        prop_assert!(!later.at_or_before(start) && later.at_or_after(start));
        prop_assert_eq!(later.since(start), distance);
        prop_assert_eq!(later - distance, start);
        prop_assert_eq!(start.max(later), later);
        prop_assert_eq!(later.max(start), later);
        prop_assert_eq!(start.min(later), start);
    }

    #[test]
    fn what_is_advertised_was_there(window in 0..=65_535_u32 << 14, shift in 0..=14_u8) {
        let scale = WindowScale::new(shift);
        let advertised = scale.unscale(scale.scale(window));
        prop_assert!(advertised <= window);
        prop_assert!(scale.scale(window) == u16::MAX || window - advertised < 1 << shift);
    }
}
