//! Several stacks that together are one host: each has a share of its flows.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ropeway_packet::FourTuple;

use super::{Stack, key_of};
use crate::config::StackConfig;
use crate::error::ConnectError;
use crate::queue::PagedQueue;
use crate::steering::Steering;
use crate::time::Timestamp;
use crate::transmit::Received;

/// What a stack knows of the host that it is a part of.
#[derive(Clone, Debug)]
pub(super) struct Host {
    steering: Steering,
    /// The number of this shard.
    shard: usize,
    /// The settings of the host, of which each shard has its part.
    config: Arc<StackConfig>,
    /// Datagrams that were put together here, and are others'.
    pub(super) passed_on: PagedQueue<(usize, Received)>,
}

impl Stack {
    /// The shards of one host, so that several threads can work for it at a time. Each has the flows that [`Steering`] gives it,
    /// and nothing of the others; they draw from one memory budget, and have equal parts of every other limit that the host has
    /// as a whole.
    ///
    /// Their owner hands each packet to the shard that is [to take it](Steering::shard_of_packet), and so what that one
    /// [gives on](Self::poll_passed_on). He tells every shard what
    /// concerns the host: addresses, policies, listeners, bindings. A local address is free if it is in each of them.
    ///
    /// A host of one shard is just a [`Stack::new`].
    #[must_use]
    pub fn shards(
        config: Arc<StackConfig>,
        seed: [u8; 32],
        now: Timestamp,
        shards: NonZeroUsize,
    ) -> Vec<Self> {
        if shards.get() == 1 {
            return vec![Self::new(config, seed, now)];
        }
        let mut whole = Arc::unwrap_or_clone(config);
        whole.normalize();
        let mut part = whole.clone();
        part.divide(shards);
        let (whole, part) = (Arc::new(whole), Arc::new(part));
        let mut rng = StdRng::from_seed(seed);
        let steering = Steering::new(key_of(&mut rng), shards.get());
        let mut stacks = Vec::with_capacity(shards.get());
        for shard in 0..shards.get() {
            let mut seed = [0; 32];
            rng.fill_bytes(&mut seed);
            let mut stack = Self::new(Arc::clone(&part), seed, now);
            stack.host = Some(Box::new(Host {
                steering: steering.clone(),
                shard,
                config: Arc::clone(&whole),
                passed_on: PagedQueue::default(),
            }));
            let all = &stacks.first().unwrap_or(&stack).identifications;
            stack.identifications = all.of_shard(shard, shards.get());
            if let Some(first) = stacks.first() {
                stack.share_budget(first);
                // A client's next flow may be another shard's.
                stack.set_fast_open_keys(first.fast_open_keys());
            }
            stacks.push(stack);
        }
        stacks
    }

    fn share_budget(&mut self, other: &Self) {
        self.ledger.share_budget(&other.ledger);
    }

    /// Which shard has which flow; `None` if there is but one.
    #[must_use]
    pub fn steering(&self) -> Option<&Steering> {
        self.host.as_ref().map(|host| &host.steering)
    }

    /// The settings of the host.
    pub(super) fn host_config(&self) -> &StackConfig {
        self.host.as_ref().map_or(&self.config, |host| &host.config)
    }

    /// The number of the shard that is to take a packet, if that is another one.
    pub(super) fn other_shard_of(&self, packet: &[u8]) -> Option<usize> {
        let host = self.host.as_ref()?;
        host.steering.shard_of_packet(packet).filter(|shard| *shard != host.shard)
    }

    /// Whether this shard has the flow.
    pub(super) fn has_flow(&self, tuple: &FourTuple) -> bool {
        self.host.as_ref().is_none_or(|host| host.steering.shard_of(tuple) == host.shard)
    }

    /// The number of the shard in which [`connect`](Self::connect) works for this local address and this remote one: `None`
    /// says any, because there is no port yet.
    ///
    /// # Errors
    ///
    /// Those of `connect` for such addresses.
    pub fn shard_to_connect(
        &self,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Result<Option<usize>, ConnectError> {
        let Some(host) = self.host.as_ref().filter(|_| local.port() != 0) else { return Ok(None) };
        let remote = self.effective_remote(Some(local), remote)?;
        let (addr, port) = self.effective_local(Some(local), remote)?;
        Ok(Some(host.steering.shard_of(&FourTuple::new(SocketAddr::new(addr, port), remote))))
    }
}
