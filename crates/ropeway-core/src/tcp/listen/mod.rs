//! LISTEN: who waits on which address, and the two queues of each (SYN queue and accept queue).

pub(crate) mod accept_queue;
pub(crate) mod half_open;
pub(crate) mod incoming;
pub(crate) mod prefix;
pub(crate) mod syn_cookie;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ropeway_packet::TcpFlags;

use self::accept_queue::AcceptQueue;
use crate::config::StackConfig;
use crate::event::ListenerId;
use crate::options::SocketOptions;
use crate::pages::Pages;
use crate::slab::{Key, Slab};
use crate::tcp::connection::initial_window;
use crate::tcp::fast_open::queue::Pending;
use crate::time::Timestamp;

#[derive(Clone, Debug)]
pub(crate) struct Listener {
    pub(crate) local: SocketAddr,
    pub(crate) options: Arc<SocketOptions>,
    pub(crate) accept_queue: AcceptQueue,
    /// How many entries of the SYN queue are this listener's.
    pub(crate) half_open: usize,
    /// How many more entries only remember that the user wants silence.
    pub(crate) refused: usize,
    /// SYNs are answered only when the user says so.
    pub(crate) asks_user: bool,
    /// Its place among those that share its address.
    place: u32,
    /// It is closed, and its entries in the SYN queue have yet to be cleared away.
    closed: bool,
    pub(crate) patience: Patience,
    /// When a cookie was last sent: only for a while after that one is looked for.
    pub(crate) cookie_sent: Option<Timestamp>,
    /// Its connections that were opened by data in a SYN, and wait for their third segment.
    pub(crate) fast_open: Pending,
}

/// How long a listener's handshakes may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patience {
    /// So often a SYN-ACK is sent again.
    pub(crate) retries: u8,
    /// For so many timeouts of the SYN-ACK, data is waited for (`TCP_DEFER_ACCEPT`); 0: for none.
    pub(crate) deferral: u8,
}

