//! Linux's switches: the same methods on streams, listeners and sockets. docs/OPTIONS.md lists them with Linux's names.

/// Implements the switches for `$type`, which has `options` to look at its `SocketOptions` and `update_options` to change them.
macro_rules! impl_switches {
    ($type:ty) => {
        /// # Linux's switches
        ///
        /// Each is the socket's own; what new sockets begin with is [`StackConfig::socket`](crate::StackConfig::socket). Each
        /// answers with an error only if the stack has ended, or as it says.
        impl $type {
            /// Whether window scaling is offered and taken (`tcp_window_scaling`). It is by default.
            pub fn tcp_window_scaling(&self) -> io::Result<bool> {
                self.options(|options| options.window_scaling)
            }

            /// Sets whether window scaling is offered and taken (RFC 7323 2; `tcp_window_scaling`, for this socket alone). It counts for
            /// connections that begin later. What [`StackConfig::window_scaling`](crate::StackConfig::window_scaling) has switched off stays off.
            pub fn set_tcp_window_scaling(&self, on: bool) -> io::Result<()> {
                self.update_options(|options| options.window_scaling = on)
            }

            /// Whether timestamps are offered and taken (`tcp_timestamps`). It is by default.
            pub fn tcp_timestamps(&self) -> io::Result<bool> {
                self.options(|options| options.timestamps)
            }

            /// Sets whether timestamps are offered and taken (RFC 7323 3; `tcp_timestamps`, for this socket alone). It counts for
            /// connections that begin later. What [`StackConfig::timestamps`](crate::StackConfig::timestamps) has switched off stays off.
            pub fn set_tcp_timestamps(&self, on: bool) -> io::Result<()> {
                self.update_options(|options| options.timestamps = on)
            }

            /// Whether SACK is offered and taken (`tcp_sack`). It is by default.
            pub fn tcp_sack(&self) -> io::Result<bool> {
                self.options(|options| options.sack)
            }

            /// Sets whether SACK is offered and taken (RFC 2018; `tcp_sack`, for this socket alone). It counts for
            /// connections that begin later. What [`StackConfig::sack`](crate::StackConfig::sack) has switched off stays off.
            pub fn set_tcp_sack(&self, on: bool) -> io::Result<()> {
                self.update_options(|options| options.sack = on)
            }

            /// Whether SACK reports what has arrived twice (`tcp_dsack`). It is by default.
            pub fn tcp_dsack(&self) -> io::Result<bool> {
                self.options(|options| options.dsack)
            }

            /// Sets whether SACK reports what has arrived twice (RFC 2883; `tcp_dsack`, for this socket alone). It counts for
            /// connections that begin later. What [`StackConfig::dsack`](crate::StackConfig::dsack) has switched off stays off.
            pub fn set_tcp_dsack(&self, on: bool) -> io::Result<()> {
                self.update_options(|options| options.dsack = on)
            }

            /// How losses are found, in the bits of `tcp_recovery`. 1 by default.
            pub fn tcp_recovery(&self) -> io::Result<u32> {
                self.options(|options| {
                    u32::from(options.rack)
                        | u32::from(!options.rack_adapts) << 1
                        | u32::from(!options.rack_dup_thresh) << 2
                })
            }

            /// Sets how losses are found (RFC 8985; `tcp_recovery`, for this socket alone). Bit 0: by time (RACK), which counts for
            /// connections that begin later; otherwise by what SACK reports (RFC 6675). Bit 1: the reordering window does not grow. Bit 2: the
            /// reordering window is waited for, however much was reported.
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for more than 7.
            pub fn set_tcp_recovery(&self, number: u32) -> io::Result<()> {
                if number > 7 {
                    return Err(invalid(
                        "recovery bits are 0 to 7: RACK is 1, a static window 2, no duplicate threshold 4",
                    ));
                }
                self.update_options(|options| {
                    options.rack = number & 1 != 0;
                    options.rack_adapts = number & 2 == 0;
                    options.rack_dup_thresh = number & 4 == 0;
                })
            }

            /// 3 if the tail of what is in flight is probed, as it is by default; 0 if not (`tcp_early_retrans`).
            pub fn tcp_early_retrans(&self) -> io::Result<u32> {
                self.options(|options| if options.tlp { 3 } else { 0 })
            }

            /// Probes the tail of what is in flight with 3 or 4, and does not with 0 to 2 (RFC 8985 7; `tcp_early_retrans`, for this
            /// socket alone).
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for more than 4.
            pub fn set_tcp_early_retrans(&self, number: u32) -> io::Result<()> {
                if number > 4 {
                    return Err(invalid("early retransmit is 0 to 4: 3 and 4 probe the tail"));
                }
                self.update_options(|options| options.tlp = number > 2)
            }

            /// How many duplicate acknowledgements mean a loss, until more reordering is seen (`tcp_reordering`). 3 by default.
            pub fn tcp_reordering(&self) -> io::Result<u32> {
                self.options(|options| options.reordering.into())
            }

            /// Sets how many duplicate acknowledgements mean a loss, until more reordering is seen (RFC 5681 3.2; `tcp_reordering`, for
            /// this socket alone): 1 to 65,535.
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for another value.
            pub fn set_tcp_reordering(&self, number: u32) -> io::Result<()> {
                let number = u16::try_from(number).ok().filter(|number| *number > 0);
                let number = number.ok_or_else(|| invalid("a degree of reordering is 1 to 65535"))?;
                self.update_options(|options| options.reordering = number)
            }

            /// The most reordering that is believed, in segments (`tcp_max_reordering`). 300 by default.
            pub fn tcp_max_reordering(&self) -> io::Result<u32> {
                self.options(|options| options.max_reordering.into())
            }

            /// Sets the most reordering that is believed, in segments (`tcp_max_reordering`, for this socket alone): 1 to 65,535, and at
            /// least [`tcp_reordering`](Self::tcp_reordering).
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for another value.
            pub fn set_tcp_max_reordering(&self, number: u32) -> io::Result<()> {
                let number = u16::try_from(number).ok().filter(|number| *number > 0);
                let number = number.ok_or_else(|| invalid("a degree of reordering is 1 to 65535"))?;
                self.update_options(|options| options.max_reordering = number)
            }

            /// Whether a pause of a retransmission timeout makes the congestion window begin anew (`tcp_slow_start_after_idle`). It
            /// does by default.
            pub fn tcp_slow_start_after_idle(&self) -> io::Result<bool> {
                self.options(|options| options.slow_start_after_idle)
            }

            /// Sets whether a pause of a retransmission timeout makes the congestion window begin anew (RFC 5681 4.1;
            /// `tcp_slow_start_after_idle`, for this socket alone).
            pub fn set_tcp_slow_start_after_idle(&self, on: bool) -> io::Result<()> {
                self.update_options(|options| options.slow_start_after_idle = on)
            }

            /// How many timeouts of a SYN are not doubled (`tcp_syn_linear_timeouts`). 0 by default, as RFC 6298 (5.5) asks for.
            pub fn tcp_syn_linear_timeouts(&self) -> io::Result<u32> {
                self.options(|options| options.syn_linear_timeouts.into())
            }

            /// Sets how many timeouts of a SYN are not doubled, 0 to 127 (`tcp_syn_linear_timeouts`, for this socket alone). They come on
            /// top of [`tcp_syn_retries`](Self::tcp_syn_retries). 4 is what Linux has.
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for more than 127.
            pub fn set_tcp_syn_linear_timeouts(&self, number: u32) -> io::Result<()> {
                let number = u8::try_from(number).ok().filter(|number| *number < 128);
                let number = number.ok_or_else(|| invalid("linear timeouts of a SYN are 0 to 127"))?;
                self.update_options(|options| options.syn_linear_timeouts = number)
            }

            /// Whether timeouts are not doubled while little is in flight (`TCP_THIN_LINEAR_TIMEOUTS`). They are by default.
            #[doc(alias = "TCP_THIN_LINEAR_TIMEOUTS")]
            pub fn thin_linear_timeouts(&self) -> io::Result<bool> {
                self.options(|options| options.thin_linear_timeouts)
            }

            /// Sets whether the first six timeouts in a row are not doubled while fewer than four segments are in flight
            /// (`TCP_THIN_LINEAR_TIMEOUTS`).
            #[doc(alias = "TCP_THIN_LINEAR_TIMEOUTS")]
            pub fn set_thin_linear_timeouts(&self, on: bool) -> io::Result<()> {
                self.update_options(|options| options.thin_linear_timeouts = on)
            }

            /// By how much the retransmission timeout exceeds the round trip at the least, if the socket says so (`TCP_RTO_MIN_US`).
            #[doc(alias = "TCP_RTO_MIN_US")]
            pub fn tcp_rto_min(&self) -> io::Result<Option<Duration>> {
                self.options(|options| options.min_rto)
            }

            /// Sets by how much the retransmission timeout exceeds the round trip at the least, 1 ms to 120 s (`TCP_RTO_MIN_US`, RFC 6298
            /// 2.4). `None`, the default: [`StackConfig::min_rto`](crate::StackConfig::min_rto).
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for another time.
            #[doc(alias = "TCP_RTO_MIN_US")]
            pub fn set_tcp_rto_min(&self, time: Option<Duration>) -> io::Result<()> {
                let valid = Duration::from_millis(1)..=Duration::from_secs(120);
                if time.is_some_and(|time| !valid.contains(&time)) {
                    return Err(invalid("the least retransmission timeout is 1 ms to 120 s"));
                }
                self.update_options(|options| options.min_rto = time)
            }

            /// The largest retransmission timeout, if the socket says so (`TCP_RTO_MAX_MS`).
            #[doc(alias = "TCP_RTO_MAX_MS")]
            pub fn tcp_rto_max(&self) -> io::Result<Option<Duration>> {
                self.options(|options| options.max_rto)
            }

            /// Sets the largest retransmission timeout, backoff included, 1 s to 120 s (`TCP_RTO_MAX_MS`, RFC 6298 2.5). It bounds the pauses
            /// between probes of a closed window, too. `None`, the default: [`StackConfig::max_rto`](crate::StackConfig::max_rto).
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for another time.
            #[doc(alias = "TCP_RTO_MAX_MS")]
            pub fn set_tcp_rto_max(&self, time: Option<Duration>) -> io::Result<()> {
                let valid = Duration::from_secs(1)..=Duration::from_secs(120);
                if time.is_some_and(|time| !valid.contains(&time)) {
                    return Err(invalid("the largest retransmission timeout is 1 s to 120 s"));
                }
                self.update_options(|options| options.max_rto = time)
            }

            /// How long an acknowledgement may wait for company, if the socket says so (`TCP_DELACK_MAX_US`).
            #[doc(alias = "TCP_DELACK_MAX_US")]
            pub fn tcp_delack_max(&self) -> io::Result<Option<Duration>> {
                self.options(|options| options.delayed_ack)
            }

            /// Sets how long an acknowledgement may wait for company, less than 500 ms (`TCP_DELACK_MAX_US`, RFC 9293 3.8.6.3).
            /// `None`, the default: [`StackConfig::delayed_ack`](crate::StackConfig::delayed_ack).
            ///
            /// # Errors
            ///
            /// [`InvalidInput`](io::ErrorKind::InvalidInput) for another time, zero included.
            #[doc(alias = "TCP_DELACK_MAX_US")]
            pub fn set_tcp_delack_max(&self, time: Option<Duration>) -> io::Result<()> {
                if time.is_some_and(|time| time.is_zero() || time >= Duration::from_millis(500)) {
                    return Err(invalid(
                        "an acknowledgement waits less than 500 ms: set quickack to have none wait",
                    ));
                }
                self.update_options(|options| options.delayed_ack = time)
            }

            /// How long a dropped connection waits for the end of what the peer sends, if the socket says so (`TCP_LINGER2`).
            #[doc(alias = "TCP_LINGER2")]
            pub fn tcp_fin_timeout(&self) -> io::Result<Option<Duration>> {
                self.options(|options| options.fin_timeout)
            }

            /// Sets how long a dropped connection waits in FIN-WAIT-2 for the peer's FIN (`TCP_LINGER2`); as in Linux, 120 s at most, and three
            /// and a half retransmission timeouts at least. Zero, which is a negative number in Linux: not at all; a RST tells the peer. `None`,
            /// the default, which is 0 in Linux: [`StackConfig::fin_timeout`](crate::StackConfig::fin_timeout).
            #[doc(alias = "TCP_LINGER2")]
            pub fn set_tcp_fin_timeout(&self, time: Option<Duration>) -> io::Result<()> {
                self.update_options(|options| {
                    options.fin_timeout = time.map(|time| time.min(Duration::from_secs(120)))
                })
            }

            /// How long a connection waits for data before it is accepted (`TCP_DEFER_ACCEPT`). `None` by default: not at all.
            #[doc(alias = "TCP_DEFER_ACCEPT")]
            pub fn tcp_defer_accept(&self) -> io::Result<Option<Duration>> {
                self.options(|options| options.defer_accept)
            }

            /// Has a listener accept connections when their data comes, or so long after the SYN-ACK (`TCP_DEFER_ACCEPT`). As in Linux the time
            /// is rounded up to that of a timeout of the SYN-ACK: 1, 3, 7, 15 s and so on. `None`, or zero, which is 0 in Linux: when the handshake
            /// is complete. With a SYN cookie it is complete at once.
            ///
            /// ```
            /// # #[tokio::main(flavor = "current_thread")]
            /// # async fn main() -> std::io::Result<()> {
            /// use ropeway::net::TcpSocket;
            /// use std::time::Duration;
            ///
            /// let socket = TcpSocket::new_v4()?;
            /// socket.set_tcp_defer_accept(Some(Duration::from_secs(5)))?;
            /// socket.bind("127.0.0.1:80".parse().unwrap())?;
            /// let listener = socket.listen(128)?;
            /// # drop(listener);
            /// # Ok(())
            /// # }
            /// ```
            #[doc(alias = "TCP_DEFER_ACCEPT")]
            pub fn set_tcp_defer_accept(&self, time: Option<Duration>) -> io::Result<()> {
                self.update_options(|options| options.defer_accept = time.filter(|time| !time.is_zero()))
            }

            /// The largest window that is announced, in bytes (`TCP_WINDOW_CLAMP`); 0, the default, for no such bound.
            #[doc(alias = "TCP_WINDOW_CLAMP")]
            pub fn tcp_window_clamp(&self) -> io::Result<u32> {
                self.options(|options| options.window_clamp.unwrap_or(0))
            }

            /// Sets the largest window that is announced, in bytes (`TCP_WINDOW_CLAMP`); as in Linux, 1,152 at least; 0 for no such bound. The
            /// window scale is announced in the SYN, so a bound is best set before the handshake (RFC 7323 2.2).
            #[doc(alias = "TCP_WINDOW_CLAMP")]
            pub fn set_tcp_window_clamp(&self, number: u32) -> io::Result<()> {
                self.update_options(|options| {
                    options.window_clamp = Some(number).filter(|number| *number > 0)
                })
            }
        }
    };
}

pub(crate) use impl_switches;
