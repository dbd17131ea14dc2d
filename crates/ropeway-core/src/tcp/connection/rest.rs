//! All is sent that there is to send: what follows from that needs no turn.

use super::Connection;
use super::state::State;
use crate::info::SenderLimit;
use crate::time::Timestamp;

impl Connection {
    /// Whether there is nothing to send, whatever the windows would allow.
    #[inline]
    pub(crate) fn has_all_sent(&self) -> bool {
        let over = matches!(self.state(), State::Closed | State::TimeWait);
        (self.sender.has_all_sent() || !self.is_open_for_sending())
            && !(over || self.syn_due || self.winds_up || self.probing.is_due() || self.receiver.is_ack_due())
    }

    /// The same, and all of it is acknowledged.
    pub(crate) fn has_all_delivered(&self) -> bool {
        self.sender.outstanding() == 0 && self.has_all_sent()
    }

    /// Does without a turn in which nothing would be found to send.
    pub(crate) fn skip_turn(&mut self, now: Timestamp) {
        self.output_due = false;
        self.note_busy(now);
        if self.is_open_for_sending() {
            self.sender.rest(now);
            self.nothing_to_send(now);
        }
    }

    /// There is nothing to send.
    pub(super) fn nothing_to_send(&mut self, now: Timestamp) {
        let full = self.sender.buffer().len() >= self.send_buffer();
        let limit = if full { SenderLimit::SendBuffer } else { SenderLimit::Application };
        self.statistics.limit(limit, now);
        self.stop_persist();
        self.stop_waiting();
    }
}
