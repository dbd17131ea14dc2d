//! After all that, an honest peer: the connection, if there still is one, must come to its end; and nothing stays.

use ropeway_core::State;
use ropeway_packet::TcpFlags;

use super::World;
use crate::story::tell;

/// More than an honest peer needs.
const LONGEST: usize = 120;
/// More timers than go off while everything dies.
const LONGEST_DEATH: usize = 150;

impl World {
    /// The honest peer sends what the stack's window waits for, acknowledges everything, and closes.
    pub(super) fn finish(&mut self) {
        tell(self.now, || format!("an honest peer takes over, in {}", self.state()));
        let open = matches!(
            self.state(),
            State::Established
                | State::FinWait1
                | State::FinWait2
                | State::CloseWait
                | State::Closing
                | State::LastAck
        );
        // Where the peer has said that its stream ends, only what it had said by then can count.
        if !open || self.app.left || self.peer.has_finished || self.peer.is_out_of_time {
            return;
        }
        // Beyond what it has been said to have sent: window updates from before that would be old.
        let target = self.peer.far.max(self.peer.nxt) + 3;
        let mut fin_sent = false;
        // And what the pacer lets go a segment at a time.
        for _ in 0..LONGEST + self.app.written as usize / 12 {
            self.read_all();
            self.shutdown();
            if self.is_finished(fin_sent) {
                return;
            }
            assert!(!self.app.failed, "an honest peer is refused, in {}", self.state());
            let left = if target.after(self.peer.nxt) { target.since(self.peer.nxt) } else { 0 };
            let len = left.min(self.peer.room()).min(500);
            let mut header = self.peer.honest(len as usize);
            if len == left && !self.state().peer_has_closed() {
                header.flags |= TcpFlags::FIN;
                fin_sent = true;
            }
            let before = (self.peer.nxt, self.peer.end);
            self.inject(self.peer.packet(&header, len as usize));
            self.pass(1000);
            if before == (self.peer.nxt, self.peer.end) {
                self.next_deadline();
            }
        }
        panic!("an honest peer does not get to the end: {:?} {:?} {}", self.app, self.peer, self.state());
    }

    fn read_all(&mut self) {
        loop {
            let before = self.app.read;
            self.recv(100_000);
            if self.app.read == before || self.app.failed {
                return;
            }
        }
    }

    /// Both streams are through, and both ends know.
    fn is_finished(&self, fin_sent: bool) -> bool {
        let over = matches!(self.state(), State::TimeWait | State::Closed);
        if over && !self.app.failed {
            assert!(fin_sent && self.app.saw_end, "the end came too soon");
            let end = self.peer.iss + 1 + self.app.written + 1;
            assert_eq!(self.peer.end, end, "not everything that was written was sent");
        }
        over && !self.app.failed
    }

    /// The application leaves, the listener goes, and the peer is silent: everything ends by itself.
    pub(super) fn leave_all(&mut self) {
        self.leave(false);
        self.close_sockets();
        if let Some(listener) = self.listener.take() {
            self.stack.close_listener(self.now, listener);
        }
        self.settle();
        for _ in 0..LONGEST_DEATH {
            if !self.next_deadline() {
                let sizes = self.stack.sizes();
                assert_eq!(sizes, Default::default(), "something is left, and no timer is set");
                return;
            }
        }
        panic!("it does not come to rest: {:?}", self.stack.sizes());
    }
}
