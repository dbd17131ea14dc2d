//! A stack that leaves the cutting to its device sends what one does that sends segment by segment.

use std::cell::RefCell;
use std::rc::Rc;

use ropeway_core::packet::Protocol;
use ropeway_core::packet::checksum;

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
