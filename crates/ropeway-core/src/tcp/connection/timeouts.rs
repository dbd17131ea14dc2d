//! What happens when a connection's timers go off (RFC 9293 3.10.8, RFC 6298 5).

use super::state::{Cause, State};
use super::timers::Timer;
use super::{Connection, Env, Holder};
use crate::congestion::LossSample;
use crate::error::ConnectionError;
use crate::recovery::rto::backed_off;

impl Connection {
    pub(crate) fn handle_timeout(&mut self, env: &mut Env<'_>) {
        for timer in Timer::ALL {
            if !self.timers.take_due(timer, env.now) {
                continue;
            }
            match timer {
                Timer::Retransmit => self.retransmission_timeout(env),
                Timer::Persist => self.persist_timeout(env),
                Timer::DelayedAck => self.delayed_ack_timeout(),
                Timer::KeepAlive => {
                    if let Some(keep_alive) = self.options.keep_alive {
                        self.keep_alive_timeout(keep_alive, env);
                    }
                }
                Timer::Cork => {
                    self.release_small = true;
                    self.pushes = true;
                    self.output_due = true;
                }
                Timer::Repacketize => self.repacketize(env.now),
                Timer::FinWait2 => self.finish(Cause::Timeout),
            }
        }
    }

    /// How many retransmissions in a row are too many: R2 (RFC 9293 3.8.3 MUST-20).
    pub(super) fn retry_limit(&self, env: &Env<'_>) -> u32 {
        match (self.state(), self.holder) {
            (State::SynSent, _) => self.options.syn_retries,
            (State::SynReceived, _) => env.config.synack_retries,
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
            None => self.retransmits + self.unsent_timeouts >= limit,
        };
        if over {
            let error = self.soft_error.unwrap_or(ConnectionError::TimedOut);
            self.fail(error, Cause::Timeout, env);
            return;
        }
        if !self.has_left(env) {
            // Nothing was lost: the device has not taken it. So nothing is sent twice, and the network is not blamed;
            // but whoever waits is told in the end. Linux counts it as TCPSpuriousRtxHostQueues.
            env.counters.timeouts_unsent += 1;
            self.unsent_timeouts += 1;
            let timeout = backed_off(self.rto.current(), self.unsent_timeouts, self.rto.max());
            self.arm_retransmit_after(env.now, timeout);
            return;
        }
        env.counters.retransmission_timeouts += 1;
        let first = self.retransmits == 0;
        self.retransmits += 1;
        if self.retransmits == env.config.retries1 {
            // R1: delivery is in trouble (MUST-20, SHLD-9).
            tracing::debug!(connection = %self.tuple, "the peer does not acknowledge; still trying");
            self.soft_error.get_or_insert(ConnectionError::TimedOut);
        }
        self.rto.back_off();
        self.timed = None;
        if matches!(self.state(), State::SynSent | State::SynReceived) {
            self.syn_due = true;
        } else {
            let loss = LossSample { in_flight: self.snd.outstanding(), first };
            self.congestion.on_timeout(env.now, loss);
            self.recovery.begin_anew(self.snd.max);
            // Everything outstanding counts as lost and is sent again as the window opens.
            self.snd.nxt = self.snd.una;
        }
        self.output_due = true;
        self.arm_retransmit(env.now);
    }

    /// Whether what timed out is on its way, and not still waiting for its turn or for the device.
    fn has_left(&self, env: &Env<'_>) -> bool {
        !self.syn_due && self.snd.in_flight() > 0 && env.handed.has_left(self.handed)
    }
}
