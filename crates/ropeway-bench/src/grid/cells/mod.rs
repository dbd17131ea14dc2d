//! The list: paths that are usual, paths that are hard, and what others have published.

mod acks;
mod bbr;
mod clean;
mod defaults;
mod losses;
mod marks;
mod order;
mod path_mtu;
mod published;
mod shares;
mod switches;
mod times;

use std::time::Duration;

use super::cell::Cell;

/// What stands above the table that is checked in.
pub(crate) const INTRODUCTION: &str = include_str!("introduction.md");

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECS: fn(u64) -> Duration = Duration::from_secs;

/// All cells, in the order of the table.
pub(crate) fn all() -> Vec<Cell> {
    let groups = [
        ("Clean paths", clean::cells()),
        ("Buffers at their defaults", defaults::cells()),
        ("Losses", losses::cells()),
        ("Order and delay", order::cells()),
        ("Acknowledgements", acks::cells()),
        ("Paths that change", times::cells()),
        ("Several flows", shares::cells()),
        ("Marks (ECN)", marks::cells()),
        ("Black holes for large packets", path_mtu::cells()),
        ("BBR", bbr::cells()),
        ("Each feature off", switches::cells()),
        ("What others have published", published::cells()),
    ];
    groups
        .into_iter()
        .flat_map(|(group, cells)| cells.into_iter().map(move |cell| Cell { group, ..cell }))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::cell::Limit;
    use super::super::floor::floor;
    use super::*;

    #[test]
    fn names_are_unique_and_those_that_cells_are_compared_with_exist() {
        let cells = all();
        let names: BTreeSet<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
        assert_eq!(names.len(), cells.len());
        for cell in &cells {
            assert!(!cell.name.contains(['\t', '|', '\n']), "{:?}", cell.name);
            for limit in &cell.limits {
                let Limit::GoodputOf { cell: other, .. } = limit else { continue };
                let other = cells.iter().find(|cell| cell.name == *other).expect(&cell.name);
                assert!(other.in_ci || !cell.in_ci, "{:?} is not run with {:?}", other.name, cell.name);
            }
        }
    }

    // What is published is taken only where it can be met.
    #[test]
    fn limits_leave_two_percent_above_the_floor() {
        for cell in all() {
            for limit in &cell.limits {
                let Limit::Within(limit) = limit else { continue };
                let least = floor(&cell) * 102 / 100;
                assert!(limit.as_micros() >= u128::from(least), "{:?}: {limit:?} and {least}", cell.name);
            }
        }
    }
}
