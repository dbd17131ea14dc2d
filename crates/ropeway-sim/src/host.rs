//! Hosts.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ropeway::{Stack, StackConfig};
use tokio::task::{AbortHandle, JoinError, JoinHandle};

use crate::link::Link;
use crate::net::{AsNode, Handle, LinkHandle, sealed};
use crate::tasks::{Ended, LifeToken, Scoped};
use crate::world::NodeId;

/// A computer in the simulated network: a name, addresses, and a TCP of its own.
///
/// This is a handle; clones of it name the same host. Code belongs to the host that runs it: sockets that it opens
/// without saying where, by `TcpStream::connect` and `TcpListener::bind`, are the host's, and so are those of the
/// tasks that it spawns by `tokio::spawn`.
///
/// # Examples
///
/// ```
/// use ropeway::net::{TcpListener, TcpStream};
/// use ropeway_sim::Net;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> std::io::Result<()> {
/// let net = Net::new();
/// let db = net.host("db");
/// db.spawn(async {
///     let listener = TcpListener::bind("0.0.0.0:5432").await?;
///     loop {
///         let (stream, _) = listener.accept().await?;
///         tokio::spawn(async move { drop(stream) }); // runs on `db`, too
///     }
///     # #[allow(unreachable_code)]
///     Ok::<(), std::io::Error>(())
/// });
/// let stream = net.host("web").run(TcpStream::connect("db:5432")).await?;
/// assert_eq!(stream.peer_addr()?.ip(), db.ip());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Host {
    handle: Arc<Handle>,
    id: NodeId,
    name: Arc<str>,
}

impl Host {
    pub(crate) fn new(handle: Arc<Handle>, id: NodeId, name: &str) -> Self {
        Self { handle, id, name: name.into() }
    }

    /// The name, by which other hosts find it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first address: the IPv4 one, unless the host has none.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.addresses().first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED.into())
    }

    /// The IPv6 address.
    #[must_use]
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        self.addresses().into_iter().find_map(|address| match address {
            IpAddr::V6(v6) => Some(v6),
            IpAddr::V4(_) => None,
        })
    }

    /// All addresses, without the loopback ones.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.handle.shared.world().node(self.id).addresses.clone()
    }

    /// The host's TCP/IP stack: for its counters, and for calls that name a stack.
    ///
    /// # Panics
    ///
    /// If the host is down.
    #[must_use]
    pub fn stack(&self) -> Stack {
        self.life("stack").stack.clone()
    }

    /// Runs `future` on this host, as part of the calling task.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let net = ropeway_sim::Net::new();
    /// let refused = net.host("a").run(async {
    ///     ropeway::net::TcpStream::connect("b:80").await.unwrap_err()
    /// });
    /// net.host("b");
    /// assert_eq!(refused.await.kind(), std::io::ErrorKind::ConnectionRefused);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the host is down, or crashes before the future has completed. To go on after a crash, use
    /// [`spawn`](Self::spawn).
    pub fn run<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let scoped = Scoped::new(Arc::clone(&self.handle.shared), self.life("run"), future);
        let name = Arc::clone(&self.name);
        async move {
            #[expect(clippy::panic, reason = "as said above")]
            scoped.await.unwrap_or_else(|Ended| panic!("the host {name:?} crashed while Host::run waited"))
        }
    }

    /// Runs `future` on this host, as a task. The task ends when the host crashes.
    ///
    /// # Panics
    ///
    /// If the host is down.
    pub fn spawn<F>(&self, future: F) -> HostTask<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let scoped = Scoped::new(Arc::clone(&self.handle.shared), self.life("spawn"), future);
        HostTask { task: tokio::spawn(scoped) }
    }

    /// The link to the host's neighbour that was made first: for most hosts, their only one.
    ///
    /// # Panics
    ///
    /// If the host has no link.
    #[must_use]
    pub fn link(&self) -> LinkHandle {
        let link = self.handle.shared.world().node(self.id).links.first().copied();
        #[expect(clippy::panic, reason = "as said above")]
        let id = link.unwrap_or_else(|| panic!("the host {:?} has no link", self.name));
        LinkHandle::new(Arc::clone(&self.handle), id)
    }

    fn life(&self, what: &str) -> Arc<LifeToken> {
        let mut world = self.handle.shared.world();
        let life = world.life_mut(self.id).map(|life| Arc::clone(&life.token));
        drop(world);
        #[expect(clippy::panic, reason = "as said where it is used")]
        life.unwrap_or_else(|| panic!("Host::{what}: the host {:?} is down", self.name))
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.name).finish_non_exhaustive()
    }
}

