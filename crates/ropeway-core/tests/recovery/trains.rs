//! A stack that leaves the cutting to its device sends what one does that sends segment by segment, and one that merges what it
//! receives answers like one that takes it segment by segment.

use std::cell::RefCell;
use std::rc::Rc;

use ropeway_core::packet::Protocol;
use ropeway_core::packet::checksum;
use ropeway_core::{PacketPool, StackConfig};

use super::*;

/// What crossed, in order: all bytes of all packets.
type Wire = Rc<RefCell<Vec<Vec<u8>>>>;

/// A long transfer each way over a link of 100 Mbit/s and 20 ms; `loses` says which packets it loses.
fn transfer(longest_train: u16, v6: bool, loses: fn(usize) -> bool) -> (Vec<Vec<u8>>, u64) {
    let wire = Wire::default();
    let seen = Rc::clone(&wire);
    let mut pair = Pair::with(|_, config| config.longest_train = longest_train).fate(move |crossing| {
        seen.borrow_mut().push(crossing.packet.to_vec());
        if loses(crossing.number) { Fate::Drop } else { Fate::Deliver }
    });
    if v6 {
        pair = pair.v6();
    }
    pair.delay = [std::time::Duration::from_millis(10); 2];
    pair.rate = Some(12_500_000);
    pair.converse(
        &[Op::Send(700_000), Op::Send(1), Op::Send(90_000), Op::Recv(500_000), Op::Close],
        &[Op::Recv(790_001), Op::Send(500_000), Op::RecvEof, Op::Close],
    );
    pair.live(secs(100));
    let segments = pair.stacks.iter().map(|stack| stack.counters().tcp_sent).sum();
    drop(pair);
    (wire.take(), segments)
}

/// Bursts that arrive together, read in batches or one by one.
fn bursts(batches: bool, v6: bool, change: Change, loses: fn(usize) -> bool) -> Conversation {
    let wire = Wire::default();
    let seen = Rc::clone(&wire);
    let mut pair = Pair::with(|_, config| change(config)).fate(move |crossing| {
        seen.borrow_mut().push(crossing.packet.to_vec());
        if loses(crossing.number) { Fate::Drop } else { Fate::Deliver }
    });
    if v6 {
        pair = pair.v6();
    }
    pair.batches = batches;
    pair.delay = [std::time::Duration::from_millis(10); 2];
    pair.converse(
        &[Op::Send(700_000), Op::Send(1), Op::Send(90_000), Op::Recv(500_000), Op::Close],
        &[Op::Recv(790_001), Op::Send(500_000), Op::RecvEof, Op::Close],
    );
    pair.live(secs(100));
    let counted = pair.stacks.iter().map(|stack| {
        let counters = stack.counters();
        (counters.received, counters.tcp_received, counters.out_of_order)
    });
    let counted = counted.collect();
    drop(pair);
    (wire.take(), counted)
}

/// What is set otherwise than by default.
type Change = fn(&mut StackConfig);

/// What crossed, and what each end counted.
type Conversation = (Vec<Vec<u8>>, Vec<(u64, u64, u64)>);

/// What a receiver answers does not depend on whether it takes segments one by one or those that follow each other as one.
#[test]
fn packets_of_a_batch_are_answered_like_the_same_packets_one_by_one() {
    let patterns: [fn(usize) -> bool; 5] = [
        |_| false,
        |number| number % 50 == 49,
        |number| (200..230).contains(&number),
        |number| number % 97 == 5 || number % 89 == 7,
        |number| number % 7 == 3 && number < 300,
    ];
    let settings: [(bool, Change); 3] =
        [(true, |_| {}), (false, |config| config.sack = false), (true, |config| config.timestamps = false)];
    for loses in patterns {
        for (v6, change) in settings {
            let single = bursts(false, v6, change, loses);
            let merged = bursts(true, v6, change, loses);
            for (number, (got, expected)) in merged.0.iter().zip(&single.0).enumerate() {
                assert!(got == expected, "packet {number}: {got:02x?} instead of {expected:02x?}");
            }
            assert_eq!(merged.0.len(), single.0.len());
            assert_eq!(merged.1, single.1, "packets count one by one");
        }
    }
}

