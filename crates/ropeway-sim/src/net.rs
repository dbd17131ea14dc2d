//! The network: how a test makes one, and holds it.

mod builder;
mod handles;
mod partition;
mod records;

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ropeway::manual::FinderGuard;
use tokio::task::AbortHandle;

pub use self::builder::NetBuilder;
pub(crate) use self::builder::{current_host, current_time};
pub(crate) use self::handles::sealed;
pub use self::handles::{AsNode, LinkHandle, Router};
pub(crate) use self::records::ladders;
use crate::engine::{self, fail};
use crate::host::{Host, HostBuilder, HostTask};
use crate::link::Link;
use crate::shared::Shared;
use crate::world::NodeId;

/// A simulated network, for one test.
///
/// This is a handle; clones of it, and the handles of its parts, keep the network. Hosts are linked to a router
/// called `hub`, unless they are told otherwise: so all of them can reach each other.
///
/// Tokio's clock must be paused. Time passes while all tasks wait: at once, and to the microsecond. What a task
/// sees by `tokio::time::Instant` is exact, too; only Tokio's own timers (`sleep`, `timeout`, `interval`) end at
/// whole milliseconds since the runtime began, rounded up, as always.
///
/// There can be one network at a time on a Tokio runtime.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use ropeway::net::{TcpListener, TcpStream};
/// use ropeway_sim::{Link, Net};
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
/// use tokio::time::Instant;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> std::io::Result<()> {
/// let net = Net::builder().default_link(Link::new().delay(Duration::from_millis(10))).build();
/// let [server, client] = net.add_hosts(["server", "client"]);
/// server.spawn(async {
///     let listener = TcpListener::bind("0.0.0.0:80").await?;
///     let (mut stream, _) = listener.accept().await?;
///     stream.write_all(b"hello").await
/// });
/// client.run(async {
///     let start = Instant::now();
///     let mut stream = TcpStream::connect("server:80").await?;
///     let mut said = String::new();
///     stream.read_to_string(&mut said).await?;
///     assert_eq!(said, "hello");
///     // Two round trips, each over two links and back.
///     assert_eq!(start.elapsed(), Duration::from_millis(80));
///     Ok(())
/// }).await
/// # }
/// ```
#[derive(Clone)]
pub struct Net {
    pub(crate) handle: Arc<Handle>,
}

/// What all handles keep. With the last one, the network ends.
pub(crate) struct Handle {
    pub(crate) shared: Arc<Shared>,
    pub(crate) default_link: Link,
    hub: OnceLock<NodeId>,
    engine: AbortHandle,
    _finder: FinderGuard,
}

impl Handle {
    /// The router that hosts are linked to unless they are told otherwise.
    pub(crate) fn hub(&self) -> NodeId {
        *self.hub.get_or_init(|| self.shared.world().add_router("hub"))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.engine.abort();
        let failures = self.failures();
        let is_panicking = std::thread::panicking();
        if is_panicking || !failures.is_empty() {
            records::tell_failure(&self.shared.world());
        }
        // Sockets may be left, and learn that their stacks have ended; tasks end, too. Neither under the lock.
        let lives = self.shared.world().end();
        for life in lives {
            life.token.end();
        }
        if !is_panicking && !failures.is_empty() {
            let ladders = ladders(&self.shared.world());
            fail(self.shared.time.runtime(), format!("{}\n{ladders}", failures.join("\n")));
        }
    }
}

impl Handle {
    /// Why the test fails, although it has not.
    fn failures(&self) -> Vec<String> {
        let mut failures = self.shared.failures.unclaimed();
        failures.extend(self.shared.world().rules.disappointments());
        if self.shared.time.is_over(self.shared.time.now()) {
            failures.push(engine::over(&self.shared.time));
        }
        failures
    }
}

impl Default for Net {
    fn default() -> Self {
        Self::new()
    }
}

impl Net {
    /// A network with the default settings: see [`NetBuilder`].
    ///
    /// # Panics
    ///
    /// As [`NetBuilder::build`].
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Begins a network with settings of its own.
    pub fn builder() -> NetBuilder {
        NetBuilder::default()
    }

