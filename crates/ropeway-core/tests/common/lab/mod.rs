//! One stack against segments made by hand.
//!
//! Sequence numbers are relative: the stack's to its initial one, the lab's to [`Flow::isn`] (0 unless a
//! test sets it, so that they are absolute). Times are exact: a packet that leaves the stack at any other
//! moment than the one at which it is expected fails the test.

mod calls;
mod expect;
mod segments;
mod setups;

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use ropeway_core::packet::TcpSegment;
use ropeway_core::{Event, SocketOptions, Stack, StackConfig, Timestamp};
pub use setups::{established, in_state, roomy, shut_out};

use super::{ms, syn, wire};

/// What the lab's end of a handshake offers.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub mss: Option<u16>,
    pub ws: Option<u8>,
    pub ts: bool,
    pub sack: bool,
    pub win: u16,
}

impl Default for Peer {
    /// Only an MSS: windows are what they say and segments have no options.
    fn default() -> Self {
        Self { mss: Some(1460), ws: None, ts: false, sack: false, win: 65535 }
    }
}

/// The lab's side of one connection.
#[derive(Clone, Debug, Default)]
pub struct Flow {
    /// The stack's initial sequence number, as seen in its SYN.
    pub iss: u32,
    /// The lab's initial sequence number.
    pub isn: u32,
    /// The lab's next sequence number, relative.
    pub nxt: u32,
    /// One more than the last sequence number seen from the stack, relative: what is acknowledged unless the
    /// test says otherwise.
    pub seen: u32,
    pub win: u16,
    /// The lab sends timestamps: this, and milliseconds on top.
    pub ts: Option<u32>,
    /// The stack's last timestamp.
    pub tsval: u32,
}

/// A packet that left the stack.
#[derive(Clone, Debug)]
pub struct Sent {
    pub at: u64,
    pub packet: Bytes,
    pub tcp: Option<TcpSegment>,
}

pub struct Lab {
    pub stack: Stack,
    /// The clock, in microseconds since the test began.
    pub now: u64,
    /// When the test began, on the stack's clock.
    pub start: u64,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub flow: Flow,
    others: HashMap<(SocketAddr, SocketAddr), Flow>,
    pub out: VecDeque<Sent>,
    pub events: Vec<Event>,
    trace: Vec<String>,
    /// Keep no trace: for tests of very many packets.
    pub silent: bool,
    /// A test that calls the stack more often goes on for ever: it fails, and says what it is doing.
    pub most_calls: u32,
    calls: Cell<u32>,
}

pub const START: u64 = 1_000_000;

/// So many of the last packets are shown when a test fails.
const SHOWN: usize = 80;

