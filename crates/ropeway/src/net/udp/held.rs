//! The hold on a UDP socket of the core, which lives in each shard: what every call on it goes through.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use ropeway_core::{
    Datagram, DatagramError, Outgoing, Readiness, RecvError, Stack as Core, Timestamp, UdpId, UdpOptions,
};

use crate::Stack;
use crate::error;
use crate::net::everywhere::Everywhere;
use crate::net::tcp::connection::shown;
use crate::shard::{Effect, Shard, Slot, Source};
use crate::wait::{Wait, poll_once};
use crate::waiters::write_interest;

/// Closes the socket when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    places: Everywhere<UdpId>,
    /// Keeps the drivers alive.
    stack: Stack,
    /// The application sees IPv6 addresses: those of IPv4 are mapped, as in Linux (RFC 3493 3.7).
    ipv6: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.places.iter().for_each(|(shard, id)| close(shard, id));
    }
}

pub(super) fn close(shard: &Shard, id: UdpId) {
    shard.close(Source::Udp(id));
}

impl Held {
    pub(super) fn new(stack: Stack, places: Everywhere<UdpId>, ipv6: bool) -> Self {
        Self { places, stack, ipv6 }
    }

    pub(super) fn bind(stack: &Stack, addr: SocketAddr, options: &UdpOptions) -> io::Result<Self> {
        let bind = |core: &mut Core, _, addr| core.udp_bind(addr, options.clone());
        let (places, _) = Everywhere::claim(stack, addr, bind, close)?;
        Ok(Self::new(stack.clone(), places, addr.is_ipv6()))
    }

    pub(super) fn stack(&self) -> &Stack {
        &self.stack
    }

    pub(super) fn is_ipv6(&self) -> bool {
        self.ipv6
    }

    /// An address as the application sees it.
    pub(super) fn shown(&self, addr: SocketAddr) -> SocketAddr {
        shown(addr, self.ipv6)
    }

    /// Looks at the socket in the first shard, which stands for all.
    pub(super) fn look<R>(&self, look: impl FnOnce(&Core, UdpId) -> R) -> R {
        let (shard, id) = self.places.first();
        shard.look(|core, _| look(core, id))
    }

    /// Does the same in each shard.
    pub(super) fn each<R>(
        &self,
        mut act: impl FnMut(&mut Core, Timestamp, UdpId) -> io::Result<R>,
    ) -> io::Result<Vec<R>> {
        let act = |(shard, id): (&Arc<Shard>, UdpId)| {
            shard.attempt(Effect::Driver, |core, now| Poll::Ready(act(core, now, id)))
        };
        self.places.iter().map(act).collect()
    }

    pub(super) fn options<R>(&self, look: impl FnOnce(&UdpOptions) -> R) -> io::Result<R> {
        self.look(|core, id| core.udp_options(id).map(look)).map_err(error::unknown)
    }

    pub(super) fn update_options(&self, change: impl Fn(&mut UdpOptions)) -> io::Result<()> {
        self.each(|core, _, id| core.udp_update_options(id, &change).map_err(error::unknown)).map(drop)
    }

    /// Whether a datagram to `remote` could go anywhere.
    pub(super) fn reaches(&self, remote: SocketAddr) -> io::Result<()> {
        let ip = remote.ip().to_canonical();
        if self.stack.reaches(remote) || ip.is_multicast() || ip == Ipv4Addr::BROADCAST {
            return Ok(());
        }
        Err(error::loopback_only(remote))
    }

    /// Where a datagram is sent: in the shard of its flow.
    fn place_to_send(&self, how: &Outgoing) -> (&Arc<Shard>, UdpId) {
        let first = self.places.first();
        if self.stack.shards().len() == 1 {
            return first;
        }
        // What is wrong with it, sending it tells.
        let number = first.0.look(|core, _| core.udp_shard(first.1, how)).unwrap_or(0);
        self.places.iter().nth(number).unwrap_or(first)
    }

    /// Sends a datagram if there is room.
    pub(super) fn try_send(&self, data: &[u8], how: &Outgoing) -> io::Result<()> {
        self.check(how)?;
        let (shard, id) = self.place_to_send(how);
        shard.attempt(Effect::Driver, |core, now| self.attempt_to_send(core, now, id, data, how))
    }

    /// Sends a datagram, and waits while there is no room.
    pub(super) async fn send(&self, data: &[u8], how: &Outgoing) -> io::Result<()> {
        self.check(how)?;
        let (shard, id) = self.place_to_send(how);
        let attempt = |core: &mut Core, now: Timestamp| self.attempt_to_send(core, now, id, data, how);
        Wait::new(shard, Source::Udp(id), attempt).interest(write_interest()).effect(Effect::Driver).await
    }

