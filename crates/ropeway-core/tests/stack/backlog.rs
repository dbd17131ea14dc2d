//! The SYN queue and the accept queue are full: SYN cookies, and what is dropped (RFC 4987).

use ropeway_core::{ConnectError, Event, SocketOptions, SynCookieMode};

use crate::common::*;

/// A SYN from each of these ports is answered with a SYN-ACK.
fn half_open(lab: &mut Lab, ports: impl IntoIterator<Item = u16>) {
    for port in ports {
        lab.switch(port);
        lab.send(syn());
        lab.expect(syn_ack());
    }
}

/// So many clients may come until one is not answered.
fn answered(lab: &mut Lab, complete: bool, most: usize) -> usize {
    (5000u16..)
        .take(most)
        .take_while(|port| {
            lab.switch(*port);
            lab.send(syn());
            let answered = lab.drain().len() == 1;
            if answered && complete {
                lab.send(ack());
            }
            answered
        })
        .count()
}

/// `sk_acceptq_is_full` and `inet_csk_reqsk_queue_is_full` of Linux say "more than the backlog", so `listen(0)` is of
/// use.
#[test]
fn a_backlog_of_n_holds_n_and_one_more_as_linux_does() {
    for backlog in [0, 1, 2, 7, 128] {
        // Handshakes that are complete and wait to be accepted.
        for cookies in [SynCookieMode::Never, SynCookieMode::WhenFull, SynCookieMode::Always] {
            let mut lab = Lab::with(|config| config.syn_cookies = cookies);
            let listener = lab.listen_with(backlog, |_| {});
            assert_eq!(answered(&mut lab, true, 1000), backlog + 1, "cookies {cookies:?}");
            assert_eq!(std::iter::from_fn(|| lab.accept(listener)).count(), backlog + 1);
        }
        // Handshakes that are under way.
        let mut lab = Lab::with(|config| config.syn_cookies = SynCookieMode::Never);
        lab.listen_with(backlog, |_| {});
        assert_eq!(answered(&mut lab, false, 1000), backlog + 1);
        let mut lab = Lab::new();
        lab.listen_with(backlog, |_| {});
        assert_eq!(answered(&mut lab, false, backlog + 10), backlog + 10);
        assert_eq!((lab.stack.sizes().half_open, lab.stack.counters().cookies_sent), (backlog + 1, 9));
        // SYNs that wait for the user's decision.
        let mut lab = Lab::new();
        let any = lab.stack.listen_any(backlog, SocketOptions::default()).unwrap();
        assert_eq!(answered(&mut lab, false, 1), 0);
        for port in 6000..6300 {
            lab.switch(port);
            lab.send(syn());
        }
        assert_eq!(std::iter::from_fn(|| lab.stack.poll_incoming(any)).count(), backlog + 1);
    }
}

/// What waits could never all be connections: no program's number makes the queue larger.
#[test]
fn the_largest_backlog_is_bounded_by_the_connections_there_may_be() {
    for backlog in [usize::MAX, usize::MAX - 1, u32::MAX as usize, 11] {
        let mut lab = Lab::with(|config| {
            config.syn_cookies = SynCookieMode::Never;
            config.max_connections = 10;
        });
        lab.listen_with(backlog, |_| {});
        assert_eq!(answered(&mut lab, false, 100), 11);
        let any = lab.stack.listen_any(backlog, SocketOptions::default()).unwrap();
        lab.local.set_port(81);
        assert_eq!(answered(&mut lab, false, 1), 0);
        for port in 6000..6100 {
            lab.switch(port);
            lab.send(syn());
        }
        assert_eq!(std::iter::from_fn(|| lab.stack.poll_incoming(any)).count(), 11);
    }
}

#[test]
fn a_full_accept_queue_drops_syns_as_linux_does() {
    let mut lab = Lab::with(|config| config.syn_cookies = SynCookieMode::Never);
    let listener = lab.listen_with(1, |_| {});
    for port in [5000, 5001] {
        lab.switch(port);
        lab.handshake(Peer::default());
    }
    lab.switch(5002);
    lab.send(syn());
    lab.quiet();
    assert_eq!(lab.stack.counters().accept_queue_overflows, 1);
    assert!(lab.accept(listener).is_some());
    lab.at(1000);
    lab.handshake(Peer::default());
    assert!(lab.accept(listener).is_some());
    assert_eq!(lab.stack.accept(lab.ts(), listener).unwrap().unwrap().1.port(), 5002);
    assert!(lab.accept(listener).is_none());
}

