//! SYN and SYN-ACK are sent again, and given up; what the handshake tells about the round trip (RFC 9293 3.8.3, RFC
//! 6298 2, 5.7).

use std::time::Duration;

use ropeway_core::{ConnectionError, Readiness, State};

use crate::common::*;

// RFC 6298 2-1
// RFC 6298 2.1, 5.5; RFC 9293 3.8.3 MUST-22, MUST-23: 1, 3, 7, 15, 31, 63, 127 s, and not given up within 3 min
#[test]
fn syn_is_sent_again_at_its_backoff_and_given_up_after_its_retries() {
    let mut lab = Lab::new();
    let id = lab.connect();
    let first = lab.expect(syn().seq(0));
    for seconds in [1, 3, 7, 15, 31, 63, 127] {
        lab.at(seconds * 1000);
        let again = lab.expect(syn().seq(0).mss(1460));
        assert_eq!(again.tcp.seq, first.tcp.seq);
    }
    // The next wait would be 128 s; the maximum is 120 s.
    lab.at_us(secs(247) - 1);
    lab.assert_state(id, State::SynSent);
    assert!(lab.now >= secs(180));
    lab.at_us(secs(247));
    lab.quiet();
    lab.assert_state(id, State::Closed);
    assert!(lab.told(id, Readiness::WRITABLE));
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut));
    lab.close(id);
    lab.assert_empty();
    assert_eq!(lab.stack.counters().failed_opens, 1);
}

#[test]
fn syn_retries_can_be_set() {
    let mut lab = Lab::new();
    let id = lab.connect_with(|options| options.syn_retries = 2).unwrap();
    lab.expect(syn());
    lab.at(1000);
    lab.expect(syn());
    lab.at(3000);
    lab.expect(syn());
    lab.at_us(secs(7) - 1);
    lab.assert_state(id, State::SynSent);
    lab.at(7000);
    lab.assert_state(id, State::Closed);
}

#[test]
fn syn_is_not_sent_again_once_answered() {
    let mut lab = Lab::new();
    let id = lab.connected(Peer::default());
    lab.at(1_000_000);
    lab.assert_state(id, State::Established);
    assert_eq!(lab.next_deadline(), None);
}

// RFC 6298 5-7
// RFC 6298 5.7: after a lost SYN, data starts with an RTO of 3 s.
#[test]
fn a_lost_syn_makes_the_first_rto_three_seconds() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    lab.at(1000);
    lab.expect(syn());
    lab.send(syn_ack().mss(1460));
    lab.expect(ack());
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    // Karn: no sample from a SYN that was sent twice.
    assert_eq!(lab.info(id).srtt, Duration::ZERO);
    lab.at(4000);
    lab.expect(data(b"x"));
    // RFC 5681 3.1: the initial window after a lost SYN is one segment.
    assert_eq!(lab.info(id).cwnd, 1460);
}

// RFC 6298 2-2
#[test]
fn the_handshake_is_the_first_sample() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    lab.at(100);
    lab.send(syn_ack().mss(1460));
    lab.expect(ack());
    let info = lab.info(id);
    assert_eq!((info.srtt, info.rttvar), (Duration::from_millis(100), Duration::from_millis(50)));
    assert_eq!(info.rto, Duration::from_millis(300));
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.at(400);
    lab.expect(data(b"x"));
}

// At 1, 3, 7, 15, 31 s; reaped at 63 s.
#[test]
fn the_nth_syn_ack_at_its_backoff_and_the_reaper_after_63_s() {
    let mut lab = Lab::new();
    lab.listen();
    lab.at(17);
    lab.send(syn().mss(1460).ws(3));
    let first = lab.expect(syn_ack().seq(0).ack(1).mss(1460).ws(10));
    for seconds in [1, 3, 7, 15, 31] {
        lab.at(17 + seconds * 1000);
        let again = lab.expect(syn_ack().seq(0).ack(1).mss(1460).ws(10));
        assert_eq!(again.tcp.seq, first.tcp.seq);
    }
    lab.at_us(ms(17) + secs(63) - 1);
    assert_eq!(lab.stack.sizes().half_open, 1);
    lab.at_us(ms(17) + secs(63));
    lab.quiet();
    assert_eq!(lab.stack.sizes().half_open, 0);
    assert_eq!(lab.stack.counters().half_open_reaped, 1);
    assert_eq!(lab.next_deadline(), None);
    // Too late.
    lab.send(ack());
    lab.expect(rst().seq(1));
}

// RFC 4987 3.3-1
#[test]
fn half_open_reaping_can_be_set() {
    for (retries, reaped_at) in [(0, 1), (1, 3), (2, 7), (7, 247)] {
        let mut lab = Lab::with(|config| config.synack_retries = retries);
        lab.listen();
        lab.send(syn());
        lab.expect(syn_ack());
        lab.run_to(secs(reaped_at) - 1);
        assert_eq!(lab.stack.sizes().half_open, 1);
        assert_eq!(lab.drain().len(), retries as usize);
        lab.at_us(secs(reaped_at));
        lab.assert_empty();
    }
}

