//! The orderly close from either end or from both (RFC 9293 3.6, figures 12 and 13), half-close, and orphans.

use std::net::Shutdown;

use ropeway_core::{Readiness, SendError, ShutdownError, State};

use crate::SYNCHRONIZED;
use crate::common::*;

// RFC 9293 3.10.7.4 R-10
#[test]
fn active_close_through_all_its_states() {
    let (mut lab, id) = in_state(State::Established);
    lab.shutdown_write(id);
    lab.expect(fin().seq(1).ack(1));
    lab.assert_state(id, State::FinWait1);
    lab.send(ack().ack(2));
    lab.assert_state(id, State::FinWait2);
    lab.send(fin().ack(2));
    lab.expect(ack().seq(2).ack(2));
    lab.assert_state(id, State::TimeWait);
    assert!(lab.read(id, 1).is_empty());
    lab.at(59_999);
    lab.assert_state(id, State::TimeWait);
    lab.at(60_000);
    lab.assert_state(id, State::Closed);
    lab.close(id);
    lab.assert_empty();
}

// RFC 9293 3.10.7.4 R-10
#[test]
fn fin_that_acknowledges_ours_leads_straight_to_time_wait() {
    let (mut lab, id) = in_state(State::FinWait1);
    lab.send(fin().ack(2));
    lab.expect(ack().seq(2).ack(2));
    lab.assert_state(id, State::TimeWait);
}

// RFC 9293 3.6 case 3, figure 13
#[test]
fn simultaneous_close() {
    let (mut lab, id) = in_state(State::Closing);
    lab.send(ack().ack(2));
    lab.quiet();
    lab.assert_state(id, State::TimeWait);
    lab.at(60_000);
    lab.assert_state(id, State::Closed);
}

fn closes_after(millis: u64) -> [Op; 6] {
    [Op::Send(10), Op::Recv(10), Op::Pause(millis), Op::ShutdownWrite, Op::RecvEof, Op::Close]
}

#[test]
fn two_stacks_close_at_the_same_moment() {
    let mut pair = Pair::new();
    pair.delay = [std::time::Duration::from_millis(50); 2];
    pair.converse(&closes_after(80), &closes_after(100));
    pair.run(secs(10));
    pair.run_to(secs(20));
    // Both were active closers.
    assert_eq!(pair.stacks.each_ref().map(|stack| stack.sizes().time_wait), [1, 1]);
    pair.settle();
    pair.assert_empty();
}

#[test]
fn two_stacks_close_at_the_same_moment_and_any_packet_is_lost() {
    for lost in 0..16 {
        let mut pair = Pair::new()
            .fate(move |crossing| if crossing.number == lost { Fate::Drop } else { Fate::Deliver });
        pair.delay = [std::time::Duration::from_millis(50); 2];
        pair.converse(&closes_after(80), &closes_after(100));
        pair.live(secs(60));
    }
}

// RFC 9293 3.6: "the user who CLOSEs may continue to RECEIVE"
#[test]
fn half_close_leaves_the_other_direction_open() {
    let (mut lab, id) = in_state(State::FinWait2);
    assert_eq!(lab.stack.send(lab.ts(), id, b"x", Default::default()), Err(SendError::BrokenPipe));
    for round in 0..5 {
        lab.send(data(pattern(round * 100, 100)));
        assert_eq!(lab.read(id, 1000), pattern(round * 100, 100));
        lab.after(40);
        lab.expect(ack().ack(101 + 100 * round as u32));
        lab.after(100_000);
    }
    lab.assert_state(id, State::FinWait2);
}

#[test]
fn the_peers_half_close_leaves_our_direction_open() {
    let (mut lab, id) = in_state(State::CloseWait);
    for round in 0..5u32 {
        lab.write(id, &pattern(round as usize * 100, 100));
        lab.expect(data(pattern(round as usize * 100, 100)).seq(1 + 100 * round).ack(2));
        lab.send(ack());
        lab.after(100_000);
    }
    lab.assert_state(id, State::CloseWait);
}

#[test]
fn data_that_was_written_before_close_goes_out_before_the_fin() {
    let mut lab = Lab::new();
    let id = lab.accepted(Peer { win: 1000, ..Peer::default() });
    lab.write(id, &pattern(0, 2500));
    lab.expect(data(pattern(0, 1000)).seq(1));
    lab.close(id);
    lab.quiet();
    lab.send(ack().ack(1001));
    lab.expect(data(pattern(1000, 1000)).seq(1001));
    lab.send(ack().ack(2001));
    lab.expect(data(pattern(2000, 500)).seq(2001).fin());
    lab.send(ack().ack(2502));
    lab.send(fin());
    lab.expect(ack().seq(2502).ack(2));
}

/// What a close that lingers waits for: the acknowledgement of the FIN, and of all data before it.
#[test]
fn the_acknowledgement_of_our_fin_is_an_event() {
    let (mut lab, id) = in_state(State::Established);
    lab.write(id, b"last words");
    lab.expect(data(b"last words"));
    lab.shutdown_write(id);
    lab.expect(fin().seq(11));
    lab.send(ack().ack(11));
    assert!(!lab.told(id, Readiness::FIN_ACKED), "the FIN itself is still to be acknowledged");
    assert!(!lab.stack.readiness(id).contains(Readiness::FIN_ACKED));
    lab.send(ack().ack(12));
    lab.assert_state(id, State::FinWait2);
    assert!(lab.told(id, Readiness::FIN_ACKED));
    assert!(lab.stack.readiness(id).contains(Readiness::FIN_ACKED));
    lab.close(id);
    assert!(lab.stack.readiness(id).contains(Readiness::FIN_ACKED), "and so is that of one that is gone");
}

#[test]
fn close_twice_is_close_once() {
    for state in [State::FinWait1, State::FinWait2, State::Closing, State::LastAck] {
        let (mut lab, id) = in_state(state);
        assert_eq!(lab.stack.shutdown(lab.ts(), id, Shutdown::Write), Ok(()));
        lab.collect();
        lab.quiet();
        lab.assert_state(id, state);
    }
    let (mut lab, id) = in_state(State::TimeWait);
    assert_eq!(lab.stack.shutdown(lab.ts(), id, Shutdown::Write), Err(ShutdownError::NotConnected));
    lab.close(id);
    lab.quiet();
    assert_eq!(lab.stack.sizes().time_wait, 1);
    assert_eq!(lab.stack.sizes().connections, 0);
}

#[test]
fn an_orphan_finishes_by_itself_from_every_state() {
    for state in SYNCHRONIZED {
        let (mut lab, id) = in_state(state);
        lab.close(id);
        lab.drain();
        lab.send(ack());
        lab.drain();
        if !state.peer_has_closed() {
            lab.send(fin());
            lab.expect(ack().ack(2));
        }
        lab.at(61_000);
        lab.assert_empty();
    }
}
