//! UDP sockets beside the connection: one on a port, one that is connected, and one for all that no other takes.

use std::collections::HashMap;
use std::net::SocketAddr;

use bytes::Bytes;
use ropeway_core::{DatagramError, Outgoing, Received, RecvError, UdpId, UdpOptions};
use ropeway_packet::ip;

use super::World;
use crate::story::tell;
use crate::wide::{cut, datagram, error_about, is_fragment, udp_of, udp_packet};

/// The port of the first one, and of whom the second one is connected to.
const PORT: u16 = 53;
const PEER: u16 = 9000;
/// No queue holds more: the buffer of the smallest option, and a datagram that is let in as the first one.
const RECV_BUFFER: usize = 5000;
const LARGEST: usize = 70_000;

#[derive(Default)]
pub(super) struct Datagrams {
    /// On a port; connected; for anything.
    sockets: [Option<UdpId>; 3],
    /// What the stack was shown.
    shown: Vec<Vec<u8>>,
    /// What the application has sent.
    said: Vec<Vec<u8>>,
    /// What has left of a datagram in fragments: by its identification.
    leaving: HashMap<u32, Vec<u8>>,
    /// The stack's own fragments have come back changed: what is put together of them, nobody knows.
    unsure: bool,
    cuts: u32,
}

impl World {
    /// Opens the sockets, those that there are not; with `any` the third one, too.
    pub(super) fn open_sockets(&mut self, for_any: bool) {
        let (us, them) = (self.peer.tuple.local_addr, self.peer.tuple.remote_addr);
        let options = UdpOptions { recv_buffer: RECV_BUFFER, ..UdpOptions::default() };
        let Some(all) = &mut self.datagrams else { return };
        let [on_port, connected, any] = &mut all.sockets;
        let stack = &mut self.stack;
        *on_port = on_port
            .or_else(|| stack.udp_bind(SocketAddr::new(us, PORT), options.clone()).ok().map(|(id, _)| id));
        let peer = SocketAddr::new(them, PEER);
        *connected = connected.or_else(|| stack.udp_open(self.now, peer, options.clone()).ok());
        if for_any {
            *any = any.or_else(|| stack.udp_listen_any(options).ok());
        }
    }

    fn close_socket(&mut self, which: usize) {
        if let Some(id) = self.datagrams.as_mut().and_then(|all| all.sockets[which % 3].take()) {
            self.stack.udp_close(self.now, id);
        }
    }

    /// The port of the socket that is connected.
    fn flow_port(&self) -> u16 {
        let id = self.datagrams.as_ref().and_then(|all| all.sockets[1]);
        id.and_then(|id| self.stack.udp_local_addr(id).ok()).map_or(1, |local| local.port())
    }

    /// What the input asks for.
    pub(super) fn odd(&mut self, which: u8, with: u8) {
        let len = usize::from(with) * 12;
        match which {
            0..4 => self.show_datagram(which, len),
            4 | 5 => self.show_in_pieces(which, with),
            6 => self.show_train(with),
            7..10 => self.hear(usize::from(which - 7)),
            10 | 11 => self.say(usize::from(which - 10), len, with & 1 != 0),
            12 => self.say(2, len, false),
            13 if with & 1 == 0 => self.close_socket(usize::from(with >> 1)),
            13 => self.open_sockets(true),
            14 => {
                let error = error_about(&self.last.clone(), (with & 1 == 0).then(|| u32::from(with) * 6));
                error.into_iter().for_each(|error| self.inject(error.to_vec()));
            }
            _ if with & 1 == 0 => {
                let remote = self.peer.tuple.remote_addr;
                self.stack.set_path_mtu(remote, u16::from(with) * 6);
            }
            _ => self.stack.raise_mtu(self.stack.config().mtu + 50),
        }
        self.settle();
    }

    /// The next datagram of the peer: for one of the sockets, or for none.
    fn next_datagram(&mut self, which: u8, len: usize) -> Option<Vec<u8>> {
        let (us, them) = (self.peer.tuple.local_addr, self.peer.tuple.remote_addr);
        let flow = self.flow_port();
        let all = self.datagrams.as_mut()?;
        let data = datagram(0, all.shown.len(), len);
        let (from, to) = [(PEER, PORT), (PEER, flow), (PEER + 1, flow), (7, 4711)][usize::from(which & 3)];
        udp_packet(SocketAddr::new(them, from), SocketAddr::new(us, to), &data)
    }

    fn show_datagram(&mut self, which: u8, len: usize) {
        if let Some(packet) = self.next_datagram(which, len) {
            self.inject(packet);
        }
    }

    /// One in fragments: as they are, backwards, one of them twice, without the last one, or one that begins too soon.
    fn show_in_pieces(&mut self, which: u8, with: u8) {
        let Some(packet) = self.next_datagram(which, 200 + usize::from(with) * 9) else { return };
        let Some(all) = &mut self.datagrams else { return };
        all.cuts += 1;
        let mut pieces = cut(&packet.clone().into(), 100 + u16::from(with >> 4) * 90, all.cuts);
        all.note(&packet);
        let middle = pieces.len() / 2;
        match with & 7 {
            0..3 => {}
            3 => pieces.reverse(),
            4 => pieces.insert(0, pieces[middle].clone()),
            5 => drop(pieces.pop()),
            6 => pieces.rotate_left(middle),
            _ => {
                // Eight bytes of what is there already, as others: then all of it is given up (RFC 5722).
                let mut overlapping = pieces[middle].to_vec();
                let at = if overlapping[0] >> 4 == 4 { 7 } else { 43 };
                overlapping[at] = overlapping[at].wrapping_sub(if at == 7 { 1 } else { 8 });
                crate::exercise::repair(&mut overlapping);
                pieces.insert(middle + 1, overlapping.into());
            }
        }
        pieces.into_iter().for_each(|piece| self.inject(piece.to_vec()));
    }

