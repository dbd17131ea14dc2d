//! Paths that drop what is too large without a word: found by timeouts and probes (RFC 4821).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ropeway_core::MtuProbing;

use crate::common::*;
use crate::path::{Path, kinds};

// RFC 4821 7.3-1, RFC 4821 7.6.1-1, RFC 4821 7.6.2-2, RFC 4821 7.7-1
#[test]
fn a_black_hole_is_found_within_two_timeouts_and_all_that_passes_is_used() {
    for (kind, change) in kinds() {
        for (v6, takes) in [(false, 1400), (false, 1100), (true, 1400), (true, 1290), (false, 1499)] {
            let mut path = Path::new(takes, &change).steady();
            if v6 {
                path.pair = path.pair.v6();
            }
            path.upload(3_000_000);
            path.run();
            let (what, info) = (format!("{kind}, {takes} bytes, IPv6: {v6}"), path.info());
            let counters = path.counters();
            assert_eq!(counters.retransmission_timeouts, 2, "{what}");
            assert_eq!((counters.black_holes, info.mtu_search.unwrap().black_holes), (1, 1), "{what}");
            let (pmtu, takes) = (usize::from(info.pmtu), takes);
            assert!(pmtu <= takes && pmtu + 16 > takes, "{what}: {pmtu}");
            assert_eq!(usize::from(path.known()), pmtu, "{what}");
            assert_eq!(counters.fast_retransmits, 0, "{what}: a lost probe is no loss");
            assert!(counters.mtu_probes_lost <= 12, "{what}: {}", counters.mtu_probes_lost);
            assert_eq!(counters.mtu_probes, counters.mtu_probes_lost + counters.mtu_probes_passed, "{what}");
        }
    }
}

#[test]
fn without_probing_a_black_hole_is_the_end() {
    let mut path = Path::new(1400, |config| (config.mtu_probing, config.retries2) = (MtuProbing::Off, 6));
    path.upload_in(&[Op::Send(100_000)], 0);
    path.pair.run_to(secs(27));
    assert_eq!(path.counters().timed_out, 0);
    path.pair.run_to(secs(60));
    assert_eq!(path.counters().timed_out, 1);
}

// RFC 4821 4-2
#[test]
fn what_the_timeouts_took_is_given_back_once_the_smaller_size_gets_through() {
    for (kind, change) in kinds() {
        let mut path = Path::new(1500, &change).with_queue();
        path.upload(6_000_000);
        path.pair.run_to(secs(2));
        let before = path.info();
        path.takes.set(1200);
        let looks = path.looks();
        let timed_out = looks.iter().position(|look| look.retransmits > 0).unwrap();
        let low = looks[timed_out..].iter().position(|look| look.pmtu < 1500).unwrap() + timed_out;
        let through = looks[low..].iter().position(|look| look.retransmits == 0).unwrap() + low;
        let (then, after) = (&looks[timed_out - 1], &looks[through]);
        if kind != "bbr" {
            assert!(looks[low].cwnd < then.cwnd / 4, "{kind}: {} of {}", looks[low].cwnd, then.cwnd);
        }
        assert!(looks[through - 1].backoff >= 2, "{kind}");
        assert_eq!(after.backoff, 0, "{kind}");
        assert!(after.cwnd >= then.cwnd * 9 / 10, "{kind}: {} before, {} after", then.cwnd, after.cwnd);
        assert_eq!(after.ssthresh, then.ssthresh, "{kind}");
        assert!(before.pmtu == 1500 && path.info().pmtu > 1180, "{kind}");
        assert_eq!(path.counters().black_holes, 1, "{kind}");
    }
}

// RFC 4821 4-1, RFC 4821 7.6.2-1, RFC 4821 10.1-1
// A probe's loss is no sign of congestion.
#[test]
fn lost_probes_cost_neither_window_nor_rate() {
    for (kind, change) in kinds() {
        let mut path = Path::new(1300, |config| {
            change(config);
            config.mtu_probing = MtuProbing::Always;
        })
        .steady();
        path.upload(3_000_000);
        let looks = path.looks();
        let counters = path.counters();
        assert!(counters.mtu_probes_lost >= 4, "{kind}: {}", counters.mtu_probes_lost);
        assert_eq!((counters.fast_retransmits, counters.retransmission_timeouts), (0, 0), "{kind}");
        assert_eq!(counters.undone, 0, "{kind}");
        let last = looks.last().unwrap();
        assert!(last.pmtu <= 1300 && last.pmtu > 1284, "{kind}: {}", last.pmtu);
        // A segment more was sent for each piece of a probe, and no other.
        assert!(counters.tcp_retransmitted <= 2 * counters.mtu_probes_lost, "{kind}");
        if kind != "bbr" {
            assert!(looks.windows(2).all(|two| two[1].cwnd >= two[0].cwnd), "{kind}: the window never falls");
            assert_eq!(last.ssthresh, u32::MAX, "{kind}");
        }
        assert!(looks.iter().all(|look| look.reord_seen == 0 && look.reordering == 3), "{kind}");
    }
}

