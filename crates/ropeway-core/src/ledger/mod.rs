//! What is held in memory, by kind, and how much more there may be.
//!
//! It is kept by differences. A connection remembers what it was charged with, and wherever a touch of it ends
//! (`Stack::settle`) the difference to what it holds now is booked. So all of it can be read at any time, and nothing is ever
//! added up.

mod accounts;
mod budget;
mod charge;
mod floor;
mod pressure;

use std::net::IpAddr;
use std::ops::AddAssign;

use self::accounts::Accounts;
use self::budget::Budget;
pub(crate) use self::charge::{Charge, Charged};
pub(crate) use self::floor::{Floor, reserve};
pub(crate) use self::pressure::{Growth, Measure, Pressure};

/// What a stack holds in memory at a moment, in bytes, by what it holds it for.
///
/// What a packet keeps alive is counted as a whole. Memory that the application owns is not counted: what it has read, and what
/// its own tasks and buffers take.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use ropeway_core::{SocketOptions, Stack, StackConfig, Timestamp};
///
/// let now = Timestamp::from_micros(1_000_000);
/// let mut stack = Stack::new(Arc::new(StackConfig::default()), [7; 32], now);
/// let idle = stack.memory().total();
/// let client = stack.connect(now, None, "127.0.0.1:80".parse()?, SocketOptions::default())?;
/// stack.send(now, client, &[0; 10_000], Default::default())?;
/// assert!(stack.memory().send >= 10_000);
/// stack.abort(now, client);
/// stack.close(now, client);
/// assert_eq!(stack.memory().total(), idle);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUse {
    /// Written, and not acknowledged by the peer. Of what `send_bytes` has taken only the length is known: a slice keeps all
    /// that it was cut from alive.
    pub send: usize,
    /// Received in order, and not read.
    pub receive: usize,
    /// Received, and cannot be read yet: it lies beyond a gap, or came with a SYN.
    pub reassembly: usize,
    /// What connections are besides what they hold of the streams: state, timers, the record of what is in flight; and the
    /// tasks that wait for them, as far as the stack was told ([`set_waiters`](crate::Stack::set_waiters)).
    pub records: usize,
    /// The SYN queue.
    pub half_open: usize,
    /// TIME-WAIT.
    pub time_wait: usize,
    /// Cookies that servers gave us for Fast Open (RFC 7413), and what else is known of these servers.
    pub cookies: usize,
    /// Datagrams that UDP sockets have received and nobody has read, and these sockets themselves; packets that were diverted and
    /// nobody has taken.
    pub datagrams: usize,
    /// IP fragments that wait for the others of their datagrams.
    pub fragments: usize,
    /// Packets that wait to leave and belong to no connection, and those on their way between our own addresses.
    pub waiting: usize,
    /// What devices keep to read packets to, as far as the stack was told ([`set_slabs`](crate::Stack::set_slabs)). A part
    /// of it may hold data that is counted above, too.
    pub slabs: usize,
    /// What bulk data was written to that has arrived, kept for the next.
    pub spare: usize,
    /// What all of it may come to ([`memory_budget`](crate::StackConfig::memory_budget)).
    pub budget: usize,
    /// What was drawn from the budget so far, in leases of 256 KiB.
    pub leased: usize,
}

impl MemoryUse {
    /// All that is held.
    #[must_use]
    pub fn total(&self) -> usize {
        let streams = self.send + self.receive + self.reassembly;
        let tables = self.half_open + self.time_wait + self.cookies;
        let kept = self.slabs + self.spare;
        streams + self.records + tables + self.datagrams + self.fragments + self.waiting + kept
    }

    /// A connection that held `was` holds `now`.
    fn change(&mut self, was: &Charge, now: &Charge) {
        let change = |kind: &mut usize, was: u32, now: u32| *kind = *kind + now as usize - was as usize;
        change(&mut self.send, was.send, now.send);
        change(&mut self.receive, was.receive, now.receive);
        change(&mut self.reassembly, was.reassembly, now.reassembly);
        change(&mut self.records, was.records, now.records);
    }
}

