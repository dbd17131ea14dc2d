//! The congestion window: its initial size, slow start, congestion avoidance, idle time, and what does not make it
//! grow (RFC 5681, RFC 6928).

use crate::common::*;
use crate::{MSS, flight, reno, seg};

// RFC 6928 2
#[test]
fn the_initial_window_is_ten_segments() {
    for (mss, segments) in [(1460, 10), (536, 10), (48, 10)] {
        let mut lab = Lab::new();
        let id = lab.accepted_with(Peer { mss: Some(mss), ..Peer::default() }, roomy);
        lab.write(id, &pattern(0, 60_000));
        assert_eq!(lab.drain().len(), segments, "MSS {mss}");
    }
    let mut lab = Lab::with(|config| config.mtu = 9000);
    let id = lab.accepted_with(Peer { mss: Some(8960), ..Peer::default() }, roomy);
    lab.write(id, &pattern(0, 60_000));
    assert_eq!(lab.drain().len(), 2, "14600 bytes, but two segments at least");
}

// RFC 5681 3.1; RFC 9293 3.8.2 MUST-19
#[test]
fn slow_start_doubles_each_round_trip() {
    let mut lab = Lab::with(|config| config.pacing = false);
    let id = lab.accepted_with(Peer { ws: Some(7), win: 8000, ..Peer::default() }, roomy);
    lab.write(id, &pattern(0, 500_000));
    let mut round = lab.drain().len();
    assert_eq!(round, 10);
    let mut acked = 0;
    for expected in [20, 40, 80] {
        lab.after(10);
        // Every second segment is acknowledged, as receivers do.
        for _ in 0..round / 2 {
            acked += 2;
            lab.input(ack().ack(seg(acked)));
        }
        lab.collect();
        round = lab.drain().len();
        assert_eq!(round, expected);
    }
}

#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let (mut lab, id) = established();
    for n in 0..20 {
        lab.write(id, &pattern(n * 100, 100));
        lab.drain();
        lab.send(ack());
    }
    assert_eq!(lab.info(id).cwnd, 14_600);
}

// RFC 5681 4.1
#[test]
fn the_window_starts_anew_after_idle_time() {
    let mut lab = Lab::new();
    let id = lab.accepted_with(Peer { ws: Some(7), win: 8000, ..Peer::default() }, roomy);
    lab.write(id, &pattern(0, 70 * MSS));
    for _ in 0..20 {
        lab.drain();
        lab.send(ack());
    }
    lab.drain();
    assert!(lab.info(id).cwnd as usize > 20 * MSS);
    lab.run_to(lab.now + secs(2));
    lab.write(id, &pattern(0, 70 * MSS));
    assert_eq!(lab.drain().len(), 10);
}

// RFC 7661 4.1: beyond slow start only what the window held back shows that it is too small.
#[test]
fn an_application_that_sends_little_does_not_grow_its_window_after_a_loss() {
    let (mut lab, id) = reno();
    flight(&mut lab, id, 4);
    for _ in 0..3 {
        lab.send(ack().ack(1));
    }
    lab.expect(some(MSS).seq(1));
    lab.send(ack());
    let info = lab.info(id);
    assert_eq!((info.cwnd, info.ssthresh), (2 * MSS as u32, 2 * MSS as u32));
    for _ in 0..10 {
        // More than half of the window, and all that there is.
        lab.write(id, &pattern(0, MSS + 100));
        lab.expect(some(MSS));
        lab.expect(some(100));
        lab.send(ack());
    }
    assert_eq!(lab.info(id).cwnd, info.cwnd);
}

// RFC 9293 3.8.2 MUST-19
#[test]
fn congestion_avoidance_adds_a_segment_per_round_trip() {
    let (mut lab, id) = reno();
    lab.set(id, roomy);
    lab.write(id, &pattern(0, 200 * MSS));
    lab.drain();
    // One loss puts the threshold at about five segments.
    for _ in 0..3 {
        lab.send(ack().ack(1));
        lab.drain();
    }
    lab.send(ack());
    let mut last = lab.info(id).cwnd as usize;
    lab.drain();
    for _ in 0..10 {
        lab.after(1);
        lab.send(ack());
        lab.drain();
        let cwnd = lab.info(id).cwnd as usize;
        assert!(cwnd <= last.max(5 * MSS) + MSS, "from {last} to {cwnd}");
        last = cwnd;
    }
    assert!(last >= 8 * MSS, "{last}");
}

/// Ten acknowledgements of a tenth of a segment each must not open ten segments of window (RFC 3465 2.1).
#[test]
fn ack_splitting_does_not_pay() {
    let (mut lab, id) = established();
    lab.set(id, roomy);
    lab.write(id, &pattern(0, 100 * MSS));
    lab.drain();
    for n in 1..=10u32 {
        lab.send(ack().ack(1 + 146 * n));
        lab.drain();
    }
    assert!(lab.info(id).cwnd as usize <= 11 * MSS);
}

// RFC 5681 4.3, RFC 6582: an optimistic receiver cannot make us believe in what was not sent.
#[test]
fn optimistic_acknowledgements_do_not_pay() {
    let (mut lab, id) = established();
    lab.set(id, roomy);
    lab.write(id, &pattern(0, 100 * MSS));
    lab.drain();
    let cwnd = lab.info(id).cwnd;
    for n in 11..30 {
        lab.send(ack().ack(seg(n)));
        lab.drain();
    }
    assert_eq!(lab.info(id).cwnd, cwnd);
}

/// `SO_MAX_PACING_RATE`: a burst of twenty segments, and from then on the rate, whatever the window allows.
#[test]
fn the_users_rate_holds_from_the_first_segment_on() {
    let mut lab = Lab::new();
    let peer = Peer { ws: Some(7), win: 8000, ..Peer::default() };
    let id = lab.accepted_with(peer, |options| options.max_pacing_rate = Some(146_000));
    lab.set(id, roomy);
    lab.write(id, &pattern(0, 300 * MSS));
    let mut sent = 0;
    // Every millisecond all that is there is acknowledged.
    for _ in 0..1000 {
        lab.run_to(lab.now + ms(1));
        let out = lab.drain().len();
        sent += out;
        if out > 0 {
            lab.send(ack());
        }
    }
    // A hundred segments in a second, besides the burst.
    assert!((115..=122).contains(&sent), "{sent}");
    lab.set(id, |options| options.max_pacing_rate = None);
    for _ in 0..20 {
        lab.run_to(lab.now + ms(1));
        if !lab.drain().is_empty() {
            lab.send(ack());
        }
    }
    assert_eq!(lab.info(id).not_sent, 0, "without a limit the rest takes no time");
}
