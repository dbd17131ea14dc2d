//! What must hold between the page and the tree. Each complaint says in one line what to do.

use std::collections::{BTreeMap, BTreeSet};

use crate::page::{Page, Place, Row, Status};
use crate::source::Source;
use crate::tags::{self, Tag};

/// The texts of all files that matter, by their path from the top of the repository.
pub(crate) type Tree = BTreeMap<String, String>;

/// A reason is at least a short sentence.
const SHORTEST_REASON: usize = 20;

/// A packet script names what it proves at its top.
const SCRIPT_HEAD: usize = 15;

/// All that is wrong with the page.
pub(crate) fn complaints(page: &Page, tree: &Tree, required: &[Tag]) -> Vec<String> {
    let sources: BTreeMap<&str, Source> = tree
        .iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .map(|(path, text)| (path.as_str(), Source::new(path, text)))
        .collect();
    let mut all = ids(page, required);
    for row in &page.rows {
        all.extend(form(row));
        all.extend(reasons(row, page));
        all.extend(leads_somewhere(row, tree, &sources));
    }
    all.extend(strangers(page, tree, &sources));
    all.extend(counts(page));
    all
}

/// Each id has one row, and each row an id that exists.
fn ids(page: &Page, required: &[Tag]) -> Vec<String> {
    let mut all = Vec::new();
    for tag in required {
        match page.rows.iter().filter(|row| row.tag == *tag).count() {
            1 => {}
            0 => all.push(format!("{tag}: there is no row for it: add one")),
            rows => all.push(format!("{tag}: there are {rows} rows for it: keep one")),
        }
    }
    let mut seen = BTreeSet::new();
    for row in &page.rows {
        let ours = row.tag.starts_with("RFC ");
        if !ours && !required.contains(&row.tag) {
            all.push(format!("{}: RFC 9293 has no such id: remove the row, or mend its id", row.tag));
        } else if ours && !tags::is_tag(&row.tag) {
            all.push(format!("{}: nothing reads such an id: add its RFC to OTHER_RFCS, or mend it", row.tag));
        } else if ours && !seen.insert(&row.tag) {
            all.push(format!("{}: there are two rows for it: keep one", row.tag));
        }
    }
    let known = |tag: &Tag| page.rows.iter().any(|row| row.tag == *tag);
    let lost = page.reasons.keys().filter(|tag| !known(tag));
    all.extend(
        lost.map(|tag| format!("{tag}: there is a reason but no row: remove the reason, or add the row")),
    );
    all
}

/// The cells say something that can be.
fn form(row: &Row) -> Option<String> {
    let Row { tag, level, .. } = row;
    if row.status.is_none() {
        return Some(format!("{tag}: its status must be yes, partly, no or n/a"));
    }
    if row.section.is_empty() || row.rule.is_empty() {
        return Some(format!("{tag}: say its section and its rule"));
    }
    tags::level(tag).filter(|id| id != level).map(|id| format!("{tag}: its level must be {id}"))
}

/// What is not done has a reason, and what is done needs none.
fn reasons(row: &Row, page: &Page) -> Option<String> {
    let tag = &row.tag;
    let reason = page.reasons.get(tag);
    match (row.status, reason) {
        (Some(Status::Yes), Some(_)) => {
            Some(format!("{tag}: it says yes, but there is a reason why not: remove one of them"))
        }
        (Some(Status::Partly | Status::No | Status::NotApplicable), None) => {
            Some(format!("{tag}: say why not, in a line \"- **{tag}**: ...\""))
        }
        (_, Some(reason)) if reason.len() < SHORTEST_REASON => {
            Some(format!("{tag}: \"{reason}\" is no reason"))
        }
        _ => None,
    }
}

/// The row leads to code that is tagged, and to tests that are tagged and can fail.
fn leads_somewhere(row: &Row, tree: &Tree, sources: &BTreeMap<&str, Source>) -> Vec<String> {
    let tag = &row.tag;
    let mut all = Vec::new();
    let done = matches!(row.status, Some(Status::Yes | Status::Partly));
    if done && row.code.is_empty() {
        all.push(format!("{tag}: name the file and the item that implements it"));
    }
    if done && row.tests.is_empty() {
        all.push(format!("{tag}: name a test that proves it"));
    }
    all.extend(row.code.iter().filter_map(|place| code(tag, place, sources)));
    for place in &row.tests {
        let wrong =
            if place.path.ends_with(".pkt") { script(tag, place, tree) } else { test(tag, place, sources) };
        all.extend(wrong);
    }
    all
}

