//! Per-socket options, by the names and meanings of `socket(7)` and `tcp(7)`.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ropeway_packet::EcnCodepoint;

use crate::config::{FOREVER, GRANULARITY, StackConfig};
use crate::congestion::Algorithm;
use crate::ecn::{EcnMode, EcnOption};

/// When and how often an idle connection is probed (RFC 9293 3.8.4 MUST-27; `SO_KEEPALIVE`, `TCP_KEEPIDLE`,
/// `TCP_KEEPINTVL`, `TCP_KEEPCNT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// How long nothing may arrive before the first probe. Two hours by default (MUST-28).
    pub idle: Duration,
    /// Time between probes. 75 s by default.
    pub interval: Duration,
    /// Unanswered probes after which the connection is dead. 9 by default; at least 2 is used (MUST-29).
    pub count: u32,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { idle: Duration::from_secs(7200), interval: Duration::from_secs(75), count: 9 }
    }
}

/// Fewer acknowledgements for data that comes in bulk, for ways back that carry few (RFC 3449), or for the sake of the work that
/// each one takes at both ends. RFC 5681 (4.2) wants one for every second full-sized segment at the least, so this is a choice.
///
/// Once data has come no faster for three round trips, one acknowledgement answers what came in a quarter of a round trip: of
/// time, of bytes, or of the window, whichever is first. As soon as the rate grows by a quarter, or data comes after a pause of a
/// retransmission timeout, the peer may be in slow start, and each second segment is acknowledged again. So is always what ends
/// a write (PSH). What closes a gap, changes an ECN mark, or opens the window anew is answered at once, as ever.
///
/// If both ends use SACK, what lies beyond a gap is told of by fewer acknowledgements, too, as in Linux
/// (`tcp_comp_sack_nr`, `tcp_comp_sack_delay_ns`): the first three for each gap leave at once, as does one that tells of a further
/// gap; any other one waits for an eighth of a round trip at the most.
///
/// It costs the sender up to a quarter of a round trip. Where the path has a queue that is no loss; where the window is what limits,
/// by losses or a small queue, it is. A sender that does not pace sends in larger bursts, and one that counts acknowledgements and
/// not bytes (before RFC 3465) opens its window more slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckThinning {
    /// Most full-sized segments in order that one acknowledgement answers. 44; fewer than two count as two.
    pub segments: u32,
    /// The longest that data waits, at most [`StackConfig::delayed_ack`](crate::StackConfig::delayed_ack). 25 ms.
    pub delay: Duration,
    /// Most packets from beyond a gap that one acknowledgement tells of. 44; with 0 or 1 none waits.
    pub sacks: u8,
}

impl Default for AckThinning {
    fn default() -> Self {
        Self { segments: 44, delay: Duration::from_millis(25), sacks: 44 }
    }
}

