//! Keep-alive probes (RFC 9293 3.8.4) and zero-window probes (RFC 9293 3.8.6.1).

use ropeway_packet::TcpFlags;

use super::state::{Cause, State};
use super::timers::Timer;
use super::{Connection, Env, FinalReset, Holder, Written};
use crate::error::ConnectionError;
use crate::events::Sending;
use crate::options::KeepAlive;
use crate::recovery::rto::backed_off;
use crate::time::Timestamp;

/// A probe that is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    KeepAlive,
    Window,
    Tail,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Probing {
    due: Option<Due>,
    /// Probes sent since the peer was last heard of.
    pub(crate) unanswered: u32,
    /// Zero-window probes sent since the window closed: each doubles the interval (SHLD-30).
    window_probes: u16,
    /// When the peer was last heard of.
    pub(crate) last_heard: Option<Timestamp>,
}

impl Probing {
    /// A probe is to be sent.
    pub(super) fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// The tail of the flight is to be probed.
    pub(super) fn ask_tail(&mut self) {
        self.due.get_or_insert(Due::Tail);
    }
}

impl Connection {
    /// The options say, or the connection is open now: start or stop the keep-alive timer
    /// (MUST-24).
    pub(super) fn restart_keep_alive(&mut self, now: Timestamp) {
        match self.options.keep_alive {
            Some(keep_alive) if self.state().is_synchronized() => {
                let heard = self.probing.last_heard.unwrap_or(now);
                self.set_timer(Timer::KeepAlive, (heard + keep_alive.idle).max(now));
            }
            _ => self.timers.stop(Timer::KeepAlive),
        }
    }

    /// The connection is established.
    pub(super) fn probing_starts(&mut self, now: Timestamp) {
        self.probing.last_heard = Some(now);
        self.restart_keep_alive(now);
    }

    /// The keep-alive timer went off (RFC 9293 3.8.4 MAY-5).
    pub(super) fn keep_alive_timeout(&mut self, keep_alive: KeepAlive, env: &mut Env<'_>) {
        let heard = self.probing.last_heard.unwrap_or(env.now);
        // MUST-26: only when nothing is outstanding and nothing was received for the interval.
        if self.sender.outstanding() > 0 || !self.sender.buffer().is_empty() {
            self.set_timer(Timer::KeepAlive, env.now + keep_alive.idle);
            return;
        }
        if self.probing.unanswered == 0 && env.now.since(heard) < keep_alive.idle {
            self.set_timer(Timer::KeepAlive, heard + keep_alive.idle);
            return;
        }
        // MUST-29: one lost probe proves nothing.
        let given_up = match self.options.user_timeout {
            Some(timeout) => self.probing.unanswered > 0 && env.now.since(heard) >= timeout,
            None => self.probing.unanswered >= keep_alive.count.max(2),
        };
        if given_up {
            // As Linux: a peer that was only unreachable finds out when it is not any more.
            let reset = FinalReset { seq: self.acceptable_seq(), acknowledges: true };
            self.fail(ConnectionError::TimedOut, Cause::Timeout, env);
            self.owe(reset);
            return;
        }
        self.probing.unanswered += 1;
        self.probing.due = Some(Due::KeepAlive);
        self.output_due = true;
        self.set_timer(Timer::KeepAlive, env.now + keep_alive.interval);
    }

    /// There is something to send that the window does not let out, and nothing in flight whose
    /// acknowledgement could open it (MUST-36): probe after one RTO (SHLD-29), then ever more rarely.
    pub(super) fn arm_persist(&mut self, now: Timestamp) {
        if !self.timers.is_set(Timer::Persist) {
            self.set_persist(now);
        }
    }

    /// The next probe, or the user timeout if that comes first.
    fn set_persist(&mut self, now: Timestamp) {
        let mut at = now + self.persist_interval();
        if let (Some(timeout), Some(since)) = (self.options.user_timeout, self.unanswered_since) {
            at = at.min((since + timeout).max(now));
        }
        self.set_timer(Timer::Persist, at);
    }

