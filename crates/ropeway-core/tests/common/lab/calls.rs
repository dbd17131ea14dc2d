//! The calls of a program, and the ways to a connection.

use ropeway_core::{ConnectError, ConnectionId, ListenerId, SocketOptions, State, TcpInfo};

use super::super::{Seg, ack, syn, syn_ack};
use super::{Lab, Peer};

impl Lab {
    #[track_caller]
    pub fn listen(&mut self) -> ListenerId {
        self.listen_with(16, |_| {})
    }

    #[track_caller]
    pub fn listen_with(&mut self, backlog: usize, change: impl FnOnce(&mut SocketOptions)) -> ListenerId {
        let mut options = self.stack.config().socket.clone();
        change(&mut options);
        self.stack.listen(self.local, backlog, options).unwrap()
    }

    /// A passive open from SYN to accept, in no time.
    #[track_caller]
    pub fn accepted(&mut self, peer: Peer) -> ConnectionId {
        self.accepted_with(peer, |_| {})
    }

    #[track_caller]
    pub fn accepted_with(&mut self, peer: Peer, change: impl FnOnce(&mut SocketOptions)) -> ConnectionId {
        let listener = self.listen_with(16, change);
        self.handshake(peer);
        let (id, from) = self.stack.accept(self.ts(), listener).unwrap().expect("nothing to accept");
        assert_eq!(from, self.remote);
        self.collect();
        self.events.clear();
        id
    }

    /// The lab opens.
    #[track_caller]
    pub fn handshake(&mut self, peer: Peer) {
        self.flow.win = peer.win;
        self.flow.ts = peer.ts.then_some(1000);
        self.send(offer(syn(), peer));
        self.expect(syn_ack().seq(0).ack(1));
        self.send(ack());
        self.quiet();
    }

    /// An active open from the stack's call to ESTABLISHED, in no time.
    #[track_caller]
    pub fn connected(&mut self, peer: Peer) -> ConnectionId {
        self.connected_with(peer, |_| {})
    }

    #[track_caller]
    pub fn connected_with(&mut self, peer: Peer, change: impl FnOnce(&mut SocketOptions)) -> ConnectionId {
        let id = self.connect_with(change).unwrap();
        self.expect(syn().seq(0));
        self.flow.win = peer.win;
        self.flow.ts = peer.ts.then_some(1000);
        self.send(offer(syn_ack(), peer));
        self.expect(ack().seq(1).ack(1));
        self.events.clear();
        id
    }

    /// An active open from port 5000 to port 80: the SYN is out.
    #[track_caller]
    pub fn connect(&mut self) -> ConnectionId {
        self.connect_with(|_| {}).unwrap()
    }

    #[track_caller]
    pub fn connect_with(
        &mut self,
        change: impl FnOnce(&mut SocketOptions),
    ) -> Result<ConnectionId, ConnectError> {
        let mut options = self.stack.config().socket.clone();
        change(&mut options);
        self.local.set_port(5000);
        self.remote.set_port(80);
        let id = self.stack.connect(self.ts(), Some(self.local), self.remote, options)?;
        self.collect();
        Ok(id)
    }

    /// The next connection that waits for it, if there is one.
    #[track_caller]
    pub fn accept(&mut self, listener: ListenerId) -> Option<ConnectionId> {
        let accepted = self.stack.accept(self.ts(), listener).unwrap().map(|(id, _)| id);
        self.collect();
        accepted
    }

    /// Writes, and lets the stack send; all of it must be taken.
    #[track_caller]
    pub fn write(&mut self, id: ConnectionId, bytes: &[u8]) {
        let taken = self.stack.send(self.ts(), id, bytes, Default::default());
        if taken != Ok(bytes.len()) {
            self.fail(&format!("send answered {taken:?}"));
        }
        self.collect();
    }

    /// Reads what is there, at most `max` bytes, and lets the stack send.
    #[track_caller]
    pub fn read(&mut self, id: ConnectionId, max: usize) -> Vec<u8> {
        let read = self.stack.recv(self.ts(), id, max);
        self.collect();
        match read {
            Ok(payload) => payload.to_vec(),
            Err(error) => self.fail(&format!("recv answered {error:?}")),
        }
    }

    pub fn shutdown_write(&mut self, id: ConnectionId) {
        self.stack.shutdown(self.ts(), id, std::net::Shutdown::Write).unwrap();
        self.collect();
    }

    pub fn close(&mut self, id: ConnectionId) {
        self.stack.close(self.ts(), id);
        self.collect();
    }

    pub fn abort(&mut self, id: ConnectionId) {
        self.stack.abort(self.ts(), id);
        self.collect();
    }

    pub fn set(&mut self, id: ConnectionId, change: impl FnOnce(&mut SocketOptions)) {
        self.stack.update_options(self.ts(), id, change).unwrap();
        self.collect();
    }

    pub fn info(&self, id: ConnectionId) -> TcpInfo {
        self.stack.info(self.ts(), id).unwrap()
    }

    /// The connection's state; CLOSED if there is none.
    pub fn state(&self, id: ConnectionId) -> State {
        self.stack.info(self.ts(), id).map_or(State::Closed, |info| info.state)
    }
}

/// A SYN or SYN-ACK with what the peer offers.
fn offer(seg: Seg, peer: Peer) -> Seg {
    Seg { mss: peer.mss, ws: peer.ws, sack_ok: Some(peer.sack), win: Some(peer.win), ..seg }
}
