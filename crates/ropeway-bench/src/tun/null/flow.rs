//! One connection.

use std::io;

use super::wire::{ACK, Body, FIN, Header, MSS, PSH, RST, SHIFT, SYN, Segment, Sink};

/// Our first sequence number, whatever the connection.
const FIRST: u32 = 0x1000;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Takes what comes, and sends all the time or nothing.
    Bulk { sends: bool },
    /// Sends back what comes.
    Echo,
}

/// What a segment brought.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Payload bytes that came in order.
    pub(super) received: u32,
    /// Payload bytes of ours that were acknowledged.
    pub(super) acknowledged: u32,
}

#[derive(Debug)]
pub(super) struct Flow {
    /// The peer's.
    port: u16,
    task: Task,
    /// What is expected next.
    receive_next: u32,
    /// The window that we offer, always.
    offered: u16,
    /// Bytes that were received and not acknowledged.
    owed: usize,
    /// The peer has sent its FIN.
    peer_closed: bool,
    /// The oldest of ours that is not acknowledged, the next to send, and the first that was never sent.
    unacknowledged: u32,
    send_next: u32,
    send_max: u32,
    /// How much may be out.
    window: u32,
    shift: u8,
    /// At most, whatever the peer offers: what a stack's send buffer would hold.
    buffer: u32,
    /// Where our FIN is, once it is clear.
    end: Option<u32>,
}

impl Flow {
    /// Answers a SYN.
    pub(super) fn open(
        syn: &Segment<'_>,
        task: Task,
        buffer: usize,
        window: usize,
        sink: &mut Sink<'_>,
    ) -> io::Result<Self> {
        let flow = Self {
            port: syn.port,
            task,
            receive_next: syn.seq.wrapping_add(1),
            offered: u16::try_from(window >> SHIFT).unwrap_or(u16::MAX),
            owed: 0,
            peer_closed: false,
            unacknowledged: FIRST.wrapping_add(1),
            send_next: FIRST.wrapping_add(1),
            send_max: FIRST.wrapping_add(1),
            window: syn.window.into(),
            shift: syn.shift,
            buffer: u32::try_from(buffer).unwrap_or(u32::MAX),
            end: None,
        };
        let header = Header { window: u16::MAX, ..flow.header(SYN, FIRST) };
        sink.send(header, Body::Options)?;
        Ok(flow)
    }

    /// Nothing is left to be said: both sides have closed, and know it of each other.
    pub(super) fn is_over(&self) -> bool {
        let acknowledged = self.end.is_some_and(|end| before(end, self.unacknowledged));
        self.peer_closed && acknowledged && self.owed == 0
    }

    /// Whether something is to be acknowledged.
    pub(super) fn owes(&self) -> bool {
        self.owed > 0
    }

    /// Takes a segment in, and answers it where that cannot wait. `None`: it was reset.
    pub(super) fn receive(
        &mut self,
        segment: &Segment<'_>,
        sink: &mut Sink<'_>,
    ) -> io::Result<Option<Progress>> {
        if segment.has(RST) {
            return Ok(None);
        }
        let acknowledged = self.take_acknowledgment(segment);
        let received = self.take_payload(segment);
        if self.task == Task::Echo && received > 0 {
            self.owed = 0;
            let header = self.header(PSH, self.send_next);
            sink.send(header, Body::Echo(segment.payload))?;
            self.advance(segment.payload.len());
        }
        if self.peer_closed && self.task != (Task::Bulk { sends: true }) {
            self.finish();
            self.send(sink, 1)?;
        }
        // As rarely as the peer's window lets it go on meanwhile. What is out of place is answered at once.
        if self.owed >= usize::from(self.offered) << SHIFT >> 1 {
            self.acknowledge(sink)?;
        }
        Ok(Some(Progress { received, acknowledged }))
    }

    fn take_acknowledgment(&mut self, segment: &Segment<'_>) -> u32 {
        self.window = u32::from(segment.window).checked_shl(self.shift.into()).unwrap_or_default();
        let advance = segment.ack.wrapping_sub(self.unacknowledged);
        if !segment.has(ACK) || advance == 0 || advance > self.send_max.wrapping_sub(self.unacknowledged) {
            return 0;
        }
        self.unacknowledged = segment.ack;
        if before(self.send_next, segment.ack) {
            self.send_next = segment.ack;
        }
        let fin = self.end.is_some_and(|end| before(end, segment.ack));
        advance - u32::from(fin)
    }

    fn take_payload(&mut self, segment: &Segment<'_>) -> u32 {
        let length = u32::try_from(segment.payload.len()).unwrap_or_default();
        if length == 0 && !segment.has(FIN) {
            return 0;
        }
        let known = self.receive_next.wrapping_sub(segment.seq);
        if known > length {
            // A gap, or nothing new: the peer has to hear what is expected.
            self.owed = usize::MAX;
            return 0;
        }
        let new = length - known;
        self.receive_next = self.receive_next.wrapping_add(new);
        self.owed = self.owed.saturating_add(segment.payload.len());
        if segment.has(FIN) {
            self.receive_next = self.receive_next.wrapping_add(1);
            self.peer_closed = true;
            self.owed = usize::MAX;
        }
        new
    }

    /// Acknowledges what came.
    pub(super) fn acknowledge(&mut self, sink: &mut Sink<'_>) -> io::Result<()> {
        self.owed = 0;
        sink.send(self.header(0, self.send_next), Body::Filler(0))
    }

    /// Sends so many bytes if the window lets it, and the FIN after the last one. Answers whether anything was sent.
    pub(super) fn send(&mut self, sink: &mut Sink<'_>, most: usize) -> io::Result<bool> {
        let mut left = most;
        while left > 0 {
            if self.end == Some(self.send_next) {
                self.owed = 0;
                sink.send(self.header(FIN, self.send_next), Body::Filler(0))?;
                self.advance(1);
                return Ok(true);
            }
            let length = self.sendable().min(sink.longest());
            if length == 0 {
                break;
            }
            self.owed = 0;
            sink.send(self.header(PSH, self.send_next), Body::Filler(length))?;
            self.advance(length);
            left = left.saturating_sub(length);
        }
        Ok(left < most)
    }

    /// Payload that the window lets go: full segments, or what is left before the end.
    fn sendable(&self) -> usize {
        let out = self.send_next.wrapping_sub(self.unacknowledged);
        let room = self.window.min(self.buffer).saturating_sub(out) as usize;
        match self.end {
            Some(end) if before(end, self.send_next) => 0,
            Some(end) => room.min(end.wrapping_sub(self.send_next) as usize),
            None if self.task == (Task::Bulk { sends: true }) => room / MSS * MSS,
            None => 0,
        }
    }

    fn advance(&mut self, length: usize) {
        self.send_next = self.send_next.wrapping_add(u32::try_from(length).unwrap_or_default());
        if before(self.send_max, self.send_next) {
            self.send_max = self.send_next;
        }
    }

    /// What was sent by now is all.
    pub(super) fn finish(&mut self) {
        self.end.get_or_insert(self.send_max);
    }

    /// Sends again what is out.
    pub(super) fn start_over(&mut self) {
        self.send_next = self.unacknowledged;
    }

    fn header(&self, flags: u8, seq: u32) -> Header {
        Header { to: self.port, seq, ack: self.receive_next, flags: flags | ACK, window: self.offered }
    }
}

/// Whether `one` comes before `other` (RFC 9293, 3.4).
fn before(one: u32, other: u32) -> bool {
    one.wrapping_sub(other).cast_signed() < 0
}
