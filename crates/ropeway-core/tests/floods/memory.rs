//! Memory runs out: what is done about it, in which order, and who goes on as if nothing were.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use ropeway_core::packet::{TcpFlags, TcpHeader};
use ropeway_core::{ConnectError, ConnectionId, Event, ListenerId, Readiness, State};

use crate::common::*;

mod floor;
mod silent;

const BUDGET: usize = 8 << 20;

/// What a connection may hold unread, or unsent, as long as there is memory.
const BUFFER: usize = 512 * 1024;

/// A lab with a budget of 8 MB, a listener, and peers in many networks.
struct Crowd {
    lab: Lab,
    listener: ListenerId,
    flows: HashMap<SocketAddr, lab::Flow>,
    /// How windows are scaled that the stack announces.
    scale: u8,
}

impl Crowd {
    fn new() -> Self {
        let mut lab = Lab::with(|config| config.memory_budget = Some(BUDGET));
        lab.silent = true;
        lab.most_calls = u32::MAX;
        let listener = lab.listen_with(2000, |options| {
            options.recv_buffer = BUFFER;
            options.send_buffer = BUFFER;
        });
        Self { lab, listener, flows: HashMap::new(), scale: 0 }
    }

    /// From now on it is about the connection from this port of the `network`th /24.
    fn from(&mut self, network: u8, port: u16) {
        let before = std::mem::take(&mut self.lab.flow);
        self.flows.insert(self.lab.remote, before);
        self.lab.remote = SocketAddr::new(format!("10.1.{network}.1").parse().unwrap(), port);
        self.lab.flow = self.flows.remove(&self.lab.remote).unwrap_or_default();
    }

    /// A handshake; `None` if nobody answers.
    fn open(&mut self) -> Option<ConnectionId> {
        let lab = &mut self.lab;
        lab.flow = lab::Flow { win: 65_535, ..lab::Flow::default() };
        lab.input(syn().mss(1460).ws(7).sack_ok(true));
        let answer = lab.drain().pop()?.tcp?.tcp;
        self.scale = answer.options.window_scale?;
        lab.input(ack());
        lab.drain();
        lab.accept(self.listener)
    }

    /// So many segments arrive, whatever becomes of them. Gives the last acknowledgement.
    fn stuff(&mut self, segments: u32) -> Option<TcpHeader> {
        self.stuff_with(segments, 1400)
    }

    /// Likewise, with segments of `len` bytes.
    fn stuff_with(&mut self, segments: u32, len: usize) -> Option<TcpHeader> {
        for _ in 0..segments {
            self.lab.input(some(len));
        }
        let last = self.lab.drain().pop().map(|sent| sent.tcp.unwrap().tcp);
        self.lab.events.clear();
        last
    }

    /// Somebody gets data, and reads it.
    fn honest_transfer(&mut self, id: ConnectionId) {
        self.from(100, 7000);
        self.stuff(20);
        let read = self.lab.stack.recv(self.lab.ts(), id, usize::MAX).unwrap();
        self.lab.drain();
        assert_eq!(read.len(), 28_000);
    }

    fn assert_within_budget(&self) {
        let used = self.lab.stack.memory();
        assert!(used.total() <= BUDGET, "{used:?}");
    }

    /// A connection, when the device has taken all the memory that there is.
    fn with_nothing_left() -> (Self, ConnectionId) {
        let mut crowd = Self::new();
        crowd.from(1, 999);
        let id = crowd.open().unwrap();
        crowd.lab.stack.set_slabs(BUDGET);
        crowd.lab.events.clear();
        (crowd, id)
    }

    /// A connection, and a device that takes so much at once that its network may hold no more.
    fn suddenly_scarce(ready: impl FnOnce(&mut Lab)) -> (Self, ConnectionId) {
        let (mut crowd, id) = Self::beside(10, ready);
        crowd.lab.stack.set_slabs(BUDGET / 4);
        (crowd, id)
    }

    /// A connection, and as many others of its network as it takes to use up so many sixteenths.
    fn beside(sixteenths: usize, ready: impl FnOnce(&mut Lab)) -> (Self, ConnectionId) {
        let mut crowd = Self::new();
        crowd.from(1, 999);
        let id = crowd.open().unwrap();
        ready(&mut crowd.lab);
        for port in 1000.. {
            let missing = (BUDGET / 16 * sixteenths).saturating_sub(crowd.lab.stack.memory().total());
            if missing == 0 {
                break;
            }
            crowd.from(1, port);
            crowd.open().unwrap();
            for _ in 0..missing.min(60_000) / 1400 {
                crowd.lab.input(some(1400));
            }
            crowd.lab.drain();
        }
        crowd.lab.events.clear();
        crowd.from(1, 999);
        (crowd, id)
    }
}

