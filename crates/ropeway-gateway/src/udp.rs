//! UDP: a connected socket outside for each flow of the guest's, until it is idle.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ropeway::net::udp::{Outgoing, RecvMeta};
use ropeway::packet::{IpParams, Protocol, UnreachableKind, udp};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::counters::{Open, add};
use crate::dns;
use crate::gateway::{Refused, Shared, is_exhausted, note_panic};
use crate::outside::{Datagrams, Outside};
use crate::policy::FlowKind;

/// What is read at a time, of the guest's: trains of several flows.
const TRAINS: usize = 8;
const LONGEST: usize = 65_535;

thread_local! {
    /// Where datagrams from outside are read to.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; LONGEST].into());
}

/// The guest's end, and where it sends to.
type Ends = (SocketAddr, SocketAddr);

struct UdpFlow<D> {
    socket: D,
    ends: Ends,
    /// When it was last used, in milliseconds since the gateway began to work.
    used: AtomicU64,
    /// Bytes of the last datagram: what an ICMP error quotes.
    last_len: AtomicU64,
}

struct Entry<D> {
    flow: Arc<UdpFlow<D>>,
    task: AbortHandle,
}

type Table<D> = Mutex<HashMap<Ends, Entry<D>>>;

/// Takes the guest's datagrams until the stack ends.
pub(crate) async fn run<O: Outside>(shared: Arc<Shared<O>>) -> io::Result<()> {
    let mut udp = Udp {
        begin: Instant::now(),
        table: Arc::new(Mutex::new(HashMap::new())),
        tasks: JoinSet::new(),
        shared,
    };
    let mut room = vec![0; TRAINS * LONGEST];
    let mut meta = [RecvMeta::default(); TRAINS];
    loop {
        let mut bufs: Vec<_> = room.chunks_mut(LONGEST).map(IoSliceMut::new).collect();
        let trains = tokio::select! {
            biased;
            Some(ended) = udp.tasks.join_next() => {
                note_panic(ended);
                continue;
            }
            received = udp.shared.datagrams.recv_trains(&mut bufs, &mut meta) => received?,
        };
        for (buf, meta) in bufs.iter().zip(&meta).take(trains) {
            udp.take(buf.get(..meta.len).unwrap_or_default(), meta).await;
        }
    }
}

struct Udp<O: Outside> {
    begin: Instant,
    table: Arc<Table<O::Datagrams>>,
    tasks: JoinSet<()>,
    shared: Arc<Shared<O>>,
}

impl<O: Outside> Udp<O> {
    /// Datagrams of one flow.
    async fn take(&mut self, data: &[u8], meta: &RecvMeta) {
        let ends = (meta.remote, meta.local);
        if dns::is_query_to(&self.shared, meta.local) {
            for query in data.chunks(meta.stride.max(1)) {
                dns::take(&self.shared, &mut self.tasks, query, ends);
            }
            return;
        }
        let known = locked(&self.table).get(&ends).map(|entry| Arc::clone(&entry.flow));
        let flow = match known {
            Some(flow) => flow,
            None => match self.open(data, meta).await {
                Some(flow) => flow,
                None => return,
            },
        };
        let now = elapsed(self.begin);
        flow.used.store(now, Ordering::Relaxed);
        flow.last_len.store(data.len().min(meta.stride) as u64, Ordering::Relaxed);
        let size = u16::try_from(meta.stride).ok().filter(|size| usize::from(*size) < data.len());
        let count = data.len().div_ceil(meta.stride.max(1)).max(1) as u64;
        match flow.socket.try_send(data, size) {
            Ok(()) => add(&self.shared.counts.udp_sent, count),
            Err(error) => {
                add(&self.shared.counts.udp_dropped, count);
                self.shared.tell(&flow, &error);
            }
        }
    }

    async fn open(&mut self, data: &[u8], meta: &RecvMeta) -> Option<Arc<UdpFlow<O::Datagrams>>> {
        let (shared, ends) = (Arc::clone(&self.shared), (meta.remote, meta.local));
        let first = data.get(..meta.stride).unwrap_or(data);
        let refuse = |kind| shared.unreachable(&quote(ends, first.len()), (ends.1.ip(), ends.0.ip()), kind);
        let target = match shared.target(FlowKind::Udp, ends.0, ends.1).await {
            Ok(target) => target,
            Err(Refused::Silently) => return None,
            Err(Refused::Told) => {
                refuse(UnreachableKind::AdminProhibited);
                return None;
            }
            Err(Refused::Failed(error)) => {
                refuse(kind_of(&error));
                return None;
            }
        };
        if locked(&self.table).len() >= shared.settings.limits.udp_flows {
            self.evict();
        }
        let descriptor = match shared.descriptor() {
            Some(descriptor) => descriptor,
            None => {
                self.evict();
                add(&shared.counts.over_limit, 1);
                return None;
            }
        };
        let socket = match shared.outside.datagrams(target.address).await {
            Ok(socket) => socket,
            Err(error) => {
                if is_exhausted(&error) {
                    // The one that was idle longest makes room for the guest's next attempt.
                    add(&shared.counts.out_of_descriptors, 1);
                    self.evict();
                } else {
                    refuse(kind_of(&error));
                }
                return None;
            }
        };
        // The address may have become the host's own since it was looked at. Nothing has been sent yet.
        let is_own = socket.local_addr().is_ok_and(|local| local.ip() == target.address.ip());
        if is_own && !target.named {
            add(&shared.counts.forbidden, 1);
            refuse(UnreachableKind::AdminProhibited);
            return None;
        }
        add(&shared.counts.udp_opened, 1);
        let now = AtomicU64::new(elapsed(self.begin));
        let flow = Arc::new(UdpFlow { socket, ends, used: now, last_len: AtomicU64::new(0) });
        let mut table = locked(&self.table);
        let carrying = carry(
            Arc::clone(&self.shared),
            Arc::clone(&flow),
            Arc::clone(&self.table),
            self.begin,
            descriptor,
        );
        let task = self.tasks.spawn(carrying);
        table.insert(ends, Entry { flow: Arc::clone(&flow), task });
        Some(flow)
    }

