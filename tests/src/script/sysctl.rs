//! The sysctls that a script's shell commands set, as settings of the stack. Nothing is run.

use std::path::Path;
use std::time::Duration;

use ropeway_core::{EcnMode, EcnOption, MtuProbing, SocketOptions, SynCookieMode, TimeWaitReuse};

use super::settings::{Ip, Settings};

impl Settings {
    /// Finds the sysctls that a shell command sets: in itself, and in the scripts that it names. Nothing is
    /// run.
    pub(super) fn command(&mut self, command: &str, path: &Path) {
        let command = &command
            .replace("\\\n", " ")
            .replace("> /dev/null", "")
            .replace("2>&1", "")
            .replace(">/dev/null", "");
        let folder = path.parent().unwrap_or(Path::new("."));
        for line in command.lines().flat_map(|line| line.split([';', '&'])) {
            let line = line.split(" #").next().unwrap_or_default().trim();
            let program = line.split_whitespace().next().unwrap_or_default();
            if program.ends_with(".sh")
                && let Ok(text) = std::fs::read_to_string(folder.join(program))
                && !text.contains(command)
            {
                self.command(&text, path);
            } else if line.contains("sysctl") {
                self.sysctls(line);
            } else if let Some(mtu) = self.mtu_of_route(line) {
                // A route that is narrower than the device: what it takes is known, and what we announce follows from it.
                self.config.mtu = mtu;
                self.path_mtu = Some(mtu);
            } else if let Some(mtu) = mtu_of_device(line) {
                self.config.mtu = mtu;
            } else if !line.is_empty() && !line.starts_with('#') {
                self.notes.push(format!("`{line}`"));
            }
        }
    }

    /// `ip route change ... advmss 600 ...`: the MTU for that.
    pub(super) fn mtu_of_route(&self, command: &str) -> Option<u16> {
        let mut words = command.split_whitespace().skip_while(|word| *word != "advmss");
        let is_route = command.trim_start().starts_with("ip ") && command.contains(" route change ");
        let mss: u16 = words.nth(1).filter(|_| is_route)?.parse().ok()?;
        Some(mss.saturating_add(if self.ip == Ip::V4 { 40 } else { 60 }))
    }

    /// `sysctl -q net.ipv4.a=1 net.ipv4.b="1 2 3"`, `set_sysctls.py /proc/sys/net/ipv4/a=1`
    fn sysctls(&mut self, line: &str) {
        for (name, value) in assignments(line) {
            self.bsd |= name.starts_with("net.inet.");
            if !self.sysctl(&name, value) {
                self.notes.push(format!("sysctl {name}={value}"));
            }
        }
    }

    /// What a command in the middle of a script changes for sockets that are made from now on, whose options begin as `defaults`.
    /// Says whether that is all it changes.
    pub(super) fn change_defaults(&self, defaults: &mut SocketOptions, command: &str) -> bool {
        let mut changed = self.clone();
        changed.config.socket = defaults.clone();
        let mut known = true;
        for (name, value) in assignments(command) {
            let short = name.trim_start_matches("net.ipv4.");
            known &= match short {
                // Each connection had its own from its beginning.
                "tcp_ecn" | "tcp_syn_retries" | "tcp_timestamps" => changed.sysctl(&name, value),
                // The runner's own, and the size of a cache.
                "tcp_fastopen" | "tcp_fastopen_cookies" => true,
                _ => false,
            };
        }
        *defaults = changed.config.socket;
        known
    }