impl Listener {
    fn new(local: SocketAddr, backlog: usize, mut options: SocketOptions, asks_user: bool) -> Self {
        options.normalize();
        Self {
            local,
            options: Arc::new(options),
            accept_queue: AcceptQueue::new(backlog),
            half_open: 0,
            refused: 0,
            asks_user,
            place: 0,
            closed: false,
            patience: Patience::default(),
            cookie_sent: None,
            fast_open: Pending::default(),
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
    pub(crate) fn initial_window(&self, config: &StackConfig) -> u16 {
        initial_window(&self.options, config)
    }
}

/// Whether a segment asks for a connection: a SYN that nothing contradicts (RFC 9293 3.10.7.2 R-02). As in Linux, one
/// with FIN does not: a filter that looks for a plain SYN would be passed by.
pub(crate) fn asks_to_open(flags: TcpFlags) -> bool {
    flags.contains(TcpFlags::SYN) && !flags.intersects(TcpFlags::ACK | TcpFlags::RST | TcpFlags::FIN)
}

/// All listeners, found by address and port.
#[derive(Clone, Debug)]
pub(crate) struct Listeners {
    slab: Slab<Listener>,
    /// Those of one address and port share it.
    by_address: BTreeMap<(IpAddr, u16), Pages<Key>>,
    /// Who takes what nobody else takes, whatever its address and port.
    any: Option<Key>,
    /// How many are closed and have entries left, and how many entries these are.
    closed: usize,
    forsaken: usize,
}

impl Listeners {
    pub(crate) fn new() -> Self {
        Self { slab: Slab::new(), by_address: BTreeMap::new(), any: None, closed: 0, forsaken: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.slab.len() - self.closed
    }

    /// How many entries of the SYN queue are those of closed listeners.
    pub(crate) fn forsaken(&self) -> usize {
        self.forsaken
    }

    pub(crate) fn insert(
        &mut self,
        local: SocketAddr,
        backlog: usize,
        options: SocketOptions,
    ) -> Option<ListenerId> {
        let key = self.slab.insert_with(|_| Listener::new(local, backlog, options, false))?;
        let sharers = self.by_address.entry((local.ip(), local.port())).or_default();
        // There are no gaps, so it is the last.
        if let (Some(place), Some(listener)) = (sharers.insert_with(|_| key), self.slab.get_mut(key)) {
            listener.place = place;
        }
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

    /// Closes a listener: from now on nobody finds it. Gives what it was. While it has entries in the SYN queue its slot
    /// stays taken, since they name it.
    pub(crate) fn close(&mut self, id: ListenerId) -> Option<Listener> {
        let listener = self.get_mut(id)?;
        let entries = listener.half_open + listener.refused;
        let listener = if entries == 0 {
            self.slab.remove(key(id))?
        } else {
            listener.closed = true;
            let accept_queue = std::mem::replace(&mut listener.accept_queue, AcceptQueue::new(0));
            let listener = Listener { accept_queue, ..listener.clone() };
            self.closed += 1;
            self.forsaken += entries;
            listener
        };
        if self.any == Some(key(id)) {
            self.any = None;
        }
        if !listener.asks_user {
            self.strike(&listener);
        }
        Some(listener)
    }

    /// Takes a listener out of those that share its address. The last of them gets its place.
    fn strike(&mut self, listener: &Listener) {
        let address = (listener.local.ip(), listener.local.port());
        let Some(sharers) = self.by_address.get_mut(&address) else { return };
        let last = u32::try_from(sharers.len()).ok().and_then(|len| sharers.take(len.checked_sub(1)?));
        if let Some(last) = last
            && sharers.get(listener.place).is_some()
        {
            sharers.put(listener.place, last);
            if let Some(moved) = self.slab.get_mut(last) {
                moved.place = listener.place;
            }
        }
        if sharers.is_empty() {
            self.by_address.remove(&address);
        }
    }

    /// An entry of the SYN queue has ended that belonged to the listener in this slot.
    pub(crate) fn entry_ends(&mut self, slot: u32, refused: bool) {
        let Some(key) = self.slab.key_at(slot) else { return };
        let Some(listener) = self.slab.get_mut(key) else { return };
        let count = if refused { &mut listener.refused } else { &mut listener.half_open };
        *count = count.saturating_sub(1);
        if listener.closed {
            let is_last = listener.half_open + listener.refused == 0;
            self.forsaken = self.forsaken.saturating_sub(1);
            if is_last {
                self.slab.remove(key);
                self.closed -= 1;
            }
        }
    }

    /// How long the handshakes of the listener in a slot may take.
    pub(crate) fn patience_at(&self, slot: u32) -> Option<Patience> {
        self.slab.at(slot).map(|listener| listener.patience)
    }

    /// The listener in a slot, unless it is closed.
    pub(crate) fn id_at(&self, slot: u32) -> Option<ListenerId> {
        self.slab.at(slot).filter(|listener| !listener.closed)?;
        self.slab.key_at(slot).map(id)
    }

    pub(crate) fn get(&self, id: ListenerId) -> Option<&Listener> {
        self.slab.get(key(id)).filter(|listener| !listener.closed)
    }

    pub(crate) fn get_mut(&mut self, id: ListenerId) -> Option<&mut Listener> {
        self.slab.get_mut(key(id)).filter(|listener| !listener.closed)
    }

    /// The listener for a SYN to `local`: one for just that address, or else one for any address of the port,
    /// or else the one for any port; port 0 is nobody's (RFC 6335 6). Among several that share an address
    /// (`reuse_port`), `choice` decides. `::` is for IPv4 too, as on Linux.
    pub(crate) fn find(&self, local: SocketAddr, choice: u64) -> Option<ListenerId> {
        let any = match local.ip() {
            IpAddr::V4(_) => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            IpAddr::V6(_) => None,
        };
        let listening = [Some(local.ip()), any, Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED))];
        let sharers = listening.into_iter().flatten().find_map(|ip| self.by_address.get(&(ip, local.port())));
        let found = sharers.and_then(|sharers| {
            let nth = choice.checked_rem(sharers.len() as u64)?;
            sharers.get(u32::try_from(nth).ok()?).copied()
        });
        found.or(self.any.filter(|_| local.port() != 0)).map(id)
    }
}

fn id(key: Key) -> ListenerId {
    ListenerId { index: key.index, generation: key.generation }
}

fn key(id: ListenerId) -> Key {
    Key { index: id.index, generation: id.generation }
}
