//! Sockets that are neither a stream nor a listener yet.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ropeway_core::{BindingId, SocketOptions, Stack as Core, StackConfig};
use tokio::runtime::Handle;

use super::connection::{Connection, shown};
use super::listener::TcpListener;
use super::options::{
    ECN_BITS, MIN_RECV_BUFFER, MIN_SEND_BUFFER, TcpKeepalive, buffer_size, impl_options, saturate,
};
use super::stream::TcpStream;
use super::switches::impl_switches;
use crate::Stack;
use crate::error::{self, invalid};
use crate::net::everywhere::Everywhere;
use crate::shard::Shard;

/// A TCP socket to set options on, and to bind, before it becomes a stream or a listener:
/// [`tokio::net::TcpSocket`] on ropeway's TCP.
///
/// # Examples
///
/// ```
/// use ropeway::net::TcpSocket;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let socket = TcpSocket::new_v4()?;
/// socket.set_reuseaddr(true)?;
/// socket.set_recv_buffer_size(64 * 1024)?;
/// socket.bind("127.0.0.1:8080".parse().unwrap())?;
/// let listener = socket.listen(16)?;
///
/// let socket = TcpSocket::new_v4()?;
/// socket.set_nodelay(true)?;
/// let stream = socket.connect(listener.local_addr()?).await?;
/// assert!(stream.nodelay()?);
/// # Ok(())
/// # }
/// ```
pub struct TcpSocket {
    family: Family,
    state: Mutex<SocketState>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn of(addr: SocketAddr) -> Self {
        if addr.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn unspecified(self) -> SocketAddr {
        match self {
            Self::V4 => (Ipv4Addr::UNSPECIFIED, 0).into(),
            Self::V6 => (Ipv6Addr::UNSPECIFIED, 0).into(),
        }
    }
}

#[derive(Debug)]
struct SocketState {
    /// `None` until it is needed, if there was neither a stack nor a runtime when the socket was made.
    stack: Option<Stack>,
    options: SocketOptions,
    binding: Option<Binding>,
}

impl SocketState {
    /// The stack, which from now on is the socket's.
    fn stack(&mut self) -> io::Result<Stack> {
        match &self.stack {
            Some(stack) => Ok(stack.clone()),
            None => Ok(self.stack.insert(Stack::current_or_loopback()?).clone()),
        }
    }
}

/// An address that the socket has reserved, until it is dropped.
#[derive(Debug)]
struct Binding {
    reserved: Everywhere<BindingId>,
    addr: SocketAddr,
}

impl Binding {
    /// Gives the reservation in one shard up, for a listener or a connection on its address. Nobody else can take the address
    /// in between, because `core` is locked.
    fn release(&self, core: &mut Core, shard: usize) -> SocketAddr {
        if let Some((_, id)) = self.reserved.iter().nth(shard) {
            core.release_binding(id);
        }
        self.addr
    }
}

impl Drop for Binding {
    /// Of what was released the core knows no more.
    fn drop(&mut self) {
        self.reserved.iter().for_each(|(shard, id)| release(shard, id));
    }
}

fn release(shard: &Shard, id: BindingId) {
    // A stack that has ended has no use for it.
    let _ended = shard.change(|core, _| core.release_binding(id));
}

impl TcpSocket {
    /// A socket for IPv4 on the current stack.
    ///
    /// Where there is neither a stack nor a Tokio runtime yet, the stack is chosen when the socket is bound,
    /// listens or connects.
    ///
    /// # Errors
    ///
    /// If a loopback-only stack is needed and cannot be made.
    pub fn new_v4() -> io::Result<Self> {
        Self::new_on_current(Family::V4)
    }

    /// A socket for IPv6 on the current stack. Otherwise like [`new_v4`](Self::new_v4).
    ///
    /// # Errors
    ///
    /// If a loopback-only stack is needed and cannot be made.
    pub fn new_v6() -> io::Result<Self> {
        Self::new_on_current(Family::V6)
    }

    /// A socket for IPv4 on `stack`.
    ///
    /// # Errors
    ///
    /// None as yet.
    pub fn new_v4_on(stack: &Stack) -> io::Result<Self> {
        Ok(Self::new(Family::V4, Some(stack.clone())))
    }

    /// A socket for IPv6 on `stack`.
    ///
    /// # Errors
    ///
    /// None as yet.
    pub fn new_v6_on(stack: &Stack) -> io::Result<Self> {
        Ok(Self::new(Family::V6, Some(stack.clone())))
    }

    fn new_on_current(family: Family) -> io::Result<Self> {
        let somewhere = Stack::current().is_some() || Handle::try_current().is_ok();
        let stack = somewhere.then(Stack::current_or_loopback).transpose()?;
        Ok(Self::new(family, stack))
    }

    fn new(family: Family, stack: Option<Stack>) -> Self {
        let options = stack.as_ref().map(Stack::default_options).unwrap_or_default();
        Self { family, state: Mutex::new(SocketState { stack, options, binding: None }) }
    }

