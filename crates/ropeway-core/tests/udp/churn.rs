//! Sockets that do anything, among packets of all kinds: nothing is lost without being counted, and nothing is left.

use ropeway_core::packet::{IcmpErrorKind, UnreachableKind, icmp};
use ropeway_core::{DatagramError, Outgoing, RecvError, UdpId, UdpOptions};

use crate::common::*;
use crate::datagram;

struct Churn {
    lab: Lab,
    random: Random,
    ids: Vec<UdpId>,
    /// Packets that have left, for errors to be about.
    sent: Vec<Vec<u8>>,
    received: u64,
}

const ADDRESSES: [&str; 8] =
    ["10.0.0.2", "[fd00::2]", "0.0.0.0", "[::]", "127.0.0.1", "[::1]", "224.0.0.251", "10.0.0.255"];
const PEERS: [&str; 6] = ["10.0.0.1", "[fd00::1]", "10.0.0.9", "192.0.2.1", "10.0.0.2", "127.0.0.1"];

impl Churn {
    fn below(&mut self, n: usize) -> usize {
        self.random.below(n as u64) as usize
    }

    fn end(&mut self, addresses: &[&str]) -> String {
        let address = addresses[self.below(addresses.len())];
        format!("{address}:{}", self.below(6))
    }

    fn pick(&mut self) -> Option<UdpId> {
        let at = self.below(self.ids.len().max(1));
        self.ids.get(at).copied()
    }

    fn options(&mut self) -> UdpOptions {
        let mut options = UdpOptions::default();
        (options.recv_buffer, options.send_buffer) = (self.below(20_000), self.below(20_000));
        let mut flag = || self.random.chance(50);
        (options.reuse_addr, options.reuse_port, options.only_v6) = (flag(), flag(), flag());
        (options.broadcast, options.all_errors) = (flag(), flag());
        options.multicast_ttl = u8::from(flag());
        options
    }

    fn step(&mut self) {
        let now = self.lab.ts();
        match self.below(12) {
            0 => {
                let (local, options) = (self.end(&ADDRESSES), self.options());
                self.ids.extend(self.lab.stack.udp_bind(addr(&local), options).map(|(id, _)| id));
            }
            1 => {
                let (remote, options) = (self.end(&PEERS), self.options());
                self.ids.extend(self.lab.stack.udp_open(now, addr(&remote), options));
                if self.random.chance(20) {
                    self.ids.extend(self.lab.stack.udp_listen_any(UdpOptions::default()));
                }
            }
            2 => {
                if self.random.chance(60) && !self.ids.is_empty() {
                    let at = self.below(self.ids.len());
                    self.lab.stack.udp_close(now, self.ids.swap_remove(at));
                }
            }
            3..6 => self.send(),
            6 | 7 => self.receive(),
            8 | 9 => {
                let (from, to) = (self.end(&PEERS), self.end(&ADDRESSES));
                let len = [0, 1, 600, 1400][self.below(4)];
                if addr(&from).is_ipv4() == addr(&to).is_ipv4() {
                    self.lab.inject(datagram(&from, &to, &vec![7; len]));
                }
            }
            10 => self.error(),
            _ => self.change(),
        }
        if self.random.chance(30) {
            self.lab.collect();
            self.sent.extend(self.lab.out.drain(..).map(|sent| sent.packet.to_vec()));
            let extra = self.sent.len().saturating_sub(50);
            self.sent.drain(..extra);
        }
        self.lab.events.clear();
    }

    fn send(&mut self) {
        let Some(id) = self.pick() else { return };
        let len = [0, 1, 100, 1400, 3000, 65_507][self.below(6)];
        let how = Outgoing {
            to: self
                .random
                .chance(70)
                .then(|| self.end(&[PEERS.as_slice(), &ADDRESSES].concat()))
                .map(|to| addr(&to)),
            from: self.random.chance(30).then(|| self.end(&ADDRESSES)).map(|from| addr(&from)),
            segment_size: self.random.chance(40).then(|| self.below(1500) as u16),
            ecn: None,
        };
        let before = self.lab.stack.counters().udp_sent;
        let result = self.lab.stack.udp_send(self.lab.ts(), id, &vec![7; len], &how);
        let sent = self.lab.stack.counters().udp_sent - before;
        // It is taken whole, or not at all.
        assert_eq!(result.is_ok(), sent > 0, "{result:?}");
        assert_ne!(result, Err(DatagramError::UnknownSocket));
    }

