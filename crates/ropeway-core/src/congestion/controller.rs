//! The trait that every congestion control implements, and what it is told.

use std::fmt;
use std::time::Duration;

use ropeway_packet::SeqNum;

use crate::time::Timestamp;

/// A congestion control: it decides how much may be in flight, and how fast it goes out.
///
/// What is lost, the sender finds out by itself, and how a window that shrinks is reached, PRR decides (RFC 9937): a
/// controller only sets the window. Windows are in bytes, rates in bytes a second.
///
/// For one acknowledgement the sender calls, in this order: [`on_spurious`](Self::on_spurious) if it proved the last
/// reduction wrong, [`on_lost`](Self::on_lost) for each range that is taken for lost because of it,
/// [`on_congestion`](Self::on_congestion) if that begins a recovery, and then [`on_ack`](Self::on_ack), always.
///
/// A window of less than a segment counts as a segment. `examples/congestion_control.rs` in the repository has a whole
/// controller of sixty lines, outside this crate.
///
/// A controller is part of a connection's state: equal calls must have equal results, on every platform. So it reads no
/// clock, takes what it needs of chance from [`Start::seed`], and calculates in integers.
pub trait Controller: fmt::Debug + Send + Sync {
    /// The congestion window, cwnd.
    fn window(&self) -> u32;

    /// The slow start threshold, ssthresh: `u32::MAX` before the first congestion event.
    fn ssthresh(&self) -> u32;

    /// How fast data may be sent. `None`: the sender derives it from the window and the round-trip time, as Linux does.
    fn pacing_rate(&self) -> Option<u64> {
        None
    }

    /// How much may be sent at once when the sender paces, besides what passes in two milliseconds, for timers are late. `None`:
    /// the sender decides.
    fn quantum(&self) -> Option<u32> {
        None
    }

    /// Its window holds during a recovery, too, and what is lost is no reason to send less: PRR is not asked.
    fn governs_recovery(&self) -> bool {
        false
    }

    /// A segment of `len` bytes is sent, new data or not; `in_flight` bytes are on their way with it.
    fn on_sent(&mut self, now: Timestamp, len: u32, in_flight: u32) {
        let _ = (now, len, in_flight);
    }

    /// An acknowledgement has arrived: of new data, of data behind a gap, or of nothing new.
    fn on_ack(&mut self, delivery: &Delivery);

    /// A range that was sent at one moment is taken for lost: by an acknowledgement, or by a timeout, and then before that
    /// is told. It may have been late all the same.
    fn on_lost(&mut self, now: Timestamp, lost: &Departure) {
        let _ = (now, lost);
    }

    /// The network is congested. From one recovery only one event comes, and one more for a timeout in it.
    fn on_congestion(&mut self, event: &CongestionEvent);

    /// What the last congestion event reported was not lost, but late: what it took is given back (RFC 4015).
    fn on_spurious(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// Nothing was in flight for `idle`, which is more than the retransmission timeout (RFC 5681 4.1).
    fn on_idle(&mut self, now: Timestamp, idle: Duration) {
        let _ = (now, idle);
    }

    /// The largest segment has a new size.
    fn on_mss_change(&mut self, mss: u32);

    /// A copy that goes its own way.
    fn boxed(&self) -> Box<dyn Controller>;
}

impl Clone for Box<dyn Controller> {
    fn clone(&self) -> Self {
        self.as_ref().boxed()
    }
}

/// Makes the controllers of connections: what is chosen in
/// [`SocketOptions::congestion`](crate::SocketOptions::congestion).
///
/// ```
/// use ropeway_core::congestion::{Algorithm, Controller, ControllerFactory, Start};
///
/// /// CUBIC, and whoever has another one keeps no more than half of its window.
/// #[derive(Debug)]
/// struct Careful;
///
/// impl ControllerFactory for Careful {
///     fn name(&self) -> &'static str {
///         "careful"
///     }
///
///     fn build(&self, start: &Start) -> Box<dyn Controller> {
///         let half = |(window, ssthresh)| start.with_window(window / 2, ssthresh);
///         Algorithm::Cubic.build(&start.window.map_or(*start, half))
///     }
/// }
///
/// assert_eq!(Algorithm::custom(Careful).name(), "careful");
/// ```
pub trait ControllerFactory: fmt::Debug + Send + Sync {
    /// The name under which it is known (`TCP_CONGESTION`).
    fn name(&self) -> &'static str;

