//! The link heals, and both ends must come to an end that they had a right to.

use std::time::Duration;

use ropeway_core::Stack;

use super::Pair;
use super::world::NAMES;
use crate::story::tell;

/// What a healed conversation needs at most: steps of the clock or of the link.
const LONGEST_END: usize = 600;

impl Pair {
    /// The link is perfect from here on, and the programs read everything and close.
    pub(super) fn heal(&mut self) {
        tell(self.world.now, || "the link heals".into());
        self.world.takes = None;
        for round in 0.. {
            self.finish_programs();
            self.settle();
            if !self.world.link.is_empty() {
                self.world.now += Duration::from_millis(1);
                for (to, packet) in self.world.link.take_all() {
                    self.world.receive(to, packet);
                }
                self.world.expire();
            } else if self.world.deadline().is_some() {
                self.world.next_deadline();
            } else {
                break;
            }
            if round >= LONGEST_END {
                // An old segment has brought a cookie back again, and the connection that it made knows nothing of
                // the bytes that its peer has had: they tell each other so, a hundred times a second, until the
                // ghost gives up.
                let counters = self.world.stacks[1].counters();
                // So does a SYN with data (RFC 7413 2.1).
                let haunted = counters.cookies_accepted > 1 || counters.fast_open_passive > 1;
                let sizes = self.world.stacks.each_ref().map(Stack::sizes);
                assert!(haunted, "no end: {:?} {sizes:?}", self.sides);
                return;
            }
        }
        self.end_datagrams();
        self.judge();
    }

    fn read_all(&mut self, side: usize) {
        loop {
            let before = self.sides[side].read;
            self.recv(side, 100_000);
            if self.sides[side].read == before || self.sides[side].saw_end {
                return;
            }
        }
    }

    fn finish_programs(&mut self) {
        for (side, name) in NAMES.into_iter().enumerate() {
            self.read_all(side);
            let Some(id) = self.sides[side].id.filter(|_| !self.sides[side].left) else { continue };
            if self.world.stacks[side].is_connected(id) {
                self.shutdown(side);
            }
            let own = &mut self.sides[side];
            let over = own.finished || !self.world.stacks[side].is_connected(id);
            if (own.saw_end && over) || own.failed {
                own.left = true;
                tell(self.world.now, || format!("  {name} closes at its end"));
                self.world.stacks[side].close(self.world.now, id);
            }
        }
        // Whom a listener still brings is a ghost of old duplicates: of a cookie, or of a whole handshake.
        if let Some(listener) = self.listener.filter(|_| self.sides[1].left) {
            while let Some((ghost, _)) =
                self.world.stacks[1].accept(self.world.now, listener).expect("a listener")
            {
                self.world.stacks[1].close(self.world.now, ghost);
            }
        }
    }

    fn judge(&mut self) {
        for (side, stack) in self.world.stacks.iter().enumerate() {
            let counters = stack.counters();
            let bad = counters.bad_checksums + counters.malformed_ip + counters.malformed_transport;
            let bad = bad + counters.malformed_options;
            assert!(
                bad <= self.world.link.spoilt(),
                "a stack sends what the other cannot read: {counters:?}"
            );
            let sizes = stack.sizes();
            let held = usize::from(!self.sides[side].left && self.sides[side].id.is_some());
            assert!(
                sizes.connections <= held && sizes.half_open == 0 && sizes.time_wait == 0,
                "{}'s tables are not empty: {sizes:?}, {:?}",
                NAMES[side],
                self.sides
            );
        }
        if self.may_fail() {
            return;
        }
        for side in 0..2 {
            let (own, other) = (&self.sides[side], &self.sides[1 - side]);
            assert!(
                own.left && !own.failed && own.saw_end && own.read == other.written,
                "the link healed, but not the conversation: {:?}",
                self.sides
            );
        }
    }
}
