//! Hosts.

mod builder;
mod faults;
mod task;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::panic::Location;
use std::sync::Arc;

use ropeway::Stack;

pub use self::builder::HostBuilder;
pub use self::task::{BootTask, HostTask, TaskError};
use crate::net::{Handle, LinkHandle, sealed};
use crate::tasks::{Ended, Job, Judge, Kind, LifeToken, Scoped, error_of};
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
/// let db = net.add_host("db").build();
/// db.spawn(async {
///     let listener = TcpListener::bind("0.0.0.0:5432").await?;
///     loop {
///         let (stream, _) = listener.accept().await?;
///         tokio::spawn(async move { drop(stream) }); // runs on `db`, too
///     }
///     # #[allow(unreachable_code)]
///     Ok::<(), std::io::Error>(())
/// });
/// let stream = net.add_host("web").build().run(TcpStream::connect("db:5432")).await?;
/// assert_eq!(stream.peer_addr()?.ip(), db.ip());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Host {
    pub(crate) handle: Arc<Handle>,
    pub(crate) id: NodeId,
    name: Arc<str>,
}

impl Host {
    pub(crate) fn new(handle: Arc<Handle>, id: NodeId, name: &str) -> Self {
        Self { handle, id, name: name.into() }
    }

    /// The host that the running task belongs to: for code that hands work to tasks that belong to none, such as
    /// those that an HTTP/2 server spawns for each request.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use ropeway_sim::{Host, Net};
    ///
    /// let net = Net::new();
    /// let host = net.add_host("web").build().run(async { Host::current().unwrap() }).await;
    /// assert_eq!(host.name(), "web");
    /// assert!(Host::current().is_err());
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If it belongs to none, or there is no simulated network on this runtime;
    /// [`NetworkDown`](io::ErrorKind::NetworkDown) if the host has crashed since the task was spawned.
    pub fn current() -> io::Result<Self> {
        crate::net::current_host()
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
    /// let refused = net.add_host("a").build().run(async {
    ///     ropeway::net::TcpStream::connect("b:80").await.unwrap_err()
    /// });
    /// net.add_host("b").build();
    /// assert_eq!(refused.await.kind(), std::io::ErrorKind::ConnectionRefused);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the host is down, or crashes before the future has completed. To go on after a crash, use
    /// [`spawn`](Self::spawn).
    #[track_caller]
    pub fn run<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let job = Job::new(Kind::Run, Location::caller());
        let scoped = self.scope("run", &job, |_| None, future);
        let name = Arc::clone(&self.name);
        async move {
            #[expect(clippy::panic, reason = "as said above")]
            scoped.await.unwrap_or_else(|Ended| panic!("the host {name:?} crashed while Host::run waited"))
        }
    }

    /// Runs `future` on this host, as a task. The task ends when the host crashes.
    ///
    /// A task that fails, by a panic or because its output is an `Err`, is told of on stderr and in the
    /// [log](crate::Net::log), and fails the test when the network ends: unless the [`HostTask`] was awaited, so that the
    /// test has the result, or says [`tolerate`](HostTask::tolerate).
    ///
    /// # Panics
    ///
    /// If the host is down.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> HostTask<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: fmt::Debug + Send + 'static,
    {
        self.spawn_judged(error_of, future)
    }

    /// Runs `future` on this host, as a task of the thread that cannot leave it: like [`spawn`](Self::spawn), for futures
    /// that are not `Send`. As `tokio::task::spawn_local`, it needs a `LocalSet` that is entered, or a `LocalRuntime`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::rc::Rc;
    /// use tokio::task::LocalSet;
    ///
    /// let net = ropeway_sim::Net::new();
    /// let host = net.add_host("a").build();
    /// let set = LocalSet::new();
    /// let answer = set.run_until(async {
    ///     let answer = Rc::new(42);
    ///     host.spawn_local(async move { *answer }).await
    /// });
    /// assert_eq!(answer.await.unwrap(), 42);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the host is down, and outside of a `LocalSet` or `LocalRuntime`.
    #[track_caller]
    pub fn spawn_local<F>(&self, future: F) -> HostTask<F::Output>
    where
        F: Future + 'static,
        F::Output: fmt::Debug + 'static,
    {
        self.spawn_local_judged(error_of, future)
    }

    /// A task whose errors are its parent's business.
    #[track_caller]
    pub(crate) fn spawn_child<F>(&self, future: F) -> HostTask<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_judged(|_| None, future)
    }

    /// Likewise.
    #[track_caller]
    pub(crate) fn spawn_local_child<F: Future + 'static>(&self, future: F) -> HostTask<F::Output> {
        self.spawn_local_judged(|_| None, future)
    }

    #[track_caller]
    fn spawn_judged<F>(&self, judge: Judge<F::Output>, future: F) -> HostTask<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let job = Job::new(Kind::Task, Location::caller());
        HostTask { task: tokio::spawn(self.scope("spawn", &job, judge, future)), job }
    }

    #[track_caller]
    fn spawn_local_judged<F: Future + 'static>(
        &self,
        judge: Judge<F::Output>,
        future: F,
    ) -> HostTask<F::Output> {
        let job = Job::new(Kind::Task, Location::caller());
        HostTask { task: tokio::task::spawn_local(self.scope("spawn_local", &job, judge, future)), job }
    }

    /// A future that runs on this host.
    fn scope<F: Future>(&self, what: &str, job: &Arc<Job>, judge: Judge<F::Output>, future: F) -> Scoped<F> {
        Scoped::new(Arc::clone(&self.handle.shared), self.life(what), Arc::clone(job), judge, future)
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
