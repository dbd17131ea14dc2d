//! The gateway as a whole: what all kinds of flows share.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use ropeway::Stack;
use ropeway::divert::{Diversion, DivertOptions};
use ropeway::net::tcp::AnyListener;
use ropeway::net::udp::AnyUdpSocket;
use ropeway::packet::{IcmpErrorKind, UnreachableKind, icmp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;

use crate::address::{embedded, is_forbidden};
use crate::counters::{Counts, GatewayCounters, add};
use crate::outside::Outside;
use crate::policy::{Flow, FlowKind, Policy, Verdict};
use crate::rate::Rate;
use crate::settings::Settings;
use crate::{echo, forward, tcp, udp};

/// The hop limit of what the gateway itself sends.
const HOP_LIMIT: u8 = 64;

/// A gateway between the guest behind a stack and an [`Outside`]. See the [crate](crate).
///
/// The stack's own addresses are the gateway's: it answers pings to them, and forwards come from there. Nothing else may listen for any
/// address on it.
pub struct Gateway<O: Outside> {
    shared: Arc<Shared<O>>,
    listener: Option<AnyListener>,
}

/// What all flows of a gateway share.
pub(crate) struct Shared<O> {
    pub(crate) outside: O,
    pub(crate) stack: Stack,
    pub(crate) settings: Settings,
    pub(crate) policy: Box<dyn Policy>,
    pub(crate) counts: Counts,
    pub(crate) datagrams: AnyUdpSocket,
    pub(crate) diversion: Diversion,
    pub(crate) tcp_flows: Arc<Semaphore>,
    pub(crate) connecting: Semaphore,
    pub(crate) queries: Arc<Semaphore>,
    descriptors: Arc<Semaphore>,
    icmp_errors: Rate,
}

/// Where a flow goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Somebody has said that it may go there.
    pub(crate) named: bool,
}

/// A flow goes nowhere.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The guest is told.
    Told,
    Silently,
    /// It could not be found out.
    Failed(io::Error),
}

impl<O: Outside> Gateway<O> {
    /// A gateway that lets the guest do whatever is not [forbidden](crate#what-a-guest-must-not-reach).
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse) if the stack has a listener or socket for any address already, or diverts packets.
    pub fn new(stack: Stack, settings: Settings, outside: O) -> io::Result<Self> {
        Self::with_policy(stack, settings, outside, |_: &Flow| Verdict::Allow)
    }

    /// A gateway that asks `policy` about each flow.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn with_policy(
        stack: Stack,
        settings: Settings,
        outside: O,
        policy: impl Policy,
    ) -> io::Result<Self> {
        let listener = stack.listen_any(tcp::BACKLOG)?;
        let datagrams = stack.listen_any_udp()?;
        let mut diverted = DivertOptions::default();
        (diverted.tcp, diverted.udp) = (false, false);
        let diversion = stack.divert(diverted)?;
        let limits = &settings.limits;
        let places = |limit: usize| Semaphore::new(limit.min(Semaphore::MAX_PERMITS));
        let shared = Shared {
            tcp_flows: Arc::new(places(limits.tcp_flows)),
            connecting: places(limits.connecting),
            queries: Arc::new(places(limits.dns_queries)),
            descriptors: Arc::new(places(limits.descriptors)),
            icmp_errors: Rate::new(limits.icmp_errors_per_second),
            outside,
            stack,
            settings,
            policy: Box::new(policy),
            counts: Counts::default(),
            datagrams,
            diversion,
        };
        Ok(Self { shared: Arc::new(shared), listener: Some(listener) })
    }

    /// A handle that tells what the gateway has counted, while it runs.
    pub fn counters(&self) -> impl Fn() -> GatewayCounters + Send + Sync + Clone + use<O> {
        let shared = Arc::clone(&self.shared);
        move || shared.counts.read()
    }

    /// Works until the stack ends, or until the future is dropped; then all flows end.
    ///
    /// # Errors
    ///
    /// That of a [forward](Settings::forwards) that cannot be made; that of the stack when it ends.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the gateway is over.
    pub async fn run(mut self) -> io::Result<()> {
        let Some(listener) = self.listener.take() else { return Ok(()) };
        let shared = &self.shared;
        let forwards = forward::bind(shared).await?;
        tokio::try_join!(
            tcp::run(Arc::clone(shared), listener),
            udp::run(Arc::clone(shared)),
            echo::run(Arc::clone(shared)),
            forward::run(Arc::clone(shared), forwards),
        )?;
        Ok(())
    }
}

