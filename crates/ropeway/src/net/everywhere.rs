//! What a socket has in each shard of its stack.

use std::future::{Future, poll_fn};
use std::io;
use std::iter;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use ropeway_core::{ListenError, Readiness, Stack as Core, Timestamp};

use crate::Stack;
use crate::error;
use crate::shard::{Effect, Shard, Slot, Source};
use crate::stack::current::at_home;
use crate::wait::{Wait, poll_once};
use crate::waiters::read_interest;

/// Ports that are tried, each free in the first shard and not in all.
const MAX_PORTS: usize = 256;

/// One thing that each shard has, by its name there: a listener, a binding, or a UDP socket.
#[derive(Debug)]
pub(crate) struct Everywhere<Id> {
    first: (Arc<Shard>, Id),
    others: Box<[(Arc<Shard>, Id)]>,
    /// Where the next search for news begins, so that no shard's wait for ever.
    turn: AtomicUsize,
}

impl<Id: Copy> Everywhere<Id> {
    /// Claims an address in each shard of `stack`, or in none. `claim` is told the number of the shard. Port 0 is one that the first
    /// shard chooses, and that is free in all.
    pub(crate) fn claim(
        stack: &Stack,
        addr: SocketAddr,
        mut claim: impl FnMut(&mut Core, usize, SocketAddr) -> Result<(Id, SocketAddr), ListenError>,
        give_back: impl Fn(&Shard, Id),
    ) -> io::Result<(Self, SocketAddr)> {
        let mut claim_in = |number: usize, shard: &Shard, addr| {
            shard.attempt(Effect::None, |core, _| {
                Poll::Ready(claim(core, number, addr).map_err(error::listen))
            })
        };
        let mut ports = if addr.port() == 0 { MAX_PORTS } else { 1 };
        loop {
            ports -= 1;
            let first = at_home(stack.shard());
            let (id, chosen) = claim_in(0, &first, addr)?;
            let mut others = Vec::new();
            let mut failure = None;
            for (number, shard) in stack.shards().iter().enumerate().skip(1) {
                match claim_in(number, shard, chosen) {
                    Ok((id, _)) => others.push((Arc::clone(shard), id)),
                    Err(error) => {
                        failure = Some(error);
                        break;
                    }
                }
            }
            let Some(error) = failure else {
                let everywhere =
                    Self { first: (first, id), others: others.into(), turn: AtomicUsize::new(0) };
                return Ok((everywhere, chosen));
            };
            give_back(&first, id);
            others.iter().for_each(|(shard, id)| give_back(shard, *id));
            if ports == 0 || error.kind() != io::ErrorKind::AddrInUse {
                return Err(error);
            }
        }
    }

    /// Its place in the first shard, which stands for all when something is asked about it.
    pub(crate) fn first(&self) -> (&Arc<Shard>, Id) {
        (&self.first.0, self.first.1)
    }

    /// Its place in each shard, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<Shard>, Id)> {
        iter::once(&self.first).chain(&self.others).map(|(shard, id)| (shard, *id))
    }

    /// Its places, another one first each time.
    fn in_turns(&self) -> impl Iterator<Item = (&Arc<Shard>, Id)> {
        let first = match self.others.len() {
            0 => 0,
            others => self.turn.fetch_add(1, Ordering::Relaxed) % (1 + others),
        };
        self.iter().skip(first).chain(self.iter().take(first))
    }

    /// Waits until an attempt in one of the shards gives an answer; see [`Wait`].
    pub(crate) async fn wait<R>(
        &self,
        source: impl Fn(Id) -> Source,
        effect: Effect,
        attempt: impl Fn(&mut Core, Timestamp, Id) -> Poll<io::Result<R>>,
    ) -> io::Result<(&Arc<Shard>, Id, R)> {
        self.wait_for(read_interest(), source, effect, attempt).await
    }

    /// Likewise, where something else than to read is waited for.
    pub(crate) async fn wait_for<R>(
        &self,
        interest: Readiness,
        source: impl Fn(Id) -> Source,
        effect: Effect,
        attempt: impl Fn(&mut Core, Timestamp, Id) -> Poll<io::Result<R>>,
    ) -> io::Result<(&Arc<Shard>, Id, R)> {
        let attempt = &attempt;
        let mut waits = self.in_turns().map(|(shard, id)| {
            let attempt = move |core: &mut Core, now| attempt(core, now, id);
            (shard, id, Wait::new(shard, source(id), attempt).interest(interest).effect(effect))
        });
        if self.others.is_empty()
            && let Some((shard, id, wait)) = waits.next()
        {
            return Ok((shard, id, wait.await?));
        }
        let mut waits: Vec<_> = waits.collect();
        poll_fn(|cx| {
            for (shard, id, wait) in &mut waits {
                if let Poll::Ready(result) = Pin::new(wait).poll(cx) {
                    return Poll::Ready(result.map(|result| (*shard, *id, result)));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Makes one attempt in each shard, on behalf of the last caller of a poll function that reads.
    pub(crate) fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        source: impl Fn(Id) -> Source,
        effect: Effect,
        attempt: impl Fn(&mut Core, Timestamp, Id) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<(&Arc<Shard>, R)>> {
        for (shard, id) in self.in_turns() {
            let attempt = |core: &mut Core, now| attempt(core, now, id);
            if let Poll::Ready(result) = poll_once(shard, source(id), Slot::Reader, effect, cx, attempt) {
                return Poll::Ready(result.map(|result| (shard, result)));
            }
        }
        Poll::Pending
    }
}
