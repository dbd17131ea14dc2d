//! What a script runs with: its `--options`, the sysctls of its commands, and our own `// @pragmas`.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use ropeway_core::{EchoPolicy, FastOpenKeys, KeepAlive, MtuProbing, StackConfig, SynCookieMode};

use super::Error;
use super::ast::{Action, Body, Direction, EventTime, Pragma, Script, TcpOption, TcpSpec};
use super::parse::seconds;
use super::wire::flag;

/// Which IP a script runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ip {
    /// IPv4
    V4,
    /// IPv6; the MTU is 20 larger, so that the MSS is the same.
    V6,
}

/// How strictly the stack is held to the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As packetdrill does: 4 ms or an eighth of the time between two events, several small segments for a
    /// large one, and packets behind the last line are nobody's concern.
    Packetdrill,
    /// As our own scripts want it: half a millisecond, every segment is a line, in the order in which things
    /// happen: nothing else happens before a packet that was sent has had its line, and none is left at the end.
    /// Timestamps and their echoes are exact.
    Strict,
}

/// All settings of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// See [`Mode`].
    pub mode: Mode,
    /// See [`Ip`].
    pub ip: Ip,
    /// The stack's.
    pub config: StackConfig,
    /// The stack's address.
    pub local: IpAddr,
    /// The script's.
    pub remote: IpAddr,
    /// Where `bind(3, ..., ...)` binds.
    pub bind_port: u16,
    /// Where `connect(3, ..., ...)` connects.
    pub connect_port: u16,
    /// By how many microseconds a packet may be early or late.
    pub tolerance: u64,
    /// The same in percent of the time since the event before, if that is more.
    pub tolerance_percent: f64,
    /// Microseconds in a tick of TSval; 0 checks none.
    pub ts_tick: u64,
    /// A segment of the script is one segment on the wire.
    pub strict_segments: bool,
    /// The stack's first initial sequence number.
    pub iss: Option<u32>,
    /// Linux's `tcp_fastopen`: 1 for clients, 2 for servers, 4 and 0x200 without cookies, 0x400 for all listeners.
    pub fast_open: u32,
    /// Linux's `tcp_fastopen_key`.
    pub fast_open_keys: Option<FastOpenKeys>,
    /// What `SO_KEEPALIVE` begins with.
    pub keep_alive: KeepAlive,
    /// The script was written for FreeBSD: the order of options and the sizes of buffers are not ours.
    pub bsd: bool,
    /// What a route of the script's says of its path: an MTU that passes.
    pub path_mtu: Option<u16>,
    /// `--mss`: what is larger arrives as a train of segments of that size.
    pub segment_size: Option<u16>,
    /// What the script switches on that is not there.
    pub unsupported: Vec<String>,
    /// What was in the script and changed nothing.
    pub notes: Vec<String>,
}

/// What a script says of windows holds for buffers of one size.
const BUFFER: usize = 512 * 1024;

/// It decides the window scale, and is as large as it was in most kernels that scripts were written for.
const MAX_WINDOW: u32 = 6 * 1024 * 1024;

fn usual() -> StackConfig {
    let mut config = StackConfig::default();
    config.max_window = MAX_WINDOW;
    // Linux's default: scripts have more timeouts in a row than paths.
    config.mtu_probing = MtuProbing::Off;
    (config.socket.recv_buffer, config.socket.send_buffer) = (BUFFER, BUFFER);
    config
}

impl Settings {
    /// The settings that `script`, found at `path`, asks for.
    ///
    /// # Errors
    /// A pragma that makes no sense.
    pub fn new(script: &Script, path: &Path, mode: Mode, ip: Ip) -> Result<Self, Error> {
        let strict = mode == Mode::Strict;
        let mut settings = Self {
            mode,
            ip,
            config: usual(),
            local: "192.168.0.1".parse().unwrap(),
            remote: "192.0.2.1".parse().unwrap(),
            bind_port: 8080,
            connect_port: 8080,
            tolerance: if strict { 500 } else { 4000 },
            tolerance_percent: if strict { 0.0 } else { 12.5 },
            ts_tick: if strict { 1000 } else { 0 },
            strict_segments: strict,
            iss: None,
            fast_open: 1,
            fast_open_keys: None,
            keep_alive: KeepAlive::default(),
            bsd: false,
            path_mtu: None,
            segment_size: None,
            unsupported: Vec::new(),
            notes: Vec::new(),
        };
        if ip == Ip::V6 {
            settings.local = "fd3d:fa7b:d17d::1".parse().unwrap();
            settings.remote = "2001:db8::1".parse().unwrap();
            settings.config.mtu = 1520;
        }
        for (name, value) in &script.options {
            settings.option(name, value.as_deref().unwrap_or_default());
        }
        if let Some(command) = &script.init {
            settings.command(command, path);
        }
        // Settings that are made before anything else happens.
        for event in &script.events {
            let Action::Command(command) = &event.action else { break };
            settings.command(command, path);
        }
        settings.adopt_window_scale(script);
        settings.adopt_syn_timeouts(script);
        settings.adopt_fast_open(script);
        if settings.bsd {
            settings.like_freebsd(script);
        }
        for pragma in &script.pragmas {
            settings.pragma(pragma)?;
        }
        let prefix = if ip == Ip::V4 { 16 } else { 48 };
        settings.config.addresses = vec![ropeway_core::IpCidr::new(settings.local, prefix)];
        Ok(settings)
    }

