//! Handles of routers and links.

use std::fmt;
use std::sync::Arc;

use super::Handle;
use crate::host::Host;
use crate::link::Pipe;
use crate::world::{LinkId, NodeId, Way, World};

/// A host or a router: what a link can end at.
pub trait AsNode: sealed::Node {}

impl AsNode for Host {}
impl AsNode for Router {}

pub(crate) mod sealed {
    use crate::world::NodeId;

    /// Keeps others from implementing [`AsNode`](super::AsNode).
    pub trait Node {
        #[doc(hidden)]
        fn node(&self) -> Which;
    }

    /// Which node it is.
    #[derive(Debug)]
    pub struct Which(pub(crate) NodeId);
}

/// A router: it forwards packets at once, towards their destinations, and tells their senders when it cannot:
/// because there is no such host, because a packet is larger than the next link allows, or because it is out of
/// hops. What waits, waits in the links.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use ropeway_sim::{Link, Net};
///
/// let net = Net::new();
/// let office = net.router("office");
/// net.link(&office, &net.hub(), Link::wan());
/// let printer = net.add_host("printer").link(&office, Link::lan()).build();
/// assert_eq!(office.name(), "office");
/// # let _ = printer;
/// # }
/// ```
#[derive(Clone)]
pub struct Router {
    _handle: Arc<Handle>,
    id: NodeId,
    name: Arc<str>,
}

impl Router {
    pub(super) fn new(handle: Arc<Handle>, id: NodeId, name: &str) -> Self {
        Self { _handle: handle, id, name: name.into() }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl sealed::Node for Router {
    fn node(&self) -> sealed::Which {
        sealed::Which(self.id)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A link that exists. What it does to packets can be changed at any time, and counts for those that enter it from
/// then on, and for those that wait in its queue.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use ropeway_sim::{Loss, Net};
///
/// let net = Net::new();
/// let host = net.add_host("phone").build();
/// host.link().update(|pipe| pipe.loss = Loss::Random(0.3)); // in a tunnel
/// host.link().update_from(&host, |pipe| pipe.up = false); // it hears, and is not heard
/// # }
/// ```
#[derive(Clone)]
pub struct LinkHandle {
    handle: Arc<Handle>,
    id: LinkId,
}

impl LinkHandle {
    pub(crate) fn new(handle: Arc<Handle>, id: LinkId) -> Self {
        Self { handle, id }
    }

    /// Changes both directions.
    ///
    /// # Panics
    ///
    /// If [settings](Pipe) come of it that cannot be. The link is as it was then.
    #[track_caller]
    pub fn update(&self, mut change: impl FnMut(&mut Pipe)) {
        let [mut forth, mut back] = self.settings();
        change(&mut forth);
        change(&mut back);
        forth.check();
        back.check();
        let mut world = self.handle.shared.world();
        let link = world.link_mut(self.id);
        link.forth.set(forth);
        link.back.set(back);
        let ends = link.ends;
        log_change(&mut world, "both ways of", ends);
    }

    /// Changes the direction that starts at `node`.
    ///
    /// # Panics
    ///
    /// If the link does not end there, and as [`update`](Self::update).
    #[track_caller]
    pub fn update_from(&self, node: &impl AsNode, change: impl FnOnce(&mut Pipe)) {
        let node = node.node().0;
        let ends = self.handle.shared.world().link_mut(self.id).ends;
        assert!(ends.contains(&node), "the link does not end at that node");
        let [forth, back] = self.settings();
        let (mut pipe, ends) = if ends[0] == node { (forth, ends) } else { (back, [ends[1], ends[0]]) };
        change(&mut pipe);
        pipe.check();
        let mut world = self.handle.shared.world();
        let link = world.link_mut(self.id);
        let way = link.way_from(node);
        link.pipe(way).set(pipe);
        log_change(&mut world, "the way from the first end of", ends);
    }

    /// The settings of the direction that starts at the node which was named first, and of the other.
    #[must_use]
    pub fn settings(&self) -> [Pipe; 2] {
        let mut world = self.handle.shared.world();
        let link = world.link_mut(self.id);
        [Way::Forth, Way::Back].map(|way| link.pipe(way).config().clone())
    }
}

fn log_change(world: &mut World, what: &str, ends: [NodeId; 2]) {
    let [first, second] = ends.map(|end| world.node(end).name.clone());
    world.log(format!("{what} the link {first}-{second} changes"));
}

impl fmt::Debug for LinkHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkHandle").field("id", &self.id).finish_non_exhaustive()
    }
}
