//! The door: [`Stack`], which owns the rooms and delegates to them.

mod batch;
mod calls;
mod datagrams;
mod divert;
mod ending;
mod fast_open;
mod fragments;
mod icmp;
mod incoming;
mod input;
mod open;
mod outbox;
mod output;
mod ports;
mod ready;
mod reclaim;
mod scan;
mod settle;
mod shards;
mod syn;
mod udp;

use std::net::{IpAddr, SocketAddr};
use std::ops::{AddAssign, RangeInclusive};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ropeway_packet::{FourTuple, Protocol};

use self::batch::Batch;
use self::ending::Farewell;
use self::outbox::Outbox;
use self::ports::Ports;
use self::reclaim::Reclaim;
use self::shards::Host;
use crate::config::{IpCidr, StackConfig};
use crate::deadlines::DeadlineQueue;
use crate::demux::{Demux, Rooms};
use crate::divert::Diverted;
use crate::event::ListenerId;
use crate::icmp::{EchoReplies, ErrorLimits};
use crate::ip::addresses::LocalAddresses;
use crate::ip::identification::Identifications;
use crate::ip::path_mtu::PathMtuCache;
use crate::ip::reassembly::Fragments;
use crate::ledger::{Ledger, MemoryUse, reserve};
use crate::options::{SharedOptions, SocketOptions};
use crate::policy::{EchoPolicy, PacketPolicy, PortPolicy};
use crate::ports::choice::PortSelector;
use crate::ports::{PortTable, Sharing};
use crate::queue::PagedQueue;
use crate::slab::{Key, Slab};
use crate::stats::Counters;
use crate::tcp::connection::Handed;
use crate::tcp::fast_open::Knowledge;
use crate::tcp::fast_open::black_hole::BlackHole;
use crate::tcp::fast_open::cache::CookieCache;
use crate::tcp::fast_open::keys::FastOpenKeys;
use crate::tcp::isn::IsnGenerator;
use crate::tcp::listen::Listeners;
use crate::tcp::listen::accept_queue::AcceptQueue;
use crate::tcp::listen::half_open::HalfOpenTable;
use crate::tcp::listen::syn_cookie::SynCookies;
use crate::tcp::sender::spares::Spares;
use crate::tcp::time_wait::TimeWaitTable;
use crate::time::Timestamp;
use crate::udp::Sockets;

/// An address that was bound and is not in use yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BindingId {
    index: u32,
    generation: u32,
}

#[derive(Clone, Debug)]
struct Binding {
    local: SocketAddr,
    sharing: Sharing,
}

/// How many entries the tables of a stack have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableSizes {
    /// Connections that exist in full, those nobody holds any more included.
    pub connections: usize,
    /// Those of them that were closed, that nobody holds any more, and that have yet to end.
    pub orphans: usize,
    /// Passive handshakes that wait for their third segment.
    pub half_open: usize,
    /// Tuples in TIME-WAIT.
    pub time_wait: usize,
    /// Listeners.
    pub listeners: usize,
    /// Addresses that are bound and not in use yet.
    pub bindings: usize,
    /// UDP sockets.
    pub udp_sockets: usize,
}

impl AddAssign for TableSizes {
    /// Adds those of another [shard](Stack::shards). Listeners, bindings and UDP sockets are the same in each.
    fn add_assign(&mut self, other: Self) {
        let Self { connections, orphans, half_open, time_wait, listeners: _, bindings: _, udp_sockets: _ } =
            other;
        self.connections += connections;
        self.orphans += orphans;
        self.half_open += half_open;
        self.time_wait += time_wait;
    }
}

