//! The peer shrinks its window under what is in flight, or closes it: what is still sent, and with which numbers
//! (RFC 9293 3.4, 3.8.6, 3.8.6.1). The times of zero-window probes are in `timers/persist.rs`.

use std::time::Duration;

use ropeway_core::{ConnectionId, SenderLimit, State};

use crate::common::*;

/// The ten segments of the initial window, 14,600 bytes, are on their way to a peer that takes 20,000.
fn in_flight() -> (Lab, ConnectionId) {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 20_000, ..Peer::default() });
    lab.write(id, &pattern(0, 14_600));
    assert_eq!(lab.drain().len(), 10);
    (lab, id)
}

// MUST-34, SHLD-15; RFC 7323 2.4-3
#[test]
fn a_window_taken_back_stops_new_data() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 20_000, ..Peer::default() });
    lab.write(id, &pattern(0, 30_000));
    assert_eq!(lab.drain().len(), 10);
    // Of 14600 in flight, one segment is acknowledged and the window ends in the middle of the rest.
    lab.send(ack().ack(1461).win(5000));
    lab.quiet();
    lab.send(ack().ack(2921).win(3540));
    lab.quiet();
    assert_eq!(lab.info(id).limited_by, SenderLimit::ReceiveWindow);
    lab.flow.win = 20_000;
    lab.send(ack().ack(14_601));
    assert!(!lab.drain().is_empty());
}

// SHLD-16: what lies within the window is retransmitted normally.
#[test]
fn what_lies_within_a_shrunk_window_is_retransmitted_at_its_time() {
    let (mut lab, _) = in_flight();
    lab.send(ack().ack(1461).win(1000));
    lab.at(200);
    let again = lab.next_tcp();
    assert_eq!(lab.relative(again.tcp.seq), 1461);
    assert!(!again.payload.is_empty());
}

// SHLD-17, MUST-35
#[test]
fn a_window_shrunk_to_zero_is_probed_and_does_not_time_out() {
    let (mut lab, id) = in_flight();
    lab.send(ack().ack(1461).win(0));
    // For two hours the peer answers, and nothing more.
    while lab.now < secs(7200) {
        lab.run_to_deadline();
        for sent in lab.drain() {
            assert!(sent.tcp.unwrap().payload.len() <= 1460);
            lab.input(ack().ack(1461).win(0));
            lab.collect();
        }
    }
    lab.assert_state(id, State::Established);
    lab.flow.win = 20_000;
    lab.send(ack().ack(1461));
    let mut got = vec![false; 14_600];
    got[..1460].fill(true);
    while got[1460..].contains(&false) {
        for sent in lab.drain() {
            let tcp = sent.tcp.unwrap();
            let at = (lab.relative(tcp.tcp.seq) - 1) as usize;
            got[at..at + tcp.payload.len()].fill(true);
        }
        let upto = got.iter().position(|got| !got).unwrap_or(14_600);
        if upto <= 1460 {
            lab.run_to_deadline();
        } else {
            lab.input(ack().ack(1 + upto as u32));
            lab.collect();
        }
    }
}

/// A connection whose peer has closed the window with nothing outstanding, and a probe that it dropped.
fn probed() -> (Lab, ConnectionId) {
    let (mut lab, id) = shut_out();
    lab.write(id, &pattern(0, 3000));
    lab.at(200);
    lab.expect(some(1).seq(2));
    lab.send(ack().ack(2));
    (lab, id)
}

// RFC 9293 3.4 Table 6: with its window closed, the peer takes only segments at exactly its RCV.NXT. An
// acknowledgement that stands behind our own probe is dropped: its data would never be acknowledged.
#[test]
fn acknowledgements_stay_acceptable_to_a_peer_whose_window_is_closed() {
    let (mut lab, _) = probed();
    // The probe's byte was not taken.
    lab.send_all([some(1460).ack(2), some(1460).ack(2)]);
    lab.expect(ack().seq(2).ack(2921));
}

#[test]
fn a_reset_stays_acceptable_to_a_peer_whose_window_is_closed() {
    let (mut lab, id) = probed();
    lab.abort(id);
    lab.expect(rst_ack().seq(2));
}

#[test]
fn a_keepalive_or_challenge_stays_acceptable_to_a_peer_whose_window_is_closed() {
    let (mut lab, _) = probed();
    lab.send(syn().seq(1));
    lab.expect(ack().seq(2).ack(1));
}