impl AddAssign for MemoryUse {
    /// Adds what another [shard](crate::Stack::shards) holds. They have one budget.
    fn add_assign(&mut self, other: Self) {
        let Self {
            send,
            receive,
            reassembly,
            records,
            half_open,
            time_wait,
            cookies,
            datagrams,
            fragments,
            waiting,
            slabs,
            spare,
            budget: _,
            leased,
        } = other;
        self.send += send;
        self.receive += receive;
        self.reassembly += reassembly;
        self.records += records;
        self.half_open += half_open;
        self.time_wait += time_wait;
        self.cookies += cookies;
        self.datagrams += datagrams;
        self.fragments += fragments;
        self.waiting += waiting;
        self.slabs += slabs;
        self.spare += spare;
        self.leased += leased;
    }
}

/// What a stack holds, and whom for.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    budget: Budget,
    used: MemoryUse,
    /// What of it belongs to no connection: all but the streams and the records.
    besides: usize,
    /// What of the records is tasks that wait.
    waiters: usize,
    /// What is set aside for each connection.
    reserve: usize,
    accounts: Accounts,
}

impl Ledger {
    /// `reserve`: so much is set aside for what each connection may hold of the streams.
    pub(crate) fn new(budget: usize, reserve: usize, secret: [u8; 16]) -> Self {
        let used = MemoryUse { budget, ..MemoryUse::default() };
        Self {
            budget: Budget::new(budget),
            used,
            besides: 0,
            waiters: 0,
            reserve,
            accounts: Accounts::new(reserve, secret),
        }
    }

    /// Draws from the budget of another from now on. Nothing is held yet.
    pub(crate) fn share_budget(&mut self, other: &Self) {
        self.budget = other.budget.share();
    }

    pub(crate) fn memory(&self) -> MemoryUse {
        self.used
    }

    /// A connection to `remote` begins.
    pub(crate) fn open(&mut self, remote: IpAddr) -> Charged {
        Charged { account: self.accounts.open(remote), ..Charged::default() }
    }

    /// A connection holds this now.
    #[inline]
    pub(crate) fn charge(&mut self, charged: &mut Charged, holds: Charge) {
        if charged.last != holds {
            self.book(charged, holds);
        }
    }

    fn book(&mut self, charged: &mut Charged, holds: Charge) {
        let was = std::mem::replace(&mut charged.last, holds);
        self.used.change(&was, &holds);
        self.accounts.charge(charged.account, was.taken(self.reserve), holds.taken(self.reserve));
        self.balance();
    }

    /// A connection is over, and holds nothing any more.
    pub(crate) fn close(&mut self, mut charged: Charged) {
        self.charge(&mut charged, Charge::default());
        self.accounts.close(charged.account);
    }

    /// How scarce memory is for a connection.
    #[inline]
    pub(crate) fn pressure(&self, charged: &Charged) -> Pressure {
        let left = self.left();
        if self.is_plenty(self.accounts.all(), left) {
            return Pressure::none(left);
        }
        let taken = self.accounts.taken(charged.account);
        Pressure::new(taken, self.left_for(taken, left))
    }

    /// How scarce memory is for one more connection to `remote`.
    pub(crate) fn pressure_towards(&self, remote: IpAddr) -> Pressure {
        let left = self.left().saturating_sub(self.reserve);
        if self.is_plenty(self.accounts.all() + self.reserve, left) {
            return Pressure::none(left);
        }
        let taken = self.accounts.taken_with_another(remote);
        Pressure::new(taken, self.left_for(taken, left))
    }

    /// Whether so much is left that it is scarce for none of the networks, which have taken `all` together: so nobody has to ask
    /// what one of them has taken.
    #[inline]
    fn is_plenty(&self, all: usize, left: usize) -> bool {
        all < left && left >= 2 * self.kept()
    }