    /// Sends a datagram on behalf of the last caller of a poll function that writes.
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        data: &[u8],
        how: &Outgoing,
    ) -> Poll<io::Result<()>> {
        self.check(how)?;
        let (shard, id) = self.place_to_send(how);
        let attempt = |core: &mut Core, now: Timestamp| self.attempt_to_send(core, now, id, data, how);
        poll_once(shard, Source::Udp(id), Slot::Writer, Effect::Driver, cx, attempt)
    }

    fn check(&self, how: &Outgoing) -> io::Result<()> {
        how.to.map_or(Ok(()), |to| self.reaches(to))
    }

    fn attempt_to_send(
        &self,
        core: &mut Core,
        now: Timestamp,
        id: UdpId,
        data: &[u8],
        how: &Outgoing,
    ) -> Poll<io::Result<()>> {
        match core.udp_send(now, id, data, how) {
            Err(DatagramError::WouldBlock) => Poll::Pending,
            result => Poll::Ready(result.map_err(|error| error::datagram(error, is_to_ipv6(core, id, how)))),
        }
    }

    /// Takes something that has been received; `take` gets it from the core.
    pub(super) fn try_recv<R>(
        &self,
        take: impl Fn(&mut Core, UdpId) -> Result<R, RecvError>,
    ) -> io::Result<R> {
        for (shard, id) in self.places.iter() {
            let attempt = |core: &mut Core, _| received(take(core, id), core, id);
            match shard.attempt(Effect::None, attempt) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Likewise, and waits for it.
    pub(super) async fn recv<R>(
        &self,
        take: impl Fn(&mut Core, UdpId) -> Result<R, RecvError>,
    ) -> io::Result<R> {
        let attempt = |core: &mut Core, _: Timestamp, id| received(take(core, id), core, id);
        Ok(self.places.wait(Source::Udp, Effect::None, attempt).await?.2)
    }

    /// Likewise, on behalf of the last caller of a poll function that reads.
    pub(super) fn poll_recv<R>(
        &self,
        cx: &mut Context<'_>,
        take: impl Fn(&mut Core, UdpId) -> Result<R, RecvError>,
    ) -> Poll<io::Result<R>> {
        let attempt = |core: &mut Core, _: Timestamp, id| received(take(core, id), core, id);
        self.places.poll(cx, Source::Udp, Effect::None, attempt).map_ok(|(_, result)| result)
    }

    /// What of `wanted` is there, in whichever shard.
    pub(super) fn readiness(&self, wanted: Readiness) -> io::Result<Readiness> {
        let mut found = Readiness::EMPTY;
        for (shard, id) in self.places.iter() {
            found |= shard.attempt(Effect::None, |core, _| Poll::Ready(Ok(core.udp_readiness(id))))?;
        }
        if found.intersects(wanted) { Ok(found) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// Waits until something of `wanted` is there.
    pub(super) async fn ready(&self, wanted: Readiness) -> io::Result<Readiness> {
        let attempt = |core: &mut Core, _: Timestamp, id| ready_for(core, id, wanted);
        Ok(self.places.wait_for(wanted, Source::Udp, Effect::None, attempt).await?.2)
    }

    /// Likewise, on behalf of the last caller of a poll function for reading.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>, wanted: Readiness) -> Poll<io::Result<()>> {
        let attempt = |core: &mut Core, _: Timestamp, id| ready_for(core, id, wanted);
        self.places.poll(cx, Source::Udp, Effect::None, attempt).map_ok(|_| ())
    }

    /// Likewise, for writing to the peer.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>, wanted: Readiness) -> Poll<io::Result<()>> {
        let (shard, id) = self.place_to_send(&Outgoing::default());
        let attempt = |core: &mut Core, _: Timestamp| ready_for(core, id, wanted);
        poll_once(shard, Source::Udp(id), Slot::Writer, Effect::None, cx, attempt).map_ok(drop)
    }
}

fn ready_for(core: &Core, id: UdpId, wanted: Readiness) -> Poll<io::Result<Readiness>> {
    let readiness = core.udp_readiness(id);
    if readiness.intersects(wanted) { Poll::Ready(Ok(readiness)) } else { Poll::Pending }
}

fn received<R>(result: Result<R, RecvError>, core: &Core, id: UdpId) -> Poll<io::Result<R>> {
    match result {
        Err(RecvError::WouldBlock) => Poll::Pending,
        result => {
            let ipv6 = is_to_ipv6(core, id, &Outgoing::default());
            Poll::Ready(result.map_err(|error| error::recv(error, ipv6)))
        }
    }
}

/// Whether the other end has an IPv6 address.
fn is_to_ipv6(core: &Core, id: UdpId, how: &Outgoing) -> bool {
    let peer = how.to.or_else(|| core.udp_peer_addr(id).ok().flatten());
    peer.is_some_and(|peer| peer.ip().to_canonical().is_ipv6())
}

/// Copies as much of a datagram as fits; the rest is lost, as with the kernel.
pub(super) fn copy(datagram: &Datagram, buf: &mut [u8]) -> usize {
    let len = datagram.payload.len().min(buf.len());
    if let (Some(to), Some(from)) = (buf.get_mut(..len), datagram.payload.get(..len)) {
        to.copy_from_slice(from);
    }
    len
}
