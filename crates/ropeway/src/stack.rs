//! The handle of a stack, and how a program says which one its sockets use.

mod builder;
pub(crate) mod current;
mod machine;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::{AddAssign, RangeInclusive};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use ropeway_core::packet::Protocol;
use ropeway_core::{
    Counters, EchoPolicy, FastOpenKeys, IpCidr, MemoryUse, PortPolicy, SocketOptions, Stack as Core,
    StackConfig, TableSizes, UdpOptions,
};

pub use builder::Builder;
pub use current::{EnterGuard, FinderGuard, find_with};

use crate::divert::{Diversion, DivertOptions};
use crate::error;
use crate::net::tcp::AnyListener;
use crate::net::udp::AnyUdpSocket;
use crate::shard::{Shard, Source, is_quiescent};
use crate::wait::Wait;

/// A TCP/IP stack: addresses, connections, and the device that carries their packets.
///
/// This is a handle; clones of it name the same stack. Make one with [`Stack::builder`], then use it in one
/// of three ways: [`enter`](Self::enter) or [`scope`](Self::scope) it, [`install`](Self::install) it as the
/// process's default, or name it in calls such as
/// [`TcpStream::connect_on`](crate::net::TcpStream::connect_on). A program that does none of these gets the
/// [loopback of the process](#the-loopback-of-the-process), so that its tests on `127.0.0.1:0` run on ropeway as they
/// stand.
///
/// # Life
///
/// A stack that was built lives in a task, its driver, on the Tokio runtime it was built on.
///
/// - **The last handle is dropped** (sockets count as handles): connections that were closed and still have
///   something to send go on in the background; then the driver ends and drops the device. It does not wait
///   for TIME-WAIT.
/// - **The device fails**: every call that waits, and every later one, answers
///   [`NetworkDown`](io::ErrorKind::NetworkDown) with the device's error as [`StackEnded`]'s source.
/// - **The runtime shuts down**: likewise, with [`Other`](io::ErrorKind::Other). Sockets may be used and
///   dropped after it, and outside of any runtime; nothing hangs or panics. The peers are told at once, as far as
///   the device takes it: a FIN if they have acknowledged everything, otherwise what the windows allow, and a RST.
///   What was written and not acknowledged is lost: [`shutdown`](Self::shutdown) waits for it.
/// - **The process ends without its runtime**: `process::exit`, an abort, or `Runtime::shutdown_background`
///   may skip all of that, and the peers are told nothing.
///
/// # The loopback of the process
///
/// Sockets that name no stack, where none is entered or installed, are on a stack with nothing but the loopback
/// addresses. There is one in a process, as the kernel has one: a server on a thread with a runtime of its own and a
/// client elsewhere find each other.
///
/// - **It has no driver and needs no runtime.** Each call does its own work: when a write returns, the bytes are in the
///   receiver's buffer, and its task has been woken. A thread of its own sleeps until a timer is due. Both keep no
///   process from ending.
/// - **Sockets belong to the runtime that they were made in**, as tokio's do: when it is gone, whoever waits for them
///   gets the error of a runtime that has shut down (`tokio::runtime::is_rt_shutdown_err`). A socket that was made
///   outside of any runtime can be waited for with any executor.
/// - **Its time is the machine's.** A runtime whose clock is paused (`#[tokio::test(start_paused = true)]`) when it makes
///   its first such socket gets a loopback of its own instead, on its own clock, that nobody else reaches; it ends with
///   the runtime. Do not call `tokio::time::pause` after that first socket: the sockets stay on the machine's time,
///   over which the paused clock jumps. A warning in the log says so.
/// - **Fixed ports collide**, also between tests that run at the same time in one process, as with the kernel. Use port
///   0, or a stack of the test's own:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// use ropeway::{Stack, net::{TcpListener, TcpStream}};
///
/// let stack = Stack::loopback()?; // with a driver on this runtime
/// stack.scope(async {
///     let listener = TcpListener::bind("127.0.0.1:8080").await?;
///     let (_client, _server) = (TcpStream::connect("127.0.0.1:8080").await?, listener.accept().await?);
///     std::io::Result::Ok(())
/// }).await?;
/// # Ok(())
/// # }
/// ```
///
/// What is changed on it ([`add_address`](Self::add_address), [`set_port_policy`](Self::set_port_policy)) is changed for
/// the whole process, and so is what it counts.
///
/// # Examples
///
/// Two stacks on one cable:
///
/// ```
/// use ropeway::device::memory;
/// use ropeway::net::{TcpListener, TcpStream};
/// use ropeway::Stack;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (left, right) = memory::pair(1500);
/// let left = Stack::builder().address("10.0.0.1/24".parse()?).device(left).build()?;
/// let right = Stack::builder().address("10.0.0.2/24".parse()?).device(right).build()?;
///
/// let listener = TcpListener::bind_on(&right, "10.0.0.2:80").await?;
/// let mut client = TcpStream::connect_on(&left, "10.0.0.2:80").await?;
/// let (mut server, peer) = listener.accept().await?;
/// assert_eq!(peer, client.local_addr()?);
///
/// client.write_all(b"on belay").await?;
/// let mut buf = [0; 8];
/// server.read_exact(&mut buf).await?;
/// assert_eq!(&buf, b"on belay");
/// # Ok(())
/// # }
/// ```
///
/// [`StackEnded`]: crate::StackEnded
#[derive(Clone)]
pub struct Stack {
    inner: Arc<Inner>,
}

