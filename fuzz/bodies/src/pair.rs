//! Two stacks, and between them a link that does what the input says: loses, repeats, reorders, delays and spoils.
//! Then the link heals, and both ends must come to an end that they had a right to.

use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arbitrary::Unstructured;
use bytes::Bytes;
use ropeway_core::{
    ConnectError, ConnectionId, ListenerId, Received, RecvError, SendError, SocketOptions, Stack,
    StackConfig, SynCookieMode, Timestamp,
};

use crate::story::{describe, tell};

/// What one side of the conversation has done and seen.
#[derive(Debug, Default)]
struct Side {
    id: Option<ConnectionId>,
    /// Bytes of its stream that were taken to be sent.
    written: usize,
    /// Bytes of the other's stream that it has read.
    read: usize,
    /// It has shut down its writing.
    finished: bool,
    /// It has seen the end of the other's stream.
    saw_end: bool,
    /// It has closed or aborted.
    left: bool,
    /// It was told of an error.
    failed: bool,
}

struct Pair {
    stacks: [Stack; 2],
    sides: [Side; 2],
    listener: Option<ListenerId>,
    now: Timestamp,
    /// For whom, and what.
    flight: Vec<(usize, Bytes)>,
    spoilt: u64,
    /// The receive buffers, in bytes.
    window: usize,
    /// Somebody broke off, so that the other may see an error.
    abortive: bool,
}

const NAMES: [&str; 2] = ["A", "B"];
/// So many retransmissions are the fewest that end in a timeout.
const PATIENCE: u64 = 4;
/// So long a cookie is good at least.
const FRESH: Duration = Duration::from_secs(60);
const START: Timestamp = Timestamp::from_micros(1_000_000);
/// What a healed conversation needs at most: steps of the clock or of the link.
const LONGEST_END: usize = 600;

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

/// The byte that `side` sends at `offset`.
fn pattern(side: usize, offset: usize) -> u8 {
    (offset.wrapping_mul(31) ^ (offset >> 8).wrapping_mul(7) ^ side.wrapping_mul(101)).to_le_bytes()[0]
}

/// Drives two stacks as the input says, and holds what they deliver against what was written.
///
/// # Panics
///
/// If a stack breaks one of its promises.
pub fn pair(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let mut pair = Pair::open(&mut input);
    while !input.is_empty() {
        pair.step(&mut input);
    }
    pair.heal();
}

/// One byte of the input; none left counts as zero.
fn byte(input: &mut Unstructured<'_>) -> u8 {
    input.arbitrary().unwrap_or(0)
}

impl Pair {
    fn open(input: &mut Unstructured<'_>) -> Self {
        let now = START;
        let (shape, options) = (byte(input), byte(input));
        let configs = &CONFIGS[usize::from(shape & 15)];
        let mut stacks = [0, 1].map(|side| Stack::new(configs[side].clone(), [side as u8 + 1; 32], now));
        let [a, b]: [SocketAddr; 2] = if shape & 16 == 0 {
            [([10, 0, 0, 1], 4000).into(), ([10, 0, 0, 2], 80).into()]
        } else {
            ["[fd00::1]:4000", "[fd00::2]:80"].map(|text| text.parse().expect("an address"))
        };
        let mut socket = SocketOptions::default();
        socket.recv_buffer = [4, 40, 500, 65_536][usize::from(options & 3)];
        socket.send_buffer = [7, 100, 3000, 65_536][usize::from(options >> 2 & 3)];
        socket.nodelay = options & 16 != 0;
        socket.quick_ack = options & 32 != 0;
        socket.cork = options & 64 != 0;
        let window = socket.recv_buffer;
        let mut sides = [Side::default(), Side::default()];
        let connect = |stack: &mut Stack, from, to, socket| -> Result<ConnectionId, ConnectError> {
            stack.connect(now, Some(from), to, socket)
        };
        let simultaneous = shape & 32 != 0;
        let listener = if simultaneous {
            sides[1].id = Some(connect(&mut stacks[1], b, a, socket.clone()).expect("a free port"));
            None
        } else {
            Some(stacks[1].listen(b, 4, socket.clone()).expect("a free port"))
        };
        sides[0].id = Some(connect(&mut stacks[0], a, b, socket).expect("a free port"));
        // A connection that is given up in its first moment is refused by whoever is not there any more.
        let abortive = simultaneous && shape & 64 != 0;
        let mut pair = Self { stacks, sides, listener, now, flight: Vec::new(), spoilt: 0, window, abortive };
        pair.settle();
        pair
    }

