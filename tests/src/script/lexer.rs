//! Text to tokens, as packetdrill cuts it.

use super::Error;

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// `--name`
    Option(String),
    /// A decimal number without a point, as written.
    Int(String),
    /// `0x1f`
    Hex(i64),
    /// With a point, as written.
    Float(String),
    Word(String),
    Str(Vec<u8>),
    /// Between backticks.
    Command(String),
    /// Between `%{` and `}%`.
    Code(String),
    /// `// @name: value`
    Pragma(String, String),
    /// `...`
    Ellipsis,
    Punct(char),
}

/// A token with its line.
#[derive(Clone, Debug)]
pub(super) struct Lexed {
    pub(super) token: Token,
    pub(super) line: usize,
}

struct Lexer<'t> {
    rest: &'t str,
    line: usize,
    out: Vec<Lexed>,
}

/// All tokens of a script.
pub(super) fn lex(text: &str) -> Result<Vec<Lexed>, Error> {
    let text = as_the_standard_has_it(text);
    let mut lexer = Lexer { rest: &text, line: 1, out: Vec::new() };
    while !lexer.rest.is_empty() {
        lexer.step()?;
    }
    Ok(lexer.out)
}

/// Some collections say what each system does (`#ifdef FreeBSD`) beside what the standard asks for: we are held
/// to `STANDARD`, or to Linux. Lines keep their numbers.
fn as_the_standard_has_it(text: &str) -> String {
    let mut active = vec![true];
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let mut words = line.split_whitespace();
        let now = active.iter().all(|active| *active);
        match (words.next(), words.next()) {
            (Some("#ifdef"), Some(name)) => active.push(matches!(name, "STANDARD" | "Linux" | "linux")),
            (Some("#ifndef"), Some(name)) => active.push(!matches!(name, "STANDARD" | "Linux" | "linux")),
            (Some("#else"), _) => {
                if let Some(last) = active.last_mut() {
                    *last = !*last;
                }
            }
            (Some("#endif"), _) => {
                active.pop();
            }
            _ if now => {
                out.push_str(line);
                continue;
            }
            _ => {}
        }
        out.push('\n');
    }
    out
}

impl Lexer<'_> {
    fn take(&mut self, len: usize) -> &str {
        let (taken, rest) = self.rest.split_at(len);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn emit(&mut self, token: Token, len: usize) {
        let line = self.line;
        self.take(len);
        self.out.push(Lexed { token, line });
    }

    fn step(&mut self) -> Result<(), Error> {
        let rest = self.rest;
        let Some(first) = rest.chars().next() else { return Ok(()) };
        if first.is_whitespace() {
            self.take(first.len_utf8());
        } else if rest.starts_with("//") {
            self.comment();
        } else if rest.starts_with('#') {
            // Tolerated, as some collections begin with a line for the shell.
            let len = rest.find('\n').unwrap_or(rest.len());
            self.take(len);
        } else if rest.starts_with("/*") {
            let len = rest.find("*/").ok_or_else(|| self.error("a comment without an end"))? + 2;
            self.take(len);
        } else if rest.starts_with("%{") {
            let len = rest.find("}%").ok_or_else(|| self.error("code without an end"))?;
            let code = rest.get(2..len).unwrap_or_default().to_owned();
            self.emit(Token::Code(code), len + 2);
        } else if rest.starts_with("...") {
            self.emit(Token::Ellipsis, 3);
        } else if let Some(name) = rest.strip_prefix("--") {
            let len = word_len(name);
            self.emit(Token::Option(name[..len].to_owned()), 2 + len);
        } else if first == '"' || first == '`' {
            self.quoted(first)?;
        } else if let Some((token, len)) = number(rest) {
            self.emit(token, len);
        } else if word_len(rest) > 0 {
            let len = word_len(rest);
            self.emit(Token::Word(rest[..len].to_owned()), len);
        } else {
            self.emit(Token::Punct(first), first.len_utf8());
        }
        Ok(())
    }

    fn comment(&mut self) {
        let len = self.rest.find('\n').unwrap_or(self.rest.len());
        let text = self.rest[2..len].trim();
        if let Some((name, value)) = text.strip_prefix('@').and_then(|text| text.split_once(':')) {
            let token = Token::Pragma(name.trim().to_owned(), value.trim().to_owned());
            self.emit(token, len);
        } else {
            self.take(len);
        }
    }

    fn quoted(&mut self, quote: char) -> Result<(), Error> {
        let mut bytes = Vec::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, char)) = chars.next() {
            if char == quote {
                let token = if quote == '"' {
                    Token::Str(bytes)
                } else {
                    Token::Command(String::from_utf8_lossy(&bytes).into_owned())
                };
                self.emit(token, at + 1);
                return Ok(());
            }
            if char == '\\' && quote == '"' {
                let Some((_, escaped)) = chars.next() else { break };
                match escaped {
                    'n' => bytes.push(b'\n'),
                    'r' => bytes.push(b'\r'),
                    't' => bytes.push(b'\t'),
                    '0' => bytes.push(0),
                    'x' => {
                        let digits: String = chars.by_ref().take(2).map(|(_, digit)| digit).collect();
                        let byte = u8::from_str_radix(&digits, 16).map_err(|_| self.error("a bad \\x"))?;
                        bytes.push(byte);
                    }
                    other => bytes.extend(other.encode_utf8(&mut [0; 4]).bytes()),
                }
            } else {
                bytes.extend(char.encode_utf8(&mut [0; 4]).bytes());
            }
        }
        Err(self.error("a text without an end"))
    }

    fn error(&self, what: &str) -> Error {
        Error::new(self.line, what)
    }
}

fn word_len(text: &str) -> usize {
    text.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(text.len())
}

fn digits(text: &str) -> usize {
    text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len())
}

/// A number and its length; the longest match of the four patterns, as flex has it.
fn number(text: &str) -> Option<(Token, usize)> {
    let sign = usize::from(text.starts_with('-'));
    let whole = sign + digits(&text[sign..]);
    let fraction = text[whole..].strip_prefix('.').map_or(0, digits);
    if fraction > 0 {
        let len = whole + 1 + fraction;
        return Some((Token::Float(text[..len].to_owned()), len));
    }
    let word = word_len(text);
    if let Some(hex) = text.strip_prefix("0x").map(|hex| &hex[..word_len(hex)])
        && let Ok(value) = i64::from_str_radix(hex, 16)
    {
        return Some((Token::Hex(value), word));
    }
    // `1a2b` is a word.
    (whole > sign && word <= whole).then(|| (Token::Int(text[..whole].to_owned()), whole))
}
