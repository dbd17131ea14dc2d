//! The application's calls, each with the result that Linux would give.

use std::net::{IpAddr, Shutdown, SocketAddr};

use ropeway_core::{ConnectionId, Readiness, RecvError, SendError, SendFlags, State};

use super::ast::{Call, Expr};
use super::flow::{Flow, byte_at};
use super::report::Failure;
use super::run::{Runner, Stop};
use super::settings::Ip;
use super::sockets::{
    Done, Kind, Socket, connect_errno, connection_errno, errno_number, listen_errno, recv_errno, send_errno,
};

/// A call that has begun and not come back.
#[derive(Debug)]
pub(super) struct Pending {
    call: Call,
    line: usize,
    /// When it is to come back.
    end: u64,
    /// When it comes back by itself.
    pub(super) timeout: Option<u64>,
    /// Bytes written or read so far.
    progress: usize,
}

impl Runner<'_> {
    pub(super) fn call_event(&mut self, call: &Call, end: Option<u64>) -> Result<(), Stop> {
        let text =
            self.script.lines.get(self.line - 1).map(|text| text.trim().to_owned()).unwrap_or_default();
        self.note(&text);
        let mut pending = Pending {
            call: call.clone(),
            line: self.line,
            end: end.unwrap_or(self.now),
            timeout: self.timeout_of(call),
            progress: 0,
        };
        let done = self.invoke(&mut pending)?;
        self.drain()?;
        match (done, end) {
            (Done::Blocks, None) => Err(self.fail("the call blocks")),
            (Done::Blocks, Some(_)) => {
                self.pending = Some(pending);
                Ok(())
            }
            (done, _) => self.came_back(&pending, &done),
        }
    }

    /// Looks whether the call that waits can come back.
    pub(super) fn try_pending(&mut self) -> Result<(), Stop> {
        let Some(mut pending) = self.pending.take() else { return Ok(()) };
        let done = self.invoke(&mut pending)?;
        self.drain()?;
        if done == Done::Blocks {
            self.pending = Some(pending);
            return Ok(());
        }
        self.note(&format!("the call of line {} comes back", pending.line));
        self.came_back(&pending, &done)
    }

    /// Waits for the call that waits: its thread can make no other.
    pub(super) fn finish_pending(&mut self) -> Result<(), Stop> {
        while let Some(pending) = &self.pending {
            let limit = pending.end + self.tolerance(pending.end);
            match self.next_deadline() {
                Some(deadline) if deadline <= limit => self.run_timer(deadline)?,
                _ => {
                    let mut failure = Failure::new(pending.line, "the call does not come back");
                    failure.expected = Some(super::notation::time(pending.end));
                    return Err(failure.into());
                }
            }
        }
        Ok(())
    }

    fn came_back(&self, pending: &Pending, done: &Done) -> Result<(), Stop> {
        let fail = |what: String| Stop::from(Failure::new(pending.line, what));
        let expected = self.integer(&pending.call.result)?;
        let errno = pending.call.errno.as_deref();
        let show = match done {
            Done::Returned(value) => value.to_string(),
            Done::Error(name) => format!("-1 {name}"),
            Done::Blocks => "nothing".into(),
        };
        let is_expected = match (done, expected) {
            (_, None) => true,
            (Done::Returned(value), Some(expected)) => *value == expected,
            (Done::Error(name), Some(-1)) => errno.is_none_or(|errno| {
                errno == *name || errno_number(errno).is_some_and(|it| Some(it) == errno_number(name))
            }),
            _ => false,
        };
        if !is_expected {
            let expected = expected.map_or("...".into(), |value| value.to_string());
            let expected = format!("{expected} {}", errno.unwrap_or_default());
            return Err(fail(format!(
                "{}() is to return {}, and returns {show}",
                pending.call.name,
                expected.trim()
            )));
        }
        if self.now.abs_diff(pending.end) > self.tolerance(pending.end) {
            return Err(fail(format!(
                "{}() is to come back at {}, and comes back at {}",
                pending.call.name,
                super::notation::time(pending.end),
                super::notation::time(self.now)
            )));
        }
        Ok(())
    }

    fn invoke(&mut self, pending: &mut Pending) -> Result<Done, Stop> {
        let call = pending.call.clone();
        let args = call.args.as_slice();
        match call.name.as_str() {
            "socket" => self.socket(&call),
            "bind" => self.bind(args),
            "listen" => self.listen(args),
            "accept" | "accept4" => self.accept(&call),
            "connect" => self.connect(args),
            "read" | "recv" | "recvfrom" | "recvmsg" | "readv" => self.receive(&call, pending),
            "write" | "send" | "sendto" | "sendmsg" | "writev" => self.transmit(&call, pending),
            "shutdown" => self.shutdown(args),
            "close" => self.close(args),
            "fcntl" => self.fcntl(args),
            "ioctl" => self.ioctl(args),
            "getsockopt" => self.getsockopt(args),
            "setsockopt" => self.setsockopt(args),
            "poll" => self.poll(args, pending),
            other => Err(Stop::Unsupported(format!("{other}()"))),
        }
    }

    // ---- arguments

    /// A number; `None` for `...`.
    pub(super) fn integer(&self, expr: &Expr) -> Result<Option<i64>, Stop> {
        match expr {
            Expr::Ellipsis => Ok(None),
            Expr::Int(value) => Ok(Some(*value)),
            Expr::Or(left, right) => {
                Ok(self.integer(left)?.zip(self.integer(right)?).map(|(left, right)| left | right))
            }
            Expr::Word(word) => match constant(word) {
                Some(value) => Ok(Some(value)),
                None => Err(Stop::Unsupported(word.clone())),
            },
            Expr::List(list) if list.len() == 1 => self.integer(&list[0]),
            other => Err(self.fail(format!("{other:?} is no number"))),
        }
    }

    pub(super) fn number(&self, args: &[Expr], at: usize) -> Result<i64, Stop> {
        match args.get(at).map(|expr| self.integer(expr)).transpose()?.flatten() {
            Some(value) => Ok(value),
            None => Err(self.fail(format!("argument {} has to be a number", at + 1))),
        }
    }

    pub(super) fn word<'a>(&self, args: &'a [Expr], at: usize) -> Result<&'a str, Stop> {
        match args.get(at) {
            Some(Expr::Word(word)) => Ok(word),
            Some(other) => Err(Stop::Unsupported(format!("{other:?} where a name is usual"))),
            None => Err(self.fail(format!("argument {} is missing", at + 1))),
        }
    }

    fn socket_at(&mut self, args: &[Expr]) -> Result<Result<&mut Socket, Done>, Stop> {
        let fd = self.number(args, 0)?;
        Ok(self.sockets.get_mut(&fd).ok_or(Done::Error("EBADF")))
    }

    /// The connection behind a descriptor.
    pub(super) fn connection_at(&mut self, args: &[Expr]) -> Result<Option<ConnectionId>, Stop> {
        Ok(match self.socket_at(args)? {
            Ok(Socket { kind: Kind::Connection(id), .. }) => Some(*id),
            _ => None,
        })
    }

    fn flow_of_connection(&mut self, id: ConnectionId) -> Option<&mut Flow> {
        self.flows.iter_mut().rev().find(|flow| flow.connection == Some(id))
    }

    /// `{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("192.0.2.1")}`
    fn address(&self, expr: Option<&Expr>) -> Result<Option<SocketAddr>, Stop> {
        let Some(Expr::Struct(fields)) = expr else { return Ok(None) };
        let (mut ip, mut port) = (None, 0);
        for field in fields {
            let Expr::Field(name, value) = field else { continue };
            match (name.as_str(), &**value) {
                ("sin_port" | "sin6_port", Expr::Apply(_, args)) => {
                    port = u16::try_from(self.number(args, 0)?).unwrap_or(0);
                }
                ("sin_addr" | "sin6_addr", Expr::Apply(_, args)) => {
                    let Some(Expr::Str(text)) = args.first() else { continue };
                    ip = String::from_utf8_lossy(text).parse::<IpAddr>().ok();
                }
                _ => {}
            }
        }
        // Addresses of the other family stand for the same places.
        let same_family = |ip: IpAddr| ip.is_ipv4() == (self.settings.ip == Ip::V4);
        let any: IpAddr = if self.settings.ip == Ip::V4 { [0; 4].into() } else { [0; 16].into() };
        Ok(ip.map(|ip| {
            let ip = match ip {
                ip if same_family(ip) => ip,
                ip if ip.is_unspecified() => any,
                _ => self.settings.remote,
            };
            SocketAddr::new(ip, port)
        }))
    }

    // ---- opening

    fn socket(&mut self, call: &Call) -> Result<Done, Stop> {
        let args = &call.args;
        if args.get(1) != Some(&Expr::Word("SOCK_STREAM".into())) {
            let text = format!("{:?}", args.get(1));
            if !text.contains("SOCK_STREAM") {
                return Err(Stop::Unsupported("sockets that are not TCP's".into()));
            }
        }
        match args.get(2) {
            Some(Expr::Word(protocol)) if protocol == "IPPROTO_TCP" => {}
            Some(Expr::Int(0 | 6) | Expr::Ellipsis) | None => {}
            Some(Expr::Word(other)) if other == "IPPROTO_UDP" => return Ok(Done::Error("EPROTONOSUPPORT")),
            Some(other) => return Err(Stop::Unsupported(format!("{other:?}"))),
        }
        let fd = self.integer(&call.result)?.unwrap_or(3);
        let nonblocking = format!("{:?}", args.get(1)).contains("SOCK_NONBLOCK");
        let options = self.settings.config.socket.clone();
        let keep_alive = self.settings.keep_alive;
        let kind = Kind::New(None);
        self.sockets.insert(fd, Socket { kind, nonblocking, options, keep_alive, told_connected: false });
        self.next_is_new = true;
        Ok(Done::Returned(fd))
    }

    fn bind(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let default = SocketAddr::new(self.settings.local, self.settings.bind_port);
        let local = self.address(args.get(1))?.unwrap_or(default);
        let socket = match self.socket_at(args)? {
            Ok(socket) => socket,
            Err(error) => return Ok(error),
        };
        let Kind::New(None) = socket.kind else { return Ok(Done::Error("EINVAL")) };
        let options = socket.options.clone();
        match self.stack.bind(local, &options) {
            Ok(bound) => {
                if let Ok(socket) = self.socket_at(args)? {
                    socket.kind = Kind::New(Some(bound));
                }
                Ok(Done::Returned(0))
            }
            Err(error) => Ok(Done::Error(listen_errno(error))),
        }
    }

    fn listen(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let backlog = usize::try_from(self.number(args, 1)?).unwrap_or(0);
        let any = SocketAddr::new(if self.settings.ip == Ip::V4 { [0; 4].into() } else { [0; 16].into() }, 0);
        let socket = match self.socket_at(args)? {
            Ok(socket) => socket,
            Err(error) => return Ok(error),
        };
        let (binding, options) = match &socket.kind {
            Kind::New(binding) => (*binding, socket.options.clone()),
            Kind::Listener(_) => return Ok(Done::Returned(0)),
            _ => return Ok(Done::Error("EINVAL")),
        };
        let local = binding.map_or(any, |(_, local)| local);
        if let Some((id, _)) = binding {
            self.stack.release_binding(id);
        }
        match self.stack.listen(local, backlog, options) {
            Ok(id) => {
                if let Ok(socket) = self.socket_at(args)? {
                    socket.kind = Kind::Listener(id);
                }
                self.next_is_new = true;
                Ok(Done::Returned(0))
            }
            Err(error) => Ok(Done::Error(listen_errno(error))),
        }
    }

    fn accept(&mut self, call: &Call) -> Result<Done, Stop> {
        let (now, fd) = (self.ts(), self.integer(&call.result)?.unwrap_or(4));
        let socket = match self.socket_at(&call.args)? {
            Ok(socket) => socket,
            Err(error) => return Ok(error),
        };
        let (nonblocking, keep_alive) = (socket.nonblocking, socket.keep_alive);
        let Kind::Listener(id) = socket.kind else { return Ok(Done::Error("EINVAL")) };
        let Ok(accepted) = self.stack.accept(now, id) else { return Ok(Done::Error("EINVAL")) };
        let Some((connection, _)) = accepted else {
            return Ok(if nonblocking { Done::Error("EAGAIN") } else { Done::Blocks });
        };
        let options = self.stack.options(connection).cloned().unwrap_or_default();
        let asked = format!("{:?}", call.args.get(3)).contains("SOCK_NONBLOCK");
        let kind = Kind::Connection(connection);
        self.sockets
            .insert(fd, Socket { kind, nonblocking: asked, options, keep_alive, told_connected: true });
        if let Ok(tuple) = self.stack.tuple(connection)
            && let Some(flow) = self
                .flows
                .iter_mut()
                .rev()
                .find(|flow| flow.remote == tuple.remote() && flow.local == tuple.local())
        {
            flow.connection = Some(connection);
        }
        Ok(Done::Returned(fd))
    }

    fn connect(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let default = SocketAddr::new(self.settings.remote, self.settings.connect_port);
        let remote = self.address(args.get(1))?.unwrap_or(default);
        let now = self.ts();
        let socket = match self.socket_at(args)? {
            Ok(socket) => socket,
            Err(error) => return Ok(error),
        };
        let nonblocking = socket.nonblocking;
        let (binding, options) = match &socket.kind {
            Kind::New(binding) => (*binding, socket.options.clone()),
            Kind::Connection(_) => return self.connect_again(args),
            Kind::Listener(_) => return Ok(Done::Error("EISCONN")),
            Kind::Dead => return Ok(Done::Error("ECONNABORTED")),
        };
        if let Some((id, _)) = binding {
            self.stack.release_binding(id);
        }
        let local = binding.map(|(_, local)| local);
        let id = match self.stack.connect(now, local, remote, options) {
            Ok(id) => id,
            Err(error) => {
                if let Ok(socket) = self.socket_at(args)? {
                    socket.kind = Kind::Dead;
                }
                return Ok(Done::Error(connect_errno(error)));
            }
        };
        if let Ok(socket) = self.socket_at(args)? {
            socket.kind = Kind::Connection(id);
        }
        let Ok(tuple) = self.stack.tuple(id) else { return Err(self.fail("the new connection is unknown")) };
        let mut flow = Flow::new(tuple.local(), tuple.remote());
        flow.connection = Some(id);
        self.flows.push(flow);
        self.current = Some(self.flows.len() - 1);
        self.next_is_new = false;
        Ok(if nonblocking { Done::Error("EINPROGRESS") } else { Done::Blocks })
    }

    /// `connect` on a socket that has begun to: how far it is.
    fn connect_again(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let Some(id) = self.connection_at(args)? else { return Ok(Done::Error("EBADF")) };
        if let Some(error) = self.stack.take_error(id) {
            return Ok(Done::Error(connection_errno(error)));
        }
        let opening = matches!(self.state(id), State::SynSent | State::SynReceived);
        let Ok(socket) = self.socket_at(args)? else { return Ok(Done::Error("EBADF")) };
        Ok(match (opening, socket.nonblocking) {
            (true, true) => Done::Error("EALREADY"),
            (true, false) => Done::Blocks,
            (false, _) if socket.told_connected => Done::Error("EISCONN"),
            (false, _) => {
                socket.told_connected = true;
                Done::Returned(0)
            }
        })
    }

    fn state(&self, id: ConnectionId) -> State {
        self.stack.info(self.ts(), id).map_or(State::Closed, |info| info.state)
    }

    // ---- moving data

    fn receive(&mut self, call: &Call, pending: &mut Pending) -> Result<Done, Stop> {
        let (text, max) = self.buffers(call)?;
        let flags = self.flags_of(call)?;
        for flag in ["MSG_ERRQUEUE", "MSG_TRUNC"] {
            if flags.contains(flag) {
                return Err(Stop::Unsupported(flag.into()));
            }
        }
        // Urgent data is in line, always (RFC 6093 6): there is nothing to read out of band.
        if flags.contains("MSG_OOB") {
            return Ok(Done::Error("EINVAL"));
        }
        let nonblocking = match self.socket_at(&call.args)? {
            Ok(socket) => socket.nonblocking || flags.contains("MSG_DONTWAIT"),
            Err(error) => return Ok(error),
        };
        let Some(id) = self.connection_at(&call.args)? else { return Ok(Done::Error("ENOTCONN")) };
        let now = self.ts();
        let peek = flags.contains("MSG_PEEK");
        let max = max - pending.progress;
        let result = if peek {
            let mut buf = vec![0; max];
            self.stack.peek(id, &mut buf).map(|len| buf[..len].to_vec())
        } else if max == 0 {
            Ok(Vec::new())
        } else {
            self.stack.recv(now, id, max).map(|payload| payload.to_vec())
        };
        match result {
            Ok(bytes) => {
                self.check_read(id, &bytes, text.as_deref(), peek)?;
                pending.progress += bytes.len();
                if flags.contains("MSG_WAITALL") && bytes.len() < max && !bytes.is_empty() && !nonblocking {
                    return Ok(Done::Blocks);
                }
                Ok(Done::Returned(i64::try_from(pending.progress).unwrap_or(i64::MAX)))
            }
            Err(RecvError::WouldBlock) if !nonblocking => Ok(Done::Blocks),
            Err(error) => Ok(Done::Error(recv_errno(error))),
        }
    }

    /// What is read is what was sent.
    fn check_read(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        text: Option<&[u8]>,
        peek: bool,
    ) -> Result<(), Stop> {
        let wrong = match self.flow_of_connection(id) {
            Some(flow) => {
                let start = flow.read;
                flow.read += if peek { 0 } else { bytes.len() };
                let trusted = !flow.untrusted;
                bytes.iter().zip(start..).find(|(byte, at)| trusted && **byte != byte_at(*at))
            }
            None => None,
        };
        if let Some(text) = text {
            return if text.starts_with(bytes) { Ok(()) } else { Err(self.fail("other bytes were read")) };
        }
        match wrong {
            Some((byte, at)) => {
                Err(self.fail(format!("byte {at} of the stream is read as {byte:#04x}, not as it was sent")))
            }
            None => Ok(()),
        }
    }

    fn transmit(&mut self, call: &Call, pending: &mut Pending) -> Result<Done, Stop> {
        let (text, len) = self.buffers(call)?;
        let flags = self.flags_of(call)?;
        for (flag, what) in [
            ("MSG_FASTOPEN", "TCP Fast Open"),
            ("MSG_ZEROCOPY", "MSG_ZEROCOPY"),
            ("MSG_EOR", "MSG_EOR"),
            ("MSG_SPLICE_PAGES", "MSG_SPLICE_PAGES"),
        ] {
            if flags.contains(flag) {
                return Err(Stop::Unsupported(what.into()));
            }
        }
        let nonblocking = match self.socket_at(&call.args)? {
            Ok(socket) => socket.nonblocking || flags.contains("MSG_DONTWAIT"),
            Err(error) => return Ok(error),
        };
        let Some(id) = self.connection_at(&call.args)? else { return Ok(Done::Error("EPIPE")) };
        let now = self.ts();
        let start = self.flow_of_connection(id).map_or(0, |flow| flow.written.len());
        let whole = text.unwrap_or_default();
        let rest: Vec<u8> = (pending.progress..len)
            .map(|at| whole.get(at).copied().unwrap_or_else(|| byte_at(start + at - pending.progress)))
            .collect();
        let flags = SendFlags { more: flags.contains("MSG_MORE"), urgent: flags.contains("MSG_OOB") };
        match self.stack.send(now, id, &rest, flags) {
            Ok(taken) => {
                if let Some(flow) = self.flow_of_connection(id) {
                    flow.written.extend_from_slice(&rest[..taken]);
                }
                pending.progress += taken;
                if pending.progress < len && !nonblocking {
                    return Ok(Done::Blocks);
                }
                Ok(Done::Returned(i64::try_from(pending.progress).unwrap_or(i64::MAX)))
            }
            Err(SendError::WouldBlock) if !nonblocking => Ok(Done::Blocks),
            // What was written counts.
            Err(_) if pending.progress > 0 => {
                Ok(Done::Returned(i64::try_from(pending.progress).unwrap_or(0)))
            }
            Err(error) => Ok(Done::Error(send_errno(error))),
        }
    }

    /// The bytes that a call names, if it does, and how many there are.
    fn buffers(&self, call: &Call) -> Result<(Option<Vec<u8>>, usize), Stop> {
        let args = &call.args;
        let vector = match call.name.as_str() {
            "readv" | "writev" => args.get(1),
            "recvmsg" | "sendmsg" => match args.get(1) {
                Some(Expr::Struct(fields)) => fields.iter().find_map(|field| match field {
                    Expr::Field(name, value) if name == "msg_iov" => Some(&**value),
                    _ => None,
                }),
                _ => None,
            },
            _ => {
                let text = match args.get(1) {
                    Some(Expr::Str(text)) => Some(text.clone()),
                    _ => None,
                };
                let len = usize::try_from(self.number(args, 2)?).unwrap_or(0);
                return Ok((text, len));
            }
        };
        let Some(Expr::List(parts)) = vector else { return Err(self.fail("expected [{..., length}]")) };
        let mut len = 0;
        for part in parts {
            let Expr::Struct(part) = part else { return Err(self.fail("expected {..., length}")) };
            len += usize::try_from(self.number(part, 1)?).unwrap_or(0);
        }
        Ok((None, len))
    }

    /// The names of a call's flags.
    fn flags_of(&self, call: &Call) -> Result<String, Stop> {
        let at = match call.name.as_str() {
            "recv" | "send" | "recvfrom" | "sendto" => 3,
            "recvmsg" | "sendmsg" => 2,
            _ => return Ok(String::new()),
        };
        Ok(call.args.get(at).map_or(String::new(), |flags| format!("{flags:?}")))
    }

    // ---- ending

    fn shutdown(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let how = match args.get(1) {
            Some(Expr::Word(word)) if word == "SHUT_RD" => Shutdown::Read,
            Some(Expr::Word(word)) if word == "SHUT_WR" => Shutdown::Write,
            Some(Expr::Word(word)) if word == "SHUT_RDWR" => Shutdown::Both,
            Some(Expr::Int(0)) => Shutdown::Read,
            Some(Expr::Int(1)) => Shutdown::Write,
            Some(Expr::Int(2)) => Shutdown::Both,
            other => return Err(Stop::Unsupported(format!("shutdown {other:?}"))),
        };
        let now = self.ts();
        match self.socket_at(args)? {
            Ok(Socket { kind: Kind::Listener(_), .. }) => {
                return Err(Stop::Unsupported("shutdown() of a listener".into()));
            }
            Err(error) => return Ok(error),
            Ok(_) => {}
        }
        let Some(id) = self.connection_at(args)? else { return Ok(Done::Error("ENOTCONN")) };
        if how != Shutdown::Write
            && let Some(flow) = self.flow_of_connection(id)
        {
            flow.untrusted = true;
        }
        Ok(match self.stack.shutdown(now, id, how) {
            Ok(()) => Done::Returned(0),
            Err(_) => Done::Error("ENOTCONN"),
        })
    }

    fn close(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let (fd, now) = (self.number(args, 0)?, self.ts());
        let Some(socket) = self.sockets.remove(&fd) else { return Ok(Done::Error("EBADF")) };
        match socket.kind {
            Kind::New(Some((id, _))) => self.stack.release_binding(id),
            Kind::Listener(id) => self.stack.close_listener(now, id),
            Kind::Connection(id) => self.stack.close(now, id),
            Kind::New(None) | Kind::Dead => {}
        }
        Ok(Done::Returned(0))
    }

    // ---- the rest

    fn fcntl(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let command = self.word(args, 1)?.to_owned();
        let flags = if command == "F_SETFL" { self.number(args, 2)? } else { 0 };
        let socket = match self.socket_at(args)? {
            Ok(socket) => socket,
            Err(error) => return Ok(error),
        };
        match command.as_str() {
            "F_SETFL" => {
                socket.nonblocking = flags & O_NONBLOCK != 0;
                Ok(Done::Returned(0))
            }
            "F_GETFL" => Ok(Done::Returned(2 | if socket.nonblocking { O_NONBLOCK } else { 0 })),
            other => Err(Stop::Unsupported(other.to_owned())),
        }
    }

    fn ioctl(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let request = self.word(args, 1)?.to_owned();
        let Some(id) = self.connection_at(args)? else { return Ok(Done::Error("EINVAL")) };
        let Ok(info) = self.stack.info(self.ts(), id) else { return Ok(Done::Error("EINVAL")) };
        let actual = match request.as_str() {
            "SIOCINQ" | "FIONREAD" => info.unread,
            "SIOCOUTQ" => info.not_sent + info.unacked as usize,
            "SIOCOUTQNSD" => info.not_sent,
            // At the urgent mark (RFC 9293 3.8.5).
            "SIOCATMARK" => usize::from(self.stack.urgent_remaining(id) == Some(0)),
            other => return Err(Stop::Unsupported(other.to_owned())),
        };
        self.check_value(&request, args.get(2), i64::try_from(actual).unwrap_or(i64::MAX))?;
        Ok(Done::Returned(0))
    }

    /// A value that a call gives back through a pointer.
    pub(super) fn check_value(&self, what: &str, expected: Option<&Expr>, actual: i64) -> Result<(), Stop> {
        let Some(expected) = expected.map(|expr| self.integer(expr)).transpose()?.flatten() else {
            return Ok(());
        };
        if expected == actual {
            return Ok(());
        }
        Err(self.fail(format!("{what} is to be {expected}, and is {actual}")))
    }

    fn timeout_of(&self, call: &Call) -> Option<u64> {
        let timeout = match (call.name.as_str(), call.args.get(2)) {
            ("poll", Some(Expr::Int(millis))) => u64::try_from(*millis).ok()?,
            _ => return None,
        };
        Some(self.now + timeout * 1000)
    }

    fn poll(&mut self, args: &[Expr], pending: &Pending) -> Result<Done, Stop> {
        let Some(Expr::List(list)) = args.first() else { return Err(self.fail("expected [{fd=...}]")) };
        let mut ready = 0;
        let mut wrong = None;
        for entry in list {
            let Expr::Struct(fields) = entry else { return Err(self.fail("expected {fd=...}")) };
            let field = |name: &str| {
                fields.iter().find_map(|field| match field {
                    Expr::Field(known, value) if known == name => Some(&**value),
                    _ => None,
                })
            };
            let value = |name: &str| field(name).map_or(Ok(Some(0)), |expr| self.integer(expr));
            let (fd, events, expected) = (value("fd")?, value("events")?, value("revents")?);
            let (Some(fd), Some(events)) = (fd, events) else { return Err(self.fail("expected numbers")) };
            let actual = self.poll_events(fd) & (events | POLLERR | POLLHUP);
            ready += i64::from(actual != 0);
            if expected.is_some_and(|expected| expected != actual) {
                wrong.get_or_insert(format!("revents are {actual:#x}"));
            }
        }
        let timed_out = pending.timeout.is_some_and(|timeout| timeout <= self.now);
        if ready == 0 && !timed_out {
            return Ok(Done::Blocks);
        }
        match wrong {
            Some(wrong) => Err(self.fail(wrong)),
            None => Ok(Done::Returned(ready)),
        }
    }

    fn poll_events(&self, fd: i64) -> i64 {
        let Some(socket) = self.sockets.get(&fd) else { return 0x20 };
        let readiness = match socket.kind {
            Kind::Listener(id) => return i64::from(self.stack.is_acceptable(id)),
            Kind::Connection(id) => self.stack.readiness(id),
            Kind::New(_) | Kind::Dead => return POLLOUT | POLLHUP,
        };
        let map = [
            (Readiness::READABLE, 1),
            (Readiness::PRIORITY, 2),
            (Readiness::WRITABLE, POLLOUT),
            (Readiness::ERROR, POLLERR),
            (Readiness::READ_CLOSED, 0x2000),
            (Readiness::READ_CLOSED | Readiness::WRITE_CLOSED, POLLHUP),
        ];
        map.iter().filter(|(known, _)| readiness.contains(*known)).fold(0, |bits, (_, bit)| bits | bit)
    }
}

const O_NONBLOCK: i64 = 0x800;
const POLLOUT: i64 = 4;
const POLLERR: i64 = 8;
const POLLHUP: i64 = 0x10;

fn constant(word: &str) -> Option<i64> {
    Some(match word {
        "O_RDONLY" => 0,
        "O_RDWR" => 2,
        "O_NONBLOCK" => O_NONBLOCK,
        "POLLIN" | "POLLRDNORM" => 1,
        "POLLPRI" => 2,
        "POLLOUT" | "POLLWRNORM" => POLLOUT,
        "POLLERR" => POLLERR,
        "POLLHUP" => POLLHUP,
        "POLLNVAL" => 0x20,
        "POLLRDHUP" => 0x2000,
        "SOMAXCONN" => 4096,
        "MSG_DONTWAIT" => 0x40,
        "IP_PMTUDISC_DO" => 2,
        _ => return errno_number(word).or_else(|| super::info::symbol(word)),
    })
}
