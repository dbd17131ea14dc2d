//! What loss recovery goes by (`tcp_recovery`, `tcp_early_retrans`, `tcp_reordering`, `tcp_max_reordering`), and what a pause leaves
//! of the window (`tcp_slow_start_after_idle`).

use std::time::Duration;

use ropeway_core::congestion::Phase;
use ropeway_core::{ConnectionId, SocketOptions, StackConfig};

use crate::common::*;

/// The clock is exact, so that the reordering window is a quarter of the round trip.
fn exact(config: &mut StackConfig) {
    (config.clock_granularity, config.pacing) = (Duration::ZERO, false);
}

/// Ten segments are out, on a path of 100 ms.
#[track_caller]
fn ten_out(change: impl FnOnce(&mut SocketOptions)) -> (Lab, ConnectionId) {
    let mut lab = Lab::with(exact);
    let listener = lab.listen_with(1, |options| {
        roomy(options);
        change(options);
    });
    lab.flow.win = 65535;
    lab.send(syn().mss(1460).sack_ok(true));
    lab.expect(syn_ack());
    lab.after(100);
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    lab.write(id, &pattern(0, 10 * 1460));
    assert_eq!(lab.drain().len(), 10);
    (lab, id)
}

/// The peer reports all from the `from`-th to the `to`-th of the ten segments.
fn report(lab: &mut Lab, from: u32, to: u32) {
    let at = |n: u32| 1 + 1460 * n;
    lab.send(ack().ack(1).sack(&[(at(from), at(to))]));
}

#[test]
fn three_reports_mean_a_loss_unless_the_reordering_window_is_always_waited_for() {
    for (waits, millis) in [(false, 0), (true, 25)] {
        let (mut lab, id) = ten_out(|options| options.rack_dup_thresh = !waits);
        lab.after(100);
        report(&mut lab, 1, 4);
        // A quarter of the smallest round trip.
        let due = lab.now + ms(millis);
        if waits {
            assert_eq!(lab.info(id).ca_state, Phase::Disorder);
            lab.at_us(due - 1);
            lab.quiet();
            lab.at_us(due);
        }
        lab.expect(some(1460).seq(1));
        assert_eq!(lab.info(id).ca_state, Phase::Recovery);
    }
}

#[test]
fn the_degree_of_reordering_to_begin_with_is_the_sockets() {
    for (reordering, seen) in [(2, 2), (3, 3), (6, 6), (0, 1)] {
        let (mut lab, id) = ten_out(|options| options.reordering = reordering);
        assert_eq!(lab.info(id).reordering, seen);
        lab.after(100);
        if seen > 1 {
            report(&mut lab, 1, seen);
            lab.quiet();
        }
        report(&mut lab, 1, 1 + seen);
        lab.expect(some(1460).seq(1));
    }
}

/// The first segment comes after the fourth to the eighth.
fn reorder(lab: &mut Lab) {
    lab.after(100);
    report(lab, 7, 8);
    lab.send(ack().ack(1461));
    lab.drain();
}

#[test]
fn more_reordering_than_the_sockets_most_is_not_believed() {
    for (most, seen) in [(300, 8), (5, 5), (0, 3)] {
        let (mut lab, id) = ten_out(|options| options.max_reordering = most);
        reorder(&mut lab);
        assert_eq!(lab.info(id).reordering, seen);
        assert_eq!(lab.info(id).reord_seen, 1);
    }
}

#[test]
fn what_was_seen_of_reordering_stays_known_when_the_options_change() {
    let (mut lab, id) = ten_out(|_| {});
    reorder(&mut lab);
    lab.set(id, |options| options.reordering = 4);
    assert_eq!(lab.info(id).reordering, 8);
    lab.set(id, |options| options.reordering = 20);
    assert_eq!(lab.info(id).reordering, 20);
    lab.set(id, |options| options.reordering = 3);
    assert_eq!(lab.info(id).reordering, 3, "20 was never seen");
}

#[test]
fn a_tail_is_probed_unless_the_socket_has_that_off() {
    for tlp in [true, false] {
        let (mut lab, _) = ten_out(|options| options.tlp = tlp);
        // Twice the round trip of 100 ms, and the least that two granularities are; without a probe, the timeout.
        lab.run_to_deadline();
        let (at, probe) = (lab.now, lab.expect(some(1460)));
        let last = probe.tcp.seq.get() != lab.flow.iss.wrapping_add(1);
        assert_eq!((at, last), if tlp { (ms(300), true) } else { (ms(400), false) });
    }
}

#[test]
fn losses_are_found_by_blocks_if_the_socket_has_rack_off() {
    let (mut lab, id) = ten_out(|options| options.rack = false);
    lab.after(100);
    report(&mut lab, 1, 3);
    lab.after(90);
    lab.quiet();
    assert_eq!(lab.info(id).lost, 0, "no reordering window");
    report(&mut lab, 1, 4);
    lab.expect(some(1460).seq(1));
}

// RFC 5681 4.1
#[test]
fn a_pause_takes_the_window_unless_the_socket_has_that_off() {
    for restarts in [true, false] {
        let (mut lab, id) = ten_out(|options| options.slow_start_after_idle = restarts);
        lab.after(100);
        lab.send(ack());
        let cwnd = lab.info(id).cwnd;
        assert!(cwnd >= 20 * 1460);
        lab.after(60_000);
        lab.write(id, &pattern(10 * 1460, 30 * 1460));
        let out = lab.drain().len();
        assert_eq!(out, if restarts { 10 } else { cwnd as usize / 1460 });
        lab.after(100);
        lab.send(ack());
        let grown = lab.info(id).cwnd;
        assert!(grown <= 2 * if restarts { 10 * 1460 } else { cwnd }, "the pause is no time to grow in");
    }
}

#[test]
fn the_switch_for_pauses_can_change_on_a_connection() {
    let (mut lab, id) = ten_out(|_| {});
    lab.after(100);
    lab.send(ack());
    lab.set(id, |options| options.slow_start_after_idle = false);
    let cwnd = lab.info(id).cwnd;
    lab.after(60_000);
    lab.write(id, b"x");
    lab.drain();
    assert_eq!(lab.info(id).cwnd, cwnd);
}
