//! Two stacks on one virtual clock, without Tokio, for those who work on the stack itself.
//!
//! A [`Pair`] holds two of ropeway-core's stacks against each other, over links that lose, repeat, delay and spoil.
//! [`Pair::step`] jumps to whatever happens next. After each step, and of each packet, it is checked what must always
//! hold: while anything is outstanding there is a timer or a packet on its way; no state changes along an edge that
//! the table does not have; sequence numbers, windows and timestamps are right. What is wrong panics, with the last
//! packets that crossed. It is a harness for tests: all that fails in it panics.
//!
//! # Examples
//!
//! The fourth packet of all, which is the first with data, is lost:
//!
//! ```
//! use ropeway_sim::pair::{Fate, Op, Pair, secs};
//!
//! let mut pair = Pair::new().fate(|crossing| if crossing.number == 3 { Fate::Drop } else { Fate::Deliver });
//! pair.converse(
//!     &[Op::Send(10_000), Op::ShutdownWrite, Op::RecvEof, Op::Close],
//!     &[Op::Recv(10_000), Op::RecvEof, Op::Close],
//! );
//! pair.live(secs(60));
//! assert_eq!(pair.stacks[0].counters().tcp_retransmitted, 1);
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a harness says what is wrong by failing"
)]

mod network;
mod program;
mod states;
mod trace;
mod watch;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ropeway_core::{
    ConnectionId, ListenerId, Readiness, Received, SocketOptions, Stack, StackConfig, State, Timestamp,
};

pub use self::network::{Crossing, Fate, Narrow};
pub use self::program::{Op, Program};
pub use self::states::reachable;
pub use self::trace::{describe, describe_tcp, flag_letters, parse};
pub use self::watch::Watch;

/// Two stacks, A (0) and B (1), with programs that use them. See the [module](self).
///
/// Times are in microseconds since the test began.
pub struct Pair {
    /// A and B.
    pub stacks: [Stack; 2],
    /// What the clock shows.
    pub now: u64,
    /// How long a packet is on its way, from A and from B.
    pub delay: [Duration; 2],
    /// Bytes per second, if the links are slower than infinitely fast.
    pub rate: Option<u64>,
    /// With a rate: how many bytes may wait for the wire; what is beyond is dropped.
    pub queue: usize,
    /// A link on the way that takes smaller packets.
    pub narrow: Option<Narrow>,
    /// Nothing crosses.
    pub cut: bool,
    /// What arrives at one moment is handed over together, as a device does that reads in batches.
    pub batches: bool,
    fate: Box<dyn FnMut(&Crossing<'_>) -> Fate>,
    in_flight: BTreeMap<(u64, u64), (usize, Bytes)>,
    wire_free_at: [u64; 2],
    order: u64,
    /// How many packets A has sent, and B.
    pub crossed: [usize; 2],
    /// What uses the stacks.
    pub programs: Vec<Program>,
    trace: VecDeque<(u64, usize, Bytes, &'static str)>,
    idle_steps: u32,
    /// The initial sequence number of each direction of each connection.
    pub bases: HashMap<(SocketAddr, SocketAddr), u32>,
    /// Looks at every packet; `None` in tests of very many.
    pub watch: Option<Watch>,
    /// Where B listens in `converse`.
    pub server: SocketAddr,
}

/// What the clock shows when a test begins.
const START: u64 = 1_000_000;

impl Default for Pair {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("now", &self.now).field("crossed", &self.crossed).finish_non_exhaustive()
    }
}

impl Pair {
    /// 10.0.0.1 and 10.0.0.2, half a millisecond from each other.
    #[must_use]
    pub fn new() -> Self {
        Self::with(|_, _| {})
    }

    /// Likewise, with settings that `change` has made for each side.
    pub fn with(mut change: impl FnMut(usize, &mut StackConfig)) -> Self {
        let mut stack = |side: usize| {
            let mut config = StackConfig::default();
            let n = side + 1;
            config.addresses =
                vec![format!("10.0.0.{n}/24").parse().unwrap(), format!("fd00::{n}/64").parse().unwrap()];
            change(side, &mut config);
            Stack::new(Arc::new(config), [side as u8 + 1; 32], Timestamp::from_micros(START))
        };
        Self {
            stacks: [stack(0), stack(1)],
            now: 0,
            delay: [Duration::from_micros(500); 2],
            rate: None,
            queue: usize::MAX,
            narrow: None,
            cut: false,
            batches: false,
            fate: Box::new(|_| Fate::Deliver),
            in_flight: BTreeMap::new(),
            wire_free_at: [0; 2],
            order: 0,
            crossed: [0; 2],
            programs: Vec::new(),
            trace: VecDeque::new(),
            idle_steps: 0,
            bases: HashMap::new(),
            watch: Some(Watch::default()),
            server: "10.0.0.2:80".parse().unwrap(),
        }
    }

