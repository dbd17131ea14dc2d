//! What waits to leave: connections and UDP sockets whose turn is to come, and answers that belong to none.
//!
//! Each kind has a line of its own, and the lines take turns. So however many strangers are to be answered, a peer
//! gets its segments; and packets to ourselves never wait for the device.

use super::ready::Ready;
use crate::queue::PagedQueue;
use crate::slab::Key;
use crate::transmit::{Received, Transmit};

/// Answers beyond this many that wait in one line are dropped: whoever floods us gets no amplifier.
const MAX_REPLIES: usize = 1024;

/// Likewise answers that would take more than this part of the memory budget, together with all that wait.
const PART: usize = 16;

#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    /// Connections that may have something to send to the device.
    pub(super) ready: Ready,
    /// Likewise, to ourselves, round robin.
    pub(super) ready_local: PagedQueue<Key>,
    /// Answers to whoever has, or had, a connection: the ACKs of TIME-WAIT, the RST to a bad SYN-ACK.
    to_peers: PagedQueue<Transmit>,
    /// What the user of `listen_any` has decided: SYN-ACK, RST.
    decided: PagedQueue<Transmit>,
    /// All other answers: RST, ICMP, SYN-ACK.
    to_strangers: PagedQueue<Transmit>,
    /// Packets from ourselves to ourselves, on their way.
    loopback: PagedQueue<Received>,
    /// UDP sockets that have something to send to the device, round robin.
    senders: PagedQueue<Key>,
    /// How many answers and UDP sockets wait for their turn: who sends for a connection looks at nothing else.
    others: usize,
    /// The memory that all these packets take, in bytes.
    memory: usize,
    next: Turn,
    /// What was done since `poll_transmit` last paused.
    pub(super) toil: Toil,
    /// It paused though there were connections whose turn had come.
    paused: bool,
}

/// Work that brings no packet out, and during which others wait: it is bounded by turns of connections, and by bytes that are
/// copied.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Toil {
    turns: usize,
    bytes: usize,
}

impl Toil {
    /// To send a packet is one, to take it in another. Each takes one to three microseconds.
    pub(super) const TURNS: usize = 32;

    /// A packet of 64 KiB takes as long as all the turns.
    const BYTES: usize = 64 * 1024;

    /// A connection, or a packet, has had its turn.
    pub(super) fn turn(&mut self) {
        self.turns += 1;
    }