/// The options of one socket. A listener's options are those of the connections it accepts.
///
/// Change them with [`Stack::update_options`](crate::Stack::update_options).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketOptions {
    /// Most received bytes that may wait for the application, exactly (`SO_RCVBUF`): 1 byte to 1 GiB. The window never
    /// promises more. Only on a connection whose SYN announced a scale for a larger one, a smaller size counts as the unit of the
    /// window field (RFC 7323 2.3): 1 KiB by default.
    ///
    /// 0, the default: the buffer tunes itself, within [`StackConfig::auto_recv_buffer`](crate::StackConfig::auto_recv_buffer).
    /// It holds twice what the application reads in a round trip, and three times that while it reads more and more, so that
    /// the window is never what limits a sender whose data is read. It does not grow for an application that leaves data
    /// unread. [`TcpInfo::recv_buffer`](crate::TcpInfo::recv_buffer) tells its size.
    pub recv_buffer: usize,
    /// Most bytes that may wait to be acknowledged, exactly (`SO_SNDBUF`): 1 byte to 1 GiB. A writer is woken when a
    /// sixteenth of it is free.
    ///
    /// 0, the default: the buffer tunes itself, within [`StackConfig::auto_send_buffer`](crate::StackConfig::auto_send_buffer).
    /// It holds twice what may be in flight, and four times that in slow start.
    /// [`TcpInfo::send_buffer`](crate::TcpInfo::send_buffer) tells its size.
    pub send_buffer: usize,
    /// Send small segments at once: Nagle's algorithm off (`TCP_NODELAY`, RFC 9293 3.7.4 MUST-17).
    pub nodelay: bool,
    /// Send only full segments until this is cleared, or 200 ms have passed (`TCP_CORK`).
    pub cork: bool,
    /// Acknowledge at once, never delayed (`TCP_QUICKACK`, but it stays as it is set).
    pub quick_ack: bool,
    /// Acknowledge less often in bulk than every second full-sized segment. `None`, the default: never.
    pub ack_thinning: Option<AckThinning>,
    /// Keep-alive probes; off by default (RFC 9293 3.8.4 MUST-25).
    pub keep_alive: Option<KeepAlive>,
    /// How long sent data may stay unacknowledged before the connection is given up
    /// (`TCP_USER_TIMEOUT`, RFC 9293 3.8.3 MUST-21). `None`, or zero: by the count of retransmissions.
    pub user_timeout: Option<Duration>,
    /// An upper bound for the segment size in both directions, in bytes of payload (`TCP_MAXSEG`).
    pub max_segment: Option<u16>,
    /// The socket is writable while fewer unsent bytes than this wait (`TCP_NOTSENT_LOWAT`), and a write takes no more than
    /// that, but for a segment. `None`, or 0: always when
    /// there is room.
    pub notsent_lowat: Option<usize>,
    /// No window that is announced is larger, in bytes (`TCP_WINDOW_CLAMP`); at least 1,152 bytes, as in Linux. Unlike
    /// `recv_buffer` it bounds what may be on its way, and not what may be held unread: a buffer that tunes itself goes on doing so.
    /// `None`, or 0: none. What was promised already is not taken back (RFC 9293 3.8.6).
    pub window_clamp: Option<u32>,
    /// The DSCP of sent packets, in the upper six bits (`IP_TOS`, `IPV6_TCLASS`; RFC 9293 3.9.1.9 MUST-48). The lower two are
    /// those of ECN, and TCP's own.
    pub tos: u8,
    /// The TTL or hop limit of sent packets (`IP_TTL`; RFC 9293 3.9.2 MUST-49). 64 by default; at least 1.
    pub ttl: u8,
    /// The most bytes a second that are sent, payload alone (`SO_MAX_PACING_RATE`). `None`, or 0: as fast as the window allows.
    pub max_pacing_rate: Option<u64>,
    /// Which congestion control runs (`TCP_CONGESTION`). CUBIC by default. One that takes over a connection goes on
    /// from the window there is.
    pub congestion: Algorithm,
    /// Whether ECN is used (`tcp_ecn`). When the peer asks for it, as in Linux.
    pub ecn: EcnMode,
    /// When a SYN that asks for ECN is not answered, ask without it (RFC 3168 6.1.1.1; `tcp_ecn_fallback`). And when a path changes
    /// what it must not, send what cannot be marked (RFC 9768 3.2.2.3). On.
    pub ecn_fallback: bool,
    /// When the option of Accurate ECN is sent (RFC 9768 3.2.3; `tcp_ecn_option`). Wherever there is room, as in Linux.
    pub ecn_option: EcnOption,
    /// How often in a round trip it is sent at least, with [`EcnOption::Least`] (`tcp_ecn_option_beacon`). 3; 0 is never.
    pub ecn_option_beacon: u8,
    /// Of a listener: how many connections that began with data in a SYN may wait for their third segment at a time
    /// (Fast Open, RFC 7413; `TCP_FASTOPEN`). 0, the default: data in a SYN is not taken.
    ///
    /// Applications that set it may get a request more than once: the network may repeat a SYN after its connection has ended
    /// (RFC 7413 2.1). So what clients send with a SYN must be idempotent.
    pub fast_open: u32,
    /// Data in a SYN needs no cookie, to be sent or taken (`TCP_FASTOPEN_NO_COOKIE`): for networks in which nobody forges
    /// addresses. Off.
    pub fast_open_no_cookie: bool,
    /// Offer and take window scaling, if [`StackConfig::window_scaling`](crate::StackConfig::window_scaling) is on, too (RFC
    /// 7323 2; `tcp_window_scaling`). It counts for handshakes that begin later, as the next two. On.
    pub window_scaling: bool,
    /// Offer and take timestamps, if [`StackConfig::timestamps`](crate::StackConfig::timestamps) is on, too (RFC 7323 3;
    /// `tcp_timestamps`). On.
    pub timestamps: bool,
    /// Offer and take SACK, if [`StackConfig::sack`](crate::StackConfig::sack) is on, too (RFC 2018; `tcp_sack`). On.
    pub sack: bool,
    /// Report by SACK what has arrived twice, if [`StackConfig::dsack`](crate::StackConfig::dsack) is on, too (RFC 2883;
    /// `tcp_dsack`). It counts for connections that begin later. On.
    pub dsack: bool,
    /// Find losses by time, if [`StackConfig::rack`](crate::StackConfig::rack) is on, too (RACK, RFC 8985; bit 0 of
    /// `tcp_recovery`). On. Off: by counting what SACK reports (RFC 6675). It counts for connections that begin later.
    pub rack: bool,
    /// Let RACK's reordering window grow with what the path shows (RFC 8985 6.2, step 4). On. Off: a quarter of the smallest
    /// round trip, always (bit 1 of `tcp_recovery`, set).
    pub rack_adapts: bool,
    /// Leave RACK's reordering window out when as many segments were reported as there need to be duplicate acknowledgements,
    /// and no reordering was seen (RFC 8985 6.2, step 4). On. Off: it is waited for (bit 2 of `tcp_recovery`, set).
    pub rack_dup_thresh: bool,
    /// Probe the tail of what is in flight, if [`StackConfig::tlp`](crate::StackConfig::tlp) is on, too (RFC 8985 7;
    /// `tcp_early_retrans`). On.
    pub tlp: bool,
    /// How many duplicate acknowledgements mean a loss, until more reordering is seen (`tcp_reordering`). 3, as RFC 5681 3.2 has
    /// it; at least 1.
    pub reordering: u16,
    /// More reordering than this, in segments, is not believed (`tcp_max_reordering`). 300; at least `reordering`.
    pub max_reordering: u16,
    /// Begin anew with the initial window after a pause of a retransmission timeout: what was known of the path is old by
    /// then (RFC 5681 4.1; `tcp_slow_start_after_idle`). On.
    pub slow_start_after_idle: bool,
    /// How often a SYN is retransmitted before a connect gives up (`TCP_SYNCNT`). 7 by default: with a
    /// first timeout of 1 s that is just over four minutes (RFC 9293 3.8.3 MUST-23 asks for three).
    pub syn_retries: u32,
    /// How often a listener's SYN-ACK is retransmitted before the half-open connection is given up (`TCP_SYNCNT` of a listener);
    /// beyond 253 counts as that. `None`: [`StackConfig::synack_retries`](crate::StackConfig::synack_retries). A change counts at
    /// once, also for handshakes that are under way.
    // RFC 4987 3.3-1
    pub synack_retries: Option<u32>,
    /// So many timeouts of a SYN follow each other without backoff, and come on top of `syn_retries`
    /// (`tcp_syn_linear_timeouts`): with 4, it is sent again after 1, 2, 3, 4, 5, 7, 11 ... seconds. 0 by default: RFC 6298 5.5
    /// has every timeout doubled, and a peer that is not there is asked no more often than it has to be. In Linux 4 since 6.5.
    pub syn_linear_timeouts: u8,
    /// While fewer than four segments are in flight, the first six timeouts in a row are not doubled (`TCP_THIN_LINEAR_TIMEOUTS`):
    /// for streams of which little is sent, and that soon. Off, since RFC 6298 5.5 has every timeout doubled.
    pub thin_linear_timeouts: bool,
    /// By how much the retransmission timeout exceeds the smoothed round-trip time at the least (`TCP_RTO_MIN_US`). `None`:
    /// [`StackConfig::min_rto`](crate::StackConfig::min_rto).
    pub min_rto: Option<Duration>,
    /// The largest retransmission timeout, backoff included, of SYN, data and FIN, and the longest pause between probes of a
    /// closed window (`TCP_RTO_MAX_MS`). `None`: [`StackConfig::max_rto`](crate::StackConfig::max_rto), by which SYN-ACKs of a
    /// listener go in any case. What is less than a millisecond counts as one.
    pub max_rto: Option<Duration>,
    /// How long an acknowledgement may wait for company (`TCP_DELACK_MAX_US`); always below 500 ms. `None`:
    /// [`StackConfig::delayed_ack`](crate::StackConfig::delayed_ack).
    pub delayed_ack: Option<Duration>,
    /// How long the connection waits in FIN-WAIT-2 for the peer's FIN, once no application holds it any more (`TCP_LINGER2`).
    /// Zero: not at all; a RST tells the peer (in Linux, a negative number). `None`:
    /// [`StackConfig::fin_timeout`](crate::StackConfig::fin_timeout).
    pub fin_timeout: Option<Duration>,
    /// A listener's connections are accepted when data comes, or so long after the SYN-ACK (`TCP_DEFER_ACCEPT`): `None`, when
    /// the handshake is complete.
    ///
    /// As in Linux, an acknowledgement without data leaves the connection in the SYN queue. The time is rounded up to that
    /// of a timeout of the SYN-ACK: with the defaults 1, 3, 7, 15, 31 s and so on. Then the SYN-ACK is sent once more, and what the peer answers
    /// completes the handshake, with data or without. A handshake with a SYN cookie is complete at once. On a socket that connects, the
    /// acknowledgement of the SYN-ACK waits for data, as long as any may wait.
    pub defer_accept: Option<Duration>,
    /// What `close` does with unsent data (`SO_LINGER`): `None` sends it in the background,
    /// `Some(0)` discards it and resets the connection.
    pub linger: Option<Duration>,
    /// Bind to an address although old connections from it are still in TIME-WAIT (`SO_REUSEADDR`).
    pub reuse_addr: bool,
    /// Let several listeners that all set this share one address (`SO_REUSEPORT`).
    pub reuse_port: bool,
}

