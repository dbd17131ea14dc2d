//! The events of a script one after the other, and the clock between them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ropeway_core::{Received, SocketOptions, Stack, Timestamp};

use super::ast::{Action, Direction, Event, EventTime, Script};
use super::calls::{Pending, Watch};
use super::flow::Flow;
use super::notation;
use super::python::Value;
use super::report::{Failure, Outcome, Report};
use super::settings::{Mode, Settings};
use super::sockets::Sockets;
use super::wire::{Packet, PacketBody, Tcp, decode};

/// Why a run ends before its script does.
#[derive(Debug)]
pub(super) enum Stop {
    Fail(Box<Failure>),
    Unsupported(String),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Fail(Box::new(failure))
    }
}

/// A packet that left the stack and that no line has expected yet.
#[derive(Debug)]
pub(super) struct Sniffed {
    pub(super) at: u64,
    pub(super) packet: Packet,
    pub(super) flow: Option<usize>,
    /// Its line in the exchange.
    pub(super) trace: usize,
}

pub(super) struct Runner<'s> {
    pub(super) script: &'s Script,
    pub(super) settings: &'s Settings,
    pub(super) stack: Stack,
    /// Microseconds since the script began.
    pub(super) now: u64,
    start: u64,
    /// The script's time of the last event, for relative ones.
    last_event: u64,
    pub(super) line: usize,
    pub(super) flows: Vec<Flow>,
    /// The connection that lines without ports are about.
    pub(super) current: Option<usize>,
    /// The current socket is a listener, or has only been made: the next packet begins a connection.
    pub(super) next_is_new: bool,
    pub(super) sniffed: VecDeque<Sniffed>,
    pub(super) sockets: Sockets,
    pub(super) pending: Option<Pending>,
    pub(super) names: HashMap<String, Value>,
    /// What epoll instances watch.
    pub(super) watches: Vec<Watch>,
    pub(super) unsupported: Vec<String>,
    /// Linux's `tcp_fastopen`, as it is now.
    pub(super) fast_open: u32,
    /// What the options of a socket begin as.
    pub(super) defaults: SocketOptions,
    pub(super) exchange: Vec<String>,
    pub(super) next_port: u16,
    /// The sequence number of the first SYN that the stack sent.
    first_iss: Option<u32>,
    /// The device takes nothing.
    blocked: bool,
}

/// Runs a script.
#[must_use]
pub fn run(script: &Script, settings: &Settings) -> Report {
    let start = match settings.iss {
        Some(iss) => start_for(script, settings, iss),
        None => START,
    };
    let mut runner = Runner::new(script, settings, start);
    let stop = runner.run().err();
    runner.report(stop)
}

/// The stack's clock at the script's beginning, in microseconds.
const START: u64 = 1_000_000_000;

/// When the stack has to start so that its first initial sequence number is `iss` (RFC 9293 3.4.1: it ticks
/// every 4 microseconds).
fn start_for(script: &Script, settings: &Settings, iss: u32) -> u64 {
    let mut runner = Runner::new(script, settings, START);
    let _ = runner.run();
    let first = runner.first_iss.unwrap_or(0);
    START + 4 * u64::from(iss.wrapping_sub(first))
}

impl<'s> Runner<'s> {
    fn new(script: &'s Script, settings: &'s Settings, start: u64) -> Self {
        let config = Arc::new(settings.config.clone());
        let mut stack = Stack::new(config, [42; 32], Timestamp::from_micros(start));
        if let Some(keys) = settings.fast_open_keys {
            stack.set_fast_open_keys(keys);
        }
        if let Some(mtu) = settings.path_mtu {
            stack.set_path_mtu(settings.remote, mtu);
        }
        Self {
            script,
            settings,
            stack,
            now: 0,
            start,
            last_event: 0,
            line: 0,
            flows: Vec::new(),
            current: None,
            next_is_new: true,
            sniffed: VecDeque::new(),
            sockets: Sockets::default(),
            pending: None,
            names: HashMap::new(),
            watches: Vec::new(),
            unsupported: settings.unsupported.clone(),
            fast_open: settings.fast_open,
            defaults: settings.config.socket.clone(),
            exchange: Vec::new(),
            next_port: 40_000,
            first_iss: None,
            blocked: false,
        }
    }

    fn report(mut self, stop: Option<Stop>) -> Report {
        self.unsupported.dedup();
        let complete = stop.is_none();
        let failure = match stop {
            None => None,
            Some(Stop::Fail(failure)) => Some(failure),
            Some(Stop::Unsupported(what)) => {
                self.unsupported.push(what);
                None
            }
        };
        let mut what = self.unsupported;
        what.sort();
        what.dedup();
        let outcome = match failure {
            failure if !what.is_empty() => Outcome::Unsupported { what, rest: failure, complete },
            Some(failure) => Outcome::Fail(failure),
            None => Outcome::Pass,
        };
        Report { outcome, exchange: self.exchange, notes: self.settings.notes.clone() }
    }

