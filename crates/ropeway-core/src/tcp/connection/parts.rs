//! What a connection is made of and made from: small values that others hand over.

use ropeway_packet::{SeqNum, WindowScale};

use super::Arrival;
use super::mtu_search::Search;
use super::timeouts::RtoEvents;
use crate::buffer::slabs::{SLAB, Slabs};
use crate::config::StackConfig;
use crate::event::{ListenerId, Readiness};
use crate::ip::path_mtu::{PathMtu, PathMtuCache};
use crate::ledger::{Charged, Pressure};
use crate::spare::{Blank, Spare};
use crate::stats::Counters;
use crate::tcp::ecn::Ecn;
use crate::tcp::ecn::accurate::Accurate;
use crate::tcp::fast_open::FastOpen;
use crate::tcp::isn::low_u32;
use crate::tcp::sender::spares::Spares;
use crate::time::Timestamp;
use crate::transmit::Transmit;

/// What a connection may use of the stack it lives in.
pub(crate) struct Env<'a> {
    pub(crate) now: Timestamp,
    pub(crate) config: &'a StackConfig,
    pub(crate) counters: &'a mut Counters,
    pub(crate) handed: Handed,
    /// How scarce memory is.
    pub(crate) pressure: Pressure,
    pub(crate) spares: &'a mut Spares,
    pub(crate) paths: &'a mut PathMtuCache,
    /// Where whoever asks for a packet gets it written: it is too long to be handed from one to the next.
    pub(crate) out: Option<&'a mut Option<Transmit>>,
}

impl<'a> Env<'a> {
    /// Nobody asks for a packet.
    #[inline]
    pub(crate) fn new(
        now: Timestamp,
        config: &'a StackConfig,
        pressure: Pressure,
        counters: &'a mut Counters,
        handed: Handed,
        spares: &'a mut Spares,
        paths: &'a mut PathMtuCache,
    ) -> Self {
        Self { now, config, counters, handed, pressure, spares, paths, out: None }
    }

    /// Where bulk data may be written to, if there is memory for what that leaves empty.
    pub(crate) fn slabs(&mut self) -> Option<&mut Slabs> {
        self.pressure.can_spare(SLAB).then_some(&mut self.spares.slabs)
    }
}

/// A packet has been written to [`Env::out`].
#[derive(Clone, Copy, Debug)]
#[must_use = "whoever asked for a packet learns that there is one"]
pub(crate) struct Written;

/// The packets that were handed to the stack's owner, and which of them the device has not taken yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Handed {
    /// How many there were.
    count: u64,
    /// So many of the last ones wait for the device.
    waiting: u64,
}

impl Handed {
    /// For packets to ourselves, which need no device: their number is 0, and they have always left.
    pub(crate) const NOWHERE: Self = Self { count: u64::MAX, waiting: 0 };

    /// The number of the next packet. Numbers begin at 1.
    pub(crate) fn next(self) -> u64 {
        self.count.wrapping_add(1)
    }

    pub(crate) fn note(&mut self) {
        self.count += 1;
    }

    pub(crate) fn set_waiting(&mut self, waiting: usize) {
        self.waiting = waiting as u64;
    }

    /// Whether the device has taken the packet of that number.
    pub(crate) fn has_left(self, number: u64) -> bool {
        number <= self.count.saturating_sub(self.waiting)
    }
}

/// Who holds a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// It waits to be accepted.
    AcceptQueue(ListenerId),
    /// The application.
    Application,
    /// Nobody: it was closed, and finishes by itself.
    Nobody,
}

/// What few connections have, and those that have it not for long.
#[derive(Clone, Debug, Default)]
pub(super) struct Rare {
    /// TS.Recent of the connection whose tuple was taken over from TIME-WAIT.
    pub(super) old_ts_recent: Option<u32>,
    /// Text and FIN of a SYN that crossed ours, for when the connection is open (RFC 9293 3.10.7.3 R-03).
    pub(super) rest_of_syn: Option<Box<Arrival>>,
    /// When what was in flight was last cut anew for a smaller path MTU.
    pub(super) repacketized: Option<Timestamp>,
    /// Segments that the peer has reported to have arrived with a mark of congestion.
    pub(super) delivered_ce: u32,
    /// The counters of Accurate ECN, where that is in use.
    pub(super) accurate: Option<Box<Accurate>>,
    /// Its part in Fast Open.
    pub(super) fast_open: Option<Box<FastOpen>>,
    /// The search for the path's MTU, where it may be less than could be used.
    pub(super) search: Option<Box<Search>>,
    /// The retransmission timeouts that there were.
    pub(super) rto_events: RtoEvents,
}

