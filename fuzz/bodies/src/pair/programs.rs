//! The programs: what they do with their connections, and what they are told.

use std::net::Shutdown;

use ropeway_core::{ConnectionId, RecvError, SendError, State};

use super::Pair;
use super::world::NAMES;
use crate::story::tell;

/// What one side of the conversation has done and seen.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) id: Option<ConnectionId>,
    /// Bytes of its stream that were taken to be sent.
    pub(super) written: usize,
    /// Bytes of the other's stream that it has read.
    pub(super) read: usize,
    /// It has shut down its writing.
    pub(super) finished: bool,
    /// It has seen the end of the other's stream.
    pub(super) saw_end: bool,
    /// It has closed or aborted.
    pub(super) left: bool,
    /// It was told of an error.
    pub(super) failed: bool,
}

/// As much as a side writes, so that the end comes within bounds.
const MOST: usize = 30_000;

/// The byte that `side` sends at `offset`.
fn pattern(side: usize, offset: usize) -> u8 {
    (offset.wrapping_mul(31) ^ (offset >> 8).wrapping_mul(7) ^ side.wrapping_mul(101)).to_le_bytes()[0]
}

/// `len` of these.
pub(super) fn bytes_of(side: usize, from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| pattern(side, at)).collect()
}

impl Pair {
    pub(super) fn send(&mut self, side: usize, len: usize) {
        let own = &mut self.sides[side];
        let Some(id) = own.id.filter(|_| !own.left && !own.finished) else { return };
        // A window of a few bytes shall not make a long story.
        let len = len.min((20 * self.window).saturating_sub(own.written));
        let len = len.min(MOST.saturating_sub(own.written));
        let data = bytes_of(side, own.written, len);
        let answer = self.world.stacks[side].send(self.world.now, id, &data, Default::default());
        tell(self.world.now, || format!("  {} writes {len} bytes: {answer:?}", NAMES[side]));
        match answer {
            Ok(taken) => {
                assert!(taken <= len);
                own.written += taken;
            }
            Err(SendError::WouldBlock) => {}
            Err(error) => self.fails(side, &error),
        }
    }

    pub(super) fn recv(&mut self, side: usize, max: usize) {
        let Some(id) = self.sides[side].id.filter(|_| !self.sides[side].left) else { return };
        let answer = self.world.stacks[side].recv(self.world.now, id, max);
        tell(self.world.now, || {
            format!("  {} reads: {:?}", NAMES[side], answer.as_ref().map(|payload| payload.len()))
        });
        match answer {
            Ok(payload) => {
                let own = &mut self.sides[side];
                assert!(payload.len() <= max);
                for byte in payload.parts().flatten() {
                    assert_eq!(
                        *byte,
                        pattern(1 - side, own.read),
                        "byte {} of the stream is wrong",
                        own.read
                    );
                    own.read += 1;
                }
                assert!(own.read == 0 || !own.saw_end || payload.is_empty(), "bytes behind the end");
                own.saw_end |= payload.is_empty();
                let other = &self.sides[1 - side];
                let own = &self.sides[side];
                assert!(own.read <= other.written, "more was read than was written");
                let complete = other.finished && own.read == other.written;
                assert!(
                    !own.saw_end || complete || own.failed || self.abortive,
                    "the stream ends after {} of {} bytes, and nobody was told why",
                    own.read,
                    other.written
                );
            }
            Err(RecvError::WouldBlock) => {}
            Err(error) => self.fails(side, &error),
        }
    }

    pub(super) fn shutdown(&mut self, side: usize) {
        let own = &mut self.sides[side];
        let Some(id) = own.id.filter(|_| !own.left && !own.finished) else { return };
        // In SYN-SENT that is a close (RFC 9293 3.10.4), and the listener may be left with an old SYN.
        self.abortive |= !self.world.stacks[side].is_connected(id);
        tell(self.world.now, || format!("  {} shuts down", NAMES[side]));
        own.finished = self.world.stacks[side].shutdown(self.world.now, id, Shutdown::Write).is_ok();
        if !own.finished {
            self.fails(side, &"shutdown is refused");
        }
    }

    /// Closes or aborts, whatever is still under way.
    pub(super) fn leave(&mut self, side: usize, abort: bool) {
        let own = &mut self.sides[side];
        let Some(id) = own.id.filter(|_| !own.left) else { return };
        own.left = true;
        self.abortive = true;
        tell(self.world.now, || format!("  {} {}", NAMES[side], if abort { "aborts" } else { "closes" }));
        if abort {
            self.world.stacks[side].abort(self.world.now, id);
        }
        self.world.stacks[side].close(self.world.now, id);
        // It may have a RST to send yet.
        let goes_on = self.world.stacks[side]
            .info(self.world.now, id)
            .is_ok_and(|info| !matches!(info.state, State::Closed | State::TimeWait));
        assert!(!goes_on || !abort, "an aborted connection goes on");
    }

    pub(super) fn set(&mut self, side: usize, what: usize) {
        let Some(id) = self.sides[side].id.filter(|_| !self.sides[side].left) else { return };
        let done = self.world.stacks[side].update_options(self.world.now, id, |options| match what {
            0 => options.cork ^= true,
            1 => options.nodelay ^= true,
            2 => options.recv_buffer = 300 + options.recv_buffer % 100 * 3,
            _ => options.send_buffer = 7 + options.send_buffer % 100 * 3,
        });
        assert!(done.is_ok(), "an option of a connection that is gone");
    }

    /// An error, which needs a reason: somebody broke off, or nothing got through for long.
    fn fails(&mut self, side: usize, error: &dyn std::fmt::Debug) {
        self.sides[side].failed = true;
        assert!(self.may_fail(), "{} fails for no reason: {error:?}", NAMES[side]);
    }

    pub(super) fn may_fail(&self) -> bool {
        self.abortive || self.world.may_break()
    }
}
