//! Stacks on both sides of a bottleneck, in virtual time.
//!
//! No runtime and no clock: a loop over what happens next, in microseconds. All chance comes from the run's seed, and all
//! that is computed is computed alike everywhere, so the same run gives the same figures on every platform.

mod flow;
mod host;
mod packet;
#[cfg(test)]
mod tests;

use std::hash::Hasher as _;
use std::time::Duration;

use ropeway_core::{SocketOptions, StackConfig};
use ropeway_sim::pipe::{Micros, NEVER};
use ropeway_sim::{Pipe, Rate};
use siphasher::sip::SipHasher13;

use self::flow::FlowState;
pub(crate) use self::flow::{REQUEST, Work};
pub(crate) use self::host::Timing;
use self::host::{Host, moment};
use self::packet::Packet;
use crate::wire::{QueueCounts, Wire};

/// One run: what a cell asks for with one seed and one timing.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) seed: u64,
    /// From the senders to the receivers, and back.
    pub(crate) forth: Pipe,
    pub(crate) back: Pipe,
    /// What becomes of both, and when.
    pub(crate) changes: Vec<(Micros, Change)>,
    pub(crate) flows: Vec<FlowSetup>,
    /// Of every host.
    pub(crate) config: StackConfig,
    pub(crate) timing: Timing,
    /// When it ends at the latest.
    pub(crate) until: Micros,
    /// How often the connections are looked at. 0: never.
    pub(crate) look_every: Micros,
}

/// A change of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Of the way to the receivers.
    Rate(Rate),
    /// How long packets are on that way. None overtakes those before it.
    Delay(Duration),
    /// Of both ways.
    Up(bool),
    /// Packets to the receivers with more bytes than this are lost without a word, or none for that.
    BlackHole(Option<u16>),
}

/// A flow that a run has.
#[derive(Clone, Debug)]
pub(crate) struct FlowSetup {
    pub(crate) work: Work,
    pub(crate) start: Micros,
    pub(crate) options: SocketOptions,
    /// Which of the sending hosts it starts at, from 0. The receivers are one host.
    pub(crate) sender: usize,
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) flows: Vec<FlowOutcome>,
    /// The bytes a second that each flow had received since its start when the first one was done, or at the end.
    pub(crate) shares: Vec<u64>,
    pub(crate) end: Micros,
    /// Of all hosts.
    pub(crate) counts: Counts,
    /// Most segments with data that a sender sent at one moment.
    pub(crate) burst: u64,
    /// The queue in front of the way to the receivers, and the other.
    pub(crate) forth: QueueCounts,
    pub(crate) back: QueueCounts,
    pub(crate) looks: Vec<Look>,
    /// Of everything that was sent, and when.
    pub(crate) hash: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FlowOutcome {
    pub(crate) start: Micros,
    /// When the last byte was read, if it was.
    pub(crate) done: Option<Micros>,
    pub(crate) received: u64,
    /// Connections that failed.
    pub(crate) failed: u32,
}

/// What the stacks have counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) retransmitted: u64,
    pub(crate) timeouts: u64,
    pub(crate) spurious_timeouts: u64,
    pub(crate) undone: u64,
    pub(crate) probes: u64,
    /// Simulated packets, for the speed of the simulation.
    pub(crate) packets: u64,
}

/// A flow's connection at a moment: what the sender says, in bytes and in bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) at: Micros,
    pub(crate) flow: usize,
    pub(crate) cwnd: u32,
    pub(crate) ssthresh: u32,
    pub(crate) in_flight: u32,
    /// In microseconds.
    pub(crate) srtt: Micros,
    pub(crate) mss: u16,
    pub(crate) pacing_rate: u64,
    pub(crate) delivery_rate: u64,
    pub(crate) received: u64,
    pub(crate) retransmitted: u64,
}

/// The receivers' host.
const RECEIVER: usize = 0;

impl Run {
    /// Runs it.
    pub(crate) fn run(&self) -> Outcome {
        let mut world = World::new(self);
        while world.goes_on() {
            world.step();
        }
        world.outcome()
    }
}

struct World<'a> {
    run: &'a Run,
    now: Micros,
    hosts: Vec<Host>,
    /// To the receivers, and from them.
    forth: Wire<Packet>,
    back: Wire<Packet>,
    flows: Vec<FlowState>,
    /// How many of the changes have happened.
    changed: usize,
    shares: Option<Vec<u64>>,
    next_look: Micros,
    looks: Vec<Look>,
    packets: u64,
    hasher: SipHasher13,
}

/// The simulation's clock begins here: the stacks know no moment 0.
const BEGIN: Micros = 1_000_000;

impl<'a> World<'a> {
    fn new(run: &'a Run) -> Self {
        let senders = run.flows.iter().map(|flow| flow.sender + 1).max().unwrap_or(1);
        let verifies = run.forth.corrupt > 0.0 || run.back.corrupt > 0.0;
        let hosts = (0..=senders).map(|number| {
            let mut seed = [0; 32];
            let numbers = [run.seed, number as u64];
            for (part, value) in seed.chunks_exact_mut(8).zip(numbers) {
                part.copy_from_slice(&value.to_le_bytes());
            }
            Host::new(number, run.config.clone(), seed, run.timing, verifies)
        });
        let mut hosts: Vec<Host> = hosts.collect();
        let flows = run.flows.iter().enumerate().map(|(number, flow)| {
            let ends = [flow.sender + 1, RECEIVER];
            let mut state = FlowState::new(number, flow.work, ends, BEGIN + flow.start, flow.options.clone());
            state.listen(&mut hosts);
            state
        });
        Self {
            run,
            now: BEGIN,
            flows: flows.collect(),
            forth: Wire::new(run.seed, "forth", run.forth.clone()),
            back: Wire::new(run.seed, "back", run.back.clone()),
            hosts,
            changed: 0,
            shares: None,
            next_look: if run.look_every == 0 { NEVER } else { BEGIN },
            looks: Vec::new(),
            packets: 0,
            hasher: SipHasher13::new(),
        }
    }