// RFC 4821 7.6.2-1
/// The tail is asked for again while nobody knows yet that a probe before it was lost. Its loss is no reason to believe that this
/// has repaired one.
#[test]
fn a_lost_probe_beside_a_probe_of_the_tail_costs_no_window() {
    let mut asked = 0;
    let pauses = (0..400).step_by(20);
    for (bytes, pause) in pauses.flat_map(|pause| [18_000, 25_000, 40_000].map(|bytes| (bytes, pause))) {
        let mut path = Path::new(1300, |config| config.mtu_probing = MtuProbing::Always);
        let lost = Rc::new(Cell::new(false));
        path.pair.set_fate(move |crossing| {
            if crossing.from == 0 && crossing.packet.len() > 1300 {
                lost.set(true);
                return Fate::Drop;
            }
            // What the server says from then on is so late that the tail is asked for.
            if crossing.from == 1 && lost.get() {
                Fate::Late(Duration::from_millis(80))
            } else {
                Fate::Deliver
            }
        });
        path.upload_in(&[Op::Send(bytes), Op::Pause(pause), Op::Send(5000)], bytes + 5000);
        path.run();
        let (counters, info) = (path.counters(), path.info());
        asked += u64::from(counters.mtu_probes_lost > 0) * counters.tail_probes;
        assert_eq!(
            (counters.fast_retransmits, counters.retransmission_timeouts),
            (0, 0),
            "{bytes}, {pause} ms"
        );
        assert_eq!(info.ssthresh, u32::MAX, "{bytes}, {pause} ms");
    }
    assert!(asked > 10, "{asked}");
}

/// A probe that is overtaken by smaller segments is not evidence that those may be overtaken.
#[test]
fn a_late_probe_is_no_reordering() {
    let mut path = Path::new(1500, |config| config.mtu_probing = MtuProbing::Always);
    path.pair.set_fate(|crossing| {
        if crossing.from == 0 && crossing.packet.len() > 1064 {
            Fate::Late(Duration::from_millis(1))
        } else {
            Fate::Deliver
        }
    });
    path.upload(60_000);
    path.run();
    assert!(path.counters().mtu_probes_passed > 0);
    assert_eq!(path.info().reord_seen, 0);
    assert_eq!(path.info().reordering, 3);
}

// RFC 4821 5.1-1, RFC 4821 7.2-2, RFC 4821 7.4-3
#[test]
fn a_probe_goes_alone_between_trains() {
    let mut path = Path::new(1500, |config| {
        config.mtu_probing = MtuProbing::Always;
        config.longest_train = 65_535;
    })
    .steady();
    path.upload(1_000_000);
    path.run();
    let packets = path.packets.borrow();
    let first = packets.iter().position(|(len, _)| *len > 1064).unwrap();
    assert_eq!(packets[first].0, 1282, "halfway from 1064 to 1500");
    assert!(packets[first + 1].0 <= 1064);
    assert_eq!(path.info().pmtu, 1500);
}

// RFC 4821 7.3-2
// Linux: `tcp_probe_interval`
#[test]
fn it_grows_again_when_the_path_takes_more_after_ten_minutes() {
    let mut path = Path::new(1200, |_| {}).steady();
    path.upload_in(
        &[
            Op::Send(2_000_000),
            Op::Pause(300_000),
            Op::Send(2_000_000),
            Op::Pause(301_000),
            Op::Send(2_000_000),
        ],
        6_000_000,
    );
    path.pair.run_to(secs(200));
    let low = path.info().pmtu;
    assert!((1184..=1200).contains(&low), "{low}");
    let probes = path.counters().mtu_probes;
    path.takes.set(1500);
    path.pair.run_to(secs(500));
    assert_eq!((path.info().pmtu, path.counters().mtu_probes), (low, probes), "not yet");
    path.run();
    assert!(path.info().pmtu > 1490, "{}", path.info().pmtu);
    assert!(path.counters().mtu_probes_lost > 0 && path.counters().retransmission_timeouts == 2);
    assert!(path.known() > 1490);
}

