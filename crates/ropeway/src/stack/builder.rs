//! How a stack is made.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use rand::TryRng;
use rand::rngs::SysRng;
use tokio::runtime::Handle;

use ropeway_core::{IpCidr, Stack as Core, StackConfig, Timestamp};

use super::current::Implicit;
use super::machine;
use super::{Resolver, Stack};
use crate::clock::{Clock, TimeSource};
use crate::device::cut::Cutting;
use crate::device::{Device, Nowhere};
use crate::driver::{Driver, Peers};
use crate::error::bad_setting;
use crate::shard::Shard;

/// The smallest MTU of IPv4 (RFC 791 3.2).
const MIN_MTU_V4: u16 = 68;
/// The smallest MTU of IPv6 (RFC 8200 5).
const MIN_MTU_V6: u16 = 1280;

/// Of one device.
type Queues = Vec<Box<dyn Device>>;

/// What a new [`Stack`] is to be. Made with [`Stack::builder`].
#[must_use = "nothing happens before `build`"]
pub struct Builder {
    config: StackConfig,
    addresses: Vec<IpCidr>,
    mtu: Option<u16>,
    seed: Option<[u8; 32]>,
    shards: NonZeroUsize,
    device: Option<Box<dyn Device>>,
    resolver: Option<Arc<Resolver>>,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            config: StackConfig::default(),
            addresses: Vec::new(),
            mtu: None,
            seed: None,
            shards: NonZeroUsize::MIN,
            device: None,
            resolver: None,
        }
    }

    /// Adds an address on the device; may be called several times. Without any, the stack has only the
    /// loopback addresses.
    pub fn address(mut self, address: IpCidr) -> Self {
        self.addresses.push(address);
        self
    }

    /// Sets the MTU in bytes, IP header included. The device's by default; no more than the device's.
    pub fn mtu(mut self, mtu: u16) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Sets what all that is random in the stack is drawn from: initial sequence numbers, ports, hash keys.
    /// With the same seed, the same clock and the same packets, a run can be replayed. The operating
    /// system's entropy by default, which is what anything but a test needs.
    pub fn seed(mut self, seed: [u8; 32]) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets how many tasks work for the stack at a time, each for its part of the connections and with a queue of the device of
    /// its own: for a runtime with several workers, and more traffic than one of them can move. One by default.
    ///
    /// There are no more than the device has queues, for which a TUN device is asked by `TunBuilder::queues`; a stack without a
    /// device has any number. A stream may be used from any task, whichever shard it belongs to, and a listener accepts from all;
    /// each shard keeps a backlog for it. All else that is counted or bounded is so for the stack as a whole.
    ///
    /// With the same seed, a run with several shards can be replayed only if the drivers run in the same order.
    pub fn shards(mut self, shards: NonZeroUsize) -> Self {
        self.shards = shards;
        self
    }

    /// Sets everything else. Its addresses are added to those given by [`address`](Self::address); its MTU
    /// and checksum offload are the device's.
    pub fn config(mut self, config: StackConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets the device. Without one, only the stack's own addresses can be reached.
    pub fn device(mut self, device: impl Device) -> Self {
        self.device = Some(Box::new(device));
        self
    }

    /// Sets what the stack's sockets ask for the addresses of a name, before they ask the operating system: a
    /// hosts file of the stack's own. Its error is final; `None` leaves the name to the operating system.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// use ropeway::{Stack, net::{TcpListener, TcpStream}};
    /// use std::net::Ipv4Addr;
    ///
    /// let stack = Stack::builder()
    ///     .resolver(|name| (name == "db").then(|| Ok(vec![Ipv4Addr::LOCALHOST.into()])))
    ///     .build()?;
    /// let _listener = TcpListener::bind_on(&stack, "db:5432").await?;
    /// let client = TcpStream::connect_on(&stack, "db:5432").await?;
    /// assert_eq!(client.peer_addr()?, "127.0.0.1:5432".parse().unwrap());
    /// # Ok(())
    /// # }
    /// ```
    pub fn resolver(
        mut self,
        resolver: impl Fn(&str) -> Option<io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Makes the stack, and spawns its driver on the current Tokio runtime.
    ///
    /// # Errors
    ///
    /// - [`Other`](io::ErrorKind::Other) outside of a Tokio runtime;
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) for an MTU that is more than the device's, or less
    ///   than 68 bytes (RFC 791 3.2), or less than 1280 bytes with an IPv6 address (RFC 8200 5); and for
    ///   `ephemeral_ports` without a port, or a `memory_budget` of less than 1 MiB;
    /// - that of the operating system, if it has no entropy.
    ///
    /// # Panics
    ///
    /// If the runtime was made without timers, as every call of `tokio::time` does.
    pub fn build(self) -> io::Result<Stack> {
        self.build_for(None)
    }

    pub(super) fn build_for(self, implicit: Option<Implicit>) -> io::Result<Stack> {
        let runtime = Handle::try_current().map_err(|_| {
            io::Error::other(
                "a stack runs on a Tokio runtime, and there is none here: build it inside one, or \
                 call Runtime::enter first",
            )
        })?;
        let (stack, drivers) = self.build_with_drivers(&runtime, implicit)?;
        for driver in drivers {
            runtime.spawn(driver);
        }
        Ok(stack)
    }

    /// Makes a stack whose drivers are still to be spawned, on the clock of `runtime`, which must be the current one.
    pub(crate) fn build_with_drivers(
        mut self,
        runtime: &Handle,
        mut implicit: Option<Implicit>,
    ) -> io::Result<(Stack, Vec<Driver>)> {
        let device_mtu = self.device_mtu();
        let resolver = self.resolver.clone();
        self.device = self.device.map(cutting_trains);
        // The driver yields to the tasks that it wakes before it does what is due.
        self.config.events_first = true;
        let clock = Clock::of_runtime(runtime.clone());
        let (cores, queues) = self.make(clock.now())?;
        let steering = cores.first().and_then(|core| core.steering().cloned());
        let shards: Box<[_]> =
            cores.into_iter().map(|core| Arc::new(Shard::new(core, clock.clone()))).collect();
        let drivers = shards.iter().zip(queues).enumerate().map(|(number, (shard, queue))| {
            let peers = steering.clone().map(|steering| Peers::new(steering, number, &shards));
            Driver::new(Arc::clone(shard), queue, peers, implicit.take())
        });
        let drivers = drivers.collect();
        Ok((Stack::new(shards, device_mtu, resolver), drivers))
    }

    /// Makes a core that has no driver: callers move its packets.
    pub(crate) fn build_undriven(self) -> io::Result<Arc<Shard>> {
        self.make_one(Clock::of_machine())
    }

    /// Makes the stack for an owner who runs it by hand, on a clock of its own. The device's capabilities
    /// count; nothing is sent or received through it, and it is dropped.
    pub(crate) fn build_manual(self, time: Arc<dyn TimeSource>) -> io::Result<(Stack, Arc<Shard>)> {
        let device_mtu = self.device_mtu();
        let resolver = self.resolver.clone();
        let shard = self.make_one(Clock::of_owner(time))?;
        Ok((Stack::new(Box::new([Arc::clone(&shard)]), device_mtu, resolver), shard))
    }

    fn make_one(mut self, clock: Clock) -> io::Result<Arc<Shard>> {
        self.shards = NonZeroUsize::MIN;
        let (mut cores, _) = self.make(clock.now())?;
        let core = cores.pop().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Shard::new(core, clock)))
    }

    /// What the device carries, if there is one.
    fn device_mtu(&self) -> Option<u16> {
        self.device.as_ref().map(|device| device.capabilities().mtu)
    }

    /// The core of each shard, and its queue of the device.
    fn make(self, now: Timestamp) -> io::Result<(Vec<Core>, Queues)> {
        let mut device = self.device.unwrap_or_else(|| Box::new(Nowhere));
        let capabilities = device.capabilities();
        if let Err(error) = device.set_offload(true) {
            tracing::warn!(%error, "the device gives us packets one by one");
        }
        let mut config = self.config;
        config.addresses.extend(self.addresses);
        config.mtu = self.mtu.unwrap_or(capabilities.mtu);
        config.tx_checksum_offload = capabilities.tx_checksum_offload;
        config.longest_train = capabilities.longest_train;
        check_mtu(&config, capabilities.mtu)?;
        check_ports(&config)?;
        check_budget(&config)?;
        if capabilities.of_machine {
            config.memory_budget = config.memory_budget.or_else(machine::budget);
        }
        let seed = self.seed.map_or_else(seed_from_system, Ok)?;
        let queues = split(device, self.shards)?;
        let shards = NonZeroUsize::new(queues.len()).unwrap_or(NonZeroUsize::MIN);
        let cores = Core::shards(Arc::new(config), seed, now, shards);
        Ok((cores, queues))
    }
}

