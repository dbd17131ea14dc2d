//! docs/EVENTS.md lists the same events as the documentation of `ropeway::events`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;

/// The headings of events and the rows of tables, without what is a link in one place only.
fn lists(text: &str) -> Vec<String> {
    let plain = |line: &str| {
        let line = line.replace("](crate::TcpInfo)", "").replace("](crate::Cause)", "");
        line.trim_start_matches('#').replace("[`", "`").trim().to_owned()
    };
    let is_listed =
        |line: &&str| line.starts_with('|') || line.trim_start_matches('#').starts_with(" `ropeway::");
    text.lines().filter(is_listed).map(plain).collect()
}

#[test]
fn the_page_and_the_documentation_list_the_same_events() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let page = fs::read_to_string(workspace.join("docs/EVENTS.md")).unwrap();
    let code = fs::read_to_string(workspace.join("crates/ropeway-core/src/events.rs")).unwrap();
    let documentation: String =
        code.lines().filter_map(|line| line.strip_prefix("//! ")).flat_map(|line| [line, "\n"]).collect();
    let listed = lists(&documentation);
    assert!(listed.len() > 50, "{listed:?}");
    assert_eq!(lists(&page), listed);
}