    /// Lets them talk over IPv6.
    #[must_use]
    pub fn v6(mut self) -> Self {
        self.server = "[fd00::2]:80".parse().unwrap();
        self
    }

    /// Decides over each packet that is about to cross.
    #[must_use]
    pub fn fate(mut self, fate: impl FnMut(&Crossing<'_>) -> Fate + 'static) -> Self {
        self.fate = Box::new(fate);
        self
    }

    /// Likewise, while the test runs.
    pub fn set_fate(&mut self, fate: impl FnMut(&Crossing<'_>) -> Fate + 'static) {
        self.fate = Box::new(fate);
    }

    /// The clock as the stacks see it.
    #[must_use]
    pub fn ts(&self) -> Timestamp {
        Timestamp::from_micros(START + self.now)
    }

    /// How many packets were sent.
    #[must_use]
    pub fn total_crossed(&self) -> usize {
        self.crossed[0] + self.crossed[1]
    }

    /// B listens on port 80, A connects, and both do as they are told.
    pub fn converse(&mut self, client: &[Op], server: &[Op]) {
        self.converse_with(client, server, |_| {}, |_| {});
    }

    /// Likewise, with options of their own.
    pub fn converse_with(
        &mut self,
        client: &[Op],
        server: &[Op],
        client_options: impl FnOnce(&mut SocketOptions),
        server_options: impl FnOnce(&mut SocketOptions),
    ) {
        let address = self.server;
        let mut options = self.stacks[1].config().socket.clone();
        server_options(&mut options);
        let listener = self.stacks[1].listen(address, 16, options).unwrap();
        let mut options = self.stacks[0].config().socket.clone();
        client_options(&mut options);
        let ts = self.ts();
        let id = self.stacks[0].connect(ts, None, address, options).unwrap();
        self.add(0, Some(id), None, client);
        self.add(1, None, Some(listener), server);
    }

    /// Adds a program on a side: with a connection, or one that it accepts from a listener.
    pub fn add(
        &mut self,
        side: usize,
        id: Option<ConnectionId>,
        listener: Option<ListenerId>,
        script: &[Op],
    ) {
        self.programs.push(Program {
            side,
            id,
            listener,
            script: script.iter().copied().collect(),
            done: 0,
            sent: 0,
            received: 0,
            since: 0,
            // As a program does that polls for its connection, or for somebody to accept.
            waits_for: Some(Readiness::WRITABLE),
            ready: (0, Vec::new()),
            state: if id.is_some() { State::SynSent } else { State::Listen },
        });
    }

    /// Whether all programs have done all.
    #[must_use]
    pub fn all_finished(&self) -> bool {
        self.programs.iter().all(Program::is_finished)
    }

    /// Steps until the programs are done; fails when nothing can happen any more, or after `limit`.
    #[track_caller]
    pub fn run(&mut self, limit: u64) {
        self.pump();
        while !self.all_finished() {
            if self.now > limit {
                self.fail("the programs are not done in time");
            }
            if !self.step() {
                self.fail("deadlock: nothing is in flight and no timer is set");
            }
        }
    }

    /// Steps until nothing is left to happen: every TIME-WAIT is over.
    #[track_caller]
    pub fn settle(&mut self) {
        let limit = self.now + secs(3600);
        while self.step() {
            if self.now > limit {
                self.fail("the stacks do not come to rest");
            }
        }
    }

    /// No table has an entry, but for the listeners.
    #[track_caller]
    pub fn assert_empty(&self) {
        for (side, stack) in self.stacks.iter().enumerate() {
            let sizes = stack.sizes();
            if (sizes.connections, sizes.half_open, sizes.time_wait) != (0, 0, 0) {
                self.fail(&format!("{}'s tables are not empty: {sizes:?}", ["A", "B"][side]));
            }
        }
    }

    /// The whole life of a conversation.
    #[track_caller]
    pub fn live(&mut self, limit: u64) {
        self.run(limit);
        self.settle();
        self.assert_empty();
    }

    /// Lets the programs do what they can, and takes what the stacks want to send, until nothing moves.
    #[track_caller]
    pub fn pump(&mut self) {
        loop {
            self.take_output();
            let mut moved = false;
            for index in 0..self.programs.len() {
                moved |= self.act(index);
            }
            if !moved {
                return;
            }
        }
    }

    /// Takes what the stacks want to send, and hands their events to the programs.
    #[track_caller]
    pub fn take_output(&mut self) {
        let ts = self.ts();
        for side in 0..2 {
            for sent in 0.. {
                let announced = self.stacks[side].has_output();
                let Some(transmit) = self.stacks[side].poll_transmit(ts) else { break };
                if sent >= 100_000 {
                    self.fail("packets without end");
                }
                if !announced {
                    self.fail("has_output did not tell of a packet");
                }
                // A train is cut before it is on the link.
                let mut packets = Vec::new();
                transmit.for_each_on_wire(&mut BytesMut::new(), |packet| {
                    packets.push(Bytes::copy_from_slice(packet))
                });
                packets.into_iter().for_each(|packet| self.cross(side, packet));
            }
            while let Some(event) = self.stacks[side].poll_event() {
                self.wake(side, event);
            }
        }
        self.check_states();
    }

    /// When something happens next.
    #[must_use]
    pub fn next_event(&self) -> Option<u64> {
        let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
        let timers =
            self.stacks.iter().filter_map(Stack::poll_timeout).map(|at| at.as_micros().saturating_sub(START));
        let pauses = self.programs.iter().filter_map(|program| match program.script.front() {
            Some(Op::Pause(millis)) if program.since > 0 => Some(program.since + millis * 1000),
            _ => None,
        });
        arrival.into_iter().chain(timers).chain(pauses).min().map(|at| at.max(self.now))
    }

    /// Jumps to whatever happens next: a packet arrives or a timer goes off. False if nothing ever will.
    #[track_caller]
    pub fn step(&mut self) -> bool {
        let Some(at) = self.next_event() else { return false };
        // The clock must move sooner or later.
        self.idle_steps = if at > self.now { 0 } else { self.idle_steps + 1 };
        if self.idle_steps > 10_000 {
            self.fail("time stands still: a deadline in the past for ever, or packets without end");
        }
        self.now = at;
        let ts = self.ts();
        for side in 0..2 {
            if self.stacks[side].poll_timeout().is_some_and(|deadline| deadline <= ts) {
                self.stacks[side].handle_timeout(ts);
                self.check_states();
            }
        }
        let mut arrived = [Vec::new(), Vec::new()];
        while let Some(entry) = self.in_flight.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (to, packet) = entry.remove();
            arrived[to].push(Received::alone(packet));
            if !self.batches {
                self.hand_over(to, &mut arrived[to]);
            }
        }
        for (to, packets) in arrived.iter_mut().enumerate() {
            self.hand_over(to, packets);
        }
        self.pump();
        true
    }

    fn hand_over(&mut self, to: usize, packets: &mut Vec<Received>) {
        self.stacks[to].handle_batch(self.ts(), packets);
        self.check_states();
    }

    /// Steps until the clock shows `at`.
    #[track_caller]
    pub fn run_to(&mut self, at: u64) {
        self.pump();
        while self.next_event().is_some_and(|event| event <= at) {
            self.step();
        }
        self.now = at;
    }
}

/// The bytes of a test stream from `offset` on: they do not repeat within any segment or window in sight.
#[must_use]
pub fn pattern(offset: usize, len: usize) -> Vec<u8> {
    (offset..offset + len)
        .map(|i| (i.wrapping_mul(31) ^ (i >> 8).wrapping_mul(7) ^ (i >> 16)) as u8)
        .collect()
}

/// Milliseconds in microseconds, which a [`Pair`] counts in.
#[must_use]
pub const fn ms(millis: u64) -> u64 {
    millis * 1000
}

/// Seconds in microseconds, which a [`Pair`] counts in.
#[must_use]
pub const fn secs(seconds: u64) -> u64 {
    seconds * 1_000_000
}