#[test]
fn ten_networks_with_a_thousand_connections_that_never_read_leave_others_their_share() {
    for (fills_at_once, most, len) in [(true, 500, 1400), (false, 3000, 1400), (false, 3000, 100)] {
        let mut crowd = Crowd::new();
        crowd.from(100, 7000);
        let honest = crowd.open().unwrap();
        let (mut refused, mut taken) = (0, Vec::new());
        for port in 1000..2000 {
            for network in 0..10 {
                crowd.from(network, port);
                match crowd.open() {
                    Some(_) if fills_at_once => drop(crowd.stuff_with(50, len)),
                    Some(_) => taken.push((network, port)),
                    None => refused += 1,
                }
                crowd.assert_within_budget();
            }
            crowd.honest_transfer(honest);
        }
        assert!(refused > 10_000 - most, "{refused} were refused");
        for (network, port) in taken {
            crowd.from(network, port);
            // More than what is set aside for it.
            crowd.stuff_with(if len < 1000 { 150 } else { 50 }, len);
            crowd.assert_within_budget();
        }
        crowd.honest_transfer(honest);
        let counters = crowd.lab.counters();
        assert!(counters.opens_refused >= refused, "{counters:?}");
        assert!(fills_at_once || counters.promised_dropped > 0, "{counters:?}");
        crowd.from(101, 7000);
        let late = crowd.open().expect("a network that has nothing gets in");
        crowd.stuff(10);
        assert_eq!(crowd.lab.read_all(late).len(), 14_000);
        // An active open to one of the ten is refused, and one to somebody else is not.
        let lab = &mut crowd.lab;
        let options = lab.stack.config().socket.clone();
        let refused = lab.stack.connect(lab.ts(), None, "10.1.3.1:80".parse().unwrap(), options.clone());
        assert_eq!(refused, Err(ConnectError::OutOfMemory));
        lab.stack.connect(lab.ts(), None, "10.1.200.1:80".parse().unwrap(), options).unwrap();
    }
}

#[test]
fn who_comes_when_forty_networks_have_stopped_reading_gets_two_fifths_of_an_equal_share() {
    let mut crowd = Crowd::new();
    for round in 0..6 {
        for (network, port) in (0..40).flat_map(|network| (1000..1005).map(move |port| (network, port))) {
            crowd.from(network, port);
            if round == 0 {
                crowd.open();
            } else {
                crowd.stuff(10);
            }
            crowd.assert_within_budget();
        }
    }
    crowd.from(100, 7000);
    let late = crowd.open().expect("whoever has little gets in");
    crowd.honest_transfer(late);
    let (lab, mut written) = (&mut crowd.lab, 0);
    while let Ok(taken) = lab.stack.send(lab.ts(), late, &[7; 4096], Default::default()) {
        written += taken;
    }
    assert!(written >= BUDGET / 41 * 2 / 5, "{written} bytes of a budget of {BUDGET}");
}

#[test]
fn what_was_acknowledged_is_never_thrown_away() {
    let mut crowd = Crowd::new();
    let ids: Vec<_> = (0..150)
        .map(|n| {
            crowd.from(1, 1000 + n);
            (n, crowd.open().unwrap())
        })
        .collect();
    for round in 0..60 {
        for (n, _) in &ids {
            crowd.from(1, 1000 + n);
            let acked = crowd.stuff(2).map(|last| last.ack.get());
            // What was dropped comes again from where it was lost.
            crowd.lab.flow.nxt = acked.unwrap_or(crowd.lab.flow.nxt - 2800);
            crowd.assert_within_budget();
        }
        assert!(round < 5 || crowd.lab.stack.memory().receive > 0);
    }
    assert!(crowd.lab.counters().promised_dropped > 0);
    for (n, id) in ids {
        crowd.from(1, 1000 + n);
        let received = crowd.lab.info(id).bytes_received;
        assert_eq!(crowd.lab.read_all(id).len() as u64, received);
        assert!(received > 4096 - 2800, "a small window remains: {received}");
    }
    assert_eq!(crowd.lab.stack.memory().receive, 0);
}

#[test]
fn the_window_closes_from_the_left() {
    let (mut crowd, id) = Crowd::beside(10, |_| {});
    let scale = crowd.scale;
    let edge = |last: &TcpHeader| last.ack.get() + (u32::from(last.window) << scale);
    let mut last = crowd.stuff(2).unwrap();
    while let Some(next) = crowd.stuff(2) {
        assert!(edge(&next) + (1 << scale) > edge(&last), "the right edge moves back");
        if next.ack == last.ack {
            break;
        }
        last = next;
    }
    assert!(crowd.lab.counters().windows_closed > 0);
    let unread = crowd.lab.info(id).unread;
    assert!(unread < 400_000, "{unread} bytes of the buffer's 512 KiB were taken");
    // Whoever reads gets a window again.
    crowd.lab.flow.nxt = last.ack.get();
    crowd.lab.read_all(id);
    let open = crowd.stuff(2).unwrap();
    assert!(edge(&open) - open.ack.get() >= 2048);
}

