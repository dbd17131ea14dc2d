//! A state: two stacks, what is on its way between them, how far the programs are, and what the adversary may still do.

mod check;

use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ropeway_core::packet::{EcnCodepoint, IcmpErrorKind, SeqNum, TcpFlags, TcpHeader, icmp::emit_error, ip};
use ropeway_core::{
    ConnectionError, ConnectionId, ListenerId, Received, SendError, SocketOptions, Stack, StackConfig, State,
    Timestamp,
};

use super::meddle::Change;
use super::print::{Mix, print_of};
use super::scenario::{Call, Opening, Scenario};
use crate::common::{parse, pattern, tcp_packet};

/// What may happen next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// The next packet for this side arrives.
    Deliver(usize),
    /// One of those that are late arrives.
    DeliverLate(usize),
    /// The next packet for this side is lost.
    Drop(usize),
    /// It is late: it comes at any time from now on, before or behind others.
    Delay(usize),
    /// It arrives, and once more at any time.
    Duplicate(usize),
    /// A box on the way changes it, and lets it through.
    Meddle(usize, Change),
    /// The path takes no large packets any more, and does not say so; or it takes them again.
    Narrow,
    /// The next packet for this side is too big for a router, who says so and drops it.
    TooBig(usize),
    /// The next timer goes off. While packets are on their way or calls could be made, that is the adversary's move:
    /// everything else is slow.
    Timer,
    /// This program makes its next call.
    Call(usize),
}

#[derive(Clone, Debug, Default)]
pub struct Program {
    pub id: Option<ConnectionId>,
    pub next: usize,
    pub written: usize,
    pub read: usize,
    pub saw_end: bool,
    pub finished: bool,
    pub left: bool,
    pub error: Option<ConnectionError>,
}

#[derive(Clone)]
pub struct World {
    pub scenario: &'static Scenario,
    pub stacks: [Stack; 2],
    prints: [u128; 2],
    pub now: Timestamp,
    /// On their way to each side, in the order in which they were sent.
    pub flight: [VecDeque<Bytes>; 2],
    /// Late: for whom, and what; sorted.
    pub late: Vec<(usize, Bytes)>,
    pub programs: [Program; 2],
    pub states: [State; 2],
    /// How far SND.NXT has come.
    pub sent_up_to: [u64; 2],
    pub feedback: [Feedback; 2],
    /// A box has changed what no router may.
    pub meddled: bool,
    /// The path takes no large packets at present.
    pub narrow: bool,
    listener: Option<ListenerId>,
    /// Moves that the adversary has left.
    pub budget: u32,
    /// What has happened in the last action: for the ladder.
    pub sent: Rc<Vec<(usize, Bytes)>>,
}

/// What a side has seen of marks, and been told of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Feedback {
    /// Packets that have arrived with a mark.
    pub marked: u32,
    /// The counters as they were: what has arrived here, and what has arrived there.
    pub counters: [u32; 8],
}

pub const NAMES: [&str; 2] = ["A", "B"];
/// How much later a late SYN is at least.
const LATENESS: Duration = Duration::from_millis(1);
const START: Timestamp = Timestamp::from_micros(1_000_000);

fn config(scenario: &Scenario, side: usize) -> StackConfig {
    let mut config = StackConfig::default();
    config.addresses = vec![format!("10.0.0.{}/24", side + 1).parse().unwrap()];
    config.timestamps = false;
    config.window_scaling = false;
    config.delayed_ack = Duration::ZERO;
    config.socket.nodelay = true;
    (scenario.change)(&mut config);
    if side == 1 {
        (scenario.change_b)(&mut config);
    }
    config
}