    fn persist_interval(&self) -> std::time::Duration {
        // SHLD-30
        backed_off(self.sender.rto().base(), self.probing.window_probes.into(), self.sender.rto().max())
    }

    /// The persist timer went off. The connection stays open as long as the peer answers (MUST-37).
    pub(super) fn persist_timeout(&mut self, env: &mut Env<'_>) {
        let limit = self.retry_limit(env);
        // Nobody waits for an orphan: its peer does not keep it alive for ever (RFC 6429 4).
        let forsaken = self.holder == Holder::Nobody && u32::from(self.probing.window_probes) >= limit;
        if forsaken || self.probing.unanswered >= limit || self.user_timeout_is_over(env.now) {
            self.fail(self.soft_error.unwrap_or(ConnectionError::TimedOut), Cause::Timeout, env);
            return;
        }
        self.probing.unanswered += 1;
        self.probing.window_probes = self.probing.window_probes.saturating_add(1);
        self.unanswered_since.get_or_insert(env.now);
        self.probing.due = Some(Due::Window);
        self.output_due = true;
        self.set_persist(env.now);
    }

    /// The window is open again, or there is nothing left to send.
    pub(super) fn stop_persist(&mut self) {
        if self.timers.is_set(Timer::Persist) {
            self.timers.stop(Timer::Persist);
            self.unanswered_since = None;
        }
        self.probing.window_probes = 0;
        if self.probing.due == Some(Due::Window) {
            self.probing.due = None;
        }
    }

    /// The peer was heard of: every probe is answered.
    pub(super) fn peer_heard(&mut self, now: Timestamp) {
        self.probing.last_heard = Some(now);
        if self.probing.unanswered > 0 {
            self.probing.unanswered = 0;
            // The user timeout counts while the window stays closed, answered or not (tcp(7)).
            if self.sender.outstanding() == 0 && !self.timers.is_set(Timer::Persist) {
                self.unanswered_since = None;
            }
            self.restart_keep_alive(now);
        }
    }

    /// The probe that is due, if any.
    pub(super) fn probe(&mut self, env: &mut Env<'_>) -> Option<Written> {
        match self.probing.due.take()? {
            // SHLD-12: no data; the sequence number before the window makes the peer answer.
            Due::KeepAlive => {
                let seq = self.sender.snd().nxt - 1;
                Some(self.emit(seq, TcpFlags::ACK, 0, Sending::KEEP_ALIVE, env))
            }
            Due::Window => self.window_probe(env),
            Due::Tail => self.tail_probe(env),
        }
    }

    /// At least one byte, or the FIN, goes out whatever the window says (RFC 9293 3.8.6.1 MUST-36).
    fn window_probe(&mut self, env: &mut Env<'_>) -> Option<Written> {
        if self.state() == State::Closed {
            return None;
        }
        let plan = self.sender.window_probe(env.now, self.own_tsval(env.now))?;
        let flags = if plan.fin { TcpFlags::ACK | TcpFlags::FIN } else { TcpFlags::ACK | TcpFlags::PSH };
        if plan.again {
            self.count_retransmission(plan.len, env);
        }
        self.handed = env.handed.next();
        self.statistics.bytes_sent += u64::from(plan.len);
        self.statistics.last_data_sent = Some(env.now);
        Some(self.emit_plan(&plan, flags, env))
    }

    /// New data, or the last segment again, so that the peer tells what it has (RFC 8985 7.3).
    fn tail_probe(&mut self, env: &mut Env<'_>) -> Option<Written> {
        if !self.is_open_for_sending() || self.sender.probe_timeout().is_none() {
            return None;
        }
        let limits = self.limits();
        let plan = self.sender.tail_probe(&limits)?;
        env.counters.tail_probes += 1;
        let segment = self.send_segment(plan, env);
        self.sender.on_tail_probe_sent(&plan);
        self.timers.stop(Timer::Probe);
        self.arm_retransmit(env.now);
        Some(segment)
    }
}
