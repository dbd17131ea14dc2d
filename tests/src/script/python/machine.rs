//! A statement is carried out while it is read: each level of precedence is a function, the weakest first.

use std::collections::HashMap;

use super::tokens::{Token, tokens};
use super::value::{Value, function};
use super::{Result, Trouble, bad};

/// Runs one statement.
pub(super) fn run(
    statement: &str,
    names: &mut HashMap<String, Value>,
    lookup: &dyn Fn(&str) -> Option<Value>,
) -> Result<()> {
    Machine { tokens: tokens(statement)?, at: 0, names, lookup }.statement(statement)
}

struct Machine<'m> {
    tokens: Vec<Token>,
    at: usize,
    names: &'m mut HashMap<String, Value>,
    lookup: &'m dyn Fn(&str) -> Option<Value>,
}

impl Machine<'_> {
    fn accept(&mut self, sign: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Sign(is)) if *is == sign);
        self.at += usize::from(found);
        found
    }

    fn accept_name(&mut self, name: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Name(is)) if is == name);
        self.at += usize::from(found);
        found
    }

    fn statement(&mut self, text: &str) -> Result<()> {
        if self.accept_name("assert") {
            let holds = self.expression()?;
            let message = if self.accept(",") { Some(self.expression()?.show()) } else { None };
            self.end()?;
            return if holds.is_true() { Ok(()) } else { Err(Trouble::False(text.to_owned(), message)) };
        }
        if self.accept_name("print") {
            while self.at < self.tokens.len() {
                self.expression()?;
                self.accept(",");
            }
            return Ok(());
        }
        if self.accept_name("import") || self.accept_name("pass") {
            return Ok(());
        }
        for word in ["if", "for", "while", "def", "class", "from", "with", "try", "else", "elif"] {
            if self.accept_name(word) {
                return Err(Trouble::Unknown(format!("Python's '{word}'")));
            }
        }
        if let (Some(Token::Name(name)), Some(Token::Sign("="))) =
            (self.tokens.first().cloned(), self.tokens.get(1))
        {
            self.at = 2;
            let value = self.expression()?;
            self.names.insert(name, value);
        } else {
            self.expression()?;
        }
        self.end()
    }

    fn end(&self) -> Result<()> {
        match self.tokens.get(self.at) {
            None => Ok(()),
            Some(token) => Err(Trouble::Unknown(format!("Python's {token:?} here"))),
        }
    }

    /// `or`, the weakest.
    fn expression(&mut self) -> Result<Value> {
        let mut value = self.conjunction()?;
        while self.accept_name("or") {
            let right = self.conjunction()?;
            value = if value.is_true() { value } else { right };
        }
        Ok(value)
    }

    fn conjunction(&mut self) -> Result<Value> {
        let mut value = self.negation()?;
        while self.accept_name("and") {
            let right = self.negation()?;
            value = if value.is_true() { right } else { value };
        }
        Ok(value)
    }

    fn negation(&mut self) -> Result<Value> {
        if self.accept_name("not") {
            return Ok(Value::of(!self.negation()?.is_true()));
        }
        self.comparison()
    }

    /// `a <= b < c` compares each with its neighbour.
    fn comparison(&mut self) -> Result<Value> {
        let mut left = self.binary(0)?;
        let mut result = None;
        'signs: loop {
            for sign in ["==", "!=", "<=", ">=", "<", ">"] {
                if self.accept(sign) {
                    let right = self.binary(0)?;
                    let holds = left.compare(sign, &right)?;
                    result = Some(result.unwrap_or(true) && holds);
                    left = right;
                    continue 'signs;
                }
            }
            return Ok(result.map_or(left, Value::of));
        }
    }

    fn binary(&mut self, level: usize) -> Result<Value> {
        const LEVELS: [&[&str]; 6] =
            [&["|"], &["^"], &["&"], &["<<", ">>"], &["+", "-"], &["*", "//", "/", "%"]];
        let Some(signs) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        'signs: loop {
            for sign in *signs {
                if self.accept(sign) {
                    let right = self.binary(level + 1)?;
                    left = left.apply(sign, &right)?;
                    continue 'signs;
                }
            }
            return Ok(left);
        }
    }

    fn unary(&mut self) -> Result<Value> {
        if self.accept("-") {
            return Value::Int(0).apply("-", &self.unary()?);
        }
        if self.accept("+") {
            return self.unary();
        }
        let base = self.atom()?;
        if self.accept("**") {
            let exponent = self.unary()?;
            return base.apply("**", &exponent);
        }
        Ok(base)
    }

    fn atom(&mut self) -> Result<Value> {
        let token = self.tokens.get(self.at).cloned().ok_or_else(|| bad("the code ends too early"))?;
        self.at += 1;
        match token {
            Token::Number(value) => Ok(value),
            Token::Text(text) => Ok(Value::Str(text)),
            Token::Sign("(") => {
                let value = self.expression()?;
                // A tuple is only ever a text's operand.
                while self.accept(",") {
                    self.expression()?;
                }
                if self.accept(")") { Ok(value) } else { Err(bad("expected ')'")) }
            }
            Token::Name(name) if self.accept("(") => {
                let mut args = Vec::new();
                while !self.accept(")") {
                    args.push(self.expression()?);
                    if !self.accept(",") && self.tokens.get(self.at) != Some(&Token::Sign(")")) {
                        return Err(bad("expected ')'"));
                    }
                }
                function(&name, &args)
            }
            Token::Name(name) => match name.as_str() {
                "True" => Ok(Value::Int(1)),
                "False" => Ok(Value::Int(0)),
                "None" => Ok(Value::None),
                _ => (self.names.get(&name).cloned())
                    .or_else(|| (self.lookup)(&name))
                    .ok_or(Trouble::Unknown(name)),
            },
            Token::Sign(sign) => Err(bad(&format!("'{sign}' at a wrong place"))),
        }
    }
}
