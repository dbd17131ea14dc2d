//! Who on the link has which address: the states of RFC 4861 7.3.2, for IPv6 and for IPv4.
//!
//! Entries are made by those who ask for us, and by our own questions; packets make none, and answers that nobody asked for neither.
//! A message that gives the address of one station to another is not believed before the first has been asked, and is silent: so
//! whoever forges such messages moves nothing while the owner is there.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use ropeway::device::Transmit;
use ropeway_core::Timestamp;

use crate::MacAddr;
use crate::counters::Counts;
use crate::random::Random;

/// The most neighbors that are remembered.
pub(crate) const MOST: usize = 512;
/// How many of them may be looked for at a time.
const MOST_SOUGHT: usize = 64;
/// The most packets that wait for one neighbor, and the most bytes of all that wait.
const MOST_WAITING: usize = 32;
const MOST_WAITING_BYTES: usize = 256 * 1024;
/// How many questions are asked in a second.
const MOST_QUESTIONS: u32 = 64;

/// RFC 4861 10: MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT, RETRANS_TIMER, DELAY_FIRST_PROBE_TIME, REACHABLE_TIME.
const MOST_TRIES: u8 = 3;
const RETRANSMIT: Duration = Duration::from_secs(1);
const DELAY: Duration = Duration::from_secs(5);
const REACHABLE: Duration = Duration::from_secs(30);

/// How long an address that nobody uses is taken to be in use.
const RECENT: Duration = Duration::from_secs(300);

/// A question that is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) about: IpAddr,
    /// Whom to ask; all, if it is not known who has the address.
    pub(crate) whom: Option<MacAddr>,
    /// The source of the packet that needs the answer.
    pub(crate) on_behalf_of: Option<IpAddr>,
}

/// What the table wants done.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) questions: Vec<Question>,
    /// Packets that have waited, and where they go now.
    pub(crate) found: Vec<(MacAddr, Transmit)>,
    /// Packets that nobody can be found for, and the next hop of each.
    pub(crate) lost: Vec<(IpAddr, Transmit)>,
}

/// What has been heard of a neighbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It has asked for us.
    Asks,
    /// It answers, as it was asked to.
    Answers,
    /// It tells everybody.
    Tells,
}

#[derive(Debug)]
struct Entry {
    mac: Option<MacAddr>,
    state: State,
    /// Another station that says it has the address. It gets it if the first is silent.
    claimant: Option<MacAddr>,
    waiting: VecDeque<Transmit>,
    /// When a packet was sent to it last, or, if none was, when it was heard of first.
    used: Timestamp,
    /// A packet has been sent to it.
    is_used: bool,
    on_behalf_of: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// All are asked who has it.
    Incomplete {
        tries: u8,
        next: Timestamp,
    },
    Reachable {
        until: Timestamp,
    },
    Stale,
    Delay {
        until: Timestamp,
    },
    /// It is asked whether it is there.
    Probe {
        tries: u8,
        next: Timestamp,
    },
}

