//! Hosts: the stacks that live on them, and their turns.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Waker;

use bytes::Bytes;
use ropeway::manual::{Manual, Received};
use ropeway::{Stack, StackConfig};

use super::addresses::with_prefix;
use super::{Event, Kind, NodeId, Packet, World};
use crate::clock::HostClock;
use crate::engine::{Micros, Time};
use crate::record::Cause;
use crate::shared::HostWaker;
use crate::stamp;
use crate::tasks::{Job, LifeToken};

/// Packets that wait for a host that is frozen: the length of the queue of a TAP device of Linux.
const FROZEN_QUEUE: usize = 1000;

/// Names that are shown instead of one that is not there.
const MOST_NAMES: usize = 20;

/// A host.
#[derive(Debug)]
pub(crate) struct HostNode {
    pub(crate) config: StackConfig,
    pub(crate) clock: Arc<HostClock>,
    /// What runs on it, unless it has crashed.
    pub(crate) life: Option<Life>,
    /// How often it was started.
    pub(crate) boots: u32,
    pub(crate) is_frozen: bool,
    /// What runs whenever it starts.
    pub(crate) services: Vec<Service>,
    /// It is to have a turn at this moment.
    pub(super) is_pending: bool,
}

/// Something that runs whenever a host starts.
pub(crate) struct Service {
    place: &'static Location<'static>,
    is_tolerated: Arc<AtomicBool>,
    start: Box<dyn FnMut() -> Running + Send>,
}

/// What a service does. It gives the error that it ends with.
type Running = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

impl Service {
    pub(crate) fn new(
        place: &'static Location<'static>,
        is_tolerated: Arc<AtomicBool>,
        start: impl FnMut() -> Running + Send + 'static,
    ) -> Self {
        Self { place, is_tolerated, start: Box::new(start) }
    }

    pub(crate) fn start(&mut self) -> Running {
        (self.start)()
    }

    /// What is known of it while it runs.
    pub(crate) fn job(&self) -> Arc<Job> {
        Job::tolerated_by(crate::tasks::Kind::Boot, self.place, Arc::clone(&self.is_tolerated))
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Service")
    }
}

/// A host from one start to the next crash.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) manual: Manual,
    pub(crate) token: Arc<LifeToken>,
    waker: Waker,
    inbox: Vec<Received>,
    /// When the stack wants its next turn.
    deadline: Option<Micros>,
    /// The earliest event that was scheduled for that.
    alarm: Option<Micros>,
}

impl HostNode {
    pub(crate) fn new(config: StackConfig, clock: Arc<HostClock>) -> Self {
        Self {
            config,
            clock,
            life: None,
            boots: 0,
            is_frozen: false,
            services: Vec::new(),
            is_pending: false,
        }
    }
}

impl World {
    /// Starts a host that does not run.
    pub(crate) fn boot(&mut self, id: NodeId) -> io::Result<()> {
        let (seed, shared) = (self.seed, self.shared.clone());
        let node = self.node_mut(id);
        let (name, addresses) = (node.name.clone(), node.addresses.clone());
        let Kind::Host(host) = &mut node.kind else { return Ok(()) };
        host.boots += 1;
        let names = shared.clone();
        let resolver = move |name: &str| names.upgrade().map(|shared| shared.world().resolve(name));
        let mut builder = Stack::builder()
            .mtu(host.config.mtu)
            .config(host.config.clone())
            .seed(seed.derive(&format!("host/{name}/{}", host.boots)))
            .resolver(resolver);
        for address in addresses {
            builder = builder.address(with_prefix(address));
        }
        let clock = Arc::clone(&host.clock);
        let manual = Manual::build(builder, clock)?;
        let waker = Waker::from(HostWaker::new(id, shared));
        let token = LifeToken::new(id, name, manual.stack().clone());
        host.life = Some(Life { manual, token, waker, inbox: Vec::new(), deadline: None, alarm: None });
        // The stack learns whom to wake.
        self.mark_pending(id);
        Ok(())
    }