/// A connection of before has brought A the cookie of B, and is over.
fn learn_cookie(
    stacks: &mut [Stack; 2],
    (a, b): (SocketAddr, SocketAddr),
    listener: ListenerId,
    options: &SocketOptions,
) {
    let before = SocketAddr::new(a.ip(), 3999);
    let (id, sent) = stacks[0].connect_with(START, Some(before), b, options.clone(), &[]).unwrap();
    assert_eq!(sent, 0);
    exchange(stacks);
    let (guest, _) = stacks[1].accept(START, listener).unwrap().expect("a connection");
    stacks[0].abort(START, id);
    stacks[0].close(START, id);
    stacks[1].close(START, guest);
    exchange(stacks);
    for stack in stacks {
        assert_eq!(stack.sizes().connections, 0, "something is left of it");
        while stack.poll_event().is_some() {}
    }
}

/// All packets arrive, until there are none.
fn exchange(stacks: &mut [Stack; 2]) {
    let mut from = 0;
    while stacks[from].has_output() || stacks[1 - from].has_output() {
        while let Some(transmit) = stacks[from].poll_transmit(START) {
            let packet = Received::new(transmit.to_bytes());
            stacks[1 - from].handle_packet(START, packet);
        }
        from = 1 - from;
    }
}

impl World {
    pub fn new(scenario: &'static Scenario, budget: u32) -> Self {
        let mut stacks =
            [0, 1].map(|side| Stack::new(Arc::new(config(scenario, side)), [side as u8 + 1; 32], START));
        let [a, b]: [SocketAddr; 2] = [([10, 0, 0, 1], 4000).into(), ([10, 0, 0, 2], 80).into()];
        let mut programs = [Program::default(), Program::default()];
        let options = [0, 1].map(|side: usize| stacks[side].config().socket.clone());
        let [options_a, options_b] = options;
        let mut listener = None;
        if scenario.opening == Opening::Simultaneous {
            programs[1].id = Some(stacks[1].connect(START, Some(b), a, options_b).unwrap());
        } else {
            listener = Some(stacks[1].listen(b, 4, options_b).unwrap());
        }
        if matches!(scenario.opening, Opening::FastWithCookie | Opening::FastWithStaleCookie) {
            learn_cookie(&mut stacks, (a, b), listener.unwrap(), &options_a);
        }
        if scenario.opening == Opening::FastWithStaleCookie {
            let keys = stacks[1].fast_open_keys().rotate([9; 16]).rotate([10; 16]);
            stacks[1].set_fast_open_keys(keys);
        }
        programs[0].id = Some(match scenario.with_syn(0) {
            0 => stacks[0].connect(START, Some(a), b, options_a).unwrap(),
            len => {
                let opened = stacks[0].connect_with(START, Some(a), b, options_a, &pattern(0, len)).unwrap();
                programs[0].written = opened.1;
                opened.0
            }
        });
        let mut late = Vec::new();
        if scenario.opening == Opening::OldSyn {
            let syn = TcpHeader {
                src_port: 4000,
                dst_port: 80,
                seq: SeqNum::new(77_000),
                flags: TcpFlags::SYN,
                window: 1000,
                ..TcpHeader::default()
            };
            late.push((1, Bytes::from(tcp_packet(a.ip(), b.ip(), &syn, None, &[]))));
        }
        let mut world = Self {
            scenario,
            stacks,
            prints: [0; 2],
            now: START,
            flight: Default::default(),
            late,
            programs,
            sent_up_to: [0; 2],
            feedback: Default::default(),
            meddled: false,
            narrow: false,
            states: [State::SynSent, if listener.is_some() { State::Listen } else { State::SynSent }],
            listener,
            budget,
            sent: Rc::default(),
        };
        for side in 0..2 {
            world.settle(side).unwrap();
        }
        world
    }

