//! The list: paths that are usual, paths that are hard, and what others have published.

mod clean;

use super::cell::Cell;

/// What stands above the table that is checked in.
pub(crate) const INTRODUCTION: &str = "# The grid\n\n";

/// All cells, in the order of the table.
pub(crate) fn all() -> Vec<Cell> {
    [("Clean paths", clean::cells())].into_iter().flat_map(|(group, cells)| under(group, cells)).collect()
}

fn under(group: &'static str, cells: Vec<Cell>) -> impl Iterator<Item = Cell> {
    cells.into_iter().map(move |cell| Cell { group, ..cell })
}
