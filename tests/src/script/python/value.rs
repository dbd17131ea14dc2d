//! Values, and what operators and built-in functions make of them.

use super::{Result, Trouble, bad};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::script) enum Value {
    Int(i64),
    Float(f64),
    Str(String),
    None,
}

impl Value {
    pub(super) fn of(holds: bool) -> Self {
        Self::Int(i64::from(holds))
    }

    pub(in crate::script) fn show(&self) -> String {
        match self {
            Self::Int(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Str(text) => text.clone(),
            Self::None => "None".into(),
        }
    }

    pub(super) fn is_true(&self) -> bool {
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

    pub(super) fn compare(&self, sign: &str, other: &Self) -> Result<bool> {
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

    pub(super) fn apply(&self, sign: &str, other: &Self) -> Result<Self> {
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

/// Calls a built-in function.
pub(super) fn function(name: &str, args: &[Value]) -> Result<Value> {
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
