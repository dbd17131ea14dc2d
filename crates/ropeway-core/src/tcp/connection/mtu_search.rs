//! Packetization layer path MTU discovery (RFC 4821, with ideas of RFC 8899): what packets a path takes when no router says.
//!
//! Timeouts in a row of what is larger than others make suspicious of a black hole: it is cut, and if the smaller segments get
//! through, there is one. From there on probes look for more, and each is a segment like others, but larger. A lost one is
//! sent again in pieces, and is no sign of congestion. Sizes are those of packets, IP header included.

use ropeway_packet::{FourTuple, SeqNum};

use super::mss::header_overhead;
use super::parts::Setup;
use super::{Connection, Env};
use crate::config::{MtuProbing, StackConfig};
use crate::congestion::Phase;
use crate::events::{self, Change};
use crate::info::MtuSearch;
use crate::ip::path_mtu::MIN_V6;
use crate::tcp::sender::flight::ProbeFate;
use crate::tcp::sender::{Acked, Plan};
use crate::time::Timestamp;

/// So many probes of a size are lost before it is taken for too large: one may have been lost by chance (MAX_PROBES of
/// RFC 8899 5.1.2 is three; but each puts off what follows it by a round trip).
const MOST_PROBES: u8 = 2;

/// What is known of a path that may take more than it is used for.
#[derive(Clone, Debug)]
pub(super) struct Search {
    /// `search_low`: where the search began, or more that has passed.
    low: u16,
    /// `search_high`: what may pass.
    high: u16,
    /// All of `high` is tried first: it was in use before, or a router has named it.
    whole_first: bool,
    /// More than `high` was lost.
    refused: bool,
    /// So many probes of the next size were lost.
    lost_in_row: u8,
    /// When it began.
    since: Timestamp,
    out: Option<Probe>,
    doubt: Option<Doubt>,
    counts: Counts,
}

/// A probe that is on its way.
#[derive(Clone, Copy, Debug)]
struct Probe {
    size: u16,
    start: SeqNum,
    end: SeqNum,
}

/// A black hole is suspected: smaller segments have gone out, and nothing was heard of them yet.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// What was in use before.
    was: u16,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    sent: u32,
    passed: u32,
    lost: u32,
    black_holes: u32,
}

impl Search {
    fn new(low: u16, high: u16, since: Timestamp) -> Self {
        Self {
            low,
            high,
            whole_first: false,
            refused: false,
            lost_in_row: 0,
            since,
            out: None,
            doubt: None,
            counts: Counts::default(),
        }
    }

    /// The bounds are others.
    fn begin_anew(&mut self, low: u16, high: u16, now: Timestamp) {
        *self = Self { counts: self.counts, ..Self::new(low, high, now) };
    }

    // RFC 4821 7.1-2, RFC 4821 7.3-1, RFC 4821 7.3-2
    /// How large the next probe is, if more than `current` may pass, and no more than `most` is of use.
    fn next(&mut self, (current, most): (u16, u16), now: Timestamp, config: &StackConfig) -> Option<u16> {
        if self.out.is_some() || self.doubt.is_some() {
            return None;
        }
        let over = |search: &Self| {
            let high = search.high.min(most);
            high <= current
                || (high - current < config.probe_threshold && search.refused && !search.whole_first)
        };
        if over(self) {
            if now.since(self.since) < config.probe_interval {
                return None;
            }
            self.begin_anew(current, most, now);
            if over(self) {
                return None;
            }
        }
        let high = self.high.min(most);
        if self.whole_first || high - current < config.probe_threshold {
            return Some(high);
        }
        // Bisection, as in Linux: from where the search began, if that says more than what is in use.
        let between = |low: u16| low + (high - low) / 2;
        let size = between(self.low.min(current));
        if size > current {
            return Some(size);
        }
        self.low = current;
        Some(between(current).max(current + 1))
    }

    fn passed(&mut self, size: u16) {
        self.counts.passed += 1;
        self.low = size;
        self.whole_first = false;
        self.lost_in_row = 0;
    }

