//! SYN floods (RFC 4987): the SYN queue and its bounds.

use std::net::IpAddr;

use ropeway_core::{StackConfig, SynCookieMode};

use crate::common::*;
use crate::{MANY, host};

/// A listener that so many handshakes may wait at.
fn lab(room: usize, change: impl FnOnce(&mut StackConfig)) -> Lab {
    let mut lab = Lab::with(change);
    lab.listen_with(room - 1, |_| {});
    lab
}

// RFC 4987 3.7-1
#[test]
fn a_full_queue_answers_with_cookies() {
    let mut lab = lab(4, |_| {});
    assert_eq!(lab.syns_from((0..10).map(host)), 10);
    assert_eq!(lab.half_open(), 4);
    let counters = lab.counters();
    assert_eq!((counters.syns_received, counters.syn_queue_overflows), (10, 6));
    assert_eq!((counters.cookies_sent, counters.syns_dropped), (6, 0));
}

// RFC 4987 3.2-1
#[test]
fn a_full_queue_without_cookies_drops_the_newest() {
    let mut lab = lab(4, |config| config.syn_cookies = SynCookieMode::Never);
    assert_eq!(lab.syns_from((0..10).map(host)), 4);
    assert_eq!(lab.half_open(), 4);
    let counters = lab.counters();
    assert_eq!((counters.syns_received, counters.syn_queue_overflows), (10, 6));
    assert_eq!((counters.cookies_sent, counters.syns_dropped), (0, 6));
}

// RFC 4987 3.6-1
#[test]
fn cookies_always_means_no_entry_ever() {
    let mut lab = lab(4, |config| config.syn_cookies = SynCookieMode::Always);
    assert_eq!(lab.syns_from((0..10).map(host)), 10);
    assert_eq!(lab.half_open(), 0);
    let counters = lab.counters();
    assert_eq!((counters.cookies_sent, counters.syn_queue_overflows), (10, 0));
}

#[test]
fn a_million_spoofed_syns_leave_the_tables_flat() {
    let mut lab = lab(128, |_| {});
    lab.syns_from((0..128).map(host));
    let before = lab.stack.sizes();
    let hosts = (200..).map(|number| IpAddr::from((0x1400_0001 + number * 251_u32).to_be_bytes()));
    assert_eq!(lab.syns_from(hosts.take(MANY as usize)), MANY as usize);
    assert_eq!(lab.stack.sizes(), before);
    assert_eq!(lab.counters().cookies_sent, u64::from(MANY));
    assert_eq!(lab.stack.poll_event(), None, "and the application hears nothing");
}

/// RFC 6298 5.5 for SYN-ACKs; Linux's tcp_synack_retries of 5.
/// RFC 6298 5-5
#[test]
fn a_handshake_that_nobody_completes_is_reaped_after_63_s() {
    let mut lab = lab(1, |config| config.syn_cookies = SynCookieMode::Never);
    lab.send(syn().mss(1460));
    lab.expect(syn_ack().seq(0).ack(1).mss(1460));
    for at in [1, 3, 7, 15, 31] {
        lab.at_us(secs(at));
        lab.expect(syn_ack().seq(0).ack(1).mss(1460));
    }
    lab.at_us(secs(63) - 1);
    assert_eq!((lab.half_open(), lab.syns_from([host(1)])), (1, 0), "no room before");
    lab.at_us(secs(63));
    assert_eq!((lab.half_open(), lab.counters().half_open_reaped), (0, 1));
    assert_eq!(lab.stack.poll_timeout(), None);
    assert_eq!(lab.syns_from([host(1)]), 1, "room for the next");
}

/// The peer's own retransmissions do not move the timer.
#[test]
fn a_repeated_syn_does_not_prolong_its_stay() {
    let mut lab = lab(1, |_| {});
    for second in 0..63 {
        lab.run_to(secs(second));
        lab.drain();
        lab.send(syn().mss(1460));
        lab.expect(syn_ack().seq(0).ack(1));
    }
    assert_eq!(lab.half_open(), 1);
    lab.at_us(secs(63));
    lab.assert_empty();
}

// RFC 4987 3.5-1
#[test]
fn a_whole_queue_is_retransmitted_and_reaped_in_time() {
    let mut lab = lab(3000, |_| {});
    lab.syns_from((0..3000).map(host));
    for at in [1, 3, 7, 15, 31] {
        lab.run_to(secs(at));
        assert!(lab.next_deadline() > Some(secs(at)), "all of them, though one call does a part");
    }
    // More answers than may wait at a time were due at one moment: the rest is dropped, not the entries.
    assert_eq!(lab.counters().tcp_retransmitted, 5 * 3000);
    assert_eq!(lab.half_open(), 3000);
    lab.run_to(secs(63));
    assert_eq!((lab.half_open(), lab.counters().half_open_reaped), (0, 3000));
}

fn neighbours(prefix: &str) -> impl Iterator<Item = IpAddr> {
    (1..=9).map(move |host| format!("{prefix}{host}").parse().unwrap())
}