    fn step(&mut self, input: &mut Unstructured<'_>) {
        // Initial sequence numbers run ahead of what a step can send: that keeps incarnations apart
        // (RFC 9293 3.4.1).
        self.now += Duration::from_micros(1100);
        self.expire();
        let op = byte(input);
        let which = usize::from(op >> 4);
        match op & 15 {
            // The link.
            0..4 => self.deliver(which),
            4 => {
                let lost = self.take(which);
                tell(self.now, || {
                    format!("    lost: {}", lost.map_or_else(String::new, |lost| describe(&lost.1)))
                });
            }
            5 => {
                if let Some((to, packet)) = self.take(which) {
                    self.flight.push((to, packet.clone()));
                    self.receive(to, packet);
                }
            }
            6 => self.spoil(which, byte(input), byte(input)),
            7 => {
                let delay = [1, 10, 100, 1000, 40_000, 200_000, 1_000_000, 60_000_000][which & 7];
                self.now += Duration::from_micros(delay);
                self.expire();
            }
            8 => self.next_deadline(),
            // The programs.
            9 | 10 => self.send(which & 1, usize::from(byte(input))),
            11 | 12 => self.recv(which & 1, usize::from(op >> 5) * 17 + 1),
            13 => self.shutdown(which & 1),
            14 if which & 8 != 0 => self.leave(which & 1, which & 4 != 0),
            14 => self.set(which & 1, which >> 1),
            _ => {
                for _ in 0..=which {
                    self.deliver(0);
                }
            }
        }
        self.settle();
    }

    // ---- the link

    fn take(&mut self, which: usize) -> Option<(usize, Bytes)> {
        (!self.flight.is_empty()).then(|| self.flight.remove(which % self.flight.len()))
    }

    fn deliver(&mut self, which: usize) {
        if let Some((to, packet)) = self.take(which) {
            self.receive(to, packet);
        }
    }

    fn spoil(&mut self, which: usize, at: u8, change: u8) {
        let Some((to, packet)) = self.take(which) else { return };
        let mut spoilt = packet.to_vec();
        let at = usize::from(at) % spoilt.len();
        spoilt[at] ^= change.max(1);
        // No checksum protects IPv6's own header: what comes of its first bytes may end a handshake.
        self.abortive |= spoilt[0] >> 4 == 6 || packet[0] >> 4 == 6;
        self.spoilt += 1;
        self.receive(to, spoilt.into());
    }

    fn receive(&mut self, to: usize, packet: Bytes) {
        tell(self.now, || format!("    {} receives {}", NAMES[to], describe(&packet)));
        self.stacks[to].handle_packet(self.now, Received::new(packet));
    }

    // ---- the clock

    fn deadline(&self) -> Option<Timestamp> {
        self.stacks.iter().filter_map(Stack::poll_timeout).min()
    }

    /// Jumps to the next deadline, if it is not beyond 2 MSL.
    fn next_deadline(&mut self) {
        if let Some(at) = self.deadline() {
            self.now = self.now.max(at);
            self.expire();
        }
    }