/// A TCP/IP stack that neither reads a clock nor moves a packet by itself.
///
/// Its owner calls, in this order and as often as there is something to do:
///
/// 1. [`handle_packet`](Self::handle_packet) for every packet that is there. All input that is queued goes in
///    before anything is sent, so that acknowledgements are aggregated (RFC 9293 3.10.7.4 MUST-58, MUST-59);
/// 2. [`handle_timeout`](Self::handle_timeout) if [`poll_timeout`](Self::poll_timeout) has passed. What came in time
///    counts first, although its owner was late;
/// 3. [`poll_transmit`](Self::poll_transmit) until it says `None`;
/// 4. [`poll_event`](Self::poll_event) until it says `None`;
/// 5. and sleeps until a packet, a call of the application, or `poll_timeout`.
///
/// `now` never goes back. The seed decides every random choice: two stacks with equal seeds and inputs give
/// equal outputs, and a stack whose seed is known to an attacker is open to attacks on its sequence numbers.
#[derive(Debug)]
#[cfg_attr(feature = "model", derive(Clone))]
pub struct Stack {
    config: Arc<StackConfig>,
    /// The host that this is a shard of, if there are others.
    host: Option<Box<Host>>,
    shared_options: SharedOptions,
    counters: Counters,
    ledger: Ledger,
    addresses: LocalAddresses,
    path_mtu: PathMtuCache,
    fragments: Fragments,
    identifications: Identifications,
    isn: IsnGenerator,
    cookies: SynCookies,
    fast_open: Knowledge,
    policy: PacketPolicy,
    echo: EchoPolicy,
    /// None as long as the program does not ask for what nobody takes.
    diverted: Option<Box<Diverted>>,
    ports: Ports,
    demux: Demux,
    rooms: Rooms,
    listeners: Listeners,
    bindings: Slab<Binding>,
    udp: Sockets,
    deadlines: DeadlineQueue,
    /// Connections of which something is due at once: they need no place among the deadlines.
    due: PagedQueue<Key>,
    /// Likewise, where events come first, but that an answer may take along: the application is told before.
    unanswered: PagedQueue<Key>,
    /// So many of these, the first ones, were there when last all events had been taken.
    told: usize,
    outbox: Outbox,
    /// None as long as there was no batch of several packets.
    batch: Option<Box<Batch>>,
    spares: Spares,
    handed: Handed,
    /// The accept queues of closed listeners: the connections in them are to be reset.
    unaccepted: PagedQueue<AcceptQueue>,
    /// Connections and listeners that have news.
    event_queue: PagedQueue<Noticed>,
    icmp_errors: ErrorLimits,
    echo_replies: EchoReplies,
    /// No connection is opened or taken any more.
    shut_down: bool,
    /// What the connections are being told, some at a time.
    farewell: Option<Farewell>,
    /// Connections with something that the peer has not acknowledged.
    undelivered: usize,
    /// Connections that nobody holds any more, and that are not over.
    orphans: usize,
    reclaim: Reclaim,
    /// Connections may have local addresses that are not ours, since `listen_any` was called.
    any_address: bool,
    /// The last moment seen.
    now: Timestamp,
}

/// Who has news.
#[derive(Clone, Copy, Debug)]
enum Noticed {
    Connection(Key),
    Listener(ListenerId),
    Incoming(ListenerId),
    Settled(ListenerId, FourTuple),
    Udp(Key),
    Diverted,
}