impl Blank for Rare {
    const BLANK: &'static Self = &Self {
        old_ts_recent: None,
        rest_of_syn: None,
        repacketized: None,
        delivered_ce: 0,
        accurate: None,
        fast_open: None,
        search: None,
        rto_events: RtoEvents::NONE,
    };
}

impl Rare {
    /// For a tuple that was taken over from TIME-WAIT, perhaps, and for a path of which it is to be found out what it takes.
    pub(super) fn new(old_ts_recent: Option<u32>, search: Option<Search>) -> Spare<Self> {
        let mut rare = Spare::<Self>::default();
        if old_ts_recent.is_some() {
            rare.old_ts_recent = old_ts_recent;
        }
        if search.is_some() {
            rare.search = search.map(Box::new);
        }
        rare
    }
}

/// The RST that ends a connection from this side. It outlives what it is made of: the send sequence space of a
/// connection that is over says nothing any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct FinalReset {
    pub(super) seq: SeqNum,
    /// It acknowledges what was received (RFC 9293 3.10.5), unless its number is the peer's own word for what it
    /// expects (3.10.7.1).
    pub(super) acknowledges: bool,
}

/// How the stack finds a connection again: in the ready list, in the deadline queue, in the event queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scheduled {
    /// The demultiplexer knows it: segments find it.
    pub(crate) registered: bool,
    pub(crate) in_ready_list: bool,
    pub(crate) in_due_list: bool,
    pub(crate) in_event_queue: bool,
    /// It counts among those whose peer has not acknowledged everything.
    pub(crate) undelivered: bool,
    /// It counts among those that nobody holds any more.
    pub(crate) orphan: bool,
    /// Readiness gained since the last event.
    pub(crate) gained: Readiness,
    /// What the ledger knows of it.
    pub(crate) charged: Charged,
}

/// What a handshake has agreed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Negotiated {
    /// The MSS the peer announced.
    pub(crate) peer_mss: Option<u16>,
    /// The peer's and our own window scale.
    pub(crate) wscale: Option<(WindowScale, WindowScale)>,
    /// The peer's last timestamp, if both use timestamps.
    pub(crate) timestamps: Option<u32>,
    /// Both use SACK.
    pub(crate) sack: bool,
    pub(crate) ecn: Ecn,
}

/// A passive handshake, as its half-open entry knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handshake {
    pub(crate) irs: SeqNum,
    pub(crate) timestamp_offset: u32,
    /// The window of our SYN-ACK.
    pub(crate) announced_window: u32,
    pub(crate) negotiated: Negotiated,
    /// When the SYN-ACK was sent, if it was sent once.
    pub(crate) answered_at: Option<Timestamp>,
    /// How often it was sent again.
    pub(crate) retransmits: u32,
    /// When its first timeout was due, if it was sent again.
    pub(crate) timed_out_at: Option<Timestamp>,
    /// A moment after which it was sent again, and before which it was not.
    pub(crate) sent_again_after: Option<Timestamp>,
}

/// What the stack decides when a connection is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) iss: SeqNum,
    pub(crate) timestamp_offset: u32,
    pub(crate) flow_label: u32,
    /// What is known of the path besides.
    pub(crate) path: Option<PathMtu>,
    /// The MTU of the first hop: it decides the MSS that we announce.
    pub(crate) device_mtu: u16,
    /// TS.Recent of the connection whose tuple was taken over from TIME-WAIT.
    pub(crate) old_ts_recent: Option<u32>,
}

/// The parts of a connection that live on in TIME-WAIT.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeWaitParts {
    pub(crate) snd_nxt: SeqNum,
    pub(crate) rcv_nxt: SeqNum,
    pub(crate) window: u16,
    /// The peer's last timestamp, if timestamps are in use.
    pub(crate) ts_recent: Option<u32>,
}

/// Challenge ACKs are limited per connection: a limit shared by all would tell an attacker about others
/// (RFC 9293 3.10.7.4 R-06, RFC 5961 7-1, CVE-2016-5696).
#[derive(Clone, Debug, Default)]
pub(super) struct ChallengeLimit {
    /// Which second, modulo 2^32.
    second: u32,
    sent: u32,
}

impl ChallengeLimit {
    pub(super) fn allows(&mut self, env: &Env<'_>) -> bool {
        let second = low_u32(env.now.as_micros() / 1_000_000);
        if self.second != second {
            *self = Self { second, sent: 0 };
        }
        self.sent = self.sent.saturating_add(1);
        self.sent <= env.config.challenge_acks_per_second
    }
}
