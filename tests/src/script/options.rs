//! `setsockopt` and `getsockopt`.

use std::time::Duration;

use ropeway_core::{KeepAlive, SocketOptions, TcpInfo};

use super::ast::Expr;
use super::info::field;
use super::run::{Runner, Stop};
use super::settings::Mode;
use super::sockets::{Done, Kind, connection_errno, errno_number};
use super::zero_copy::ZeroCopy;

impl Runner<'_> {
    pub(super) fn setsockopt(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let fd = self.number(args, 0)?;
        let name = self.word(args, 2)?.to_owned();
        if !self.sockets.contains_key(&fd) {
            return Ok(Done::Error("EBADF"));
        }
        if name == "SO_LINGER" {
            let linger = self.linger(args.get(3))?;
            return Ok(self.change(fd, |options, _| options.linger = linger));
        }
        if name == "TCP_FASTOPEN_KEY" {
            return self.set_fast_open_key(args);
        }
        if let Some(text) = text(args.get(3)) {
            let algorithm = text.parse().ok().filter(|_| name == "TCP_CONGESTION");
            let algorithm = algorithm.ok_or_else(|| Stop::Unsupported(format!("{name} {text}")))?;
            return Ok(self.change(fd, |options, _| options.congestion = algorithm));
        }
        let number = self.number(args, 3)?;
        let size = usize::try_from(number).unwrap_or(0);
        // Linux takes it twice: half is for what it needs beside the data.
        let send_buffer =
            if self.settings.mode == Mode::Packetdrill && !self.settings.bsd { 2 * size } else { size };
        let count = u32::try_from(number).unwrap_or(0);
        let seconds = Duration::from_secs(u64::from(count));
        let probing = |options: &mut SocketOptions, stored: &KeepAlive| {
            if options.keep_alive.is_some() {
                options.keep_alive = Some(*stored);
            }
        };
        let done = match name.as_str() {
            "SO_REUSEADDR" => self.change(fd, |options, _| options.reuse_addr = number != 0),
            "SO_REUSEPORT" => self.change(fd, |options, _| options.reuse_port = number != 0),
            "SO_SNDBUF" | "SO_SNDBUFFORCE" => self.change(fd, |options, _| options.send_buffer = send_buffer),
            "SO_RCVBUF" | "SO_RCVBUFFORCE" => self.change(fd, |options, _| options.recv_buffer = size),
            "SO_KEEPALIVE" => self.change(fd, |options, stored| {
                options.keep_alive = (number != 0).then_some(*stored);
            }),
            "TCP_KEEPIDLE" => self.change(fd, |options, stored| {
                stored.idle = seconds;
                probing(options, stored);
            }),
            "TCP_KEEPINTVL" => self.change(fd, |options, stored| {
                stored.interval = seconds;
                probing(options, stored);
            }),
            "TCP_KEEPCNT" => self.change(fd, |options, stored| {
                stored.count = count;
                probing(options, stored);
            }),
            "TCP_NODELAY" => self.change(fd, |options, _| options.nodelay = number != 0),
            "TCP_CORK" | "TCP_NOPUSH" => self.change(fd, |options, _| options.cork = number != 0),
            "TCP_QUICKACK" => self.change(fd, |options, _| options.quick_ack = number != 0),
            "TCP_MAXSEG" if number != 0 && !(88..=32767).contains(&number) => Done::Error("EINVAL"),
            "TCP_MAXSEG" => self.change(fd, |options, _| {
                options.max_segment = u16::try_from(number).ok().filter(|mss| *mss > 0);
            }),
            "TCP_SYNCNT" if !(1..=127).contains(&number) => Done::Error("EINVAL"),
            "TCP_SYNCNT" => self.change(fd, |options, _| {
                (options.syn_retries, options.synack_retries) = (count, Some(count));
            }),
            "TCP_USER_TIMEOUT" => self.change(fd, |options, _| {
                let millis = Duration::from_millis(u64::from(count));
                options.user_timeout = (number > 0).then_some(millis);
            }),
            "TCP_LINGER2" => self.change(fd, |options, _| {
                let timeout = if number < 0 { Duration::ZERO } else { seconds.min(Duration::from_secs(120)) };
                options.fin_timeout = (number != 0).then_some(timeout);
            }),
            "TCP_DEFER_ACCEPT" => {
                self.change(fd, |options, _| options.defer_accept = (number > 0).then_some(seconds))
            }
            "TCP_WINDOW_CLAMP" => self.change(fd, |options, _| options.window_clamp = Some(count)),
            "TCP_THIN_LINEAR_TIMEOUTS" if !(0..=1).contains(&number) => Done::Error("EINVAL"),
            "TCP_THIN_LINEAR_TIMEOUTS" => {
                self.change(fd, |options, _| options.thin_linear_timeouts = number != 0)
            }
            "TCP_RTO_MAX_MS" if !(1000..=120_000).contains(&number) => Done::Error("EINVAL"),
            "TCP_RTO_MAX_MS" => self.change(fd, |options, _| {
                options.max_rto = Some(Duration::from_millis(count.into()));
            }),
            "TCP_RTO_MIN_US" if !(1000..=200_000).contains(&number) => Done::Error("EINVAL"),
            "TCP_RTO_MIN_US" => self.change(fd, |options, _| {
                options.min_rto = Some(Duration::from_micros(count.into()));
            }),
            "TCP_DELACK_MAX_US" if !(1000..=200_000).contains(&number) => Done::Error("EINVAL"),
            "TCP_DELACK_MAX_US" => self.change(fd, |options, _| {
                options.delayed_ack = Some(Duration::from_micros(count.into()));
            }),
            "SO_MAX_PACING_RATE" => self.change(fd, |options, _| {
                options.max_pacing_rate =
                    u64::try_from(number).ok().filter(|rate| *rate < u64::from(u32::MAX));
            }),
            "TCP_NOTSENT_LOWAT" => self.change(fd, |options, _| options.notsent_lowat = Some(size)),
            "IP_TOS" | "IPV6_TCLASS" => {
                self.change(fd, |options, _| options.tos = u8::try_from(number).unwrap_or(0))
            }
            "IP_TTL" | "IPV6_UNICAST_HOPS" => {
                self.change(fd, |options, _| options.ttl = u8::try_from(number).unwrap_or(64))
            }
            "TCP_FASTOPEN_CONNECT" => self.set_connects_fast(fd, number != 0),
            "TCP_FASTOPEN" => self.change(fd, |options, _| options.fast_open = count),
            "TCP_FASTOPEN_NO_COOKIE" => {
                self.change(fd, |options, _| options.fast_open_no_cookie = number != 0)
            }
            "SO_ZEROCOPY" => {
                if let Some(socket) = self.sockets.get_mut(&fd) {
                    socket.zero_copy = (number != 0).then(ZeroCopy::default);
                }
                Done::Returned(0)
            }
            // These do not change what TCP does.
            // What it tells of goes with what is read anyway.
            "TCP_INQ" => Done::Returned(0),
            "SO_DEBUG" | "SO_PRIORITY" | "SO_MARK" | "SO_OOBINLINE" | "IP_MTU_DISCOVER" | "IPV6_V6ONLY" => {
                Done::Returned(0)
            }
            _ => return Err(Stop::Unsupported(name)),
        };
        Ok(done)
    }

    /// Changes the options of whatever the descriptor stands for.
    fn change(&mut self, fd: i64, change: impl FnOnce(&mut SocketOptions, &mut KeepAlive)) -> Done {
        let now = self.ts();
        let Some(socket) = self.sockets.get_mut(&fd) else { return Done::Error("EBADF") };
        change(&mut socket.options, &mut socket.keep_alive);
        let options = socket.options.clone();
        match socket.kind {
            Kind::Connection(id) => {
                let _ = self.stack.update_options(now, id, |known| *known = options);
            }
            Kind::Listener(id) => {
                let _ = self.stack.update_listener_options(id, |known| *known = options);
            }
            Kind::New(_) | Kind::Dead => {}
        }
        Done::Returned(0)
    }

    /// `{onoff=1, linger=0}`
    fn linger(&self, expr: Option<&Expr>) -> Result<Option<Duration>, Stop> {
        let Some(Expr::Struct(fields)) = expr else { return Err(self.fail("expected {onoff=, linger=}")) };
        let field = |name: &str| {
            fields.iter().find_map(|field| match field {
                Expr::Field(known, value) if known.trim_start_matches("l_") == name => {
                    self.integer(value).ok()?
                }
                _ => None,
            })
        };
        let seconds = u64::try_from(field("linger").unwrap_or(0)).unwrap_or(0);
        Ok((field("onoff") == Some(1)).then(|| Duration::from_secs(seconds)))
    }

    pub(super) fn getsockopt(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let fd = self.number(args, 0)?;
        let name = self.word(args, 2)?.to_owned();
        let connection = self.connection_at(args)?;
        let now = self.ts();
        let Some(socket) = self.sockets.get(&fd) else { return Ok(Done::Error("EBADF")) };
        let options = &socket.options;
        let info = connection.and_then(|id| self.stack.info(now, id).ok());
        let whole = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let actual = match name.as_str() {
            "TCP_INFO" => return self.check_info(args.get(3), info.as_ref()),
            "TCP_CONGESTION" => {
                let (expected, actual) = (text(args.get(3)), options.congestion.name());
                return match expected {
                    Some(expected) if expected != actual => {
                        Err(self.fail(format!("{name} is to be {expected}, and is {actual}")))
                    }
                    _ => Ok(Done::Returned(0)),
                };
            }
            "SO_ERROR" => {
                let error = connection.and_then(|id| self.stack.take_error(id));
                error.and_then(|error| errno_number(connection_errno(error))).unwrap_or(0)
            }
            "SO_REUSEADDR" => i64::from(options.reuse_addr),
            "SO_SNDBUF" if self.settings.mode == Mode::Packetdrill => whole(options.send_buffer),
            // Linux keeps its own memory's needs in the other half.
            "SO_SNDBUF" => 2 * whole(options.send_buffer),
            "SO_RCVBUF" => 2 * whole(options.recv_buffer),
            "SO_KEEPALIVE" => i64::from(options.keep_alive.is_some()),
            "TCP_KEEPIDLE" => seconds(socket.keep_alive.idle),
            "TCP_KEEPINTVL" => seconds(socket.keep_alive.interval),
            "TCP_KEEPCNT" => i64::from(socket.keep_alive.count),
            "TCP_NODELAY" => i64::from(options.nodelay),
            "TCP_CORK" => i64::from(options.cork),
            "TCP_MAXSEG" => match info {
                Some(info) => i64::from(info.snd_mss),
                None => options.max_segment.map_or(536, i64::from),
            },
            "TCP_SYNCNT" => i64::from(options.syn_retries),
            "TCP_USER_TIMEOUT" => {
                options.user_timeout.map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(0))
            }
            "TCP_NOTSENT_LOWAT" => {
                let default = self.settings.config.socket.notsent_lowat;
                options.notsent_lowat.filter(|_| options.notsent_lowat != default).map_or(0, whole)
            }
            "TCP_LINGER2" => match options.fin_timeout {
                Some(Duration::ZERO) => -1,
                timeout => seconds(timeout.unwrap_or(self.settings.config.fin_timeout)),
            },
            // In whole timeouts of a SYN-ACK, as Linux keeps it.
            "TCP_DEFER_ACCEPT" => options.defer_accept.map_or(0, |time| self.whole_timeouts(time)),
            "TCP_WINDOW_CLAMP" => options.window_clamp.map_or(0, i64::from),
            "TCP_THIN_LINEAR_TIMEOUTS" => i64::from(options.thin_linear_timeouts),
            "TCP_QUICKACK" => i64::from(options.quick_ack),
            "TCP_RTO_MAX_MS" => millis(options.max_rto.unwrap_or(self.settings.config.max_rto)),
            "TCP_RTO_MIN_US" => micros(options.min_rto.unwrap_or(self.settings.config.min_rto)),
            "TCP_DELACK_MAX_US" => micros(options.delayed_ack.unwrap_or(self.settings.config.delayed_ack)),
            "SO_REUSEPORT" => i64::from(options.reuse_port),
            "SO_MAX_PACING_RATE" => {
                options.max_pacing_rate.map_or(-1, |rate| i64::try_from(rate).unwrap_or(-1))
            }
            "IP_TOS" | "IPV6_TCLASS" => options.tos.into(),
            "IP_TTL" | "IPV6_UNICAST_HOPS" => options.ttl.into(),
            "SO_ACCEPTCONN" => i64::from(matches!(socket.kind, Kind::Listener(_))),
            _ => return Err(Stop::Unsupported(name)),
        };
        // FreeBSD rounds its buffers to segments.
        if !(self.settings.bsd && matches!(name.as_str(), "SO_RCVBUF" | "SO_SNDBUF")) {
            self.check_value(&name, args.get(3), actual)?;
        }
        Ok(Done::Returned(0))
    }

    /// `time` as the timeouts of a SYN-ACK take together that are no less, in seconds.
    fn whole_timeouts(&self, time: Duration) -> i64 {
        let config = &self.settings.config;
        let (mut timeout, mut all) = (config.initial_rto, config.initial_rto);
        while all < time {
            timeout = (2 * timeout).min(config.max_rto);
            all += timeout;
        }
        i64::try_from(all.as_secs()).unwrap_or(i64::MAX)
    }

    /// `{tcpi_state=TCP_ESTABLISHED, ...}`
    fn check_info(&mut self, expected: Option<&Expr>, info: Option<&TcpInfo>) -> Result<Done, Stop> {
        let Some(Expr::Struct(fields)) = expected else { return Ok(Done::Returned(0)) };
        let Some(info) = info else { return Ok(Done::Error("EINVAL")) };
        for entry in fields {
            let Expr::Field(name, value) = entry else { continue };
            match field(info, name) {
                Some(super::python::Value::Int(actual)) => self.check_value(name, Some(value), actual)?,
                _ if **value == Expr::Ellipsis => {}
                _ => return Err(Stop::Unsupported(name.clone())),
            }
        }
        Ok(Done::Returned(0))
    }
}

/// `"cubic"` or `["cubic"]`
fn text(expr: Option<&Expr>) -> Option<String> {
    match expr? {
        Expr::Str(text) => Some(String::from_utf8_lossy(text).into_owned()),
        Expr::List(list) if list.len() == 1 => text(list.first()),
        _ => None,
    }
}