    /// Whether the address may be bound although old connections from it are in TIME-WAIT
    /// (`SO_REUSEADDR`).
    ///
    /// # Errors
    ///
    /// None as yet.
    pub fn reuseaddr(&self) -> io::Result<bool> {
        self.options(|options| options.reuse_addr)
    }

    /// Sets whether the address may be bound although old connections from it are in TIME-WAIT
    /// (`SO_REUSEADDR`). Off by default here, and on for [`TcpListener::bind`].
    ///
    /// # Errors
    ///
    /// None as yet.
    pub fn set_reuseaddr(&self, reuseaddr: bool) -> io::Result<()> {
        self.update_options(|options| options.reuse_addr = reuseaddr)
    }

    /// Whether several listeners may share the address (`SO_REUSEPORT`).
    ///
    /// # Errors
    ///
    /// None as yet.
    pub fn reuseport(&self) -> io::Result<bool> {
        self.options(|options| options.reuse_port)
    }

    /// Sets whether several listeners may share the address, if all of them set this (`SO_REUSEPORT`).
    ///
    /// # Errors
    ///
    /// None as yet.
    pub fn set_reuseport(&self, reuseport: bool) -> io::Result<()> {
        self.update_options(|options| options.reuse_port = reuseport)
    }

    /// Use [`tos_v4`](Self::tos_v4).
    ///
    /// # Errors
    ///
    /// None as yet.
    #[deprecated(note = "`tos` related methods have been renamed `tos_v4` since they are IPv4-specific.")]
    #[doc(hidden)]
    pub fn tos(&self) -> io::Result<u32> {
        self.tos_v4()
    }

    /// Use [`set_tos_v4`](Self::set_tos_v4).
    ///
    /// # Errors
    ///
    /// None as yet.
    #[deprecated(note = "`tos` related methods have been renamed `tos_v4` since they are IPv4-specific.")]
    #[doc(hidden)]
    pub fn set_tos(&self, tos: u32) -> io::Result<()> {
        self.set_tos_v4(tos)
    }

    /// The device that the socket is bound to (`SO_BINDTODEVICE`): none. A stack has one device.
    ///
    /// # Errors
    ///
    /// None as yet.
    pub fn device(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Undoes a binding to a device (`SO_BINDTODEVICE`), of which there is none.
    ///
    /// # Errors
    ///
    /// ENODEV for a name: a stack has one device, so choose the stack, as with [`new_v4_on`](Self::new_v4_on).
    pub fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
        match interface {
            None | Some([]) => Ok(()),
            Some(_) => Err(error::no_device()),
        }
    }

    /// The most payload bytes that a segment may have, if that was set; otherwise 536, as in Linux
    /// (`TCP_MAXSEG`).
    ///
    /// # Errors
    ///
    /// None as yet.
    pub fn tcp_mss(&self) -> io::Result<u32> {
        self.options(|options| options.max_segment.unwrap_or(536).into())
    }

    /// The address that the socket is bound to; unspecified, with port 0, before that.
    ///
    /// # Errors
    ///
    /// None as yet.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let state = self.lock();
        Ok(state.binding.as_ref().map_or(self.family.unspecified(), |binding| binding.addr))
    }

