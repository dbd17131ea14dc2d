//! The send sequence space (RFC 9293 3.3.1), by the RFC's names.

use ropeway_packet::{SeqNum, WindowScale};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snd {
    /// Oldest unacknowledged sequence number.
    pub(crate) una: SeqNum,
    /// One more than the highest sequence number ever sent. It never goes back: what is to be sent again is marked in the
    /// flight.
    pub(crate) nxt: SeqNum,
    /// The peer's receive window, in bytes, scaled, in 32 bits (RFC 9293 3.1 REC-1).
    pub(crate) wnd: u32,
    /// Sequence number of the segment that last updated `wnd`.
    pub(crate) wl1: SeqNum,
    /// Acknowledgement number of that segment.
    pub(crate) wl2: SeqNum,
    /// The largest window seen (Max(SND.WND) of RFC 9293 3.8.6.2.1, MAX.SND.WND of RFC 5961 5).
    pub(crate) max_wnd: u32,
    /// The urgent pointer: one more than the last urgent byte, while there is one to tell of.
    pub(crate) up: Option<SeqNum>,
    /// Initial send sequence number.
    pub(crate) iss: SeqNum,
    /// The peer's window scale; `None` when scaling is not in use.
    pub(crate) wscale: Option<WindowScale>,
    /// The MSS that the peer announced, or the default.
    pub(crate) peer_mss: u16,
    /// Most payload bytes in a segment: Eff.snd.MSS (RFC 9293 3.7.1 MUST-16).
    pub(crate) mss: u16,
    /// One more than the highest sequence number of a sent segment that was less than full (Minshall).
    pub(crate) small: SeqNum,
    /// The most that was in flight in this round trip, and where the round trip ends.
    largest_flight: (u32, SeqNum),
}

impl Snd {
    pub(crate) fn new(iss: SeqNum, default_mss: u16) -> Self {
        Self {
            una: iss,
            nxt: iss,
            wnd: 0,
            wl1: iss,
            wl2: iss,
            max_wnd: 0,
            up: None,
            iss,
            wscale: None,
            peer_mss: default_mss,
            mss: default_mss,
            small: iss,
            largest_flight: (0, iss),
        }
    }

    /// New data has been sent.
    pub(crate) fn note_flight(&mut self) {
        let (largest, until) = self.largest_flight;
        let flight = self.outstanding();
        if self.una.at_or_after(until) || flight > largest {
            self.largest_flight = (flight, self.nxt);
        }
    }

    /// Whether a window in slow start was used for more than half: one that is larger proves nothing of the path
    /// (RFC 7661 4.1). As Linux.
    pub(crate) fn fills_half_of(&self, cwnd: u32) -> bool {
        cwnd < self.largest_flight.0.saturating_mul(2)
    }

    /// Sequence numbers sent and not acknowledged, a SYN included.
    pub(crate) fn outstanding(&self) -> u32 {
        self.nxt.since(self.una)
    }

    /// How much of what begins at `seq` is in the peer's window.
    pub(crate) fn window_from(&self, seq: SeqNum) -> u32 {
        let edge = self.una + self.wnd;
        if edge.after(seq) { edge.since(seq) } else { 0 }
    }

    /// Takes the window of a segment, if it is not older than the last (RFC 9293 3.10.7.4 R-09). What acknowledges
    /// more is not, though its number may be that of a retransmission. Says whether the window has changed.
    pub(crate) fn update_window(&mut self, seq: SeqNum, ack: SeqNum, wnd: u32) -> bool {
        if !(self.wl2.before(ack) || (self.wl2 == ack && self.wl1.at_or_before(seq))) {
            return false;
        }
        let changed = self.wnd != wnd;
        self.wnd = wnd;
        self.wl1 = seq;
        self.wl2 = ack;
        self.max_wnd = self.max_wnd.max(wnd);
        changed
    }

    /// Whether `ack` acknowledges something that is outstanding.
    pub(crate) fn is_new_ack(&self, ack: SeqNum) -> bool {
        ack.after(self.una) && ack.at_or_before(self.nxt)
    }
}
