//! What is done with a stack.

use clap::ValueEnum;
use ropeway_bench_service::Task;

use super::datagrams;
use super::stacks::Stack;

/// A group of loads, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Workload {
    /// The kernel sends.
    Down,
    /// The stack sends.
    Up,
    /// Both send, on each connection.
    Both,
    /// Connections: connect, a message there and back, close; one at a time, and 16 at once.
    Connect,
    /// 64 bytes there and back, on one connection, and on 32 at once.
    Ping,
    /// Requests of HTTP/1.1 for a kilobyte, on 32 connections at once.
    Http,
    /// Ping on one connection beside idle ones.
    Idle,
    /// A guest's connections through a gateway to a host's socket: bulk each way, and connections.
    Relay,
    /// Bulk between two ends on one thread, without a device and without a kernel.
    Memory,
    /// Bulk between two stacks on one runtime, over a cable with a queue for each shard: no kernel. For `ropeway-SxW` alone.
    Cable,
    /// Datagrams, from the kernel and from the stack; with offload in trains.
    Udp,
}

/// What the connections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Down,
    Up,
    Both,
    Connect,
    Ping,
    Http,
    /// There are none: datagrams of so many bytes go this way.
    Datagrams(datagrams::Way, u16),
}

/// What is between the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A device that carries packets one by one.
    Plain,
    /// One that carries trains.
    Offloaded,
    /// A gateway between a guest and its host, over a device of this MTU.
    Relay(u16),
    /// Nothing: two ends with this MTU.
    Memory(u16),
    /// A cable of this MTU, in one process.
    Cable(u16),
}

/// A load, with how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) kind: Kind,
    /// Connections at once.
    pub(super) at_once: usize,
    /// Others, idle.
    pub(super) idle: usize,
    pub(super) way: Way,
}

/// The picture that a load stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// What its file has in its name.
    pub(super) name: &'static str,
    pub(super) heading: &'static str,
    /// The figures it has.
    pub(super) figures: [&'static str; 2],
}

impl Load {
    /// As it is called in tables.
    pub(super) fn name(self) -> String {
        let (at_once, idle) = (self.at_once, self.idle);
        let what = match self.kind {
            _ if matches!(self.way, Way::Memory(_)) => "bulk".to_owned(),
            Kind::Down => format!("down, {at_once} flows"),
            Kind::Up => format!("up, {at_once} flows"),
            Kind::Both => format!("both ways, {at_once} flows"),
            Kind::Connect => format!("connections, {at_once} at once"),
            Kind::Ping if idle > 0 => format!("64 B there and back, {idle} idle beside"),
            Kind::Ping => format!("64 B there and back, {at_once} at once"),
            Kind::Http => format!("HTTP, {at_once} at once"),
            Kind::Datagrams(datagrams::Way::Down, size) => format!("UDP down, {size} B"),
            Kind::Datagrams(datagrams::Way::Up, size) => format!("UDP up, {size} B"),
        };
        let way = match self.way {
            Way::Plain => "plain".to_owned(),
            Way::Offloaded => "offloaded".to_owned(),
            Way::Relay(mtu) => format!("relayed, MTU {mtu}"),
            Way::Memory(mtu) => format!("in memory, MTU {mtu}"),
            Way::Cable(mtu) => format!("over a cable, MTU {mtu}"),
        };
        format!("{what}, {way}").replace(" 1 flows", " 1 flow")
    }

    /// The picture that it stands in.
    pub(super) fn picture(self) -> Picture {
        let picture = |name, heading, figures| Picture { name, heading, figures };
        let bulk = ["Gbit/s", "CPU s/GB"];
        match (self.way, self.kind) {
            (Way::Memory(_), _) => {
                picture("memory", "Two ends on one thread", ["Gbit/s", "CPU s/GB of both ends"])
            }
            (Way::Cable(_), _) => {
                picture("cable", "Two stacks on one runtime", ["Gbit/s", "CPU s/GB of both ends"])
            }
            (Way::Relay(_), Kind::Connect) => picture(
                "relay-connections",
                "Connections through a gateway",
                ["connections/s", "CPU us each"],
            ),
            (Way::Relay(_), _) => picture("relay", "Bulk through a gateway", bulk),
            (Way::Plain, Kind::Datagrams(..)) => {
                picture("udp-plain", "Datagrams, one by one", ["k datagrams/s", "CPU us each"])
            }
            (_, Kind::Datagrams(..)) => {
                picture("udp-offloaded", "Datagrams in trains", ["k datagrams/s", "CPU us each"])
            }
            (_, Kind::Connect) => picture("connections", "Connections", ["connections/s", "CPU us each"]),
            (_, Kind::Ping | Kind::Http) => picture("exchanges", "Round trips", ["exchanges/s", "p99 us"]),
            (Way::Plain, _) => picture("bulk-plain", "Bulk, packets one by one", bulk),
            (Way::Offloaded, _) => picture("bulk-offloaded", "Bulk, offloaded", bulk),
        }
    }