    fn goes_on(&self) -> bool {
        let all_over = self.flows.iter().all(FlowState::is_over);
        let has_end = self.flows.iter().any(|flow| flow.has_end());
        !(all_over && has_end) && self.next() < BEGIN.saturating_add(self.run.until)
    }

    /// When something happens next.
    fn next(&self) -> Micros {
        let hosts = self.hosts.iter().map(Host::next).min().unwrap_or(NEVER);
        let starts = self.flows.iter().filter_map(FlowState::next_start).min().unwrap_or(NEVER);
        let change = self.run.changes.get(self.changed).map_or(NEVER, |(at, _)| BEGIN + at);
        [hosts, starts, change, self.forth.next(), self.back.next(), self.next_look]
            .into_iter()
            .min()
            .unwrap_or(NEVER)
    }

    /// Lets happen what happens next.
    fn step(&mut self) {
        self.now = self.next().max(self.now);
        self.change();
        self.deliver();
        self.start_flows();
        for number in 0..self.hosts.len() {
            self.take_turn(number);
        }
        if self.shares.is_none() && self.flows.iter().any(|flow| flow.done.is_some()) {
            self.shares = Some(self.shares());
        }
        self.look();
    }

    fn shares(&self) -> Vec<u64> {
        let share = |flow: &FlowState| flow.received * 1_000_000 / self.now.saturating_sub(flow.start).max(1);
        self.flows.iter().map(share).collect()
    }

    fn change(&mut self) {
        while let Some((at, change)) = self.run.changes.get(self.changed)
            && BEGIN + at <= self.now
        {
            self.changed += 1;
            match *change {
                Change::Rate(rate) => self.forth.change(self.now, |pipe| pipe.rate = Some(rate)),
                Change::Delay(delay) => self.forth.change(self.now, |pipe| pipe.delay = delay),
                Change::BlackHole(takes) => self.forth.change(self.now, |pipe| pipe.black_hole = takes),
                Change::Up(up) => {
                    self.forth.change(self.now, |pipe| pipe.up = up);
                    self.back.change(self.now, |pipe| pipe.up = up);
                }
            }
        }
    }

    /// Everything that arrives at one moment is there before anybody answers.
    fn deliver(&mut self) {
        for wire in [&mut self.forth, &mut self.back] {
            while let Some((_, packet)) = wire.arrival(self.now) {
                if let Some(host) = self.hosts.get_mut(packet.to) {
                    host.arrive(self.now, packet);
                }
            }
        }
    }

    fn start_flows(&mut self) {
        for flow in &mut self.flows {
            if flow.next_start().is_some_and(|start| start <= self.now)
                && let Some(host) = self.hosts.get_mut(flow.opener())
            {
                flow.begin(&mut host.stack, moment(self.now));
                host.wake(self.now);
            }
        }
    }

    fn take_turn(&mut self, number: usize) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(number).filter(|host| host.next() <= now) else { return };
        let wire = if number == RECEIVER { &mut self.back } else { &mut self.forth };
        let (hasher, packets, flows) = (&mut self.hasher, &mut self.packets, &mut self.flows);
        host.turn(
            now,
            &mut |packet| {
                *packets += 1;
                hasher.write_u64(now);
                packet.hash(hasher);
                wire.enter(now, packet);
            },
            &mut |stack, at, event| flows.iter_mut().for_each(|flow| flow.happen(number, stack, at, event)),
        );
    }

    fn look(&mut self) {
        if self.next_look > self.now {
            return;
        }
        self.next_look += self.run.look_every;
        for (number, flow) in self.flows.iter().enumerate() {
            let Some(info) = flow.info(moment(self.now), &self.hosts) else { continue };
            self.looks.push(Look {
                at: self.now - BEGIN,
                flow: number,
                cwnd: info.cwnd,
                ssthresh: info.ssthresh,
                in_flight: info.in_flight,
                srtt: u64::try_from(info.srtt.as_micros()).unwrap_or(u64::MAX),
                mss: info.snd_mss,
                pacing_rate: info.pacing_rate.unwrap_or_default(),
                delivery_rate: info.delivery_rate.unwrap_or_default(),
                received: flow.received,
                retransmitted: info.retransmitted,
            });
        }
    }

    fn outcome(self) -> Outcome {
        let flows = self.flows.iter().map(|flow| FlowOutcome {
            start: flow.start - BEGIN,
            done: flow.done.map(|at| at - BEGIN),
            received: flow.received,
            failed: flow.failed,
        });
        let mut counts = Counts { packets: self.packets, ..Counts::default() };
        for host in &self.hosts {
            let counted = host.stack.counters();
            counts.retransmitted += counted.tcp_retransmitted;
            counts.timeouts += counted.retransmission_timeouts;
            counts.spurious_timeouts += counted.spurious_timeouts;
            counts.undone += counted.undone;
            counts.probes += counted.tail_probes;
        }
        Outcome {
            flows: flows.collect(),
            shares: self.shares.clone().unwrap_or_else(|| self.shares()),
            end: self.now - BEGIN,
            counts,
            burst: self.hosts.iter().skip(1).map(Host::largest_burst).max().unwrap_or_default(),
            forth: self.forth.counts(),
            back: self.back.counts(),
            looks: self.looks,
            hash: self.hasher.finish(),
        }
    }
}