// Linux drops the final ACK, and its SYN-ACK asks for it again.
#[test]
fn a_final_ack_that_finds_the_accept_queue_full_can_come_again() {
    let mut lab = Lab::with(|config| config.syn_cookies = SynCookieMode::Never);
    let listener = lab.listen_with(1, |_| {});
    half_open(&mut lab, [5000, 5001]);
    // The queue fills up with one more while both are half-open.
    for port in [5000, 5001] {
        lab.switch(port);
        lab.send(ack());
    }
    lab.accept(listener).unwrap();
    half_open(&mut lab, [5002, 5003]);
    lab.switch(5002);
    lab.send(ack());
    lab.switch(5003);
    lab.send(data(b"hello"));
    lab.quiet();
    assert_eq!(lab.stack.sizes().half_open, 1);
    assert_eq!(lab.stack.counters().accept_queue_overflows, 1);
    lab.accept(listener).unwrap();
    lab.at(1000);
    lab.expect(syn_ack());
    lab.send(ack());
    assert_eq!(lab.stack.sizes().half_open, 0);
    lab.accept(listener).unwrap();
    let (id, from) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
    assert_eq!(from.port(), 5003);
    lab.send(data(b"hello").seq(1));
    assert_eq!(lab.read(id, 10), b"hello");
}

#[test]
fn a_full_syn_queue_drops_syns_if_there_are_no_cookies() {
    let mut lab = Lab::with(|config| config.syn_cookies = SynCookieMode::Never);
    lab.listen_with(2, |_| {});
    half_open(&mut lab, 5000..5003);
    lab.switch(5003);
    lab.send(syn());
    lab.quiet();
    assert_eq!(lab.stack.counters().syn_queue_overflows, 1);
    assert_eq!(lab.stack.sizes().half_open, 3);
    lab.switch(5001);
    lab.send(ack());
    lab.switch(5003);
    lab.send(syn());
    lab.expect(syn_ack());
}

// RFC 4987 3.6
#[test]
fn a_full_syn_queue_answers_with_cookies_that_cost_nothing() {
    for (ws, ts) in [(None, false), (Some(7), true), (None, true), (Some(7), false)] {
        let mut lab = Lab::new();
        let listener = lab.listen_with(0, |_| {});
        half_open(&mut lab, [5000]);
        lab.switch(5001);
        lab.flow.ts = ts.then_some(777);
        let offered = Seg { ws, ..syn().mss(1460) };
        lab.send(offered);
        lab.expect(syn_ack().ack(1).mss(1460));
        assert_eq!(lab.stack.sizes().half_open, 1, "the cookie has no entry");
        lab.send(data(b"hello"));
        assert_eq!(lab.stack.counters().cookies_accepted, 1);
        let (id, from) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
        assert_eq!(from.port(), 5001);
        assert_eq!(lab.read(id, 100), b"hello");
        let info = lab.info(id);
        assert_eq!(info.timestamps, ts);
        assert_eq!(info.snd_wscale, ws.filter(|_| ts));
        // A cookie tells nothing about the round trip.
        assert!(info.srtt.as_millis() <= 1, "srtt {:?}", info.srtt);
    }
}

#[test]
fn a_forged_cookie_is_reset() {
    let mut lab = Lab::new();
    lab.listen_with(0, |_| {});
    half_open(&mut lab, [5000]);
    lab.switch(5001);
    lab.send(syn());
    lab.expect(syn_ack());
    for wrong in [0, 2, 77, u32::MAX] {
        lab.send(ack().ack(wrong));
        lab.expect(rst().seq(wrong));
    }
    lab.send(ack().ack(1).seq(2));
    lab.expect(rst().seq(1));
    lab.send(ack().ack(1));
    lab.quiet();
    assert_eq!(lab.stack.counters().cookies_accepted, 1);
}

#[test]
fn handshakes_go_on_though_nobody_accepts() {
    let mut lab = Lab::new();
    let listener = lab.listen_with(100, |_| {});
    for port in 5000..5050 {
        lab.switch(port);
        lab.handshake(Peer::default());
        lab.send(data(b"early"));
        lab.run_to(lab.now + ms(40));
        lab.expect(ack().ack(6));
    }
    assert_eq!(lab.stack.sizes().connections, 50);
    for port in 5000..5050 {
        let (id, from) = lab.stack.accept(lab.ts(), listener).unwrap().unwrap();
        assert_eq!(from.port(), port);
        assert_eq!(lab.read(id, 100), b"early");
    }
}

#[test]
fn accept_tells_with_an_event() {
    let mut lab = Lab::new();
    let listener = lab.listen();
    assert!(!lab.stack.is_acceptable(listener));
    lab.handshake(Peer::default());
    assert!(lab.events.contains(&Event::Acceptable(listener)));
    assert!(lab.stack.is_acceptable(listener));
}

#[test]
fn max_connections_is_kept() {
    let mut lab = Lab::with(|config| config.max_connections = 3);
    lab.listen_with(100, |_| {});
    for port in 5000..5010 {
        lab.switch(port);
        lab.input(syn());
        lab.collect();
        if !lab.out.is_empty() {
            lab.expect(syn_ack());
            lab.send(ack());
        }
    }
    assert_eq!(lab.stack.sizes().connections, 3);
    let refused = lab.stack.connect(lab.ts(), None, addr("10.0.0.1:80"), SocketOptions::default());
    assert_eq!(refused, Err(ConnectError::TooManyConnections));
}