// RFC 4821 5.2-1, RFC 4821 7.1-1
#[test]
fn later_connections_begin_with_what_was_found() {
    let mut path = Path::new(1400, |_| {}).steady();
    path.upload(3_000_000);
    path.run();
    let (found, timeouts) = (path.info().pmtu, path.counters().retransmission_timeouts);
    path.packets.borrow_mut().clear();
    path.pair.server.set_port(81);
    path.upload(1_000_000);
    path.run();
    assert_eq!(path.counters().retransmission_timeouts, timeouts);
    assert_eq!(path.info().pmtu, found);
    assert!(path.packets.borrow().iter().all(|(len, dropped)| *len <= usize::from(found) && !dropped));
    assert_eq!(path.counters().black_holes, 1);
}

// RFC 4821 4-6
/// One finds it, and the other needs one timeout to ask what is known.
#[test]
fn connections_of_the_time_need_one_timeout_of_their_own() {
    let mut path = Path::new(1500, |_| {});
    path.upload(40_000);
    path.run();
    path.takes.set(1400);
    path.pair.server.set_port(81);
    path.upload(400_000);
    path.run();
    assert_eq!(path.counters().retransmission_timeouts, 2);
    let first = path.pair.programs[0].id.unwrap();
    let ts = path.pair.ts();
    path.pair.stacks[0].send(ts, first, &[1; 30_000], ropeway_core::SendFlags::default()).unwrap();
    let until = path.pair.now + secs(10);
    path.pair.run_to(until);
    assert_eq!(path.counters().retransmission_timeouts, 3);
    assert!(path.pair.stacks[0].info(path.pair.ts(), first).unwrap().pmtu <= 1400);
}

// RFC 4821 7.7-2
/// Nothing is small enough: the floors, and no further (RFC 8201 4, `tcp_mtu_probe_floor`).
#[test]
fn there_is_a_floor() {
    for (v6, floor) in [(false, 88), (true, 1280)] {
        let mut path = Path::new(1500, |_| {});
        if v6 {
            path.pair = path.pair.v6();
        }
        path.upload_in(&[Op::Send(100_000)], 0);
        path.pair.run_to(ms(25));
        path.takes.set(if v6 { 90 } else { 70 });
        path.pair.run_to(secs(1200));
        assert_eq!(path.counters().timed_out, 1);
        let least = path.packets.borrow().iter().rev().take(1).map(|(len, _)| *len).min().unwrap();
        assert!(least <= floor + 12 && (!v6 || least > 1200), "{least}");
        assert_eq!(usize::from(path.known()), 1500, "nothing was proved");
    }
}

// RFC 4821 7.7-1
/// What is small enough anyway was lost for another reason: so is what is not heard of in an interruption.
#[test]
fn small_messages_in_an_interruption_are_no_black_hole() {
    let mut path = Path::new(1500, |_| {});
    path.upload_in(&[Op::Send(500), Op::Pause(100), Op::Send(500)], 1000);
    path.pair.run_to(ms(90));
    path.pair.cut = true;
    path.pair.run_to(secs(5));
    path.pair.cut = false;
    path.run();
    assert_eq!((path.info().pmtu, path.counters().black_holes), (1500, 0));
}

// RFC 4821 7.1-3
/// An interruption looks like a black hole until the whole size is tried again, which is at once.
#[test]
fn an_interruption_costs_next_to_nothing() {
    for (kind, change) in kinds() {
        for millis in [300, 1000, 5000] {
            let took = [MtuProbing::Off, MtuProbing::BlackHole].map(|mode| {
                let mut path = Path::new(1500, |config| {
                    change(config);
                    config.mtu_probing = mode;
                });
                path = path.with_queue();
                path.upload(4_000_000);
                path.pair.run_to(secs(2));
                path.pair.cut = true;
                path.pair.run_to(secs(2) + ms(millis));
                path.pair.cut = false;
                path.run();
                assert_eq!(path.info().pmtu, 1500, "{kind}, {millis} ms");
                path.pair.now
            });
            assert!(took[1] <= took[0] * 103 / 100, "{kind}, {millis} ms: {took:?}");
        }
    }
}

// RFC 4821 7.4-1, RFC 4821 7.4-2
/// A window too small for a probe and what must follow it: it goes on with what passes.
#[test]
fn a_small_window_lives_with_the_smaller_size() {
    let mut path = Path::new(1400, |_| {});
    path.pair.converse_with(
        &[Op::Send(200_000)],
        &[Op::Recv(200_000)],
        |_| {},
        |options| options.recv_buffer = 4096,
    );
    path.run();
    assert_eq!(path.counters().retransmission_timeouts, 2);
    assert_eq!(path.info().pmtu, 1064);
}

// RFC 4821 7.7-2
#[test]
fn the_second_size_is_half_when_a_thousand_do_not_pass() {
    let mut path = Path::new(600, |_| {}).steady();
    path.upload(3_000_000);
    path.run();
    assert_eq!(path.counters().retransmission_timeouts, 4);
    assert!((580..=600).contains(&path.info().pmtu), "{}", path.info().pmtu);
}
