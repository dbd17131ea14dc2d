//! UDP (RFC 768): the sockets, who takes a datagram, and what waits to be read or to leave.
//!
//! A socket has no state but its two ends. So there is no timer here, and nothing is ever sent that the application has
//! not asked for.

pub(crate) mod datagram;
mod groups;
pub(crate) mod options;
mod receive;
mod sent;
pub(crate) mod socket;
mod table;

use std::net::{IpAddr, SocketAddr};

use ropeway_packet::FourTuple;

use self::datagram::UdpId;
use self::groups::HostGroups;
pub(crate) use self::receive::{Arrival, Refused};
pub(crate) use self::socket::{Hold, Socket};
pub(crate) use self::table::Found;
use self::table::Table;
use crate::queue::PagedQueue;
use crate::slab::{Key, Slab};

/// Received datagrams may take this part of the memory budget at most.
const PART: usize = 8;

/// All sockets.
#[derive(Clone, Debug)]
pub(crate) struct Sockets {
    slab: Slab<Socket>,
    table: Table,
    /// The groups that any of them has joined.
    groups: HostGroups,
    /// How many are closed, and still have datagrams that wait to leave.
    closed: usize,
    /// The memory that received datagrams take, in bytes, and the sockets themselves.
    held: usize,
    /// Likewise, what waits to leave.
    pub(crate) unsent: usize,
    /// Those that may not send because all sockets together have too much that waits to leave.
    crowded: PagedQueue<Key>,
    /// A queue of what was received has become fuller than half.
    fills: bool,
}

impl Sockets {
    pub(crate) fn new(secret: [u8; 16]) -> Self {
        Self {
            slab: Slab::new(),
            table: Table::new(secret),
            groups: HostGroups::default(),
            closed: 0,
            held: 0,
            unsent: 0,
            crowded: PagedQueue::default(),
            fills: false,
        }
    }

    /// How many the application holds.
    pub(crate) fn len(&self) -> usize {
        self.slab.len() - self.closed
    }

    /// What they hold, in bytes, and what they are.
    pub(crate) fn memory(&self) -> usize {
        self.held + self.slab.len() * size_of::<Socket>()
    }

    pub(crate) fn get(&self, id: UdpId) -> Option<&Socket> {
        self.slab.get(key(id)).filter(|socket| !socket.closed)
    }

    pub(crate) fn get_mut(&mut self, id: UdpId) -> Option<&mut Socket> {
        self.slab.get_mut(key(id)).filter(|socket| !socket.closed)
    }

    /// The socket of a key, closed or not.
    pub(crate) fn at(&self, key: Key) -> Option<&Socket> {
        self.slab.get(key)
    }

    /// Likewise.
    pub(crate) fn at_mut(&mut self, key: Key) -> Option<&mut Socket> {
        self.slab.get_mut(key)
    }

    /// Enters a socket, which takes datagrams from now on. `None` if there is no more place.
    pub(crate) fn insert(&mut self, socket: Socket) -> Option<UdpId> {
        let key = self.slab.insert_with(|_| socket)?;
        if let Some(socket) = self.slab.get(key) {
            self.table.enter(key, socket);
        }
        Some(id(key))
    }

    /// Changes where a socket's datagrams come from and go to.
    pub(crate) fn move_to(&mut self, id: UdpId, local: SocketAddr, remote: Option<SocketAddr>) {
        let Some(socket) = self.slab.get_mut(key(id)) else { return };
        self.table.strike(key(id), socket);
        (socket.local, socket.remote) = (local, remote);
        self.table.enter(key(id), socket);
    }

    /// The application lets go of a socket: nobody finds it any more. What waits to leave still does.
    pub(crate) fn close(&mut self, id: UdpId) {
        let Some(socket) = self.slab.get_mut(key(id)).filter(|socket| !socket.closed) else { return };
        self.table.strike(key(id), socket);
        self.held -= socket.receive.clear();
        socket.groups.drain(..).for_each(|group| self.groups.leave(group));
        socket.closed = true;
        self.closed += 1;
        self.bury(key(id));
    }