impl Stack {
    /// A stack with the addresses and settings of `config`.
    #[must_use]
    pub fn new(config: Arc<StackConfig>, seed: [u8; 32], now: Timestamp) -> Self {
        let mut config = Arc::unwrap_or_clone(config);
        config.normalize();
        let config = Arc::new(config);
        let mut rng = StdRng::from_seed(seed);
        let mut key = || key_of(&mut rng);
        let (isn_key, timestamp_key, label_key) = (key(), key(), key());
        let (port_key, cookie_key) = (key(), key());
        let demux = Demux::new(key());
        let rooms = Rooms {
            connections: Slab::new(),
            half_open: HalfOpenTable::new(
                config.synack_retries,
                config.initial_rto,
                config.max_rto,
                config.decision_timeout,
                key(),
            ),
            time_wait: TimeWaitTable::new(config.time_wait),
        };
        Self {
            host: None,
            shared_options: SharedOptions::new(config.socket.clone()),
            counters: Counters::default(),
            addresses: LocalAddresses::new(config.addresses.clone()),
            path_mtu: PathMtuCache::default(),
            cookies: SynCookies::new(cookie_key),
            policy: PacketPolicy::default(),
            echo: config.echo,
            diverted: None,
            shut_down: false,
            farewell: None,
            undelivered: 0,
            orphans: 0,
            reclaim: Reclaim::default(),
            any_address: false,
            isn: IsnGenerator::new(isn_key, timestamp_key, label_key),
            ports: Ports {
                selector: PortSelector::new(port_key, rng.next_u32()),
                tcp: PortTable::new(key_of(&mut rng)),
                udp: PortTable::new(key_of(&mut rng)),
            },
            demux,
            rooms,
            listeners: Listeners::new(),
            bindings: Slab::new(),
            udp: Sockets::new(key_of(&mut rng)),
            deadlines: DeadlineQueue::default(),
            due: PagedQueue::default(),
            unanswered: PagedQueue::default(),
            told: 0,
            outbox: Outbox::new(config.tx_checksum_offload),
            batch: None,
            spares: Spares::new(config.budget()),
            handed: Handed::default(),
            unaccepted: PagedQueue::default(),
            event_queue: PagedQueue::default(),
            icmp_errors: ErrorLimits::new(config.icmp_errors_per_second, config.icmp_errors_per_source),
            echo_replies: EchoReplies::default(),
            ledger: Ledger::new(config.budget(), reserve(&config), key_of(&mut rng)),
            fast_open: Knowledge {
                keys: FastOpenKeys::new(key_of(&mut rng)),
                cookies: CookieCache::new(config.max_fast_open_cookies),
                black_hole: BlackHole::default(),
            },
            fragments: Fragments::default(),
            identifications: Identifications::new(key_of(&mut rng)),
            now,
            config,
        }
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &StackConfig {
        self.host_config()
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How full the tables are. When all is closed and TIME-WAIT is over, only listeners are left.
    #[must_use]
    pub fn sizes(&self) -> TableSizes {
        TableSizes {
            connections: self.rooms.connections.len(),
            orphans: self.orphans,
            half_open: self.rooms.half_open.len() - self.listeners.forsaken(),
            time_wait: self.rooms.time_wait.len(),
            listeners: self.listeners.len(),
            bindings: self.bindings.len(),
            udp_sockets: self.udp.len(),
        }
    }

    /// What is held in memory at this moment, by kind.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        self.ledger.memory()
    }

    /// Tells how much memory the device keeps to read packets to ([`PacketPool::capacity`](crate::PacketPool::capacity)). It
    /// counts as held.
    pub fn set_slabs(&mut self, bytes: usize) {
        self.ledger.set_slabs(bytes);
    }

    /// Tells how much memory the tasks take that wait for connections and listeners: their wakers, and where these are kept. It
    /// counts as held.
    pub fn set_waiters(&mut self, bytes: usize) {
        self.ledger.set_waiters(bytes);
    }

    /// Our addresses on the device; the loopback addresses are not listed.
    #[must_use]
    pub fn addresses(&self) -> &[IpCidr] {
        self.addresses.list()
    }

    /// Adds an address of ours, or changes its prefix length.
    pub fn add_address(&mut self, address: IpCidr) {
        self.addresses.add(address);
    }

    /// Takes an address of ours away. Connections from it get no packets any more, and time out.
    pub fn remove_address(&mut self, address: IpAddr) {
        self.addresses.remove(address.to_canonical());
    }

    /// Sets what ports say to packets that belong to no connection: the newest rule for a port counts.
    /// Connections that exist are not touched.
    pub fn set_port_policy(&mut self, protocol: Protocol, ports: RangeInclusive<u16>, policy: PortPolicy) {
        self.policy.set(protocol, ports, policy);
    }

    /// The MTU towards `remote`, as far as known: the device's, what a router said (RFC 1191, RFC 8201), or what probes have
    /// found to pass (RFC 4821).
    #[must_use]
    pub fn path_mtu(&self, remote: IpAddr) -> u16 {
        let remote = remote.to_canonical();
        let device = self.device_mtu(remote);
        self.path_mtu.get(remote, self.now).map_or(device, |known| known.mtu.min(device))
    }

    /// Tells that packets of `mtu` bytes pass towards `remote`: connections begin with that, whatever the device takes, and
    /// where [`StackConfig::mtu_probing`] is on they find out whether more passes. It is believed like what probes have
    /// found: at least 552 bytes, or 1280 for IPv6, for ten minutes, and for ten more as what to begin with.
    pub fn set_path_mtu(&mut self, remote: IpAddr, mtu: u16) {
        self.path_mtu.prove(remote.to_canonical(), mtu, u16::MAX, self.now);
    }

    /// Tells that the device takes larger packets from now on; less than before is ignored. New connections use it, and so do
    /// those that look for the MTU of their path.
    pub fn raise_mtu(&mut self, mtu: u16) {
        if mtu > self.config.mtu {
            Arc::make_mut(&mut self.config).mtu = mtu;
        }
    }

    /// What a packet to or from `remote` may measure on its first hop.
    fn device_mtu(&self, remote: IpAddr) -> u16 {
        if self.addresses.is_local(remote) { LOOPBACK_MTU } else { self.config.mtu }
    }

    /// Time has come this far. It may have jumped: a process that was stopped, a virtual machine, a clock that counts
    /// sleep, a test's.
    #[inline]
    fn clock_is(&mut self, now: Timestamp) {
        // Of many calls at one moment only the first has anything to do.
        if now > self.now {
            self.clock_moves(now);
        }
    }

    fn clock_moves(&mut self, now: Timestamp) {
        let by = now.since(self.now);
        self.rooms.half_open.clock_jumps(by);
        self.rooms.time_wait.clock_jumps(by);
        self.now = now;
    }

    fn default_options(&self) -> &SocketOptions {
        &self.config.socket
    }
}

fn key_of(rng: &mut StdRng) -> [u8; 16] {
    let mut key = [0; 16];
    rng.fill_bytes(&mut key);
    key
}

/// The largest IPv4 packet there is.
const LOOPBACK_MTU: u16 = u16::MAX;
