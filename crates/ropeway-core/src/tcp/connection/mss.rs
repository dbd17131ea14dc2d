//! How large a segment may be: MSS and path MTU (RFC 9293 3.7.1, RFC 1191, RFC 8201).

use ropeway_packet::FourTuple;

use super::Connection;

/// The timestamps option with its padding (RFC 7323, appendix A).
const TIMESTAMPS_LEN: u16 = 12;

/// A smaller MSS is not believed: it would turn our data into a flood of headers. Linux has the same floor.
pub(crate) const MIN_MSS: u16 = 48;

/// RFC 9293 3.7.1 MUST-15
pub(crate) fn default_mss(tuple: &FourTuple) -> u16 {
    if tuple.is_ipv4() { 536 } else { 1220 }
}

/// The headers that an MTU holds besides the payload and TCP options.
pub(crate) fn header_overhead(tuple: &FourTuple) -> u16 {
    if tuple.is_ipv4() { 40 } else { 60 }
}

impl Connection {
    /// Eff.snd.MSS (RFC 9293 3.7.1 MUST-16) from what the peer, the path and the user allow.
    pub(super) fn update_mss(&mut self) {
        let path = self.path_mtu.saturating_sub(header_overhead(&self.tuple));
        let mss = self.snd.peer_mss.min(path).min(self.options.max_segment.unwrap_or(u16::MAX));
        let mss = mss.saturating_sub(if self.timestamps.is_some() { TIMESTAMPS_LEN } else { 0 }).max(1);
        if mss != self.snd.mss {
            self.snd.mss = mss;
            if self.state().is_synchronized() {
                self.congestion.on_mss_change(u32::from(mss));
                return;
            }
        }
        if !self.state().is_synchronized() {
            self.congestion = self.options.congestion.controller(u32::from(mss));
        }
    }

    /// A router says that packets of more than `mtu` bytes do not pass (RFC 1191, RFC 8201, RFC 7323 5.7-1).
    pub(crate) fn path_mtu_changed(&mut self, mtu: u16) {
        if mtu >= self.path_mtu {
            return;
        }
        self.path_mtu = mtu;
        self.update_mss();
        if self.snd.nxt.after(self.snd.una) && self.state().is_synchronized() {
            // What was in flight in large packets is lost, but not by congestion (RFC 1191 6.5).
            self.timed = None;
            self.snd.nxt = self.snd.una;
            self.output_due = true;
        }
    }
}
