//! docs/COMPLIANCE.md, read.

use std::collections::BTreeMap;

use crate::tags::{self, Tag};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Status {
    Yes,
    Partly,
    No,
    NotApplicable,
}

impl Status {
    pub(crate) const ALL: [(&'static str, Self); 4] =
        [("yes", Self::Yes), ("partly", Self::Partly), ("no", Self::No), ("n/a", Self::NotApplicable)];
}

/// A place in the tree: a file, and an item in it unless the whole file is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: String,
    pub(crate) item: Option<String>,
}

/// A line of a table: one requirement.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) tag: Tag,
    pub(crate) section: String,
    pub(crate) level: String,
    pub(crate) rule: String,
    pub(crate) status: Option<Status>,
    pub(crate) code: Vec<Place>,
    pub(crate) tests: Vec<Place>,
}

#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Row>,
    /// Why a row does not say "yes".
    pub(crate) reasons: BTreeMap<Tag, String>,
    /// By table: how many rows say "yes", "partly", "no", "n/a".
    pub(crate) counts: BTreeMap<String, [usize; 4]>,
}

/// The short names of the crates in the page.
const SHORT: [(&str, &str); 4] = [
    ("packet/", "crates/ropeway-packet/"),
    ("core/", "crates/ropeway-core/"),
    ("ropeway/", "crates/ropeway/"),
    ("ethernet/", "crates/ropeway-ethernet/"),
];

impl Page {
    pub(crate) fn read(text: &str) -> Self {
        let mut page = Self::default();
        for line in text.lines() {
            if let Some(cells) = cells(line) {
                match cells.as_slice() {
                    [tag, section, level, rule, status, code, tests]
                        if tags::is_tag(tag) || tag.starts_with("RFC ") =>
                    {
                        let status = Status::ALL.into_iter().find(|(name, _)| name == status);
                        page.rows.push(Row {
                            tag: (*tag).to_owned(),
                            section: (*section).to_owned(),
                            level: (*level).to_owned(),
                            rule: (*rule).to_owned(),
                            status: status.map(|(_, status)| status),
                            code: places(code),
                            tests: places(tests),
                        });
                    }
                    [table, counts @ ..] if counts.len() == 4 => {
                        let counts: Vec<usize> =
                            counts.iter().filter_map(|count| count.parse().ok()).collect();
                        if let Ok(counts) = counts.try_into() {
                            page.counts.insert((*table).to_owned(), counts);
                        }
                    }
                    _ => {}
                }
            } else if let Some((tags, reason)) = reason(line) {
                page.reasons.extend(tags.into_iter().map(|tag| (tag, reason.clone())));
            }
        }
        page
    }
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(str::trim).collect())
}

/// `- **X-1, X-2**: because`
fn reason(line: &str) -> Option<(Vec<Tag>, String)> {
    let (tags, reason) = line.strip_prefix("- **")?.split_once("**:")?;
    Some((tags::find(tags), reason.trim().to_owned()))
}

/// What stands in backquotes in a cell.
fn places(cell: &str) -> Vec<Place> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted
        .map(|text| {
            let (path, item) = text.split_once("::").map_or((text, None), |(path, item)| (path, Some(item)));
            let long = SHORT
                .into_iter()
                .find_map(|(short, long)| Some(format!("{long}{}", path.strip_prefix(short)?)));
            Place { path: long.unwrap_or_else(|| path.to_owned()), item: item.map(str::to_owned) }
        })
        .collect()
}
