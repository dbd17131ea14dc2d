//! Fast Open (RFC 7413), as scripts for Linux know it.

use std::net::SocketAddr;
use std::time::Duration;

use ropeway_core::{FastOpenKeys, SocketOptions, State};

use super::ast::{Action, Body, Call, Expr, PacketSpec, Script, TcpOption};
use super::calls::Pending;
use super::flow::{Flow, byte_at};
use super::run::{Runner, Stop};
use super::settings::{Settings, number};
use super::sockets::{Done, Kind};

// The bits of Linux's `tcp_fastopen`.
const CLIENT: u32 = 1;
const SERVER: u32 = 2;
const CLIENT_WITHOUT_COOKIE: u32 = 4;
const SERVER_WITHOUT_COOKIE: u32 = 0x200;
const ALL_LISTENERS: u32 = 0x400;

/// `TFO_COOKIE` stands for the cookie that the stack gives to the script's end.
pub(super) fn with_own_cookies(options: Vec<TcpOption>, flow: &Flow, keys: FastOpenKeys) -> Vec<TcpOption> {
    let own = |option| match option {
        TcpOption::OwnCookie { experimental } => {
            let cookie = keys.cookie(flow.remote.ip(), flow.local.ip()).to_vec();
            TcpOption::FastOpen { cookie, experimental }
        }
        other => other,
    };
    options.into_iter().map(own).collect()
}

impl Settings {
    /// While a call with `MSG_FASTOPEN` waits for the handshake, Linux lets what it writes take the acknowledgement along.
    pub(super) fn adopt_fast_open(&mut self, script: &Script) {
        let calls = script.events.iter().filter_map(|event| match &event.action {
            Action::Call(call) => Some(&call.args),
            _ => None,
        });
        self.config.events_first |= calls.flatten().any(|arg| format!("{arg:?}").contains("FASTOPEN"));
    }

    /// Says whether there is such a sysctl.
    pub(super) fn fast_open_sysctl(&mut self, name: &str, value: &str) -> bool {
        match name {
            "tcp_fastopen" => number(value).map(|bits| self.fast_open = bits).is_some(),
            "tcp_fastopen_key" => {
                self.fast_open_keys = keys(value);
                self.fast_open_keys.is_some()
            }
            "tcp_fastopen_blackhole_timeout_sec" | "tcp_fastopen_blackhole_timeout" => {
                let seconds = number(value).map(Duration::from_secs);
                seconds.map(|time| self.config.fast_open_blackhole_timeout = time).is_some()
            }
            _ => false,
        }
    }
}

/// `a0bf63f7-ed803d81-cd641d30-cebc4a90`, and perhaps a second one behind a comma.
fn keys(text: &str) -> Option<FastOpenKeys> {
    let mut keys = text.split(',').map(|text| {
        let words: Option<Vec<u32>> =
            text.split('-').map(|word| u32::from_str_radix(word, 16).ok()).collect();
        let bytes: Vec<u8> = words?.into_iter().flat_map(u32::to_le_bytes).collect();
        bytes.try_into().ok()
    });
    let primary = keys.next()??;
    Some(match keys.next() {
        Some(backup) => FastOpenKeys::with_backup(primary, backup?),
        None => FastOpenKeys::new(primary),
    })
}

