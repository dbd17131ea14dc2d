//! Eighth, check the FIN bit (RFC 9293 3.10.7.4).

use ropeway_packet::TcpFlags;

use super::Arrival;
use crate::event::Readiness;
use crate::tcp::connection::state::{Cause, State};
use crate::tcp::connection::{Connection, Env};

impl Connection {
    /// By now `segment` begins where its FIN is. A FIN beyond a gap is remembered until the gap closes.
    /// The text that came with it has been answered already.
    pub(super) fn check_fin(&mut self, segment: &Arrival, has_text: bool, env: &Env<'_>) {
        if segment.has(TcpFlags::FIN) {
            self.receiver.see_fin(segment.seq(), has_text);
        }
        if self.receiver.take_fin() {
            self.fin_received(env);
        }
    }

    /// The peer has nothing more to say (RFC 9293 3.10.7.4 R-10).
    fn fin_received(&mut self, env: &Env<'_>) {
        self.gain(Readiness::READABLE | Readiness::READ_CLOSED);
        match self.state() {
            State::SynReceived | State::Established => {
                self.transition(Cause::Fin);
                // Whoever closes now, closes with one segment.
                self.ack_after_events(env);
            }
            State::FinWait1 => {
                self.transition(Cause::Fin);
                self.ack_now();
            }
            State::FinWait2 => {
                self.receiver.ack_now();
                self.enter_time_wait(Cause::Fin, env);
            }
            _ => self.ack_now(),
        }
    }
}
