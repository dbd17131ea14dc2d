//! Chance, with a stream of its own for each kind of trouble.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, RngExt};

use crate::seed::Seed;

/// The dice of one direction of a link.
#[derive(Debug)]
pub(super) struct Dice {
    pub(super) loss: Die,
    pub(super) jitter: Die,
    pub(super) reorder: Die,
    pub(super) duplicate: Die,
    pub(super) corrupt: Die,
}

impl Dice {
    pub(super) fn new(seed: Seed, name: &str) -> Self {
        let key = u64::from_le_bytes(std::array::from_fn(|at| {
            seed.derive(name).get(at).copied().unwrap_or_default()
        }));
        let die = |kind: &'static str| Die { seed: Seed::of(key), kind, stream: None };
        Self {
            loss: die("loss"),
            jitter: die("jitter"),
            reorder: die("reorder"),
            duplicate: die("duplicate"),
            corrupt: die("corrupt"),
        }
    }
}

/// One stream, which costs memory only when it is used.
#[derive(Debug)]
pub(super) struct Die {
    seed: Seed,
    kind: &'static str,
    stream: Option<Box<Xoshiro256PlusPlus>>,
}

impl Die {
    fn stream(&mut self) -> &mut impl Rng {
        self.stream.get_or_insert_with(|| Box::new(self.seed.stream(self.kind)))
    }

    /// Whether something of this probability happens. What never happens draws nothing.
    pub(super) fn hits(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.stream().random::<f64>() < probability
    }

    /// From 0 to `most`.
    pub(super) fn up_to(&mut self, most: u64) -> u64 {
        self.stream().random_range(0..=most)
    }

    /// From 0 to less than `end`, or 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { self.stream().random_range(0..end) }
    }
}
