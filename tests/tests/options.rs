//! docs/OPTIONS.md names fields, methods and defaults as they are in the code, and leaves no option of a socket out.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ropeway_core::StackConfig;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// The rows of the tables with so many columns, without heads, lines and back-ticks.
fn rows(page: &str, columns: usize) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        let inner = line.trim_matches('|').split('|');
        inner.map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>()
    };
    let is_row = |cells: &Vec<String>| cells[0] != "Linux" && !cells[0].starts_with("---");
    let tables = page.lines().filter(|line| line.starts_with('|')).map(cells);
    tables.filter(|cells| cells.len() == columns).filter(is_row).collect()
}

/// Whether a field is shown with this value.
fn shows(shown: &str, field: &str, value: &str) -> bool {
    shown.split([',', '{', '}']).any(|part| part.trim() == format!("{field}: {value}"))
}

#[test]
fn the_page_has_every_option_of_a_socket_with_its_method_and_its_default() {
    let page = fs::read_to_string(workspace().join("docs/OPTIONS.md")).unwrap();
    let options = format!("{:?}", StackConfig::default().socket);
    let sources = fs::read_dir(workspace().join("crates/ropeway/src/net/tcp")).unwrap();
    let sources: String =
        sources.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok()).collect();
    let rows = rows(&page, 5);
    for row in &rows {
        let (field, method, default) = (&row[1], &row[2], &row[3]);
        assert!(method.is_empty() || sources.contains(&format!("pub fn {method}(")), "{method}");
        assert!(shows(&options, field, default), "{field} is not {default}: {options}");
    }
    let listed: BTreeSet<_> = rows.iter().map(|row| row[1].as_str()).collect();
    let code = fs::read_to_string(workspace().join("crates/ropeway-core/src/options.rs")).unwrap();
    let body = code.split("pub struct SocketOptions {").nth(1).unwrap().split("\n}").next().unwrap();
    let fields = body.lines().filter_map(|line| line.strip_prefix("    pub ")?.split(':').next());
    assert_eq!(fields.collect::<BTreeSet<_>>(), listed);
}

#[test]
fn the_settings_of_a_stack_have_the_defaults_that_the_page_tells() {
    let page = fs::read_to_string(workspace().join("docs/OPTIONS.md")).unwrap();
    let shown = format!("{:?}", StackConfig::default());
    let rows = rows(&page, 4);
    assert!(rows.len() > 20);
    for row in rows.iter().filter(|row| !row[1].is_empty()) {
        assert!(shows(&shown, &row[1], &row[2]), "{} is not {}", row[1], row[2]);
    }
}

/// What scripts set by Linux's names is what the page has.
#[test]
fn packet_scripts_know_every_sysctl_of_the_page() {
    let page = fs::read_to_string(workspace().join("docs/OPTIONS.md")).unwrap();
    let script = ["sysctl.rs", "options.rs", "settings.rs"]
        .map(|file| fs::read_to_string(workspace().join("tests/src/script").join(file)).unwrap())
        .concat();
    let names = page.lines().filter(|line| line.starts_with('|')).flat_map(|line| {
        let cell = line.trim_matches('|').split('|').next().unwrap().to_owned();
        cell.split('`').map(str::to_owned).collect::<Vec<_>>()
    });
    let is_name = |name: &String| name.starts_with("tcp_") || name.starts_with("TCP_");
    for name in names.filter(is_name) {
        assert!(script.contains(&format!("\"{name}\"")), "{name}");
    }
}
