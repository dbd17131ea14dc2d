//! Seventh, process the segment text (RFC 9293 3.10.7.4).

use std::ops::ControlFlow;

use bytes::Bytes;
use ropeway_packet::{SeqNum, TcpFlags};

use super::{Arrival, Step, Verdict};
use crate::buffer::send::length_u32;
use crate::event::Readiness;
use crate::tcp::connection::sack::SackList;
use crate::tcp::connection::state::{Cause, State};
use crate::tcp::connection::{Connection, Env, FinalReset, Holder};

/// What reassembly may allocate besides twice the receive buffer.
const REASSEMBLY_SLACK: usize = 16 * 1024;

impl Connection {
    pub(super) fn take_text(&mut self, segment: &mut Arrival, env: &mut Env<'_>) -> Step {
        let (segments, longest) = segment.cut();
        let payload = std::mem::take(&mut segment.payload);
        let receives = matches!(self.state(), State::Established | State::FinWait1 | State::FinWait2);
        if payload.is_empty() || !receives {
            return ControlFlow::Continue(());
        }
        if self.holder == Holder::Nobody {
            // SHLD-3: nobody will ever read it, and the peer is to know.
            tracing::debug!(connection = %self.tuple, "data after close: resetting the connection");
            // Its number is what the peer expects next, so that it is believed (RFC 5961 3.2), whatever of ours is
            // still on its way.
            self.finish_with(FinalReset { seq: segment.ack(), acknowledges: false }, Cause::Abort);
            return ControlFlow::Break(Verdict::Drop);
        }
        let len = length_u32(payload.len());
        self.rcv.note_segment(longest);
        self.statistics.last_data_received = Some(env.now);
        let seq = segment.seq();
        if seq == self.rcv.nxt {
            let gap = !self.reassembly.is_empty();
            // RFC 2883 4-4: of a segment that is partly old, that part is told of.
            if let Some((start, end)) = self.reassembly.first_before(seq + len).filter(|_| !segment.repeats) {
                self.note_repeated(start, end, env);
            }
            self.deliver(payload);
            while let Some(next) = self.reassembly.take_from(self.rcv.nxt) {
                self.deliver(next);
            }
            if let Some(list) = &mut self.sack_list {
                list.acknowledge(self.rcv.nxt);
            }
            self.gain(Readiness::READABLE);
            // RFC 5681 4.2: what fills a gap is acknowledged at once.
            // The second of two segments, though both came as one, needs none to follow (SHLD-19).
            let due = gap || segments > 1;
            if due { self.ack_now() } else { self.ack_soon(len, segment.has(TcpFlags::PSH), env) }
        } else {
            self.keep(seq, payload, segments, env);
        }
        // The FIN, if there is one, follows the text.
        segment.header.seq = seq + len;
        ControlFlow::Continue(())
    }

    /// Bytes that are next in order.
    fn deliver(&mut self, data: Bytes) {
        let len = data.len();
        self.rcv.nxt += length_u32(len);
        self.statistics.bytes_received += len as u64;
        if self.read_shut {
            self.forget_read_urgent();
        } else {
            self.receive_buffer.push(data);
        }
    }

    /// What the peer is told by SACK, if both ends use it.
    fn sack_list(&mut self) -> Option<&mut SackList> {
        self.sack.then(|| &mut **self.sack_list.get_or_insert_default())
    }

    /// Bytes have come that had come before: that is told of at once (RFC 2883 4-1).
    pub(super) fn note_repeated(&mut self, start: SeqNum, end: SeqNum, env: &Env<'_>) {
        if env.config.dsack
            && start.before(end)
            && let Some(list) = self.sack_list()
        {
            list.repeat(start, end);
            self.output_due = true;
        }
    }

    /// So much is held beyond a gap, and a part of it has just arrived. The FIN counts, if it follows: it will not be forgotten.
    pub(super) fn note_held(&mut self, start: SeqNum, end: SeqNum) {
        let end = if self.rcv.fin == Some(end) { end + 1 } else { end };
        if let Some(list) = self.sack_list() {
            list.add(start, end);
        }
    }

    /// Bytes beyond a gap are held (SHLD-31), and the gap is told of at once (MAY-13).
    fn keep(&mut self, seq: SeqNum, data: Bytes, segments: u32, env: &mut Env<'_>) {
        let limit = self.options.recv_buffer.saturating_mul(2).saturating_add(REASSEMBLY_SLACK);
        let insertion = self.reassembly.insert(seq, data, limit);
        if let Some((start, end)) = insertion.repeated {
            self.note_repeated(start, end, env);
        }
        // What is told of is held: nothing that was dropped for memory's sake is in it.
        if let Some((start, end)) = insertion.block {
            self.note_held(start, end);
        }
        if insertion.kept {
            env.counters.out_of_order += u64::from(segments);
            self.statistics.out_of_order += u64::from(segments);
        } else {
            env.counters.reassembly_overflows += 1;
        }
        // By SACK one acknowledgement tells of all that came as one; otherwise they are counted.
        self.duplicate_acks(if self.sack { 1 } else { segments });
    }
}