    /// The addresses of a host, the IPv4 ones first.
    fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        match self.named(name) {
            Some(node) => Ok(self.node(node).addresses.clone()),
            None if name == "localhost" => {
                Ok(vec![std::net::Ipv4Addr::LOCALHOST.into(), std::net::Ipv6Addr::LOCALHOST.into()])
            }
            None => Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("there is no host named {name:?} in the simulated network{}", self.host_names()),
            )),
        }
    }

    /// Adds a host, which does not run yet.
    pub(crate) fn add_host(
        &mut self,
        name: &str,
        addresses: &[IpAddr],
        config: StackConfig,
        time: &Arc<Time>,
    ) -> NodeId {
        let host = HostNode::new(config, Arc::new(HostClock::new(Arc::clone(time))));
        self.add_node(name, addresses, Kind::Host(Box::new(host)))
    }

    /// The host of that name, or why there is none.
    pub(crate) fn host_named(&self, name: &str) -> Result<NodeId, String> {
        match self.named(name) {
            Some(id) if matches!(self.node(id).kind, Kind::Host(_)) => Ok(id),
            Some(_) => Err(format!("{name:?} is a router, not a host")),
            None => {
                Err(format!("there is no host named {name:?}{}; Net::add_host makes one", self.host_names()))
            }
        }
    }

    /// The names of all hosts, for a text that says that another one is not there.
    fn host_names(&self) -> String {
        let hosts = self.nodes.iter().filter(|node| matches!(node.kind, Kind::Host(_)));
        let names: Vec<&str> = hosts.map(|node| node.name.as_str()).collect();
        match names.as_slice() {
            [] => ", nor any other".to_owned(),
            [first @ .., _] if first.len() >= MOST_NAMES => {
                let shown = names.get(..MOST_NAMES).unwrap_or_default();
                format!(", only {} and {} more", shown.join(", "), names.len() - shown.len())
            }
            _ => format!(", only {}", names.join(", ")),
        }
    }

    /// Ends all hosts. What ran on them is to be dropped, and the futures to be told, without the lock.
    pub(crate) fn end(&mut self) -> Vec<Life> {
        let hosts = self.nodes.iter_mut().filter_map(|node| match &mut node.kind {
            Kind::Host(host) => host.life.take(),
            Kind::Router => None,
        });
        hosts.collect()
    }

    pub(crate) fn host_mut(&mut self, id: NodeId) -> Option<&mut HostNode> {
        match &mut self.node_mut(id).kind {
            Kind::Host(host) => Some(host),
            Kind::Router => None,
        }
    }

    pub(crate) fn life_mut(&mut self, id: NodeId) -> Option<&mut Life> {
        self.host_mut(id)?.life.as_mut()
    }

    /// A packet has reached its host.
    pub(super) fn deliver(&mut self, node: NodeId, packet: Packet) {
        let frozen = self.host_mut(node).is_some_and(|host| host.is_frozen);
        match self.life_mut(node) {
            Some(life) if frozen && life.inbox.len() >= FROZEN_QUEUE => {
                self.lost(node, &packet, Cause::HostFrozen);
            }
            Some(life) => {
                life.inbox.push(Received::alone(packet.bytes.clone()));
                self.record.arrived(self.now, node, &packet);
                self.mark_pending(node);
            }
            None => self.lost(node, &packet, Cause::HostDown),
        }
    }

    /// Tells a host's stack something that came by no link.
    pub(super) fn tell(&mut self, node: NodeId, packet: Bytes) {
        if let Some(life) = self.life_mut(node) {
            life.inbox.push(Received::alone(packet));
            self.mark_pending(node);
        }
    }

    /// The stack of a host wanted a turn at this moment, as far as it was known when that was noted.
    pub(super) fn deadline(&mut self, node: NodeId, boot: u32) {
        let now = self.now;
        let Some(host) = self.host_mut(node).filter(|host| host.boots == boot) else { return };
        let Some(life) = &mut host.life else { return };
        if life.alarm.is_some_and(|alarm| alarm <= now) {
            life.alarm = None;
        }
        match life.deadline {
            Some(deadline) if deadline <= now => self.mark_pending(node),
            Some(_) => self.set_alarm(node),
            None => {}
        }
    }

    /// Gives each pending host its turn, in the order in which they became pending. Whether tasks were woken.
    pub(super) fn take_turns(&mut self) -> bool {
        let mut woke = false;
        while !self.pending.is_empty() {
            for node in std::mem::take(&mut self.pending) {
                woke |= self.turn(node);
            }
        }
        woke
    }

    fn turn(&mut self, node: NodeId) -> bool {
        let Some(host) = self.host_mut(node) else { return false };
        host.is_pending = false;
        if host.is_frozen {
            return false;
        }
        let clock = Arc::clone(&host.clock);
        let Some(life) = &mut host.life else { return false };
        let token = Arc::clone(&life.token);
        let place = stamp::enter(clock.time(), &token);
        let span = token.span.enter();
        let mut sent = Vec::new();
        let turn =
            life.manual.turn(&life.waker, life.inbox.drain(..), &mut |packet| sent.push(packet.to_bytes()));
        life.deadline = turn.deadline.map(|deadline| clock.moment(deadline));
        drop((span, place));
        for packet in sent {
            self.send(node, packet);
        }
        self.set_alarm(node);
        turn.woke
    }

    /// Schedules the next turn, unless one is that comes no later. Most deadlines only move away, and what was
    /// scheduled looks again then.
    fn set_alarm(&mut self, node: NodeId) {
        let Some(host) = self.host_mut(node) else { return };
        let boot = host.boots;
        let Some(life) = &mut host.life else { return };
        let Some(deadline) = life.deadline else { return };
        if life.alarm.is_none_or(|alarm| deadline < alarm) {
            life.alarm = Some(deadline);
            self.schedule(deadline, Event::Deadline(node, boot));
        }
    }
}
