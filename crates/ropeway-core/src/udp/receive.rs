//! What a socket has received, and nobody has read.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;
use ropeway_packet::Payload;

use super::datagram::{Datagram, DatagramTrain};
use crate::buffer::chunk::Chunk;

/// Datagrams that a packet brings: one, or several of one size that a device has merged.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) data: Bytes,
    /// How much memory `data` keeps alive, if that is known.
    pub(crate) true_size: Option<u32>,
    pub(crate) segment_size: Option<u16>,
    pub(crate) remote: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) traffic_class: u8,
}

impl Arrival {
    /// How many datagrams these are.
    pub(crate) fn count(&self) -> usize {
        let size = self.segment_size.filter(|size| *size > 0);
        size.map_or(1, |size| self.data.len().div_ceil(usize::from(size)).max(1))
    }
}

/// Why datagrams were not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    /// The socket's queue is full.
    Full,
    /// Memory is scarce.
    Scarce,
}

/// Datagrams in the queue: one, or several of one size.
#[derive(Clone, Debug)]
struct Stored {
    data: Chunk,
    /// 0: it is one.
    segment_size: u16,
    traffic_class: u8,
    remote: SocketAddr,
    local: SocketAddr,
}

/// What a place in the queue takes.
const PLACE: usize = size_of::<Stored>();

impl Stored {
    fn new(arrival: &Arrival) -> Self {
        let shared = Chunk::new(arrival.data.clone(), arrival.true_size);
        // What keeps much more alive than it is, or nobody knows how much, is copied.
        let data =
            if shared.is_worth_sharing(0, usize::MAX) { shared } else { Chunk::copy_of(&arrival.data) };
        Self {
            data,
            segment_size: arrival.segment_size.unwrap_or(0),
            traffic_class: arrival.traffic_class,
            remote: arrival.remote,
            local: arrival.local,
        }
    }

    fn memory(&self) -> usize {
        self.data.true_size() + PLACE
    }

    /// How many bytes the next datagram has.
    fn next_len(&self) -> usize {
        match self.segment_size {
            0 => self.data.len(),
            size => self.data.len().min(usize::from(size)),
        }
    }

    /// Whether what follows can be part of the same train.
    fn is_like(&self, train: &DatagramTrain) -> bool {
        (self.remote, self.local, self.traffic_class) == (train.remote, train.local, train.traffic_class)
    }
}

/// First in, first out. What does not fit is dropped and counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReceiveQueue {
    queue: VecDeque<Stored>,
    /// How many datagrams these are.
    len: usize,
    memory: usize,
    dropped: u64,
}

impl ReceiveQueue {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The memory that all of it takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes datagrams in, if there is room: by the socket's buffer, in which one has always room, and by what is `fair`.
    pub(crate) fn take(&mut self, arrival: &Arrival, buffer: usize, fair: usize) -> Result<(), Refused> {
        let stored = Stored::new(arrival);
        let (memory, count) = (self.memory + stored.memory(), arrival.count());
        let refused = if memory > buffer && !self.is_empty() {
            Some(Refused::Full)
        } else {
            // What is held already has been taken off what is left.
            (memory > fair).then_some(Refused::Scarce)
        };
        if let Some(refused) = refused {
            self.dropped += count as u64;
            return Err(refused);
        }
        self.queue.push_back(stored);
        self.memory = memory;
        self.len += count;
        Ok(())
    }

    /// The next datagram, which stays.
    pub(crate) fn peek(&self) -> Option<Datagram> {
        let stored = self.queue.front()?;
        let payload = stored.data.bytes().slice(..stored.next_len());
        let (remote, local, traffic_class) = (stored.remote, stored.local, stored.traffic_class);
        Some(Datagram { payload, remote, local, traffic_class })
    }

    /// Takes the next datagram out.
    pub(crate) fn pop(&mut self) -> Option<Datagram> {
        let stored = self.queue.front()?;
        let (remote, local, traffic_class) = (stored.remote, stored.local, stored.traffic_class);
        let payload = self.pop_data()?;
        Some(Datagram { payload, remote, local, traffic_class })
    }

    /// Takes out as many datagrams as can be told as one, up to so many bytes and so many of them; one at least.
    pub(crate) fn pop_train(&mut self, most: usize, segments: usize) -> Option<DatagramTrain> {
        let Datagram { payload, remote, local, traffic_class } = self.pop()?;
        let (segment_size, payload) = (payload.len(), Payload::from(payload));
        let mut train = DatagramTrain { payload, segment_size, remote, local, traffic_class };
        for _ in 1..segments {
            let Some(next) = self.queue.front().filter(|next| next.is_like(&train)) else { break };
            let len = next.next_len();
            // Without data it could not be told from none.
            if len == 0 || len > segment_size || train.payload.len() + len > most {
                break;
            }
            let Some(data) = self.pop_data() else { break };
            train.payload.push(data);
            if len < segment_size {
                break;
            }
        }
        Some(train)
    }