    /// What the stack is asked to do.
    pub(super) fn task(self) -> Task {
        match self.kind {
            Kind::Down => Task::Sink,
            Kind::Up => Task::Source,
            Kind::Both => Task::Both,
            Kind::Connect | Kind::Ping => Task::Echo,
            Kind::Http => Task::Http,
            Kind::Datagrams(datagrams::Way::Down, _) => Task::UdpSink,
            Kind::Datagrams(datagrams::Way::Up, _) => Task::UdpSource,
        }
    }

    pub(super) fn is_bulk(self) -> bool {
        matches!(self.kind, Kind::Down | Kind::Up | Kind::Both)
    }

    /// Whether a stack can do this. The null stack tells connections apart by the peer's port alone, and the smoltcps look at
    /// all of their sockets for each packet: 100,000 take them minutes to open.
    pub(super) fn suits(self, stack: Stack) -> bool {
        const MANY: usize = 60_000;
        let has_room = self.idle < MANY
            || matches!(
                stack,
                Stack::Ropeway | Stack::Spread(_) | Stack::Ipstack | Stack::Veth | Stack::Loopback
            );
        let has_streams = match self.kind {
            Kind::Http => stack.has_streams(),
            Kind::Datagrams(..) => !matches!(stack, Stack::TokioSmoltcp | Stack::Ipstack),
            _ => true,
        };
        match self.way {
            Way::Plain => stack.knows(false) && has_room && has_streams,
            Way::Offloaded => stack.knows(true) && has_room && has_streams,
            Way::Relay(_) => stack == Stack::Ropeway || stack.is_gateway(),
            Way::Memory(_) => matches!(stack, Stack::Ropeway | Stack::Smoltcp),
            Way::Cable(_) => matches!(stack, Stack::Spread(_)),
        }
    }
}

/// How much of each load is asked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) flows: &'a [usize],
    pub(super) idle: &'a [usize],
    pub(super) ways: &'a [Way],
    /// Of a relay's guest. The second is the most that pasta and slirp4netns take.
    pub(super) relay_mtus: &'a [u16],
    pub(super) memory_mtus: &'a [u16],
    /// Bytes of data in a datagram.
    pub(super) datagrams: &'a [u16],
}

impl Wanted<'_> {
    /// The loads of these groups, in the order of the tables.
    pub(super) fn loads(&self, workloads: &[Workload]) -> Vec<Load> {
        workloads.iter().flat_map(|workload| self.group(*workload)).collect()
    }

    fn group(&self, workload: Workload) -> Vec<Load> {
        match workload {
            Workload::Down => across(self.ways, Kind::Down, self.flows, &[0]),
            Workload::Up => across(self.ways, Kind::Up, self.flows, &[0]),
            Workload::Both => across(self.ways, Kind::Both, self.flows, &[0]),
            Workload::Connect => across(self.ways, Kind::Connect, &[1, 16], &[0]),
            Workload::Ping => across(self.ways, Kind::Ping, &[1, 32], &[0]),
            Workload::Http => across(self.ways, Kind::Http, &[32], &[0]),
            Workload::Idle => across(self.ways, Kind::Ping, &[1], self.idle),
            Workload::Relay => {
                let ways: Vec<Way> = self.relay_mtus.iter().copied().map(Way::Relay).collect();
                let kinds = [(Kind::Down, [1, 32]), (Kind::Up, [1, 32]), (Kind::Connect, [1, 16])];
                kinds.iter().flat_map(|(kind, at_once)| across(&ways, *kind, at_once, &[0])).collect()
            }
            Workload::Memory => {
                let ways: Vec<Way> = self.memory_mtus.iter().copied().map(Way::Memory).collect();
                across(&ways, Kind::Down, &[1], &[0])
            }
            Workload::Cable => {
                let ways: Vec<Way> = self.memory_mtus.iter().copied().map(Way::Cable).collect();
                across(&ways, Kind::Down, self.flows, &[0])
            }
            Workload::Udp => {
                let kinds = [datagrams::Way::Down, datagrams::Way::Up];
                let kinds = kinds.iter().flat_map(|way| self.datagrams.iter().map(|size| (*way, *size)));
                kinds
                    .flat_map(|(way, size)| across(self.ways, Kind::Datagrams(way, size), &[1], &[0]))
                    .collect()
            }
        }
    }
}

/// A load of a kind for each way, each number of connections, and each number of idle ones.
fn across(ways: &[Way], kind: Kind, at_once: &[usize], idle: &[usize]) -> Vec<Load> {
    let mut loads = Vec::new();
    for way in ways.iter().copied() {
        for at_once in at_once.iter().copied() {
            loads.extend(idle.iter().map(|idle| Load { kind, at_once, idle: *idle, way }));
        }
    }
    loads
}
