//! What happens in one run, as plain data: made from a seed, and shrunk by leaving parts of it out.

use std::collections::BTreeSet;
use std::time::Duration;

use ropeway_sim::{CoDel, Link, Loss, Pipe, Queue, Rate};

/// A network, what befalls it, and what its hosts do meanwhile.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    pub seed: u64,
    pub hosts: Vec<HostPlan>,
    /// Links between routers, all of which can reach each other.
    pub trunks: Vec<Trunk>,
    pub connections: Vec<Connection>,
    pub faults: Vec<Fault>,
}

/// A host. Its number stays the same while others are left out.
#[derive(Clone, Debug, PartialEq)]
pub struct HostPlan {
    pub number: u32,
    pub router: u32,
    pub link: LinkPlan,
    pub config: ConfigPlan,
}

/// What differs from the default in a host's stack.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigPlan {
    /// Bytes of both buffers.
    pub buffer: Option<usize>,
    pub no_timestamps: bool,
    pub no_window_scaling: bool,
    pub nodelay: bool,
    pub always_cookies: bool,
    /// Clients send their first bytes with the SYN, and servers take them.
    pub fast_open: bool,
    /// Probes of the path's MTU: 0 is off, 2 is always; as by default without.
    pub probing: Option<u8>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Trunk {
    pub ends: [u32; 2],
    pub link: LinkPlan,
}

/// A link; both directions are alike. Probabilities are in thousandths.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkPlan {
    pub kbit: Option<u64>,
    pub delay_us: u64,
    pub jitter_us: u64,
    pub loss: u32,
    /// Losses come in bursts of so many packets in the mean.
    pub burst: Option<u32>,
    /// The packets with these numbers are lost, instead.
    pub lost_packets: Vec<u64>,
    pub reorder: u32,
    pub duplicate: u32,
    pub corrupt: u32,
    pub mtu: Option<u16>,
    pub black_hole: Option<u16>,
    pub queue: Option<usize>,
    pub codel: bool,
}

impl LinkPlan {
    pub fn pipe(&self) -> Pipe {
        let thousandth = |number: u32| f64::from(number) / 1000.0;
        let loss = match self.burst {
            _ if !self.lost_packets.is_empty() => Loss::Packets(self.lost_packets.clone()),
            Some(length) => Loss::burst(thousandth(self.loss), length.into()),
            None => thousandth(self.loss).into(),
        };
        let mut queue = self.queue.map_or_else(Queue::default, Queue::packets);
        if self.codel {
            queue = queue.codel(CoDel::default());
        }
        let mut pipe = Pipe::new()
            .delay(Duration::from_micros(self.delay_us))
            .jitter(Duration::from_micros(self.jitter_us))
            .loss(loss)
            .reorder(thousandth(self.reorder))
            .reorder_by(Duration::from_micros(self.delay_us.max(1000)))
            .duplicate(thousandth(self.duplicate))
            .corrupt(thousandth(self.corrupt))
            .queue(queue);
        pipe.rate = self.kbit.map(Rate::kbit);
        pipe.mtu = self.mtu.unwrap_or(pipe.mtu);
        pipe.black_hole = self.black_hole;
        pipe
    }

    pub fn link(&self) -> Link {
        Link::asymmetric(self.pipe(), self.pipe())
    }
}

/// A client, and what it and the server do. Its number stays the same, and decides its bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    pub number: u32,
    pub from: u32,
    pub to: u32,
    pub at_ms: u64,
    pub ipv6: bool,
    pub app: App,
}

/// What client and server do. Sizes are bytes; up is what the client sends.
#[derive(Clone, Debug, PartialEq)]
pub enum App {
    /// Both send at once, shut down, and read to the end.
    Bulk { up: u32, down: u32 },
    /// The client sends all and shuts down; the server answers when it has read the end.
    HalfClose { up: u32, down: u32 },
    /// Requests and responses, one after the other.
    Requests { count: u32, up: u32, down: u32, pause_ms: u32 },
    /// Both send, until one has sent so many bytes that it aborts the connection.
    Abort { by_client: bool, after: u32, down: u32 },
    /// A byte each way, a long silence with keep-alive probes, and a byte each way again.
    Idle { secs: u32 },
    /// The server reads little, and seldom.
    Slow { up: u32, chunk: u32, pause_ms: u32 },
    /// Connections one after the other, with one request each.
    Short { count: u32, up: u32, down: u32 },
    /// Datagrams, which the server sends back. Some may be lost, or come twice.
    Datagrams { count: u32, len: u32, pause_ms: u32 },
}

/// Something that goes wrong for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    pub at_ms: u64,
    pub for_ms: u64,
    pub kind: FaultKind,
}

#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// A host's link loses everything.
    LinkDown {
        host: u32,
    },
    /// A host's link becomes another one.
    LinkChange {
        host: u32,
        link: LinkPlan,
    },
    /// These hosts cannot reach the others.
    Partition {
        side: Vec<u32>,
    },
    /// What one host sends does not reach another.
    Cut {
        from: u32,
        to: u32,
    },
    /// A host crashes, and starts again in the end.
    Crash {
        host: u32,
    },
    Freeze {
        host: u32,
    },
    /// A host's clock runs at another speed, in thousandths of the right one.
    ClockSpeed {
        host: u32,
        speed: u32,
    },
}

impl FaultKind {
    /// The hosts that it cannot be without.
    pub fn hosts(&self) -> Vec<u32> {
        match self {
            Self::LinkDown { host }
            | Self::LinkChange { host, .. }
            | Self::Crash { host }
            | Self::Freeze { host }
            | Self::ClockSpeed { host, .. } => vec![*host],
            Self::Partition { side } => side.clone(),
            Self::Cut { from, to } => vec![*from, *to],
        }
    }
}

impl Scenario {
    pub fn connection(&self, number: u32) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.number == number)
    }

    /// Whether the connection may end in an error: one of its hosts crashes; or its server answers with cookies, and
    /// so resets it if the handshake's last segment is lost and the data after it are not in order.
    pub fn may_die(&self, connection: &Connection) -> bool {
        let server = self.hosts.iter().find(|host| host.number == connection.to);
        if server.is_some_and(|server| server.config.always_cookies) {
            return true;
        }
        self.faults.iter().any(|fault| match fault.kind {
            FaultKind::Crash { host } => [connection.from, connection.to].contains(&host),
            _ => false,
        })
    }

    /// Whether the server may see the connection again after its end: a SYN with data that the network has repeated (RFC 7413 2.1).
    pub fn may_come_again(&self, connection: &Connection) -> bool {
        let is_fast = |number| self.hosts.iter().any(|host| host.number == number && host.config.fast_open);
        is_fast(connection.from) && is_fast(connection.to)
    }

    /// The routers that there are.
    pub fn routers(&self) -> BTreeSet<u32> {
        let trunks = self.trunks.iter().flat_map(|trunk| trunk.ends);
        trunks.chain(self.hosts.iter().map(|host| host.router)).collect()
    }
}
