//! Tables in pages: what everything lives in of which there may be a million.
//!
//! A vector doubles: the call that finds it full moves all that is in it, and its memory never comes back. A table in pages
//! gets a page when it has no room, and lets go of a page with its last entry: no call does more than another, and a table
//! that empties gives its memory back bit by bit.

use std::collections::BTreeSet;
use std::fmt;

/// Slots of a page: as many as a word has bits.
const SLOTS: u32 = u64::BITS;

/// Pages of a block. A block is an entry of the one vector that does double: one for sixteen thousand slots.
const PAGES: u32 = 256;

/// So many empty blocks go at once: those of a million slots.
const LAST_BLOCKS: usize = 64;

/// More slots than any table needs, and few enough that a number of one leaves bits for other things.
const MOST: u32 = 1 << 28;

/// A table of slots with numbers. What is entered without a number gets the lowest that is free, so that the first pages
/// are full and the last ones empty.
#[derive(Clone)]
pub struct Pages<T> {
    /// Small tables have no other. It stays when it is empty.
    first: FirstPage<T>,
    /// All other pages.
    blocks: Vec<Block<T>>,
    /// The blocks that have room.
    roomy: BTreeSet<u32>,
    len: usize,
    /// How many pages there are besides the first.
    pages: usize,
}

#[derive(Clone)]
struct FirstPage<T> {
    /// A bit for each slot that is taken.
    taken: u64,
    /// As many slots as were ever needed, and 64 at most.
    slots: Vec<Option<T>>,
}

#[derive(Clone)]
struct Page<T> {
    /// A bit for each slot that is taken.
    taken: u64,
    slots: [Option<T>; SLOTS as usize],
}

#[derive(Clone)]
struct Block<T> {
    /// As many as were ever needed, and 256 at most. One goes with its last entry.
    pages: Vec<Option<Box<Page<T>>>>,
    /// A bit for each page that is full.
    full: [u64; (PAGES / u64::BITS) as usize],
    /// How many pages there are.
    used: u32,
}

/// Where a slot is.
#[derive(Clone, Copy)]
struct Place {
    /// The block, and the page in it; none for the first page.
    page: Option<(u32, u32)>,
    slot: u32,
}

impl Place {
    fn of(index: u32) -> Self {
        let page = (index / SLOTS).checked_sub(1).map(|page| (page / PAGES, page % PAGES));
        Self { page, slot: index % SLOTS }
    }

    fn index(self) -> u32 {
        self.page.map_or(0, |(block, page)| block * PAGES + page + 1) * SLOTS + self.slot
    }
}

impl<T> FirstPage<T> {
    fn is_full(&self) -> bool {
        self.taken == u64::MAX
    }

    #[inline]
    fn put(&mut self, slot: u32, value: T) -> Option<T> {
        self.taken |= 1 << slot;
        match self.slots.get_mut(slot as usize) {
            Some(home) => home.replace(value),
            None => {
                self.slots.resize_with(slot as usize, || None);
                self.slots.push(Some(value));
                None
            }
        }
    }

    #[inline]
    fn take(&mut self, slot: u32) -> Option<T> {
        let value = self.slots.get_mut(slot as usize)?.take()?;
        self.taken &= !(1 << slot);
        Some(value)
    }
}

impl<T> Block<T> {
    const fn new() -> Self {
        Self { pages: Vec::new(), full: [0; (PAGES / u64::BITS) as usize], used: 0 }
    }

    #[inline]
    fn page(&self, page: u32) -> Option<&Page<T>> {
        self.pages.get(page as usize)?.as_deref()
    }

    #[inline]
    fn page_mut(&mut self, page: u32) -> Option<&mut Page<T>> {
        self.pages.get_mut(page as usize)?.as_deref_mut()
    }

    /// The page with this number, which is made if there is none.
    fn make_page(&mut self, page: u32) -> Option<&mut Page<T>> {
        if self.pages.len() <= page as usize {
            self.pages.resize_with(page as usize + 1, || None);
        }
        let used = &mut self.used;
        let page = self.pages.get_mut(page as usize)?.get_or_insert_with(|| {
            *used += 1;
            Box::new(Page { taken: 0, slots: [const { None }; SLOTS as usize] })
        });
        Some(page)
    }

