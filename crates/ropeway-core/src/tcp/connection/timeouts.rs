//! What happens when a connection's timers go off (RFC 9293 3.10.8, RFC 6298 5).

use std::time::Duration;

use super::parts::Handshake;
use super::state::{Cause, State};
use super::timers::Timer;
use super::{Connection, Env, Holder};
use crate::congestion::Phase;
use crate::error::ConnectionError;
use crate::events::{self, Change};
use crate::recovery::rto::backed_off;
use crate::recovery::{Reorder, tlp};
use crate::time::Timestamp;

/// What `TCP_INFO` tells of retransmission timeouts. A recovery begins with one that follows no other, and ends when what it has
/// found to be lost is repaired.
#[derive(Clone, Debug, Default)]
pub(super) struct RtoEvents {
    /// `tcpi_total_rto`
    pub(super) total: u32,
    /// `tcpi_total_rto_recoveries`
    pub(super) recoveries: u32,
    /// How long those took that are over.
    time: Duration,
    /// When the one began that goes on.
    since: Option<Timestamp>,
}

impl RtoEvents {
    pub(super) const NONE: Self = Self { total: 0, recoveries: 0, time: Duration::ZERO, since: None };

    /// The SYN-ACK of a passive open was sent again, so often.
    pub(super) fn of_handshake(handshake: &Handshake, now: Timestamp) -> Self {
        let time = handshake.timed_out_at.map_or(Duration::ZERO, |at| now.since(at));
        Self { total: handshake.retransmits, recoveries: 1, time, since: None }
    }

    /// `first`: none came before without something being acknowledged since.
    fn on_timeout(&mut self, now: Timestamp, first: bool) {
        self.total += 1;
        self.recoveries += u32::from(first);
        self.since.get_or_insert(now);
    }

    /// The recovery is over, if there is one.
    pub(super) fn end(&mut self, now: Timestamp) {
        if let Some(since) = self.since.take() {
            self.time += now.since(since);
        }
    }

    /// `tcpi_total_rto_time`
    pub(super) fn time(&self, now: Timestamp) -> Duration {
        self.time + self.since.map_or(Duration::ZERO, |since| now.since(since))
    }
}

impl Connection {
    pub(crate) fn handle_timeout(&mut self, env: &mut Env<'_>) {
        for timer in Timer::ALL {
            let Some(due) = self.timers.take_due(timer, env.now) else { continue };
            match timer {
                Timer::Retransmit => self.retransmission_timeout(env),
                Timer::Persist => self.persist_timeout(env),
                Timer::DelayedAck => {
                    self.receiver.delayed_ack_timeout();
                    self.output_due = true;
                }
                Timer::KeepAlive => {
                    if let Some(keep_alive) = self.options.keep_alive {
                        self.keep_alive_timeout(keep_alive, env);
                    }
                }
                Timer::Cork => {
                    self.sender.release(true);
                    self.output_due = true;
                }
                Timer::Repacketize => self.repacketize(env.now),
                Timer::Pace => self.output_due = true,
                Timer::Reorder => self.reorder_timeout(due, env),
                Timer::Probe => self.tail_probe_timeout(env),
                Timer::FinWait2 => self.fin_wait_2_timeout(env),
            }
        }
    }

    /// How many retransmissions in a row are too many: R2 (RFC 9293 3.8.3 MUST-20).
    pub(super) fn retry_limit(&self, env: &Env<'_>) -> u32 {
        match (self.state(), self.holder) {
            (State::SynSent, _) => {
                self.options.syn_retries.saturating_add(self.options.syn_linear_timeouts.into())
            }
            (State::SynReceived, _) => self.options.synack_retries.unwrap_or(env.config.synack_retries),
            (_, Holder::Nobody) => env.config.orphan_retries,
            _ => env.config.retries2,
        }
    }

