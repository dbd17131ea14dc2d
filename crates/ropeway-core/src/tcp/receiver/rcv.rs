//! The receive sequence space (RFC 9293 3.3.1), by the RFC's names.

use ropeway_packet::{SeqNum, WindowScale};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rcv {
    /// Next sequence number expected.
    pub(crate) nxt: SeqNum,
    /// The right edge of the window as announced, to the byte (RFC 7323 2.4-2): RCV.NXT + RCV.WND. It never
    /// moves to the left, so what was promised once is taken (RFC 7323 2.4-1).
    pub(crate) edge: SeqNum,
    /// The urgent pointer: one more than the last urgent byte.
    pub(crate) up: Option<SeqNum>,
    /// The sequence number of the peer's FIN, once seen.
    pub(crate) fin: Option<SeqNum>,
    /// Initial receive sequence number.
    pub(crate) irs: SeqNum,
    /// The scale of the windows we announce; `None` when scaling is not in use.
    pub(crate) wscale: Option<WindowScale>,
    /// The MSS that we announced.
    pub(crate) advmss: u16,
    /// The longest payload of a segment so far; the unit of delayed acknowledgements (RFC 5681 4.2).
    pub(crate) mss: u16,
}

impl Rcv {
    pub(crate) fn new(advmss: u16) -> Self {
        let zero = SeqNum::new(0);
        Self { nxt: zero, edge: zero, up: None, fin: None, irs: zero, wscale: None, advmss, mss: 0 }
    }

    /// RCV.WND: what the peer may send from RCV.NXT on, in 32 bits (RFC 9293 3.1 REC-1).
    pub(crate) fn wnd(&self) -> u32 {
        if self.edge.after(self.nxt) { self.edge.since(self.nxt) } else { 0 }
    }

    /// Whether anything has arrived in order behind the peer's SYN.
    pub(crate) fn has_moved(&self) -> bool {
        self.nxt != self.irs + 1
    }

    /// A segment with so much data has arrived. None is longer than what was announced; several that were merged on their
    /// way may be.
    pub(crate) fn note_segment(&mut self, len: u32) {
        let len = u16::try_from(len).unwrap_or(u16::MAX).min(self.advmss);
        self.mss = self.mss.max(len);
    }

    /// What the window field counts in.
    pub(crate) fn unit(&self) -> u32 {
        self.wscale.unwrap_or(WindowScale::ZERO).unscale(1)
    }

    /// The widest window that the window field can announce.
    pub(crate) fn widest(&self) -> u32 {
        self.wscale.unwrap_or(WindowScale::ZERO).unscale(u16::MAX)
    }

    /// The acceptability test for a segment of `len` sequence numbers: does it touch the window
    /// (RFC 9293 3.4, Table 6; 3.10.7.4 R-04)? One that begins before the window and ends behind it does.
    pub(crate) fn is_acceptable(&self, seq: SeqNum, len: u32) -> bool {
        let wnd = self.wnd();
        match (len, wnd) {
            (0, 0) => seq == self.nxt,
            // Right at the edge stand the acknowledgements of a peer that has filled the window. Linux takes
            // them too.
            (0, _) => seq.within(self.nxt, wnd + 1),
            (_, 0) => false,
            (_, _) => seq.before(self.edge) && (seq + len).after(self.nxt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 9293 3.10.7.4 R-04
    #[test]
    fn acceptability_has_four_cases() {
        let mut rcv = Rcv::new(1460);
        rcv.nxt = SeqNum::new(u32::MAX);
        rcv.edge = rcv.nxt;
        assert!(rcv.is_acceptable(rcv.nxt, 0));
        assert!(!rcv.is_acceptable(rcv.nxt, 1));
        assert!(!rcv.is_acceptable(rcv.nxt + 1, 0));
        rcv.edge = rcv.nxt + 10;
        assert!(rcv.is_acceptable(rcv.nxt + 9, 0));
        assert!(rcv.is_acceptable(rcv.nxt + 10, 0));
        assert!(!rcv.is_acceptable(rcv.nxt + 11, 0));
        assert!(!rcv.is_acceptable(rcv.nxt + 10, 1));
        assert!(rcv.is_acceptable(rcv.nxt - 5, 6));
        assert!(!rcv.is_acceptable(rcv.nxt - 5, 5));
        assert!(rcv.is_acceptable(rcv.nxt + 9, 100));
        assert!(rcv.is_acceptable(rcv.nxt - 5, 100));
    }
}
