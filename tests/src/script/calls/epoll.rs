//! epoll: the readiness of the stack as `poll` has it, and its events as the edges.

use ropeway_core::ConnectionId;

use super::super::ast::Expr;
use super::super::run::{Runner, Stop};
use super::super::sockets::{Done, Kind};
use super::super::zero_copy::ZeroCopy;
use super::Pending;
use super::control::{POLLERR, POLLHUP};

const EPOLLET: i64 = 1 << 31;
const EPOLLONESHOT: i64 = 1 << 30;

/// A descriptor that an epoll instance watches.
#[derive(Debug)]
pub(in crate::script) struct Watch {
    instance: i64,
    fd: i64,
    events: i64,
    /// Something has happened since it was last reported.
    news: bool,
    /// `EPOLLONESHOT`, and it was reported.
    spent: bool,
}

impl Runner<'_> {
    pub(super) fn epoll_ctl(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let (instance, fd) = (self.number(args, 0)?, self.number(args, 2)?);
        let operation = self.word(args, 1)?.to_owned();
        let known = self.watches.iter().position(|watch| (watch.instance, watch.fd) == (instance, fd));
        match (operation.as_str(), known) {
            ("EPOLL_CTL_ADD", Some(_)) => return Ok(Done::Error("EEXIST")),
            ("EPOLL_CTL_MOD" | "EPOLL_CTL_DEL", None) => return Ok(Done::Error("ENOENT")),
            (_, Some(at)) => drop(self.watches.remove(at)),
            (_, None) => {}
        }
        if operation != "EPOLL_CTL_DEL" {
            let events = self.events_of(args.get(3))?;
            self.watches.push(Watch { instance, fd, events, news: true, spent: false });
        }
        Ok(Done::Returned(0))
    }

    pub(super) fn epoll_wait(&mut self, args: &[Expr], pending: &Pending) -> Result<Done, Stop> {
        let instance = self.number(args, 0)?;
        let expected = self.events_of(args.get(1))?;
        let mut ready = 0;
        let mut events = 0;
        for at in 0..self.watches.len() {
            let Watch { instance: of, fd, events: wanted, news, spent } = self.watches[at];
            let actual = self.poll_events(fd) & (wanted | POLLERR | POLLHUP);
            if of == instance && actual != 0 && !spent && (news || wanted & EPOLLET == 0) {
                self.watches[at].news = false;
                self.watches[at].spent = wanted & EPOLLONESHOT != 0;
                ready += 1;
                events = actual;
            }
        }
        let timed_out = pending.timeout.is_some_and(|timeout| timeout <= self.now);
        if ready == 0 && !timed_out {
            return Ok(Done::Blocks);
        }
        if ready < 2 && events != expected {
            return Err(self.fail(format!("events are {events:#x}")));
        }
        Ok(Done::Returned(ready))
    }

    /// `{events=EPOLLIN|EPOLLET, fd=4}`
    fn events_of(&self, expr: Option<&Expr>) -> Result<i64, Stop> {
        let events = match expr {
            Some(Expr::Struct(fields)) => fields.iter().find_map(|field| match field {
                Expr::Field(name, value) if name == "events" => Some(&**value),
                _ => None,
            }),
            _ => None,
        };
        let events = events.map(|events| self.integer(events)).transpose()?.flatten();
        events.ok_or_else(|| self.fail("expected {events=...}"))
    }

    /// What was lent comes back: an error to be polled for.
    pub(in crate::script) fn wake_lenders(&mut self) {
        for (fd, socket) in &mut self.sockets {
            if socket.zero_copy.as_mut().is_some_and(ZeroCopy::take_event) {
                self.watches.iter_mut().filter(|watch| watch.fd == *fd).for_each(|watch| watch.news = true);
            }
        }
    }

    /// The stack has an event for a connection.
    pub(in crate::script) fn wake_watches(&mut self, id: ConnectionId) {
        let sockets = &self.sockets;
        let is_its = |watch: &&mut Watch| {
            sockets
                .get(&watch.fd)
                .is_some_and(|socket| matches!(socket.kind, Kind::Connection(of) if of == id))
        };
        self.watches.iter_mut().filter(is_its).for_each(|watch| watch.news = true);
    }
}

pub(super) fn constant(word: &str) -> Option<i64> {
    Some(match word {
        "EPOLLIN" => 1,
        "EPOLLPRI" => 2,
        "EPOLLOUT" => 4,
        "EPOLLERR" => POLLERR,
        "EPOLLHUP" => POLLHUP,
        "EPOLLRDHUP" => 0x2000,
        "EPOLLONESHOT" => EPOLLONESHOT,
        "EPOLLEXCLUSIVE" => 1 << 28,
        "EPOLLET" => EPOLLET,
        _ => return None,
    })
}
