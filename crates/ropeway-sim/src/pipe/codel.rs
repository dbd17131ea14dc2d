//! CoDel (RFC 8289), with ECN.

use bytes::{Bytes, BytesMut};

use super::Micros;
use crate::link::CoDel;

/// What CoDel says about the packet at the head of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Send,
    /// Drop it, or mark it.
    Congested,
}

/// The state of the algorithm, by the names of RFC 8289 5.
#[derive(Debug, Default)]
pub(super) struct CoDelState {
    /// When packets will have waited too long for a whole interval.
    first_above_time: Option<Micros>,
    /// When to drop the next packet.
    drop_next: Micros,
    /// Packets dropped since the dropping began.
    count: u64,
    lastcount: u64,
    dropping: bool,
}

/// RFC 8289 4.2: a queue that holds less than this is never too long.
const MAXPACKET: usize = 1500;

impl CoDelState {
    /// RFC 8289 5.5, `dequeue`, for the packet that has waited so long while the queue holds so many bytes. To be
    /// called again for the next packet if this one is dropped.
    pub(super) fn judge(&mut self, settings: &CoDel, now: Micros, waited: Micros, bytes: usize) -> Verdict {
        let ok_to_drop = self.ok_to_drop(settings, now, waited, bytes);
        if self.dropping {
            if !ok_to_drop {
                self.dropping = false;
            } else if now >= self.drop_next {
                self.count += 1;
                self.drop_next = control_law(settings, self.drop_next, self.count);
                return Verdict::Congested;
            }
        } else if ok_to_drop {
            self.dropping = true;
            // RFC 8289 5.5: dropped not long ago, it starts with the rate that controlled the queue then.
            let delta = self.count - self.lastcount;
            let recently = now.saturating_sub(self.drop_next) < 16 * micros(settings.interval);
            self.count = if delta > 1 && recently { delta } else { 1 };
            self.drop_next = control_law(settings, now, self.count);
            self.lastcount = self.count;
            return Verdict::Congested;
        }
        Verdict::Send
    }

    /// The queue is empty.
    pub(super) fn emptied(&mut self) {
        self.first_above_time = None;
        self.dropping = false;
    }

    fn ok_to_drop(&mut self, settings: &CoDel, now: Micros, waited: Micros, bytes: usize) -> bool {
        if waited < micros(settings.target) || bytes <= MAXPACKET {
            self.first_above_time = None;
            return false;
        }
        let due = *self.first_above_time.get_or_insert(now + micros(settings.interval));
        now >= due
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "microseconds of an interval"
)]
fn control_law(settings: &CoDel, t: Micros, count: u64) -> Micros {
    t + (micros(settings.interval) as f64 / (count as f64).sqrt()) as Micros
}

fn micros(duration: std::time::Duration) -> Micros {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX >> 8)
}

/// The packet with Congestion Experienced set, if it is from an ECN-capable transport (RFC 3168 5).
pub(super) fn mark(packet: &Bytes) -> Option<Bytes> {
    let first = packet.first().copied()?;
    let mut bytes = BytesMut::from(packet.as_ref());
    let marked = match first >> 4 {
        4 => mark_v4(&mut bytes),
        6 => mark_v6(&mut bytes),
        _ => false,
    };
    marked.then(|| bytes.freeze())
}

fn mark_v4(bytes: &mut [u8]) -> bool {
    let Some([_, tos, .., sum_hi, sum_lo]) = bytes.get_mut(..12) else { return false };
    if *tos & 3 == 0 {
        return false;
    }
    let old = u16::from_be_bytes([0x45, *tos]);
    *tos |= 3;
    let new = u16::from_be_bytes([0x45, *tos]);
    // RFC 1624: HC' = ~(~HC + ~m + m').
    let sum = !u16::from_be_bytes([*sum_hi, *sum_lo]);
    let mut sum = u32::from(sum) + u32::from(!old) + u32::from(new);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    [*sum_hi, *sum_lo] = (!u16::try_from(sum).unwrap_or_default()).to_be_bytes();
    true
}

fn mark_v6(bytes: &mut [u8]) -> bool {
    // The lower two bits of the traffic class stand in the upper half of the second byte.
    let Some(byte) = bytes.get_mut(1) else { return false };
    if *byte & 0x30 == 0 {
        return false;
    }
    *byte |= 0x30;
    true
}
