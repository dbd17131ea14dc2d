//! The calls of a storm: the program does anything, at any time.

use std::net::SocketAddr;
use std::time::Duration;

use ropeway_core::congestion::Algorithm;
use ropeway_core::{AckThinning, ConnectionId, EcnMode, EcnOption, KeepAlive, SendFlags, SocketOptions};

use super::Storm;
use crate::common::*;

impl Storm {
    pub(super) fn call(&mut self) {
        let ts = self.lab.ts();
        match self.random.below(26) {
            0 => {
                let mut options = SocketOptions::default();
                options.reuse_port = true;
                random_options(&mut self.random, &mut options);
                let text =
                    ["10.0.0.2", "[fd00::2]", "0.0.0.0", "[::]", "127.0.0.1"][self.random.below(5) as usize];
                let local: SocketAddr = format!("{text}:{}", 80 + self.random.below(4)).parse().unwrap();
                let backlog = self.random.below(5) as usize;
                if self.listeners.len() < 20
                    && let Ok(id) = self.lab.stack.listen(local, backlog, options)
                {
                    self.listeners.push(id);
                }
            }
            1 => {
                if !self.listeners.is_empty() && self.random.chance(20) {
                    let at = self.random.below(self.listeners.len() as u64) as usize;
                    self.lab.stack.close_listener(ts, self.listeners.swap_remove(at));
                }
            }
            2..5 => {
                for listener in &self.listeners {
                    if let Ok(Some((id, _))) = self.lab.stack.accept(ts, *listener) {
                        self.ids.push(id);
                    }
                }
            }
            5 | 6 => {
                let mut options = SocketOptions::default();
                random_options(&mut self.random, &mut options);
                let remote = [
                    "10.0.0.1:80",
                    "[fd00::1]:80",
                    "127.0.0.1:80",
                    "10.0.0.2:81",
                    "[::1]:80",
                    "10.0.0.2:5000",
                ];
                let remote = remote[self.random.below(6) as usize].parse().unwrap();
                let local = self.random.chance(10).then(|| "10.0.0.2:5000".parse().unwrap());
                if let Ok(id) = self.lab.stack.connect(ts, local, remote, options) {
                    self.ids.push(id);
                }
            }
            7 => {
                let mut options = SocketOptions::default();
                random_options(&mut self.random, &mut options);
                options.fast_open_no_cookie |= self.random.chance(50);
                let remote = ["10.0.0.1:80", "127.0.0.1:80", "10.0.0.2:81"][self.random.below(3) as usize];
                let data = vec![b'e'; self.random.below(2000) as usize];
                let remote = remote.parse().unwrap();
                if let Ok((id, _)) = self.lab.stack.connect_with(ts, None, remote, options, &data) {
                    self.ids.push(id);
                }
            }
            8 => match self.random.below(4) {
                0 => {
                    let keys = self.lab.stack.fast_open_keys().rotate([self.random.next() as u8; 16]);
                    self.lab.stack.set_fast_open_keys(keys);
                }
                1 => self.lab.stack.forget_fast_open_cookies(),
                2 => {
                    let mtu = self.random.below(2000) as u16;
                    self.lab.stack.set_path_mtu("10.0.0.1".parse().unwrap(), mtu);
                }
                _ => self.lab.stack.raise_mtu(self.lab.stack.config().mtu + 10),
            },
            _ => {
                if let Some(id) = self.pick() {
                    self.call_on(id);
                }
            }
        }
    }

    fn call_on(&mut self, id: ConnectionId) {
        let ts = self.lab.ts();
        let stack = &mut self.lab.stack;
        match self.random.below(30) {
            0..10 => {
                let flags = SendFlags { more: self.random.chance(10), urgent: self.random.chance(5) };
                let len = [0, 1, 100, 1460, 20_000][self.random.below(5) as usize];
                let _ = stack.send(ts, id, &vec![b'd'; len], flags);
            }
            10..18 => {
                let _ = stack.recv(ts, id, 1 + self.random.below(5000) as usize);
            }
            18 => {
                let _ = stack.peek(id, &mut [0; 100]);
            }
            19 => {
                use std::net::Shutdown::{Both, Read, Write};
                let how = [Read, Write, Both][self.random.below(3) as usize];
                let _ = stack.shutdown(ts, id, how);
            }
            20 => {
                if self.random.chance(50) {
                    stack.close(ts, id);
                }
            }
            21 => {
                if self.random.chance(30) {
                    stack.abort(ts, id);
                }
            }
            22 => {
                let _ = stack.take_error(id);
            }
            23 => {
                let _ = stack.readiness(id);
                let _ = stack.urgent_remaining(id);
                let _ = stack.info(ts, id).map(|info| format!("{info:?}"));
            }
            24 => {
                let _ = stack.path_mtu("10.0.0.1".parse().unwrap());
                let _ = format!("{:?}", stack.sizes());
            }
            _ => {
                let random = &mut self.random;
                let _ = stack.update_options(ts, id, |options| random_options(random, options));
            }
        }
    }
}

const ALGORITHMS: [Algorithm; 3] = [Algorithm::NewReno, Algorithm::Cubic, Algorithm::Bbr];

fn random_options(random: &mut Random, options: &mut SocketOptions) {
    let sizes = [0, 1, 2, 100, 1459, 5000, 65_535, 1 << 20];
    match random.below(21) {
        0 => options.recv_buffer = sizes[random.below(8) as usize],
        1 => options.send_buffer = sizes[random.below(8) as usize],
        2 => options.nodelay ^= true,
        3 => options.cork ^= true,
        4 if random.chance(50) => options.quick_ack ^= true,
        4 => options.ack_thinning = options.ack_thinning.xor(Some(AckThinning::default())),
        5 => {
            options.keep_alive = random.chance(70).then(|| KeepAlive {
                idle: Duration::from_millis(1 + random.below(100_000)),
                interval: Duration::from_millis(1 + random.below(10_000)),
                count: random.below(4) as u32,
            });
        }
        6 => options.user_timeout = random.chance(50).then(|| Duration::from_millis(random.below(50_000))),
        7 => options.max_segment = random.chance(50).then(|| random.below(2000) as u16),
        8 => options.notsent_lowat = random.chance(50).then(|| random.below(5000) as usize),
        9 => options.tos = random.next() as u8,
        10 => options.ttl = random.next() as u8,
        11 => options.linger = random.chance(30).then(|| Duration::from_secs(random.below(2))),
        12 => options.syn_retries = random.below(4) as u32,
        13 => options.ecn = EcnMode::from_number(random.below(6) as u8).unwrap(),
        14 => options.ecn_option = EcnOption::from_number(random.below(3) as u8).unwrap(),
        15 => options.ecn_fallback ^= true,
        16 => options.congestion = ALGORITHMS[random.below(3) as usize].clone(),
        17 => options.max_pacing_rate = random.chance(50).then(|| random.below(1 << 20)),
        18 => options.fast_open = random.below(4) as u32,
        19 => options.fast_open_no_cookie ^= true,
        _ => options.reuse_addr ^= true,
    }
}
