//! What is told of data beyond a gap (RFC 2018 3, 4).

use ropeway_core::State;

use crate::common::*;
use crate::{SACK, STAMPED, accepted, accepted_with};

/// Segments of 500 bytes, as in the RFC's examples; the n-th begins at `1 + 500 * n`.
fn nth(n: u32) -> Seg {
    some(500).seq(1 + 500 * n)
}

/// The block of the segments from the n-th up to, but not including, another one.
fn block(from: u32, to: u32) -> (u32, u32) {
    (1 + 500 * from, 1 + 500 * to)
}

// RFC 2018 4-1, RFC 2018 4-2; 5: the first four arrive, and the last four do not.
#[test]
fn what_is_in_order_is_not_told_of() {
    let (mut lab, _) = accepted();
    for n in 0..4 {
        lab.input(nth(n));
    }
    lab.collect();
    lab.expect(ack().ack(2001).sack(&[]));
}

// RFC 2018 4-5
// RFC 2018 4-1, RFC 2018 4-2, RFC 2018 4-3; 5: the first is lost, and the other seven arrive.
#[test]
fn the_block_grows_with_each_segment_behind_a_lost_one() {
    for v6 in [false, true] {
        let mut lab = Lab::new().v6_if(v6);
        lab.accepted(SACK);
        for n in 1..8 {
            lab.send(nth(n));
            lab.expect(ack().ack(1).sack(&[block(1, n + 1)]));
        }
        lab.send(nth(0));
        lab.expect(ack().ack(4001).sack(&[]));
    }
}

// RFC 2018 3-1
// RFC 2018 4-2, RFC 2018 4-3; 5: every second is lost, and then two of these come.
#[test]
fn the_newest_block_is_first_and_four_fit() {
    let (mut lab, id) = accepted();
    let acks: [&[(u32, u32)]; 5] = [
        &[block(1, 2)],
        &[block(3, 4), block(1, 2)],
        &[block(5, 6), block(3, 4), block(1, 2)],
        &[block(7, 8), block(5, 6), block(3, 4), block(1, 2)],
        &[block(9, 10), block(7, 8), block(5, 6), block(3, 4)],
    ];
    for (n, blocks) in (0u32..).zip(acks) {
        lab.send(nth(2 * n + 1));
        lab.expect(ack().ack(1).sack(blocks));
    }
    // The fourth is sent again: its block joins two.
    lab.send(nth(6));
    lab.expect(ack().ack(1).sack(&[block(5, 8), block(9, 10), block(3, 4)]));
    // The first: what it joins is acknowledged, and the others stay.
    lab.send(nth(0));
    lab.expect(ack().ack(1001).sack(&[block(5, 8), block(9, 10), block(3, 4)]));
    assert_eq!(lab.info(id).unread, 1000);
}

// RFC 2018 3-1
// RFC 2018 3: an option of 8n + 2 bytes, beside timestamps three blocks at most.
#[test]
fn three_fit_beside_timestamps() {
    let mut lab = Lab::new();
    lab.accepted(STAMPED);
    for n in 0..4 {
        lab.send(nth(2 * n + 1));
        lab.drain();
    }
    lab.send(nth(9));
    lab.expect(ack().ack(1).sack(&[block(9, 10), block(7, 8), block(5, 6)]));
}

// RFC 2018 4-2: the whole block, also where its older part has been left out for want of room.
#[test]
fn a_block_is_whole_though_it_was_not_told_of_lately() {
    let (mut lab, _) = accepted();
    for n in 0..6 {
        lab.send(nth(2 * n + 1));
        lab.drain();
    }
    // Touches the oldest block from behind, then from before.
    lab.send(nth(2));
    lab.expect(ack().ack(1).sack(&[block(1, 4), block(11, 12), block(9, 10), block(7, 8)]));
    // From before: the segment that touches both sides of it joins all.
    lab.send(some(100).seq(2401));
    lab.expect(ack().ack(1).sack(&[(2401, 3001), block(1, 4), block(11, 12), block(9, 10)]));
    lab.send(some(400).seq(2001));
    lab.expect(ack().ack(1).sack(&[block(1, 6), block(11, 12), block(9, 10)]));
}

