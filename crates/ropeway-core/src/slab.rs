//! Slots in pages whose keys carry a generation, so that a stale key finds nothing.

use crate::pages::Pages;

/// A key into a [`Slab`]: slot and generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    generation: u32,
    value: T,
}

#[derive(Clone, Debug)]
pub(crate) struct Slab<T> {
    slots: Pages<Slot<T>>,
    /// The generation of what comes next. It counts all that ever came, since a slot's page may be gone meanwhile.
    generation: u32,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Pages::new(), generation: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Stores what `make` makes of its key; `None` if there are no more keys.
    pub(crate) fn insert_with(&mut self, make: impl FnOnce(Key) -> T) -> Option<Key> {
        let generation = self.generation;
        let index =
            self.slots.insert_with(|index| Slot { generation, value: make(Key { index, generation }) })?;
        self.generation = generation.wrapping_add(1);
        Some(Key { index, generation })
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index).filter(|slot| slot.generation == key.generation)?;
        Some(&slot.value)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index).filter(|slot| slot.generation == key.generation)?;
        Some(&mut slot.value)
    }

    /// What is in a slot now.
    #[inline]
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        self.slots.get(index).map(|slot| &slot.value)
    }

    /// What is in a slot now, to be changed.
    #[inline]
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index).map(|slot| &mut slot.value)
    }

    /// The key of what is in a slot now.
    #[inline]
    pub(crate) fn key_at(&self, index: u32) -> Option<Key> {
        self.slots.get(index).map(|slot| Key { index, generation: slot.generation })
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.slots.take(key.index).map(|slot| slot.value)
    }

    /// All there is: for checks only.
    #[cfg(feature = "model")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().map(|(_, slot)| &slot.value)
    }

    /// The keys in the next `pages` pages, from one page on; and where to go on, `None` if those were all.
    pub(crate) fn keys_from(&self, page: u32, pages: u32) -> (Vec<Key>, Option<u32>) {
        let (slots, next) = self.slots.taken_from(page, pages);
        (slots.into_iter().filter_map(|index| self.key_at(index)).collect(), next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slab = Slab::new();
        let first = slab.insert_with(|_| 'a').unwrap();
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert_with(|_| 'b').unwrap();
        assert_eq!(second.index, first.index);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get(second), Some(&'b'));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn a_stale_key_finds_nothing_though_its_page_was_freed_meanwhile() {
        let mut slab = Slab::new();
        for round in 0..3 {
            let keys: Vec<_> = (0..1000).map(|_| slab.insert_with(|key| key.index).unwrap()).collect();
            assert_eq!(slab.slots.pages(), 1000usize.div_ceil(64));
            for key in &keys {
                assert_eq!(slab.remove(*key), Some(key.index));
            }
            assert_eq!((slab.len(), slab.slots.pages()), (0, 1));
            let again: Vec<_> = (0..1000).map(|_| slab.insert_with(|_| round).unwrap()).collect();
            assert!(keys.iter().all(|key| slab.get(*key).is_none() && slab.remove(*key).is_none()));
            assert!(again.iter().all(|key| slab.remove(*key) == Some(round)));
        }
    }
}