    /// The seed of this run. `ROPEWAY_SEED` replays it.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.handle.shared.world().seed.number()
    }

    /// The host of this name.
    ///
    /// # Panics
    ///
    /// If there is none: [`add_host`](Self::add_host) makes one.
    #[track_caller]
    #[must_use]
    pub fn host(&self, name: &str) -> Host {
        let found = self.handle.shared.world().host_named(name);
        #[expect(clippy::panic, reason = "as said above")]
        let id = found.unwrap_or_else(|error| panic!("{error}"));
        Host::new(Arc::clone(&self.handle), id, name)
    }

    /// Begins a host with settings of its own. [`HostBuilder::build`] makes it: without any, it has an address of each
    /// family, and is linked to the hub.
    ///
    /// # Panics
    ///
    /// If a host cannot have this name: because it is empty, has other characters than letters, digits, `-`, `_` and
    /// `.`, or means something else, such as `localhost` or an address.
    #[track_caller]
    pub fn add_host(&self, name: &str) -> HostBuilder {
        check_name(name);
        HostBuilder::new(Arc::clone(&self.handle), name)
    }

    /// Makes hosts with the default settings.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let net = ropeway_sim::Net::new();
    /// let [server, client] = net.add_hosts(["server", "client"]);
    /// assert_eq!(client.ip(), net.host("client").ip());
    /// # let _ = server;
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`add_host`](Self::add_host) and [`HostBuilder::build`].
    #[track_caller]
    pub fn add_hosts<const N: usize>(&self, names: [&str; N]) -> [Host; N] {
        names.map(|name| self.add_host(name).build())
    }

    /// Adds a router: a node that forwards packets at once.
    ///
    /// # Panics
    ///
    /// If there is a node of that name, or a host could not have it.
    #[track_caller]
    pub fn router(&self, name: &str) -> Router {
        check_name(name);
        let id = self.handle.shared.world().add_router(name);
        Router::new(Arc::clone(&self.handle), id, name)
    }

    /// The router that hosts are linked to unless they are told otherwise.
    #[must_use]
    pub fn hub(&self) -> Router {
        Router::new(Arc::clone(&self.handle), self.handle.hub(), "hub")
    }

    /// Links two nodes. [`Link::forth`] is the direction from `first` to `second`.
    ///
    /// Packets take the path with the fewest links; of several, the one whose links were made first. They do so
    /// whether its links are up or not.
    ///
    /// # Examples
    ///
    /// Two offices, each with a router of its own:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use ropeway_sim::{Link, Net};
    ///
    /// let net = Net::new();
    /// let (berlin, bonn) = (net.router("berlin"), net.router("bonn"));
    /// let line = net.link(&berlin, &bonn, Link::wan());
    /// let web = net.add_host("web").link(&berlin, Link::lan()).build();
    /// let db = net.add_host("db").link(&bonn, Link::lan()).build();
    /// line.update(|pipe| pipe.up = false); // while the test runs
    /// # let _ = (web, db);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If both ends are the same node, or [the link's settings](crate::Pipe) cannot be.
    #[track_caller]
    pub fn link(&self, first: &impl AsNode, second: &impl AsNode, link: Link) -> LinkHandle {
        link.check();
        assert!(first.node().0 != second.node().0, "a link runs between two nodes");
        let id = self.handle.shared.world().add_link([first.node().0, second.node().0], &link);
        LinkHandle::new(Arc::clone(&self.handle), id)
    }

    /// How long the network has existed, on its own clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Duration::from_micros(self.handle.shared.time.now())
    }
}

/// What is no name of a node is a mistake.
#[track_caller]
fn check_name(name: &str) {
    let is_usual = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let is_name = !name.is_empty() && name.chars().all(is_usual);
    assert!(is_name, "{name:?} is no name of a host: letters, digits, '-', '_' and '.'");
    let means_else = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok();
    assert!(!means_else, "{name:?} is no name of a host: it means an address");
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net")
            .field("seed", &self.seed())
            .field("elapsed", &self.elapsed())
            .finish_non_exhaustive()
    }
}

/// Spawns a task on the host that the running task belongs to.
///
/// Tasks spawned by `tokio::spawn` from a future that runs on a host belong to the host, too; but those that such
/// tasks spawn themselves do not. This goes on to any depth.
///
/// A panic of the task is noted as [`Host::spawn`] does. An `Err` is not: as with `tokio::spawn`, it is for whoever holds
/// the handle.
///
/// # Panics
///
/// If the running task belongs to no host, or outside of a simulated network.
#[track_caller]
pub fn spawn<F>(future: F) -> HostTask<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    current("spawn").spawn_child(future)
}

/// Spawns a task on the host that the running task belongs to, for futures that are not `Send`: as [`spawn`], where
/// [`Host::spawn_local`] can be used.
///
/// # Panics
///
/// As both of them.
#[track_caller]
pub fn spawn_local<F>(future: F) -> HostTask<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    current("spawn_local").spawn_local_child(future)
}

#[track_caller]
fn current(what: &str) -> Host {
    #[expect(clippy::panic, reason = "as said where it is used")]
    current_host().unwrap_or_else(|error| panic!("ropeway_sim::{what}: {error}"))
}
