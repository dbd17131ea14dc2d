//! The tasks that wait, by what they wait for.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

use ropeway_core::Pages;
use ropeway_core::packet::FourTuple;

use super::{Afterwards, Waiters};
use crate::shard::Source;

/// So many pages of 64 places are walked through in one step, or so many handshakes in all.
const PAGES: u32 = 2;
const HANDSHAKES: usize = 128;

/// Places of all that can be waited for. One is made when somebody waits there first, and goes when the socket is closed:
/// the tables are in pages, as the core's are, so neither takes longer because there are many.
#[derive(Debug, Default)]
pub(crate) struct WaiterTable {
    connections: Pages<Waiters>,
    listeners: Pages<Waiters>,
    datagrams: Pages<Waiters>,
    handshakes: BTreeMap<FourTuple, Waiters>,
    diversion: Waiters,
    quiescence: Waiters,
    /// The memory of all their queues of futures, in bytes.
    queues: usize,
}

/// What a place in a tree takes, whose nodes may be half empty.
const HANDSHAKE: usize = 2 * size_of::<(FourTuple, Waiters)>();

/// How far a walk through the table has come: what is next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Walk {
    #[default]
    Quiescence,
    Connections(u32),
    Listeners(u32),
    Datagrams(u32),
    /// Those after this one.
    Handshakes(Option<FourTuple>),
}

/// The number of a place. The tables of the core end before `u32` does.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl WaiterTable {
    /// The place of `source`, which is made if there is none; `None` if there is no such source.
    pub(crate) fn place(&mut self, source: Source) -> Option<&mut Waiters> {
        let place = match source {
            Source::Connection(id) => self.connections.or_default(number(id.index())),
            Source::Listener(id) => self.listeners.or_default(number(id.index())),
            Source::Udp(id) => self.datagrams.or_default(number(id.index())),
            Source::Handshake(tuple) => Some(self.handshakes.entry(tuple).or_default()),
            Source::Diversion => Some(&mut self.diversion),
            Source::Quiescence => Some(&mut self.quiescence),
        }?;
        place.source = Some(source);
        Some(place)
    }

    /// The place of `source`, unless nobody has ever waited there.
    pub(crate) fn existing(&mut self, source: Source) -> Option<&mut Waiters> {
        match source {
            Source::Connection(id) => self.connections.get_mut(number(id.index())),
            Source::Listener(id) => self.listeners.get_mut(number(id.index())),
            Source::Udp(id) => self.datagrams.get_mut(number(id.index())),
            Source::Handshake(tuple) => self.handshakes.get_mut(&tuple),
            Source::Diversion => Some(&mut self.diversion),
            Source::Quiescence => Some(&mut self.quiescence),
        }
    }

    /// Takes the place of `source` away: nobody will wait there any more.
    pub(crate) fn remove(&mut self, source: Source) -> Option<Waiters> {
        let removed = match source {
            Source::Connection(id) => self.connections.take(number(id.index())),
            Source::Listener(id) => self.listeners.take(number(id.index())),
            Source::Udp(id) => self.datagrams.take(number(id.index())),
            Source::Handshake(tuple) => self.handshakes.remove(&tuple),
            Source::Diversion => Some(std::mem::take(&mut self.diversion)),
            Source::Quiescence => Some(std::mem::take(&mut self.quiescence)),
        }?;
        self.queues -= removed.queue_memory();
        Some(removed)
    }

    /// A queue of futures has grown by so many bytes.
    pub(crate) fn queue_has_grown(&mut self, by: usize) {
        self.queues += by;
    }

    /// The memory that all of it takes, in bytes. What a waker itself keeps is its runtime's.
    pub(crate) fn memory(&self) -> usize {
        let tables = [&self.connections, &self.listeners, &self.datagrams];
        let places = tables.iter().map(|table| table.memory()).sum::<usize>();
        places + self.handshakes.len() * HANDSHAKE + self.queues
    }

    /// Wakes everyone in the next places that `concerned` says. Gives where to go on; `None` if those were all.
    pub(crate) fn wake_some(
        &mut self,
        walk: Walk,
        concerned: &impl Fn(&Waiters) -> bool,
        after: &mut Afterwards,
    ) -> Option<Walk> {
        let mut wake = |waiters: &mut Waiters| {
            if concerned(waiters) {
                waiters.wake_all(after);
            }
        };
        let next = match walk {
            Walk::Quiescence => {
                wake(&mut self.quiescence);
                wake(&mut self.diversion);
                Walk::Connections(0)
            }
            Walk::Connections(page) => {
                some_of(&mut self.connections, page, wake).map_or(Walk::Listeners(0), Walk::Connections)
            }
            Walk::Listeners(page) => {
                some_of(&mut self.listeners, page, wake).map_or(Walk::Datagrams(0), Walk::Listeners)
            }
            Walk::Datagrams(page) => {
                some_of(&mut self.datagrams, page, wake).map_or(Walk::Handshakes(None), Walk::Datagrams)
            }
            Walk::Handshakes(before) => {
                let rest = (before.map_or(Unbounded, Excluded), Unbounded);
                let mut last = None;
                for (tuple, waiters) in self.handshakes.range_mut(rest).take(HANDSHAKES) {
                    wake(waiters);
                    last = Some(*tuple);
                }
                return last.map(|last| Walk::Handshakes(Some(last)));
            }
        };
        Some(next)
    }

    /// Everyone who waits for something.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Waiters> {
        let tables = [&self.connections, &self.listeners, &self.datagrams];
        let places = tables.into_iter().flat_map(|table| table.iter().map(|(_, waiters)| waiters));
        places.chain(self.handshakes.values()).chain([&self.diversion, &self.quiescence])
    }
}

