//! The user's calls (RFC 9293 3.9.1, 3.10.2 to 3.10.6).

use std::io::IoSlice;
use std::net::Shutdown;
use std::time::Duration;

use bytes::Bytes;
use ropeway_packet::Payload;

use super::state::{Cause, State};
use super::timers::Timer;
use super::{Connection, Env, FinalReset, Holder};
use crate::congestion::Start;
use crate::error::{ConnectionError, RecvError, SendError, ShutdownError};
use crate::event::Readiness;
use crate::ledger::{Floor, Measure};
use crate::options::SocketOptions;

/// How `send` is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendFlags {
    /// More follows at once: a small segment may wait for it, for 200 ms at most (`MSG_MORE`).
    pub more: bool,
    /// The data ends with an urgent byte (RFC 9293 3.8.5; `MSG_OOB`).
    pub urgent: bool,
}

impl Connection {
    /// SEND (RFC 9293 3.10.2), gathering from several places.
    pub(crate) fn send(
        &mut self,
        data: &[IoSlice<'_>],
        flags: SendFlags,
        env: &mut Env<'_>,
    ) -> Result<usize, SendError> {
        let mut room = self.room_to_send(env)?;
        self.sender.borrow_queue(env.spares);
        let (mut taken, tight) = (0, env.pressure.calls_for(Measure::CloseWindows));
        for part in data {
            let n = part.len().min(room);
            self.sender.buffer_mut().push_slice(part.get(..n).unwrap_or_default(), tight, env.slabs());
            taken += n;
            room -= n;
        }
        self.written(taken, flags);
        Ok(taken)
    }

    pub(crate) fn send_bytes(
        &mut self,
        data: &mut Bytes,
        flags: SendFlags,
        env: &mut Env<'_>,
    ) -> Result<usize, SendError> {
        let room = self.room_to_send(env)?;
        let part = data.split_to(data.len().min(room));
        let taken = part.len();
        let tight = env.pressure.calls_for(Measure::CloseWindows);
        self.sender.buffer_mut().push_bytes(part, tight, env.slabs());
        self.written(taken, flags);
        Ok(taken)
    }

    fn room_to_send(&mut self, env: &mut Env<'_>) -> Result<usize, SendError> {
        if let Some(error) = self.error.take() {
            return Err(match error {
                ConnectionError::BrokenPipe => SendError::BrokenPipe,
                error => SendError::Failed(error),
            });
        }
        if self.sender.fin_queued() || matches!(self.state(), State::Closed | State::TimeWait) {
            return Err(SendError::BrokenPipe);
        }
        self.before_write(env);
        let free = self.free_to_send(env);
        self.held_back = false;
        self.held_back = free == 0 && self.has_room(1);
        match free {
            room if room > 0 && self.is_below_lowat() => Ok(room.min(self.room_below_lowat())),
            _ => Err(SendError::WouldBlock),
        }
    }

    /// How much of the send buffer is free, and may be used.
    fn free_to_send(&self, env: &Env<'_>) -> usize {
        let buffer = self.sender.buffer();
        let free = self.send_buffer().saturating_sub(buffer.len());
        let Some(room) = env.pressure.to_send(buffer.memory()) else { return free };
        let floor = Floor::of(&env.config.auto_send_buffer);
        free.min(room.max(buffer.tight_room(floor.memory)))
    }

    /// Something has been acknowledged: a writer that was held back may go on.
    pub(super) fn reconsider_writer(&mut self, env: &Env<'_>) {
        self.held_back = self.held_back && self.free_to_send(env) == 0;
    }

    fn written(&mut self, taken: usize, flags: SendFlags) {
        if taken == 0 {
            return;
        }
        self.sender.on_written(flags.more, flags.urgent);
        // RFC 9293 3.9.1.2 MUST-60
        self.output_due = true;
    }

    /// RECEIVE (RFC 9293 3.10.3). An empty payload is the end of the stream.
    pub(crate) fn recv(&mut self, max: usize, env: &Env<'_>) -> Result<Payload, RecvError> {
        self.check_readable()?;
        // What is read is not unread any more.
        let unread = self.receiver.unread().saturating_sub(max);
        // Before the third segment (RFC 7413) the peer has the window of a SYN. Unless that is closed, it can wait for more.
        let waits = self.is_open_early() && self.receiver.rcv().wnd() > 0;
        let room = if waits { 0 } else { self.affordable_beside(unread, env) };
        let payload = self.receiver.read(max, room);
        self.output_due |= self.receiver.is_ack_due();
        Ok(payload)
    }

    pub(crate) fn peek(&mut self, buf: &mut [u8]) -> Result<usize, RecvError> {
        self.check_readable()?;
        Ok(self.receiver.peek(buf))
    }

    /// Nothing yet: neither bytes, nor the end of the stream, nor an error.
    pub(crate) fn has_nothing_to_read(&self) -> bool {
        let over = matches!(self.state(), State::Closed | State::TimeWait);
        let ended = over || self.receiver.fin_received() || self.receiver.is_read_shut();
        self.receiver.unread() == 0 && !ended && self.error.is_none()
    }

    /// In Linux's order: bytes, the end of the stream, the error, then nothing yet.
    fn check_readable(&mut self) -> Result<(), RecvError> {
        if self.receiver.unread() > 0 || self.receiver.fin_received() {
            return Ok(());
        }
        if let Some(error) = self.error.take() {
            return Err(RecvError::Failed(error));
        }
        if self.receiver.is_read_shut() || matches!(self.state(), State::Closed | State::TimeWait) {
            return Ok(());
        }
        Err(RecvError::WouldBlock)
    }

    /// Half-close (RFC 9293 3.6).
    pub(crate) fn shutdown(&mut self, how: Shutdown, env: &Env<'_>) -> Result<(), ShutdownError> {
        if matches!(self.state(), State::Closed | State::TimeWait) {
            return Err(ShutdownError::NotConnected);
        }
        if how != Shutdown::Write && !self.receiver.is_read_shut() {
            self.receiver.shut_read(self.affordable_beside(0, env));
            self.output_due |= self.receiver.is_ack_due();
            self.gain(Readiness::READABLE | Readiness::READ_CLOSED);
        }
        if how != Shutdown::Read {
            self.close_write();
        }
        Ok(())
    }

    /// CLOSE (RFC 9293 3.10.4 R-11): a FIN after all that was written.
    fn close_write(&mut self) {
        if self.sender.fin_queued() {
            return;
        }
        match self.state() {
            State::SynSent => {
                // RFC 9293 3.10.4: what was written is told that the connection is closing.
                self.error = (!self.sender.buffer().is_empty()).then_some(ConnectionError::Aborted);
                self.finish(Cause::Close);
                return;
            }
            // Queued until the connection is established.
            State::SynReceived => {}
            _ => self.transition(Cause::Close),
        }
        self.sender.queue_fin();
        self.output_due = true;
        self.gain(Readiness::WRITABLE | Readiness::WRITE_CLOSED);
    }

    /// The application lets go, of both directions (RFC 9293 3.6.1 MAY-1).
    pub(crate) fn close(&mut self, env: &mut Env<'_>) {
        self.holder = Holder::Nobody;
        // RFC 9293 3.6.1 SHLD-3: what nobody will read any more was lost, and the peer is to know.
        let unread = self.receiver.discard_unread() > 0;
        if matches!(self.state(), State::Closed | State::TimeWait) {
            return;
        }
        if unread || self.options.linger.is_some_and(|linger| linger.is_zero()) {
            self.abort_unread(unread);
            return;
        }
        self.close_write();
        self.arm_fin_wait_2(env);
    }

    /// ABORT (RFC 9293 3.10.5 R-11): a RST tells the peer, if it knows of the connection.
    pub(crate) fn abort(&mut self) {
        self.abort_unread(self.receiver.unread() > 0);
    }

    fn abort_unread(&mut self, unread: bool) {
        let state = self.state();
        if matches!(state, State::Closed | State::TimeWait) {
            return;
        }
        // In CLOSING and LAST-ACK both sides have closed already; unless something was lost, all is said.
        let all_said = self.sender.fin_is_sent() && !unread;
        let both_closed = matches!(state, State::Closing | State::LastAck) && all_said;
        let tell = state != State::SynSent && !both_closed;
        let reset = FinalReset { seq: self.acceptable_seq(), acknowledges: true };
        self.error = Some(ConnectionError::Aborted);
        self.finish(Cause::Abort);
        if tell {
            self.owe(reset);
        }
    }

    /// The stack is about to end. If all that was written has arrived, and all that arrived was read, a FIN says so;
    /// otherwise what can be sent is sent, and a RST follows. Nobody will send anything again.
    pub(crate) fn wind_up(&mut self) {
        let settled = self.sender.buffer().is_empty() && self.receiver.unread() == 0;
        match (self.state(), self.holder) {
            (State::Closed | State::TimeWait, _) => {}
            (State::SynSent | State::SynReceived, _) | (_, Holder::AcceptQueue(_)) => self.abort(),
            _ if settled => self.close_write(),
            _ => {
                self.winds_up = true;
                self.sender.release(false);
                self.output_due = true;
            }
        }
    }

    /// No more of what it winds up with can be sent.
    pub(crate) fn cut_off(&mut self) {
        if self.winds_up {
            self.abort();
        }
    }

    /// No answer will come that could take an acknowledgement along.
    pub(crate) fn acknowledge(&mut self) {
        if self.owes_ack() {
            self.ack_now();
        }
    }

    /// A connection that nobody holds does not wait for the peer's FIN for ever. It waits for what is sent again a few times, as in
    /// Linux, unless it is not to wait at all: then the FIN may only come with the segment that is arriving.
    pub(super) fn arm_fin_wait_2(&mut self, env: &Env<'_>) {
        let waits = self.state() == State::FinWait2 && self.holder == Holder::Nobody;
        if !waits || self.timers.is_set(Timer::FinWait2) {
            return;
        }
        let timeout = match self.options.fin_timeout.unwrap_or(env.config.fin_timeout) {
            Duration::ZERO => Duration::ZERO,
            timeout => timeout.max(self.sender.rto().current().saturating_mul(7) / 2),
        };
        self.set_timer(Timer::FinWait2, env.now + timeout);
    }

    /// The peer's FIN did not come. Where it was not waited for, a RST tells the peer so: its data finds nobody.
    pub(super) fn fin_wait_2_timeout(&mut self, env: &Env<'_>) {
        if !self.options.fin_timeout.unwrap_or(env.config.fin_timeout).is_zero() {
            self.finish(Cause::Timeout);
            return;
        }
        let reset = FinalReset { seq: self.acceptable_seq(), acknowledges: true };
        self.finish_with(reset, Cause::Abort);
    }

    /// How long an acknowledgement may wait for company.
    pub(super) fn delayed_ack(&self, env: &Env<'_>) -> Duration {
        self.options.delayed_ack.unwrap_or(env.config.delayed_ack)
    }

    /// The options have been changed by the user: act on them.
    pub(crate) fn options_changed(&mut self, before: &SocketOptions, env: &Env<'_>) {
        if before.keep_alive != self.options.keep_alive {
            self.restart_keep_alive(env.now);
        }
        if before.congestion != self.options.congestion {
            let (window, ssthresh) = self.sender.window_and_threshold();
            let start = Start::new(env.now, u32::from(self.sender.snd().mss))
                .with_window(window, ssthresh)
                .with_seed(self.sender.seed());
            self.ecn.use_ect1(self.options.congestion.wants_ect1());
            self.sender.set_congestion(self.options.congestion.build(&start));
        }
        if before.max_pacing_rate != self.options.max_pacing_rate {
            self.sender.set_pacing(env.now, env.config.pacing, self.options.max_pacing_rate);
        }
        if before.max_segment != self.options.max_segment {
            self.update_mss(env.now);
        }
        if self.options.recv_buffer != before.recv_buffer && self.state().is_synchronized() {
            // What was read meanwhile does not count.
            self.receiver.begin_tuning(env.now, None);
            self.receiver.update_window(self.affordable_room(env));
        }
        if self.options.window_clamp != before.window_clamp && self.state().is_synchronized() {
            self.receiver.update_window(self.affordable_room(env));
        }
        if self.options.quick_ack && self.owes_ack() {
            self.receiver.ack_now();
        }
        if self.is_writable() {
            self.gain(Readiness::WRITABLE);
        }
        self.sender.configure_recovery(&self.options, env.config);
        let bounds = |options: &SocketOptions| (options.min_rto, options.max_rto);
        let bounds_changed = bounds(before) != bounds(&self.options);
        if bounds_changed {
            self.sender.set_rto_bounds(&self.options, env.config);
        }
        let limits_changed = bounds_changed || before.user_timeout != self.options.user_timeout;
        if self.timers.is_set(Timer::Retransmit) && limits_changed {
            self.arm_retransmit(env.now);
        }
        // As in Linux, setting nodelay, even again, lets go what is corked at that moment.
        let pending = self.sender.not_sent() > 0;
        if pending && self.options.nodelay && (!before.nodelay || *before == *self.options) {
            self.sender.release(false);
        }
        // Nodelay switched on, or cork taken off, lets a small segment go.
        self.output_due = true;
    }
}