    // RFC 4821 7.6.2-2, RFC 4821 7.6.4-1
    /// `alone`: nothing else was lost, so that it was its size, or chance.
    fn failed(&mut self, size: u16, alone: bool) {
        self.counts.lost += 1;
        if !alone {
            return;
        }
        self.lost_in_row += 1;
        if self.whole_first || self.lost_in_row >= MOST_PROBES {
            self.high = size - 1;
            self.refused = true;
            self.whole_first = false;
            self.lost_in_row = 0;
        }
    }

    pub(super) fn info(&self, current: u16) -> MtuSearch {
        MtuSearch {
            low: self.low.max(current),
            high: self.high.max(current),
            probing: self.out.map(|probe| probe.size),
            probes: self.counts.sent,
            passed: self.counts.passed,
            lost: self.counts.lost,
            black_holes: self.counts.black_holes,
        }
    }
}

// RFC 4821 4-8, RFC 4821 7.2-2
/// The MTU that a connection begins with, and the search for more.
pub(super) fn begin(tuple: &FourTuple, setup: &Setup, env: &Env<'_>) -> (u16, Option<Search>) {
    let (device, base) = (setup.device_mtu, mtu_of(env.config.base_mss, tuple));
    let known = setup.path.map_or(device, |path| path.mtu.min(device));
    let search = |most| {
        let since = setup.path.map_or(env.now, |path| path.since);
        Some(Search { refused: most < u16::MAX, ..Search::new(base, most, since) })
    };
    match (env.config.mtu_probing, setup.path) {
        (MtuProbing::Off, _) | (MtuProbing::BlackHole, None) => (known, None),
        // A path to ourselves is no path.
        (MtuProbing::Always, None) if device > env.config.mtu => (known, None),
        (MtuProbing::Always, None) => (known.min(base.max(least(tuple))), search(u16::MAX)),
        (MtuProbing::BlackHole, Some(_)) if known == device => (known, None),
        (_, Some(path)) => (known, search(path.most)),
    }
}

fn mtu_of(mss: u16, tuple: &FourTuple) -> u16 {
    mss.saturating_add(header_overhead(tuple))
}

/// No black hole makes us go below this (RFC 8201 4).
fn least(tuple: &FourTuple) -> u16 {
    if tuple.is_ipv4() { 0 } else { MIN_V6 }
}

impl Connection {
    // ---- black holes

    // RFC 4821 4-6, RFC 4821 7.7-1
    /// The retransmission timer went off. Larger segments than others may have gone into a black hole: after two timeouts in
    /// a row they are cut, and after two more again (RFC 4821 7.7). What others have found on the path needs one.
    pub(super) fn suspect_path_mtu(&mut self, env: &mut Env<'_>) {
        if env.config.mtu_probing == MtuProbing::Off {
            return;
        }
        self.forget_mtu_probe_out();
        let known = env.paths.get(self.tuple.remote_addr, env.now).map(|path| path.mtu);
        let smaller = match known.filter(|known| *known < self.path_mtu) {
            Some(known) => known,
            None if self.sender.retransmits().is_multiple_of(2) => self.next_smaller(env.config),
            None => return,
        };
        // What is small enough already was lost for another reason.
        if smaller >= self.path_mtu || self.sender.due_len() <= u32::from(self.data_in(smaller)) {
            return;
        }
        let was = self.path_mtu;
        let search = self.rare.search.get_or_insert_with(|| Box::new(Search::new(smaller, was, env.now)));
        search.doubt.get_or_insert(Doubt { was });
        self.cut_to(smaller, env.now);
        self.sender.on_black_hole();
    }