/// The same with a peer that shrinks its window under what is in flight.
#[test]
fn acknowledgements_stay_acceptable_to_a_peer_that_shrank_its_window() {
    let (mut lab, _) = in_flight();
    lab.flow.win = 1000;
    lab.send(ack().ack(1461));
    lab.send_all([some(1460).ack(1461), some(1460).ack(1461)]);
    let seq = lab.next_tcp().tcp.seq;
    let seq = lab.relative(seq);
    assert!((1461..=2461).contains(&seq), "seq {seq} lies outside of the peer's window");
}

/// One side does not read; the other side's data must flow at full speed all the same.
#[test]
fn one_closed_window_does_not_slow_the_other_direction() {
    // Without scaling, a window that is announced as closed is closed to the byte.
    let mut pair = Pair::with(|_, config| config.window_scaling = false);
    pair.converse_with(
        &[
            Op::Send(300_000),
            Op::Recv(3_000_000),
            Op::Pause(60_000),
            Op::ShutdownWrite,
            Op::RecvEof,
            Op::Close,
        ],
        &[
            Op::Pause(2000),
            Op::Send(3_000_000),
            Op::Pause(60_000),
            Op::Recv(300_000),
            Op::ShutdownWrite,
            Op::RecvEof,
            Op::Close,
        ],
        roomy,
        |options| options.recv_buffer = 20_000,
    );
    pair.run_to(secs(5));
    if pair.programs[0].received() < 3_000_000 {
        pair.fail(&format!("only {} bytes after five seconds", pair.programs[0].received()));
    }
    pair.live(secs(1000));
}

/// Both ends' windows are closed, and both probe at the same moment: each takes the other's byte, and from then on
/// each one's bare acknowledgements begin before what the other expects (found by the fuzz target `pair`).
#[test]
fn window_probes_that_cross_do_not_start_an_acknowledgement_war() {
    for pause in (100..500).step_by(10) {
        let mut pair = Pair::with(|_, config| {
            config.timestamps = false;
            config.window_scaling = false;
            config.socket.recv_buffer = 40;
        });
        pair.delay = [Duration::from_millis(20); 2];
        let script =
            [Op::Send(63), Op::Pause(pause), Op::Recv(63), Op::ShutdownWrite, Op::RecvEof, Op::Close];
        // A is established a link's delay before B; now both write at the same moment.
        let late = [&[Op::Pause(20)][..], &script].concat();
        pair.converse(&late, &script);
        pair.live(secs(200));
        let crossed = pair.total_crossed();
        assert!(
            crossed < 40,
            "{crossed} packets for 126 bytes, with a pause of {pause} ms\n{}",
            pair.record()
        );
    }
}

// RFC 9293 3.10.7.4 first and fifth: each side has taken what the other believes lies beyond its window, so that each
// sends from before what the other expects. If neither took the other's acknowledgements, they would go on for ever.
#[test]
fn an_acknowledgement_of_something_new_counts_although_it_comes_from_before_the_window() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 40, ..Peer::default() });
    lab.write(id, &pattern(0, 80));
    lab.expect(some(40).seq(1));
    lab.send(ack().ack(41).win(40));
    lab.expect(some(40).seq(41));
    lab.send(some(40).seq(1).ack(41).win(0));
    lab.after(40);
    lab.expect(ack().seq(41).ack(41));
    // The peer has taken all 80, and has not heard of our acknowledgement.
    lab.send(ack().seq(1).ack(81).win(40));
    lab.expect(ack().seq(81).ack(41));
    assert_eq!(lab.info(id).unacked, 0);
    assert_eq!(lab.info(id).snd_wnd, 40);
    // What acknowledges nothing new from there, or comes from further back than any window, does not count.
    lab.write(id, b"x");
    lab.expect(data(b"x").seq(81));
    lab.send(ack().seq(1).ack(81).win(50));
    lab.expect(ack().seq(82).ack(41));
    assert_eq!(lab.info(id).snd_wnd, 40);
    lab.send(ack().seq(0u32.wrapping_sub(66_000)).ack(82).win(50));
    lab.expect(ack().seq(82).ack(41));
    assert_eq!((lab.info(id).unacked, lab.info(id).snd_wnd), (1, 40));
}

// RFC 9293 3.10.7.4 R-09, Linux: a retransmission brings the window of today, although its sequence number is old. By SND.WL1 alone the window
// of before would move on with SND.UNA, to where the peer has no room.
#[test]
fn the_window_of_what_acknowledges_something_new_counts_although_its_number_is_old() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 40, ..Peer::default() });
    lab.send(ack().seq(41).ack(1).win(40));
    lab.write(id, &pattern(0, 80));
    lab.expect(some(40).seq(1));
    lab.send(some(40).seq(1).ack(41).win(0));
    assert_eq!(lab.info(id).snd_wnd, 0);
    lab.after(40);
    lab.expect(ack().seq(41).ack(41));
}