    /// Whether packets are to be marked as those of L4S are, with ECT(1), where both ends use Accurate ECN (RFC 9331): for controllers
    /// that answer to the share of packets with marks, and not to there being one. No, unless one says so.
    fn wants_ect1(&self) -> bool {
        false
    }

    /// A controller for a connection that begins, or that has had another one until now.
    fn build(&self, start: &Start) -> Box<dyn Controller>;
}

/// What is known of a connection when it gets a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Start {
    /// The moment.
    pub now: Timestamp,
    /// Most payload bytes in a segment.
    pub mss: u32,
    /// The window and the slow start threshold that the controller before it had.
    pub window: Option<(u32, u32)>,
    /// For whatever is left to chance: another one for each connection, and the same for stacks with equal seeds and inputs.
    pub seed: u64,
}

impl Start {
    /// A connection that begins.
    #[must_use]
    pub const fn new(now: Timestamp, mss: u32) -> Self {
        Self { now, mss, window: None, seed: 0 }
    }

    /// With this seed.
    #[must_use]
    pub const fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// One that has had a controller with this window and this slow start threshold.
    #[must_use]
    pub const fn with_window(mut self, window: u32, ssthresh: u32) -> Self {
        self.window = Some((window, ssthresh));
        self
    }
}

/// What the sender is about when an acknowledgement arrives. Linux's `tcpi_ca_state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Nothing is known to be missing.
    #[default]
    Open,
    /// Something is missing, and may be only late.
    Disorder,
    /// The window is being reduced because of a mark of the network's (RFC 3168), not of a loss.
    Cwr,
    /// Fast recovery: something is lost and sent again.
    Recovery,
    /// The retransmission timer went off.
    Loss,
}

/// What an acknowledgement has told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Delivery {
    /// When it arrived.
    pub now: Timestamp,
    /// SND.UNA, with it.
    pub una: SeqNum,
    /// SND.NXT.
    pub nxt: SeqNum,
    /// Bytes by which SND.UNA has moved.
    pub acked: u32,
    /// Bytes behind a gap that it reports for the first time.
    pub sacked: u32,
    /// Bytes that it shows to have arrived, and that no acknowledgement has shown before.
    pub delivered: u32,
    /// Bytes that are taken for lost because of it.
    pub lost: u32,
    /// The round-trip time of a segment that was sent once, if it acknowledges one.
    pub rtt: Option<Duration>,
    /// The smoothed round-trip time.
    pub srtt: Option<Duration>,
    /// The smallest round-trip time.
    pub min_rtt: Option<Duration>,
    /// The delivery rate, if there is a sample.
    pub rate: Option<RateSample>,
    /// Of all that it shows to have arrived, what was sent last, and how things stood then.
    pub newest: Option<Departure>,
    /// Both ends use SACK: more than one loss can be seen in a round trip.
    pub sack: bool,
    /// Bytes in flight (`pipe`) before it.
    pub prior_in_flight: u32,
    /// Bytes in flight (`pipe`) now.
    pub in_flight: u32,
    /// The window was what held the sender back: one that was not used proves nothing of the path.
    pub window_limited: bool,
    /// Bytes that arrived with a mark of congestion (RFC 3168, RFC 9768).
    pub marked: u32,
    /// The path is known to reorder: what arrives behind a gap is not taken for a sign of loss.
    pub reorders: bool,
    /// It proves that what was sent again had not been lost.
    pub spurious: bool,
    /// What the sender is about, now.
    pub phase: Phase,
}

