//! Beyond half of the sequence space, where a number that was remembered too long is taken for a later one.

use bytes::Bytes;
use ropeway_core::{Received, RxChecksum};

use crate::common::*;

/// After 2^31 bytes without a loss, the marks of old losses lie in the future if nobody moves them on.
#[test]
fn fast_retransmit_still_works_after_two_gigabytes() {
    let mut lab = Lab::with(|config| {
        config.mtu = u16::MAX;
        config.tx_checksum_offload = true;
        config.max_window = 1 << 30;
    });
    lab.silent = true;
    let listener = lab.listen_with(16, |options| options.send_buffer = 256 << 20);
    lab.send(syn().mss(65_495).ws(14));
    lab.collect();
    // With the checksum left to the device, the lab cannot verify what it sees.
    let sent = lab.out.pop_front().unwrap();
    lab.flow.iss = u32::from_be_bytes(sent.packet[24..28].try_into().unwrap());
    lab.flow.win = 65_535;
    lab.input(ack().ack(1));
    let id = lab.accept(listener).unwrap();
    let chunk = Bytes::from(vec![5; 64 << 20]);
    let mut sent_upto = 1u64;
    let mut written = 0u64;
    // Without wrapping: how far the stack has sent.
    while sent_upto < (1 << 31) + (1 << 29) {
        while written < sent_upto + (128 << 20) {
            let mut piece = chunk.clone();
            let Ok(taken) = lab.stack.send_bytes(lab.ts(), id, &mut piece, Default::default()) else { break };
            written += taken as u64;
        }
        let now = lab.ts();
        while let Some(transmit) = lab.stack.poll_transmit(now) {
            sent_upto += transmit.payload.len() as u64;
        }
        lab.now += 1000;
        lab.input(ack().ack(sent_upto as u32));
    }
    let mut piece = chunk;
    lab.stack.send_bytes(lab.ts(), id, &mut piece, Default::default()).unwrap();
    let una = sent_upto as u32;
    let now = lab.ts();
    let mut flight = 0;
    while lab.stack.poll_transmit(now).is_some() {
        flight += 1;
    }
    assert!(flight > 10);
    for _ in 0..3 {
        lab.input(ack().ack(una));
    }
    assert_eq!(lab.stack.counters().fast_retransmits, 1);
}

/// The same for what is received: urgent data long read is not urgent again half a sequence space later.
#[test]
fn old_urgent_data_does_not_come_back_after_two_gigabytes() {
    let mut lab = Lab::with(|config| config.max_window = 1 << 30);
    lab.silent = true;
    let listener = lab.listen_with(16, |options| options.recv_buffer = 64 << 20);
    lab.send(syn().mss(65_495).ws(14));
    lab.drain();
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    lab.send(data(b"!").urg(1));
    assert_eq!(lab.stack.urgent_remaining(id), Some(1));
    lab.read(id, 10);
    lab.drain();
    assert_eq!(lab.stack.urgent_remaining(id), None);
    let mut packet = lab.packet(&some(65_000));
    let mut seq = 2u32;
    while seq < (1 << 31) + (1 << 20) {
        // Only the sequence number changes; the device vouches for the checksum.
        packet[24..28].copy_from_slice(&seq.to_be_bytes());
        let received = Received::alone(Bytes::copy_from_slice(&packet)).with_checksum(RxChecksum::Verified);
        lab.stack.handle_packet(lab.ts(), received);
        seq += 65_000;
        assert_eq!(lab.stack.recv(lab.ts(), id, 100_000).unwrap().len(), 65_000);
        let now = lab.ts();
        while lab.stack.poll_transmit(now).is_some() {}
    }
    assert_eq!(lab.stack.urgent_remaining(id), None, "after {seq} bytes");
    // And new urgent data is told.
    lab.events.clear();
    lab.flow.nxt = seq;
    lab.send(data(b"!").seq(seq).urg(1));
    assert_eq!(lab.stack.urgent_remaining(id), Some(1));
    assert!(lab.told(id, ropeway_core::Readiness::PRIORITY));
}
