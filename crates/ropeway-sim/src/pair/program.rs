//! Programs: what they do with their connections, step by step.

use std::collections::VecDeque;
use std::net::Shutdown;

use ropeway_core::{ConnectionId, Event, ListenerId, Readiness, RecvError, SendError, SocketOptions, State};

use super::{Pair, pattern};

/// One step of what a program does with its connection. Each waits until it can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes so many bytes of the stream that its side sends.
    Send(usize),
    /// Reads exactly so many bytes and compares them.
    Recv(usize),
    /// Reads to the end of the stream and finds nothing more.
    RecvEof,
    /// Sends a FIN, and goes on reading.
    ShutdownWrite,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Abort,
    /// Reading or writing fails, whatever the reason.
    Fails,
    /// Changes an option; which and how, the number decides.
    Set(u64),
    /// Does nothing for so many milliseconds.
    Pause(u64),
}

/// A program with its connection.
#[derive(Debug)]
pub struct Program {
    /// 0 on A, 1 on B.
    pub side: usize,
    /// Its connection, once it has one.
    pub id: Option<ConnectionId>,
    pub(super) listener: Option<ListenerId>,
    pub(super) script: VecDeque<Op>,
    /// Bytes done of the op at hand.
    pub(super) done: usize,
    pub(super) sent: usize,
    pub(super) received: usize,
    pub(super) since: u64,
    pub(super) state: State,
    /// It was told "would block", or has to wait for its connection: only an event with one of these wakes it.
    pub(super) waits_for: Option<Readiness>,
    /// Bytes made ready to be sent, and where in the stream they begin.
    pub(super) ready: (usize, Vec<u8>),
}

impl Program {
    /// Whether it has done all.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.script.is_empty()
    }

    /// Bytes that it has read.
    #[must_use]
    pub fn received(&self) -> usize {
        self.received
    }

    /// Gives up the op at hand, which must be this one.
    pub fn abandon(&mut self, op: Op) {
        assert_eq!(self.script.pop_front(), Some(op));
        self.done = 0;
        self.waits_for = None;
    }
}

