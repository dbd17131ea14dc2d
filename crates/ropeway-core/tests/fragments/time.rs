//! How long fragments wait, and who is told (RFC 1122 3.3.2, RFC 8200 4.5).

use std::time::Duration;

use ropeway_core::packet::{IcmpErrorKind, icmp::emit_error};

use super::*;

#[track_caller]
fn assert_time_exceeded(answer: &[u8], about: &[u8]) {
    let parsed = ip::parse(answer).unwrap();
    let offending = ip::parse(about).unwrap();
    assert_eq!((parsed.src, parsed.dst), (offending.dst, offending.src));
    let IcmpMessage::TimeExceeded { code: 1, quote } = icmp::parse(answer, &parsed).unwrap() else {
        panic!("{answer:02x?}")
    };
    assert!(about.starts_with(&answer[quote.clone()]) && quote.len() >= about.len().min(500));
}

// RFC 1122 3.3.2-3, RFC 1122 3.3.2-4, RFC 8200 4.5-3
#[test]
fn the_sender_of_the_first_fragment_is_told_after_a_minute() {
    for ends in BOTH {
        for missing in 1..3 {
            let mut lab = Lab::new();
            let mut pieces = cut(&echo(ends, 300), 160, 9);
            pieces.remove(missing);
            lab.send_packet(pieces[1].clone());
            lab.at(30_000);
            // What comes later prolongs nothing.
            pieces.iter().for_each(|piece| lab.send_packet(piece.clone()));
            lab.at_us(ms(60_000) - 1);
            lab.quiet();
            lab.at(60_000);
            assert_time_exceeded(&lab.next_packet(), &pieces[0]);
            lab.quiet();
            assert_nothing_waits(&lab);
            assert_eq!(lab.stack.counters().datagrams_timed_out, 1);
        }
    }
}

#[test]
fn without_the_first_fragment_nobody_is_told() {
    for ends in BOTH {
        let mut lab = Lab::new();
        cut(&echo(ends, 300), 160, 9).into_iter().skip(1).for_each(|piece| lab.send_packet(piece));
        lab.at(60_000);
        lab.quiet();
        assert_nothing_waits(&lab);
        assert_eq!(lab.stack.counters().datagrams_timed_out, 1);
    }
}

// RFC 1122 3.2.2, RFC 4443 2.4 e
// RFC 1122 3.2.2-3
#[test]
fn nobody_is_told_about_an_icmp_error_in_fragments() {
    for (_, src, dst) in BOTH {
        let mut lab = Lab::new();
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        let error = emit_error(src, dst, IcmpErrorKind::TimeExceeded { code: 0 }, &[0x45; 500], 64);
        lab.send_packet(cut(&error, 160, 9).remove(0));
        assert!(lab.stack.memory().fragments > 0);
        lab.at(60_000);
        lab.quiet();
        assert_eq!(lab.stack.counters().datagrams_timed_out, 1);
    }
}

// RFC 1812 4.3.2.8, RFC 4443 2.4 f
#[test]
fn those_who_are_told_are_limited_in_rate() {
    for ends in BOTH {
        let mut lab = Lab::with(|config| config.icmp_errors_per_second = 5);
        let first = cut(&echo(ends, 300), 160, 9).remove(0);
        for ident in 0..50 {
            let packet = cut(&echo(ends, 300), 160, ident).remove(0);
            assert_eq!(packet.len(), first.len());
            lab.inject(packet);
        }
        lab.run_to(ms(60_000));
        assert_eq!(lab.drain().len(), 5);
        let counters = lab.stack.counters();
        assert_eq!((counters.datagrams_timed_out, counters.icmp_rate_limited), (50, 45));
        assert_nothing_waits(&lab);
    }
}

#[test]
fn the_time_can_be_set() {
    for ends in BOTH {
        let mut lab = Lab::with(|config| config.reassembly_timeout = Duration::from_secs(5));
        let pieces = cut(&echo(ends, 300), 160, 9);
        lab.send_packet(pieces[0].clone());
        lab.at_us(ms(5_000) - 1);
        lab.quiet();
        lab.at(5_000);
        assert_time_exceeded(&lab.next_packet(), &pieces[0]);
    }
}

// RFC 1122 3.3.2-3
#[test]
fn each_datagram_has_its_own_time() {
    for ends in BOTH {
        let mut lab = Lab::new();
        for ident in 0..3 {
            lab.at(u64::from(ident) * 1000);
            lab.send_packet(cut(&echo(ends, 300), 160, ident).remove(1));
        }
        // The second is completed.
        for piece in cut(&echo(ends, 300), 160, 1) {
            lab.send_packet(piece);
        }
        echoed(&lab.next_packet());
        assert_eq!(lab.next_deadline(), Some(ms(60_000)));
        lab.at(60_000);
        assert_eq!(lab.next_deadline(), Some(ms(62_000)));
        lab.at(62_000);
        assert_nothing_waits(&lab);
        assert_eq!(lab.stack.counters().datagrams_timed_out, 2);
    }
}

/// Many that are over at once are worked off a few at a time.
#[test]
fn a_thousand_expire_in_bounded_steps() {
    let mut lab = Lab::new();
    lab.silent = true;
    for ident in 0..1000 {
        lab.inject(cut(&echo(BOTH[0], 300), 160, ident).remove(1));
    }
    lab.now = ms(60_000);
    let mut calls = 0;
    while lab.stack.counters().datagrams_timed_out < 1000 {
        let before = lab.stack.counters().datagrams_timed_out;
        lab.stack.handle_timeout(lab.ts());
        assert!(lab.stack.counters().datagrams_timed_out - before <= 16);
        calls += 1;
    }
    assert_eq!(calls, 1000_usize.div_ceil(16));
    assert_nothing_waits(&lab);
}