    /// One line for each sysctl. Says whether the stack has such a setting.
    fn sysctl(&mut self, name: &str, value: &str) -> bool {
        let config = &mut self.config;
        let short = name.trim_start_matches("net.ipv4.").trim_start_matches("net.inet.tcp.");
        if short == "tcp_congestion_control" {
            return value.parse().map(|algorithm| config.socket.congestion = algorithm).is_ok();
        }
        if short.starts_with("tcp_fastopen") {
            return self.fast_open_sysctl(short, value);
        }
        let Some(number) = value.split_whitespace().next().and_then(|text| text.parse::<u32>().ok()) else {
            return false;
        };
        let secs = Duration::from_secs(u64::from(number));
        match short {
            "tcp_syncookies" | "syncookies" => {
                config.syn_cookies = match number {
                    0 => SynCookieMode::Never,
                    1 => SynCookieMode::WhenFull,
                    _ => SynCookieMode::Always,
                };
            }
            "tcp_timestamps" => config.socket.timestamps = number != 0,
            "tcp_window_scaling" => config.window_scaling = number != 0,
            "tcp_sack" | "sack.enable" => config.sack = number != 0,
            "tcp_dsack" => config.dsack = number != 0,
            "tcp_recovery" => {
                config.socket.rack = number & 1 != 0;
                config.socket.rack_adapts = number & 2 == 0;
                config.socket.rack_dup_thresh = number & 4 == 0;
            }
            "tcp_reordering" => config.socket.reordering = u16::try_from(number).unwrap_or(u16::MAX),
            "tcp_max_reordering" => config.socket.max_reordering = u16::try_from(number).unwrap_or(u16::MAX),
            "tcp_slow_start_after_idle" => config.socket.slow_start_after_idle = number != 0,
            "tcp_syn_linear_timeouts" => {
                config.socket.syn_linear_timeouts = u8::try_from(number).unwrap_or(u8::MAX);
            }
            "tcp_thin_linear_timeouts" => config.socket.thin_linear_timeouts = number != 0,
            // What is below 3 was Early Retransmit (RFC 5827) of old kernels, without or beside the probe.
            "tcp_early_retrans" => config.tlp = number >= 3,
            "tcp_frto" => config.frto = number != 0,
            // FreeBSD's numbers are the same, as far as they go.
            "ecn.enable" if number > 2 => {
                config.socket.ecn = if number == 3 { EcnMode::Accurate } else { EcnMode::AccurateWhenAsked };
            }
            "tcp_ecn_option" => {
                let wanted = u8::try_from(number).ok().and_then(EcnOption::from_number);
                config.socket.ecn_option = wanted.unwrap_or_default();
            }
            "tcp_ecn_option_beacon" => {
                config.socket.ecn_option_beacon = u8::try_from(number).unwrap_or(u8::MAX);
            }
            "tcp_ecn" | "ecn.enable" => match u8::try_from(number).ok().and_then(EcnMode::from_number) {
                Some(mode) => config.socket.ecn = mode,
                None => self.unsupported.push(format!("{short}={value}")),
            },
            "tcp_ecn_fallback" => config.socket.ecn_fallback = number != 0,
            "tcp_mtu_probing" => match u8::try_from(number).ok().and_then(MtuProbing::from_number) {
                Some(mode) => config.mtu_probing = mode,
                None => self.unsupported.push(format!("{short}={value}")),
            },
            "tcp_base_mss" => config.base_mss = low_u16(number),
            "tcp_mtu_probe_floor" => config.mtu_probe_floor = low_u16(number),
            "tcp_probe_threshold" => config.probe_threshold = low_u16(number),
            "tcp_probe_interval" => config.probe_interval = secs,
            // FreeBSD's choices that are not ours: as before RFC 5961, silence, and others.
            "insecure_rst" | "insecure_syn" | "blackhole" | "udp_tunneling_port" if number != 0 => {
                self.unsupported.push(format!("{short}={value}"));
            }
            "drop_synfin" if number == 0 => self.unsupported.push(format!("{short}={value}")),
            "insecure_rst" | "insecure_syn" | "blackhole" | "drop_synfin" | "udp_tunneling_port" => {}
            "tolerate_missing_ts" => config.strict_timestamps = number == 0,
            "recvspace" => config.socket.recv_buffer = number as usize,
            "sendspace" => config.socket.send_buffer = number as usize,
            "kern.ipc.maxsockbuf" => config.max_window = number,
            "delacktime" => config.delayed_ack = Duration::from_millis(u64::from(number)),
            "rexmit_initial" => config.initial_rto = Duration::from_millis(u64::from(number)),
            "keepidle" => self.keep_alive.idle = Duration::from_millis(u64::from(number)),
            "keepintvl" => self.keep_alive.interval = Duration::from_millis(u64::from(number)),
            "keepcnt" => self.keep_alive.count = number,
            "rfc1323" => (config.timestamps, config.window_scaling) = (number != 0, number != 0),
            "tcp_fin_timeout" => config.fin_timeout = secs,
            "tcp_syn_retries" => config.socket.syn_retries = number,
            "tcp_synack_retries" => config.synack_retries = number,
            "tcp_retries1" => config.retries1 = number,
            "tcp_retries2" => config.retries2 = number,
            "tcp_orphan_retries" => config.orphan_retries = if number == 0 { 8 } else { number },
            "tcp_abort_on_overflow" => config.abort_on_overflow = number != 0,
            "tcp_max_tw_buckets" => config.max_time_wait = number as usize,
            "tcp_rto_min_us" => config.min_rto = Duration::from_micros(u64::from(number)),
            "tcp_rto_max_ms" => config.max_rto = Duration::from_millis(u64::from(number)),
            "ip_default_ttl" => config.socket.ttl = u8::try_from(number).unwrap_or(64),
            "tcp_notsent_lowat" => config.socket.notsent_lowat = Some(number as usize),
            "tcp_tw_reuse" => {
                config.time_wait_reuse = match number {
                    0 => TimeWaitReuse::Never,
                    1 => TimeWaitReuse::Always,
                    _ => TimeWaitReuse::Local,
                };
            }
            "tcp_max_orphans" => config.max_orphans = number as usize,
            "tcp_challenge_ack_limit" => config.challenge_acks_per_second = number,
            // Buffers without a size tune themselves.
            "tcp_moderate_rcvbuf" => {}
            "tcp_keepalive_time" => self.keep_alive.idle = secs,
            "tcp_keepalive_intvl" => self.keep_alive.interval = secs,
            "tcp_keepalive_probes" => self.keep_alive.count = number,
            "tcp_rmem" | "tcp_wmem" => return self.memory(short, value),
            _ => return false,
        }
        true
    }

