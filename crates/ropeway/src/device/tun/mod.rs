//! A TUN device: the kernel's end of a point-to-point link whose other end is us.

mod builder;
mod busy;
mod counters;
mod error;
mod name;
mod netlink;
mod queue;
mod sys;
mod vnet;

use std::collections::VecDeque;
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::{coop, yield_now};

pub use self::builder::TunBuilder;
use self::busy::BusyPoll;
use self::counters::Counts;
pub use self::counters::TunCounters;
pub use self::error::TunError;
use self::netlink::Interface;
use self::queue::Queue;
use super::{Capabilities, Device, Received, Transmit};

/// A TUN device of Linux, made through tokio-tun.
///
/// The kernel routes packets to it as to any interface; what it sends there, we receive, and what we send,
/// it receives from there. So the kernel's side has an address (on the interface) and our side has another
/// one of the same network (in the [stack](crate::Stack)).
///
/// The device belongs to the network namespace of the thread that made it. It needs `CAP_NET_ADMIN` there, or
/// a persistent device that root made for this user. It ends with an error that says so when somebody deletes
/// it; a link that is down only loses packets.
///
/// # Examples
///
/// ```no_run
/// use ropeway::device::tun::TunDevice;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let device = TunDevice::builder()
///     .name("rope0")
///     .address("10.9.0.1/24".parse()?) // the kernel's address
///     .address("fd09::1/64".parse()?)
///     .up()
///     .build()?;
/// println!("{} carries packets of up to {} bytes", device.name(), device.mtu());
/// # Ok(())
/// # }
/// ```
pub struct TunDevice {
    name: String,
    queue: Queue,
    /// Set while there is nothing to read, or the kernel takes no more. Without it nobody is called for each
    /// packet that arrives, which costs a busy device a tenth of its time.
    watch: Option<Watch>,
    /// Reads in a row that found nothing.
    dry: u32,
    busy: BusyPoll,
    /// The last write found no room.
    blocked: bool,
    /// It has been deleted.
    gone: bool,
    mtu: u16,
    counters: Arc<Counts>,
    /// Other queues, for those who ask for them.
    resting: Vec<File>,
}

/// Who is told when an idle device has something to read, has room, or is deleted.
struct Watch {
    ready: AsyncFd<Arc<File>>,
    /// Ends when the device has been deleted. The kernel tells it as an error condition, which is neither
    /// readability nor writability; who waits for these would wait for ever.
    deleted: Pin<Box<dyn Future<Output = io::Error> + Send>>,
}

impl Watch {
    fn new(queue: &Arc<File>, name: &str) -> io::Result<Self> {
        let ready = sys::watch(Arc::clone(queue))?;
        Ok(Self { ready, deleted: Box::pin(deletion(queue, name)?) })
    }
}

/// So many bytes are enough for a batch: two trains, or more packets than a batch has.
const BATCH_BYTES: usize = 128 * 1024;

/// So many turns of the driver may find nothing before the device is watched: as many as it takes for the
/// kernel to answer what we have just sent.
const PATIENCE: u32 = 4;

impl TunDevice {
    /// Starts to describe a device that is to be made.
    pub fn builder() -> TunBuilder {
        TunBuilder::new()
    }

