//! LISTEN: who waits on which address, and the two queues of each (SYN queue and accept queue).

pub(crate) mod accept_queue;
pub(crate) mod half_open;
pub(crate) mod incoming;
mod prefix;
pub(crate) mod syn_cookie;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ropeway_packet::{FourTuple, TcpFlags};

use self::accept_queue::AcceptQueue;
use crate::event::ListenerId;
use crate::options::SocketOptions;
use crate::slab::{Key, Slab};
use crate::time::Timestamp;

#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) local: SocketAddr,
    pub(crate) options: SocketOptions,
    pub(crate) accept_queue: AcceptQueue,
    /// How many entries of the SYN queue are this listener's.
    pub(crate) half_open: usize,
    /// How many more entries only remember that the user wants silence.
    pub(crate) refused: usize,
    /// SYNs are answered only when the user says so.
    pub(crate) asks_user: bool,
    /// SYNs that the user has not been told of.
    pub(crate) undecided: VecDeque<FourTuple>,
    /// When a cookie was last sent: only for a while after that one is looked for.
    pub(crate) cookie_sent: Option<Timestamp>,
}

impl Listener {
    fn new(local: SocketAddr, backlog: usize, mut options: SocketOptions, asks_user: bool) -> Self {
        options.normalize();
        Self {
            local,
            options,
            accept_queue: AcceptQueue::new(backlog),
            half_open: 0,
            refused: 0,
            asks_user,
            undecided: VecDeque::new(),
            cookie_sent: None,
        }
    }

    /// Whether another handshake may begin. The SYN queue has the accept queue's length, as in Linux
    /// (RFC 4987 3.2-1).
    pub(crate) fn syn_queue_is_full(&self) -> bool {
        self.half_open >= self.accept_queue.capacity()
    }

    /// Turns one of its half-open entries into a refused one, unless there are as many of these as may be.
    pub(crate) fn may_remember_refusal(&mut self) -> bool {
        if self.refused >= self.accept_queue.capacity() {
            return false;
        }
        self.half_open -= 1;
        self.refused += 1;
        true
    }

    /// The window of a SYN-ACK, which is never scaled.
    pub(crate) fn initial_window(&self) -> u16 {
        u16::try_from(self.options.recv_buffer).unwrap_or(u16::MAX)
    }
}

/// Whether a segment asks for a connection: a SYN that nothing contradicts (RFC 9293 3.10.7.2 R-02). As in Linux, one
/// with FIN does not: a filter that looks for a plain SYN would be passed by.
pub(crate) fn asks_to_open(flags: TcpFlags) -> bool {
    flags.contains(TcpFlags::SYN) && !flags.intersects(TcpFlags::ACK | TcpFlags::RST | TcpFlags::FIN)
}

/// All listeners, found by port.
#[derive(Clone, Debug)]
pub(crate) struct Listeners {
    slab: Slab<Listener>,
    by_port: HashMap<u16, Vec<Key>>,
    /// Who takes what nobody else takes, whatever its address and port.
    any: Option<Key>,
}

impl Listeners {
    pub(crate) fn new() -> Self {
        Self { slab: Slab::new(), by_port: HashMap::new(), any: None }
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
        let key = self.slab.insert_with(|_| Listener::new(local, backlog, options, false))?;
        self.by_port.entry(local.port()).or_default().push(key);
        Some(id(key))
    }

    /// A listener for any address and port, which asks the user; `None` if there is one.
    pub(crate) fn insert_any(&mut self, backlog: usize, options: SocketOptions) -> Option<ListenerId> {
        if self.any.is_some() {
            return None;
        }
        let anywhere = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        self.any = Some(self.slab.insert_with(|_| Listener::new(anywhere, backlog, options, true))?);
        self.any.map(id)
    }

    pub(crate) fn remove(&mut self, id: ListenerId) -> Option<Listener> {
        let listener = self.slab.remove(key(id))?;
        if self.any == Some(key(id)) {
            self.any = None;
        }
        if let Some(keys) = self.by_port.get_mut(&listener.local.port()) {
            keys.retain(|other| *other != key(id));
            if keys.is_empty() {
                self.by_port.remove(&listener.local.port());
            }
        }
        Some(listener)
    }

    /// The listener in a slot.
    pub(crate) fn id_at(&self, slot: u32) -> Option<ListenerId> {
        self.slab.key_at(slot).map(id)
    }

    pub(crate) fn get(&self, id: ListenerId) -> Option<&Listener> {
        self.slab.get(key(id))
    }

    pub(crate) fn get_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.slab.get_mut(key(id))
    }

    /// The listener for a SYN to `local`: one for just that address, or else one for any address of the port,
    /// or else the one for any port; port 0 is nobody's (RFC 6335 6). Among several that share an address
    /// (`reuse_port`), `choice` decides.
    pub(crate) fn find(&self, local: SocketAddr, choice: u64) -> Option<ListenerId> {
        self.find_by_port(local, choice).or(self.any.filter(|_| local.port() != 0)).map(id)
    }

    fn find_by_port(&self, local: SocketAddr, choice: u64) -> Option<Key> {
        let keys = self.by_port.get(&local.port())?;
        let fit = |key: Key| specificity(self.slab.get(key)?.local.ip(), local.ip());
        let best = keys.iter().filter_map(|key| fit(*key)).max()?;
        let matching = || keys.iter().filter(|key| fit(**key) == Some(best));
        let nth = choice.checked_rem(matching().count() as u64)?;
        matching().nth(usize::try_from(nth).ok()?).copied()
    }
}

fn id(key: Key) -> ListenerId {
    ListenerId { index: key.index, generation: key.generation }
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
