//! Where the counter of task ids stands.

use std::cell::RefCell;
use std::hash::{Hash, Hasher};

use tokio::task::{Id, LocalSet};

/// Marks before their tasks, which never run, are thrown away.
const BATCH: u32 = 256;

thread_local! {
    /// Where the tasks are that were spawned for their ids alone: not on the runtime, whose order they must not
    /// disturb.
    static MARKS: RefCell<(LocalSet, u32)> = RefCell::new((LocalSet::new(), 0));
}

/// A number that no task has: all ids before it are smaller, and all later ones greater.
pub(super) fn mark() -> u64 {
    MARKS.with_borrow_mut(|(set, count)| {
        *count += 1;
        if *count == BATCH {
            (*set, *count) = (LocalSet::new(), 0);
        }
        number(set.spawn_local(async {}).id())
    })
}

/// The number that an id is: what it gives to be hashed.
pub(super) fn number(id: Id) -> u64 {
    let mut number = Number(0);
    id.hash(&mut number);
    number.0
}

struct Number(u64);

impl Hasher for Number {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_the_numbers_that_ids_are_shown_as() {
        let set = LocalSet::new();
        let before = mark();
        let id = set.spawn_local(async {}).id();
        assert_eq!(number(id).to_string(), id.to_string());
        assert!(before < number(id));
        for _ in 0..1000 {
            let last = mark();
            assert!(last < mark());
        }
        assert!(number(id) < mark());
    }
}
