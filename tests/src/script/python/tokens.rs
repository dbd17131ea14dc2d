//! Code to statements, and a statement to tokens.

use super::value::Value;
use super::{Result, Trouble, bad};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Number(Value),
    Text(String),
    Name(String),
    Sign(&'static str),
}

const SIGNS: [&str; 22] = [
    "**", "==", "!=", "<=", ">=", "//", "<<", ">>", "<", ">", "=", "+", "-", "*", "/", "%", "(", ")", ",",
    "&", "|", "^",
];

/// Lines and what semicolons part, without comments; brackets and backslashes continue a line.
pub(super) fn statements(code: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let (mut depth, mut quote, mut comment) = (0i32, None, false);
    let mut chars = code.chars().peekable();
    while let Some(char) = chars.next() {
        if comment && char != '\n' {
            continue;
        }
        comment = false;
        let current = out.last_mut().map(|text| (text.is_empty(), text));
        let Some((_, text)) = current else { break };
        match (quote, char) {
            (Some(open), _) => {
                quote = (char != open).then_some(open);
                text.push(char);
            }
            (None, '\'' | '"') => {
                quote = Some(char);
                text.push(char);
            }
            (None, '#') => comment = true,
            (None, '\\') if chars.peek() == Some(&'\n') => {
                chars.next();
                text.push(' ');
            }
            (None, '\n') if depth > 0 => text.push(' '),
            (None, '\n' | ';') => out.push(String::new()),
            (None, _) => {
                depth += i32::from(char == '(') - i32::from(char == ')');
                text.push(char);
            }
        }
    }
    out.into_iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = if first.is_ascii_digit() {
            let len = rest
                .find(|char: char| !char.is_ascii_alphanumeric() && char != '.' && char != '_')
                .unwrap_or(rest.len());
            out.push(Token::Number(number(&rest[..len])?));
            len
        } else if first.is_ascii_alphabetic() || first == '_' {
            let len =
                rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(rest.len());
            out.push(Token::Name(rest[..len].to_owned()));
            len
        } else if first == '"' || first == '\'' {
            let len = rest[1..].find(first).ok_or_else(|| bad("a text without an end"))?;
            out.push(Token::Text(rest[1..=len].to_owned()));
            len + 2
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            out.push(Token::Sign(sign));
            sign.len()
        } else {
            return Err(Trouble::Unknown(format!("Python's '{first}'")));
        };
        rest = rest[len..].trim_start();
    }
    Ok(out)
}

fn number(text: &str) -> Result<Value> {
    let text = text.replace('_', "");
    let int = match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => text.trim_end_matches('L').parse().ok(),
    };
    int.map(Value::Int)
        .or_else(|| text.parse().ok().map(Value::Float))
        .ok_or_else(|| bad(&format!("'{text}' is no number")))
}
