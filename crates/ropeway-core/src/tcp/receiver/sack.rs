//! What the peer is told of data beyond a gap (RFC 2018), and of data that came twice (RFC 2883).

use ropeway_packet::{SackBlocks, SeqNum};

use super::Receiver;

/// Bytes of the option without its blocks, and of each of them; its two NOPs included.
const OPTION: u32 = 4;
const BLOCK: u32 = 8;

/// The blocks to report, the most recent first. Only what is held is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SackList {
    blocks: SackBlocks,
    /// What came twice; each is told once (RFC 2883 4-2), and first.
    repeated: SackBlocks,
}

impl SackList {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.repeated.is_empty()
    }

    /// So much is held now without a gap, and something of it has just arrived: that is the first block (RFC 2018 4-2), and
    /// no other is a part of it. The oldest of five has to go (RFC 2018 4-3).
    pub(super) fn add(&mut self, start: SeqNum, end: SeqNum) {
        let (mut start, mut end) = (start, end);
        let mut rest = SackBlocks::EMPTY;
        for &(left, right) in self.blocks.as_slice() {
            if left.after(end) || right.before(start) {
                rest.push((left, right));
            } else {
                start = start.min(left);
                end = end.max(right);
            }
        }
        self.blocks = list([(start, end)].iter().chain(rest.as_slice()));
    }

    /// RCV.NXT has come to `nxt`: what lies before it is acknowledged.
    pub(super) fn acknowledge(&mut self, nxt: SeqNum) {
        self.blocks = list(self.blocks.as_slice().iter().filter(|(_, end)| end.after(nxt)));
    }

    /// Nothing is held any more.
    pub(super) fn forget_held(&mut self) {
        self.blocks = SackBlocks::EMPTY;
    }

    /// Whether something came twice that no acknowledgement has told of.
    pub(super) fn has_repeated(&self) -> bool {
        !self.repeated.is_empty()
    }

    /// These bytes have come before. If they touch what came twice just before them, both are told of as one. More than
    /// four that wait to be told of are news of nothing but a flood.
    pub(super) fn repeat(&mut self, start: SeqNum, end: SeqNum) {
        let (mut all, mut merged) = (self.repeated.as_slice(), (start, end));
        if let Some((&(left, right), before)) = all.split_last()
            && start.at_or_before(right)
            && end.at_or_after(left)
        {
            (all, merged) = (before, (left.min(start), right.max(end)));
        }
        self.repeated = list(all.iter().chain([&merged]));
    }

    // RFC 2883 4-4, RFC 2883 4-4
    /// The blocks for the next segment, at most so many, but not none: one that came twice, and then what is held.
    pub(super) fn take(&mut self, most: usize) -> SackBlocks {
        let (repeated, later) = self.repeated.as_slice().split_at(self.repeated.len().min(1));
        let told = list(repeated.iter().chain(self.blocks.as_slice()).take(most));
        self.repeated = list(later);
        told
    }

    /// How many blocks the next segment is to have.
    fn count(&self) -> usize {
        self.blocks.len() + self.repeated.len().min(1)
    }

    /// How many bytes they take in a header, if there is room for so many.
    pub(super) fn option_len(&self, most: usize) -> u32 {
        let count = self.count().min(most);
        u32::try_from(count).ok().filter(|count| *count > 0).map_or(0, |count| OPTION + BLOCK * count)
    }
}

impl Receiver {
    // RFC 2018 3-1
    /// What the next segment reports beside SEG.ACK, whatever it is for (RFC 2018 4-1), in so many blocks at most.
    pub(crate) fn sack_blocks(&mut self, most: usize) -> SackBlocks {
        let Some(beyond) = self.beyond.as_mut().filter(|_| most > 0) else { return SackBlocks::EMPTY };
        let blocks = beyond.told.take(most);
        self.tidy();
        blocks
    }

    /// How many blocks that is.
    pub(crate) fn sack_count(&self) -> usize {
        self.beyond.as_ref().map_or(0, |beyond| beyond.told.count())
    }

    /// How many bytes that takes in a header.
    pub(crate) fn sack_option_len(&self, most: usize) -> u32 {
        self.beyond.as_ref().map_or(0, |beyond| beyond.told.option_len(most))
    }
}

/// The first four.
fn list<'a>(blocks: impl IntoIterator<Item = &'a (SeqNum, SeqNum)>) -> SackBlocks {
    let mut list = SackBlocks::EMPTY;
    for block in blocks {
        list.push(*block);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(n: u32) -> SeqNum {
        SeqNum::new(n)
    }

    fn blocks(list: &mut SackList) -> Vec<(u32, u32)> {
        list.take(4).as_slice().iter().map(|(start, end)| (start.get(), end.get())).collect()
    }

    // RFC 2018 4-2, RFC 2018 4-3: the block of the segment that came last is first, then the others, the most recent first.
    #[test]
    fn the_most_recent_block_comes_first() {
        let mut list = SackList::default();
        for start in [100, 300, 500, 700, 900] {
            list.add(seq(start), seq(start + 100));
        }
        assert_eq!(blocks(&mut list), [(900, 1000), (700, 800), (500, 600), (300, 400)]);
        // It grows, and takes what it touches along.
        list.add(seq(600), seq(700));
        assert_eq!(blocks(&mut list), [(500, 800), (900, 1000), (300, 400)]);
        list.acknowledge(seq(800));
        assert_eq!(blocks(&mut list), [(900, 1000)]);
        list.acknowledge(seq(1000));
        assert!(list.is_empty());
    }

    // RFC 2883 4-4, RFC 2883 4-4
    // RFC 2883 4-1, RFC 2883 4-2: it is first, it is told once, and the others follow.
    #[test]
    fn what_came_twice_is_told_once_and_first() {
        let mut list = SackList::default();
        list.add(seq(500), seq(600));
        list.repeat(seq(100), seq(200));
        assert_eq!(list.option_len(3), 20);
        assert_eq!(blocks(&mut list), [(100, 200), (500, 600)]);
        assert_eq!(blocks(&mut list), [(500, 600)]);
        list.repeat(seq(100), seq(200));
        list.repeat(seq(200), seq(300));
        assert_eq!(list.take(1).as_slice(), [(seq(100), seq(300))]);
        assert!(!list.has_repeated());
    }

    #[test]
    fn each_that_came_twice_has_its_turn() {
        let mut list = SackList::default();
        for start in [100, 300, 500, 700, 900] {
            list.repeat(seq(start), seq(start + 100));
        }
        list.add(seq(2000), seq(2100));
        for start in [100, 300, 500, 700] {
            assert!(list.has_repeated());
            assert_eq!(blocks(&mut list), [(start, start + 100), (2000, 2100)]);
        }
        assert_eq!(blocks(&mut list), [(2000, 2100)]);
    }

    #[test]
    fn sequence_numbers_wrap() {
        let mut list = SackList::default();
        list.add(seq(u32::MAX - 10), seq(20));
        list.add(seq(20), seq(30));
        assert_eq!(blocks(&mut list), [(u32::MAX - 10, 30)]);
        list.acknowledge(seq(30));
        assert!(list.is_empty());
    }
}
