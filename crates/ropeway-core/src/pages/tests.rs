use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Numbers at which pages and blocks end, and some between.
fn index() -> impl Strategy<Value = u32> {
    let near = |edge: u32| edge.saturating_sub(2)..edge + 2;
    prop_oneof![
        0u32..200,
        near(SLOTS * PAGES),
        near(SLOTS * (PAGES + 1)),
        near(SLOTS * (3 * PAGES + 1)),
        0u32..80_000
    ]
}

fn check(table: &Pages<u32>, map: &BTreeMap<u32, u32>) -> Result<(), TestCaseError> {
    prop_assert_eq!(table.len(), map.len());
    prop_assert_eq!(table.is_empty(), map.is_empty());
    prop_assert!(table.iter().map(|(index, value)| (index, *value)).eq(map.iter().map(|(k, v)| (*k, *v))));
    let mut walked = Vec::new();
    let mut next = Some(0);
    while let Some(from) = next {
        let (some, more) = table.taken_from(from, 3);
        prop_assert!(some.len() <= 3 * SLOTS as usize);
        walked.extend(some);
        next = more;
    }
    prop_assert!(walked.iter().eq(map.keys()));
    let used = map.keys().map(|index| index / SLOTS).collect::<std::collections::BTreeSet<_>>();
    prop_assert!(table.pages() <= used.len() + 1, "{} pages for {}", table.pages(), used.len());
    Ok(())
}

proptest! {
    /// Against the obvious reference: an ordered map.
    #[test]
    fn behaves_like_a_map(ops in prop::collection::vec((0u8..8, index(), any::<u32>()), 1..300)) {
        let mut table = Pages::new();
        let mut map = BTreeMap::new();
        for (op, index, value) in ops {
            match op {
                0..3 => prop_assert_eq!(table.put(index, value), map.insert(index, value)),
                3..5 => {
                    let lowest = (0..).find(|index| !map.contains_key(index));
                    prop_assert_eq!(table.insert_with(|_| value), lowest);
                    map.extend(lowest.map(|lowest| (lowest, value)));
                }
                // Often one that is there.
                5..7 => {
                    let index = map.range(index..).next().map_or(index, |(index, _)| *index);
                    prop_assert_eq!(table.get(index), map.get(&index));
                    prop_assert_eq!(table.take(index), map.remove(&index));
                }
                _ => {
                    if let Some(known) = table.get_mut(index) {
                        *known = value;
                    }
                    map.entry(index).and_modify(|known| *known = value);
                }
            }
        }
        check(&table, &map)?;
        for index in map.keys() {
            prop_assert_eq!(table.take(*index), Some(map[index]));
        }
        check(&table, &BTreeMap::new())?;
        prop_assert!(table.pages() <= 1);
    }
}

#[test]
fn the_lowest_slot_is_used_again_whatever_block_it_is_in() {
    let mut table = Pages::new();
    for n in 0..100_000 {
        assert_eq!(table.insert_with(|index| index), Some(n));
    }
    for n in [99_999, 70_000, 16_448, 16_447, 64, 63, 0] {
        assert_eq!(table.take(n), Some(n));
    }
    for n in [0, 63, 64, 16_447, 16_448, 70_000, 99_999, 100_000] {
        assert_eq!(table.insert_with(|index| index), Some(n));
    }
}

#[test]
fn a_page_goes_with_its_last_entry_and_the_directory_with_its_pages() {
    let mut table = Pages::new();
    for n in 0..1_000_000u32 {
        table.put(n, n);
    }
    assert_eq!((table.pages(), table.blocks.len()), (1_000_000 / 64, 62));
    for n in 700..1_000_000 {
        table.take(n);
    }
    assert_eq!((table.pages(), table.blocks.len()), (11, 1));
    assert!(table.blocks.capacity() <= 16, "{}", table.blocks.capacity());
    for n in 0..700 {
        table.take(n);
    }
    assert_eq!((table.pages(), table.blocks.len(), table.roomy.len()), (1, 0, 0));
}

#[test]
fn there_is_an_end_to_the_numbers() {
    let mut table = Pages::new();
    assert_eq!(table.put(MOST, 7), Some(7));
    assert_eq!(table.take(u32::MAX), None);
    assert_eq!((table.get(MOST), table.get(u32::MAX), table.len()), (None, None, 0));
}
