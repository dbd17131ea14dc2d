//! docs/THREATS.md names code and tests that exist.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

const CODE: &[&str] = &["crates/ropeway-core/src", ""];
const TESTS: &[&str] = &["crates/ropeway-core/tests", "crates/ropeway-core/src", ""];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The functions that `list` names after each file, as complaints if they are not there.
fn missing(list: &str, places: &[&str], is_test: bool) -> Vec<String> {
    let (mut source, mut file, mut complaints) = (String::new(), "", Vec::new());
    for word in quoted(list) {
        if Path::new(word).extension().is_some_and(|extension| extension == "rs") {
            file = word;
            let found =
                places.iter().find_map(|place| fs::read_to_string(root().join(place).join(word)).ok());
            match found {
                Some(text) => source = text,
                None => complaints.push(format!("there is no file {word}")),
            }
            continue;
        }
        // A test has its attribute, or stands in a macro's list of those that run over both families.
        let definitions = [format!("fn {word}("), format!("fn {word}<")];
        match definitions.iter().find_map(|definition| source.find(definition)) {
            None => complaints.push(format!("there is no function {word} in {file}")),
            Some(at) if is_test => {
                // Before it, its line may say that it is async.
                let before = source[..at].rfind('\n').map_or("", |line| &source[..line]);
                let attribute = before.lines().rev().find(|line| !line.trim().is_empty());
                let has_attribute =
                    attribute.is_some_and(|line| ["test]", "::test("].iter().any(|end| line.contains(end)));
                let is_listed = source.lines().any(|line| line.trim() == word);
                if !has_attribute && !is_listed {
                    complaints.push(format!("{word} in {file} is not a test"));
                }
            }
            Some(_) => {}
        }
    }
    complaints
}

#[test]
fn every_threat_names_its_code_and_its_tests_and_they_are_there() {
    let page = fs::read_to_string(root().join("docs/THREATS.md")).unwrap();
    let (_, page) = page.split_once("\n## ").expect("sections");
    let (mut complaints, mut threats) = (Vec::new(), 0);
    // A threat begins with its name in bold; the section on scans is one as a whole.
    for threat in page.split("\n**").flat_map(|part| part.split("\n## Scans")) {
        let Some((text, lists)) = threat.split_once("\n- Code: ") else {
            assert!(!threat.contains("- Tests: "), "no code is named: {threat}");
            continue;
        };
        threats += 1;
        let name = text.split_once("**").map_or(text.trim(), |(name, _)| name);
        let Some((code, tests)) = lists.split_once("\n- Tests: ") else {
            complaints.push(format!("{name}: no tests are named"));
            continue;
        };
        let tests = tests.split("\n\n").next().unwrap_or_default();
        let found = missing(code, CODE, false).into_iter().chain(missing(tests, TESTS, true));
        complaints.extend(found.map(|complaint| format!("{name}: {complaint}")));
    }
    assert!(complaints.is_empty(), "docs/THREATS.md is not true any more:\n{}", complaints.join("\n"));
    assert_eq!(threats, page.matches("- Code: ").count());
    assert!(threats > 20, "only {threats} threats were found on the page");
}

#[test]
fn what_is_not_there_is_complained_about() {
    let file = "`policy.rs`";
    assert_eq!(missing(&format!("{file} `of`"), CODE, false), Vec::<String>::new());
    assert_eq!(missing(&format!("{file} `off`"), CODE, false), ["there is no function off in policy.rs"]);
    assert_eq!(missing("`nowhere.rs`", CODE, false), ["there is no file nowhere.rs"]);
    assert_eq!(missing(&format!("{file} `set`"), TESTS, true), ["set in policy.rs is not a test"]);
}