#[test]
fn the_same_packets_cross_whoever_cuts_them() {
    let patterns: [fn(usize) -> bool; 4] = [
        |_| false,
        |number| number % 50 == 49,
        |number| (200..230).contains(&number),
        |number| number % 97 == 5 || number % 89 == 7,
    ];
    for v6 in [false, true] {
        for loses in patterns {
            let (single, segments) = transfer(0, v6, loses);
            for longest in [5000, u16::MAX] {
                let (trains, counted) = transfer(longest, v6, loses);
                assert_eq!(trains.len(), single.len());
                for (number, (cut, sent)) in trains.iter().zip(&single).enumerate() {
                    assert!(cut == sent, "packet {number}: {cut:02x?} instead of {sent:02x?}");
                }
                assert_eq!(counted, segments, "all segments count");
            }
            assert_eq!(segments, single.len() as u64);
        }
    }
}

/// A train that is sent, and one that is received, as they are on the wire.
#[test]
fn a_tap_sees_segments_with_good_checksums() {
    let mut lab = Lab::with(|config| config.longest_train = u16::MAX);
    let id = lab.accepted_with(Peer { ts: true, ..Peer::default() }, roomy);
    lab.stack.send(lab.ts(), id, &pattern(0, 6000), ropeway_core::SendFlags::default()).unwrap();
    let train = lab.stack.poll_transmit(lab.ts()).unwrap();
    assert_eq!(train.segment_size, Some(1448));
    let received = ropeway_core::Received::alone(train.to_bytes())
        .with_checksum(ropeway_core::RxChecksum::Verified)
        .with_segment_size(train.segment_size);
    let (mut sent, mut got) = (Vec::new(), Vec::new());
    let mut scratch = bytes::BytesMut::new();
    train.for_each_on_wire(&mut scratch, |packet| sent.push(packet.to_vec()));
    received.for_each_on_wire(&mut scratch, |packet| got.push(packet.to_vec()));
    assert_eq!(sent, got);
    assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [1500, 1500, 1500, 1500]);
    let (ours, theirs) = (lab.local.ip(), lab.remote.ip());
    for packet in sent {
        assert!(checksum::verify(ours, theirs, Protocol::TCP, &packet[20..]));
    }
}

/// Two connections whose segments come in turns; with a gap in one of them, and a part that repeats. Each packet has a slab of its own.
fn interleaved(batches: bool) -> (ropeway_core::MemoryUse, Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let mut lab = Lab::new();
    let listener = lab.listen_with(2, |options| options.recv_buffer = 200_000);
    let ids = [4000, 4001].map(|port| {
        lab.switch(port);
        lab.send(syn().ws(3));
        lab.out.clear();
        lab.send(ack());
        lab.accept(listener).unwrap()
    });
    let mut pool = PacketPool::new(1500);
    let mut batch = Vec::new();
    for n in 0..10 {
        for (port, skips) in [(4000, false), (4001, n == 3)] {
            lab.switch(port);
            // The eighth repeats the end of what is before it.
            let seq = if n == 7 { seg(n) - 500 } else { seg(n) };
            let packet = lab.packet(&data(pattern(seq as usize, MSS)).seq(seq));
            if !skips {
                pool.window()[..packet.len()].copy_from_slice(&packet);
                batch.push(pool.take(packet.len()));
            }
        }
    }
    let now = lab.ts();
    if batches {
        lab.stack.handle_batch(now, &mut batch);
    } else {
        batch.into_iter().for_each(|packet| lab.stack.handle_packet(now, packet));
    }
    let answers =
        std::iter::from_fn(|| lab.stack.poll_transmit(now)).map(|packet| packet.to_bytes().to_vec());
    let answers = answers.collect();
    let memory = lab.stack.memory();
    let read = ids.map(|id| lab.stack.recv(now, id, usize::MAX).unwrap().to_vec());
    (memory, answers, read.to_vec())
}

#[test]
fn merged_packets_hold_the_memory_of_the_same_packets_one_by_one() {
    let (single, merged) = (interleaved(false), interleaved(true));
    assert_eq!(merged.0, single.0, "each slab counts");
    assert_eq!(merged.1, single.1, "answers");
    assert_eq!(merged.2, single.2);
    assert_eq!(single.2[1], pattern(1, 3 * MSS), "the gap");
    assert_eq!(single.2[0], pattern(1, 8 * MSS - 500), "the other one");
}