    /// Attaches to the persistent device `name` of the calling thread's network namespace, and leaves its
    /// settings alone. This needs no rights if root made the device for this user:
    /// `ip tuntap add dev rope0 mode tun user alice vnet_hdr`.
    ///
    /// It has offload where the kernel tells that the device has a header before each packet
    /// (`ip tuntap add dev rope0 mode tun user alice vnet_hdr`). A device that may have several queues (`multi_queue`) is used
    /// with one. The device stays when the `TunDevice` is dropped.
    ///
    /// # Errors
    ///
    /// A [`TunError`] in an [`io::Error`]: `NotFound` when there is no interface of that name or no
    /// `/dev/net/tun`, `PermissionDenied` when it is not this user's, `ResourceBusy` when another program is
    /// attached, or another queue of this one, `InvalidInput` when it is no TUN device, `Other` outside of a runtime.
    ///
    /// # Panics
    ///
    /// If the runtime has no I/O driver, as every socket of Tokio's.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> std::io::Result<()> {
    /// let device = ropeway::device::tun::TunDevice::attach("rope0")?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn attach(name: &str) -> io::Result<Self> {
        builder::attach(name)
    }

    /// Takes over a TUN device that somebody else has opened, attached and configured: by a descriptor that a process in another
    /// network namespace has sent, for example. Packets of up to `mtu` bytes are expected; the MTU of a device elsewhere cannot be
    /// asked for. It has offload if there is a header before each packet (`IFF_VNET_HDR`).
    ///
    /// # Errors
    ///
    /// A [`TunError`] in an [`io::Error`]: `InvalidInput` when it is no TUN device, or one with packet information (no `IFF_NO_PI`);
    /// `Other` outside of a runtime.
    ///
    /// # Panics
    ///
    /// If the runtime has no I/O driver, as every socket of Tokio's.
    pub fn from_fd(device: OwnedFd, mtu: u16) -> io::Result<Self> {
        builder::adopt(device, mtu)
    }

    fn new(
        file: File,
        resting: Vec<File>,
        name: &str,
        mtu: u16,
        offload: bool,
        busy: BusyPoll,
        is_here: bool,
    ) -> io::Result<Self> {
        // In another network namespace, somebody else may have that name.
        let interface = name::InterfaceName::new(name)
            .ok()
            .filter(|_| is_here)
            .and_then(|name| sys::interface_index(&name));
        let interface = interface.and_then(|index| Interface::open(index).ok());
        Ok(Self {
            name: name.to_owned(),
            queue: Queue::new(file, mtu, offload),
            watch: None,
            dry: 0,
            busy,
            blocked: false,
            gone: false,
            mtu,
            counters: Arc::new(Counts { interface: Mutex::new(interface), ..Counts::default() }),
            resting,
        })
    }

    /// The interface's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The longest packet that the device carries, in bytes: as it was when the device was opened.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Whether segments cross the device in trains of up to 64 KiB, and nobody computes their checksums
    /// ([`TunBuilder::offload`]).
    #[must_use]
    pub fn has_offload(&self) -> bool {
        self.queue.has_offload()
    }

    /// A handle to the counts of what was lost, which outlives the device.
    #[must_use]
    pub fn counters(&self) -> TunCounters {
        TunCounters::of(&self.counters)
    }

    /// Reads packets until `batch` has gained `max` or the kernel has no more.
    fn read_batch(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        let start = batch.len();
        let mut bytes = 0;
        while batch.len() - start < max && bytes < BATCH_BYTES {
            match self.read_packet(cx) {
                Poll::Ready(Ok(Some(packet))) => {
                    bytes += packet.packet.len();
                    batch.push(packet);
                }
                Poll::Ready(Ok(None)) => {}
                // After packets an error can wait: it comes again.
                _ if batch.len() > start => {
                    self.dry = 0;
                    if self.busy.go_on() {
                        self.rest_no_more();
                    }
                    return Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return self.poll_deleted(cx).map(Err),
            }
        }
        self.dry = 0;
        self.busy.go_on();
        self.rest_no_more();
        Poll::Ready(Ok(()))
    }

    /// Reads what comes without being called for it. The driver's next turn has to be certain.
    fn rest_no_more(&mut self) {
        if !self.blocked {
            self.watch = None;
        }
    }

    /// Reads one packet; `None` if it had to be thrown away.
    fn read_packet(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Received>>> {
        loop {
            let guard = match &self.watch {
                Some(watch) => Some(ready!(watch.ready.poll_read_ready(cx))?),
                None => None,
            };
            let error = match self.queue.read(&self.counters) {
                Ok(received) => return Poll::Ready(Ok(received)),
                Err(error) => error,
            };
            match (error.kind(), guard) {
                (io::ErrorKind::Interrupted, _) => {}
                (io::ErrorKind::WouldBlock, Some(mut guard)) => guard.clear_ready(),
                (io::ErrorKind::WouldBlock, None) => {
                    self.dry += 1;
                    if self.dry < PATIENCE || self.busy.is_on() {
                        return pin!(yield_now()).poll(cx).map(|()| Ok(None));
                    }
                    self.watch = Some(Watch::new(self.queue.file(), &self.name)?);
                }
                _ => return Poll::Ready(Err(self.fatal(error))),
            }
        }
    }

    /// Sends one packet, or drops it if it can never be sent.
    fn write_packet(&mut self, cx: &mut Context<'_>, packet: &Transmit) -> Poll<io::Result<()>> {
        loop {
            let guard = match &self.watch {
                Some(watch) if self.blocked => Some(ready!(watch.ready.poll_write_ready(cx))?),
                _ => None,
            };
            let Err(error) = self.queue.write(packet) else {
                self.blocked = false;
                return Poll::Ready(Ok(()));
            };
            match (error.kind(), guard) {
                (io::ErrorKind::Interrupted, _) => {}
                (io::ErrorKind::WouldBlock, Some(mut guard)) => guard.clear_ready(),
                (io::ErrorKind::WouldBlock, None) => {
                    self.blocked = true;
                    if self.watch.is_none() {
                        self.watch = Some(Watch::new(self.queue.file(), &self.name)?);
                    }
                }
                _ => {
                    self.blocked = false;
                    return Poll::Ready(self.drop_or_fail(error));
                }
            }
        }
    }

    /// After a write that failed for good: whether it is the packet that is lost, or the device.
    fn drop_or_fail(&self, error: io::Error) -> io::Result<()> {
        match error.raw_os_error() {
            Some(libc::EBADFD) => return Err(self.fatal(error)),
            Some(libc::EIO) => Counts::add(&self.counters.link_down),
            _ => Counts::add(&self.counters.refused),
        }
        tracing::debug!(device = self.name(), %error, "packet dropped");
        Ok(())
    }

    fn poll_deleted(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.gone {
            return Poll::Ready(TunError::Deleted { name: self.name().to_owned() }.into());
        }
        let Some(watch) = &mut self.watch else { return Poll::Pending };
        let error = ready!(watch.deleted.as_mut().poll(cx));
        self.gone = true;
        Poll::Ready(error)
    }

    fn fatal(&self, error: io::Error) -> io::Error {
        match error.raw_os_error() {
            Some(libc::EBADFD) => TunError::Deleted { name: self.name().to_owned() }.into(),
            _ => error,
        }
    }
}

impl Device for TunDevice {
    fn capabilities(&self) -> Capabilities {
        Capabilities::new(self.mtu)
            .with_packets_of_machine(true)
            .with_tx_checksum_offload(self.queue.has_offload())
            .with_longest_train(u16::MAX)
    }

    fn set_offload(&mut self, on: bool) -> io::Result<()> {
        if self.queue.has_offload() { sys::set_offload(&**self.queue.file(), on) } else { Ok(()) }
    }

    fn another_queue(&mut self) -> io::Result<Option<Box<dyn Device>>> {
        let Some(file) = self.resting.pop() else { return Ok(None) };
        sys::set_queue(&file, true)?;
        Ok(Some(Box::new(Self {
            name: self.name.clone(),
            queue: Queue::new(file, self.mtu, self.has_offload()),
            watch: None,
            dry: 0,
            busy: self.busy.clone(),
            blocked: false,
            gone: false,
            mtu: self.mtu,
            counters: Arc::clone(&self.counters),
            resting: Vec::new(),
        })))
    }

    fn slabs(&self) -> usize {
        self.queue.slabs()
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        batch: &mut Vec<Received>,
        max: usize,
    ) -> Poll<io::Result<()>> {
        // The driver has a budget of its own; Tokio's would end a batch in the middle of nowhere.
        pin!(coop::unconstrained(poll_fn(|cx| self.read_batch(cx, batch, max)))).poll(cx)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut VecDeque<Transmit>) -> Poll<io::Result<()>> {
        while let Some(packet) = queue.front() {
            if !packet.is_empty() {
                ready!(self.write_packet(cx, packet))?;
            }
            queue.pop_front();
        }
        // What has been sent may be answered.
        if self.busy.go_on() && self.watch.is_some() {
            self.rest_no_more();
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn flush(&mut self, queue: &mut VecDeque<Transmit>) {
        while let Some(packet) = queue.front() {
            let result = if packet.is_empty() { Ok(()) } else { self.queue.write(packet) };
            match result.map_err(|error| error.kind()) {
                Err(io::ErrorKind::Interrupted) => {}
                Err(io::ErrorKind::WouldBlock) => return,
                Ok(_) | Err(_) => drop(queue.pop_front()),
            }
        }
    }
}

/// Its first queue. A duplicate keeps the device alive, and can be [taken over](TunDevice::from_fd) elsewhere.
impl AsFd for TunDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.file().as_fd()
    }
}

impl std::fmt::Debug for TunDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TunDevice")
            .field("name", &self.name())
            .field("mtu", &self.mtu)
            .finish_non_exhaustive()
    }
}

/// A future that ends, with the error to tell, when the device is deleted.
fn deletion(queue: &File, name: &str) -> io::Result<impl Future<Output = io::Error> + Send + use<>> {
    let watch = sys::watch_for_errors(queue)?;
    let name = name.to_owned();
    Ok(async move {
        loop {
            match watch.ready(Interest::ERROR).await {
                Ok(mut guard) => {
                    if sys::interface_flags(&watch).is_err() {
                        return TunError::Deleted { name }.into();
                    }
                    guard.clear_ready();
                }
                // The runtime is being shut down.
                Err(error) => return error,
            }
        }
    })
}
