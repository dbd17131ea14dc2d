//! Packets that came together: those that follow each other in a connection are taken as one (GRO).

use std::mem;
use std::ops::Range;

use bytes::{Buf, Bytes};
use ropeway_packet::train::{Merger, Place, Segment};

use crate::buffer::chunk::Chunk;
use crate::buffer::pieces::Pieces;
use crate::transmit::{Received, Rest, RxChecksum};

/// Finds out which packets of a batch follow which.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    merger: Merger,
    /// One for each packet, if any follows another.
    links: Vec<Link>,
    /// Where the data of the next train is put together.
    place: Vec<Chunk>,
}

/// How a packet hangs together with others.
#[derive(Clone, Debug, Default)]
struct Link {
    /// Where its data stands, if it follows another.
    follows: Option<Range<usize>>,
    /// What follows it. Nothing follows itself, so 0 is none.
    next: usize,
    /// Of the first of a train: the last so far.
    last: usize,
    /// Likewise, what is known of it.
    segment_size: Option<u16>,
    pushed: bool,
}

impl Batch {
    /// Looks at all packets of a batch. Says whether any follows another.
    pub(super) fn find_trains(&mut self, batch: &mut [Received]) -> bool {
        self.links.clear();
        self.merger.begin();
        let packets = batch.len();
        for (index, received) in batch.iter_mut().enumerate() {
            if received.segment_size.is_some() {
                // The device merges, and has its reasons not to merge what follows.
                self.merger.begin();
                continue;
            }
            let verified = received.checksum == RxChecksum::Verified;
            match self.merger.place(index, &received.packet, verified) {
                Place::Alone { verified: true } => received.checksum = RxChecksum::Verified,
                Place::Alone { verified: false } => {}
                Place::Behind(segment) => {
                    self.links.resize_with(packets, Link::default);
                    self.append(index, segment);
                }
            }
        }
        !self.links.is_empty()
    }

    /// A packet follows the last one of a train.
    fn append(&mut self, index: usize, segment: Segment) {
        let Some(first) = self.links.get_mut(segment.train) else { return };
        first.segment_size = Some(segment.segment_size);
        first.pushed |= segment.push;
        let before = mem::replace(&mut first.last, index).max(segment.train);
        if let Some(before) = self.links.get_mut(before) {
            before.next = index;
        }
        if let Some(link) = self.links.get_mut(index) {
            link.follows = Some(segment.payload);
        }
    }

    /// The packet at this place, with all that follows it; `None` if it follows another.
    pub(super) fn take(&mut self, index: usize, batch: &mut [Received]) -> Option<Received> {
        let &Link { follows: None, next, segment_size, pushed, .. } = self.links.get(index)? else {
            return None;
        };
        let mut received = mem::replace(batch.get_mut(index)?, Received::new(Bytes::new()));
        if next > 0 {
            received.segment_size = segment_size;
            received.rest = Rest { pieces: self.pieces(next, batch), pushed };
        }
        Some(received)
    }

    /// What was taken is where it belongs, and the place free again.
    pub(super) fn give_back(&mut self, taken: Pieces) {
        let place = taken.into_place();
        if place.capacity() > self.place.capacity() {
            self.place = place;
        }
    }

    /// The data of the packet at this place, and of those that follow.
    fn pieces(&mut self, mut index: usize, batch: &mut [Received]) -> Vec<Chunk> {
        let mut pieces = mem::take(&mut self.place);
        while index > 0
            && let (Some(link), Some(received)) = (self.links.get(index), batch.get_mut(index))
        {
            let mut data = mem::take(&mut received.packet);
            let place = link.follows.clone().unwrap_or_default();
            data.truncate(place.end);
            data.advance(place.start.min(data.len()));
            pieces.push(Chunk::new(data, received.true_size));
            index = link.next;
        }
        pieces
    }
}
