//! LISTEN: who waits on which address, and the two queues of each (SYN queue and accept queue).

pub(crate) mod accept_queue;
pub(crate) mod half_open;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use self::accept_queue::AcceptQueue;
use crate::event::ListenerId;
use crate::options::SocketOptions;
use crate::slab::{Key, Slab};

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) local: SocketAddr,
    pub(crate) options: SocketOptions,
    pub(crate) accept_queue: AcceptQueue,
    /// How many entries of the SYN queue are this listener's.
    pub(crate) half_open: usize,
}

impl Listener {
    /// Whether another handshake may begin. The SYN queue has the accept queue's length, as in Linux.
    pub(crate) fn syn_queue_is_full(&self) -> bool {
        self.half_open >= self.accept_queue.backlog()
    }
}

/// All listeners, found by port.
#[derive(Debug)]
pub(crate) struct Listeners {
    slab: Slab<Listener>,
    by_port: HashMap<u16, Vec<Key>>,
}

impl Listeners {
    pub(crate) fn new() -> Self {
        Self { slab: Slab::new(), by_port: HashMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len()
    }

    pub(crate) fn insert(
        &mut self,
        local: SocketAddr,
        backlog: usize,
        options: SocketOptions,
    ) -> Option<ListenerId> {
        let key = self.slab.insert_with(|_| Listener {
            local,
            options,
            accept_queue: AcceptQueue::new(backlog),
            half_open: 0,
        })?;
        self.by_port.entry(local.port()).or_default().push(key);
        Some(ListenerId { index: key.index, generation: key.generation })
    }

    pub(crate) fn remove(&mut self, id: ListenerId) -> Option<Listener> {
        let listener = self.slab.remove(key(id))?;
        if let Some(keys) = self.by_port.get_mut(&listener.local.port()) {
            keys.retain(|other| *other != key(id));
            if keys.is_empty() {
                self.by_port.remove(&listener.local.port());
            }
        }
        Some(listener)
    }

    pub(crate) fn get(&self, id: ListenerId) -> Option<&Listener> {
        self.slab.get(key(id))
    }

    pub(crate) fn get_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.slab.get_mut(key(id))
    }

    /// The listener for a SYN to `local`: one for just that address, or else one for any address. Among
    /// several that share an address (`reuse_port`), `choice` decides.
    pub(crate) fn find(&self, local: SocketAddr, choice: u64) -> Option<ListenerId> {
        let keys = self.by_port.get(&local.port())?;
        let best =
            keys.iter().filter_map(|key| specificity(self.slab.get(*key)?.local.ip(), local.ip())).max()?;
        let matching = || {
            keys.iter().filter(|key| {
                self.slab.get(**key).and_then(|l| specificity(l.local.ip(), local.ip())) == Some(best)
            })
        };
        let count = matching().count() as u64;
        let chosen = matching().nth(usize::try_from(choice.checked_rem(count)?).ok()?)?;
        Some(ListenerId { index: chosen.index, generation: chosen.generation })
    }

    /// The listeners whose address overlaps with `local`.
    pub(crate) fn overlapping(&self, local: SocketAddr) -> impl Iterator<Item = &Listener> {
        self.by_port
            .get(&local.port())
            .into_iter()
            .flatten()
            .filter_map(|key| self.slab.get(*key))
            .filter(move |listener| overlap(listener.local.ip(), local.ip()))
    }

    pub(crate) fn has_port(&self, port: u16) -> bool {
        self.by_port.contains_key(&port)
    }
}

fn key(id: ListenerId) -> Key {
    Key { index: id.index, generation: id.generation }
}

/// How well a listening address matches: exactly, any address of the family, or `::` for IPv4 too, as on
/// Linux.
fn specificity(listening: IpAddr, local: IpAddr) -> Option<u8> {
    match listening {
        _ if listening == local => Some(2),
        _ if listening.is_unspecified() && listening.is_ipv4() == local.is_ipv4() => Some(1),
        IpAddr::V6(any) if any.is_unspecified() => Some(0),
        _ => None,
    }
}

/// Whether two addresses to bind to can both match one local address.
pub(crate) fn overlap(a: IpAddr, b: IpAddr) -> bool {
    let v4_any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    specificity(a, b).is_some() || specificity(b, a).is_some() || (a == v4_any && b.is_unspecified())
}
