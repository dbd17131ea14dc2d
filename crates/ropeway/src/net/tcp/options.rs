//! Socket options: the same methods on streams, listeners and sockets.
//!
//! Those that tokio has keep tokio's names; the others have the names of `socket2::Socket`, through which a
//! program would reach them in the kernel.

use std::time::Duration;

use ropeway_core::KeepAlive;

/// When and how often an idle connection is probed, for `set_tcp_keepalive`. What is not set stays as it is.
///
/// # Examples
///
/// ```
/// use ropeway::net::tcp::TcpKeepalive;
/// use std::time::Duration;
///
/// let soon = TcpKeepalive::new().with_time(Duration::from_secs(30)).with_retries(3);
/// # let _ = soon;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpKeepalive {
    time: Option<Duration>,
    interval: Option<Duration>,
    retries: Option<u32>,
}

impl TcpKeepalive {
    /// Changes nothing but that probes are sent.
    #[must_use]
    pub const fn new() -> Self {
        Self { time: None, interval: None, retries: None }
    }

    /// How long nothing may arrive before the first probe (`TCP_KEEPIDLE`). Two hours by default
    /// (RFC 9293 3.8.4 MUST-28).
    #[must_use]
    pub const fn with_time(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// Time between probes (`TCP_KEEPINTVL`). 75 s by default.
    #[must_use]
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// How many unanswered probes end the connection (`TCP_KEEPCNT`). 9 by default; one alone never does
    /// (RFC 9293 3.8.4 MUST-29).
    #[must_use]
    pub const fn with_retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// Changes `old` as asked; `None` for what the kernel does not take either.
    pub(crate) fn apply(&self, old: Option<KeepAlive>) -> Option<KeepAlive> {
        let old = old.unwrap_or_default();
        let new = KeepAlive {
            idle: self.time.unwrap_or(old.idle),
            interval: self.interval.unwrap_or(old.interval),
            count: self.retries.unwrap_or(old.count),
        };
        let valid = !new.idle.is_zero() && !new.interval.is_zero() && new.count > 0;
        valid.then_some(new)
    }
}

/// Bits of the traffic class that belong to ECN: TCP sets them itself (RFC 3168), so, as in Linux, an
/// application's are not taken.
pub(crate) const ECN_BITS: u8 = 0b11;

/// Implements the options for `$type`, which has `options` to look at its `SocketOptions` and
/// `update_options` to change them.
macro_rules! impl_options {
    ($type:ty) => {
        /// # Options
        ///
        /// Each answers with an error only if the stack has ended, or as it says.
        impl $type {
            /// Whether Nagle's algorithm is off (`TCP_NODELAY`, RFC 9293 3.7.4). It is on by default.
            pub fn nodelay(&self) -> io::Result<bool> {
                self.options(|options| options.nodelay)
            }

            /// Sends small segments at once if set, instead of waiting for company while data is
            /// unacknowledged (`TCP_NODELAY`, RFC 9293 3.7.4 MUST-17). What waits is sent now.
            pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
                self.update_options(|options| options.nodelay = nodelay)
            }

            /// What dropping the connection does with data that is not sent yet (`SO_LINGER`).
            pub fn linger(&self) -> io::Result<Option<Duration>> {
                self.options(|options| options.linger)
            }

            /// Sets what dropping the connection does with data that is not sent yet (`SO_LINGER`):
            /// `None`, the default, sends it in the background, and so does any duration but zero,
            /// because dropping never blocks; zero discards it and resets the connection. How long
            /// [`TcpStream::close`](crate::net::TcpStream::close) waits, this says too.
            ///
            /// It is deprecated as in tokio, so that a program reads the same with either. Use
            /// [`set_zero_linger`](Self::set_zero_linger), or a `tokio::time::timeout` around `close`.
            #[deprecated = "`SO_LINGER` causes the socket to block the thread on drop"]
            pub fn set_linger(&self, dur: Option<Duration>) -> io::Result<()> {
                self.update_options(|options| options.linger = dur)
            }

            /// Resets the connection when it is dropped: unsent data is discarded, the peer sees
            /// [`ConnectionReset`](io::ErrorKind::ConnectionReset), and there is no TIME-WAIT.
            pub fn set_zero_linger(&self) -> io::Result<()> {
                self.update_options(|options| options.linger = Some(Duration::ZERO))
            }

            /// The TTL or hop limit of sent packets (`IP_TTL`). 64 by default.
            pub fn ttl(&self) -> io::Result<u32> {
                self.options(|options| options.ttl.into())
            }

            /// Sets the TTL or hop limit of sent packets, 1 to 255 (`IP_TTL`, RFC 9293 3.9.2 MUST-49).
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for another value.
            pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
                let ttl = u8::try_from(ttl).ok().filter(|ttl| *ttl > 0);
                let ttl = ttl.ok_or_else(|| invalid("a TTL is 1 to 255"))?;
                self.update_options(|options| options.ttl = ttl)
            }

            /// The type-of-service byte of sent IPv4 packets (`IP_TOS`). 0 by default.
            pub fn tos_v4(&self) -> io::Result<u32> {
                self.options(|options| options.tos.into())
            }

            /// Sets the type-of-service byte of sent IPv4 packets (`IP_TOS`, RFC 9293 3.9.1.9 MUST-48). The
            /// two bits of ECN stay TCP's own; what is beyond a byte is ignored, as in Linux. The traffic
            /// class of IPv6 is the same option.
            pub fn set_tos_v4(&self, tos: u32) -> io::Result<()> {
                let [.., tos] = tos.to_be_bytes();
                self.update_options(|options| {
                    options.tos = tos & !ECN_BITS;
                })
            }

            /// The traffic class of sent IPv6 packets (`IPV6_TCLASS`). 0 by default.
            pub fn tclass_v6(&self) -> io::Result<u32> {
                self.tos_v4()
            }

            /// Sets the traffic class of sent IPv6 packets (`IPV6_TCLASS`). The two bits of ECN stay TCP's
            /// own. The type of service of IPv4 is the same option.
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for more than 255.
            pub fn set_tclass_v6(&self, tclass: u32) -> io::Result<()> {
                if tclass > u8::MAX.into() {
                    return Err(invalid("a traffic class is 0 to 255"));
                }
                self.set_tos_v4(tclass)
            }

            /// Whether an idle connection is probed (`SO_KEEPALIVE`). It is not by default.
            pub fn keepalive(&self) -> io::Result<bool> {
                self.options(|options| options.keep_alive.is_some())
            }

            /// Sets whether an idle connection is probed (`SO_KEEPALIVE`, RFC 9293 3.8.4 MUST-25). Turned
            /// off and on again, its times are the default ones.
            pub fn set_keepalive(&self, keepalive: bool) -> io::Result<()> {
                self.update_options(|options| {
                    let old = options.keep_alive.take();
                    options.keep_alive = keepalive.then(|| old.unwrap_or_default());
                })
            }

            /// How long nothing may arrive before the first probe (`TCP_KEEPIDLE`).
            pub fn tcp_keepalive_time(&self) -> io::Result<Duration> {
                self.options(|options| options.keep_alive.unwrap_or_default().idle)
            }

            /// Time between probes (`TCP_KEEPINTVL`).
            pub fn tcp_keepalive_interval(&self) -> io::Result<Duration> {
                self.options(|options| options.keep_alive.unwrap_or_default().interval)
            }

            /// How many unanswered probes end the connection (`TCP_KEEPCNT`).
            pub fn tcp_keepalive_retries(&self) -> io::Result<u32> {
                self.options(|options| options.keep_alive.unwrap_or_default().count)
            }

            /// Turns probes on, and sets when and how often they are sent.
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) if a time or the count is zero.
            pub fn set_tcp_keepalive(&self, params: &TcpKeepalive) -> io::Result<()> {
                let mut valid = false;
                self.update_options(|options| {
                    let new = params.apply(options.keep_alive);
                    valid = new.is_some();
                    options.keep_alive = new.or(options.keep_alive);
                })?;
                if valid { Ok(()) } else { Err(invalid("keepalive times and counts are not zero")) }
            }

