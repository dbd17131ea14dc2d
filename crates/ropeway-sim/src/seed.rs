//! Where all chance of a simulation comes from.

use std::hash::Hasher;

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use siphasher::sip::SipHasher24;

/// The variable that replays a run.
pub(crate) const VARIABLE: &str = "ROPEWAY_SEED";

/// What a run uses that is told no seed.
const DEFAULT: u64 = 1;

/// The seed of a simulation. Each use of chance draws from a stream of its own, which has a name: so a new use
/// does not shift what the others draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(u64);

impl Seed {
    /// `ROPEWAY_SEED`, or else what the program says, or else a fixed one.
    ///
    /// # Panics
    ///
    /// If the variable holds something else than a number.
    pub(crate) fn choose(explicit: Option<u64>) -> Self {
        #[expect(clippy::panic, reason = "a replay that replays something else would mislead")]
        let replayed = std::env::var(VARIABLE).ok().map(|text| {
            parse(&text).unwrap_or_else(|| panic!("{VARIABLE}={text}: expected a number, such as 42 or 0x2a"))
        });
        Self(replayed.or(explicit).unwrap_or(DEFAULT))
    }

    /// A seed of this number.
    pub(crate) fn of(number: u64) -> Self {
        Self(number)
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// 32 bytes for what is called `name`.
    pub(crate) fn derive(self, name: &str) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (part, number) in bytes.chunks_exact_mut(8).zip(0_u64..) {
            let mut hasher = SipHasher24::new_with_keys(self.0, number);
            hasher.write(name.as_bytes());
            part.copy_from_slice(&hasher.finish().to_le_bytes());
        }
        bytes
    }

    /// The stream of random numbers for what is called `name`.
    pub(crate) fn stream(self, name: &str) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::from_seed(self.derive(name))
    }
}

fn parse(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_streams_of_their_own() {
        let seed = Seed(7);
        assert_eq!(seed.derive("a"), seed.derive("a"));
        assert_ne!(seed.derive("a"), seed.derive("b"));
        assert_ne!(seed.derive("a"), Seed(8).derive("a"));
        let bytes = seed.derive("a");
        assert_ne!(bytes[..8], bytes[8..16]);
    }

    #[test]
    fn numbers_are_read_as_they_are_printed() {
        assert_eq!(parse("42"), Some(42));
        assert_eq!(parse("0x2a"), Some(42));
        assert_eq!(parse("forty-two"), None);
    }
}
