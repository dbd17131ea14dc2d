//! A host's life from one start to the next crash, as the futures know it that run there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use ropeway::Stack;
use tracing::Span;

use super::Job;
use crate::world::NodeId;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct LifeToken {
    pub(crate) node: NodeId,
    pub(crate) host: String,
    pub(crate) stack: Stack,
    /// In which everything happens that the host does.
    pub(crate) span: Span,
    has_ended: AtomicBool,
    is_frozen: AtomicBool,
    subscribers: Mutex<Subscribers>,
}

/// Futures that learn when the life ends, and when the host is frozen or thawed; in the order in which they began.
#[derive(Debug, Default)]
struct Subscribers {
    count: u64,
    jobs: BTreeMap<u64, Arc<Job>>,
}

impl LifeToken {
    pub(crate) fn new(node: NodeId, host: String, stack: Stack) -> Arc<Self> {
        // Of the highest level, so that a filter by level leaves it.
        let span = tracing::error_span!("host", name = host);
        Arc::new(Self {
            node,
            host,
            stack,
            span,
            has_ended: AtomicBool::new(false),
            is_frozen: AtomicBool::new(false),
            subscribers: Mutex::default(),
        })
    }

    /// The host has crashed.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
        self.wake_all();
    }

    pub(crate) fn set_frozen(&self, frozen: bool) {
        self.is_frozen.store(frozen, Ordering::Relaxed);
        self.wake_all();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.is_frozen.load(Ordering::Relaxed)
    }

    /// The futures that run on the host.
    pub(crate) fn jobs(&self) -> Vec<Arc<Job>> {
        self.subscribers().jobs.values().cloned().collect()
    }

    /// A number for a new subscriber.
    pub(super) fn subscribe(&self, job: &Arc<Job>) -> u64 {
        let mut subscribers = self.subscribers();
        subscribers.count += 1;
        let number = subscribers.count;
        subscribers.jobs.insert(number, Arc::clone(job));
        number
    }

    pub(super) fn unsubscribe(&self, subscriber: u64) {
        let _job = self.subscribers().jobs.remove(&subscriber);
    }

    fn wake_all(&self) {
        let wakers: Vec<Waker> = self.jobs().iter().filter_map(|job| job.waker()).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn subscribers(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