    // RFC 4821 7.7-2
    /// What to try if packets of the size in use are not heard of. A connection that has never used larger ones than `base_mss`
    /// has another reason.
    fn next_smaller(&self, config: &StackConfig) -> u16 {
        let base = mtu_of(config.base_mss, &self.tuple);
        let current = self.path_mtu.min(mtu_of(self.sender.snd().peer_mss, &self.tuple));
        let smaller = if current > base {
            base
        } else if self.rare.is_away() || self.rare.search.is_none() {
            current
        } else {
            let half = current.saturating_sub(header_overhead(&self.tuple)) / 2;
            mtu_of(half.max(config.mtu_probe_floor), &self.tuple)
        };
        smaller.max(least(&self.tuple))
    }

    // RFC 4821 7.1-1
    /// Segments have another size from now on.
    fn cut_to(&mut self, mtu: u16, now: Timestamp) {
        self.path_mtu = mtu;
        self.update_mss(now);
        events::changed(now, &self.tuple, &self.sender, Change::PathMtu);
    }

    /// While a black hole is suspected: where the first begins that was not sent again since, if anything waits for that.
    #[inline]
    pub(super) fn first_due_in_doubt(&self) -> Option<SeqNum> {
        if self.rare.is_away() {
            return None;
        }
        self.rare.search.as_ref().filter(|search| search.doubt.is_some())?;
        self.sender.flight().first_due()
    }

    /// What an acknowledgement says of the path. `first_due`: before it came.
    pub(super) fn settle_mtu_search(
        &mut self,
        first_due: Option<SeqNum>,
        acked: &mut Acked,
        env: &mut Env<'_>,
    ) {
        if self.rare.search.is_some() {
            self.settle_doubt(first_due, acked, env);
            self.settle_mtu_probe(env);
        }
    }

    // RFC 4821 7.1-3
    fn settle_doubt(&mut self, first_due: Option<SeqNum>, acked: &mut Acked, env: &mut Env<'_>) {
        let remote = self.tuple.remote_addr;
        let Some(search) = self.rare.search.as_mut().filter(|_| acked.advanced > 0) else { return };
        let Some(Doubt { was }) = search.doubt.take() else { return };
        let large_arrived = first_due.is_some_and(|due| self.sender.snd().una.after(due));
        if large_arrived || acked.outcome.spurious_timeout {
            // What went out before was only late.
            return self.cut_to(was.max(self.path_mtu), env.now);
        }
        search.begin_anew(self.path_mtu, was, env.now);
        search.whole_first = true;
        search.counts.black_holes += 1;
        env.counters.black_holes += 1;
        env.paths.prove(remote, self.path_mtu, was, env.now);
        tracing::debug!(connection = %self.tuple, mtu = self.path_mtu, was, "met a black hole");
        self.sender.on_black_hole_proved(env.now);
        self.sender.set_pacing(env.now, env.config.pacing, self.options.max_pacing_rate);
        acked.outcome.undone = true;
        acked.timer = acked.timer.map(|_| self.sender.rto().current());
    }

    // ---- probes

    /// How many bytes of data a probe has that may go instead of the next segment.
    #[inline]
    pub(super) fn mtu_probe(&mut self, env: &Env<'_>) -> Option<u16> {
        if self.rare.is_away() || self.rare.search.is_none() { None } else { self.next_mtu_probe(env) }
    }

    // RFC 4821 5.1-1
    fn next_mtu_probe(&mut self, env: &Env<'_>) -> Option<u16> {
        let size = self.next_probe_size(env)?;
        let len = self.data_in(size);
        (len > self.sender.snd().mss).then_some(len)
    }

    fn next_probe_size(&mut self, env: &Env<'_>) -> Option<u16> {
        let bounds = (self.path_mtu, self.most_of_use(env));
        self.rare.search.as_mut()?.next(bounds, env.now, env.config)
    }

    // RFC 4821 7.2-1
    /// The largest packet that the device, the peer and the user allow.
    fn most_of_use(&self, env: &Env<'_>) -> u16 {
        let device = env.config.mtu.max(mtu_of(self.receiver.rcv().advmss, &self.tuple));
        let user = self.options.max_segment.unwrap_or(u16::MAX);
        device.min(mtu_of(self.sender.snd().peer_mss.min(user), &self.tuple))
    }

