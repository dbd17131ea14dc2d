//! The network itself: nodes, links, and the events that are to come.

mod addresses;
mod events;
mod forward;
mod host;
mod links;
mod routes;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Weak;

use bytes::Bytes;

use self::addresses::Allocator;
use self::events::{Event, EventQueue};
pub(crate) use self::host::{HostNode, Service};
use self::routes::Routes;
use crate::engine::Micros;
use crate::link::Link;
use crate::pipe::PipeState;
use crate::record::{Fate, Record};
use crate::rules::Rules;
use crate::seed::Seed;
use crate::shared::Shared;

/// A host or a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(pub(crate) u32);

/// A link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(pub(crate) u32);

/// Which way through a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Way {
    Forth,
    Back,
}

/// A packet on its way.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    /// Counts the packets that hosts and routers sent; copies have the same number.
    pub(crate) id: u64,
    /// When it was sent, and by whom.
    pub(crate) sent_at: Micros,
    pub(crate) from: NodeId,
    pub(crate) bytes: Bytes,
    /// What was done to it on the link it is on.
    pub(crate) notes: Notes,
}

/// What a link has done to a packet that arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Notes {
    pub(crate) corrupted: bool,
    pub(crate) duplicate: bool,
    pub(crate) reordered: bool,
    pub(crate) marked: bool,
    pub(crate) rule: bool,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) links: Vec<LinkId>,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Host(Box<HostNode>),
    Router,
}

#[derive(Debug)]
pub(crate) struct LinkNode {
    /// The node named first, and the other.
    pub(crate) ends: [NodeId; 2],
    pub(crate) forth: PipeState<Packet>,
    pub(crate) back: PipeState<Packet>,
}

impl LinkNode {
    pub(crate) fn pipe(&mut self, way: Way) -> &mut PipeState<Packet> {
        match way {
            Way::Forth => &mut self.forth,
            Way::Back => &mut self.back,
        }
    }

    /// The way that starts at `node`.
    pub(crate) fn way_from(&self, node: NodeId) -> Way {
        if self.ends[0] == node { Way::Forth } else { Way::Back }
    }

    /// Where `way` leads.
    pub(crate) fn end(&self, way: Way) -> NodeId {
        match way {
            Way::Forth => self.ends[1],
            Way::Back => self.ends[0],
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) seed: Seed,
    pub(crate) shared: Weak<Shared>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Vec<LinkNode>,
    pub(crate) record: Record,
    pub(crate) rules: Rules,
    allocator: Allocator,
    /// Who cannot reach whom, whatever the links say.
    pub(crate) cut: BTreeSet<(NodeId, NodeId)>,
    names: HashMap<String, NodeId>,
    by_address: HashMap<IpAddr, NodeId>,
    routes: Routes,
    events: EventQueue,
    /// Hosts that are to have a turn at this moment.
    pending: Vec<NodeId>,
    packets: u64,
    now: Micros,
}

impl World {
    pub(crate) fn new(seed: Seed, shared: Weak<Shared>, record: Record) -> Self {
        Self {
            seed,
            shared,
            nodes: Vec::new(),
            links: Vec::new(),
            record,
            rules: Rules::default(),
            allocator: Allocator::default(),
            cut: BTreeSet::new(),
            names: HashMap::new(),
            by_address: HashMap::new(),
            routes: Routes::default(),
            events: EventQueue::default(),
            pending: Vec::new(),
            packets: 0,
            now: 0,
        }
    }

    /// Adds a node, whose name and addresses must be new: anything else is a mistake of the test.
    pub(crate) fn add_node(&mut self, name: &str, addresses: &[IpAddr], kind: Kind) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        assert!(!self.names.contains_key(name), "there are two nodes named {name:?}");
        for (index, address) in addresses.iter().enumerate() {
            let twice = addresses.iter().skip(index + 1).any(|other| other == address);
            let other = self.at_address(*address).map(|other| self.node(other).name.as_str());
            let other = other.or(twice.then_some(name));
            assert!(
                other.is_none(),
                "{name:?} and {:?} have the same address, {address}",
                other.unwrap_or(name)
            );
        }
        self.names.insert(name.to_owned(), id);
        self.by_address.extend(addresses.iter().map(|address| (*address, id)));
        let (name, addresses) = (name.to_owned(), addresses.to_vec());
        self.nodes.push(Node { name, addresses, links: Vec::new(), kind });
        self.routes.forget();
        id
    }

    pub(crate) fn add_router(&mut self, name: &str) -> NodeId {
        let addresses = self.free_addresses(Allocator::router);
        self.add_node(name, &addresses, Kind::Router)
    }

    pub(crate) fn free_host_addresses(&mut self) -> [IpAddr; 2] {
        self.free_addresses(Allocator::host)
    }

