//! What an onlooker knows of the connection at hand, from the packets alone, and segments made from that.

use bytes::Bytes;
use ropeway_core::Stack;
use ropeway_packet::{
    ChecksumMode, FourTuple, IpParams, Payload, Protocol, SeqNum, TcpFlags, TcpHeader, TcpOptions,
    TcpSegment, Timestamps, WindowScale, emit_tcp,
};

/// The byte that the peer's stream has at a sequence number. It is absolute, so that everything the peer ever sends
/// agrees.
pub(super) fn peer_byte(seq: SeqNum) -> u8 {
    let seq = seq.get();
    (seq.wrapping_mul(167) ^ (seq >> 8).wrapping_mul(13)).to_le_bytes()[0]
}

/// The byte that the application writes at an offset.
pub(super) fn own_byte(offset: u32) -> u8 {
    (offset.wrapping_mul(31) ^ (offset >> 8).wrapping_mul(7)).to_le_bytes()[0]
}

pub(super) fn peer_bytes(seq: SeqNum, len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| peer_byte(seq + i)).collect()
}

/// The peer's clock when it begins.
const FIRST_TSVAL: u32 = 1000;
/// As far as its clock may go without being taken for the past (RFC 7323 5.2), with room to spare.
const NEAR: u32 = 1 << 28;

/// What the peer sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    /// The stack's end first.
    pub(super) tuple: FourTuple,
    /// The stack's initial sequence number.
    pub(super) iss: SeqNum,
    /// The sequence number of the first byte of the peer's stream.
    pub(super) start: SeqNum,
    /// What the stack expects next, by its last ACK.
    pub(super) nxt: SeqNum,
    /// The right edge of the window that it announced.
    pub(super) edge: SeqNum,
    /// One more than the highest sequence number that it has sent.
    pub(super) end: SeqNum,
    scale: WindowScale,
    /// The stack's last timestamp, if it sends them.
    their_tsval: Option<u32>,
    /// The highest timestamp that the stack was shown.
    pub(super) tsval: u32,
    /// One more than the highest sequence number that the stack was shown in its window. Its stream cannot end before
    /// that, and window updates from before it are old.
    pub(super) far: SeqNum,
    /// The stack was shown a timestamp from far away: whether it believed it, and calls an honest peer's old now,
    /// cannot be seen from here.
    pub(super) is_out_of_time: bool,
    /// The stack was shown a FIN.
    pub(super) has_finished: bool,
    /// The last SYN with a FIN that it was shown. When the two SYNs cross, the FIN counts.
    syn_with_fin: Option<SeqNum>,
    /// A SYN with data has opened the connection: its stream begins here, and not where the SYN-ACK says.
    early: Option<SeqNum>,
}

impl Peer {
    pub(super) fn new(tuple: FourTuple, isn: SeqNum) -> Self {
        let zero = SeqNum::new(0);
        Self {
            tuple,
            iss: zero,
            start: isn + 1,
            nxt: isn + 1,
            edge: isn + 1,
            end: zero,
            scale: WindowScale::ZERO,
            their_tsval: None,
            tsval: FIRST_TSVAL,
            far: isn,
            is_out_of_time: false,
            has_finished: false,
            syn_with_fin: None,
            early: None,
        }
    }

    /// A connection has come to be: `irs` is the peer's initial sequence number.
    pub(super) fn opened(&mut self, iss: SeqNum, irs: SeqNum) {
        self.iss = iss;
        if self.start != irs + 1 || self.nxt != self.start {
            self.start = irs + 1;
            // The window of a SYN that another one has outrun is not to be relied on.
            (self.nxt, self.edge, self.far) = (self.start, self.start, self.start);
        }
    }

    /// A SYN with data opens a connection.
    pub(super) fn opens_early(&mut self, start: SeqNum) {
        self.early = Some(start);
    }

    /// The stack has sent this.
    pub(super) fn sees(&mut self, segment: &TcpSegment) {
        let tcp = &segment.tcp;
        if tcp.flags.contains(TcpFlags::RST) {
            return;
        }
        self.their_tsval = tcp.options.timestamps.map(|timestamps| timestamps.tsval);
        let end = tcp.seq + tcp.segment_len(segment.payload.len());
        if tcp.flags.contains(TcpFlags::SYN) {
            (self.iss, self.end) = (tcp.seq, end);
            self.scale = tcp.options.window_scale.map_or(WindowScale::ZERO, WindowScale::new);
            if tcp.flags.contains(TcpFlags::ACK) {
                (self.start, self.nxt, self.far) = (self.early.unwrap_or(tcp.ack), tcp.ack, tcp.ack - 1);
                self.edge = tcp.ack + u32::from(tcp.window);
                self.has_finished = self.syn_with_fin == Some(tcp.ack - 1);
            }
            return;
        }
        self.end = self.end.max(end);
        self.nxt = tcp.ack;
        self.edge = self.edge.max(tcp.ack + self.scale.unscale(tcp.window));
    }

