//! How hosts are made.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use ropeway::StackConfig;

use super::Host;
use crate::link::Link;
use crate::net::{AsNode, Handle};
use crate::world::NodeId;

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
    ///
    /// # Panics
    ///
    /// If [the link's settings](crate::Pipe) cannot be.
    #[track_caller]
    pub fn link(mut self, to: &impl AsNode, link: Link) -> Self {
        link.check();
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
    #[track_caller]
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
