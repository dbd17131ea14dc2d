//! Rust source, as far as it has to be understood: what is comment, which items there are, where they end.
//!
//! The code is formatted by rustfmt, so an item ends at the first `}` that stands as far left as it begins.

use crate::tags::{self, Tag};

/// A line without what is in quotes, and its comment.
#[derive(Debug, Default)]
struct Line {
    code: String,
    comment: String,
}

impl Line {
    fn indent(&self) -> usize {
        self.code.len() - self.code.trim_start().len()
    }

    fn is_only_comment(&self) -> bool {
        self.code.trim().is_empty() && !self.comment.is_empty()
    }

    fn is_attribute(&self) -> bool {
        self.code.trim_start().starts_with("#[")
    }
}

/// One file.
#[derive(Debug)]
pub(crate) struct Source {
    lines: Vec<Line>,
    /// Lines of `mod tests`, and all lines of a file that is nothing but tests.
    in_tests: Vec<bool>,
}

/// An item with the comments and attributes that stand before it: lines from `start` up to `end`, of which
/// `header` is the first of the item itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    start: usize,
    header: usize,
    end: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let lines = split(text);
        let only_tests = path.contains("/tests/") || path.ends_with("/tests.rs");
        let mut source = Self { in_tests: vec![only_tests; lines.len()], lines };
        if let Some(at) = source.lines.iter().position(|line| line.code.trim() == "mod tests {") {
            let end = source.end_of(at);
            source.in_tests[at..end].fill(true);
        }
        source
    }

    /// The items of that name: functions, constants, types, fields, variants.
    pub(crate) fn items(&self, name: &str) -> Vec<Item> {
        let headers = (0..self.lines.len()).filter(|at| declares(&self.lines[*at].code, name));
        headers
            .map(|header| Item { start: self.start_of(header), header, end: self.end_of(header) })
            .collect()
    }

    /// The tags in the comments of an item.
    pub(crate) fn tags_of(&self, item: Item) -> Vec<Tag> {
        self.tags_in(item.start..item.end)
    }

    /// The tags in the comments of the file.
    pub(crate) fn tags(&self) -> Vec<Tag> {
        self.tags_in(0..self.lines.len())
    }

    /// The tags in the comments of what is not a test.
    pub(crate) fn tags_outside_of_tests(&self) -> Vec<Tag> {
        (0..self.lines.len())
            .filter(|at| !self.in_tests[*at])
            .flat_map(|at| self.tags_in(at..at + 1))
            .collect()
    }

    fn tags_in(&self, range: std::ops::Range<usize>) -> Vec<Tag> {
        tags::find(&self.lines[range].iter().map(|line| line.comment.as_str()).collect::<Vec<_>>().join("\n"))
    }

    pub(crate) fn is_in_tests(&self, item: Item) -> bool {
        self.in_tests[item.header]
    }

    /// Whether the harness runs it.
    pub(crate) fn is_test(&self, item: Item) -> bool {
        self.has_attribute(item, "#[test]") || self.has_attribute(item, "#[tokio::test")
    }

    pub(crate) fn is_ignored(&self, item: Item) -> bool {
        self.has_attribute(item, "#[ignore")
    }

    fn has_attribute(&self, item: Item, attribute: &str) -> bool {
        self.lines[item.start..item.header].iter().any(|line| line.code.trim_start().starts_with(attribute))
    }

    /// Whether its body says anything that can fail.
    pub(crate) fn asserts(&self, item: Item) -> bool {
        const WAYS: [&str; 7] =
            ["assert", "panic!", ".expect(", ".quiet(", ".fail(", ".unwrap_err(", ".live("];
        self.lines[item.header..item.end].iter().any(|line| WAYS.iter().any(|way| line.code.contains(way)))
    }

    fn start_of(&self, header: usize) -> usize {
        let mut start = header;
        while start > 0 && (self.lines[start - 1].is_only_comment() || self.lines[start - 1].is_attribute()) {
            start -= 1;
        }
        start
    }

    fn end_of(&self, header: usize) -> usize {
        let line = &self.lines[header];
        let (indent, code) = (line.indent(), line.code.trim_end());
        let one_line = code.ends_with([';', ',']) || (code.ends_with('}') && code.contains('{'));
        if one_line {
            return header + 1;
        }
        let ends = |line: &Line| {
            let code = line.code.trim();
            line.indent() == indent && (code.starts_with('}') || code.ends_with([';', ',']))
        };
        (header + 1..self.lines.len()).find(|at| ends(&self.lines[*at])).map_or(self.lines.len(), |at| at + 1)
    }
}

