//! Paths that change while their MTU is looked for, and whoever lies about it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use ropeway_core::packet::IcmpErrorKind;
use ropeway_core::packet::icmp::emit_error;
use ropeway_core::{MtuProbing, StackConfig};
use ropeway_sim::pair::Narrow;

use crate::common::*;
use crate::path::{Path, kinds};

/// What was sent is what is known of: no probe is forgotten by the record.
fn assert_sound(path: &Path, what: &str) {
    assert!(path.pair.stacks.iter().all(ropeway_core::Stack::is_consistent), "{what}");
}

/// Runs to the end, and looks at the sums all along.
fn run_soundly(path: &mut Path, limit: u64, what: &str) {
    while !path.pair.all_finished() {
        let next = path.pair.now + 5000;
        path.pair.run_to(next);
        assert_sound(path, what);
        assert!(next < limit, "{what}: it stands still: {:?} {:?}", path.info(), path.pair);
    }
}

fn always(change: &impl Fn(&mut StackConfig), config: &mut StackConfig) {
    change(config);
    config.mtu_probing = MtuProbing::Always;
}

// RFC 4821 7.6.2-3
#[test]
fn a_router_that_refuses_a_probe_is_believed_and_costs_nothing() {
    for (kind, change) in kinds() {
        for v6 in [false, true] {
            let mut path = Path::new(1500, |config| always(&change, config)).steady();
            if v6 {
                path.pair = path.pair.v6();
            }
            path.pair.narrow = Some(Narrow { mtu: 1300, unheard: 0 });
            path.upload(600_000);
            let looks = path.looks();
            let (what, counters) = (format!("{kind}, IPv6: {v6}"), path.counters());
            assert_eq!((counters.fast_retransmits, counters.retransmission_timeouts), (0, 0), "{what}");
            let last = looks.last().unwrap();
            assert_eq!(last.pmtu, 1300, "{what}: what the router names may just pass");
            assert!(counters.mtu_probes_lost > 0, "{what}");
            assert_eq!(counters.mtu_probes, counters.mtu_probes_lost + counters.mtu_probes_passed, "{what}");
            if kind != "bbr" {
                assert!(
                    looks.windows(2).all(|two| two[1].cwnd >= two[0].cwnd),
                    "{what}: the window never falls"
                );
                assert_eq!(last.ssthresh, u32::MAX, "{what}");
            }
        }
    }
}

/// Says of the largest packet that it has seen lately that no more than `mtu` passes, instead of the server's segments, one in so
/// many.
fn lie(path: &mut Path, one_in: usize, mut mtu: impl FnMut(usize) -> u32 + 'static) {
    let (seen, lies) = (RefCell::new(Vec::new()), Cell::new(0));
    path.pair.set_fate(move |crossing| {
        if crossing.from == 0 {
            if crossing.packet.len() > 600 {
                *seen.borrow_mut() = crossing.packet.to_vec();
            }
            return Fate::Deliver;
        }
        if crossing.number_this_way % one_in != 0 || seen.borrow().is_empty() {
            return Fate::Deliver;
        }
        lies.set(lies.get() + 1);
        let kind = IcmpErrorKind::PacketTooBig { mtu: mtu(lies.get()) };
        let (router, us) = ("10.9.9.9".parse().unwrap(), "10.0.0.1".parse().unwrap());
        Fate::Replace(emit_error(router, us, kind, &seen.borrow(), 64))
    });
}

/// Each message is about what is in flight, so that it has to be believed: it costs small segments for a while, and no more.
#[test]
fn lies_about_probes_and_segments_do_not_stop_a_transfer() {
    let lies: [fn(usize) -> u32; 5] = [
        |_| 68,
        |_| 0,
        |nth| 1499_u32.saturating_sub(nth as u32),
        |nth| if nth % 2 == 0 { 600 } else { 1400 },
        |nth| (nth as u32).wrapping_mul(2_654_435_761) >> 8,
    ];
    for (kind, change) in kinds() {
        for mode in [MtuProbing::Off, MtuProbing::BlackHole, MtuProbing::Always] {
            for (number, told) in lies.into_iter().enumerate() {
                let what = format!("{kind}, {mode:?}, lie {number}");
                let mut path = Path::new(1500, |config| {
                    change(config);
                    config.mtu_probing = mode;
                })
                .steady();
                lie(&mut path, 5, told);
                path.upload(200_000);
                run_soundly(&mut path, secs(60), &what);
                assert!(path.info().pmtu >= 552, "{what}");
            }
        }
    }
}