/// What all handles share.
struct Inner {
    /// One for each queue of the device.
    shards: Box<[Arc<Shard>]>,
    /// Counts the connections that were opened, of which each shard gets its part.
    opened: AtomicUsize,
    /// The largest packet that the device carries, if there is one.
    device_mtu: Option<u16>,
    /// Knows names that the operating system does not.
    resolver: Option<AssertUnwindSafe<Arc<Resolver>>>,
}

/// Answers a name with its addresses or an error; `None` leaves it to the operating system.
pub(crate) type Resolver = dyn Fn(&str) -> Option<io::Result<Vec<IpAddr>>> + Send + Sync;

impl Drop for Inner {
    fn drop(&mut self) {
        self.shards.iter().for_each(|shard| shard.retire());
    }
}

impl Stack {
    /// Begins a new stack.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// A new stack on the current Tokio runtime that has nothing but the loopback addresses, 127.0.0.0/8 and
    /// ::1, and needs no device.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::build`].
    pub fn loopback() -> io::Result<Self> {
        Self::builder().build()
    }

    /// Makes this stack the current one of this thread until the guard is dropped.
    ///
    /// A guard must not be held across an `.await`: the task may go on in another thread. Use
    /// [`scope`](Self::scope) there.
    #[must_use = "the stack is left when the guard is dropped"]
    pub fn enter(&self) -> EnterGuard {
        EnterGuard::new(self.clone())
    }