    /// The next addresses that no node has chosen.
    fn free_addresses(&mut self, next: fn(&mut Allocator) -> [IpAddr; 2]) -> [IpAddr; 2] {
        loop {
            let addresses = next(&mut self.allocator);
            if addresses.iter().all(|address| self.at_address(*address).is_none()) {
                return addresses;
            }
        }
    }

    pub(crate) fn add_link(&mut self, ends: [NodeId; 2], link: &Link) -> LinkId {
        let id = LinkId(u32::try_from(self.links.len()).unwrap_or(u32::MAX));
        let [first, second] = ends.map(|end| self.node(end).name.clone());
        // Links between the same nodes are numbered, so that a new one elsewhere does not shift their chances.
        let twins = self.links.iter().filter(|other| other.ends == ends).count();
        let pipe = |from: &str, to: &str, config: &crate::link::Pipe| {
            PipeState::new(self.seed, &format!("link/{from}/{to}/{twins}"), config.clone())
        };
        let (forth, back) = (pipe(&first, &second, &link.forth), pipe(&second, &first, &link.back));
        self.links.push(LinkNode { ends, forth, back });
        self.record.add_link(&first, &second);
        for end in ends {
            self.node_mut(end).links.push(id);
        }
        self.routes.forget();
        id
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        #[expect(clippy::indexing_slicing, reason = "nodes are never removed")]
        &self.nodes[id.0 as usize]
    }

    pub(crate) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        #[expect(clippy::indexing_slicing, reason = "nodes are never removed")]
        &mut self.nodes[id.0 as usize]
    }

    pub(crate) fn link_mut(&mut self, id: LinkId) -> &mut LinkNode {
        #[expect(clippy::indexing_slicing, reason = "links are never removed")]
        &mut self.links[id.0 as usize]
    }

    pub(crate) fn named(&self, name: &str) -> Option<NodeId> {
        self.names.get(name).copied()
    }

    pub(crate) fn at_address(&self, address: IpAddr) -> Option<NodeId> {
        self.by_address.get(&address).copied()
    }

    /// How many packets were sent so far.
    pub(crate) fn packets(&self) -> u64 {
        self.packets
    }

    /// For the log.
    pub(crate) fn names_of(&self, nodes: &[NodeId]) -> String {
        let names: Vec<_> = nodes.iter().map(|node| self.node(*node).name.as_str()).collect();
        names.join(", ")
    }

    /// Notes what befell the network.
    pub(crate) fn log(&mut self, what: String) {
        let now = self.shared.upgrade().map_or(self.now, |shared| shared.time.now());
        self.record.log(now, what);
    }

    pub(crate) fn next_event(&self) -> Option<Micros> {
        self.events.next()
    }

    /// Whether what is to come takes longer than any simulation.
    pub(crate) fn waits_for_ever(&self) -> bool {
        self.events.has_more()
    }

    pub(crate) fn schedule(&mut self, at: Micros, event: Event) {
        self.events.push(at.max(self.now), event);
    }

    /// Lets all happen that is due. Whether tasks were woken.
    pub(crate) fn process(&mut self, now: Micros) -> bool {
        self.now = self.now.max(now);
        let mut woke = false;
        // Everything that arrives at one moment is there before anybody answers.
        loop {
            while let Some(event) = self.events.pop_due(self.now) {
                self.happen(event);
            }
            woke |= self.take_turns();
            if self.pending.is_empty() && self.events.next().is_none_or(|due| due > self.now) {
                return woke;
            }
        }
    }

    /// Gives the hosts their turn whose sockets were called. Whether tasks were woken.
    pub(crate) fn settle(&mut self, now: Micros) -> bool {
        self.now = self.now.max(now);
        self.take_turns()
    }

    /// Notes that a host is to have a turn.
    pub(crate) fn mark_pending(&mut self, node: NodeId) {
        if let Kind::Host(host) = &mut self.node_mut(node).kind
            && !std::mem::replace(&mut host.is_pending, true)
        {
            self.pending.push(node);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrival(link, way, packet) => {
                let node = self.link_mut(link).end(way);
                if let Kind::Router = self.node(node).kind {
                    self.record.on_link(self.now, link, way, &packet, Fate::Passed);
                }
                self.arrive(node, packet);
            }
            Event::Departure(link, way) => self.depart(link, way),
            Event::Deadline(node, boot) => self.deadline(node, boot),
            Event::Release(node, packet) => self.send_unruled(node, packet),
        }
    }

    /// A packet that `from` sends.
    pub(crate) fn new_packet(&mut self, from: NodeId, bytes: Bytes) -> Packet {
        self.packets += 1;
        let packet = Packet { id: self.packets, sent_at: self.now, from, bytes, notes: Notes::default() };
        self.record.sent(&packet);
        packet
    }
}
