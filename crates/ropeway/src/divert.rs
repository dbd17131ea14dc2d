//! Packets that no socket takes, handed whole to the program: see [`Stack::divert`].

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use bytes::Bytes;
use ropeway_core::{Stack as Core, Timestamp};

pub use ropeway_core::DivertOptions;

use crate::Stack;
use crate::error;
use crate::net::everywhere::Everywhere;
use crate::shard::{Effect, Shard, Source};

/// There is one diversion, whatever it is called.
const EVERY_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 1);

/// What no socket of a stack takes, as whole IP packets. Made with [`Stack::divert`]; ends when it is dropped.
///
/// A packet has all its checksums, and is one that was on the wire or could have been: fragments were put together, and what a device
/// has merged was cut. In packets to addresses that are not the stack's, what follows the IP header has not been checked.
///
/// Packets wait in a queue of bounded size. What does not fit is dropped, and counted as
/// [`diverted_dropped`](crate::Counters::diverted_dropped).
///
/// # Examples
///
/// A host that answers pings to every address there is:
///
/// ```
/// use ropeway::packet::{IcmpMessage, icmp, ip};
/// use ropeway::{EchoPolicy, Stack, device::memory, divert::DivertOptions};
/// # use ropeway::packet::icmp::emit_echo_request;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (left, right) = memory::pair(1500);
/// let host = Stack::builder().address("10.0.0.1/8".parse()?).device(left).build()?;
/// host.set_echo_policy(EchoPolicy::Divert)?;
/// let diversion = host.divert(DivertOptions::default())?;
/// tokio::spawn(async move {
///     loop {
///         let packet = diversion.recv().await?;
///         let Ok(ip) = ip::parse(&packet) else { continue };
///         if let Ok(IcmpMessage::EchoRequest { ident, seq, data }) = icmp::parse(&packet, &ip) {
///             let reply = icmp::emit_echo_reply(ip.dst, ip.src, ident, seq, &packet[data], 64);
///             diversion.send(reply.into())?;
///         }
///     }
///     # #[allow(unreachable_code)]
///     std::io::Result::Ok(())
/// });
///
/// # let other = Stack::builder().address("10.0.0.2/8".parse()?).device(right).build()?;
/// # let pinger = other.divert(DivertOptions::default())?;
/// # pinger.send(emit_echo_request("10.0.0.2".parse()?, "10.9.9.9".parse()?, 1, 2, b"ping", 64).into())?;
/// # let reply = pinger.recv().await?;
/// # assert_eq!(ip::parse(&reply)?.src, "10.9.9.9".parse::<std::net::IpAddr>()?);
/// # Ok(())
/// # }
/// ```
pub struct Diversion {
    places: Everywhere<()>,
    stack: Stack,
}

impl Drop for Diversion {
    fn drop(&mut self) {
        self.places.iter().for_each(|(shard, ())| close(shard, ()));
    }
}

fn close(shard: &Shard, (): ()) {
    shard.close(Source::Diversion);
}

impl Diversion {
    pub(crate) fn new(stack: &Stack, options: &DivertOptions) -> io::Result<Self> {
        let divert = |core: &mut Core, _, addr| Ok((core.divert(options.clone())?, addr));
        let (places, _) = Everywhere::claim(stack, EVERY_ADDRESS, divert, close)?;
        Ok(Self { places, stack: stack.clone() })
    }

    /// Waits for the next packet: a whole IP packet.
    ///
    /// # Errors
    ///
    /// If the stack ends.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a call that is dropped has taken nothing.
    pub async fn recv(&self) -> io::Result<Bytes> {
        Ok(self.places.wait(|()| Source::Diversion, Effect::None, next).await?.2)
    }

    /// Takes the next packet if one is there.
    ///
    /// # Errors
    ///
    /// [`WouldBlock`](io::ErrorKind::WouldBlock); if the stack has ended.
    pub fn try_recv(&self) -> io::Result<Bytes> {
        for (shard, ()) in self.places.iter() {
            match shard.attempt(Effect::None, |core, now| next(core, now, ())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Polls for a packet. If there is none, the waker of the last caller is kept.
    ///
    /// # Errors
    ///
    /// If the stack ends.
    pub fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        self.places.poll(cx, |()| Source::Diversion, Effect::None, next).map_ok(|(_, packet)| packet)
    }

    /// Sends a whole IP packet to the device, as it stands: from whatever address it says, with its checksums. One that is larger than
    /// the path takes leaves in fragments.
    ///
    /// It does not wait. Where too much waits to leave, the packet is dropped, as in a router whose queue is full.
    ///
    /// # Errors
    ///
    /// - [`WouldBlock`](io::ErrorKind::WouldBlock) if it was dropped;
    /// - [`InvalidInput`](io::ErrorKind::InvalidInput) (EINVAL) for what is no IP packet, is not as long as its header says, or is for
    ///   an address of the stack's own;
    /// - EMSGSIZE for one that is larger than the path takes, and is a fragment or has the DF bit;
    /// - that of a stack that has ended.
    pub fn send(&self, packet: Bytes) -> io::Result<()> {
        let (shard, ()) = self.places.first();
        shard.attempt(Effect::Driver, |core, now| {
            Poll::Ready(core.send_packet(now, packet).map_err(error::packet))
        })
    }

    /// The stack whose packets these are.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.stack
    }
}

fn next(core: &mut Core, _: Timestamp, (): ()) -> Poll<io::Result<Bytes>> {
    core.poll_diverted().map_or(Poll::Pending, |packet| Poll::Ready(Ok(packet)))
}

impl fmt::Debug for Diversion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diversion").finish_non_exhaustive()
    }
}
