//! What the connections of a source prefix hold together: one network must not have it all.

use std::net::IpAddr;

use crate::parts::PartsMap;
use crate::slab::{Key, Slab};
use crate::tcp::listen::prefix::prefix_of;

/// No account: there can be no more.
const NOBODYS: u32 = u32::MAX;

/// What a prefix has.
#[derive(Clone, Debug)]
struct Account {
    prefix: u64,
    connections: u32,
    taken: usize,
}

/// An account for each /24 (IPv4) or /64 (IPv6) that has connections, and for no other.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    slab: Slab<Account>,
    by_prefix: PartsMap<u64, Key>,
    /// What is taken on all accounts.
    taken: usize,
    /// What counts as taken for each connection at the least.
    reserve: usize,
}

impl Accounts {
    pub(super) fn new(reserve: usize, secret: [u8; 16]) -> Self {
        Self { slab: Slab::new(), by_prefix: PartsMap::new(secret), taken: 0, reserve }
    }

    /// A connection to `remote` begins. Gives the account that it is on.
    pub(super) fn open(&mut self, remote: IpAddr) -> u32 {
        let (prefix, reserve) = (prefix_of(remote), self.reserve);
        self.taken += reserve;
        if let Some(key) = self.by_prefix.get(&prefix).copied() {
            if let Some(account) = self.slab.get_mut(key) {
                account.connections += 1;
                account.taken += reserve;
            }
            return key.index;
        }
        let Some(key) = self.slab.insert_with(|_| Account { prefix, connections: 1, taken: reserve }) else {
            return NOBODYS;
        };
        self.by_prefix.insert(prefix, key);
        key.index
    }

    /// A connection on this account takes `now` instead of `was`.
    pub(super) fn charge(&mut self, account: u32, was: usize, now: usize) {
        self.taken = self.taken - was + now;
        if let Some(account) = self.slab.at_mut(account) {
            account.taken = account.taken - was + now;
        }
    }

    /// A connection on this account is over, and takes no more than what is set aside for it.
    pub(super) fn close(&mut self, account: u32) {
        self.taken -= self.reserve;
        let Some(key) = self.slab.key_at(account) else { return };
        let Some(account) = self.slab.get_mut(key) else { return };
        account.connections -= 1;
        account.taken -= self.reserve;
        if account.connections == 0 {
            let prefix = account.prefix;
            self.slab.remove(key);
            self.by_prefix.remove(&prefix);
        }
    }

    /// What is taken on all accounts.
    #[inline]
    pub(super) fn all(&self) -> usize {
        self.taken
    }

    /// How many networks have accounts.
    pub(super) fn networks(&self) -> usize {
        self.slab.len()
    }

    pub(super) fn taken(&self, account: u32) -> usize {
        self.slab.at(account).map_or(0, |account| account.taken)
    }

    /// What is taken if one more connection to `remote` begins.
    pub(super) fn taken_with_another(&self, remote: IpAddr) -> usize {
        let key = self.by_prefix.get(&prefix_of(remote));
        self.reserve + key.and_then(|key| self.slab.get(*key)).map_or(0, |account| account.taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_as_old_as_the_oldest_connection_of_its_prefix() {
        const RESERVE: usize = 5000;
        let mut accounts = Accounts::new(RESERVE, [1; 16]);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let one = accounts.open(address("192.0.2.1"));
        assert_eq!(accounts.open(address("192.0.2.200")), one);
        let other = accounts.open(address("2001:db8::1"));
        assert_ne!(one, other);
        accounts.charge(one, RESERVE, RESERVE + 100);
        accounts.charge(one, RESERVE + 100, RESERVE + 50);
        assert_eq!((accounts.taken(one), accounts.taken(other)), (2 * RESERVE + 50, RESERVE));
        assert_eq!(accounts.taken_with_another(address("192.0.2.77")), 3 * RESERVE + 50);
        assert_eq!(accounts.all(), 3 * RESERVE + 50);
        accounts.charge(one, RESERVE + 50, RESERVE);
        accounts.close(one);
        assert_eq!(accounts.slab.at_mut(one).unwrap().connections, 1);
        accounts.close(one);
        accounts.close(other);
        assert_eq!((accounts.slab.len(), accounts.by_prefix.len(), accounts.all()), (0, 0, 0));
    }
}