// RFC 2018 4-1: in every segment, as long as something is held.
#[test]
fn blocks_go_along_with_data() {
    for peer in [SACK, STAMPED] {
        let mut lab = Lab::new();
        let id = lab.accepted_with(peer, |options| options.nodelay = true);
        lab.send(nth(1));
        lab.expect(ack().ack(1).sack(&[block(1, 2)]));
        lab.write(id, &pattern(0, 3000));
        let mss = lab.info(id).snd_mss as usize - 12;
        lab.expect(data(pattern(0, mss)).ack(1).sack(&[block(1, 2)]));
        lab.expect(data(pattern(mss, mss)).ack(1).sack(&[block(1, 2)]));
        lab.expect(data(pattern(2 * mss, 3000 - 2 * mss)).ack(1).sack(&[block(1, 2)]));
        // Each packet is as long as any other full one.
        lab.send(nth(0).ack(3001));
        lab.expect(ack().ack(1001).sack(&[]));
        lab.write(id, &pattern(0, 1460));
        lab.expect(some(lab.info(id).snd_mss.into()).sack(&[]));
    }
}

#[test]
fn no_packet_with_blocks_is_longer_than_the_mtu() {
    for v6 in [false, true] {
        for peer in [SACK, STAMPED] {
            for mtu in [1280, 1281, 1500, 9000] {
                let mut lab = Lab::with(|config| config.mtu = mtu).v6_if(v6);
                let id = lab.accepted_with(Peer { mss: Some(9000), ..peer }, roomy);
                for n in 1..9 {
                    lab.input(nth(2 * n));
                }
                lab.drain();
                lab.write(id, &pattern(0, 60_000));
                let sent = lab.drain();
                assert!(sent.iter().all(|sent| sent.packet.len() <= usize::from(mtu)));
                assert!(sent.iter().any(|sent| sent.packet.len() > usize::from(mtu) - 8));
                assert!(sent.iter().all(|sent| !sent.tcp.as_ref().unwrap().tcp.options.sack.is_empty()));
            }
        }
    }
}

// A peer may announce an MSS so small that blocks would be most of a segment.
#[test]
fn tiny_segments_still_carry_data() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { mss: Some(48), ..STAMPED });
    for n in 1..5 {
        lab.send(nth(2 * n));
        lab.drain();
    }
    lab.write(id, &pattern(0, 200));
    let sent: usize = lab.drain().iter().map(|sent| sent.tcp.as_ref().unwrap().payload.len()).sum();
    assert_eq!(sent, 200);
    lab.send(nth(12));
    lab.expect(ack().ack(1).sack(&[block(12, 13), block(8, 9), block(6, 7)]));
}

// RFC 9293 3.4 R-13
#[test]
fn blocks_cross_the_wrap_of_the_sequence_numbers() {
    for before in [1, 2, 499, 500, 501, 1001, 2000] {
        let mut lab = Lab::new();
        lab.flow.isn = 0u32.wrapping_sub(before);
        let id = lab.accepted(SACK);
        lab.send(nth(1));
        lab.expect(ack().ack(1).sack(&[block(1, 2)]));
        lab.send(nth(3));
        lab.expect(ack().ack(1).sack(&[block(3, 4), block(1, 2)]));
        lab.send(nth(2));
        lab.expect(ack().ack(1).sack(&[block(1, 4)]));
        lab.send(nth(0));
        lab.expect(ack().ack(2001).sack(&[]));
        assert_eq!(lab.info(id).unread, 2000);
    }
}

// What lies beyond the window is cut off, and nobody is told that it is held.
#[test]
fn a_block_ends_at_the_edge_of_the_window() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(SACK, |options| options.recv_buffer = 4000);
    lab.send(some(1000).seq(3501));
    lab.expect(ack().ack(1).win(4000).sack(&[(3501, 4001)]));
    lab.send(some(1000).seq(4001));
    lab.expect(ack().ack(1).sack(&[(3501, 4001)]));
    lab.send(some(3500));
    lab.expect(ack().ack(4001).win(0).sack(&[]));
    assert_eq!(lab.read(id, 10_000).len(), 4000);
}

// RFC 2018 8-1: what was told of is held until it is acknowledged, whatever the program does.
#[test]
fn what_was_told_of_is_kept() {
    let (mut lab, id) = accepted();
    lab.send(data(pattern(1000, 1000)).seq(1001));
    lab.expect(ack().ack(1).sack(&[(1001, 2001)]));
    lab.set(id, |options| options.recv_buffer = 2304);
    lab.drain();
    lab.at(60_000);
    lab.shutdown_write(id);
    lab.expect(fin().ack(1).sack(&[(1001, 2001)]));
    lab.send(data(pattern(0, 1000)).ack(2));
    lab.expect(ack().ack(2001).sack(&[]));
    assert_eq!(lab.read(id, 10_000), pattern(0, 2000));
}

