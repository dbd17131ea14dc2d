//! How a network is made.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use ropeway::manual::find_with;
use tokio::runtime::{self, Handle as Runtime};

use super::{Handle, Net};
use crate::engine::{self, Micros, Time};
use crate::host::Host;
use crate::link::Link;
use crate::record::Record;
use crate::seed::Seed;
use crate::shared::Shared;
use crate::tasks::LifeToken;
use crate::world::World;

/// The network of each runtime that has one.
static NETS: Mutex<Option<HashMap<runtime::Id, Running>>> = Mutex::new(None);

struct Running {
    handle: Weak<Handle>,
    /// What can be looked at without ending the network by dropping its last handle.
    shared: Weak<Shared>,
}

/// Settings of a [`Net`] that is to be. Made by [`Net::builder`].
#[derive(Clone, Debug)]
#[must_use = "there is no network before `build`"]
pub struct NetBuilder {
    seed: Option<u64>,
    default_link: Link,
    keep: usize,
    time_limit: Duration,
    patience: Duration,
}

impl Default for NetBuilder {
    fn default() -> Self {
        Self {
            seed: None,
            default_link: Link::lan(),
            keep: 64 << 20,
            time_limit: Duration::from_secs(100 * 24 * 3600),
            patience: Duration::from_secs(5),
        }
    }
}

impl NetBuilder {
    /// Sets what all chance is drawn from, unless `ROPEWAY_SEED` is set. By default it is always the same.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets what links hosts to the hub, unless they are told otherwise. [`Link::lan`] by default. [`Link::forth`]
    /// is the direction to the host.
    ///
    /// # Panics
    ///
    /// If [the link's settings](crate::Pipe) cannot be.
    #[track_caller]
    pub fn default_link(mut self, link: Link) -> Self {
        link.check();
        self.default_link = link;
        self
    }

    /// Sets how many bytes of packets are kept for the records; older packets are forgotten. 64 MiB by default; 0
    /// keeps none, which is faster.
    pub fn keep(mut self, bytes: usize) -> Self {
        self.keep = bytes;
        self
    }

    /// Sets how much simulated time may pass before the test fails: something goes on for ever, such as an interval in a
    /// service, or keep-alive. 100 days by default; `Duration::MAX` is no limit. It is looked at when a host's task
    /// runs, and otherwise some moments later, or as the network ends.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Sets how much *real* time is left to other threads to wake a task, when nothing else can: all tasks wait, no
    /// packet is on its way, and no timer runs. Then the test fails, and says who waits for what. 5 s by default.
    ///
    /// A thread of `spawn_blocking` that is known to run has six times as long.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Makes the network, on the current Tokio runtime.
    ///
    /// # Panics
    ///
    /// Outside of a current-thread runtime whose clock is paused; if the runtime has a network already; and if
    /// `ROPEWAY_SEED` is set to something that is not a number.
    #[must_use]
    pub fn build(self) -> Net {
        let seed = Seed::choose(self.seed);
        // Where the test harness shows it if the test fails, be it by an `Err`.
        if std::thread::current().name().is_some_and(|name| name != "main") {
            println!("ropeway-sim: the seed is {}", seed.number());
        }
        #[expect(clippy::expect_used, reason = "as said above")]
        let runtime =
            Runtime::try_current().expect("a simulated network needs a Tokio runtime: #[tokio::test]");
        let time = Arc::new(Time::start(runtime.clone(), self.time_limit));
        let shared = Arc::new_cyclic(|shared| {
            Shared::new(time, World::new(seed, shared.clone(), Record::new(self.keep)))
        });
        let finder = find_with({
            let shared = Arc::downgrade(&shared);
            move || match shared.upgrade() {
                Some(shared) => Ok(shared.tasks.current()?.stack.clone()),
                None => Err(io::Error::other("the simulated network has ended")),
            }
        });
        #[expect(clippy::expect_used, reason = "as said above")]
        let finder = finder.expect("there can be one simulated network at a time on a Tokio runtime");
        let engine = runtime.spawn(engine::run(Arc::clone(&shared), self.patience)).abort_handle();
        let (default_link, hub) = (self.default_link, OnceLock::new());
        let handle = Arc::new(Handle { shared, default_link, hub, engine, _finder: finder });
        register(&runtime, &handle);
        Net { handle }
    }
}

fn register(runtime: &Runtime, handle: &Arc<Handle>) {
    let mut nets = NETS.lock().unwrap_or_else(PoisonError::into_inner);
    let nets = nets.get_or_insert_default();
    // Only what has ended is forgotten, so the order does not matter.
    nets.retain(|_, net| net.handle.strong_count() > 0);
    let shared = Arc::downgrade(&handle.shared);
    nets.insert(runtime.id(), Running { handle: Arc::downgrade(handle), shared });
}

/// The host that the running task belongs to.
pub(crate) fn current_host() -> io::Result<Host> {
    let nowhere = || io::Error::other("there is no simulated network on this runtime");
    let runtime = Runtime::try_current().map_err(|_| nowhere())?.id();
    let handle = {
        let nets = NETS.lock().unwrap_or_else(PoisonError::into_inner);
        nets.as_ref()
            .and_then(|nets| nets.get(&runtime))
            .and_then(|net| net.handle.upgrade())
            .ok_or_else(nowhere)?
    };
    let life = handle.shared.tasks.current()?;
    Ok(Host::new(Arc::clone(&handle), life.node, &life.host))
}

/// The time of the running task's network, and the host that the task belongs to.
pub(crate) fn current_time() -> Option<(Micros, Option<Arc<LifeToken>>)> {
    let runtime = Runtime::try_current().ok()?.id();
    let shared = {
        let nets = NETS.try_lock().ok()?;
        nets.as_ref()?.get(&runtime)?.shared.upgrade()?
    };
    Some((shared.time.now(), shared.tasks.glance()))
}