impl Pair {
    /// Lets a program do what it can do now. Whether it did something.
    #[track_caller]
    pub(super) fn act(&mut self, index: usize) -> bool {
        let ts = self.ts();
        let now = self.now;
        let program = &mut self.programs[index];
        let stack = &mut self.stacks[program.side];
        let name = ["A", "B"][program.side];
        if program.waits_for.is_some() {
            return false;
        }
        let Some(id) = program.id else {
            let Some(listener) = program.listener else { return false };
            let Ok(Some((id, _))) = stack.accept(ts, listener) else {
                program.waits_for = Some(Readiness::WRITABLE);
                return false;
            };
            program.id = Some(id);
            return true;
        };
        let Some(op) = program.script.front().copied() else { return false };
        // A close before the connection is open would forget it: programs wait.
        if matches!(stack.info(ts, id).map(|info| info.state), Ok(State::SynSent | State::SynReceived)) {
            return false;
        }
        // Each side's stream starts elsewhere, so that a byte that comes back to its sender is noticed.
        let own = program.side * 1_000_003;
        let theirs = (1 - program.side) * 1_000_003;
        let mut wrong = None;
        let over = match op {
            Op::Send(n) => {
                let from = program.sent;
                let end = from + n - program.done;
                if !(program.ready.0 <= from && end.min(from + 1) <= program.ready.0 + program.ready.1.len())
                {
                    program.ready = (from, pattern(own + from, (end - from).min(256 * 1024)));
                }
                let bytes = &program.ready.1[from - program.ready.0..];
                match stack.send(ts, id, &bytes[..bytes.len().min(end - from)], Default::default()) {
                    Ok(taken) => {
                        program.sent += taken;
                        program.done += taken;
                        if program.done < n {
                            return taken > 0;
                        }
                        true
                    }
                    Err(SendError::WouldBlock) => {
                        program.waits_for = Some(Readiness::WRITABLE);
                        return false;
                    }
                    Err(error) => {
                        wrong = Some(format!("send answered {error:?}"));
                        false
                    }
                }
            }
            Op::Recv(n) => match stack.recv(ts, id, n - program.done) {
                Ok(payload) if payload.is_empty() => {
                    wrong = Some("the stream ended early".into());
                    false
                }
                Ok(payload) => {
                    if payload.to_vec() != pattern(theirs + program.received, payload.len()) {
                        wrong = Some(format!("the stream is wrong after {} bytes", program.received));
                    }
                    program.received += payload.len();
                    program.done += payload.len();
                    if program.done < n {
                        true
                    } else {
                        program.script.pop_front();
                        program.done = 0;
                        match wrong {
                            Some(wrong) => self.fail(&format!("{name}: {wrong}")),
                            None => return true,
                        }
                    }
                }
                Err(RecvError::WouldBlock) => {
                    program.waits_for = Some(Readiness::READABLE);
                    return false;
                }
                Err(error) => {
                    wrong = Some(format!("recv answered {error:?}"));
                    false
                }
            },
            Op::RecvEof => match stack.recv(ts, id, 1000) {
                Ok(payload) if payload.is_empty() => true,
                Ok(payload) => {
                    wrong = Some(format!("{} bytes where the stream should end", payload.len()));
                    false
                }
                Err(RecvError::WouldBlock) => {
                    program.waits_for = Some(Readiness::READABLE);
                    return false;
                }
                Err(error) => {
                    wrong = Some(format!("recv answered {error:?}"));
                    false
                }
            },
            Op::ShutdownWrite => match stack.shutdown(ts, id, Shutdown::Write) {
                Ok(()) => true,
                Err(error) => {
                    wrong = Some(format!("shutdown answered {error:?}"));
                    false
                }
            },
            Op::Close => {
                stack.close(ts, id);
                true
            }
            Op::Abort => {
                stack.abort(ts, id);
                true
            }
            Op::Fails => {
                if stack.take_error(id).is_none() {
                    return false;
                }
                true
            }
            Op::Set(what) => {
                stack.update_options(ts, id, |options| set_option(options, what)).unwrap();
                true
            }
            Op::Pause(millis) => {
                if program.since == 0 {
                    program.since = now.max(1);
                }
                if now < program.since + millis * 1000 {
                    return false;
                }
                program.since = 0;
                true
            }
        };
        if let Some(wrong) = wrong {
            self.fail(&format!("{name}: {op:?}: {wrong}"));
        }
        if over && !matches!(op, Op::Recv(_)) {
            program.script.pop_front();
            program.done = 0;
        }
        true
    }

    /// Hands an event to whom it is for.
    pub(super) fn wake(&mut self, side: usize, event: Event) {
        for program in self.programs.iter_mut().filter(|program| program.side == side) {
            let wakes = match event {
                Event::Acceptable(listener) => program.id.is_none() && program.listener == Some(listener),
                Event::Ready(id, gained) => {
                    program.id == Some(id) && program.waits_for.is_some_and(|what| gained.intersects(what))
                }
                _ => false,
            };
            if wakes {
                program.waits_for = None;
            }
        }
    }
}

fn set_option(options: &mut SocketOptions, what: u64) {
    let yes = what & 0x100 != 0;
    let size = [500, 1460, 5000, 65_535, 512 * 1024][(what >> 16) as usize % 5];
    match what % 8 {
        0 => options.nodelay = yes,
        1 => options.cork = yes,
        2 => options.quick_ack = yes,
        3 => options.recv_buffer = size,
        4 => options.send_buffer = size,
        5 => options.max_segment = yes.then_some(100 + (size % 2000) as u16),
        6 => options.notsent_lowat = yes.then_some(size),
        _ => options.keep_alive = yes.then(Default::default),
    }
}