    pub(super) fn ts(&self) -> Timestamp {
        Timestamp::from_micros(self.start + self.now)
    }

    pub(super) fn fail(&self, what: impl Into<String>) -> Stop {
        Failure::new(self.line, what).into()
    }

    pub(super) fn unsupported(&mut self, what: &str) {
        if !self.unsupported.iter().any(|known| known == what) {
            self.unsupported.push(what.to_owned());
        }
    }

    pub(super) fn note(&mut self, what: &str) -> usize {
        self.exchange.push(format!("{:>4}  {} {what}", self.line, notation::time(self.now)));
        self.exchange.len() - 1
    }

    // ---- events

    fn run(&mut self) -> Result<(), Stop> {
        let script = self.script;
        for (index, event) in script.events.iter().enumerate() {
            self.event(index, event)?;
        }
        self.finish_pending()?;
        if self.settings.mode == Mode::Strict
            && let Some(sniffed) = self.sniffed.front()
        {
            return Err(self.unexpected(sniffed, "the script ends here"));
        }
        Ok(())
    }

    fn event(&mut self, index: usize, event: &Event) -> Result<(), Stop> {
        let (from, to) = self.moment(event.time);
        if let Action::Packet(spec) = &event.action
            && spec.direction == Direction::Out
        {
            self.line = event.line;
            self.expect_packet(spec, from, to, event.time == EventTime::Any)?;
            // What follows a packet whose time was left open is relative to when it came.
            let exact = matches!(event.time, EventTime::At(_) | EventTime::After(_));
            self.last_event = if exact { from } else { self.now };
            return Ok(());
        }
        if matches!(event.action, Action::Call(_)) {
            self.finish_pending()?;
        }
        self.run_until(from)?;
        self.line = event.line;
        self.check_nothing_waits(index)?;
        self.last_event = from;
        match &event.action {
            Action::Packet(spec) => self.deliver(spec, &event.pragmas),
            Action::Call(call) => {
                let end = call.end.map(|end| match event.time {
                    EventTime::After(_) => from + end - self.relative_part(event.time),
                    _ => end,
                });
                self.call_event(call, end)
            }
            Action::Code(code) => self.code(code),
            Action::Command(command) => self.command(index, command),
        }
    }

    fn relative_part(&self, time: EventTime) -> u64 {
        match time {
            EventTime::After(delay) => delay,
            _ => 0,
        }
    }

    /// When an event is to happen: from and to, on the script's clock.
    fn moment(&self, time: EventTime) -> (u64, u64) {
        match time {
            EventTime::At(at) => (at, at),
            EventTime::After(delay) => (self.last_event + delay, self.last_event + delay),
            EventTime::Any => (self.now, u64::MAX),
            EventTime::Between(from, to) => (from, to),
            EventTime::AfterBetween(from, to) => (self.last_event + from, self.last_event + to),
        }
    }

    /// By how much something that is expected at `at` may be late or early.
    pub(super) fn tolerance(&self, at: u64) -> u64 {
        let since = at.saturating_sub(self.last_event);
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let share = (since as f64 * self.settings.tolerance_percent / 100.0) as u64;
        self.settings.tolerance.max(share)
    }

    /// In strict mode nothing happens while a packet is there that no line has expected.
    fn check_nothing_waits(&mut self, index: usize) -> Result<(), Stop> {
        if self.settings.mode != Mode::Strict {
            return Ok(());
        }
        let Some(sniffed) = self.sniffed.front() else { return Ok(()) };
        let outgoing = |event: &&Event| matches!(&event.action, Action::Packet(spec) if spec.direction == Direction::Out);
        let next = self.script.events.iter().skip(index).find(outgoing);
        if next.is_some_and(|event| event.time == EventTime::Any) {
            return Ok(());
        }
        Err(self.unexpected(sniffed, "this line comes next"))
    }

    pub(super) fn unexpected(&self, sniffed: &Sniffed, why: &str) -> Stop {
        let mut failure = Failure::new(self.line, format!("the stack sent what no line expects; {why}"));
        failure.expected = Some("nothing".into());
        failure.actual = Some(self.show_sniffed(sniffed));
        failure.into()
    }

    pub(super) fn show_sniffed(&self, sniffed: &Sniffed) -> String {
        let segment = self.in_script(sniffed);
        format!("{} > {}", notation::time(sniffed.at), notation::packet(&sniffed.packet, segment.as_ref()))
    }