    /// Whether the stack announced a window scale that is in use: the peer has to have one too, and announces 0.
    pub(super) fn never_scaled(&mut self) {
        self.scale = WindowScale::ZERO;
    }

    /// The stack is shown this.
    pub(super) fn shows(&mut self, segment: &TcpSegment) {
        let tcp = &segment.tcp;
        if let Some(timestamps) = tcp.options.timestamps {
            let newer = SeqNum::new(timestamps.tsval).after(SeqNum::new(self.tsval));
            self.tsval = if newer { timestamps.tsval } else { self.tsval };
            self.is_out_of_time |= timestamps.tsval.wrapping_sub(FIRST_TSVAL) > NEAR && newer;
        }
        // Scaling rounds the edge down.
        if tcp.seq.at_or_before(self.edge + self.scale.unscale(1)) {
            let end = tcp.seq + tcp.segment_len(segment.payload.len());
            self.far = self.far.max(end.min(self.edge + self.scale.unscale(1)).max(tcp.seq));
        }
        self.has_finished |= tcp.flags.contains(TcpFlags::FIN);
        if tcp.flags.contains(TcpFlags::SYN | TcpFlags::FIN) {
            self.syn_with_fin = Some(tcp.seq);
        }
    }

    pub(super) fn room(&self) -> u32 {
        if self.edge.after(self.nxt) { self.edge.since(self.nxt) } else { 0 }
    }

    /// The segment that an honest peer sends next: `len` bytes, and the acknowledgement of everything.
    pub(super) fn honest(&self, len: usize) -> TcpHeader {
        self.header(self.nxt, self.end, TcpFlags::ACK, if len > 0 { 65_535 } else { 60_000 })
    }

    pub(super) fn header(&self, seq: SeqNum, ack: SeqNum, flags: TcpFlags, window: u16) -> TcpHeader {
        let timestamps = self.their_tsval.map(|tsecr| Timestamps { tsval: self.tsval, tsecr });
        TcpHeader {
            src_port: self.tuple.remote_port,
            dst_port: self.tuple.local_port,
            seq,
            ack,
            flags,
            window,
            urgent: 0,
            options: TcpOptions { timestamps, ..TcpOptions::default() },
        }
    }

    /// The packet with this segment, and what the peer's stream has at its place.
    pub(super) fn packet(&self, header: &TcpHeader, len: usize) -> Vec<u8> {
        let ip = IpParams {
            src: self.tuple.remote_addr,
            dst: self.tuple.local_addr,
            protocol: Protocol::TCP,
            hop_limit: 64,
            traffic_class: 0,
            dont_fragment: true,
            ident: 0,
            flow_label: 0,
        };
        let syn = u32::from(header.flags.contains(TcpFlags::SYN));
        let data = peer_bytes(header.seq + syn, len);
        let payload = Payload::from(Bytes::from(data));
        let mut packet = emit_tcp(&ip, header, &payload, ChecksumMode::Full).to_vec();
        payload.parts().for_each(|part| packet.extend_from_slice(part));
        packet
    }

    /// Whether the segment is between the two ends of the connection, on its way from the stack.
    pub(super) fn is_from_stack(&self, segment: &TcpSegment) -> bool {
        let ports = (segment.tcp.src_port, segment.tcp.dst_port);
        ports == (self.tuple.local_port, self.tuple.remote_port) && segment.ip.dst == self.tuple.remote_addr
    }

    /// The other way.
    pub(super) fn is_for_stack(&self, segment: &TcpSegment) -> bool {
        let ports = (segment.tcp.dst_port, segment.tcp.src_port);
        ports == (self.tuple.local_port, self.tuple.remote_port)
            && segment.ip.src == self.tuple.remote_addr
            && segment.ip.dst == self.tuple.local_addr
    }
}

/// So many packets are more than anything calls for, besides the segments of a full send buffer.
const MANY: usize = 100;

/// Takes what the stack has to send, `segments` of data at most, and its events.
pub(super) fn drain(
    stack: &mut Stack,
    now: ropeway_core::Timestamp,
    segments: usize,
    mut take: impl FnMut(Bytes),
) {
    for count in 0.. {
        let Some(transmit) = stack.poll_transmit(now) else { break };
        assert!(count < MANY + segments, "packets without end: more than {segments} segments of data");
        take(transmit.to_bytes());
    }
    for count in 0.. {
        if stack.poll_event().is_none() {
            break;
        }
        assert!(count < MANY, "events without end");
    }
}