    fn drop_page(&mut self, page: u32) {
        if let Some(home) = self.pages.get_mut(page as usize) {
            *home = None;
            self.used -= 1;
        }
        if self.used == 0 {
            *self = Self::new();
        }
    }

    /// The first page that has room; one more than there are if all are full.
    fn roomy_page(&self) -> u32 {
        let words = self.full.iter().zip((0..).step_by(u64::BITS as usize));
        let found = words.into_iter().find_map(|(full, first)| {
            let at = full.trailing_ones();
            (at < u64::BITS).then_some(first + at)
        });
        found.unwrap_or(PAGES)
    }

    /// Notes whether a page is full. Says whether the block is.
    fn note(&mut self, page: u32, is_full: bool) -> bool {
        if let Some(word) = self.full.get_mut((page / u64::BITS) as usize) {
            let bit = 1 << (page % u64::BITS);
            *word = if is_full { *word | bit } else { *word & !bit };
        }
        self.full == [u64::MAX; (PAGES / u64::BITS) as usize]
    }
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Pages<T> {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            first: FirstPage { taken: 0, slots: Vec::new() },
            blocks: Vec::new(),
            roomy: BTreeSet::new(),
            len: 0,
            pages: 0,
        }
    }

    /// How many slots are taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The memory that the slots take, free ones included, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        (self.first.slots.capacity() + self.pages * SLOTS as usize) * size_of::<Option<T>>()
    }

    /// Whether no slot is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What is in a slot.
    #[inline]
    #[must_use]
    pub fn get(&self, index: u32) -> Option<&T> {
        let Place { page, slot } = Place::of(index);
        match page {
            None => self.first.slots.get(slot as usize)?.as_ref(),
            Some((block, page)) => {
                self.blocks.get(block as usize)?.page(page)?.slots.get(slot as usize)?.as_ref()
            }
        }
    }

    /// What is in a slot, to be changed.
    #[inline]
    pub fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let Place { page, slot } = Place::of(index);
        match page {
            None => self.first.slots.get_mut(slot as usize)?.as_mut(),
            Some((block, page)) => {
                self.blocks.get_mut(block as usize)?.page_mut(page)?.slots.get_mut(slot as usize)?.as_mut()
            }
        }
    }

    /// Which slots of a page are taken.
    fn taken(&self, page: Option<(u32, u32)>) -> u64 {
        let Some((block, page)) = page else { return self.first.taken };
        self.blocks.get(block as usize).and_then(|block| block.page(page)).map_or(0, |page| page.taken)
    }

    /// What is in a slot, to be changed; its default if it was empty. `None` if there is no such slot.
    pub fn or_default(&mut self, index: u32) -> Option<&mut T>
    where
        T: Default,
    {
        if self.get(index).is_none() {
            self.put(index, T::default());
        }
        self.get_mut(index)
    }

    /// Enters what `make` makes of the number of its slot; `None` if there are no more slots.
    #[inline]
    pub fn insert_with(&mut self, make: impl FnOnce(u32) -> T) -> Option<u32> {
        let index = if self.first.is_full() { self.vacant()? } else { self.first.taken.trailing_ones() };
        self.put(index, make(index));
        Some(index)
    }

    /// The lowest slot that is free, behind the first page.
    fn vacant(&self) -> Option<u32> {
        let page = match self.roomy.first() {
            None => (u32::try_from(self.blocks.len()).ok()?, 0),
            Some(block) => (*block, self.blocks.get(*block as usize)?.roomy_page()),
        };
        let page = Some(page);
        let slot = self.taken(page).trailing_ones();
        Some(Place { page, slot }.index()).filter(|index| *index < MOST)
    }

    /// Enters a value in the slot with this number. Gives what was there, or the value itself if there is no such slot.
    #[inline]
    pub fn put(&mut self, index: u32, value: T) -> Option<T> {
        let before = if index < SLOTS {
            self.first.put(index, value)
        } else if index < MOST {
            self.put_in_block(Place::of(index), value)
        } else {
            return Some(value);
        };
        self.len += usize::from(before.is_none());
        before
    }

    fn put_in_block(&mut self, place: Place, value: T) -> Option<T> {
        let Place { page: Some((number, at)), slot } = place else { return Some(value) };
        while self.blocks.len() <= number as usize {
            self.roomy.insert(u32::try_from(self.blocks.len()).unwrap_or(u32::MAX));
            self.blocks.push(Block::new());
        }
        let block = self.blocks.get_mut(number as usize)?;
        let used = block.used;
        let page = block.make_page(at)?;
        page.taken |= 1 << slot;
        let is_full = page.taken == u64::MAX;
        let before = page.slots.get_mut(slot as usize)?.replace(value);
        if is_full && block.note(at, true) {
            self.roomy.remove(&number);
        }
        self.pages += (block.used - used) as usize;
        before
    }

    /// Empties a slot. Gives what was there.
    #[inline]
    pub fn take(&mut self, index: u32) -> Option<T> {
        let value =
            if index < SLOTS { self.first.take(index) } else { self.take_from_block(Place::of(index)) }?;
        self.len -= 1;
        Some(value)
    }

    fn take_from_block(&mut self, place: Place) -> Option<T> {
        let (number, at) = place.page?;
        let block = self.blocks.get_mut(number as usize)?;
        let page = block.page_mut(at)?;
        let value = page.slots.get_mut(place.slot as usize)?.take()?;
        let was_full = page.taken == u64::MAX;
        page.taken &= !(1 << place.slot);
        let is_empty = page.taken == 0;
        if was_full {
            block.note(at, false);
            self.roomy.insert(number);
        }
        if is_empty {
            block.drop_page(at);
            self.pages -= 1;
            self.drop_last_blocks();
        }
        Some(value)
    }

    /// Lets go of empty blocks at the end, a bounded number of them.
    fn drop_last_blocks(&mut self) {
        for _ in 0..LAST_BLOCKS {
            if self.blocks.pop_if(|last| last.used == 0).is_none() {
                break;
            }
            self.roomy.remove(&u32::try_from(self.blocks.len()).unwrap_or(u32::MAX));
        }
        if self.blocks.len() < self.blocks.capacity() / 4 {
            self.blocks.shrink_to(self.blocks.len() * 2);
        }
    }

    /// The slots that are taken in the next pages, from one page on; and the page to go on from, `None` if those were all.
    /// What is entered meanwhile may be among them or not.
    #[must_use]
    pub fn taken_from(&self, page: u32, pages: u32) -> (Vec<u32>, Option<u32>) {
        let (mut slots, mut next) = (Vec::new(), Some(page));
        for _ in 0..pages {
            let Some(number) = next else { break };
            let place = Place::of(number * SLOTS);
            let taken = self.taken(place.page);
            slots.extend(
                (number * SLOTS..).take(SLOTS as usize).filter(|slot| taken >> (slot % SLOTS) & 1 == 1),
            );
            next = self.page_after(place.page);
        }
        (slots, next)
    }

    /// The number of the next page that there is.
    fn page_after(&self, page: Option<(u32, u32)>) -> Option<u32> {
        let (block, page) = page.map_or((0, 0), |(block, page)| (block, page + 1));
        let has_page = |block: &Block<T>| (page as usize) < block.pages.len();
        let (block, page) = match self.blocks.get(block as usize).is_some_and(has_page) {
            true => (block, page),
            false => (block + 1, 0),
        };
        ((block as usize) < self.blocks.len()).then_some(block * PAGES + page + 1)
    }

    /// All that are taken, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let blocks = self.blocks.iter().zip((0u32..).step_by(PAGES as usize));
        let pages = blocks.flat_map(|(block, first)| block.pages.iter().zip(first + 1..));
        let pages = pages.filter_map(|(page, number)| Some((page.as_deref()?.slots.as_slice(), number)));
        std::iter::once((self.first.slots.as_slice(), 0)).chain(pages).flat_map(|(slots, number)| {
            (number * SLOTS..).zip(slots).filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
        })
    }

    /// How many pages hold memory, for tests.
    #[cfg(test)]
    pub(crate) fn pages(&self) -> usize {
        let pages = self.blocks.iter().flat_map(|block| &block.pages).filter(|page| page.is_some()).count();
        pages + usize::from(self.first.slots.capacity() > 0)
    }
}

/// Which slots are taken, and what is in them: nothing else has a part in what a table does.
impl<T: fmt::Debug> fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests;