    /// What scripts for FreeBSD take for granted: its MTU, buffers of whole segments, acknowledgements that are
    /// delayed from the first.
    fn like_freebsd(&mut self, script: &Script) {
        if !script.options.iter().any(|(name, _)| name == "mtu") {
            self.config.mtu = 1500;
        }
        let mss = usize::from(self.config.mtu) - if self.ip == Ip::V4 { 40 } else { 60 };
        let buffer = &mut self.config.socket.recv_buffer;
        *buffer = buffer.next_multiple_of(mss);
        self.config.quick_acks = 0;
    }

    /// The scale that is announced follows from the largest buffer there may be, which the script's author had
    /// and did not write down.
    fn adopt_window_scale(&mut self, script: &Script) {
        let said = self.config.max_window != MAX_WINDOW;
        if said || self.mode == Mode::Strict {
            return;
        }
        let scale = script.events.iter().find_map(|event| match &event.action {
            Action::Packet(spec) if spec.direction == Direction::Out => match &spec.body {
                Body::Tcp(TcpSpec { options: Some(options), .. }) => {
                    options.iter().find_map(|option| match option {
                        TcpOption::WindowScale(scale) => Some((*scale).min(14)),
                        _ => None,
                    })
                }
                _ => None,
            },
            _ => None,
        });
        if let Some(scale) = scale {
            self.config.max_window = 65_535 << scale;
        }
    }

    /// Newer kernels send a SYN again each second at first: those of a script whose third comes a second after its second.
    fn adopt_syn_timeouts(&mut self, script: &Script) {
        const LINEAR: u64 = 1_500_000;
        if self.mode == Mode::Strict || self.bsd {
            return;
        }
        let mut again = 0;
        for event in &script.events {
            let Action::Packet(spec) = &event.action else { continue };
            let Body::Tcp(tcp) = &spec.body else { continue };
            let is_syn = spec.direction == Direction::Out && tcp.flags & (flag::SYN | flag::ACK) == flag::SYN;
            again = if is_syn { again + 1 } else { 0 };
            let soon = match event.time {
                EventTime::After(time) | EventTime::AfterBetween(_, time) => time < LINEAR,
                _ => false,
            };
            if again == 3 && soon {
                self.config.socket.syn_linear_timeouts = 4;
            }
        }
    }

    /// `--name=value`. What does not fit the family that we run over is the other run's.
    fn option(&mut self, name: &str, value: &str) {
        let number = value.parse::<u64>().ok();
        match (name, number) {
            ("tolerance_usecs", Some(micros)) => self.tolerance = micros,
            ("tolerance_percent", _) => {
                self.tolerance_percent = value.parse().unwrap_or(self.tolerance_percent);
            }
            ("tcp_ts_tick_usecs", Some(micros)) => self.ts_tick = micros,
            ("mtu", Some(mtu)) => self.config.mtu = u16::try_from(mtu).unwrap_or(u16::MAX),
            ("mss", Some(mss)) => self.segment_size = u16::try_from(mss).ok().filter(|mss| *mss > 0),
            ("bind_port", Some(port)) => self.bind_port = u16::try_from(port).unwrap_or(8080),
            ("connect_port", Some(port)) => self.connect_port = u16::try_from(port).unwrap_or(8080),
            ("strict_segments", _) => self.strict_segments = true,
            ("local_ip", _) => self.local = self.address(value).unwrap_or(self.local),
            ("remote_ip", _) => self.remote = self.address(value).unwrap_or(self.remote),
            ("ip_version" | "define", _) => {}
            _ => self.notes.push(format!("--{name}")),
        }
    }