    /// `min default max`; a shell's `$((15*1024*1024))` is worked out.
    fn memory(&mut self, name: &str, value: &str) -> bool {
        let product = |text: &str| {
            let text = text.trim_start_matches("$((").trim_end_matches("))");
            text.split('*').map(|factor| factor.trim().parse::<usize>().ok()).product::<Option<usize>>()
        };
        let sizes: Vec<_> = value.split_whitespace().filter_map(product).collect();
        let [_, default, max] = sizes[..] else { return false };
        if name == "tcp_rmem" {
            self.config.socket.recv_buffer = default;
            self.config.max_window = u32::try_from(max).unwrap_or(u32::MAX);
        } else {
            // The send buffer grows by itself in Linux.
            self.config.socket.send_buffer = max;
        }
        true
    }
}

/// `ip link set dev tun0 mtu 9000`
fn mtu_of_device(command: &str) -> Option<u16> {
    let mut words = command.split_whitespace();
    let is_link = words.next() == Some("ip") && words.next() == Some("link") && words.next() == Some("set");
    words.skip_while(|word| *word != "mtu").nth(1).filter(|_| is_link)?.parse().ok()
}

fn low_u16(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// The names and values that a line sets.
fn assignments(line: &str) -> Vec<(String, &str)> {
    let (mut rest, mut found) = (line, Vec::new());
    while let Some(at) = rest.find('=') {
        let name = rest[..at].rsplit(char::is_whitespace).next().unwrap_or_default();
        let behind = &rest[at + 1..];
        let (value, len) = match behind.strip_prefix('"') {
            Some(quoted) => {
                let len = quoted.find('"').unwrap_or(quoted.len());
                (&quoted[..len], (len + 2).min(behind.len()))
            }
            None => {
                let len = behind.find(char::is_whitespace).unwrap_or(behind.len());
                (&behind[..len], len)
            }
        };
        found.push((name.trim_start_matches("/proc/sys/").replace('/', "."), value));
        rest = &behind[len..];
    }
    found
}