    /// The pending error (`SO_ERROR`). A socket that has done nothing yet has none.
    ///
    /// # Errors
    ///
    /// None as yet.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(None)
    }

    /// Reserves an address. Port 0 chooses a free one.
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse); [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) for an
    /// address that is not the stack's; [`InvalidInput`](io::ErrorKind::InvalidInput) if the socket is bound
    /// already; as in Linux, for an address of the other family, EAFNOSUPPORT for IPv6 on an IPv4 socket, and EINVAL
    /// for IPv4 on an IPv6 socket; if the stack has ended.
    pub fn bind(&self, addr: SocketAddr) -> io::Result<()> {
        self.check_family(addr)?;
        let mut state = self.lock();
        if state.binding.is_some() {
            return Err(invalid("the socket is bound already"));
        }
        let stack = state.stack()?;
        let bind = |core: &mut Core, _, addr| core.bind(addr, &state.options);
        let (reserved, addr) = Everywhere::claim(&stack, addr, bind, release)?;
        let addr = shown(addr, self.family == Family::V6);
        state.binding = Some(Binding { reserved, addr });
        Ok(())
    }

    /// Opens a connection.
    ///
    /// # Errors
    ///
    /// Those of [`TcpStream::connect`]; for an address of the other family those of [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped closes the connection it was opening.
    pub async fn connect(self, addr: SocketAddr) -> io::Result<TcpStream> {
        self.check_family(addr)?;
        let (stack, options, binding) = self.into_parts()?;
        let local = binding.as_ref().map(|binding| binding.addr);
        let number = stack.shard_to_connect(local, addr)?;
        let start = |core: &mut Core, now| {
            let local = binding.as_ref().map(|binding| binding.release(core, number));
            core.connect(now, local, addr, options).map_err(|error| error::connect(error, addr))
        };
        Ok(TcpStream::new(Connection::open(stack.clone(), stack.numbered(number), addr, start).await?))
    }

    /// Opens a connection and sends `data`, as much of it as may be with the SYN (TCP Fast Open, RFC 7413; `sendto` with
    /// `MSG_FASTOPEN`). It comes back when the connection is open and all of `data` is written, as by
    /// [`connect`](Self::connect) and `write_all`, but saves a round trip with a server that knows Fast Open and has given the
    /// stack a cookie: the first call asks for one, and those that follow within a day use it.
    /// [`TcpInfo::syn_data`](crate::TcpInfo::syn_data) tells whether the server has taken the data with the SYN; if not, it was sent
    /// again in the usual way.
    ///
    /// **The request must be idempotent**, like a GET: the network may repeat a SYN after its connection has ended, and the
    /// server's application then gets the data once more (RFC 7413 2.1).
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect), and of writing.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped closes the connection. The server may have got the data all the same.
    ///
    /// # Examples
    ///
    /// ```
    /// use ropeway::Stack;
    /// use ropeway::net::TcpSocket;
    /// use tokio::io::AsyncReadExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let stack = Stack::builder().build()?;
    /// let addr = "127.0.0.1:80".parse().unwrap();
    /// let socket = TcpSocket::new_v4_on(&stack)?;
    /// socket.bind(addr)?;
    /// socket.set_fastopen(16)?;
    /// let listener = socket.listen(16)?;
    /// for took_it_with_the_syn in [false, true] {
    ///     let client = TcpSocket::new_v4_on(&stack)?.connect_with(addr, b"GET /");
    ///     let (client, accepted) = tokio::try_join!(client, listener.accept())?;
    ///     let (mut server, mut request) = (accepted.0, [0; 5]);
    ///     server.read_exact(&mut request).await?;
    ///     assert_eq!(&request, b"GET /");
    ///     assert_eq!(client.info()?.syn_data, took_it_with_the_syn);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_with(self, addr: SocketAddr, data: &[u8]) -> io::Result<TcpStream> {
        self.check_family(addr)?;
        let (stack, options, binding) = self.into_parts()?;
        let local = binding.as_ref().map(|binding| binding.addr);
        let number = stack.shard_to_connect(local, addr)?;
        let mut sent = 0;
        let start = |core: &mut Core, now| {
            let local = binding.as_ref().map(|binding| binding.release(core, number));
            let opened = core.connect_with(now, local, addr, options, data);
            let (id, with_syn) = opened.map_err(|error| error::connect(error, addr))?;
            sent = with_syn;
            Ok(id)
        };
        let connection = Connection::open(stack.clone(), stack.numbered(number), addr, start).await?;
        connection.write_all(data.get(sent..).unwrap_or_default()).await?;
        Ok(TcpStream::new(connection))
    }

    /// Listens for connections. One more than `backlog` may wait to be accepted, as on Linux; what comes then is not
    /// answered until there is room.
    ///
    /// A socket that is not bound listens on all addresses, on a port that is chosen for it.
    ///
    /// # Errors
    ///
    /// [`AddrInUse`](io::ErrorKind::AddrInUse); if the stack has ended.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        let unspecified = self.family.unspecified();
        let (stack, options, binding) = self.into_parts()?;
        let backlog = usize::try_from(backlog).unwrap_or(usize::MAX);
        let addr = binding.as_ref().map_or(unspecified, |binding| binding.addr);
        TcpListener::listen(stack, addr, |core, shard, addr| {
            if let Some(binding) = &binding {
                binding.release(core, shard);
            }
            core.listen(addr, backlog, options.clone())
        })
    }

    fn check_family(&self, addr: SocketAddr) -> io::Result<()> {
        match (self.family, Family::of(addr)) {
            (Family::V4, Family::V6) => Err(error::wrong_family()),
            (Family::V6, Family::V4) => Err(invalid("an IPv4 address on an IPv6 socket")),
            _ => Ok(()),
        }
    }

    fn into_parts(self) -> io::Result<(Stack, SocketOptions, Option<Binding>)> {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let stack = state.stack()?;
        Ok((stack, state.options, state.binding))
    }

    fn lock(&self) -> MutexGuard<'_, SocketState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn options<R>(&self, look: impl FnOnce(&SocketOptions) -> R) -> io::Result<R> {
        Ok(look(&self.lock().options))
    }

    /// Of the receive buffer and of the send buffer that a connection will begin with, in bytes.
    fn buffer_sizes(&self) -> io::Result<(usize, usize)> {
        let state = self.lock();
        let Some(stack) = &state.stack else {
            return Ok(StackConfig::default().initial_buffers(&state.options));
        };
        Ok(stack.shard().look(|core, _| core.config().initial_buffers(&state.options)))
    }

    fn update_options(&self, change: impl FnOnce(&mut SocketOptions)) -> io::Result<()> {
        change(&mut self.lock().options);
        Ok(())
    }
}

impl_options!(TcpSocket);
impl_switches!(TcpSocket);

impl fmt::Debug for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpSocket").field("addr", &self.local_addr().ok()).finish()
    }
}
