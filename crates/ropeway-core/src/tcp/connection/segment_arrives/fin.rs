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
        if segment.has(TcpFlags::FIN) && !self.statistics.fin_received {
            let fin = segment.seq();
            if self.rcv.fin == Some(fin) && !has_text && fin != self.rcv.nxt {
                self.note_repeated(fin, fin + 1, env);
            }
            // The first one counts, unless the stream has gone on behind it.
            if self.rcv.fin.is_none_or(|fin| fin.before(self.rcv.nxt)) {
                self.rcv.fin = Some(fin);
            }
            if fin != self.rcv.nxt {
                if self.rcv.fin == Some(fin) {
                    self.note_held(self.reassembly.start_of(fin).unwrap_or(fin), fin);
                }
                if !has_text {
                    self.duplicate_acks(1);
                }
            }
        }
        if self.rcv.fin == Some(self.rcv.nxt) && !self.statistics.fin_received {
            self.take_fin();
        }
    }

    /// The peer has nothing more to say (RFC 9293 3.10.7.4 R-10).
    fn take_fin(&mut self) {
        self.rcv.nxt += 1;
        if self.rcv.edge.before(self.rcv.nxt) {
            self.rcv.edge = self.rcv.nxt;
        }
        self.statistics.fin_received = true;
        self.reassembly.clear();
        self.sack_list = None;
        self.ack_now();
        self.gain(Readiness::READABLE | Readiness::READ_CLOSED);
        match self.state() {
            State::SynReceived | State::Established | State::FinWait1 => self.transition(Cause::Fin),
            State::FinWait2 => self.enter_time_wait(Cause::Fin),
            _ => {}
        }
    }
}
