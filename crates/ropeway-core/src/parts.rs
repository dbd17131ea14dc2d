//! A hash table that grows and shrinks a little at a time.
//!
//! A single table of a million entries is rehashed in one call when it grows: a fifth of a second in which no
//! packet is looked at. This one is many small tables, and linear hashing: when they are too full on average,
//! one of them is split in two; when they are too empty, the last is merged with the one it came from.

use hashbrown::HashTable;
use ropeway_packet::FourTuple;
use siphasher::sip::SipHasher13;

use crate::pages::Pages;
use crate::tcp::isn::with_packed;

/// How many entries a part has on average before another is made. One that is due to be split has twice as
/// many, which fits in 512 buckets, and each of its halves in 256.
const AVERAGE: usize = 210;

/// The last part is merged when fewer than one in so many of the average are left.
const SPARSE: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct Parts<T> {
    /// There is always this one.
    first: HashTable<T>,
    /// All others, from number 0 on.
    more: Pages<HashTable<T>>,
    len: usize,
}

/// Which of `count` parts a hash belongs to. The tables themselves use its lowest and its highest bits.
fn part_of(hash: u64, count: usize) -> usize {
    let bits = (hash >> 24) as usize;
    let mask = count.next_power_of_two() - 1;
    let part = bits & mask;
    if part < count { part } else { part & (mask >> 1) }
}

/// The part that the last of `count` parts was split from.
fn parent_of_last(count: usize) -> usize {
    (count - 1) & (count.next_power_of_two() / 2 - 1)
}

impl<T> Parts<T> {
    pub(crate) fn new() -> Self {
        Self { first: HashTable::new(), more: Pages::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn count(&self) -> usize {
        1 + self.more.len()
    }

    fn part(&self, number: usize) -> Option<&HashTable<T>> {
        match number.checked_sub(1) {
            None => Some(&self.first),
            Some(number) => self.more.get(u32::try_from(number).ok()?),
        }
    }

    fn part_mut(&mut self, number: usize) -> Option<&mut HashTable<T>> {
        match number.checked_sub(1) {
            None => Some(&mut self.first),
            Some(number) => self.more.get_mut(u32::try_from(number).ok()?),
        }
    }

    pub(crate) fn find(&self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&T> {
        self.part(part_of(hash, self.count()))?.find(hash, is_it)
    }

    /// Enters a value that is not in the table.
    pub(crate) fn insert(&mut self, hash: u64, value: T, hash_of: impl Fn(&T) -> u64) {
        if self.len >= self.count() * AVERAGE {
            self.split(&hash_of);
        }
        let part = part_of(hash, self.count());
        if let Some(part) = self.part_mut(part) {
            part.insert_unique(hash, value, hash_of);
            self.len += 1;
        }
    }

    pub(crate) fn find_mut(&mut self, hash: u64, is_it: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let part = part_of(hash, self.count());
        self.part_mut(part)?.find_mut(hash, is_it)
    }

    pub(crate) fn remove(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&T) -> bool,
        hash_of: impl Fn(&T) -> u64,
    ) -> Option<T> {
        self.remove_if(hash, is_it, |_| true, hash_of)
    }

    /// Removes a value if it `goes`.
    fn remove_if(
        &mut self,
        hash: u64,
        is_it: impl FnMut(&T) -> bool,
        goes: impl FnOnce(&mut T) -> bool,
        hash_of: impl Fn(&T) -> u64,
    ) -> Option<T> {
        let part = part_of(hash, self.count());
        let mut found = self.part_mut(part)?.find_entry(hash, is_it).ok()?;
        if !goes(found.get_mut()) {
            return None;
        }
        let (value, _) = found.remove();
        self.len -= 1;
        if self.count() > 1 && self.len * SPARSE < self.count() * AVERAGE {
            self.merge(&hash_of);
        }
        Some(value)
    }

    fn split(&mut self, hash_of: impl Fn(&T) -> u64) {
        let count = self.count() + 1;
        let Some(parent) = self.part_mut(parent_of_last(count)) else { return };
        let mut child = HashTable::with_capacity(parent.len() / 2);
        for value in parent.extract_if(|value| part_of(hash_of(value), count) == count - 1) {
            child.insert_unique(hash_of(&value), value, &hash_of);
        }
        parent.shrink_to_fit(&hash_of);
        self.more.insert_with(|_| child);
    }

    fn merge(&mut self, hash_of: impl Fn(&T) -> u64) {
        let count = self.count();
        let Some(child) = u32::try_from(count - 2).ok().and_then(|last| self.more.take(last)) else { return };
        if let Some(parent) = self.part_mut(parent_of_last(count)) {
            for value in child {
                parent.insert_unique(hash_of(&value), value, &hash_of);
            }
        }
    }
}

/// A map made of such parts, keyed so that nobody can choose keys that collide.
#[derive(Clone)]
pub(crate) struct PartsMap<K, V> {
    secret: [u8; 16],
    parts: Parts<(K, V)>,
    /// The last key that was entered, changed or removed, and its hash: the next is the same, as a rule.
    last: Option<(K, u64)>,
}

impl<K, V> std::fmt::Debug for PartsMap<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PartsMap").field("len", &self.parts.len).finish_non_exhaustive()
    }
}