    /// The timer went off: for data (RFC 6298 5-4), for the FIN, and for a SYN too (RFC 9293 3.8.3 MUST-22).
    fn retransmission_timeout(&mut self, env: &mut Env<'_>) {
        let limit = self.retry_limit(env);
        // With a user timeout, that is R2 (MUST-21), in any state (RFC 9293 3.10.8 R-12).
        let over = match self.options.user_timeout {
            Some(_) => self.user_timeout_is_over(env.now),
            None => self.sender.retransmits() + u32::from(self.unsent_timeouts) >= limit,
        };
        self.suspect_black_hole(over);
        if over {
            let error = self.soft_error.unwrap_or(ConnectionError::TimedOut);
            self.fail(error, Cause::Timeout, env);
            return;
        }
        if !self.has_left(env) {
            // Nothing was lost: the device has not taken it. So nothing is sent twice, and the network is not blamed;
            // but whoever waits is told in the end. Linux counts it as TCPSpuriousRtxHostQueues.
            env.counters.timeouts_unsent += 1;
            self.unsent_timeouts = self.unsent_timeouts.saturating_add(1);
            let rto = self.sender.rto();
            let timeout = backed_off(rto.current(), self.unsent_timeouts.into(), rto.max());
            self.arm_retransmit_after(env.now, timeout);
            return;
        }
        env.counters.retransmission_timeouts += 1;
        let first = self.sender.retransmits() == 0;
        self.rare.rto_events.on_timeout(env.now, first);
        if self.sender.retransmits() + 1 == env.config.retries1 {
            // R1: delivery is in trouble (MUST-20, SHLD-9).
            tracing::debug!(connection = %self.tuple, "the peer does not acknowledge; still trying");
            self.soft_error.get_or_insert(ConnectionError::TimedOut);
        }
        if matches!(self.state(), State::SynSent | State::SynReceived) {
            let linear = if self.state() == State::SynSent { self.options.syn_linear_timeouts } else { 0 };
            self.sender.on_syn_timeout(linear);
            self.syn_due = true;
        } else {
            self.sender.on_timeout(env.now, self.options.thin_linear_timeouts);
            self.suspect_path_mtu(env);
            self.ecn.on_reduced();
            self.timers.stop(Timer::Probe);
            self.timers.stop(Timer::Reorder);
        }
        events::changed(env.now, &self.tuple, &self.sender, Change::Timeout);
        self.output_due = true;
        self.arm_retransmit(env.now);
    }

    /// Something was acknowledged: is what the timeout has found to be lost repaired?
    pub(super) fn settle_rto_events(&mut self, now: Timestamp) {
        if self.rare.rto_events.since.is_some() && self.sender.recovery().phase() != Phase::Loss {
            self.rare.rto_events.end(now);
        }
    }

    /// What was sent before something that has arrived, and is still missing, is lost by now (RFC 8985 6.2, step 5). `due`:
    /// when that was to be found out.
    fn reorder_timeout(&mut self, due: Timestamp, env: &mut Env<'_>) {
        let (next, began) = self.sender.on_reorder_timeout(env.now, due);
        self.set_reorder(next);
        self.settle_mtu_probe(env);
        if began {
            self.ecn.on_reduced();
        }
        env.counters.fast_retransmits += u64::from(began);
        events::changed(env.now, &self.tuple, &self.sender, Change::ReorderTimeout);
        self.output_due = true;
    }

    pub(super) fn set_reorder(&mut self, next: Reorder) {
        match next {
            Reorder::Keep => {}
            Reorder::At(at) => self.set_timer(Timer::Reorder, at),
            Reorder::Stop => self.timers.stop(Timer::Reorder),
        }
    }

    // RFC 8985 7.3-4
    /// Nothing was heard of the tail of the flight (RFC 8985 7.3).
    fn tail_probe_timeout(&mut self, env: &mut Env<'_>) {
        let may = self.sender.probe_timeout().is_some() && self.has_left(env);
        // Before the third segment, what comes of it is not for a stranger's address to bear.
        if may && !self.is_open_early() && !self.user_timeout_is_over(env.now) {
            self.probing.ask_tail();
            self.output_due = true;
            // RFC 8985 7.3: from now on it counts anew.
            self.arm_retransmit(env.now);
        }
    }

    /// Sets the timer for a probe of the tail, if one may be sent and the retransmission timer does not come first.
    pub(super) fn arm_tail_probe(&mut self, now: Timestamp) {
        match self.sender.probe_timeout() {
            Some(timeout) => {
                let at = tlp::deadline(now, timeout, self.timers.get(Timer::Retransmit));
                self.set_timer(Timer::Probe, at);
            }
            None => self.timers.stop(Timer::Probe),
        }
    }

    /// Whether what timed out is on its way, and not still waiting for its turn or for the device.
    fn has_left(&self, env: &Env<'_>) -> bool {
        !self.syn_due && self.sender.is_in_flight() && env.handed.has_left(self.handed)
    }
}
