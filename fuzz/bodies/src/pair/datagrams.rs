//! A UDP socket on each side, and what becomes of the datagrams.

use std::net::{IpAddr, SocketAddr};

use ropeway_core::{DatagramError, Outgoing, RecvError, UdpId, UdpOptions};

use super::Pair;
use super::world::{NAMES, World};
use crate::story::tell;
use crate::wide::datagram;

/// The port of both sockets.
const PORT: u16 = 53;

pub(super) struct Datagrams {
    addresses: [IpAddr; 2],
    sockets: [Option<UdpId>; 2],
    /// The lengths of those that a side has sent, in their order.
    sent: [Vec<usize>; 2],
    /// A header was spoilt that no checksum protects.
    pub(super) unsure: bool,
}

impl Datagrams {
    pub(super) fn open(world: &mut World, addresses: [IpAddr; 2]) -> Self {
        let mut all = Self { addresses, sockets: [None; 2], sent: Default::default(), unsure: false };
        (0..2).for_each(|side| all.bind(world, side));
        all
    }

    /// Opens a side's socket, or closes it. That of A is connected.
    pub(super) fn bind(&mut self, world: &mut World, side: usize) {
        let stack = &mut world.stacks[side];
        if let Some(id) = self.sockets[side].take() {
            return stack.udp_close(world.now, id);
        }
        let options = UdpOptions { recv_buffer: 6000, send_buffer: 20_000, ..UdpOptions::default() };
        let local = SocketAddr::new(self.addresses[side], PORT);
        let (id, _) = stack.udp_bind(local, options).expect("a free port");
        if side == 0 {
            let remote = SocketAddr::new(self.addresses[1], PORT);
            stack.udp_connect(world.now, id, remote).expect("an address that can be reached");
        }
        self.sockets[side] = Some(id);
    }
}

impl Pair {
    /// Sends a datagram, or with `train` several of a few bytes each.
    pub(super) fn say(&mut self, side: usize, len: usize, (dont_fragment, train): (bool, bool)) {
        let Some(all) = &mut self.datagrams else { return };
        let Some(id) = all.sockets[side] else { return };
        let (world, number) = (&mut self.world, all.sent[side].len());
        let stack = &mut world.stacks[side];
        stack.udp_update_options(id, |options| options.dont_fragment = dont_fragment).expect("a socket");
        let to = SocketAddr::new(all.addresses[1 - side], PORT);
        let size = if train { 40 } else { len };
        let lens: Vec<usize> = match train {
            true => (0..len.min(400)).step_by(size).map(|at| size.min(len.min(400) - at)).collect(),
            false => vec![len],
        };
        let data: Vec<u8> =
            lens.iter().zip(number..).flat_map(|(len, number)| datagram(side, number, *len)).collect();
        let how =
            Outgoing { to: Some(to), segment_size: train.then_some(size as u16), ..Outgoing::default() };
        let answer = stack.udp_send(world.now, id, &data, &how);
        tell(world.now, || format!("  {} sends datagrams of {lens:?}: {answer:?}", NAMES[side]));
        match answer {
            Ok(()) => all.sent[side].extend(lens),
            Err(DatagramError::WouldBlock | DatagramError::Failed(_) | DatagramError::TooManySegments) => {}
            Err(DatagramError::TooLong) => assert!(dont_fragment || train, "too long, but it may be cut"),
            Err(error) => panic!("a datagram is refused: {error:?}"),
        }
    }

    /// Reads all that waits. It is what the other side has sent, each whole; the link may have lost and repeated some.
    pub(super) fn hear(&mut self, side: usize) {
        let Some(all) = &mut self.datagrams else { return };
        let Some(id) = all.sockets[side] else { return };
        loop {
            let came = match self.world.stacks[side].udp_recv(id) {
                Ok(came) => came,
                Err(RecvError::WouldBlock) => return,
                Err(RecvError::Failed(_)) => continue,
                Err(error) => panic!("no socket: {error:?}"),
            };
            tell(self.world.now, || {
                format!("  {} hears a datagram of {} bytes", NAMES[side], came.payload.len())
            });
            let sent = all.sent[1 - side].iter().enumerate();
            let mut alike = sent.filter(|(_, len)| **len == came.payload.len());
            let known = alike.any(|(number, len)| came.payload[..] == datagram(1 - side, number, *len));
            assert!(known || all.unsure, "a datagram that nobody has sent, of {} bytes", came.payload.len());
            let from = SocketAddr::new(all.addresses[1 - side], PORT);
            assert!(came.remote == from || all.unsure, "a datagram from {}", came.remote);
        }
    }

    /// What waits is read, and the sockets go: nothing of them stays.
    pub(super) fn end_datagrams(&mut self) {
        for (side, name) in NAMES.into_iter().enumerate() {
            self.hear(side);
            let Some(all) = &mut self.datagrams else { return };
            if all.sockets[side].is_some() {
                all.bind(&mut self.world, side);
            }
            let memory = self.world.stacks[side].memory();
            assert_eq!((memory.datagrams, memory.fragments), (0, 0), "{name} keeps datagrams");
        }
    }
}
