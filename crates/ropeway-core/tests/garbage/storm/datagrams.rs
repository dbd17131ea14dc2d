//! UDP sockets in a storm, and packets in pieces.

use std::net::SocketAddr;

use bytes::Bytes;
use ropeway_core::packet::{FastOpen, Payload, Protocol, fragment, ip, udp};
use ropeway_core::{Outgoing, UdpOptions};

use super::Storm;
use crate::bytes;
use crate::common::*;

/// A queue never holds more than its buffer says, or else one datagram.
const LARGEST: usize = 1 << 17;

const US: [&str; 4] = ["10.0.0.2", "[fd00::2]", "0.0.0.0", "[::]"];
const THEM: [&str; 5] = ["10.0.0.1:7", "[fd00::1]:7", "10.0.0.2:53", "127.0.0.1:53", "10.0.0.255:53"];

impl Storm {
    pub(super) fn call_on_sockets(&mut self) {
        let ts = self.lab.ts();
        let random = &mut self.random;
        let them: SocketAddr = THEM[random.below(5) as usize].parse().unwrap();
        let options = UdpOptions {
            recv_buffer: [0, 5000, 1 << 16][random.below(3) as usize],
            send_buffer: [0, 5000, 1 << 16][random.below(3) as usize],
            dont_fragment: random.chance(30),
            all_errors: random.chance(50),
            broadcast: random.chance(50),
            reuse_port: random.chance(50),
            ..UdpOptions::default()
        };
        let stack = &mut self.lab.stack;
        if self.sockets.len() < 12 && random.chance(20) {
            let local = format!("{}:{}", US[random.below(4) as usize], 50 + random.below(5)).parse().unwrap();
            let opened = match random.below(3) {
                0 => stack.udp_open(ts, them, options).ok(),
                1 => stack.udp_listen_any(options).ok(),
                _ => stack.udp_bind(local, options).ok().map(|(id, _)| id),
            };
            self.sockets.extend(opened);
            return;
        }
        if self.sockets.is_empty() {
            return;
        }
        let at = random.below(self.sockets.len() as u64) as usize;
        let id = self.sockets[at];
        match random.below(20) {
            0 => stack.udp_close(ts, self.sockets.swap_remove(at)),
            1 => drop(stack.udp_connect(ts, id, them)),
            2 => drop(stack.udp_update_options(id, |it| *it = options)),
            3 => drop(stack.udp_take_error(id)),
            4..9 => {
                let _ = stack.udp_peek(id);
                let _ = stack.udp_recv(id);
            }
            9 => drop(stack.udp_recv_train(id, 5000, 1 + random.below(9) as usize)),
            _ => {
                let len = [0, 1, 500, 3000, 65_000][random.below(5) as usize];
                let from = random.chance(50).then(|| "10.0.0.2:1000".parse().unwrap());
                let segment_size = random.chance(20).then(|| random.below(600) as u16);
                let how = Outgoing {
                    to: random.chance(80).then_some(them),
                    from,
                    segment_size,
                    ..Outgoing::default()
                };
                let _ = stack.udp_send(ts, id, &vec![b'u'; len], &how);
            }
        }
    }

    pub(super) fn check_sockets(&mut self) {
        for id in &self.sockets {
            let info = self.lab.stack.udp_info(*id).unwrap();
            let most = self.lab.stack.udp_options(*id).unwrap().recv_buffer;
            // It was larger before, perhaps.
            assert!(info.unread_memory <= most.max(1 << 16) + LARGEST, "{info:?}");
        }
        assert!(self.lab.stack.memory().fragments <= (1 << 20) + LARGEST);
    }

    /// A datagram for one of the sockets, as a rule.
    pub(super) fn datagram(&mut self, v6: bool, len: usize) -> Vec<u8> {
        let (us, them) = if v6 { ("fd00::2", "fd00::1") } else { ("10.0.0.2", "10.0.0.1") };
        let params = ip_params(them.parse().unwrap(), us.parse().unwrap(), Protocol::UDP);
        let port = 50 + self.random.below(6) as u16;
        udp::emit(&params, 7, port, &vec![b'v'; len]).unwrap()
    }

    /// A packet in fragments: some are missing, come twice, overlap, or in another order.
    pub(super) fn pieces(&mut self) {
        let (v6, len) = (self.random.chance(50), 100 + self.random.below(4000) as usize);
        let whole = match self.random.below(3) {
            0 => Bytes::from(self.any_packet()),
            _ => self.datagram(v6, len).into(),
        };
        if ip::parse(&whole).is_err() {
            return;
        }
        let (mtu, ident) = (68 + self.random.below(600) as u16, self.random.below(30) as u32);
        let payload = Payload::from(whole);
        let pieces = fragment::split(&payload, mtu, ident).into_iter().flatten();
        let mut pieces: Vec<Vec<u8>> =
            pieces.map(|(header, data)| [&header[..], &data.to_vec()].concat()).collect();
        if pieces.is_empty() {
            return;
        }
        let random = &mut self.random;
        match random.below(6) {
            0 => drop(pieces.remove(random.below(pieces.len() as u64) as usize)),
            1 => pieces.push(pieces[0].clone()),
            2 => pieces.reverse(),
            3 => {
                let other = bytes(random, 16);
                let last = pieces.last_mut().unwrap();
                let at = last.len().saturating_sub(16);
                last.truncate(at);
                last.extend(other);
                let again = pieces.last().unwrap().clone();
                pieces.insert(0, again);
            }
            _ => {}
        }
        pieces.into_iter().for_each(|piece| self.lab.inject(piece));
    }

    /// A SYN with data, whose cookie is good, old, or none.
    pub(super) fn early_syn(&mut self) -> Vec<u8> {
        let (us, them) = ("10.0.0.2".parse().unwrap(), "10.0.0.1".parse().unwrap());
        let cookie = match self.random.below(4) {
            0 => Some(FastOpen::REQUEST),
            1 => FastOpen::new(&[3; 8]),
            2 => None,
            _ => FastOpen::new(&self.lab.stack.fast_open_keys().cookie(them, us)),
        };
        let mut seg = syn().mss(1460);
        if let Some(cookie) = cookie {
            seg = seg.fast_open(cookie);
        }
        let (from, to) = (5000 + self.random.below(30) as u16, 80 + self.random.below(4) as u16);
        let head = header((from, to), &seg, self.random.next() as u32, 0, 1000, None);
        let len = self.random.below(1000) as usize;
        tcp_packet(them, us, &head, None, &vec![b'g'; len])
    }
}
