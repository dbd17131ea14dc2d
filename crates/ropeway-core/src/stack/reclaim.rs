//! Memory is scarce: connections that nothing touches are asked, too, for what they need not keep.

use super::Stack;
use crate::slab::{Key, Slab};
use crate::tcp::connection::{Connection, Env};
use crate::time::Timestamp;

/// Whoever comes while memory is scarce looks at so many others.
const LOOKS: usize = 4;

/// Who is looked at next.
#[derive(Clone, Debug, Default)]
pub(super) struct Reclaim {
    /// The page to go on from.
    page: u32,
    /// Of the page before, who has not been looked at.
    keys: Vec<Key>,
}

impl Reclaim {
    fn next(&mut self, connections: &Slab<Box<Connection>>) -> Option<Key> {
        if self.keys.is_empty() {
            let (keys, next) = connections.keys_from(self.page, 1);
            (self.keys, self.page) = (keys, next.unwrap_or(0));
        }
        self.keys.pop()
    }
}

impl Stack {
    /// Looks at a few connections while memory is scarce, all of them in turn. Measures take effect where a connection is
    /// touched; a peer that has fallen silent would never be.
    pub(super) fn reclaim(&mut self, now: Timestamp) {
        let held = self.ledger.memory();
        let has_some = self.orphans > 0 || held.reassembly + held.fragments + held.spare > 0;
        if !has_some || !self.ledger.is_scarce() {
            return;
        }
        self.spares.slabs.shrink();
        self.shed_fragments();
        for _ in 0..LOOKS {
            let Some(key) = self.reclaim.next(&self.rooms.connections) else { return };
            let Some(connection) = self.rooms.connections.get_mut(key) else { continue };
            let pressure = self.ledger.pressure(&connection.scheduled.charged);
            let mut env = Env::new(
                now,
                &self.config,
                pressure,
                &mut self.counters,
                self.handed,
                &mut self.spares,
                &mut self.path_mtu,
            );
            connection.renege_if_scarce(&mut env);
            self.settle(key, now);
        }
    }
}
