//! Ports of the host that lead to the guest.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use ropeway::net::{TcpStream, UdpSocket};
use tokio::net::{TcpListener, UdpSocket as HostUdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::counters::add;
use crate::gateway::{Shared, note_panic};
use crate::outside::{Outside, Stream};
use crate::settings::Forward;
use crate::tcp::{RETRY, join};

/// Datagrams for one sender's flow that wait to be sent on, and bytes of all flows of a port.
const QUEUE: usize = 64;
const WAITING: usize = 4 << 20;
const LONGEST: usize = 65_535;

pub(crate) enum Bound {
    Tcp(TcpListener),
    Udp(Arc<HostUdpSocket>),
}

/// Claims the host's ports.
pub(crate) async fn bind<O: Outside>(shared: &Shared<O>) -> io::Result<Vec<(Bound, SocketAddr)>> {
    let mut bound = Vec::new();
    for forward in &shared.settings.forwards {
        let Forward { udp, at, to } = *forward;
        let socket = match udp {
            false => TcpListener::bind(at).await.map(Bound::Tcp),
            true => HostUdpSocket::bind(at).await.map(|socket| Bound::Udp(Arc::new(socket))),
        };
        let named = |error: io::Error| io::Error::new(error.kind(), format!("forwarding from {at}: {error}"));
        bound.push((socket.map_err(named)?, to));
    }
    Ok(bound)
}

/// Serves them all.
pub(crate) async fn run<O: Outside>(
    shared: Arc<Shared<O>>,
    forwards: Vec<(Bound, SocketAddr)>,
) -> io::Result<()> {
    let mut all = JoinSet::new();
    for (bound, to) in forwards {
        let shared = Arc::clone(&shared);
        match bound {
            Bound::Tcp(listener) => all.spawn(connections(shared, listener, to)),
            Bound::Udp(socket) => all.spawn(datagrams(shared, socket, to)),
        };
    }
    while let Some(ended) = all.join_next().await {
        ended.map_err(io::Error::other)?;
    }
    Ok(())
}

async fn connections<O: Outside>(shared: Arc<Shared<O>>, listener: TcpListener, to: SocketAddr) {
    let mut flows = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            Some(ended) = flows.join_next() => {
                note_panic(ended);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let outside = match accepted {
            Ok((outside, _)) => outside,
            Err(error) => {
                // There are no more descriptors, or the peer has given up already.
                tracing::debug!(%error, "a connection could not be accepted");
                add(&shared.counts.out_of_descriptors, 1);
                sleep(RETRY).await;
                continue;
            }
        };
        let places = (shared.tcp_flows.clone().try_acquire_owned(), shared.descriptor());
        let (Ok(place), Some(descriptor)) = places else {
            add(&shared.counts.over_limit, 1);
            outside.abort();
            continue;
        };
        let shared = Arc::clone(&shared);
        flows.spawn(async move {
            let _places = (place, descriptor);
            let connected =
                timeout(shared.settings.connect_timeout, TcpStream::connect_on(&shared.stack, to));
            let Ok(Ok(guest)) = connected.await else {
                add(&shared.counts.tcp_failed, 1);
                return outside.abort();
            };
            let _over = outside.set_nodelay(true);
            add(&shared.counts.forwarded, 1);
            join(&shared, guest, outside).await;
        });
    }
}

thread_local! {
    /// Where the guest's answers are read to.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; LONGEST].into());
}

/// A datagram that waits, and its part of what may.
struct Waiting {
    data: Box<[u8]>,
    _part: OwnedSemaphorePermit,
}

/// Each sender outside has a socket of its own on the stack, by which the guest's answers find back.
async fn datagrams<O: Outside>(shared: Arc<Shared<O>>, socket: Arc<HostUdpSocket>, to: SocketAddr) {
    let mut flows: HashMap<SocketAddr, mpsc::Sender<Waiting>> = HashMap::new();
    let room = Arc::new(Semaphore::new(WAITING));
    let mut tasks = JoinSet::new();
    let mut buf = vec![0; LONGEST];
    loop {
        let received = tokio::select! {
            biased;
            Some(ended) = tasks.join_next() => {
                flows.retain(|_, flow| !flow.is_closed());
                note_panic(ended);
                continue;
            }
            received = socket.recv_from(&mut buf) => received,
        };
        // An error is about an answer that was sent: its receiver is gone.
        let Ok((len, from)) = received else { continue };
        let part = u32::try_from(len).ok().and_then(|len| room.clone().try_acquire_many_owned(len).ok());
        let Some(part) = part else {
            add(&shared.counts.udp_dropped, 1);
            continue;
        };
        let waiting = Waiting { data: buf.get(..len).unwrap_or_default().into(), _part: part };
        if let Some(flow) = flows.get(&from).filter(|flow| !flow.is_closed()) {
            let dropped = flow.try_send(waiting).is_err();
            add(if dropped { &shared.counts.udp_dropped } else { &shared.counts.forwarded_datagrams }, 1);
            continue;
        }
        if flows.len() >= shared.settings.limits.udp_flows {
            add(&shared.counts.over_limit, 1);
            continue;
        }
        let (sender, queue) = mpsc::channel(QUEUE);
        // There is room for the first.
        let _first = sender.try_send(waiting);
        add(&shared.counts.forwarded_datagrams, 1);
        flows.insert(from, sender);
        let (shared, socket) = (Arc::clone(&shared), Arc::clone(&socket));
        tasks.spawn(async move {
            if let Err(error) = carry(&shared, &socket, from, to, queue).await {
                tracing::debug!(%from, %to, %error, "a forwarded flow has ended");
            }
        });
    }
}

async fn carry<O: Outside>(
    shared: &Shared<O>,
    outside: &HostUdpSocket,
    from: SocketAddr,
    to: SocketAddr,
    mut waiting: mpsc::Receiver<Waiting>,
) -> io::Result<()> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let guest = UdpSocket::bind_on(&shared.stack, any).await?;
    guest.connect(to).await?;
    loop {
        let next = timeout(shared.settings.udp_idle, async {
            tokio::select! {
                biased;
                waiting = waiting.recv() => Ok(waiting),
                readable = guest.readable() => readable.map(|()| None),
            }
        });
        let Ok(next) = next.await else { return Ok(()) };
        let done = match next? {
            Some(Waiting { data, .. }) => guest.send(&data).await.map(drop),
            None => answer(&guest, outside, from),
        };
        match done {
            // Nobody listens at the guest's port, now: whoever asks again is heard again.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => done?,
        }
    }
}

/// Passes on what the guest has answered. What the host's socket does not take is lost, as on any link.
fn answer(guest: &UdpSocket, outside: &HostUdpSocket, to: SocketAddr) -> io::Result<()> {
    SCRATCH.with_borrow_mut(|scratch| {
        loop {
            let len = guest.try_recv(scratch)?;
            let _lost = outside.try_send_to(scratch.get(..len).unwrap_or_default(), to);
        }
    })
}