impl Delivery {
    /// An acknowledgement of nothing, for tests of controllers to change.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self {
            now,
            una: SeqNum::new(0),
            nxt: SeqNum::new(0),
            acked: 0,
            sacked: 0,
            delivered: 0,
            lost: 0,
            rtt: None,
            srtt: None,
            min_rtt: None,
            rate: None,
            newest: None,
            sack: true,
            prior_in_flight: 0,
            in_flight: 0,
            window_limited: true,
            marked: 0,
            reorders: false,
            spurious: false,
            phase: Phase::Open,
        }
    }
}

/// A sample of the delivery rate (draft-ietf-ccwg-bbr, 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateSample {
    /// Bytes delivered in the interval.
    pub delivered: u64,
    /// How long it was: the longer of the time to send them and the time to acknowledge them.
    pub interval: Duration,
    /// The application, or a window of the peer's, was what limited the rate.
    pub app_limited: bool,
    /// `C.delivered` when the segment was sent that this is measured from.
    pub prior_delivered: u64,
}

impl RateSample {
    /// A sample of so many bytes in so long a time.
    #[must_use]
    pub const fn new(delivered: u64, interval: Duration) -> Self {
        Self { delivered, interval, app_limited: false, prior_delivered: 0 }
    }

    /// Bytes a second.
    #[must_use]
    pub fn bytes_per_second(&self) -> u64 {
        let micros = self.interval.as_micros().max(1);
        u64::try_from(u128::from(self.delivered) * 1_000_000 / micros).unwrap_or(u64::MAX)
    }
}

/// A range of data that was sent at one moment, and how things stood then (draft-ietf-ccwg-bbr, 4.1.2.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Departure {
    /// Its first sequence number.
    pub start: SeqNum,
    /// Its bytes.
    pub len: u32,
    /// Bytes that had been delivered on this connection (`P.delivered`).
    pub delivered: u64,
    /// Bytes that were delivered since (`C.delivered - P.delivered`).
    pub delivered_since: u64,
    /// Bytes that were in flight, with it (`P.tx_in_flight`).
    pub in_flight: u32,
    /// Bytes that were taken for lost since, with it if it is one of them (`C.lost - P.lost`).
    pub lost_since: u32,
    /// The application, or a window of the peer's, was what limited the rate.
    pub app_limited: bool,
}

impl Departure {
    /// So many bytes that were in flight alone.
    #[must_use]
    pub const fn new(start: SeqNum, len: u32) -> Self {
        Self {
            start,
            len,
            delivered: 0,
            delivered_since: 0,
            in_flight: len,
            lost_since: 0,
            app_limited: false,
        }
    }
}

/// Why the network is taken to be congested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Congestion {
    /// A loss that acknowledgements have shown.
    Loss,
    /// The network has marked packets (RFC 3168).
    Ecn,
    /// The retransmission timer went off; `again` if it was for the same segment as last time (RFC 5681 3.1 (4)).
    Timeout {
        /// It is not the first timeout of this segment.
        again: bool,
    },
    /// Our SYN or SYN-ACK was lost (RFC 5681 3.1): the connection begins with one segment.
    LostHandshake,
}

/// A congestion event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CongestionEvent {
    /// The moment.
    pub now: Timestamp,
    /// What happened.
    pub cause: Congestion,
    /// FlightSize before it, in bytes: what was sent and not acknowledged (RFC 5681 2).
    pub flight_size: u32,
    /// Bytes that may still be in flight now that what is lost is known: `pipe`. After a timeout the window is a segment
    /// more than that.
    pub in_flight: u32,
    /// SND.NXT: when this is acknowledged, the round trip of the event is over.
    pub nxt: SeqNum,
}

impl CongestionEvent {
    /// An event with so many bytes in flight.
    #[must_use]
    pub const fn new(now: Timestamp, cause: Congestion, flight_size: u32, nxt: SeqNum) -> Self {
        Self { now, cause, flight_size, in_flight: 0, nxt }
    }
}
