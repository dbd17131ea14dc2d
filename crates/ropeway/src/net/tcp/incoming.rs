//! Passive opens to any address and port, decided on by the program before they are answered.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::Poll;

use ropeway_core::{Accepted, ListenerId, Rejection, Stack as Core, SynOptions, Timestamp};

use super::connection::Connection;
use super::stream::TcpStream;
use crate::Stack;
use crate::error;
use crate::net::everywhere::Everywhere;
use crate::shard::{Effect, Shard, Source};
use crate::stack::current::at_home;
use crate::wait::Wait;

/// There is one such listener, whatever it is called.
const EVERY_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 1);

/// Takes connections to every address and port that no [`TcpListener`](crate::net::TcpListener) has: the
/// stack's own addresses and all others that packets come in for. Made with [`Stack::listen_any`].
///
/// Nothing is answered before the program says so, and until then a connection costs a table entry of a few
/// dozen bytes. What proxies and gateways need: connect upstream first, then let the client in.
///
/// # Examples
///
/// ```
/// use ropeway::net::tcp::Rejection;
/// use ropeway::net::TcpStream;
/// use ropeway::{Stack, device::memory};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (left, right) = memory::pair(1500);
/// let client = Stack::builder().address("10.0.0.1/8".parse()?).device(left).build()?;
/// let gateway = Stack::builder().device(right).build()?;
///
/// let listener = gateway.listen_any(1024)?;
/// tokio::spawn(async move {
///     while let Ok(incoming) = listener.incoming().await {
///         if incoming.original_dst().port() == 80 {
///             tokio::spawn(incoming.accept());
///         } else {
///             incoming.reject(Rejection::Reset)?;
///         }
///     }
///     std::io::Result::Ok(())
/// });
///
/// let stream = TcpStream::connect_on(&client, "10.99.99.99:80").await?;
/// assert_eq!(stream.peer_addr()?, "10.99.99.99:80".parse()?);
/// let refused = TcpStream::connect_on(&client, "10.99.99.99:81").await.unwrap_err();
/// assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
/// # Ok(())
/// # }
/// ```
pub struct AnyListener {
    held: Arc<Held>,
}

/// Closes the listener with the last of those that need it.
struct Held {
    listening: Everywhere<ListenerId>,
    stack: Stack,
}

impl Drop for Held {
    fn drop(&mut self) {
        for (shard, id) in self.listening.iter() {
            shard.close(Source::Listener(id));
        }
    }
}

impl AnyListener {
    pub(crate) fn new(stack: Stack, backlog: usize) -> io::Result<Self> {
        let options = stack.default_options();
        let listen = |core: &mut Core, _, addr| Ok((core.listen_any(backlog, options.clone())?, addr));
        let close = |shard: &Shard, id| shard.close(Source::Listener(id));
        let (listening, _) = Everywhere::claim(&stack, EVERY_ADDRESS, listen, close)?;
        Ok(Self { held: Arc::new(Held { listening, stack }) })
    }

    /// Waits for the next connection that somebody asks for.
    ///
    /// # Errors
    ///
    /// If the stack ends.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped has taken nothing.
    pub async fn incoming(&self) -> io::Result<Incoming> {
        let attempt = |core: &mut Core, _: Timestamp, id| match core.poll_incoming(id) {
            Some(incoming) => Poll::Ready(Ok(incoming)),
            None => Poll::Pending,
        };
        let (shard, listener, inner) =
            self.held.listening.wait(Source::Listener, Effect::None, attempt).await?;
        let (shard, held) = (Arc::clone(shard), Arc::clone(&self.held));
        Ok(Incoming { inner, shard, listener, held, decided: false })
    }
}

impl fmt::Debug for AnyListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyListener").finish_non_exhaustive()
    }
}

/// A connection that somebody asks for, and that has not been answered: not even with a SYN-ACK.
///
/// Take your time: the peer's further SYNs do not start anything anew. It gives up by itself after a minute or
/// two, and the entry is forgotten after `decision_timeout`. One that is dropped is rejected with a reset.
#[must_use = "a connection that is not accepted is reset"]
pub struct Incoming {
    inner: ropeway_core::Incoming,
    /// Whose flow it is.
    shard: Arc<Shard>,
    listener: ListenerId,
    held: Arc<Held>,
    decided: bool,
}

impl Incoming {
    /// Who wants to connect.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.inner.remote()
    }

    /// Where to: the address and port that the SYN was sent to.
    #[must_use]
    pub fn original_dst(&self) -> SocketAddr {
        self.inner.original_dst()
    }

    /// What the SYN said.
    #[must_use]
    pub fn syn(&self) -> SynOptions {
        self.inner.syn
    }

    /// Answers with a SYN-ACK, and waits until the connection is established.
    ///
    /// # Errors
    ///
    /// [`ConnectionAborted`](io::ErrorKind::ConnectionAborted) if the peer has given up meanwhile; that of a
    /// stack that has ended.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: an acceptance that is dropped half way resets the connection.
    pub async fn accept(mut self) -> io::Result<TcpStream> {
        self.decided = true;
        let (shard, listener, incoming) = (Arc::clone(&self.shard), self.listener, self.inner);
        let answered = shard.change(|core, now| core.accept_incoming(now, &incoming))?;
        if !answered {
            return Err(gone());
        }
        let mut half_way = HalfWay { shard: &shard, listener, incoming, settled: false };
        let attempt = |core: &mut Core, now: Timestamp| match core.poll_accepted(now, listener, &incoming) {
            Accepted::Waiting => Poll::Pending,
            Accepted::Connection(id) => Poll::Ready(Ok(id)),
            Accepted::Gone => Poll::Ready(Err(gone())),
        };
        let source = Source::Handshake(incoming.tuple);
        let outcome = Wait::new(&shard, source, attempt).effect(Effect::Driver).await;
        half_way.settled = true;
        let id = outcome?;
        let ipv6 = incoming.remote().is_ipv6();
        Ok(TcpStream::new(Connection::new(self.held.stack.clone(), at_home(&shard), id, ipv6)))
    }

    /// Turns the peer away: with a RST, with an ICMP error, or with silence.
    ///
    /// # Errors
    ///
    /// That of a stack that has ended.
    pub fn reject(mut self, how: Rejection) -> io::Result<()> {
        self.decided = true;
        self.shard.change(|core, now| core.reject_incoming(now, &self.inner, how))?;
        Ok(())
    }
}

/// An acceptance whose handshake is not complete, and comes to nothing if it is dropped.
struct HalfWay<'a> {
    shard: &'a Shard,
    listener: ListenerId,
    incoming: ropeway_core::Incoming,
    settled: bool,
}

impl Drop for HalfWay<'_> {
    fn drop(&mut self) {
        if !self.settled {
            // A stack that has ended has nobody to tell.
            let _ended =
                self.shard.change(|core, now| core.abandon_incoming(now, self.listener, &self.incoming));
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.decided {
            // A stack that has ended has nobody to tell.
            let _ended =
                self.shard.change(|core, now| core.reject_incoming(now, &self.inner, Rejection::Reset));
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("remote", &self.remote())
            .field("original_dst", &self.original_dst())
            .finish_non_exhaustive()
    }
}

fn gone() -> io::Error {
    error::aborted("the peer has given up before it was let in")
}
