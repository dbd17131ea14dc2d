//! One stack against segments made by hand.
//!
//! Sequence numbers are relative: the stack's to its initial one, the lab's to [`Flow::isn`] (0 unless a
//! test sets it, so that they are absolute). Times are exact: a packet that leaves the stack at any other
//! moment than the one at which it is expected fails the test.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ropeway_core::packet::{TcpFlags, TcpSegment};
use ropeway_core::{
    ConnectError, ConnectionId, Event, ListenerId, Readiness, Received, SocketOptions, Stack, StackConfig,
    State, TcpInfo, Timestamp,
};

use super::wire::{self, Seg};
use super::{ack, ms, syn, syn_ack};

/// What the lab's end of a handshake offers.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub mss: Option<u16>,
    pub ws: Option<u8>,
    pub ts: bool,
    pub win: u16,
}

impl Default for Peer {
    /// Only an MSS: windows are what they say and segments have no options.
    fn default() -> Self {
        Self { mss: Some(1460), ws: None, ts: false, win: 65535 }
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
}

pub const START: u64 = 1_000_000;

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

    pub fn ts(&self) -> Timestamp {
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

    // ---- segments in

    /// A segment arrives, and the stack says all it has to say.
    #[track_caller]
    pub fn send(&mut self, seg: Seg) {
        self.quiet();
        self.input(seg);
        self.collect();
    }

    /// Several segments arrive before the stack gets to say anything.
    #[track_caller]
    pub fn send_all(&mut self, segs: impl IntoIterator<Item = Seg>) {
        self.quiet();
        for seg in segs {
            self.input(seg);
        }
        self.collect();
    }

    pub fn input(&mut self, seg: Seg) {
        let packet = self.packet(&seg);
        self.inject(packet);
    }

    /// The packet that a segment stands for; the lab's own numbers move on.
    pub fn packet(&mut self, seg: &Seg) -> Vec<u8> {
        let is_syn = seg.flags.contains(TcpFlags::SYN);
        let flow = &mut self.flow;
        let seq = seg.seq.unwrap_or(if is_syn { 0 } else { flow.nxt });
        let payload = seg.payload();
        let len = payload.len() as u32 + u32::from(is_syn) + u32::from(seg.flags.contains(TcpFlags::FIN));
        if seq <= flow.nxt || is_syn {
            flow.nxt = flow.nxt.max(seq.wrapping_add(len));
        }
        let ack = if seg.flags.contains(TcpFlags::ACK) {
            flow.iss.wrapping_add(seg.ack.unwrap_or(flow.seen))
        } else {
            0
        };
        let own_ts = flow.ts.filter(|_| !seg.no_ts).map(|base| {
            let tsval = base.wrapping_add((self.now / 1000) as u32);
            (tsval, if seg.flags.contains(TcpFlags::ACK) { flow.tsval } else { 0 })
        });
        let ts = seg.ts.or(own_ts);
        let header = wire::header(
            (self.remote.port(), self.local.port()),
            seg,
            flow.isn.wrapping_add(seq),
            ack,
            seg.win.unwrap_or(flow.win),
            ts,
        );
        let (src, dst) = (self.remote.ip(), self.local.ip());
        let mut packet = wire::tcp_packet(src, dst, &header, seg.raw_options.as_deref(), &payload);
        if seg.bad_checksum {
            let at = packet.len() - payload.len() - 4;
            packet[at] ^= 0x55;
        }
        packet
    }

    /// Any packet arrives; the stack does not get to answer yet.
    pub fn inject(&mut self, packet: impl Into<Bytes>) {
        let packet = packet.into();
        self.note("lab >  ", &packet, false);
        self.stack.handle_packet(self.ts(), Received::new(packet));
    }

    /// Any packet arrives, and the stack says all it has to say.
    #[track_caller]
    pub fn send_packet(&mut self, packet: impl Into<Bytes>) {
        self.quiet();
        self.inject(packet);
        self.collect();
    }

    // ---- segments out

    /// Takes everything the stack wants to send and to tell.
    #[track_caller]
    pub fn collect(&mut self) {
        let now = self.ts();
        loop {
            let announced = self.stack.has_output();
            let Some(transmit) = self.stack.poll_transmit(now) else { break };
            if !announced {
                self.fail("has_output did not tell of a packet");
            }
            let packet = transmit.to_bytes();
            assert!(!packet.is_empty(), "an empty packet");
            let tcp = wire::parse(&packet);
            if let Some(segment) = &tcp {
                let (local, remote) = (self.local, self.remote);
                let of = (
                    SocketAddr::new(segment.ip.src, segment.tcp.src_port),
                    SocketAddr::new(segment.ip.dst, segment.tcp.dst_port),
                );
                let flow = if of == (local, remote) {
                    &mut self.flow
                } else {
                    self.others.entry(of).or_insert_with(|| Flow { win: 65535, ..Flow::default() })
                };
                if segment.tcp.flags.contains(TcpFlags::SYN) {
                    flow.iss = segment.tcp.seq.get();
                    flow.seen = 0;
                }
                let end = segment
                    .tcp
                    .seq
                    .get()
                    .wrapping_sub(flow.iss)
                    .wrapping_add(segment.tcp.segment_len(segment.payload.len()));
                if !segment.tcp.flags.contains(TcpFlags::RST)
                    && (end.wrapping_sub(flow.seen)).cast_signed() > 0
                {
                    flow.seen = end;
                }
                if let Some(ts) = segment.tcp.options.timestamps {
                    flow.tsval = ts.tsval;
                }
            }
            self.note("core > ", &packet, true);
            self.out.push_back(Sent { at: self.now, packet, tcp });
        }
        while let Some(event) = self.stack.poll_event() {
            self.events.push(event);
        }
    }

    /// The next thing the stack sent must be this, now.
    #[track_caller]
    pub fn expect(&mut self, want: Seg) -> TcpSegment {
        let Some(sent) = self.out.pop_front() else {
            self.fail(&format!("nothing was sent; expected {}", wire::show(&want)))
        };
        let Some(segment) = sent.tcp.clone() else {
            self.fail(&format!("not TCP; expected {}", wire::show(&want)))
        };
        if let Some(wrong) = self.difference(&want, &segment, &sent.packet) {
            self.fail(&format!("{wrong}; expected {}", wire::show(&want)));
        }
        segment
    }

    fn difference(&self, want: &Seg, segment: &TcpSegment, packet: &[u8]) -> Option<String> {
        let tcp = &segment.tcp;
        let ends =
            (SocketAddr::new(segment.ip.src, tcp.src_port), SocketAddr::new(segment.ip.dst, tcp.dst_port));
        if ends != (self.local, self.remote) {
            return Some(format!("for another connection: {} > {}", ends.0, ends.1));
        }
        let without_push = |flags: TcpFlags| flags & !TcpFlags::PSH;
        if without_push(tcp.flags) != without_push(want.flags) {
            return Some(format!("flags are {:?}", tcp.flags));
        }
        if want.push.is_some_and(|push| push != tcp.flags.contains(TcpFlags::PSH)) {
            return Some("PSH is wrong".into());
        }
        let seq = tcp.seq.get().wrapping_sub(self.flow.iss);
        let ack = tcp.ack.get().wrapping_sub(self.flow.isn);
        let payload = &packet[segment.payload.clone()];
        let checks = [
            ("seq", want.seq, Some(seq)),
            ("ack", want.ack, Some(ack)),
            ("win", want.win.map(u32::from), Some(u32::from(tcp.window))),
            ("mss", want.mss.map(u32::from), tcp.options.mss.map(u32::from)),
            ("wscale", want.ws.map(u32::from), tcp.options.window_scale.map(u32::from)),
            ("tsval", want.ts.map(|ts| ts.0), tcp.options.timestamps.map(|ts| ts.tsval)),
            ("tsecr", want.ts.map(|ts| ts.1), tcp.options.timestamps.map(|ts| ts.tsecr)),
            ("urg", want.urg.map(u32::from), Some(u32::from(tcp.urgent))),
            ("len", want.len.map(|len| len as u32), Some(payload.len() as u32)),
        ];
        for (name, want, is) in checks {
            if want.is_some() && want != is {
                return Some(format!("{name} is {is:?}"));
            }
        }
        if want.no_ts && tcp.options.timestamps.is_some() {
            return Some("there are timestamps".into());
        }
        if want.data.as_ref().is_some_and(|data| data != payload) {
            return Some("the bytes are not those that were written".into());
        }
        None
    }

    /// Nothing was sent.
    #[track_caller]
    pub fn quiet(&mut self) {
        if !self.out.is_empty() {
            self.fail("a packet that nobody expected was sent");
        }
    }

    /// What the stack sent, however it looks.
    #[track_caller]
    pub fn next_packet(&mut self) -> Bytes {
        self.collect();
        match self.out.pop_front() {
            Some(sent) => sent.packet,
            None => self.fail("nothing was sent"),
        }
    }

    #[track_caller]
    pub fn next_tcp(&mut self) -> TcpSegment {
        self.collect();
        match self.out.pop_front().and_then(|sent| sent.tcp) {
            Some(segment) => segment,
            None => self.fail("no TCP segment was sent"),
        }
    }

    /// All that was sent and not expected yet.
    pub fn drain(&mut self) -> Vec<Sent> {
        self.collect();
        self.out.drain(..).collect()
    }

    #[track_caller]
    pub fn fail(&self, why: &str) -> ! {
        let tail = self.trace.len().saturating_sub(80);
        panic!(
            "{why}\n--- the packets so far; {} us on the clock\n{}",
            self.now,
            self.trace[tail..].join("\n")
        );
    }

    fn note(&mut self, who: &str, packet: &[u8], out: bool) {
        if self.silent {
            return;
        }
        let (seq_base, ack_base) =
            if out { (self.flow.iss, self.flow.isn) } else { (self.flow.isn, self.flow.iss) };
        self.trace.push(wire::describe(self.now, who, packet, seq_base, ack_base));
    }

    // ---- opening

    #[track_caller]
    pub fn listen(&mut self) -> ListenerId {
        self.listen_with(16, |_| {})
    }

    #[track_caller]
    pub fn listen_with(&mut self, backlog: usize, change: impl FnOnce(&mut SocketOptions)) -> ListenerId {
        let mut options = self.stack.config().socket.clone();
        change(&mut options);
        self.stack.listen(self.local, backlog, options).unwrap()
    }

    /// A passive open from SYN to accept, in no time.
    #[track_caller]
    pub fn accepted(&mut self, peer: Peer) -> ConnectionId {
        self.accepted_with(peer, |_| {})
    }

    #[track_caller]
    pub fn accepted_with(&mut self, peer: Peer, change: impl FnOnce(&mut SocketOptions)) -> ConnectionId {
        let listener = self.listen_with(16, change);
        self.handshake(peer);
        let (id, from) = self.stack.accept(self.ts(), listener).unwrap().expect("nothing to accept");
        assert_eq!(from, self.remote);
        self.collect();
        self.events.clear();
        id
    }

    /// The lab opens.
    #[track_caller]
    pub fn handshake(&mut self, peer: Peer) {
        self.flow.win = peer.win;
        self.flow.ts = peer.ts.then_some(1000);
        self.send(offer(syn(), peer));
        self.expect(syn_ack().seq(0).ack(1));
        self.send(ack());
        self.quiet();
    }

    /// An active open from the stack's call to ESTABLISHED, in no time.
    #[track_caller]
    pub fn connected(&mut self, peer: Peer) -> ConnectionId {
        self.connected_with(peer, |_| {})
    }

    #[track_caller]
    pub fn connected_with(&mut self, peer: Peer, change: impl FnOnce(&mut SocketOptions)) -> ConnectionId {
        let id = self.connect_with(change).unwrap();
        self.expect(syn().seq(0));
        self.flow.win = peer.win;
        self.flow.ts = peer.ts.then_some(1000);
        self.send(offer(syn_ack(), peer));
        self.expect(ack().seq(1).ack(1));
        self.events.clear();
        id
    }

    /// An active open from port 5000 to port 80: the SYN is out.
    #[track_caller]
    pub fn connect(&mut self) -> ConnectionId {
        self.connect_with(|_| {}).unwrap()
    }

    #[track_caller]
    pub fn connect_with(
        &mut self,
        change: impl FnOnce(&mut SocketOptions),
    ) -> Result<ConnectionId, ConnectError> {
        let mut options = self.stack.config().socket.clone();
        change(&mut options);
        self.local.set_port(5000);
        self.remote.set_port(80);
        let id = self.stack.connect(self.ts(), Some(self.local), self.remote, options)?;
        self.collect();
        Ok(id)
    }

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

    // ---- the user's calls

    /// Writes, and lets the stack send; all of it must be taken.
    #[track_caller]
    pub fn write(&mut self, id: ConnectionId, bytes: &[u8]) {
        let taken = self.stack.send(self.ts(), id, bytes, Default::default());
        if taken != Ok(bytes.len()) {
            self.fail(&format!("send answered {taken:?}"));
        }
        self.collect();
    }

    /// Reads what is there, at most `max` bytes, and lets the stack send.
    #[track_caller]
    pub fn read(&mut self, id: ConnectionId, max: usize) -> Vec<u8> {
        let read = self.stack.recv(self.ts(), id, max);
        self.collect();
        match read {
            Ok(payload) => payload.to_vec(),
            Err(error) => self.fail(&format!("recv answered {error:?}")),
        }
    }

    pub fn shutdown_write(&mut self, id: ConnectionId) {
        self.stack.shutdown(self.ts(), id, std::net::Shutdown::Write).unwrap();
        self.collect();
    }

    pub fn close(&mut self, id: ConnectionId) {
        self.stack.close(self.ts(), id);
        self.collect();
    }

    pub fn abort(&mut self, id: ConnectionId) {
        self.stack.abort(self.ts(), id);
        self.collect();
    }

    pub fn set(&mut self, id: ConnectionId, change: impl FnOnce(&mut SocketOptions)) {
        self.stack.update_options(self.ts(), id, change).unwrap();
        self.collect();
    }

    pub fn info(&self, id: ConnectionId) -> TcpInfo {
        self.stack.info(self.ts(), id).unwrap()
    }

    /// The connection's state; CLOSED if there is none.
    pub fn state(&self, id: ConnectionId) -> State {
        self.stack.info(self.ts(), id).map_or(State::Closed, |info| info.state)
    }

    #[track_caller]
    pub fn assert_state(&self, id: ConnectionId, state: State) {
        if self.state(id) != state {
            self.fail(&format!("the state is {}, not {state}", self.state(id)));
        }
    }

    /// No connection, half-open connection or TIME-WAIT is left.
    #[track_caller]
    pub fn assert_empty(&self) {
        let sizes = self.stack.sizes();
        if (sizes.connections, sizes.half_open, sizes.time_wait) != (0, 0, 0) {
            self.fail(&format!("the tables are not empty: {sizes:?}"));
        }
    }

    /// Whether an event told of (at least) this since the events were last cleared.
    pub fn told(&self, id: ConnectionId, what: Readiness) -> bool {
        self.events
            .iter()
            .any(|event| matches!(event, Event::Ready(of, gained) if *of == id && gained.contains(what)))
    }
}

/// A SYN or SYN-ACK with what the peer offers.
pub fn offer(seg: Seg, peer: Peer) -> Seg {
    Seg { mss: peer.mss, ws: peer.ws, win: Some(peer.win), ..seg }
}

pub const fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}