    /// Several at once, as a device hands them over that has merged them.
    fn show_train(&mut self, with: u8) {
        let size = 1 + usize::from(with >> 3) * 3;
        let len = size * (1 + usize::from(with & 7)) + size / 2;
        let Some(packet) = self.next_datagram(with & 1, len) else { return };
        let data = datagram(0, self.datagrams.as_ref().map_or(0, |all| all.shown.len()), len);
        self.datagrams.iter_mut().for_each(|all| all.shown.extend(data.chunks(size).map(<[u8]>::to_vec)));
        tell(self.now, || format!("    receives datagrams of {size} bytes, {len} in all"));
        let received = Received::new(packet.into()).with_segment_size(Some(size as u16));
        self.stack.handle_packet(self.now, received);
        self.settle();
    }

    /// The stack is shown a packet: what may be read of it later.
    pub(super) fn note_datagram(&mut self, packet: &[u8], is_reflected: bool) {
        if let Some(all) = &mut self.datagrams {
            all.unsure |= is_reflected && is_fragment(packet);
            all.note(packet);
        }
    }

    /// Reads a datagram.
    fn hear(&mut self, which: usize) {
        let Some(all) = &self.datagrams else { return };
        let Some(id) = all.sockets[which] else { return };
        match self.stack.udp_recv(id) {
            Ok(came) => {
                tell(self.now, || format!("  hears a datagram of {} bytes", came.payload.len()));
                let known = all.shown.iter().any(|shown| shown[..] == came.payload[..]);
                assert!(
                    known || all.unsure,
                    "a datagram that was not shown, of {} bytes",
                    came.payload.len()
                );
            }
            Err(RecvError::WouldBlock | RecvError::Failed(_)) => {}
            Err(error) => panic!("no socket: {error:?}"),
        }
        let info = self.stack.udp_info(id).expect("a socket");
        assert!(info.unread_memory <= RECV_BUFFER + LARGEST, "a queue has no bounds: {info:?}");
        assert!(info.unread_memory <= RECV_BUFFER || info.unread == 1, "a queue is too long: {info:?}");
    }

    fn say(&mut self, which: usize, len: usize, dont_fragment: bool) {
        let Some(id) = self.datagrams.as_ref().and_then(|all| all.sockets[which]) else { return };
        let (us, them) = (self.peer.tuple.local_addr, self.peer.tuple.remote_addr);
        let all = self.datagrams.as_mut().expect("just looked up");
        let data = datagram(1, all.said.len(), len);
        let mut how = Outgoing::default();
        if which != 1 {
            how.to = Some(SocketAddr::new(them, PEER));
        }
        if which == 2 {
            how.from = Some(SocketAddr::new(us, 1234));
        }
        self.stack.udp_update_options(id, |options| options.dont_fragment = dont_fragment).expect("a socket");
        let answer = self.stack.udp_send(self.now, id, &data, &how);
        tell(self.now, || format!("  sends a datagram of {len} bytes: {answer:?}"));
        match answer {
            Ok(()) => all.said.push(data),
            Err(DatagramError::WouldBlock | DatagramError::Failed(_)) => {}
            Err(DatagramError::TooLong) => assert!(dont_fragment, "too long, but it may be cut"),
            Err(error) => panic!("a datagram is refused: {error:?}"),
        }
    }

    /// A packet has left: if it is a datagram, or the last fragment of one, that is what the application has sent.
    pub(super) fn look_at_datagram(&mut self, packet: &Bytes) {
        let Some(all) = &mut self.datagrams else { return };
        let Ok(parsed) = ip::parse(packet) else { return };
        let Some(place) = parsed.fragment else {
            if let Some((_, _, data)) = udp_of(packet) {
                assert!(all.said.iter().any(|said| said[..] == *data), "a datagram that nobody has sent");
            }
            return;
        };
        let whole = all.leaving.entry(parsed.ident).or_default();
        if place.offset == 0 {
            whole.clear();
        }
        assert_eq!(whole.len(), usize::from(place.offset), "fragments out of order");
        whole.extend_from_slice(&packet[parsed.payload]);
        // An echo reply may be cut, too.
        if !place.more && parsed.protocol == ropeway_packet::Protocol::UDP {
            let said = all.said.iter().any(|said| said[..] == whole[8..]);
            assert!(said, "what is put together of the fragments, nobody has sent");
        }
    }

    /// The sockets go, and nothing of them stays.
    pub(super) fn close_sockets(&mut self) {
        (0..3).for_each(|which| self.close_socket(which));
        self.settle();
        assert_eq!(self.stack.memory().datagrams, 0, "datagrams stay");
    }
}

impl Datagrams {
    fn note(&mut self, packet: &[u8]) {
        if let Some((_, _, data)) = udp_of(packet) {
            self.shown.push(data.to_vec());
        }
    }
}