    /// Two worlds with equal fingerprints go on alike.
    pub fn print(&self) -> u128 {
        let mut mix = Mix::default();
        mix.number(self.prints[0]);
        mix.number(self.prints[1]);
        mix.number(self.now.as_micros().into());
        mix.number(self.budget.into());
        for queue in &self.flight {
            mix.number(queue.len() as u128);
            for packet in queue {
                mix.number(packet.len() as u128);
                mix.bytes(packet);
            }
        }
        for (to, packet) in &self.late {
            mix.number(*to as u128 | (packet.len() as u128) << 8);
            mix.bytes(packet);
        }
        for Feedback { marked, counters } in &self.feedback {
            mix.bytes(format!("{marked} {counters:?}").as_bytes());
        }
        mix.number(u128::from(self.meddled) | u128::from(self.narrow) << 1);
        for program in &self.programs {
            // All of them: a field that is new has to be thought of.
            let Program { id, next, written, read, saw_end, finished, left, error } = program;
            mix.bytes(format!("{id:?}{next} {written} {read} {saw_end}{finished}{left}{error:?}").as_bytes());
        }
        mix.finish()
    }

    // ---- what is possible

    pub fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        let calls = (0..2).filter(|side| self.can_call(*side));
        actions.extend(calls.map(Action::Call));
        let next = (0..2).filter(|side| !self.flight[*side].is_empty());
        actions.extend(next.clone().map(Action::Deliver));
        // Of equal packets one is enough.
        let late =
            (0..self.late.len()).filter(|index| *index == 0 || self.late[*index] != self.late[index - 1]);
        actions.extend(late.map(Action::DeliverLate));
        let quiet = actions.is_empty();
        if self.budget > 0 {
            for side in next {
                actions.extend([Action::Drop(side), Action::Delay(side), Action::Duplicate(side)]);
                actions.extend(self.changes(side));
                let packet = self.flight[side].front();
                let is_large = packet.is_some_and(|packet| self.is_large(packet));
                actions.extend(is_large.then_some(Action::TooBig(side)));
            }
            actions.extend(self.scenario.narrow.map(|_| Action::Narrow));
        }
        if (quiet || self.budget > 0) && self.deadline().is_some() {
            actions.push(Action::Timer);
        }
        if actions.is_empty() && self.scenario.abortive {
            // The peer's RST was lost, and nothing is outstanding: no TCP would ever know. The program loses patience.
            actions.extend((0..2).filter(|side| self.waits_in_vain(*side)).map(Action::Call));
        }
        actions
    }

    /// Longer than what a narrow path takes.
    fn is_large(&self, packet: &Bytes) -> bool {
        self.scenario.narrow.is_some_and(|narrow| packet.len() > narrow)
    }

    /// What a box can do to the next packet for this side.
    fn changes(&self, side: usize) -> impl Iterator<Item = Action> {
        let next = self.flight[side].front().filter(|_| self.scenario.meddler);
        let found = next.into_iter().flat_map(|packet| Change::ALL.map(|change| (change, change.of(packet))));
        found.filter(|(_, changed)| changed.is_some()).map(move |(change, _)| Action::Meddle(side, change))
    }

    /// What it costs the adversary.
    fn cost(&self, action: Action) -> u32 {
        match action {
            Action::Deliver(_) | Action::DeliverLate(_) | Action::Call(_) => 0,
            Action::Drop(_) | Action::Delay(_) | Action::Duplicate(_) => 1,
            Action::Meddle(..) | Action::Narrow | Action::TooBig(_) => 1,
            Action::Timer => u32::from(self.is_busy()),
        }
    }

    /// A packet is on its way, or a call could be made.
    fn is_busy(&self) -> bool {
        let arrives = !self.late.is_empty() || self.flight.iter().any(|queue| !queue.is_empty());
        arrives || self.can_call(0) || self.can_call(1)
    }

    fn next_call(&self, side: usize) -> Option<Call> {
        self.scenario.scripts[side].get(self.programs[side].next).copied()
    }

    fn can_call(&self, side: usize) -> bool {
        let program = &self.programs[side];
        let (Some(call), Some(id)) = (self.next_call(side), program.id) else { return false };
        let opening = matches!(self.states[side], State::SynSent | State::SynReceived);
        let over = program.error.is_some() || self.states[side] == State::Closed;
        match call {
            Call::AwaitEnd => program.saw_end || program.error.is_some(),
            Call::AwaitOpen => !opening,
            // There is something to read, or nothing will come any more.
            Call::Read => {
                let all = program.read >= self.scenario.sends(1 - side);
                !opening && (over || all || self.readable(side, id) != Some(0))
            }
            Call::Send(_) | Call::SendFin(_) | Call::Shutdown | Call::Close | Call::Abort => true,
        }
    }

    fn waits_in_vain(&self, side: usize) -> bool {
        self.next_call(side) == Some(Call::AwaitEnd) && self.programs[side].id.is_some()
    }

    fn readable(&self, side: usize, id: ConnectionId) -> Option<usize> {
        self.stacks[side].info(self.now, id).ok().map(|info| info.unread)
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.stacks.iter().filter_map(Stack::poll_timeout).min()
    }

    // ---- what happens

    /// Does it. An error says what is wrong with what came of it.
    pub fn act(&mut self, action: Action) -> Result<(), String> {
        self.sent = Rc::default();
        self.budget -= self.cost(action);
        match action {
            Action::Deliver(to) => {
                let packet = self.flight[to].pop_front().ok_or("nothing is on its way")?;
                self.receive(to, packet)?;
            }
            Action::DeliverLate(index) => {
                let (to, packet) = self.late.remove(index);
                // The clock has gone on: a SYN from then does not meet the initial sequence number of then.
                if parse(&packet).is_some_and(|segment| segment.tcp.flags.contains(TcpFlags::SYN)) {
                    self.expire(self.now + LATENESS)?;
                }
                self.receive(to, packet)?;
            }
            Action::Drop(to) => drop(self.flight[to].pop_front()),
            Action::Delay(to) => {
                let packet = self.flight[to].pop_front().ok_or("nothing is on its way")?;
                self.add_late(to, packet);
            }
            Action::Duplicate(to) => {
                let packet = self.flight[to].pop_front().ok_or("nothing is on its way")?;
                self.add_late(to, packet.clone());
                self.receive(to, packet)?;
            }
            Action::Meddle(to, change) => {
                let packet = self.flight[to].front_mut().ok_or("nothing is on its way")?;
                *packet = change.of(packet).ok_or("there is nothing to change")?;
                self.meddled |= !change.is_allowed();
            }
            Action::Narrow => self.narrow ^= true,
            Action::TooBig(to) => {
                let packet = self.flight[to].pop_front().ok_or("nothing is on its way")?;
                let mtu = self.scenario.narrow.ok_or("the path takes all")? as u32;
                let [from, to] = [1 - to, to].map(|side| [10, 0, 0, side as u8 + 1].into());
                let error = emit_error(to, from, IcmpErrorKind::PacketTooBig { mtu }, &packet, 64);
                let side = usize::from(to == SocketAddr::from(([10, 0, 0, 1], 0)).ip());
                self.receive(side, error.into())?;
            }
            Action::Timer => {
                let at = self.deadline().ok_or("no timer is set")?;
                self.expire(self.now.max(at))?;
            }
            Action::Call(side) => {
                self.call(side)?;
                self.settle(side)?;
            }
        }
        self.check_rest()
    }

    /// The clock shows `now`, and what is due goes off.
    fn expire(&mut self, now: Timestamp) -> Result<(), String> {
        self.now = now;
        for (side, name) in NAMES.into_iter().enumerate() {
            if self.stacks[side].poll_timeout().is_some_and(|at| at <= self.now) {
                self.stacks[side].handle_timeout(self.now);
                self.settle(side)?;
            }
            if self.stacks[side].poll_timeout().is_some_and(|at| at <= self.now) {
                return Err(format!("{name}'s deadline stays in the past"));
            }
        }
        Ok(())
    }

    fn add_late(&mut self, to: usize, packet: Bytes) {
        self.late.push((to, packet));
        self.late.sort();
    }

    fn receive(&mut self, to: usize, packet: Bytes) -> Result<(), String> {
        if self.narrow && self.is_large(&packet) {
            return Ok(());
        }
        let marked =
            ip::parse(&packet).is_ok_and(|ip| EcnCodepoint::of(ip.traffic_class) == EcnCodepoint::Ce);
        self.feedback[to].marked += u32::from(marked);
        self.stacks[to].handle_packet(self.now, Received::new(packet));
        self.settle(to)
    }

    fn call(&mut self, side: usize) -> Result<(), String> {
        let call = self.next_call(side).ok_or("no call is left")?;
        let (now, stack, program) = (self.now, &mut self.stacks[side], &mut self.programs[side]);
        program.next += 1;
        let id = program.id.ok_or("there is no connection yet")?;
        if program.left {
            return Ok(());
        }
        match call {
            Call::Send(n) | Call::SendFin(n) => {
                let data = pattern(program.written + side * 1000, n as usize);
                match stack.send(now, id, &data, Default::default()) {
                    Ok(taken) if taken == data.len() => program.written += taken,
                    Ok(taken) => return Err(format!("only {taken} bytes are taken")),
                    Err(SendError::Failed(error)) => program.error = Some(error),
                    Err(SendError::BrokenPipe) if program.error.is_some() => {}
                    Err(error) if self.scenario.abortive => {
                        program.error.get_or_insert(ConnectionError::BrokenPipe);
                        let _ = error;
                    }
                    Err(error) => return Err(format!("send answers {error:?}")),
                }
                if matches!(call, Call::SendFin(_)) {
                    program.finished = stack.shutdown(now, id, Shutdown::Write).is_ok();
                }
            }
            Call::Read => self.read(side)?,
            Call::Shutdown => program.finished = stack.shutdown(now, id, Shutdown::Write).is_ok(),
            Call::Close => {
                stack.close(now, id);
                program.left = true;
                program.finished = true;
            }
            Call::Abort => {
                stack.abort(now, id);
                program.finished = true;
                program.error = Some(ConnectionError::Aborted);
            }
            Call::AwaitEnd | Call::AwaitOpen => {}
        }
        Ok(())
    }

    /// What follows on one side: packets go out, B gets its connection, programs read.
    fn settle(&mut self, side: usize) -> Result<(), String> {
        self.check_edge(side)?;
        loop {
            let mut count = 0;
            while let Some(transmit) = self.stacks[side].poll_transmit(self.now) {
                let packet = transmit.to_bytes();
                Rc::make_mut(&mut self.sent).push((side, packet.clone()));
                self.flight[1 - side].push_back(packet);
                count += 1;
                if count > 50 {
                    return Err(format!("{} sends without end", NAMES[side]));
                }
            }
            while self.stacks[side].poll_event().is_some() {}
            self.accept(side);
            let before = self.programs[side].read;
            if !self.scenario.reads_by_script || self.script_is_over_with_reads(side) {
                self.read(side)?;
            }
            if self.programs[side].read == before && !self.stacks[side].has_output() {
                break;
            }
        }
        self.check_edge(side)?;
        self.prints[side] = print_of(&self.stacks[side]);
        Ok(())
    }

    /// Whoever waits for the end of the stream has to read up to it.
    fn script_is_over_with_reads(&self, side: usize) -> bool {
        self.next_call(side) == Some(Call::AwaitEnd)
    }

    fn accept(&mut self, side: usize) {
        let Some(listener) = self.listener.filter(|_| side == 1) else { return };
        while let Ok(Some((id, _))) = self.stacks[1].accept(self.now, listener) {
            if self.programs[1].id.is_none() {
                self.programs[1].id = Some(id);
                self.states[1] = State::SynReceived;
                if self.scenario.one_guest {
                    self.stacks[1].close_listener(self.now, listener);
                    self.listener = None;
                    return;
                }
            } else {
                // A ghost of old duplicates; nobody wants it.
                self.stacks[1].close(self.now, id);
            }
        }
    }
}
