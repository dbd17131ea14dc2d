//! A path that loses large packets without a word, and who sends over it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ropeway_core::{Algorithm, SocketOptions, StackConfig, TcpInfo};

use crate::common::*;

/// Two stacks, and a path between them that drops larger packets than it takes.
pub(crate) struct Path {
    pub(crate) pair: Pair,
    pub(crate) takes: Rc<Cell<usize>>,
    /// How long the packets of the client were, and whether they were dropped.
    pub(crate) packets: Rc<RefCell<Vec<(usize, bool)>>>,
    pub(crate) window: usize,
}

impl Path {
    pub(crate) fn new(takes: usize, change: impl Fn(&mut StackConfig)) -> Self {
        let (limit, packets) = (Rc::new(Cell::new(takes)), Rc::new(RefCell::new(Vec::new())));
        let (at_link, log) = (limit.clone(), packets.clone());
        let mut pair = Pair::with(|_, config| change(config)).fate(move |crossing| {
            let dropped = crossing.packet.len() > at_link.get();
            if crossing.from == 0 {
                log.borrow_mut().push((crossing.packet.len(), dropped));
            }
            if dropped { Fate::Drop } else { Fate::Deliver }
        });
        pair.watch = None;
        pair.delay = [Duration::from_millis(10); 2];
        Self { pair, takes: limit, packets, window: 1 << 20 }
    }

    /// A path of 1.25 MB/s, and a window that does not fill more than that: a round trip for each 60 kB.
    pub(crate) fn steady(mut self) -> Self {
        (self.pair.rate, self.window) = (Some(1_250_000), 60_000);
        self
    }

    /// A path of 1.25 MB/s with a queue of 50 kB.
    pub(crate) fn with_queue(mut self) -> Self {
        (self.pair.rate, self.pair.queue) = (Some(1_250_000), 50_000);
        self
    }

    pub(crate) fn upload(&mut self, bytes: usize) {
        self.upload_in(&[Op::Send(bytes)], bytes);
    }

    pub(crate) fn upload_in(&mut self, sends: &[Op], bytes: usize) {
        let (window, recv) = (self.window, Op::Recv(bytes));
        let roomy = |options: &mut SocketOptions| {
            (options.send_buffer, options.recv_buffer) = (1 << 20, window);
        };
        self.pair.converse_with(
            sends,
            if bytes == 0 { &[] } else { std::slice::from_ref(&recv) },
            roomy,
            roomy,
        );
    }

    pub(crate) fn run(&mut self) -> &mut Self {
        self.pair.run(secs(3000));
        self
    }

    pub(crate) fn try_info(&self) -> Option<TcpInfo> {
        let id = self.pair.programs.iter().rev().find(|program| program.side == 0)?.id?;
        self.pair.stacks[0].info(self.pair.ts(), id).ok()
    }

    pub(crate) fn info(&self) -> TcpInfo {
        self.try_info().unwrap()
    }

    pub(crate) fn counters(&self) -> ropeway_core::Counters {
        self.pair.stacks[0].counters().clone()
    }

    pub(crate) fn known(&self) -> u16 {
        self.pair.stacks[0].path_mtu(self.pair.server.ip())
    }

    /// What the sender says of itself each millisecond until all is done, from the moment on at which it is open.
    pub(crate) fn looks(&mut self) -> Vec<TcpInfo> {
        let mut looks = Vec::new();
        while !self.pair.all_finished() {
            let next = self.pair.now + 1000;
            self.pair.run_to(next);
            looks.extend(self.try_info().filter(|info| info.srtt > Duration::ZERO));
            assert!(next < secs(3000), "it stands still");
        }
        looks
    }
}

/// What makes a sender of some kind.
pub(crate) type Change = Box<dyn Fn(&mut StackConfig)>;

/// All kinds of senders.
pub(crate) fn kinds() -> Vec<(&'static str, Change)> {
    vec![
        ("cubic", Box::new(|_: &mut StackConfig| {}) as Change),
        ("reno", Box::new(|config| config.socket.congestion = Algorithm::NewReno)),
        ("bbr", Box::new(|config| config.socket.congestion = Algorithm::Bbr)),
        ("without SACK", Box::new(|config| config.sack = false)),
        ("without timestamps", Box::new(|config| config.timestamps = false)),
        ("neither", Box::new(|config| (config.sack, config.timestamps) = (false, false))),
        ("without RACK", Box::new(|config| config.rack = false)),
        ("without a tail probe", Box::new(|config| config.tlp = false)),
        ("without F-RTO and undo", Box::new(|config| (config.frto, config.undo) = (false, false))),
        ("without pacing", Box::new(|config| config.pacing = false)),
        ("trains", Box::new(|config| config.longest_train = 65_535)),
    ]
}
