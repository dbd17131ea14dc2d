//! Rarer things: paths that become narrow, routers, fragments, datagrams, cookies.

use super::Pair;
use super::world::NAMES;
use crate::story::{describe, tell};
use crate::wide::{error_about, is_udp, slowed};

impl Pair {
    /// One of these; `with` says more.
    pub(super) fn odd(&mut self, which: usize, with: u8) {
        let (place, side) = (usize::from(with >> 4), usize::from(with & 1));
        let size = 80 + u16::from(with) * 6;
        match which {
            0 => self.world.takes = Some(usize::from(size)),
            1 => self.world.takes = None,
            2 => self.too_big(place, size, true),
            3 => self.too_big(place, size, false),
            // All of the headers are in the first piece: otherwise it would be refused (RFC 7112, RFC 3128).
            4 => self.world.link.cut(place, 112 + u16::from(with & 15) * 40, false),
            5 => self.world.link.cut(place, 112 + u16::from(with & 15) * 40, true),
            6 => self.world.link.change(place, |packet| slowed(packet, side == 1)),
            7 => {
                let remote = self.world.stacks[1 - side].config().addresses.clone();
                for address in remote {
                    self.world.stacks[side].set_path_mtu(address.address(), size);
                }
            }
            8 => self.say(0, usize::from(with) * 12, (false, false)),
            9 => self.say(1, usize::from(with) * 12, (false, false)),
            10 => self.say(side, usize::from(with) * 12, (with & 2 != 0, with & 4 != 0)),
            11 => self.hear(side),
            12 => self.unreachable(place),
            13 => {
                if let Some(all) = &mut self.datagrams {
                    all.bind(&mut self.world, side);
                }
            }
            14 if with & 2 == 0 => {
                let keys = self.world.stacks[1].fast_open_keys().rotate([with; 16]);
                self.world.stacks[1].set_fast_open_keys(keys);
            }
            14 => self.world.stacks[0].forget_fast_open_cookies(),
            _ => self.world.stacks.iter_mut().for_each(|stack| stack.raise_mtu(stack.config().mtu + 100)),
        }
    }

    /// A router says that a packet is too big: and drops it, or it is a lie.
    fn too_big(&mut self, which: usize, mtu: u16, lost: bool) {
        let Some((to, packet)) = self.world.link.peek(which).cloned() else { return };
        tell(self.world.now, || format!("    no more than {mtu} bytes pass, of {}", describe(&packet)));
        if lost {
            self.world.link.lose(self.world.now, which);
        }
        if let Some(error) = error_about(&packet, Some(mtu.into())) {
            self.world.receive(1 - to, error);
        }
    }

    /// Somebody says that a datagram has no port to go to.
    fn unreachable(&mut self, which: usize) {
        let Some((to, packet)) = self.world.link.peek(which).filter(|(_, packet)| is_udp(packet)).cloned()
        else {
            return;
        };
        tell(self.world.now, || format!("    {} is told that nobody is there", NAMES[1 - to]));
        if let Some(error) = error_about(&packet, None) {
            self.world.receive(1 - to, error);
        }
    }
}
