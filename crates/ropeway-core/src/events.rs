//! What a stack tells of its connections, as events of [`tracing`](https://docs.rs/tracing).
//!
//! Anyone who subscribes gets them: they are what the plots of ropeway's examples are drawn from. A field is a number, a
//! boolean or a text; one that says nothing is left out. Times are those of the stack's own clock, simulated or not, in
//! microseconds; sequence numbers are as on the wire; everything else that counts is in bytes. Without a subscriber that
//! wants TRACE, an event costs a comparison.
//!
//! # `ropeway::tcp::segment`
//!
//! [`SEGMENT`], at TRACE: a TCP segment was sent, or has arrived with a good checksum at an address of the stack, whether
//! or not a connection takes it.
//!
//! | field | type | what it tells |
//! |---|---|---|
//! | `at` | u64 | when |
//! | `local`, `remote` | text | the connection, seen from this end |
//! | `direction` | text | `sent` or `received` |
//! | `flags` | text | the control bits, such as `PSH\|ACK` |
//! | `seq` | u64 | SEG.SEQ |
//! | `ack` | u64 | SEG.ACK, if the ACK bit is set |
//! | `len` | u64 | bytes of data |
//! | `segment_size` | u64 | the bytes of each, if these are several segments: a device has merged them, or will cut them |
//! | `ecn` | text | the ECN field of its packet, if it can be marked: `ECT(0)`, `ECT(1)`, or `CE` if it has been (RFC 3168 5) |
//! | `window` | u64 | SEG.WND, scaled, where the scale is known |
//! | `sack` | text | the SACK blocks in their order, such as `2897:4345 1:1449`: the second number is the right edge, which is not in the block (RFC 2018) |
//! | `mss`, `wscale` | u64 | what a SYN offers |
//! | `tsval`, `tsecr` | u64 | the timestamps (RFC 7323) |
//! | `retransmission` | bool | whether data, SYN or FIN in it was sent before; only of what is sent |
//! | `cause` | text | what asked for a retransmission or a probe, see below; only of what is sent |
//!
//! A `cause` is the mechanism that took the segment for lost, or wants to hear from the peer:
//!
//! | cause | |
//! |---|---|
//! | `rack` | something that was sent later has arrived (RFC 8985) |
//! | `sack` | enough SACK blocks lie behind it (RFC 6675), where RACK is off |
//! | `dupack` | duplicate acknowledgements (RFC 5681), where there is no SACK |
//! | `partial_ack` | a partial acknowledgement (RFC 6582), likewise |
//! | `rto` | the retransmission timer went off (RFC 6298), for a SYN too |
//! | `reneging` | the same, and the peer has dropped what it had reported |
//! | `pmtu` | it was too big for the path, or a probe of its MTU that did not pass |
//! | `mtu_probe` | it is larger than others, to probe the path's MTU (RFC 4821) |
//! | `fast_open` | it came with a SYN, and was not acknowledged with it (RFC 7413 4.2.2) |
//! | `tlp` | a probe of the tail (RFC 8985 7): new data, or a retransmission |
//! | `window_probe` | a probe of a closed window (RFC 9293 3.8.6.1), or what has probed it, when it is open |
//! | `keep_alive` | a keep-alive probe (RFC 9293 3.8.4) |
//!
//! # `ropeway::tcp::sender`
//!
//! [`SENDER`], at TRACE: the sender of a connection, after something has changed it. The names are those of
//! [`TcpInfo`](crate::TcpInfo) and of RFC 9293.
//!
//! | field | type | what it tells |
//! |---|---|---|
//! | `at`, `local`, `remote` | | as above |
//! | `cause` | text | what has happened: `established`, `ack` (an acknowledgement has arrived), `sent` (data, a FIN, or a probe of the window or of the tail was sent), `rto` (the retransmission timer), `rack` (RACK's reordering timer), `pmtu` (segments have another size: the flight is cut anew, or a larger one has passed) |
//! | `ca_state` | text | `Open`, `Disorder`, `Cwr`, `Recovery` or `Loss` |
//! | `snd_una`, `snd_nxt` | u64 | the oldest number that is not acknowledged, and the next to be sent |
//! | `snd_wnd` | u64 | the peer's window |
//! | `cwnd` | u64 | the congestion window, as PRR leaves it |
//! | `ssthresh` | u64 | the slow start threshold, once there is one |
//! | `in_flight` | u64 | what is thought to be on its way: `pipe` of RFC 6675 |
//! | `sacked`, `lost`, `retrans_out` | u64 | reported by SACK; taken for lost; sent again and not acknowledged |
//! | `srtt`, `rttvar`, `min_rtt` | u64 | the smoothed round-trip time, its variation, and the least of late, once there is a sample |
//! | `rto` | u64 | the retransmission timeout, backoff included |
//! | `pacing_rate` | u64 | bytes a second, if segments are paced |
//! | `delivery_rate` | u64 | bytes a second, once there is a sample |
//! | `undone` | bool | with this acknowledgement, a reduction of the window was proved wrong (RFC 4015) |
//! | `spurious_timeout` | bool | likewise, a timeout (RFC 5682, RFC 3522) |
//!
//! # `ropeway::state`
//!
//! [`STATE`], at DEBUG: a connection has changed its state.
//!
//! | field | type | what it tells |
//! |---|---|---|
//! | `local`, `remote` | text | the connection |
//! | `from`, `to` | text | the states, such as `SYN-SENT` |
//! | `cause` | text | what has happened: a [`Cause`](crate::Cause) |

