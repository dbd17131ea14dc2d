//! The server, everybody who is connected to it, and the clock.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ropeway_core::{ListenerId, MemoryUse, Received, SocketOptions, Stack, StackConfig, Timestamp};

use super::attackers::{self, Attacker, Crowd};
use super::honest::{self, Honest};
use crate::{PORT, SERVER, stack};

/// In each of these, some of the attackers do something.
const TICK: Duration = Duration::from_millis(1);
const TICKS: u32 = 1000;

/// See the [module](self).
pub(super) struct World {
    pub(super) server: Stack,
    listener: ListenerId,
    pub(super) now: Timestamp,
    crowd: Crowd,
    pub(super) attackers: Vec<Attacker>,
    honest: Option<Honest>,
    /// The most that was counted at a moment.
    pub(super) peak: usize,
    /// Packets from attackers, and the time that they, and everything that followed, took.
    pub(super) packets: u64,
    pub(super) spent: Duration,
}

/// How a world is made.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) attackers: u32,
    pub(super) networks: u32,
    /// The window that attackers advertise.
    pub(super) window: u16,
    pub(super) budget: usize,
    pub(super) options: SocketOptions,
}

impl World {
    pub(super) fn new(setup: &Setup) -> io::Result<Self> {
        let mut server = stack(SERVER, |config: &mut StackConfig| config.memory_budget = Some(setup.budget));
        let address = SocketAddr::from((SERVER, PORT));
        let listener = server.listen(address, 4096, setup.options.clone()).map_err(io::Error::other)?;
        Ok(Self {
            server,
            listener,
            now: Timestamp::START,
            crowd: Crowd::new(setup.networks, setup.window),
            attackers: vec![Attacker::default(); setup.attackers as usize],
            honest: None,
            peak: 0,
            packets: 0,
            spent: Duration::ZERO,
        })
    }

    pub(super) fn memory(&self) -> MemoryUse {
        self.server.memory()
    }

    /// All of them connect, a thousand at a time.
    pub(super) fn open(&mut self) -> io::Result<()> {
        let all = u32::try_from(self.attackers.len()).unwrap_or(u32::MAX);
        for number in 0..all {
            let syn = self.crowd.syn(number);
            self.take(syn)?;
            if number % TICKS == 0 {
                self.advance(TICK)?;
            }
        }
        Ok(())
    }

    /// How many connections there are.
    pub(super) fn opened(&self) -> usize {
        self.server.sizes().connections
    }

