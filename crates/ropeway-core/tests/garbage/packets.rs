//! Packets that mean nothing, packets with one extreme in them, and far too many packets.

use ropeway_core::SendFlags;

use crate::common::*;
use crate::mangle::fix;
use crate::{bytes, soak};

#[test]
fn random_bytes_do_nothing() {
    let mut random = Random::new(1);
    let mut lab = Lab::new();
    lab.silent = true;
    lab.listen();
    for _ in 0..50_000 * soak() {
        let len = random.below(120) as usize;
        let mut packet = bytes(&mut random, len);
        if len > 0 && random.chance(80) {
            packet[0] = if random.chance(50) { 0x45 } else { 0x60 };
            fix(&mut packet);
        }
        lab.inject(packet);
        lab.drain();
    }
    lab.assert_empty();
}

/// Every field of every segment of a handshake and a transfer takes every interesting value.
#[test]
fn each_field_takes_each_extreme() {
    for at in 20..40 {
        for value in [0, 1, 0x7f, 0x80, 0xfe, 0xff] {
            for step in 0..4 {
                let mut lab = Lab::new();
                lab.silent = true;
                let listener = lab.listen();
                let segs = [syn().mss(1460), ack(), data(b"hello"), fin()];
                for (n, seg) in segs.into_iter().enumerate() {
                    let mut packet = lab.packet(&seg);
                    if n == step {
                        packet[at] = value;
                        fix(&mut packet);
                    }
                    lab.inject(packet);
                    lab.drain();
                }
                if let Ok(Some((id, _))) = lab.stack.accept(lab.ts(), listener) {
                    let _ = lab.stack.recv(lab.ts(), id, 100);
                    let _ = lab.stack.send(lab.ts(), id, &[0; 3000], SendFlags::default());
                    lab.drain();
                    lab.close(id);
                }
                lab.run_to(secs(300));
                lab.drain();
            }
        }
    }
}

/// Answers to a flood of a thousand packets in one go are bounded.
#[test]
fn a_flood_is_not_amplified() {
    let mut lab = Lab::new();
    lab.silent = true;
    lab.listen_with(10, |_| {});
    for n in 0..50_000u32 {
        lab.switch(1000 + (n % 60_000) as u16);
        lab.input(syn().mss(1460));
    }
    assert!(lab.drain().len() <= 1024);
    lab.run_to(secs(200));
    // Reaped, and at most what the backlog holds was sent again.
    assert!(lab.drain().len() <= 60);
    lab.assert_empty();
}
