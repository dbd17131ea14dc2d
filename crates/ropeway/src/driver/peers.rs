//! The other shards of a stack: packets of theirs that come in by our queue of the device.

use std::iter;
use std::sync::Arc;

use ropeway_core::{Received, Stack as Core, Steering};

use crate::error::Ended;
use crate::shard::Shard;

/// All shards of the stack, as the driver of one of them sees them.
pub(crate) struct Peers {
    steering: Steering,
    /// Which of them is ours.
    own: usize,
    shards: Box<[Peer]>,
    /// Whose the packets of this batch are.
    owners: Vec<usize>,
    /// Datagrams that were put together out of fragments, and whose they are. Empty between batches.
    passed_on: Vec<(usize, Received)>,
}

struct Peer {
    shard: Arc<Shard>,
    /// Its packets of this batch. Empty between batches.
    packets: Vec<Received>,
}

impl Peers {
    pub(crate) fn new(steering: Steering, own: usize, shards: &[Arc<Shard>]) -> Self {
        let peer = |shard: &Arc<Shard>| Peer { shard: Arc::clone(shard), packets: Vec::new() };
        Self {
            steering,
            own,
            shards: shards.iter().map(peer).collect(),
            owners: Vec::new(),
            passed_on: Vec::new(),
        }
    }

    /// Gives the packets of others in `batch` to their shards, and leaves ours.
    ///
    /// Each shard takes them at once, in this task: nothing waits between two shards, so there is nothing to bound. Its driver
    /// is woken for what follows from them.
    pub(crate) fn hand_over(&mut self, batch: &mut Vec<Received>) {
        let Self { steering, own, shards, owners, passed_on } = self;
        let owner = |received: &Received| steering.shard_of_packet(&received.packet).unwrap_or(*own);
        owners.clear();
        owners.extend(batch.iter().map(owner));
        let mut each = owners.iter();
        let others = batch.extract_if(.., |_| each.next().is_some_and(|owner| owner != own));
        for (received, owner) in others.zip(owners.iter().filter(|owner| *owner != own)) {
            if let Some(peer) = shards.get_mut(*owner) {
                peer.packets.push(received);
            }
        }
        for Peer { shard, packets } in shards.iter_mut().filter(|peer| !peer.packets.is_empty()) {
            shard.take(packets, passed_on);
        }
        batch.extend(passed_on.extract_if(.., |(owner, _)| owner == own).map(|(_, received)| received));
        self.pass_on();
    }

    /// Takes from our core what it has put together for others.
    pub(crate) fn collect(&mut self, core: &mut Core) {
        self.passed_on.extend(iter::from_fn(|| core.poll_passed_on()));
    }

    /// Gives others the datagrams that were put together for them. None of those is a fragment, so nothing comes of them for others.
    pub(crate) fn pass_on(&mut self) {
        if self.passed_on.is_empty() {
            return;
        }
        for (owner, received) in self.passed_on.drain(..) {
            if let Some(peer) = self.shards.get_mut(owner) {
                peer.packets.push(received);
            }
        }
        for Peer { shard, packets } in self.shards.iter_mut().filter(|peer| !peer.packets.is_empty()) {
            shard.take(packets, &mut self.passed_on);
        }
        self.passed_on.clear();
    }

    /// What one of them cannot go on without is gone for all.
    pub(crate) fn end(&self, why: &Ended) {
        self.shards.iter().for_each(|peer| peer.shard.end(why.clone()));
    }
}