impl Runner<'_> {
    pub(super) fn with_own_cookies_in(&self, spec: &PacketSpec, flow: Option<&Flow>) -> PacketSpec {
        let mut spec = spec.clone();
        if let (Body::Tcp(tcp), Some(flow)) = (&mut spec.body, flow)
            && let Some(options) = tcp.options.take()
        {
            tcp.options = Some(with_own_cookies(options, flow, self.stack.fast_open_keys()));
        }
        spec
    }

    /// What Linux's sysctl makes of a listener's options.
    pub(super) fn settle_fast_open(&self, options: &mut SocketOptions, backlog: usize) {
        let bits = self.fast_open;
        if bits & SERVER == 0 {
            options.fast_open = 0;
        } else if bits & ALL_LISTENERS != 0 && options.fast_open == 0 {
            options.fast_open = u32::try_from(backlog).unwrap_or(u32::MAX);
        }
        options.fast_open_no_cookie |= bits & SERVER_WITHOUT_COOKIE != 0;
    }

    /// `sendto(3, ..., 1000, MSG_FASTOPEN, ..., ...)`: `None` when the connection is there and the call may write.
    pub(super) fn transmit_fast(
        &mut self,
        call: &Call,
        pending: &mut Pending,
        (text, len): (Option<&[u8]>, usize),
        nonblocking: bool,
    ) -> Result<Option<Done>, Stop> {
        let unspecified = call.args.iter().any(|arg| format!("{arg:?}").contains("AF_UNSPEC"));
        if self.fast_open & CLIENT == 0 || unspecified {
            return Ok(Some(Done::Error("EOPNOTSUPP")));
        }
        if let Some(id) = self.connection_at(&call.args)? {
            let opening = matches!(self.state(id), State::SynSent | State::SynReceived);
            return Ok(match (opening, pending.begun) {
                (true, true) => Some(Done::Blocks),
                (true, false) => Some(Done::Error("EALREADY")),
                (false, true) if self.state(id) == State::Closed => {
                    let error = self.stack.take_error(id);
                    Some(Done::Error(error.map_or("EPIPE", super::sockets::connection_errno)))
                }
                (false, true) if pending.progress == len => {
                    Some(Done::Returned(i64::try_from(len).unwrap_or(i64::MAX)))
                }
                (false, true) => None,
                // Linux ignores the flag then.
                (false, false) => None,
            });
        }
        let cookieless = self.fast_open & CLIENT_WITHOUT_COOKIE != 0;
        if let Ok(socket) = self.socket_at(&call.args)?
            && matches!(socket.kind, Kind::New(_))
        {
            socket.options.fast_open_no_cookie |= cookieless;
        }
        let whole = text.unwrap_or_default();
        let data: Vec<u8> =
            (0..len).map(|at| whole.get(at).copied().unwrap_or_else(|| byte_at(at))).collect();
        let to = if call.name == "sendto" { call.args.get(4) } else { None };
        let sent = match self.open(&call.args, to, Some(&data))? {
            Ok((_, sent)) => sent,
            Err(error) => return Ok(Some(error)),
        };
        let lends = self.flags_of(call)?.contains("MSG_ZEROCOPY");
        if let Ok(socket) = self.socket_at(&call.args)? {
            socket.deferred = false;
            if let Some(zero_copy) = socket.zero_copy.as_mut().filter(|_| lends) {
                // What goes with a SYN is copied.
                drop(zero_copy.lend(data));
                zero_copy.took(sent > 0);
            }
        }
        pending.begun = true;
        pending.progress = sent;
        Ok(Some(match (nonblocking, sent) {
            (false, _) => Done::Blocks,
            (true, 0) => Done::Error("EINPROGRESS"),
            (true, sent) => Done::Returned(i64::try_from(sent).unwrap_or(i64::MAX)),
        }))
    }

    /// `TCP_FASTOPEN_CONNECT`
    pub(super) fn set_connects_fast(&mut self, fd: i64, connects_fast: bool) -> Done {
        if self.fast_open & CLIENT == 0 {
            return Done::Error("EOPNOTSUPP");
        }
        if let Some(socket) = self.sockets.get_mut(&fd) {
            socket.connects_fast = connects_fast;
        }
        Done::Returned(0)
    }

    /// A connect that has a cookie waits until there is something to send.
    pub(super) fn defer_connect(&mut self, args: &[Expr]) -> Result<Option<Done>, Stop> {
        let default = SocketAddr::new(self.settings.remote, self.settings.connect_port);
        let remote = self.address(args.get(1))?.unwrap_or(default);
        let (now, local) = (self.ts(), self.settings.local);
        let options = match self.socket_at(args)? {
            Ok(socket) if socket.deferred => return Ok(Some(Done::Error("EISCONN"))),
            Ok(socket) if socket.connects_fast => socket.options.clone(),
            _ => return Ok(None),
        };
        if !self.stack.sends_with_syn(now, local, remote, &options) {
            return Ok(None);
        }
        if let Ok(socket) = self.socket_at(args)? {
            socket.deferred = true;
        }
        Ok(Some(Done::Returned(0)))
    }

    /// `TCP_FASTOPEN_KEY`: one key, or two.
    pub(super) fn set_fast_open_key(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let len = usize::try_from(self.number(args, 4)?).unwrap_or(0);
        let Some(Expr::Str(bytes)) = args.get(3) else {
            return Err(self.fail("expected the bytes of a key"));
        };
        let keys = match (bytes.get(..len).unwrap_or_default().as_chunks::<16>(), len) {
            ((&[one], _), 16) => FastOpenKeys::new(one),
            ((&[one, two], _), 32) => FastOpenKeys::with_backup(one, two),
            _ => return Ok(Done::Error("EINVAL")),
        };
        self.stack.set_fast_open_keys(keys);
        Ok(Done::Returned(0))
    }

    /// A key that was set on a socket was its own.
    pub(super) fn forget_socket_key(&mut self) {
        if let Some(keys) = self.settings.fast_open_keys {
            self.stack.set_fast_open_keys(keys);
        }
    }

    /// What a command in the middle of a script changes of Fast Open.
    pub(super) fn fast_open_command(&mut self, command: &str) {
        if command.contains("tcp_metrics flush") {
            self.stack.forget_fast_open_cookies();
        }
        let value = command.split_once("tcp_fastopen=").map(|(_, behind)| behind);
        if let Some(bits) = value.and_then(|value| number(value.split_whitespace().next()?)) {
            self.fast_open = bits;
        }
    }
}
