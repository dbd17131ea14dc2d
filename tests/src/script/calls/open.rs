//! Opening and closing.

use std::net::{Shutdown, SocketAddr};

use ropeway_core::{ConnectionId, State};

use super::super::ast::{Call, Expr};
use super::super::flow::Flow;
use super::super::run::{Runner, Stop};
use super::super::settings::Ip;
use super::super::sockets::{Done, Kind, Socket, connect_errno, connection_errno, listen_errno};
use super::super::zero_copy::ZeroCopy;

impl Runner<'_> {
    pub(super) fn socket(&mut self, call: &Call) -> Result<Done, Stop> {
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
        let socket = Socket::new(Kind::New(None), self.defaults.clone(), self.settings.keep_alive);
        self.sockets.insert(fd, Socket { nonblocking, ..socket });
        self.next_is_new = true;
        Ok(Done::Returned(fd))
    }

    pub(super) fn bind(&mut self, args: &[Expr]) -> Result<Done, Stop> {
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

    pub(super) fn listen(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let backlog = usize::try_from(self.number(args, 1)?).unwrap_or(0);
        let any = SocketAddr::new(if self.settings.ip == Ip::V4 { [0; 4].into() } else { [0; 16].into() }, 0);
        let socket = match self.socket_at(args)? {
            Ok(socket) => socket,
            Err(error) => return Ok(error),
        };
        let (binding, mut options) = match &socket.kind {
            Kind::New(binding) => (*binding, socket.options.clone()),
            Kind::Listener(_) => return Ok(Done::Returned(0)),
            _ => return Ok(Done::Error("EINVAL")),
        };
        let local = binding.map_or(any, |(_, local)| local);
        if let Some((id, _)) = binding {
            self.stack.release_binding(id);
        }
        self.settle_fast_open(&mut options, backlog);
        match self.stack.listen(local, backlog, options.clone()) {
            Ok(id) => {
                if let Ok(socket) = self.socket_at(args)? {
                    socket.options = options;
                    socket.kind = Kind::Listener(id);
                }
                self.next_is_new = true;
                Ok(Done::Returned(0))
            }
            Err(error) => Ok(Done::Error(listen_errno(error))),
        }
    }

    pub(super) fn accept(&mut self, call: &Call) -> Result<Done, Stop> {
        let (now, fd) = (self.ts(), self.integer(&call.result)?.unwrap_or(4));
        let socket = match self.socket_at(&call.args)? {
            Ok(socket) => socket,
            Err(error) => return Ok(error),
        };
        let (nonblocking, keep_alive) = (socket.nonblocking, socket.keep_alive);
        let lends = socket.zero_copy.is_some();
        let Kind::Listener(id) = socket.kind else { return Ok(Done::Error("EINVAL")) };
        let Ok(accepted) = self.stack.accept(now, id) else { return Ok(Done::Error("EINVAL")) };
        let Some((connection, _)) = accepted else {
            return Ok(if nonblocking { Done::Error("EAGAIN") } else { Done::Blocks });
        };
        let options = self.stack.options(connection).cloned().unwrap_or_default();
        let asked = format!("{:?}", call.args.get(3)).contains("SOCK_NONBLOCK");
        let socket = Socket::new(Kind::Connection(connection), options, keep_alive);
        let zero_copy = lends.then(ZeroCopy::default);
        self.sockets.insert(fd, Socket { nonblocking: asked, told_connected: true, zero_copy, ..socket });
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

    pub(super) fn connect(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        if args.get(1) == Some(&Expr::Word("AF_UNSPEC".into())) {
            return self.disconnect(args);
        }
        let nonblocking = match self.socket_at(args)? {
            Ok(Socket { kind: Kind::Connection(_), .. }) => return self.connect_again(args),
            Ok(socket) => socket.nonblocking,
            Err(error) => return Ok(error),
        };
        if let Some(done) = self.defer_connect(args)? {
            return Ok(done);
        }
        let fast = self.socket_at(args)?.is_ok_and(|socket| socket.connects_fast);
        Ok(match self.open(args, args.get(1), fast.then_some(&[][..]))? {
            Ok(_) if nonblocking => Done::Error("EINPROGRESS"),
            Ok(_) => Done::Blocks,
            Err(error) => error,
        })
    }

    /// `connect(4, AF_UNSPEC, ...)`: the connection is aborted, and the socket is as a new one. Here whoever wants that drops the
    /// stream, and makes a socket.
    fn disconnect(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let now = self.ts();
        let socket = match self.socket_at(args)? {
            Ok(socket) => socket,
            Err(error) => return Ok(error),
        };
        let Kind::Connection(id) = std::mem::replace(&mut socket.kind, Kind::New(None)) else {
            return Err(Stop::Unsupported("AF_UNSPEC of what is not connected".into()));
        };
        socket.told_connected = false;
        self.stack.abort(now, id);
        Ok(Done::Returned(0))
    }

    /// A new connection of a socket, to the address that a call names. `data` goes with its SYN as far as may be; says how much.
    pub(in crate::script) fn open(
        &mut self,
        args: &[Expr],
        to: Option<&Expr>,
        data: Option<&[u8]>,
    ) -> Result<Result<(ConnectionId, usize), Done>, Stop> {
        let default = SocketAddr::new(self.settings.remote, self.settings.connect_port);
        let remote = self.address(to)?.unwrap_or(default);
        let now = self.ts();
        let socket = match self.socket_at(args)? {
            Ok(socket) => socket,
            Err(error) => return Ok(Err(error)),
        };
        let (binding, options) = match &socket.kind {
            Kind::New(binding) => (*binding, socket.options.clone()),
            Kind::Connection(_) | Kind::Listener(_) => return Ok(Err(Done::Error("EISCONN"))),
            Kind::Dead => return Ok(Err(Done::Error("ECONNABORTED"))),
        };
        if let Some((id, _)) = binding {
            self.stack.release_binding(id);
        }
        let local = binding.map(|(_, local)| local);
        let opened = match data {
            Some(data) => self.stack.connect_with(now, local, remote, options, data),
            None => self.stack.connect(now, local, remote, options).map(|id| (id, 0)),
        };
        let (id, sent) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if let Ok(socket) = self.socket_at(args)? {
                    socket.kind = Kind::Dead;
                }
                return Ok(Err(Done::Error(connect_errno(error))));
            }
        };
        if let Ok(socket) = self.socket_at(args)? {
            socket.kind = Kind::Connection(id);
        }
        let Ok(tuple) = self.stack.tuple(id) else { return Err(self.fail("the new connection is unknown")) };
        let mut flow = Flow::new(tuple.local(), tuple.remote());
        flow.connection = Some(id);
        flow.written.extend_from_slice(data.unwrap_or_default().get(..sent).unwrap_or_default());
        self.flows.push(flow);
        self.current = Some(self.flows.len() - 1);
        self.next_is_new = false;
        Ok(Ok((id, sent)))
    }

    /// `connect` on a socket that has begun to: how far it is.
    pub(super) fn connect_again(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let Some(id) = self.connection_at(args)? else { return Ok(Done::Error("EBADF")) };
        let opening = matches!(self.state(id), State::SynSent | State::SynReceived);
        // What may pass does not end it.
        if !opening && let Some(error) = self.stack.take_error(id) {
            return Ok(Done::Error(connection_errno(error)));
        }
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

    pub(in crate::script) fn state(&self, id: ConnectionId) -> State {
        self.stack.info(self.ts(), id).map_or(State::Closed, |info| info.state)
    }

    pub(super) fn shutdown(&mut self, args: &[Expr]) -> Result<Done, Stop> {
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

    pub(super) fn close(&mut self, args: &[Expr]) -> Result<Done, Stop> {
        let (fd, now) = (self.number(args, 0)?, self.ts());
        let Some(socket) = self.sockets.remove(&fd) else { return Ok(Done::Error("EBADF")) };
        match socket.kind {
            Kind::New(Some((id, _))) => self.stack.release_binding(id),
            Kind::Listener(id) => {
                self.stack.close_listener(now, id);
                self.forget_socket_key();
            }
            Kind::Connection(id) => self.stack.close(now, id),
            Kind::New(None) | Kind::Dead => {}
        }
        Ok(Done::Returned(0))
    }
}