impl sealed::Node for Host {
    fn node(&self) -> sealed::Which {
        sealed::Which(self.id)
    }
}

/// A task on a host. Like a [`JoinHandle`], but the host may crash.
///
/// When it is dropped, the task goes on.
#[derive(Debug)]
pub struct HostTask<T> {
    task: JoinHandle<Result<T, Ended>>,
}

impl<T> HostTask<T> {
    /// Ends the task at its next `.await`.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// A handle that can only end the task.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        self.task.abort_handle()
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }
}

impl<T> Future for HostTask<T> {
    type Output = Result<T, TaskError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let task = Pin::new(&mut self.get_mut().task);
        Poll::Ready(match ready!(task.poll(cx)) {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(Ended)) => Err(TaskError::Crashed),
            Err(error) => Err(TaskError::Failed(error)),
        })
    }
}

/// Why a [`HostTask`] gave no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum TaskError {
    /// The host crashed.
    Crashed,
    /// The task panicked or was aborted.
    Failed(JoinError),
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crashed => f.write_str("the host crashed"),
            Self::Failed(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for TaskError {}

/// A host that is to be. Made by [`Net::add_host`](crate::Net::add_host).
#[must_use = "there is no host before `build`"]
pub struct HostBuilder {
    handle: Arc<Handle>,
    name: String,
    addresses: Vec<IpAddr>,
    links: Vec<(NodeId, Link)>,
    is_linked: bool,
    config: StackConfig,
}

impl HostBuilder {
    pub(crate) fn new(handle: Arc<Handle>, name: &str) -> Self {
        Self {
            handle,
            name: name.to_owned(),
            addresses: Vec::new(),
            links: Vec::new(),
            is_linked: true,
            config: StackConfig::default(),
        }
    }

    /// Gives the host an address; may be called several times. Without any, it gets one of each family.
    pub fn address(mut self, address: impl Into<IpAddr>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Links the host to another node; may be called several times. Without any, it is linked to the network's hub.
    /// [`Link::forth`] is the direction to the host.
    pub fn link(mut self, to: &impl AsNode, link: Link) -> Self {
        self.links.push((to.node().0, link));
        self
    }

    /// Leaves the host without any link, until [`Net::link`](crate::Net::link) makes one.
    pub fn unlinked(mut self) -> Self {
        self.is_linked = false;
        self
    }

    /// Changes the settings of the host's stack. Its MTU is that of the host's narrowest link.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> std::io::Result<()> {
    /// let net = ropeway_sim::Net::new();
    /// let host = net.add_host("db").config(|config| config.time_wait = std::time::Duration::ZERO).build();
    /// # let _ = host;
    /// # Ok(())
    /// # }
    /// ```
    pub fn config(mut self, change: impl FnOnce(&mut StackConfig)) -> Self {
        change(&mut self.config);
        self
    }

    /// Makes the host, and starts it.
    ///
    /// # Panics
    ///
    /// If the network has a node of that name or with one of the addresses, or the stack cannot be made: for
    /// instance, because an MTU is less than IPv6 allows.
    pub fn build(mut self) -> Host {
        let handle = self.handle;
        if self.links.is_empty() && self.is_linked {
            self.links.push((handle.hub(), handle.default_link.clone()));
        }
        let shared = &handle.shared;
        let mut world = shared.world();
        let mtus = self.links.iter().map(|(_, link)| link.forth.mtu.min(link.back.mtu));
        self.config.mtu = mtus.min().unwrap_or(self.config.mtu);
        if self.addresses.is_empty() {
            self.addresses = world.free_host_addresses().to_vec();
        }
        let id = world.add_host(&self.name, &self.addresses, self.config, &shared.time);
        for (to, link) in self.links {
            world.add_link([to, id], &link);
        }
        let booted = world.boot(id);
        drop(world);
        shared.wake_engine();
        #[expect(clippy::panic, reason = "as said above")]
        booted.unwrap_or_else(|error: io::Error| panic!("the host {:?}: {error}", self.name));
        Host::new(handle, id, &self.name)
    }
}

impl fmt::Debug for HostBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}
