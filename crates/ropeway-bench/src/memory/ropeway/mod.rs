//! ropeway's two ends: its sans-I/O core, driven as its runtime drives it.

pub(super) mod connect;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use ropeway_core::{
    ConnectionId, IpCidr, PacketPool, Received, RecvError, SendError, SendFlags, SocketOptions, Stack,
    StackConfig, Timestamp,
};

use super::{APPLICATION_BUFFER, Bulk, CLIENT, Carried, Counts, MTU, PORT, Progress, SERVER, TICK};
use crate::carry::carry;

const SEED: [u8; 32] = [7; 32];

/// Carries data packets from one end to the other.
#[inline(never)]
pub(super) fn run(Bulk { packets, mtu, buffer, timestamps }: Bulk) -> io::Result<Carried> {
    let mut now = Timestamp::START;
    let config = |config: &mut StackConfig| (config.timestamps, config.mtu) = (timestamps, mtu);
    let (mut sender, mut receiver) = (stack(CLIENT, now, config), stack(SERVER, now, config));
    let (mut to_receiver, mut to_sender) = (Link::new(mtu), Link::new(mtu));
    let options = options(buffer);
    let server = SocketAddr::from((SERVER, PORT));
    let listener = receiver.listen(server, 1, options.clone()).map_err(io::Error::other)?;
    let client = sender.connect(now, None, server, options).map_err(io::Error::other)?;

    let mut accepted = None;
    let mut application = vec![0x5a; APPLICATION_BUFFER];
    let mut bytes = 0;
    let mut progress = Progress::default();
    while to_receiver.counts.data_packets < packets {
        now += TICK;
        send(&mut sender, now, client, &application)?;
        turn(&mut sender, now, &mut to_sender, &mut to_receiver);
        turn(&mut receiver, now, &mut to_receiver, &mut to_sender);
        while sender.poll_event().is_some() || receiver.poll_event().is_some() {}
        if accepted.is_none() {
            accepted = receiver.accept(now, listener).map_err(io::Error::other)?;
        }
        if let Some((id, _)) = accepted {
            bytes += receive(&mut receiver, now, id, &mut application)?;
            // The window that has opened is announced.
            to_sender.take(&mut receiver, now);
        }
        progress.check(bytes)?;
    }
    Ok(Carried {
        data_packets: to_receiver.counts.data_packets,
        ack_packets: to_sender.counts.ack_packets,
        bytes,
    })
}

fn stack(address: Ipv4Addr, now: Timestamp, change: impl FnOnce(&mut StackConfig)) -> Stack {
    let mut config = StackConfig::default();
    config.addresses = vec![IpCidr::new(address.into(), 24)];
    config.mtu = MTU;
    // As in a driver, whose tasks run before it does what is due.
    config.events_first = true;
    config.longest_train = u16::MAX;
    change(&mut config);
    Stack::new(Arc::new(config), SEED, now)
}

fn options(buffer: usize) -> SocketOptions {
    let mut options = SocketOptions::default();
    options.recv_buffer = buffer;
    options.send_buffer = buffer;
    options
}

/// Writes until the send buffer is full.
fn send(stack: &mut Stack, now: Timestamp, id: ConnectionId, data: &[u8]) -> io::Result<()> {
    loop {
        match stack.send(now, id, data, SendFlags::default()) {
            Ok(_) => {}
            // It is not open yet in the first turns.
            Err(SendError::WouldBlock | SendError::NotConnected) => return Ok(()),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

/// Reads until nothing is left, and copies it, as `read` does. Answers how many bytes that were.
fn receive(stack: &mut Stack, now: Timestamp, id: ConnectionId, application: &mut [u8]) -> io::Result<u64> {
    let mut bytes = 0;
    loop {
        match stack.recv(now, id, application.len()) {
            Ok(payload) => {
                let mut rest = &mut *application;
                for part in payload.parts() {
                    let Some((to, after)) = rest.split_at_mut_checked(part.len()) else { break };
                    to.copy_from_slice(part);
                    rest = after;
                }
                bytes += payload.len() as u64;
            }
            Err(RecvError::WouldBlock) => return Ok(bytes),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

/// One turn of a driver: what is due, what has arrived, what leaves. What happened is left to the application.
fn turn(stack: &mut Stack, now: Timestamp, incoming: &mut Link, outgoing: &mut Link) {
    if stack.poll_timeout().is_some_and(|deadline| deadline <= now) {
        stack.handle_timeout(now);
    }
    stack.handle_batch(now, &mut incoming.packets);
    outgoing.take(stack, now);
}

/// One direction of the link.
struct Link {
    counts: Counts,
    packets: Vec<Received>,
    /// Packets are written to slabs, as a TUN device reads them.
    pool: PacketPool,
}

impl Link {
    fn new(mtu: u16) -> Self {
        Self { counts: Counts::default(), packets: Vec::new(), pool: PacketPool::new(mtu) }
    }

    /// Carries away all that `stack` has to send. No packet on the link is longer than its MTU: trains are cut, as for a device
    /// that carries none.
    fn take(&mut self, stack: &mut Stack, now: Timestamp) {
        while let Some(transmit) = stack.poll_transmit(now) {
            let Some(mut segments) = transmit.split() else {
                self.counts.count(transmit.len());
                self.packets.push(carry(&transmit, &mut self.pool));
                continue;
            };
            while let Some(length) = segments.fill(self.pool.window()) {
                self.counts.count(length);
                self.packets.push(self.pool.take(length));
            }
        }
    }
}