/// A device that takes no trains gets one before it that cuts them.
fn cutting_trains(device: Box<dyn Device>) -> Box<dyn Device> {
    match device.capabilities().longest_train {
        0 => Box::new(Cutting::new(device)),
        _ => device,
    }
}

/// The queues of a device, no more than so many.
fn split(mut device: Box<dyn Device>, most: NonZeroUsize) -> io::Result<Queues> {
    let mut others = Vec::new();
    while others.len() + 1 < most.get() {
        let Some(queue) = device.another_queue()? else {
            tracing::warn!(
                queues = others.len() + 1,
                "the stack has no more shards than its device has queues"
            );
            break;
        };
        others.push(queue);
    }
    others.insert(0, device);
    Ok(others)
}

fn check_mtu(config: &StackConfig, of_device: u16) -> io::Result<()> {
    if config.mtu > of_device {
        return Err(bad_setting(
            "the MTU is more than the device's: leave mtu() out, or make the device with a larger one",
        ));
    }
    if config.mtu < MIN_MTU_V4 {
        return Err(bad_setting("the MTU is less than IPv4's minimum of 68 bytes"));
    }
    if config.mtu < MIN_MTU_V6 && config.addresses.iter().any(|own| own.address().is_ipv6()) {
        return Err(bad_setting("the MTU is less than IPv6's minimum of 1280 bytes"));
    }
    Ok(())
}

fn check_ports(config: &StackConfig) -> io::Result<()> {
    let ports = &config.ephemeral_ports;
    if *ports.end() == 0 || ports.is_empty() {
        return Err(bad_setting(
            "ephemeral_ports has no port to choose from: write a range such as 32768..=60999",
        ));
    }
    Ok(())
}

fn check_budget(config: &StackConfig) -> io::Result<()> {
    if config.memory_budget.is_some_and(|budget| budget < StackConfig::LEAST_MEMORY_BUDGET) {
        return Err(bad_setting("memory_budget is less than a stack can work with: 1 MiB at least"));
    }
    Ok(())
}

/// Other secrets for each stack (RFC 6528 3-3).
fn seed_from_system() -> io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(io::Error::other)?;
    Ok(seed)
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("addresses", &self.addresses)
            .field("mtu", &self.mtu)
            .field("seeded", &self.seed.is_some())
            .field("device", &self.device.is_some())
            .field("resolver", &self.resolver.is_some())
            .finish_non_exhaustive()
    }
}