/// A path whose routes differ: what passed a moment ago vanishes, and passes again.
#[test]
fn a_path_that_shrinks_and_grows_all_the_time_is_used() {
    for (kind, change) in kinds() {
        for mode in [MtuProbing::BlackHole, MtuProbing::Always] {
            for every in [70, 400, 2000] {
                let what = format!("{kind}, {mode:?}, each {every} ms");
                let mut path = Path::new(1500, |config| {
                    change(config);
                    config.mtu_probing = mode;
                })
                .steady();
                path.upload(600_000);
                let sizes = [1500, 1100, 1300, 900];
                for nth in 0.. {
                    if path.pair.all_finished() {
                        break;
                    }
                    path.takes.set(sizes[nth % sizes.len()]);
                    let next = path.pair.now + ms(every);
                    path.pair.run_to(next);
                    assert_sound(&path, &what);
                    assert!(next < secs(120), "{what}: it stands still");
                }
            }
        }
    }
}

/// The path takes less at the moment in which a probe for more is on its way.
#[test]
fn a_path_that_shrinks_under_a_probe_costs_two_timeouts() {
    for (kind, change) in kinds() {
        for takes in [1060, 800] {
            let mut path = Path::new(1500, |config| always(&change, config)).steady();
            let (limit, shrunk) = (path.takes.clone(), Rc::new(Cell::new(false)));
            let seen = shrunk.clone();
            path.pair.set_fate(move |crossing| {
                if crossing.from == 0 && crossing.packet.len() > 1064 && !seen.replace(true) {
                    limit.set(takes);
                }
                if crossing.packet.len() > limit.get() { Fate::Drop } else { Fate::Deliver }
            });
            path.upload(2_000_000);
            let what = format!("{kind}, {takes}");
            run_soundly(&mut path, secs(60), &what);
            assert!(shrunk.get(), "{what}");
            let timeouts = path.counters().retransmission_timeouts;
            assert_eq!(timeouts, 2, "{what}");
            assert!(
                usize::from(path.info().pmtu) <= takes && usize::from(path.info().pmtu) + 16 > takes,
                "{what}"
            );
        }
    }
}

/// What is sent again is cut where segments ended that were larger, and the rest of one may stand before what is too large by now.
#[test]
fn a_path_that_shrinks_again_before_all_is_repaired_is_found_again() {
    for (kind, change) in kinds() {
        for after in (0..120).step_by(24) {
            let what = format!("{kind}, {after} ms");
            let mut path = Path::new(1500, &change).steady();
            path.upload(600_000);
            path.pair.run_to(ms(200));
            path.takes.set(1100);
            while path.counters().black_holes == 0 {
                let next = path.pair.now + 1000;
                path.pair.run_to(next);
                assert!(next < secs(10), "{what}: {:?}", path.counters());
            }
            let then = path.pair.now + ms(after);
            path.pair.run_to(then);
            path.takes.set(700);
            run_soundly(&mut path, secs(60), &what);
            assert!(path.counters().retransmission_timeouts <= 6, "{what}");
        }
    }
}