    /// Forgets a closed socket that has nothing left to send.
    pub(crate) fn bury(&mut self, key: Key) {
        if self.slab.get(key).is_some_and(|socket| socket.closed && socket.outgoing.is_empty()) {
            self.slab.remove(key);
            self.closed -= 1;
        }
    }

    /// Who takes a datagram that came by `tuple`: one that is connected to its sender, one that is bound to just that address, one
    /// for any address of the port, or else the one for any port. Of several that share a port, `choice` says which.
    pub(crate) fn find(&self, tuple: &FourTuple, choice: impl Fn() -> u64) -> Option<Found> {
        self.table.find(tuple, choice)
    }

    /// All that take a datagram which came to a group, or to everybody.
    pub(crate) fn find_all(&self, tuple: &FourTuple) -> Vec<Key> {
        self.table.find_all(tuple)
    }

    /// Gives a datagram, or several of one size, to a socket. `left`: of the budget, so much is there, and so much is left.
    pub(crate) fn deliver(
        &mut self,
        key: Key,
        arrival: &Arrival,
        (budget, left): (usize, usize),
    ) -> Result<(), Refused> {
        let Some(socket) = self.slab.get_mut(key) else { return Ok(()) };
        // Whoever holds much gets no more before whoever holds little: each may have what is left of the common part.
        let common = (budget / PART).min(left / 2);
        let fair = common.saturating_sub(self.held);
        let before = socket.receive.memory();
        let taken = socket.receive.take(arrival, socket.options.recv_buffer, fair);
        self.held = self.held + socket.receive.memory() - before;
        // Whoever does not read at all is not waited for.
        self.fills |= taken.is_ok() && socket.receive.memory() > socket.options.recv_buffer / 2;
        taken
    }

    /// Whether a queue has become fuller than half since this was asked last.
    pub(crate) fn take_fills(&mut self) -> bool {
        std::mem::take(&mut self.fills)
    }

    /// Lets `read` take datagrams out of a socket's queue.
    pub(crate) fn read<R>(&mut self, id: UdpId, read: impl FnOnce(&mut Socket) -> R) -> Option<R> {
        let socket = self.slab.get_mut(key(id)).filter(|socket| !socket.closed)?;
        let before = socket.receive.memory();
        let result = read(socket);
        self.held = self.held + socket.receive.memory() - before;
        Some(result)
    }

    /// A socket joins a group.
    pub(crate) fn join(&mut self, id: UdpId, group: IpAddr) {
        if let Some(socket) = self.slab.get_mut(key(id)) {
            socket.groups.push(group);
            self.groups.join(group);
        }
    }

    /// A socket leaves a group. Says whether it had joined it.
    pub(crate) fn leave(&mut self, id: UdpId, group: IpAddr) -> bool {
        let Some(socket) = self.slab.get_mut(key(id)) else { return false };
        let Some(place) = socket.groups.iter().position(|joined| *joined == group) else { return false };
        socket.groups.swap_remove(place);
        self.groups.leave(group);
        true
    }

    /// Whether this host takes packets to a group.
    pub(crate) fn has_joined(&self, group: IpAddr) -> bool {
        self.groups.contains(group)
    }

    /// A socket waits until less waits to leave altogether.
    pub(crate) fn is_crowded_out(&mut self, id: UdpId) {
        self.crowded.push_back(key(id));
    }

    /// The next of these.
    pub(crate) fn next_crowded(&mut self) -> Option<Key> {
        self.crowded.pop_front()
    }

    /// Whether there is one that takes what nobody else does.
    pub(crate) fn takes_any(&self) -> bool {
        self.table.any.is_some()
    }
}

pub(crate) fn id(key: Key) -> UdpId {
    UdpId { index: key.index, generation: key.generation }
}

pub(crate) fn key(id: UdpId) -> Key {
    Key { index: id.index, generation: id.generation }
}
