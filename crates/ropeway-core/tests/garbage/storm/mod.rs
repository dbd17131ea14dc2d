//! A storm: packets of every kind, calls of every kind, and steps of the clock, in any order.

mod calls;
mod datagrams;
mod packets;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ropeway_core::packet::ip;
use ropeway_core::{ConnectionId, Counters, ListenerId, MtuProbing, State, UdpId};

use crate::common::*;
use crate::seeds;

/// A stack, and a peer that says anything, but mostly near what makes sense.
struct Storm {
    lab: Lab,
    random: Random,
    ids: Vec<ConnectionId>,
    listeners: Vec<ListenerId>,
    sockets: Vec<UdpId>,
    seen: Vec<Bytes>,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut lab = Lab::with(|config| {
            config.timestamps = random.chance(70);
            config.window_scaling = random.chance(70);
            config.mtu = [1500, 576, 1280, 9000, 68, 40][random.below(6) as usize];
            config.max_time_wait = 1 + random.below(20) as usize;
            config.max_connections = 5 + random.below(100) as usize;
            config.ephemeral_ports = 40_000..=40_000 + random.below(50) as u16;
            config.synack_retries = random.below(6) as u32;
            config.retries2 = 3 + random.below(12) as u32;
            config.delayed_ack = Duration::from_millis(random.below(600));
            config.mtu_probing = MtuProbing::from_number(random.below(3) as u8).unwrap();
            config.base_mss = [48, 100, 536, 1024][random.below(4) as usize];
            config.probe_interval = Duration::from_millis(random.below(100_000));
            config.fast_open_blackhole_timeout = Duration::from_millis(random.below(100_000));
            config.reassembly_memory = [20_000, 1 << 20][random.below(2) as usize];
        });
        lab.silent = true;
        let (ids, listeners, sockets, seen) = Default::default();
        Self { lab, random, ids, listeners, sockets, seen }
    }

    fn pick(&mut self) -> Option<ConnectionId> {
        let count = self.ids.len() as u64;
        (count > 0).then(|| self.ids[self.random.below(count) as usize])
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..35 => self.near_segment(),
            35..40 => {
                let packet = self.any_packet();
                self.lab.inject(packet);
            }
            40..50 => self.mutated(),
            50..74 => self.call(),
            74..78 => self.call_on_sockets(),
            78..80 => self.pieces(),
            80..97 => {
                let by = match self.random.below(6) {
                    0 => self.random.below(1000),
                    1 => self.random.below(100_000),
                    2 => self.random.below(2_000_000),
                    3 => self.random.below(100_000_000),
                    _ => 0,
                };
                let target = match self.lab.next_deadline() {
                    Some(at) if self.random.chance(60) => at.max(self.lab.now),
                    _ => self.lab.now + by,
                };
                self.lab.run_to(target);
            }
            _ => {
                // Away for a while, then all at once.
                self.lab.now += self.random.below(1_000_000_000);
                let now = self.lab.ts();
                self.lab.stack.handle_timeout(now);
            }
        }
        if self.random.chance(70) {
            self.take();
        }
    }

    fn take(&mut self) {
        for sent in self.lab.drain() {
            assert!(ip::parse(&sent.packet).is_ok(), "a malformed packet was sent");
            if self.seen.len() < 300 {
                self.seen.push(sent.packet);
            } else {
                let at = self.random.below(300) as usize;
                self.seen[at] = sent.packet;
            }
        }
        self.lab.events.clear();
        self.ids.retain(|id| self.lab.stack.info(self.lab.ts(), *id).is_ok());
    }

    /// What must hold whatever happened.
    fn check(&mut self) {
        let ts = self.lab.ts();
        for id in &self.ids {
            if let Ok(info) = self.lab.stack.info(ts, *id) {
                assert!(info.unread <= 1 << 20, "{} bytes unread", info.unread);
                assert!(info.not_sent <= 1 << 20);
                assert!(info.snd_mss > 0);
                assert_ne!(info.state, State::Listen);
            }
        }
        self.check_sockets();
        let sizes = self.lab.stack.sizes();
        assert!(sizes.time_wait <= 20 && sizes.connections <= 2 * 105 + 20, "{sizes:?}");
    }

    /// All is let go; a while later nothing is left.
    fn end(mut self) {
        let ts = self.lab.ts();
        for id in std::mem::take(&mut self.ids) {
            self.lab.stack.abort(ts, id);
            self.lab.stack.close(ts, id);
        }
        for listener in std::mem::take(&mut self.listeners) {
            self.lab.stack.close_listener(ts, listener);
        }
        for socket in std::mem::take(&mut self.sockets) {
            self.lab.stack.udp_close(ts, socket);
        }
        self.lab.drain();
        for _ in 0..200 {
            let Some(at) = self.lab.next_deadline() else { break };
            self.lab.run_to(at.max(self.lab.now));
            self.lab.drain();
        }
        self.lab.run_to(self.lab.now + secs(3000));
        self.lab.drain();
        self.lab.assert_empty();
        assert_eq!(self.lab.stack.sizes().listeners, 0);
        let memory = self.lab.stack.memory();
        assert_eq!((memory.datagrams, memory.fragments), (0, 0));
        note(self.lab.stack.counters());
    }
}

#[test]
fn a_storm_of_packets_and_calls() {
    seeds(40, |seed| {
        let mut storm = Storm::new(seed);
        for n in 0..1500 {
            storm.step();
            if n % 50 == 0 {
                storm.check();
            }
        }
        storm.take();
        storm.end();
    });
    let missed: Vec<&str> = WANTED
        .iter()
        .zip(&REACHED)
        .filter(|(_, times)| times.load(Ordering::Relaxed) == 0)
        .map(|((what, _), _)| *what)
        .collect();
    assert!(missed.is_empty() || std::env::var_os("ROPEWAY_SEED").is_some(), "no storm has {missed:?}");
}

/// A counter that storms have to move.
type Wanted = (&'static str, fn(&Counters) -> u64);

/// What storms have to come upon.
const WANTED: [Wanted; 13] = [
    ("probes of the path's MTU", |counters| counters.mtu_probes),
    ("probes that passed", |counters| counters.mtu_probes_passed),
    ("Fast Open by a client", |counters| counters.fast_open_active),
    ("Fast Open by a client, in vain", |counters| counters.fast_open_active_failed),
    ("Fast Open by a server", |counters| counters.fast_open_passive),
    ("cookies refused", |counters| counters.fast_open_passive_failed),
    ("datagrams received", |counters| counters.udp_received),
    ("datagrams sent", |counters| counters.udp_sent),
    ("datagrams for full queues", |counters| counters.udp_queue_full),
    ("datagrams put together", |counters| counters.datagrams_reassembled),
    ("datagrams that never were", |counters| counters.datagrams_timed_out),
    ("datagrams in pieces that overlap", |counters| counters.datagrams_overlapping),
    ("datagrams sent in fragments", |counters| counters.datagrams_fragmented),
];

/// In how many storms.
static REACHED: [AtomicU64; WANTED.len()] = [const { AtomicU64::new(0) }; WANTED.len()];

fn note(counters: &Counters) {
    for ((_, count), times) in WANTED.iter().zip(&REACHED) {
        times.fetch_add(u64::from(count(counters) > 0), Ordering::Relaxed);
    }
}
