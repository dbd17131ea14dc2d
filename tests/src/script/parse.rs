//! Tokens to a [`Script`]: options, times, calls and expressions.

use std::collections::HashMap;

use super::Error;
use super::ast::{Action, Call, Event, EventTime, Expr, Pragma, Script};
use super::lexer::{Lexed, Token, lex};

/// Reads a script.
///
/// # Errors
/// Where the text is none.
pub fn parse(text: &str) -> Result<Script, Error> {
    // What google/packetdrill's own runner defines.
    let defines = HashMap::from([("CODE".to_owned(), Token::Word("host_unreachable".to_owned()))]);
    let mut parser = Parser { tokens: lex(text)?, at: 0, defines };
    let mut script = Script { lines: text.lines().map(str::to_owned).collect(), ..Script::default() };
    parser.header(&mut script)?;
    parser.events(&mut script)?;
    Ok(script)
}

pub(super) struct Parser {
    tokens: Vec<Lexed>,
    at: usize,
    /// `--define=NAME=value`
    defines: HashMap<String, Token>,
}

impl Parser {
    // ---- tokens

    pub(super) fn peek(&self) -> Option<&Token> {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<&Token> {
        let token = &self.tokens.get(self.at + ahead)?.token;
        match token {
            Token::Word(word) => Some(self.defines.get(word).unwrap_or(token)),
            _ => Some(token),
        }
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    pub(super) fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |lexed| lexed.line)
    }

    pub(super) fn error(&self, what: impl std::fmt::Display) -> Error {
        let found = self.peek().map_or("the end".to_owned(), |token| format!("{token:?}"));
        Error::new(self.line(), format!("{what}, found {found}"))
    }

    pub(super) fn is(&self, punct: char) -> bool {
        self.peek() == Some(&Token::Punct(punct))
    }

