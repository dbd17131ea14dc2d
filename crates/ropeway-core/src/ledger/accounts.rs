//! What the connections of a source prefix hold together: one network must not have it all.

use std::net::IpAddr;

use crate::parts::PartsMap;
use crate::slab::{Key, Slab};
use crate::tcp::listen::prefix::prefix_of;

/// What a prefix has.
#[derive(Clone, Debug)]
struct Account {
    prefix: u64,
    connections: u32,
    held: usize,
}

/// An account for each /24 (IPv4) or /64 (IPv6) that has connections, and for no other.
#[derive(Clone, Debug)]
pub(super) struct Accounts {
    slab: Slab<Account>,
    by_prefix: PartsMap<u64, Key>,
}

impl Accounts {
    pub(super) fn new(secret: [u8; 16]) -> Self {
        Self { slab: Slab::new(), by_prefix: PartsMap::new(secret) }
    }

    /// A connection to `remote` begins. Gives the account that it is on.
    pub(super) fn open(&mut self, remote: IpAddr) -> u32 {
        let prefix = prefix_of(remote);
        if let Some(key) = self.by_prefix.get(&prefix).copied() {
            if let Some(account) = self.slab.get_mut(key) {
                account.connections += 1;
            }
            return key.index;
        }
        let Some(key) = self.slab.insert_with(|_| Account { prefix, connections: 1, held: 0 }) else {
            return u32::MAX;
        };
        self.by_prefix.insert(prefix, key);
        key.index
    }

    /// A connection on this account holds `now` instead of `was`.
    pub(super) fn charge(&mut self, account: u32, was: usize, now: usize) {
        if let Some(account) = self.at_mut(account) {
            account.held = account.held - was + now;
        }
    }

    /// A connection on this account is over.
    pub(super) fn close(&mut self, account: u32) {
        let Some(key) = self.slab.key_at(account) else { return };
        let Some(account) = self.slab.get_mut(key) else { return };
        account.connections -= 1;
        if account.connections == 0 {
            let prefix = account.prefix;
            self.slab.remove(key);
            self.by_prefix.remove(&prefix);
        }
    }

    fn at_mut(&mut self, account: u32) -> Option<&mut Account> {
        let key = self.slab.key_at(account)?;
        self.slab.get_mut(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_as_old_as_the_oldest_connection_of_its_prefix() {
        let mut accounts = Accounts::new([1; 16]);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let one = accounts.open(address("192.0.2.1"));
        assert_eq!(accounts.open(address("192.0.2.200")), one);
        let other = accounts.open(address("2001:db8::1"));
        assert_ne!(one, other);
        accounts.charge(one, 0, 100);
        accounts.charge(one, 60, 10);
        assert_eq!(accounts.at_mut(one).unwrap().held, 50);
        accounts.close(one);
        assert_eq!(accounts.at_mut(one).unwrap().connections, 1);
        accounts.close(one);
        accounts.close(other);
        assert_eq!((accounts.slab.len(), accounts.by_prefix.len()), (0, 0));
    }
}
