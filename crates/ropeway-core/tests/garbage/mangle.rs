//! Packets, mangled: a few bytes are changed, and what lies deeper is reached all the same.

use ropeway_core::packet::{Checksum, Protocol, checksum, ip};

use crate::bytes;
use crate::common::*;

/// Makes the checksums of a mangled packet right, as far as it still has any.
pub(super) fn fix(packet: &mut [u8]) {
    if packet.first().is_some_and(|byte| byte >> 4 == 4)
        && packet.len() >= usize::from(packet[0] & 15) * 4
        && packet[0] & 15 >= 5
    {
        fix_ip_checksum(packet);
    }
    let Ok(ip) = ip::parse(packet) else { return };
    let at = match ip.protocol {
        Protocol::TCP => 16,
        Protocol::UDP => 6,
        Protocol::ICMP | Protocol::ICMPV6 => 2,
        _ => return,
    };
    let upper = ip.payload.clone();
    if upper.len() < at + 2 {
        return;
    }
    packet[upper.start + at..upper.start + at + 2].fill(0);
    let mut sum = if ip.protocol == Protocol::ICMP {
        Checksum::new()
    } else {
        checksum::pseudo_header(ip.src, ip.dst, ip.protocol, upper.len() as u32)
    };
    sum.add_bytes(&packet[upper.clone()]);
    let sum = sum.finish().to_be_bytes();
    packet[upper.start + at..upper.start + at + 2].copy_from_slice(&sum);
}

/// Changes a packet in a few places, mostly with right checksums.
pub(super) fn mutate(random: &mut Random, packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    for _ in 0..1 + random.below(4) {
        if packet.is_empty() {
            break;
        }
        let at = random.below(packet.len().min(100) as u64) as usize;
        match random.below(8) {
            0 => packet[at] = random.next() as u8,
            1 => packet[at] ^= 1 << random.below(8),
            2 => packet.truncate(at),
            3 => packet.extend(bytes(random, at)),
            4 => packet[at] = 0,
            5 => packet[at] = 0xff,
            6 => {
                packet.remove(at);
            }
            _ => packet.insert(at, random.next() as u8),
        }
    }
    if random.chance(50) && packet.len() >= 40 {
        // Lengths that are right again, so that what lies deeper is reached.
        let len = packet.len() as u16;
        if packet[0] >> 4 == 4 {
            packet[2..4].copy_from_slice(&len.to_be_bytes());
        } else if packet[0] >> 4 == 6 {
            packet[4..6].copy_from_slice(&(len - 40).to_be_bytes());
        }
    }
    if random.chance(85) {
        fix(&mut packet);
    }
    packet
}
