//! Tags: the ids of requirements, as comments in code and tests have them.

use std::ops::RangeInclusive;

/// The id of a requirement, such as the seventeenth MUST of RFC 9293, or the first rule of a section of another RFC.
pub(crate) type Tag = String;

/// The labels of RFC 9293 and how many there are of each. `R` is ours: the rules of 3.10.7 and around it that have none.
pub(crate) const LABELS: [(&str, RangeInclusive<u32>); 5] =
    [("MUST", 1..=69), ("SHLD", 1..=31), ("MAY", 1..=18), ("REC", 1..=1), ("R", 1..=14)];

/// The RFCs whose rules have ids of ours: the section, a hyphen, and a number.
pub(crate) const OTHER_RFCS: [&str; 30] = [
    "7323", "2018", "2883", "5961", "6528", "4987", "6298", "5682", "6675", "8985", "9438", "9937", "3168",
    "8511", "9768", "7413", "1122", "8085", "791", "8200", "5722", "6946", "7112", "6864", "7739", "4821",
    "826", "5227", "4861", "8106",
];

/// Every id of RFC 9293's list.
pub(crate) fn required() -> Vec<Tag> {
    LABELS.into_iter().flat_map(|(label, numbers)| numbers.map(move |number| id(label, number))).collect()
}

fn id(label: &str, number: u32) -> Tag {
    if label == "R" { format!("R-{number:02}") } else { format!("{label}-{number}") }
}

/// Whether the text is an id, and nothing else.
pub(crate) fn is_tag(text: &str) -> bool {
    let found = find(text);
    found.len() == 1 && found[0] == text
}

/// The level that the id tells.
pub(crate) fn level(tag: &str) -> Option<&'static str> {
    let levels = [("MUST-", "MUST"), ("SHLD-", "SHOULD"), ("MAY-", "MAY"), ("REC-", "RECOMMENDED")];
    levels.into_iter().find(|(prefix, _)| tag.starts_with(prefix)).map(|(_, level)| level)
}

/// All tags in a text. "X-1 to X-3" are three.
pub(crate) fn find(text: &str) -> Vec<Tag> {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || ",;:()\"'`/".contains(c))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| !word.is_empty())
        .collect();
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let before = |back: usize| at.checked_sub(back).map_or("", |at| words[at]);
        if let Some((label, number)) = labelled(word) {
            let first = labelled(before(2)).filter(|(other, _)| before(1) == "to" && *other == label);
            let first = first.map_or(number, |(_, first)| first + 1);
            found.extend((first..=number).map(|number| id(label, number)));
        } else if before(2) == "RFC" && OTHER_RFCS.contains(&before(1)) && is_section_and_number(word) {
            found.push(format!("RFC {} {word}", before(1)));
        }
    }
    found
}

fn labelled(word: &str) -> Option<(&'static str, u32)> {
    let (label, number) = word.split_once('-')?;
    let (label, _) = LABELS.into_iter().find(|(known, _)| *known == label)?;
    let digits = number.len() == 2 || label != "R";
    number.parse().ok().filter(|_| digits).map(|number| (label, number))
}

fn is_section_and_number(word: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    word.split_once('-')
        .is_some_and(|(section, number)| section.split('.').all(is_number) && is_number(number))
}
