//! Which local port a socket gets: asked of the port table, whoever and however many have one.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ropeway_packet::{FourTuple, Protocol};

use super::Stack;
use crate::config::TimeWaitReuse;
use crate::demux::Room;
use crate::error::{ConnectError, ListenError};
use crate::options::SocketOptions;
use crate::ports::choice::PortSelector;
use crate::ports::{FreePorts, PortTable, Sharing};
use crate::tcp::time_wait::Incarnation;
use crate::time::Timestamp;
use crate::tuple_slab::TupleKey;

/// A port that the table calls free may be that of a half-open connection, or of one that a peer has opened. So many
/// are tried.
const MAX_TRIES: usize = 256;

/// A tuple in TIME-WAIT is taken over when the timestamps of its peer must have risen: `tcp_tw_reuse_delay` of Linux.
const REUSE_AGE: Duration = Duration::from_secs(1);

/// So many of the oldest in TIME-WAIT are looked at: one of them may have been waiting for less than the others, because its
/// peer's FIN came again.
const MAX_WAITING: usize = 64;

/// The entry in TIME-WAIT whose tuple is taken over, and what it knows.
type TakenOver = Option<(TupleKey, Incarnation)>;

/// The port tables of a stack.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    pub(super) tcp: PortTable,
    pub(super) udp: PortTable,
    pub(super) selector: PortSelector,
}

impl Ports {
    fn of(&self, protocol: Protocol) -> &PortTable {
        if protocol == Protocol::UDP { &self.udp } else { &self.tcp }
    }
}

impl Sharing {
    pub(super) fn of(options: &SocketOptions) -> Self {
        Self { reuse_addr: options.reuse_addr, reuse_port: options.reuse_port, only_v6: false }
    }
}

impl Stack {
    /// The address that a binding, a listener or a UDP socket gets; port 0 chooses one that nobody uses.
    pub(super) fn choose_local(
        &mut self,
        protocol: Protocol,
        local: SocketAddr,
        sharing: Sharing,
    ) -> Result<SocketAddr, ListenError> {
        let ip = local.ip().to_canonical();
        // A mapped address is IPv4's (RFC 3493 3.7).
        let local = if ip == local.ip() { local } else { SocketAddr::new(ip, local.port()) };
        // RFC 9293 3.9.1.1 MUST-43
        let is_ours = self.addresses.is_local(ip) || protocol == Protocol::UDP && self.is_to_many(ip);
        if !ip.is_unspecified() && !is_ours {
            return Err(ListenError::AddressNotAvailable);
        }
        if local.port() != 0 {
            let taken = self.ports.of(protocol).is_taken(local, sharing);
            return if taken { Err(ListenError::AddressInUse) } else { Ok(local) };
        }
        let range = ephemeral(&self.config.ephemeral_ports);
        let offset = self.ports.selector.offset(count(&range), ip, None);
        let mut free =
            FreePorts::new(&range, offset, self.ports.of(protocol).in_the_way_of(ip, sharing.only_v6));
        let port = free.next();
        let steps = free.steps();
        self.port_searched(&range, offset, port, steps);
        port.map(|port| SocketAddr::new(ip, port)).ok_or(ListenError::PortsExhausted)
    }

    /// The tuple of a connection that we open; and the entry in TIME-WAIT that it takes the tuple over from, if it does.
    pub(super) fn choose_tuple(
        &mut self,
        now: Timestamp,
        local: IpAddr,
        port: u16,
        remote: SocketAddr,
    ) -> Result<(FourTuple, TakenOver), ConnectError> {
        let tuple = |port| FourTuple::new(SocketAddr::new(local, port), remote);
        if port != 0 {
            return match self.demux.find(&tuple(port), &self.rooms) {
                None => Ok((tuple(port), None)),
                // As Linux: who asks for just this tuple knows the old connection, and need not wait.
                Some(_) => match self.incarnation(now, &tuple(port), Duration::ZERO) {
                    None => Err(ConnectError::AddressInUse),
                    old => Ok((tuple(port), old)),
                },
            };
        }
        let range = ephemeral(&self.config.ephemeral_ports);
        let ends = (remote.ip(), remote.port());
        let offset = self.ports.selector.offset(count(&range), local, Some(ends));
        let mut free = FreePorts::new(&range, offset, self.ports.tcp.in_the_way_towards(local, ends));
        let ours = |port: &u16| self.has_flow(&tuple(*port));
        let nobody_has = |port: &u16| self.demux.find(&tuple(*port), &self.rooms).is_none();
        let port = free.by_ref().filter(ours).take(MAX_TRIES).find(nobody_has);
        let steps = free.steps();
        self.port_searched(&range, offset, port, steps);
        if let Some(port) = port {
            return Ok((tuple(port), None));
        }
        let may_reuse = match self.config.time_wait_reuse {
            TimeWaitReuse::Never => false,
            TimeWaitReuse::Local => self.addresses.is_local(remote.ip()),
            TimeWaitReuse::Always => true,
        };
        let may_reuse = |port: &u16| may_reuse && !self.ports.tcp.is_claimed(*port);
        let mut waiting = self.ports.tcp.waiting_towards(local, ends).take(MAX_WAITING).filter(may_reuse);
        let old =
            waiting.find_map(|port| Some((tuple(port), self.incarnation(now, &tuple(port), REUSE_AGE)?)));
        old.map(|(tuple, old)| (tuple, Some(old))).ok_or(ConnectError::PortsExhausted)
    }

    /// The connection in TIME-WAIT that has the tuple, if its tuple may be taken over.
    fn incarnation(&self, now: Timestamp, tuple: &FourTuple, age: Duration) -> TakenOver {
        let Some(Room::TimeWait(key)) = self.demux.find(tuple, &self.rooms) else { return None };
        Some((key, self.rooms.time_wait.incarnation(key, age, now)?))
    }

    /// The local port of a UDP flow to `remote` that we open.
    pub(super) fn choose_udp_port(&mut self, local: IpAddr, remote: SocketAddr) -> Option<u16> {
        let range = ephemeral(&self.config.ephemeral_ports);
        let ends = (remote.ip(), remote.port());
        let offset = self.ports.selector.offset(count(&range), local, Some(ends));
        let mut free = FreePorts::new(&range, offset, self.ports.udp.in_the_way_towards(local, ends));
        let ours = |port: &u16| self.has_flow(&FourTuple::new(SocketAddr::new(local, *port), remote));
        let port = free.by_ref().find(ours);
        let steps = free.steps();
        self.port_searched(&range, offset, port, steps);
        port
    }

    /// A search began `offset` ports into the range, and ended at this port, or in vain. The next goes on behind it.
    fn port_searched(&mut self, range: &RangeInclusive<u16>, offset: u32, found: Option<u16>, steps: u64) {
        self.counters.port_search_steps += steps;
        if let Some(found) = found {
            let place = u32::from(found.saturating_sub(*range.start()));
            let passed = if place >= offset { place - offset } else { count(range) - offset + place };
            self.ports.selector.advance(passed + 1);
        }
    }
}

/// The ports to choose from. Port 0 is none.
fn ephemeral(range: &RangeInclusive<u16>) -> RangeInclusive<u16> {
    (*range.start()).max(1)..=*range.end()
}

fn count(range: &RangeInclusive<u16>) -> u32 {
    u32::from(*range.end()).checked_sub(u32::from(*range.start())).map_or(0, |last| last + 1)
}