    /// What is kept for whoever has little.
    #[inline]
    fn kept(&self) -> usize {
        self.used.budget / 8
    }

    /// How much of what is left a network may have that has taken so much. When a quarter of the budget is left, all of it;
    /// the less there is, the more it is measured by an equal share, and by nothing else from an eighth on. So that eighth is
    /// there for whoever has little. The share goes down with what is left of it: something remains for those who come later.
    fn left_for(&self, taken: usize, left: usize) -> usize {
        let kept = self.kept();
        if left >= 2 * kept {
            return left;
        }
        let equal = self.used.budget / self.accounts.networks().max(1);
        let level = part(equal, left.min(kept), kept);
        let share = level.saturating_sub(taken).min(left);
        share + part(left - share, left.saturating_sub(kept), kept)
    }

    /// Whether so little is left that somebody's [measures](Measure) may call for what connections hold already.
    pub(crate) fn is_scarce(&self) -> bool {
        // Of a budget that one network has alone, the first of them begins there.
        self.left() / (16 - Measure::DropBeyond as usize) <= self.used.budget / 16
    }

    /// What is neither held nor set aside.
    #[inline]
    pub(crate) fn left(&self) -> usize {
        (self.budget.rest() + self.used.leased).saturating_sub(self.spoken_for())
    }

    /// What is held or set aside. For each connection as much is set aside as it holds, at least.
    #[inline]
    fn spoken_for(&self) -> usize {
        self.besides + self.waiters + self.accounts.all()
    }

    /// What the tables take now: the SYN queue, and TIME-WAIT.
    pub(crate) fn set_tables(&mut self, half_open: usize, time_wait: usize) {
        self.set(|used| &mut used.half_open, half_open);
        self.set(|used| &mut used.time_wait, time_wait);
    }

    /// What is known of servers takes this now.
    pub(crate) fn set_cookies(&mut self, cookies: usize) {
        self.set(|used| &mut used.cookies, cookies);
    }

    /// What UDP sockets have received takes this now.
    pub(crate) fn set_datagrams(&mut self, datagrams: usize) {
        self.set(|used| &mut used.datagrams, datagrams);
    }

    /// What fragments take that wait for others.
    pub(crate) fn set_fragments(&mut self, fragments: usize) {
        self.set(|used| &mut used.fragments, fragments);
    }

    pub(crate) fn set_slabs(&mut self, slabs: usize) {
        self.set(|used| &mut used.slabs, slabs);
    }

    /// What is kept for those who will write.
    #[inline]
    pub(crate) fn set_spare(&mut self, spare: usize) {
        self.set(|used| &mut used.spare, spare);
    }

    /// What packets take that wait to leave.
    #[inline]
    pub(crate) fn set_waiting(&mut self, waiting: usize) {
        self.set(|used| &mut used.waiting, waiting);
    }

    /// What one kind that belongs to no connection takes now.
    #[inline]
    fn set(&mut self, kind: impl FnOnce(&mut MemoryUse) -> &mut usize, bytes: usize) {
        let kind = kind(&mut self.used);
        if *kind != bytes {
            self.besides = self.besides - *kind + bytes;
            *kind = bytes;
            self.balance();
        }
    }

    /// What the tasks take that wait.
    pub(crate) fn set_waiters(&mut self, waiters: usize) {
        if self.waiters != waiters {
            self.used.records = self.used.records - self.waiters + waiters;
            self.waiters = waiters;
            self.balance();
        }
    }

    /// Draws leases for what is held or set aside, or gives back what is not needed for it.
    #[inline]
    fn balance(&mut self) {
        debug_assert!(self.used.total() <= self.spoken_for());
        self.used.leased = self.budget.settle(self.used.leased, self.spoken_for());
    }
}

/// So many parts of `bytes`, of which there are `all`.
fn part(bytes: usize, parts: usize, all: usize) -> usize {
    let product = bytes as u128 * parts as u128;
    usize::try_from(product / all.max(1) as u128).unwrap_or(bytes)
}