fn code(tag: &Tag, place: &Place, sources: &BTreeMap<&str, Source>) -> Option<String> {
    let path = &place.path;
    let Some(source) = sources.get(path.as_str()) else {
        return Some(format!("{tag}: there is no file {path}: name the one that implements it now"));
    };
    let Some(name) = &place.item else {
        let tagged = source.tags_outside_of_tests().contains(tag);
        return (!tagged)
            .then(|| format!("{tag}: no comment in {path} has the tag: put it at the line that does it"));
    };
    let items: Vec<_> = source.items(name).into_iter().filter(|item| !source.is_in_tests(*item)).collect();
    if items.is_empty() {
        return Some(format!("{tag}: {path} has no {name}: name the item that implements it now"));
    }
    let tagged = items.iter().any(|item| source.tags_of(*item).contains(tag));
    (!tagged).then(|| {
        format!("{tag}: no comment at {name} in {path} has the tag: put it at the line that does it")
    })
}

fn test(tag: &Tag, place: &Place, sources: &BTreeMap<&str, Source>) -> Option<String> {
    let path = &place.path;
    let Some(source) = sources.get(path.as_str()) else {
        return Some(format!("{tag}: there is no file {path}: name a test that exists"));
    };
    let Some(name) = &place.item else {
        return Some(format!("{tag}: name a test in {path}, not just the file"));
    };
    let tests: Vec<_> = source.items(name).into_iter().filter(|item| source.is_test(*item)).collect();
    let Some(test) = tests.iter().find(|item| source.tags_of(**item).contains(tag)).or(tests.first()) else {
        return Some(format!("{tag}: {path} has no test {name}: name one that exists"));
    };
    if source.is_ignored(*test) {
        return Some(format!("{tag}: the test {name} in {path} is ignored: let it run, or name another"));
    }
    if !source.tags_of(*test).contains(tag) {
        return Some(format!(
            "{tag}: the test {name} in {path} does not have the tag: if it proves the rule, say so"
        ));
    }
    (!source.asserts(*test))
        .then(|| format!("{tag}: the test {name} in {path} asserts nothing: name one that can fail"))
}

fn script(tag: &Tag, place: &Place, tree: &Tree) -> Option<String> {
    let path = &place.path;
    let Some(text) = tree.get(path) else {
        return Some(format!("{tag}: there is no script {path}: name one that exists"));
    };
    let tagged = head_of_script(text).contains(tag);
    (!tagged).then(|| {
        format!("{tag}: the first comments of {path} do not have the tag: if it proves the rule, say so")
    })
}

fn head_of_script(text: &str) -> Vec<Tag> {
    let comments = text.lines().take(SCRIPT_HEAD).filter(|line| line.starts_with(['#', '/']));
    tags::find(&comments.collect::<Vec<_>>().join("\n"))
}

/// Nothing in the tree has a tag that the page does not know, or does not know there.
fn strangers(page: &Page, tree: &Tree, sources: &BTreeMap<&str, Source>) -> Vec<String> {
    let mut named: BTreeMap<&Tag, BTreeSet<&str>> = BTreeMap::new();
    for row in &page.rows {
        let places = row.code.iter().chain(&row.tests);
        named.entry(&row.tag).or_default().extend(places.map(|place| place.path.as_str()));
    }
    let mut all = Vec::new();
    for (path, source) in sources {
        for tag in source.tags().into_iter().collect::<BTreeSet<_>>() {
            match named.get(&tag) {
                None => all.push(format!("{tag}: a comment in {path} has it, but no row does: mend the tag")),
                Some(paths) if !paths.contains(path) => {
                    all.push(format!(
                        "{tag}: a comment in {path} has it: name that place in its row, or remove the tag"
                    ));
                }
                Some(_) => {}
            }
        }
    }
    for (path, text) in tree.iter().filter(|(path, _)| path.ends_with(".pkt")) {
        let unknown = head_of_script(text).into_iter().filter(|tag| !named.contains_key(tag));
        all.extend(
            unknown.map(|tag| format!("{tag}: the script {path} has it, but no row does: mend the tag")),
        );
    }
    all
}

/// The table that counts the rows is right.
fn counts(page: &Page) -> Vec<String> {
    let mut counts: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    for row in &page.rows {
        let rfc = row.tag.strip_prefix("RFC ").and_then(|rest| rest.split(' ').next());
        let table = rfc.map_or_else(
            || row.tag.split('-').next().unwrap_or_default().to_owned(),
            |rfc| format!("RFC {rfc}"),
        );
        let count = counts.entry(table).or_default();
        if let Some(column) = Status::ALL.iter().position(|(_, status)| Some(*status) == row.status) {
            count[column] += 1;
        }
    }
    let wrong = counts.iter().filter(|(table, count)| page.counts.get(*table) != Some(count));
    wrong
        .map(|(table, [yes, partly, no, not])| {
            format!("the summary must say | {table} | {yes} | {partly} | {no} | {not} |")
        })
        .collect()
}