    fn address(&self, text: &str) -> Option<IpAddr> {
        let address: IpAddr = text.split('/').next()?.parse().ok()?;
        (address.is_ipv4() == (self.ip == Ip::V4)).then_some(address)
    }

    fn pragma(&mut self, pragma: &Pragma) -> Result<(), Error> {
        let bad = || Error::new(pragma.line, format!("'@{}: {}' makes no sense", pragma.name, pragma.value));
        match pragma.name.as_str() {
            // Whoever runs the script asks for this.
            "ip" => {}
            "tolerance" => self.tolerance = seconds(&pragma.value).ok_or_else(bad)?,
            "iss" => self.iss = Some(number(&pragma.value).ok_or_else(bad)?),
            "config" => {
                for setting in pragma.value.split(',') {
                    let (name, value) = setting.split_once('=').ok_or_else(bad)?;
                    self.configure(name.trim(), value.trim()).ok_or_else(bad)?;
                }
            }
            // In scripts of others it may mean anything.
            _ if self.mode == Mode::Packetdrill => {}
            _ => return Err(bad()),
        }
        Ok(())
    }

    /// A field of [`StackConfig`] or of the sockets' defaults by its name.
    fn configure(&mut self, name: &str, value: &str) -> Option<()> {
        let config = &mut self.config;
        let time = || seconds(value).map(Duration::from_micros);
        let flag = || match value {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        };
        match name {
            "mtu" => config.mtu = number(value)?,
            "time_wait" => config.time_wait = time()?,
            "initial_rto" => config.initial_rto = time()?,
            "min_rto" => config.min_rto = time()?,
            "max_rto" => config.max_rto = time()?,
            "delayed_ack" => config.delayed_ack = time()?,
            "retries1" => config.retries1 = number(value)?,
            "retries2" => config.retries2 = number(value)?,
            "orphan_retries" => config.orphan_retries = number(value)?,
            "synack_retries" => config.synack_retries = number(value)?,
            "fin_timeout" => config.fin_timeout = time()?,
            "max_window" => config.max_window = number(value)?,
            "timestamps" => config.timestamps = flag()?,
            "strict_timestamps" => config.strict_timestamps = flag()?,
            "window_scaling" => config.window_scaling = flag()?,
            "sack" => config.sack = flag()?,
            "dsack" => config.dsack = flag()?,
            "rack" => config.rack = flag()?,
            "tlp" => config.tlp = flag()?,
            "frto" => config.frto = flag()?,
            "mtu_probing" => config.mtu_probing = MtuProbing::from_number(number(value)?)?,
            "undo" => config.undo = flag()?,
            "prr" => config.prr = flag()?,
            "pacing" => config.pacing = flag()?,
            "clock_granularity" => config.clock_granularity = time()?,
            "max_connections" => config.max_connections = number(value)?,
            "max_time_wait" => config.max_time_wait = number(value)?,
            "half_open_per_prefix" => config.half_open_per_prefix = number(value)?,
            "abort_on_overflow" => config.abort_on_overflow = flag()?,
            "icmp_echo_ignore_all" => {
                config.echo = if flag()? { EchoPolicy::Drop } else { EchoPolicy::Answer }
            }
            "icmp_errors_per_second" => config.icmp_errors_per_second = number(value)?,
            "icmp_errors_per_source" => config.icmp_errors_per_source = number(value)?,
            "slow_start_after_idle" => config.socket.slow_start_after_idle = flag()?,
            "reordering" => config.socket.reordering = number(value)?,
            "max_reordering" => config.socket.max_reordering = number(value)?,
            "syn_linear_timeouts" => config.socket.syn_linear_timeouts = number(value)?,
            "thin_linear_timeouts" => config.socket.thin_linear_timeouts = flag()?,
            "syn_retries" => config.socket.syn_retries = number(value)?,
            "recv_buffer" => config.socket.recv_buffer = number(value)?,
            "send_buffer" => config.socket.send_buffer = number(value)?,
            "nodelay" => config.socket.nodelay = flag()?,
            "congestion" => config.socket.congestion = value.parse().ok()?,
            "syn_cookies" => {
                config.syn_cookies = match value {
                    "never" => SynCookieMode::Never,
                    "when_full" => SynCookieMode::WhenFull,
                    "always" => SynCookieMode::Always,
                    _ => return None,
                };
            }
            _ => return None,
        }
        Some(())
    }
}

/// Decimal or with `0x`.
pub(super) fn number<T: TryFrom<u64>>(text: &str) -> Option<T> {
    let value = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => text.parse().ok()?,
    };
    T::try_from(value).ok()
}
