//! How large a segment may be: MSS and path MTU (RFC 9293 3.7.1, RFC 1191, RFC 8201).

use ropeway_packet::FourTuple;

use super::timers::Timer;
use super::{Connection, Env};
use crate::congestion::Start;
use crate::events::{self, Change};
use crate::ip::path_mtu;
use crate::time::Timestamp;

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
    pub(super) fn update_mss(&mut self, now: Timestamp) {
        let mss = self.data_in(self.path_mtu);
        if self.state().is_synchronized() {
            self.sender.set_mss(mss);
        } else {
            let start = Start::new(now, u32::from(mss)).with_seed(self.sender.seed());
            self.sender.begin_with(mss, self.options.congestion.build(&start));
        }
    }

    /// How many bytes of data a packet has that is `mtu` bytes long, or as long as the peer and the user allow.
    pub(super) fn data_in(&self, mtu: u16) -> u16 {
        let path = mtu.saturating_sub(header_overhead(&self.tuple));
        let mss = self.sender.snd().peer_mss.min(path).min(self.options.max_segment.unwrap_or(u16::MAX));
        let options = if self.timestamps.is_some() { TIMESTAMPS_LEN } else { 0 } + self.room_for_ecn();
        mss.saturating_sub(options).max(1)
    }

    /// Whether a router can have said of a packet of ours with `refused` bytes that no more than `mtu` pass: it is
    /// too long for that, or for the least that would be believed, and no longer than what we send (RFC 5927 7.2).
    pub(crate) fn may_be_too_big(&self, mtu: u32, refused: u32) -> bool {
        let believed = mtu.max(u32::from(path_mtu::least(self.tuple.remote_addr)));
        believed < refused && refused <= u32::from(self.largest_out())
    }

    /// A router says that packets of more than `most` bytes do not pass (RFC 1191, RFC 8201, RFC 7323 5.7-1).
    ///
    /// What is in flight goes out again, in smaller packets, but once a round trip at most: whoever forges such
    /// messages, each a little lower, would have the flight sent for each. If SND.UNA moves before that, packets do
    /// pass, and there is nothing to send again.
    pub(crate) fn path_refuses(&mut self, most: u16, env: &mut Env<'_>) {
        let now = env.now;
        self.search_no_more_than(most, env);
        if most >= self.path_mtu {
            return;
        }
        self.path_mtu = most;
        self.update_mss(now);
        self.syn_is_too_big();
        if !self.sender.is_in_flight() || !self.state().is_synchronized() {
            return;
        }
        let round_trip = self.sender.rto().srtt().unwrap_or(self.sender.rto().base());
        match self.rare.repacketized.map(|at| at + round_trip).filter(|next| *next > now) {
            Some(next) => self.set_timer(Timer::Repacketize, next),
            None => self.repacketize(now),
        }
    }

    /// Sends again what is in flight, cut anew. It was lost, but not by congestion (RFC 1191 6.5); and what goes out at
    /// once is what the congestion window allows without any allowance for segments that have left the network.
    pub(super) fn repacketize(&mut self, now: Timestamp) {
        self.rare.repacketized = Some(now);
        self.sender.on_too_big();
        events::changed(now, &self.tuple, &self.sender, Change::PathMtu);
        self.output_due = true;
    }
}
