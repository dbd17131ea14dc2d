//! Text and FIN of a segment that was trimmed to the window (RFC 9293 3.10.7.4, seventh and eighth).

use ropeway_packet::SeqNum;

use super::acks::AckTiming;
use super::{Beyond, Receiver};
use crate::buffer::chunk::Chunk;
use crate::buffer::pieces::Pieces;
use crate::buffer::send::length_u32;
use crate::time::Timestamp;

/// The data of a segment, which is taken out. It begins at RCV.NXT or behind it.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    pub(crate) seq: SeqNum,
    pub(crate) data: Pieces,
    /// Its end is the end of a write (PSH).
    pub(crate) pushed: bool,
    /// What was cut off in front has come before, and was told of.
    pub(crate) repeats: bool,
    /// In how many segments it came, and how long the longest of them was.
    pub(crate) cut: (u32, u32),
    /// Memory is scarce: it is to keep nothing alive but itself.
    pub(crate) tight: bool,
}

/// What became of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Took {
    /// It was next in order. What fills a gap brings what was held behind it along; unless it is acknowledged now, it is at
    /// `ack_by`.
    InOrder { ack_by: Option<Timestamp> },
    /// It is held beyond a gap. The peer is told of it now, or at `tell_by`.
    Held { tell_by: Option<Timestamp> },
    /// It is beyond a gap, and not all of it could be held.
    Dropped,
}

/// How data beyond a gap is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Not all of it.
    InPart,
    /// It touches nothing that was held before: its block is news.
    Alone,
    /// A block that was told of has grown.
    Beside,
}

impl Receiver {
    /// `buffer`: how many bytes may be held unread.
    pub(crate) fn take_text(&mut self, text: &mut Text, buffer: usize, timing: &AckTiming<'_>) -> Took {
        self.rcv.note_segment(text.cut.1);
        if text.seq == self.rcv.nxt {
            self.take_next(text, buffer, timing)
        } else {
            self.keep(text, buffer, timing)
        }
    }

    /// Data that is next in order, and what was held behind it.
    fn take_next(&mut self, text: &mut Text, buffer: usize, timing: &AckTiming<'_>) -> Took {
        let len = length_u32(text.data.len());
        let fills_gap = self.has_gap() || self.awaits_dropped();
        // RFC 2883 4.2-1: of a segment that is partly old, that part is told of.
        let repeated = self.beyond.as_ref().and_then(|beyond| beyond.reassembly.first_before(text.seq + len));
        if let Some((start, end)) = repeated.filter(|_| !text.repeats) {
            self.note_repeated(start, end);
        }
        for data in text.data.drain() {
            self.deliver(data, buffer, text.tight);
        }
        while let Some(next) = self.beyond.as_mut().and_then(|held| held.reassembly.take_from(self.rcv.nxt)) {
            self.deliver_held(next, text.tight);
        }
        if let Some(beyond) = &mut self.beyond {
            beyond.told.acknowledge(self.rcv.nxt);
            beyond.dropped_to = beyond.dropped_to.filter(|to| to.after(self.rcv.nxt));
        }
        self.tidy();
        // RFC 5681 4.2: what fills a gap, or a part of it, is acknowledged at once.
        if fills_gap {
            self.ack_now();
            return Took::InOrder { ack_by: None };
        }
        Took::InOrder { ack_by: self.ack_soon(len, text.pushed, timing) }
    }

    fn deliver(&mut self, data: Chunk, buffer: usize, tight: bool) {
        self.rcv.nxt += length_u32(data.len());
        if self.read_shut {
            self.forget_read_urgent();
        } else if tight {
            self.buffer.push_tight(&data);
        } else {
            let spare = self.spare(buffer);
            self.buffer.push(data, spare);
        }
    }

    /// Delivers what was held beyond a gap.
    fn deliver_held(&mut self, data: Chunk, tight: bool) {
        self.rcv.nxt += length_u32(data.len());
        if self.read_shut {
            self.forget_read_urgent();
        } else {
            self.buffer.append(data, tight);
        }
    }

    /// Bytes beyond a gap are held (SHLD-31), and the gap is told of at once (MAY-13), unless acknowledgements are thinned.
    fn keep(&mut self, text: &mut Text, buffer: usize, timing: &AckTiming<'_>) -> Took {
        let (mut seq, mut kept, mut news, mut packets) = (text.seq, true, false, 0);
        for data in text.data.drain() {
            let len = length_u32(data.len());
            let kept_as = self.keep_piece(seq, data, buffer);
            kept &= kept_as != Kept::InPart;
            news |= packets == 0 && kept_as != Kept::Beside;
            seq += len;
            packets += 1;
        }
        self.tidy();
        let tell_by = if self.sack { self.tell_soon(news, packets, timing) } else { None };
        if tell_by.is_none() {
            self.tell_of_gap(text.cut.0, packets);
        }
        if kept { Took::Held { tell_by } } else { Took::Dropped }
    }

