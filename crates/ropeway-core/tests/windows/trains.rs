//! Trains: several segments of a connection in one packet, which the device cuts.

use ropeway_core::SocketOptions;

use crate::common::*;

/// A connection of a stack whose device cuts packets of up to `longest` bytes; all of what a test writes may go at once.
fn with_trains(longest: u16, peer: Peer) -> (Lab, ropeway_core::ConnectionId) {
    let mut lab = Lab::with(|config| config.longest_train = longest);
    let id = lab.accepted_with(peer, |options: &mut SocketOptions| {
        roomy(options);
        options.nodelay = true;
    });
    (lab, id)
}

#[test]
fn full_segments_go_out_together_and_the_small_one_after_them() {
    let (mut lab, id) = with_trains(u16::MAX, Peer::default());
    let before = (lab.stack.counters().tcp_sent, lab.info(id).segments_out);
    lab.write(id, &pattern(0, 5 * 1460 + 100));
    lab.expect(data(pattern(0, 5 * 1460)).no_push());
    lab.expect(data(pattern(5 * 1460, 100)).push());
    let info = lab.info(id);
    assert_eq!(info.data_segments_out, 6);
    assert_eq!((lab.stack.counters().tcp_sent, info.segments_out), (before.0 + 6, before.1 + 6));
}

#[test]
fn what_ends_with_the_last_byte_is_pushed() {
    let (mut lab, id) = with_trains(u16::MAX, Peer::default());
    lab.write(id, &pattern(0, 2 * 1460));
    lab.expect(some(2 * 1460).push());
}

#[test]
fn the_congestion_window_is_no_larger_for_a_train() {
    let (mut lab, id) = with_trains(u16::MAX, Peer::default());
    lab.write(id, &pattern(0, 50 * 1460));
    lab.expect(some(10 * 1460));
    lab.quiet();
    lab.at(10);
    // Two segments more for each that was acknowledged: slow start.
    lab.send(ack().ack(1 + 4 * 1460));
    lab.expect(some(8 * 1460));
    lab.quiet();
}

#[test]
fn the_peers_window_bounds_a_train() {
    let (mut lab, id) = with_trains(u16::MAX, Peer { win: 5000, ..Peer::default() });
    lab.write(id, &pattern(0, 20_000));
    lab.expect(some(3 * 1460));
    lab.quiet();
}

#[test]
fn the_devices_longest_train_bounds_it() {
    let (mut lab, id) = with_trains(4000, Peer::default());
    lab.write(id, &pattern(0, 5 * 1460));
    lab.expect(some(2 * 1460));
    lab.expect(some(2 * 1460));
    lab.expect(some(1460));
    lab.quiet();
    for too_short in [0, 1500, 3000] {
        let (mut lab, id) = with_trains(too_short, Peer::default());
        lab.write(id, &pattern(0, 2 * 1460));
        lab.expect(some(1460));
        lab.expect(some(1460));
    }
}

#[test]
fn a_fin_goes_with_the_last_of_a_train() {
    let (mut lab, id) = with_trains(u16::MAX, Peer::default());
    lab.write(id, &pattern(0, 8 * 1460));
    lab.expect(some(8 * 1460));
    lab.write(id, &pattern(8 * 1460, 4 * 1460));
    lab.expect(some(2 * 1460));
    lab.shutdown_write(id);
    lab.quiet();
    lab.at(10);
    lab.send(ack());
    lab.expect(some(2 * 1460).fin().push());
}

#[test]
fn what_is_lost_goes_again_in_single_segments() {
    let (mut lab, id) = with_trains(u16::MAX, Peer { sack: true, ..Peer::default() });
    lab.write(id, &pattern(0, 10 * 1460));
    lab.expect(some(10 * 1460));
    lab.at(1);
    // The first two of its segments are missing.
    lab.send(ack().ack(1).sack(&[(2921, 14_601)]));
    lab.run_to(ms(30));
    lab.expect(some(1460).seq(1));
    lab.expect(some(1460).seq(1461));
    lab.quiet();
    assert_eq!(lab.info(id).retransmitted, 2);
}

// RFC 9293 3.8.5: the urgent pointer counts from each segment's own number.
#[test]
fn segments_that_tell_of_urgent_data_go_one_by_one() {
    let (mut lab, id) = with_trains(u16::MAX, Peer::default());
    let flags = ropeway_core::SendFlags { urgent: true, ..Default::default() };
    let sent = lab.stack.send(lab.ts(), id, &pattern(0, 2 * 1460), flags).unwrap();
    assert_eq!(sent, 2 * 1460);
    lab.collect();
    lab.expect(some(1460).urg(2920));
    lab.expect(some(1460).urg(1460));
}
