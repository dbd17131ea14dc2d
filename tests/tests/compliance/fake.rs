//! The checker, checked: small trees and pages, each of which has one thing wrong with it.

use crate::page::Page;
use crate::rules::{Tree, complaints};
use crate::source::Source;
use crate::tags;

const CODE: &str = "
/// Says so.
pub(crate) fn does_it() -> u32 {
    // RFC 9293 3.1 MUST-1: because
    let text = \"// MUST-2\";
    1
}

#[cfg(test)]
mod tests {
    // MUST-1
    fn helper() {}
}
";

const TESTS: &str = "
// MUST-1
#[test]
fn it_is_done() {
    assert_eq!(does_it(), 1);
}
";

const PAGE: &str = "
| | yes | partly | no | n/a |
|---|---|---|---|---|
| MUST | 1 | 0 | 1 | 0 |

| MUST-1 | 3.1 | MUST | It is done. | yes | `core/src/a.rs::does_it` | `core/tests/a.rs::it_is_done` |
| MUST-2 | 3.1 | MUST | It is not. | no | | |

- **MUST-2**: nobody has asked for it so far
";

fn tree() -> Tree {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    Tree::from([file("crates/ropeway-core/src/a.rs", CODE), file("crates/ropeway-core/tests/a.rs", TESTS)])
}

fn check(page: &str, tree: &Tree) -> Vec<String> {
    complaints(&Page::read(page), tree, &["MUST-1".to_owned(), "MUST-2".to_owned()])
}

/// The page with one thing changed is complained of just so.
#[track_caller]
fn wrong_page(from: &str, to: &str, complaint: &str) {
    assert!(PAGE.contains(from));
    let found = check(&PAGE.replace(from, to), &tree());
    assert!(found.iter().any(|line| line.contains(complaint)), "{found:#?}");
}

/// The same for a file of the tree.
#[track_caller]
fn wrong_tree(path: &str, from: &str, to: &str, complaint: &str) {
    let mut tree = tree();
    let text = tree.get_mut(path).unwrap();
    assert!(text.contains(from));
    *text = text.replace(from, to);
    let found = check(PAGE, &tree);
    assert!(found.iter().any(|line| line.contains(complaint)), "{found:#?}");
}

const SRC: &str = "crates/ropeway-core/src/a.rs";
const TEST: &str = "crates/ropeway-core/tests/a.rs";

#[test]
fn a_true_page_is_not_complained_of() {
    assert_eq!(check(PAGE, &tree()), Vec::<String>::new());
}

#[test]
fn every_id_has_one_row() {
    wrong_page("| MUST-2 | 3.1", "| MUST-1 | 3.1", "MUST-2: there is no row");
    wrong_page("| MUST-2 | 3.1", "| MUST-1 | 3.1", "MUST-1: there are 2 rows");
    wrong_page("| MUST-2 | 3.1", "| MUST-3 | 3.1", "MUST-3: RFC 9293 has no such id");
    wrong_page("- **MUST-2**", "- **MUST-2, MUST-4**", "MUST-4: there is a reason but no row");
    wrong_page("| MUST-2 | 3.1", "| RFC 1 2-3 | 3.1", "RFC 1 2-3: nothing reads such an id");
}

#[test]
fn cells_make_sense() {
    wrong_page("| yes | `", "| of course | `", "MUST-1: its status must be");
    wrong_page("| MUST | It is done", "| MAY | It is done", "MUST-1: its level must be MUST");
    wrong_page("It is done.", "", "MUST-1: say its section and its rule");
    wrong_page("| MUST | 1 | 0 | 1 | 0 |", "| MUST | 2 | 0 | 0 | 0 |", "must say | MUST | 1 | 0 | 1 | 0 |");
}

#[test]
fn what_is_not_done_has_a_reason() {
    wrong_page("- **MUST-2**", "- MUST-2", "MUST-2: say why not");
    wrong_page("nobody has asked for it so far", "no", "is no reason");
    wrong_page("- **MUST-2**", "- **MUST-1, MUST-2**", "MUST-1: it says yes, but there is a reason");
}

#[test]
fn code_is_named_and_tagged() {
    wrong_page("`core/src/a.rs::does_it`", "", "MUST-1: name the file and the item");
    wrong_page(
        "src/a.rs::does_it",
        "src/b.rs::does_it",
        "MUST-1: there is no file crates/ropeway-core/src/b.rs",
    );
    wrong_page("src/a.rs::does_it", "src/a.rs::did_it", "MUST-1: crates/ropeway-core/src/a.rs has no did_it");
    wrong_page("src/a.rs::does_it", "src/a.rs::helper", "MUST-1: crates/ropeway-core/src/a.rs has no helper");
    wrong_tree(SRC, "RFC 9293 3.1 MUST-1", "RFC 9293 3.1", "MUST-1: no comment at does_it in");
    wrong_tree(SRC, "fn does_it", "fn does_something_else", "has no does_it");
}

