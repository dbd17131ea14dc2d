//! The links between the two stacks.

use std::time::Duration;

use bytes::Bytes;
use ropeway_core::packet::IcmpErrorKind;
use ropeway_core::packet::icmp::emit_error;

use super::Pair;

/// What the link does with a packet.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It arrives.
    Deliver,
    /// It is lost.
    Drop,
    /// It arrives twice.
    Duplicate,
    /// It arrives this much later than it should, behind others that were sent after it.
    Late(Duration),
    /// It arrives with this byte changed.
    Corrupt(usize, u8),
    /// This arrives instead.
    Replace(Vec<u8>),
}

/// A link between the ends that takes smaller packets than theirs do.
#[derive(Clone, Copy, Debug)]
pub struct Narrow {
    /// The largest packet in bytes.
    pub mtu: usize,
    /// So many of the router's messages are lost first.
    pub unheard: usize,
}

/// A packet that is about to cross.
#[derive(Debug)]
pub struct Crossing<'a> {
    /// 0 for the first packet of all, whichever way it goes.
    pub number: usize,
    /// 0 for A, 1 for B.
    pub from: usize,
    /// How many went this way before it.
    pub number_this_way: usize,
    /// The packet, from its IP header on.
    pub packet: &'a [u8],
}

impl Pair {
    /// A packet leaves its stack.
    #[track_caller]
    pub(super) fn cross(&mut self, from: usize, packet: Bytes) {
        let wrong = self.watch.as_mut().and_then(|watch| watch.look(&packet));
        let crossing = Crossing {
            number: self.total_crossed(),
            from,
            number_this_way: self.crossed[from],
            packet: &packet,
        };
        let mut fate = (self.fate)(&crossing);
        self.crossed[from] += 1;
        if self.cut {
            fate = Fate::Drop;
        }
        let mut arrives = self.now + self.delay[from].as_micros() as u64;
        if let Some(rate) = self.rate {
            let free = self.wire_free_at[from].max(self.now);
            let waiting = (free - self.now) as u128 * u128::from(rate) / 1_000_000;
            if waiting + packet.len() as u128 > self.queue as u128 {
                fate = Fate::Drop;
            } else {
                self.wire_free_at[from] = free + packet.len() as u64 * 1_000_000 / rate;
                arrives = self.wire_free_at[from] + self.delay[from].as_micros() as u64;
            }
        }
        if let Some(narrow) = &mut self.narrow
            && packet.len() > narrow.mtu
        {
            fate = Fate::Drop;
            if narrow.unheard > 0 {
                narrow.unheard -= 1;
            } else {
                let v6 = packet[0] >> 4 == 6;
                let (router, ends) = if v6 {
                    ("fd00:9::9", ["fd00::1", "fd00::2"])
                } else {
                    ("10.9.9.9", ["10.0.0.1", "10.0.0.2"])
                };
                let kind = IcmpErrorKind::PacketTooBig { mtu: narrow.mtu as u32 };
                let to = ends[from].parse().unwrap();
                let message = emit_error(router.parse().unwrap(), to, kind, &packet, 64);
                self.fly(1 - from, message.into(), arrives);
            }
        }
        let what = match &fate {
            Fate::Deliver => "",
            Fate::Drop => "  LOST",
            Fate::Duplicate => "  TWICE",
            Fate::Late(_) => "  LATE",
            Fate::Corrupt(..) => "  SPOILT",
            Fate::Replace(_) => "  CHANGED",
        };
        self.remember(from, packet.clone(), what);
        if let Some(wrong) = wrong {
            self.fail(&format!("the last packet is wrong: {wrong}"));
        }
        match fate {
            Fate::Deliver => self.fly(from, packet, arrives),
            Fate::Drop => {}
            Fate::Duplicate => {
                self.fly(from, packet.clone(), arrives);
                self.fly(from, packet, arrives);
            }
            Fate::Late(by) => self.fly(from, packet, arrives + by.as_micros() as u64),
            Fate::Replace(changed) => self.fly(from, changed.into(), arrives),
            Fate::Corrupt(at, with) => {
                let mut spoilt = packet.to_vec();
                if let Some(byte) = spoilt.get_mut(at) {
                    *byte ^= with;
                }
                self.fly(from, spoilt.into(), arrives);
            }
        }
    }

    fn fly(&mut self, from: usize, packet: Bytes, arrives: u64) {
        self.order += 1;
        self.in_flight.insert((arrives, self.order), (1 - from, packet));
    }
}
