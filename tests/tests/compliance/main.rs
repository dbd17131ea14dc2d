//! docs/COMPLIANCE.md must be true: what it names is there, is tagged, and is tested; and what is tagged, it names.
//!
//! It needs no rights and no network. What to do about a failure, its message says.

mod fake;
mod page;
mod rules;
mod source;
mod tags;

use std::fs;
use std::path::Path;

use page::Page;
use rules::Tree;

/// Where tags count.
const ROOTS: [&str; 8] = [
    "crates/ropeway-packet",
    "crates/ropeway-core",
    "crates/ropeway",
    "crates/ropeway-ethernet",
    "crates/ropeway-sim",
    "examples",
    "tests/src",
    "tests/tests",
];
/// Where packet scripts are.
const SCRIPTS: &str = "tests/scripts";

#[test]
fn the_page_is_true() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut tree = Tree::new();
    for root in ROOTS.into_iter().chain([SCRIPTS]) {
        gather(top, &top.join(root), &mut tree);
    }
    assert!(tree.len() > 100, "only {} files were found", tree.len());
    let page = Page::read(&fs::read_to_string(top.join("docs/COMPLIANCE.md")).unwrap());
    let complaints = rules::complaints(&page, &tree, &tags::required());
    assert!(
        complaints.is_empty(),
        "docs/COMPLIANCE.md is not true in {} places:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

/// Reads sources and scripts below a directory that may be missing.
fn gather(top: &Path, directory: &Path, tree: &mut Tree) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            gather(top, &path, tree);
        } else if matches!(extension, Some("rs" | "pkt")) {
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            tree.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}