            /// How long sent data may stay unacknowledged before the connection is given up with
            /// [`TimedOut`](io::ErrorKind::TimedOut) (`TCP_USER_TIMEOUT`). `None`, the default: until the
            /// retransmissions run out.
            pub fn tcp_user_timeout(&self) -> io::Result<Option<Duration>> {
                self.options(|options| options.user_timeout)
            }

            /// Sets how long sent data may stay unacknowledged (`TCP_USER_TIMEOUT`, RFC 9293 3.8.3 MUST-21,
            /// RFC 5482). Zero is the same as `None`.
            pub fn set_tcp_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
                let timeout = timeout.filter(|timeout| !timeout.is_zero());
                self.update_options(|options| options.user_timeout = timeout)
            }

            /// Sets the most payload bytes that a segment of either direction may have, 88 to 32767, options taken off;
            /// or none with 0 (`TCP_MAXSEG`). Set before the handshake, it is announced, and binds the peer, too; later, it
            /// bounds what is sent from then on (RFC 9293 3.7.1).
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for another value.
            pub fn set_tcp_mss(&self, mss: u32) -> io::Result<()> {
                let mss = u16::try_from(mss).ok().filter(|mss| *mss == 0 || (88..=32767).contains(mss));
                let mss =
                    mss.ok_or_else(|| invalid("a maximum segment size is 88 to 32767, or 0 for none"))?;
                self.update_options(|options| options.max_segment = Some(mss).filter(|mss| *mss > 0))
            }

            /// Whether only full segments are sent (`TCP_CORK`).
            pub fn tcp_cork(&self) -> io::Result<bool> {
                self.options(|options| options.cork)
            }

            /// Holds small segments back until this is cleared, or 200 ms have passed (`TCP_CORK`).
            pub fn set_tcp_cork(&self, cork: bool) -> io::Result<()> {
                self.update_options(|options| options.cork = cork)
            }

            /// Whether acknowledgements are never delayed (`TCP_QUICKACK`). They are by default.
            pub fn quickack(&self) -> io::Result<bool> {
                self.options(|options| options.quick_ack)
            }

            /// Acknowledges at once, never delayed, if set (`TCP_QUICKACK`, RFC 9293 3.8.6.3). Unlike in
            /// Linux it stays as it is set.
            pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
                self.update_options(|options| options.quick_ack = quickack)
            }

            /// How acknowledgements of bulk are thinned. `None`, the default: not at all.
            pub fn ack_thinning(&self) -> io::Result<Option<$crate::AckThinning>> {
                self.options(|options| options.ack_thinning)
            }

            /// Acknowledges bulk less often than every second segment (RFC 3449), from now on; `None`: no more. It may be set at
            /// any time.
            ///
            /// # Examples
            ///
            /// ```
            /// # #[tokio::main] async fn main() -> std::io::Result<()> {
            /// use ropeway::AckThinning;
            /// use ropeway::net::TcpSocket;
            ///
            /// let socket = TcpSocket::new_v4()?;
            /// socket.set_ack_thinning(Some(AckThinning { segments: 16, ..AckThinning::default() }))?;
            /// assert_eq!(socket.ack_thinning()?.unwrap().segments, 16);
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_ack_thinning(&self, thinning: Option<$crate::AckThinning>) -> io::Result<()> {
                self.update_options(|options| options.ack_thinning = thinning)
            }

            /// How many unsent bytes may wait before the connection stops being writable
            /// (`TCP_NOTSENT_LOWAT`); 0, the default, for no such bound.
            pub fn tcp_notsent_lowat(&self) -> io::Result<u32> {
                self.options(|options| saturate(options.notsent_lowat.unwrap_or(0)))
            }

            /// Sets how many unsent bytes may wait before the connection stops being writable
            /// (`TCP_NOTSENT_LOWAT`); 0 for no such bound.
            pub fn set_tcp_notsent_lowat(&self, lowat: u32) -> io::Result<()> {
                let lowat = usize::try_from(lowat).ok().filter(|lowat| *lowat > 0);
                self.update_options(|options| options.notsent_lowat = lowat)
            }

            /// The most bytes that are sent in a second, if that is limited (`SO_MAX_PACING_RATE`).
            pub fn max_pacing_rate(&self) -> io::Result<Option<u64>> {
                self.options(|options| options.max_pacing_rate)
            }

            /// Limits how many bytes are sent in a second (`SO_MAX_PACING_RATE`); `None`, or 0, for no limit. What goes
            /// out at once is up to twenty segments, or what the rate brings in two milliseconds.
            pub fn set_max_pacing_rate(&self, rate: Option<u64>) -> io::Result<()> {
                self.update_options(|options| options.max_pacing_rate = rate)
            }

            /// Whether ECN is used (`tcp_ecn`).
            pub fn ecn(&self) -> io::Result<$crate::EcnMode> {
                self.options(|options| options.ecn)
            }

            /// Sets whether ECN is used (RFC 3168; `tcp_ecn`, for this socket alone). It counts for handshakes that begin later:
            /// those of a listener, or that of a socket that is not connected yet. What they have come to,
            /// [`TcpInfo::ecn`](crate::TcpInfo::ecn) tells.
            ///
            /// ```
            /// # #[tokio::main(flavor = "current_thread")]
            /// # async fn main() -> std::io::Result<()> {
            /// use ropeway::net::{TcpListener, TcpSocket};
            /// use ropeway::{EcnFeedback, EcnMode, Stack};
            ///
            /// let stack = Stack::builder().build()?;
            /// let listener = TcpListener::bind_on(&stack, "127.0.0.1:80").await?;
            /// let socket = TcpSocket::new_v4_on(&stack)?;
            /// socket.set_ecn(EcnMode::On)?;
            /// let stream = socket.connect("127.0.0.1:80".parse().unwrap()).await?;
            /// assert_eq!(stream.info()?.ecn, EcnFeedback::Classic);
            /// # drop(listener);
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_ecn(&self, ecn: $crate::EcnMode) -> io::Result<()> {
                self.update_options(|options| options.ecn = ecn)
            }

            /// The name of the congestion control (`TCP_CONGESTION`).
            pub fn tcp_congestion(&self) -> io::Result<Vec<u8>> {
                self.options(|options| options.congestion.name().as_bytes().to_vec())
            }

            /// Chooses the congestion control by its name: `b"cubic"`, the default, or `b"reno"` (`TCP_CONGESTION`).
            /// [`set_congestion`](Self::set_congestion) takes any other.
            ///
            /// # Errors
            ///
            /// [`NotFound`](io::ErrorKind::NotFound) if there is none of that name.
            pub fn set_tcp_congestion(&self, tcp_ca_name: &[u8]) -> io::Result<()> {
                let algorithm = std::str::from_utf8(tcp_ca_name).ok().and_then(|name| name.parse().ok());
                let algorithm = algorithm.ok_or_else(error::no_algorithm)?;
                self.update_options(|options| options.congestion = algorithm)
            }

            /// The congestion control.
            pub fn congestion(&self) -> io::Result<$crate::Algorithm> {
                self.options(|options| options.congestion.clone())
            }

            /// Chooses the congestion control, which may be one of the program's own (RFC 9293 3.8.2). On a
            /// connection it goes on from the window and the threshold that the one before it had.
            ///
            /// ```
            /// use ropeway::congestion::{Algorithm, Cubic};
            /// use ropeway::net::TcpSocket;
            ///
            /// # #[tokio::main(flavor = "current_thread")]
            /// # async fn main() -> std::io::Result<()> {
            /// let socket = TcpSocket::new_v4()?;
            /// socket.set_congestion(Algorithm::custom(Cubic::without_hystart()))?;
            /// assert_eq!(socket.tcp_congestion()?, b"cubic");
            /// # Ok(())
            /// # }
            /// ```
            pub fn set_congestion(&self, congestion: impl Into<$crate::Algorithm>) -> io::Result<()> {
                let congestion = congestion.into();
                self.update_options(|options| options.congestion = congestion)
            }

            /// How many connections that began with data in a SYN may wait for their third segment, of a listener
            /// (`TCP_FASTOPEN`). 0 by default.
            pub fn fastopen(&self) -> io::Result<u32> {
                self.options(|options| options.fast_open)
            }

            /// Lets a listener take data that comes with a SYN (TCP Fast Open, RFC 7413; `TCP_FASTOPEN`), from clients that have a
            /// cookie: [`accept`](crate::net::TcpListener::accept) gives such a connection at once, and the program may answer
            /// before the handshake is complete. At most `queue_len` connections of the listener may be in that state at a time;
            /// SYNs beyond it are taken without their data, as those of clients without a cookie. 0 takes none.
            ///
            /// **Requests must be idempotent**, like a GET: the network may repeat a SYN after its connection has ended, and the
            /// program then gets the request once more (RFC 7413 2.1).
            ///
            /// It counts for SYNs that come later. [`TcpSocket::connect_with`](crate::net::TcpSocket::connect_with) is the client.
            pub fn set_fastopen(&self, queue_len: u32) -> io::Result<()> {
                self.update_options(|options| options.fast_open = queue_len)
            }

            /// Whether Fast Open goes without cookies (`TCP_FASTOPEN_NO_COOKIE`). Off by default.
            pub fn fastopen_no_cookie(&self) -> io::Result<bool> {
                self.options(|options| options.fast_open_no_cookie)
            }

            /// Sets whether Fast Open goes without cookies (`TCP_FASTOPEN_NO_COOKIE`): a connect sends data with its SYN at
            /// once, and a listener takes it from whoever sends it. Only for networks in which nobody forges addresses: a server
            /// answers such a SYN with up to ten segments, wherever it seems to come from.
            pub fn set_fastopen_no_cookie(&self, no_cookie: bool) -> io::Result<()> {
                self.update_options(|options| options.fast_open_no_cookie = no_cookie)
            }

            /// How often a SYN is retransmitted before a connect gives up (`TCP_SYNCNT`). 7 by default.
            pub fn tcp_syn_retries(&self) -> io::Result<u32> {
                self.options(|options| options.syn_retries)
            }

            /// Sets how often a SYN is retransmitted, 1 to 127 (`TCP_SYNCNT`, RFC 9293 3.8.3 MUST-23).
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for another value.
            pub fn set_tcp_syn_retries(&self, retries: u32) -> io::Result<()> {
                if !(1..=127).contains(&retries) {
                    return Err(invalid("a SYN is retransmitted 1 to 127 times"));
                }
                self.update_options(|options| options.syn_retries = retries)
            }

            /// How often a listener's SYN-ACK is retransmitted, if the socket says so (`TCP_SYNCNT` of a listener).
            #[doc(alias = "TCP_SYNCNT")]
            pub fn tcp_synack_retries(&self) -> io::Result<Option<u32>> {
                self.options(|options| options.synack_retries)
            }

            /// Sets how often a listener's SYN-ACK is retransmitted before the half-open connection is given up, 0 to 127
            /// (`TCP_SYNCNT` of a listener). Handshakes that are under way take it up, too. `None`, the default:
            /// [`StackConfig::synack_retries`](crate::StackConfig::synack_retries).
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for another value.
            #[doc(alias = "TCP_SYNCNT")]
            pub fn set_tcp_synack_retries(&self, retries: Option<u32>) -> io::Result<()> {
                if retries.is_some_and(|retries| retries > 127) {
                    return Err(invalid("a SYN-ACK is retransmitted 0 to 127 times"));
                }
                self.update_options(|options| options.synack_retries = retries)
            }

            /// The size of the send buffer in bytes (`SO_SNDBUF`): that which was set, or that which it has tuned itself to by
            /// now; before there is a connection, what it will begin with.
            pub fn send_buffer_size(&self) -> io::Result<u32> {
                self.buffer_sizes().map(|(_, size)| saturate(size))
            }

            /// Sets the size of the send buffer (`SO_SNDBUF`): the most bytes that may wait to be
            /// acknowledged, exactly; but not less than 4608, as in the kernel. Unlike the kernel, ropeway does not
            /// double it.
            ///
            /// A buffer whose size was never set tunes itself: it follows the congestion window, within
            /// [`auto_send_buffer`](crate::StackConfig::auto_send_buffer). One whose size was set stays that size.
            pub fn set_send_buffer_size(&self, size: u32) -> io::Result<()> {
                let size = buffer_size(size, MIN_SEND_BUFFER);
                self.update_options(|options| options.send_buffer = size)
            }

            /// The size of the receive buffer in bytes (`SO_RCVBUF`): that which was set, or that which it has tuned itself to by
            /// now; before there is a connection, what it will begin with.
            pub fn recv_buffer_size(&self) -> io::Result<u32> {
                self.buffer_sizes().map(|(size, _)| saturate(size))
            }

            /// Sets the size of the receive buffer (`SO_RCVBUF`): the most received bytes that may wait to
            /// be read, exactly; but not less than 2304, as in the kernel. The window never promises more. Unlike
            /// the kernel, ropeway does not double it.
            ///
            /// A buffer whose size was never set tunes itself: it holds what the program reads in a round trip twice
            /// over, within [`auto_recv_buffer`](crate::StackConfig::auto_recv_buffer), so that the window does not slow the
            /// peer down on any path. One whose size was set stays that size. The window scale is announced in
            /// the SYN, so a size beyond 65,535 is best set before [`connect`](crate::net::TcpSocket::connect) or
            /// [`listen`](crate::net::TcpSocket::listen) (RFC 7323 2.2).
            pub fn set_recv_buffer_size(&self, size: u32) -> io::Result<()> {
                let size = buffer_size(size, MIN_RECV_BUFFER);
                self.update_options(|options| options.recv_buffer = size)
            }
        }
    };
}

/// The least that a program may set, as in Linux (`SOCK_MIN_SNDBUF`): three segments of an Ethernet, so that the peer
/// acknowledges two of them while there is more to send.
pub(crate) const MIN_SEND_BUFFER: u32 = 4608;

/// Likewise (`SOCK_MIN_RCVBUF`).
pub(crate) const MIN_RECV_BUFFER: u32 = 2304;

/// A buffer's size as the core has it.
pub(crate) fn buffer_size(size: u32, least: u32) -> usize {
    usize::try_from(size.max(least)).unwrap_or(usize::MAX)
}

/// A size as the 32 bits that tokio gives it.
pub(crate) fn saturate(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

pub(crate) use impl_options;
