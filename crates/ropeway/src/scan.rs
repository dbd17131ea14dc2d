//! Asks other hosts which of their ports are open, without opening a connection.
//!
//! One call asks about one port; a scan is many of them at a time. `examples/portscan.rs` is one, with a rate.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//!
//! use ropeway::net::TcpListener;
//! use ropeway::{ProbeOutcome, Stack, device::memory, scan};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (left, right) = memory::pair(1500);
//! let scanner = Stack::builder().address("10.0.0.1/24".parse()?).device(left).build()?;
//! let host = Stack::builder().address("10.0.0.2/24".parse()?).device(right).build()?;
//! let _listener = TcpListener::bind_on(&host, "10.0.0.2:80").await?;
//!
//! let patience = Duration::from_secs(2);
//! let http = scan::probe_tcp_on(&scanner, "10.0.0.2:80".parse()?, patience, 1).await?;
//! assert_eq!(http, ProbeOutcome::Open);
//! let https = scan::probe_tcp_on(&scanner, "10.0.0.2:443".parse()?, patience, 1).await?;
//! assert_eq!(https, ProbeOutcome::Closed);
//! let quic = scan::probe_udp_on(&scanner, "10.0.0.2:443".parse()?, b"", patience, 1).await?;
//! assert_eq!(quic, Some(ProbeOutcome::Closed));
//! # Ok(())
//! # }
//! ```

use std::io;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use ropeway_core::{
    ConnectionError, DatagramError, Outgoing, ProbeOutcome, Readiness, RecvError, Stack as Core, Timestamp,
    UdpId, UdpOptions,
};
use tokio::time::timeout;

use crate::Stack;
use crate::error;
use crate::shard::{Effect, Shard, Source};
use crate::wait::Wait;

/// Asks whether a TCP port is open: a SYN, and a RST for the SYN-ACK that answers it (a half-open scan).
///
/// The SYN is sent again up to `retries` times, after 1 s, after 2 s more, and so on; the answer to silence is
/// [`Filtered`](ProbeOutcome::Filtered), with [`TimedOut`](ConnectionError::TimedOut), as soon as the last of
/// them has gone unanswered or `patience` is over.
///
/// # Errors
///
/// Those of a connect that fails at once, such as
/// [`NetworkUnreachable`](io::ErrorKind::NetworkUnreachable) or, with no free port or table entry left,
/// [`AddrNotAvailable`](io::ErrorKind::AddrNotAvailable) and [`QuotaExceeded`](io::ErrorKind::QuotaExceeded);
/// and that of a stack that has ended.
///
/// # Cancel safety
///
/// A probe that is dropped is over: nothing more is sent for it, but a RST to a SYN-ACK that comes late.
pub async fn probe_tcp_on(
    stack: &Stack,
    remote: SocketAddr,
    patience: Duration,
    retries: u32,
) -> io::Result<ProbeOutcome> {
    let mut options = stack.default_options();
    options.syn_retries = retries;
    let probe = Probe::start(stack, remote, |core, now| {
        let id = core.probe_tcp(now, None, remote, options).map_err(|cause| error::connect(cause, remote))?;
        Ok((id, Source::Connection(id)))
    })?;
    let outcome = probe.wait(patience, |core, id| core.tcp_probe_outcome(id)).await?;
    Ok(outcome.unwrap_or(ProbeOutcome::Filtered(ConnectionError::TimedOut)))
}

/// Asks whether a UDP port is closed, with a datagram that carries `payload`.
///
/// The datagram is sent again up to `retries` times, spread evenly over `patience`, and not more often than once a
/// millisecond. Without any answer by then it is `None`: open, if the port's owner had nothing to say to this payload, or filtered. Nobody can tell.
///
/// # Errors
///
/// As for [`probe_tcp_on`].
///
/// # Cancel safety
///
/// A probe that is dropped is over: nothing more is sent for it.
pub async fn probe_udp_on(
    stack: &Stack,
    remote: SocketAddr,
    payload: &[u8],
    patience: Duration,
    retries: u32,
) -> io::Result<Option<ProbeOutcome>> {
    let probe = Probe::start(stack, remote, |core, now| {
        let options = UdpOptions { all_errors: true, ..core.udp_default_options() };
        let failed = |error| error::datagram(error, remote.ip().to_canonical().is_ipv6());
        let id = core.udp_open(now, remote, options).map_err(failed)?;
        Ok((id, Source::Udp(id)))
    })?;
    let retries = retries.min(u32::try_from(patience.as_millis()).unwrap_or(u32::MAX - 1));
    let each = patience / retries.saturating_add(1);
    for _ in 0..=retries {
        if let Some(outcome) = probe.ask(payload)? {
            return Ok(Some(outcome));
        }
        if let Some(outcome) = probe.wait(each, heard).await? {
            return Ok(Some(outcome));
        }
    }
    Ok(None)
}

/// What a datagram that has come says, or an ICMP error.
fn heard(core: &mut Core, id: UdpId) -> Option<ProbeOutcome> {
    match core.udp_recv(id) {
        Ok(_) => Some(ProbeOutcome::Open),
        Err(RecvError::Failed(error)) => Some(ProbeOutcome::of_datagram(error)),
        Err(_) => None,
    }
}

impl Probe<'_, UdpId> {
    /// Sends the question, once more. An ICMP error may have come since the last one.
    fn ask(&self, payload: &[u8]) -> io::Result<Option<ProbeOutcome>> {
        let sent =
            self.shard.change(|core, now| core.udp_send(now, self.id, payload, &Outgoing::default()))?;
        match sent {
            Err(DatagramError::Failed(error)) => Ok(Some(ProbeOutcome::of_datagram(error))),
            Err(DatagramError::TooLong) => Err(error::datagram(DatagramError::TooLong, false)),
            // The device takes nothing for now: that is silence, as a packet that is lost.
            _ => Ok(None),
        }
    }
}

/// A question that was asked. It is over when it is dropped.
struct Probe<'a, I> {
    shard: &'a Shard,
    source: Source,
    id: I,
}

impl<I> Drop for Probe<'_, I> {
    fn drop(&mut self) {
        self.shard.close(self.source);
    }
}

impl<'a, I: Copy> Probe<'a, I> {
    fn start(
        stack: &'a Stack,
        remote: SocketAddr,
        start: impl FnOnce(&mut Core, Timestamp) -> io::Result<(I, Source)>,
    ) -> io::Result<Self> {
        if !stack.reaches(remote) {
            return Err(error::loopback_only(remote));
        }
        let shard: &Shard = stack.shard();
        let (id, source) = shard.attempt(Effect::Driver, |core, now| Poll::Ready(start(core, now)))?;
        Ok(Self { shard, source, id })
    }

    /// Waits for the outcome, but not longer than `patience`.
    async fn wait(
        &self,
        patience: Duration,
        outcome: impl Fn(&mut Core, I) -> Option<ProbeOutcome>,
    ) -> io::Result<Option<ProbeOutcome>> {
        let attempt = |core: &mut Core, _: Timestamp| match outcome(core, self.id) {
            Some(outcome) => Poll::Ready(Ok(outcome)),
            None => Poll::Pending,
        };
        let waiting = Wait::new(self.shard, self.source, attempt).interest(Readiness::READABLE);
        timeout(patience, waiting).await.ok().transpose()
    }
}