    /// A second, in which each of them has its turn.
    pub(super) fn second(&mut self, act: impl Fn(&mut Self, u32) -> io::Result<()>) -> io::Result<()> {
        let all = u64::try_from(self.attackers.len()).unwrap_or(u64::MAX);
        let place = |tick: u32| u32::try_from(all * u64::from(tick) / u64::from(TICKS)).unwrap_or(u32::MAX);
        for tick in 0..TICKS {
            self.advance(TICK)?;
            for number in place(tick)..place(tick + 1) {
                if self.attacker(number).is_open {
                    act(self, number)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn attacker(&self, number: u32) -> Attacker {
        self.attackers.get(number as usize).copied().unwrap_or_default()
    }

    pub(super) fn set_attacker(&mut self, number: u32, attacker: Attacker) {
        if let Some(home) = self.attackers.get_mut(number as usize) {
            *home = attacker;
        }
    }

    /// An attacker's segment with so many bytes from its next sequence number on.
    pub(super) fn send(&mut self, number: u32, len: u32) -> io::Result<()> {
        let attacker = self.attacker(number);
        let segment = self.crowd.segment(number, &attacker, len);
        self.set_attacker(number, Attacker { seq: attacker.seq + len, ..attacker });
        self.take(segment)
    }

    /// They reset their connections, and are gone.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        for number in 0..u32::try_from(self.attackers.len()).unwrap_or(u32::MAX) {
            let attacker = self.attacker(number);
            let Some(id) = attacker.id else { continue };
            let segment = self.crowd.reset(number, &attacker);
            self.take(segment)?;
            self.server.close(self.now, id);
        }
        self.answer()
    }

    /// The well-behaved one connects.
    pub(super) fn admit(&mut self) -> io::Result<()> {
        self.honest = Some(Honest::start(self.now)?);
        self.turn_of_honest()
    }

    pub(super) fn honest(&self) -> Option<&Honest> {
        self.honest.as_ref()
    }

    /// It goes again.
    pub(super) fn dismiss(&mut self) -> io::Result<()> {
        if let Some(id) = self.honest.take().and_then(|honest| honest.id()) {
            self.server.abort(self.now, id);
            self.server.close(self.now, id);
        }
        self.answer()
    }

    /// Time passes.
    pub(super) fn advance(&mut self, by: Duration) -> io::Result<()> {
        let to = self.now + by;
        while let Some(next) = self.next().filter(|next| *next <= to) {
            self.now = self.now.max(next);
            if self.server.poll_timeout().is_some_and(|due| due <= self.now) {
                let start = Instant::now();
                self.server.handle_timeout(self.now);
                self.spent += start.elapsed();
                self.answer()?;
            }
            self.turn_of_honest()?;
        }
        self.now = to;
        self.server.set_slabs(self.crowd.slabs());
        self.peak = self.peak.max(self.memory().total());
        Ok(())
    }

    fn next(&self) -> Option<Timestamp> {
        let honest = self.honest.as_ref().and_then(Honest::next);
        [self.server.poll_timeout(), honest].into_iter().flatten().min()
    }

    fn turn_of_honest(&mut self) -> io::Result<()> {
        let Some(honest) = &mut self.honest else { return Ok(()) };
        let accepted = honest.id();
        honest.turn(&mut self.server, self.now)?;
        self.answer()?;
        // Its other end has just been accepted, and may have something to read.
        if self.honest().is_some_and(|honest| honest.id() != accepted) {
            self.turn_of_honest()
        } else {
            Ok(())
        }
    }

    /// A packet from an attacker, and all that follows.
    fn take(&mut self, packet: Received) -> io::Result<()> {
        self.packets += 1;
        let start = Instant::now();
        self.server.handle_packet(self.now, packet);
        self.spent += start.elapsed();
        self.answer()
    }

    /// What the server has to say reaches everybody, and they react.
    pub(super) fn answer(&mut self) -> io::Result<()> {
        loop {
            let start = Instant::now();
            let transmit = self.server.poll_transmit(self.now);
            self.spent += start.elapsed();
            let Some(transmit) = transmit else { break };
            let Some((address, told)) = attackers::read(&transmit) else { continue };
            if address.ip() == honest::ADDRESS {
                self.honest.iter_mut().for_each(|honest| honest.is_sent(self.now, &transmit));
                continue;
            }
            let Some(number) = self.crowd.number(address) else { continue };
            let mut attacker = self.attacker(number);
            let is_syn_ack = attacker.hears(&told);
            attacker.is_open |= is_syn_ack;
            self.set_attacker(number, attacker);
            // Whoever probes a closed window is answered: it stays closed.
            if is_syn_ack || !transmit.payload.is_empty() {
                let ack = self.crowd.segment(number, &attacker, 0);
                self.server.handle_packet(self.now, ack);
            }
        }
        while self.server.poll_event().is_some() {}
        while let Some((id, remote)) =
            self.server.accept(self.now, self.listener).map_err(io::Error::other)?
        {
            match self.crowd.number(remote).filter(|_| remote.ip() != honest::ADDRESS) {
                Some(number) => {
                    let attacker = Attacker { id: Some(id), ..self.attacker(number) };
                    self.set_attacker(number, attacker);
                }
                None => self.honest.iter_mut().for_each(|honest| honest.accepted(id)),
            }
        }
        Ok(())
    }
}