// RFC 2018 8-3
#[test]
fn beyond_gaps_only_what_has_just_arrived_is_kept() {
    let (mut crowd, id) = Crowd::suddenly_scarce(|lab| {
        for n in 0..10 {
            lab.input(some(1400).seq(1401 + 2800 * n));
        }
        lab.drain();
    });
    let lab = &mut crowd.lab;
    assert_eq!(lab.counters().bytes_reneged, 0);
    lab.input(some(1400).seq(40_001));
    let sent = lab.drain().pop().unwrap().tcp.unwrap().tcp;
    let blocks: Vec<_> =
        sent.options.sack.as_slice().iter().map(|(from, to)| (from.get(), to.get())).collect();
    assert_eq!(blocks, [(40_001, 41_401)], "nothing else is told of");
    assert_eq!(lab.counters().bytes_reneged, 14_000);
    // The stream is whole in the end.
    for n in 0..3 {
        lab.input(some(1400).seq(1 + 1400 * n));
    }
    lab.drain();
    assert_eq!(lab.read_all(id).len(), 4200);
}

// RFC 5681 4.2: a sender that repairs has a window of one segment, and waits for each acknowledgement.
#[test]
fn what_comes_again_after_it_was_dropped_is_acknowledged_at_once() {
    let seq = |n: u32| 1 + 1400 * n;
    let (mut crowd, _) = Crowd::suddenly_scarce(|lab| {
        for n in 2..40 {
            lab.input(some(1400).seq(seq(n)));
        }
        lab.drain();
    });
    let lab = &mut crowd.lab;
    // All that came before it is dropped, and it can be acknowledged soon.
    lab.input(some(1400).seq(seq(1)));
    lab.drain();
    assert_eq!(lab.counters().bytes_reneged, 38 * 1400);
    for n in [0].into_iter().chain(2..40) {
        lab.input(some(1400).seq(seq(n)));
        let acks: Vec<_> = lab.drain().iter().map(|sent| sent.tcp.as_ref().unwrap().tcp.ack.get()).collect();
        assert_eq!(acks, [seq(n.max(1) + 1)], "segment {n}");
    }
    lab.input(some(1400).seq(seq(40)));
    assert!(lab.drain().is_empty(), "nothing is repaired any more");
}

#[test]
fn orphans_are_reset_when_memory_is_scarce_and_when_there_are_too_many() {
    let (mut crowd, id) = Crowd::beside(12, |_| {});
    let lab = &mut crowd.lab;
    lab.write(id, b"last words");
    lab.drain();
    lab.close(id);
    let sent = lab.drain();
    assert!(sent.iter().any(|sent| sent.tcp.as_ref().unwrap().tcp.flags.contains(TcpFlags::RST)));
    assert_eq!((lab.counters().orphans_reset, lab.state(id)), (1, State::Closed));

    let mut lab = Lab::with(|config| config.max_orphans = 2);
    let listener = lab.listen();
    for port in 4000..4004 {
        lab.switch(port);
        lab.handshake(Peer::default());
        let id = lab.accept(listener).unwrap();
        lab.close(id);
        let expected = if port < 4002 { fin() } else { rst() };
        assert_eq!(lab.next_tcp().tcp.flags, expected.flags | TcpFlags::ACK);
        assert_eq!(lab.stack.sizes().orphans, usize::from(port - 3999).min(2));
    }
}

#[test]
fn a_writer_waits_for_the_peer_when_memory_is_scarce() {
    let (mut crowd, id) = Crowd::beside(10, |_| {});
    let lab = &mut crowd.lab;
    let mut written = 0;
    while let Ok(taken) = lab.stack.send(lab.ts(), id, &[7; 1400], Default::default()) {
        written += taken;
    }
    lab.drain();
    assert!((4096..500_000).contains(&written), "{written} bytes");
    assert!(!lab.stack.readiness(id).contains(Readiness::WRITABLE));
    lab.events.clear();
    lab.input(ack().ack(1401));
    lab.drain();
    assert!(lab.stack.readiness(id).contains(Readiness::WRITABLE));
    let told = lab.events.iter().any(
        |event| matches!(event, Event::Ready(who, what) if *who == id && what.contains(Readiness::WRITABLE)),
    );
    assert!(told, "{:?}", lab.events);
    assert!(lab.stack.send(lab.ts(), id, &[7; 1400], Default::default()).is_ok());
}

// RFC 2018 8-3
#[test]
fn a_sender_of_ours_repairs_what_a_receiver_has_reneged_on() {
    const BYTES: usize = 8_000_000;
    let mut pair = Pair::with(|side, config| {
        if side == 1 {
            config.memory_budget = Some(1 << 20);
        }
    });
    pair.delay = [Duration::from_millis(50); 2];
    // Some are lost once the window is larger than what memory there is.
    pair.set_fate(|crossing| match crossing.number {
        number if crossing.from == 0 && number > 2000 && number % 150 == 0 => Fate::Drop,
        _ => Fate::Deliver,
    });
    pair.converse_with(
        &[Op::Send(BYTES), Op::ShutdownWrite, Op::RecvEof, Op::Close],
        &[Op::Recv(BYTES), Op::RecvEof, Op::Close],
        |options| options.send_buffer = 4 << 20,
        |options| options.recv_buffer = 4 << 20,
    );
    pair.live(secs(600));
    let counters = pair.stacks[1].counters();
    assert!(counters.bytes_reneged > 0, "{counters:?}");
    let used = pair.stacks[1].memory();
    assert_eq!([used.send, used.receive, used.reassembly, used.records], [0; 4]);
}
