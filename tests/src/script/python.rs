//! The part of Python that scripts use to look at `TCP_INFO`: assertions, assignments, comparisons, arithmetic.

use std::collections::HashMap;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Int(i64),
    Float(f64),
    Str(String),
    None,
}

/// Why code could not be run to its end.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Trouble {
    /// An assertion does not hold: its text, and the message behind the comma.
    False(String, Option<String>),
    /// A part of the language, or a name, that we do not have.
    Unknown(String),
    /// The code is wrong.
    Bad(String),
}

type Result<T> = std::result::Result<T, Trouble>;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(Value),
    Text(String),
    Name(String),
    Sign(&'static str),
}

const SIGNS: [&str; 22] = [
    "**", "==", "!=", "<=", ">=", "//", "<<", ">>", "<", ">", "=", "+", "-", "*", "/", "%", "(", ")", ",",
    "&", "|", "^",
];

/// Runs the code. `lookup` gives the names that the code does not define itself.
pub(super) fn run(
    code: &str,
    names: &mut HashMap<String, Value>,
    lookup: &dyn Fn(&str) -> Option<Value>,
) -> Result<()> {
    for statement in statements(code) {
        Machine { tokens: tokens(&statement)?, at: 0, names, lookup }.statement(&statement)?;
    }
    Ok(())
}

/// Lines and what semicolons part, without comments; brackets and backslashes continue a line.
fn statements(code: &str) -> Vec<String> {
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

fn tokens(text: &str) -> Result<Vec<Token>> {
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

fn bad(what: &str) -> Trouble {
    Trouble::Bad(what.to_owned())
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

fn function(name: &str, args: &[Value]) -> Result<Value> {
    let pick = |take: fn(f64, f64) -> bool| {
        let mut best = args.first().cloned().unwrap_or(Value::None);
        for value in args {
            if take(value.float()?, best.float()?) {
                best = value.clone();
            }
        }
        Ok(best)
    };
    match (name, args) {
        ("abs", [Value::Int(value)]) => Ok(Value::Int(value.abs())),
        ("abs", [value]) => Ok(Value::Float(value.float()?.abs())),
        #[allow(clippy::cast_possible_truncation)]
        ("int" | "round", [value]) => Ok(Value::Int(value.float()? as i64)),
        ("float", [value]) => Ok(Value::Float(value.float()?)),
        ("str", [value]) => Ok(Value::Str(value.show())),
        ("min", _) => pick(|a, b| a < b),
        ("max", _) => pick(|a, b| a > b),
        _ => Err(Trouble::Unknown(format!("Python's {name}()"))),
    }
}

impl Value {
    fn of(holds: bool) -> Self {
        Self::Int(i64::from(holds))
    }

    pub(super) fn show(&self) -> String {
        match self {
            Self::Int(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Str(text) => text.clone(),
            Self::None => "None".into(),
        }
    }

    fn is_true(&self) -> bool {
        match self {
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::None => false,
        }
    }

    #[allow(clippy::cast_precision_loss)]
    fn float(&self) -> Result<f64> {
        match self {
            Self::Int(value) => Ok(*value as f64),
            Self::Float(value) => Ok(*value),
            other => Err(bad(&format!("'{}' is no number", other.show()))),
        }
    }

    fn compare(&self, sign: &str, other: &Self) -> Result<bool> {
        if let (Self::Str(_) | Self::None, _) | (_, Self::Str(_) | Self::None) = (self, other) {
            return match sign {
                "==" => Ok(self == other),
                "!=" => Ok(self != other),
                _ => Err(bad("texts have no order here")),
            };
        }
        let (a, b) = (self.float()?, other.float()?);
        Ok(match sign {
            "==" => a == b,
            "!=" => a != b,
            "<=" => a <= b,
            ">=" => a >= b,
            "<" => a < b,
            _ => a > b,
        })
    }

    fn apply(&self, sign: &str, other: &Self) -> Result<Self> {
        if let Self::Str(text) = self {
            // A format; what it says is for the reader.
            return Ok(Self::Str(format!("{text} {}", other.show())));
        }
        let out_of_range = || bad(&format!("{} {sign} {}", self.show(), other.show()));
        if let (Self::Int(a), Self::Int(b)) = (self, other)
            && sign != "/"
        {
            let (a, b) = (*a, *b);
            let bits = u32::try_from(b);
            return match sign {
                "+" => a.checked_add(b),
                "-" => a.checked_sub(b),
                "*" => a.checked_mul(b),
                "//" => a.checked_div_euclid(b),
                "%" => a.checked_rem_euclid(b),
                "&" => Some(a & b),
                "|" => Some(a | b),
                "^" => Some(a ^ b),
                "<<" => bits.ok().and_then(|bits| a.checked_shl(bits)),
                ">>" => bits.ok().and_then(|bits| a.checked_shr(bits)),
                _ => bits.ok().and_then(|bits| a.checked_pow(bits)),
            }
            .map(Self::Int)
            .ok_or_else(out_of_range);
        }
        let (a, b) = (self.float()?, other.float()?);
        Ok(Self::Float(match sign {
            "+" => a + b,
            "-" => a - b,
            "*" => a * b,
            "/" => a / b,
            "//" => (a / b).floor(),
            "%" => a.rem_euclid(b),
            "**" => a.powf(b),
            _ => return Err(out_of_range()),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: &str) -> Result<()> {
        let lookup = |name: &str| (name == "tcpi_rto").then_some(Value::Int(200_000));
        run(code, &mut HashMap::new(), &lookup)
    }

    #[test]
    fn what_holds_and_what_does_not() {
        for code in [
            "assert tcpi_rto == 200000, tcpi_rto",
            "assert 1 < 2 <= 2 and not (3 == 4 or 0)",
            "a = 5\nassert a // 2 == 2; assert a % 3 == 2 # and a comment",
            "assert (tcpi_rto >=\n 0), 'rto=%d' % tcpi_rto",
            "assert 7 & 3 == 3 and 1 << 4 == 16 and 3 / 2 == 1.5 and -2 ** 2 == -4 and max(1, 3) == 3",
        ] {
            assert_eq!(check(code), Ok(()), "{code}");
        }
        assert_eq!(
            check("assert tcpi_rto < 5, tcpi_rto"),
            Err(Trouble::False("assert tcpi_rto < 5, tcpi_rto".into(), Some("200000".into())))
        );
        assert_eq!(check("assert 1 < 3 < 2"), Err(Trouble::False("assert 1 < 3 < 2".into(), None)));
        assert_eq!(check("assert tcpi_nothing == 0"), Err(Trouble::Unknown("tcpi_nothing".into())));
        assert!(matches!(check("assert 1 +"), Err(Trouble::Bad(_))));
    }
}
