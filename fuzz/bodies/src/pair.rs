//! Two stacks, and between them a link that does what the input says: loses, repeats, reorders, delays and spoils.
//! Then the link heals, and both ends must come to an end that they had a right to.

mod datagrams;
mod finish;
mod link;
mod odd;
mod programs;
mod world;

use std::net::SocketAddr;
use std::time::Duration;

use arbitrary::Unstructured;
use ropeway_core::{ConnectError, ConnectionId, ListenerId, SocketOptions, Stack};

use self::datagrams::Datagrams;
use self::programs::{Side, bytes_of};
use self::world::World;

struct Pair {
    world: World,
    sides: [Side; 2],
    listener: Option<ListenerId>,
    /// The receive buffers, in bytes.
    window: usize,
    /// Somebody broke off, so that the other may see an error.
    abortive: bool,
    /// Modes of ECN and congestion controls are chosen, and a box on the way changes what they are made of.
    modern: bool,
    /// Besides, there are datagrams, fragments, Fast Open, probes of the path's MTU, and paths that swallow large packets.
    datagrams: Option<Datagrams>,
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
    crate::reach::PAIR.note(pair.world.stacks.iter().map(Stack::counters));
}

/// One byte of the input; none left counts as zero.
fn byte(input: &mut Unstructured<'_>) -> u8 {
    input.arbitrary().unwrap_or(0)
}

impl Pair {
    fn open(input: &mut Unstructured<'_>) -> Self {
        let (shape, options) = (byte(input), byte(input));
        let modern = options & 128 != 0;
        let wide = (modern && shape & 128 != 0).then(|| byte(input));
        let mut world = World::new(shape, wide);
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
        let sockets = [(); 2].map(|()| {
            let mut socket = socket.clone();
            if modern {
                crate::modern::choose(&mut socket, byte(input));
            }
            if let Some(how) = wide {
                crate::wide::choose_socket(&mut socket, how);
            }
            socket
        });
        let window = socket.recv_buffer;
        let mut sides = [Side::default(), Side::default()];
        let now = world.now;
        let connect = |stack: &mut Stack, from, to, socket| -> Result<ConnectionId, ConnectError> {
            stack.connect(now, Some(from), to, socket)
        };
        let simultaneous = shape & 32 != 0;
        let listener = if simultaneous {
            sides[1].id = Some(connect(&mut world.stacks[1], b, a, sockets[1].clone()).expect("a free port"));
            None
        } else {
            Some(world.stacks[1].listen(b, 4, sockets[1].clone()).expect("a free port"))
        };
        let with_syn = wide.filter(|how| how & 16 != 0).map(crate::wide::len_with_syn);
        if let (Some(listener), Some(_)) = (listener, with_syn) {
            world.bring_cookie((a, b), listener, &sockets[0]);
            if shape & 64 != 0 {
                // It is good no more.
                let keys = world.stacks[1].fast_open_keys().rotate([8; 16]).rotate([9; 16]);
                world.stacks[1].set_fast_open_keys(keys);
            }
        }
        if let Some(len) = with_syn {
            let opened =
                world.stacks[0].connect_with(now, Some(a), b, sockets[0].clone(), &bytes_of(0, 0, len));
            let (id, written) = opened.expect("a free port");
            (sides[0].id, sides[0].written) = (Some(id), written);
        } else {
            sides[0].id = Some(connect(&mut world.stacks[0], a, b, sockets[0].clone()).expect("a free port"));
        }
        let datagrams = wide.map(|_| Datagrams::open(&mut world, [a.ip(), b.ip()]));
        // A connection that is given up in its first moment is refused by whoever is not there any more.
        let abortive = simultaneous && shape & 64 != 0;
        let mut pair = Self { world, sides, listener, window, abortive, modern, datagrams };
        pair.settle();
        pair
    }

    fn step(&mut self, input: &mut Unstructured<'_>) {
        // Initial sequence numbers run ahead of what a step can send: that keeps incarnations apart
        // (RFC 9293 3.4.1).
        self.world.pass(Duration::from_micros(1100));
        let op = byte(input);
        let which = usize::from(op >> 4);
        match op & 15 {
            // The link.
            0..4 => self.deliver(which),
            4 => self.world.link.lose(self.world.now, which),
            5 => {
                let packet = self.world.link.repeat(which);
                self.world.deliver(packet);
            }
            6 => self.spoil(which, byte(input), byte(input)),
            7 if self.modern && which & 8 != 0 => {
                let (how, with) = (byte(input), byte(input));
                // Who asks for one kind of ECN and then for another is reset (RFC 9768 3.1.5).
                self.abortive |= self.world.link.meddle(which & 7, how, with);
            }
            7 => {
                let delay = [1, 10, 100, 1000, 40_000, 200_000, 1_000_000, 60_000_000][which & 7];
                self.world.pass(Duration::from_micros(delay));
            }
            8 => self.world.next_deadline(),
            // The programs.
            9 | 10 if self.datagrams.is_some() => self.send(which & 1, usize::from(byte(input)) * 8),
            9 | 10 => self.send(which & 1, usize::from(byte(input))),
            12 if self.datagrams.is_some() => self.odd(which, byte(input)),
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

    fn deliver(&mut self, which: usize) {
        let packet = self.world.link.take(which);
        self.world.deliver(packet);
    }

    fn spoil(&mut self, which: usize, at: u8, change: u8) {
        if let Some(spoilt) = self.world.link.spoil(which, at, change) {
            self.datagrams.iter_mut().for_each(|all| all.unsure |= spoilt.unprotected);
            // What comes of such a header's first bytes may end a handshake.
            self.abortive |= spoilt.unprotected;
            self.world.receive(spoilt.to, spoilt.packet);
        }
    }

    /// Takes what the stacks want to send, and gives B its connection.
    fn settle(&mut self) {
        self.world.settle();
        if self.sides[1].id.is_none()
            && let Some(listener) = self.listener
        {
            let accepted = self.world.stacks[1].accept(self.world.now, listener).expect("a listener");
            self.sides[1].id = accepted.map(|(id, _)| id);
        }
    }
}