/// What a map can be keyed with. Hashed in one piece, a key costs half of what it does bit by bit.
pub(crate) trait Keyed: Eq {
    fn hash(&self, hasher: &SipHasher13) -> u64;
}

impl Keyed for u64 {
    fn hash(&self, hasher: &SipHasher13) -> u64 {
        hasher.hash(&self.to_ne_bytes())
    }
}

impl Keyed for FourTuple {
    fn hash(&self, hasher: &SipHasher13) -> u64 {
        with_packed(self, |packed| hasher.hash(packed))
    }
}

fn keyed_hash(secret: &[u8; 16], key: &impl Keyed) -> u64 {
    key.hash(&SipHasher13::new_with_key(secret))
}

impl<K: Keyed + Copy, V> PartsMap<K, V> {
    pub(crate) fn new(secret: [u8; 16]) -> Self {
        Self { secret, parts: Parts::new(), last: None }
    }

    fn hash(&self, key: &K) -> u64 {
        match &self.last {
            Some((last, hash)) if last == key => *hash,
            _ => keyed_hash(&self.secret, key),
        }
    }

    fn remember_hash(&mut self, key: &K) -> u64 {
        let hash = self.hash(key);
        self.last = Some((*key, hash));
        hash
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.len() == 0
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.parts.len()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let hash = self.hash(key);
        self.parts.find(hash, |(known, _)| known == key).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let hash = self.remember_hash(key);
        self.parts.find_mut(hash, |(known, _)| known == key).map(|(_, value)| value)
    }

    /// Enters a key that is not in the map.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        let secret = self.secret;
        let hash = self.remember_hash(&key);
        self.parts.insert(hash, (key, value), |(key, _)| keyed_hash(&secret, key));
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.remove_if(key, |_| true)
    }

    /// Changes the value of a key, if it has one, and removes it if it `goes` then.
    pub(crate) fn remove_if(&mut self, key: &K, goes: impl FnOnce(&mut V) -> bool) -> Option<V> {
        let secret = self.secret;
        let (hash, is_it) = (self.remember_hash(key), |(known, _): &(K, V)| known == key);
        let hash_of = |(key, _): &(K, V)| keyed_hash(&secret, key);
        self.parts.remove_if(hash, is_it, |(_, value)| goes(value), hash_of).map(|(_, value)| value)
    }
}