    pub(super) fn mtu_probe_sent(&mut self, plan: &Plan, env: &mut Env<'_>) {
        let Some(size) = self.next_probe_size(env) else { return };
        if let Some(search) = self.rare.search.as_mut() {
            search.out = Some(Probe { size, start: plan.seq, end: plan.end() });
            search.counts.sent = search.counts.sent.saturating_add(1);
            env.counters.mtu_probes += 1;
        }
    }

    /// What has these numbers is sent again, for whatever reason: if there was a probe, nobody knows any more which
    /// transmission is acknowledged.
    pub(super) fn forget_mtu_probe(&mut self, start: SeqNum, end: SeqNum) {
        let out =
            if self.rare.is_away() { None } else { self.rare.search.as_ref().and_then(|search| search.out) };
        if out.is_some_and(|probe| probe.start.before(end) && start.before(probe.end)) {
            self.forget_mtu_probe_out();
        }
    }

    fn forget_mtu_probe_out(&mut self) {
        if !self.rare.is_away()
            && let Some(search) = self.rare.search.as_mut()
        {
            search.out = None;
        }
    }

    // RFC 4821 4-1, RFC 4821 7.6.1-1
    /// What has become of the probe that is on its way?
    pub(super) fn settle_mtu_probe(&mut self, env: &mut Env<'_>) {
        if self.rare.is_away() {
            return;
        }
        let alone = matches!(self.sender.recovery().phase(), Phase::Open | Phase::Disorder);
        let Some(search) = self.rare.search.as_mut() else { return };
        let Some(Probe { size, start, end }) = search.out else { return };
        match self.sender.fate_of_probe((start, end)) {
            ProbeFate::Out => {}
            ProbeFate::Lost => {
                search.out = None;
                search.failed(size, alone);
                env.counters.mtu_probes_lost += 1;
                self.output_due = true;
                self.tell_others(env);
            }
            ProbeFate::Passed => {
                search.out = None;
                search.passed(size);
                env.counters.mtu_probes_passed += 1;
                self.cut_to(size.max(self.path_mtu), env.now);
                self.tell_others(env);
            }
        }
    }

    // RFC 4821 5.2-1
    /// Connections of later begin with what was found.
    fn tell_others(&self, env: &mut Env<'_>) {
        if let Some(search) = &self.rare.search {
            env.paths.prove(self.tuple.remote_addr, self.path_mtu, search.high, search.since);
        }
    }

    // ---- routers

    /// The largest packet that is on its way.
    pub(super) fn largest_out(&self) -> u16 {
        let Some(search) = &self.rare.search else { return self.path_mtu };
        let probe = search.out.map_or(0, |probe| probe.size);
        self.path_mtu.max(probe).max(search.doubt.map_or(0, |doubt| doubt.was))
    }

    // RFC 4821 7.6.2-3
    /// A router says that no more passes. If it says so of a probe, that is known to be lost.
    pub(super) fn search_no_more_than(&mut self, most: u16, env: &mut Env<'_>) {
        if env.config.mtu_probing == MtuProbing::Off {
            return;
        }
        let now = env.now;
        let low = most.min(self.path_mtu);
        let search = self.rare.search.get_or_insert_with(|| Box::new(Search::new(low, most, now)));
        if most >= search.high {
            return;
        }
        let refused = search.out.filter(|probe| probe.size > most);
        let (out, doubt) = (search.out.filter(|_| refused.is_none()), search.doubt);
        search.begin_anew(low, most, now);
        search.out = out;
        search.doubt = doubt.map(|doubt| Doubt { was: doubt.was.min(most) });
        // What it names may just pass.
        search.whole_first = most > self.path_mtu;
        if let Some(probe) = refused {
            search.counts.lost += 1;
            env.counters.mtu_probes_lost += 1;
            self.sender.on_mtu_probe_refused(probe.start);
            self.output_due = true;
        }
    }
}