use std::fmt;

use ropeway_packet::{EcnCodepoint, FourTuple, SackBlocks, TcpFlags, TcpHeader, WindowScale};
use tracing::Level;
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};

use crate::recovery::Outcome;
use crate::tcp::sender::{Plan, Sender, Why};
use crate::time::{Timestamp, micros};

/// The target of events of segments.
pub const SEGMENT: &str = "ropeway::tcp::segment";

/// The target of events of senders.
pub const SENDER: &str = "ropeway::tcp::sender";

/// The target of events of changes of state.
pub const STATE: &str = "ropeway::state";

/// Whether somebody wants events at TRACE: all that a segment costs where nobody does.
#[inline]
fn are_wanted() -> bool {
    Level::TRACE <= STATIC_MAX_LEVEL && Level::TRACE <= LevelFilter::current()
}

/// A segment, and whose it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    pub(crate) now: Timestamp,
    pub(crate) tuple: &'a FourTuple,
    pub(crate) header: &'a TcpHeader,
    /// Bytes of data.
    pub(crate) len: usize,
    pub(crate) segment_size: Option<u16>,
    /// What its packet says of congestion.
    pub(crate) ecn: EcnCodepoint,
}

/// Why a segment is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sending {
    /// Something of it was sent before.
    pub(crate) again: bool,
    /// What asked for it, if it is a retransmission or a probe.
    pub(crate) why: Option<Why>,
    /// If it is a train: how long each of its segments is.
    pub(crate) segment_size: Option<u16>,
    /// Whether routers may mark its packet.
    pub(crate) ecn: EcnCodepoint,
}

impl Sending {
    /// What it is about is sent for the first time.
    pub(crate) const NEW: Self =
        Self { again: false, why: None, segment_size: None, ecn: EcnCodepoint::NotEct };
    /// The retransmission timer of a SYN went off.
    pub(crate) const SYN_AGAIN: Self = Self { why: Some(Why::Timeout), again: true, ..Self::NEW };
    pub(crate) const KEEP_ALIVE: Self = Self { why: Some(Why::KeepAlive), ..Self::NEW };
}

impl From<&Plan> for Sending {
    fn from(plan: &Plan) -> Self {
        Self { again: plan.again, why: plan.why, segment_size: plan.segment_size, ..Self::NEW }
    }
}

/// A segment is sent. `scale`: that of its window, if it is known.
#[inline]
pub(crate) fn sent(segment: &Segment<'_>, scale: Option<WindowScale>, sending: Sending) {
    if are_wanted() {
        tell_segment(segment, scale, Some(sending));
    }
}

/// A segment has arrived. `scale`: that of its window, if it is known.
#[inline]
pub(crate) fn received(segment: &Segment<'_>, scale: impl FnOnce() -> Option<WindowScale>) {
    if are_wanted() {
        tell_segment(segment, scale(), None);
    }
}