#[test]
fn tests_are_named_tagged_and_able_to_fail() {
    wrong_page("`core/tests/a.rs::it_is_done`", "", "MUST-1: name a test that proves it");
    wrong_page("tests/a.rs::it_is_done", "tests/a.rs", "MUST-1: name a test in");
    wrong_page("::it_is_done", "::it_was_done", "has no test it_was_done");
    wrong_tree(TEST, "#[test]\n", "", "has no test it_is_done");
    wrong_tree(TEST, "fn it_is_done", "fn renamed", "has no test it_is_done");
    wrong_tree(TEST, "#[test]", "#[test]\n#[ignore = \"slow\"]", "is ignored");
    wrong_tree(TEST, "// MUST-1", "// the first", "MUST-1: the test it_is_done in");
    wrong_tree(TEST, "assert_eq!(does_it(), 1)", "does_it()", "asserts nothing");
    wrong_tree(TEST, "assert_eq!(does_it(), 1)", "does_it(); // assert", "asserts nothing");
}

#[test]
fn tags_that_the_page_does_not_know_are_found() {
    wrong_tree(
        SRC,
        "MUST-1: because",
        "MUST-1, MUST-7: because",
        "MUST-7: a comment in crates/ropeway-core/src/a.rs",
    );
    wrong_tree(TEST, "// MUST-1", "// MUST-1, RFC 7323 2.2-1", "RFC 7323 2.2-1: a comment in");
    wrong_tree(
        TEST,
        "// MUST-1",
        "// MUST-1 to MUST-2",
        "MUST-2: a comment in crates/ropeway-core/tests/a.rs",
    );
}

#[test]
fn a_packet_script_is_a_test_too() {
    let page = PAGE.replace("core/tests/a.rs::it_is_done", "tests/scripts/a/b.pkt");
    let mut tree = tree();
    tree.remove(TEST);
    assert!(check(&page, &tree)[0].contains("there is no script tests/scripts/a/b.pkt"));
    tree.insert("tests/scripts/a/b.pkt".into(), "// a script\n0 `true`\n// MUST-1\n".into());
    assert_eq!(check(&page, &tree), Vec::<String>::new());
    tree.insert("tests/scripts/a/b.pkt".into(), "// about MUST-9\n".into());
    let found = check(&page, &tree);
    assert!(found[0].contains("the first comments of tests/scripts/a/b.pkt"), "{found:#?}");
    assert!(found[1].contains("MUST-9: the script tests/scripts/a/b.pkt has it"), "{found:#?}");
}

#[test]
fn tags_are_read_as_people_write_them() {
    let found = tags::find(
        "(RFC 9293 3.8.3 MUST-20, SHLD-9 to SHLD-11); R-05. RFC 7323 5.3-1: MAY-2/REC-1 MUSTER-3 R-5",
    );
    assert_eq!(
        found,
        ["MUST-20", "SHLD-9", "SHLD-10", "SHLD-11", "R-05", "RFC 7323 5.3-1", "MAY-2", "REC-1"]
    );
    assert_eq!(tags::find("RFC 9293 3.1-1, RFC 7323 5.3, RFC 7323 x-1, MUST-, 1-2"), Vec::<String>::new());
    assert_eq!(tags::required().len(), 69 + 31 + 18 + 1 + 14);
}

#[test]
fn source_is_told_from_strings_and_comments() {
    let text = "
const QUOTED: [&str; 2] = [r#\"// MUST-1 \" \"#, \"\\\" // MUST-2\"];
const CHAR: (char, &'static str) = ('\"', \"// MUST-3\"); // MUST-4
struct Both {
    /// MUST-5
    first: u8,
    // MUST-6
    second: u8,
}
fn one_line() -> u8 { 1 } // MUST-7
// MUST-8
pub(in crate::a) const fn several(
    number: u8,
) -> u8 {
    /* MUST-9 */
    number // MUST-10
}
";
    let source = Source::new("crates/x/src/a.rs", text);
    let of = |name: &str| -> Vec<String> {
        source.items(name).into_iter().flat_map(|item| source.tags_of(item)).collect()
    };
    assert_eq!(source.tags(), ["MUST-4", "MUST-5", "MUST-6", "MUST-7", "MUST-8", "MUST-10"]);
    assert_eq!(of("CHAR"), ["MUST-4"]);
    assert_eq!(of("first"), ["MUST-5"]);
    assert_eq!(of("second"), ["MUST-6"]);
    assert_eq!(of("one_line"), ["MUST-7"]);
    assert_eq!(of("several"), ["MUST-8", "MUST-10"]);
    assert_eq!(of("Both"), ["MUST-5", "MUST-6"]);
    assert_eq!(of("number"), Vec::<String>::new());
}