    /// Ends the flow that has been idle longest.
    fn evict(&self) {
        let mut table = locked(&self.table);
        let oldest = table.iter().min_by_key(|(_, entry)| entry.flow.used.load(Ordering::Relaxed));
        let Some(ends) = oldest.map(|(ends, _)| *ends) else { return };
        if let Some(entry) = table.remove(&ends) {
            entry.task.abort();
            add(&self.shared.counts.udp_evicted, 1);
        }
    }
}

/// Carries what comes from outside, until the flow has been idle for long enough.
async fn carry<O: Outside>(
    shared: Arc<Shared<O>>,
    flow: Arc<UdpFlow<O::Datagrams>>,
    table: Arc<Table<O::Datagrams>>,
    begin: Instant,
    _descriptor: OwnedSemaphorePermit,
) {
    let _open = Open::new(&shared.counts.udp_open);
    let idle = shared.settings.udp_idle;
    loop {
        let used = Duration::from_millis(flow.used.load(Ordering::Relaxed));
        tokio::select! {
            biased;
            readable = flow.socket.readable() => {
                if readable.is_err() {
                    break;
                }
                if shared.deliver(&flow).await {
                    flow.used.store(elapsed(begin), Ordering::Relaxed);
                }
            }
            () = sleep_until(begin + used + idle) => {
                let last = Duration::from_millis(flow.used.load(Ordering::Relaxed));
                if begin + last + idle <= Instant::now() {
                    break;
                }
            }
        }
    }
    locked(&table).remove(&flow.ends);
}

impl<O: Outside> Shared<O> {
    /// Gives the guest what is there from outside. Says whether anything was.
    async fn deliver(&self, flow: &UdpFlow<O::Datagrams>) -> bool {
        let (guest, from) = flow.ends;
        let mut any = false;
        loop {
            let received = SCRATCH.with_borrow_mut(|scratch| {
                let (len, size) = flow.socket.try_recv(scratch)?;
                let data = scratch.get(..len).unwrap_or_default();
                let how =
                    Outgoing { to: Some(guest), from: Some(from), segment_size: size, ..Outgoing::default() };
                let count = size.map_or(1, |size| len.div_ceil(usize::from(size.max(1))).max(1)) as u64;
                let rest = match self.datagrams.try_send_train(data, &how) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(data.to_vec())),
                    sent => sent.map(|()| None),
                };
                io::Result::Ok((rest, how, count))
            });
            match received {
                Ok((sent, how, count)) => {
                    any = true;
                    // The guest's queue is full: this flow waits, and what comes meanwhile waits in its socket.
                    let sent = match sent {
                        Ok(Some(data)) => self.datagrams.send_train(&data, &how).await,
                        sent => sent.map(drop),
                    };
                    let counter = match sent {
                        Ok(()) => &self.counts.udp_received,
                        Err(_) => &self.counts.udp_dropped,
                    };
                    add(counter, count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return any,
                Err(error) => {
                    self.tell(flow, &error);
                    return any;
                }
            }
        }
    }

    /// Tells the guest of an error about one of its datagrams.
    fn tell(&self, flow: &UdpFlow<O::Datagrams>, error: &io::Error) {
        if error.kind() == io::ErrorKind::WouldBlock {
            return;
        }
        let (guest, to) = flow.ends;
        let len = usize::try_from(flow.last_len.load(Ordering::Relaxed)).unwrap_or(0);
        self.unreachable(&quote(flow.ends, len), (to.ip(), guest.ip()), kind_of(error));
    }
}

fn kind_of(error: &io::Error) -> UnreachableKind {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => UnreachableKind::Port,
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => UnreachableKind::Network,
        io::ErrorKind::PermissionDenied => UnreachableKind::AdminProhibited,
        _ => UnreachableKind::Host,
    }
}

/// The headers of a datagram of the guest's, for an ICMP error to quote: what its sender is found by.
fn quote((guest, to): Ends, len: usize) -> Vec<u8> {
    let params = IpParams {
        src: guest.ip(),
        dst: to.ip(),
        protocol: Protocol::UDP,
        hop_limit: 64,
        traffic_class: 0,
        dont_fragment: false,
        ident: 0,
        flow_label: 0,
    };
    // An ICMP error quotes 576 bytes of it at most.
    let data = vec![0; len.min(LONGEST - 100)];
    udp::emit(&params, guest.port(), to.port(), &data).unwrap_or_default()
}

fn elapsed(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn locked<T>(table: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