    pub(super) fn accept(&mut self, punct: char) -> bool {
        let found = self.is(punct);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, punct: char) -> Result<(), Error> {
        if self.accept(punct) { Ok(()) } else { Err(self.error(format!("expected '{punct}'"))) }
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(found)) if found == word)
    }

    pub(super) fn accept_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn word(&mut self) -> Result<String, Error> {
        match self.peek().cloned() {
            Some(Token::Word(word)) => {
                self.at += 1;
                Ok(word)
            }
            _ => Err(self.error("expected a word")),
        }
    }

    /// A decimal or hexadecimal number.
    pub(super) fn integer(&mut self) -> Result<i64, Error> {
        let value = match self.peek() {
            Some(Token::Int(text)) => text.parse().ok(),
            Some(Token::Hex(value)) => Some(*value),
            _ => None,
        };
        let value = value.ok_or_else(|| self.error("expected a number"))?;
        self.at += 1;
        Ok(value)
    }

    pub(super) fn number<T: TryFrom<i64>>(&mut self) -> Result<T, Error> {
        let error = self.error("expected a number in range");
        T::try_from(self.integer()?).map_err(|_| error)
    }

    // ---- the script

    fn header(&mut self, script: &mut Script) -> Result<(), Error> {
        loop {
            match self.peek().cloned() {
                Some(Token::Pragma(name, _)) if name == "packet" => return Ok(()),
                Some(Token::Pragma(name, value)) => {
                    script.pragmas.push(Pragma { line: self.line(), name, value });
                    self.at += 1;
                }
                Some(Token::Option(name)) => {
                    self.at += 1;
                    let value = if self.accept('=') { Some(self.option_value(&name)?) } else { None };
                    script.options.push((name, value));
                }
                Some(Token::Command(command)) if script.init.is_none() => {
                    script.init = Some(command);
                    self.at += 1;
                }
                _ => return Ok(()),
            }
        }
    }

    fn option_value(&mut self, option: &str) -> Result<String, Error> {
        let line = self.line();
        let mut text = String::new();
        // Addresses and prefix lengths come in several tokens; the value ends with the line.
        while self.line() == line {
            let token = match self.peek() {
                Some(Token::Option(_)) | None => break,
                Some(token) => token.clone(),
            };
            if option == "define" && text.ends_with('=') {
                self.defines.insert(text.trim_end_matches('=').to_owned(), token.clone());
            }
            self.at += 1;
            match token {
                Token::Int(part) | Token::Float(part) | Token::Word(part) | Token::Command(part) => {
                    text += &part;
                }
                Token::Hex(value) => text += &format!("{value:#x}"),
                Token::Str(bytes) => text += &String::from_utf8_lossy(&bytes),
                Token::Punct(char) => text.push(char),
                other => return Err(Error::new(line, format!("{other:?} in an option"))),
            }
        }
        Ok(text)
    }

    fn events(&mut self, script: &mut Script) -> Result<(), Error> {
        let mut pragmas = Vec::new();
        while let Some(token) = self.peek().cloned() {
            match token {
                Token::Pragma(name, value) => {
                    let pragma = Pragma { line: self.line(), name, value };
                    if pragma.name == "packet" {
                        pragmas.push(pragma)
                    } else {
                        script.pragmas.push(pragma)
                    }
                    self.at += 1;
                }
                // The clean-up command at the end has no time.
                Token::Command(_) => self.at += 1,
                _ => {
                    let mut event = self.event()?;
                    event.pragmas = std::mem::take(&mut pragmas);
                    script.events.push(event);
                }
            }
        }
        Ok(())
    }

    fn event(&mut self) -> Result<Event, Error> {
        let line = self.line();
        let time = self.event_time()?;
        let action = match self.peek() {
            Some(Token::Command(command)) => {
                let command = command.clone();
                self.at += 1;
                Action::Command(command)
            }
            Some(Token::Code(code)) => {
                let code = code.clone();
                self.at += 1;
                Action::Code(code)
            }
            Some(Token::Punct('<' | '>')) => Action::Packet(Box::new(self.packet()?)),
            Some(Token::Word(_) | Token::Ellipsis) => Action::Call(self.call()?),
            _ => return Err(self.error("expected a packet, a call, a command or code")),
        };
        let out = matches!(&action, Action::Packet(spec) if spec.direction == super::ast::Direction::Out);
        if !out && !matches!(time, EventTime::At(_) | EventTime::After(_)) {
            return Err(Error::new(line, "only packets that are sent can have '*' or a range of time"));
        }
        Ok(Event { line, time, action, pragmas: Vec::new() })
    }

    fn event_time(&mut self) -> Result<EventTime, Error> {
        if self.accept('*') {
            return Ok(EventTime::Any);
        }
        let relative = self.accept('+');
        let from = self.time()?;
        let to = if self.accept('~') {
            if relative {
                self.expect('+')?;
            }
            Some(self.time()?)
        } else {
            None
        };
        match (relative, to) {
            (_, Some(to)) if to < from => Err(self.error("the range of time is backwards")),
            (true, Some(to)) => Ok(EventTime::AfterBetween(from, to)),
            (false, Some(to)) => Ok(EventTime::Between(from, to)),
            (true, None) => Ok(EventTime::After(from)),
            (false, None) => Ok(EventTime::At(from)),
        }
    }

    /// Seconds, as microseconds.
    fn time(&mut self) -> Result<u64, Error> {
        let text = match self.peek() {
            Some(Token::Float(text) | Token::Int(text)) => text.clone(),
            _ => return Err(self.error("expected a time")),
        };
        let error = self.error("expected a time that is not negative");
        self.at += 1;
        seconds(&text).ok_or(error)
    }

    fn call(&mut self) -> Result<Call, Error> {
        let end = if self.peek() == Some(&Token::Ellipsis) {
            self.at += 1;
            Some(self.time()?)
        } else {
            None
        };
        let name = self.word()?;
        self.expect('(')?;
        let args = self.expressions(')')?;
        self.expect('=')?;
        let result = self.expression()?;
        let errno = match self.peek() {
            Some(Token::Word(word)) if word.starts_with('E') => Some(word.clone()),
            _ => None,
        };
        self.at += usize::from(errno.is_some());
        self.note();
        Ok(Call { end, name, args, result, errno })
    }

    /// `(Operation now in progress)`: words that tell the reader.
    fn note(&mut self) {
        if !self.is('(') {
            return;
        }
        while let Some(token) = self.next() {
            if token == Token::Punct(')') {
                return;
            }
        }
    }

    // ---- expressions

    /// Up to and with the closing bracket.
    fn expressions(&mut self, close: char) -> Result<Vec<Expr>, Error> {
        let mut list = Vec::new();
        while !self.accept(close) {
            list.push(self.expression()?);
            if !self.is(close) {
                self.expect(',')?;
            }
        }
        Ok(list)
    }

    fn expression(&mut self) -> Result<Expr, Error> {
        let first = self.operand()?;
        if self.accept('|') {
            let second = self.expression()?;
            return Ok(Expr::Or(Box::new(first), Box::new(second)));
        }
        Ok(first)
    }

    fn operand(&mut self) -> Result<Expr, Error> {
        match self.peek().cloned() {
            Some(Token::Ellipsis) => {
                self.at += 1;
                Ok(Expr::Ellipsis)
            }
            Some(Token::Int(_) | Token::Hex(_)) => Ok(Expr::Int(self.integer()?)),
            Some(Token::Float(text)) => {
                self.at += 1;
                Ok(Expr::Float(text.parse().map_err(|_| self.error("expected a number"))?))
            }
            Some(Token::Str(mut bytes)) => {
                self.at += 1;
                while let Some(Token::Str(more)) = self.peek() {
                    bytes.extend_from_slice(&more.clone());
                    self.at += 1;
                }
                if self.peek() == Some(&Token::Ellipsis) {
                    self.at += 1;
                }
                Ok(Expr::Str(bytes))
            }
            Some(Token::Punct('[')) => {
                self.at += 1;
                Ok(Expr::List(self.expressions(']')?))
            }
            Some(Token::Punct('{')) => {
                self.at += 1;
                Ok(Expr::Struct(self.expressions('}')?))
            }
            Some(Token::Word(word)) => {
                self.at += 1;
                self.word_expression(word)
            }
            _ => Err(self.error("expected an argument")),
        }
    }

    fn word_expression(&mut self, word: String) -> Result<Expr, Error> {
        let mut name = word.clone();
        let mut expr = Expr::Word(word.clone());
        if self.accept('(') {
            expr = Expr::Apply(word, self.expressions(')')?);
            // `msg_iov(2)=[...]`: the field counts, not how many there are.
            if let Expr::Apply(function, _) = &expr {
                name.clone_from(function);
            }
        }
        if self.accept('=') {
            expr = Expr::Field(name, Box::new(self.expression()?));
        }
        Ok(expr)
    }
}

/// Decimal seconds to microseconds, exactly.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: String = fraction.chars().chain("000000".chars()).take(6).collect();
    whole.checked_mul(1_000_000)?.checked_add(fraction.parse().ok()?)
}