impl State {
    fn due(self) -> Option<Timestamp> {
        match self {
            Self::Incomplete { next, .. } | Self::Probe { next, .. } => Some(next),
            Self::Reachable { until } | Self::Delay { until } => Some(until),
            Self::Stale => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Neighbors {
    entries: BTreeMap<IpAddr, Entry>,
    waiting_bytes: usize,
    /// Nothing is due before.
    due: Option<Timestamp>,
    /// The second in which questions are counted, and how many it has had.
    second: (u64, u32),
    counts: Counts,
}

impl Neighbors {
    pub(crate) fn new(counts: Counts) -> Self {
        Self { entries: BTreeMap::new(), waiting_bytes: 0, due: None, second: (0, 0), counts }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.due
    }

    /// Who has an address, as far as is known.
    pub(crate) fn station_of(&self, address: IpAddr) -> Option<MacAddr> {
        self.entries.get(&address)?.mac
    }

    /// Who has been seen to have an address lately.
    pub(crate) fn recent_station_of(&self, now: Timestamp, address: IpAddr) -> Option<MacAddr> {
        let entry = self.entries.get(&address)?;
        let is_recent = entry.state != State::Stale || now.since(entry.used) < RECENT;
        entry.mac.filter(|_| is_recent)
    }

    /// How many are known or looked for.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Forgets all: another network may be at the other end now.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        (self.waiting_bytes, self.due) = (0, None);
    }

    // RFC 4861 7.2.2-1
    /// Where a packet goes whose next hop is `hop`. `None` if it waits, or is lost: what it means is in `work`.
    pub(crate) fn resolve(
        &mut self,
        now: Timestamp,
        hop: IpAddr,
        source: Option<IpAddr>,
        packet: &Transmit,
        work: &mut Work,
    ) -> Option<MacAddr> {
        if let Some(entry) = self.entries.get_mut(&hop) {
            (entry.used, entry.is_used) = (now, true);
            if let Some(mac) = entry.mac {
                if entry.state == State::Stale {
                    // RFC 4861 7.3.3-1
                    entry.state = State::Delay { until: now + DELAY };
                    self.is_due(now + DELAY);
                }
                return Some(mac);
            }
        } else {
            if self.sought() >= MOST_SOUGHT && !self.evict(now, true) || !self.make_room(now) {
                self.counts.neighbor_table_full();
                self.counts.unresolved_packets();
                return None;
            }
            let state = State::Incomplete { tries: 0, next: now };
            let entry = Entry::new(None, state, now);
            self.entries.insert(hop, Entry { on_behalf_of: source, is_used: true, ..entry });
            self.wait(hop, packet);
            self.step(now, hop, work);
            return None;
        }
        self.wait(hop, packet);
        None
    }

    /// Keeps a packet until its next hop is known. RFC 4861 7.2.2: the newest is kept.
    fn wait(&mut self, hop: IpAddr, packet: &Transmit) {
        let Some(entry) = self.entries.get_mut(&hop) else { return };
        let len = packet.len();
        while entry.waiting.len() >= MOST_WAITING || self.waiting_bytes + len > MOST_WAITING_BYTES {
            let Some(oldest) = entry.waiting.pop_front() else {
                self.counts.unresolved_packets();
                return;
            };
            self.waiting_bytes -= oldest.len();
            self.counts.unresolved_packets();
        }
        self.waiting_bytes += len;
        entry.waiting.push_back(packet.clone());
    }

    // RFC 826 3-2, RFC 826 3-3, RFC 4861 7.2.3-1, RFC 4861 7.2.5-1
    /// Somebody says that `mac` has `address`. `may_be_new` is whether an entry may be made for it.
    pub(crate) fn hear(
        &mut self,
        now: Timestamp,
        (address, mac): (IpAddr, MacAddr),
        heard: Heard,
        random: &mut Random,
        work: &mut Work,
    ) {
        let Some(entry) = self.entries.get_mut(&address) else {
            match heard {
                Heard::Asks => self.remember(now, address, mac),
                Heard::Answers | Heard::Tells => self.counts.unsolicited_answers(),
            }
            return;
        };
        match entry.mac {
            None => {
                entry.mac = Some(mac);
                let waiting = std::mem::take(&mut entry.waiting);
                self.waiting_bytes -= waiting.iter().map(Transmit::len).sum::<usize>();
                work.found.extend(waiting.into_iter().map(|packet| (mac, packet)));
                match heard {
                    Heard::Answers => self.is_reachable(now, address, random),
                    // It is asked again before long, since packets have just been sent to it.
                    Heard::Asks | Heard::Tells => self.set(address, State::Delay { until: now + DELAY }),
                }
            }
            Some(known) if known == mac => {
                entry.claimant = None;
                let was_asked = matches!(entry.state, State::Probe { tries, .. } if tries > 0);
                if heard == Heard::Answers && was_asked {
                    self.is_reachable(now, address, random);
                }
            }
            Some(_) => {
                self.counts.neighbor_conflicts();
                entry.claimant = Some(mac);
                if !matches!(entry.state, State::Probe { .. }) {
                    entry.state = State::Probe { tries: 0, next: now };
                    self.step(now, address, work);
                }
            }
        }
    }

    /// The address has been given to this station, which is believed without a question.
    pub(crate) fn assign(&mut self, now: Timestamp, address: IpAddr, mac: MacAddr, work: &mut Work) {
        match self.entries.get_mut(&address) {
            None => self.remember(now, address, mac),
            Some(entry) if entry.mac == Some(mac) => entry.claimant = None,
            Some(entry) => {
                (entry.mac, entry.claimant, entry.state) = (Some(mac), None, State::Stale);
                let waiting = std::mem::take(&mut entry.waiting);
                self.waiting_bytes -= waiting.iter().map(Transmit::len).sum::<usize>();
                work.found.extend(waiting.into_iter().map(|packet| (mac, packet)));
            }
        }
    }

    fn remember(&mut self, now: Timestamp, address: IpAddr, mac: MacAddr) {
        if !self.make_room(now) {
            self.counts.neighbor_table_full();
            return;
        }
        self.entries.insert(address, Entry::new(Some(mac), State::Stale, now));
    }

    fn is_reachable(&mut self, now: Timestamp, address: IpAddr, random: &mut Random) {
        // RFC 4861 6.3.2: between a half and one and a half of it, so that neighbors are not asked all at once.
        let factor = 512 + random.below(1025);
        let until = now + REACHABLE * factor / 1024;
        self.set(address, State::Reachable { until });
    }

    fn set(&mut self, address: IpAddr, state: State) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.state = state;
        }
        if let Some(due) = state.due() {
            self.is_due(due);
        }
    }