    fn pop_data(&mut self) -> Option<Bytes> {
        let stored = self.queue.front_mut()?;
        self.len -= 1;
        let len = stored.next_len();
        if len < stored.data.len() {
            return Some(stored.data.split_to(len));
        }
        let last = self.queue.pop_front()?;
        self.memory -= last.memory();
        if self.queue.is_empty() {
            // A burst leaves nothing behind.
            self.queue.shrink_to(8);
        }
        Some(last.data.into_bytes())
    }

    /// Forgets all of it. Gives the memory that it took.
    pub(crate) fn clear(&mut self) -> usize {
        self.queue = VecDeque::new();
        self.len = 0;
        std::mem::take(&mut self.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrival(data: &[u8], segment_size: Option<u16>, port: u16) -> Arrival {
        Arrival {
            data: Bytes::copy_from_slice(data),
            true_size: None,
            segment_size,
            remote: SocketAddr::from(([10, 0, 0, 1], port)),
            local: SocketAddr::from(([10, 0, 0, 2], 53)),
            traffic_class: 0,
        }
    }

    fn take(queue: &mut ReceiveQueue, arrival: &Arrival) {
        queue.take(arrival, 1 << 20, 1 << 20).unwrap();
    }

    #[test]
    fn what_was_merged_is_read_one_by_one_or_as_one() {
        let mut queue = ReceiveQueue::default();
        take(&mut queue, &arrival(b"aabbc", Some(2), 1));
        take(&mut queue, &arrival(b"dd", None, 1));
        assert_eq!((queue.len(), queue.peek().unwrap().payload), (4, b"aa"[..].into()));
        assert_eq!(queue.pop().unwrap().payload, b"aa"[..]);
        let train = queue.pop_train(100, 100).unwrap();
        assert_eq!(
            (train.segment_size, train.payload.to_vec()),
            (2, b"bbc".to_vec()),
            "a shorter one ends it"
        );
        assert_eq!(queue.pop_train(100, 100).unwrap().payload.to_vec(), b"dd");
        assert_eq!((queue.len(), queue.memory(), queue.pop()), (0, 0, None));
    }

    #[test]
    fn a_train_is_of_one_sender_and_one_size_and_no_longer_than_the_reader_has_room() {
        let mut queue = ReceiveQueue::default();
        for (data, port) in
            [(&b"aa"[..], 1), (b"bb", 1), (b"cc", 2), (b"ddd", 2), (b"", 2), (b"", 2), (b"e", 2)]
        {
            take(&mut queue, &arrival(data, None, port));
        }
        let mut trains = Vec::new();
        while let Some(train) = queue.pop_train(5, 10) {
            trains.push((train.segment_size, train.payload.to_vec(), train.remote.port()));
        }
        let expected =
            [(2, &b"aabb"[..], 1), (2, b"cc", 2), (3, b"ddd", 2), (0, b"", 2), (0, b"", 2), (1, b"e", 2)];
        assert_eq!(trains, expected.map(|(size, data, port)| (size, data.to_vec(), port)));
        for _ in 0..3 {
            take(&mut queue, &arrival(b"xx", None, 1));
        }
        assert_eq!(queue.pop_train(5, 10).unwrap().payload.len(), 4, "three would not fit");
        take(&mut queue, &arrival(b"xx", None, 1));
        assert_eq!(queue.pop_train(5, 1).unwrap().payload.len(), 2, "more were not asked for");
    }

    #[test]
    fn one_has_always_room_in_the_buffer_and_the_rest_is_counted() {
        let mut queue = ReceiveQueue::default();
        let large = arrival(&[7; 60_000], None, 1);
        assert_eq!(queue.take(&large, 2304, 1 << 20), Ok(()));
        assert_eq!(queue.take(&arrival(b"x", None, 1), 2304, 1 << 20), Err(Refused::Full));
        assert_eq!(queue.take(&arrival(b"aabb", Some(2), 1), 1 << 20, 60_000), Err(Refused::Scarce));
        assert_eq!((queue.len(), queue.dropped()), (1, 3));
        let held = queue.memory();
        assert_eq!((queue.clear(), queue.memory()), (held, 0));
    }
}
