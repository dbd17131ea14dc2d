//! The part of Python that scripts use to look at `TCP_INFO`: assertions, assignments, comparisons, arithmetic.

mod machine;
mod tokens;
mod value;

use std::collections::HashMap;

pub(super) use self::value::Value;

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

/// Runs the code. `lookup` gives the names that the code does not define itself.
pub(super) fn run(
    code: &str,
    names: &mut HashMap<String, Value>,
    lookup: &dyn Fn(&str) -> Option<Value>,
) -> Result<()> {
    for statement in tokens::statements(code) {
        machine::run(&statement, names, lookup)?;
    }
    Ok(())
}

fn bad(what: &str) -> Trouble {
    Trouble::Bad(what.to_owned())
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
