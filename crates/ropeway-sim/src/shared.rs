//! What the engine, the handles and the sockets of a simulation share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Wake, Waker};

use crate::engine::{Micros, Sleeper, Time};
use crate::tasks::{Failures, Job, LifeToken, Tasks};
use crate::world::{NodeId, World};

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) time: Arc<Time>,
    pub(crate) tasks: Tasks,
    pub(crate) sleeper: Arc<Sleeper>,
    pub(crate) failures: Failures,
    world: Mutex<World>,
    dirty: Mutex<Dirty>,
    /// A task that is not the engine may have something to do.
    active: AtomicBool,
    /// How often a future that runs on a host was polled.
    scoped_polls: AtomicU64,
}

/// The hosts whose sockets were called since they had their turn, in that order.
#[derive(Debug, Default)]
struct Dirty {
    hosts: Vec<Arc<HostWaker>>,
    /// An event was added that may come before the one that the engine waits for.
    is_kicked: bool,
    engine: Option<Waker>,
}

impl Dirty {
    fn has_work(&self) -> bool {
        self.is_kicked || !self.hosts.is_empty()
    }
}

/// Woken by the next call of a host's sockets that gives its stack something to do.
#[derive(Debug)]
pub(crate) struct HostWaker {
    pub(crate) node: NodeId,
    shared: Weak<Shared>,
    is_queued: AtomicBool,
}

impl HostWaker {
    pub(crate) fn new(node: NodeId, shared: Weak<Shared>) -> Arc<Self> {
        Arc::new(Self { node, shared, is_queued: AtomicBool::new(false) })
    }
}

impl Wake for HostWaker {
    fn wake(self: Arc<Self>) {
        if self.is_queued.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(shared) = self.shared.upgrade() {
            shared.mark_dirty(self);
        }
    }
}

impl Shared {
    pub(crate) fn new(time: Arc<Time>, world: World) -> Self {
        Self {
            time,
            tasks: Tasks::default(),
            sleeper: Sleeper::new(),
            failures: Failures::default(),
            world: Mutex::new(world),
            dirty: Mutex::default(),
            active: AtomicBool::new(true),
            scoped_polls: AtomicU64::new(0),
        }
    }

    /// The network. A panic while it was locked has been told where it happened, and what follows it, such as the
    /// records that are written then, still wants to look.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives all hosts their turn whose sockets were called.
    pub(crate) fn settle(&self, now: Micros) {
        while self.is_dirty() {
            let hosts = {
                let mut dirty = self.dirty();
                dirty.is_kicked = false;
                std::mem::take(&mut dirty.hosts)
            };
            let woke = self.time.at(now, |now| {
                let mut world = self.world();
                for host in hosts {
                    host.is_queued.store(false, Ordering::Relaxed);
                    world.mark_pending(host.node);
                }
                world.settle(now)
            });
            self.note_woken(woke);
        }
    }

    /// Lets all happen that is due at `moment`.
    pub(crate) fn advance_to(&self, moment: Micros) {
        let woke = self.time.at(moment, |now| self.world().process(now));
        self.note_woken(woke);
    }

    /// When something happens next.
    pub(crate) fn next_event(&self) -> Option<Micros> {
        self.world().next_event()
    }

    fn note_woken(&self, woke: bool) {
        if woke {
            self.set_active();
        }
    }

    /// From now on, other tasks may have something to do.
    pub(crate) fn set_active(&self) {
        self.active.store(true, Ordering::Relaxed);
    }

    /// No other task has anything to do.
    pub(crate) fn set_idle(&self) {
        self.active.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// A future that runs on a host is polled.
    pub(crate) fn note_scoped_poll(&self) {
        self.scoped_polls.fetch_add(1, Ordering::Relaxed);
        if self.time.is_over(self.time.now()) {
            self.wake_engine();
        }
    }

    /// A task of a host has failed, which is told at once, and at the end unless somebody has got to know it.
    pub(crate) fn task_failed(&self, life: &LifeToken, job: &Arc<Job>, how: &str) {
        let text = format!("{}: {job} ended with {how}", life.host);
        let mut world = self.world();
        world.log(text.clone());
        drop(world);
        self.failures.add(job, self.time.now(), &text);
    }

    /// A service of a host has ended, and well. That may be too early.
    pub(crate) fn service_ended(&self, life: &LifeToken, job: &Job) {
        self.world().log(format!("{}: {job} ended", life.host));
    }

    pub(crate) fn scoped_polls(&self) -> u64 {
        self.scoped_polls.load(Ordering::Relaxed)
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty().has_work()
    }

    /// Whether hosts have something to do; if not, the engine is woken when they do.
    pub(crate) fn poll_dirty(&self, cx: &Context<'_>) -> bool {
        let mut dirty = self.dirty();
        if !dirty.engine.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            dirty.engine = Some(cx.waker().clone());
        }
        dirty.has_work()
    }

    /// Makes the engine look at its events again: one has been added.
    pub(crate) fn wake_engine(&self) {
        let engine = {
            let mut dirty = self.dirty();
            dirty.is_kicked = true;
            dirty.engine.clone()
        };
        engine.into_iter().for_each(Waker::wake);
    }

    fn mark_dirty(&self, host: Arc<HostWaker>) {
        let engine = {
            let mut dirty = self.dirty();
            dirty.hosts.push(host);
            dirty.engine.clone()
        };
        engine.into_iter().for_each(Waker::wake);
    }

    fn dirty(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