    fn is_due(&mut self, at: Timestamp) {
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    pub(crate) fn handle_timeout(&mut self, now: Timestamp, work: &mut Work) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let is_due = |entry: &Entry| entry.state.due().is_some_and(|due| due <= now);
        let due: Vec<IpAddr> =
            self.entries.iter().filter(|(_, entry)| is_due(entry)).map(|(address, _)| *address).collect();
        for address in due {
            self.step(now, address, work);
        }
        self.due = self.entries.values().filter_map(|entry| entry.state.due()).min();
    }

    // RFC 4861 7.2.2-2, RFC 4861 7.3.3-2
    /// The time of an entry is over, or it has just begun.
    fn step(&mut self, now: Timestamp, address: IpAddr, work: &mut Work) {
        let Some(entry) = self.entries.get(&address) else { return };
        let (mac, on_behalf_of) = (entry.mac, entry.on_behalf_of);
        match entry.state {
            State::Stale => {}
            State::Reachable { .. } => self.set(address, State::Stale),
            State::Delay { .. } => {
                self.set(address, State::Probe { tries: 0, next: now });
                self.step(now, address, work);
            }
            State::Incomplete { tries, .. } | State::Probe { tries, .. } if tries >= MOST_TRIES => {
                self.give_up(address, work);
            }
            State::Incomplete { tries, .. } => {
                let tries = tries + u8::from(self.ask(now, address, None, on_behalf_of, work));
                self.set(address, State::Incomplete { tries, next: now + RETRANSMIT });
            }
            State::Probe { tries, .. } => {
                let tries = tries + u8::from(self.ask(now, address, mac, None, work));
                self.set(address, State::Probe { tries, next: now + RETRANSMIT });
            }
        }
    }

    /// Nobody has answered.
    fn give_up(&mut self, address: IpAddr, work: &mut Work) {
        let Some(entry) = self.entries.get_mut(&address) else { return };
        if let Some(claimant) = entry.claimant.take() {
            tracing::debug!(%address, station = %claimant, "the station that had the address is gone");
            (entry.mac, entry.state) = (Some(claimant), State::Stale);
            return;
        }
        if let Some(entry) = self.entries.remove(&address) {
            self.counts.unresolved();
            self.waiting_bytes -= entry.waiting.iter().map(Transmit::len).sum::<usize>();
            entry.waiting.iter().for_each(|_| self.counts.unresolved_packets());
            work.lost.extend(entry.waiting.into_iter().map(|packet| (address, packet)));
        }
    }

    /// Asks, if not too much has been asked in this second.
    fn ask(
        &mut self,
        now: Timestamp,
        about: IpAddr,
        whom: Option<MacAddr>,
        on_behalf_of: Option<IpAddr>,
        work: &mut Work,
    ) -> bool {
        let second = now.as_millis() / 1000;
        if self.second.0 != second {
            self.second = (second, 0);
        }
        if self.second.1 >= MOST_QUESTIONS {
            self.counts.solicitations_limited();
            return false;
        }
        self.second.1 += 1;
        work.questions.push(Question { about, whom, on_behalf_of });
        true
    }

    fn sought(&self) -> usize {
        self.entries.values().filter(|entry| entry.mac.is_none()).count()
    }

    fn make_room(&mut self, now: Timestamp) -> bool {
        self.entries.len() < MOST || self.evict(now, false)
    }

    /// Forgets an entry: one to which no packet was ever sent, or that is looked for in vain, or that has not been used for longest.
    /// None is forgotten that was used within the last minute, unless it is only looked for.
    fn evict(&mut self, now: Timestamp, only_sought: bool) -> bool {
        let rank = |entry: &Entry| (entry.is_used, entry.mac.is_some(), entry.used);
        let can_go = |entry: &Entry| match entry.mac {
            None => true,
            Some(_) => !only_sought && (!entry.is_used || now.since(entry.used) >= Duration::from_secs(60)),
        };
        let worst =
            self.entries.iter().filter(|(_, entry)| can_go(entry)).min_by_key(|(_, entry)| rank(entry));
        let Some(address) = worst.map(|(address, _)| *address) else { return false };
        if let Some(entry) = self.entries.remove(&address) {
            self.waiting_bytes -= entry.waiting.iter().map(Transmit::len).sum::<usize>();
            entry.waiting.iter().for_each(|_| self.counts.unresolved_packets());
        }
        self.counts.evicted_neighbors();
        true
    }
}

impl Entry {
    fn new(mac: Option<MacAddr>, state: State, now: Timestamp) -> Self {
        Self {
            mac,
            state,
            claimant: None,
            waiting: VecDeque::new(),
            used: now,
            is_used: false,
            on_behalf_of: None,
        }
    }
}
