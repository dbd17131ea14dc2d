//! What the peer is told of data beyond a gap (RFC 2018), and of data that came twice (RFC 2883).

use ropeway_packet::{SackBlocks, SeqNum};

/// Bytes of the option without its blocks, and of each of them; its two NOPs included.
const OPTION: u32 = 4;
const BLOCK: u32 = 8;

/// The blocks to report, the most recent first. Only data that is held is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SackList {
    blocks: SackBlocks,
    /// What came twice; it is told once (RFC 2883 4).
    repeated: Option<(SeqNum, SeqNum)>,
}

impl SackList {
    pub(crate) fn is_empty(&self) -> bool {
        self.blocks.as_slice().is_empty() && self.repeated.is_none()
    }

    /// Data has been put aside. It is in the first block, together with what touches it (RFC 2018 4).
    pub(crate) fn add(&mut self, start: SeqNum, end: SeqNum) {
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
        self.blocks = SackBlocks::EMPTY;
        self.blocks.push((start, end));
        // The oldest of five has to go.
        for block in rest.as_slice() {
            self.blocks.push(*block);
        }
    }

    /// RCV.NXT has come to `nxt`: what lies before it is acknowledged.
    pub(crate) fn acknowledge(&mut self, nxt: SeqNum) {
        let mut rest = SackBlocks::EMPTY;
        for block in self.blocks.as_slice().iter().filter(|(_, end)| end.after(nxt)) {
            rest.push(*block);
        }
        self.blocks = rest;
    }

    /// The first of what is held before `end`.
    pub(crate) fn first_before(&self, end: SeqNum) -> Option<(SeqNum, SeqNum)> {
        let held = self.blocks.as_slice().iter().filter(|(start, _)| start.before(end));
        let first = held.copied().reduce(|first, block| if block.0.before(first.0) { block } else { first });
        first.map(|(start, stop)| (start, stop.min(end)))
    }

    /// These bytes have come before, too: what is told of already goes on to them, or stays as it is.
    pub(crate) fn repeat_also(&mut self, start: SeqNum, end: SeqNum) {
        match self.repeated {
            Some((_, right)) if start.after(right) => {}
            _ => self.repeat(start, end),
        }
    }

    /// These bytes have come before. What comes twice in several pieces is told of as one where they touch.
    pub(crate) fn repeat(&mut self, start: SeqNum, end: SeqNum) {
        self.repeated = Some(match self.repeated {
            Some((left, right)) if start.at_or_before(right) && end.at_or_after(left) => {
                (left.min(start), right.max(end))
            }
            _ => (start, end),
        });
    }

    /// The blocks for the next segment, at most so many: what came twice, and then what is held.
    pub(crate) fn take(&mut self, most: usize) -> SackBlocks {
        let mut blocks = SackBlocks::EMPTY;
        let repeated = self.repeated.take();
        for block in repeated.iter().chain(self.blocks.as_slice()).take(most) {
            blocks.push(*block);
        }
        blocks
    }

    /// How many bytes they take in a header, if there is room for so many.
    pub(crate) fn option_len(&self, most: usize) -> u32 {
        let count = (self.blocks.as_slice().len() + usize::from(self.repeated.is_some())).min(most);
        u32::try_from(count).ok().filter(|count| *count > 0).map_or(0, |count| OPTION + BLOCK * count)
    }
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

    // RFC 2018 4: the block of the segment that came last is first, then the others, the most recent first.
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

    // RFC 2883 4: it is first, it is told once, and the others follow.
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