    /// A segment with the script's numbers.
    pub(super) fn in_script(&self, sniffed: &Sniffed) -> Option<Tcp> {
        let PacketBody::Tcp(tcp) = &sniffed.packet.body else { return None };
        let flow = sniffed.flow.and_then(|flow| self.flows.get(flow));
        Some(flow.map_or_else(|| tcp.clone(), |flow| flow.out_to_script(tcp)))
    }

    /// What a test's own checks of the machine say means nothing here, but a setting that changes in the middle
    /// would.
    fn command(&mut self, index: usize, command: &str) -> Result<(), Stop> {
        self.note(&format!("`{command}`"));
        let is_call = |event: &Event| !matches!(event.action, Action::Command(_));
        let between = self.script.events.iter().take(index).any(is_call)
            && self.script.events.iter().skip(index).any(is_call);
        if between {
            self.fast_open_command(command);
            let known = self.settings.change_defaults(&mut self.defaults, command);
            if !known && command.contains("sysctl") {
                self.unsupported("sysctl in the middle of a script");
            }
        }
        if between && let Some(mtu) = self.settings.mtu_of_route(command) {
            self.stack.raise_mtu(mtu);
        }
        if command.contains("tc qdisc") {
            // A queue without room.
            self.blocked = command.contains("limit 0");
            self.collect()?;
        }
        Ok(())
    }

    // ---- the clock

    /// Moves the clock, and takes what is sent on the way.
    pub(super) fn run_until(&mut self, target: u64) -> Result<(), Stop> {
        while let Some(deadline) = self.next_deadline().filter(|deadline| *deadline <= target) {
            self.run_timer(deadline)?;
        }
        self.now = self.now.max(target);
        Ok(())
    }

    /// When the stack, or a call with a timeout, wants to be looked at again.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        let stack = self.stack.poll_timeout().map(|deadline| deadline.as_micros().saturating_sub(self.start));
        let call = self.pending.as_ref().and_then(|pending| pending.timeout);
        stack.into_iter().chain(call).min()
    }

    /// Moves the clock to the next deadline.
    pub(super) fn run_timer(&mut self, deadline: u64) -> Result<(), Stop> {
        self.now = self.now.max(deadline);
        self.stack.handle_timeout(self.ts());
        self.collect()
    }

    /// A packet arrives, and the stack says all it has to say.
    pub(super) fn inject(&mut self, bytes: Vec<u8>) -> Result<(), Stop> {
        self.inject_train(bytes, None)
    }

    /// Likewise; a device has merged it from segments of that size.
    pub(super) fn inject_train(&mut self, bytes: Vec<u8>, segment_size: Option<u16>) -> Result<(), Stop> {
        let received = Received::new(Bytes::from(bytes)).with_segment_size(segment_size);
        self.stack.handle_packet(self.ts(), received);
        self.collect()
    }

    /// Takes what the stack wants to send, and lets a call that waits go on.
    pub(super) fn collect(&mut self) -> Result<(), Stop> {
        self.drain()?;
        self.try_pending()
    }

    /// Takes what the stack wants to send.
    pub(super) fn drain(&mut self) -> Result<(), Stop> {
        while !self.blocked
            && let Some(transmit) = self.stack.poll_transmit(self.ts())
        {
            let bytes = transmit.to_bytes();
            let Some(packet) = decode(&bytes) else {
                return Err(self.fail("the stack sent something that is not an IP packet"));
            };
            let mut flow = None;
            let mut segment = None;
            if let PacketBody::Tcp(tcp) = &packet.body {
                flow = self.flow_of(&packet, tcp);
                if tcp.has(super::wire::flag::SYN) {
                    self.first_iss.get_or_insert(tcp.seq);
                }
                if let Some(flow) = flow.and_then(|flow| self.flows.get_mut(flow)) {
                    flow.sent(tcp);
                    segment = Some(flow.out_to_script(tcp));
                }
            }
            let line = std::mem::take(&mut self.line);
            self.exchange.push(format!(
                "   -  {} > {}",
                notation::time(self.now),
                notation::packet(&packet, segment.as_ref())
            ));
            self.line = line;
            let trace = self.exchange.len() - 1;
            self.sniffed.push_back(Sniffed { at: self.now, packet, flow, trace });
        }
        while let Some(event) = self.stack.poll_event() {
            if let ropeway_core::Event::Ready(id, _) = event {
                self.wake_watches(id);
            }
        }
        self.wake_lenders();
        Ok(())
    }

    fn flow_of(&self, packet: &Packet, tcp: &Tcp) -> Option<usize> {
        self.flows.iter().rposition(|flow| {
            flow.local.ip() == packet.src
                && flow.remote.ip() == packet.dst
                && flow.local.port() == tcp.src_port
                && flow.remote.port() == tcp.dst_port
        })
    }
}