impl<K: Keyed + Copy, V: Default> PartsMap<K, V> {
    /// Changes the value of a key: the default one if it has none.
    pub(crate) fn change<R>(&mut self, key: &K, change: impl FnOnce(&mut V) -> R) -> R {
        let secret = self.secret;
        let hash = self.remember_hash(key);
        if let Some((_, value)) = self.parts.find_mut(hash, |(known, _)| known == key) {
            return change(value);
        }
        let mut value = V::default();
        let result = change(&mut value);
        self.parts.insert(hash, (*key, value), |(key, _)| keyed_hash(&secret, key));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Keyed for u32 {
        fn hash(&self, hasher: &SipHasher13) -> u64 {
            hasher.hash(&self.to_ne_bytes())
        }
    }

    /// A hash with all its bits at work (the finaliser of SplitMix64).
    fn hash(value: &u32) -> u64 {
        let mut z = u64::from(*value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn holds(parts: &Parts<u32>, value: u32) -> bool {
        parts.find(hash(&value), |other| *other == value).is_some()
    }

    #[test]
    fn each_part_splits_from_one_that_exists_and_takes_only_from_it() {
        for count in 2..300 {
            let (parent, child) = (parent_of_last(count), count - 1);
            assert!(parent < child);
            for n in 0..2000 {
                let (before, after) = (part_of(hash(&n), count - 1), part_of(hash(&n), count));
                assert!(
                    after == before || (before, after) == (parent, child),
                    "{count}: {before} to {after}"
                );
            }
        }
    }

    #[test]
    fn what_went_in_is_found_until_it_is_removed_whatever_was_split_and_merged() {
        let mut parts = Parts::new();
        for n in 0..100_000 {
            parts.insert(hash(&n), n, hash);
        }
        assert_eq!((parts.len(), parts.count()), (100_000, 100_000_usize.div_ceil(AVERAGE)));
        assert!((0..100_000).all(|n| holds(&parts, n)));
        for n in (0..100_000).filter(|n| n % 100 != 0) {
            parts.remove(hash(&n), |other| *other == n, hash);
            assert!(!holds(&parts, n));
        }
        assert!((0..100_000).step_by(100).all(|n| holds(&parts, n)));
        assert!(parts.count() <= 1000 * SPARSE / AVERAGE + 1, "{}", parts.count());
        for n in (0..100_000).step_by(100) {
            parts.remove(hash(&n), |other| *other == n, hash);
        }
        assert_eq!((parts.len(), parts.count()), (0, 1));
    }

    #[test]
    fn no_call_hashes_more_than_a_few_hundred_entries_again() {
        let mut parts = Parts::new();
        let hashed = std::cell::Cell::new(0);
        let counted = |value: &u32| {
            hashed.set(hashed.get() + 1);
            hash(value)
        };
        let mut most = 0;
        for n in 0..200_000 {
            hashed.set(0);
            parts.insert(hash(&n), n, counted);
            most = most.max(hashed.get());
        }
        for n in 0..200_000 {
            hashed.set(0);
            parts.remove(hash(&n), |other| *other == n, counted);
            most = most.max(hashed.get());
        }
        assert!(most < 2000, "{most}");
    }

    #[test]
    fn the_hash_depends_on_key_and_secret_and_the_secret_is_not_shown() {
        let hashes: std::collections::HashSet<_> =
            (0..100u8).map(|n| keyed_hash(&[n; 16], &u64::from(n / 2))).collect();
        assert_eq!(hashes.len(), 100);
        let hashes: std::collections::HashSet<_> = (0..100u64).map(|n| keyed_hash(&[1; 16], &n)).collect();
        assert_eq!(hashes.len(), 100);
        let mut map = PartsMap::new([173; 16]);
        map.insert(1u32, 2u32);
        assert_eq!(format!("{map:?}"), "PartsMap { len: 1, .. }");
    }

    #[test]
    fn a_map_gives_back_what_was_put_in_until_it_is_removed() {
        let mut map: PartsMap<u32, u32> = PartsMap::new([9; 16]);
        for n in 0..10_000 {
            map.change(&(n / 2), |count| *count += n % 2 + 1);
        }
        assert_eq!((map.len(), map.get(&7), map.get(&5000)), (5000, Some(&3), None));
        for n in 0..5000 {
            let halved = |value: &mut u32| {
                *value /= 2;
                *value == 0
            };
            assert_eq!((map.remove_if(&n, halved), map.get(&n)), (None, Some(&1)));
            assert_eq!((map.remove_if(&n, halved), map.remove(&n)), (Some(0), None));
        }
        assert_eq!((map.len(), map.parts.count()), (0, 1));
    }
}