    // RFC 2018 4-5
    fn keep_piece(&mut self, seq: SeqNum, data: Chunk, buffer: usize) -> Kept {
        let end = seq + length_u32(data.len());
        let spare = self.spare(buffer);
        let insertion = self.beyond_mut().reassembly.insert(seq, data, spare);
        if let Some((start, end)) = insertion.repeated {
            self.note_repeated(start, end);
        }
        // What is told of is held (RFC 2018 8-1): nothing that was dropped for memory's sake is in it. It follows what came
        // twice (RFC 2883 4-3).
        if let Some((start, end)) = insertion.block {
            self.note_held(start, end);
        }
        match insertion.block {
            _ if !insertion.kept => Kept::InPart,
            Some(block) if block != (seq, end) => Kept::Beside,
            _ => Kept::Alone,
        }
    }

    /// Data at `seq`, which came in so many segments, is not taken for lack of memory. The peer is told what is expected, and
    /// counts what lies behind that as it does behind any loss.
    pub(crate) fn refuse(&mut self, seq: SeqNum, segments: u32) {
        if seq == self.rcv.nxt { self.ack_now() } else { self.tell_of_gap(segments, 1) }
    }

    /// So many segments came from beyond a gap, in so many packets. By SACK one acknowledgement tells of all that the device has
    /// merged; otherwise they are counted.
    fn tell_of_gap(&mut self, segments: u32, packets: u32) {
        self.duplicate_acks(if self.sack { packets } else { segments });
    }

    // ---- FIN

    /// There is a FIN at `fin`. Beyond a gap it is remembered until the gap closes. `has_text`: the text that it came with has
    /// been answered already.
    pub(crate) fn see_fin(&mut self, fin: SeqNum, has_text: bool) {
        if self.fin_received {
            return;
        }
        let known = self.rcv.fin == Some(fin);
        // The first one counts, unless the stream has gone on behind it.
        if self.rcv.fin.is_none_or(|fin| fin.before(self.rcv.nxt)) {
            self.rcv.fin = Some(fin);
        }
        if fin == self.rcv.nxt {
            return;
        }
        if known && !has_text {
            self.note_repeated(fin, fin + 1);
        }
        if self.rcv.fin == Some(fin) {
            let held = self.beyond.as_ref().and_then(|beyond| beyond.reassembly.start_of(fin));
            self.note_held(held.unwrap_or(fin), fin);
        }
        if !has_text {
            self.duplicate_acks(1);
        }
    }

    /// Takes the FIN, if it is next in order.
    pub(crate) fn take_fin(&mut self) -> bool {
        if self.fin_received || self.rcv.fin != Some(self.rcv.nxt) {
            return false;
        }
        self.rcv.nxt += 1;
        if self.rcv.edge.before(self.rcv.nxt) {
            self.rcv.edge = self.rcv.nxt;
        }
        self.fin_received = true;
        self.beyond = None;
        true
    }

    // ---- what the peer is told of

    /// A segment begins at `seq`: what of it lies before RCV.NXT has come before (RFC 2883 4-1). Says whether there is any.
    pub(crate) fn see_old(&mut self, seq: SeqNum, len: u32) -> bool {
        // Farther back than a window it is not of this connection.
        let near = seq.at_or_after(self.rcv.nxt - self.rcv.widest());
        let old = len > 0 && near && seq.before(self.rcv.nxt);
        if old {
            self.note_repeated(seq, (seq + len).min(self.rcv.nxt));
        }
        old
    }

    /// Bytes have come that had come before: that is told of at once.
    fn note_repeated(&mut self, start: SeqNum, end: SeqNum) {
        if self.sack && self.dsack && start.before(end) {
            self.beyond_mut().told.repeat(start, end);
        }
    }

    /// So much is held beyond a gap, and a part of it has just arrived. The FIN counts, if it follows: it will not be
    /// forgotten. Nothing is told without permission (RFC 2018 4-4).
    fn note_held(&mut self, start: SeqNum, end: SeqNum) {
        let end = if self.rcv.fin == Some(end) { end + 1 } else { end };
        if self.sack {
            self.beyond_mut().told.add(start, end);
        }
    }

    fn beyond_mut(&mut self) -> &mut Beyond {
        self.beyond.get_or_insert_default()
    }

    /// Lets go of the memory, if nothing is held and there is nothing to tell.
    pub(super) fn tidy(&mut self) {
        if self.beyond.as_ref().is_some_and(|beyond| beyond.is_nothing()) {
            self.beyond = None;
        }
    }
}
