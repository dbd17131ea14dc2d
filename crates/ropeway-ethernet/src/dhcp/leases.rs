//! Who has which address of the pool, and until when.

use std::net::Ipv4Addr;
use std::time::Duration;

use ropeway_core::Timestamp;

use super::wire::{Client, Message};
use crate::MacAddr;

/// How long an offer is good.
const OFFERED: Duration = Duration::from_secs(60);
/// How long an address that a client has found in use is not given to anybody.
const DECLINED: Duration = Duration::from_secs(600);
/// The most addresses that one station may have, under whichever names.
const MOST_PER_STATION: usize = 8;

/// A place for each address of the pool: so what clients do cannot make it larger.
#[derive(Debug)]
pub(super) struct Leases {
    /// In the order of their addresses.
    places: Vec<Place>,
    lease_time: Duration,
}

#[derive(Debug)]
struct Place {
    address: Ipv4Addr,
    /// Who has it, or had it last.
    holder: Option<(Client, MacAddr)>,
    use_: Use,
    until: Timestamp,
    /// The link has changed since: whoever has it may be gone.
    is_doubtful: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Free,
    Offered,
    Leased,
    /// Somebody else was found to have it.
    Declined,
}

impl Place {
    fn is_free(&self, now: Timestamp) -> bool {
        self.use_ == Use::Free || self.until <= now
    }

    /// A client is its identifier and its station: so nobody gets the address of another by its identifier, which clones of a
    /// virtual machine share.
    fn is_of(&self, message: &Message) -> bool {
        self.holder.as_ref().is_some_and(|(client, mac)| *client == message.client && *mac == message.mac)
    }

    fn give(&mut self, message: &Message, use_: Use, until: Timestamp) -> Ipv4Addr {
        self.holder = Some((message.client.clone(), message.mac));
        (self.use_, self.until, self.is_doubtful) = (use_, until, false);
        self.address
    }
}

impl Leases {
    pub(super) fn new(pool: Vec<Ipv4Addr>, lease_time: Duration) -> Self {
        let place = |address| Place {
            address,
            holder: None,
            use_: Use::Free,
            until: Timestamp::START,
            is_doubtful: false,
        };
        Self { places: pool.into_iter().map(place).collect(), lease_time }
    }

    /// Whose an address is, if it is leased.
    pub(super) fn holder(&self, now: Timestamp, address: Ipv4Addr) -> Option<MacAddr> {
        let at = self.places.binary_search_by_key(&address, |place| place.address).ok()?;
        let place = self.places.get(at)?;
        let (_, mac) = place.holder.as_ref()?;
        (place.use_ == Use::Leased && place.until > now).then_some(*mac)
    }

    /// Finds an address for a client, in the order of RFC 2131 4.3.1: what it has, what it had, what it asks for, any other one.
    pub(super) fn offer(
        &mut self,
        now: Timestamp,
        message: &Message,
        is_taken: impl Fn(Ipv4Addr) -> bool,
    ) -> Option<Ipv4Addr> {
        if let Some(own) = self.places.iter_mut().find(|place| place.is_of(message))
            && own.use_ != Use::Declined
        {
            if !own.is_free(now) && own.use_ == Use::Leased {
                return Some(own.address);
            }
            if !is_taken(own.address) {
                return Some(own.give(message, Use::Offered, now + OFFERED));
            }
        }
        if self.held_by(now, message.mac) >= MOST_PER_STATION {
            return None;
        }
        // The one it asks for, one that nobody had, the one whose last holder has been gone longest; and in need, the oldest whose
        // holder may be gone.
        let rank = |place: &&mut Place| {
            let is_requested = Some(place.address) == message.requested;
            (!place.is_free(now), !is_requested, place.holder.is_some(), place.until, place.address)
        };
        let usable = |place: &&mut Place| place.is_free(now) || place.is_doubtful;
        let all = self.places.iter_mut();
        let place = all.filter(usable).filter(|place| !is_taken(place.address)).min_by_key(rank)?;
        Some(place.give(message, Use::Offered, now + OFFERED))
    }

    /// Gives a client an address that it asks for, or that it has. Says whether it may have it.
    pub(super) fn lease(
        &mut self,
        now: Timestamp,
        message: &Message,
        wanted: Ipv4Addr,
        is_taken: impl Fn(Ipv4Addr) -> bool,
    ) -> bool {
        let held = self.held_by(now, message.mac);
        let until = now + self.lease_time;
        let Some(place) = self.places.iter_mut().find(|place| place.address == wanted) else { return false };
        let is_own = place.is_of(message) && place.use_ != Use::Declined;
        let may_have = is_own || place.is_free(now) && held < MOST_PER_STATION;
        if !may_have || is_taken(wanted) {
            return false;
        }
        place.give(message, Use::Leased, until);
        // It has one address, and no more.
        for other in &mut self.places {
            if other.address != wanted && other.is_of(message) {
                (other.use_, other.until) = (Use::Free, now);
                other.holder = None;
            }
        }
        true
    }

    /// Other hosts may be on the link now: whoever does not say that it is still there loses its address where others need one.
    pub(super) fn link_changed(&mut self) {
        self.places.iter_mut().for_each(|place| place.is_doubtful = true);
    }

    /// The client has found that somebody else has the address.
    pub(super) fn decline(&mut self, now: Timestamp, message: &Message, address: Ipv4Addr) {
        if let Some(place) = self.of(message, address) {
            (place.use_, place.until) = (Use::Declined, now + DECLINED);
            place.holder = None;
        }
    }

    /// The client needs the address no more. It gets it again if nobody else does before.
    pub(super) fn release(&mut self, now: Timestamp, message: &Message, address: Ipv4Addr) {
        if let Some(place) = self.of(message, address) {
            (place.use_, place.until) = (Use::Free, now);
        }
    }

    /// The client has taken what another server offered.
    pub(super) fn withdraw(&mut self, message: &Message) {
        for place in &mut self.places {
            if place.is_of(message) && place.use_ == Use::Offered {
                place.use_ = Use::Free;
            }
        }
    }

    /// An address that this client has, from the station that got it.
    fn of(&mut self, message: &Message, address: Ipv4Addr) -> Option<&mut Place> {
        let place = self.places.iter_mut().find(|place| place.address == address)?;
        (place.is_of(message) && matches!(place.use_, Use::Offered | Use::Leased)).then_some(place)
    }

    fn held_by(&self, now: Timestamp, mac: MacAddr) -> usize {
        let holds = |place: &&Place| {
            !place.is_free(now) && place.holder.as_ref().is_some_and(|(_, held)| *held == mac)
        };
        self.places.iter().filter(holds).count()
    }
}