#[test]
fn many_half_open_connections_keep_their_own_time() {
    let mut lab = Lab::new();
    lab.listen_with(100, |_| {});
    for n in 0..50 {
        lab.at(n * 13);
        lab.switch(5000 + n as u16);
        lab.send(syn());
        lab.expect(syn_ack());
    }
    // 50 SYN-ACKs at 1 s, 50 at 3 s, ..., each after its own SYN.
    for seconds in [1, 3, 7, 15, 31] {
        for n in 0..50 {
            lab.at(n * 13 + seconds * 1000);
            lab.switch(5000 + n as u16);
            lab.expect(syn_ack().seq(0).ack(1));
        }
    }
    for n in 0..50 {
        lab.at_us(ms(n * 13 + 63_000) - 1);
        assert_eq!(lab.stack.sizes().half_open as u64, 50 - n);
        lab.at(n * 13 + 63_000);
        assert_eq!(lab.stack.sizes().half_open as u64, 49 - n);
    }
    lab.assert_empty();
}

// RFC 6298 5-7
#[test]
fn a_lost_syn_ack_makes_the_first_rto_three_seconds() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.at(1000);
    lab.expect(syn_ack());
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    lab.write(id, b"x");
    lab.expect(data(b"x"));
    lab.at(4000);
    lab.expect(data(b"x"));
}

// RFC 4015: with a round trip of two seconds the timeouts of a SYN or a SYN-ACK were spurious. The echo tells.
#[test]
fn a_handshake_that_was_only_slow_keeps_the_initial_window() {
    for passive in [false, true] {
        for (seconds, echoed) in [(1, 0), (3, 0), (3, 1), (7, 3)] {
            let mut lab = Lab::new();
            let listener = lab.listen();
            let opened = (!passive).then(|| lab.connect());
            if passive {
                lab.send(syn().mss(1460).ts(1, 0));
            }
            let mut stamps = Vec::new();
            for at in [0, 1, 3, 7].into_iter().filter(|at| *at <= seconds) {
                if at > 0 {
                    lab.at(at * 1000);
                }
                let sent = lab.expect(if passive { syn_ack() } else { syn() });
                stamps.push((at, sent.tcp.options.timestamps.unwrap().tsval));
            }
            let stamp = stamps.iter().find(|(at, _)| *at == echoed).unwrap().1;
            lab.after(200);
            if passive {
                lab.send(ack().ts(2, stamp));
            } else {
                lab.send(syn_ack().mss(1460).ts(1, stamp));
                lab.expect(ack());
            }
            let id = opened.or_else(|| lab.accept(listener)).unwrap();
            let window = if echoed == 0 { 10 } else { 1 };
            assert_eq!(
                lab.info(id).cwnd,
                window * 1448,
                "passive: {passive}, {seconds} s, echo of {echoed} s"
            );
        }
    }
}

#[test]
fn the_peers_second_syn_makes_the_sample_ambiguous() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.at(900);
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    lab.send(ack());
    let id = lab.accept(listener).unwrap();
    assert_eq!(lab.info(id).srtt, Duration::ZERO);
}

#[test]
fn a_simultaneous_open_that_is_not_answered_is_given_up() {
    let mut lab = Lab::new();
    let id = lab.connect();
    lab.expect(syn());
    lab.send(syn().mss(1460));
    lab.expect(syn_ack());
    for _ in 0..20 {
        let Some(at) = lab.next_deadline() else { break };
        lab.at_us(at);
        if !lab.out.is_empty() {
            lab.expect(syn_ack().seq(0).ack(1));
        }
    }
    lab.assert_state(id, State::Closed);
    assert_eq!(lab.stack.take_error(id), Some(ConnectionError::TimedOut));
    assert!(lab.now >= secs(60), "given up after {} us", lab.now);
}

/// The timer goes off, and before anything is sent the answer arrives: the SYN is not sent again.
#[test]
fn an_answer_that_comes_with_the_timeout_leaves_no_syn_behind() {
    for crossing in [false, true] {
        let mut lab = Lab::new();
        let id = lab.connect();
        lab.expect(syn().seq(0));
        if crossing {
            lab.send(syn().mss(1460));
            lab.expect(syn_ack().seq(0).ack(1));
        }
        lab.now = lab.next_deadline().unwrap();
        lab.stack.handle_timeout(lab.ts());
        lab.input(syn_ack().mss(1460));
        lab.collect();
        if !crossing {
            lab.expect(ack().seq(1).ack(1));
        }
        lab.assert_state(id, State::Established);
        lab.quiet();
        lab.run_to(secs(3600));
        lab.quiet();
        lab.assert_state(id, State::Established);
    }
}
