//! fcntl, ioctl and poll.

use ropeway_core::Readiness;

use super::super::ast::{Call, Expr};
use super::super::run::{Runner, Stop};
use super::super::sockets::{Done, Kind, errno_number};
use super::super::zero_copy::ZeroCopy;
use super::Pending;

impl Runner<'_> {
    pub(super) fn fcntl(&mut self, args: &[Expr]) -> Result<Done, Stop> {
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

    pub(super) fn ioctl(&mut self, args: &[Expr]) -> Result<Done, Stop> {
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
    pub(in crate::script) fn check_value(
        &self,
        what: &str,
        expected: Option<&Expr>,
        actual: i64,
    ) -> Result<(), Stop> {
        let Some(expected) = expected.map(|expr| self.integer(expr)).transpose()?.flatten() else {
            return Ok(());
        };
        if expected == actual {
            return Ok(());
        }
        Err(self.fail(format!("{what} is to be {expected}, and is {actual}")))
    }

    pub(super) fn timeout_of(&self, call: &Call) -> Option<u64> {
        let timeout = match (call.name.as_str(), call.args.get(2)) {
            ("poll", Some(Expr::Int(millis))) => u64::try_from(*millis).ok()?,
            ("epoll_wait", _) => match call.args.get(3) {
                Some(Expr::Int(millis)) => u64::try_from(*millis).ok()?,
                _ => return None,
            },
            _ => return None,
        };
        Some(self.now + timeout * 1000)
    }

    pub(super) fn poll(&mut self, args: &[Expr], pending: &Pending) -> Result<Done, Stop> {
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

    pub(super) fn poll_events(&self, fd: i64) -> i64 {
        let Some(socket) = self.sockets.get(&fd) else { return 0x20 };
        let readiness = match socket.kind {
            Kind::Listener(id) => return i64::from(self.stack.is_acceptable(id)),
            Kind::Connection(id) => self.stack.readiness(id),
            Kind::New(_) if socket.deferred => return POLLOUT,
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
        let error = if socket.zero_copy.as_ref().is_some_and(ZeroCopy::has_news) { POLLERR } else { 0 };
        map.iter().filter(|(known, _)| readiness.contains(*known)).fold(error, |bits, (_, bit)| bits | bit)
    }
}

const O_NONBLOCK: i64 = 0x800;
const POLLOUT: i64 = 4;
pub(super) const POLLERR: i64 = 8;
pub(super) const POLLHUP: i64 = 0x10;

pub(super) fn constant(word: &str) -> Option<i64> {
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
        "IP_PMTUDISC_DONT" => 0,
        "IP_PMTUDISC_WANT" => 1,
        "IP_PMTUDISC_DO" => 2,
        "IP_PMTUDISC_PROBE" => 3,
        _ => {
            return errno_number(word)
                .or_else(|| super::super::info::symbol(word))
                .or_else(|| super::epoll::constant(word));
        }
    })
}
