//! Two stacks on one virtual clock, with a link each way that can do everything a bad network does.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ropeway_core::packet::icmp::emit_error;
use ropeway_core::packet::{IcmpErrorKind, TcpFlags};
use ropeway_core::{
    Cause, ConnectionId, Event, ListenerId, Readiness, Received, RecvError, SendError, SocketOptions, Stack,
    StackConfig, State, Timestamp, next,
};

use super::watch::Watch;
use super::{pattern, secs, wire};

/// What the link does with a packet.
#[derive(Clone, Debug)]
pub enum Fate {
    Deliver,
    Drop,
    /// It arrives twice.
    Duplicate,
    /// It arrives this much later than it should, behind others that were sent after it.
    Late(Duration),
    /// It arrives with this byte changed.
    Corrupt(usize, u8),
}

/// A link between the ends that takes smaller packets than theirs do.
#[derive(Clone, Copy, Debug)]
pub struct Narrow {
    pub mtu: usize,
    /// So many of the router's messages are lost first.
    pub unheard: usize,
}

/// A packet that is about to cross.
pub struct Crossing<'a> {
    /// 0 for the first packet of all, whichever way it goes.
    pub number: usize,
    /// 0 for A, 1 for B.
    pub from: usize,
    /// How many went this way before it.
    pub number_this_way: usize,
    pub packet: &'a [u8],
}

/// One step of what a program does with its connection. Each waits until it can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes so many bytes of the stream that its side sends.
    Send(usize),
    /// Reads exactly so many bytes and compares them.
    Recv(usize),
    /// Reads to the end of the stream and finds nothing more.
    RecvEof,
    ShutdownWrite,
    Close,
    Abort,
    /// Reading or writing fails, whatever the reason.
    Fails,
    /// Changes an option; which and how, the number decides.
    Set(u64),
    /// Does nothing for so many milliseconds.
    Pause(u64),
}

/// A program with its connection.
#[derive(Debug)]
pub struct Program {
    pub side: usize,
    pub id: Option<ConnectionId>,
    listener: Option<ListenerId>,
    script: VecDeque<Op>,
    /// Bytes done of the op at hand.
    done: usize,
    sent: usize,
    received: usize,
    since: u64,
    state: State,
    /// It was told "would block", or has to wait for its connection: only an event with one of these wakes it.
    waits_for: Option<Readiness>,
    /// Bytes made ready to be sent, and where in the stream they begin.
    ready: (usize, Vec<u8>),
}

impl Program {
    pub fn is_finished(&self) -> bool {
        self.script.is_empty()
    }
    pub fn received(&self) -> usize {
        self.received
    }
    /// Gives up the op at hand.
    pub fn abandon(&mut self, op: Op) {
        assert_eq!(self.script.pop_front(), Some(op));
        self.done = 0;
        self.waits_for = None;
    }
}