/// No window is larger (RFC 7323 2.3), and no more may be in flight.
pub(crate) const MAX_BUFFER: usize = 1 << 30;

/// The least that a window may be bounded to: half of the least receive buffer of Linux.
const MIN_WINDOW_CLAMP: u32 = 1152;

/// A probe this often is no probe any more.
const MIN_KEEP_ALIVE: Duration = Duration::from_millis(1);

impl SocketOptions {
    /// The size of the receive buffer, if it does not tune itself.
    pub(crate) fn fixed_recv_buffer(&self) -> Option<usize> {
        Some(self.recv_buffer).filter(|size| *size > 0)
    }

    /// The size of the send buffer, if it does not tune itself.
    pub(crate) fn fixed_send_buffer(&self) -> Option<usize> {
        Some(self.send_buffer).filter(|size| *size > 0)
    }

    /// Brings what the user said into the range that makes sense.
    pub(crate) fn normalize(&mut self) {
        self.recv_buffer = self.recv_buffer.min(MAX_BUFFER);
        self.send_buffer = self.send_buffer.min(MAX_BUFFER);
        if let Some(keep_alive) = &mut self.keep_alive {
            keep_alive.idle = keep_alive.idle.clamp(MIN_KEEP_ALIVE, FOREVER);
            keep_alive.interval = keep_alive.interval.clamp(MIN_KEEP_ALIVE, FOREVER);
        }
        // 0 asks for the default of these, as in Linux.
        self.user_timeout =
            self.user_timeout.filter(|timeout| !timeout.is_zero()).map(|timeout| timeout.min(FOREVER));
        self.max_pacing_rate = self.max_pacing_rate.filter(|rate| *rate > 0);
        self.notsent_lowat = self.notsent_lowat.filter(|bytes| *bytes > 0);
        self.reordering = self.reordering.max(1);
        self.max_reordering = self.max_reordering.max(self.reordering);
        self.linger = self.linger.map(|linger| linger.min(FOREVER));
        self.max_rto = self.max_rto.map(|timeout| timeout.clamp(GRANULARITY, FOREVER));
        self.min_rto = self.min_rto.map(|timeout| timeout.min(FOREVER));
        let clamp = self.window_clamp.filter(|clamp| *clamp > 0);
        self.window_clamp = clamp.map(|clamp| clamp.max(MIN_WINDOW_CLAMP));
        self.defer_accept = self.defer_accept.filter(|time| !time.is_zero());
        self.fin_timeout = self.fin_timeout.map(|timeout| timeout.min(FOREVER));
        self.tos &= !EcnCodepoint::MASK;
        // With 0 no packet would leave.
        self.ttl = self.ttl.max(1);
    }
}

