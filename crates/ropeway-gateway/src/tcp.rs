//! TCP: the outside's connection first, then the guest's.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ropeway::net::TcpStream;
use ropeway::net::tcp::{AnyListener, Incoming, Rejection};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::counters::{Open, add};
use crate::gateway::{Refused, Shared, is_exhausted};
use crate::outside::{Outside, Stream};
use crate::policy::FlowKind;
use crate::relay::relay;

/// SYNs that may wait until they are looked at.
pub(crate) const BACKLOG: usize = 1024;

/// When descriptors have run out, one may be free again after this.
pub(crate) const RETRY: Duration = Duration::from_millis(50);

/// Takes the guest's connections until the stack ends.
pub(crate) async fn run<O: Outside>(shared: Arc<Shared<O>>, listener: AnyListener) -> io::Result<()> {
    let mut flows = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(ended) = flows.join_next() => crate::gateway::note_panic(ended),
            incoming = listener.incoming() => {
                let incoming = incoming?;
                let places = (shared.tcp_flows.clone().try_acquire_owned(), shared.descriptor());
                let (Ok(place), Some(descriptor)) = places else {
                    add(&shared.counts.over_limit, 1);
                    incoming.reject(Rejection::Reset)?;
                    continue;
                };
                flows.spawn(carry(Arc::clone(&shared), incoming, (place, descriptor)));
            }
        }
    }
}

/// A connection of the guest's, from its SYN to its end.
async fn carry<O: Outside>(
    shared: Arc<Shared<O>>,
    incoming: Incoming,
    _places: (OwnedSemaphorePermit, OwnedSemaphorePermit),
) {
    let outside = match open(&shared, incoming.remote(), incoming.original_dst()).await {
        Ok(outside) => outside,
        Err(how) => {
            // A stack that has ended has nobody to tell.
            let _ended = incoming.reject(how);
            return;
        }
    };
    let guest = match incoming.accept().await {
        Ok(guest) => guest,
        // The guest has given up meanwhile.
        Err(_) => return outside.abort(),
    };
    add(&shared.counts.tcp_opened, 1);
    join(&shared, guest, outside).await;
}

/// Makes the outside's connection; or says how the guest is turned away.
async fn open<O: Outside>(
    shared: &Shared<O>,
    guest: SocketAddr,
    original_dst: SocketAddr,
) -> Result<O::Stream, Rejection> {
    let target = match shared.target(FlowKind::Tcp, guest, original_dst).await {
        Ok(target) => target,
        // Not by ICMP: many hosts take its errors for trouble that passes (RFC 1122 4.2.3.9), and go on asking.
        Err(Refused::Told) => return Err(Rejection::Reset),
        Err(Refused::Silently) => return Err(Rejection::Drop),
        Err(Refused::Failed(error)) => return Err(shared.failed(&error)),
    };
    let connected = timeout(shared.settings.connect_timeout, async {
        let _turn = shared.connecting.acquire().await;
        loop {
            match shared.outside.connect(target.address).await {
                Err(error) if is_exhausted(&error) => {
                    add(&shared.counts.out_of_descriptors, 1);
                    sleep(RETRY).await;
                }
                connected => return connected,
            }
        }
    });
    let stream = match connected.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(shared.failed(&error)),
        Err(_) => return Err(shared.failed(&io::ErrorKind::TimedOut.into())),
    };
    // The address may have become the host's own since it was looked at.
    let is_own = stream.ends().is_ok_and(|(local, peer)| local.ip() == peer.ip());
    if is_own && !target.named {
        add(&shared.counts.forbidden, 1);
        stream.abort();
        return Err(Rejection::Reset);
    }
    Ok(stream)
}

impl<O: Outside> Shared<O> {
    /// How a guest learns of the error that the outside had.
    fn failed(&self, error: &io::Error) -> Rejection {
        tracing::debug!(%error, "a connection could not be made");
        add(&self.counts.tcp_failed, 1);
        match error.kind() {
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => Rejection::NetworkUnreachable,
            io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut => Rejection::HostUnreachable,
            io::ErrorKind::PermissionDenied => Rejection::Unreachable,
            _ => Rejection::Reset,
        }
    }
}

/// Carries everything between the two, until both directions have ended or one end breaks.
pub(crate) async fn join<O: Outside, S: Stream>(shared: &Shared<O>, mut guest: TcpStream, mut outside: S) {
    let _open = Open::new(&shared.counts.tcp_open);
    // Whoever has written in small pieces meant it.
    let _over = guest.set_nodelay(true);
    let counts = (&shared.counts.bytes_out, &shared.counts.bytes_in);
    if let Err(error) = relay(&mut guest, &mut outside, counts).await {
        tracing::debug!(%error, "a connection has broken");
        add(&shared.counts.tcp_reset, 1);
        // Nobody may take what has come for all there is. Whichever has broken does not mind.
        guest.abort();
        outside.abort();
    }
}