/// A close, a reset and a FIN with a probe on its way, which passes or is lost.
#[test]
fn a_connection_that_ends_with_a_probe_on_its_way_ends_as_ever() {
    for (kind, change) in kinds() {
        for takes in [1500, 1200] {
            for bytes in (13_000..24_000).step_by(2200) {
                for end in
                    [&[Op::ShutdownWrite, Op::RecvEof, Op::Close][..], &[Op::Close], &[Op::Abort, Op::Close]]
                {
                    let what = format!("{kind}, {takes}, {bytes}, {end:?}");
                    let mut path = Path::new(takes, |config| always(&change, config));
                    let client: Vec<Op> = [Op::Send(bytes)].into_iter().chain(end.iter().copied()).collect();
                    let server = match end {
                        [Op::Abort, ..] => vec![Op::Fails, Op::Close],
                        _ => vec![Op::Recv(bytes), Op::RecvEof, Op::Close],
                    };
                    path.pair.converse(&client, &server);
                    path.pair.run(secs(300));
                    path.pair.run_to(secs(600));
                    assert_sound(&path, &what);
                    path.pair.assert_empty();
                    assert!(path.counters().fast_retransmits == 0, "{what}");
                }
            }
        }
    }
}

/// The reader stops while probes are on their way, and goes on.
#[test]
fn a_window_that_closes_over_a_probe_opens_again() {
    for (kind, change) in kinds() {
        for takes in [1500, 1300] {
            let what = format!("{kind}, {takes}");
            let mut path = Path::new(takes, |config| always(&change, config));
            let reads: Vec<Op> = (0..40).flat_map(|_| [Op::Recv(10_000), Op::Pause(60)]).collect();
            path.pair.converse_with(
                &[Op::Send(400_000)],
                &reads,
                |_| {},
                |options| options.recv_buffer = 20_000,
            );
            run_soundly(&mut path, secs(60), &what);
            assert_eq!(path.counters().retransmission_timeouts, 0, "{what}");
            assert_eq!(path.counters().fast_retransmits, 0, "{what}");
        }
    }
}

// RFC 4821 4-8, RFC 4821 7.1-2, RFC 4821 7.2-1
/// A peer that announces less, and a user who asks for less, are not probed beyond that.
#[test]
fn nothing_larger_is_probed_than_the_peer_or_the_user_allows() {
    for (peer, user) in [(Some(1100), None), (None, Some(1100)), (Some(536), None), (Some(1200), Some(1150))]
    {
        let mut path = Path::new(1500, |config| config.mtu_probing = MtuProbing::Always);
        path.pair.converse_with(
            &[Op::Send(400_000)],
            &[Op::Recv(400_000)],
            |options| options.max_segment = user,
            |options| options.max_segment = peer,
        );
        path.run();
        let most = peer.into_iter().chain(user).min().unwrap();
        let largest = path.packets.borrow().iter().map(|(len, _)| *len).max().unwrap();
        assert!(largest <= usize::from(most) + 40, "{peer:?} {user:?}: {largest}");
        assert_eq!(path.counters().mtu_probes_lost, 0);
        assert!(path.info().snd_mss >= most.min(1024) - 12, "{peer:?} {user:?}: {}", path.info().snd_mss);
    }
}

/// Loss, disorder, duplicates and a path of changing size at once, with any kind of sender.
#[test]
fn whatever_befalls_probes_the_stream_arrives_and_the_sums_are_right() {
    for (number, (kind, change)) in kinds().into_iter().enumerate() {
        for seed in 0..4_u64 {
            let what = format!("{kind}, seed {seed}");
            let mut dice = seed * 1000 + number as u64 + 1;
            let mut roll = move |sides: u64| {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                dice % sides
            };
            let mut path = Path::new(1500, |config| {
                change(config);
                config.mtu_probing = if seed % 3 == 0 { MtuProbing::BlackHole } else { MtuProbing::Always };
                config.probe_interval = Duration::from_secs(1);
            })
            .steady();
            let limit = path.takes.clone();
            path.pair.set_fate(move |crossing| {
                if roll(400) == 0 {
                    limit.set([1500, 1400, 1200, 1000, 700][roll(5) as usize]);
                }
                match roll(100) {
                    _ if crossing.packet.len() > limit.get() => Fate::Drop,
                    0 | 1 => Fate::Drop,
                    2 | 3 => Fate::Late(Duration::from_micros(roll(30_000))),
                    4 => Fate::Duplicate,
                    _ => Fate::Deliver,
                }
            });
            path.upload(500_000);
            run_soundly(&mut path, secs(900), &what);
        }
    }
}
