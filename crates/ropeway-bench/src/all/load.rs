//! What is done with a stack.

use clap::ValueEnum;
use ropeway_bench_service::Task;

use super::stacks::Stack;

/// A kind of load.
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
}

/// A load, with how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) workload: Workload,
    /// Connections at once.
    pub(super) at_once: usize,
    /// Others, idle.
    pub(super) idle: usize,
    pub(super) offload: bool,
}

impl Load {
    /// As it is called in tables.
    pub(super) fn name(self) -> String {
        let (at_once, idle) = (self.at_once, self.idle);
        let what = match self.workload {
            Workload::Down => format!("down, {at_once} flows"),
            Workload::Up => format!("up, {at_once} flows"),
            Workload::Both => format!("both ways, {at_once} flows"),
            Workload::Connect => format!("connections, {at_once} at once"),
            Workload::Ping => format!("64 B there and back, {at_once} at once"),
            Workload::Http => format!("HTTP, {at_once} at once"),
            Workload::Idle => format!("64 B there and back, {idle} idle beside"),
        };
        format!("{what}, {}", if self.offload { "offloaded" } else { "plain" }).replace(" 1 flows", " 1 flow")
    }

    /// Loads of one kind stand in one picture, whose file has this in its name.
    pub(super) fn kind(self) -> &'static str {
        match (self.workload, self.offload) {
            (Workload::Down | Workload::Up | Workload::Both, false) => "bulk-plain",
            (Workload::Down | Workload::Up | Workload::Both, true) => "bulk-offloaded",
            (Workload::Connect, _) => "connections",
            (Workload::Ping | Workload::Http | Workload::Idle, _) => "exchanges",
        }
    }

    /// What its picture says above the rows.
    pub(super) fn heading(self) -> &'static str {
        match self.kind() {
            "bulk-plain" => "Bulk, packets one by one",
            "bulk-offloaded" => "Bulk, offloaded",
            "connections" => "Connections",
            _ => "Round trips",
        }
    }

    /// The figures that its picture has.
    pub(super) fn charted(self) -> [&'static str; 2] {
        match self.kind() {
            "connections" => ["connections/s", "CPU us each"],
            "exchanges" => ["exchanges/s", "p99 us"],
            _ => ["Gbit/s", "CPU s/GB"],
        }
    }

    /// What the stack is asked to do.
    pub(super) fn task(self) -> Task {
        match self.workload {
            Workload::Down => Task::Sink,
            Workload::Up => Task::Source,
            Workload::Both => Task::Both,
            Workload::Connect | Workload::Ping | Workload::Idle => Task::Echo,
            Workload::Http => Task::Http,
        }
    }

    pub(super) fn is_bulk(self) -> bool {
        matches!(self.workload, Workload::Down | Workload::Up | Workload::Both)
    }

    /// Whether a stack can do this. The null stack tells connections apart by the peer's port alone, and the smoltcps look at
    /// all of their sockets for each packet: 100,000 take them minutes to open.
    pub(super) fn suits(self, stack: Stack) -> bool {
        const MANY: usize = 60_000;
        let has_room = self.idle < MANY
            || matches!(stack, Stack::Ropeway | Stack::Ipstack | Stack::Veth | Stack::Loopback);
        stack.knows(self.offload) && has_room && (self.workload != Workload::Http || stack.has_streams())
    }
}

/// Every load that is asked for, in the order of the tables.
pub(super) fn loads(workloads: &[Workload], flows: &[usize], idle: &[usize], offload: &[bool]) -> Vec<Load> {
    let mut loads = Vec::new();
    for workload in workloads.iter().copied() {
        let (at_once, idle): (&[usize], &[usize]) = match workload {
            Workload::Down | Workload::Up | Workload::Both => (flows, &[0]),
            Workload::Connect => (&[1, 16], &[0]),
            Workload::Ping => (&[1, 32], &[0]),
            Workload::Http => (&[32], &[0]),
            Workload::Idle => (&[1], idle),
        };
        for offload in offload.iter().copied() {
            for at_once in at_once.iter().copied() {
                for idle in idle.iter().copied() {
                    loads.push(Load { workload, at_once, idle, offload });
                }
            }
        }
    }
    loads
}