#[test]
fn a_program_that_does_not_read_takes_nothing_back() {
    let (mut lab, id) = accepted();
    lab.send(nth(1));
    lab.expect(ack().ack(1).sack(&[block(1, 2)]));
    lab.stack.shutdown(lab.ts(), id, std::net::Shutdown::Read).unwrap();
    lab.collect();
    lab.send(nth(3));
    lab.expect(ack().ack(1).sack(&[block(3, 4), block(1, 2)]));
    lab.send(nth(0));
    lab.expect(ack().ack(1001).sack(&[block(3, 4)]));
}

// RFC 2018 8-1: memory is bounded, so not all may be held; what is not, is not told of.
#[test]
fn what_there_is_no_room_for_is_not_told_of() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(SACK, |options| options.recv_buffer = 8192);
    lab.silent = true;
    let mut told = std::collections::BTreeSet::new();
    for n in 0..4000 {
        let seq = 2 + 2 * n;
        lab.input(data([seq as u8]).seq(seq));
        lab.collect();
        for sent in lab.drain() {
            for (start, end) in sent.tcp.unwrap().tcp.options.sack.as_slice() {
                told.extend(start.get()..end.get());
            }
        }
    }
    assert!(lab.stack.counters().reassembly_overflows > 0, "the test is to fill it");
    assert!(told.len() > 50);
    // Only what was not told of is sent again.
    for seq in 1..=8192 {
        if !told.contains(&seq) {
            lab.input(data([seq as u8]).seq(seq));
        }
    }
    lab.drain();
    assert_eq!(lab.read(id, 10_000), (1..=8192).map(|seq: u32| seq as u8).collect::<Vec<_>>());
}

// A FIN has a number, and is remembered: without a block of its own a FIN would not show that what it follows is lost.
#[test]
fn a_fin_beyond_a_gap_is_told_of() {
    let (mut lab, id) = accepted();
    lab.send(fin().seq(501));
    lab.expect(ack().ack(1).sack(&[(501, 502)]));
    lab.send(nth(0));
    lab.expect(ack().ack(502).sack(&[]));
    lab.assert_state(id, State::CloseWait);

    let (mut lab, id) = accepted();
    lab.send(nth(2).fin());
    lab.expect(ack().ack(1).sack(&[(1001, 1502)]));
    lab.send(nth(1));
    lab.expect(ack().ack(1).sack(&[(501, 1502)]));
    lab.send(nth(0));
    lab.expect(ack().ack(1502).sack(&[]));
    lab.assert_state(id, State::CloseWait);
}

// The first one counts: that a second one was seen is told to nobody.
#[test]
fn a_second_fin_beyond_a_gap_is_not_told_of() {
    let (mut lab, _) = accepted();
    lab.send(fin().seq(501));
    lab.expect(ack().ack(1).sack(&[(501, 502)]));
    lab.send(fin().seq(1001));
    lab.expect(ack().ack(1).sack(&[(501, 502)]));
    // The same again has come twice.
    lab.send(fin().seq(501));
    lab.expect(ack().ack(1).sack(&[(501, 502), (501, 502)]));
}

#[test]
fn urgent_data_beyond_a_gap_is_told_of_like_any_other() {
    let (mut lab, id) = accepted();
    lab.send(nth(1).urg(500));
    lab.expect(ack().ack(1).sack(&[block(1, 2)]));
    lab.send(nth(0));
    lab.expect(ack().ack(1001).sack(&[]));
    assert_eq!(lab.read(id, 2000).len(), 1000);
}

// RFC 5681 4.2: a duplicate for each, though they came together.
#[test]
fn segments_that_come_together_are_told_of_together() {
    let (mut lab, _) = accepted();
    lab.send_all([nth(1), nth(3), nth(5)]);
    for _ in 0..3 {
        lab.expect(ack().ack(1).sack(&[block(5, 6), block(3, 4), block(1, 2)]));
    }
}

#[test]
fn a_keep_alive_probe_tells_what_is_held() {
    let (mut lab, id) = accepted();
    lab.set(id, |options| {
        let idle = std::time::Duration::from_secs(1);
        options.keep_alive = Some(ropeway_core::KeepAlive { idle, interval: idle, count: 3 });
    });
    lab.send(nth(1));
    lab.expect(ack().ack(1).sack(&[block(1, 2)]));
    lab.after(1000);
    lab.expect(ack().seq(0).ack(1).sack(&[block(1, 2)]));
}

#[test]
fn a_reset_has_no_blocks() {
    let (mut lab, id) = accepted_with(|_| {});
    lab.send(nth(1));
    lab.expect(ack().ack(1).sack(&[block(1, 2)]));
    lab.abort(id);
    lab.expect(rst_ack().ack(1).sack(&[]));
}