/// What of TCP's extensions a socket offers and takes: what neither it nor its stack has switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) window_scaling: bool,
    pub(crate) timestamps: bool,
    pub(crate) sack: bool,
    pub(crate) dsack: bool,
}

impl Extensions {
    pub(crate) fn of(options: &SocketOptions, config: &StackConfig) -> Self {
        Self {
            window_scaling: options.window_scaling && config.window_scaling,
            timestamps: options.timestamps && config.timestamps,
            sack: options.sack && config.sack,
            dsack: options.dsack && config.dsack,
        }
    }
}

/// So many different options are shared: a program sets a few on each of its sockets, one after the other.
const MOST_SHARED: usize = 8;

/// The options of sockets, kept once for all that have the same.
#[cfg_attr(feature = "model", derive(Clone))]
#[derive(Debug)]
pub(crate) struct SharedOptions {
    usual: Arc<SocketOptions>,
    /// Those that were asked for last, the oldest first.
    recent: VecDeque<Arc<SocketOptions>>,
}

impl SharedOptions {
    pub(crate) fn new(usual: SocketOptions) -> Self {
        Self { usual: Arc::new(usual), recent: VecDeque::new() }
    }

    /// These options, normalized; shared if others have them.
    pub(crate) fn share(&mut self, mut options: SocketOptions) -> Arc<SocketOptions> {
        options.normalize();
        let mut known = std::iter::once(&self.usual).chain(self.recent.iter().rev());
        if let Some(same) = known.find(|known| ***known == options) {
            return Arc::clone(same);
        }
        if self.recent.len() == MOST_SHARED {
            self.recent.pop_front();
        }
        let options = Arc::new(options);
        self.recent.push_back(Arc::clone(&options));
        options
    }
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            recv_buffer: 0,
            send_buffer: 0,
            nodelay: false,
            cork: false,
            quick_ack: false,
            ack_thinning: None,
            keep_alive: None,
            user_timeout: None,
            max_segment: None,
            notsent_lowat: None,
            window_clamp: None,
            tos: 0,
            ttl: 64,
            max_pacing_rate: None,
            congestion: Algorithm::default(),
            ecn: EcnMode::default(),
            ecn_fallback: true,
            ecn_option: EcnOption::default(),
            ecn_option_beacon: 3,
            fast_open: 0,
            fast_open_no_cookie: false,
            window_scaling: true,
            timestamps: true,
            sack: true,
            dsack: true,
            rack: true,
            rack_adapts: true,
            rack_dup_thresh: true,
            tlp: true,
            reordering: 3,
            max_reordering: 300,
            slow_start_after_idle: true,
            syn_retries: 7,
            synack_retries: None,
            syn_linear_timeouts: 0,
            thin_linear_timeouts: false,
            min_rto: None,
            max_rto: None,
            delayed_ack: None,
            fin_timeout: None,
            defer_accept: None,
            linger: None,
            reuse_addr: false,
            reuse_port: false,
        }
    }
}
