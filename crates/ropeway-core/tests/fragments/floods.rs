//! Fragments that never make a datagram: what they may take, and who suffers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;

const LIMIT: usize = 1 << 20;

fn small() -> Lab {
    let mut lab = Lab::with(|config| config.reassembly_memory = LIMIT);
    lab.silent = true;
    lab.most_calls = 10_000_000;
    lab
}

/// The address of a host in another network each time.
fn host(v6: bool, n: u32) -> IpAddr {
    match v6 {
        false => Ipv4Addr::from_bits(0x0b00_0001 + (n << 8)).into(),
        true => Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(n) << 64 | 1).into(),
    }
}

fn fragment_from(v6: bool, src: IpAddr, place: (u32, usize, bool), len: usize) -> Vec<u8> {
    let protocol = if v6 { Protocol::ICMPV6 } else { Protocol::ICMP };
    piece((v6, &src.to_string(), if v6 { "fd00::2" } else { "10.0.0.2" }), protocol, place, &vec![7; len])
}

#[test]
fn a_flood_takes_no_more_than_it_may_and_leaves_nothing() {
    for v6 in [false, true] {
        let mut lab = small();
        for n in 0..30_000 {
            let len = [8, 8, 512, 1400][n as usize % 4];
            lab.inject(fragment_from(v6, host(v6, n), (n, 1400, true), len));
            assert!(lab.stack.memory().fragments <= LIMIT);
        }
        assert!(lab.stack.memory().fragments > LIMIT * 9 / 10);
        let counters = lab.stack.counters();
        assert!(counters.datagrams_displaced > 25_000);
        lab.run_to(ms(60_000));
        lab.quiet();
        assert_nothing_waits(&lab);
        assert_eq!(
            lab.stack.counters().datagrams_timed_out + lab.stack.counters().datagrams_displaced,
            30_000
        );
        assert!(lab.stack.memory().total() < 1000, "{:?}", lab.stack.memory());
    }
}

/// The smallest fragments cost more than they carry, and that counts.
#[test]
fn tiny_fragments_of_one_datagram_are_held_to_the_same() {
    for (v6, src, _) in BOTH {
        let mut lab = small();
        let src = src.parse().unwrap();
        for n in (1..8000).rev() {
            lab.inject(fragment_from(v6, src, (1, 8 * n, true), 8));
            assert!(lab.stack.memory().fragments <= LIMIT / 2);
        }
        assert!(lab.stack.counters().datagrams_displaced > 0);
    }
}

/// While a flood goes on, datagrams whose fragments come one after the other get through.
#[test]
fn an_honest_datagram_gets_through_a_flood() {
    for ends in BOTH {
        let mut lab = small();
        let mut n = 0;
        for ident in 0..50 {
            for honest in cut(&echo(ends, 5000), 1500, ident) {
                for _ in 0..100 {
                    n += 1;
                    lab.inject(fragment_from(ends.0, host(ends.0, n), (n, 1400, true), 1400));
                }
                lab.inject(honest);
            }
            assert_eq!(echoed(&join(&sent(&mut lab))).len(), 5000);
        }
    }
}

/// One network has half of it at most: what others have sent is not given up for that.
#[test]
fn one_network_cannot_push_others_out() {
    for ends in BOTH {
        let mut lab = small();
        let waits: Vec<_> = (0..20).map(|ident| cut(&echo(ends, 5000), 1500, ident)).collect();
        for pieces in &waits {
            pieces[1..].iter().for_each(|piece| lab.inject(piece.clone()));
        }
        let network = if ends.0 { "2001:db8::" } else { "192.0.2." };
        for n in 0..5000 {
            let src = format!("{network}{}", n % 200).parse().unwrap();
            lab.inject(fragment_from(ends.0, src, (n, 1400, true), 1400));
        }
        assert!(lab.stack.memory().fragments <= LIMIT / 2 + 20 * 5 * 2000);
        for pieces in waits {
            lab.inject(pieces[0].clone());
            assert_eq!(echoed(&join(&sent(&mut lab))).len(), 5000);
        }
    }
}

#[test]
fn the_oldest_is_given_up_first() {
    for ends in BOTH {
        let mut lab = small();
        // Each from a network of its own.
        let ends_of = |n: u32| host(ends.0, n).to_string();
        let pieces = |n: u32| cut(&echo((ends.0, &ends_of(n), ends.2), 2000), 1500, 1);
        let mut count = 0;
        while lab.stack.counters().datagrams_displaced == 0 {
            lab.inject(pieces(count)[0].clone());
            count += 1;
        }
        for n in (1..count).rev() {
            lab.inject(pieces(n)[1].clone());
            assert_eq!(echoed(&join(&sent(&mut lab))).len(), 2000, "{n}");
        }
        lab.inject(pieces(0)[1].clone());
        assert!(sent(&mut lab).is_empty());
        assert_eq!(lab.stack.counters().datagrams_displaced, 1);
    }
}

/// It is an eighth of the budget at most, and less when that is used up.
#[test]
fn scarce_memory_leaves_less_to_fragments() {
    let mut lab = Lab::with(|config| config.memory_budget = Some(1 << 20));
    lab.silent = true;
    let flood = |lab: &mut Lab, count: std::ops::Range<u32>| {
        count.for_each(|n| lab.inject(fragment_from(false, host(false, n), (n, 1400, true), 1400)));
    };
    flood(&mut lab, 0..1000);
    let alone = lab.stack.memory().fragments;
    assert!((100_000..=128 << 10).contains(&alone), "{alone}");
    lab.stack.set_slabs(800 << 10);
    flood(&mut lab, 1000..1001);
    assert!(lab.stack.memory().fragments < 40_000, "{:?}", lab.stack.memory());
    // What waits is asked for when others come, too.
    lab.stack.set_slabs(0);
    flood(&mut lab, 1001..2000);
    lab.stack.set_slabs(950 << 10);
    lab.input(syn());
    assert!(lab.stack.memory().fragments < 20_000, "{:?}", lab.stack.memory());
}

#[test]
fn none_wait_where_none_may() {
    for ends in BOTH {
        let mut lab = Lab::with(|config| config.reassembly_memory = 0);
        cut(&echo(ends, 200), 150, 1).into_iter().for_each(|piece| lab.send_packet(piece));
        lab.quiet();
        assert_nothing_waits(&lab);
        assert!(lab.stack.counters().fragments > 1);
    }
}

/// Honest or not, whatever comes: nothing is left when all time is over, and the ledger agrees.
#[test]
fn random_fragments_leave_nothing_behind() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut lab = Lab::with(|config| config.reassembly_memory = 200_000);
        lab.silent = true;
        for _ in 0..3000 {
            let v6 = random.chance(50);
            let src = host(v6, random.below(4) as u32);
            let place = (random.below(3) as u32, 8 * random.below(20) as usize, random.chance(80));
            lab.inject(fragment_from(v6, src, place, 8 * random.below(30) as usize));
            if random.chance(5) {
                lab.run_to(lab.now + ms(random.below(20_000)));
            }
        }
        assert!(lab.stack.counters().datagrams_overlapping > 0);
        lab.run_to(lab.now + ms(60_000));
        assert_nothing_waits(&lab);
    }
}