/// Whether a line of code begins the item of that name.
fn declares(code: &str, name: &str) -> bool {
    const KEYWORDS: [&str; 8] = ["fn", "const", "static", "struct", "enum", "trait", "type", "mod"];
    const BEFORE: [&str; 5] = ["const", "async", "unsafe", "extern", "macro_rules!"];
    let mut rest = code.trim();
    if let Some(visible) = rest.strip_prefix("pub") {
        rest = match visible.strip_prefix('(') {
            Some(scope) => scope.split_once(')').map_or("", |(_, rest)| rest),
            None => visible,
        }
        .trim_start();
    }
    let is_name = |text: &str| {
        text.strip_prefix(name)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    let mut keyword = false;
    for word in rest.split_whitespace() {
        if KEYWORDS.contains(&word) || BEFORE.contains(&word) {
            keyword = true;
        } else {
            // A field or a variant has no keyword.
            let member = rest.strip_prefix(name).is_some_and(|rest| {
                (rest.starts_with(": ") && !rest.starts_with("::")) || rest == "," || rest.starts_with(" = ")
            });
            return if keyword { is_name(word) } else { member };
        }
    }
    false
}

/// Tells comments and strings from code.
fn split(text: &str) -> Vec<Line> {
    let mut lines = vec![Line::default()];
    let mut state = State::Code;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let line = lines.last_mut().unwrap();
        if c == '\n' {
            if state == State::LineComment {
                state = State::Code;
            }
            lines.push(Line::default());
            rest = &rest[1..];
            continue;
        }
        let step;
        (state, step) = match state {
            State::Code => in_code(rest, line),
            State::LineComment => {
                line.comment.push(c);
                (state, c.len_utf8())
            }
            State::BlockComment if rest.starts_with("*/") => (State::Code, 2),
            State::String if c == '\\' => (state, 1 + rest[1..].chars().next().map_or(0, char::len_utf8)),
            State::String if c == '"' => {
                line.code.push('"');
                (State::Code, 1)
            }
            State::Raw(hashes) if rest.starts_with(&format!("\"{}", "#".repeat(hashes))) => {
                line.code.push('"');
                (State::Code, 1 + hashes)
            }
            _ => (state, c.len_utf8()),
        };
        // An escaped end of line inside a string still ends the line.
        if rest[..step].ends_with('\n') {
            lines.push(Line::default());
        }
        rest = &rest[step..];
    }
    lines
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Code,
    LineComment,
    BlockComment,
    String,
    /// With so many hashes.
    Raw(usize),
}

/// What begins here, and how many bytes of it are dealt with.
fn in_code(rest: &str, line: &mut Line) -> (State, usize) {
    if let Some(comment) = rest.strip_prefix("//") {
        // So that the lines of a comment keep their words apart.
        line.comment.push(' ');
        let marks = comment.len() - comment.trim_start_matches(['/', '!']).len();
        return (State::LineComment, 2 + marks);
    }
    if rest.starts_with("/*") {
        return (State::BlockComment, 2);
    }
    let c = rest.chars().next().unwrap_or_default();
    line.code.push(c);
    let after_word = line.code.chars().rev().nth(1).is_some_and(|c| c.is_alphanumeric() || c == '_');
    match c {
        '"' => (State::String, 1),
        'r' if !after_word || line.code.ends_with("br") => {
            let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
            if rest[1 + hashes..].starts_with('"') {
                (State::Raw(hashes), 2 + hashes)
            } else {
                (State::Code, 1)
            }
        }
        '\'' => (State::Code, char_literal(rest).unwrap_or(1)),
        _ => (State::Code, c.len_utf8()),
    }
}

/// How long a character in quotes is; `None` if this is a lifetime.
fn char_literal(rest: &str) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first != '\\' {
        return chars.next().filter(|(_, c)| *c == '\'').map(|(at, _)| at + 1);
    }
    chars.next()?;
    chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 1)
}
