//! Two stacks, the link between them, and the clock.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use ropeway_core::{ListenerId, Received, SocketOptions, Stack, StackConfig, SynCookieMode, Timestamp};

use super::link::Link;
use crate::story::{describe, tell};

pub(super) const NAMES: [&str; 2] = ["A", "B"];
const START: Timestamp = Timestamp::from_micros(1_000_000);
/// So many retransmissions are the fewest that end in a timeout.
const PATIENCE: u64 = 4;
/// So long a cookie is good at least.
const FRESH: Duration = Duration::from_secs(60);

pub(super) struct World {
    pub(super) stacks: [Stack; 2],
    pub(super) link: Link,
    pub(super) now: Timestamp,
    /// Longer packets are swallowed.
    pub(super) takes: Option<usize>,
}

static CONFIGS: LazyLock<Vec<[Arc<StackConfig>; 2]>> =
    LazyLock::new(|| (0..16_u8).map(|variant| [0, 1].map(|side| Arc::new(config(variant, side)))).collect());

fn config(variant: u8, side: u8) -> StackConfig {
    let mut config = StackConfig::default();
    let n = side + 1;
    config.addresses = [format!("10.0.0.{n}/24"), format!("fd00::{n}/64")]
        .map(|text| text.parse().expect("an address"))
        .into();
    config.timestamps = variant & 1 == 0;
    config.window_scaling = variant & 2 == 0;
    if variant & 4 != 0 {
        config.mtu = 100;
    }
    if variant & 8 != 0 {
        config.syn_cookies = SynCookieMode::Always;
    }
    config
}

impl World {
    /// The lowest four bits of `variant` choose the configuration, and `wide` what differs from that.
    pub(super) fn new(variant: u8, wide: Option<u8>) -> Self {
        let now = START;
        let mut configs = CONFIGS[usize::from(variant & 15)].clone();
        if let Some(how) = wide {
            configs.iter_mut().for_each(|config| crate::wide::choose(Arc::make_mut(config), how));
        }
        let stacks = [0, 1].map(|side| Stack::new(configs[side].clone(), [side as u8 + 1; 32], now));
        Self { stacks, link: Link::default(), now, takes: None }
    }

    /// A connection of before brings A the cookie of B, if B gives one, and is over.
    pub(super) fn bring_cookie(
        &mut self,
        (a, b): (SocketAddr, SocketAddr),
        listener: ListenerId,
        socket: &SocketOptions,
    ) {
        let from = SocketAddr::new(a.ip(), 3999);
        let (id, _) =
            self.stacks[0].connect_with(self.now, Some(from), b, socket.clone(), &[]).expect("a free port");
        self.cross();
        self.stacks[0].abort(self.now, id);
        self.stacks[0].close(self.now, id);
        self.cross();
        if let Ok(Some((guest, _))) = self.stacks[1].accept(self.now, listener) {
            self.stacks[1].close(self.now, guest);
        }
        self.cross();
    }

    /// All packets arrive, until there are none.
    fn cross(&mut self) {
        self.settle();
        while !self.link.is_empty() {
            self.link.take_all().into_iter().for_each(|(to, packet)| self.receive(to, packet));
            self.settle();
        }
    }

    /// What the link has let through, if anything.
    pub(super) fn deliver(&mut self, packet: Option<(usize, Bytes)>) {
        if let Some((to, packet)) = packet {
            self.receive(to, packet);
        }
    }

    pub(super) fn receive(&mut self, to: usize, packet: Bytes) {
        if self.takes.is_some_and(|most| packet.len() > most) {
            return tell(self.now, || format!("    swallowed: {}", describe(&packet)));
        }
        tell(self.now, || format!("    {} receives {}", NAMES[to], describe(&packet)));
        self.stacks[to].handle_packet(self.now, Received::alone(packet));
    }

    /// Takes what the stacks want to send.
    pub(super) fn settle(&mut self) {
        for (from, stack) in self.stacks.iter_mut().enumerate() {
            let mut count = 0;
            while let Some(transmit) = stack.poll_transmit(self.now) {
                let packet = transmit.to_bytes();
                // An ICMPv6 error may have 1280 bytes: no link of IPv6 takes less (RFC 8200 5).
                let mtu = usize::from(stack.config().mtu);
                let fits =
                    packet.len() <= mtu || (packet[0] >> 4 == 6 && packet.len() <= 1280 && packet[6] == 58);
                assert!(fits, "longer than the MTU: {packet:02x?}");
                tell(self.now, || format!("{} sends {}", NAMES[from], describe(&packet)));
                self.link.carry(1 - from, packet);
                count += 1;
                assert!(count < 2000, "packets without end");
            }
            while stack.poll_event().is_some() {
                count += 1;
                assert!(count < 4000, "events without end");
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.stacks.iter().filter_map(Stack::poll_timeout).min()
    }

    /// Moves the clock, and lets the timers go off that this brings.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.expire();
    }

    /// Jumps to the next deadline, if there is one.
    pub(super) fn next_deadline(&mut self) {
        if let Some(at) = self.deadline() {
            self.now = self.now.max(at);
            self.expire();
        }
    }

    pub(super) fn expire(&mut self) {
        for stack in &mut self.stacks {
            let mut turns = 0;
            while stack.poll_timeout().is_some_and(|at| at <= self.now) {
                stack.handle_timeout(self.now);
                // What a timer wants to send may be why it is still due.
                turns += 1;
                assert!(turns < 10, "a deadline stays in the past: {:?}", stack.poll_timeout());
            }
        }
    }

    /// Whether a connection may break although nobody broke off: a timeout may have gone off. And who answers with
    /// cookies does not know a later segment that overtakes the one with the cookie, nor one that comes when the
    /// cookie is stale, and resets it as Linux does (RFC 9293 3.10.7.2).
    pub(super) fn may_break(&self) -> bool {
        let counters = self.stacks[1].counters();
        let stale = counters.cookies_sent > 0 && self.now.since(START) >= FRESH;
        self.trouble() >= PATIENCE || counters.cookies_failed > 0 || stale
    }

    fn trouble(&self) -> u64 {
        self.stacks
            .iter()
            .map(Stack::counters)
            .map(|counters| counters.retransmission_timeouts + counters.tcp_retransmitted)
            .sum()
    }
}