/// Does something with the places in the next pages. Gives the page to go on from.
fn some_of(table: &mut Pages<Waiters>, page: u32, mut act: impl FnMut(&mut Waiters)) -> Option<u32> {
    let (places, next) = table.taken_from(page, PAGES);
    for place in places {
        table.get_mut(place).into_iter().for_each(&mut act);
    }
    next
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use ropeway_core::{IpCidr, SocketOptions, Stack, StackConfig, Timestamp};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// So many connections, and as many handshakes.
    fn sources(many: u16) -> Vec<Source> {
        let mut config = StackConfig::default();
        config.addresses = vec![IpCidr::new([10, 0, 0, 1].into(), 24)];
        let mut stack = Stack::new(Arc::new(config), [1; 32], Timestamp::START);
        let local = SocketAddr::from(([10, 0, 0, 1], 1));
        let remote = |n| SocketAddr::from(([10, 0, 0, 2], n));
        let mut connect = |n| {
            stack.connect(Timestamp::START, None, remote(n), SocketOptions::default()).map(Source::Connection)
        };
        let connections = (1..=many).map(|n| connect(n).unwrap());
        let handshakes = (1..=many).map(|n| Source::Handshake(FourTuple::new(local, remote(n))));
        connections.chain(handshakes).collect()
    }

    #[test]
    fn all_are_woken_once_and_some_at_a_time_and_leave_no_place_behind() {
        let sources = sources(5000);
        let (count, mut after) = (Arc::new(Count::default()), Afterwards::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut table = WaiterTable::default();
        // Places that are always there, for what a stack has once.
        let fixed = table.iter().count();
        for source in &sources {
            after.replace(&mut table.place(*source).unwrap().reader, &waker);
        }
        assert_eq!(table.iter().count(), sources.len() + fixed);
        assert!(table.memory() >= sources.len() * size_of::<Waiters>());
        let woken = || count.0.load(Ordering::Relaxed);
        let mut walk = Some(Walk::default());
        while let Some(here) = walk {
            let before = woken();
            walk = table.wake_some(here, &|_| true, &mut after);
            after.run();
            assert!(woken() - before <= HANDSHAKES.max(PAGES as usize * 64));
        }
        assert_eq!(woken(), sources.len());
        for source in &sources {
            assert!(table.remove(*source).unwrap().is_empty());
            assert!(table.existing(*source).is_none());
        }
        // The first page of each table stays.
        assert!(table.memory() <= 64 * size_of::<Option<Waiters>>(), "{} bytes", table.memory());
        assert_eq!((table.connections.len(), table.handshakes.len()), (0, 0));
    }

    #[test]
    fn only_those_are_woken_whom_it_concerns() {
        let sources = sources(1000);
        let (count, mut after) = (Arc::new(Count::default()), Afterwards::default());
        let mut table = WaiterTable::default();
        for (n, source) in sources.iter().enumerate() {
            let place = table.place(*source).unwrap();
            after.replace(
                if n % 3 == 0 { &mut place.reader } else { &mut place.writer },
                &Arc::clone(&count).into(),
            );
        }
        let mut walk = Some(Walk::default());
        while let Some(here) = walk {
            walk = table.wake_some(here, &|waiters| waiters.reader.is_some(), &mut after);
        }
        after.run();
        assert_eq!(count.0.load(Ordering::Relaxed), sources.len().div_ceil(3));
        assert_eq!(table.iter().filter(|waiters| waiters.writer.is_some()).count(), sources.len() * 2 / 3);
    }
}