#[test]
fn one_prefix_leaves_the_queue_open_for_others() {
    for (v6, ours, other) in [(false, "192.0.2.", "192.0.3."), (true, "2001:db8:0:1::", "2001:db8:0:2::")] {
        let mut lab = lab(64, |config| {
            config.half_open_per_prefix = 3;
            config.syn_cookies = SynCookieMode::Never;
        });
        if v6 {
            lab = lab.v6();
            lab.listen_with(64, |_| {});
        }
        assert_eq!(lab.syns_from(neighbours(ours)), 3, "its share of a /24 or /64");
        assert_eq!((lab.counters().prefix_overflows, lab.counters().syns_dropped), (6, 6));
        assert_eq!(lab.counters().syn_queue_overflows, 0);
        assert_eq!(lab.syns_from(neighbours(other).take(2)), 2, "others have theirs");
        lab.run_to(secs(63));
        lab.assert_empty();
        assert_eq!(lab.syns_from(neighbours(ours)), 3, "and it has it again");
    }
}

#[test]
fn a_prefix_beyond_its_share_gets_cookies() {
    let mut lab = lab(64, |config| config.half_open_per_prefix = 3);
    assert_eq!(lab.syns_from(neighbours("192.0.2.")), 9);
    assert_eq!((lab.half_open(), lab.counters().cookies_sent), (3, 6));
}

/// RFC 9293 3.5: what the third segment is for.
#[test]
fn an_old_duplicate_syn_costs_nobody_a_connection() {
    let mut lab = lab(16, |_| {});
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.send(rst().seq(1));
    assert_eq!((lab.half_open(), lab.counters().half_open_reset), (0, 1));
    assert_eq!((lab.counters().passive_opens, lab.stack.poll_timeout()), (0, None));
    // The same while a new handshake is under way: the ACK makes the peer reset the old one.
    lab.flow.isn = 1000;
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.flow.isn = 900_000;
    lab.send(syn().mss(1460));
    assert_eq!(lab.next_tcp().tcp.ack.get(), 1001, "an ACK for the old SYN");
    lab.flow.isn = 1000;
    lab.send(rst().seq(1));
    lab.flow.isn = 900_000;
    lab.send(syn().mss(1460));
    lab.expect(syn_ack().ack(1));
    lab.send(ack());
    assert_eq!(lab.counters().passive_opens, 1);
}

/// RFC 5961 3, for half-open connections: only the very next sequence number counts.
/// RFC 5961 3.2-3
#[test]
fn a_guessed_reset_does_not_end_a_handshake() {
    let mut lab = lab(16, |_| {});
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.send(rst().seq(2));
    lab.expect(ack().seq(1).ack(1));
    lab.send(rst().seq(70_000));
    lab.quiet();
    lab.send(ack());
    assert_eq!(lab.counters().passive_opens, 1);
}

/// RFC 9293 3.10.7.4: an ACK of what we did not send, in SYN-RECEIVED.
#[test]
fn a_guessed_ack_does_not_complete_a_handshake() {
    let mut lab = lab(16, |_| {});
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    for guess in [0, 2, 77, 1 << 31] {
        lab.send(ack().seq(1).ack(guess));
        lab.expect(rst().seq(guess));
    }
    assert_eq!((lab.half_open(), lab.counters().passive_opens), (1, 0));
    lab.send(ack());
    assert_eq!(lab.counters().passive_opens, 1);
}

/// Two forged SYNs make two listeners hold a half-open connection to each other, whose numbers do not agree:
/// each answers the other's ACK with an ACK. That must not go on for ever (RFC 5961 7).
#[test]
fn two_listeners_do_not_fight_with_acks() {
    let mut labs = [Lab::new(), Lab::new()];
    (labs[1].local, labs[1].remote) = ("10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
    labs[1].stack.remove_address("10.0.0.2".parse().unwrap());
    labs[1].stack.add_address("10.0.0.1/24".parse().unwrap());
    labs[0].remote = labs[1].local;
    for (lab, isn) in labs.iter_mut().zip([1_000, 2_000_000]) {
        lab.listen();
        lab.silent = true;
        lab.flow.isn = isn;
        lab.input(syn().mss(1460));
    }
    let mut crossed = 0;
    for millis in (0..63_000).step_by(10) {
        for side in 0..2 {
            labs[side].run_to(ms(millis));
            for sent in labs[side].drain() {
                labs[1 - side].inject(sent.packet);
                crossed += 1;
            }
        }
    }
    assert!(crossed <= 200, "{crossed} packets");
}

/// RFC 9293 3.10.7.2: other controls and text in the SYN may be kept or, as here, left for the peer to repeat.
#[test]
fn data_in_a_syn_is_neither_kept_nor_acknowledged() {
    let mut lab = lab(4, |_| {});
    lab.send(syn().bytes("early").mss(1460));
    lab.expect(syn_ack().seq(0).ack(1));
    lab.send(data("early").seq(1));
    assert_eq!(lab.counters().passive_opens, 1);
}