    /// Runs `future` with this stack as the current one, in whichever thread it is polled.
    ///
    /// Tasks that it spawns are not part of the scope.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// use ropeway::{Stack, net::TcpListener};
    ///
    /// let stack = Stack::loopback()?;
    /// let listener = stack.scope(TcpListener::bind("127.0.0.1:80")).await?;
    /// assert_eq!(listener.local_addr()?.port(), 80);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn scope<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            let _entered = self.enter();
            future.as_mut().poll(cx)
        })
        .await
    }

    /// Makes this stack the default of the whole process, for all threads that have not entered one.
    ///
    /// # Errors
    ///
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if another stack is installed and still runs.
    pub fn install(&self) -> io::Result<()> {
        current::install(self)
    }

    /// The stack that sockets use which do not name one: the entered one, or else the installed one, or else
    /// the loopback of the process, or of a runtime whose clock is paused, if a socket of this runtime has needed it
    /// before.
    #[must_use]
    pub fn current() -> Option<Self> {
        current::get()
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.sum(|core| core.counters().clone())
    }

    /// How many entries each table holds at this moment.
    #[must_use]
    pub fn sizes(&self) -> TableSizes {
        self.sum(Core::sizes)
    }

    /// What the stack holds in memory at this moment, by kind. It costs nothing to ask.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        self.sum(Core::memory)
    }

    /// The addresses on the device. The loopback addresses, which every stack has, are not among them.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpCidr> {
        self.shard().look(|core, _| core.addresses().to_vec())
    }

    /// Adds an address.
    ///
    /// # Errors
    ///
    /// If the stack has ended.
    pub fn add_address(&self, address: IpCidr) -> io::Result<()> {
        self.change_each(|core| core.add_address(address))
    }

    /// Removes an address. Nothing happens if it is not there. Connections from it stay, and get no answer.
    ///
    /// # Errors
    ///
    /// If the stack has ended.
    pub fn remove_address(&self, address: IpAddr) -> io::Result<()> {
        self.change_each(|core| core.remove_address(address))
    }

    /// The MTU of the path to `remote` as far as known, in bytes (RFC 1191, RFC 8201).
    #[must_use]
    pub fn path_mtu(&self, remote: IpAddr) -> u16 {
        // Each shard learns by its own flows.
        let known = self.shards().iter().map(|shard| shard.look(|core, _| core.path_mtu(remote)));
        known.min().unwrap_or_default()
    }

    /// Tells that packets of `mtu` bytes pass towards `remote`, IP header included: a route's `mtu` on Linux. Connections
    /// begin with that from then on, and find out whether more passes if
    /// [`mtu_probing`](StackConfig::mtu_probing) is on. It is believed like what probes have found (RFC 4821): at least 552
    /// bytes, or 1280 for IPv6, for ten minutes, and for ten more as what to begin with. Connections that exist go on.
    ///
    /// # Errors
    ///
    /// If the stack has ended.
    pub fn set_path_mtu(&self, remote: IpAddr, mtu: u16) -> io::Result<()> {
        self.change_each(|core| core.set_path_mtu(remote, mtu))
    }

    /// Tells that packets of `mtu` bytes may be used from now on, of which [`Builder::mtu`] has allowed less; what is not more
    /// than now is ignored. New connections announce it, and those that exist use it as far as the peer has announced it and
    /// they look for the MTU of their path ([`mtu_probing`](StackConfig::mtu_probing)).
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the device does not carry such packets, or there is none. An error
    /// too if the stack has ended.
    pub fn raise_mtu(&self, mtu: u16) -> io::Result<()> {
        if self.inner.device_mtu.is_none_or(|device| mtu > device) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the MTU is more than the device's"));
        }
        self.change_each(|core| core.raise_mtu(mtu))
    }

    /// The settings of the stack: what it was built with, and what was changed since.
    #[must_use]
    pub fn config(&self) -> StackConfig {
        self.shard().look(|core, _| core.config().clone())
    }

    /// The keys of the cookies that the stack gives to clients of Fast Open (RFC 7413). By default there is one, from the
    /// stack's seed.
    #[must_use]
    pub fn fastopen_keys(&self) -> FastOpenKeys {
        self.shard().look(|core, _| core.fast_open_keys())
    }

    /// Sets the keys of the cookies that the stack gives to clients of Fast Open (`TCP_FASTOPEN_KEY`). Stacks that share an
    /// address must have equal ones. A server should change its key now and then, by [`FastOpenKeys::rotate`] (RFC 7413 4.1.2).
    ///
    /// # Errors
    ///
    /// If the stack has ended.
    pub fn set_fastopen_keys(&self, keys: FastOpenKeys) -> io::Result<()> {
        self.change_each(|core| core.set_fast_open_keys(keys))
    }

    /// Takes connections to any address and port that no other listener has, each decided on before it is
    /// answered. One more than `backlog` may wait for the decision, and as many to be taken up after it.
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if the stack has such a listener already.
    pub fn listen_any(&self, backlog: usize) -> io::Result<AnyListener> {
        AnyListener::new(self.clone(), backlog)
    }

    /// Takes datagrams to any address and port that no UDP socket has; answers leave from there.
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if the stack has such a socket already.
    pub fn listen_any_udp(&self) -> io::Result<AnyUdpSocket> {
        AnyUdpSocket::new(self)
    }

    /// Takes packets that no connection, no socket, no listener and no [rule](Self::set_port_policy) takes, whole: also those for
    /// addresses that are not the stack's. While it is there, nobody answers them.
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if packets are diverted already; if the stack has ended.
    pub fn divert(&self, options: DivertOptions) -> io::Result<Diversion> {
        Diversion::new(self, &options)
    }

    /// Sets what becomes of ICMP echo requests to the stack's addresses: they are answered, dropped, or
    /// [diverted](Self::divert), so that the program can decide for each. It begins as [`StackConfig::echo`].
    ///
    /// # Errors
    ///
    /// If the stack has ended.
    pub fn set_echo_policy(&self, policy: EchoPolicy) -> io::Result<()> {
        self.change_each(|core| core.set_echo_policy(policy))
    }

    /// Sets what ports say to packets that belong to no connection; the newest rule for a port counts. A port
    /// scan can see all three answers: open, closed, filtered.
    ///
    /// # Errors
    ///
    /// If the stack has ended.
    pub fn set_port_policy(
        &self,
        protocol: Protocol,
        ports: RangeInclusive<u16>,
        policy: PortPolicy,
    ) -> io::Result<()> {
        self.change_each(|core| core.set_port_policy(protocol, ports.clone(), policy))
    }

    /// Waits until no connection is left: neither one that a socket holds, nor one that was closed and is
    /// still sending in the background, nor a half-open one. TIME-WAIT does not count. On the loopback of the process,
    /// that includes everybody's.
    ///
    /// # Errors
    ///
    /// If the stack ends before that: its device failed, or its runtime was shut down.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it only looks.
    pub async fn closed(&self) -> io::Result<()> {
        for shard in &self.inner.shards {
            let attempt = |core: &mut Core, _| {
                if is_quiescent(core) { Poll::Ready(Ok(())) } else { Poll::Pending }
            };
            Wait::new(shard, Source::Quiescence, attempt).await?;
        }
        Ok(())
    }

    /// Shuts the stack down in good order: each connection is shut down for writing, no new one is opened or taken,
    /// and this returns when the peers' TCP has acknowledged all that was written, FIN included. A peer that keeps its
    /// own half open is not waited for; what it sends can still be read.
    ///
    /// A program that writes and returns from `main` without this loses what its peers have not acknowledged: with
    /// the runtime goes everything that could send it again. (They get a RST then, and the log a warning.) This is
    /// the only promise of delivery there is.
    ///
    /// # Errors
    ///
    /// - [`TimedOut`](io::ErrorKind::TimedOut) after `deadline`, counted from now. What is left is sent in the
    ///   background as long as the stack lives.
    /// - [`ConnectionReset`](io::ErrorKind::ConnectionReset) if all is over, but connections were reset or given up on
    ///   the way with data that was not acknowledged.
    /// - [`Unsupported`](io::ErrorKind::Unsupported) for the loopback of the process, which belongs to all of it. Both
    ///   ends of its connections are here, and what is written has arrived.
    /// - That of the stack, if it ends before that: its device failed, or its runtime was shut down.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime with timers.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped has begun the shutdown; another call waits for its end.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use ropeway::{Stack, device::memory, net::{TcpListener, TcpStream}};
    /// # use tokio::io::{AsyncReadExt, AsyncWriteExt};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let (left, right) = memory::pair(1500);
    /// # let stack = Stack::builder().address("10.0.0.1/24".parse()?).device(left).build()?;
    /// # let other = Stack::builder().address("10.0.0.2/24".parse()?).device(right).build()?;
    /// # let listener = TcpListener::bind_on(&other, "10.0.0.2:80").await?;
    /// # let mut stream = TcpStream::connect_on(&stack, "10.0.0.2:80").await?;
    /// # let (mut peer, _) = listener.accept().await?;
    /// # let reads = tokio::spawn(async move { peer.read_to_end(&mut Vec::new()).await });
    /// stream.write_all(&[7; 300_000]).await?;
    /// drop(stream);
    /// stack.shutdown(Duration::from_secs(10)).await?; // they have arrived
    /// # assert_eq!(reads.await??, 300_000);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown(&self, deadline: Duration) -> io::Result<()> {
        if self.shard().is_shared() {
            return Err(error::everyones());
        }
        let lost_before = self.counters().bytes_lost;
        let delivered = async {
            for shard in &self.inner.shards {
                shard.change(Core::shut_down)?;
            }
            for shard in &self.inner.shards {
                let attempt = |core: &mut Core, _| match core.undelivered() {
                    0 => Poll::Ready(Ok(())),
                    _ => Poll::Pending,
                };
                Wait::new(shard, Source::Quiescence, attempt).await?;
            }
            io::Result::Ok(())
        };
        match tokio::time::timeout(deadline, delivered).await {
            Ok(result) => result?,
            Err(_) => return Err(error::not_delivered(self.sum(Core::undelivered))),
        }
        match self.counters().bytes_lost - lost_before {
            0 => Ok(()),
            bytes => Err(error::lost(bytes)),
        }
    }

    /// The current stack; a loopback if there is none.
    pub(crate) fn current_or_loopback() -> io::Result<Self> {
        current::get_or_loopback()
    }

    /// The first shard, which knows all that the others do about the stack as a whole.
    pub(crate) fn shard(&self) -> &Arc<Shard> {
        #[expect(clippy::indexing_slicing, reason = "the builder makes one")]
        &self.inner.shards[0]
    }

    pub(crate) fn shards(&self) -> &[Arc<Shard>] {
        &self.inner.shards
    }

    /// The number of the shard that opens a connection to `remote`: that of the flow if the local port is known, otherwise each in
    /// its turn.
    pub(crate) fn shard_to_connect(
        &self,
        local: Option<SocketAddr>,
        remote: SocketAddr,
    ) -> io::Result<usize> {
        if self.shards().len() == 1 {
            return Ok(0);
        }
        let of_flow = |local| self.shard().look(|core, _| core.shard_to_connect(local, remote));
        let number = local.map(of_flow).transpose().map_err(|error| error::connect(error, remote))?;
        Ok(number
            .flatten()
            .unwrap_or_else(|| self.inner.opened.fetch_add(1, Ordering::Relaxed) % self.shards().len()))
    }

    /// The shard of that number.
    pub(crate) fn numbered(&self, number: usize) -> Arc<Shard> {
        Arc::clone(self.shards().get(number).unwrap_or_else(|| self.shard()))
    }

    /// Adds up what the shards say.
    fn sum<T: AddAssign>(&self, look: impl Fn(&Core) -> T) -> T {
        let mut sum = self.shard().look(|core, _| look(core));
        for shard in self.shards().iter().skip(1) {
            sum += shard.look(|core, _| look(core));
        }
        sum
    }

    /// Changes each shard.
    fn change_each(&self, change: impl Fn(&mut Core)) -> io::Result<()> {
        self.shards().iter().try_for_each(|shard| shard.change(|core, _| change(core)))
    }

    /// What a new socket starts with.
    pub(crate) fn default_options(&self) -> SocketOptions {
        self.shard().look(|core, _| core.config().socket.clone())
    }

    /// Likewise, a UDP socket.
    pub(crate) fn default_udp_options(&self) -> UdpOptions {
        self.shard().look(|core, _| core.udp_default_options())
    }

    /// Whether packets to `remote` could go anywhere.
    pub(crate) fn reaches(&self, remote: SocketAddr) -> bool {
        let ip = remote.ip().to_canonical();
        self.inner.device_mtu.is_some()
            || ip.is_loopback()
            || ip.is_unspecified()
            || self.addresses().iter().any(|own| own.address() == ip)
    }

    /// Whether the driver is gone.
    pub(crate) fn has_ended(&self) -> bool {
        self.inner.shards.iter().any(|shard| shard.has_ended())
    }

    /// What the stack's own resolver says about a name, if it has one.
    pub(crate) fn resolve(&self, name: &str) -> Option<io::Result<Vec<IpAddr>>> {
        self.inner.resolver.as_ref().and_then(|resolver| resolver(name))
    }

    fn new(shards: Box<[Arc<Shard>]>, device_mtu: Option<u16>, resolver: Option<Arc<Resolver>>) -> Self {
        let resolver = resolver.map(AssertUnwindSafe);
        Self { inner: Arc::new(Inner { shards, opened: AtomicUsize::new(0), device_mtu, resolver }) }
    }
}

impl PartialEq for Stack {
    /// Whether the two handles name the same stack.
    fn eq(&self, other: &Self) -> bool {
        self.shard().is_same(other.shard())
    }
}

impl Eq for Stack {}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("addresses", &self.addresses())
            .field("sizes", &self.sizes())
            .field("ended", &self.has_ended())
            .finish_non_exhaustive()
    }
}