    fn expire(&mut self) {
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

    /// Takes what the stacks want to send, and gives B its connection.
    fn settle(&mut self) {
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
                self.flight.push((1 - from, packet));
                count += 1;
                assert!(count < 2000, "packets without end");
            }
            while stack.poll_event().is_some() {
                count += 1;
                assert!(count < 4000, "events without end");
            }
        }
        if self.sides[1].id.is_none()
            && let Some(listener) = self.listener
        {
            let accepted = self.stacks[1].accept(self.now, listener).expect("a listener");
            self.sides[1].id = accepted.map(|(id, _)| id);
        }
    }

    // ---- the programs

    fn send(&mut self, side: usize, len: usize) {
        let own = &mut self.sides[side];
        let Some(id) = own.id.filter(|_| !own.left && !own.finished) else { return };
        // A window of a few bytes shall not make a long story.
        let len = len.min((20 * self.window).saturating_sub(own.written));
        let mut data = [0; 255];
        for (i, byte) in data[..len].iter_mut().enumerate() {
            *byte = pattern(side, own.written + i);
        }
        let answer = self.stacks[side].send(self.now, id, &data[..len], Default::default());
        tell(self.now, || format!("  {} writes {len} bytes: {answer:?}", NAMES[side]));
        match answer {
            Ok(taken) => {
                assert!(taken <= len);
                own.written += taken;
            }
            Err(SendError::WouldBlock) => {}
            Err(error) => self.fails(side, &error),
        }
    }

    fn recv(&mut self, side: usize, max: usize) {
        let Some(id) = self.sides[side].id.filter(|_| !self.sides[side].left) else { return };
        let answer = self.stacks[side].recv(self.now, id, max);
        tell(self.now, || {
            format!("  {} reads: {:?}", NAMES[side], answer.as_ref().map(|payload| payload.len()))
        });
        match answer {
            Ok(payload) => {
                let own = &mut self.sides[side];
                assert!(payload.len() <= max);
                for byte in payload.parts().flatten() {
                    assert_eq!(
                        *byte,
                        pattern(1 - side, own.read),
                        "byte {} of the stream is wrong",
                        own.read
                    );
                    own.read += 1;
                }
                assert!(own.read == 0 || !own.saw_end || payload.is_empty(), "bytes behind the end");
                own.saw_end |= payload.is_empty();
                let other = &self.sides[1 - side];
                let own = &self.sides[side];
                assert!(own.read <= other.written, "more was read than was written");
                let complete = other.finished && own.read == other.written;
                assert!(
                    !own.saw_end || complete || own.failed || self.abortive,
                    "the stream ends after {} of {} bytes, and nobody was told why",
                    own.read,
                    other.written
                );
            }
            Err(RecvError::WouldBlock) => {}
            Err(error) => self.fails(side, &error),
        }
    }

    fn shutdown(&mut self, side: usize) {
        let own = &mut self.sides[side];
        let Some(id) = own.id.filter(|_| !own.left && !own.finished) else { return };
        // In SYN-SENT that is a close (RFC 9293 3.10.4), and the listener may be left with an old SYN.
        self.abortive |= !self.stacks[side].is_connected(id);
        tell(self.now, || format!("  {} shuts down", NAMES[side]));
        own.finished = self.stacks[side].shutdown(self.now, id, Shutdown::Write).is_ok();
        if !own.finished {
            self.fails(side, &"shutdown is refused");
        }
    }

    /// Closes or aborts, whatever is still under way.
    fn leave(&mut self, side: usize, abort: bool) {
        let own = &mut self.sides[side];
        let Some(id) = own.id.filter(|_| !own.left) else { return };
        own.left = true;
        self.abortive = true;
        tell(self.now, || format!("  {} {}", NAMES[side], if abort { "aborts" } else { "closes" }));
        if abort {
            self.stacks[side].abort(self.now, id);
        }
        self.stacks[side].close(self.now, id);
        assert!(
            self.stacks[side].info(self.now, id).is_err() || !abort,
            "an aborted connection is still there"
        );
    }

    fn set(&mut self, side: usize, what: usize) {
        let Some(id) = self.sides[side].id.filter(|_| !self.sides[side].left) else { return };
        let done = self.stacks[side].update_options(self.now, id, |options| match what {
            0 => options.cork ^= true,
            1 => options.nodelay ^= true,
            2 => options.recv_buffer = 300 + options.recv_buffer % 100 * 3,
            _ => options.send_buffer = 7 + options.send_buffer % 100 * 3,
        });
        assert!(done.is_ok(), "an option of a connection that is gone");
    }

    /// An error, which needs a reason: somebody broke off, or nothing got through for long.
    fn fails(&mut self, side: usize, error: &dyn std::fmt::Debug) {
        self.sides[side].failed = true;
        assert!(self.may_fail(), "{} fails for no reason: {error:?}", NAMES[side]);
    }

    /// Whether somebody broke off, or a timeout may have. And who answers with cookies does not know a later
    /// segment that overtakes the one with the cookie, nor one that comes when the cookie is stale, and resets it
    /// as Linux does (RFC 9293 3.10.7.2).
    fn may_fail(&self) -> bool {
        let counters = self.stacks[1].counters();
        let stale = counters.cookies_sent > 0 && self.now.since(START) >= FRESH;
        self.abortive || self.trouble() >= PATIENCE || counters.cookies_failed > 0 || stale
    }

    fn trouble(&self) -> u64 {
        self.stacks
            .iter()
            .map(Stack::counters)
            .map(|counters| counters.retransmission_timeouts + counters.tcp_retransmitted)
            .sum()
    }

    // ---- the end

    /// The link is perfect from here on, and the programs read everything and close.
    fn heal(&mut self) {
        tell(self.now, || "the link heals".into());
        for round in 0.. {
            self.finish_programs();
            self.settle();
            if !self.flight.is_empty() {
                self.now += Duration::from_millis(1);
                for (to, packet) in std::mem::take(&mut self.flight) {
                    self.receive(to, packet);
                }
                self.expire();
            } else if self.deadline().is_some() {
                self.next_deadline();
            } else {
                break;
            }
            if round >= LONGEST_END {
                // An old segment has brought a cookie back again, and the connection that it made knows nothing of
                // the bytes that its peer has had: they tell each other so, a hundred times a second, until the
                // ghost gives up.
                let haunted = self.stacks[1].counters().cookies_accepted > 1;
                let sizes = self.stacks.each_ref().map(Stack::sizes);
                assert!(haunted, "no end: {:?} {sizes:?}", self.sides);
                return;
            }
        }
        self.judge();
    }

    fn read_all(&mut self, side: usize) {
        loop {
            let before = self.sides[side].read;
            self.recv(side, 100_000);
            if self.sides[side].read == before || self.sides[side].saw_end {
                return;
            }
        }
    }

    fn finish_programs(&mut self) {
        for (side, name) in NAMES.into_iter().enumerate() {
            self.read_all(side);
            let Some(id) = self.sides[side].id.filter(|_| !self.sides[side].left) else { continue };
            if self.stacks[side].is_connected(id) {
                self.shutdown(side);
            }
            let own = &mut self.sides[side];
            let over = own.finished || !self.stacks[side].is_connected(id);
            if (own.saw_end && over) || own.failed {
                own.left = true;
                tell(self.now, || format!("  {name} closes at its end"));
                self.stacks[side].close(self.now, id);
            }
        }
        // Whom a listener still brings is a ghost of old duplicates: of a cookie, or of a whole handshake.
        if let Some(listener) = self.listener.filter(|_| self.sides[1].left) {
            while let Some((ghost, _)) = self.stacks[1].accept(self.now, listener).expect("a listener") {
                self.stacks[1].close(self.now, ghost);
            }
        }
    }

    fn judge(&mut self) {
        for (side, stack) in self.stacks.iter().enumerate() {
            let counters = stack.counters();
            let bad = counters.bad_checksums + counters.malformed_ip + counters.malformed_transport;
            let bad = bad + counters.malformed_options;
            assert!(bad <= self.spoilt, "a stack sends what the other cannot read: {counters:?}");
            let sizes = stack.sizes();
            let held = usize::from(!self.sides[side].left && self.sides[side].id.is_some());
            assert!(
                sizes.connections <= held && sizes.half_open == 0 && sizes.time_wait == 0,
                "{}'s tables are not empty: {sizes:?}, {:?}",
                NAMES[side],
                self.sides
            );
        }
        if self.may_fail() {
            return;
        }
        for side in 0..2 {
            let (own, other) = (&self.sides[side], &self.sides[1 - side]);
            assert!(
                own.left && !own.failed && own.saw_end && own.read == other.written,
                "the link healed, but not the conversation: {:?}",
                self.sides
            );
        }
    }
}
