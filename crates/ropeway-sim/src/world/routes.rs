//! Which link leads where: the shortest path in hops, with ties going to the link that was made first. Packets are
//! forwarded by routers only.

use std::collections::{HashMap, VecDeque};

use super::{Kind, LinkId, NodeId, World};

/// For each node that packets were sent to, the link to take from every other node. A host with one link is
/// reached through its neighbour: so thousands of hosts around one router need one table.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    tables: HashMap<NodeId, Vec<Option<LinkId>>>,
}

impl Routes {
    /// The network has changed.
    pub(crate) fn forget(&mut self) {
        self.tables.clear();
    }
}

impl World {
    /// The link to take from `node` towards `target`.
    pub(crate) fn route(&mut self, node: NodeId, target: NodeId) -> Option<LinkId> {
        let (own, others) = (self.node(node), self.node(target));
        // A host with one link has no choice.
        if let (Kind::Host(_), &[only]) = (&own.kind, own.links.as_slice()) {
            return Some(only);
        }
        let anchor = match others.links.as_slice() {
            &[only] => {
                let link = self.link_mut(only);
                let neighbour = if link.ends[0] == target { link.ends[1] } else { link.ends[0] };
                if neighbour == node {
                    return Some(only);
                }
                neighbour
            }
            _ => target,
        };
        if !self.routes.tables.contains_key(&anchor) {
            let table = self.paths_to(anchor);
            self.routes.tables.insert(anchor, table);
        }
        self.routes.tables.get(&anchor)?.get(node.0 as usize).copied().flatten()
    }

    /// From each node, the first link of its shortest path to `target`.
    fn paths_to(&self, target: NodeId) -> Vec<Option<LinkId>> {
        let mut first_links = vec![None; self.nodes.len()];
        let mut reached = VecDeque::from([target]);
        while let Some(node) = reached.pop_front() {
            if node != target && matches!(self.node(node).kind, Kind::Host(_)) {
                continue;
            }
            for &id in &self.node(node).links {
                let Some(link) = self.links.get(id.0 as usize) else { continue };
                let neighbour = if link.ends[0] == node { link.ends[1] } else { link.ends[0] };
                if let Some(place @ None) = first_links.get_mut(neighbour.0 as usize)
                    && neighbour != target
                {
                    *place = Some(id);
                    reached.push_back(neighbour);
                }
            }
        }
        first_links
    }
}