impl Lab {
    /// 10.0.0.2/24 and fd00::2/64 with Linux's defaults.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut StackConfig)) -> Self {
        Self::starting_at(START, change)
    }

    pub fn starting_at(start: u64, change: impl FnOnce(&mut StackConfig)) -> Self {
        let mut config = StackConfig::default();
        config.addresses = vec!["10.0.0.2/24".parse().unwrap(), "fd00::2/64".parse().unwrap()];
        // Tests of anything else do not count the acknowledgements since a connection began.
        config.quick_acks = 0;
        change(&mut config);
        Self {
            stack: Stack::new(Arc::new(config), [42; 32], Timestamp::from_micros(start)),
            now: 0,
            start,
            local: "10.0.0.2:80".parse().unwrap(),
            remote: "10.0.0.1:4000".parse().unwrap(),
            flow: Flow { win: 65535, ..Flow::default() },
            others: HashMap::new(),
            out: VecDeque::new(),
            events: Vec::new(),
            trace: Vec::new(),
            silent: false,
            most_calls: 500_000,
            calls: Cell::new(0),
        }
    }

    /// A lab in which the stack's initial sequence number, for its first SYN or SYN-ACK on the default
    /// tuple, is `iss`: the clock starts when it is.
    pub fn with_iss(iss: u32, active: bool, change: impl Fn(&mut StackConfig)) -> Self {
        let mut probe = Self::with(&change);
        if active {
            let options = SocketOptions::default();
            let local = Some(SocketAddr::new(probe.local.ip(), 5000));
            probe.stack.connect(probe.ts(), local, SocketAddr::new(probe.remote.ip(), 80), options).unwrap();
            probe.collect();
        } else {
            probe.listen();
            probe.input(syn());
        }
        let found = probe.next_tcp().tcp.seq.get();
        let start = START + 4 * u64::from(iss.wrapping_sub(found));
        Self::starting_at(start, &change)
    }

    pub fn v6(mut self) -> Self {
        self.local.set_ip("fd00::2".parse().unwrap());
        self.remote.set_ip("fd00::1".parse().unwrap());
        self
    }

    pub fn v6_if(self, v6: bool) -> Self {
        if v6 { self.v6() } else { self }
    }

    #[track_caller]
    pub fn ts(&self) -> Timestamp {
        self.count_call();
        Timestamp::from_micros(self.start + self.now)
    }

    // ---- the clock

    /// Moves the clock to `millis` after the start. Everything that is sent on the way fails the test; what
    /// is sent at that very moment can be expected.
    #[track_caller]
    pub fn at(&mut self, millis: u64) {
        self.at_us(ms(millis));
    }

    #[track_caller]
    pub fn at_us(&mut self, target: u64) {
        self.quiet();
        assert!(target >= self.now, "the clock does not go back: it is {}", self.now);
        self.run_until(target, true);
    }

    /// Moves the clock, and keeps what is sent on the way.
    #[track_caller]
    pub fn run_to(&mut self, target: u64) {
        self.run_until(target, false);
    }

    /// Moves the clock to the stack's next deadline, which there must be, and keeps what is sent.
    #[track_caller]
    pub fn run_to_deadline(&mut self) {
        match self.next_deadline() {
            Some(at) => self.run_to(at.max(self.now)),
            None => self.fail("no timer runs"),
        }
    }

    #[track_caller]
    pub fn after_us(&mut self, micros: u64) {
        self.at_us(self.now + micros);
    }

    #[track_caller]
    pub fn after(&mut self, millis: u64) {
        self.at_us(self.now + ms(millis));
    }

    #[track_caller]
    fn run_until(&mut self, target: u64, exact: bool) {
        let mut spins = 0;
        while let Some(deadline) = self.next_deadline().filter(|deadline| *deadline <= target) {
            spins = if deadline > self.now { 0 } else { spins + 1 };
            if spins > 1000 {
                self.fail("poll_timeout lies in the past for ever");
            }
            self.now = self.now.max(deadline);
            self.stack.handle_timeout(self.ts());
            self.collect();
            if exact && self.now < target && !self.out.is_empty() {
                self.fail("a packet was sent before its time");
            }
        }
        self.now = target;
    }

    /// The stack's next deadline, on the lab's clock.
    pub fn next_deadline(&self) -> Option<u64> {
        self.stack.poll_timeout().map(|deadline| deadline.as_micros().saturating_sub(self.start))
    }

    // ---- which connection it is about

    /// Another connection: from this remote port on, all is about it. The earlier ones are kept.
    pub fn switch(&mut self, remote_port: u16) {
        let key = (self.local, self.remote);
        let old = std::mem::take(&mut self.flow);
        self.others.insert(key, old);
        self.remote.set_port(remote_port);
        let key = (self.local, self.remote);
        self.flow = self.others.remove(&key).unwrap_or_else(|| Flow { win: 65535, ..Flow::default() });
    }

    pub fn switch_ips(&mut self, local: IpAddr, remote: IpAddr) {
        self.local.set_ip(local);
        self.remote.set_ip(remote);
    }

    // ---- what happened

    #[track_caller]
    pub fn fail(&self, why: &str) -> ! {
        let tail = self.trace.len().saturating_sub(SHOWN);
        panic!(
            "{why}\n--- the packets so far; {} us on the clock\n{}",
            self.now,
            self.trace[tail..].join("\n")
        );
    }

    #[track_caller]
    fn count_call(&self) {
        self.calls.set(self.calls.get() + 1);
        if self.calls.get() > self.most_calls {
            self.fail("it goes on for ever");
        }
    }

    fn note(&mut self, who: &str, packet: &[u8], out: bool) {
        if self.silent {
            return;
        }
        let (seq_base, ack_base) =
            if out { (self.flow.iss, self.flow.isn) } else { (self.flow.isn, self.flow.iss) };
        if self.trace.len() > 100 * SHOWN {
            self.trace.drain(..99 * SHOWN);
        }
        self.trace.push(wire::describe(self.now, who, packet, seq_base, ack_base));
    }
}
