//! Who cannot reach whom.

use super::Net;
use crate::host::Host;
use crate::net::sealed::Node;
use crate::world::NodeId;

impl Net {
    /// Cuts the hosts on one side off from those on the other, in both directions, whatever the links between them
    /// are. Packets that are on their way are lost, too. Nobody is told: who sends just gets no answer.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use ropeway::net::TcpStream;
    /// use ropeway_sim::Net;
    /// use tokio::time::timeout;
    ///
    /// let net = Net::new();
    /// let [a, b, c] = net.add_hosts(["a", "b", "c"]);
    /// net.partition([&a, &b], [&c]);
    /// let connect = timeout(Duration::from_secs(10), TcpStream::connect("c:80"));
    /// assert!(a.run(connect).await.is_err());
    /// net.heal();
    /// # }
    /// ```
    pub fn partition<'a>(
        &self,
        side: impl IntoIterator<Item = &'a Host>,
        other: impl IntoIterator<Item = &'a Host>,
    ) {
        let (side, other) = (ids(side), ids(other));
        let mut world = self.handle.shared.world();
        for (a, b) in pairs(&side, &other) {
            world.cut.extend([(a, b), (b, a)]);
        }
        let text = format!("partition: {} from {}", world.names_of(&side), world.names_of(&other));
        world.log(text);
    }

    /// Loses everything that `from` sends to `to`. The other direction is left as it is.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let net = ropeway_sim::Net::new();
    /// let [a, b] = net.add_hosts(["a", "b"]);
    /// net.cut(&a, &b); // `a` hears `b`, which does not hear it
    /// net.heal_between([&a], [&b]);
    /// # }
    /// ```
    pub fn cut(&self, from: &Host, to: &Host) {
        let mut world = self.handle.shared.world();
        world.cut.insert((from.node().0, to.node().0));
        world.log(format!("cut: from {} to {}", from.name(), to.name()));
    }

    /// Ends all that [`partition`](Self::partition) and [`cut`](Self::cut) did.
    pub fn heal(&self) {
        let mut world = self.handle.shared.world();
        world.cut.clear();
        world.log("heal".to_owned());
    }

    /// Likewise, between the hosts on one side and those on the other.
    pub fn heal_between<'a>(
        &self,
        side: impl IntoIterator<Item = &'a Host>,
        other: impl IntoIterator<Item = &'a Host>,
    ) {
        let (side, other) = (ids(side), ids(other));
        let mut world = self.handle.shared.world();
        for (a, b) in pairs(&side, &other) {
            world.cut.remove(&(a, b));
            world.cut.remove(&(b, a));
        }
        let text = format!("heal: {} and {}", world.names_of(&side), world.names_of(&other));
        world.log(text);
    }
}

fn ids<'a>(hosts: impl IntoIterator<Item = &'a Host>) -> Vec<NodeId> {
    hosts.into_iter().map(|host| host.node().0).collect()
}

fn pairs(side: &[NodeId], other: &[NodeId]) -> impl Iterator<Item = (NodeId, NodeId)> {
    side.iter().flat_map(|a| other.iter().map(|b| (*a, *b)))
}