pub struct Pair {
    pub stacks: [Stack; 2],
    pub now: u64,
    pub delay: [Duration; 2],
    /// Bytes per second, if the links are slower than infinitely fast.
    pub rate: Option<u64>,
    /// With a rate: how many bytes may wait for the wire; what is beyond is dropped.
    pub queue: usize,
    pub narrow: Option<Narrow>,
    /// Nothing crosses.
    pub cut: bool,
    fate: Box<dyn FnMut(&Crossing<'_>) -> Fate>,
    in_flight: BTreeMap<(u64, u64), (usize, Bytes)>,
    wire_free_at: [u64; 2],
    order: u64,
    pub crossed: [usize; 2],
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

impl Pair {
    /// 10.0.0.1 and 10.0.0.2, half a millisecond from each other.
    pub fn new() -> Self {
        Self::with(|_, _| {})
    }

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

    pub fn v6(mut self) -> Self {
        self.server = "[fd00::2]:80".parse().unwrap();
        self
    }

    pub fn fate(mut self, fate: impl FnMut(&Crossing<'_>) -> Fate + 'static) -> Self {
        self.fate = Box::new(fate);
        self
    }

    pub fn set_fate(&mut self, fate: impl FnMut(&Crossing<'_>) -> Fate + 'static) {
        self.fate = Box::new(fate);
    }

    pub fn ts(&self) -> Timestamp {
        Timestamp::from_micros(START + self.now)
    }

    pub fn total_crossed(&self) -> usize {
        self.crossed[0] + self.crossed[1]
    }

    // ---- programs

    /// B listens on port 80, A connects, and both do as they are told.
    pub fn converse(&mut self, client: &[Op], server: &[Op]) {
        self.converse_with(client, server, |_| {}, |_| {});
    }

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

    #[track_caller]
    fn act(&mut self, index: usize) -> bool {
        let ts = self.ts();
        let now = self.now;
        let program = &mut self.programs[index];
        let stack = &mut self.stacks[program.side];
        let name = ["A", "B"][program.side];
        if program.waits_for.is_some() {
            return false;
        }
        let Some(id) = program.id else {
            let Some(listener) = program.listener else { return false };
            let Ok(Some((id, _))) = stack.accept(ts, listener) else {
                program.waits_for = Some(Readiness::WRITABLE);
                return false;
            };
            program.id = Some(id);
            return true;
        };
        let Some(op) = program.script.front().copied() else { return false };
        // A close before the connection is open would forget it: programs wait.
        if matches!(stack.info(ts, id).map(|info| info.state), Ok(State::SynSent | State::SynReceived)) {
            return false;
        }
        // Each side's stream starts elsewhere, so that a byte that comes back to its sender is noticed.
        let own = program.side * 1_000_003;
        let theirs = (1 - program.side) * 1_000_003;
        let mut wrong = None;
        let over = match op {
            Op::Send(n) => {
                let from = program.sent;
                let end = from + n - program.done;
                if !(program.ready.0 <= from && end.min(from + 1) <= program.ready.0 + program.ready.1.len())
                {
                    program.ready = (from, pattern(own + from, (end - from).min(256 * 1024)));
                }
                let bytes = &program.ready.1[from - program.ready.0..];
                match stack.send(ts, id, &bytes[..bytes.len().min(end - from)], Default::default()) {
                    Ok(taken) => {
                        program.sent += taken;
                        program.done += taken;
                        if program.done < n {
                            return taken > 0;
                        }
                        true
                    }
                    Err(SendError::WouldBlock) => {
                        program.waits_for = Some(Readiness::WRITABLE);
                        return false;
                    }
                    Err(error) => {
                        wrong = Some(format!("send answered {error:?}"));
                        false
                    }
                }
            }
            Op::Recv(n) => match stack.recv(ts, id, n - program.done) {
                Ok(payload) if payload.is_empty() => {
                    wrong = Some("the stream ended early".into());
                    false
                }
                Ok(payload) => {
                    if payload.to_vec() != pattern(theirs + program.received, payload.len()) {
                        wrong = Some(format!("the stream is wrong after {} bytes", program.received));
                    }
                    program.received += payload.len();
                    program.done += payload.len();
                    if program.done < n {
                        true
                    } else {
                        program.script.pop_front();
                        program.done = 0;
                        match wrong {
                            Some(wrong) => self.fail(&format!("{name}: {wrong}")),
                            None => return true,
                        }
                    }
                }
                Err(RecvError::WouldBlock) => {
                    program.waits_for = Some(Readiness::READABLE);
                    return false;
                }
                Err(error) => {
                    wrong = Some(format!("recv answered {error:?}"));
                    false
                }
            },
            Op::RecvEof => match stack.recv(ts, id, 1000) {
                Ok(payload) if payload.is_empty() => true,
                Ok(payload) => {
                    wrong = Some(format!("{} bytes where the stream should end", payload.len()));
                    false
                }
                Err(RecvError::WouldBlock) => {
                    program.waits_for = Some(Readiness::READABLE);
                    return false;
                }
                Err(error) => {
                    wrong = Some(format!("recv answered {error:?}"));
                    false
                }
            },
            Op::ShutdownWrite => match stack.shutdown(ts, id, std::net::Shutdown::Write) {
                Ok(()) => true,
                Err(error) => {
                    wrong = Some(format!("shutdown answered {error:?}"));
                    false
                }
            },
            Op::Close => {
                stack.close(ts, id);
                true
            }
            Op::Abort => {
                stack.abort(ts, id);
                true
            }
            Op::Fails => {
                if stack.take_error(id).is_none() {
                    return false;
                }
                true
            }
            Op::Set(what) => {
                stack.update_options(ts, id, |options| set_option(options, what)).unwrap();
                true
            }
            Op::Pause(millis) => {
                if program.since == 0 {
                    program.since = now.max(1);
                }
                if now < program.since + millis * 1000 {
                    return false;
                }
                program.since = 0;
                true
            }
        };
        if let Some(wrong) = wrong {
            self.fail(&format!("{name}: {op:?}: {wrong}"));
        }
        if over && !matches!(op, Op::Recv(_)) {
            program.script.pop_front();
            program.done = 0;
        }
        true
    }

    // ---- the network

    #[track_caller]
    pub fn take_output(&mut self) {
        let ts = self.ts();
        for side in 0..2 {
            loop {
                let announced = self.stacks[side].has_output();
                let Some(transmit) = self.stacks[side].poll_transmit(ts) else { break };
                if !announced {
                    self.fail("has_output did not tell of a packet");
                }
                let packet = transmit.to_bytes();
                self.cross(side, packet);
            }
            while let Some(event) = self.stacks[side].poll_event() {
                self.wake(side, event);
            }
        }
        self.check_states();
    }

    /// Hands an event to whom it is for.
    fn wake(&mut self, side: usize, event: Event) {
        for program in self.programs.iter_mut().filter(|program| program.side == side) {
            let wakes = match event {
                Event::Acceptable(listener) => program.id.is_none() && program.listener == Some(listener),
                Event::Ready(id, gained) => {
                    program.id == Some(id) && program.waits_for.is_some_and(|what| gained.intersects(what))
                }
                _ => false,
            };
            if wakes {
                program.waits_for = None;
            }
        }
    }

    #[track_caller]
    fn cross(&mut self, from: usize, packet: Bytes) {
        let wrong = self.watch.as_mut().and_then(|watch| watch.look(&packet));
        let crossing = Crossing {
            number: self.total_crossed(),
            from,
            number_this_way: self.crossed[from],
            packet: &packet,
        };
        let mut fate = (self.fate)(&crossing);
        self.crossed[from] += 1;
        if self.cut {
            fate = Fate::Drop;
        }
        let mut arrives = self.now + self.delay[from].as_micros() as u64;
        if let Some(rate) = self.rate {
            let free = self.wire_free_at[from].max(self.now);
            let waiting = (free - self.now) as u128 * u128::from(rate) / 1_000_000;
            if waiting + packet.len() as u128 > self.queue as u128 {
                fate = Fate::Drop;
            } else {
                self.wire_free_at[from] = free + packet.len() as u64 * 1_000_000 / rate;
                arrives = self.wire_free_at[from] + self.delay[from].as_micros() as u64;
            }
        }
        if let Some(narrow) = &mut self.narrow
            && packet.len() > narrow.mtu
        {
            fate = Fate::Drop;
            if narrow.unheard > 0 {
                narrow.unheard -= 1;
            } else {
                let v6 = packet[0] >> 4 == 6;
                let (router, ends) = if v6 {
                    ("fd00:9::9", ["fd00::1", "fd00::2"])
                } else {
                    ("10.9.9.9", ["10.0.0.1", "10.0.0.2"])
                };
                let kind = IcmpErrorKind::PacketTooBig { mtu: narrow.mtu as u32 };
                let to = ends[from].parse().unwrap();
                let message = emit_error(router.parse().unwrap(), to, kind, &packet, 64);
                self.fly(1 - from, message.into(), arrives);
            }
        }
        let what = match &fate {
            Fate::Deliver => "",
            Fate::Drop => "  LOST",
            Fate::Duplicate => "  TWICE",
            Fate::Late(_) => "  LATE",
            Fate::Corrupt(..) => "  SPOILT",
        };
        self.remember(from, packet.clone(), what);
        if let Some(wrong) = wrong {
            self.fail(&format!("the last packet is wrong: {wrong}"));
        }
        match fate {
            Fate::Deliver => self.fly(from, packet, arrives),
            Fate::Drop => {}
            Fate::Duplicate => {
                self.fly(from, packet.clone(), arrives);
                self.fly(from, packet, arrives);
            }
            Fate::Late(by) => self.fly(from, packet, arrives + by.as_micros() as u64),
            Fate::Corrupt(at, with) => {
                let mut spoilt = packet.to_vec();
                if let Some(byte) = spoilt.get_mut(at) {
                    *byte ^= with;
                }
                self.fly(from, spoilt.into(), arrives);
            }
        }
    }

    fn fly(&mut self, from: usize, packet: Bytes, arrives: u64) {
        self.order += 1;
        self.in_flight.insert((arrives, self.order), (1 - from, packet));
    }

    /// When something happens next.
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
        while let Some(entry) = self.in_flight.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (to, packet) = entry.remove();
            self.stacks[to].handle_packet(ts, Received::new(packet));
            self.check_states();
        }
        self.pump();
        true
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

    // ---- what must always hold

    /// Every state is one that the table leads to from the one before; a few edges may lie in one step.
    #[track_caller]
    fn check_states(&mut self) {
        let ts = self.ts();
        for index in 0..self.programs.len() {
            let program = &self.programs[index];
            let Some(id) = program.id else { continue };
            let state = self.stacks[program.side].info(ts, id).map_or(State::Closed, |info| info.state);
            let before = program.state;
            if state == before {
                continue;
            }
            if !reachable(before, state) {
                self.fail(&format!("from {before} to {state}: the table has no such way"));
            }
            self.programs[index].state = state;
        }
    }

    pub fn state(&self, program: usize) -> State {
        let program = &self.programs[program];
        program.id.map_or(State::Listen, |id| {
            self.stacks[program.side].info(self.ts(), id).map_or(State::Closed, |info| info.state)
        })
    }

    // ---- the record

    fn remember(&mut self, from: usize, packet: Bytes, what: &'static str) {
        if let Some(segment) = packet_syn(&packet) {
            self.bases.insert(segment.0, segment.1);
        }
        if self.trace.len() >= 300 {
            self.trace.pop_front();
        }
        self.trace.push_back((self.now, from, packet, what));
    }

    /// The packets that crossed, one line each; the last 300 of them.
    pub fn record(&self) -> String {
        let mut text = String::new();
        for (at, from, packet, what) in &self.trace {
            let who = if *from == 0 { "A > B" } else { "B > A" };
            let (mut seq_base, mut ack_base) = (0, 0);
            if let Some(segment) = wire::parse(packet) {
                let src = SocketAddr::new(segment.ip.src, segment.tcp.src_port);
                let dst = SocketAddr::new(segment.ip.dst, segment.tcp.dst_port);
                seq_base = self.bases.get(&(src, dst)).copied().unwrap_or(0);
                ack_base = self.bases.get(&(dst, src)).copied().unwrap_or(0);
            }
            text += &wire::describe(*at, who, packet, seq_base, ack_base);
            text += what;
            text.push('\n');
        }
        text
    }

    #[track_caller]
    pub fn fail(&self, why: &str) -> ! {
        let states: Vec<String> = (0..self.programs.len())
            .map(|index| {
                let program = &self.programs[index];
                let name = ["A", "B"][program.side];
                format!(
                    "{name}: {} {:?} waits for {:?}",
                    self.state(index),
                    program.script,
                    program.waits_for
                )
            })
            .collect();
        panic!("{why}\n--- at {} us; {}\n{}", self.now, states.join("; "), self.record());
    }
}

fn set_option(options: &mut SocketOptions, what: u64) {
    let yes = what & 0x100 != 0;
    let size = [500, 1460, 5000, 65_535, 512 * 1024][(what >> 16) as usize % 5];
    match what % 8 {
        0 => options.nodelay = yes,
        1 => options.cork = yes,
        2 => options.quick_ack = yes,
        3 => options.recv_buffer = size,
        4 => options.send_buffer = size,
        5 => options.max_segment = yes.then_some(100 + (size % 2000) as u16),
        6 => options.notsent_lowat = yes.then_some(size),
        _ => options.keep_alive = yes.then(Default::default),
    }
}

/// The ends and the sequence number of a SYN.
fn packet_syn(packet: &[u8]) -> Option<((SocketAddr, SocketAddr), u32)> {
    // Cheap: only what may be a TCP SYN over IPv4 or IPv6 is parsed.
    let flags = match packet.first()? >> 4 {
        4 => *packet.get(33)?,
        _ => *packet.get(53)?,
    };
    if flags & 2 == 0 {
        return None;
    }
    let segment = wire::parse(packet)?;
    if !segment.tcp.flags.contains(TcpFlags::SYN) {
        return None;
    }
    let src = SocketAddr::new(segment.ip.src, segment.tcp.src_port);
    let dst = SocketAddr::new(segment.ip.dst, segment.tcp.dst_port);
    Some(((src, dst), segment.tcp.seq.get()))
}

/// Whether up to three edges of the table lead from one state to another.
pub fn reachable(from: State, to: State) -> bool {
    let mut states = vec![from];
    for _ in 0..3 {
        let further: Vec<State> = states
            .iter()
            .flat_map(|state| Cause::ALL.into_iter().filter_map(|cause| next(*state, cause).ok()))
            .collect();
        if further.contains(&to) {
            return true;
        }
        states = further;
        states.dedup();
    }
    false
}