impl<O: Outside> Shared<O> {
    /// Where a flow goes. What it connects to is what has been looked at here.
    pub(crate) async fn target(
        &self,
        kind: FlowKind,
        guest: SocketAddr,
        original_dst: SocketAddr,
    ) -> Result<Target, Refused> {
        let mapped = self.settings.maps.iter().find_map(|map| map.lead(original_dst));
        let target = mapped.or_else(|| self.resolver(kind, original_dst)).unwrap_or(original_dst);
        let flow = Flow { kind, guest, original_dst, target };
        match self.policy.decide(&flow) {
            Verdict::Allow => {}
            Verdict::Redirect(address) => return Ok(Target { address, named: true }),
            Verdict::Refuse => {
                add(&self.counts.refused, 1);
                return Err(Refused::Told);
            }
            Verdict::Drop => {
                add(&self.counts.refused, 1);
                return Err(Refused::Silently);
            }
        }
        let named = target != original_dst;
        if !named && self.is_out_of_bounds(target.ip()).await? {
            tracing::debug!(%guest, %target, "the guest must not reach this address");
            add(&self.counts.forbidden, 1);
            return Err(Refused::Told);
        }
        Ok(Target { address: target, named })
    }

    /// DNS by TCP goes to the first resolver; queries are handled one by one.
    fn resolver(&self, kind: FlowKind, original_dst: SocketAddr) -> Option<SocketAddr> {
        let dns = self.settings.dns.as_ref()?;
        let is_dns = matches!(kind, FlowKind::Tcp | FlowKind::Dns) && original_dst.port() == 53;
        dns.resolvers.first().copied().filter(|_| is_dns && dns.at.contains(&original_dst.ip()))
    }

    async fn is_out_of_bounds(&self, address: IpAddr) -> Result<bool, Refused> {
        let inside = |address| self.settings.network.iter().any(|network| network.contains(address));
        if is_forbidden(address) || inside(address) {
            return Ok(true);
        }
        let carried = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => embedded(address).map(IpAddr::V4),
        };
        if let Some(carried) = carried
            && (inside(carried) || self.outside.is_own(carried).await.unwrap_or(true))
        {
            return Ok(true);
        }
        let is_own = self.outside.is_own(address).await;
        is_own.map_err(|error| {
            if is_exhausted(&error) {
                add(&self.counts.out_of_descriptors, 1);
            }
            Refused::Failed(error)
        })
    }

    /// A place among the host's sockets that the guest may have.
    pub(crate) fn descriptor(&self) -> Option<OwnedSemaphorePermit> {
        self.descriptors.clone().try_acquire_owned().ok()
    }

    /// Tells the guest with an ICMP error that its packet has come to nothing.
    pub(crate) fn unreachable(&self, packet: &[u8], (from, to): (IpAddr, IpAddr), kind: UnreachableKind) {
        if self.icmp_errors.allows() {
            let error = icmp::emit_error(from, to, IcmpErrorKind::Unreachable(kind), packet, HOP_LIMIT);
            self.send(error.into());
        }
    }

    /// Sends a whole packet to the guest. Where too much waits already, it is lost as on any link.
    pub(crate) fn send(&self, packet: Bytes) {
        if let Err(error) = self.diversion.send(packet) {
            tracing::debug!(%error, "a packet to the guest is dropped");
        }
    }
}

/// Whether the process, or the machine, has no descriptor or no memory left for a socket.
pub(crate) fn is_exhausted(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = 105;
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS))
        || error.kind() == io::ErrorKind::OutOfMemory
}

/// A flow that has panicked is told in the log; the others go on.
pub(crate) fn note_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a flow has panicked");
    }
}

impl<O: Outside> fmt::Debug for Gateway<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}