/// `sending`: why, if it is sent.
#[cold]
#[inline(never)]
fn tell_segment(segment: &Segment<'_>, scale: Option<WindowScale>, sending: Option<Sending>) {
    let Segment { now, tuple, header, len, segment_size, ecn } = *segment;
    let options = &header.options;
    tracing::trace!(
        target: SEGMENT,
        at = now.as_micros(),
        local = %tuple.local(),
        remote = %tuple.remote(),
        direction = if sending.is_some() { "sent" } else { "received" },
        flags = ?header.flags,
        seq = header.seq.get(),
        ack = ack_of(header),
        len,
        segment_size,
        ecn = name_of(ecn),
        window = window_of(header, scale),
        sack = blocks_of(options.sack).map(tracing::field::display),
        mss = options.mss,
        wscale = options.window_scale,
        tsval = options.timestamps.map(|timestamps| timestamps.tsval),
        tsecr = options.timestamps.map(|timestamps| timestamps.tsecr),
        retransmission = sending.map(|sending| sending.again),
        cause = sending.and_then(|sending| sending.why).map(Why::name),
        "segment"
    );
}

fn name_of(ecn: EcnCodepoint) -> Option<&'static str> {
    match ecn {
        EcnCodepoint::NotEct => None,
        EcnCodepoint::Ect0 => Some("ECT(0)"),
        EcnCodepoint::Ect1 => Some("ECT(1)"),
        EcnCodepoint::Ce => Some("CE"),
    }
}

/// The window of a SYN is never scaled (RFC 7323 2.2).
fn window_of(header: &TcpHeader, scale: Option<WindowScale>) -> Option<u32> {
    let scale = if header.flags.contains(TcpFlags::SYN) { Some(WindowScale::ZERO) } else { scale };
    scale.map(|scale| scale.unscale(header.window))
}

fn ack_of(header: &TcpHeader) -> Option<u32> {
    header.flags.contains(TcpFlags::ACK).then_some(header.ack.get())
}

fn blocks_of(blocks: SackBlocks) -> Option<Blocks> {
    (!blocks.is_empty()).then_some(Blocks(blocks))
}

/// SACK blocks as an event tells them.
struct Blocks(SackBlocks);

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (left, right)) in self.0.as_slice().iter().enumerate() {
            let space = if number > 0 { " " } else { "" };
            write!(f, "{space}{}:{}", left.get(), right.get())?;
        }
        Ok(())
    }
}

/// What has changed a sender.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    Established,
    Ack(&'a Outcome),
    Sent,
    Timeout,
    ReorderTimeout,
    PathMtu,
}

impl Change<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::Ack(_) => "ack",
            Self::Sent => "sent",
            Self::Timeout => "rto",
            Self::ReorderTimeout => "rack",
            Self::PathMtu => "pmtu",
        }
    }
}

/// A sender has changed.
#[inline]
pub(crate) fn changed(now: Timestamp, tuple: &FourTuple, sender: &Sender, change: Change<'_>) {
    if are_wanted() {
        tell_changed(now, tuple, sender, change);
    }
}

#[cold]
#[inline(never)]
fn tell_changed(now: Timestamp, tuple: &FourTuple, sender: &Sender, change: Change<'_>) {
    let (snd, flight, rto) = (sender.snd(), sender.flight(), sender.rto());
    let (undone, spurious) = match change {
        Change::Ack(outcome) => (Some(outcome.undone), Some(outcome.spurious_timeout)),
        _ => (None, None),
    };
    tracing::trace!(
        target: SENDER,
        at = now.as_micros(),
        local = %tuple.local(),
        remote = %tuple.remote(),
        cause = change.name(),
        ca_state = ?sender.recovery().phase(),
        snd_una = snd.una.get(),
        snd_nxt = snd.nxt.get(),
        snd_wnd = snd.wnd,
        cwnd = sender.cwnd(),
        ssthresh = Some(sender.ssthresh()).filter(|ssthresh| *ssthresh != u32::MAX),
        in_flight = flight.pipe(),
        sacked = flight.sacked(),
        lost = flight.lost(),
        retrans_out = flight.retransmitted(),
        srtt = rto.srtt().map(micros),
        rttvar = rto.srtt().map(|_| micros(rto.rttvar())),
        min_rtt = rto.min_rtt().map(micros),
        rto = micros(rto.current()),
        pacing_rate = sender.pacing_rate(),
        delivery_rate = sender.delivery_rate().map(|(rate, _)| rate),
        undone,
        spurious_timeout = spurious,
        "sender"
    );
}
