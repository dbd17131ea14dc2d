//! Packets from one stack to another, on the slabs that a TUN device reads them to.

use std::iter;

use ropeway_core::{PacketPool, Received, Transmit};

/// What another stack's device makes of a packet.
pub(crate) fn carry(transmit: &Transmit, pool: &mut PacketPool) -> Received {
    let mut room = pool.window();
    for part in iter::once(&*transmit.header).chain(transmit.payload.parts().map(|part| &**part)) {
        let Some((to, rest)) = room.split_at_mut_checked(part.len()) else { break };
        to.copy_from_slice(part);
        room = rest;
    }
    pool.take(transmit.len())
}