    /// So many bytes were copied.
    pub(super) fn copy(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    pub(super) fn is_enough(self) -> bool {
        self.turns >= Self::TURNS || self.bytes >= Self::BYTES
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Turn {
    #[default]
    Peers,
    Decisions,
    Strangers,
    Datagrams,
    Connections,
}

/// Whom an answer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whom {
    Peer,
    Stranger,
    /// A SYN that the user has decided about. So many may have been waiting for that, and all get their answer.
    Decided(usize),
}

impl Outbox {
    /// `whole`: the device takes trains as they are.
    pub(super) fn new(whole: bool) -> Self {
        Self { ready: Ready::new(whole), ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && !self.has_others() && !self.has_local()
    }

    /// Whether something waits for the device that is no connection's.
    pub(super) fn has_others(&self) -> bool {
        self.others > 0
    }

    /// Whether something waits that is for ourselves.
    pub(super) fn has_local(&self) -> bool {
        !self.ready_local.is_empty() || !self.loopback.is_empty()
    }

    /// Others may go on now.
    pub(super) fn pause(&mut self) {
        self.toil = Toil::default();
        self.paused = !self.ready.is_empty();
    }

    /// Whether more is to be done at once.
    pub(super) fn is_paused(&self) -> bool {
        self.paused && !self.ready.is_empty()
    }

    /// Queues an answer for the device, if not too many wait already. Says whether it does.
    pub(super) fn push(&mut self, whom: Whom, transmit: Transmit, budget: usize) -> bool {
        let takes = memory_of(&transmit);
        let fits = self.memory + takes <= budget / PART;
        let (line, most) = match whom {
            Whom::Peer => (&mut self.to_peers, MAX_REPLIES),
            Whom::Stranger => (&mut self.to_strangers, MAX_REPLIES),
            Whom::Decided(most) => (&mut self.decided, most.max(MAX_REPLIES)),
        };
        // Decisions are short, and no more than the user has taken.
        let has_room = line.len() < most && (fits || matches!(whom, Whom::Decided(_)));
        if has_room {
            line.push_back(transmit);
            self.memory += takes;
            self.others += 1;
        }
        has_room
    }

    /// Queues all packets of an answer to a stranger, or none if there is no room for them. Says whether there are any.
    pub(super) fn push_all(&mut self, packets: Vec<Transmit>, budget: usize) -> bool {
        let takes: usize = packets.iter().map(memory_of).sum();
        let fits =
            self.memory + takes <= budget / PART && self.to_strangers.len() + packets.len() <= MAX_REPLIES;
        fits && !packets.is_empty()
            && packets.into_iter().all(|packet| self.push(Whom::Stranger, packet, budget))
    }

    /// Takes an answer from the line whose turn it is to `next`, if there is one.
    #[inline]
    pub(super) fn pop(&mut self, turn: Turn, next: &mut Option<Transmit>) {
        let line = match turn {
            Turn::Peers => &mut self.to_peers,
            Turn::Decisions => &mut self.decided,
            Turn::Strangers => &mut self.to_strangers,
            Turn::Datagrams | Turn::Connections => return,
        };
        // As a rule none waits: an answer is long, and so is none.
        if !line.is_empty() {
            *next = line.pop_front();
            self.memory -= next.as_ref().map_or(0, memory_of);
            self.others -= 1;
        }
    }

    /// A UDP socket has something to send.
    pub(super) fn push_sender(&mut self, socket: Key) {
        self.senders.push_back(socket);
        self.others += 1;
    }

    /// The UDP socket whose turn it is.
    pub(super) fn pop_sender(&mut self) -> Option<Key> {
        let socket = self.senders.pop_front()?;
        self.others -= 1;
        Some(socket)
    }

    /// A UDP socket holds a packet that waits, which takes so much memory.
    pub(super) fn datagram_waits(&mut self, takes: usize) {
        self.memory += takes;
    }

    /// It does no more.
    pub(super) fn datagram_leaves(&mut self, takes: usize) {
        self.memory -= takes;
    }

    /// A packet to ourselves is on its way.
    pub(super) fn push_local(&mut self, packet: Received) {
        self.toil.copy(packet.packet.len());
        self.memory += local_memory_of(&packet);
        self.loopback.push_back(packet);
    }

    /// Takes the next packet to ourselves.
    pub(super) fn pop_local(&mut self) -> Option<Received> {
        let packet = self.loopback.pop_front()?;
        self.toil.turn();
        self.memory -= local_memory_of(&packet);
        Some(packet)
    }

    /// How many packets to ourselves are on their way.
    pub(super) fn local(&self) -> usize {
        self.loopback.len()
    }

    /// The memory that the packets take which wait here, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// Nothing waits: whoever comes first then goes first.
    pub(super) fn begin_anew(&mut self) {
        self.next = Turn::default();
    }

    /// Nothing else waits: the turns of the other lines are over.
    pub(super) fn skip_others(&mut self) {
        self.next = Turn::Connections;
    }

    /// Whose turn it is now; the next time it is another's.
    pub(super) fn take_turn(&mut self) -> Turn {
        let now = self.next;
        self.next = match now {
            Turn::Peers => Turn::Decisions,
            Turn::Decisions => Turn::Strangers,
            Turn::Strangers => Turn::Datagrams,
            Turn::Datagrams => Turn::Connections,
            Turn::Connections => Turn::Peers,
        };
        now
    }
}

/// An answer, and its place in the line.
fn memory_of(answer: &Transmit) -> usize {
    size_of::<Transmit>() + answer.payload.len()
}

/// Likewise, a packet to ourselves. Its bytes have an allocation of their own.
fn local_memory_of(packet: &Received) -> usize {
    size_of::<Received>() + packet.packet.len()
}

impl Turn {
    /// After so many, all have had theirs.
    pub(super) const ALL: usize = 5;
}
