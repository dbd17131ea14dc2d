//! The application's calls, each with the result that Linux would give.

mod control;
mod epoll;
mod open;
mod transfer;

pub(super) use epoll::Watch;

use std::net::{IpAddr, SocketAddr};

use ropeway_core::ConnectionId;

use super::ast::{Call, Expr};
use super::flow::Flow;
use super::report::Failure;
use super::run::{Runner, Stop};
use super::settings::Ip;
use super::sockets::{Done, Kind, Socket, errno_number};
use control::constant;

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
    pub(super) progress: usize,
    /// It has begun to open a connection.
    pub(super) begun: bool,
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
            begun: false,
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
        if args.get(1) == Some(&Expr::Word("NULL".into())) {
            return Err(Stop::Unsupported("pointers to nowhere".into()));
        }
        match call.name.as_str() {
            "socket" => self.socket(&call),
            "bind" => self.bind(args),
            "listen" => self.listen(args),
            "accept" | "accept4" => self.accept(&call),
            "connect" => self.connect(args),
            "read" | "recv" | "recvfrom" | "recvmsg" | "readv" => self.receive(&call, pending),
            "write" | "send" | "sendto" | "sendmsg" | "writev" | "sendfile" => self.transmit(&call, pending),
            "shutdown" => self.shutdown(args),
            "close" => self.close(args),
            "fcntl" => self.fcntl(args),
            "ioctl" => self.ioctl(args),
            "getsockopt" => self.getsockopt(args),
            "setsockopt" => self.setsockopt(args),
            "poll" => self.poll(args, pending),
            "epoll_create" | "epoll_create1" | "open" => {
                Ok(Done::Returned(self.integer(&call.result)?.unwrap_or(3)))
            }
            "epoll_ctl" => self.epoll_ctl(args),
            "epoll_wait" => self.epoll_wait(args, pending),
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

    pub(super) fn socket_at(&mut self, args: &[Expr]) -> Result<Result<&mut Socket, Done>, Stop> {
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

    pub(super) fn flow_of_connection(&mut self, id: ConnectionId) -> Option<&mut Flow> {
        self.flows.iter_mut().rev().find(|flow| flow.connection == Some(id))
    }

    /// `{sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("192.0.2.1")}`
    pub(super) fn address(&self, expr: Option<&Expr>) -> Result<Option<SocketAddr>, Stop> {
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
}