    fn receive(&mut self) {
        let Some(id) = self.pick() else { return };
        let unread = self.lab.stack.udp_info(id).unwrap().unread;
        let peeked = self.lab.stack.udp_peek(id);
        if self.random.chance(50) {
            match self.lab.stack.udp_recv(id) {
                Ok(heard) => {
                    self.received += 1;
                    assert_eq!(self.lab.stack.udp_info(id).unwrap().unread + 1, unread);
                    assert!(peeked.is_err() || peeked.unwrap() == heard);
                }
                Err(error) => assert!(unread == 0 || matches!(error, RecvError::Failed(_))),
            }
        } else if let Ok(train) = self.lab.stack.udp_recv_train(id, 2000, 4) {
            let heard = train.payload.len().div_ceil(train.segment_size.max(1)).max(1);
            self.received += heard as u64;
            assert_eq!(self.lab.stack.udp_info(id).unwrap().unread + heard, unread);
        }
    }

    /// Of a router, about something that was sent, or nearly.
    fn error(&mut self) {
        let at = self.below(self.sent.len().max(1));
        let Some(mut about) = self.sent.get(at).cloned() else { return };
        if self.random.chance(30) {
            let at = self.below(about.len());
            about[at] ^= 1 << self.below(8);
        }
        let kind = [
            IcmpErrorKind::Unreachable(UnreachableKind::Port),
            IcmpErrorKind::Unreachable(UnreachableKind::Host),
            IcmpErrorKind::PacketTooBig { mtu: self.below(1500) as u32 },
            IcmpErrorKind::TimeExceeded { code: 0 },
        ][self.below(4)];
        let (router, own) = match about[0] >> 4 {
            4 => ("10.0.0.254", "10.0.0.2"),
            _ => ("fd00::fe", "fd00::2"),
        };
        let error = icmp::emit_error(router.parse().unwrap(), own.parse().unwrap(), kind, &about, 64);
        self.lab.inject(error);
    }

    fn change(&mut self) {
        let Some(id) = self.pick() else { return };
        let (remote, options, now) = (self.end(&PEERS), self.options(), self.lab.ts());
        let group = addr(["224.0.0.251:1", "[ff02::fb]:1", "10.0.0.1:1"][self.below(3)]).ip();
        let _ = match self.below(4) {
            0 => self.lab.stack.udp_connect(now, id, addr(&remote)).is_ok(),
            1 => self.lab.stack.udp_join(id, group).is_ok(),
            2 => self.lab.stack.udp_leave(id, group).is_ok(),
            _ => self.lab.stack.udp_update_options(id, |old| *old = options).is_ok(),
        };
    }

    /// What is told of each socket adds up to what is told of all.
    fn check(&self) {
        let infos: Vec<_> = self.ids.iter().map(|id| self.lab.stack.udp_info(*id).unwrap()).collect();
        let memory = self.lab.stack.memory();
        let unread: usize = infos.iter().map(|info| info.unread_memory).sum();
        assert!(memory.datagrams >= unread, "{memory:?}");
        assert!(infos.iter().all(|info| (info.unread == 0) == (info.unread_memory == 0)));
        assert!(memory.waiting >= infos.iter().map(|info| info.unsent_memory).sum());
        assert_eq!(self.lab.stack.sizes().udp_sockets, self.ids.len());
        assert_eq!(self.lab.stack.poll_timeout().filter(|_| !self.lab.stack.has_output()), None);
    }
}

#[test]
fn whatever_sockets_do_nothing_is_left_of_them() {
    let mut received = 0;
    for seed in 0..40 {
        let mut lab = Lab::with(|config| config.memory_budget = Some(1 << 20));
        lab.silent = true;
        lab.most_calls = u32::MAX;
        let mut churn =
            Churn { lab, random: Random::new(seed), ids: Vec::new(), sent: Vec::new(), received: 0 };
        for _ in 0..1500 {
            churn.step();
            churn.check();
        }
        received += churn.received;
        let Churn { mut lab, ids, .. } = churn;
        for id in ids {
            lab.stack.udp_close(lab.ts(), id);
        }
        lab.drain();
        let memory = lab.stack.memory();
        assert_eq!(
            (memory.datagrams, memory.waiting, lab.stack.sizes().udp_sockets),
            (0, 0, 0),
            "seed {seed}"
        );
        // Every port is free again.
        for port in 1..6 {
            for address in ["[::]", "10.0.0.2", "127.0.0.1"] {
                let local = format!("{address}:{port}");
                let (id, _) = lab.stack.udp_bind(addr(&local), UdpOptions::default()).unwrap();
                lab.stack.udp_close(lab.ts(), id);
            }
        }
    }
    assert!(received > 1000, "little was received: {received}");
}
